//! A user's files as `fastdisk export` walks them.

use super::{Db, DbError};
use crate::ids::UserId;

const ENTRIES: &str = "\
SELECT n.id, n.name, n.size, n.modified_ms, b.file_id
FROM node n LEFT JOIN `blob` b ON b.id = n.blob_id
WHERE n.owner = ? AND n.live_in = ? AND ? < n.id ORDER BY n.id LIMIT 500";

/// A folder, which has no stored file, or a file.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) modified_ms: u64,
    pub(crate) file_id: Option<String>,
}

impl Db {
    /// Up to 500 entries of a folder behind `after`; None is the root folder.
    pub(crate) async fn exported(
        &self,
        user: UserId,
        folder: Option<u64>,
        after: u64,
    ) -> Result<Vec<Exported>, DbError> {
        type Row = (u64, String, u64, u64, Option<String>);
        let key = (user.0, folder.unwrap_or(0), after);
        let rows: Vec<Row> = self.all(ENTRIES, key).await?;
        let entry = |(id, name, size, modified_ms, file_id): Row| Exported {
            id,
            name,
            size,
            modified_ms,
            file_id,
        };
        Ok(rows.into_iter().map(entry).collect())
    }
}
