//! The conversation with the trackers while serving: join, heartbeat, usage (storage.md 6.3).
//!
//! One task per tracker, one connection each, for ever: any error ends the session and begins
//! the next. Reports only; no handler waits for it, and it never touches stored files.

mod moves; // members that have moved, we among them

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use net::{
    conn::Conn,
    ports::{Moment, World},
    shutdown::Stop,
};
use proto::{
    address::Addresses,
    command::Command,
    ids::StorageId,
    status::{Status, StorageState},
    tracker::{
        Megabytes, STORAGES_PER_GROUP_MAX, Space, UnixTime, Version,
        beat::{Beat, Changes, DiskUsage, Statistics},
        join::{Join, JoinAnswer, ReportedState, TrackerHost},
        status::{ChangeStatus, ReplicaChange},
        sync::{SyncPoint, SyncReport, SyncedUntil},
    },
};

use crate::{
    ask::{AskError, connect, exchange},
    config::Config,
    disk::port,
    moved::Moved,
    parameters::MEGABYTE_SHIFT,
    start::IdentityFile,
    state::identity::Identity,
    store::Store,
    sync::peers::Peers,
};

/// The level of the reference that we speak; monitoring shows it.
const VERSION: &str = "6.16.1";
/// After a session has broken. After a failed connect the wait is a heartbeat.
const BROKEN_WAIT: Duration = Duration::from_secs(1);
/// How long one that was to be filled does not believe a tracker that knows no other member of
/// the group: trackers that lost what they knew learn of the others as these come back.
const PATIENCE: Duration = Duration::from_secs(600);

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Reporter {
    pub(crate) world: World,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<Store>,
    pub(crate) identity: Arc<IdentityFile>,
    /// The port that we listen on.
    pub(crate) port: u16,
    /// `None` unless storages have ids.
    pub(crate) id: Option<StorageId>,
    pub(crate) up_since: UnixTime,
    pub(crate) peers: Arc<Peers>,
    pub(crate) moved: Arc<Moved>,
    trackers: Mutex<Trackers>,
    // Held over a question: only one session may ask for the source of the initial copy.
    arranging: tokio::sync::Mutex<()>,
}

impl Reporter {
    pub(crate) fn new(
        world: World,
        config: Arc<Config>,
        store: Arc<Store>,
        (identity, moved): (Arc<IdentityFile>, Arc<Moved>),
        peers: Arc<Peers>,
        port: u16,
        id: Option<StorageId>,
    ) -> Self {
        let up_since = UnixTime(i64::try_from(world.clock.now().secs()).unwrap_or(i64::MAX));
        let (trackers, arranging) = (Mutex::default(), tokio::sync::Mutex::default());
        Self {
            world,
            config,
            store,
            identity,
            peers,
            moved,
            port,
            id,
            up_since,
            trackers,
            arranging,
        }
    }

    /// Talks to one tracker until the program ends.
    pub(crate) async fn run(self: Arc<Self>, tracker: SocketAddr, mut stop: Stop) {
        let mut complained = false;
        while !stop.is_raised() {
            let began = self.world.clock.moment();
            let ended = tokio::select! {
                biased;
                // Dropping a session is how it ends: the tracker sees the connection close.
                () = stop.raised() => return,
                ended = self.session(tracker) => ended,
            };
            let Err(error) = ended;
            let lasted = self.world.clock.moment().since(began);
            let first = self.config.heart_beat_interval <= lasted || !complained;
            let level = if first { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "tracker {tracker}, will join again: {error}");
            complained = true;
            let wait = match error {
                AskError::Conn(_) => self.config.heart_beat_interval.min(BROKEN_WAIT),
                _ => self.config.heart_beat_interval,
            };
            tokio::select! {
                biased;
                () = stop.raised() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One connection, from join to error.
    async fn session(&self, tracker: SocketAddr) -> Result<std::convert::Infallible, AskError> {
        let mut conn = connect(&self.world, &self.config, tracker).await?;
        self.tell_move(&mut conn, tracker).await?;
        let as_new = self.identity.get().is_new_to(tracker);
        let state = self.join(&mut conn, tracker, as_new).await?;
        log::info!("joined tracker {tracker}, state {}", state.name());
        self.arrange(&mut conn, tracker, state).await?;
        if as_new {
            self.keep(move |identity| identity.told(tracker)).await;
        }
        let mut beats = tokio::time::interval(self.config.heart_beat_interval);
        let mut usages = tokio::time::interval(self.config.stat_report_interval);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        usages.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sent = Statistics::default();
        let mut told = 0;
        let mut waits = is_waiting(state);
        loop {
            let body = tokio::select! {
                biased;
                _ = beats.tick() => {
                    // What this tracker knows of us has ended meanwhile, by another one's word.
                    if self.identity.get().is_new_to(tracker) {
                        return Err(AskError::TakenForNew);
                    }
                    if waits && self.is_served_elsewhere(tracker) {
                        // It may have missed the report that we are filled, and nobody repeats it.
                        let mut body = Vec::new();
                        ChangeStatus { state: StorageState::Active }.encode(&mut body);
                        exchange(&mut conn, Command::StorageChangeStatus, &body).await?;
                        waits = false;
                    }
                    told = self.report_synced(&mut conn, tracker, told).await?;
                    let now = self.store.counters.snapshot().statistics;
                    let statistics = (now != sent).then_some(now);
                    sent = now;
                    let mut body = Vec::new();
                    Beat { statistics }.encode(&mut body);
                    let body = exchange(&mut conn, Command::StorageBeat, &body).await?;
                    self.follow_changelog(&mut conn).await?;
                    body
                }
                _ = usages.tick() => {
                    let body = self.usage();
                    exchange(&mut conn, Command::StorageReportDiskUsage, &body).await?
                }
                // Seen at once and not at the next beat: until then no upload is sent here.
                error = conn.broken() => return Err(error.into()),
            };
            self.told(&mut conn, tracker, &body).await?;
        }
    }

    async fn join(
        &self,
        conn: &mut Conn,
        tracker: SocketAddr,
        as_new: bool,
    ) -> Result<StorageState, AskError> {
        let identity = self.identity.get();
        let hosts = self.config.trackers.iter();
        let host =
            |at: &SocketAddr| TrackerHost { addresses: Addresses::one(at.ip()), port: at.port() };
        let join = Join {
            group: self.store.facts.group,
            port: self.port,
            path_count: self.store.places.count(),
            subdir_count: self.config.dirs_per_level,
            upload_priority: self.config.upload_priority,
            join_time: UnixTime(identity.join_time),
            up_time: self.up_since,
            version: Version::parse(VERSION).unwrap_or_default(),
            init: as_new,
            state: self.own_state(),
            id: self.id,
            tracker: Some(tracker.ip()),
            trackers: hosts.map(host).collect(),
        };
        let mut body = Vec::new();
        join.encode(&mut body);
        let answer = exchange(conn, Command::StorageJoin, &body).await;
        if matches!(answer, Err(AskError::Refused(Status::EFAULT))) {
            self.trackers().strangers.insert(tracker);
        }
        let answer = JoinAnswer::decode(&answer?)?;
        self.trackers().joined.insert(tracker, answer.state);
        self.has_us_in(tracker, answer.state).await;
        Ok(answer.state)
    }

    /// Whether another tracker, which leads, has us in service, and we are.
    fn is_served_elsewhere(&self, tracker: SocketAddr) -> bool {
        let elsewhere = self.peers.leader().is_some_and(|leader| leader != tracker);
        elsewhere && self.identity.get().is_whole() && self.peers.own_state().is_some_and(is_served)
    }

    /// A tracker has said in which state it has us.
    async fn has_us_in(&self, tracker: SocketAddr, state: StorageState) {
        if is_served(state) && self.identity.get().waiting.is_some() {
            self.keep(move |identity| identity.in_service_at(tracker)).await;
        }
    }

    /// What we know of our own state (storage.md 6.4).
    fn own_state(&self) -> ReportedState {
        match self.peers.own_state() {
            Some(state) => ReportedState::Known(state),
            None => {
                let is_whole = self.identity.get().is_whole();
                self.trackers().own_state(self.config.trackers.len(), is_whole)
            }
        }
    }

    /// Settles who fills us, once in a storage's life, and tells this tracker (87, 88).
    async fn arrange(
        &self,
        conn: &mut Conn,
        tracker: SocketAddr,
        state: StorageState,
    ) -> Result<(), AskError> {
        {
            let _only_one = self.arranging.lock().await;
            if !self.identity.get().sync_old_done {
                let answer = exchange(conn, Command::StorageSyncDestReq, &[]).await?;
                let point = SyncPoint::decode_optional(&answer)?;
                let source = point.and_then(|point| point.source);
                let until = point.map_or(0, |point| point.until.0);
                let waits = source.is_none() && self.identity.get().waiting.is_some();
                if waits && self.trackers().may_know_more(self.world.clock.moment()) {
                    return Err(AskError::KnowsNobody);
                }
                let trackers = self.config.trackers.clone();
                self.keep_source(move |identity| identity.arrange(source, until, &trackers)).await;
                match source {
                    Some(source) => log::info!("storage {source} is to send the existing files"),
                    None => log::info!("this storage begins without files to fetch"),
                }
            }
        }
        match self.notify(conn).await {
            Err(AskError::Refused(Status::ENOENT)) if self.is_orphaned(tracker) => {
                if is_waiting(self.peers.own_state().unwrap_or(state)) {
                    // It had not sent everything: another one has to.
                    log::warn!("the source of our files is gone before it had sent them all");
                    self.keep_source(Identity::begin_anew).await;
                    return Err(AskError::TakenForNew);
                }
                log::warn!("the source of our files is gone from the group: forgotten");
                self.keep_source(Identity::forget_source).await;
                self.notify(conn).await
            }
            Ok(()) => {
                self.trackers().knows_source(tracker);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// This tracker does not know the source of our files: whether that is enough. The leader's
    /// word is; before any tracker has said who leads, that of all that we have joined, if they
    /// are the most (storage.md 6.3, step 4).
    fn is_orphaned(&self, tracker: SocketAddr) -> bool {
        let all = self.trackers().lacks_source(tracker, self.config.trackers.len());
        self.leads(tracker) || all
    }

    fn trackers(&self) -> MutexGuard<'_, Trackers> {
        self.trackers.lock().expect("no code panics while holding this lock")
    }

    /// Saves that our files have another source, or none. What trackers said of the one before
    /// is forgotten behind that: until then they may say more of it.
    async fn keep_source(&self, change: impl FnOnce(&mut Identity) + Send + 'static) {
        self.keep(change).await;
        self.trackers().another_source();
    }

    /// Changes what we know of ourselves, and saves it.
    async fn keep(&self, change: impl FnOnce(&mut Identity) + Send + 'static) {
        let file = Arc::clone(&self.identity);
        if let Err(error) = self.store.gate.run(move || file.update(change)).await {
            // In memory it is settled; after a restart the question is asked again.
            log::error!("save .data_init_flag: {error}");
        }
    }

    async fn notify(&self, conn: &mut Conn) -> Result<(), AskError> {
        let identity = self.identity.get();
        let mut body = Vec::new();
        let until = UnixTime(identity.sync_until);
        SyncPoint { source: identity.sync_source, until }.encode(&mut body);
        exchange(conn, Command::StorageSyncNotify, &body).await.map(|_| ())
    }

    /// Whether this tracker's word about the group counts.
    fn leads(&self, tracker: SocketAddr) -> bool {
        self.config.trackers.len() == 1 || self.peers.leader() == Some(tracker)
    }

    /// Takes over what a tracker says of itself and of the group, and tells it what we know
    /// better (85).
    async fn told(
        &self,
        conn: &mut Conn,
        tracker: SocketAddr,
        body: &[u8],
    ) -> Result<(), AskError> {
        let changes = Changes::decode(body)?;
        if let Some(leader) = changes.leader {
            let at = leader.address.map(|ip| SocketAddr::new(ip, leader.port));
            if at != self.peers.leader() {
                log::info!("tracker {tracker} names the leader: {at:?}");
            }
            self.peers.set_leader(at);
        }
        let Some(members) = changes.group else { return Ok(()) };
        // Before the list: whoever is new in it may be one that has moved.
        self.follow_changelog(conn).await?;
        log::debug!("tracker {tracker} lists {} storages of the group", members.len());
        let merged = self.peers.told(&members);
        let ours =
            members.iter().find(|member| member.id.is_some() && member.id == self.peers.own());
        if let Some(ours) = ours {
            self.has_us_in(tracker, ours.state).await;
        }
        for id in merged.refused {
            log::error!("storage {id} is not taken in: a group has {STORAGES_PER_GROUP_MAX}");
        }
        if !merged.reports.is_empty() {
            let mut body = Vec::new();
            ReplicaChange { briefs: merged.reports }.encode(&mut body);
            exchange(conn, Command::StorageReplicaChg, &body).await?;
        }
        if merged.join_again { Err(AskError::TakenForNew) } else { Ok(()) }
    }

    /// Tells up to when we have everything from each member (89), if that has changed since
    /// `told`. The number of what is told now.
    async fn report_synced(
        &self,
        conn: &mut Conn,
        tracker: SocketAddr,
        told: u64,
    ) -> Result<u64, AskError> {
        let (version, synced) = self.store.progress.synced();
        let table = self.peers.watch().borrow().clone();
        let record = |id: &StorageId| SyncedUntil {
            source: *id,
            until: synced.get(id).copied().unwrap_or(0),
        };
        let records: Vec<_> = table.keys().map(record).collect();
        if version == told || records.is_empty() {
            return Ok(told);
        }
        let mut body = Vec::new();
        SyncReport { records }.encode(&mut body);
        let answer = exchange(conn, Command::StorageSyncReport, &body).await?;
        self.told(conn, tracker, &answer).await?;
        Ok(version)
    }

    /// The room of all store paths as it was measured last; never waits for a disk.
    fn usage(&self) -> Vec<u8> {
        let paths = self.store.places.iter().map(|place| megabytes(place.space())).collect();
        let mut body = Vec::new();
        DiskUsage { paths }.encode(&mut body);
        body
    }
}

/// Whether a storage waits to be filled.
fn is_waiting(state: StorageState) -> bool {
    use StorageState as S;
    matches!(state, S::Init | S::WaitSync | S::Syncing)
}

/// Whether a storage has been filled, and is or may soon be in service.
fn is_served(state: StorageState) -> bool {
    use StorageState as S;
    matches!(state, S::Offline | S::Online | S::Active)
}

/// What the trackers have said of us.
#[derive(Debug, Default)]
struct Trackers {
    /// Those that have accepted a join, and the state that they answered.
    joined: BTreeMap<SocketAddr, StorageState>,
    /// Those that refused one because they do not know us, nor we our state.
    strangers: BTreeSet<SocketAddr>,
    /// Those that do not know the source of our files, the present one.
    without_source: BTreeSet<SocketAddr>,
    /// Since when they know nobody who could fill us, although there was somebody.
    alone_since: Option<Moment>,
}

impl Trackers {
    /// Our state where no list of members has it yet. Only the leader sends lists, and it may be
    /// the one that does not know us: then the word of another tracker counts. If all have been
    /// heard and none knows us, they have lost what they knew: we are in service if we are
    /// whole, where the reference takes itself for new; a group of such members would wait for
    /// ever to be filled by one another.
    fn own_state(&self, count: usize, is_whole: bool) -> ReportedState {
        use StorageState as S;
        let gone = |state: &S| matches!(state, S::Deleted | S::IpChanged);
        let told = self.joined.values().filter(|state| !gone(state));
        if let Some(state) = told.max_by_key(|state| **state as u8) {
            return ReportedState::Known(*state);
        }
        let heard = self.strangers.iter().filter(|at| !self.joined.contains_key(at)).count();
        match count <= (self.joined.len() + heard).max(1) {
            true if is_whole && self.joined.is_empty() => ReportedState::Known(S::Active),
            true => ReportedState::Known(S::Init),
            false => ReportedState::Unknown,
        }
    }

    /// This one does not know the source; true if that is what all say that we have joined, and
    /// they are the most of `count`.
    fn lacks_source(&mut self, tracker: SocketAddr, count: usize) -> bool {
        self.without_source.insert(tracker);
        let most = count < self.joined.len().saturating_mul(2);
        most && self.joined.keys().all(|at| self.without_source.contains(at))
    }

    /// Nobody who could fill us is known to a tracker: whether that may change yet.
    fn may_know_more(&mut self, now: Moment) -> bool {
        let since = *self.alone_since.get_or_insert(now);
        now.since(since) < PATIENCE
    }

    /// This one knows it, whatever it said before.
    fn knows_source(&mut self, tracker: SocketAddr) {
        self.without_source.remove(&tracker);
    }

    /// What was said was said of another source.
    fn another_source(&mut self) {
        self.without_source.clear();
        self.alone_since = None;
    }
}

fn megabytes(space: port::Space) -> Space {
    let megabytes =
        |bytes: u64| Megabytes(i64::try_from(bytes >> MEGABYTE_SHIFT).unwrap_or(i64::MAX));
    Space { total: megabytes(space.total), free: megabytes(space.free) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 22122))
    }

    #[test]
    fn a_leader_that_does_not_know_us_is_told_the_state_that_another_tracker_answered() {
        let known = ReportedState::Known;
        let mut trackers = Trackers::default();
        assert_eq!(trackers.own_state(1, false), known(StorageState::Init), "nobody else to ask");
        assert_eq!(trackers.own_state(2, true), ReportedState::Unknown);
        trackers.strangers.insert(at(1));
        assert_eq!(trackers.own_state(2, true), ReportedState::Unknown, "another one may know us");
        trackers.joined.insert(at(2), StorageState::Online);
        assert_eq!(trackers.own_state(2, true), known(StorageState::Online));
        assert_eq!(trackers.own_state(3, false), known(StorageState::Online));
    }

    #[test]
    fn a_storage_that_no_tracker_knows_any_more_is_in_service_if_it_is_whole() {
        let known = ReportedState::Known;
        let mut trackers = Trackers { strangers: [at(1)].into(), ..Trackers::default() };
        assert_eq!(trackers.own_state(2, true), ReportedState::Unknown);
        trackers.strangers.insert(at(2));
        assert_eq!(trackers.own_state(2, true), known(StorageState::Active));
        assert_eq!(trackers.own_state(2, false), known(StorageState::Init));
        trackers.joined.insert(at(2), StorageState::Deleted);
        assert_eq!(trackers.own_state(2, true), known(StorageState::Init), "it was removed");
    }

    #[test]
    fn trackers_that_know_nobody_are_given_time_to_learn() {
        let mut trackers = Trackers::default();
        let begun = Duration::from_secs(5);
        assert!(trackers.may_know_more(Moment(begun)));
        assert!(trackers.may_know_more(Moment(begun + PATIENCE - Duration::from_millis(1))));
        assert!(!trackers.may_know_more(Moment(begun + PATIENCE)), "nobody will come");
        trackers.another_source();
        assert!(trackers.may_know_more(Moment(begun + PATIENCE)), "another time");
    }

    #[test]
    fn what_a_tracker_said_of_the_source_lasts_until_it_says_otherwise() {
        let joined = [at(1), at(2)].map(|at| (at, StorageState::Online)).into();
        let mut trackers = Trackers { joined, ..Trackers::default() };
        assert!(!trackers.lacks_source(at(1), 3));
        trackers.knows_source(at(1));
        assert!(!trackers.lacks_source(at(2), 3), "the first one knows it by now");
        assert!(trackers.lacks_source(at(1), 3));
        trackers.another_source();
        assert!(!trackers.lacks_source(at(1), 3), "nobody has spoken of that one yet");
        assert!(!Trackers::default().lacks_source(at(1), 3), "one of three");
    }
}
