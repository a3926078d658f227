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
//! Called by `upload` (and by every later way in). Holds one chunk of a file at a time; writes
//! nothing to the local disk. What a crash leaves behind is a reservation, which is swept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::client::ClientError;
use net::client::storage::Content;
use net::ports::{Fut, Moment};

use crate::app::App;
use crate::db::{DbError, Hashes, NewFile, Node, Published, Reserve};
use crate::digest::Digest;
use crate::error::WebError;
use crate::files::{FilesError, check_sum, text_of};
use crate::ids::{BlobId, NodeId, UserId};
use crate::media::sniff;
use crate::multipart::Part;
use crate::name::Name;
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
    pub(crate) name: Name,
    /// Take another name if this one is taken.
    pub(crate) rename: bool,
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
struct Stored {
    file_id: String,
    hashes: Hashes,
    media_type: &'static str,
    category: crate::media::Category,
    size: u64,
}

/// Takes a file of exactly `size` bytes.
pub(crate) async fn receive(
    app: &Arc<App>,
    to: Destination,
    size: u64,
    source: Source<'_>,
) -> Result<Node, WebError> {
    let limits = &app.config.limits;
    if limits.upload_bytes_max < size {
        return Err(WebError::TooLarge(limits.upload_bytes_max));
    }
    if !to.rename && app.db.name_taken(to.owner, to.parent, &to.name).await? {
        // Only to spare the bytes: what decides is the unique key.
        return Err(WebError::NameTaken);
    }
    let reserved = app.db.reserve(to.owner, size, limits.uploads_per_user_max, app.now()).await?;
    let blob = match reserved {
        Reserve::Done(blob) => blob,
        Reserve::Full => return Err(WebError::QuotaExceeded),
        Reserve::TooMany => return Err(WebError::TooManyUploads),
        Reserve::NoUser => return Err(WebError::Unauthenticated),
    };
    let stored = match stream(app, &to, blob, size, source).await {
        Ok(stored) => stored,
        Err(error) => {
            give_up(app, blob, None).await;
            return Err(error);
        }
    };
    // On a task of its own: once the store has the bytes, a client that leaves must not stop us
    // between the two.
    let app = app.clone();
    let published = tokio::spawn(async move { publish(&app, &to, blob, &stored).await });
    published.await.map_err(|error| WebError::Internal(error.into()))?
}

/// Sends the bytes to the store and hashes them on the way.
async fn stream(
    app: &App,
    to: &Destination,
    blob: BlobId,
    size: u64,
    source: Source<'_>,
) -> Result<Stored, WebError> {
    let mut passing = Passing {
        app,
        blob,
        size,
        source,
        digest: Digest::new(app.hashing.clone()),
        touched: app.world.clock.moment(),
        failure: None,
    };
    let stored = app.files.store(size, to.name.as_str(), &mut passing).await;
    let file = match (stored, passing.failure) {
        // What the store saw as content that cannot be read is our own error.
        (Err(FilesError::Client(ClientError::Source(_))), Some(own)) => return Err(own),
        (stored, _) => stored?,
    };
    let (media_type, category) = sniff(passing.digest.head(), to.name.as_str());
    let hashes = passing.digest.finish().await.map_err(WebError::Internal)?;
    check_sum(&file, hashes.crc32)?;
    Ok(Stored { file_id: text_of(&file), hashes, media_type, category, size })
}

/// What goes by: from the client, through the digest, to the store.
struct Passing<'a> {
    app: &'a App,
    blob: BlobId,
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
        match self.app.db.touch(self.blob, self.app.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(WebError::Busy("the reservation was given up")),
            Err(error) => {
                log::warn!("touch a reservation: {error}");
                Ok(())
            }
        }
    }
}

async fn publish(
    app: &App,
    to: &Destination,
    blob: BlobId,
    stored: &Stored,
) -> Result<Node, WebError> {
    let new = NewFile {
        owner: to.owner,
        parent: to.parent,
        name: &to.name,
        rename: to.rename,
        blob,
        size: stored.size,
        hashes: &stored.hashes,
        file_id: &stored.file_id,
        media_type: stored.media_type,
        category: stored.category,
        at: app.now(),
        address: &to.address,
    };
    let done = match app.db.publish(&new).await {
        Err(DbError::Uncertain(_) | DbError::Slow) => return settle(app, &new).await,
        done => done,
    };
    if !matches!(done, Ok(Published::Done(_))) {
        give_up(app, blob, Some(&stored.file_id)).await;
    }
    match done? {
        Published::Done(node) => Ok(node),
        Published::NameTaken => Err(WebError::NameTaken),
        Published::NoFolder => Err(WebError::NotFound),
        Published::NoUser => Err(WebError::Unauthenticated),
    }
}

/// Finds out what became of a commit that was not answered. Only what certainly did not happen
/// is undone: a file that may be visible must keep its bytes.
async fn settle(app: &App, new: &NewFile<'_>) -> Result<Node, WebError> {
    for _ in 0..SETTLE_TRIES {
        tokio::time::sleep(SETTLE_WAIT).await;
        match app.db.still_storing(new.blob).await {
            Err(error) => log::warn!("ask for the outcome of an upload: {error}"),
            Ok(true) => {
                give_up(app, new.blob, Some(new.file_id)).await;
                return Err(WebError::Busy("an upload did not reach the database"));
            }
            Ok(false) => {
                let node = app.db.published(new).await?;
                return node.ok_or(WebError::Busy("an upload was given up"));
            }
        }
    }
    log::error!("upload without an outcome; the store may keep {} for nothing", new.file_id);
    Err(WebError::Busy("the database is away"))
}

/// Gives the reservation back, and the stored file to the garbage queue. If the database is away
/// the reservation goes by itself, and the log names the file.
async fn give_up(app: &App, blob: BlobId, file_id: Option<&str>) {
    if let Err(error) = app.db.abandon(blob, file_id, app.now()).await {
        let file_id = file_id.unwrap_or("no file");
        log::error!("give up an upload, the store may keep {file_id} for nothing: {error}");
    }
}
