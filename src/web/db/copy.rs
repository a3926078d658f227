//! Copies of files and whole folders that share the contents: no byte is moved.
//!
//! A copy is made where nobody sees it, a few hundred files to a transaction, and shown by the
//! last one. A copy that is refused or cut off stays hidden until the purge has removed it. The
//! source may be another user's: saving from a share is the same thing.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;

use super::node::{NAME_TAKEN, Row, Stored, columns};
use super::trash::{hide, listed, reveal};
use super::tree::{above, lock_owner, settle};
use super::{Actor, Db, DbError, Kind, Node, Refusal, blob, grams, retry, within};
use crate::ids::{NodeId, UnixMs, UserId};
use crate::name::Name;

/// Rows of one transaction.
const BATCH: u64 = 500;
/// Steps of the purge that remove a copy that was refused.
const STEPS_MAX: usize = 20;
/// A copy that was not finished after so long was cut off.
const STALE_MS: u64 = 6 * 3600 * 1000;

const SOURCE: &str = columns!(
    "FROM node n LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE n.id = ? AND n.owner = ? AND n.trashed_ms IS NULL LOCK IN SHARE MODE"
);
// The purge of the source waits until the contents have been counted.
const CHILDREN: &str = "\
SELECT id, kind, size, name FROM node FORCE INDEX (node_name)
WHERE owner = ? AND live_in = ? AND ? < name ORDER BY name LIMIT ? LOCK IN SHARE MODE";
const TAKE_SPACE: &str = "UPDATE user SET used_bytes = used_bytes + ? WHERE id = ?";
const COUNT: &str = "\
UPDATE (SELECT n.blob_id, COUNT(*) AS nodes
    FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j
    STRAIGHT_JOIN node n ON n.id = j.id WHERE n.blob_id IS NOT NULL
    GROUP BY n.blob_id ORDER BY n.blob_id) u
STRAIGHT_JOIN `blob` b ON b.id = u.blob_id SET b.refcount = b.refcount + u.nodes";
const INSERT: &str = listed!(
    "INSERT INTO node (owner, parent, name, kind, blob_id, size, category, created_ms,
        modified_ms)
    SELECT ?, ?, n.name, n.kind, n.blob_id, n.size, n.category, ?, n.modified_ms FROM",
    "node n ON n.id = j.id"
);
const MADE: &str = "\
SELECT id, name, kind FROM node FORCE INDEX (node_name) WHERE owner = ? AND live_in = ?
    AND name IN (SELECT n.name FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j
    STRAIGHT_JOIN node n ON n.id = j.id)";
const PAIRS: &str = "\
SELECT o.id, m.id FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j
    STRAIGHT_JOIN node o ON o.id = j.id
    STRAIGHT_JOIN node m ON m.owner = ? AND m.live_in = ? AND m.name = o.name
WHERE o.kind = 0";
const TOP: &str = "\
INSERT INTO node (owner, parent, name, kind, blob_id, size, category, created_ms, modified_ms,
    trashed_ms)
SELECT ?, NULL, name, kind, blob_id, size, category, ?, modified_ms, ? FROM node WHERE id = ?";
const RENEW: &str = "UPDATE trash SET due_ms = ? WHERE node = ?";
const ABANDON: &str = "UPDATE trash SET due_ms = 0 WHERE node = ? AND hidden = 1";

/// What is copied, and where to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) node: NodeId,
    /// Whose it is; the copy becomes the actor's.
    pub(crate) from: UserId,
    /// None: the root folder.
    pub(crate) parent: Option<NodeId>,
    pub(crate) rename: bool,
    /// Most files and folders.
    pub(crate) nodes_max: u64,
}

impl Db {
    /// Copies a live node with all that is in it.
    pub(crate) async fn copy(
        &self,
        who: Actor<'_>,
        copy: Copy,
    ) -> Result<Result<Node, Refusal>, DbError> {
        let top = retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(begin_in(&mut tx, who, copy)).await?;
                settle(tx, done).await
            })
        })
        .await?;
        let (top, source) = match top {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let done = match self.fill(who, copy, &source, top.id).await {
            Ok(Ok(())) => self.finish(who, copy, &top, &source).await,
            Ok(Err(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error),
        };
        if !matches!(done, Ok(Ok(_))) {
            // If this fails too, the copy goes when it is stale.
            if let Err(error) = self.give_up(who, top.id).await {
                log::warn!("give up a copy: {error}");
            }
        }
        done
    }

    /// Removes a copy that will not be shown; what is left after some steps the purge takes.
    async fn give_up(&self, who: Actor<'_>, top: NodeId) -> Result<(), DbError> {
        self.change(ABANDON, (top.0,)).await?;
        for _ in 0..STEPS_MAX {
            if !self.purge_step(who.user, who.at).await? {
                break;
            }
        }
        Ok(())
    }

    /// Copies what is in the source folder, folder by folder.
    async fn fill(
        &self,
        who: Actor<'_>,
        copy: Copy,
        source: &Node,
        top: NodeId,
    ) -> Result<Result<(), Refusal>, DbError> {
        let mut folders = Vec::new();
        if source.kind == Kind::Folder {
            folders.push((source.id, top));
        }
        let mut room = copy.nodes_max.saturating_sub(1);
        while let Some((from, to)) = folders.pop() {
            let mut after = String::new();
            loop {
                let batch = Batch { from, to, after: after.clone(), top };
                let done = self.copy_batch(who, copy, &batch).await?;
                let (count, last, inner) = match done {
                    Ok(done) => done,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                if room < count {
                    return Ok(Err(Refusal::TooMany));
                }
                room = room.saturating_sub(count);
                folders.extend(inner);
                match last {
                    Some(last) if count == BATCH => after = last,
                    _ => break,
                }
            }
        }
        Ok(Ok(()))
    }

    async fn copy_batch(
        &self,
        who: Actor<'_>,
        copy: Copy,
        batch: &Batch,
    ) -> Result<Result<Copied, Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(batch_in(&mut tx, who, copy, batch)).await?;
                settle(tx, done).await
            })
        })
        .await
    }

    async fn finish(
        &self,
        who: Actor<'_>,
        copy: Copy,
        top: &Node,
        source: &Node,
    ) -> Result<Result<Node, Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(async {
                    if !lock_owner(&mut tx, who.user).await? {
                        return Ok(Err(Refusal::NoUser));
                    }
                    let name = Name::stored(&source.name);
                    let (owner, parent) = (who.user, copy.parent);
                    let done = reveal(&mut tx, owner, top, parent, &name, copy.rename).await?;
                    if let Ok(node) = &done {
                        who.note(&mut tx, "copy", node.id, &node.name).await?;
                    }
                    Ok(done)
                })
                .await?;
                settle(tx, done).await
            })
        })
        .await
    }
}

/// Where a copy goes on.
struct Batch {
    from: NodeId,
    to: NodeId,
    /// The last name that was copied.
    after: String,
    top: NodeId,
}

/// How many were copied, the last of them, and the folders among them with their copies.
type Copied = (u64, Option<String>, Vec<(NodeId, NodeId)>);

/// Makes the hidden top of a copy: the copy and its source.
async fn begin_in(
    tx: &mut Transaction<'static>,
    who: Actor<'_>,
    copy: Copy,
) -> Result<Result<(Node, Node), Refusal>, DbError> {
    if !lock_owner(tx, who.user).await? {
        return Ok(Err(Refusal::NoUser));
    }
    // Into itself: the copy would hold a copy of itself. The rest is checked when it is shown.
    if let Some(parent) = copy.parent.filter(|_| copy.from == who.user) {
        let Some((path, _)) = above(tx, who.user, parent).await? else {
            return Ok(Err(Refusal::NotThere));
        };
        if path.iter().any(|crumb| crumb.id == copy.node) {
            return Ok(Err(Refusal::WouldCycle));
        }
    }
    if above(tx, copy.from, copy.node).await?.is_none() {
        return Ok(Err(Refusal::NotThere));
    }
    let row: Option<Row> = tx.exec_first(SOURCE, (copy.node.0, copy.from.0)).await?;
    let Some(source) = row.map(|row| Stored::from(row).node) else {
        return Ok(Err(Refusal::NotThere));
    };
    if !copy.rename {
        // Only to spare the work: what decides is the unique key.
        let key = (who.user.0, copy.parent.map_or(0, |id| id.0), source.name.as_str());
        let taken: Option<u64> = tx.exec_first(NAME_TAKEN, key).await?;
        if taken.is_some() {
            return Ok(Err(Refusal::NameTaken));
        }
    }
    if source.kind == Kind::File && !take_space(tx, who, source.size).await? {
        return Ok(Err(Refusal::Full));
    }
    tx.exec_drop(COUNT, (format!("[{}]", source.id),)).await?;
    tx.exec_drop(TOP, (who.user.0, who.at.0, who.at.0, source.id.0)).await?;
    let id = NodeId(tx.last_insert_id().unwrap_or_default());
    hide(tx, who.user, id, who.at, UnixMs(who.at.0.saturating_add(STALE_MS))).await?;
    grams::insert(tx, who.user, &[(id, &source.name)]).await?;
    let fresh = Node { created_ms: who.at, downloads: 0, favourite: false, ..source.clone() };
    Ok(Ok((Node { id, parent: None, ..fresh }, source)))
}

async fn batch_in(
    tx: &mut Transaction<'static>,
    who: Actor<'_>,
    copy: Copy,
    batch: &Batch,
) -> Result<Result<Copied, Refusal>, DbError> {
    if !lock_owner(tx, who.user).await? {
        return Ok(Err(Refusal::NoUser));
    }
    let key = (copy.from.0, batch.from.0, &batch.after, BATCH);
    let rows: Vec<(u64, u8, u64, String)> = tx.exec(CHILDREN, key).await?;
    let Some(last) = rows.last().map(|(.., name)| name.clone()) else {
        return Ok(Ok((0, None, Vec::new())));
    };
    let files = rows.iter().filter(|(_, kind, ..)| *kind == Kind::File as u8);
    let bytes: u64 = files.map(|(_, _, size, _)| size).sum();
    if !take_space(tx, who, bytes).await? {
        return Ok(Err(Refusal::Full));
    }
    let ids: Vec<u64> = rows.iter().map(|(id, ..)| *id).collect();
    let list = serde_json::to_string(&ids).unwrap_or_default();
    tx.exec_drop(COUNT, (&list,)).await?;
    tx.exec_drop(INSERT, (who.user.0, batch.to.0, who.at.0, &list)).await?;
    let made: Vec<(u64, String, u8)> = tx.exec(MADE, (who.user.0, batch.to.0, &list)).await?;
    let names: Vec<(NodeId, &str)> =
        made.iter().map(|(id, name, _)| (NodeId(*id), name.as_str())).collect();
    grams::insert(tx, who.user, &names).await?;
    let pairs: Vec<(u64, u64)> = tx.exec(PAIRS, (&list, who.user.0, batch.to.0)).await?;
    let inner = pairs.into_iter().map(|(old, new)| (NodeId(old), NodeId(new))).collect();
    let due = who.at.0.saturating_add(STALE_MS);
    tx.exec_drop(RENEW, (due, batch.top.0)).await?;
    Ok(Ok((rows.len() as u64, Some(last), inner)))
}

/// Counts `bytes` as used, if the quota allows; uploads under way have their space already.
async fn take_space(
    tx: &mut Transaction<'static>,
    who: Actor<'_>,
    bytes: u64,
) -> Result<bool, DbError> {
    if !blob::has_room(tx, who.user, bytes, who.at).await? {
        return Ok(false);
    }
    tx.exec_drop(TAKE_SPACE, (bytes, who.user.0)).await?;
    Ok(true)
}
