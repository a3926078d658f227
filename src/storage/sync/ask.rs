//! What a sender asks the trackers, and what it tells them: who fills a new member (86), and
//! that its state has changed (76) (sync.md 5.3, 4.4).
//!
//! Short connections of their own, as the reference makes them. Answers are returned, not acted
//! upon.

use std::time::Duration;

use proto::{
    command::Command,
    ids::StorageId,
    status::{Status, StorageState},
    tracker::{
        Brief,
        status::ReportStatus,
        sync::{StorageRef, SyncPoint},
    },
};

use super::Shared;
use crate::ask::{AskError, connect, exchange};

/// How often a state is reported before it is left to the next occasion.
const REPORT_TRIES: usize = 3;
/// Between two attempts.
const REPORT_WAIT: Duration = Duration::from_secs(1);

impl Shared {
    /// Who fills `peer`, and up to what time (86): the first answer of any tracker.
    pub(super) async fn source_of(&self, peer: StorageId) -> Result<Option<SyncPoint>, AskError> {
        let mut body = Vec::new();
        StorageRef { group: self.store.facts.group, id: peer }.encode(&mut body);
        let mut last = AskError::Refused(Status::ENOENT);
        for tracker in self.peers.trackers(&self.config.trackers) {
            let asked = async {
                let mut conn = connect(&self.world, &self.config, tracker).await?;
                exchange(&mut conn, Command::StorageSyncSrcReq, &body).await
            };
            match asked.await {
                Ok(answer) => return Ok(SyncPoint::decode_optional(&answer)?),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Tells every tracker the state of a member (76); one that listens is enough.
    pub(crate) async fn report_state(&self, id: StorageId, state: StorageState) -> bool {
        let address = self.peers.watch().borrow().get(&id).map(|peer| peer.address);
        let brief = Brief { state, port: 0, id: Some(id), address };
        let mut body = Vec::new();
        ReportStatus { group: self.store.facts.group, brief }.encode(&mut body);
        for attempt in 0..REPORT_TRIES {
            if attempt != 0 {
                tokio::time::sleep(REPORT_WAIT).await;
            }
            let mut heard = false;
            for tracker in &self.config.trackers {
                let told = async {
                    let mut conn = connect(&self.world, &self.config, *tracker).await?;
                    exchange(&mut conn, Command::StorageReportStatus, &body).await
                };
                match told.await {
                    Ok(_) => heard = true,
                    Err(error) => log::warn!("report {id} as {}: {error}", state.name()),
                }
            }
            if heard {
                return true;
            }
        }
        false
    }
}
