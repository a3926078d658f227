//! The one task that performs effects, in the order in which they were decided, and the lock
//! around the state that decides them.
//!
//! The queue is filled while the lock is held, so its order is that of the decisions. Waiting
//! batches are performed together: a file that several of them want saved is written once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use log::{error, info, warn};
use net::ports::{Clock, Jobs};
use proto::address::IpWidth;
use proto::status::Status;
use proto::tracker::UnixTime;
use tokio::sync::{mpsc, oneshot};

use crate::cluster::{Answer, Cluster, Effect, Event, Session, StateFile};
use crate::saved::StateDir;

/// Batches performed together at most; the others wait for the next round.
const ROUND_MAX: usize = 256;
/// Who queues besides connections: the timers.
const TIMERS_MAX: usize = 8;
/// By how much the clock must have been set at once to be worth a line in the log.
const CLOCK_NOTED_SECS: i64 = 10;

/// Files with a row for each storage, in the same order. A storage that comes or goes changes
/// both, and one that does not fit the other ends the next start: they are saved together.
const ROWS: [StateFile; 2] = [StateFile::Storages, StateFile::SyncTimes];

/// Effects of one event, and who waits for them.
#[derive(Debug)]
struct Batch {
    effects: Vec<Effect>,
    done: oneshot::Sender<Outcome>,
}

/// Whether all that must be on disk is there.
type Outcome = Result<(), Status>;

/// The state of the cluster as the tasks of this process share it.
pub(crate) struct Shared {
    cluster: Mutex<Cluster>,
    /// Settings that requests are read and answers written by; they never change.
    uses_ids: bool,
    address_width: IpWidth,
    queue: mpsc::Sender<Batch>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(crate) fn now(&self) -> UnixTime {
        UnixTime(i64::try_from(self.clock.now().secs()).unwrap_or(i64::MAX))
    }

    /// Whether storages have ids of their own.
    pub(crate) fn uses_ids(&self) -> bool {
        self.uses_ids
    }

    /// The width of addresses in answers.
    pub(crate) fn address_width(&self) -> IpWidth {
        self.address_width
    }

    fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().expect("a panic ends the process, so the lock is never poisoned")
    }

    /// Looks at the state; `look` must be short.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Cluster) -> T) -> T {
        look(&self.lock())
    }

    /// Applies an event and waits until its effects are performed: an answer is given only
    /// when what it promises is on disk.
    pub(crate) async fn apply(
        &self,
        session: &mut Session,
        event: Event,
    ) -> Result<Answer, Status> {
        let (answer, done) = {
            let mut cluster = self.lock();
            let now = self.tell_time(&mut cluster);
            let (answer, effects) = cluster.apply(now, session, event);
            (answer, self.enqueue(effects))
        };
        let performed = wait(done).await;
        let answer = answer.map_err(|refusal| refusal.status())?;
        performed.map(|()| answer)
    }

    /// Changes the state from within: a timer, the end of a connection.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut Cluster, UnixTime) -> Vec<Effect>) {
        self.step(|cluster, now| ((), change(cluster, now))).await;
    }

    /// The same, for a change that says something.
    pub(crate) async fn step<T>(
        &self,
        step: impl FnOnce(&mut Cluster, UnixTime) -> (T, Vec<Effect>),
    ) -> T {
        let (said, done) = {
            let mut cluster = self.lock();
            let now = self.tell_time(&mut cluster);
            let (said, effects) = step(&mut cluster, now);
            (said, self.enqueue(effects))
        };
        // What could not be saved was logged, and is saved with the next change.
        let _ = wait(done).await;
        said
    }

    /// Both clocks, before anything is decided by one of them.
    fn tell_time(&self, cluster: &mut Cluster) -> UnixTime {
        let now = self.now();
        let set_by = cluster.tell_time(now, self.clock.moment().0);
        if CLOCK_NOTED_SECS < set_by.abs() {
            warn!("the clock was set by {set_by} s: silence of storages is counted on from before");
        }
        now
    }

    /// Called with the lock held, so it never waits.
    fn enqueue(&self, effects: Vec<Effect>) -> Option<oneshot::Receiver<Outcome>> {
        if effects.is_empty() {
            return None;
        }
        let (done, waiting) = oneshot::channel();
        // A connection waits for its batch before it goes on, so there is room for all of them.
        // Should the task be gone, the receiver reports it.
        if let Err(error) = self.queue.try_send(Batch { effects, done }) {
            error!("queue effects: {error}");
        }
        Some(waiting)
    }
}

async fn wait(done: Option<oneshot::Receiver<Outcome>>) -> Outcome {
    match done {
        None => Ok(()),
        Some(done) => done.await.unwrap_or(Err(Status::EIO)),
    }
}

/// The task's side.
#[derive(Debug)]
pub(crate) struct Performer {
    shared: Arc<Shared>,
    batches: mpsc::Receiver<Batch>,
    dir: StateDir,
    jobs: Jobs,
    /// What could not be saved and is still to be: the state has changed all the same, and
    /// whoever repeats the request changes nothing any more.
    owed: Owed,
}

/// Files to be replaced, and lines for the change log.
#[derive(Debug, Default)]
struct Owed {
    files: BTreeSet<StateFile>,
    lines: String,
}

/// The state, and the task that performs what it decides. `connections_max` bounds the queue.
pub(crate) fn share(
    cluster: Cluster,
    dir: StateDir,
    clock: Arc<dyn Clock>,
    jobs: Jobs,
    connections_max: usize,
) -> (Arc<Shared>, Performer) {
    let (queue, batches) = mpsc::channel(connections_max.saturating_add(TIMERS_MAX));
    let shared = Arc::new(Shared {
        uses_ids: cluster.policy().ids.is_some(),
        address_width: cluster.policy().address_width,
        cluster: Mutex::new(cluster),
        queue,
        clock,
    });
    let owed = Owed::default();
    let performer = Performer { shared: Arc::clone(&shared), batches, dir, jobs, owed };
    (shared, performer)
}

#[cfg(feature = "faults")]
impl Performer {
    /// Answers every batch without performing it, for fuzzing.
    pub(crate) async fn run_without_disk(mut self) {
        while let Some(batch) = self.batches.recv().await {
            // Whoever waited may be gone.
            let _ = batch.done.send(Ok(()));
        }
    }
}

impl Performer {
    /// Performs until `stop` is raised and nothing is left, then saves everything.
    pub(crate) async fn run(mut self, mut stop: net::shutdown::Stop) {
        let mut round = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = self.batches.recv_many(&mut round, ROUND_MAX) => {
                    if count == 0 {
                        break;
                    }
                    self.perform(std::mem::take(&mut round)).await;
                }
                () = stop.raised() => break,
            }
        }
        let all = [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes];
        self.owed.files.extend(all);
        let _ = self.save().await; // logged where it failed
    }

    async fn perform(&mut self, round: Vec<Batch>) {
        let Owed { files, lines } = &mut self.owed;
        let mut waiting = Vec::new();
        for Batch { effects, done } in round {
            let mut must = false;
            for effect in effects {
                must |= matches!(effect, Effect::Save(_) | Effect::AppendChangelog(_));
                match effect {
                    Effect::Save(file) | Effect::SaveSoon(file) => {
                        files.insert(file);
                    }
                    Effect::AppendChangelog(line) => lines.push_str(&line),
                    Effect::Moved { group, id, from, to } => {
                        info!("storage {group}/{id}: {} -> {}", from.name(), to.name());
                    }
                    Effect::Info(text) => info!("{text}"),
                    Effect::Warn(text) => warn!("{text}"),
                }
            }
            waiting.push((done, must));
        }
        let outcome = self.save().await;
        for (done, must) in waiting {
            // Whoever has gone meanwhile does not need to know.
            let _ = done.send(if must { outcome } else { Ok(()) });
        }
    }

    /// Appends what is owed to the change log, then replaces files by what is known now. What
    /// fails stays owed.
    async fn save(&mut self) -> Outcome {
        let Owed { mut files, mut lines } = std::mem::take(&mut self.owed);
        if ROWS.iter().any(|file| files.contains(file)) {
            files.extend(ROWS);
        }
        if files.contains(&StateFile::ChangeLog) {
            lines.clear(); // they stand in the text of the whole log
        }
        if files.is_empty() && lines.is_empty() {
            return Ok(());
        }
        let texts: Vec<(StateFile, String)> = self
            .shared
            .look(|cluster| files.iter().map(|file| (*file, cluster.file_text(*file))).collect());
        let dir = self.dir.clone();
        let save = move || {
            if !lines.is_empty()
                && let Err(error) = dir.append_changelog(&lines)
            {
                return Err((error, Owed { files, lines }));
            }
            dir.replace_all(&texts).map_err(|error| (error, Owed { files, lines: String::new() }))
        };
        let saved = self.jobs.run(save).await;
        saved
            .map_err(|(cause, owed)| {
                self.owed = owed;
                cause
            })
            .map_err(|cause| {
                error!("save state: {cause:#}");
                let io = cause.chain().find_map(|e| e.downcast_ref::<std::io::Error>());
                io.and_then(std::io::Error::raw_os_error).map_or(Status::EIO, Status::from_errno)
            })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use net::ports::SystemClock;

    use super::*;
    use crate::config::Settings;

    const GROUPS: &str = "data/storage_groups_new.dat";

    fn performer(base: &Path) -> Performer {
        let conf = base.join("tracker.conf");
        let text = format!("base_path = {}\n", base.display());
        net::durable::replace(&conf, text.as_bytes()).unwrap();
        let policy = Settings::load(&conf).unwrap().policy;
        let clock = Arc::new(SystemClock::new());
        share(
            Cluster::new(policy, UnixTime(1)),
            StateDir::open(base).unwrap(),
            clock,
            Jobs::Threads,
            4,
        )
        .1
    }

    async fn perform(performer: &mut Performer, effect: Effect) -> Outcome {
        let (done, outcome) = oneshot::channel();
        performer.perform(vec![Batch { effects: vec![effect], done }]).await;
        outcome.await.unwrap()
    }

    #[tokio::test]
    async fn what_could_not_be_saved_is_saved_with_the_next_change() {
        let base = std::env::temp_dir().join(format!("tracker-owed-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let mut performer = performer(&base);
        // Directories in their places: nothing can be written.
        let in_the_way = ["data/storage_groups_new.dat.tmp", "data/storage_changelog.dat"];
        in_the_way.iter().for_each(|path| fs::create_dir_all(base.join(path)).unwrap());
        assert!(perform(&mut performer, Effect::Save(StateFile::Groups)).await.is_err());
        let line = Effect::AppendChangelog("line \n".to_owned());
        assert!(perform(&mut performer, line).await.is_err());
        in_the_way.iter().for_each(|path| fs::remove_dir(base.join(path)).unwrap());
        assert_eq!(perform(&mut performer, Effect::Save(StateFile::Storages)).await, Ok(()));
        assert!(base.join(GROUPS).exists());
        let log = fs::read_to_string(base.join("data/storage_changelog.dat")).unwrap();
        assert_eq!(log, "line \n");
        assert!(base.join("data/storage_sync_timestamp.dat").exists(), "saved with the storages");
        fs::remove_dir_all(&base).unwrap();
    }
}
