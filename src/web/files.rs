//! The stored bytes: into the store, and out of it for good. The only user of `net::client` here.
//!
//! Called by `intake` and `sweep`. Knows nothing of users, names or the database; bytes on
//! their way to a reader never come through here.

use net::client::pool::PoolSettings;
use net::client::storage::{Content, Download};
use net::client::tracker::Trackers;
use net::client::{Client, ClientError};
use net::ports::World;
use proto::fileid::FileId;
use proto::ids::{Extension, GroupName};
use proto::status::Status;
use proto::storage::info::InfoFlags;
use tokio::sync::OnceCell;

use crate::config::{Address, Store};

/// Spares the store the sum of a file whose name has none.
const NO_CRC: u8 = 1;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("find the address of tracker {0}")]
    NoAddress(Address),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("stored file {0} has another CRC32 than what was sent")]
    Damaged(String),
    #[error("{0:?} is no file id")]
    NoFileId(String),
    /// A storage of its group said so.
    #[error("the store has no file {0}")]
    NoFile(String),
}

impl FilesError {
    /// Whether the store has no room, which trying again does not mend.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Client(ClientError::Refused { status: Status::ENOSPC, .. }))
    }
}

/// What the store has of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) size: u64,
    /// Its bytes were compared with a sum and have another one, or cannot be read to their end.
    pub(crate) damaged: bool,
}

/// The cluster that keeps the bytes.
pub(crate) struct Files {
    store: Store,
    world: World,
    /// Made when first needed, because trackers may have names that cannot be looked up yet.
    client: OnceCell<Client>,
}

impl Files {
    /// Connects to nothing yet.
    pub(crate) fn new(store: &Store, world: World) -> Self {
        Self { store: store.clone(), world, client: OnceCell::new() }
    }

    /// Stores a file of `size` bytes: its id, once the storage has acknowledged it. `name` only
    /// lends its suffix. A `content` that fails or has another length leaves nothing behind.
    pub(crate) async fn store(
        &self,
        size: u64,
        name: &str,
        content: &mut dyn Content,
    ) -> Result<FileId, FilesError> {
        let group = self.store.group.as_deref().and_then(GroupName::parse);
        let extension = Extension::of_file(name);
        let client = self.client().await?;
        Ok(client.upload(group.as_ref(), extension, size, content).await?)
    }

    /// Stores the first `size` bytes of a file that grows.
    pub(crate) async fn begin(
        &self,
        size: u64,
        name: &str,
        content: &mut dyn Content,
    ) -> Result<FileId, FilesError> {
        let group = self.store.group.as_deref().and_then(GroupName::parse);
        let extension = Extension::of_file(name);
        let client = self.client().await?;
        Ok(client.upload_appender(group.as_ref(), extension, size, content).await?)
    }

    /// Writes `size` bytes into a file that grows, at `offset`: wholly or not at all, and the
    /// same again when repeated, which appending would not be.
    pub(crate) async fn write_at(
        &self,
        file_id: &str,
        offset: u64,
        size: u64,
        content: &mut dyn Content,
    ) -> Result<(), FilesError> {
        Ok(self.client().await?.modify(&parse(file_id)?, offset, size, content).await?)
    }

    /// The sum of what the store has, computed from its bytes if the name carries none.
    pub(crate) async fn crc32(&self, file_id: &str) -> Result<u32, FilesError> {
        Ok(self.client().await?.info(&parse(file_id)?).await?.crc32)
    }

    /// What the store has of a file; None if nothing. With `sums` its bytes are compared with the
    /// sum in its name, where there is one.
    pub(crate) async fn inspect(
        &self,
        file_id: &str,
        sums: bool,
    ) -> Result<Option<Inspected>, FilesError> {
        let (id, client) = (parse(file_id)?, self.client().await?);
        let size = match client.info_with(&id, InfoFlags(NO_CRC)).await {
            Err(error) if is_gone(client, &error) => return Ok(None),
            found => found?.size,
        };
        let want = id.name.record().filter(|record| !record.size.is_appender());
        let damaged = match want.filter(|_| sums) {
            None => false,
            Some(record) => match sum_of(client, &id).await {
                Ok(sum) => sum != record.crc32,
                // A storage that compares what it reads sends no damaged bytes.
                Err(ClientError::Refused { status: Status::EIO, .. }) => true,
                // Cut off: by one that found damage in its middle, unless it is away.
                Err(_) => client.info_with(&id, InfoFlags(NO_CRC)).await.map(|_| true)?,
            },
        };
        Ok(Some(Inspected { size, damaged }))
    }

    /// `size` bytes from `offset` on; `size` is at least 1.
    pub(crate) async fn read(
        &self,
        file_id: &str,
        offset: u64,
        size: usize,
    ) -> Result<Vec<u8>, FilesError> {
        let client = self.client().await?;
        let mut found = client.download(&parse(file_id)?, offset, size as u64).await?;
        let mut whole = Vec::with_capacity(size);
        while let Some(chunk) = found.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    /// An error if no tracker answers, so that nothing can be found in the store.
    pub(crate) async fn reach(&self) -> Result<(), FilesError> {
        Ok(self.trackers().await?.list_groups().await.map(drop)?)
    }

    /// The trackers, for questions about the cluster.
    pub(crate) async fn trackers(&self) -> Result<&Trackers, FilesError> {
        Ok(self.client().await?.trackers())
    }

    /// Begins to read a stored file.
    pub(crate) async fn open(&self, file_id: &str) -> Result<Download, FilesError> {
        let client = self.client().await?;
        client.download(&parse(file_id)?, 0, 0).await.map_err(|error| {
            if is_gone(client, &error) {
                FilesError::NoFile(file_id.to_owned())
            } else {
                error.into()
            }
        })
    }

    /// Removes a stored file; fine if it is not there.
    pub(crate) async fn remove(&self, file_id: &str) -> Result<(), FilesError> {
        let client = self.client().await?;
        match client.delete(&parse(file_id)?).await {
            Err(error) if is_gone(client, &error) => Ok(()),
            done => Ok(done?),
        }
    }

    async fn client(&self) -> Result<&Client, FilesError> {
        self.client.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Client, FilesError> {
        let mut trackers = Vec::new();
        for tracker in &self.store.trackers {
            let Address::Tcp { host, port } = tracker else {
                return Err(FilesError::NoAddress(tracker.clone()));
            };
            let found = tokio::net::lookup_host((host.as_str(), *port)).await;
            let found = found.ok().and_then(|mut all| all.next());
            trackers.push(found.ok_or_else(|| FilesError::NoAddress(tracker.clone()))?);
        }
        let settings = PoolSettings {
            connect_timeout: self.store.connect_timeout,
            network_timeout: self.store.timeout,
            ..PoolSettings::default()
        };
        Ok(Client::new(self.world.clone(), settings, trackers))
    }
}

/// The CRC32 of a stored file's bytes, all of which are read.
async fn sum_of(client: &Client, id: &FileId) -> Result<u32, ClientError> {
    let mut sum = crc32fast::Hasher::new();
    let mut found = client.download(id, 0, 0).await?;
    while let Some(chunk) = found.chunk().await? {
        sum.update(&chunk);
    }
    Ok(sum.finalize())
}

/// Whether a storage said that it has no such file. A tracker that answers the same knows of no
/// storage to ask: the file is there when one is back.
fn is_gone(client: &Client, error: &ClientError) -> bool {
    match error {
        ClientError::Refused { server, .. } => {
            error.is_not_found() && !client.trackers().servers().contains(server)
        }
        _ => false,
    }
}

fn parse(file_id: &str) -> Result<FileId, FilesError> {
    FileId::parse(file_id).map_err(|_| FilesError::NoFileId(file_id.to_owned()))
}

/// Whether the name that the storage chose carries the sum of what was sent.
pub(crate) fn check_sum(file: &FileId, crc32: u32) -> Result<(), FilesError> {
    match file.name.record() {
        Some(record) if record.crc32 != crc32 => Err(FilesError::Damaged(text_of(file))),
        _ => Ok(()),
    }
}

/// `group1/M00/..`, as the database keeps it.
pub(crate) fn text_of(file: &FileId) -> String {
    format!("{}/{}", file.group.as_str(), file.name.as_str())
}
