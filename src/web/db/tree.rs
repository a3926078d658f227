//! Folders in folders: what is above a node, what is below it, and moving it about.
//!
//! Everything that changes a user's tree holds the user's row, so two changes of one tree never
//! meet: a cycle cannot be made by a race, and what was found to be live stays so until the
//! commit. A node is live if neither it nor anything above it is in the trash.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;
use serde::Serialize;

use super::node::{NewRow, Row, Stored, columns};
use super::place::RENAMES_MAX;
use super::{Audit, Db, DbError, Kind, Node, commit, grams, retry, within};
use crate::ids::{NodeId, UnixMs, UserId};
use crate::name::Name;

/// Folders in folders. Walks up and down a tree take as many steps, each a look-up by key.
pub(crate) const DEPTH_MAX: usize = 64;

const LOCK_OWNER: &str = "SELECT id FROM user WHERE id = ? AND disabled_ms IS NULL FOR UPDATE";
const ABOVE: &str = "\
WITH RECURSIVE up (id, parent, name, kind, trashed, hops) AS (
    SELECT id, parent, name, kind, trashed_ms IS NOT NULL, 0 FROM node WHERE id = ? AND owner = ?
    UNION ALL
    SELECT n.id, n.parent, n.name, n.kind, n.trashed_ms IS NOT NULL, up.hops + 1
    FROM up JOIN node n ON n.id = up.parent WHERE up.hops < 100)
SELECT id, name, kind, trashed FROM up ORDER BY hops DESC";
const HEIGHT: &str = "\
WITH RECURSIVE down (id, hops) AS (
    SELECT CAST(? AS UNSIGNED), 1
    UNION ALL
    SELECT n.id, d.hops + 1 FROM down d JOIN node n FORCE INDEX (node_by_name)
        ON n.owner = ? AND n.live_in = d.id AND n.kind = 0)
SELECT MAX(hops) FROM down";
const OWN: &str = columns!(
    "FROM node n LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE n.id = ? AND n.owner = ? AND (n.trashed_ms IS NULL) = ?"
);
const PLACE: &str =
    "UPDATE node SET parent = ?, name = ?, trashed_ms = NULL WHERE id = ? AND owner = ?";
const SIZE: &str = "\
WITH RECURSIVE down (id) AS (
    SELECT CAST(? AS UNSIGNED)
    UNION ALL
    SELECT n.id FROM down d JOIN node n FORCE INDEX (node_by_name)
        ON n.owner = ? AND n.live_in = d.id AND n.kind = 0),
some (id) AS (SELECT id FROM down LIMIT 100001)
SELECT (SELECT COUNT(*) FROM some), COUNT(n.id), CAST(COALESCE(SUM(n.size), 0) AS UNSIGNED)
FROM some s LEFT JOIN node n FORCE INDEX (node_by_size)
    ON n.owner = ? AND n.live_in = s.id AND n.kind = 1";

/// Folders that [`Db::folder_size`] looks into.
const SIZE_FOLDERS_MAX: u64 = 100_000;

/// Why a change of a tree was not made; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not there, not this user's, or in the trash.
    NotThere,
    NameTaken,
    /// A folder cannot be put into itself or what is in it.
    WouldCycle,
    /// More than [`DEPTH_MAX`] folders in folders.
    TooDeep,
    /// The quota would be exceeded.
    Full,
    /// More folders and files than one request may copy.
    TooMany,
    /// The account was disabled meanwhile.
    NoUser,
}

/// A folder on the way to a node; the shape of `Crumb` in the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Crumb {
    pub(crate) id: NodeId,
    pub(crate) name: String,
}

/// What a folder holds, with everything below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FolderSize {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) folders: u64,
    /// False: there is more than was counted.
    pub(crate) complete: bool,
}

/// A deed and who did it, for the audit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor<'a> {
    pub(crate) user: UserId,
    pub(crate) at: UnixMs,
    pub(crate) address: &'a str,
}

impl Actor<'_> {
    pub(super) async fn note(
        &self,
        tx: &mut Transaction<'static>,
        action: &'static str,
        node: NodeId,
        detail: &str,
    ) -> Result<(), DbError> {
        let Actor { user, at, address } = *self;
        let deed = Audit { at, actor: Some(user), action, node: Some(node), address, detail };
        deed.insert(tx).await
    }
}

/// A new name, a new place, or both.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) node: NodeId,
    pub(crate) name: Option<Name>,
    /// Some(None): the root folder.
    pub(crate) parent: Option<Option<NodeId>>,
    /// Take another name if this one is taken.
    pub(crate) rename: bool,
}

impl Db {
    /// The folders above a node and the node itself, the topmost first; None if it is not live.
    pub(crate) async fn path(
        &self,
        owner: UserId,
        id: NodeId,
    ) -> Result<Option<Vec<Crumb>>, DbError> {
        let rows: Vec<AboveRow> = self.all(ABOVE, (id.0, owner.0)).await?;
        Ok(live_path(rows).map(|(path, _)| path))
    }

    /// What is in a folder and below.
    pub(crate) async fn folder_size(
        &self,
        owner: UserId,
        id: Option<NodeId>,
    ) -> Result<FolderSize, DbError> {
        let key = (id.map_or(0, |id| id.0), owner.0, owner.0);
        let row: Option<(u64, u64, u64)> = self.first(SIZE, key).await?;
        let (folders, files, bytes) = row.unwrap_or_default();
        let complete = folders <= SIZE_FOLDERS_MAX;
        Ok(FolderSize { bytes, files, folders: folders.saturating_sub(1), complete })
    }

    /// Makes a folder.
    pub(crate) async fn make_folder(
        &self,
        who: Actor<'_>,
        parent: Option<NodeId>,
        name: &Name,
    ) -> Result<Result<Node, Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(make_in(&mut tx, who, parent, name)).await?;
                settle(tx, done).await
            })
        })
        .await
    }

    /// Renames or moves a node.
    pub(crate) async fn change_node(
        &self,
        who: Actor<'_>,
        change: &Change,
    ) -> Result<Result<Node, Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(change_in(&mut tx, who, change)).await?;
                settle(tx, done).await
            })
        })
        .await
    }
}

/// Commits what was done, takes back what was refused.
pub(super) async fn settle<T>(
    tx: Transaction<'static>,
    done: Result<T, Refusal>,
) -> Result<Result<T, Refusal>, DbError> {
    if done.is_ok() {
        commit(tx).await?;
    } else {
        within(async { Ok(tx.rollback().await?) }).await?;
    }
    Ok(done)
}

async fn make_in(
    tx: &mut Transaction<'static>,
    who: Actor<'_>,
    parent: Option<NodeId>,
    name: &Name,
) -> Result<Result<Node, Refusal>, DbError> {
    if !lock_owner(tx, who.user).await? {
        return Ok(Err(Refusal::NoUser));
    }
    let Some(path) = live_folder(tx, who.user, parent).await? else {
        return Ok(Err(Refusal::NotThere));
    };
    if DEPTH_MAX <= path.len() {
        return Ok(Err(Refusal::TooDeep));
    }
    let row = NewRow { owner: who.user, parent, name, file: None, at: who.at };
    match row.insert(tx).await {
        Ok(node) => {
            who.note(tx, "mkdir", node.id, &node.name).await?;
            Ok(Ok(node))
        }
        Err(DbError::Taken) => Ok(Err(Refusal::NameTaken)),
        Err(error) => Err(error),
    }
}

async fn change_in(
    tx: &mut Transaction<'static>,
    who: Actor<'_>,
    change: &Change,
) -> Result<Result<Node, Refusal>, DbError> {
    if !lock_owner(tx, who.user).await? {
        return Ok(Err(Refusal::NoUser));
    }
    let Some(node) = own(tx, who.user, change.node, true).await? else {
        return Ok(Err(Refusal::NotThere));
    };
    if above(tx, who.user, node.id).await?.is_none() {
        return Ok(Err(Refusal::NotThere));
    }
    let parent = change.parent.unwrap_or(node.parent);
    if parent != node.parent
        && let Err(refusal) = may_enter(tx, who.user, &node, parent).await?
    {
        return Ok(Err(refusal));
    }
    let name = match &change.name {
        Some(name) => name.clone(),
        None => Name::stored(&node.name),
    };
    let action = if change.parent.is_some() { "move" } else { "rename" };
    match place(tx, who.user, &node, parent, &name, change.rename).await? {
        Ok(placed) => {
            who.note(tx, action, placed.id, &placed.name).await?;
            Ok(Ok(placed))
        }
        refused => Ok(refused),
    }
}

/// Whether `node` may be put into the folder `parent`.
pub(super) async fn may_enter(
    tx: &mut Transaction<'static>,
    owner: UserId,
    node: &Node,
    parent: Option<NodeId>,
) -> Result<Result<(), Refusal>, DbError> {
    let Some(path) = live_folder(tx, owner, parent).await? else {
        return Ok(Err(Refusal::NotThere));
    };
    if path.iter().any(|crumb| crumb.id == node.id) {
        return Ok(Err(Refusal::WouldCycle));
    }
    let height = if node.kind == Kind::Folder { height(tx, owner, node.id).await? } else { 0 };
    let fits = path.len().saturating_add(height) <= DEPTH_MAX;
    Ok(if fits { Ok(()) } else { Err(Refusal::TooDeep) })
}

/// Puts a node where it goes under a name that is free, out of the trash if it was there.
pub(super) async fn place(
    tx: &mut Transaction<'static>,
    owner: UserId,
    node: &Node,
    parent: Option<NodeId>,
    wanted: &Name,
    rename: bool,
) -> Result<Result<Node, Refusal>, DbError> {
    for number in 0..=RENAMES_MAX {
        let name = wanted.numbered(number);
        let row = (parent.map(|id| id.0), name.as_str(), node.id.0, owner.0);
        match tx.exec_drop(PLACE, row).await.map_err(DbError::from) {
            Err(DbError::Taken) if rename => {}
            Err(DbError::Taken) => break,
            Err(error) => return Err(error),
            Ok(()) => {
                if name.as_str() != node.name {
                    grams::remove(tx, owner, &[(node.id, &node.name)]).await?;
                    grams::insert(tx, owner, &[(node.id, name.as_str())]).await?;
                }
                let name = name.as_str().to_owned();
                return Ok(Ok(Node { parent, name, ..node.clone() }));
            }
        }
    }
    Ok(Err(Refusal::NameTaken))
}

/// Holds the user's row until the commit; false if the account is disabled or gone.
pub(super) async fn lock_owner(
    tx: &mut Transaction<'static>,
    owner: UserId,
) -> Result<bool, DbError> {
    let row: Option<u64> = tx.exec_first(LOCK_OWNER, (owner.0,)).await?;
    Ok(row.is_some())
}

type AboveRow = (u64, String, u8, bool);

/// The path and what kind its end is, unless something on it is in the trash.
fn live_path(rows: Vec<AboveRow>) -> Option<(Vec<Crumb>, Kind)> {
    let kind = if rows.last()?.2 == Kind::Folder as u8 { Kind::Folder } else { Kind::File };
    let live = rows.iter().all(|(.., trashed)| !trashed);
    let crumb = |(id, name, ..): AboveRow| Crumb { id: NodeId(id), name };
    live.then(|| (rows.into_iter().map(crumb).collect(), kind))
}

/// The way to a live node, itself included.
pub(super) async fn above(
    on: &mut impl Queryable,
    owner: UserId,
    id: NodeId,
) -> Result<Option<(Vec<Crumb>, Kind)>, DbError> {
    let rows: Vec<AboveRow> = on.exec(ABOVE, (id.0, owner.0)).await?;
    Ok(live_path(rows))
}

/// The way to a live folder of this user, empty for the root; None if it is not one.
pub(super) async fn live_folder(
    on: &mut impl Queryable,
    owner: UserId,
    id: Option<NodeId>,
) -> Result<Option<Vec<Crumb>>, DbError> {
    let Some(id) = id else { return Ok(Some(Vec::new())) };
    let found = above(on, owner, id).await?;
    Ok(found.filter(|(_, kind)| *kind == Kind::Folder).map(|(path, _)| path))
}

async fn height(
    tx: &mut Transaction<'static>,
    owner: UserId,
    id: NodeId,
) -> Result<usize, DbError> {
    let row: Option<u64> = tx.exec_first(HEIGHT, (id.0, owner.0)).await?.flatten();
    Ok(usize::try_from(row.unwrap_or(1)).unwrap_or(usize::MAX))
}

/// A node of this user that is, or is not, itself in the trash.
pub(super) async fn own(
    on: &mut impl Queryable,
    owner: UserId,
    id: NodeId,
    live: bool,
) -> Result<Option<Node>, DbError> {
    let row: Option<Row> = on.exec_first(OWN, (id.0, owner.0, live)).await?;
    Ok(row.map(|row| Stored::from(row).node))
}
