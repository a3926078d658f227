//! Records that are owed to the binlog: a note of each change of names, from before the change
//! until its record is in the log.
//!
//! ```text
//! data/.tmp/log <the record, each slash as two blanks>    the name says all
//! ```
//!
//! A process that dies between the two leaves the note, and the next start records what has
//! happened: without it the other members would never learn of a file that is there, or go on
//! serving one that is gone. Where the process lives on and only the log refused the record, as on
//! a full disk, `service::late` makes it as soon as the log takes records again.
//!
//! The note is made before the name changes and on the same file system, whose journal keeps that
//! order, so it needs no sync of its own. One that is left although nothing happened, or twice,
//! does no harm. Edits have notes of their own.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use proto::{
    binlog::{Act, Op, Record},
    fileid::FileName,
};

use crate::{
    binlog::log::Log,
    disk::{
        layout::{Place, Places},
        port::Disk,
        write::WriteError,
    },
    sums::Sums,
};

/// A note that stands.
#[derive(Clone, Debug)]
#[must_use = "a note is forgotten once its record is in the log"]
pub(crate) struct Owed {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Owed {
    /// Notes that `record` has to be in the log if its change happens. Blocks.
    pub(crate) fn note(
        disk: &Arc<dyn Disk>,
        place: &Place,
        record: &Record,
    ) -> Result<Self, WriteError> {
        let path = Self::path_of(place, record)?;
        match disk.create(&path) {
            // Of the same change a moment ago, which did not succeed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => drop(other.map_err(WriteError::disk("note a record"))?),
        }
        Ok(Self { disk: Arc::clone(disk), path })
    }

    /// Removes `file`, noting before that `record` has to be in the log then; the note, or
    /// nothing if there is no such file. Blocks.
    ///
    /// Where there is no room for the note the file itself becomes it: a full disk, or one
    /// without a free inode, gets room again by removing.
    pub(crate) fn remove(
        disk: &Arc<dyn Disk>,
        place: &Place,
        record: &Record,
        file: &Path,
    ) -> Result<Option<Self>, WriteError> {
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let doing = "remove the file";
        match Self::note(disk, place, record) {
            Ok(owed) => match disk.remove(file) {
                Ok(()) => Ok(Some(owed)),
                Err(error) if gone(&error) => {
                    owed.forget();
                    Ok(None)
                }
                Err(error) => {
                    owed.forget_if(disk.stat(file).is_ok());
                    Err(WriteError::disk(doing)(error))
                }
            },
            Err(error) if is_full(error.io()) => {
                let path = Self::path_of(place, record)?;
                match disk.rename_new(file, &path) {
                    Ok(()) => Ok(Some(Self { disk: Arc::clone(disk), path })),
                    Err(error) if gone(&error) => Ok(None),
                    Err(error) => Err(WriteError::disk(doing)(error)),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn path_of(place: &Place, record: &Record) -> Result<PathBuf, WriteError> {
        let line = record.line().map_err(io::Error::other);
        let line = line.map_err(WriteError::disk("note a record"))?;
        Ok(place.owed(&line.trim_end().replace('/', "  ")))
    }

    /// Forgets the note of a change that did not happen; where that is not certain it stays for
    /// the next start. Blocks.
    pub(crate) fn forget_if(self, certain: bool) {
        if certain { self.forget() } else { self.stay() }
    }

    /// The change failed on the way and may be there for good: without its note it would never be
    /// recorded, and a disk that has just failed need not keep to the order of its journal. Blocks.
    pub(crate) fn stay(self) {
        let dir = self.path.parent().unwrap_or(&self.path);
        if let Err(error) = self.disk.sync_dir(dir) {
            log::warn!("sync the note {}: {error}", self.path.display());
        }
    }

    /// The record is in the log, or the change did not happen. Blocks.
    pub(crate) fn forget(self) {
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The next start looks at it and finds nothing to do.
                log::warn!("remove {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

/// Whether there was no room for a new file.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Records what an earlier process had changed and not recorded. To be called before the port
/// is open, after the edits are finished.
pub(crate) fn settle(
    disk: &dyn Disk,
    places: &Places,
    sums: &Sums,
    log: &mut Log,
) -> anyhow::Result<()> {
    let tail = log.tail().context("read the end of the binlog")?;
    let recorded: HashSet<&str> = tail.lines().collect();
    for place in places.iter() {
        let (mut lines, mut done) = (String::new(), Vec::new());
        let notes = place.all_owed().context("list the notes of records")?;
        for (_, text) in &notes {
            let line = text.replace("  ", "/");
            // Else somebody else put it there.
            let Ok(record) = Record::parse(&line) else { continue };
            let due = Due::of(disk, place, &record, places.count());
            let due = due.with_context(|| format!("complete {line:?}"))?;
            for record in &due.records {
                let line = record.to_string();
                if !recorded.contains(line.as_str()) {
                    log::info!("an earlier process had not recorded what it did: {line}");
                    lines.push_str(&line);
                    lines.push('\n');
                }
            }
            done.push(due);
        }
        sync_dirs(disk, &done)?;
        if !lines.is_empty() {
            log.append(&lines)?;
        }
        if !notes.is_empty() {
            // Also what stands there already: the sync of it may be what has failed.
            log.sync()?;
        }
        for due in &done {
            due.finish(disk, place, sums)?;
        }
        for (path, _) in &notes {
            disk.remove(path).with_context(|| format!("remove {}", path.display()))?;
        }
        if !notes.is_empty() {
            disk.sync_dir(&place.temporary_dir())?;
        }
    }
    Ok(())
}

/// Makes what has happened outlast a power loss, before it is recorded. Blocks.
pub(crate) fn sync_dirs<'a>(
    disk: &dyn Disk,
    all: impl IntoIterator<Item = &'a Due>,
) -> anyhow::Result<()> {
    let dirs: BTreeSet<&PathBuf> = all.into_iter().flat_map(|due| &due.dirs).collect();
    for dir in dirs {
        match disk.sync_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.with_context(|| format!("sync {}", dir.display()))?,
        }
    }
    Ok(())
}

/// What a note leads to: nothing if its change did not happen, or another one has since then.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) records: Vec<Record>,
    /// Where names have changed; whoever changed them may have died or failed before the sync.
    dirs: Vec<PathBuf>,
    /// A file that is gone.
    gone: Option<FileName>,
    /// Metadata of it that are there. They go with it; the process died between the two.
    left: Option<FileName>,
}

impl Due {
    /// What the note of `record` leads to. Blocks.
    pub(crate) fn of(
        disk: &dyn Disk,
        place: &Place,
        record: &Record,
        paths: u16,
    ) -> anyhow::Result<Self> {
        let mut due = Self::default();
        let name = FileName::parse(&record.name, paths)?;
        let there = |name: &FileName| match disk.stat(&place.file(name)) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let is_there = there(&name)?.is_some();
        due.dirs.push(place.dir(name.dir()));
        match record.op.act {
            Act::Create | Act::Update | Act::Link if is_there => due.records.push(record.clone()),
            Act::Rename if is_there => {
                let old = record.extra.as_deref().map(|old| FileName::parse(old, paths));
                let old = old.transpose()?;
                let old_dir = old.as_ref().map(|old| place.dir(old.dir()));
                let old = old.map(|old| there(&old)).transpose()?;
                due.dirs.extend(old_dir);
                if old.flatten().is_none() {
                    due.records.push(record.clone());
                }
            }
            Act::Delete if !is_there => {
                due.records.push(record.clone());
                if let Some(metadata) = name.metadata()
                    && let Some(found) = there(&metadata)?
                {
                    // Members keep what is later than its deletion.
                    let at = record.at.max(u32::try_from(found.mtime).unwrap_or(0));
                    let op = Op::own(Act::Delete);
                    due.records.push(Record::new(at, op, metadata.as_str().to_owned()));
                    due.left = Some(metadata);
                }
                due.gone = Some(name);
            }
            _ => {}
        }
        Ok(due)
    }

    /// What is left to do when the records are in the log: a process that dies before that finds
    /// it again. Blocks.
    pub(crate) fn finish(&self, disk: &dyn Disk, place: &Place, sums: &Sums) -> anyhow::Result<()> {
        if let Some(left) = &self.left {
            let removed = disk.remove(&place.file(left));
            removed.with_context(|| format!("remove {left}"))?;
            disk.sync_dir(&place.dir(left.dir()))?;
        }
        for name in self.gone.iter().chain(&self.left) {
            sums.remove(name, true).with_context(|| format!("remove the sums of {name}"))?;
        }
        Ok(())
    }
}
