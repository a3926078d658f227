//! One task per peer: read, plan, send, mark (sync.md 5).
//!
//! Waits in one place for whatever comes next: an answer, a new record, a change of the peer's
//! state, the end of the program. Records of different files travel at the same time, each on a
//! connection of its own; the position that is saved stands behind everything that was answered.
//! Any failure ends the session, and the next one goes on from that position: to send a record
//! twice is harmless.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use net::{client::ClientError, client::replicate::Link, shutdown::Stop};
use proto::{
    ids::StorageId,
    status::{Status, StorageState},
};
use tokio::sync::watch;

use super::{
    Shared,
    deliver::DeliverError,
    mark::{BeginError, Course, mark_file},
    peers::{Peer, Table},
    plan::{Stance, back_off, stance},
    pump::Pump,
};
use crate::binlog::Position;

/// First and longest wait after a failure.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("{0}")]
    Begin(#[from] BeginError),
    #[error("connect: {0}")]
    Connect(#[source] ClientError),
    #[error("say who we are: the peer answered {0}")]
    Introduce(Status),
    #[error("send {what}: {why}")]
    Deliver { what: String, why: DeliverError },
    #[error("read the log or save the mark: {0}")]
    Disk(#[from] std::io::Error),
    #[error("ask whether the peer is alive: {0}")]
    Idle(#[source] ClientError),
}

/// How a session ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The peer is not to be sent anything now.
    Paused,
    /// It is no member any more.
    Gone,
    /// The program ends.
    Stopped,
}

/// The sender of one peer.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    pub(super) id: StorageId,
    pub(super) table: watch::Receiver<Table>,
    /// The record that failed last, and how often in a row.
    pub(super) trouble: Option<(Position, u32)>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, id: StorageId) -> Self {
        let table = shared.peers.watch();
        Self { shared, id, table, trouble: None }
    }

    /// Sends until the peer is gone or the program ends.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let mut failures = 0u32;
        while !stop.is_raised() {
            let before = self.passed();
            let ended = self.session(&mut stop).await;
            let error = match ended {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Gone) => return self.dismiss().await,
                Ok(Ended::Paused) => {
                    failures = 0;
                    continue;
                }
                Err(error) => error,
            };
            failures = if before < self.passed() { 1 } else { failures.saturating_add(1) };
            // A peer that is away is said once, not at every attempt.
            let level = if failures == 1 { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "storage {}, will go on later: {error}", self.id);
            let text = error.to_string();
            self.shared.store.progress.update(self.id, |progress| {
                progress.connected = false;
                progress.last_error = Some(text);
            });
            tokio::select! {
                biased;
                () = stop.raised() => return,
                () = tokio::time::sleep(back_off(failures, RETRY_FIRST, RETRY_MOST)) => {}
            }
        }
    }

    fn passed(&self) -> Position {
        let peers = self.shared.store.progress.peers();
        peers.get(&self.id).map_or(Position::default(), |progress| progress.passed)
    }

    pub(super) fn peer(&mut self) -> Option<Peer> {
        self.table.borrow_and_update().get(&self.id).copied()
    }

    pub(super) fn state(&mut self) -> StorageState {
        self.peer().map_or(StorageState::None, |peer| peer.state)
    }

    /// One connection: begins when the peer may be spoken to.
    async fn session(&mut self, stop: &mut Stop) -> Result<Ended, SessionError> {
        use StorageState as S;
        let peer = loop {
            let Some(peer) = self.peer() else { return Ok(Ended::Gone) };
            match peer.state {
                S::WaitSync | S::Syncing | S::Active => break peer,
                state if stance(state, true) == Stance::End => return Ok(Ended::Gone),
                _ => {}
            }
            if let Some(ended) = self.changed(stop).await {
                return Ok(ended);
            }
        };
        let address = peer.address.to_string();
        let course = Course::begin(&self.shared, self.id, &address, peer.state).await?;
        let fills = course.role().fills;
        // One that waits to be filled by now has lost what it had when the course was begun.
        let lost_all = |state| state == S::WaitSync && peer.state != S::WaitSync;
        loop {
            if lost_all(self.state()) {
                return Ok(Ended::Paused);
            }
            match stance(self.state(), fills) {
                Stance::Begin | Stance::Send => break,
                Stance::End => return Ok(Ended::Gone),
                Stance::Wait if matches!(self.state(), S::WaitSync | S::Syncing) => {}
                Stance::Wait => return Ok(Ended::Paused),
            }
            let patience = self.shared.config.heart_beat_interval;
            tokio::select! {
                ended = self.changed(stop) => {
                    if let Some(ended) = ended {
                        return Ok(ended);
                    }
                }
                () = tokio::time::sleep(patience) => {}
            }
            if !fills && self.has_become_ours().await {
                log::info!("storage {} is ours to fill now", self.id);
                return Ok(Ended::Paused);
            }
        }
        let main = self.introduced(peer).await?;
        if lost_all(self.state()) {
            return Ok(Ended::Paused);
        }
        if self.state() == S::WaitSync {
            self.set_state(S::Syncing).await;
        } else if self.state() == S::Syncing && course.role().filled {
            self.set_state(S::Offline).await;
        }
        self.shared.store.progress.update(self.id, |progress| progress.connected = true);
        self.shared.store.progress.is_here(SocketAddr::new(peer.address, peer.port));
        let mut pump = Pump::new(self, course, main);
        let ended = pump.run(stop).await;
        // What was answered is saved whatever ended the session.
        let saved = pump.course.save(&pump.sender.shared).await;
        if let Err(error) = saved {
            log::error!("save {}: {error}", pump.course.file().path().display());
        }
        self.shared.store.progress.update(self.id, |progress| progress.connected = false);
        ended
    }

    /// Whether a peer that waits to be filled, by somebody else when we asked first, is to be
    /// filled by us now: that one may have been removed. Its state need not have changed with it.
    async fn has_become_ours(&mut self) -> bool {
        use StorageState as S;
        if !matches!(self.state(), S::WaitSync | S::Syncing) {
            return false;
        }
        match self.shared.source_of(self.id).await {
            Ok(point) => {
                let source = point.and_then(|point| point.source);
                source.is_some() && source == self.shared.peers.own()
            }
            Err(error) => {
                log::debug!("ask who fills {}: {error}", self.id);
                false
            }
        }
    }

    /// Waits for a change of the table; how to end if nothing is left to wait for.
    async fn changed(&mut self, stop: &mut Stop) -> Option<Ended> {
        tokio::select! {
            biased;
            () = stop.raised() => Some(Ended::Stopped),
            changed = self.table.changed() => changed.is_err().then_some(Ended::Stopped),
        }
    }

    pub(super) async fn set_state(&self, state: StorageState) {
        log::info!("storage {} is {} now", self.id, state.name());
        self.shared.peers.set_state(self.id, state);
        if !self.shared.report_state(self.id, state).await {
            log::error!("no tracker took the report that {} is {}", self.id, state.name());
        }
    }

    /// The connection that says who we are.
    pub(super) async fn introduced(&self, peer: Peer) -> Result<Link, SessionError> {
        let mut link = connect(&self.shared, self.id, peer).await.map_err(SessionError::Connect)?;
        let Some(own) = self.shared.peers.own() else { return Ok(link) };
        match link.introduce(own).await.map_err(SessionError::Connect)? {
            Status::OK => Ok(link),
            status => Err(SessionError::Introduce(status)),
        }
    }

    /// The peer was removed from the group: its mark is put aside, so that it would begin anew.
    /// That of one that has moved waits for the change log to say where it is.
    async fn dismiss(&mut self) {
        log::info!("storage {} is no member any more", self.id);
        self.shared.store.progress.forget(&self.id);
        if self.state() == StorageState::IpChanged {
            return self.shared.peers.set_state(self.id, StorageState::None);
        }
        let address = self.peer().map(|peer| peer.address.to_string()).unwrap_or_default();
        let stamp = self.shared.store.now().to_string();
        let retired = match mark_file(&self.shared, self.id, &address) {
            Ok(mark) => self.shared.store.gate.run(move || mark.retire(&stamp)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = retired {
            log::error!("put the mark of {} aside: {error}", self.id);
        }
        self.shared.peers.set_state(self.id, StorageState::None);
    }
}

/// Connects to the first address of a peer that listens.
pub(super) async fn connect(
    shared: &Arc<Shared>,
    id: StorageId,
    peer: Peer,
) -> Result<Link, ClientError> {
    let facts = &shared.store.facts;
    let known = facts.ids.iter().find(|(other, _)| *other == id);
    let mut addresses: Vec<_> = known.map(|(_, ips)| ips.iter().collect()).unwrap_or_default();
    if addresses.is_empty() {
        addresses.push(peer.address);
    }
    let config = &shared.config;
    let mut last = None;
    for ip in addresses {
        let at = SocketAddr::new(ip, peer.port);
        let (connect, network) = (config.connect_timeout, config.network_timeout);
        let from = config.client_bind;
        match Link::connect(&shared.world, at, from, connect, network, facts.group).await {
            Ok(link) => return Ok(link),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(ClientError::NoTracker))
}
