//! Where a sender is in the log, and what it is to its peer: the mark in memory and on disk, and
//! where it begins when there is none (sync.md 3, 5.2).
//!
//! Only a position behind which everything was answered gets here, so only such a one is saved.

use std::{io, sync::Arc};

use proto::{binlog::Mark, ids::StorageId, status::StorageState, tracker::sync::SyncPoint};

use super::{Shared, plan::Role};
use crate::{
    ask::AskError,
    binlog::{
        Position,
        mark::{MarkFile, Naming},
    },
};

/// Why a sender cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    #[error("ask who fills it: {0}")]
    Ask(#[from] AskError),
    #[error("read its mark: {0}")]
    Disk(#[from] io::Error),
    #[error("our own initial copy is not arranged yet")]
    NotArranged,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Course {
    file: MarkFile,
    mark: Mark,
    saved: Mark,
}

impl Course {
    /// Finds out where to begin with `id`, which is in `state`.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        id: StorageId,
        address: &str,
        state: StorageState,
    ) -> Result<Self, BeginError> {
        if !shared.identity.get().sync_old_done {
            return Err(BeginError::NotArranged);
        }
        let file = mark_file(shared, id, address)?;
        let opened = file.clone();
        let loaded = shared.store.gate.run(move || opened.load()).await;
        let loaded = match loaded {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let path = file.path().display();
                log::error!("{path} is damaged: everything is sent to {id} once more");
                None
            }
            other => other?,
        };
        let waits = matches!(state, StorageState::Init | StorageState::WaitSync);
        let loaded = loaded.filter(|_| !waits);
        let Some(mark) = loaded else { return Self::start_over(shared, id, file).await };
        let point = match shared.source_of(id).await {
            Err(error) if state != StorageState::Syncing => {
                // It may be long before a tracker answers.
                log::debug!("ask who fills storage {id}: {error}");
                None
            }
            other => other?,
        };
        let fills = point.is_some_and(|p| p.source.is_some() && p.source == shared.peers.own());
        let begins = state == StorageState::Syncing && fills && !mark.need_sync_old;
        if begins || point.is_some_and(|point| is_of_another_copy(&mark, &point)) {
            return Self::start_over(shared, id, file).await;
        }
        Self::resume(shared, file, mark).await
    }

    async fn resume(shared: &Arc<Shared>, file: MarkFile, mark: Mark) -> Result<Self, BeginError> {
        let (opened, end) = (file.clone(), *shared.store.log.end().borrow());
        let (at, wrong) = shared.store.gate.run(move || opened.sound(&mark, end)).await?;
        if let Some(wrong) = wrong {
            let path = file.path().display();
            log::warn!("{path} was repaired, {wrong}: goes on at {at}");
        }
        let mut course = Self { file, mark, saved: mark };
        course.move_to(at);
        Ok(course)
    }

    async fn start_over(
        shared: &Arc<Shared>,
        id: StorageId,
        file: MarkFile,
    ) -> Result<Self, BeginError> {
        let point = shared.source_of(id).await?;
        let source = point.and_then(|point| point.source);
        let until = point.map_or(0, |point| until(&point));
        let fills = source.is_some() && source == shared.peers.own();
        let mark = Mark { need_sync_old: fills, until_timestamp: until, ..Mark::default() };
        let mut course = Self { file, mark, saved: Mark::default() };
        // Nothing is left out that the source has answered: it may have heard of it when the copy
        // was complete, and then nobody would send it. What the peer has by now is not sent twice.
        let what = if fills { "everything, also what others sent us" } else { "our own changes" };
        log::info!("storage {id} gets {what}, from the beginning");
        course.save(shared).await?;
        Ok(course)
    }

    /// What we are to the peer.
    pub(super) fn role(&self) -> Role {
        let Mark { need_sync_old, sync_old_done, .. } = self.mark;
        Role { fills: need_sync_old, filled: sync_old_done }
    }

    /// The peer has its initial copy.
    pub(super) fn filled(&mut self) {
        self.mark.sync_old_done = true;
    }

    /// Behind everything that was answered.
    pub(super) fn position(&self) -> Position {
        Position { file: self.mark.binlog_index, offset: self.mark.binlog_offset }
    }

    pub(super) fn move_to(&mut self, at: Position) {
        self.mark.binlog_index = at.file;
        self.mark.binlog_offset = at.offset;
    }

    pub(super) fn count(&mut self, scanned: u64, sent: u64) {
        self.mark.scan_row_count = self.mark.scan_row_count.saturating_add(scanned);
        self.mark.sync_row_count = self.mark.sync_row_count.saturating_add(sent);
    }

    /// Records sent since the mark was saved.
    pub(super) fn unsaved(&self) -> u64 {
        self.mark.sync_row_count.saturating_sub(self.saved.sync_row_count)
    }

    /// The file beside the mark.
    pub(super) fn file(&self) -> &MarkFile {
        &self.file
    }

    /// Saves the mark if it has changed.
    pub(super) async fn save(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        if self.mark == self.saved {
            return Ok(());
        }
        let (file, mark) = (self.file.clone(), self.mark);
        shared.store.gate.run(move || file.save(&mark)).await?;
        self.saved = mark;
        Ok(())
    }
}

/// Whether the peer has been given another initial copy than the one that the mark knows of: it
/// lost what it had, and no list that we saw has said so.
fn is_of_another_copy(mark: &Mark, point: &SyncPoint) -> bool {
    point.source.is_some() && mark.until_timestamp != until(point)
}

/// Up to when the source of an initial copy has everything; 0 if that is no time.
fn until(point: &SyncPoint) -> u32 {
    u32::try_from(point.until.0).unwrap_or(0)
}

/// The mark of `id`, under the name that the reference would give it.
pub(super) fn mark_file(
    shared: &Arc<Shared>,
    id: StorageId,
    address: &str,
) -> io::Result<MarkFile> {
    let naming = match shared.store.facts.parameters.use_storage_id {
        true => Naming::ById,
        false => Naming::ByAddress { port: shared.port },
    };
    let disk = Arc::clone(&shared.store.disk);
    MarkFile::of(disk, &shared.dir(), &id, address, naming, shared.port)
}

#[cfg(test)]
mod tests {
    use proto::tracker::UnixTime;

    use super::*;

    #[test]
    fn a_peer_that_was_filled_anew_is_known_by_the_time_of_its_copy() {
        let mark = Mark { until_timestamp: 7, ..Mark::default() };
        let source = StorageId::parse("10.0.0.1");
        let point = |source, until| SyncPoint { source, until: UnixTime(until) };
        assert!(!is_of_another_copy(&mark, &point(source, 7)));
        assert!(is_of_another_copy(&mark, &point(source, 8)));
        assert!(is_of_another_copy(&Mark::default(), &point(source, 8)), "it had come first");
        assert!(!is_of_another_copy(&mark, &point(None, 0)), "trackers forget");
    }
}
