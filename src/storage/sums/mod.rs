//! Block sums of stored files, kept beside them: what proves that bytes are those that were
//! stored. The only maker of [`Verified`], without which no content is given to a connection,
//! a peer or a repair (testing.md R5).
//!
//! The format is `proto::sums`. Which files have sums, and what proves the others:
//!
//! ```text
//! normal file up to one block    none: size and CRC-32 in its own name prove it whole
//! longer normal file             sums; without them the CRC-32 in the name, and sums are made
//! appender, slave, metadata      sums; without them (made by the reference) nothing
//! ```
//!
//! How to use it:
//!
//! * to read, [`Sums::open`], then [`Source::read`] again and again. On
//!   [`ReadError::Doubt`] take the file's name lock, so that no change is under way, and call
//!   [`Sums::settle`]: it either lets the reading go on or says that the file is damaged;
//! * to look at a file as a whole (scrub, before it is used as a source, `--verify`),
//!   [`Sums::examine`];
//! * to store one, [`Sums::begin`] or [`Sums::whole`], [`Builder::update`] with each piece, and
//!   [`Builder::publish`] before the file gets its name; after a file went away,
//!   [`Sums::remove`];
//! * around a change in place, [`Sums::before_edit`] and [`Sums::after_edit`].
//!
//! After a crash sums agree with their file: they are in place before a file is visible, carry
//! both states while it is replaced, and are completed with the note of an edit. Everything
//! here may block. Never decides what to do about damage; `service` and the scrubber do.

mod build; // making sums while content passes

mod edit; // changes of existing files

mod examine; // a whole file against everything that can prove it

mod read; // ranges, block by block

mod seen; // what was proven since the start: `verify_reads = once`

mod spare; // buffers for content, used again

mod table; // one file of sums

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use proto::{
    fileid::{FileName, Kind, SubDir},
    ids::StorePath,
    sums::{Blocks, Seed, Whole},
};
use tokio::sync::Notify;

pub use self::{
    build::Builder,
    edit::{Changing, Kept, Span},
    examine::{Exam, Examination, State, SumsState},
    read::{ReadError, Source},
};
use self::{
    seen::Seen,
    spare::{Buffer, Spare},
    table::Table,
};
use crate::disk::{
    layout::{Place, Places},
    port::Disk,
};

/// Content that was compared with its sums, or that the setting says need not be.
#[derive(Debug)]
pub struct Verified {
    buffer: Arc<Buffer>,
    /// Where in it they are.
    range: Range<usize>,
}

impl Verified {
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes().get(self.range.clone()).unwrap_or_default()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        match Arc::try_unwrap(self.buffer) {
            Ok(buffer) if self.range.start == 0 => buffer.into_bytes(self.range.end),
            Ok(buffer) => buffer.bytes().get(self.range).unwrap_or_default().to_vec(),
            Err(shared) => shared.bytes().get(self.range).unwrap_or_default().to_vec(),
        }
    }
}

/// `verify_reads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyReads {
    /// Each read is compared.
    Always,
    /// Each block is compared when it is read first; then the file system is trusted.
    Once,
    /// The file system is trusted.
    Off,
}

/// What was found, since the start; for metrics.
#[derive(Debug, Default)]
pub struct Damage {
    /// Files in which damage was found: by reads, scrub and edits.
    pub found: AtomicU64,
    /// Files of sums that were damaged beside good content, and made anew.
    pub sums_healed: AtomicU64,
    /// Files repaired from another member.
    pub repaired: AtomicU64,
    /// Files that no member could repair, found by the last pass.
    pub unrepairable: AtomicU64,
    /// Blocks compared and found good.
    pub blocks_good: AtomicU64,
    /// Files found damaged, until somebody comes for them.
    waiting: Mutex<BTreeSet<FileName>>,
    /// Rung when one is found.
    pub bell: Notify,
}

/// Damaged files that wait to be repaired. What is found beyond them is found again by the next
/// reader or pass.
const WAITING_MAX: usize = 4096;

impl Damage {
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A file was found damaged: counts it and leaves its name for whoever repairs.
    pub fn report(&self, name: &FileName) {
        Self::count(&self.found);
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX {
            waiting.insert(name.clone());
        }
        self.bell.notify_one();
    }

    /// The files found damaged since the last call.
    pub fn take(&self) -> BTreeSet<FileName> {
        std::mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<FileName>> {
        self.waiting.lock().expect("no code panics while holding this lock")
    }
}

/// The sums of all store paths.
#[derive(Debug)]
pub struct Sums {
    disk: Arc<dyn Disk>,
    trees: Vec<Tree>,
    policy: VerifyReads,
    seen: Seen,
    spare: Arc<Spare>,
    pub damage: Damage,
    next_temporary: AtomicU64,
}

impl Sums {
    pub fn new(disk: Arc<dyn Disk>, places: &Places, policy: VerifyReads) -> Self {
        let trees = places.iter().map(Tree::of).collect();
        let (seen, damage) = (Seen::default(), Damage::default());
        let (spare, next_temporary) = (Arc::default(), AtomicU64::new(0));
        Self { disk, trees, policy, seen, spare, damage, next_temporary }
    }

    pub fn policy(&self) -> VerifyReads {
        self.policy
    }

    /// Whether a file has sums of its own: all but normal files that fit into one block.
    pub fn has_table(name: &FileName) -> bool {
        name.size().is_none_or(|size| Blocks::STANDARD.size() < size)
    }

    /// Where the sums of `name` lie.
    pub fn path(&self, name: &FileName) -> Option<PathBuf> {
        Some(self.tree(name.store_path())?.root.join(name.true_name()))
    }

    /// Removes the sums of a file that is gone; with `sync` for good. Sums that outlive their
    /// file harm nobody: a file stored under the name again brings new ones first.
    pub fn remove(&self, name: &FileName, sync: bool) -> io::Result<()> {
        self.seen.forget(name);
        if !Self::has_table(name) {
            return Ok(());
        }
        let Some(path) = self.path(name) else { return Ok(()) };
        match self.disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) if sync => path.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir)),
            other => other,
        }
    }

    /// What the head of a file's sums says it holds; `None` if there is no head to be read.
    pub fn known(&self, name: &FileName) -> io::Result<Option<Whole>> {
        if !Self::has_table(name) {
            return Ok(None);
        }
        let table = self.table(name, false)?;
        Ok(table.and_then(|table| table.header.ok()).map(|header| header.whole))
    }

    fn tree(&self, path: StorePath) -> Option<&Tree> {
        self.trees.get(usize::from(path.0))
    }

    /// Opens the sums of `name`; `None` when there are none. An empty file counts as none: that
    /// is what a power loss leaves of one that was never synced.
    fn table(&self, name: &FileName, write: bool) -> io::Result<Option<Table>> {
        match self.path(name) {
            Some(path) => Table::open(&*self.disk, &path, Seed::of(name.as_str()), write),
            None => Ok(None),
        }
    }

    /// A name for a new file of sums, where the next start sweeps what is left.
    fn temporary(&self, tree: &Tree) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        tree.temporary.join(format!("sums-{number}"))
    }
}

/// The CRC-32 that the name of a normal file carries.
fn crc_in_name(name: &FileName) -> Option<(u64, u32)> {
    let record = name.record()?;
    (name.kind_with(&record) == Kind::Normal).then(|| (record.size.size(), record.crc32))
}

/// `sums` of one store path: directories like those of `data`, made when needed.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    temporary: PathBuf,
    /// One bit per directory that is known to exist and to survive power loss.
    known: Vec<AtomicBool>,
}

impl Tree {
    fn of(place: &Place) -> Self {
        let store_path = place.data().parent().unwrap_or(Path::new("/"));
        let mut known = Vec::new();
        known.resize_with(256 * 256, || AtomicBool::new(false));
        Self { root: store_path.join("sums"), temporary: place.temporary_dir(), known }
    }

    fn ensure_dir(&self, disk: &dyn Disk, dir: SubDir) -> io::Result<()> {
        let index = usize::from(dir.high) * 256 + usize::from(dir.low);
        let Some(known) = self.known.get(index) else { return Ok(()) };
        if known.load(Ordering::Acquire) {
            return Ok(());
        }
        let high = self.root.join(format!("{:02X}", dir.high));
        for dir in [&self.root, &high, &self.root.join(dir.to_string())] {
            match disk.make_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        // Synced even when they were there: whoever made them may have died before that.
        disk.sync_dir(&high)?;
        disk.sync_dir(&self.root)?;
        self.root.parent().map_or(Ok(()), |path| disk.sync_dir(path))?;
        known.store(true, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests; // every damage of small files, crashes at every effect
