//! What the database says must be in the store, and whether its own counters are right: for
//! `fastdisk reconcile`. Reads in pages; repairs each counter by itself, under the lock of its row:
//! the drive goes on meanwhile.

use std::collections::HashSet;

use mysql_async::prelude::Queryable;

use super::{Db, DbError, commit, retry, within};
use crate::ids::{BlobId, UnixMs, UserId};

const LIVE: &str = "\
SELECT id, size, file_id FROM `blob` WHERE state = 'live' AND ? < id ORDER BY id LIMIT 1000";
const NAMED: &str = "\
SELECT file_id FROM `blob` WHERE file_id IS NOT NULL
UNION ALL SELECT file_id FROM garbage
UNION ALL SELECT file_id FROM upload WHERE file_id IS NOT NULL";
const WRONG_REFCOUNTS: &str = "\
SELECT COUNT(*) FROM `blob` b WHERE b.state = 'live' AND b.refcount <>
    (SELECT COUNT(*) FROM node n WHERE n.blob_id = b.id)";
const TO_RECOUNT: &str = "\
SELECT b.id FROM `blob` b LEFT JOIN (SELECT blob_id, COUNT(*) AS nodes FROM node
    WHERE blob_id IS NOT NULL GROUP BY blob_id) n ON n.blob_id = b.id
WHERE b.state = 'live' AND (n.nodes IS NULL OR b.refcount <> n.nodes)";
const WRONG_SPACE: &str = "\
SELECT COUNT(*) FROM user u WHERE u.used_bytes <>
    (SELECT COALESCE(SUM(n.size), 0) FROM node n WHERE n.owner = u.id)";
const TO_RESUM: &str = "\
SELECT u.id FROM user u WHERE u.used_bytes <>
    (SELECT COALESCE(SUM(n.size), 0) FROM node n WHERE n.owner = u.id)";
const LOCK_USER: &str = "SELECT id FROM user WHERE id = ? FOR UPDATE";
const BYTES: &str = "SELECT CAST(COALESCE(SUM(size), 0) AS UNSIGNED) FROM node WHERE owner = ?";
const RESUM: &str = "UPDATE user SET used_bytes = ? WHERE id = ?";
const OWNERS: &str = "\
SELECT u.name, n.name FROM node n JOIN user u ON u.id = n.owner WHERE n.blob_id = ? LIMIT 10";

/// A content the store must have.
#[derive(Clone, Debug)]
pub(crate) struct LiveBlob {
    pub(crate) id: u64,
    pub(crate) size: u64,
    pub(crate) file_id: String,
}

impl Db {
    /// Up to a thousand contents behind `after`.
    pub(crate) async fn live_blobs(&self, after: u64) -> Result<Vec<LiveBlob>, DbError> {
        let rows: Vec<(u64, u64, Option<String>)> = self.all(LIVE, (after,)).await?;
        let blob = |(id, size, file_id): (u64, u64, Option<String>)| LiveBlob {
            id,
            size,
            file_id: file_id.unwrap_or_default(),
        };
        Ok(rows.into_iter().map(blob).collect())
    }

    /// Every stored file that a row names: about a hundred bytes of memory for each.
    pub(crate) async fn named_files(&self) -> Result<HashSet<String>, DbError> {
        let rows: Vec<String> = self.all(NAMED, ()).await?;
        Ok(rows.into_iter().collect())
    }

    /// Users and names of files that have a content; at most ten.
    pub(crate) async fn owners_of(&self, blob: u64) -> Result<Vec<(String, String)>, DbError> {
        self.all(OWNERS, (blob,)).await
    }

    /// Contents and users whose counters are wrong.
    pub(crate) async fn wrong_counters(&self) -> Result<(u64, u64), DbError> {
        let blobs: Option<u64> = self.first(WRONG_REFCOUNTS, ()).await?;
        let users: Option<u64> = self.first(WRONG_SPACE, ()).await?;
        Ok((blobs.unwrap_or_default(), users.unwrap_or_default()))
    }

    /// Counts anew what is wrong, and lets go of contents that nothing uses.
    pub(crate) async fn repair_counters(&self, at: UnixMs) -> Result<(), DbError> {
        let blobs: Vec<u64> = self.all(TO_RECOUNT, ()).await?;
        for blob in blobs {
            self.recount(BlobId(blob), at).await?;
        }
        let users: Vec<u64> = self.all(TO_RESUM, ()).await?;
        for user in users {
            self.resum(UserId(user)).await?;
        }
        Ok(())
    }

    /// Adds up the files of a user anew. Whoever changes them holds the user's row until the
    /// commit, so a statement behind the lock sees what was counted.
    async fn resum(&self, user: UserId) -> Result<(), DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                within(async {
                    let _locked: Option<u64> = tx.exec_first(LOCK_USER, (user.0,)).await?;
                    let bytes: Option<u64> = tx.exec_first(BYTES, (user.0,)).await?;
                    Ok(tx.exec_drop(RESUM, (bytes.unwrap_or_default(), user.0)).await?)
                })
                .await?;
                commit(tx).await
            })
        })
        .await
    }
}
