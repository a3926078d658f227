//! Asks trackers: where to store, where to fetch, lists. Fails over from one to the next.
//!
//! All questions here are harmless to repeat.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proto::command::Command;
use proto::fileid::FileId;
use proto::header::Header;
use proto::ids::{GroupName, StorageId, StorePath};
use proto::tracker::list::{GroupStat, ListStorage, StorageStat};
use proto::tracker::query::{Endpoint, FetchTarget, FileQuery, GroupQuery, StoreTarget};
use proto::tracker::stat::{
    StorageFilter, StorageLines, TrackerFilter, TrackerStat, VolumeFilter, Volumes,
};
use proto::wire::DecodeError;

use super::pool::Pool;
use super::{AtServer as _, ClientError};

/// Longest answer that is read: 512 groups of 113 bytes, with room to spare.
const ANSWER_BYTES_MAX: usize = 128 * 1024;

/// Where to put a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreAt {
    pub group: GroupName,
    pub server: Endpoint,
    /// A proposal: the storage may take another one.
    pub path: StorePath,
}

/// The trackers of a cluster.
#[derive(Debug)]
pub struct Trackers {
    pool: Pool,
    servers: Vec<SocketAddr>,
    /// The one that answered last; questions begin there.
    current: AtomicUsize,
}

impl Trackers {
    pub fn new(pool: Pool, servers: Vec<SocketAddr>) -> Self {
        Self { pool, servers, current: AtomicUsize::new(0) }
    }

    /// All of them, in the order of the configuration.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The tracker that answered last, and its index; before any question, the first.
    pub fn current(&self) -> Result<(usize, SocketAddr), ClientError> {
        let index = self.current.load(Ordering::Relaxed);
        self.servers.get(index).map(|server| (index, *server)).ok_or(ClientError::NoTracker)
    }

    /// Where to store a file (101), or where in `group` (104).
    pub async fn query_store(&self, group: Option<&GroupName>) -> Result<StoreAt, ClientError> {
        let (command, body) = match group {
            None => (Command::QueryStoreWithoutGroupOne, Vec::new()),
            Some(group) => (Command::QueryStoreWithGroupOne, group_body(*group)),
        };
        self.ask(command, &body, |answer| {
            let StoreTarget { group, servers, path } = StoreTarget::decode(&answer)?;
            let server = servers.first().copied().ok_or(DecodeError::BadValue("server list"))?;
            Ok(StoreAt { group, server, path })
        })
        .await
    }

    /// All storages of a group that take uploads (106), or of `group` (107).
    pub async fn query_store_all(
        &self,
        group: Option<&GroupName>,
    ) -> Result<Vec<Endpoint>, ClientError> {
        let (command, body) = match group {
            None => (Command::QueryStoreWithoutGroupAll, Vec::new()),
            Some(group) => (Command::QueryStoreWithGroupAll, group_body(*group)),
        };
        self.ask(command, &body, |answer| Ok(StoreTarget::decode(&answer)?.servers)).await
    }

    /// A storage that has this file (102).
    pub async fn query_fetch(&self, file: &FileId) -> Result<Endpoint, ClientError> {
        self.ask(Command::QueryFetchOne, &file_body(file), first_server).await
    }

    /// The storage that may change this file (103).
    pub async fn query_update(&self, file: &FileId) -> Result<Endpoint, ClientError> {
        self.ask(Command::QueryUpdate, &file_body(file), first_server).await
    }

    /// All storages that have this file (105).
    pub async fn query_fetch_all(&self, file: &FileId) -> Result<Vec<Endpoint>, ClientError> {
        self.ask(Command::QueryFetchAll, &file_body(file), |answer| {
            Ok(FetchTarget::decode(&answer)?.servers)
        })
        .await
    }

    /// All groups (91).
    pub async fn list_groups(&self) -> Result<Vec<GroupStat>, ClientError> {
        self.ask(Command::ServerListAllGroups, &[], |answer| GroupStat::decode_all(&answer)).await
    }

    /// The storages of a group, or one of them (92).
    pub async fn list_storages(
        &self,
        group: GroupName,
        id: Option<StorageId>,
    ) -> Result<Vec<StorageStat>, ClientError> {
        let mut body = Vec::new();
        ListStorage { group, id }.encode(&mut body);
        self.ask(Command::ServerListStorage, &body, |answer| StorageStat::decode_all(&answer)).await
    }

    /// The trackers that match, as the one that is asked knows them (96).
    pub async fn tracker_stat(
        &self,
        filter: &TrackerFilter,
    ) -> Result<Vec<TrackerStat>, ClientError> {
        let mut body = Vec::new();
        filter.encode(&mut body);
        let command = Command::ServerTrackerClusterStat;
        self.ask(command, &body, |answer| TrackerStat::decode_all(&answer)).await
    }

    /// The storages of all groups that match (97).
    pub async fn storage_stat(&self, filter: &StorageFilter) -> Result<StorageLines, ClientError> {
        let mut body = Vec::new();
        filter.encode(&mut body);
        let command = Command::ServerStorageClusterStat;
        self.ask(command, &body, |answer| StorageLines::decode(&answer)).await
    }

    /// The groups that match, with their space (98).
    pub async fn volume_stat(&self, filter: &VolumeFilter) -> Result<Volumes, ClientError> {
        let mut body = Vec::new();
        filter.encode(&mut body);
        let command = Command::ServerStorageVolumnStat;
        self.ask(command, &body, |answer| Volumes::decode(&answer)).await
    }

    /// Asks the trackers one after the other, each once, until one answers with success. The
    /// refusal of one is not final: another may already know the storages of the group.
    async fn ask<T>(
        &self,
        command: Command,
        body: &[u8],
        decode: impl Fn(Bytes) -> Result<T, DecodeError>,
    ) -> Result<T, ClientError> {
        let begin = self.current.load(Ordering::Relaxed);
        let request = Header::request(command, body.len() as u64);
        let mut failure = None;
        let all = self.servers.iter().enumerate().cycle().skip(begin).take(self.servers.len());
        for (index, server) in all {
            let outcome = self
                .pool
                .ask(*server, request, body, ANSWER_BYTES_MAX)
                .await
                .and_then(|answer| decode(answer).at(*server));
            match outcome {
                Ok(answer) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => failure = Some(worse(failure, error)),
            }
        }
        Err(failure.unwrap_or(ClientError::NoTracker))
    }
}

/// Which failure tells more: what a tracker says, rather than that another was not reached.
fn worse(earlier: Option<ClientError>, later: ClientError) -> ClientError {
    match earlier {
        Some(earlier) if later.is_of_network() => earlier,
        _ => later,
    }
}

fn group_body(group: GroupName) -> Vec<u8> {
    let mut body = Vec::new();
    GroupQuery { group }.encode(&mut body);
    body
}

fn file_body(file: &FileId) -> Vec<u8> {
    let mut body = Vec::new();
    let name = file.name.as_str().as_bytes().to_vec();
    FileQuery { group: file.group, name }.encode(&mut body);
    body
}

fn first_server(answer: Bytes) -> Result<Endpoint, DecodeError> {
    let servers = FetchTarget::decode(&answer)?.servers;
    servers.first().copied().ok_or(DecodeError::BadValue("server list"))
}
