//! One pass after the other over one store path: every file is read and compared with what
//! proves it, a little at a time.
//!
//! What is damaged is left to `repair`; sums that are damaged or missing beside good content are
//! made here, and sums without a file removed. Where it is lies in `base_path/data/scrub.MNN`,
//! so that a restart goes on there. Holds no place at the disk's gate while it rests.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use net::{ports::Moment, shutdown::Stop};
use proto::{
    fileid::{FileName, SubDir},
    ids::StorePath,
};

use super::{
    Settings,
    plan::{Course, FILE_COST_BYTES, Pace},
};
use crate::{
    dir::{files, list, named},
    disk::{
        layout::Place,
        port::{DiskFile, Kind, Open},
        write::{WriteError, read_whole, replace_whole},
    },
    store::Store,
    sums::{Exam, Examination, State, Sums, SumsState},
};

/// Most bytes read by one job.
const STEP_BYTES: u64 = 1 << 20;
/// How often the position is saved while a pass is under way.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// Longest text of a position.
const STATE_BYTES_MAX: usize = 4096;
/// Sums without a file that are younger than this may be of an upload that is under way.
const ORPHAN_AGE_SECS: u64 = 3600;

/// The reader of one store path.
pub(super) struct Worker {
    store: Arc<Store>,
    path: StorePath,
    settings: Settings,
    file: PathBuf,
    course: Course,
    pace: Pace,
    saved: Moment,
}

/// A file that is being read.
type Reading = (Box<dyn DiskFile>, Examination);

impl Worker {
    pub(super) fn new(
        store: Arc<Store>,
        path: StorePath,
        settings: Settings,
        file: PathBuf,
    ) -> Self {
        let pace = Pace::new(settings.bytes_per_sec);
        let saved = store.clock.moment();
        Self { store, path, settings, file, course: Course::default(), pace, saved }
    }

    /// Reads until the program ends.
    pub(super) async fn run(mut self, mut stop: Stop) {
        tokio::select! {
            biased;
            () = stop.raised() => {}
            // Whatever is under way is dropped at a rest or between two jobs.
            () = self.passes() => {}
        }
    }

    async fn passes(&mut self) {
        self.load().await;
        if self.course.ended != 0 {
            self.store.scrub.has_ended(self.path, self.course.ended);
        }
        tokio::time::sleep(self.settings.start_after).await;
        loop {
            if self.course.is_under_way(self.dirs()) {
                let Course { dir, after, .. } = &self.course;
                log::info!("scrub of {} goes on at directory {dir} after {after:?}", self.path);
            } else {
                let rest = self.course.rest(self.store.clock.now().secs(), self.settings.every);
                tokio::time::sleep(rest).await;
                self.course.begin(self.store.clock.now().secs());
                log::info!("scrub of {} begins: pass {}", self.path, self.course.pass);
            }
            self.pass().await;
            self.ended().await;
        }
    }

    /// Reads what is left of a pass. A directory that cannot be read is counted and left to the
    /// next pass: it keeps nobody from the others.
    async fn pass(&mut self) {
        while self.course.is_under_way(self.dirs()) {
            if let Err(error) = self.directory().await {
                self.course.unreadable = self.course.unreadable.saturating_add(1);
                self.store.scrub.unreadable.fetch_add(1, Ordering::Relaxed);
                // Of a disk that is gone one line is enough.
                let once = self.course.unreadable == 1;
                let level = if once { log::Level::Error } else { log::Level::Debug };
                let (path, dir) = (self.path, self.dir());
                log::log!(level, "the scrub of {path} passes over directory {dir}: {error}");
                self.rest(FILE_COST_BYTES, Duration::ZERO).await;
            }
            self.course.next_dir();
        }
    }

    async fn ended(&mut self) {
        self.course.end(self.store.clock.now().secs());
        if self.course.unreadable == 0 {
            self.store.scrub.has_ended(self.path, self.course.ended);
        } else {
            let (path, unreadable) = (self.path, self.course.unreadable);
            log::error!("the scrub of {path} could not read {unreadable} directories");
        }
        let Course { pass, files, bytes, damaged, .. } = self.course;
        log::info!(
            "scrub of {}: pass {pass} has read {files} files of {bytes} bytes, {damaged} damaged",
            self.path
        );
        self.save().await;
    }

    fn dirs(&self) -> u32 {
        let count = self.store.places.get(self.path).map_or(0, Place::dirs);
        u32::from(count).saturating_mul(u32::from(count))
    }

    /// The present directory.
    fn dir(&self) -> SubDir {
        let count = self.store.places.get(self.path).map_or(1, Place::dirs).max(1);
        let number = self.course.dir;
        let part = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        SubDir { high: part(number / u32::from(count)), low: part(number % u32::from(count)) }
    }

    /// Reads what is left of the present directory.
    async fn directory(&mut self) -> io::Result<()> {
        let dir = self.dir();
        let (shared, path, after) = (Arc::clone(&self.store), self.path, self.course.after.clone());
        let files = move || files(&shared, path, dir, &after);
        for text in self.store.on(path).run(files).await? {
            let Some(name) = named(&self.store, path, dir, &text) else { continue };
            let (bytes, damaged) = self.look(&name).await;
            self.store.scrub.looked_at(bytes);
            self.course.passed(&text, bytes, damaged);
            if SAVE_EVERY <= self.store.clock.moment().since(self.saved) {
                self.save().await;
            }
            self.rest(FILE_COST_BYTES, Duration::ZERO).await;
        }
        let shared = Arc::clone(&self.store);
        let orphans = move || orphans(&shared, path, dir);
        for name in self.store.on(path).run(orphans).await? {
            let _alone = self.store.lock_file(&name).await;
            let (shared, orphan) = (Arc::clone(&self.store), name.clone());
            let remove = move || forget(&shared, &orphan);
            match self.store.on(path).run(remove).await {
                Ok(true) => log::info!("removed the sums of {name}, which is gone"),
                Ok(false) => {}
                Err(error) => log::warn!("remove the sums of {name}, which is gone: {error}"),
            }
        }
        // To list a directory costs a disk as much as to open a file.
        self.rest(FILE_COST_BYTES, Duration::ZERO).await;
        Ok(())
    }

    /// Reads one file; how long it was and whether it is damaged.
    async fn look(&mut self, name: &FileName) -> (u64, bool) {
        let mut begun = self.begin(name).await;
        let mut turn = None;
        if matches!(&begun, Ok(Some((_, exam))) if exam.lacks_sums()) {
            // No change of it is under way now, and a later one would be seen by its turn.
            let _alone = self.store.lock_file(name).await;
            turn = Some(self.store.turn(name));
            begun = self.begin(name).await;
        }
        let mut reading = match begun {
            Ok(Some(reading)) => reading,
            Ok(None) => return (0, false),
            Err(error) => return (0, self.settle(name, Some(error)).await),
        };
        let mut bytes = 0u64;
        loop {
            let from = self.store.clock.moment();
            let job = move || {
                let (file, mut exam) = reading;
                let read = steps(&mut exam, &*file);
                ((file, exam), read)
            };
            let (rest, read) = self.store.on(self.path).run(job).await;
            reading = rest;
            match read {
                Ok(0) => break,
                Ok(count) => bytes = bytes.saturating_add(count),
                Err(error) => return (bytes, self.settle(name, Some(error)).await),
            }
            let took = self.store.clock.moment().since(from);
            self.rest(read.unwrap_or(0), took).await;
        }
        let exam = match self.store.sums.judge(reading.1) {
            Ok(exam) => exam,
            Err(error) => return (bytes, self.settle(name, Some(error)).await),
        };
        let good = exam.state == State::Good;
        if good && matches!(exam.sums, SumsState::None | SumsState::Good) {
            return (bytes, false);
        }
        if exam.state == State::Unsummed && !Sums::has_table(name) {
            return (bytes, false);
        }
        let damaged = matches!(exam.state, State::Damaged { .. });
        if !damaged
            && (!self.store.takes_changes(self.path) || self.adopted(name, exam, turn).await)
        {
            return (bytes, false);
        }
        let damaged = self.settle(name, None).await;
        // It was read once more, at once.
        self.rest(bytes, Duration::ZERO).await;
        (bytes, damaged)
    }

    async fn begin(&self, name: &FileName) -> io::Result<Option<Reading>> {
        let (shared, name) = (Arc::clone(&self.store), name.clone());
        self.store.on(self.path).run(move || open(&shared, &name)).await
    }

    /// Gives a file the sums that were made while it was read, if it has none and nobody has
    /// changed it since its lock was taken for the `turn`-th time.
    async fn adopted(&self, name: &FileName, exam: Exam, turn: Option<u64>) -> bool {
        let _alone = self.store.lock_file(name).await;
        let unchanged = turn.is_some_and(|turn| self.store.turn(name) == turn.saturating_add(1));
        if !unchanged {
            return false;
        }
        let (shared, job_name) = (Arc::clone(&self.store), name.clone());
        match self.store.on(self.path).run(move || adopt(&shared, &job_name, exam)).await {
            Ok(adopted) => adopted,
            Err(error) => {
                self.store.sums_not_made(name, &error);
                false
            }
        }
    }

    /// Something is not as it should be, unless a change was under way: looks again with the name
    /// locked, and does what can be done here. True if the file is damaged.
    async fn settle(&self, name: &FileName, error: Option<io::Error>) -> bool {
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if error.as_ref().is_some_and(gone) {
            return false;
        }
        let _alone = self.store.lock_file(name).await;
        let (shared, job_name) = (Arc::clone(&self.store), name.clone());
        let again = move || mend_sums(&shared, &job_name);
        match self.store.on(self.path).run(again).await {
            Ok(None) => false,
            Ok(Some(offset)) => {
                log::error!("the scrub found {name} damaged at byte {offset}");
                self.store.sums.damage.report(name);
                true
            }
            Err(error) if gone(&error) => false,
            Err(error) => {
                log::error!("the scrub cannot read {name}: {error}");
                self.store.sums.damage.report(name);
                true
            }
        }
    }

    async fn rest(&mut self, bytes: u64, took: Duration) {
        let rest = self.pace.after(bytes, took);
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
    }

    async fn load(&mut self) {
        let (disk, file) = (Arc::clone(&self.store.disk), self.file.clone());
        let read = self.store.gate.run(move || read_whole(&*disk, &file, STATE_BYTES_MAX)).await;
        match read {
            Ok(text) => {
                let text = text.unwrap_or_default();
                self.course = Course::parse(&String::from_utf8_lossy(&text));
            }
            Err(error) => log::warn!("read {}, begin anew: {error}", self.file.display()),
        }
    }

    async fn save(&mut self) {
        self.saved = self.store.clock.moment();
        let (disk, file) = (Arc::clone(&self.store.disk), self.file.clone());
        let text = self.course.to_string();
        let save = move || replace_whole(&*disk, &file, text.as_bytes());
        if let Err(error) = self.store.gate.run(save).await {
            log::warn!("save {}: {error}", self.file.display());
        }
    }
}

/// Sums in a directory whose file is not there. Blocks.
fn orphans(store: &Store, path: StorePath, dir: SubDir) -> io::Result<Vec<FileName>> {
    let Some(place) = store.places.get(path) else { return Ok(Vec::new()) };
    let root = place.data().parent().unwrap_or(Path::new("/")).join("sums");
    let all = list(store, &root.join(dir.to_string()), "")?;
    let named = all.iter().filter_map(|name| named(store, path, dir, name));
    Ok(named.filter(|name| is_gone(store, name)).collect())
}

fn is_gone(store: &Store, name: &FileName) -> bool {
    let found = store.file(name).map(|(_, file)| store.disk.stat(&file));
    matches!(found, Some(Err(error)) if error.kind() == io::ErrorKind::NotFound)
}

/// Removes sums whose file is still not there, with the name locked. Blocks.
fn forget(store: &Store, name: &FileName) -> io::Result<bool> {
    let Some(sums) = store.sums.path(name) else { return Ok(false) };
    let made = u64::try_from(store.disk.stat(&sums)?.mtime).unwrap_or(0);
    let old = ORPHAN_AGE_SECS < store.clock.now().secs().saturating_sub(made);
    if !old || !is_gone(store, name) || !store.takes_changes(name.store_path()) {
        return Ok(false);
    }
    store.disk.remove(&sums).map(|()| true)
}

/// Opens a plain file; links and what is gone meanwhile are passed over. Blocks.
fn open(store: &Store, name: &FileName) -> io::Result<Option<Reading>> {
    let Some((_, path)) = store.file(name) else { return Ok(None) };
    if store.disk.stat(&path)?.kind != Kind::File {
        return Ok(None);
    }
    let file = store.disk.open(&path, Open::Read)?;
    let exam = store.sums.begin_adoption(name, &path)?;
    Ok(Some((file, exam)))
}

/// Reads on, up to [`STEP_BYTES`]. Blocks.
fn steps(exam: &mut Examination, file: &dyn DiskFile) -> io::Result<u64> {
    let mut bytes = 0u64;
    while bytes < STEP_BYTES {
        match exam.step(file)? {
            0 => break,
            count => bytes = bytes.saturating_add(count as u64),
        }
    }
    Ok(bytes)
}

/// With the name locked: where the file is damaged; otherwise gives it the sums that it should
/// have. Blocks.
fn mend_sums(store: &Store, name: &FileName) -> io::Result<Option<u64>> {
    let Some((file, mut exam)) = open(store, name)? else { return Ok(None) };
    while exam.step(&*file)? != 0 {}
    let exam = store.sums.judge(exam)?;
    if let State::Damaged { offset } = exam.state {
        return Ok(Some(offset));
    }
    if !store.takes_changes(name.store_path()) {
        return Ok(None);
    }
    let made = match exam.sums {
        SumsState::Missing => adopt(store, name, exam),
        _ => store.sums.heal(name, &*file, &exam),
    };
    if let Err(error) = made {
        // The file itself was read, and is good.
        store.sums_not_made(name, &error);
    }
    Ok(None)
}

/// With the name locked: stores the sums that were made beside an examination. Blocks.
fn adopt(store: &Store, name: &FileName, exam: Exam) -> Result<bool, WriteError> {
    let unproven = exam.state == State::Unsummed;
    let adopted = store.sums.adopt(name, exam)?;
    if adopted && unproven {
        log::info!("{name} had no sums: from now on damage of it is found");
    }
    Ok(adopted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{
            port::Disk as _,
            simulated::{Plan, SimulatedDisk},
        },
        service::served::{SYNC, Served},
    };

    fn worker(served: &Served) -> Worker {
        let settings = Settings {
            enabled: true,
            bytes_per_sec: u64::MAX,
            every: Duration::ZERO,
            start_after: Duration::ZERO,
        };
        let file = PathBuf::from("/base/data/scrub.M00");
        Worker::new(Arc::clone(&served.store), StorePath(0), settings, file)
    }

    #[tokio::test]
    async fn a_directory_is_read_in_order_and_its_sums_are_put_right() {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let mut files = Vec::new();
        for len in [10, 100_000, 200_000, 300_000] {
            let name = FileName::parse(served.upload(&vec![5; len]).await.unwrap(), 1).unwrap();
            let sums = served.store.sums.path(&name).unwrap();
            files.push((served.store.file(&name).unwrap().1, sums, name));
        }
        // No sums, a damaged file, sums without a file.
        disk.remove(&files[1].1).unwrap();
        disk.open(&files[2].0, Open::Write).unwrap().write_at(70_000, b"6").unwrap();
        disk.remove(&files[3].0).unwrap();

        let mut worker = worker(&served);
        worker.directory().await.unwrap();
        let Course { files: count, bytes, damaged, .. } = worker.course;
        assert_eq!((count, bytes, damaged), (3, 300_010, 1));
        let exam = served.store.sums.examine(&files[1].2, &files[1].0).unwrap();
        assert_eq!((exam.state, exam.sums), (State::Good, SumsState::Good));
        assert_eq!(
            served.store.sums.damage.take().into_iter().collect::<Vec<_>>(),
            [files[2].2.clone()]
        );
        assert!(disk.stat(&files[3].1).is_err(), "sums of nothing");

        let mut last: Vec<&str> = files[..3].iter().map(|(_, _, name)| name.as_str()).collect();
        last.sort_unstable();
        assert!(last[2].ends_with(&worker.course.after));
        worker.directory().await.unwrap();
        assert_eq!(worker.course.files, 3, "it goes on behind the last one");
        worker.course.begin(7);
        worker.save().await;
        let mut next = self::worker(&served);
        next.load().await;
        assert_eq!(next.course, worker.course);
        drop((worker, next));
        served.close().await;
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_read_is_counted_and_passed_over() {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        served.upload(&[5; 10]).await.unwrap();
        let mut worker = worker(&served);
        worker.course.begin(7);
        disk.plan(Plan::FailFrom(1, 5));
        let pass = tokio::time::timeout(Duration::from_secs(30), worker.pass()).await;
        assert!(pass.is_ok() && !worker.course.is_under_way(worker.dirs()), "it goes on");
        assert_eq!(served.store.scrub.unreadable.load(Ordering::Relaxed), 1);
        // It was no whole pass, neither now nor after a restart.
        disk.plan(Plan::Nothing);
        worker.ended().await;
        assert!(served.store.scrub.ended().is_empty());
        let mut next = self::worker(&served);
        next.load().await;
        assert_eq!((next.course.ended, next.course.unreadable), (0, 1));
        next.course.begin(8);
        next.pass().await;
        next.ended().await;
        assert_eq!(served.store.scrub.ended()[&StorePath(0)], next.course.ended);
        assert_eq!(next.course.unreadable, 0);
        drop((worker, next));
        served.close().await;
    }

    /// A store with a slave of so many bytes that has no sums, as the reference stores it.
    async fn unsummed(len: usize) -> (SimulatedDisk, Served, FileName) {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let master = served.upload(b"master").await.unwrap();
        let slave = served.slave(&master, &vec![5; len]).await.unwrap();
        let slave = FileName::parse(slave, 1).unwrap();
        disk.remove(&served.store.sums.path(&slave).unwrap()).unwrap();
        (disk, served, slave)
    }

    #[tokio::test]
    async fn a_file_without_sums_is_read_once_for_them() {
        const LEN: usize = 1_000_000;
        let (disk, served, slave) = unsummed(LEN).await;
        let mut worker = worker(&served);
        let before = disk.bytes_read();
        assert_eq!(worker.look(&slave).await, (LEN as u64, false));
        assert!(disk.bytes_read() - before < LEN as u64 * 3 / 2);
        let file = served.store.file(&slave).unwrap().1;
        let exam = served.store.sums.examine(&slave, &file).unwrap();
        assert_eq!((exam.state, exam.sums), (State::Good, SumsState::Good));
        drop(worker);
        served.close().await;
    }

    #[tokio::test]
    async fn after_a_failed_sync_of_sums_that_the_scrub_made_the_path_is_read_only() {
        let mut retired = 0;
        // While it adopts them, and while it looks again with the name locked.
        for at_once in [true, false] {
            for nth in 1.. {
                let (disk, served, slave) = unsummed(100_000).await;
                let mut worker = worker(&served);
                disk.plan(Plan::Fail(nth, 5));
                let damaged = if at_once {
                    worker.look(&slave).await.1
                } else {
                    worker.settle(&slave, None).await
                };
                let failed = nth <= disk.effects();
                let lost = !served.store.takes_changes(StorePath(0));
                assert!(!lost || !damaged, "effect {nth}: the file itself is good");
                retired += u32::from(lost);
                drop(worker);
                served.close().await;
                if !failed {
                    break;
                }
            }
        }
        // The sums and their directory, each time.
        assert_eq!(retired, 4);
    }

    #[tokio::test]
    async fn sums_of_a_file_that_may_have_changed_meanwhile_are_not_kept() {
        for changed in [true, false] {
            let (disk, served, slave) = unsummed(100_000).await;
            let worker = worker(&served);
            let alone = served.store.lock_file(&slave).await;
            let turn = served.store.turn(&slave);
            let (file, mut exam) = open(&served.store, &slave).unwrap().unwrap();
            drop(alone);
            while exam.step(&*file).unwrap() != 0 {}
            let exam = served.store.sums.judge(exam).unwrap();
            if changed {
                drop(served.store.lock_file(&slave).await);
            }
            assert_eq!(worker.adopted(&slave, exam, Some(turn)).await, !changed);
            let sums = disk.stat(&served.store.sums.path(&slave).unwrap());
            assert_eq!(sums.is_ok(), !changed);
            drop(worker);
            served.close().await;
        }
    }
}
