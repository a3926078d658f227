//! The table `category_total`: how many live files of each category a user has, and their bytes.
//!
//! Changed in the transaction of what changes it, while the user's row is held.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;

use super::{Db, DbError, Kind, Node};
use crate::ids::{NodeId, UserId};
use crate::media::Category;

const ADD: &str = "\
INSERT INTO category_total (owner, category, files, bytes) VALUES (?, ?, ?, ?)
ON DUPLICATE KEY UPDATE files = files + VALUES(files), bytes = bytes + VALUES(bytes)";
const TAKE: &str = "\
UPDATE category_total SET files = files - ?, bytes = bytes - ? WHERE owner = ? AND category = ?";
const BELOW: &str = "\
WITH RECURSIVE down (id) AS (
    SELECT CAST(? AS UNSIGNED)
    UNION ALL
    SELECT n.id FROM down d JOIN node n FORCE INDEX (node_by_name)
        ON n.owner = ? AND n.live_in = d.id AND n.kind = 0)
SELECT n.category, COUNT(*), CAST(SUM(n.size) AS UNSIGNED)
FROM down d JOIN node n FORCE INDEX (node_by_type)
    ON n.owner = ? AND n.live_in = d.id AND n.kind = 1
GROUP BY n.category";
const ALL: &str = "SELECT category, files, bytes FROM category_total WHERE owner = ?";

/// Category, files, bytes.
pub(super) type Total = (u8, u64, u64);

/// What a user has of one category; the shape of `CategoryTotal` in the API.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct CategoryTotal {
    pub(crate) category: Category,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Db {
    /// All six, also those of which there is nothing.
    pub(crate) async fn category_totals(
        &self,
        owner: UserId,
    ) -> Result<Vec<CategoryTotal>, DbError> {
        let rows: Vec<Total> = self.all(ALL, (owner.0,)).await?;
        let of = |category: Category| {
            let row = rows.iter().find(|(number, ..)| *number == category as u8);
            let (files, bytes) = row.map_or((0, 0), |(_, files, bytes)| (*files, *bytes));
            CategoryTotal { category, files, bytes }
        };
        Ok(Category::ALL.into_iter().map(of).collect())
    }
}

pub(super) async fn add(
    on: &mut impl Queryable,
    owner: UserId,
    totals: &[Total],
) -> Result<(), DbError> {
    for (category, files, bytes) in totals {
        on.exec_drop(ADD, (owner.0, category, files, bytes)).await?;
    }
    Ok(())
}

pub(super) async fn take(
    on: &mut impl Queryable,
    owner: UserId,
    totals: &[Total],
) -> Result<(), DbError> {
    for (category, files, bytes) in totals {
        on.exec_drop(TAKE, (files, bytes, owner.0, category)).await?;
    }
    Ok(())
}

/// The files of a node and below it, but not what is in the trash by itself.
pub(super) async fn of(
    tx: &mut Transaction<'static>,
    owner: UserId,
    node: &Node,
) -> Result<Vec<Total>, DbError> {
    match node.kind {
        Kind::File => Ok(vec![(node.category.map_or(0, |c| c as u8), 1, node.size)]),
        Kind::Folder => below(tx, owner, node.id).await,
    }
}

async fn below(
    tx: &mut Transaction<'static>,
    owner: UserId,
    id: NodeId,
) -> Result<Vec<Total>, DbError> {
    Ok(tx.exec(BELOW, (id.0, owner.0, owner.0)).await?)
}
