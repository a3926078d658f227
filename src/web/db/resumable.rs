//! The table `upload`: resumable uploads, and who is writing to one right now.
//!
//! A writer holds a lease, which it renews while bytes come; whoever comes after it has lapsed
//! takes it, and the old holder's next change is refused. Offset, hash state and the appender's
//! id change in one statement. The reservation of the space is a row of `blob`, as for every
//! upload. Never talks to the store.

use std::collections::BTreeSet;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Row, Transaction};

use super::place::Conflict;
use super::{Db, DbError, Reserve, blob, column, commit, garbage, retry, within};
use crate::ids::{BlobId, NodeId, UnixMs, UploadId, UserId};
use crate::name::Name;

const OPEN: &str = "SELECT COUNT(*) FROM upload WHERE owner = ? AND node IS NULL";
const INSERT: &str = "\
INSERT INTO upload (id, owner, blob_id, parent, path, name, conflict, size, metadata, want_sha256,
    received, hashes, head, lease, lease_ms, created_ms, expires_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, '', 0, 0, ?, ?)";
const FOUND: &str = "\
SELECT id, blob_id, parent, path, name, conflict, size, metadata, want_sha256, file_id, received,
    hashes, head, lease_ms, node, created_ms, expires_ms
FROM upload WHERE owner = ? AND id = ?";
const LIST: &str = "\
SELECT id, blob_id, parent, path, name, conflict, size, metadata, want_sha256, file_id, received,
    hashes, '', lease_ms, node, created_ms, expires_ms
FROM upload WHERE owner = ? AND node IS NULL ORDER BY created_ms DESC LIMIT 1000";
// Its own lease is that of a first try whose answer was lost.
const LEASE: &str = "\
UPDATE upload SET lease = ?, lease_ms = ?, expires_ms = IF(node IS NULL, ?, expires_ms)
WHERE owner = ? AND id = ? AND (lease_ms <= ? OR lease = ?)";
const EXTEND: &str = "\
UPDATE `blob` b JOIN upload u ON u.blob_id = b.id SET b.touched_ms = ?
WHERE u.owner = ? AND u.id = ? AND b.state = 'storing'";
const KEEP: &str = "UPDATE upload SET lease_ms = ? WHERE id = ? AND lease = ?";
const ADVANCE: &str = "\
UPDATE upload SET file_id = ?, received = ?, hashes = ?, head = ?, lease_ms = ?
WHERE id = ? AND lease = ? AND node IS NULL";
const FINISH: &str = "\
UPDATE upload SET node = ?, blob_id = NULL, file_id = NULL, lease_ms = 0, expires_ms = ?
WHERE id = ? AND lease = ? AND node IS NULL";
const HOLD: &str = "SELECT blob_id, file_id FROM upload WHERE id = ? AND owner = ? FOR UPDATE";
const NOTED: &str = "SELECT file_id, node IS NOT NULL FROM upload WHERE id = ? FOR UPDATE";
const IS_CONTENT: &str = "SELECT EXISTS (SELECT 1 FROM `blob` WHERE id = ? AND file_id = ?)";
const END_LEASE: &str = "UPDATE upload SET lease = 0, lease_ms = 0 WHERE id = ? AND lease = ?";
const REMOVE: &str = "DELETE FROM upload WHERE id = ?";
const EXPIRED: &str = "SELECT id, owner FROM upload WHERE expires_ms < ? LIMIT 100";

/// How long a finished upload still answers where its file is.
const FINISHED_MS: u64 = 24 * 3600 * 1000;

/// A resumable upload to be begun.
pub(crate) struct NewUpload<'a> {
    pub(crate) id: UploadId,
    pub(crate) owner: UserId,
    pub(crate) parent: Option<NodeId>,
    pub(crate) path: &'a str,
    pub(crate) name: &'a Name,
    pub(crate) conflict: Conflict,
    pub(crate) size: u64,
    /// As the client sent it.
    pub(crate) metadata: &'a str,
    pub(crate) want_sha256: Option<&'a [u8]>,
    /// The state of the hashes before the first byte.
    pub(crate) hashes: &'a [u8],
    pub(crate) at: UnixMs,
    pub(crate) expires: UnixMs,
}

/// A resumable upload.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    pub(crate) blob: Option<BlobId>,
    pub(crate) parent: Option<NodeId>,
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) conflict: Conflict,
    pub(crate) size: u64,
    pub(crate) metadata: String,
    pub(crate) want_sha256: Option<Vec<u8>>,
    pub(crate) file_id: Option<String>,
    pub(crate) received: u64,
    pub(crate) hashes: Vec<u8>,
    pub(crate) head: Vec<u8>,
    pub(crate) lease_until: UnixMs,
    pub(crate) node: Option<NodeId>,
    pub(crate) created: UnixMs,
    pub(crate) expires: UnixMs,
}

impl FromRow for Upload {
    fn from_row_opt(row: Row) -> Result<Self, FromRowError> {
        Self::read(&row).ok_or(FromRowError(row))
    }
}

impl Upload {
    fn read(row: &Row) -> Option<Self> {
        let id: Vec<u8> = column(row, 0)?;
        let [blob, parent, node]: [Option<u64>; 3] =
            [column(row, 1)?, column(row, 2)?, column(row, 14)?];
        Some(Self {
            id: UploadId(id.try_into().ok()?),
            blob: blob.map(BlobId),
            parent: parent.map(NodeId),
            path: column(row, 3)?,
            name: column(row, 4)?,
            conflict: Conflict::from_number(column(row, 5)?),
            size: column(row, 6)?,
            metadata: column(row, 7)?,
            want_sha256: column(row, 8)?,
            file_id: column(row, 9)?,
            received: column(row, 10)?,
            hashes: column(row, 11)?,
            head: column(row, 12)?,
            lease_until: UnixMs(column(row, 13)?),
            node: node.map(NodeId),
            created: UnixMs(column(row, 15)?),
            expires: UnixMs(column(row, 16)?),
        })
    }
}

/// The answer to whoever wants to write.
#[derive(Debug)]
pub(crate) enum Leased {
    Held(Box<Upload>),
    /// Somebody else does; milliseconds until the lease lapses without a sign of life.
    Busy(u64),
    Gone,
}

/// What became of the note of a first piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It arrived: the file is the upload's.
    Arrived,
    /// It did not, and cannot any more; the file is garbage.
    Lost,
    /// Somebody else has finished the upload with this file.
    Finished,
}

/// How far a writer has come.
pub(crate) struct Progress<'a> {
    pub(crate) file_id: &'a str,
    pub(crate) received: u64,
    pub(crate) hashes: &'a [u8],
    pub(crate) head: &'a [u8],
}

impl Db {
    /// Begins a resumable upload and sets its space aside until it expires.
    pub(crate) async fn begin_upload(
        &self,
        new: &NewUpload<'_>,
        open_max: u64,
    ) -> Result<Reserve, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(begin_in(&mut tx, new, open_max)).await?;
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }

    pub(crate) async fn upload(
        &self,
        owner: UserId,
        id: UploadId,
    ) -> Result<Option<Upload>, DbError> {
        self.first(FOUND, (owner.0, &id.0[..])).await
    }

    /// Those that are not finished, the newest first.
    pub(crate) async fn uploads(&self, owner: UserId) -> Result<Vec<Upload>, DbError> {
        self.all(LIST, (owner.0,)).await
    }

    /// Takes the right to write, if nobody has it; the upload lives on until `expires`.
    pub(crate) async fn lease_upload(
        &self,
        (owner, id): (UserId, UploadId),
        lease: u64,
        (now, until, expires): (UnixMs, UnixMs, UnixMs),
    ) -> Result<Leased, DbError> {
        let key = (lease, until.0, expires.0, owner.0, &id.0[..], now.0, lease);
        let held = self.change(LEASE, key).await? == 1;
        let Some(upload) = self.upload(owner, id).await? else { return Ok(Leased::Gone) };
        if !held {
            return Ok(Leased::Busy(upload.lease_until.0.saturating_sub(now.0)));
        }
        self.change(EXTEND, (expires.0, owner.0, &id.0[..])).await?;
        Ok(Leased::Held(Box::new(upload)))
    }

    /// Renews a lease, or ends it with `until` 0; false if somebody else has it.
    pub(crate) async fn keep_lease(
        &self,
        id: UploadId,
        lease: u64,
        until: UnixMs,
    ) -> Result<bool, DbError> {
        Ok(self.change(KEEP, (until.0, &id.0[..], lease)).await? == 1)
    }

    /// Notes what the store has acknowledged; false if the lease is somebody else's.
    pub(crate) async fn advance_upload(
        &self,
        id: UploadId,
        lease: u64,
        step: &Progress<'_>,
        until: UnixMs,
    ) -> Result<bool, DbError> {
        let row = (step.file_id, step.received, step.hashes, step.head, until.0, &id.0[..], lease);
        Ok(self.change(ADVANCE, row).await? == 1)
    }

    /// Finds out whether the note that an upload begins with `file_id` arrived. If it did not,
    /// the lease ends and the file becomes garbage in the same transaction, so that a note that
    /// is still under way finds nothing to change. May be repeated. `blob` is the reservation of
    /// the upload: no other row can have become a content with this file.
    pub(crate) async fn settle_begun(
        &self,
        (id, lease): (UploadId, u64),
        (blob, file_id): (Option<BlobId>, &str),
        at: UnixMs,
    ) -> Result<Noted, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(settle_in(&mut tx, (id, lease), (blob, file_id), at)).await?;
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }

    /// Gives an upload up: its space comes back, its appender becomes garbage. False if there is
    /// none.
    pub(crate) async fn end_upload(
        &self,
        owner: UserId,
        id: UploadId,
        at: UnixMs,
    ) -> Result<bool, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(end_in(&mut tx, owner, id, at)).await?;
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }

    /// Gives up what expired; whose it was.
    pub(crate) async fn sweep_uploads(&self, now: UnixMs) -> Result<BTreeSet<UserId>, DbError> {
        let expired: Vec<(Vec<u8>, u64)> = self.all(EXPIRED, (now.0,)).await?;
        for (id, owner) in &expired {
            let id = <[u8; 16]>::try_from(id.as_slice());
            let id = id.map_err(|_| DbError::Schema("an upload's id is not 16 bytes".to_owned()));
            self.end_upload(UserId(*owner), UploadId(id?), now).await?;
        }
        Ok(expired.into_iter().map(|(_, owner)| UserId(owner)).collect())
    }

    /// A stored file that no row names.
    pub(crate) async fn discard(&self, file_id: &str, at: UnixMs) -> Result<(), DbError> {
        let mut conn = self.conn().await?;
        within(garbage::insert(&mut conn, file_id, at)).await
    }
}

async fn settle_in(
    tx: &mut Transaction<'static>,
    (id, lease): (UploadId, u64),
    (blob, file_id): (Option<BlobId>, &str),
    at: UnixMs,
) -> Result<Noted, DbError> {
    let row: Option<(Option<String>, bool)> = tx.exec_first(NOTED, (&id.0[..],)).await?;
    match row {
        Some((Some(noted), _)) if noted == file_id => return Ok(Noted::Arrived),
        Some((_, false)) => {}
        // Finished, or that and then forgotten: a content keeps its file. If the content was known
        // before, its row is another one with another file, and this one is not needed.
        Some((_, true)) | None => {
            let row = (blob.map(|id| id.0), file_id);
            let used: Option<bool> = tx.exec_first(IS_CONTENT, row).await?;
            if used == Some(true) {
                return Ok(Noted::Finished);
            }
        }
    }
    tx.exec_drop(END_LEASE, (&id.0[..], lease)).await?;
    garbage::insert(tx, file_id, at).await?;
    Ok(Noted::Lost)
}

async fn begin_in(
    tx: &mut Transaction<'static>,
    new: &NewUpload<'_>,
    open_max: u64,
) -> Result<Reserve, DbError> {
    let Some(space) = blob::space(tx, new.owner, new.at).await? else {
        return Ok(Reserve::NoUser);
    };
    let open: Option<u64> = tx.exec_first(OPEN, (new.owner.0,)).await?;
    if open_max <= open.unwrap_or_default() {
        return Ok(Reserve::TooMany);
    }
    if space.left < new.size {
        return Ok(Reserve::Full);
    }
    let blob = blob::reserve_in(tx, new.owner, new.size, new.expires, new.at).await?;
    let row: Vec<mysql_async::Value> = vec![
        (&new.id.0[..]).into(),
        new.owner.0.into(),
        blob.0.into(),
        new.parent.map(|id| id.0).into(),
        new.path.into(),
        new.name.as_str().into(),
        (new.conflict as u8).into(),
        new.size.into(),
        new.metadata.into(),
        new.want_sha256.into(),
        new.hashes.into(),
        new.at.0.into(),
        new.expires.0.into(),
    ];
    tx.exec_drop(INSERT, row).await?;
    Ok(Reserve::Done(blob))
}

async fn end_in(
    tx: &mut Transaction<'static>,
    owner: UserId,
    id: UploadId,
    at: UnixMs,
) -> Result<bool, DbError> {
    let row: Option<(Option<u64>, Option<String>)> =
        tx.exec_first(HOLD, (&id.0[..], owner.0)).await?;
    let Some((blob, file_id)) = row else { return Ok(false) };
    tx.exec_drop(REMOVE, (&id.0[..],)).await?;
    if let Some(blob) = blob {
        blob::give_back(tx, BlobId(blob)).await?;
    }
    if let Some(file_id) = file_id {
        garbage::insert(tx, &file_id, at).await?;
    }
    Ok(true)
}

/// Marks an upload as finished, in the transaction that makes its file visible; false if the
/// lease is somebody else's, or it is finished already.
pub(super) async fn finish(
    tx: &mut Transaction<'static>,
    id: UploadId,
    lease: u64,
    node: NodeId,
    at: UnixMs,
) -> Result<bool, DbError> {
    let expires = at.0.saturating_add(FINISHED_MS);
    let done = tx.exec_iter(FINISH, (node.0, expires, &id.0[..], lease)).await?;
    Ok(done.affected_rows() == 1)
}
