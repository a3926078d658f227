//! Which tracker leads: one turn after the other, as a pure machine (tracker.md 10).
//!
//! `peers` does what a [`Task`] says and comes back with what it [`Heard`]; nothing here waits,
//! draws or connects. There is no quorum: whoever is reachable decides. Two leaders that meet
//! again both step down when a storage tells them so (68).
//!
//! ```text
//!             +--- nobody answers as leader, another one should lead: rest a little --+
//!             v                                                                       |
//!  start -> ask (64) -- another leads: adopt it ---------------> ping (65) -- 3 x no answer
//!             |                                                    ^  |
//!             +-- we should lead --> notify (66) --> commit (67) --+  +--> ...
//! ```

use proto::tracker::UnixTime;
use proto::tracker::Version;
use proto::tracker::join::TrackerHost;
use proto::tracker::leader::{JoinLeader, TrackerStatus};

use super::leader::{Rank, Trackers, host_text};
use super::{Cluster, Effect};

/// Between two turns that went well.
const REST_MILLIS: u64 = 1000;
/// After a turn without a result, up to so much longer: two trackers that disturbed each other
/// must not do so again. The reference waits up to ten seconds; a storage is without lists of
/// its group for as long, so we wait less.
const JITTER_MILLIS: u64 = 3000;
/// So many pings in a row without an answer, and the leader counts as gone.
const PING_FAILURES_MAX: u32 = 3;

/// Another tracker, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub place: usize,
    pub host: TrackerHost,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    Rest {
        millis: u64,
    },
    /// 64 to each of them.
    AskStatus(Vec<Peer>),
    /// 66 to one after the other until one refuses; this is who is to lead.
    Notify(Vec<Peer>, String),
    /// 67, likewise.
    Commit(Vec<Peer>, String),
    /// 65; on a new connection 58 first.
    Ping(Peer, JoinLeader),
}

/// How another tracker took what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Accepted,
    /// No connection could be made: it is skipped.
    Unreachable,
    /// It said no, or broke off.
    Refused,
}

/// What came of the last task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is over: a rest, or the time before the first task.
    Nothing,
    /// In the order asked; `None` where there was no answer.
    Statuses(Vec<Option<TrackerStatus>>),
    Notified(Vec<Told>),
    Committed(Vec<Told>),
    Pinged(bool),
}

/// Where an election stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Election {
    /// The places of those who were asked in this turn.
    asked: Vec<usize>,
    ping_failures: u32,
    /// Whether it has been said that we are not in the list.
    complained: bool,
}

const REST: Task = Task::Rest { millis: REST_MILLIS };

fn rest_after_failure(dice: u32) -> Task {
    Task::Rest { millis: REST_MILLIS + u64::from(dice) % JITTER_MILLIS }
}

impl Cluster {
    /// One step of the election. `dice` is any number; it only decides how long to rest.
    pub fn election(&mut self, now: UnixTime, heard: Heard, dice: u32) -> (Task, Vec<Effect>) {
        let mut effects = Vec::new();
        let task = match heard {
            Heard::Nothing => self.begin_turn(now, dice, &mut effects),
            Heard::Statuses(statuses) => self.compare(now, &statuses, dice, &mut effects),
            Heard::Notified(told) if told.contains(&Told::Refused) => rest_after_failure(dice),
            Heard::Notified(_) => self.commit(),
            Heard::Committed(told) => self.conclude(&told, dice, &mut effects),
            Heard::Pinged(answered) => self.pinged(answered, &mut effects),
        };
        (task, effects)
    }

    fn begin_turn(&mut self, now: UnixTime, dice: u32, effects: &mut Vec<Effect>) -> Task {
        let trackers = &self.trackers;
        if trackers.hosts.is_empty() || trackers.is_leader() {
            return REST;
        }
        if let Some(leader) = trackers.leader.and_then(|place| trackers.peer(place)) {
            let version = Version::parse(super::VERSION).unwrap_or_default();
            let hello = JoinLeader { up_time: self.started, version, port: trackers.port };
            return Task::Ping(leader, hello);
        }
        let others = trackers.others();
        self.election.asked = others.iter().map(|peer| peer.place).collect();
        if others.is_empty() {
            // Alone in the list: there is nobody to ask.
            return self.compare(now, &[], dice, effects);
        }
        Task::AskStatus(others)
    }

    /// Who ranks highest: the one that leads, runs longest, was down the shortest time.
    fn compare(
        &mut self,
        now: UnixTime,
        statuses: &[Option<TrackerStatus>],
        dice: u32,
        effects: &mut Vec<Effect>,
    ) -> Task {
        if self.trackers.leader.is_some() {
            return REST; // 67 came meanwhile
        }
        let own = self.trackers.own.map(|place| (place, self.status(now)));
        if own.is_none() && !self.election.complained {
            self.election.complained = true;
            effects.push(Effect::Warn(
                "no address in the tracker list of the storages is one of ours, so this tracker \
                 cannot lead; check tracker_server in their storage.conf"
                    .to_owned(),
            ));
        }
        let asked = self.election.asked.iter().copied().zip(statuses);
        let others = asked.filter_map(|(place, status)| Some((place, (*status)?)));
        let rank = |(place, status): &(usize, TrackerStatus)| {
            self.trackers.hosts.get(*place).map(|host| Rank::of(status, host))
        };
        let Some((winner, status)) = others.chain(own).max_by_key(rank) else {
            return rest_after_failure(dice);
        };
        if Some(winner) == self.trackers.own {
            return match self.trackers.own_host() {
                Some(host) => Task::Notify(self.trackers.others(), host),
                None => rest_after_failure(dice),
            };
        }
        if !status.is_leader {
            return rest_after_failure(dice); // it is to announce itself
        }
        self.trackers.leader = Some(winner);
        self.election.ping_failures = 0;
        effects.push(Effect::Info(format!("tracker {} leads", self.trackers.name_of(winner))));
        REST
    }

    /// Everybody who could be reached knows who is next.
    fn commit(&mut self) -> Task {
        self.trackers.next = self.trackers.own;
        let host = self.trackers.own_host().unwrap_or_default();
        Task::Commit(self.trackers.others(), host)
    }

    fn conclude(&mut self, told: &[Told], dice: u32, effects: &mut Vec<Effect>) -> Task {
        let next = self.trackers.next.take();
        // Another one may have announced itself between our two rounds.
        if told.contains(&Told::Refused) || next.is_none() || next != self.trackers.own {
            return rest_after_failure(dice);
        }
        self.trackers.lead(effects);
        REST
    }

    fn pinged(&mut self, answered: bool, effects: &mut Vec<Effect>) -> Task {
        if answered {
            self.election.ping_failures = 0;
            return REST;
        }
        let failures = self.election.ping_failures.saturating_add(1);
        self.election.ping_failures = failures;
        let Some(leader) = self.trackers.leader.filter(|_| !self.trackers.is_leader()) else {
            return REST;
        };
        if failures < PING_FAILURES_MAX {
            return Task::Rest { millis: REST_MILLIS << failures };
        }
        self.trackers.leader = None;
        self.election.ping_failures = 0;
        let name = self.trackers.name_of(leader);
        effects.push(Effect::Warn(format!(
            "tracker {name}, the leader, has not answered {failures} pings in a row: choosing anew"
        )));
        REST
    }
}

impl Trackers {
    fn peer(&self, place: usize) -> Option<Peer> {
        self.hosts.get(place).map(|host| Peer { place, host: *host })
    }

    /// Everybody in the list but us.
    pub(super) fn others(&self) -> Vec<Peer> {
        let all = self.hosts.iter().enumerate().map(|(place, host)| Peer { place, host: *host });
        all.filter(|peer| Some(peer.place) != self.own).collect()
    }

    /// How we are named to the others: by our first address.
    fn own_host(&self) -> Option<String> {
        let host = self.hosts.get(self.own?)?;
        Some(host_text(host.addresses.first(), host.port))
    }

    fn name_of(&self, place: usize) -> String {
        let host = self.hosts.get(place);
        host.map_or_else(String::new, |host| host.addresses.with_port(host.port))
    }
}
