//! Resumable uploads: bytes into an appender of the store, piece by piece, until the file is
//! whole and becomes visible.
//!
//! ```text
//! begin --> lease --> write a piece --> note offset and hashes --> ... --> publish
//!             ^            | cut: the store keeps nothing of the piece
//!             +------------+
//! ```
//!
//! Called by `upload`. A piece is written at its offset, never appended: when a worker dies
//! between the store's answer and the note of it, the next one writes the same bytes to the same
//! place. The appender keeps its name when the file is whole. To give it a normal one the store
//! would read all of it for the sum in the name, so that finishing would take longer for a longer
//! file; and a worker that dies between the store's renaming and the commit would lose a file
//! that was complete. The hash state lies in the row (see `Digest::resume`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::client::ClientError;
use net::client::storage::Content;
use net::ports::{Fut, Moment};

use crate::app::App;
use crate::checksum::Checksum;
use crate::db::{Conflict, Leased, Node, Noted, Progress, Upload};
use crate::digest::Digest;
use crate::error::WebError;
use crate::files::{FilesError, text_of};
use crate::ids::{BlobId, NodeId, UnixMs, UploadId, UserId};
use crate::intake::{Destination, Stored, publish};
use crate::media::sniff;
use crate::name::{Name, folders_of};
use crate::notify::Event;
use crate::request::{Body, BodyError};

/// Bytes the store acknowledges together: what a lost connection costs at most.
const PIECE_BYTES: u64 = 8 << 20;
/// A lease lapses so long after its last sign of life, which is a byte from the client: this is
/// what a client waits whose network died. Behind the last byte of a piece it is the store that
/// is waited for, and the lease outlives that: nobody may write while an earlier write can still
/// be acknowledged.
const LEASE_MS: u64 = 15_000;
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// How often the outcome of a note without an answer is asked for, and how long between.
const SETTLE_TRIES: u32 = 5;
const SETTLE_WAIT: Duration = Duration::from_secs(1);
/// The store syncs a piece before it answers; no disk of ours may be slower.
const SYNC_BYTES_PER_MS_MIN: u64 = 16_384;
/// Files up to this size are compared with the store's own sum before they become visible; the
/// store reads them for that, so there is an end to it. `fastdisk reconcile` compares all.
const COMPARED_BYTES_MAX: u64 = 32 << 20;

/// What a request of a resumable upload led to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) offset: u64,
    pub(crate) expires: UnixMs,
    /// The file, once it is whole.
    pub(crate) node: Option<NodeId>,
}

/// What a request brings.
pub(crate) struct Sent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) body: Body,
    pub(crate) checksum: Option<Checksum>,
    /// Instead of what the upload was begun with.
    pub(crate) conflict: Option<Conflict>,
    pub(crate) address: String,
}

/// Takes the next bytes of an upload. On a task of its own: a client that leaves is seen as the
/// end of its body, and must not stop us between the store and the row.
pub(crate) async fn write(
    app: &Arc<App>,
    owner: UserId,
    id: UploadId,
    sent: Sent,
) -> Result<Outcome, WebError> {
    let app = app.clone();
    let written = tokio::spawn(async move { write_here(&app, owner, id, sent).await });
    written.await.map_err(|error| WebError::Internal(error.into()))?
}

async fn write_here(
    app: &App,
    owner: UserId,
    id: UploadId,
    sent: Sent,
) -> Result<Outcome, WebError> {
    let lease = app.world.random.u64() | 1;
    let now = app.now();
    let expires = app.upload_expiry();
    let times = (now, lease_until(app, Duration::ZERO), expires);
    let upload = match app.db.lease_upload((owner, id), lease, times).await? {
        Leased::Held(upload) => *upload,
        Leased::Busy(ms) => return Err(WebError::UploadLocked(ms.div_ceil(1000).max(1))),
        Leased::Gone => return Err(WebError::NotFound),
    };
    let mut writer = Writer { app, owner, lease, upload, touched: app.world.clock.moment() };
    let done = writer.go_on(sent).await;
    // Also after success: whoever sends the next chunk need not wait.
    if let Err(error) = app.db.keep_lease(id, lease, UnixMs(0)).await {
        log::warn!("end a lease: {error}");
    }
    done
}

/// When a lease lapses behind which the store is waited for so long.
fn lease_until(app: &App, waiting: Duration) -> UnixMs {
    let waiting = u64::try_from(waiting.as_millis()).unwrap_or(u64::MAX);
    UnixMs(app.now().0.saturating_add(LEASE_MS).saturating_add(waiting))
}

/// How long the store may take to answer behind the last of `len` bytes.
fn answer_max(timeout: Duration, len: u64) -> Duration {
    timeout.max(Duration::from_millis(len / SYNC_BYTES_PER_MS_MIN))
}

/// Whoever holds the lease of an upload.
struct Writer<'a> {
    app: &'a App,
    owner: UserId,
    lease: u64,
    upload: Upload,
    /// When the lease was renewed last.
    touched: Moment,
}

impl Writer<'_> {
    async fn go_on(&mut self, mut sent: Sent) -> Result<Outcome, WebError> {
        let (have, size) = (self.upload.received, self.upload.size);
        if self.upload.node.is_some() && sent.offset == size && sent.len == 0 {
            return Ok(self.outcome());
        }
        if self.upload.node.is_some() || sent.offset != have {
            return Err(WebError::WrongOffset);
        }
        if size.saturating_sub(have) < sent.len {
            return Err(WebError::TooLarge(size));
        }
        let gate = self.app.hashing.clone();
        let head = std::mem::take(&mut self.upload.head);
        let digest = Digest::resume(gate, &self.upload.hashes, head);
        let mut digest = digest.ok_or_else(|| {
            WebError::Internal(anyhow::anyhow!("upload {} has no hash state", self.upload.id))
        })?;
        let mut left = sent.len;
        let mut rest = Bytes::new();
        while 0 < left {
            // With a checksum nothing counts before all of it is there.
            let len = if sent.checksum.is_some() { left } else { left.min(PIECE_BYTES) };
            self.piece(&mut sent, len, &mut rest, &mut digest).await?;
            left = left.saturating_sub(len);
        }
        if self.upload.received < size {
            return Ok(self.outcome());
        }
        let conflict = sent.conflict.unwrap_or(self.upload.conflict);
        let node = self.finish(digest, conflict, sent.address).await?;
        self.app.notify.tell(self.owner, &Event::uploads());
        self.upload.node = Some(node.id);
        Ok(self.outcome())
    }

    fn outcome(&self) -> Outcome {
        let Upload { received: offset, expires, node, .. } = self.upload;
        Outcome { offset, expires, node }
    }

    /// Writes `len` bytes and notes them.
    async fn piece(
        &mut self,
        sent: &mut Sent,
        len: u64,
        rest: &mut Bytes,
        digest: &mut Digest,
    ) -> Result<(), WebError> {
        let offset = self.upload.received;
        let mut piece = Piece {
            app: self.app,
            id: self.upload.id,
            lease: self.lease,
            body: &mut sent.body,
            rest,
            left: len,
            len,
            digest,
            checksum: sent.checksum.as_mut(),
            touched: self.touched,
            failure: None,
        };
        let stored = match &self.upload.file_id {
            Some(file_id) => {
                self.app.files.write_at(file_id, offset, len, &mut piece).await.map(|()| None)
            }
            None => {
                let begun = self.app.files.begin(len, &self.upload.name, &mut piece).await;
                begun.map(|file| Some(text_of(&file)))
            }
        };
        self.touched = piece.touched;
        let begun = match (stored, piece.failure) {
            // What the store saw as content that cannot be read is our own error.
            (Err(FilesError::Client(ClientError::Source(_))), Some(own)) => return Err(own),
            (stored, _) => stored?,
        };
        let received = offset.saturating_add(len);
        match (self.note(begun.as_deref(), received, digest).await, begun) {
            (Err(error), Some(file_id)) => self.settle(file_id, received, error).await,
            (noted, _) => noted,
        }
    }

    /// Finds out whether the note of the first piece arrived, which failed with `error`. Only a
    /// file that certainly is not the upload's becomes garbage: its bytes may be acknowledged.
    async fn settle(
        &mut self,
        file_id: String,
        received: u64,
        error: WebError,
    ) -> Result<(), WebError> {
        let (key, blob) = ((self.upload.id, self.lease), self.upload.blob);
        for tried in 1..=SETTLE_TRIES {
            match self.app.db.settle_begun(key, (blob, &file_id), self.app.now()).await {
                Ok(Noted::Arrived) => {
                    self.upload.file_id = Some(file_id);
                    self.upload.received = received;
                    return Ok(());
                }
                Ok(Noted::Lost | Noted::Finished) => return Err(error),
                Err(again) => log::warn!("ask for the note of an upload: {again}"),
            }
            if tried < SETTLE_TRIES {
                tokio::time::sleep(SETTLE_WAIT).await;
            }
        }
        log::error!("the store may keep {file_id} for nothing: nobody knows if it was noted");
        Err(error)
    }

    async fn note(
        &mut self,
        begun: Option<&str>,
        received: u64,
        digest: &mut Digest,
    ) -> Result<(), WebError> {
        let hashes = digest.save().await.map_err(WebError::Internal)?;
        let file_id = begun.map(str::to_owned).or_else(|| self.upload.file_id.clone());
        let file_id = file_id.unwrap_or_default();
        let step = Progress { file_id: &file_id, received, hashes: &hashes, head: digest.head() };
        let until = lease_until(self.app, Duration::ZERO);
        if !self.app.db.advance_upload(self.upload.id, self.lease, &step, until).await? {
            return Err(WebError::UploadLocked(1));
        }
        self.upload.file_id = Some(file_id);
        self.upload.received = received;
        Ok(())
    }

    /// All bytes are there: compares the hashes and makes the file visible.
    async fn finish(
        &mut self,
        digest: Digest,
        conflict: Conflict,
        address: String,
    ) -> Result<Node, WebError> {
        let (app, id) = (self.app, self.upload.id);
        let corrupt = |what| WebError::Internal(anyhow::anyhow!("upload {id} has no {what}"));
        let name = Name::parse(&self.upload.name).ok_or_else(|| corrupt("name"))?;
        let (media_type, category) = sniff(digest.head(), name.as_str());
        let hashes = digest.finish().await.map_err(WebError::Internal)?;
        if self.upload.want_sha256.as_deref().is_some_and(|want| want != hashes.sha256) {
            app.db.end_upload(self.owner, id, app.now()).await?;
            return Err(WebError::WrongHash);
        }
        let size = self.upload.size;
        let empty = match &self.upload.file_id {
            Some(file_id) => {
                self.compare(file_id, hashes.crc32).await?;
                None
            }
            None => Some(text_of(&app.files.store(0, name.as_str(), &mut Bytes::new()).await?)),
        };
        let file_id = self.upload.file_id.clone().or_else(|| empty.clone()).unwrap_or_default();
        let blob = self.upload.blob.ok_or_else(|| corrupt("reservation"))?;
        let folders = match self.upload.path.as_str() {
            "" => Vec::new(),
            path => folders_of(path).ok_or_else(|| corrupt("path"))?,
        };
        let parent = self.upload.parent;
        let to = Destination { owner: self.owner, parent, folders, name, conflict, address };
        let stored = Stored { file_id, hashes, media_type, category, size };
        let done = publish(app, &to, Some(blob), &stored, Some((id, self.lease))).await;
        if let (Err(error), Some(file_id)) = (&done, empty)
            && !matches!(error, WebError::Settled(_))
        {
            self.discard(blob, &file_id).await;
        }
        done
    }

    /// Asks the store for the sum of what it has. Another one than ours ends the upload: nobody
    /// could say which bytes are wrong.
    async fn compare(&self, file_id: &str, crc32: u32) -> Result<(), WebError> {
        if COMPARED_BYTES_MAX < self.upload.size || self.app.files.crc32(file_id).await? == crc32 {
            return Ok(());
        }
        self.app.db.end_upload(self.owner, self.upload.id, self.app.now()).await?;
        Err(FilesError::Damaged(file_id.to_owned()).into())
    }

    async fn discard(&self, blob: BlobId, file_id: &str) {
        let done = self.app.db.discard_unpublished(blob, file_id, self.app.now()).await;
        if let Err(error) = done {
            log::error!("the store keeps {file_id} for nothing: {error}");
        }
    }
}

/// The bytes of one piece on their way: from the client, through the digest, to the store.
struct Piece<'a> {
    app: &'a App,
    id: UploadId,
    lease: u64,
    body: &'a mut Body,
    /// What was read of the body and belongs to the next piece.
    rest: &'a mut Bytes,
    left: u64,
    len: u64,
    digest: &'a mut Digest,
    checksum: Option<&'a mut Checksum>,
    touched: Moment,
    failure: Option<WebError>,
}

impl Content for Piece<'_> {
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

impl Piece<'_> {
    async fn advance(&mut self) -> Result<Option<Bytes>, WebError> {
        if self.left == 0 {
            return match self.checksum.take() {
                // Before the store has answered: of a damaged chunk it keeps nothing.
                Some(sum) if !sum.fits() => Err(WebError::WrongChecksum),
                _ => Ok(None),
            };
        }
        let mut chunk = std::mem::take(self.rest);
        if chunk.is_empty() {
            let next = self.body.chunk().await;
            let short =
                BodyError::Short { got: self.len.saturating_sub(self.left), want: self.len };
            chunk = next
                .and_then(|chunk| chunk.ok_or(short))
                .map_err(|error| WebError::Request(error.into()))?;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len());
        *self.rest = chunk.split_off(most);
        self.left = self.left.saturating_sub(chunk.len() as u64);
        if let Some(sum) = &mut self.checksum {
            sum.update(&chunk);
        }
        self.digest.update(&chunk).await.map_err(WebError::Internal)?;
        self.keep().await?;
        Ok(Some(chunk))
    }

    /// Renews the lease from time to time, and behind the last byte for as long as the store may
    /// take to answer.
    async fn keep(&mut self) -> Result<(), WebError> {
        let now = self.app.world.clock.moment();
        let last = self.left == 0;
        if now.since(self.touched) < RENEW_EVERY && !last {
            return Ok(());
        }
        self.touched = now;
        let timeout = self.app.config.store.timeout;
        let waiting = if last { answer_max(timeout, self.len) } else { Duration::ZERO };
        let until = lease_until(self.app, waiting);
        if self.app.db.keep_lease(self.id, self.lease, until).await? {
            return Ok(());
        }
        Err(WebError::UploadLocked(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_behind_the_last_byte_outlives_the_store() {
        let timeout = Duration::from_secs(120);
        for len in [0, 1, PIECE_BYTES, 1 << 40] {
            assert!(timeout <= answer_max(timeout, len), "{len}");
        }
        // A piece with a checksum may be a whole file: the time to sync it grows with it.
        let syncing = answer_max(timeout, 1 << 40).as_millis();
        assert_eq!(syncing, (1u128 << 40) / u128::from(SYNC_BYTES_PER_MS_MIN));
    }
}
