//! A client that writes down what it does and what it was told.
//!
//! `net::client` speaks; this only keeps the history. An answer that refuses is `Fail`, anything
//! that leaves open what happened is `Unknown`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use net::client::pool::PoolSettings;
use net::client::{Client, ClientError, change, storage};
use net::ports::{Jobs, OsRandom, SystemClock, TcpNet, World};
use proto::fileid::FileId;
use proto::ids::{Extension, GroupName};
use proto::metadata::{Metadata, Pair};
use proto::storage::metadata::SetMode;

use super::checker::pairs;
use super::history::{Content, History, Kind, Outcome, Phase};

/// One client of a run. Cheap to make; each has a number of its own.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    pub(crate) client: Client,
    history: Arc<History>,
    number: u32,
}

impl Recorder {
    pub(crate) fn new(history: &Arc<History>, number: u32, tracker: SocketAddr) -> Self {
        Self::with(history, number, tracker, PoolSettings::default())
    }

    /// The same with time-outs of its own.
    pub(crate) fn with(
        history: &Arc<History>,
        number: u32,
        tracker: SocketAddr,
        settings: PoolSettings,
    ) -> Self {
        let world = World {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(OsRandom),
            net: Arc::new(TcpNet),
            jobs: Jobs::Threads,
        };
        Self::over(history, number, world, settings, vec![tracker])
    }

    /// The same in another world, and with several trackers.
    pub(crate) fn over(
        history: &Arc<History>,
        number: u32,
        world: World,
        settings: PoolSettings,
        trackers: Vec<SocketAddr>,
    ) -> Self {
        let client = Client::new(world, settings, trackers);
        Self { client, history: Arc::clone(history), number }
    }

    /// Uploads; the id if it was acknowledged.
    pub(crate) async fn upload(&self, content: Content) -> Result<FileId, ClientError> {
        let call = self.history.call(self.number, Kind::Upload, "", "tracker", Some(content));
        let mut bytes = Bytes::from(content.bytes());
        let size = u64::try_from(content.len).expect("it fits");
        let group = GroupName::parse("group1").expect("a group name");
        let extension = Extension::parse("bin").expect("an extension");
        let told = self.client.upload(Some(&group), extension, size, &mut bytes).await;
        let outcome = told.as_ref().map(|id| Outcome::id(&id.to_string()));
        self.end(call, outcome);
        told
    }

    /// Uploads a file that may change later, to `at`.
    pub(crate) async fn upload_appender(
        &self,
        content: Content,
        at: SocketAddr,
    ) -> Result<FileId, ClientError> {
        let call = self.history.call(self.number, Kind::Upload, "", &at.to_string(), Some(content));
        let told = self.upload_appender_to(content, at).await;
        self.end(call, told.as_ref().map(|id| Outcome::id(&id.to_string())));
        told
    }

    async fn upload_appender_to(
        &self,
        content: Content,
        at: SocketAddr,
    ) -> Result<FileId, ClientError> {
        let size = u64::try_from(content.len).expect("it fits");
        let head = storage::head(None, size, Extension::parse("bin").expect("an extension"));
        let taken = self.client.pool().take(at).await?;
        storage::upload_appender(taken, &head, &mut Bytes::from(content.bytes())).await
    }

    /// Changes an appender of `len` bytes at `at`, the member that it was uploaded to: only there
    /// changes are in order. They are a function of `content`, see [`Content::place_in`].
    pub(crate) async fn edit(
        &self,
        kind: Kind,
        (id, len): (&FileId, usize),
        content: Content,
        at: SocketAddr,
    ) -> Result<(), ClientError> {
        let (text, via) = (id.to_string(), at.to_string());
        let call = self.history.call(self.number, kind, &text, &via, Some(content));
        let told = self.edit_at(kind, (id, len), content, at).await;
        self.end(call, told.as_ref().map(|()| Outcome::default()));
        told
    }

    async fn edit_at(
        &self,
        kind: Kind,
        (id, len): (&FileId, usize),
        content: Content,
        at: SocketAddr,
    ) -> Result<(), ClientError> {
        let place = u64::try_from(content.place_in(len)).expect("it fits");
        if kind == Kind::Truncate {
            return change::truncate(self.client.pool(), at, id, place).await;
        }
        let taken = self.client.pool().take(at).await?;
        let (size, mut bytes) = (content.len as u64, Bytes::from(content.bytes()));
        match kind {
            Kind::Modify => change::modify(taken, id, place, size, &mut bytes).await,
            _ => change::append(taken, id, size, &mut bytes).await,
        }
    }

    /// Reads a whole file, where the tracker says or at one member.
    pub(crate) async fn read(
        &self,
        id: &FileId,
        at: Option<SocketAddr>,
    ) -> Result<Vec<u8>, ClientError> {
        let via = at.map_or("tracker".to_owned(), |at| at.to_string());
        let call = self.history.call(self.number, Kind::Read, &id.to_string(), &via, None);
        let told = self.fetch(id, at).await;
        self.end(call, told.as_ref().map(|bytes| Outcome::read(bytes)));
        told
    }

    async fn fetch(&self, id: &FileId, at: Option<SocketAddr>) -> Result<Vec<u8>, ClientError> {
        let mut download = match at {
            Some(at) => storage::download(self.client.pool(), at, id, 0, 0).await?,
            None => self.client.download(id, 0, 0).await?,
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Deletes at `at`, the member that executes it.
    pub(crate) async fn delete(&self, id: &FileId, at: SocketAddr) -> Result<(), ClientError> {
        let (text, via) = (id.to_string(), at.to_string());
        let call = self.history.call(self.number, Kind::Delete, &text, &via, None);
        let told = storage::delete(self.client.pool(), at, id).await;
        self.end(call, told.as_ref().map(|()| Outcome::default()));
        told
    }

    /// Sets metadata that are a function of `content`, in place of all earlier ones.
    pub(crate) async fn set_metadata(
        &self,
        id: &FileId,
        content: Content,
    ) -> Result<(), ClientError> {
        let text = id.to_string();
        let call =
            self.history.call(self.number, Kind::SetMetadata, &text, "tracker", Some(content));
        let told = self.client.set_metadata(id, SetMode::Overwrite, &metadata(content)).await;
        self.end(call, told.as_ref().map(|()| Outcome::default()));
        told
    }

    /// The same at one member, whatever the tracker says.
    pub(crate) async fn set_metadata_at(
        &self,
        id: &FileId,
        content: Content,
        at: SocketAddr,
    ) -> Result<(), ClientError> {
        let (text, via) = (id.to_string(), at.to_string());
        let call = self.history.call(self.number, Kind::SetMetadata, &text, &via, Some(content));
        let (pool, mode) = (self.client.pool(), SetMode::Overwrite);
        let told = storage::set_metadata(pool, at, id, mode, &metadata(content)).await;
        self.end(call, told.as_ref().map(|()| Outcome::default()));
        told
    }

    /// The pairs of a file, sorted by name; none if it has no metadata.
    pub(crate) async fn metadata(&self, id: &FileId) -> Vec<(String, String)> {
        let found = match self.client.metadata(id).await {
            Err(error) if error.is_not_found() => return Vec::new(),
            other => other.expect("the storage answers"),
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("we wrote text");
        let mut pairs: Vec<(String, String)> =
            found.pairs().iter().map(|pair| (text(&pair.name), text(&pair.value))).collect();
        pairs.sort();
        pairs
    }

    fn end(&self, call: super::history::Call, told: Result<Outcome, &ClientError>) {
        match told {
            Ok(outcome) => self.history.end(call, Phase::Ok, outcome),
            Err(ClientError::Refused { status, .. }) => {
                self.history.end(call, Phase::Fail, Outcome::refused(status.0));
            }
            Err(_) => self.history.end(call, Phase::Unknown, Outcome::default()),
        }
    }
}

fn metadata(content: Content) -> Metadata {
    let pair = |(name, value): (String, String)| Pair { name: name.into(), value: value.into() };
    Metadata::new(pairs(content).into_iter().map(pair))
}
