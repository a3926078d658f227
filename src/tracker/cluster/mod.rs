//! The state of the cluster as one pure machine: an event and the time in, an answer and
//! effects out.
//!
//! Called by `service` under one short lock, and by tests without any. Here is no file, socket,
//! clock, log or chance; whatever must happen outside is an [`Effect`], in the order in which
//! it must be performed.

mod bootstrap; // what is asked before joining
mod changelog; // renamed and removed members
mod choose; // where the next upload goes
mod clock; // the wall clock was set
mod election; // how it is chosen
mod files; // the state files as text
mod group; // the members of a group, and who may be read and written
mod join; // who may join, under which identity
mod leader; // the trackers, and which of them leads
mod member; // one storage and its states
mod policy; // start here: the settings that decisions depend on
mod readable; // who may serve a file
mod report; // heartbeat, disk usage, progress of replication
mod restore; // and back
mod source; // who fills a new member
mod status; // states reported by others
mod sysfiles; // the state files, for other trackers
mod takeover; // and what they have, for us
mod view; // lists and figures for administrators

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use core::net::{IpAddr, SocketAddr};

use proto::ids::{GroupName, StorageId};
use proto::status::{Status, StorageState};
use proto::tracker::admin::DeleteStorage;
use proto::tracker::beat::{Beat, Changes, Connections, DiskUsage};
use proto::tracker::bootstrap::{FetchIds, GetGroupName, GetMyIp, IdLines, ServerQuery};
use proto::tracker::changelog::IpChanged;
use proto::tracker::join::{Join, JoinAnswer};
use proto::tracker::leader::{JoinLeader, SysFilePiece, TrackerStatus, TrunkServer};
use proto::tracker::list::{GroupStat, ListStorage, StorageStat};
use proto::tracker::query::{FetchTarget, FileQuery, StoreTarget};
use proto::tracker::stat::{StorageFilter, StorageLines, TrackerFilter, TrackerStat};
use proto::tracker::stat::{VolumeFilter, Volumes};
use proto::tracker::status::{ReplicaChange, ReportStatus};
use proto::tracker::sync::{StorageRef, SyncPoint, SyncReport};
use proto::tracker::{Brief, UnixTime};

pub use election::{Heard, Peer, Task, Told};
pub use policy::{ConfiguredStorage, DownloadChoice, IdClash, IdInName, IdTable, Lookup};
pub use policy::{PathChoice, Policy, Reserved, ServerChoice};
pub use readable::Purpose;
pub use restore::RestoreError;
pub use takeover::{Answered, Source};

use changelog::ChangeLog;
use election::Election;
use group::Group;
use leader::Trackers;
use member::MemberIx;
use sysfiles::Lent;
use takeover::TakeOver;

/// The level of the protocol we speak, as statistics show it.
pub const VERSION: &str = "6.16.1";

/// What a connection has told about itself. Empty at its start, dropped at its end.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who is at the other end, and at which of our addresses.
    pub peer: IpAddr,
    pub local: IpAddr,
    /// The storage that joined on it.
    joined: Option<(GroupName, MemberIx)>,
    /// Which of that storage's joins it was.
    join_number: u64,
    /// The leader-change counter when it was last told who leads.
    leader_seen: u32,
    /// Up to where the change log was sent in the last answer, which may not have arrived.
    changelog_sent: Option<u64>,
    /// The place of the tracker that follows us over it.
    follower: Option<usize>,
    /// Whether that one has been told who hands out slots.
    knows_trunk_servers: bool,
    /// Whether the state files are lent to it.
    has_files: bool,
}

impl Session {
    pub fn new(peer: IpAddr, local: IpAddr) -> Self {
        Self {
            peer,
            local,
            joined: None,
            join_number: 0,
            leader_seen: 0,
            changelog_sent: None,
            follower: None,
            knows_trunk_servers: false,
            has_files: false,
        }
    }

    /// Whether a storage has joined; most reports need that.
    pub fn is_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// Whether the cluster must hear of its end.
    pub fn is_missed(&self) -> bool {
        self.joined.is_some() || self.has_files
    }
}

/// What a peer asks or reports; the numbers are those of the commands.
#[derive(Clone, Debug)]
pub enum Event {
    /// 58.
    JoinLeader(JoinLeader),
    /// 59.
    ChangeStatus(StorageState),
    /// 60.
    MyIp(GetMyIp),
    /// 61.
    SysFilesStart,
    /// 62.
    SysFilesEnd,
    /// 63.
    SysFile(SysFilePiece),
    /// 64.
    TrackerStatus,
    /// 65.
    PingLeader(Connections),
    /// 66.
    NotifyNextLeader(SocketAddr),
    /// 67.
    CommitNextLeader(SocketAddr),
    /// 68.
    Reselect,
    /// 69.
    StorageIds(FetchIds),
    /// 70.
    ServerId(ServerQuery),
    /// 71.
    StorageStatus(ServerQuery),
    /// 72, and 73 and 74, which only a trunk server may send.
    TrunkFid,
    TrunkReport,
    /// 75.
    Parameters,
    /// 76.
    ReportStatus(ReportStatus),
    /// 77; `None`: the storage of this connection.
    ChangelogReq(Option<StorageRef>),
    /// 78.
    IpChanged(IpChanged),
    /// 79.
    SyncDestQuery,
    /// 81.
    Join(Box<Join>),
    /// 83.
    Beat(Box<Beat>),
    /// 84.
    DiskUsage(DiskUsage),
    /// 85.
    ReplicaChange(ReplicaChange),
    /// 86.
    SyncSrcReq(StorageRef),
    /// 87.
    SyncDestReq,
    /// 88.
    SyncNotify(SyncPoint),
    /// 89.
    SyncReport(SyncReport),
    /// 90, and 91 without a name.
    ListGroups(Option<GroupName>),
    /// 92.
    ListStorages(ListStorage),
    /// 93.
    DeleteStorage(DeleteStorage),
    /// 94.
    SetTrunkServer,
    /// 95.
    GetLeader,
    /// 96, with the figures of this process.
    TrackerStat(TrackerFilter, Connections),
    /// 97.
    StorageStat(StorageFilter),
    /// 98.
    VolumeStat(VolumeFilter),
    /// 101, 104, 106, 107.
    Store {
        group: Option<GroupName>,
        all: bool,
    },
    /// 102, 103, 105.
    Fetch(FileQuery, Purpose),
    /// 108.
    DeleteGroup(GroupName),
    /// 109.
    GroupName(GetGroupName),
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Empty,
    /// Plain text without a terminator.
    Text(String),
    Store(StoreTarget),
    Fetch(FetchTarget),
    Groups(Vec<GroupStat>),
    Storages(Vec<StorageStat>),
    Joined(JoinAnswer),
    Changes(Changes),
    SyncPoint(Option<SyncPoint>),
    Status(Brief),
    Ids(IdLines),
    Group(GroupName),
    TrackerStatus(TrackerStatus),
    TrackerStats(Vec<TrackerStat>),
    TrunkServers(Vec<TrunkServer>),
    StorageLines(StorageLines),
    Volumes(Volumes),
    /// The length of the whole file, and a piece of it.
    SysFile(u64, Vec<u8>),
    TrunkFid(i32),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown group, storage or leader; nobody who could serve.
    NotFound,
    /// The connection has not joined.
    NotJoined,
    /// A storage whose state cannot be accepted now; it joins again later.
    Unready,
    /// In use.
    Busy,
    Exists,
    /// Malformed, or in contradiction to what is known.
    Invalid,
    /// No space above the reservation, or a limit of the protocol.
    Full,
    NotLeader,
    /// The feature is off.
    Unsupported,
    Already,
}

impl Refusal {
    /// The status byte of the answer.
    pub fn status(self) -> Status {
        match self {
            Refusal::NotFound => Status::ENOENT,
            Refusal::NotJoined => Status::EACCES,
            Refusal::Unready => Status::EFAULT,
            Refusal::Busy => Status::EBUSY,
            Refusal::Exists => Status::EEXIST,
            Refusal::Invalid => Status::EINVAL,
            Refusal::Full => Status::ENOSPC,
            Refusal::NotLeader | Refusal::Unsupported => Status::EOPNOTSUPP,
            Refusal::Already => Status::EALREADY,
        }
    }
}

/// A state file that is rewritten whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateFile {
    Groups,
    Storages,
    SyncTimes,
    ChangeLog,
}

/// What must happen outside, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Must be on disk before the answer is given.
    Save(StateFile),
    /// Is saved along the way; the answer does not wait for it.
    SaveSoon(StateFile),
    /// A line for the change log; must be on disk before the answer is given.
    AppendChangelog(String),
    /// For the log.
    Moved {
        group: GroupName,
        id: StorageId,
        from: StorageState,
        to: StorageState,
    },
    Info(String),
    Warn(String),
}

/// The texts a cluster is restored from; `None` where there was no file.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    pub groups: Option<String>,
    pub storages: Option<String>,
    pub sync_times: Option<String>,
    pub changelog: String,
    /// When the tracker before us was last known to run.
    pub last_check: Option<UnixTime>,
}

/// All a tracker knows.
#[derive(Clone, Debug)]
pub struct Cluster {
    policy: Policy,
    groups: BTreeMap<GroupName, Group>,
    /// Place of the group for the next upload, in name order.
    write_group: usize,
    trackers: Trackers,
    election: Election,
    take_over: TakeOver,
    lent: Option<Lent>,
    changelog: ChangeLog,
    beats: u32,
    sync_reports: u32,
    started: UnixTime,
    last_check: Option<UnixTime>,
    /// When time was told.
    clocks: Option<clock::Clocks>,
}

impl Cluster {
    pub fn new(policy: Policy, started: UnixTime) -> Self {
        Self {
            trackers: Trackers::new(policy.port),
            policy,
            groups: BTreeMap::new(),
            write_group: 0,
            election: Election::default(),
            take_over: TakeOver::default(),
            lent: None,
            changelog: ChangeLog::default(),
            beats: 0,
            sync_reports: 0,
            started,
            last_check: None,
            clocks: None,
        }
    }

    /// The settings it decides by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The one door: what a peer asks, what it is answered, and what else must happen.
    pub fn apply(
        &mut self,
        now: UnixTime,
        session: &mut Session,
        event: Event,
    ) -> (Result<Answer, Refusal>, Vec<Effect>) {
        let mut effects = Vec::new();
        let answer = self.answer(now, session, event, &mut effects);
        (answer, effects)
    }

    fn answer(
        &mut self,
        now: UnixTime,
        session: &mut Session,
        event: Event,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        self.changelog_arrived(session, effects);
        match event {
            Event::JoinLeader(join) => self.join_leader(session, &join),
            Event::ChangeStatus(state) => self.change_status(session, state, effects),
            Event::MyIp(query) => self.my_ip(session, &query, effects),
            Event::SysFilesStart => self.sys_files_start(session, effects),
            Event::SysFilesEnd => self.sys_files_end(session),
            Event::SysFile(piece) => self.sys_file(session, piece),
            Event::TrackerStatus => self.tracker_status(now),
            Event::PingLeader(connections) => self.ping_leader(now, session, connections),
            Event::NotifyNextLeader(next) => self.notify_next_leader(next),
            Event::CommitNextLeader(next) => self.commit_next_leader(next, effects),
            Event::Reselect => self.reselect(),
            Event::StorageIds(query) => self.storage_ids(query),
            Event::ServerId(query) => self.server_id(&query),
            Event::StorageStatus(query) => self.storage_status(&query),
            Event::TrunkFid => self.joined(session).map(|_| Answer::TrunkFid(0)),
            // No group has a trunk server, so nobody may report as one.
            Event::TrunkReport => self.joined(session).and(Err(Refusal::Invalid)),
            Event::Parameters => Ok(Answer::Text(self.policy.parameters.clone())),
            Event::ReportStatus(report) => self.report_status(&report, effects),
            Event::ChangelogReq(about) => self.changelog_req(session, about.as_ref(), effects),
            Event::IpChanged(change) => match self.policy.ids {
                Some(_) => Err(Refusal::Unsupported),
                None => self.ip_changed(now, session, &change, effects),
            },
            Event::SyncDestQuery => self.sync_dest_query(session),
            Event::Join(join) => self.join(session, &join, effects),
            Event::Beat(beat) => self.beat(now, session, beat.statistics, effects),
            Event::DiskUsage(usage) => self.disk_usage(session, usage.paths, effects),
            Event::ReplicaChange(chg) => self.replica_change(session, &chg.briefs, effects),
            Event::SyncSrcReq(about) => self.sync_src_req(&about, effects),
            Event::SyncDestReq => self.sync_dest_req(now, session, effects),
            Event::SyncNotify(point) => self.sync_notify(session, point, effects),
            Event::SyncReport(report) => self.sync_report(session, &report.records, effects),
            Event::ListGroups(name) => self.list_groups(name.as_ref()),
            Event::ListStorages(query) => self.list_storages(session, &query),
            Event::DeleteStorage(about) => self.delete_storage(now, &about, effects),
            Event::SetTrunkServer => Err(Refusal::Unsupported),
            Event::GetLeader => self.get_leader(session),
            Event::TrackerStat(filter, connections) => self.tracker_stat(now, filter, connections),
            Event::StorageStat(filter) => self.storage_lines(session, filter),
            Event::VolumeStat(filter) => self.volumes(filter),
            Event::Store { group, all } => self.store(session.peer, group, all),
            Event::Fetch(query, purpose) => self.fetch(now, session.peer, &query, purpose),
            Event::DeleteGroup(name) => self.delete_group(&name, effects),
            Event::GroupName(query) => self.group_name(session, query),
        }
    }

    /// The connection ended: whoever joined on it is out of service, and what was lent to it is
    /// free again.
    pub fn closed(&mut self, session: &mut Session) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take_back(session);
        if let Some((name, ix)) = session.joined
            && let Some(group) = self.groups.get_mut(&name)
            // A connection that died unnoticed may be found out long after the storage is back.
            && group.member(ix).join_number == session.join_number
        {
            group.disconnect(ix, &mut effects);
        }
        effects
    }

    /// Every `check_active_interval`: who is silent.
    pub fn check(&mut self, now: UnixTime) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.check_alive(now, &mut effects);
        effects
    }

    /// The storage that joined on this connection.
    fn joined(&mut self, session: &Session) -> Result<(&mut Group, MemberIx), Refusal> {
        let (name, ix) = session.joined.ok_or(Refusal::NotJoined)?;
        let group = self.groups.get_mut(&name).ok_or(Refusal::NotJoined)?;
        Ok((group, ix))
    }
}
