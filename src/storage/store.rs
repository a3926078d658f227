//! What all handlers share: the disk with its store paths, the binlog, the counters, and what
//! the trackers said at start-up.
//!
//! Made once by `run`. Its locks are short and never held across a wait, except the name locks,
//! which put changes of one file in order. Knows nothing of connections.

use std::{
    collections::{BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use net::{
    client::pool::Pool,
    ports::{Clock, Random},
};
use proto::{
    address::Addresses,
    binlog::{Act, Op, Record},
    fileid::{ExtField, FileName, NewName, SizeField, SourceId, SubDir, SubDirCount, metadata_of},
    ids::{Extension, GroupName, StorageId, StorePath},
};

use crate::{
    access_log::AccessLog,
    binlog::writer::Writer,
    commit::{Durability, Retire},
    disk::{
        Gate,
        layout::{Place, Places},
        port::Disk,
        write::WriteError,
    },
    health::Health,
    owed::Owed,
    parameters::{Parameters, PathPolicy},
    progress::Progress,
    scrub,
    service::copies::Copies,
    state::{counters::Counters, names::RecentNames},
    sums::{ReadError, Source, Sums},
    tomb::Tombs,
};

/// Locks for changes of one file; names of one store path share them by hash.
const NAME_LOCKS: usize = 64;
/// Pieces of downloads in memory at one time, of 256 KiB and the blocks around them each:
/// 48 MiB at most.
const PIECES_MAX: usize = 128;
/// Pieces of content, of up to 256 KiB each, that have arrived for one store path and are not
/// written yet: 16 MiB at most, however many clients send.
const ARRIVING_MAX: usize = 64;
/// Changes whose records the log has refused that are kept in memory, of some 300 bytes each.
const OWING_MAX: usize = 10_000;
/// How often a name is drawn anew when it collides (storage.md 2.7).
const NAME_ATTEMPTS: usize = 10;
/// Metadata whose sender is remembered: those of a few seconds.
const LAST_FROM_MAX: usize = 256;

/// Which directory a new file goes to (storage.md 2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    RoundRobin { files_per_dir: u32 },
    Hashed,
}

/// Who we are, as far as the trackers agreed.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) group: GroupName,
    pub(crate) addresses: Addresses,
    pub(crate) source: SourceId,
    pub(crate) parameters: Parameters,
    /// Addresses of all storages by id; empty unless storages have ids.
    pub(crate) ids: Vec<(StorageId, Addresses)>,
}

/// See the module.
pub(crate) struct Store {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) disk: Arc<dyn Disk>,
    /// For what is not on a store path.
    pub(crate) gate: Gate,
    pub(crate) places: Places,
    pub(crate) sums: Sums,
    pub(crate) log: Writer,
    pub(crate) counters: Counters,
    pub(crate) facts: Facts,
    pub(crate) durability: Durability,
    pub(crate) distribution: Distribution,
    /// Longest silence of a peer that takes a download.
    pub(crate) network_timeout: Duration,
    pub(crate) progress: Progress,
    pub(crate) scrub: scrub::Numbers,
    pub(crate) copies: Copies,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// Room for pieces of downloads in memory.
    pub(crate) pieces: tokio::sync::Semaphore,
    /// One for each store path, so that a slow disk keeps nobody waiting for another one.
    gates: Vec<Gate>,
    /// Likewise, for what arrives faster than the disk takes it.
    arriving: Vec<Arc<tokio::sync::Semaphore>>,
    /// Connections to other members, for what is not here.
    pub(crate) pool: Pool,
    tombs: Mutex<Tombs>,
    /// Metadata that were received last, and from whom.
    last_from: Mutex<VecDeque<(FileName, IpAddr)>>,
    health: Mutex<Health>,
    names: Mutex<RecentNames>,
    // Held while a file changes, which takes disk time: the one lock that may see a wait.
    changing: Vec<tokio::sync::Mutex<()>>,
    /// How often each was taken.
    turns: Vec<AtomicU64>,
    /// Changes whose records the log refused.
    owing: Mutex<Vec<(Record, Owed)>>,
    /// Files whose edits have failed half way: a restart completes them.
    half_edited: Mutex<BTreeSet<String>>,
    /// The next store path in turn, or the one chosen by free space.
    next_path: AtomicUsize,
}

/// The parts a store is made of.
pub(crate) struct Parts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) disk: Arc<dyn Disk>,
    /// For what is not on a store path.
    pub(crate) gate: Gate,
    /// Jobs that may wait for one store path at the same time.
    pub(crate) jobs_per_path: usize,
    pub(crate) places: Places,
    pub(crate) sums: Sums,
    pub(crate) log: Writer,
    pub(crate) counters: Counters,
    pub(crate) facts: Facts,
    pub(crate) durability: Durability,
    pub(crate) distribution: Distribution,
    pub(crate) network_timeout: Duration,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    pub(crate) read_only: Vec<bool>,
    pub(crate) pool: Pool,
    pub(crate) tombs: Tombs,
    pub(crate) copies: Copies,
}

/// What a new name is made of besides chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameParts {
    pub(crate) path: StorePath,
    pub(crate) dir: SubDir,
    pub(crate) timestamp: u32,
    pub(crate) size: u64,
    pub(crate) crc32: u32,
    pub(crate) appender: bool,
    pub(crate) ext: ExtField,
}

impl Store {
    pub(crate) fn new(parts: Parts) -> Self {
        let mut changing = Vec::new();
        changing
            .resize_with(NAME_LOCKS * parts.places.iter().count(), || tokio::sync::Mutex::new(()));
        let turns = changing.iter().map(|_| AtomicU64::new(0)).collect();
        let gates =
            parts.places.iter().map(|_| parts.gate.of_its_kind(parts.jobs_per_path)).collect();
        let room = || Arc::new(tokio::sync::Semaphore::new(ARRIVING_MAX));
        let arriving = parts.places.iter().map(|_| room()).collect();
        Self {
            clock: parts.clock,
            random: parts.random,
            disk: parts.disk,
            gate: parts.gate,
            places: parts.places,
            sums: parts.sums,
            log: parts.log,
            counters: parts.counters,
            facts: parts.facts,
            durability: parts.durability,
            distribution: parts.distribution,
            network_timeout: parts.network_timeout,
            progress: Progress::default(),
            scrub: scrub::Numbers::default(),
            copies: parts.copies,
            access_log: parts.access_log,
            pieces: tokio::sync::Semaphore::new(PIECES_MAX),
            gates,
            arriving,
            pool: parts.pool,
            tombs: Mutex::new(parts.tombs),
            last_from: Mutex::default(),
            health: Mutex::new(Health::new(&parts.read_only)),
            names: Mutex::new(RecentNames::default()),
            changing,
            turns,
            owing: Mutex::default(),
            half_edited: Mutex::default(),
            next_path: AtomicUsize::new(0),
        }
    }

    /// The gate of a store path; what has none fails behind it.
    pub(crate) fn on(&self, path: StorePath) -> &Gate {
        self.gates.get(usize::from(path.0)).unwrap_or(&self.gate)
    }

    /// Room in memory for pieces of content on their way to `path`. One for each store path, so
    /// that what a slow disk leaves lying takes no room from the others.
    pub(crate) fn arriving(&self, path: StorePath) -> Arc<tokio::sync::Semaphore> {
        let of_path = self.arriving.get(usize::from(path.0)).or(self.arriving.first());
        Arc::clone(of_path.expect("there is a store path"))
    }

    /// Seconds of the wall clock, as names and records carry them.
    pub(crate) fn now(&self) -> u32 {
        self.clock.now().secs32()
    }

    /// Where a file lies.
    pub(crate) fn file(&self, name: &FileName) -> Option<(&Place, PathBuf)> {
        let place = self.places.get(name.store_path())?;
        Some((place, place.file(name)))
    }

    /// The store path for an upload of `size` bytes, given what the client wants
    /// (storage.md 2.14 and 3.1); `None` when no path has room.
    pub(crate) fn choose_path(&self, wanted: Option<StorePath>, size: u64) -> Option<StorePath> {
        let writable = |path: StorePath| self.health().takes_uploads(path);
        if let Some(path) = wanted
            && writable(path)
        {
            // Room on a path that was asked for is judged by the caller, not replaced.
            return self.has_room(path, size).then_some(path);
        }
        let count = usize::from(self.places.count());
        let start = self.next_path.load(Ordering::Relaxed);
        let turns = (0..count).filter_map(|step| u8::try_from((start + step) % count).ok());
        let chosen = turns.map(StorePath).find(|p| writable(*p) && self.has_room(*p, size));
        if self.facts.parameters.path_policy == PathPolicy::RoundRobin {
            self.next_path.store((start + 1) % count.max(1), Ordering::Relaxed);
        }
        chosen
    }

    /// After a measurement: the path that uploads go to when free space decides.
    pub(crate) fn space_was_measured(&self) {
        if self.facts.parameters.path_policy == PathPolicy::MostFree {
            let paths = (0..=u8::MAX).map(StorePath).zip(self.places.iter());
            let writable = paths.filter(|(path, _)| self.health().takes_uploads(*path));
            let most = writable.max_by_key(|(_, place)| place.space().free);
            if let Some((path, _)) = most {
                self.next_path.store(usize::from(path.0), Ordering::Relaxed);
            }
        }
    }

    /// Whether `size` bytes may still go to `path` (storage.md 3.1, check 8).
    pub(crate) fn has_room(&self, path: StorePath, size: u64) -> bool {
        let reserve = self.facts.parameters.reserve;
        let paths = self.places.count();
        self.places.get(path).is_some_and(|p| reserve.leaves_room(p.space(), size, paths))
    }

    /// The directory of the next file; `draft` is hashed when directories are.
    pub(crate) fn next_dir(&self, path: StorePath, draft: &NameParts) -> SubDir {
        let dirs = self.places.get(path).map_or(1, Place::dirs);
        match (self.distribution, SubDirCount::new(dirs)) {
            (Distribution::RoundRobin { files_per_dir }, _) => {
                self.counters.next_dir(dirs, files_per_dir)
            }
            (Distribution::Hashed, Some(count)) => {
                SubDir::hashed(&self.record(draft).encode(), count)
            }
            (Distribution::Hashed, None) => SubDir { high: 0, low: 0 },
        }
    }

    /// A field of extension and random digits.
    pub(crate) fn ext_field(&self, extension: &Extension) -> ExtField {
        ExtField::new(extension, self.random.u32())
    }

    /// A name that was not given out recently; `None` when ten draws collide.
    pub(crate) fn new_name(&self, parts: &NameParts) -> Option<FileName> {
        let secs = self.clock.moment().0.as_secs();
        (0..NAME_ATTEMPTS).find_map(|_| {
            let (store_path, dir, ext) = (parts.path, parts.dir, parts.ext);
            let record = self.record(parts);
            let name = NewName { store_path, dir, record, slot: None, ext }.print();
            let mut names = self.names.lock().expect("no code panics while holding this lock");
            names.take(secs, name.as_str()).then_some(name)
        })
    }

    /// A new record of a name, with fresh random bits.
    pub(crate) fn record(&self, parts: &NameParts) -> proto::fileid::Record {
        let random = self.random.u32();
        let size = match parts.appender {
            true => SizeField::appender(random),
            false => SizeField::normal(parts.size, random),
        };
        let (source, timestamp) = (self.facts.source, parts.timestamp);
        proto::fileid::Record { source, timestamp, size, crc32: parts.crc32 }
    }

    /// Waits until nobody else changes this file.
    pub(crate) async fn lock_name(&self, name: &FileName) -> tokio::sync::MutexGuard<'_, ()> {
        let index = self.lock_of(name);
        let lock = self.changing.get(index).expect("there is a lock for every remainder");
        let guard = lock.lock().await;
        if let Some(turns) = self.turns.get(index) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
        guard
    }

    fn lock_of(&self, name: &FileName) -> usize {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % NAME_LOCKS as u64).unwrap_or(0);
        index + NAME_LOCKS * usize::from(name.store_path().0)
    }

    /// The same for a name that may be that of metadata, which are locked with their file.
    pub(crate) async fn lock_file(&self, name: &FileName) -> tokio::sync::MutexGuard<'_, ()> {
        self.lock_name(self.locked_with(name).as_ref().unwrap_or(name)).await
    }

    /// How often the lock of this file was taken: a file whose number is the same has not
    /// changed. To be asked with the lock held.
    pub(crate) fn turn(&self, name: &FileName) -> u64 {
        let index = self.lock_of(self.locked_with(name).as_ref().unwrap_or(name));
        self.turns.get(index).map_or(0, |turns| turns.load(Ordering::Relaxed))
    }

    /// The file with which metadata are locked.
    fn locked_with(&self, name: &FileName) -> Option<FileName> {
        let file = metadata_of(name.as_str())?;
        FileName::parse(file, self.places.count()).ok()
    }

    /// Whether this path takes uploads, and whether it takes changes.
    pub(crate) fn takes(&self, path: StorePath) -> (bool, bool) {
        let health = self.health();
        (health.takes_uploads(path), health.takes_changes(path))
    }

    /// What was recorded changes what is known to be deleted.
    pub(crate) fn bury(&self, records: &[Record]) {
        self.with_tombs(|tombs| records.iter().for_each(|record| tombs.follow(record)));
    }

    /// Keeps what has happened and could not be recorded: it is recorded later. Of very many the
    /// next start records the rest, by their notes.
    pub(crate) fn owe(&self, record: Record, owed: Owed) {
        let mut owing = self.owing.lock().expect("no code panics while holding this lock");
        if owing.len() < OWING_MAX {
            owing.push((record, owed));
        } else {
            log::warn!("not recorded before the next start: {record}");
        }
    }

    /// All that is owed, to be recorded now or handed back.
    pub(crate) fn take_owing(&self) -> Vec<(Record, Owed)> {
        std::mem::take(&mut *self.owing.lock().expect("no code panics while holding this lock"))
    }

    /// An edit of `name` has failed half way, and retires its store path: few can.
    pub(crate) fn leave_half_edited(&self, name: &FileName) {
        let mut names = self.half_edited.lock().expect("no code panics while holding this lock");
        names.insert(name.as_str().to_owned());
    }

    /// Whether what is read of this file is no damage, but an edit that a restart completes.
    pub(crate) fn is_half_edited(&self, name: &str) -> bool {
        self.half_edited.lock().expect("no code panics while holding this lock").contains(name)
    }

    /// Whether a file of this name, created at `at`, was deleted here.
    pub(crate) fn is_buried(&self, name: &FileName, at: u32) -> bool {
        let of = metadata_of(name.as_str());
        self.with_tombs(|tombs| {
            // Metadata of a file that is gone are gone with it.
            tombs.holds(name.as_str(), at) || of.is_some_and(|file| tombs.holds(file, at))
        })
    }

    /// Whether the metadata that are here came from `peer`.
    pub(crate) fn came_from(&self, name: &FileName, peer: IpAddr) -> bool {
        let last = self.last_from.lock().expect("no code panics while holding this lock");
        last.iter().any(|(other, from)| other == name && *from == peer)
    }

    /// Takes note of whom the metadata of this name came from: from a peer, or from our own
    /// client.
    pub(crate) fn now_from(&self, name: &FileName, peer: Option<IpAddr>) {
        let mut last = self.last_from.lock().expect("no code panics while holding this lock");
        last.retain(|(other, _)| other != name);
        let Some(peer) = peer else { return };
        if LAST_FROM_MAX <= last.len() {
            last.pop_front();
        }
        last.push_back((name.clone(), peer));
    }

    /// The time that a file of this name has if it is made now: later than the deletion of an
    /// earlier one of the same name, whatever the clock says.
    pub(crate) fn time_for(&self, name: &FileName, now: u32) -> u32 {
        let buried = self.with_tombs(|tombs| tombs.free_after(name.as_str()));
        buried.map_or(now, |at| now.max(at.saturating_add(1)))
    }

    pub(crate) fn with_tombs<T>(&self, job: impl FnOnce(&mut Tombs) -> T) -> T {
        job(&mut self.tombs.lock().expect("no code panics while holding this lock"))
    }

    /// Whether existing files of this path may be changed, and slaves added.
    pub(crate) fn takes_changes(&self, path: StorePath) -> bool {
        self.health().takes_changes(path)
    }

    /// With the file's name locked: clears a doubt of its reader, or finds damage. Blocks.
    pub(crate) fn settle(&self, source: &mut Source) -> Result<(), ReadError> {
        let name = source.name().clone();
        let file = self.file(&name).map(|(_, file)| file).unwrap_or_default();
        let heal = self.takes_changes(name.store_path());
        if let Some(error) = self.sums.settle(source, &file, heal)? {
            self.sums_not_made(&name, &error);
        }
        Ok(())
    }

    /// Says that the sums of a file could not be made: its store path may be lost by that.
    pub(crate) fn sums_not_made(&self, name: &FileName, error: &WriteError) {
        log::warn!("make the sums of {name}: {error}: {}", error.io());
        self.distrust(name.store_path(), error);
    }

    /// After a sync that failed nothing is written to that store path any more.
    pub(crate) fn distrust(&self, path: StorePath, error: &WriteError) {
        if let WriteError::Sync { .. } = error {
            self.retire(path, Retire::Path);
        }
    }

    /// Notes that a path or the log cannot be trusted any more.
    pub(crate) fn retire(&self, path: StorePath, what: Retire) {
        if self.health().retire(path, what) {
            match what {
                Retire::Log => {
                    log::error!("the binlog is lost: nothing is changed before a restart")
                }
                _ => log::error!("store path {path} is read-only until a restart: a sync failed"),
            }
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().expect("no code panics while holding this lock")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// A record of one of our own operations on `name`.
pub(crate) fn own(at: u32, act: Act, name: &FileName) -> Record {
    Record::new(at, Op::own(act), name.as_str().to_owned())
}

/// A record of an operation that a peer has sent us, with the time that the peer gave it.
pub(crate) fn replica(at: u32, act: Act, name: &FileName) -> Record {
    Record::new(at, Op { act, replica: true }, name.as_str().to_owned())
}
