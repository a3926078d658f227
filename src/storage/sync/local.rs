//! What lies here under the name of a record, and its content for the peer.
//!
//! Every function may block. Reads only; follows links between stored files, as their readers
//! do, and nothing else.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use net::{client::storage::Content, ports::Fut};
use proto::{binlog::Record, fileid::FileName};

use super::plan::{Local, Poison, Task, checked, task};
use crate::{
    disk::{
        port::{Disk, Kind},
        read::RangeError,
    },
    store::Store,
    sums::{ReadError, Source, Verified},
};

/// Content up to this size is read at once and travels with its head.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// One piece of larger content.
const PIECE_BYTES: usize = 256 * 1024;

/// A record, ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) name: FileName,
    pub(super) task: Task,
    source: Option<Source>,
}

/// The content that goes with a task.
pub(super) enum Payload {
    Nothing,
    Small(Bytes),
    Large(FromDisk),
}

/// Why a record is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("{}", .0.0)]
    Poison(Poison),
    #[error("look at the file")]
    Disk(#[from] io::Error),
    /// Damaged content is given to nobody.
    #[error("our copy is damaged at byte {0}")]
    Damaged(u64),
    /// To be looked at again.
    #[error("it was replaced while it was read")]
    Replaced,
}

impl From<ReadError> for NotReady {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Disk(error),
            ReadError::Replaced => Self::Replaced,
            ReadError::Doubt { offset } | ReadError::Damaged { offset } => Self::Damaged(offset),
        }
    }
}

/// Decides what to send for `record`, and reads or opens what goes with it.
pub(super) fn prepare(store: &Store, record: &Record) -> Result<Prepared, NotReady> {
    let (name, _) = checked(record, store.places.count()).map_err(NotReady::Poison)?;
    let Some((_, path)) = store.file(&name) else {
        return Err(NotReady::Poison(Poison("no such store path")));
    };
    let local = look(&*store.disk, &path)?;
    let mut task = task(record, &local).map_err(NotReady::Poison)?;
    if task == Task::Link(None) {
        task = Task::Link(leads_to(store, &path)?);
    }
    let source = source(store, &name, &path, &mut task)?;
    Ok(Prepared { name, task, source })
}

/// The same for a file that is sent whole although its record asked for something smaller.
pub(super) fn whole(store: &Store, name: &FileName, over: bool) -> Result<Prepared, NotReady> {
    let Some((_, path)) = store.file(name) else {
        return Err(NotReady::Poison(Poison("no such store path")));
    };
    let mut task = match look(&*store.disk, &path)? {
        Local::Plain { len, .. } => Task::Whole { len, over },
        _ => Task::Skip,
    };
    let source = source(store, name, &path, &mut task)?;
    Ok(Prepared { name: name.clone(), task, source })
}

/// Opens the content of `task`; a file that went away meanwhile turns it into nothing, one that
/// has another length by now is sent as it is, or is to be looked at again.
fn source(
    store: &Store,
    name: &FileName,
    path: &Path,
    task: &mut Task,
) -> Result<Option<Source>, NotReady> {
    let (offset, bytes) = match *task {
        Task::Whole { .. } => (0, 0),
        Task::Part { offset, len, .. } if 0 < len => (offset, len),
        _ => return Ok(None),
    };
    let source = match store.sums.open(name, path, offset, bytes) {
        Ok(source) => source,
        Err(RangeError::Open(error)) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error.into());
        }
        Err(RangeError::Open(_)) => {
            *task = Task::Skip;
            return Ok(None);
        }
        // Cut since then.
        Err(_) => return Err(NotReady::Replaced),
    };
    match task {
        Task::Whole { len, .. } => *len = source.len(),
        Task::Part { len, .. } if source.len() < *len => return Err(NotReady::Replaced),
        _ => {}
    }
    Ok(Some(source))
}

impl Prepared {
    /// The length `new` for a copy of `old` bytes.
    pub(super) fn cut(name: FileName, old: u64, new: u64) -> Self {
        Self { name, task: Task::Truncate { old, new }, source: None }
    }

    /// The content: small ones read and compared, others ready to be.
    pub(super) async fn payload(self, store: &Arc<Store>) -> Result<Payload, NotReady> {
        let Some(source) = self.source else { return Ok(Payload::Nothing) };
        if SMALL_BYTES_MAX < source.len() {
            return Ok(Payload::Large(FromDisk::new(Arc::clone(store), source)));
        }
        let (_, content) = verified(store, source, 0).await?;
        Ok(Payload::Small(content.into_bytes().into()))
    }
}

/// The next piece, compared with what proves it. A difference counts only when it is still there
/// with the name locked, so that no change is under way.
async fn verified(
    store: &Arc<Store>,
    mut source: Source,
    at: u64,
) -> Result<(Source, Verified), ReadError> {
    let shared = Arc::clone(store);
    let job = move || {
        let outcome = source.read(&shared.sums, at, PIECE_BYTES);
        (source, outcome)
    };
    let (mut source, outcome) = store.gate.run(job).await;
    match outcome {
        Ok(content) => return Ok((source, content)),
        Err(ReadError::Doubt { .. }) => {}
        Err(error) => return Err(error),
    }
    let name = source.name().clone();
    let _alone = store.lock_file(&name).await;
    let shared = Arc::clone(store);
    let job = move || {
        shared.settle(&mut source)?;
        let content = source.read(&shared.sums, at, PIECE_BYTES)?;
        Ok((source, content))
    };
    store.gate.run(job).await
}

/// What `path` is.
fn look(disk: &dyn Disk, path: &Path) -> io::Result<Local> {
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let stat = match disk.stat(path) {
        Err(error) if missing(&error) => return Ok(Local::Missing),
        other => other?,
    };
    match stat.kind {
        Kind::File => Ok(Local::Plain { len: stat.len, is_link: false }),
        Kind::Link => match disk.stat_target(path) {
            Ok(target) if target.kind == Kind::File => {
                Ok(Local::Plain { len: target.len, is_link: true })
            }
            Ok(_) => Ok(Local::Other),
            Err(error) if missing(&error) => Ok(Local::Dangling),
            Err(error) => Err(error),
        },
        Kind::Dir | Kind::Other => Ok(Local::Other),
    }
}

/// The logic name that a link of ours leads to; none if it leads out of the store paths.
fn leads_to(store: &Store, link: &Path) -> io::Result<Option<String>> {
    Ok(store.places.logic_name(&store.disk.read_link(link)?))
}

/// A range of a file, piece by piece, each compared before it leaves.
pub(super) struct FromDisk {
    store: Arc<Store>,
    source: Option<Source>,
    at: u64,
    /// Where our copy turned out to be damaged, if it did.
    pub(super) damaged: Option<u64>,
}

impl FromDisk {
    fn new(store: Arc<Store>, source: Source) -> Self {
        Self { store, source: Some(source), at: 0, damaged: None }
    }
}

impl Content for FromDisk {
    fn next(&mut self) -> Fut<'_, io::Result<Option<Bytes>>> {
        Box::pin(async {
            let Some(source) = self.source.take() else { return Ok(None) };
            if source.len() <= self.at {
                return Ok(None);
            }
            match verified(&self.store, source, self.at).await {
                Ok((source, piece)) => {
                    self.source = Some(source);
                    self.at = self.at.saturating_add(piece.bytes().len() as u64);
                    // A file that has become shorter ends early; sending fails for its length.
                    let bytes = Bytes::from(piece.into_bytes());
                    Ok((!bytes.is_empty()).then_some(bytes))
                }
                Err(ReadError::Io(error)) => Err(error),
                Err(ReadError::Replaced) => Err(io::Error::other(NotReady::Replaced)),
                Err(ReadError::Doubt { offset } | ReadError::Damaged { offset }) => {
                    self.damaged = Some(offset);
                    Err(io::ErrorKind::InvalidData.into())
                }
            }
        })
    }
}
