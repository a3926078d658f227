//! The table `trash`: what was thrown away, until it is restored or purged.
//!
//! ```text
//!   live -- trash --> in the trash -- restore --> live
//!                         | purge, or its time is over
//!                         v
//!                   on its way out: a few hundred rows at a time, each batch whole
//! ```
//!
//! Throwing away and restoring change one row of `node`, whatever is below it. A purge takes a
//! folder apart from the top: its folders become entries of their own that are on their way out,
//! so that a purge that was cut off is simply gone on with.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;
use serde::Serialize;

use super::feeds::TimeCursor;
use super::node::{Row, Stored, columns};
use super::tree::{above, live_folder, lock_owner, may_enter, own, place, settle};
use super::{Actor, Db, DbError, Kind, Node, Refusal, commit, grams, retry, totals, within};
use crate::ids::{NodeId, UnixMs, UserId};
use crate::name::Name;

/// Entries that one step of a purge looks at, and files and folders that it removes.
const ROOTS_MAX: u64 = 200;
const BATCH: u64 = 500;
/// Bytes of the text that says where something was.
const ORIGIN_BYTES_MAX: usize = 1024;

const THROW: &str = "UPDATE node SET trashed_ms = ? WHERE id = ? AND owner = ?";
const ENTER: &str = "\
INSERT INTO trash (node, owner, hidden, trashed_ms, due_ms, origin, files, bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const IN_TRASH: &str =
    "SELECT node FROM trash WHERE node = ? AND owner = ? AND hidden = ? FOR UPDATE";
const LEAVE: &str = "DELETE FROM trash WHERE node = ?";
const CONDEMN: &str = "\
UPDATE trash SET hidden = 1, due_ms = 0 WHERE node = ? AND owner = ? AND hidden = 0";
const CONDEMN_ALL: &str =
    "UPDATE trash SET hidden = 1, due_ms = 0 WHERE owner = ? AND hidden = 0 LIMIT 10000";
const DUE_OWNERS: &str = "\
SELECT DISTINCT owner
FROM (SELECT owner FROM trash WHERE due_ms <= ? ORDER BY due_ms LIMIT 1000) due";
const DUE: &str = "\
SELECT t.node, n.kind FROM trash t STRAIGHT_JOIN node n ON n.id = t.node
WHERE t.owner = ? AND t.due_ms <= ? ORDER BY t.due_ms, t.node LIMIT ? FOR UPDATE";
const FREE_CHILDREN: &str =
    "UPDATE node SET parent = NULL WHERE parent = ? AND trashed_ms IS NOT NULL LIMIT ?";
const CHILDREN: &str = "\
SELECT id, kind FROM node FORCE INDEX (node_by_name)
WHERE owner = ? AND live_in = ? AND kind = ? LIMIT ? FOR UPDATE";
const SPLIT_OFF: &str = "UPDATE node SET parent = NULL, trashed_ms = ? WHERE id = ?";
// Statements over a JSON list of ids: one text for any number of them.
macro_rules! listed {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j STRAIGHT_JOIN ",
            $after
        )
    };
}
pub(super) use listed;

const DOOMED: &str =
    listed!("SELECT n.id, n.name, n.size, n.blob_id FROM", "node n ON n.id = j.id FOR UPDATE");
const LET_GO: &str = "\
UPDATE (SELECT n.blob_id, COUNT(*) AS nodes
    FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j
    STRAIGHT_JOIN node n ON n.id = j.id WHERE n.blob_id IS NOT NULL
    GROUP BY n.blob_id ORDER BY n.blob_id) u
STRAIGHT_JOIN `blob` b ON b.id = u.blob_id SET b.refcount = b.refcount - u.nodes";
const DELETE: &str = listed!("DELETE n FROM", "node n ON n.id = j.id");
const UNUSED_FILES: &str = listed!(
    "INSERT INTO garbage (file_id, tries, due_ms) SELECT b.file_id, 0, ? FROM",
    "`blob` b ON b.id = j.id WHERE b.refcount = 0 AND b.state = 'live'"
);
const UNUSED: &str =
    listed!("DELETE b FROM", "`blob` b ON b.id = j.id WHERE b.refcount = 0 AND b.state = 'live'");
const GIVE_SPACE: &str = "UPDATE user SET used_bytes = used_bytes - ? WHERE id = ?";
// Also for somebody who was disabled: what is due goes all the same.
const LOCK_ANYBODY: &str = "SELECT id FROM user WHERE id = ? FOR UPDATE";
const PAGE: &str = columns!(
    "FROM trash t STRAIGHT_JOIN node n ON n.id = t.node LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE t.owner = ? AND t.hidden = 0 AND (t.trashed_ms < ? OR t.trashed_ms = ? AND t.node < ?)
    ORDER BY t.trashed_ms DESC, t.node DESC LIMIT ?"
);
const PAGE_FACTS: &str = "\
SELECT node, trashed_ms, due_ms, origin, files, bytes FROM trash
WHERE owner = ? AND hidden = 0 AND (trashed_ms < ? OR trashed_ms = ? AND node < ?)
ORDER BY trashed_ms DESC, node DESC LIMIT ?";
const TRASH_BYTES: &str =
    "SELECT CAST(COALESCE(SUM(bytes), 0) AS UNSIGNED) FROM trash WHERE owner = ? AND hidden = 0";

/// Something in the trash; the shape of `Trashed` in the API.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trashed {
    pub(crate) node: Node,
    pub(crate) trashed_ms: UnixMs,
    /// When it is purged.
    pub(crate) purge_ms: UnixMs,
    /// The names of the folders it was in, with slashes; empty: the root.
    pub(crate) origin: String,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// Where something is restored to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Back {
    /// Where it was; the root folder if that is gone.
    Origin,
    /// None: the root folder.
    To(Option<NodeId>),
}

impl Db {
    /// Puts a node into the trash, where it stays until `due`.
    pub(crate) async fn throw_away(
        &self,
        who: Actor<'_>,
        node: NodeId,
        due: UnixMs,
    ) -> Result<Result<(), Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(throw_in(&mut tx, who, node, due)).await?;
                settle(tx, done).await
            })
        })
        .await
    }

    /// Takes a node out of the trash.
    pub(crate) async fn restore(
        &self,
        who: Actor<'_>,
        node: NodeId,
        back: Back,
        rename: bool,
    ) -> Result<Result<Node, Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(restore_in(&mut tx, who, node, back, rename)).await?;
                settle(tx, done).await
            })
        })
        .await
    }

    /// Gives a node in the trash to the purge: from now on nobody sees it.
    pub(crate) async fn condemn(
        &self,
        who: Actor<'_>,
        node: NodeId,
    ) -> Result<Result<(), Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(async {
                    let done = tx.exec_iter(CONDEMN, (node.0, who.user.0)).await?;
                    if done.affected_rows() == 0 {
                        return Ok(Err(Refusal::NotThere));
                    }
                    drop(done);
                    who.note(&mut tx, "purge", node, "").await.map(Ok)
                })
                .await?;
                settle(tx, done).await
            })
        })
        .await
    }

    /// The same for everything in the trash; how many entries that were.
    pub(crate) async fn condemn_all(&self, owner: UserId) -> Result<u64, DbError> {
        let mut all = 0u64;
        loop {
            match self.change(CONDEMN_ALL, (owner.0,)).await? {
                0 => return Ok(all),
                some => all = all.saturating_add(some),
            }
        }
    }

    /// Removes a batch of what is due for a user; false when nothing is left.
    pub(crate) async fn purge_step(&self, owner: UserId, now: UnixMs) -> Result<bool, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let more = within(purge_in(&mut tx, owner, now)).await?;
                commit(tx).await.map(|()| more)
            })
        })
        .await
    }

    /// Some users of whom something is due.
    pub(crate) async fn purge_owners(&self, now: UnixMs) -> Result<Vec<UserId>, DbError> {
        let rows: Vec<u64> = self.all(DUE_OWNERS, (now.0,)).await?;
        Ok(rows.into_iter().map(UserId).collect())
    }

    /// A page of the trash, the newest first.
    pub(crate) async fn trash(
        &self,
        owner: UserId,
        limit: u64,
        after: Option<TimeCursor>,
    ) -> Result<(Vec<Trashed>, Option<TimeCursor>), DbError> {
        let TimeCursor { at_ms, id } =
            after.unwrap_or(TimeCursor { at_ms: i64::MAX as u64, id: 0 });
        let key = (owner.0, at_ms, at_ms, id, limit.saturating_add(1));
        let rows: Vec<Row> = self.all(PAGE, key).await?;
        type Facts = (u64, u64, u64, String, u64, u64);
        let facts: Vec<Facts> = self.all(PAGE_FACTS, key).await?;
        let mut entries = Vec::new();
        for row in rows {
            let node = Stored::from(row).node;
            let found = facts.iter().find(|(id, ..)| *id == node.id.0);
            // Restored between the two statements: no longer here.
            let Some((_, at, due, origin, files, bytes)) = found else { continue };
            entries.push(Trashed {
                node,
                trashed_ms: UnixMs(*at),
                purge_ms: UnixMs(*due),
                origin: origin.clone(),
                bytes: *bytes,
                files: *files,
            });
        }
        let more = limit < entries.len() as u64;
        entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let last = entries.last().filter(|_| more);
        let next = last.map(|e| TimeCursor { at_ms: e.trashed_ms.0, id: e.node.id.0 });
        Ok((entries, next))
    }

    /// What the trash holds.
    pub(crate) async fn trash_bytes(&self, owner: UserId) -> Result<u64, DbError> {
        let row: Option<u64> = self.first(TRASH_BYTES, (owner.0,)).await?;
        Ok(row.unwrap_or_default())
    }
}

async fn throw_in(
    tx: &mut Transaction<'static>,
    who: Actor<'_>,
    id: NodeId,
    due: UnixMs,
) -> Result<Result<(), Refusal>, DbError> {
    if !lock_owner(tx, who.user).await? {
        return Ok(Err(Refusal::NoUser));
    }
    let Some((path, _)) = above(tx, who.user, id).await? else {
        return Ok(Err(Refusal::NotThere));
    };
    let Some(node) = own(tx, who.user, id, true).await? else {
        return Ok(Err(Refusal::NotThere));
    };
    let totals = totals::of(tx, who.user, &node).await?;
    totals::take(tx, who.user, &totals).await?;
    tx.exec_drop(THROW, (who.at.0, id.0, who.user.0)).await?;
    let files: u64 = totals.iter().map(|(_, files, _)| files).sum();
    let bytes: u64 = totals.iter().map(|(.., bytes)| bytes).sum();
    let folders = path.split_last().map(|(_, above)| above).unwrap_or_default();
    let mut origin = String::new();
    for crumb in folders {
        let slash = if origin.is_empty() { "" } else { "/" };
        if origin.len() + slash.len() + crumb.name.len() <= ORIGIN_BYTES_MAX {
            origin.push_str(slash);
            origin.push_str(&crumb.name);
        }
    }
    let row = (id.0, who.user.0, false, who.at.0, due.0, origin, files, bytes);
    tx.exec_drop(ENTER, row).await?;
    who.note(tx, "trash", id, &node.name).await.map(Ok)
}

/// A tree that nobody sees yet, or any more, with everything that is put into it.
pub(super) async fn hide(
    tx: &mut Transaction<'static>,
    owner: UserId,
    node: NodeId,
    at: UnixMs,
    due: UnixMs,
) -> Result<(), DbError> {
    let row = (node.0, owner.0, true, at.0, due.0, "", 0u64, 0u64);
    Ok(tx.exec_drop(ENTER, row).await?)
}

async fn restore_in(
    tx: &mut Transaction<'static>,
    who: Actor<'_>,
    id: NodeId,
    back: Back,
    rename: bool,
) -> Result<Result<Node, Refusal>, DbError> {
    if !lock_owner(tx, who.user).await? {
        return Ok(Err(Refusal::NoUser));
    }
    let entry: Option<u64> = tx.exec_first(IN_TRASH, (id.0, who.user.0, false)).await?;
    let node = own(tx, who.user, id, false).await?.filter(|_| entry.is_some());
    let Some(node) = node else { return Ok(Err(Refusal::NotThere)) };
    let parent = match back {
        Back::To(parent) => parent,
        Back::Origin => match live_folder(tx, who.user, node.parent).await? {
            Some(_) => node.parent,
            None => None,
        },
    };
    let done = reveal(tx, who.user, &node, parent, &Name::stored(&node.name), rename).await?;
    if let Ok(node) = &done {
        who.note(tx, "restore", node.id, &node.name).await?;
    }
    Ok(done)
}

/// Makes a node of the trash, or one that was hidden, live.
pub(super) async fn reveal(
    tx: &mut Transaction<'static>,
    owner: UserId,
    node: &Node,
    parent: Option<NodeId>,
    name: &Name,
    rename: bool,
) -> Result<Result<Node, Refusal>, DbError> {
    if let Err(refusal) = may_enter(tx, owner, node, parent).await? {
        return Ok(Err(refusal));
    }
    let placed = place(tx, owner, node, parent, name, rename).await?;
    if let Ok(node) = &placed {
        tx.exec_drop(LEAVE, (node.id.0,)).await?;
        let totals = totals::of(tx, owner, node).await?;
        totals::add(tx, owner, &totals).await?;
    }
    Ok(placed)
}

async fn purge_in(
    tx: &mut Transaction<'static>,
    owner: UserId,
    now: UnixMs,
) -> Result<bool, DbError> {
    let held: Option<u64> = tx.exec_first(LOCK_ANYBODY, (owner.0,)).await?;
    if held.is_none() {
        return Ok(false);
    }
    let due: Vec<(u64, u8)> = tx.exec(DUE, (owner.0, now.0, ROOTS_MAX)).await?;
    let is_folder = |kind: u8| kind == Kind::Folder as u8;
    let mut doomed: Vec<u64> = Vec::new();
    let mut folders: Vec<u64> = Vec::new();
    let mut emptied: Vec<u64> = Vec::new();
    for (id, kind) in &due {
        if is_folder(*kind) { folders.push(*id) } else { doomed.push(*id) }
    }
    // Folders that are empty, or become so within this batch, go with it.
    for folder in folders {
        let room = BATCH.saturating_sub(doomed.len() as u64);
        if room == 0 {
            break;
        }
        // What was thrown away by itself before stays in the trash, without its folder.
        let freed = tx.exec_iter(FREE_CHILDREN, (folder, BATCH)).await?.affected_rows();
        let key = |kind: Kind| (owner.0, folder, kind as u8, room);
        let files: Vec<(u64, u8)> = tx.exec(CHILDREN, key(Kind::File)).await?;
        let inner: Vec<(u64, u8)> = tx.exec(CHILDREN, key(Kind::Folder)).await?;
        for (id, _) in &inner {
            tx.exec_drop(SPLIT_OFF, (now.0, id)).await?;
            hide(tx, owner, NodeId(*id), now, UnixMs(0)).await?;
        }
        let whole = |len: usize| (len as u64) < room;
        if freed < BATCH && whole(files.len()) && whole(inner.len()) {
            emptied.push(folder);
        }
        doomed.extend(files.into_iter().map(|(id, _)| id));
    }
    // A folder cannot go before what is in it, and the order within one statement is not ours.
    remove(tx, owner, &doomed, now).await?;
    remove(tx, owner, &emptied, now).await?;
    Ok(!due.is_empty())
}

/// Removes nodes that nothing is in, with all that hangs on them. Locks nodes, then contents.
async fn remove(
    tx: &mut Transaction<'static>,
    owner: UserId,
    ids: &[u64],
    now: UnixMs,
) -> Result<(), DbError> {
    if ids.is_empty() {
        return Ok(());
    }
    let list = serde_json::to_string(ids).unwrap_or_default();
    let rows: Vec<(u64, String, u64, Option<u64>)> = tx.exec(DOOMED, (&list,)).await?;
    tx.exec_drop(LET_GO, (&list,)).await?;
    let names: Vec<(NodeId, &str)> =
        rows.iter().map(|(id, name, ..)| (NodeId(*id), name.as_str())).collect();
    grams::remove(tx, owner, &names).await?;
    tx.exec_drop(DELETE, (&list,)).await?;
    let mut blobs: Vec<u64> = rows.iter().filter_map(|(.., blob)| *blob).collect();
    blobs.sort_unstable();
    blobs.dedup();
    let blobs = serde_json::to_string(&blobs).unwrap_or_default();
    tx.exec_drop(UNUSED_FILES, (now.0, &blobs)).await?;
    tx.exec_drop(UNUSED, (&blobs,)).await?;
    let bytes: u64 = rows.iter().map(|(_, _, size, _)| size).sum();
    tx.exec_drop(GIVE_SPACE, (bytes, owner.0)).await?;
    Ok(())
}
