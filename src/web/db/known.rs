//! Contents somebody may already have: looked up by the hint a client brings.

use super::{Db, DbError, Hashes};
use crate::ids::BlobId;

const BY_MD5: &str = "\
SELECT id, sha256, md5, file_id FROM `blob`
WHERE md5 = ? AND size = ? AND state = 'live' ORDER BY id LIMIT 4";

// By hash, which is no order that means anything.
const ANY: &str = "\
SELECT id, sha256, md5, file_id, size FROM
    (SELECT id, sha256, md5, file_id, size, state FROM `blob` FORCE INDEX (blob_hash)
    WHERE ? <= sha256 ORDER BY sha256 LIMIT 100) some
WHERE state = 'live' AND ? <= size LIMIT 1";

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
        let rows: Vec<Row> = self.all(BY_MD5, (&md5[..], size)).await?;
        Ok(rows.into_iter().filter_map(candidate).collect())
    }

    /// Some content of at least `size` bytes whose hash is not far behind one of `from`, or else
    /// behind nothing, and its size.
    pub(crate) async fn any_content(
        &self,
        from: &[[u8; 32]],
        size: u64,
    ) -> Result<Option<(Candidate, u64)>, DbError> {
        type Sized = (u64, Vec<u8>, Vec<u8>, Option<String>, u64);
        for from in from.iter().chain(&[[0; 32]]) {
            let row: Option<Sized> = self.first(ANY, (&from[..], size)).await?;
            if let Some((id, sha256, md5, file_id, size)) = row {
                return Ok(candidate((id, sha256, md5, file_id)).map(|found| (found, size)));
            }
        }
        Ok(None)
    }
}

type Row = (u64, Vec<u8>, Vec<u8>, Option<String>);

fn candidate((id, sha256, md5, file_id): Row) -> Option<Candidate> {
    let hashes = Hashes { sha256: sha256.try_into().ok()?, md5: md5.try_into().ok()?, crc32: 0 };
    Some(Candidate { blob: BlobId(id), hashes, file_id: file_id? })
}
