//! Where things lie: store paths, their sub-directories, temporary files, free space.
//!
//! ```text
//! <store path>/data/HH/HH/<name>   stored files; 256 x 256 directories, 0755
//! <store path>/data/.tmp/N         files being received; swept at every start
//! <store path>/data/.fastdfs_vars  the mark of the store path
//! ```
//!
//! A directory that is not there yet is made when the first file needs it, so that start-up
//! does not wait for 65,536 of them; `fill` makes the rest in the background, the last one
//! last, because its presence tells the reference that all are there.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use proto::{
    fileid::{FileName, SubDir},
    ids::StorePath,
};

use super::port::{Disk, Kind, Space};

/// Where temporary files are, inside `data`. No client can name it: its name has a dot.
const TEMPORARY_DIR: &str = ".tmp";
/// What the names of notes of edits begin with, in the same directory.
const NOTE: &str = "edit-";
/// What the names of notes of records begin with, in the same directory.
const OWED: &str = "log ";
/// Directories on each level at most.
const LEVEL: usize = 256;

/// One store path.
#[derive(Debug)]
pub struct Place {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    /// Directories per level.
    count: u16,
    /// One bit per sub-directory that is known to exist, and to survive power loss.
    known: Vec<AtomicBool>,
    next_temporary: AtomicU64,
    total: AtomicU64,
    free: AtomicU64,
}

/// What opening a store path found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Not all directories were there: the path is new, or was left half made.
    pub fresh: bool,
    /// Left-over temporary files that were removed.
    pub swept: usize,
}

impl Place {
    /// Opens the store path `root`, which exists: makes `data`, sweeps what an earlier process
    /// left unfinished, measures the free space.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, count: u16) -> io::Result<(Self, Opened)> {
        let data = root.join("data");
        make_dir(&*disk, &data)?;
        // Synced even when it was there: whoever made it may have died before it was safe.
        disk.sync_dir(root)?;
        let temporary = data.join(TEMPORARY_DIR);
        make_dir(&*disk, &temporary)?;
        disk.sync_dir(&data)?;
        let mut swept = 0;
        for name in disk.list(&temporary)? {
            // Notes are not left-overs: what they say is completed before we serve.
            let bytes = name.as_encoded_bytes();
            if !bytes.starts_with(NOTE.as_bytes()) && !bytes.starts_with(OWED.as_bytes()) {
                disk.remove(&temporary.join(name))?;
                swept += 1;
            }
        }
        let place = Self::look(disk, root, count);
        // Being there does not make a directory known: an earlier process may have died before
        // it was synced, or may have needed the last one before those between were made.
        let fresh = !(place.has_dir(FIRST)? && place.has_dir(place.last_dir())?);
        place.measure()?;
        Ok((place, Opened { fresh, swept }))
    }

    /// The store path `root` as it is, for those who only look.
    pub fn look(disk: Arc<dyn Disk>, root: &Path, count: u16) -> Self {
        let mut known = Vec::new();
        known.resize_with(LEVEL * LEVEL, || AtomicBool::new(false));
        let (next_temporary, total, free) = Default::default();
        Self { disk, data: root.join("data"), count, known, next_temporary, total, free }
    }

    /// The `data` directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where `name` lies, or would lie.
    pub fn file(&self, name: &FileName) -> PathBuf {
        self.data.join(name.true_name())
    }

    /// The directory of a name.
    pub fn dir(&self, dir: SubDir) -> PathBuf {
        self.data.join(dir.to_string())
    }

    /// A path for a new temporary file, unique in this process.
    pub fn temporary(&self) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.data.join(TEMPORARY_DIR).join(number.to_string())
    }

    /// Where temporary files and notes are.
    pub fn temporary_dir(&self) -> PathBuf {
        self.data.join(TEMPORARY_DIR)
    }

    /// A path for the note of an edit, unique in this process.
    pub fn note(&self) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.temporary_dir().join(format!("{NOTE}{number}"))
    }

    /// The notes that an earlier process left; to be called before new ones are made.
    pub fn notes(&self) -> io::Result<Vec<PathBuf>> {
        let dir = self.temporary_dir();
        let names = self.disk.list(&dir)?.into_iter();
        let notes = names.filter(|name| name.as_encoded_bytes().starts_with(NOTE.as_bytes()));
        Ok(notes.map(|name| dir.join(name)).collect())
    }

    /// A path for the note of a record, whose text has no slash.
    pub fn owed(&self, text: &str) -> PathBuf {
        self.temporary_dir().join(format!("{OWED}{text}"))
    }

    /// The notes of records that an earlier process left, with their texts.
    pub fn all_owed(&self) -> io::Result<Vec<(PathBuf, String)>> {
        let dir = self.temporary_dir();
        let names = self.disk.list(&dir)?.into_iter();
        let notes = names.filter_map(|name| {
            let text = name.to_str()?.strip_prefix(OWED)?.to_owned();
            Some((dir.join(&name), text))
        });
        Ok(notes.collect())
    }

    /// Makes sure that `dir` exists and will exist after a power loss.
    pub fn ensure_dir(&self, dir: SubDir) -> io::Result<()> {
        let Some(known) = self.known(dir) else { return Err(io::ErrorKind::InvalidInput.into()) };
        if known.load(Ordering::Acquire) {
            return Ok(());
        }
        let low = self.dir(dir);
        let high = self.data.join(format!("{:02X}", dir.high));
        make_dir(&*self.disk, &high)?;
        make_dir(&*self.disk, &low)?;
        // Synced even when it was there: another thread may have made it a moment ago.
        self.disk.sync_dir(&high)?;
        self.disk.sync_dir(&self.data)?;
        known.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes all directories of one high level; to be called in the background for 0 to
    /// `count - 1`, in this order.
    pub fn fill(&self, high: u8) -> io::Result<()> {
        let path = self.data.join(format!("{high:02X}"));
        make_dir(&*self.disk, &path)?;
        let lows = 0..=self.last_dir().low;
        for low in lows.clone() {
            make_dir(&*self.disk, &self.dir(SubDir { high, low }))?;
        }
        self.disk.sync_dir(&path)?;
        self.disk.sync_dir(&self.data)?;
        for known in lows.filter_map(|low| self.known(SubDir { high, low })) {
            known.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Directories per level.
    pub fn dirs(&self) -> u16 {
        self.count
    }

    /// Asks the file system for its room and remembers the answer.
    pub fn measure(&self) -> io::Result<Space> {
        let space = self.disk.space(&self.data)?;
        self.total.store(space.total, Ordering::Relaxed);
        self.free.store(space.free, Ordering::Relaxed);
        Ok(space)
    }

    /// The room at the last measurement.
    pub fn space(&self) -> Space {
        Space { total: self.total.load(Ordering::Relaxed), free: self.free.load(Ordering::Relaxed) }
    }

    fn known(&self, dir: SubDir) -> Option<&AtomicBool> {
        self.known.get(usize::from(dir.high) * LEVEL + usize::from(dir.low))
    }

    fn last_dir(&self) -> SubDir {
        let last = u8::try_from(self.count.saturating_sub(1)).unwrap_or(u8::MAX);
        SubDir { high: last, low: last }
    }

    fn has_dir(&self, dir: SubDir) -> io::Result<bool> {
        match self.disk.stat(&self.dir(dir)) {
            Ok(stat) => Ok(stat.kind == Kind::Dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

const FIRST: SubDir = SubDir { high: 0, low: 0 };

/// True if the directory was not there.
fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    match disk.make_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The store paths of this server, in the order of their numbers.
#[derive(Debug)]
pub struct Places(Vec<Place>);

impl Places {
    pub fn new(places: Vec<Place>) -> Self {
        Self(places)
    }

    pub fn get(&self, path: StorePath) -> Option<&Place> {
        self.0.get(usize::from(path.0))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        self.0.iter()
    }

    /// The logic name, `M00/…`, of a path inside one of them, as links between stored files lead.
    pub fn logic_name(&self, path: &Path) -> Option<String> {
        (0u8..).zip(self.iter()).find_map(|(index, place)| {
            let inside = path.strip_prefix(place.data()).ok()?.to_str()?;
            Some(format!("{}/{inside}", StorePath(index)))
        })
    }

    /// Between 1 and 256.
    pub fn count(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::{Chance, Plan, SimulatedDisk};

    const ROOT: &str = "/base";
    const LAST: SubDir = SubDir { high: 1, low: 1 };

    /// Puts a file that is durable itself into `dir` of a store path opened on `disk`.
    fn store(disk: &SimulatedDisk, dir: SubDir) -> io::Result<()> {
        let (place, _) = Place::open(Arc::new(disk.clone()), Path::new(ROOT), 2)?;
        place.ensure_dir(dir)?;
        disk.create(&place.dir(dir).join("x"))?;
        disk.sync_dir(&place.dir(dir))
    }

    #[test]
    fn directories_that_a_killed_process_made_are_synced_by_the_next_one() {
        for nth in 1.. {
            let disk = SimulatedDisk::with_dirs(&[ROOT]);
            disk.plan(Plan::Die(nth));
            // The first directory is one of those by which a complete store path is known.
            let whole = store(&disk, FIRST).and_then(|()| store(&disk, LAST)).is_ok();
            let disk = disk.after_kill();
            disk.remove(Path::new("/base/data/01/01/x")).ok();
            store(&disk, LAST).unwrap();
            for seed in 0..20 {
                let left = disk.after_power_loss(&mut Chance(seed));
                let there = left.files().contains_key(Path::new("/base/data/01/01/x"));
                assert!(there, "killed at effect {nth}, seed {seed}");
            }
            if whole {
                break;
            }
        }
    }

    #[test]
    fn directories_that_are_missing_between_the_first_and_the_last_are_made() {
        let disk = SimulatedDisk::with_dirs(&[ROOT]);
        store(&disk, FIRST).and_then(|()| store(&disk, LAST)).unwrap();
        store(&disk, SubDir { high: 0, low: 1 }).unwrap();
    }
}
