//! The table `blob`: one row per stored content, shared by every node that has it.
//!
//! ```text
//!            reserve            attach (first of its hash)
//!   (none) ----------> storing ---------------------------> live
//!                        | attach (hash is known): row goes, the known row's refcount grows
//!                        | abandon, or not touched for STALE_MS: row goes
//!                        v
//!                      (none)
//! ```
//!
//! A `storing` row is also the reservation of its size in its user's quota. Never talks to the
//! store: a stored file that is not needed becomes a row of `garbage`.

use mysql_async::prelude::Queryable;

use super::{Db, DbError, commit, garbage, retry, within};
use crate::ids::{BlobId, UnixMs, UserId};

/// A `storing` row that nobody touched for so long belongs to an upload that died.
pub(crate) const STALE_MS: u64 = 10 * 60 * 1000;

const LOCK_USER: &str = "\
SELECT quota_bytes, used_bytes FROM user WHERE id = ? AND disabled_ms IS NULL FOR UPDATE";
const UNDER_WAY: &str = "\
SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS UNSIGNED) FROM `blob`
WHERE storing_for = ? AND touched_ms > ?";
const RESERVE: &str = "\
INSERT INTO `blob` (size, refcount, state, storing_for, touched_ms, created_ms)
VALUES (?, 0, 'storing', ?, ?, ?)";
const TOUCH: &str = "UPDATE `blob` SET touched_ms = ? WHERE id = ? AND state = 'storing'";
const ABANDON: &str = "DELETE FROM `blob` WHERE id = ? AND state = 'storing'";
const SWEEP: &str = "DELETE FROM `blob` WHERE state = 'storing' AND touched_ms < ?";
const STATE: &str = "SELECT state = 'live' FROM `blob` WHERE id = ? FOR UPDATE";
const SHARE: &str = "\
UPDATE `blob` SET refcount = refcount + 1 WHERE sha256 = ? AND size = ? AND state = 'live'";
const PROMOTE: &str = "\
UPDATE `blob` SET sha256 = ?, md5 = ?, size = ?, file_id = ?, media_type = ?, refcount = 1,
    state = 'live', storing_for = NULL, touched_ms = ?
WHERE id = ? AND state = 'storing'";
const BY_HASH: &str =
    "SELECT id, media_type FROM `blob` WHERE sha256 = ? AND size = ? AND state = 'live'";

/// What the bytes hashed to on their way through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hashes {
    pub(crate) sha256: [u8; 32],
    /// A look-up hint only; decides nothing.
    pub(crate) md5: [u8; 16],
    pub(crate) crc32: u32,
}

/// The answer to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    Done(BlobId),
    /// Used, reserved and asked for together exceed the quota.
    Full,
    /// So many uploads of this user are under way already.
    TooMany,
    /// The account was disabled meanwhile.
    NoUser,
}

/// A stored file that is about to become a content.
pub(super) struct Arrived<'a> {
    pub(super) blob: BlobId,
    pub(super) size: u64,
    pub(super) hashes: &'a Hashes,
    pub(super) file_id: &'a str,
    pub(super) media_type: &'a str,
    pub(super) at: UnixMs,
}

impl Db {
    /// Sets `bytes` of the user's quota aside before the first of them flows.
    pub(crate) async fn reserve(
        &self,
        user: UserId,
        bytes: u64,
        uploads_max: u64,
        now: UnixMs,
    ) -> Result<Reserve, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(async {
                    let row: Option<(u64, u64)> = tx.exec_first(LOCK_USER, (user.0,)).await?;
                    let Some((quota, used)) = row else { return Ok(Reserve::NoUser) };
                    let since = now.0.saturating_sub(STALE_MS);
                    let row: Option<(u64, u64)> = tx.exec_first(UNDER_WAY, (user.0, since)).await?;
                    let (count, reserved) = row.unwrap_or_default();
                    if uploads_max <= count {
                        return Ok(Reserve::TooMany);
                    }
                    if quota < used.saturating_add(reserved).saturating_add(bytes) {
                        return Ok(Reserve::Full);
                    }
                    tx.exec_drop(RESERVE, (bytes, user.0, now.0, now.0)).await?;
                    Ok(Reserve::Done(BlobId(tx.last_insert_id().unwrap_or_default())))
                })
                .await?;
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }

    /// Keeps a reservation alive; false if it was swept meanwhile.
    pub(crate) async fn touch(&self, blob: BlobId, now: UnixMs) -> Result<bool, DbError> {
        Ok(self.change(TOUCH, (now.0, blob.0)).await? == 1)
    }

    /// Gives a reservation back; a stored file of it becomes garbage in the same transaction,
    /// but not if the reservation became a content: somebody may be reading it.
    pub(crate) async fn abandon(
        &self,
        blob: BlobId,
        file_id: Option<&str>,
        now: UnixMs,
    ) -> Result<(), DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                within(async {
                    tx.exec_drop(ABANDON, (blob.0,)).await?;
                    let Some(file_id) = file_id else { return Ok(()) };
                    let live: Option<bool> = tx.exec_first(STATE, (blob.0,)).await?;
                    match live {
                        Some(_) => Ok(()),
                        None => garbage::insert(&mut tx, file_id, now).await,
                    }
                })
                .await?;
                commit(tx).await
            })
        })
        .await
    }

    /// True when a reservation is still one, so that a commit without an answer did not happen.
    /// Waits for that commit if it is still under way.
    pub(crate) async fn still_storing(&self, blob: BlobId) -> Result<bool, DbError> {
        let live: Option<bool> = self.first(STATE, (blob.0,)).await?;
        Ok(live == Some(false))
    }

    /// Drops the reservations of uploads that died; how many there were.
    pub(crate) async fn sweep_reservations(&self, now: UnixMs) -> Result<u64, DbError> {
        self.change(SWEEP, (now.0.saturating_sub(STALE_MS),)).await
    }
}

/// Turns a reservation into a content with one more reference: the row and its media type. If
/// the content is known, the file that just arrived is garbage.
pub(super) async fn attach(
    tx: &mut impl Queryable,
    new: &Arrived<'_>,
) -> Result<(BlobId, String), DbError> {
    if share(tx, new).await? {
        return known(tx, new).await;
    }
    let hashes = new.hashes;
    let row = (
        &hashes.sha256[..],
        &hashes.md5[..],
        new.size,
        new.file_id,
        new.media_type,
        new.at.0,
        new.blob.0,
    );
    match tx.exec_iter(PROMOTE, row).await.map(|done| done.affected_rows()) {
        Ok(1) => Ok((new.blob, new.media_type.to_owned())),
        Ok(_) => Err(gone()),
        Err(error) => match DbError::from(error) {
            // Somebody committed the same content between our two statements.
            DbError::Taken if share(tx, new).await? => known(tx, new).await,
            other => Err(other),
        },
    }
}

async fn share(tx: &mut impl Queryable, new: &Arrived<'_>) -> Result<bool, DbError> {
    let done = tx.exec_iter(SHARE, (&new.hashes.sha256[..], new.size)).await?;
    Ok(done.affected_rows() == 1)
}

async fn known(tx: &mut impl Queryable, new: &Arrived<'_>) -> Result<(BlobId, String), DbError> {
    let row: Option<(u64, Option<String>)> =
        tx.exec_first(BY_HASH, (&new.hashes.sha256[..], new.size)).await?;
    let (id, media_type) = row.ok_or_else(|| DbError::Schema("a locked row went".to_owned()))?;
    // Also when the known content is this very file, by a commit whose answer was lost.
    if tx.exec_iter(ABANDON, (new.blob.0,)).await?.affected_rows() == 0 {
        return Err(gone());
    }
    garbage::insert(tx, new.file_id, new.at).await?;
    Ok((BlobId(id), media_type.unwrap_or_default()))
}

/// Swept as stale: the quota was no longer ours, so neither is the right to go on.
fn gone() -> DbError {
    DbError::Schema("the reservation has gone".to_owned())
}
