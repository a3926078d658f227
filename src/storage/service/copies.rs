//! `copies = 2`: between a change that is durable here and its answer, the wait for a second
//! member.
//!
//! Called by the one place that answers, after all locks of the handler are gone: two members
//! that waited for each other with a name locked would wait for ever. `crate::copies` decides.
//! Sends nothing itself; the senders do, and say how far they are.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use proto::command::Command;

use super::{change::Changed, delete, error::ServiceError, replicate};
use crate::{
    binlog::Position,
    copies::{Alone, Answer, Company, has, wait_of},
    progress::PeerProgress,
    store::Store,
};

/// The settings `copies` and `copies_missing`, and how it goes.
#[derive(Debug)]
pub(crate) struct Copies {
    /// `None`: one copy is enough.
    alone: Option<Alone>,
    company: Mutex<Company>,
    /// Answers that had a second copy, those that had none in time, and refusals.
    pub(crate) second: AtomicU64,
    pub(crate) missing: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl Copies {
    pub(crate) fn new(alone: Option<Alone>) -> Self {
        let (company, second) = (Mutex::default(), AtomicU64::default());
        Self {
            alone,
            company,
            second,
            missing: AtomicU64::default(),
            refused: AtomicU64::default(),
        }
    }

    /// Whether no second member keeps up at the moment.
    pub(crate) fn is_alone(&self) -> bool {
        self.company().is_alone()
    }

    fn company(&self) -> MutexGuard<'_, Company> {
        self.company.lock().expect("no code panics while holding this lock")
    }

    /// What to do with a change now.
    fn next(&self, alone: Alone, store: &Store) -> Answer {
        // Also with a record set aside: it is no copy of that one, but the member is there.
        let passed = |at: Position| store.progress.any(|peer| at <= peer.passed);
        let place = (store.clock.moment(), *store.log.end().borrow());
        let (answer, back) = self.company().next(alone, place, passed);
        if back {
            log::warn!("a second member has caught up: changes are answered with two copies again");
        }
        answer
    }
}

fn has_passed(peer: &PeerProgress, at: Position) -> bool {
    has(peer.passed, peer.aside_at, at)
}

/// Whether answers to this command wait.
fn concerns(command: Command) -> bool {
    use Command as C;
    !replicate::is_of_peers(command)
        && matches!(
            command,
            C::UploadFile
                | C::UploadAppenderFile
                | C::UploadSlaveFile
                | C::DeleteFile
                | C::SetMetadata
                | C::AppendFile
                | C::ModifyFile
                | C::TruncateFile
                | C::RegenerateAppenderFilename
        )
}

/// Before a change: refuses it if it would have to be refused afterwards.
pub(super) fn may_begin(store: &Store, command: Command) -> Result<(), ServiceError> {
    let copies = &store.copies;
    if copies.alone != Some(Alone::Refuse) || !concerns(command) {
        return Ok(());
    }
    if store.progress.members().is_empty() || copies.next(Alone::Refuse, store) == Answer::Refuse {
        copies.refused.fetch_add(1, Ordering::Relaxed);
        return Err(ServiceError::NoSecondCopy);
    }
    Ok(())
}

/// After a change, which came with `bytes` bytes: returns it when it may be answered.
pub(super) async fn second(
    store: &Arc<Store>,
    command: Command,
    bytes: u64,
    changed: Changed,
) -> Result<Changed, ServiceError> {
    let copies = &store.copies;
    let Some(alone) = copies.alone.filter(|_| concerns(command)) else { return Ok(changed) };
    // What others have recorded since is waited for, too: moments at most.
    let at = *store.log.end().borrow();
    if copies.next(alone, store) == Answer::Wait {
        let mut peers = store.progress.watch();
        let passed = peers.wait_for(|peers| peers.values().any(|peer| has_passed(peer, at)));
        if let Ok(Ok(_)) = tokio::time::timeout(wait_of(bytes), passed).await {
            copies.second.fetch_add(1, Ordering::Relaxed);
            return Ok(changed);
        }
    }
    let new = copies.company().left(at, store.clock.moment());
    match alone {
        Alone::Degrade => {
            copies.missing.fetch_add(1, Ordering::Relaxed);
            if new {
                log::error!(
                    "copies = 2: no second member has what was changed last; answering with one \
                     copy until one has caught up"
                );
            }
            Ok(changed)
        }
        Alone::Refuse => {
            copies.refused.fetch_add(1, Ordering::Relaxed);
            if new {
                log::error!(
                    "copies = 2: no second member has what was changed last; refusing changes \
                     until one has caught up"
                );
            }
            take_back(store, command, &changed).await;
            Err(ServiceError::NoSecondCopy)
        }
    }
}

/// A refused upload does not stay. Other changes have happened, and reach the others in time.
async fn take_back(store: &Arc<Store>, command: Command, changed: &Changed) {
    use Command as C;
    if !matches!(command, C::UploadFile | C::UploadAppenderFile | C::UploadSlaveFile) {
        return;
    }
    // The answer to an upload is what a request to delete it says: group and name.
    if let Err(error) = delete::run(store, changed.body()).await {
        log::error!("delete an upload that was refused for want of a second copy: {error}");
    }
}
