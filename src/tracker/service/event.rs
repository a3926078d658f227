//! Which event a request is: one match over the commands of a tracker.
//!
//! A wrong length is EINVAL whatever the command; what comes before that check in the
//! reference, comes before it here.

use proto::command::Command;
use proto::ids::GroupName;
use proto::status::Status;
use proto::tracker::admin::DeleteStorage;
use proto::tracker::beat::{Beat, Connections, DiskUsage};
use proto::tracker::bootstrap::{FetchIds, GetGroupName, GetMyIp, ServerQuery};
use proto::tracker::changelog::IpChanged;
use proto::tracker::join::Join;
use proto::tracker::leader::{JoinLeader, NextLeader, PingLeader, SysFilePiece};
use proto::tracker::list::ListStorage;
use proto::tracker::query::{FileQuery, GroupQuery};
use proto::tracker::stat::{StorageFilter, TrackerFilter, VolumeFilter};
use proto::tracker::status::{ChangeStatus, ReplicaChange, ReportStatus};
use proto::tracker::sync::{StorageRef, SyncPoint, SyncReport};
use proto::wire::DecodeError;

use crate::cluster::{Event, Purpose, Session};

/// What is left to do for a request.
#[derive(Debug)]
pub(super) enum Decoded {
    /// Nothing: success, without a body.
    Done,
    Event(Event),
}

/// Makes an event of a request, or says with which status it is refused.
pub(super) fn decode(
    command: Command,
    body: &[u8],
    session: &Session,
    uses_ids: bool,
) -> Result<Decoded, Status> {
    if needs_join(command) && !session.is_joined() {
        return Err(Status::EACCES);
    }
    match command {
        // Whether the feature is on is looked at before the body.
        Command::StorageGetGroupName if !uses_ids => Err(Status::EOPNOTSUPP),
        Command::StorageReportIpChanged if uses_ids => Err(Status::EOPNOTSUPP),
        Command::ActiveTest => match body {
            [] => Ok(Decoded::Done),
            _ => Err(Status::EINVAL),
        },
        _ => match event(command, body, session) {
            Ok(event) => Ok(Decoded::Event(event)),
            Err(error) => {
                log::debug!("malformed request {command:?}: {error}");
                Err(error.status())
            }
        },
    }
}

/// Commands that speak for a storage.
fn needs_join(command: Command) -> bool {
    matches!(
        command,
        Command::StorageChangeStatus
            | Command::StorageFetchTrunkFid
            | Command::StorageReportTrunkFid
            | Command::StorageReportTrunkFree
            | Command::StorageSyncDestQuery
            | Command::StorageBeat
            | Command::StorageReportDiskUsage
            | Command::StorageReplicaChg
            | Command::StorageSyncDestReq
            | Command::StorageSyncNotify
            | Command::StorageSyncReport
    )
}

fn event(command: Command, body: &[u8], session: &Session) -> Result<Event, DecodeError> {
    use Command as C;
    Ok(match command {
        C::TrackerJoinLeader => Event::JoinLeader(JoinLeader::decode(body)?),
        C::StorageChangeStatus => Event::ChangeStatus(ChangeStatus::decode(body)?.state),
        C::StorageGetMyIp => Event::MyIp(GetMyIp::decode(body)?),
        C::TrackerGetSysFilesStart => empty(body, Event::SysFilesStart)?,
        C::TrackerGetSysFilesEnd => empty(body, Event::SysFilesEnd)?,
        C::TrackerGetOneSysFile => Event::SysFile(SysFilePiece::decode(body)?),
        C::TrackerGetStatus => empty(body, Event::TrackerStatus)?,
        C::TrackerPingLeader => Event::PingLeader(PingLeader::decode(body)?.0),
        C::TrackerNotifyNextLeader => Event::NotifyNextLeader(NextLeader::decode(body)?.0),
        C::TrackerCommitNextLeader => Event::CommitNextLeader(NextLeader::decode(body)?.0),
        C::TrackerNotifyReselectLeader => empty(body, Event::Reselect)?,
        C::StorageFetchStorageIds => Event::StorageIds(FetchIds::decode(body)?),
        C::StorageGetServerId => Event::ServerId(ServerQuery::decode(body)?),
        C::StorageGetStatus => Event::StorageStatus(ServerQuery::decode(body)?),
        C::StorageFetchTrunkFid => empty(body, Event::TrunkFid)?,
        C::StorageReportTrunkFid | C::StorageReportTrunkFree => Event::TrunkReport,
        C::StorageParameterReq => empty(body, Event::Parameters)?,
        C::StorageReportStatus => Event::ReportStatus(ReportStatus::decode(body)?),
        C::StorageChangelogReq if session.is_joined() => empty(body, Event::ChangelogReq(None))?,
        C::StorageChangelogReq => Event::ChangelogReq(Some(StorageRef::decode(body)?)),
        C::StorageReportIpChanged => Event::IpChanged(IpChanged::decode(body)?),
        C::StorageSyncDestQuery => empty(body, Event::SyncDestQuery)?,
        C::StorageJoin => Event::Join(Box::new(Join::decode(body)?)),
        C::StorageBeat => Event::Beat(Box::new(Beat::decode(body)?)),
        C::StorageReportDiskUsage => Event::DiskUsage(DiskUsage::decode(body)?),
        C::StorageReplicaChg => Event::ReplicaChange(ReplicaChange::decode(body)?),
        C::StorageSyncSrcReq => Event::SyncSrcReq(StorageRef::decode(body)?),
        C::StorageSyncDestReq => empty(body, Event::SyncDestReq)?,
        C::StorageSyncNotify => Event::SyncNotify(SyncPoint::decode(body)?),
        C::StorageSyncReport => Event::SyncReport(SyncReport::decode(body)?),
        C::ServerListOneGroup => Event::ListGroups(Some(group(body)?)),
        C::ServerListAllGroups => empty(body, Event::ListGroups(None))?,
        C::ServerListStorage => Event::ListStorages(ListStorage::decode(body)?),
        C::ServerDeleteStorage => Event::DeleteStorage(DeleteStorage::decode(body)?),
        C::ServerSetTrunkServer => ListStorage::decode(body).map(|_| Event::SetTrunkServer)?,
        C::ServerGetLeader => empty(body, Event::GetLeader)?,
        C::ServerTrackerClusterStat => {
            // The figures of the connections are filled in by the service.
            Event::TrackerStat(TrackerFilter::decode(body)?, Connections::default())
        }
        C::ServerStorageClusterStat => Event::StorageStat(StorageFilter::decode(body)?),
        C::ServerStorageVolumnStat => Event::VolumeStat(VolumeFilter::decode(body)?),
        C::QueryStoreWithoutGroupOne => empty(body, Event::Store { group: None, all: false })?,
        C::QueryStoreWithoutGroupAll => empty(body, Event::Store { group: None, all: true })?,
        C::QueryStoreWithGroupOne => Event::Store { group: Some(group(body)?), all: false },
        C::QueryStoreWithGroupAll => Event::Store { group: Some(group(body)?), all: true },
        C::QueryFetchOne => Event::Fetch(FileQuery::decode(body)?, Purpose::ReadOne),
        C::QueryFetchAll => Event::Fetch(FileQuery::decode(body)?, Purpose::ReadAll),
        C::QueryUpdate => Event::Fetch(FileQuery::decode(body)?, Purpose::Update),
        C::ServerDeleteGroup => Event::DeleteGroup(group(body)?),
        C::StorageGetGroupName => Event::GroupName(GetGroupName::decode(body)?),
        // Commands of storages.
        _ => return Err(DecodeError::BadValue("command for a tracker")),
    })
}

/// The event of a request that has no body.
fn empty(body: &[u8], event: Event) -> Result<Event, DecodeError> {
    if body.is_empty() { Ok(event) } else { Err(DecodeError::TooLong { got: body.len(), max: 0 }) }
}

fn group(body: &[u8]) -> Result<GroupName, DecodeError> {
    Ok(GroupQuery::decode(body)?.group)
}
