//! All workers of a run: begun together, watched, ended together.
//!
//! Workers are shared out to threads with a runtime each, so that none has to wake another's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use net::client::Client;
use net::ports::{Moment, World};
use proto::fileid::FileId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Operation;
use super::process::{Named, Used, Watch};
use super::size::Sizes;
use super::tally::Tally;
use super::work::{Chance, Mix, PIECE_BYTES, Worker};
use crate::{Doing as _, Failure};

/// Between the order to begin and the beginning: threads start and connect meanwhile.
const LEAD: Duration = Duration::from_millis(200);
/// How often the memory of servers is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What shall be done.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) operation: Operation,
    pub(super) mix: Mix,
    pub(super) sizes: Sizes,
    pub(super) connections: u32,
    pub(super) threads: u32,
    /// Operations a second; none is as fast as answers come.
    pub(super) rate: Option<f64>,
    pub(super) count: Option<u64>,
    pub(super) duration: Duration,
    pub(super) warmup: Duration,
    pub(super) files: u32,
    pub(super) direct: bool,
    pub(super) seed: u64,
}

/// What happened.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) elapsed: Duration,
    pub(super) used: Vec<Used>,
}

/// When a run begins, counts and ends.
#[derive(Clone, Copy, Debug)]
struct Times {
    begin: Moment,
    counted: Moment,
    end: Option<Moment>,
}

/// Makes a client of some trackers; each worker has one, and so its own connections.
pub(super) type Connect<'a> = &'a (dyn Fn(&[SocketAddr]) -> Client + Sync);

/// Carries out a plan against these trackers.
pub(super) async fn run(
    world: &World,
    plan: &Plan,
    connect: Connect<'_>,
    trackers: &[SocketAddr],
    processes: &[Named],
) -> Result<Outcome, Failure> {
    let client = connect(trackers);
    let direct = match plan.direct {
        true => {
            let target = client.trackers().query_store(None).await;
            let server = target.doing("tracker_query_storage")?.server;
            Some(SocketAddr::new(server.address, server.port))
        }
        false => None,
    };
    let mut bytes = vec![0; PIECE_BYTES];
    world.random.fill(&mut bytes);
    let piece = Bytes::from(bytes);
    let mut seeds = Chance::new(plan.seed);
    let mut worker = |files: &Arc<Vec<FileId>>| Worker {
        world: world.clone(),
        client: connect(trackers),
        mix: plan.mix.clone(),
        sizes: plan.sizes.clone(),
        chance: Chance::new(seeds.next()),
        piece: piece.clone(),
        direct,
        files: Arc::clone(files),
        own: Vec::new(),
        appender: None,
    };
    let files = Arc::new(prepare(plan, worker(&Arc::default())).await?);
    let workers: Vec<Worker> = (0..plan.connections).map(|_| worker(&files)).collect();
    let begin = world.clock.moment().after(LEAD);
    let counted = begin.after(plan.warmup);
    let end = plan.count.is_none().then(|| counted.after(plan.duration));
    let times = Times { begin, counted, end };
    let left = Arc::new(AtomicU64::new(plan.count.unwrap_or(u64::MAX)));
    let threads = spread(plan, workers, times, &left);

    let until = |moment: Moment| moment.since(world.clock.moment());
    sleep(until(counted)).await;
    let mut watch = Watch::begin(processes);
    while threads.iter().any(|thread| !thread.is_finished()) {
        sleep(LOOK_INTERVAL).await;
        watch.look();
    }
    let used = watch.end();
    let mut tally = Tally::new();
    let mut last = counted;
    for thread in threads {
        let outcome = thread.join().map_err(|_| {
            Failure::Corrupt("a thread of this program ended by a panic".to_owned())
        })?;
        let (part, ended) = outcome
            .map_err(|source| Failure::Local { what: "start a thread".to_owned(), source })?;
        tally.add(&part);
        last = last.max(ended);
    }
    Ok(Outcome { tally, elapsed: last.since(counted), used })
}

/// Stores the files that operations on existing ones need.
async fn prepare(plan: &Plan, mut worker: Worker) -> Result<Vec<FileId>, Failure> {
    let mut files = Vec::new();
    let wanted = if plan.mix.needs_files() { plan.files } else { 0 };
    for _ in 0..wanted {
        let size = plan.sizes.pick(worker.chance.next());
        files.push(worker.upload(size).await.doing("upload file")?);
    }
    Ok(files)
}

type Part = std::io::Result<(Tally, Moment)>;

/// Shares workers out to threads.
fn spread(
    plan: &Plan,
    workers: Vec<Worker>,
    times: Times,
    left: &Arc<AtomicU64>,
) -> Vec<std::thread::JoinHandle<Part>> {
    let mut shares: Vec<Vec<Worker>> = (0..plan.threads).map(|_| Vec::new()).collect();
    let count = shares.len();
    for (number, worker) in workers.into_iter().enumerate() {
        if let Some(share) = number.checked_rem(count).and_then(|index| shares.get_mut(index)) {
            share.push(worker);
        }
    }
    // Each worker has its place in the rhythm, evenly over one interval of all.
    let interval =
        plan.rate.map(|rate| Duration::from_secs_f64(f64::from(plan.connections) / rate));
    let mut place = 0;
    let threads = shares.into_iter().map(|share| {
        let first = place;
        place += u32::try_from(share.len()).unwrap_or(u32::MAX);
        let (left, connections) = (Arc::clone(left), plan.connections);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for (worker, place) in share.into_iter().zip(first..) {
                    let rhythm = interval.map(|interval| {
                        let offset = interval.mul_f64(f64::from(place) / f64::from(connections));
                        (times.begin.after(offset), interval)
                    });
                    tasks.spawn(drive(worker, times, rhythm, Arc::clone(&left)));
                }
                let mut tally = Tally::new();
                let mut last = times.counted;
                while let Some(ended) = tasks.join_next().await {
                    let (part, at) = ended.map_err(std::io::Error::other)?;
                    tally.add(&part);
                    last = last.max(at);
                }
                Ok((tally, last))
            })
        })
    });
    threads.collect()
}

/// One worker from begin to end. `rhythm` is when its first operation is due, and the time from
/// one to the next.
async fn drive(
    mut worker: Worker,
    times: Times,
    rhythm: Option<(Moment, Duration)>,
    left: Arc<AtomicU64>,
) -> (Tally, Moment) {
    let clock = Arc::clone(&worker.world.clock);
    let mut tally = Tally::new();
    let mut due = rhythm.map_or(times.begin, |(first, _)| first);
    sleep(due.since(clock.moment())).await;
    loop {
        let now = clock.moment();
        let ended = times.end.is_some_and(|end| end <= now);
        let none_left = || {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err()
        };
        if ended || none_left() {
            return (tally, now);
        }
        // Whoever is late has waited: the time counts from when it was due. Whoever came early
        // slept until now, and the clock of the sleep is no fault of the server's.
        let mut waited_since = None;
        if let Some((_, interval)) = rhythm {
            if now < due {
                sleep(due.since(now)).await;
            } else {
                waited_since = Some(due);
            }
            due = due.after(interval);
        }
        let outcome = worker.once().await;
        let done = clock.moment();
        let counts = times.counted <= now;
        match outcome {
            Ok((begun, bytes)) if counts => {
                tally.done(bytes, done.since(waited_since.unwrap_or(begun)));
            }
            Err(error) if counts => tally.failed(error.to_string()),
            _ => {}
        }
    }
}
