//! What the database says must be in the store, and whether its own counters are right: for
//! `fastdisk reconcile`. Reads in pages; repairs counters in one statement each.

use std::collections::HashSet;

use super::{Db, DbError};
use crate::ids::UnixMs;

const LIVE: &str = "\
SELECT id, size, file_id FROM `blob` WHERE state = 'live' AND ? < id ORDER BY id LIMIT 1000";
const NAMED: &str = "\
SELECT file_id FROM `blob` WHERE file_id IS NOT NULL
UNION ALL SELECT file_id FROM garbage
UNION ALL SELECT file_id FROM upload WHERE file_id IS NOT NULL";
const WRONG_REFCOUNTS: &str = "\
SELECT COUNT(*) FROM `blob` b WHERE b.state = 'live' AND b.refcount <>
    (SELECT COUNT(*) FROM node n WHERE n.blob_id = b.id)";
const REPAIR_REFCOUNTS: &str = "\
UPDATE `blob` b SET b.refcount = (SELECT COUNT(*) FROM node n WHERE n.blob_id = b.id)
WHERE b.state = 'live' AND b.refcount <> (SELECT COUNT(*) FROM node n WHERE n.blob_id = b.id)";
const WRONG_SPACE: &str = "\
SELECT COUNT(*) FROM user u WHERE u.used_bytes <>
    (SELECT COALESCE(SUM(n.size), 0) FROM node n WHERE n.owner = u.id)";
const REPAIR_SPACE: &str = "\
UPDATE user u SET u.used_bytes = (SELECT COALESCE(SUM(n.size), 0) FROM node n WHERE n.owner = u.id)
WHERE u.used_bytes <> (SELECT COALESCE(SUM(n.size), 0) FROM node n WHERE n.owner = u.id)";
const UNUSED: &str = "SELECT id FROM `blob` WHERE state = 'live' AND refcount = 0 LIMIT 1000";
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

    /// Counts anew, and lets go of contents that nothing uses.
    pub(crate) async fn repair_counters(&self, at: UnixMs) -> Result<(), DbError> {
        self.change(REPAIR_REFCOUNTS, ()).await?;
        self.change(REPAIR_SPACE, ()).await?;
        let unused: Vec<u64> = self.all(UNUSED, ()).await?;
        for blob in unused {
            self.release_unused(crate::ids::BlobId(blob), at).await?;
        }
        Ok(())
    }
}
