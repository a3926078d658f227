//! Small files of one user that go into one folder, made visible by one transaction: a statement
//! for each table instead of one for each file.
//!
//! What stands here expects that all goes well. If it does not, because a name is taken, the quota
//! does not hold them all, or somebody stored the same content at this moment, nothing changes,
//! and each goes its own way by `place`, which says what is wrong with which.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Transaction, Value};

use super::blob::{STALE_MS, room};
use super::node::{Kind, Node};
use super::place::{Bytes, NewFile, TAKE_SPACE};
use super::tree::{DEPTH_MAX, live_folder};
use super::{Audit, Db, DbError, Hashes};
use super::{audit, blob, commit, garbage, grams, retry, totals, within};
use crate::ids::{BlobId, NodeId, UserId};

/// Files of one transaction: what it locks, others wait for.
pub(crate) const TOGETHER_MAX: usize = 32;

const NODE_COLUMNS: &str =
    "owner, parent, name, kind, blob_id, size, category, created_ms, modified_ms";
const BLOB_COLUMNS: &str =
    "sha256, md5, size, file_id, media_type, refcount, state, touched_ms, created_ms";

/// Whether what is used and reserved fits, and how far apart the numbers of rows are that one
/// statement inserts: more than 1 where several servers give numbers out.
const FITS_AND_STEP: &str =
    concat!("SELECT ", room!(), ", @@auto_increment_increment FROM user u WHERE u.id = ?");

/// `mark` so many times, with commas between.
pub(super) fn marks(mark: &str, count: usize) -> String {
    vec![mark; count].join(", ")
}

impl Db {
    /// Makes all of them visible, in their order, or changes nothing: None. They are files of one
    /// user for one folder, without a reservation, and refuse a name that is taken.
    pub(crate) async fn publish_together(
        &self,
        files: &[NewFile<'_>],
    ) -> Result<Option<Vec<Node>>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let nodes = match within(publish_in(&mut tx, files)).await {
                    Ok(nodes) => nodes,
                    Err(DbError::Taken) => None,
                    Err(error) => return Err(error),
                };
                if nodes.is_none() {
                    within(async { Ok(tx.rollback().await?) }).await?;
                    return Ok(None);
                }
                commit(tx).await.map(|()| nodes)
            })
        })
        .await
    }
}

async fn publish_in(
    tx: &mut Transaction<'static>,
    files: &[NewFile<'_>],
) -> Result<Option<Vec<Node>>, DbError> {
    let Some(first) = files.first() else { return Ok(Some(Vec::new())) };
    let (owner, parent) = (first.owner, first.parent);
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    if tx.exec_iter(TAKE_SPACE, (bytes, owner.0)).await?.affected_rows() == 0 {
        return Ok(None);
    }
    let since = first.at.0.saturating_sub(STALE_MS);
    let row: Option<(bool, usize)> = tx.exec_first(FITS_AND_STEP, (0, since, owner.0)).await?;
    let Some((true, step @ 1..)) = row else { return Ok(None) };
    match live_folder(tx, owner, parent).await? {
        Some(above) if above.len() <= DEPTH_MAX => {}
        _ => return Ok(None),
    }
    let contents = contents(tx, files, step).await?;
    let nodes = enter(tx, owner, files, contents, step).await?;
    let names: Vec<(NodeId, &str)> =
        nodes.iter().map(|node| (node.id, node.name.as_str())).collect();
    grams::insert(tx, owner, &names).await?;
    let mut sums: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
    for file in files {
        let (count, bytes) = sums.entry(file.category as u8).or_default();
        *count = count.saturating_add(1);
        *bytes = bytes.saturating_add(file.size);
    }
    let sums: Vec<totals::Total> = sums.into_iter().map(|(c, (n, bytes))| (c, n, bytes)).collect();
    totals::add(tx, owner, &sums).await?;
    let deeds: Vec<Audit<'_>> = nodes
        .iter()
        .zip(files)
        .map(|(node, file)| Audit::of_node(owner, "upload", node, file.address))
        .collect();
    audit::insert_all(tx, &deeds).await?;
    Ok(Some(nodes))
}

/// The content of each file, new or known; what was stored again is garbage.
async fn contents(
    tx: &mut Transaction<'static>,
    files: &[NewFile<'_>],
    step: usize,
) -> Result<Vec<(BlobId, String)>, DbError> {
    // In the order of their hashes: whoever locks several contents does it in this order.
    let mut wanted: BTreeMap<&[u8], Wanted<'_>> = BTreeMap::new();
    for file in files {
        let Bytes::Arrived { hashes, file_id, media_type, .. } = file.bytes else {
            return Err(DbError::Schema("a content that did not arrive".to_owned()));
        };
        let new = Wanted { hashes, file, file_id, media_type, count: 0, known: None };
        let wanted = wanted.entry(&hashes.sha256).or_insert(new);
        wanted.count = wanted.count.saturating_add(1);
    }
    share(tx, &mut wanted).await?;
    insert(tx, &mut wanted, step).await?;
    let mut surplus = Vec::new();
    let mut contents = Vec::new();
    for file in files {
        let Bytes::Arrived { hashes, file_id, .. } = file.bytes else { continue };
        let known = wanted.get(&hashes.sha256[..]).and_then(|one| one.known.as_ref());
        let lost = || DbError::Schema("a content has no row".to_owned());
        let (blob, media_type, kept) = known.ok_or_else(lost)?;
        if *kept != Some(file_id) {
            surplus.push((file_id, file.at));
        }
        contents.push((*blob, media_type.clone()));
    }
    garbage::insert_all(tx, &surplus).await?;
    Ok(contents)
}

/// One content of the files.
struct Wanted<'a> {
    hashes: &'a Hashes,
    /// The first file that has it.
    file: &'a NewFile<'a>,
    file_id: &'a str,
    media_type: &'a str,
    /// Files that have it.
    count: u64,
    /// Its row and media type, and the file that it lives with if that is one of ours.
    known: Option<(BlobId, String, Option<&'a str>)>,
}

/// One more reference for each file to the contents that there are.
async fn share(
    tx: &mut Transaction<'static>,
    wanted: &mut BTreeMap<&[u8], Wanted<'_>>,
) -> Result<(), DbError> {
    let sql = format!(
        "SELECT id, sha256, size, media_type FROM `blob` FORCE INDEX (blob_hash)
        WHERE sha256 IN ({}) AND state = 'live' FOR UPDATE",
        marks("?", wanted.len())
    );
    let hashes: Vec<Value> = wanted.keys().map(|hash| Value::from(*hash)).collect();
    let rows: Vec<(u64, Vec<u8>, u64, Option<String>)> =
        tx.exec(sql, Params::Positional(hashes)).await?;
    for (id, sha256, size, media_type) in rows {
        let Some(one) = wanted.get_mut(&sha256[..]) else { continue };
        if one.file.size == size {
            blob::refer(tx, BlobId(id), one.count).await?;
            one.known = Some((BlobId(id), media_type.unwrap_or_default(), None));
        }
    }
    Ok(())
}

/// Rows for the contents that there are not.
async fn insert<'a>(
    tx: &mut Transaction<'static>,
    wanted: &mut BTreeMap<&[u8], Wanted<'a>>,
    step: usize,
) -> Result<(), DbError> {
    let mut new: Vec<&mut Wanted<'a>> =
        wanted.values_mut().filter(|one| one.known.is_none()).collect();
    if new.is_empty() {
        return Ok(());
    }
    let rows = marks("(?, ?, ?, ?, ?, ?, 'live', ?, ?)", new.len());
    let values = new.iter().flat_map(|one| {
        let at = one.file.at.0;
        [
            Value::from(&one.hashes.sha256[..]),
            Value::from(&one.hashes.md5[..]),
            one.file.size.into(),
            one.file_id.into(),
            one.media_type.into(),
            one.count.into(),
            at.into(),
            at.into(),
        ]
    });
    let values = Params::Positional(values.collect());
    tx.exec_drop(format!("INSERT INTO `blob` ({BLOB_COLUMNS}) VALUES {rows}"), values).await?;
    // The rows of one statement get numbers one after another, from the one that it tells.
    let first = tx.last_insert_id().unwrap_or_default();
    for (one, id) in new.iter_mut().zip((first..).step_by(step)) {
        one.known = Some((BlobId(id), one.media_type.to_owned(), Some(one.file_id)));
    }
    Ok(())
}

/// The rows of the files themselves.
async fn enter(
    tx: &mut Transaction<'static>,
    owner: UserId,
    files: &[NewFile<'_>],
    contents: Vec<(BlobId, String)>,
    step: usize,
) -> Result<Vec<Node>, DbError> {
    let rows = marks("(?, ?, ?, ?, ?, ?, ?, ?, ?)", files.len());
    let values = files.iter().zip(&contents).flat_map(|(file, (blob, _))| {
        [
            owner.0.into(),
            file.parent.map(|id| id.0).into(),
            file.name.as_str().into(),
            (Kind::File as u8).into(),
            blob.0.into(),
            file.size.into(),
            (file.category as u8).into(),
            file.at.0.into(),
            file.at.0.into(),
        ]
    });
    let values: Vec<Value> = values.collect();
    let sql = format!("INSERT INTO node ({NODE_COLUMNS}) VALUES {rows}");
    tx.exec_drop(sql, Params::Positional(values)).await?;
    let first = tx.last_insert_id().unwrap_or_default();
    let node = |((file, (_, media_type)), id): ((&NewFile<'_>, (BlobId, String)), u64)| Node {
        id: NodeId(id),
        parent: file.parent,
        kind: Kind::File,
        name: file.name.as_str().to_owned(),
        size: file.size,
        media_type: Some(media_type),
        category: Some(file.category),
        created_ms: file.at,
        modified_ms: file.at,
        downloads: 0,
        favourite: false,
    };
    Ok(files.iter().zip(contents).zip((first..).step_by(step)).map(node).collect())
}
