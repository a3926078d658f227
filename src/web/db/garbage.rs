//! The table `garbage`: stored files that no content needs, removed from the store after the
//! commit, as often as it takes.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use super::together::marks;
use super::{Db, DbError, commit, retry, within};
use crate::ids::UnixMs;

const INSERT: &str = "INSERT INTO garbage (file_id, tries, due_ms) VALUES";
// Locked rows belong to another worker that is claiming them.
const DUE: &str = "\
SELECT id, file_id, tries FROM garbage WHERE due_ms <= ?
ORDER BY due_ms LIMIT ? FOR UPDATE SKIP LOCKED";
const CLAIM: &str = "UPDATE garbage SET tries = tries + 1, due_ms = ? WHERE id = ?";
const REMOVE: &str = "DELETE FROM garbage WHERE id = ?";

/// Files claimed together.
pub(crate) const BATCH: usize = 16;
/// Wait after a first failure; it doubles with each further one.
const RETRY_MS: u64 = 30_000;
/// Doublings, after which it stays at a little over two hours.
const DOUBLINGS_MAX: u32 = 8;

/// A stored file to be removed.
#[derive(Debug)]
pub(crate) struct Garbage {
    id: u64,
    pub(crate) file_id: String,
}

pub(super) async fn insert(
    on: &mut impl Queryable,
    file_id: &str,
    now: UnixMs,
) -> Result<(), DbError> {
    insert_all(on, &[(file_id, now)]).await
}

/// Files, and when each became garbage.
pub(super) async fn insert_all(
    on: &mut impl Queryable,
    files: &[(&str, UnixMs)],
) -> Result<(), DbError> {
    if files.is_empty() {
        return Ok(());
    }
    let sql = format!("{INSERT} {}", marks("(?, 0, ?)", files.len()));
    let row = |(file_id, now): &(&str, UnixMs)| [(*file_id).into(), now.0.into()];
    let values: Vec<Value> = files.iter().flat_map(row).collect();
    Ok(on.exec_drop(sql, Params::Positional(values)).await?)
}

impl Db {
    /// Takes up to [`BATCH`] files that are due; they come back later unless [`Db::removed`] is
    /// told.
    pub(crate) async fn claim_garbage(&self, now: UnixMs) -> Result<Vec<Garbage>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let claimed = within(async {
                    let due: Vec<(u64, String, u32)> = tx.exec(DUE, (now.0, BATCH)).await?;
                    let mut claimed = Vec::new();
                    for (id, file_id, tries) in due {
                        let wait_ms = RETRY_MS << tries.min(DOUBLINGS_MAX);
                        tx.exec_drop(CLAIM, (now.0.saturating_add(wait_ms), id)).await?;
                        claimed.push(Garbage { id, file_id });
                    }
                    Ok(claimed)
                })
                .await?;
                commit(tx).await.map(|()| claimed)
            })
        })
        .await
    }

    /// The store no longer has it.
    pub(crate) async fn removed(&self, garbage: &Garbage) -> Result<(), DbError> {
        self.change(REMOVE, (garbage.id,)).await.map(drop)
    }
}
