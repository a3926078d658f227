//! Tests of the state machine: tables of events. `World` is what several of them need.

use std::collections::BTreeMap;

use proto::address::{Addresses, IpWidth};
use proto::ids::{GroupName, StorageId};
use proto::status::StorageState;
use proto::tracker::beat::{Beat, Changes, DiskUsage};
use proto::tracker::join::{Join, JoinAnswer, ReportedState, TrackerHost};
use proto::tracker::query::FileQuery;
use proto::tracker::sync::{SyncPoint, SyncReport, SyncedUntil};
use proto::tracker::{Megabytes, Space, UnixTime, Version};

use super::member::MemberIx;
use super::*;

mod electing; // who leads, and whose files are taken over
mod joining; // who may join, and how states move
mod placing; // where uploads go, and who serves a file
mod saving; // state files
mod walking; // any events in any order

/// A day in the life of a cluster.
const NOON: UnixTime = UnixTime(1_790_000_000);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn group(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

fn id(text: &str) -> StorageId {
    StorageId::parse(text).unwrap()
}

fn policy() -> Policy {
    Policy {
        port: 22122,
        lookup: Lookup::RoundRobin,
        server: ServerChoice::RoundRobin,
        path: PathChoice::RoundRobin,
        download: DownloadChoice::RoundRobin,
        reserved: Reserved::Absolute(Megabytes(100)),
        check_active_secs: 100,
        sync_max_delay_secs: 86400,
        sync_max_time_secs: 300,
        ids: None,
        id_in_name: IdInName::Ip,
        trust_storage_id: true,
        address_width: IpWidth::V4,
        parameters: "a=1\n".to_owned(),
    }
}

/// A storage that joins for the first time.
fn first_join(group_name: &str) -> Join {
    let tracker = TrackerHost { addresses: Addresses::one(ip("10.0.0.1")), port: 22122 };
    Join {
        group: group(group_name),
        port: 23000,
        path_count: 1,
        subdir_count: 256,
        upload_priority: 10,
        join_time: UnixTime(1000),
        up_time: UnixTime(2000),
        version: Version::parse("6.16.1").unwrap(),
        init: true,
        state: ReportedState::Known(StorageState::Init),
        id: None,
        tracker: Some(ip("10.0.0.1")),
        trackers: vec![tracker],
    }
}

/// A cluster, and a connection for each storage, named by its address.
struct World {
    cluster: Cluster,
    now: UnixTime,
    sessions: BTreeMap<String, Session>,
    /// Of the last event.
    effects: Vec<Effect>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            cluster: Cluster::new(policy, NOON),
            now: NOON,
            sessions: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    fn apply(&mut self, peer: &str, event: Event) -> Result<Answer, Refusal> {
        let fresh = || Session::new(ip(peer), ip("10.0.0.1"));
        let session = self.sessions.entry(peer.to_owned()).or_insert_with(fresh);
        let (answer, effects) = self.cluster.apply(self.now, session, event);
        self.effects = effects;
        answer
    }

    /// The connection of a peer ends; its session stays for what comes late.
    fn closed(&mut self, peer: &str) {
        self.cluster.closed(&mut self.sessions[peer].clone());
    }

    /// A turn of the election in which no other tracker answers.
    fn elect(&mut self) {
        let mut heard = Heard::Nothing;
        loop {
            heard = match self.cluster.election(self.now, heard, 0).0 {
                Task::Rest { .. } => return,
                Task::AskStatus(peers) => Heard::Statuses(vec![None; peers.len()]),
                Task::Notify(peers, _) => Heard::Notified(vec![Told::Unreachable; peers.len()]),
                Task::Commit(peers, _) => Heard::Committed(vec![Told::Unreachable; peers.len()]),
                Task::Ping(..) => Heard::Pinged(false),
            };
        }
    }

    fn join(&mut self, peer: &str, join: Join) -> Result<JoinAnswer, Refusal> {
        match self.apply(peer, Event::Join(Box::new(join)))? {
            Answer::Joined(joined) => Ok(joined),
            other => panic!("a join was answered by {other:?}"),
        }
    }

    fn beat(&mut self, peer: &str) -> Changes {
        match self.apply(peer, Event::Beat(Box::new(Beat { statistics: None }))) {
            Ok(Answer::Changes(changes)) => changes,
            other => panic!("a heartbeat was answered by {other:?}"),
        }
    }

    fn disk(&mut self, peer: &str, paths: &[(i64, i64)]) -> Result<(), Refusal> {
        let space =
            |(total, free): &(i64, i64)| Space { total: Megabytes(*total), free: Megabytes(*free) };
        let paths = paths.iter().map(space).collect();
        self.apply(peer, Event::DiskUsage(DiskUsage { paths })).map(|_| ())
    }

    /// A storage in service, whatever it had to wait for.
    fn serve(&mut self, peer: &str, join: Join, paths: &[(i64, i64)]) {
        let group = join.group;
        self.join(peer, join).unwrap();
        self.set_state(group.as_str(), peer, StorageState::Online);
        self.beat(peer);
        self.disk(peer, paths).unwrap();
    }

    fn ix(&self, group_name: &str, id_text: &str) -> MemberIx {
        self.cluster.groups[&group(group_name)].find(&id(id_text)).unwrap()
    }

    fn member(&mut self, group_name: &str, id_text: &str) -> &mut member::Member {
        let ix = self.ix(group_name, id_text);
        self.cluster.groups.get_mut(&group(group_name)).unwrap().member_mut(ix)
    }

    fn state(&mut self, group_name: &str, id_text: &str) -> StorageState {
        self.member(group_name, id_text).state
    }

    fn set_state(&mut self, group_name: &str, id_text: &str, state: StorageState) {
        self.member(group_name, id_text).state = state;
    }

    fn saves(&self, file: StateFile) -> bool {
        self.effects.contains(&Effect::Save(file))
    }

    fn store(&mut self, group_name: Option<&str>) -> Result<(String, String, u8), Refusal> {
        let group = group_name.map(group);
        match self.apply("10.9.9.9", Event::Store { group, all: false })? {
            Answer::Store(target) => {
                let server = target.servers[0].address.to_string();
                Ok((target.group.to_string(), server, target.path.0))
            }
            other => panic!("a query was answered by {other:?}"),
        }
    }

    fn fetch(&mut self, name: &[u8], purpose: Purpose) -> Result<Vec<String>, Refusal> {
        let query = FileQuery { group: group("group1"), name: name.to_vec() };
        match self.apply("10.9.9.9", Event::Fetch(query, purpose))? {
            Answer::Fetch(target) => {
                Ok(target.servers.iter().map(|server| server.address.to_string()).collect())
            }
            other => panic!("a query was answered by {other:?}"),
        }
    }

    fn synced(&mut self, peer: &str, source: &str, until: i64) {
        let until = u32::try_from(until).unwrap();
        let records = vec![SyncedUntil { source: id(source), until }];
        self.apply(peer, Event::SyncReport(SyncReport { records })).unwrap();
    }
}
