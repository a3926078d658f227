//! The table `name_gram`: which names hold which pairs of characters, for the search.
//!
//! MariaDB 10.11 has no parser of n-grams, and its full-text index reads whole lists of a common
//! word before it gives the first row. Here a search walks one list from its newest entry and
//! stops when a page is full; `tests/bench/listing.sh` shows the times.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use super::node::{Row, Stored, columns};
use super::together::marks;
use super::{Db, DbError, Kind, Node};
use crate::ids::{NodeId, UserId};
use crate::media::Category;

/// Rows of one inserting statement.
const ROWS_MAX: usize = 256;
/// Pairs of a search word that are looked up: the rest is compared with the names found.
const PAIRS_MAX: usize = 6;
/// Entries of the shortest list that a statement walks after the first, and how many walks a page
/// takes.
const WALK_ROWS: u64 = 2000;
const WALKS_MAX: usize = 5;
/// Entries of all lists of one letter that are looked at.
const SORT_ROWS: u64 = 20_000;
/// How far the lists of the pairs are measured to find the shortest.
const MEASURE_ROWS: u64 = 1000;

/// Low 16 bits of a character: characters that share them are told apart by the name itself.
fn half(c: char) -> u32 {
    u32::from(c) & 0xffff
}

/// What a name is compared as: capitals do not matter.
pub(crate) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// What a folded name is found by: each pair of neighbours, and alone (with 0) the last
/// character and all that are not ASCII, since one Chinese character is a word.
fn grams(folded: &str) -> Vec<u32> {
    let chars: Vec<char> = folded.chars().collect();
    let alone = chars.iter().filter(|c| !c.is_ascii()).chain(chars.last());
    let mut all = pairs(&chars);
    all.extend(alone.map(|c| half(*c) << 16));
    all.sort_unstable();
    all.dedup();
    all
}

fn pairs(chars: &[char]) -> Vec<u32> {
    let neighbours = chars.iter().zip(chars.iter().skip(1));
    let mut all: Vec<u32> = neighbours.map(|(a, b)| half(*a) << 16 | half(*b)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) async fn insert(
    on: &mut impl Queryable,
    owner: UserId,
    names: &[(NodeId, &str)],
) -> Result<(), DbError> {
    let rows: Vec<(u32, NodeId)> = rows_of(names);
    for rows in pieces(&rows) {
        let marks = marks("(?, ?, ?)", rows.len());
        let sql = format!("INSERT IGNORE INTO name_gram (owner, gram, node) VALUES {marks}");
        let values: Vec<Value> = rows
            .iter()
            .flat_map(|(gram, id)| [owner.0.into(), (*gram).into(), id.0.into()])
            .collect();
        on.exec_drop(sql, Params::Positional(values)).await?;
    }
    Ok(())
}

pub(super) async fn remove(
    on: &mut impl Queryable,
    owner: UserId,
    names: &[(NodeId, &str)],
) -> Result<(), DbError> {
    let rows: Vec<(u32, NodeId)> = rows_of(names);
    for rows in pieces(&rows) {
        let marks = marks("(?, ?)", rows.len());
        let sql = format!("DELETE FROM name_gram WHERE owner = ? AND (gram, node) IN ({marks})");
        let mut values: Vec<Value> = vec![owner.0.into()];
        values.extend(rows.iter().flat_map(|(gram, id)| [(*gram).into(), id.0.into()]));
        on.exec_drop(sql, Params::Positional(values)).await?;
    }
    Ok(())
}

/// The rows of each statement: [`ROWS_MAX`], half, a quarter or an eighth of it, then what is
/// left. There are few lengths, so the statements are prepared already.
fn pieces<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let fits = |len: &usize| *len <= rest.len();
        let len = (0..4).map(|halved| ROWS_MAX >> halved).find(fits).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(len);
        rest = behind;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

fn rows_of(names: &[(NodeId, &str)]) -> Vec<(u32, NodeId)> {
    let of = |(id, name): &(NodeId, &str)| {
        let id = *id;
        grams(&fold(name)).into_iter().map(move |gram| (gram, id))
    };
    names.iter().flat_map(of).collect()
}

/// What is searched for.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// Not empty.
    pub(crate) text: String,
    pub(crate) kind: Option<Kind>,
    pub(crate) category: Option<Category>,
    /// Only nodes older than this one.
    pub(crate) before: Option<NodeId>,
    /// At least 1.
    pub(crate) limit: u64,
}

impl Db {
    /// Live nodes whose names hold the text, newest first, and where to go on. A page may be
    /// short: a request walks a bounded number of entries.
    pub(crate) async fn search(
        &self,
        owner: UserId,
        search: &Search,
    ) -> Result<(Vec<Node>, Option<NodeId>), DbError> {
        let folded = fold(&search.text);
        let lists = self.lists(owner, &folded).await?;
        let mut found: Vec<Node> = Vec::new();
        let mut before = search.before.unwrap_or(NodeId(u64::MAX));
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        for walk in 0..WALKS_MAX {
            // Usually nearly every entry of the shortest list fits: the first walk is short.
            let rows = if walk == 0 { search.limit.saturating_add(50) } else { WALK_ROWS };
            let (nodes, walked) = self.walk(owner, &lists, before, rows).await?;
            let fits = |node: &Node| {
                fold(&node.name).contains(&folded)
                    && search.kind.is_none_or(|kind| kind == node.kind)
                    && search.category.is_none_or(|category| Some(category) == node.category)
            };
            let nodes = nodes.into_iter().filter(fits).collect();
            found.extend(self.without_dead(owner, nodes).await?);
            if limit < found.len() {
                found.truncate(limit);
                let last = found.last().map(|node| node.id);
                return Ok((found, last));
            }
            match walked {
                Some(last) => before = last,
                None => return Ok((found, None)),
            }
        }
        Ok((found, Some(before)))
    }

    /// The ranges of `gram` that the text asks for, the shortest list first.
    async fn lists(&self, owner: UserId, folded: &str) -> Result<Vec<(u32, u32)>, DbError> {
        let chars: Vec<char> = folded.chars().collect();
        let mut ranges: Vec<(u32, u32)> = match chars.as_slice() {
            // One letter: it begins a pair in every name that does not end with it.
            [c] if c.is_ascii() => vec![(half(*c) << 16, half(*c) << 16 | 0xffff)],
            [c] => vec![(half(*c) << 16, half(*c) << 16)],
            all => pairs(all).into_iter().map(|gram| (gram, gram)).take(PAIRS_MAX).collect(),
        };
        if ranges.len() < 2 {
            return Ok(ranges);
        }
        let one = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM name_gram
            WHERE owner = ? AND gram = ? LIMIT {MEASURE_ROWS}) list"
        );
        let sql = vec![one; ranges.len()].join(" UNION ALL ");
        let values = ranges.iter().flat_map(|(gram, _)| [owner.0.into(), (*gram).into()]);
        let lengths: Vec<u64> = self.all(&sql, Params::Positional(values.collect())).await?;
        let mut order: Vec<(u64, (u32, u32))> = lengths.into_iter().zip(ranges).collect();
        order.sort_unstable();
        ranges = order.into_iter().map(|(_, range)| range).collect();
        Ok(ranges)
    }

    /// The next entries of the first list that are on all lists, and the last entry walked if
    /// there may be more.
    async fn walk(
        &self,
        owner: UserId,
        lists: &[(u32, u32)],
        before: NodeId,
        walk_rows: u64,
    ) -> Result<(Vec<Node>, Option<NodeId>), DbError> {
        let Some(((from, to), others)) = lists.split_first() else { return Ok((vec![], None)) };
        let own: Value = owner.0.into();
        let entries = if from == to {
            format!(
                "SELECT node FROM name_gram WHERE owner = ? AND gram = ? AND node < ?
                ORDER BY node DESC LIMIT {walk_rows}"
            )
        } else {
            // Many lists at once are not in one order: so many of their entries are sorted.
            format!(
                "SELECT DISTINCT node FROM (SELECT node FROM name_gram
                WHERE owner = ? AND gram BETWEEN ? AND ? AND node < ? LIMIT {SORT_ROWS}) some
                ORDER BY node DESC LIMIT {walk_rows}"
            )
        };
        let mut values = vec![own.clone(), (*from).into()];
        values.extend((from != to).then(|| (*to).into()));
        values.push(before.0.into());
        let walked: Vec<u64> = self.all(&entries, Params::Positional(values.clone())).await?;
        let last = walked.last().copied().map(NodeId);
        let last = last.filter(|_| walk_rows <= walked.len() as u64);
        let mut sql = format!("{COLUMNS} FROM ({entries}) w ");
        for (number, (gram, _)) in others.iter().enumerate() {
            sql.push_str(&format!(
                "JOIN name_gram g{number} ON g{number}.owner = ? AND g{number}.gram = ?
                AND g{number}.node = w.node "
            ));
            values.extend([own.clone(), (*gram).into()]);
        }
        sql.push_str(
            "STRAIGHT_JOIN node n ON n.id = w.node LEFT JOIN `blob` b ON b.id = n.blob_id
            WHERE n.owner = ? AND n.trashed_ms IS NULL ORDER BY n.id DESC",
        );
        values.push(own);
        let rows: Vec<Row> = self.all(&sql, Params::Positional(values)).await?;
        Ok((rows.into_iter().map(|row| Stored::from(row).node).collect(), last))
    }
}

const COLUMNS: &str = columns!("");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_pairs_its_end_and_its_chinese() {
        let pair = |a: char, b: char| half(a) << 16 | half(b);
        assert_eq!(grams("aaa"), [pair('a', '\0'), pair('a', 'a')]);
        assert_eq!(grams("ab"), [pair('a', 'b'), pair('b', '\0')]);
        let mut want = [pair('照', '\0'), pair('照', '片'), pair('片', '\0')];
        want.sort_unstable();
        assert_eq!(grams("照片"), want);
        assert_eq!(grams(""), [0u32; 0]);
        assert_eq!(fold("ÀB照"), "àb照");
    }
}
