//! Which trackers there are, and which of them leads (64, 68, 95, 96; tracker.md 3.6.4 and 10).
//!
//! The list comes from the storages: a tracker has no configured peers. A tracker that is alone
//! in it leads. With several no election is held: nobody leads, and it says so once.

use std::collections::BTreeSet;

use core::net::IpAddr;

use proto::address::{Addresses, HOST_LEN};
use proto::ids::StorageId;
use proto::status::StorageState;
use proto::tracker::beat::Connections;
use proto::tracker::join::TrackerHost;
use proto::tracker::leader::TrackerStatus;
use proto::tracker::stat::{TrackerFilter, TrackerStat};
use proto::tracker::{Brief, TRACKERS_MAX, UnixTime, Version};

use super::{Answer, Cluster, Effect, Refusal, Session};

/// Addresses we have heard to be ours: more than a machine has, so peers cannot fill memory.
const OWN_ADDRESSES_MAX: usize = 64;
/// Running times are told in steps of this many seconds.
const STATUS_STEP_SECS: i64 = 300;

/// The trackers of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Trackers {
    /// Where this tracker listens.
    port: u16,
    /// In the order of the first join.
    hosts: Vec<TrackerHost>,
    own_addresses: BTreeSet<IpAddr>,
    /// Our place in `hosts`, once known.
    own: Option<usize>,
    /// The place of the leading tracker.
    leader: Option<usize>,
    leader_changes: u32,
    /// Whether it has been said that no election is held.
    complained: bool,
}

impl Trackers {
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            hosts: Vec::new(),
            own_addresses: BTreeSet::new(),
            own: None,
            leader: None,
            leader_changes: 0,
            complained: false,
        }
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

    /// Once a second: a tracker that is alone leads.
    pub(super) fn elect(&mut self, effects: &mut Vec<Effect>) {
        if 1 < self.hosts.len() && !self.complained {
            self.complained = true;
            effects.push(Effect::Warn(format!(
                "storages list {} trackers, but this version holds no election: no tracker \
                 leads, and storages are not told of each other",
                self.hosts.len()
            )));
        }
        if self.hosts.len() == 1 && self.leader.is_none() {
            self.leader = self.own;
            self.leader_changes = self.leader_changes.wrapping_add(1);
            effects.push(Effect::Info("this tracker leads".to_owned()));
        }
        if 1 < self.hosts.len() && self.leader.is_some() {
            self.step_down();
        }
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
        let steps = |secs: i64| secs.max(0) / STATUS_STEP_SECS * STATUS_STEP_SECS;
        let restart = self.last_check.map_or(0, |last| self.started.since(last));
        Ok(Answer::TrackerStatus(TrackerStatus {
            is_leader: self.trackers.is_leader(),
            running_secs: steps(now.since(self.started)),
            restart_secs: steps(restart),
        }))
    }

    /// 68: a storage saw two leaders. Both step down and decide again.
    pub(super) fn reselect(&mut self) -> Result<Answer, Refusal> {
        if !self.trackers.is_leader() {
            return Err(Refusal::NotLeader);
        }
        self.trackers.step_down();
        Ok(Answer::Empty)
    }

    /// 96. Only the leader knows how the others do; it is alone, so it tells of itself.
    pub(super) fn tracker_stat(
        &self,
        filter: TrackerFilter,
        connections: Connections,
    ) -> Result<Answer, Refusal> {
        let leader = self.trackers.leader().filter(|_| self.trackers.is_leader());
        let leader = leader.ok_or(Refusal::NotLeader)?;
        let wanted = filter.active != Some(false) && filter.leader != Some(false);
        let own = TrackerStat {
            host: host_text(leader.addresses.first(), leader.port),
            is_leader: true,
            is_active: true,
            connections,
            version: Version::parse(super::VERSION).unwrap_or_default(),
            up_time: self.started,
            last_heartbeat: UnixTime(0),
        };
        Ok(Answer::TrackerStats(Vec::from_iter(wanted.then_some(own))))
    }
}
