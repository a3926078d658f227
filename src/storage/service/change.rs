//! The last steps that all changing commands share: what a failure means, the record in the
//! binlog, the undo, and the answer that needs a `Durable`.
//!
//! Called by the handlers of changing commands, with a `commit` machine that stands before its
//! log step. Never touches content.

use std::path::Path;

use proto::{binlog::Record, ids::StorePath};

use super::error::ServiceError;
use crate::{
    binlog::writer::LogError,
    commit::{Commit, Durable, Failure, Fault, Next, Undo},
    disk::write::WriteError,
    store::Store,
};

/// A success answer to a changing command. It cannot exist without a [`Durable`].
#[derive(Debug)]
pub(crate) struct Changed {
    body: Vec<u8>,
}

impl Changed {
    pub(crate) fn new(proof: Durable, body: Vec<u8>) -> Self {
        // The proof is used up: one operation, one answer.
        let Durable { .. } = proof;
        Self { body }
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// What a failed disk step means to the commit machine.
pub(crate) fn fault_of(error: &WriteError) -> Fault {
    match error {
        WriteError::Disk { .. } => Fault::Disk,
        WriteError::Sync { .. } => Fault::Sync,
    }
}

/// Ends an operation that failed, and says how to undo it.
pub(crate) fn give_up(store: &Store, path: StorePath, commit: Commit, fault: Fault) -> Undo {
    let Failure { undo, retire } = commit.failed(fault);
    store.retire(path, retire);
    undo
}

/// The same after a step before the log: with what the client is told. Where the change cannot be
/// taken back that is no refusal.
pub(crate) fn failed(
    store: &Store,
    path: StorePath,
    commit: Commit,
    error: WriteError,
) -> (Undo, ServiceError) {
    let undo = give_up(store, path, commit, fault_of(&error));
    (undo, told(undo, error.into()))
}

fn told(undo: Undo, error: ServiceError) -> ServiceError {
    if undo == Undo::Nothing { error.uncertain() } else { error }
}

/// Removes the note of an edit that came to nothing, if it has got that far; what the client is
/// told. Blocks.
pub(super) fn forget_note(
    store: &Store,
    note: &Path,
    undo: Undo,
    told: ServiceError,
) -> ServiceError {
    if undo != Undo::RemoveName {
        return told;
    }
    if let Err(error) = store.disk.remove(note) {
        log::error!("remove {}: {error}", note.display());
    }
    // After a power loss it may be there again, and a restart act on it.
    told.uncertain()
}

/// Performs the log step of `commit`, the last one. `undo` takes the change back where that is
/// possible, and says whether nothing is left of it for certain; it runs where it may block.
pub(crate) async fn record(
    store: &Store,
    path: StorePath,
    commit: Commit,
    records: &[Record],
    undo: impl FnOnce(Undo) -> bool + Send + 'static,
) -> Result<Durable, ServiceError> {
    let (_, next) = log_step(store, path, commit, records, undo).await?;
    match next {
        Next::Answer(durable) => Ok(durable),
        Next::Do(step) => unreachable!("{step:?} after the log: it is the last step"),
    }
}

/// The log step of an operation that goes on afterwards: an edit.
pub(crate) async fn log_step(
    store: &Store,
    path: StorePath,
    mut commit: Commit,
    records: &[Record],
    undo: impl FnOnce(Undo) -> bool + Send + 'static,
) -> Result<(Commit, Next), ServiceError> {
    match store.log.append(records).await {
        Ok(_) => {
            // While the name is still locked: no late creation may come between.
            store.bury(records);
            let next = commit.done();
            Ok((commit, next))
        }
        Err(error) => {
            let fault = if matches!(error, LogError::Lost) { Fault::Sync } else { Fault::Disk };
            let how = give_up(store, path, commit, fault);
            let certain = store.on(path).run(move || undo(how)).await;
            let error = told(how, error.into());
            Err(if certain { error } else { error.uncertain() })
        }
    }
}
