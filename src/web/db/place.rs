//! Puts a file into a folder: the content gets its row, the space is counted, the node appears,
//! all in one transaction.
//!
//! Every way in ends here: uploads, resumable uploads, instant uploads. The user's row is locked
//! first, so two files of one user never race for a name; lock order as in `db`.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;

use super::blob::{self, Arrived, STALE_MS, room};
use super::node::{FileRow, Kind, NewRow, Published, Row, Stored, columns, noted};
use super::tree::{DEPTH_MAX, live_folder, own};
use super::{Db, DbError, Hashes, Node, commit, resumable, retry, totals, within};
use crate::ids::{BlobId, NodeId, UnixMs, UploadId, UserId};
use crate::media::Category;
use crate::name::Name;

pub(super) const TAKE_SPACE: &str =
    "UPDATE user SET used_bytes = used_bytes + ? WHERE id = ? AND disabled_ms IS NULL";
const GIVE_SPACE: &str = "UPDATE user SET used_bytes = used_bytes - ? WHERE id = ?";
const OUTLOOK: &str = concat!(
    "SELECT EXISTS(SELECT 1 FROM node WHERE owner = u.id AND live_in = ? AND name = ?), ",
    room!(),
    " FROM user u WHERE u.id = ? AND u.disabled_ms IS NULL"
);
const WAIT: &str = "SELECT id FROM user WHERE id = ? FOR UPDATE";
const ENTRY: &str = "\
SELECT n.id, n.kind, n.blob_id, n.size, n.category
FROM node n WHERE n.owner = ? AND n.live_in = ? AND n.name = ? FOR UPDATE";
const REPLACE: &str = "\
UPDATE node SET blob_id = ?, size = ?, category = ?, modified_ms = ? WHERE id = ?";
const BY_CONTENT: &str = columns!(
    "FROM node n JOIN `blob` b ON b.id = n.blob_id
    WHERE n.owner = ? AND b.sha256 = ? AND b.size = ? AND n.modified_ms = ? AND (n.name = ? OR ?)"
);

/// Other names tried when the wanted one is taken: `a (1).txt` to `a (99).txt`.
pub(super) const RENAMES_MAX: u32 = 99;

/// What to do when a name is taken. The numbers stand in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Conflict {
    /// Refuse.
    #[default]
    Fail = 0,
    /// Take another name: `a (1).txt`.
    Rename = 1,
    /// Take the place of the file that has it; a folder is never replaced.
    Replace = 2,
}

impl Conflict {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "fail" => Some(Self::Fail),
            "rename" => Some(Self::Rename),
            "replace" => Some(Self::Replace),
            _ => None,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Rename,
            2 => Self::Replace,
            _ => Self::Fail,
        }
    }
}

/// Where the bytes of a file are.
#[derive(Clone, Copy)]
pub(crate) enum Bytes<'a> {
    /// In the store since just now, under a reservation, or under none if it is small.
    Arrived { blob: Option<BlobId>, hashes: &'a Hashes, file_id: &'a str, media_type: &'a str },
    /// A content that somebody has already; nothing was reserved for it.
    Known { blob: BlobId, hashes: &'a Hashes },
}

/// A file that is to become visible.
pub(crate) struct NewFile<'a> {
    pub(crate) owner: UserId,
    /// None: the root folder.
    pub(crate) parent: Option<NodeId>,
    /// Folders below `parent`, made if they are missing.
    pub(crate) folders: &'a [Name],
    pub(crate) name: &'a Name,
    pub(crate) conflict: Conflict,
    pub(crate) bytes: Bytes<'a>,
    pub(crate) size: u64,
    pub(crate) category: Category,
    pub(crate) at: UnixMs,
    pub(crate) address: &'a str,
    /// The resumable upload that ends with this, and the lease under which it does.
    pub(crate) finishes: Option<(UploadId, u64)>,
}

impl NewFile<'_> {
    fn hashes(&self) -> &Hashes {
        match self.bytes {
            Bytes::Arrived { hashes, .. } | Bytes::Known { hashes, .. } => hashes,
        }
    }
}

/// What would become of a file if it were there now; the next moment may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    Clear,
    NameTaken,
    /// The quota does not hold it.
    Full,
    NoUser,
}

impl Db {
    /// Whether a file of `size` bytes may come, if its name matters under that name.
    pub(crate) async fn outlook(
        &self,
        owner: UserId,
        folder: Option<NodeId>,
        name: Option<&Name>,
        size: u64,
        now: UnixMs,
    ) -> Result<Outlook, DbError> {
        let (folder, name) = (folder.map_or(0, |id| id.0), name.map(Name::as_str));
        let since = now.0.saturating_sub(STALE_MS);
        let row: Option<(bool, bool)> =
            self.first(OUTLOOK, (folder, name, size, since, owner.0)).await?;
        Ok(match row {
            None => Outlook::NoUser,
            Some((true, _)) => Outlook::NameTaken,
            Some((_, false)) => Outlook::Full,
            Some((false, true)) => Outlook::Clear,
        })
    }

    /// Waits for the transaction that is changing what the user has, if there is one.
    pub(crate) async fn wait_for(&self, owner: UserId) -> Result<(), DbError> {
        let _: Option<u64> = self.first(WAIT, (owner.0,)).await?;
        Ok(())
    }

    /// Makes a file visible, counts it and its space, all in one transaction. On anything but
    /// `Done` nothing has changed, and the reservation is still there.
    pub(crate) async fn publish(&self, new: &NewFile<'_>) -> Result<Published, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(publish_in(&mut tx, new)).await?;
                if !matches!(done, Published::Done(_)) {
                    within(async { Ok(tx.rollback().await?) }).await?;
                    return Ok(done);
                }
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }

    /// The file that a commit without an answer may have made, perhaps under a number.
    pub(crate) async fn published(&self, new: &NewFile<'_>) -> Result<Option<Node>, DbError> {
        let key = (
            new.owner.0,
            &new.hashes().sha256[..],
            new.size,
            new.at.0,
            new.name.as_str(),
            new.conflict == Conflict::Rename,
        );
        let row: Option<Row> = self.first(BY_CONTENT, key).await?;
        Ok(row.map(|row| Stored::from(row).node))
    }
}

async fn publish_in(
    tx: &mut Transaction<'static>,
    new: &NewFile<'_>,
) -> Result<Published, DbError> {
    let counted = tx.exec_iter(TAKE_SPACE, (new.size, new.owner.0)).await?.affected_rows();
    if counted == 0 {
        return Ok(Published::NoUser);
    }
    // What was reserved has room already.
    let reserved = matches!(new.bytes, Bytes::Arrived { blob: Some(_), .. });
    if !reserved && !blob::fits(tx, new.owner, new.at).await? {
        return Ok(Published::Full);
    }
    let Some(above) = live_folder(tx, new.owner, new.parent).await? else {
        return Ok(Published::NoFolder);
    };
    if DEPTH_MAX < above.len().saturating_add(new.folders.len()) {
        return Ok(Published::TooDeep);
    }
    let Some(parent) = descend(tx, new).await? else { return Ok(Published::NameTaken) };
    let attached = match new.bytes {
        Bytes::Arrived { blob, hashes, file_id, media_type } => {
            let (size, at) = (new.size, new.at);
            let arrived = Arrived { blob, size, hashes, file_id, media_type, at };
            Some(blob::attach(tx, &arrived).await?)
        }
        Bytes::Known { blob, .. } => blob::share_known(tx, blob).await?.map(|kind| (blob, kind)),
    };
    let Some((blob, media_type)) = attached else { return Ok(Published::Gone) };
    let file = FileRow { blob, size: new.size, media_type, category: new.category };
    let placed = enter(tx, new, parent, &file).await?;
    if let (Published::Done(node), Some((id, lease))) = (&placed, new.finishes)
        && !resumable::finish(tx, id, lease, node.id, new.at).await?
    {
        return Ok(Published::Gone);
    }
    Ok(placed)
}

/// The last of the folders that the file goes into; None if a file has the name of one.
async fn descend(
    tx: &mut Transaction<'static>,
    new: &NewFile<'_>,
) -> Result<Option<Option<NodeId>>, DbError> {
    let (owner, at) = (new.owner, new.at);
    let mut parent = new.parent;
    for name in new.folders {
        let row = NewRow { owner, parent, name, file: None, at };
        let id = match entry(tx, owner, parent, name).await? {
            Some(found) if found.kind == Kind::Folder => found.id,
            Some(_) => return Ok(None),
            None => match row.insert(tx).await {
                Ok(node) => node.id,
                // Made at the same moment by a request that adds no file.
                Err(DbError::Taken) => match entry(tx, owner, parent, name).await? {
                    Some(found) if found.kind == Kind::Folder => found.id,
                    _ => return Ok(None),
                },
                Err(error) => return Err(error),
            },
        };
        parent = Some(id);
    }
    Ok(Some(parent))
}

/// What has a name in a folder.
struct Entry {
    id: NodeId,
    kind: Kind,
    blob: Option<BlobId>,
    size: u64,
    category: u8,
}

async fn entry(
    tx: &mut Transaction<'static>,
    owner: UserId,
    parent: Option<NodeId>,
    name: &Name,
) -> Result<Option<Entry>, DbError> {
    let key = (owner.0, parent.map_or(0, |id| id.0), name.as_str());
    let row: Option<(u64, u8, Option<u64>, u64, u8)> = tx.exec_first(ENTRY, key).await?;
    Ok(row.map(|(id, kind, blob, size, category)| Entry {
        id: NodeId(id),
        kind: if kind == Kind::Folder as u8 { Kind::Folder } else { Kind::File },
        blob: blob.map(BlobId),
        size,
        category,
    }))
}

/// The row of the file, under its name or, as the conflict policy says, another.
async fn enter(
    tx: &mut Transaction<'static>,
    new: &NewFile<'_>,
    parent: Option<NodeId>,
    file: &FileRow,
) -> Result<Published, DbError> {
    let (owner, at) = (new.owner, new.at);
    if new.conflict == Conflict::Replace
        && let Some(old) = entry(tx, owner, parent, new.name).await?
    {
        return match (old.kind, old.blob) {
            (Kind::File, Some(blob)) => replace(tx, new, file, &old, blob).await,
            _ => Ok(Published::NameTaken),
        };
    }
    for number in 0..=RENAMES_MAX {
        let name = new.name.numbered(number);
        let row = NewRow { owner, parent, name: &name, file: Some(file), at };
        match row.insert(tx).await {
            Err(DbError::Taken) if new.conflict == Conflict::Rename => {}
            Err(DbError::Taken) => break,
            Err(error) => return Err(error),
            Ok(node) => {
                totals::add(tx, owner, &[(file.category as u8, 1, file.size)]).await?;
                return noted(tx, owner, "upload", node, new.address).await;
            }
        }
    }
    Ok(Published::NameTaken)
}

/// The node stays, with its id and its shares; what it holds is another content.
async fn replace(
    tx: &mut Transaction<'static>,
    new: &NewFile<'_>,
    file: &FileRow,
    old: &Entry,
    old_blob: BlobId,
) -> Result<Published, DbError> {
    let row = (file.blob.0, file.size, file.category as u8, new.at.0, old.id.0);
    tx.exec_drop(REPLACE, row).await?;
    tx.exec_drop(GIVE_SPACE, (old.size, new.owner.0)).await?;
    blob::release(tx, old_blob, new.at).await?;
    totals::take(tx, new.owner, &[(old.category, 1, old.size)]).await?;
    totals::add(tx, new.owner, &[(file.category as u8, 1, file.size)]).await?;
    let node = own(tx, new.owner, old.id, true).await?;
    let node = node.ok_or_else(|| DbError::Schema("a locked row went".to_owned()))?;
    noted(tx, new.owner, "replace", node, new.address).await
}
