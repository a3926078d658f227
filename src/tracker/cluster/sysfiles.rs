//! The state files, as another tracker fetches them (61 to 63; tracker.md 3.12.7).
//!
//! Whoever fetches gets the files of one moment: they are copied when it begins, and nobody has
//! to wait meanwhile. The reference holds a lock instead, which makes storages wait to join.
//! One copy exists at a time, so that fetching cannot fill the memory.

use proto::tracker::leader::{SYS_FILE_PIECE_MAX, SysFilePiece};

use super::{Answer, Cluster, Effect, Refusal, Session, StateFile};

/// In the order of their numbers on the wire.
const FILES: [StateFile; 4] =
    [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes, StateFile::ChangeLog];

/// The files as they were when a peer began to fetch them.
#[derive(Clone, Debug)]
pub(super) struct Lent([String; 4]);

impl Cluster {
    /// 61: a peer is about to fetch the files. They are saved too, as the reference does: what
    /// it was given, we know after a crash as well.
    pub(super) fn sys_files_start(
        &mut self,
        session: &mut Session,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        if self.groups.is_empty() {
            return Err(Refusal::NotFound);
        }
        if self.lent.is_some() && !session.has_files {
            return Err(Refusal::Busy);
        }
        self.lent = Some(Lent(FILES.map(|file| self.file_text(file))));
        session.has_files = true;
        let files = [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes];
        effects.extend(files.map(Effect::Save));
        Ok(Answer::Empty)
    }

    /// 62.
    pub(super) fn sys_files_end(&mut self, session: &mut Session) -> Result<Answer, Refusal> {
        self.take_back(session);
        Ok(Answer::Empty)
    }

    /// 63: a piece of a file; without 61 before, as the file would be saved now.
    pub(super) fn sys_file(
        &self,
        session: &Session,
        piece: SysFilePiece,
    ) -> Result<Answer, Refusal> {
        let index = usize::from(piece.index);
        let file = *FILES.get(index).ok_or(Refusal::Invalid)?;
        let lent = self.lent.as_ref().filter(|_| session.has_files);
        let now;
        let text = match lent.and_then(|Lent(texts)| texts.get(index)) {
            Some(text) => text,
            None => {
                now = self.file_text(file);
                &now
            }
        };
        let from = usize::try_from(piece.offset).map_err(|_| Refusal::Invalid)?;
        let rest = text.as_bytes().get(from..).ok_or(Refusal::Invalid)?;
        let sent = rest.get(..SYS_FILE_PIECE_MAX).unwrap_or(rest);
        let whole = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(Answer::SysFile(whole, sent.to_vec()))
    }

    pub(super) fn take_back(&mut self, session: &mut Session) {
        if core::mem::take(&mut session.has_files) {
            self.lent = None;
        }
    }
}
