//! Which trackers there are, what they know of each other, and who leads (58, 64 to 68, 95, 96;
//! tracker.md 3.6.4 and 3.12).
//!
//! The list comes from the storages: a tracker has no configured peers. How the leader is
//! chosen stands in `election`.

use std::collections::{BTreeMap, BTreeSet};

use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};

use proto::address::{Addresses, HOST_LEN};
use proto::ids::StorageId;
use proto::status::StorageState;
use proto::tracker::beat::Connections;
use proto::tracker::join::TrackerHost;
use proto::tracker::leader::{JoinLeader, TrackerStatus, TrunkServer};
use proto::tracker::stat::{TrackerFilter, TrackerStat};
use proto::tracker::{Brief, TRACKERS_MAX, UnixTime, Version};

use super::{Answer, Cluster, Effect, Refusal, Session};

/// Addresses we have heard to be ours: more than a machine has, so peers cannot fill memory.
const OWN_ADDRESSES_MAX: usize = 64;
/// Running times are told in steps of this many seconds.
const STATUS_STEP_SECS: i64 = 300;
/// A follower that has pinged within this time is active.
const ACTIVE_SECS_MAX: i64 = 3;

/// What decides who leads: the greatest does (tracker.md 10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    is_leader: bool,
    running_secs: i64,
    restart_secs: Reverse<i64>,
    /// Addresses are compared as text.
    address: ([u8; HOST_LEN], u16),
}

impl Rank {
    pub(super) fn of(status: &TrackerStatus, host: &TrackerHost) -> Self {
        let mut address = [0; HOST_LEN];
        let text = host.addresses.first().to_string();
        address.iter_mut().zip(text.bytes()).for_each(|(slot, byte)| *slot = byte);
        let TrackerStatus { is_leader, running_secs, restart_secs } = *status;
        let (restart_secs, address) = (Reverse(restart_secs), (address, host.port));
        Self { is_leader, running_secs, restart_secs, address }
    }

    /// The same without the tie-break.
    pub(super) fn without_name(self) -> Self {
        Self { address: ([0; HOST_LEN], 0), ..self }
    }
}

/// What the leader knows of a tracker that follows it.
#[derive(Clone, Copy, Debug, Default)]
struct Follower {
    up_time: UnixTime,
    version: Version,
    connections: Connections,
    last_ping: UnixTime,
}

/// The trackers of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Trackers {
    /// Where this tracker listens.
    pub(super) port: u16,
    /// In the order of the first join.
    pub(super) hosts: Vec<TrackerHost>,
    own_addresses: BTreeSet<IpAddr>,
    /// Our place in `hosts`, once known.
    pub(super) own: Option<usize>,
    /// The place of the leading tracker.
    pub(super) leader: Option<usize>,
    /// Who has been announced as the next leader.
    pub(super) next: Option<usize>,
    leader_changes: u32,
    /// By place: as long as we lead, and since we did.
    followers: BTreeMap<usize, Follower>,
}

impl Trackers {
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            hosts: Vec::new(),
            own_addresses: BTreeSet::new(),
            own: None,
            leader: None,
            next: None,
            leader_changes: 0,
            followers: BTreeMap::new(),
        }
    }

    /// What is a reading of our clock.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut UnixTime> {
        self.followers.values_mut().map(|follower| &mut follower.last_ping)
    }

    /// An address a peer reached us at.
    pub(super) fn remember_own(&mut self, address: IpAddr) {
        if self.own_addresses.len() < OWN_ADDRESSES_MAX {
            self.own_addresses.insert(address.to_canonical());
        }
    }

    /// Takes in the list of a storage. Nothing is ever removed from it.
    pub(super) fn merge(
        &mut self,
        lines: &[TrackerHost],
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let mut hosts = self.hosts.clone();
        for line in lines {
            let shares = |host: &&mut TrackerHost| {
                host.port == line.port && line.addresses.iter().any(|a| host.addresses.contains(a))
            };
            match hosts.iter_mut().find(shares) {
                None => hosts.push(*line),
                Some(host) if same(&host.addresses, &line.addresses) => {}
                Some(host) => {
                    let listed = line.addresses.with_port(line.port);
                    let known = host.addresses.with_port(host.port);
                    effects.push(Effect::Warn(format!(
                        "a storage lists tracker {listed}, which is known here as {known}"
                    )));
                    extend(&mut host.addresses, &line.addresses);
                }
            }
        }
        if TRACKERS_MAX < hosts.len() {
            return Err(Refusal::Full);
        }
        let grown = self.hosts.len() < hosts.len();
        self.hosts = hosts;
        if grown {
            self.find_own(effects);
        }
        Ok(())
    }

    /// Not finding ourselves is odd (an address was translated on the way) but harmless.
    fn find_own(&mut self, effects: &mut Vec<Effect>) {
        let is_own = |host: &TrackerHost| {
            host.port == self.port && self.own_addresses.iter().any(|a| host.addresses.contains(*a))
        };
        self.own = self.hosts.iter().position(is_own);
        if self.own.is_none() && self.hosts.len() == 1 {
            // Whoever wrote the list has reached us, so the only tracker in it is this one.
            self.own = Some(0);
        }
        if self.own.is_none() {
            effects.push(Effect::Warn(
                "this tracker is not in the tracker list of the storage that joined".to_owned(),
            ));
        }
    }

    /// From now on this tracker leads.
    pub(super) fn lead(&mut self, effects: &mut Vec<Effect>) {
        self.leader = self.own;
        self.leader_changes = self.leader_changes.wrapping_add(1);
        effects.push(Effect::Info("this tracker leads".to_owned()));
    }

    fn place_of(&self, at: SocketAddr) -> Option<usize> {
        let is = |host: &TrackerHost| host.port == at.port() && host.addresses.contains(at.ip());
        self.hosts.iter().position(is)
    }

    pub(super) fn step_down(&mut self) {
        self.leader = None;
        self.leader_changes = self.leader_changes.wrapping_add(1);
    }

    pub(super) fn is_leader(&self) -> bool {
        self.leader.is_some() && self.leader == self.own
    }

    /// Grows whenever another tracker leads, or none.
    pub(super) fn leader_changes(&self) -> u32 {
        self.leader_changes
    }

    fn leader(&self) -> Option<&TrackerHost> {
        self.hosts.get(self.leader?)
    }

    /// The leading tracker as heartbeats tell it; its id is its address, cut to 15 characters.
    pub(super) fn leader_brief(&self) -> Option<Brief> {
        let leader = self.leader()?;
        let address = leader.addresses.first();
        let mut id = address.to_string();
        id.truncate(15);
        Some(Brief {
            state: StorageState::Init,
            port: leader.port,
            id: StorageId::parse(&id),
            address: Some(address),
        })
    }
}

fn same(a: &Addresses, b: &Addresses) -> bool {
    a.iter().count() == b.iter().count() && a.iter().all(|address| b.contains(address))
}

/// Adds a second address to a tracker known by one; a third is never taken.
fn extend(known: &mut Addresses, more: &Addresses) {
    let fresh = more.iter().find(|address| !known.contains(*address));
    if known.iter().count() == 1
        && let Some(both) = fresh.and_then(|fresh| Addresses::two(known.first(), fresh))
    {
        *known = both;
    }
}

/// `ip:port`, brackets around IPv6.
pub(super) fn host_text(address: IpAddr, port: u16) -> String {
    let mut text = Addresses::one(address).with_port(port);
    text.truncate(HOST_LEN);
    text
}

impl Cluster {
    /// Ours, as the list of trackers has them; by these the others know us.
    pub fn own_addresses(&self) -> Option<Addresses> {
        self.trackers.hosts.get(self.trackers.own?).map(|host| host.addresses)
    }

    /// 95.
    pub(super) fn get_leader(&self, session: &Session) -> Result<Answer, Refusal> {
        let leader = self.trackers.leader().ok_or(Refusal::NotFound)?;
        Ok(Answer::Text(host_text(leader.addresses.for_peer(session.peer), leader.port)))
    }

    /// 64. A tracker without groups has nothing to lead.
    pub(super) fn tracker_status(&self, now: UnixTime) -> Result<Answer, Refusal> {
        if self.groups.is_empty() {
            return Err(Refusal::NotFound);
        }
        Ok(Answer::TrackerStatus(self.status(now)))
    }

    /// What decides whether this tracker leads.
    pub(super) fn status(&self, now: UnixTime) -> TrackerStatus {
        let steps = |secs: i64| secs.max(0) / STATUS_STEP_SECS * STATUS_STEP_SECS;
        let restart = self.last_check.map_or(0, |last| self.started.since(last));
        TrackerStatus {
            is_leader: self.trackers.is_leader(),
            running_secs: steps(now.since(self.started)),
            restart_secs: steps(restart),
        }
    }

    /// Our rank beside that of a tracker we could take files from: we do not lead yet.
    pub(super) fn own_rank(&self, now: UnixTime) -> Rank {
        let status = TrackerStatus { is_leader: false, ..self.status(now) };
        let nobody = TrackerHost { addresses: Addresses::one(IpAddr::from([0; 4])), port: 0 };
        Rank::of(&status, &nobody).without_name()
    }

    /// 58: a tracker that follows us says who it is.
    pub(super) fn join_leader(
        &mut self,
        session: &mut Session,
        join: &JoinLeader,
    ) -> Result<Answer, Refusal> {
        if !self.trackers.is_leader() {
            return Err(Refusal::NotLeader);
        }
        if session.follower.is_some() || session.joined.is_some() {
            return Err(Refusal::Exists);
        }
        let at = SocketAddr::new(session.peer, join.port);
        let place = self.trackers.place_of(at).ok_or(Refusal::NotFound)?;
        session.follower = Some(place);
        let follower = self.trackers.followers.entry(place).or_default();
        (follower.up_time, follower.version) = (join.up_time, join.version);
        // It may have led as well until now, where we could not see each other: storages that
        // have listened to it are told everything again.
        self.trackers.leader_changes = self.trackers.leader_changes.wrapping_add(1);
        Ok(Answer::Empty)
    }

    /// 65: it is alive. Trunk files are off, so no group has anybody who hands out slots.
    pub(super) fn ping_leader(
        &mut self,
        now: UnixTime,
        session: &mut Session,
        connections: Connections,
    ) -> Result<Answer, Refusal> {
        if !self.trackers.is_leader() {
            return Err(Refusal::NotLeader);
        }
        let place = session.follower.ok_or(Refusal::Invalid)?;
        let follower = self.trackers.followers.entry(place).or_default();
        (follower.connections, follower.last_ping) = (connections, now);
        if core::mem::replace(&mut session.knows_trunk_servers, true) {
            return Ok(Answer::Empty);
        }
        let servers = self.groups.keys().map(|group| TrunkServer { group: *group, server: None });
        Ok(Answer::TrunkServers(servers.collect()))
    }

    /// 66: who is to lead next. A leader that hears of another one makes way, and refuses: the
    /// other will try again.
    pub(super) fn notify_next_leader(&mut self, next: SocketAddr) -> Result<Answer, Refusal> {
        let place = self.trackers.place_of(next).ok_or(Refusal::NotFound)?;
        if self.trackers.is_leader() && Some(place) != self.trackers.own {
            self.trackers.step_down();
            return Err(Refusal::Invalid);
        }
        self.trackers.next = Some(place);
        Ok(Answer::Empty)
    }

    /// 67: it leads.
    pub(super) fn commit_next_leader(
        &mut self,
        next: SocketAddr,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let place = self.trackers.place_of(next).ok_or(Refusal::NotFound)?;
        if self.trackers.next != Some(place) {
            return Err(Refusal::Invalid);
        }
        self.trackers.next = None;
        if Some(place) == self.trackers.own {
            self.trackers.lead(effects);
        } else {
            self.trackers.leader = Some(place);
            effects.push(Effect::Info(format!("tracker {next} leads")));
        }
        Ok(Answer::Empty)
    }

    /// 68: a storage saw two leaders. Both step down and decide again.
    pub(super) fn reselect(&mut self) -> Result<Answer, Refusal> {
        if !self.trackers.is_leader() {
            return Err(Refusal::NotLeader);
        }
        self.trackers.step_down();
        Ok(Answer::Empty)
    }

    /// 96. Only the leader knows how the others do.
    pub(super) fn tracker_stat(
        &self,
        now: UnixTime,
        filter: TrackerFilter,
        connections: Connections,
    ) -> Result<Answer, Refusal> {
        if !self.trackers.is_leader() {
            return Err(Refusal::NotLeader);
        }
        let hosts = self.trackers.hosts.iter().enumerate();
        let stats = hosts.map(|(place, host)| {
            let is_leader = Some(place) == self.trackers.own;
            let follower = if is_leader {
                let version = Version::parse(super::VERSION).unwrap_or_default();
                let (up_time, last_ping) = (self.started, UnixTime(0));
                Follower { up_time, version, connections, last_ping }
            } else {
                self.trackers.followers.get(&place).copied().unwrap_or_default()
            };
            let silent = now.since(follower.last_ping);
            TrackerStat {
                host: host_text(host.addresses.first(), host.port),
                is_leader,
                is_active: is_leader || silent <= ACTIVE_SECS_MAX,
                connections: follower.connections,
                version: follower.version,
                up_time: follower.up_time,
                last_heartbeat: follower.last_ping,
            }
        });
        let wanted = |stat: &TrackerStat| {
            filter.active.is_none_or(|active| active == stat.is_active)
                && filter.leader.is_none_or(|leader| leader == stat.is_leader)
        };
        Ok(Answer::TrackerStats(stats.filter(wanted).collect()))
    }
}
