//! The client of trackers and storages: ask, then store or fetch.
//!
//! Used by the web workers and the tools, and by daemons that talk to one another. [`Client`]
//! is the whole of it for files; [`tracker`] and [`storage`] speak single messages over
//! connections of [`pool`]. It never touches a disk and keeps nothing of a file in memory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use proto::command::Command;
use proto::fileid::FileId;
use proto::ids::{Extension, GroupName, Prefix};
use proto::metadata::Metadata;
use proto::status::Status;
use proto::storage::metadata::SetMode;
use proto::tracker::query::Endpoint;
use proto::wire::DecodeError;

use crate::conn::ConnError;
use crate::ports::World;

pub mod pool; // start here: idle connections per address, bounded

pub mod tracker; // where to store, where to fetch, lists

pub mod storage; // upload, download, delete, metadata

mod read; // retry at other storages

pub mod change; // appenders and slaves

pub mod replicate; // as one storage to another

use pool::{Pool, PoolSettings, Taken};
use storage::Content;
use tracker::Trackers;

/// How often an upload is begun anew when the chosen storage cannot be reached. Only connecting
/// is repeated: once content has been sent, it is gone.
const UPLOAD_ATTEMPTS: usize = 3;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server understood and said no.
    #[error("{server} answered {status}")]
    Refused { server: SocketAddr, status: Status },
    #[error("{server}: {source}")]
    Conn { server: SocketAddr, source: ConnError },
    #[error("answer of {server}: {source}")]
    Answer { server: SocketAddr, source: DecodeError },
    /// All connections that may be used to a server are in use, and stayed so.
    #[error("{server}: all {connections} connections are in use")]
    Busy { server: SocketAddr, connections: usize },
    /// The configuration names no tracker.
    #[error("no tracker is configured")]
    NoTracker,
    /// The content to be uploaded could not be read to its end.
    #[error("read the content: {0}")]
    Source(#[source] io::Error),
    /// The content to be uploaded has not the announced length.
    #[error("content has {got} instead of {want} bytes")]
    Length { got: u64, want: u64 },
}

impl ClientError {
    /// The errno of this failure: what tools exit with.
    pub fn status(&self) -> Status {
        match self {
            ClientError::Refused { status, .. } => *status,
            ClientError::Conn { source, .. } => source.status(),
            ClientError::Answer { .. } | ClientError::Length { .. } => Status::EINVAL,
            ClientError::Busy { .. } => Status::EAGAIN,
            ClientError::NoTracker => Status::ENOENT,
            ClientError::Source(error) => {
                Status::from_errno(error.raw_os_error().unwrap_or_default())
            }
        }
    }

    /// Whether the file, or its metadata, is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused { status: Status::ENOENT, .. })
    }

    /// Whether another server might do better: the network failed, not the request.
    fn is_of_network(&self) -> bool {
        matches!(self, ClientError::Conn { .. } | ClientError::Busy { .. })
    }

    /// Whether another storage of the group might still serve a file: this one cannot be
    /// reached, has not got it yet, or cannot read it.
    fn is_of_storage(&self) -> bool {
        const OWN: [Status; 6] = [
            Status::ENOENT,
            Status::EIO,
            Status::EAGAIN,
            Status::ENOMEM,
            Status::ENFILE,
            Status::EMFILE,
        ];
        match self {
            ClientError::Refused { status, .. } => OWN.contains(status),
            other => other.is_of_network(),
        }
    }
}

/// Files in a cluster. Cheap to clone; may be used by any number of tasks at once.
#[derive(Clone, Debug)]
pub struct Client {
    trackers: Arc<Trackers>,
    pool: Pool,
}

impl Client {
    /// A client that asks these trackers. Connects to nobody yet.
    pub fn new(world: World, settings: PoolSettings, trackers: Vec<SocketAddr>) -> Self {
        let pool = Pool::new(world, settings);
        Self { trackers: Arc::new(Trackers::new(pool.clone(), trackers)), pool }
    }

    /// The trackers, for questions that are not about one file.
    pub fn trackers(&self) -> &Trackers {
        &self.trackers
    }

    /// The connections, for talking to one storage.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Stores `size` bytes of `content`, in `group` or wherever the tracker says. When this
    /// returns, the storage has answered that the file is there to stay.
    pub async fn upload(
        &self,
        group: Option<&GroupName>,
        extension: Extension,
        size: u64,
        content: &mut dyn Content,
    ) -> Result<FileId, ClientError> {
        self.upload_as(Command::UploadFile, group, extension, size, content).await
    }

    /// The same, but the file may grow and change later.
    pub async fn upload_appender(
        &self,
        group: Option<&GroupName>,
        extension: Extension,
        size: u64,
        content: &mut dyn Content,
    ) -> Result<FileId, ClientError> {
        self.upload_as(Command::UploadAppenderFile, group, extension, size, content).await
    }

    async fn upload_as(
        &self,
        command: Command,
        group: Option<&GroupName>,
        extension: Extension,
        size: u64,
        content: &mut dyn Content,
    ) -> Result<FileId, ClientError> {
        let mut attempt = 1;
        loop {
            let target = self.trackers.query_store(group).await?;
            let server = address_of(target.server);
            match self.pool.take(server).await {
                Ok(conn) => {
                    let head = storage::head(Some(target.path), size, extension);
                    return storage::upload_as(conn, command, &head, content).await;
                }
                Err(error) if attempt == UPLOAD_ATTEMPTS => return Err(error),
                Err(error) => log::info!("ask for another storage: {error}"),
            }
            attempt += 1;
        }
    }

    /// Stores `size` bytes beside `master`: its name with `prefix`, and `extension`.
    pub async fn upload_slave(
        &self,
        master: &FileId,
        prefix: Prefix,
        extension: Extension,
        size: u64,
        content: &mut dyn Content,
    ) -> Result<FileId, ClientError> {
        let taken = self.take_source(master).await?;
        change::upload_slave(taken, master, prefix, extension, size, content).await
    }

    /// Puts `len` bytes behind the end of an appender.
    pub async fn append(
        &self,
        file: &FileId,
        len: u64,
        content: &mut dyn Content,
    ) -> Result<(), ClientError> {
        change::append(self.take_source(file).await?, file, len, content).await
    }

    /// Writes `len` bytes from `offset` on into an appender.
    pub async fn modify(
        &self,
        file: &FileId,
        offset: u64,
        len: u64,
        content: &mut dyn Content,
    ) -> Result<(), ClientError> {
        change::modify(self.take_source(file).await?, file, offset, len, content).await
    }

    /// Gives an appender the length `size`.
    pub async fn truncate(&self, file: &FileId, size: u64) -> Result<(), ClientError> {
        let server = address_of(self.trackers.query_update(file).await?);
        change::truncate(&self.pool, server, file, size).await
    }

    /// Makes a normal file of an appender, under a new id; the old one is gone.
    pub async fn regenerate(&self, file: &FileId) -> Result<FileId, ClientError> {
        let server = address_of(self.trackers.query_update(file).await?);
        change::regenerate(&self.pool, server, file).await
    }

    /// A connection to the storage where a file was made.
    async fn take_source(&self, file: &FileId) -> Result<Taken, ClientError> {
        self.pool.take(address_of(self.trackers.query_update(file).await?)).await
    }

    /// Deletes a file, at the storage where it was made.
    pub async fn delete(&self, file: &FileId) -> Result<(), ClientError> {
        let server = address_of(self.trackers.query_update(file).await?);
        storage::delete(&self.pool, server, file).await
    }

    /// Writes the name/value pairs of a file.
    pub async fn set_metadata(
        &self,
        file: &FileId,
        mode: SetMode,
        metadata: &Metadata,
    ) -> Result<(), ClientError> {
        let server = address_of(self.trackers.query_update(file).await?);
        storage::set_metadata(&self.pool, server, file, mode, metadata).await
    }
}

fn address_of(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}

/// Puts the server's address to a failure of its connection or of its answer.
trait AtServer<T> {
    fn at(self, server: SocketAddr) -> Result<T, ClientError>;
}

impl<T> AtServer<T> for Result<T, ConnError> {
    fn at(self, server: SocketAddr) -> Result<T, ClientError> {
        self.map_err(|source| ClientError::Conn { server, source })
    }
}

impl<T> AtServer<T> for Result<T, DecodeError> {
    fn at(self, server: SocketAddr) -> Result<T, ClientError> {
        self.map_err(|source| ClientError::Answer { server, source })
    }
}

/// Content that lies in memory.
impl Content for Bytes {
    fn next(&mut self) -> crate::ports::Fut<'_, io::Result<Option<Bytes>>> {
        let all = std::mem::take(self);
        Box::pin(async move { Ok((!all.is_empty()).then_some(all)) })
    }
}

#[cfg(test)]
mod tests;
