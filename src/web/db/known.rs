//! Contents somebody may already have: looked up by the hint a client brings.

use super::{Db, DbError, Hashes};
use crate::ids::BlobId;

const BY_MD5: &str = "\
SELECT id, sha256, md5, file_id FROM `blob`
WHERE md5 = ? AND size = ? AND state = 'live' ORDER BY id LIMIT 4";

/// A content with the wanted MD5 and size; somebody may have made several on purpose.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) blob: BlobId,
    pub(crate) hashes: Hashes,
    pub(crate) file_id: String,
}

impl Db {
    /// The contents a hint may mean.
    pub(crate) async fn candidates(
        &self,
        md5: &[u8; 16],
        size: u64,
    ) -> Result<Vec<Candidate>, DbError> {
        type Row = (u64, Vec<u8>, Vec<u8>, Option<String>);
        let rows: Vec<Row> = self.all(BY_MD5, (&md5[..], size)).await?;
        let candidate = |(id, sha256, md5, file_id): Row| {
            let hashes =
                Hashes { sha256: sha256.try_into().ok()?, md5: md5.try_into().ok()?, crc32: 0 };
            Some(Candidate { blob: BlobId(id), hashes, file_id: file_id? })
        };
        Ok(rows.into_iter().filter_map(candidate).collect())
    }
}
