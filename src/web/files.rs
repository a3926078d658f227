//! The stored bytes: into the store, and out of it for good. The only user of `net::client` here.
//!
//! Called by `intake` and `sweep`. Knows nothing of users, names or the database; bytes on
//! their way to a reader never come through here.

use bytes::Bytes;
use net::conn::{Conn, ConnError, Limits};
use net::ports::World;
use proto::command::Command;
use proto::fileid::FileId;
use proto::header::Header;
use proto::ids::{Extension, GroupName};
use proto::status::Status;
use proto::storage::delete::FileName;
use proto::storage::upload::{Stored, Upload};
use proto::tracker::query::{Endpoint, FetchTarget, FileQuery, GroupQuery, StoreTarget};
use proto::wire::DecodeError;

use crate::config::{Address, Store};

/// Bytes of an answer that names servers or a file: room for 255 servers.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("no tracker answers; the last one: {0}")]
    NoTracker(#[source] ConnError),
    #[error("find the address of tracker {0}")]
    NoAddress(Address),
    #[error("the tracker refused: {0:?}")]
    TrackerRefused(Status),
    #[error("storage {1}: {0}")]
    Storage(#[source] ConnError, std::net::SocketAddr),
    #[error("the storage refused: {0:?}")]
    StorageRefused(Status),
    #[error("decode an answer: {0}")]
    Decode(#[from] DecodeError),
    #[error("stored file {0} has other bytes than were sent")]
    Damaged(String),
    #[error("{0:?} is no file id")]
    NoFileId(String),
}

impl FilesError {
    /// Whom a user is told about.
    pub(crate) fn who(&self) -> &'static str {
        match self {
            Self::NoTracker(_) | Self::NoAddress(_) | Self::TrackerRefused(_) => {
                "the directory of the file store"
            }
            _ => "the file store",
        }
    }
}

/// The cluster that keeps the bytes.
pub(crate) struct Files {
    store: Store,
    world: World,
}

/// A file on its way into the store. Dropped before it is finished, it leaves nothing there:
/// the storage sees the connection end early.
pub(crate) struct Storing {
    conn: Conn,
}

impl Files {
    pub(crate) fn new(store: &Store, world: World) -> Self {
        Self { store: store.clone(), world }
    }

    /// Begins a file of `size` bytes; `name` only lends its suffix.
    pub(crate) async fn begin(&self, size: u64, name: &str) -> Result<Storing, FilesError> {
        let mut query = Vec::new();
        let command = match self.store.group.as_deref().and_then(GroupName::parse) {
            Some(group) => {
                GroupQuery { group }.encode(&mut query);
                Command::QueryStoreWithGroupOne
            }
            None => Command::QueryStoreWithoutGroupOne,
        };
        let target = StoreTarget::decode(&self.ask_tracker(command, &query).await?)?;
        let mut conn = self.storage(&target.servers).await?;
        let extension = Extension::of_file(name);
        let upload = Upload { store_path: Some(target.path), size, extension };
        let mut head = Vec::new();
        upload.encode(&mut head);
        let header = Header::request(Command::UploadFile, upload.body_len());
        conn.send_message(header, &head).await.map_err(|error| at_storage(error, &conn))?;
        Ok(Storing { conn })
    }

    /// Removes a stored file; fine if it is not there.
    pub(crate) async fn remove(&self, file_id: &str) -> Result<(), FilesError> {
        let id = FileId::parse(file_id).map_err(|_| FilesError::NoFileId(file_id.to_owned()))?;
        let name = id.name.as_str();
        let mut query = Vec::new();
        FileQuery { group: id.group, name: name.into() }.encode(&mut query);
        let answer = self.ask_tracker(Command::QueryUpdate, &query).await?;
        let mut conn = self.storage(&FetchTarget::decode(&answer)?.servers).await?;
        let mut body = Vec::new();
        FileName { group: id.group, name }.encode(&mut body);
        let header = Header::request(Command::DeleteFile, body.len() as u64);
        conn.send_message(header, &body).await.map_err(|error| at_storage(error, &conn))?;
        match answer_of(&mut conn).await {
            Err(FilesError::StorageRefused(Status::ENOENT)) => Ok(()),
            done => done.map(drop),
        }
    }

    /// The answer of the first tracker that gives one.
    async fn ask_tracker(&self, command: Command, body: &[u8]) -> Result<Bytes, FilesError> {
        let mut last = None;
        for tracker in &self.store.trackers {
            match self.ask_one(tracker, command, body).await {
                Err(error @ (FilesError::NoTracker(_) | FilesError::NoAddress(_))) => {
                    last = Some(error);
                }
                done => return done,
            }
        }
        Err(last.unwrap_or(FilesError::NoTracker(ConnError::Closed)))
    }

    async fn ask_one(
        &self,
        tracker: &Address,
        command: Command,
        body: &[u8],
    ) -> Result<Bytes, FilesError> {
        let Address::Tcp { host, port } = tracker else {
            return Err(FilesError::NoAddress(tracker.clone()));
        };
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let found = found.ok().and_then(|mut all| all.next());
        let to = found.ok_or_else(|| FilesError::NoAddress(tracker.clone()))?;
        let mut conn = self.connect(to).await.map_err(FilesError::NoTracker)?;
        let header = Header::request(command, body.len() as u64);
        conn.send_message(header, body).await.map_err(FilesError::NoTracker)?;
        let header = conn.header().await.map_err(FilesError::NoTracker)?;
        if !header.status.is_ok() {
            return Err(FilesError::TrackerRefused(header.status));
        }
        conn.body(header.body_len, ANSWER_BYTES_MAX).await.map_err(FilesError::NoTracker)
    }

    /// A connection to the first storage of those the tracker named.
    async fn storage(&self, servers: &[Endpoint]) -> Result<Conn, FilesError> {
        let server = servers.first().ok_or(DecodeError::BadValue("no server"))?;
        let at = std::net::SocketAddr::new(server.address, server.port);
        self.connect(at).await.map_err(|error| FilesError::Storage(error, at))
    }

    async fn connect(&self, to: std::net::SocketAddr) -> Result<Conn, ConnError> {
        let limits = Limits::new(self.store.timeout);
        Conn::connect(&self.world, to, None, self.store.connect_timeout, limits).await
    }
}

impl Storing {
    /// Sends the next bytes; waits while the storage is slower than the client.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        self.conn.send(bytes).await.map_err(|error| at_storage(error, &self.conn))
    }

    /// Waits until the storage has acknowledged all of it: the file id. `crc32` is that of what
    /// was sent, and must be the one in the name.
    pub(crate) async fn finish(mut self, crc32: u32) -> Result<String, FilesError> {
        let stored = Stored::decode(&answer_of(&mut self.conn).await?)?;
        let file_id = format!("{}/{}", stored.group.as_str(), stored.name);
        let id = FileId::parse(&file_id).map_err(|_| FilesError::NoFileId(file_id.clone()))?;
        match id.name.record() {
            Some(record) if record.crc32 != crc32 => Err(FilesError::Damaged(file_id)),
            _ => Ok(file_id),
        }
    }
}

async fn answer_of(conn: &mut Conn) -> Result<Bytes, FilesError> {
    let header = conn.header().await.map_err(|error| at_storage(error, conn))?;
    if !header.status.is_ok() {
        return Err(FilesError::StorageRefused(header.status));
    }
    let body = conn.body(header.body_len, ANSWER_BYTES_MAX).await;
    body.map_err(|error| at_storage(error, conn))
}

fn at_storage(error: ConnError, conn: &Conn) -> FilesError {
    FilesError::Storage(error, conn.peer())
}
