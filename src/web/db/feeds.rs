//! Lists that are not one folder: a category, the newest, what was opened, what is marked. Pages
//! by key, a bounded number of statements each.
//!
//! What lies below something in the trash still has its own row as it was; it is left out here by
//! looking at what is above it, once per folder and page.

use mysql_async::{Params, Value};
use serde::{Deserialize, Serialize};

use super::node::{Row, Stored, columns};
use super::{Db, DbError, Node, Order};
use crate::ids::{NodeId, UnixMs, UserId};
use crate::media::Category;

/// Rounds of a page: each fetches as many rows as are asked for, of which the dead are left out.
const ROUNDS_MAX: usize = 10;
/// Rows of a round at least, so that many dead ones are passed quickly.
const ROUND_ROWS_MIN: u64 = 500;
/// Files a user opened that are remembered: more are not shown.
const OPENED_MAX: u64 = 1000;

// The folders of a JSON list that are in the trash or below something that is.
const DEAD: &str = "\
WITH RECURSIVE up (start, parent, trashed) AS (
    SELECT n.id, n.parent, n.trashed_ms IS NOT NULL
    FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j
        STRAIGHT_JOIN node n ON n.id = j.id WHERE n.owner = ?
    UNION ALL
    SELECT up.start, n.parent, n.trashed_ms IS NOT NULL
    FROM up JOIN node n ON n.id = up.parent WHERE NOT up.trashed)
SELECT DISTINCT start FROM up WHERE trashed";
const FAVOURITES: &str = columns!(
    "FROM favourite v STRAIGHT_JOIN node n ON n.id = v.node LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE v.owner = ? AND (v.at_ms < ? OR v.at_ms = ? AND v.node < ?) AND n.owner = v.owner
        AND n.trashed_ms IS NULL
    ORDER BY v.at_ms DESC, v.node DESC LIMIT ?"
);
const FAVOURITE_AT: &str = "SELECT at_ms FROM favourite WHERE owner = ? AND node = ?";
const MARK: &str = "\
INSERT INTO favourite (owner, node, at_ms) SELECT owner, id, ? FROM node WHERE id = ? AND owner = ?
ON DUPLICATE KEY UPDATE favourite.at_ms = favourite.at_ms";
const UNMARK: &str = "DELETE FROM favourite WHERE owner = ? AND node = ?";
const OPENED: &str = columns!(
    "FROM opened o STRAIGHT_JOIN node n ON n.id = o.node LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE o.owner = ? AND n.owner = o.owner AND n.trashed_ms IS NULL
    ORDER BY o.at_ms DESC, o.node DESC LIMIT ?"
);
const OPENED_TIMES: &str = "\
SELECT node, at_ms FROM opened WHERE owner = ? ORDER BY at_ms DESC, node DESC LIMIT ?";
const OPEN: &str = "\
INSERT INTO opened (owner, node, at_ms) SELECT owner, id, ? FROM node WHERE id = ? AND owner = ?
ON DUPLICATE KEY UPDATE opened.at_ms = GREATEST(opened.at_ms, VALUES(at_ms))";
const FORGET_OPENED: &str = "\
DELETE FROM opened WHERE owner = ? AND at_ms < COALESCE(
    (SELECT at_ms FROM (SELECT at_ms FROM opened WHERE owner = ? ORDER BY at_ms DESC LIMIT 1
        OFFSET 1000) old), 0)";
const DOWNLOADED: &str = "UPDATE node SET downloads = downloads + 1 WHERE id = ?";

/// Where a page of files by time ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimeCursor {
    pub(crate) at_ms: u64,
    pub(crate) id: u64,
}

impl TimeCursor {
    /// `<time>-<id>`: opaque to clients.
    pub(crate) fn print(&self) -> String {
        format!("{}-{}", self.at_ms, self.id)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('-')?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten()
        };
        Some(Self { at_ms: number(at)?, id: number(id)? })
    }

    fn of(node: &Node) -> Self {
        Self { at_ms: node.modified_ms.0, id: node.id.0 }
    }
}

/// Which files are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    /// None: all of them.
    pub(crate) category: Option<Category>,
    pub(crate) order: Order,
    /// At least 1.
    pub(crate) limit: u64,
    pub(crate) after: Option<TimeCursor>,
}

impl Db {
    /// A user's live files by time of change.
    pub(crate) async fn feed(
        &self,
        owner: UserId,
        feed: &Feed,
    ) -> Result<(Vec<Node>, Option<TimeCursor>), DbError> {
        let mut found: Vec<Node> = Vec::new();
        let limit = usize::try_from(feed.limit).unwrap_or(usize::MAX);
        let rows = feed.limit.saturating_add(1).max(ROUND_ROWS_MIN);
        let mut after = feed.after;
        for round in 0..ROUNDS_MAX {
            // The first is as small as can be: usually nothing is left out.
            let rows = if round == 0 { feed.limit.saturating_add(1) } else { rows };
            let nodes = self.feed_round(owner, feed, after, rows).await?;
            let ended = (nodes.len() as u64) < rows;
            after = nodes.last().map(TimeCursor::of).or(after);
            found.extend(self.without_dead(owner, nodes).await?);
            if limit < found.len() {
                found.truncate(limit);
                let next = found.last().map(TimeCursor::of);
                return Ok((found, next));
            }
            if ended {
                return Ok((found, None));
            }
        }
        Ok((found, after))
    }

    async fn feed_round(
        &self,
        owner: UserId,
        feed: &Feed,
        after: Option<TimeCursor>,
        rows: u64,
    ) -> Result<Vec<Node>, DbError> {
        let (direction, than) = match feed.order {
            Order::Asc => ("ASC", ">"),
            Order::Desc => ("DESC", "<"),
        };
        let seek = match after {
            None => String::new(),
            Some(_) => {
                format!("AND n.modified_ms {than}= ? AND (n.modified_ms {than} ? OR n.id {than} ?)")
            }
        };
        let order = |of: &str| format!("ORDER BY {of}modified_ms {direction}, {of}id {direction}");
        let one = format!(
            "(SELECT n.id, n.modified_ms FROM node n FORCE INDEX (node_by_category)
            WHERE n.owner = ? AND n.live_category = ? {seek} {} LIMIT ?)",
            order("n.")
        );
        let wanted = match feed.category {
            Some(category) => vec![category],
            None => Category::ALL.to_vec(),
        };
        let mut values: Vec<Value> = Vec::new();
        for category in &wanted {
            values.extend([owner.0.into(), (*category as u8).into()]);
            if let Some(TimeCursor { at_ms, id }) = after {
                values.extend([at_ms.into(), at_ms.into(), id.into()]);
            }
            values.push(rows.into());
        }
        let ids = vec![one; wanted.len()].join(" UNION ALL ");
        let sql = format!(
            "{COLUMNS} FROM (SELECT id FROM ({ids}) u {} LIMIT ?) x
            STRAIGHT_JOIN node n ON n.id = x.id LEFT JOIN `blob` b ON b.id = n.blob_id {}",
            order("u."),
            order("n.")
        );
        values.push(rows.into());
        let rows: Vec<Row> = self.all(&sql, Params::Positional(values)).await?;
        Ok(rows.into_iter().map(|row| Stored::from(row).node).collect())
    }

    /// Leaves out what lies below something in the trash.
    pub(crate) async fn without_dead(
        &self,
        owner: UserId,
        mut nodes: Vec<Node>,
    ) -> Result<Vec<Node>, DbError> {
        let mut parents: Vec<u64> = nodes.iter().filter_map(|n| n.parent.map(|p| p.0)).collect();
        parents.sort_unstable();
        parents.dedup();
        if parents.is_empty() {
            return Ok(nodes);
        }
        let list = serde_json::to_string(&parents).unwrap_or_default();
        let dead: Vec<u64> = self.all(DEAD, (list, owner.0)).await?;
        nodes.retain(|node| node.parent.is_none_or(|parent| !dead.contains(&parent.0)));
        Ok(nodes)
    }

    /// Files a user changed or opened last, the newest first, at most `limit`.
    pub(crate) async fn recent(&self, owner: UserId, limit: u64) -> Result<Vec<Node>, DbError> {
        let feed = Feed { category: None, order: Order::Desc, limit, after: None };
        let (changed, _) = self.feed(owner, &feed).await?;
        let rows: Vec<Row> = self.all(OPENED, (owner.0, limit)).await?;
        let opened = rows.into_iter().map(|row| Stored::from(row).node).collect();
        let opened = self.without_dead(owner, opened).await?;
        let times: Vec<(u64, u64)> = self.all(OPENED_TIMES, (owner.0, OPENED_MAX)).await?;
        let times: std::collections::HashMap<u64, u64> = times.into_iter().collect();
        let when = |node: &Node| {
            times.get(&node.id.0).copied().unwrap_or_default().max(node.modified_ms.0)
        };
        let mut all: Vec<(u64, Node)> =
            changed.into_iter().chain(opened).map(|node| (when(&node), node)).collect();
        all.sort_by_key(|(at, node)| (std::cmp::Reverse(*at), std::cmp::Reverse(node.id)));
        all.dedup_by_key(|(_, node)| node.id);
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all.into_iter().map(|(_, node)| node).collect())
    }

    /// What a user marked, the newest mark first.
    pub(crate) async fn favourites(
        &self,
        owner: UserId,
        limit: u64,
        after: Option<TimeCursor>,
    ) -> Result<(Vec<Node>, Option<TimeCursor>), DbError> {
        let TimeCursor { at_ms, id } =
            after.unwrap_or(TimeCursor { at_ms: i64::MAX as u64, id: 0 });
        let key = (owner.0, at_ms, at_ms, id, limit);
        let rows: Vec<Row> = self.all(FAVOURITES, key).await?;
        let full = limit <= rows.len() as u64;
        let nodes: Vec<Node> = rows.into_iter().map(|row| Stored::from(row).node).collect();
        let mut next = None;
        if let Some(last) = nodes.last().filter(|_| full) {
            let at: Option<u64> = self.first(FAVOURITE_AT, (owner.0, last.id.0)).await?;
            next = at.map(|at_ms| TimeCursor { at_ms, id: last.id.0 });
        }
        Ok((self.without_dead(owner, nodes).await?, next))
    }

    /// Marks a node of this user; harmless if it is marked.
    pub(crate) async fn mark(
        &self,
        owner: UserId,
        node: NodeId,
        at: UnixMs,
    ) -> Result<(), DbError> {
        self.change(MARK, (at.0, node.0, owner.0)).await.map(drop)
    }

    pub(crate) async fn unmark(&self, owner: UserId, node: NodeId) -> Result<(), DbError> {
        self.change(UNMARK, (owner.0, node.0)).await.map(drop)
    }

    /// Remembers that a user opened a file, and forgets the oldest of too many.
    pub(crate) async fn opened(
        &self,
        owner: UserId,
        node: NodeId,
        at: UnixMs,
    ) -> Result<(), DbError> {
        self.change(OPEN, (at.0, node.0, owner.0)).await?;
        if at.0.is_multiple_of(64) {
            self.change(FORGET_OPENED, (owner.0, owner.0)).await?;
        }
        Ok(())
    }

    /// Counts one download of a file.
    pub(crate) async fn downloaded(&self, node: NodeId) -> Result<(), DbError> {
        self.change(DOWNLOADED, (node.0,)).await.map(drop)
    }
}

const COLUMNS: &str = columns!("");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back() {
        let cursor = TimeCursor { at_ms: 17, id: u64::MAX };
        assert_eq!(TimeCursor::parse(&cursor.print()), Some(cursor));
        for wrong in ["", "-", "1-", "-1", "1-x", "+1-2", "1-2-3", "18446744073709551616-1"] {
            assert_eq!(TimeCursor::parse(wrong), None, "{wrong}");
        }
    }
}
