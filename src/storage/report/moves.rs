//! Members that have moved: we tell a tracker that we have (78), and it tells us who else has,
//! or was removed (77) (storage.md 6.1, sync.md 9).
//!
//! Part of a session with one tracker; what is asked and when is decided there.

use std::{net::SocketAddr, sync::Arc};

use net::conn::Conn;
use proto::{
    command::Command,
    status::{Status, StorageState},
    tracker::changelog::IpChanged,
};

use super::Reporter;
use crate::{
    ask::{AskError, exchange},
    binlog::mark::Naming,
    state::identity::Identity,
    sync::changelog::{Ours, apply},
};

/// Pieces of the change log read at one time: a tracker that has ever more of it to tell is
/// asked for the rest at the next heartbeat.
const PIECES_MAX: usize = 64;

impl Reporter {
    /// Tells a tracker that knows us under an address that we had before where we are: it is
    /// to be joined as the one that we were.
    pub(super) async fn tell_move(
        &self,
        conn: &mut Conn,
        tracker: SocketAddr,
    ) -> Result<(), AskError> {
        let Some(old) = self.moved.known_as(tracker) else { return Ok(()) };
        let (group, new) = (self.store.facts.group, self.moved.now());
        let mut body = Vec::new();
        IpChanged { group, old, new }.encode(&mut body);
        match exchange(conn, Command::StorageReportIpChanged, &body).await {
            Ok(_) => log::info!("tracker {tracker} knows that we moved from {old} to {new}"),
            Err(AskError::Refused(Status::EBUSY))
                if self.moved.may_be_noticed(tracker, self.world.clock.moment()) =>
            {
                return Err(AskError::StillThere(old));
            }
            // It knows already, does not know us at all, or goes by ids.
            Err(AskError::Refused(status)) if is_final(status) => {
                log::warn!("tracker {tracker}, told that we moved from {old} to {new}: {status}");
            }
            Err(error) => return Err(error),
        }
        let moved = Arc::clone(&self.moved);
        if let Err(error) = self.store.gate.run(move || moved.told(tracker)).await {
            // It is told again after the next start, which it will refuse.
            log::error!("note that tracker {tracker} was told of our move: {error}");
        }
        Ok(())
    }

    /// Reads what this tracker has noted of members since we asked last, and follows it.
    pub(super) async fn follow_changelog(&self, conn: &mut Conn) -> Result<(), AskError> {
        let parameters = &self.store.facts.parameters;
        if !parameters.follow_moves {
            return Ok(());
        }
        let (mut text, mut outcome) = (Vec::new(), Ok(()));
        for _ in 0..PIECES_MAX {
            match exchange(conn, Command::StorageChangelogReq, &[]).await {
                Ok(piece) if piece.is_empty() => break,
                // The reference cuts its answers anywhere, so lines are put together first.
                Ok(piece) => text.extend_from_slice(&piece),
                // One that cannot read its log is good for all else.
                Err(AskError::Refused(status)) => {
                    log::debug!("a tracker refuses its change log: {status}");
                    break;
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        // What has come before a failure is not told again.
        if !text.is_empty() {
            self.apply_changelog(text).await?;
        }
        outcome
    }

    async fn apply_changelog(&self, text: Vec<u8>) -> Result<(), AskError> {
        let parameters = &self.store.facts.parameters;
        let ours = Ours {
            disk: Arc::clone(&self.store.disk),
            group: self.store.facts.group,
            naming: match parameters.use_storage_id {
                true => Naming::ById,
                false => Naming::ByAddress { port: self.port },
            },
            port: self.port,
            identity: Arc::clone(&self.identity),
            now: self.store.now(),
        };
        let dir = self.config.base_path.join("data/sync");
        let job = move || apply(&ours, &dir, &String::from_utf8_lossy(&text));
        match self.store.gate.run(job).await {
            Ok(false) => Ok(()),
            // One in service has everything, and stays there.
            Ok(true) if self.serves() => {
                log::info!("the source of our files was removed from the group: forgotten");
                self.keep_source(Identity::forget_source).await;
                Ok(())
            }
            // Another one has to send what is missing: a join settles who.
            Ok(true) => {
                self.keep_source(Identity::lose_source).await;
                Err(AskError::SourceRemoved)
            }
            Err(error) => {
                // A mark that is not found under its new name costs a second sending, no file.
                log::error!("follow the change log of the trackers: {error}");
                Ok(())
            }
        }
    }
}

impl Reporter {
    /// Whether we are not, or not any more, waiting for our files, as far as trackers have told.
    fn serves(&self) -> bool {
        use StorageState as S;
        matches!(self.peers.own_state(), Some(S::Offline | S::Online | S::Active | S::Recovery))
    }
}

/// Answers to 78 after which nothing is left to tell (storage.md 6.1, step 7).
fn is_final(status: Status) -> bool {
    let known = [Status::EALREADY, Status::ENOENT, Status::EEXIST, Status::EBUSY];
    known.contains(&status) || status == Status::EOPNOTSUPP
}
