//! The table `blob`: one row per stored content, shared by every node that has it.
//!
//! ```text
//!            reserve            attach (first of its hash)
//!   (none) ----------> storing ---------------------------> live
//!     | attach of a small file, for which nothing was reserved  ^
//!     +---------------------------------------------------------+
//!                        | attach (hash is known): row goes, the known row's refcount grows
//!                        | abandon, or not touched for STALE_MS: row goes, and a file that the
//!                        v   row names is garbage
//!                      (none)          live, last reference released: row goes, file is garbage
//! ```
//!
//! A `storing` row is also the reservation of its size in its user's quota. It names a file that
//! the store has if that file waits for others before it becomes visible. Never talks to the
//! store: a stored file that is not needed becomes a row of `garbage`.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;

use super::{Db, DbError, commit, garbage, retry, within};
use crate::ids::{BlobId, UnixMs, UserId};

/// A `storing` row that nobody touched for so long belongs to an upload that died.
pub(crate) const STALE_MS: u64 = 10 * 60 * 1000;

/// Whether so many bytes more fit into the quota of user `u` beside what is used and reserved:
/// the bytes, and since when a reservation must have been touched.
macro_rules! room {
    () => {
        "u.used_bytes + ? + (SELECT CAST(COALESCE(SUM(b.size), 0) AS UNSIGNED) FROM `blob` b
            WHERE b.storing_for = u.id AND b.touched_ms > ?) <= u.quota_bytes"
    };
}
pub(super) use room;

const LOCK_USER: &str = "\
SELECT quota_bytes, used_bytes FROM user WHERE id = ? AND disabled_ms IS NULL FOR UPDATE";
// A resumable upload may rest for days: it takes space, but is not under way.
const UNDER_WAY: &str = "\
SELECT CAST(COALESCE(SUM(u.id IS NULL), 0) AS UNSIGNED),
    CAST(COALESCE(SUM(b.size), 0) AS UNSIGNED)
FROM `blob` b LEFT JOIN upload u ON u.blob_id = b.id
WHERE b.storing_for = ? AND b.touched_ms > ?";
const RESERVE: &str = "\
INSERT INTO `blob` (size, refcount, state, storing_for, touched_ms, created_ms)
VALUES (?, 0, 'storing', ?, ?, ?)";
const TOUCH: &str = "UPDATE `blob` SET touched_ms = ? WHERE id = ? AND state = 'storing'";
const ABANDON: &str = "DELETE FROM `blob` WHERE id = ? AND state = 'storing'";
const HOLD: &str = "UPDATE `blob` SET file_id = ? WHERE id = ? AND state = 'storing'";
const STALE: &str = "\
SELECT id, file_id FROM `blob` WHERE state = 'storing' AND touched_ms < ? LIMIT 1000 FOR UPDATE";
const STATE: &str = "SELECT state = 'live' FROM `blob` WHERE id = ? FOR UPDATE";
const CONTENT: &str =
    "SELECT IF(state = 'live', file_id, NULL) FROM `blob` WHERE id = ? FOR UPDATE";
const SHARE: &str = "\
UPDATE `blob` SET refcount = refcount + 1 WHERE sha256 = ? AND size = ? AND state = 'live'";
const PROMOTE: &str = "\
UPDATE `blob` SET sha256 = ?, md5 = ?, size = ?, file_id = ?, media_type = ?, refcount = 1,
    state = 'live', storing_for = NULL, touched_ms = ?
WHERE id = ? AND state = 'storing'";
const INSERT_OR_SHARE: &str = "\
INSERT INTO `blob` (sha256, md5, size, file_id, media_type, refcount, state, touched_ms,
    created_ms)
VALUES (?, ?, ?, ?, ?, 1, 'live', ?, ?)
ON DUPLICATE KEY UPDATE refcount = refcount + 1, id = LAST_INSERT_ID(id)";
const FILE_OF_HASH: &str = "SELECT file_id FROM `blob` WHERE sha256 = ? AND size = ? FOR UPDATE";
const FITS: &str = concat!("SELECT ", room!(), " FROM user u WHERE u.id = ?");
const REFER: &str = "UPDATE `blob` SET refcount = refcount + ? WHERE id = ? AND state = 'live'";
const MEDIA_TYPE: &str = "SELECT media_type FROM `blob` WHERE id = ?";
const RELEASE: &str =
    "UPDATE `blob` SET refcount = refcount - 1 WHERE id = ? AND state = 'live' AND 0 < refcount";
const NODES: &str = "SELECT COUNT(*) FROM node WHERE blob_id = ?";
const RECOUNT: &str = "UPDATE `blob` SET refcount = ? WHERE id = ?";
const UNUSED: &str =
    "SELECT file_id FROM `blob` WHERE id = ? AND refcount = 0 AND state = 'live' FOR UPDATE";
const REMOVE: &str = "DELETE FROM `blob` WHERE id = ? AND refcount = 0 AND state = 'live'";
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
    /// So many uploads of this user are under way, or wait to be resumed.
    TooMany,
    /// The account was disabled meanwhile.
    NoUser,
}

/// A stored file that is about to become a content.
pub(super) struct Arrived<'a> {
    /// None: nothing was reserved for it.
    pub(super) blob: Option<BlobId>,
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
                    let Some(space) = space(&mut tx, user, now).await? else {
                        return Ok(Reserve::NoUser);
                    };
                    if uploads_max <= space.under_way {
                        return Ok(Reserve::TooMany);
                    }
                    if space.left < bytes {
                        return Ok(Reserve::Full);
                    }
                    reserve_in(&mut tx, user, bytes, now, now).await.map(Reserve::Done)
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

    /// Notes what the store has for a reservation, so that it belongs to something while it waits;
    /// false if the reservation was swept meanwhile.
    pub(crate) async fn hold(&self, blob: BlobId, file_id: &str) -> Result<bool, DbError> {
        Ok(self.change(HOLD, (file_id, blob.0)).await? == 1)
    }

    /// Gives a reservation back; a stored file of it becomes garbage in the same transaction,
    /// but not if the reservation became a content with it: somebody may be reading it.
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
                    garbage_unless_content(&mut tx, blob, file_id, now).await
                })
                .await?;
                commit(tx).await
            })
        })
        .await
    }

    /// A stored file becomes garbage, but not if its reservation became a content with it. The
    /// reservation stays: the upload may be finished in another way.
    pub(crate) async fn discard_unpublished(
        &self,
        blob: BlobId,
        file_id: &str,
        now: UnixMs,
    ) -> Result<(), DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                within(garbage_unless_content(&mut tx, blob, file_id, now)).await?;
                commit(tx).await
            })
        })
        .await
    }

    /// The file of a small upload that nothing was reserved for becomes garbage, but not if its
    /// content lives with it.
    pub(crate) async fn discard_unneeded(
        &self,
        hashes: &Hashes,
        size: u64,
        file_id: &str,
        now: UnixMs,
    ) -> Result<(), DbError> {
        let key = (&hashes.sha256[..], size);
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                within(async {
                    let kept: Option<Option<String>> = tx.exec_first(FILE_OF_HASH, key).await?;
                    match kept.flatten() {
                        Some(kept) if kept == file_id => Ok(()),
                        _ => garbage::insert(&mut tx, file_id, now).await,
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

    /// Counts the references of a content anew while nobody can change them; one that nothing
    /// uses goes, and its file becomes garbage.
    pub(crate) async fn recount(&self, blob: BlobId, at: UnixMs) -> Result<(), DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                within(async {
                    // Whoever adds or removes a reference holds this row until the commit. So in
                    // a statement behind this one the nodes are those that were counted.
                    let live: Option<bool> = tx.exec_first(STATE, (blob.0,)).await?;
                    if live != Some(true) {
                        return Ok(());
                    }
                    let nodes: Option<u64> = tx.exec_first(NODES, (blob.0,)).await?;
                    tx.exec_drop(RECOUNT, (nodes.unwrap_or_default(), blob.0)).await?;
                    remove_unused(&mut tx, blob, at).await
                })
                .await?;
                commit(tx).await
            })
        })
        .await
    }

    /// Drops the reservations of uploads that died, with what the store has of them; how many
    /// there were.
    pub(crate) async fn sweep_reservations(&self, now: UnixMs) -> Result<u64, DbError> {
        let since = now.0.saturating_sub(STALE_MS);
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let count = within(async {
                    let stale: Vec<(u64, Option<String>)> = tx.exec(STALE, (since,)).await?;
                    for (blob, file_id) in &stale {
                        tx.exec_drop(ABANDON, (blob,)).await?;
                        if let Some(file_id) = file_id {
                            garbage::insert(&mut tx, file_id, now).await?;
                        }
                    }
                    Ok(stale.len() as u64)
                })
                .await?;
                commit(tx).await.map(|()| count)
            })
        })
        .await
    }
}

/// The file of a reservation becomes garbage, but not if the reservation became a content with
/// this file: with another one somebody else has finished it, and nobody needs this one.
async fn garbage_unless_content(
    tx: &mut impl Queryable,
    blob: BlobId,
    file_id: &str,
    now: UnixMs,
) -> Result<(), DbError> {
    let content: Option<Option<String>> = tx.exec_first(CONTENT, (blob.0,)).await?;
    match content.flatten() {
        Some(kept) if kept == file_id => Ok(()),
        _ => garbage::insert(tx, file_id, now).await,
    }
}

/// What a user may still fill, while their row is locked.
pub(super) struct Space {
    pub(super) left: u64,
    /// Uploads under way, without those that wait to be resumed.
    pub(super) under_way: u64,
}

/// Locks the user's row. None: no such user, or disabled.
pub(super) async fn space(
    tx: &mut impl Queryable,
    user: UserId,
    now: UnixMs,
) -> Result<Option<Space>, DbError> {
    let row: Option<(u64, u64)> = tx.exec_first(LOCK_USER, (user.0,)).await?;
    let Some((quota, used)) = row else { return Ok(None) };
    let since = now.0.saturating_sub(STALE_MS);
    let row: Option<(u64, u64)> = tx.exec_first(UNDER_WAY, (user.0, since)).await?;
    let (under_way, reserved) = row.unwrap_or_default();
    let left = quota.saturating_sub(used.saturating_add(reserved));
    Ok(Some(Space { left, under_way }))
}

/// A reservation that counts as touched until `touched`, which may lie ahead.
pub(super) async fn reserve_in(
    tx: &mut Transaction<'static>,
    user: UserId,
    bytes: u64,
    touched: UnixMs,
    now: UnixMs,
) -> Result<BlobId, DbError> {
    tx.exec_drop(RESERVE, (bytes, user.0, touched.0, now.0)).await?;
    Ok(BlobId(tx.last_insert_id().unwrap_or_default()))
}

/// Whether what is used and reserved fits into the quota; the user's row is held.
pub(super) async fn fits(
    tx: &mut impl Queryable,
    user: UserId,
    now: UnixMs,
) -> Result<bool, DbError> {
    let since = now.0.saturating_sub(STALE_MS);
    Ok(tx.exec_first(FITS, (0, since, user.0)).await?.unwrap_or(false))
}

/// Whether `bytes` more fit into the user's quota; their row stays locked.
pub(super) async fn has_room(
    tx: &mut impl Queryable,
    user: UserId,
    bytes: u64,
    now: UnixMs,
) -> Result<bool, DbError> {
    Ok(space(tx, user, now).await?.is_some_and(|space| bytes <= space.left))
}

/// Gives a reservation back.
pub(super) async fn give_back(tx: &mut impl Queryable, blob: BlobId) -> Result<(), DbError> {
    Ok(tx.exec_drop(ABANDON, (blob.0,)).await?)
}

/// So many more references to a content; false if it is not there.
pub(super) async fn refer(
    tx: &mut impl Queryable,
    blob: BlobId,
    count: u64,
) -> Result<bool, DbError> {
    Ok(tx.exec_iter(REFER, (count, blob.0)).await?.affected_rows() == 1)
}

/// One more reference to a content that is there: its media type; None if it is not.
pub(super) async fn share_known(
    tx: &mut impl Queryable,
    blob: BlobId,
) -> Result<Option<String>, DbError> {
    if !refer(tx, blob, 1).await? {
        return Ok(None);
    }
    let row: Option<Option<String>> = tx.exec_first(MEDIA_TYPE, (blob.0,)).await?;
    Ok(Some(row.flatten().unwrap_or_default()))
}

/// One reference less. With the last one the row goes, and the stored file becomes garbage in
/// the same transaction; no node may name the content any more.
pub(super) async fn release(
    tx: &mut impl Queryable,
    blob: BlobId,
    at: UnixMs,
) -> Result<(), DbError> {
    tx.exec_drop(RELEASE, (blob.0,)).await?;
    remove_unused(tx, blob, at).await
}

async fn remove_unused(tx: &mut impl Queryable, blob: BlobId, at: UnixMs) -> Result<(), DbError> {
    let unused: Option<Option<String>> = tx.exec_first(UNUSED, (blob.0,)).await?;
    let Some(file_id) = unused else { return Ok(()) };
    tx.exec_drop(REMOVE, (blob.0,)).await?;
    match file_id {
        Some(file_id) => garbage::insert(tx, &file_id, at).await,
        None => Ok(()),
    }
}

/// Turns a reservation into a content with one more reference: the row and its media type. If
/// the content is known, the file that just arrived is garbage.
pub(super) async fn attach(
    tx: &mut impl Queryable,
    new: &Arrived<'_>,
) -> Result<(BlobId, String), DbError> {
    let Some(blob) = new.blob else { return attach_unreserved(tx, new).await };
    if share(tx, new).await? {
        return known(tx, new, blob).await;
    }
    let hashes = new.hashes;
    let row = (
        &hashes.sha256[..],
        &hashes.md5[..],
        new.size,
        new.file_id,
        new.media_type,
        new.at.0,
        blob.0,
    );
    match tx.exec_iter(PROMOTE, row).await.map(|done| done.affected_rows()) {
        Ok(1) => Ok((blob, new.media_type.to_owned())),
        Ok(_) => Err(gone()),
        Err(error) => match DbError::from(error) {
            // Somebody committed the same content between our two statements.
            DbError::Taken if share(tx, new).await? => known(tx, new, blob).await,
            other => Err(other),
        },
    }
}

async fn attach_unreserved(
    tx: &mut impl Queryable,
    new: &Arrived<'_>,
) -> Result<(BlobId, String), DbError> {
    let hashes = new.hashes;
    let row = (
        &hashes.sha256[..],
        &hashes.md5[..],
        new.size,
        new.file_id,
        new.media_type,
        new.at.0,
        new.at.0,
    );
    let done = tx.exec_iter(INSERT_OR_SHARE, row).await?;
    let (inserted, id) = (done.affected_rows() == 1, done.last_insert_id().unwrap_or_default());
    drop(done);
    if inserted {
        return Ok((BlobId(id), new.media_type.to_owned()));
    }
    let row: Option<Option<String>> = tx.exec_first(MEDIA_TYPE, (id,)).await?;
    garbage::insert(tx, new.file_id, new.at).await?;
    Ok((BlobId(id), row.flatten().unwrap_or_default()))
}

async fn share(tx: &mut impl Queryable, new: &Arrived<'_>) -> Result<bool, DbError> {
    let done = tx.exec_iter(SHARE, (&new.hashes.sha256[..], new.size)).await?;
    Ok(done.affected_rows() == 1)
}

async fn known(
    tx: &mut impl Queryable,
    new: &Arrived<'_>,
    blob: BlobId,
) -> Result<(BlobId, String), DbError> {
    let row: Option<(u64, Option<String>)> =
        tx.exec_first(BY_HASH, (&new.hashes.sha256[..], new.size)).await?;
    let (id, media_type) = row.ok_or_else(|| DbError::Schema("a locked row went".to_owned()))?;
    // Also when the known content is this very file, by a commit whose answer was lost.
    if tx.exec_iter(ABANDON, (blob.0,)).await?.affected_rows() == 0 {
        return Err(gone());
    }
    garbage::insert(tx, new.file_id, new.at).await?;
    Ok((BlobId(id), media_type.unwrap_or_default()))
}

/// Swept as stale: the quota was no longer ours, so neither is the right to go on.
fn gone() -> DbError {
    DbError::Schema("the reservation has gone".to_owned())
}
