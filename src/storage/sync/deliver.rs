//! One record to one peer: look, send, understand the answer.
//!
//! Runs on a task of its own with a connection that nobody else has. Never touches marks and
//! never decides whether a record may be sent now.

use std::sync::Arc;

use net::client::{
    ClientError,
    replicate::{Body, Link},
};
use proto::{
    binlog::Record,
    fileid::{FileName, metadata_of},
    status::Status,
    storage::info::InfoFlags,
};

use super::{
    local::{FromDisk, NotReady, Payload, Prepared, prepare, whole},
    plan::{Task, Verdict, cut, verdict},
};
use crate::store::Store;

/// How often a file is looked at that is replaced each time while it is read.
const LOOKS_MAX: u32 = 10;

/// How it went.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There was nothing to send.
    Skipped,
    /// The peer has it; `already`, if it is a file, whether it had it before.
    Done { already: Option<bool> },
    /// The peer will never take it, or it makes no sense.
    Aside(String),
    /// Not now: the session ends, and the record is sent again.
    Failed(DeliverError),
}

/// Why a record is to be sent again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("the peer answered {0}")]
    Refused(Status),
    #[error("look at the file: {0}")]
    Disk(#[from] std::io::Error),
    #[error("the file was replaced whenever it was read")]
    Replaced,
    #[error("an edit of it failed half way: a restart of this storage completes it")]
    HalfEdited,
}

/// Why nothing was answered.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

/// Sends `record` over `link`, asking first whether the peer has the file if `probe` says that
/// it had the one before. `tries` counts attempts, this one included.
pub(super) async fn deliver(
    store: &Arc<Store>,
    link: &mut Link,
    record: &Record,
    probe: bool,
    tries: u32,
) -> Outcome {
    let (shared, wanted) = (Arc::clone(store), record.clone());
    let mut next = store.gate.run(move || prepare(&shared, &wanted)).await;
    let (mut probe, mut looks) = (probe, 0);
    loop {
        let prepared = match next {
            Ok(prepared) => prepared,
            Err(NotReady::Poison(why)) => return Outcome::Aside(why.0.to_owned()),
            Err(NotReady::Disk(error)) => return Outcome::Failed(error.into()),
            Err(NotReady::Replaced) => return Outcome::Failed(DeliverError::Replaced),
            Err(damaged) => return unreadable(store, record, &damaged),
        };
        if prepared.task == Task::Skip {
            return Outcome::Skipped;
        }
        let (name, task) = (prepared.name.clone(), prepared.task.clone());
        let status = match send(store, link, record.at, prepared, probe).await {
            Ok(status) => status,
            Err(SendError::Client(error)) => return Outcome::Failed(error.into()),
            Err(SendError::NotReady(NotReady::Disk(error))) => {
                return Outcome::Failed(error.into());
            }
            // Nothing of it is on its way yet: what is there now is as good.
            Err(SendError::NotReady(NotReady::Replaced)) if looks < LOOKS_MAX => {
                looks += 1;
                let (shared, wanted) = (Arc::clone(store), record.clone());
                next = store.gate.run(move || prepare(&shared, &wanted)).await;
                continue;
            }
            Err(SendError::NotReady(NotReady::Replaced)) => {
                return Outcome::Failed(DeliverError::Replaced);
            }
            Err(SendError::NotReady(damaged)) => return unreadable(store, record, &damaged),
        };
        let is_file = matches!(task, Task::Whole { .. });
        match verdict(&task, status, tries) {
            Verdict::Done => return Outcome::Done { already: is_file.then_some(false) },
            Verdict::Already => return Outcome::Done { already: Some(true) },
            Verdict::SendWhole { over } => {
                let shared = Arc::clone(store);
                probe = false;
                next = store.gate.run(move || whole(&shared, &name, over)).await;
            }
            Verdict::AskLength if looks < LOOKS_MAX => {
                looks += 1;
                next = match cut_again(store, link, name, &task).await {
                    Ok(Some(next)) => next,
                    Ok(None) => return Outcome::Done { already: None },
                    Err(error) => return Outcome::Failed(error),
                };
            }
            Verdict::Later | Verdict::AskLength | Verdict::CutFrom(_) => {
                return Outcome::Failed(DeliverError::Refused(status));
            }
            Verdict::Aside => return Outcome::Aside(format!("the peer answered {status}")),
        }
    }
}

/// Damaged content is given to nobody. That of an edit that failed half way will be whole again,
/// and set aside its record would be missing at the peer for ever.
fn unreadable(store: &Store, record: &Record, damaged: &NotReady) -> Outcome {
    if store.is_half_edited(&record.name) {
        return Outcome::Failed(DeliverError::HalfEdited);
    }
    Outcome::Aside(damaged.to_string())
}

/// What to send a peer whose copy has not the length that `task` cuts from; nothing if its copy
/// is as long as it has to be.
async fn cut_again(
    store: &Arc<Store>,
    link: &mut Link,
    name: FileName,
    task: &Task,
) -> Result<Option<Result<Prepared, NotReady>>, DeliverError> {
    let Task::Truncate { new, .. } = *task else { return Ok(None) };
    let verdict = match link.info(name.as_str(), InfoFlags::PROBE).await? {
        Ok(found) => cut(new, found.size),
        Err(Status::ENOENT) => Verdict::SendWhole { over: true },
        Err(status) => return Err(DeliverError::Refused(status)),
    };
    Ok(match verdict {
        Verdict::Done => None,
        Verdict::CutFrom(old) => Some(Ok(Prepared::cut(name, old, new))),
        _ => {
            let shared = Arc::clone(store);
            Some(store.gate.run(move || whole(&shared, &name, true)).await)
        }
    })
}

async fn send(
    store: &Arc<Store>,
    link: &mut Link,
    at: u32,
    prepared: Prepared,
    probe: bool,
) -> Result<Status, SendError> {
    let (name, task) = (prepared.name.clone(), prepared.task.clone());
    let name = name.as_str();
    let status = match task {
        Task::Skip => Ok(Status::OK),
        Task::Whole { len, mut over } => {
            // Of two metadata of one length each may be the later one.
            if probe && !over && metadata_of(name).is_none() {
                match link.info(name, InfoFlags::PROBE).await? {
                    Ok(info) if info.size == len => return Ok(link.had(at, name, len).await?),
                    Ok(_) => over = true,
                    Err(Status::ENOENT) => {}
                    Err(status) => return Ok(status),
                }
            }
            match prepared.payload(store).await? {
                Payload::Large(mut content) => {
                    let sent = link.file(over, at, name, len, Body::Stream(&mut content)).await;
                    return streamed(sent, &content);
                }
                Payload::Small(bytes) => link.file(over, at, name, len, Body::Small(bytes)).await,
                Payload::Nothing => link.file(over, at, name, len, Body::Nothing).await,
            }
        }
        Task::Part { append, offset, len } => {
            let place = (offset, len);
            match prepared.payload(store).await? {
                Payload::Large(mut content) => {
                    let body = Body::Stream(&mut content);
                    let sent = link.part(append, at, name, place, body).await;
                    return streamed(sent, &content);
                }
                Payload::Small(bytes) => {
                    link.part(append, at, name, place, Body::Small(bytes)).await
                }
                Payload::Nothing => link.part(append, at, name, place, Body::Nothing).await,
            }
        }
        Task::Truncate { old, new } => link.truncate(at, name, (old, new)).await,
        Task::Delete => link.delete(at, name).await,
        Task::Link(Some(source)) => link.link(at, name, &source).await,
        // A link that leads out of the store has no name to send.
        Task::Link(None) => Ok(Status::OK),
        Task::Rename(old) => link.rename(at, name, &old).await,
    };
    Ok(status?)
}

/// Damage that was found on the way explains why the sending failed.
fn streamed(sent: Result<Status, ClientError>, content: &FromDisk) -> Result<Status, SendError> {
    match content.damaged {
        Some(offset) => Err(NotReady::Damaged(offset).into()),
        None => Ok(sent?),
    }
}
