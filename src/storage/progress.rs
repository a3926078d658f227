//! How far each peer has got with our binlog, and we with theirs: what the senders and the
//! receivers tell, for whoever waits for a second copy, for the trackers and for the metrics.
//!
//! Shared by `service`, `sync` and `report`, which do not know one another. Short locks; never
//! decides anything.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard},
};

use net::ports::Moment;
use proto::ids::StorageId;
use tokio::sync::watch;

use crate::{away::Away, binlog::Position};

/// Addresses from which storages have introduced themselves; a group has 32 members.
const SESSIONS_MAX: usize = 1024;

/// What a peer lacks of our changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    pub(crate) records: u64,
    /// Of the binlog, not of the files.
    pub(crate) bytes: u64,
    /// Age of the oldest one, by our own clock.
    pub(crate) secs: u64,
}

/// What a sender tells about its peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerProgress {
    /// Records up to here are answered.
    pub(crate) passed: Position,
    /// What of the log is not.
    pub(crate) lag: Lag,
    /// Records sent since we run, and those put aside.
    pub(crate) sent: u64,
    pub(crate) aside: u64,
    /// Behind the record that was set aside last.
    pub(crate) aside_at: Option<Position>,
    /// What the last failure said, until something succeeds.
    pub(crate) last_error: Option<String>,
    pub(crate) connected: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Progress {
    peers: watch::Sender<BTreeMap<StorageId, PeerProgress>>,
    synced: Mutex<Synced>,
    /// Members other than us: those in service, and others that may have files.
    members: Mutex<(Vec<SocketAddr>, Vec<SocketAddr>)>,
    away: Mutex<Away>,
    /// How often a storage has introduced itself from an address: each time it begins anew.
    sessions: Mutex<BTreeMap<IpAddr, u64>>,
}

/// Up to which time of each source's clock we have everything from it.
#[derive(Debug, Default)]
struct Synced {
    until: BTreeMap<StorageId, u32>,
    /// Grows with every change.
    version: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            peers: watch::Sender::new(BTreeMap::new()),
            synced: Mutex::default(),
            members: Mutex::default(),
            away: Mutex::default(),
            sessions: Mutex::default(),
        }
    }
}

impl Progress {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u64>> {
        self.sessions.lock().expect("no code panics while holding this lock")
    }

    /// How often a storage has introduced itself from `address` so far.
    pub(crate) fn session_of(&self, address: IpAddr) -> u64 {
        self.sessions().get(&address).copied().unwrap_or(0)
    }

    /// It does so once more. Beyond as many addresses as a group has members none is remembered.
    pub(crate) fn new_session(&self, address: IpAddr) -> u64 {
        let mut sessions = self.sessions();
        if SESSIONS_MAX <= sessions.len() && !sessions.contains_key(&address) {
            return 0;
        }
        let session = sessions.entry(address).or_default();
        *session = session.saturating_add(1);
        *session
    }

    /// A sender has something new to tell.
    pub(crate) fn update(&self, peer: StorageId, change: impl FnOnce(&mut PeerProgress)) {
        self.peers.send_if_modified(|peers| {
            let progress = peers.entry(peer).or_default();
            let before = progress.clone();
            change(progress);
            *progress != before
        });
    }

    /// What no other member has: the lag of the one that has most. None in a group of one.
    pub(crate) fn exposed(&self) -> Option<Lag> {
        let peers = self.peers.borrow();
        peers.values().max_by_key(|peer| peer.passed).map(|peer| peer.lag)
    }

    /// The peer is no member any more.
    pub(crate) fn forget(&self, peer: &StorageId) {
        self.peers.send_if_modified(|peers| peers.remove(peer).is_some());
    }

    /// Whether one of the peers is like this.
    pub(crate) fn any(&self, is: impl Fn(&PeerProgress) -> bool) -> bool {
        self.peers.borrow().values().any(is)
    }

    /// All peers as they stand.
    pub(crate) fn peers(&self) -> BTreeMap<StorageId, PeerProgress> {
        self.peers.borrow().clone()
    }

    /// The peers, to be watched.
    pub(crate) fn watch(&self) -> watch::Receiver<BTreeMap<StorageId, PeerProgress>> {
        self.peers.subscribe()
    }

    /// Members other than us, those in service first: who may have what is not here.
    pub(crate) fn members(&self) -> Vec<SocketAddr> {
        let members = self.members.lock().expect("no code panics while holding this lock");
        [&members.0[..], &members.1].concat()
    }

    /// Members other than us that are in service.
    pub(crate) fn active_members(&self) -> Vec<SocketAddr> {
        self.members.lock().expect("no code panics while holding this lock").0.clone()
    }

    pub(crate) fn set_members(&self, active: Vec<SocketAddr>, others: Vec<SocketAddr>) {
        self.away().keep(|member| active.contains(member) || others.contains(member));
        *self.members.lock().expect("no code panics while holding this lock") = (active, others);
    }

    /// Whether to ask a member for what is not here, see [`Away::may_ask`].
    pub(crate) fn may_ask(&self, member: SocketAddr, now: Moment) -> bool {
        self.away().may_ask(member, now)
    }

    /// A member did not answer in time what it was `asked` then, see [`Away::late`].
    pub(crate) fn late(&self, member: SocketAddr, asked: Moment, now: Moment) {
        self.away().late(member, asked, now);
    }

    /// A member can be reached.
    pub(crate) fn is_here(&self, member: SocketAddr) {
        self.away().is_here(member);
    }

    fn away(&self) -> MutexGuard<'_, Away> {
        self.away.lock().expect("no code panics while holding this lock")
    }

    /// Everything of `source` up to `until` has been received.
    pub(crate) fn received(&self, source: StorageId, until: u32) {
        let mut synced = self.lock();
        let known = synced.until.entry(source).or_default();
        if *known < until {
            *known = until;
            synced.version += 1;
        }
    }

    /// The times by source, and a number that grows when they change.
    pub(crate) fn synced(&self) -> (u64, BTreeMap<StorageId, u32>) {
        let synced = self.lock();
        (synced.version, synced.until.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Synced> {
        self.synced.lock().expect("no code panics while holding this lock")
    }
}
