//! One file on its way in: space reserved, bytes streamed to the store and hashed as they pass,
//! then made visible in one transaction.
//!
//! ```text
//! reserve ---> stream ---> publish ---> visible
//!    |           | cut, refused | name taken, folder gone, database away
//!    |           v              v
//!    |        abandon        abandon, and the stored file becomes garbage
//!    +-- full, too many: nothing to undo
//! ```
//!
//! A small file has no reservation, which would be half of what it costs (`small`).
//!
//! Called by `upload`; resumable and instant uploads join at `publish`. Holds one chunk of a file
//! at a time; writes nothing to the local disk. What a crash leaves behind is a reservation,
//! which is swept, or a stored file of nobody, which `reconcile` finds.

mod small; // files that are hardly more than a row

pub(crate) use small::Queues;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::client::ClientError;
use net::client::storage::Content;
use net::ports::{Fut, Moment};

use crate::app::App;
use crate::db::{
    Bytes as Where, Conflict, DbError, Hashes, NewFile, Node, Published, Refusal, Reserve,
};
use crate::digest::Digest;
use crate::error::WebError;
use crate::files::{FilesError, check_sum, text_of};
use crate::ids::{BlobId, NodeId, UploadId, UserId};
use crate::media::{Category, sniff};
use crate::multipart::Part;
use crate::name::Name;
use crate::notify::Event;
use crate::request::{Body, BodyError};

/// How often a reservation is touched while bytes flow; `STALE_MS` is many times longer.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
/// How often the outcome of a commit without an answer is asked for, and how long between.
const SETTLE_TRIES: u32 = 5;
const SETTLE_WAIT: Duration = Duration::from_secs(1);

/// Where a file goes; the folder has passed `authorize`.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) owner: UserId,
    /// None: the root folder.
    pub(crate) parent: Option<NodeId>,
    /// Folders below it, made if they are missing.
    pub(crate) folders: Vec<Name>,
    pub(crate) name: Name,
    pub(crate) conflict: Conflict,
    pub(crate) address: String,
}

/// Where a file's bytes come from.
pub(crate) enum Source<'a> {
    /// A whole request body.
    Body(Body),
    /// What was already read of a part, and the part.
    Part(Option<Bytes>, Part<'a>),
}

impl Source<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, WebError> {
        match self {
            Self::Body(body) => body.chunk().await.map_err(|error| WebError::Request(error.into())),
            Self::Part(first, part) => match first.take().filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => Ok(Some(bytes)),
                None => Ok(part.chunk().await?),
            },
        }
    }
}

/// A file the store has acknowledged.
pub(crate) struct Stored {
    pub(crate) file_id: String,
    pub(crate) hashes: Hashes,
    pub(crate) media_type: &'static str,
    pub(crate) category: Category,
    pub(crate) size: u64,
}

/// A file that is in the store and not yet visible: where it goes is still to be said.
pub(crate) struct Held {
    /// None: a small file.
    blob: Option<BlobId>,
    stored: Arc<Stored>,
}

/// Takes a file of exactly `size` bytes.
pub(crate) async fn receive(
    app: &Arc<App>,
    to: Destination,
    size: u64,
    source: Source<'_>,
) -> Result<Node, WebError> {
    if size <= small::SMALL_BYTES_MAX {
        return small::receive(app, to, size, source).await;
    }
    if small::plain(&to) && app.db.name_taken(to.owner, to.parent, &to.name).await? {
        // Only to spare the bytes: what decides is the unique key.
        return Err(WebError::NameTaken);
    }
    let held = take_in(app, to.owner, &to.name, size, source, &[]).await?;
    place(app, to, held).await
}

/// The same, and it stays so for as long as the request takes: the reservation names the file.
/// `others` are held by the same request: together they count as one upload, and are kept alive
/// meanwhile.
pub(crate) async fn hold(
    app: &Arc<App>,
    owner: UserId,
    name: &Name,
    size: u64,
    source: Source<'_>,
    others: &[&Held],
) -> Result<Held, WebError> {
    let held = take_in(app, owner, name, size, source, others).await?;
    let kept = match held.blob {
        Some(blob) => app.db.hold(blob, &held.stored.file_id).await,
        None => Ok(true),
    };
    let why = match kept {
        Ok(true) => return Ok(held),
        Ok(false) => WebError::Busy("the reservation was given up"),
        Err(error) => error.into(),
    };
    drop_held(app, vec![held]).await;
    Err(why)
}

/// Takes the bytes of a file in and keeps them under their reservation.
async fn take_in(
    app: &Arc<App>,
    owner: UserId,
    name: &Name,
    size: u64,
    source: Source<'_>,
    others: &[&Held],
) -> Result<Held, WebError> {
    let limits = &app.config.limits;
    if limits.upload_bytes_max < size {
        return Err(WebError::TooLarge(limits.upload_bytes_max));
    }
    let most = limits.uploads_per_user_max.saturating_add(others.len() as u64);
    let blob = match app.db.reserve(owner, size, most, app.now()).await? {
        Reserve::Done(blob) => blob,
        Reserve::Full => return Err(WebError::QuotaExceeded),
        Reserve::TooMany => return Err(WebError::TooManyUploads),
        Reserve::NoUser => return Err(WebError::Unauthenticated),
    };
    let alive: Vec<BlobId> = others.iter().filter_map(|held| held.blob).chain([blob]).collect();
    match stream(app, name, &alive, size, source).await {
        Ok(stored) => Ok(Held { blob: Some(blob), stored: Arc::new(stored) }),
        Err(error) => {
            give_back(app, blob, None).await;
            Err(error)
        }
    }
}

/// Makes a held file visible.
pub(crate) async fn place(app: &Arc<App>, to: Destination, held: Held) -> Result<Node, WebError> {
    // On a task of its own: once the store has the bytes, a client that leaves must not stop us
    // between the two.
    let app = app.clone();
    let published = tokio::spawn(async move {
        let Held { blob, stored } = held;
        let done = publish(&app, &to, blob, &stored, None).await;
        if done.as_ref().is_err_and(|error| !matches!(error, WebError::Settled(_))) {
            give_up(&app, &Held { blob, stored }).await;
        }
        done
    });
    published.await.map_err(|error| WebError::Internal(error.into()))?
}

/// Gives held files back that will not become visible.
pub(crate) async fn drop_held(app: &App, held: Vec<Held>) {
    for one in held {
        give_up(app, &one).await;
    }
}

/// Sends the bytes to the store and hashes them on the way.
async fn stream(
    app: &App,
    name: &Name,
    alive: &[BlobId],
    size: u64,
    source: Source<'_>,
) -> Result<Stored, WebError> {
    let mut passing = Passing {
        app,
        alive,
        size,
        source,
        digest: Digest::new(app.hashing.clone()),
        touched: app.world.clock.moment(),
        failure: None,
    };
    let stored = app.files.store(size, name.as_str(), &mut passing).await;
    let file = match (stored, passing.failure) {
        // What the store saw as content that cannot be read is our own error.
        (Err(FilesError::Client(ClientError::Source(_))), Some(own)) => return Err(own),
        (stored, _) => stored?,
    };
    let (media_type, category) = sniff(passing.digest.head(), name.as_str());
    let hashes = passing.digest.finish().await.map_err(WebError::Internal)?;
    check_sum(&file, hashes.crc32)?;
    Ok(Stored { file_id: text_of(&file), hashes, media_type, category, size })
}

/// What goes by: from the client, through the digest, to the store.
struct Passing<'a> {
    app: &'a App,
    /// The reservations to be kept.
    alive: &'a [BlobId],
    size: u64,
    source: Source<'a>,
    digest: Digest,
    /// When the reservation was touched last.
    touched: Moment,
    /// Why the content ended, if it ended early: the store's client can only pass on less.
    failure: Option<WebError>,
}

impl Content for Passing<'_> {
    fn next(&mut self) -> Fut<'_, std::io::Result<Option<Bytes>>> {
        Box::pin(async {
            match self.advance().await {
                Ok(chunk) => Ok(chunk),
                Err(error) => {
                    let text = error.to_string();
                    self.failure = Some(error);
                    Err(std::io::Error::other(text))
                }
            }
        })
    }
}

impl Passing<'_> {
    async fn advance(&mut self) -> Result<Option<Bytes>, WebError> {
        let Some(chunk) = self.source.chunk().await? else {
            let (got, want) = (self.digest.bytes(), self.size);
            return match (&self.source, got == want) {
                (_, true) => Ok(None),
                (Source::Body(_), _) => {
                    Err(WebError::Request(BodyError::Short { got, want }.into()))
                }
                (Source::Part(..), _) => Err(WebError::LengthRequired),
            };
        };
        let passed = self.digest.bytes().saturating_add(chunk.len() as u64);
        if self.size < passed {
            return Err(WebError::LengthRequired);
        }
        self.digest.update(&chunk).await.map_err(WebError::Internal)?;
        self.keep().await?;
        Ok(Some(chunk))
    }

    /// Touches the reservation from time to time. A database that is away is not yet a reason to
    /// stop: it may be back before the reservation is stale.
    async fn keep(&mut self) -> Result<(), WebError> {
        let now = self.app.world.clock.moment();
        if now.since(self.touched) < TOUCH_EVERY {
            return Ok(());
        }
        self.touched = now;
        for blob in self.alive {
            match self.app.db.touch(*blob, self.app.now()).await {
                Ok(true) => {}
                Ok(false) => return Err(WebError::Busy("the reservation was given up")),
                Err(error) => log::warn!("touch a reservation: {error}"),
            }
        }
        Ok(())
    }
}

/// Makes a stored file visible. An error leaves the reservation and the file to the caller,
/// but for [`WebError::Settled`]: then they are taken care of, or nobody knows.
pub(crate) async fn publish(
    app: &App,
    to: &Destination,
    blob: Option<BlobId>,
    stored: &Stored,
    finishes: Option<(UploadId, u64)>,
) -> Result<Node, WebError> {
    let bytes = Where::Arrived {
        blob,
        hashes: &stored.hashes,
        file_id: &stored.file_id,
        media_type: stored.media_type,
    };
    let new = new_file(app, to, bytes, stored.size, stored.category, finishes);
    let done = match app.db.publish(&new).await {
        Err(DbError::Uncertain(_) | DbError::Slow) => settle(app, &new, blob).await,
        done => told(done?),
    };
    if let Ok(node) = &done {
        announce(app, to, node);
    }
    done
}

/// Tells who wants to know that a file is visible.
fn announce(app: &App, to: &Destination, node: &Node) {
    app.metrics.stored(node.size);
    app.notify.tell(to.owner, &Event::files([node.parent, to.parent]));
}

pub(crate) fn new_file<'a>(
    app: &App,
    to: &'a Destination,
    bytes: Where<'a>,
    size: u64,
    category: Category,
    finishes: Option<(UploadId, u64)>,
) -> NewFile<'a> {
    NewFile {
        owner: to.owner,
        parent: to.parent,
        folders: &to.folders,
        name: &to.name,
        conflict: to.conflict,
        bytes,
        size,
        category,
        at: app.now(),
        address: &to.address,
        finishes,
    }
}

/// What became of it, as the client is told.
pub(crate) fn told(done: Published) -> Result<Node, WebError> {
    match done {
        Published::Done(node) => Ok(node),
        Published::NameTaken => Err(WebError::NameTaken),
        Published::NoFolder => Err(WebError::NotFound),
        Published::TooDeep => Err(Refusal::TooDeep.into()),
        Published::NoUser => Err(WebError::Unauthenticated),
        Published::Full => Err(WebError::QuotaExceeded),
        Published::Gone => Err(WebError::Busy("an upload was given up")),
    }
}

/// Finds out what became of a commit that was not answered. Only what certainly did not happen
/// is undone: a file that may be visible must keep its bytes.
async fn settle(app: &App, new: &NewFile<'_>, blob: Option<BlobId>) -> Result<Node, WebError> {
    for _ in 0..SETTLE_TRIES {
        tokio::time::sleep(SETTLE_WAIT).await;
        let undone = match blob {
            Some(blob) => app.db.still_storing(blob).await,
            None => app.db.wait_for(new.owner).await.map(|()| false),
        };
        match undone {
            Err(error) => log::warn!("ask for the outcome of an upload: {error}"),
            Ok(true) => return Err(WebError::Busy("an upload did not reach the database")),
            Ok(false) => {
                let node = app.db.published(new).await?;
                return node.ok_or(match blob {
                    Some(_) => WebError::Settled("an upload was given up"),
                    // Whether its file is needed is asked when it is given up.
                    None => WebError::Busy("an upload did not reach the database"),
                });
            }
        }
    }
    log::error!("upload of {} without an outcome; the store may keep a file for nothing", new.size);
    Err(WebError::Settled("the database is away"))
}

/// Gives a file to the garbage queue, with its reservation if it has one. If the database is away
/// the log names the file.
async fn give_up(app: &App, held: &Held) {
    let Held { blob, stored } = held;
    let file_id = &stored.file_id;
    if let Some(blob) = blob {
        return give_back(app, *blob, Some(file_id)).await;
    }
    let done = app.db.discard_unneeded(&stored.hashes, stored.size, file_id, app.now()).await;
    if let Err(error) = done {
        log::error!("give up an upload, the store may keep {file_id} for nothing: {error}");
    }
}

/// Gives the reservation back, and the stored file to the garbage queue. If the database is away
/// the reservation goes by itself, and the log names the file.
async fn give_back(app: &App, blob: BlobId, file_id: Option<&str>) {
    if let Err(error) = app.db.abandon(blob, file_id, app.now()).await {
        let file_id = file_id.unwrap_or("no file");
        log::error!("give up an upload, the store may keep {file_id} for nothing: {error}");
    }
}
