//! Pages of a folder: by key, never by offset, at most two statements each.
//!
//! Folders come before files whatever the order, so a page is the rest of the folders and then,
//! if there is room, the beginning of the files. The cursor is the key of the last entry.

use std::fmt::Write as _;

use mysql_async::{Params, Value};
use serde::{Deserialize, Serialize};

use super::node::{Row, Stored, columns};
use super::{Db, DbError, Kind, Node};
use crate::ids::{NodeId, UserId};

/// What a folder is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    Name,
    Size,
    Modified,
    /// Category, and within one when it was made.
    Type,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    Asc,
    Desc,
}

/// Where a page ended. It carries the key itself, so it works after that entry is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    sort: Sort,
    order: Order,
    kind: u8,
    id: u64,
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Key {
    Name(String),
    Number(u64),
}

const COLUMNS: &str = columns!("");

/// Bytes of a cursor's text: a name of 255 bytes, each escaped, and the rest.
const CURSOR_BYTES_MAX: usize = 4096;

impl Cursor {
    /// Opaque text for the URL: hexadecimal, so nothing needs escaping.
    pub(crate) fn print(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut text = String::with_capacity(json.len().saturating_mul(2));
        for byte in json {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// None: not one of ours, or for another order than the request's.
    pub(crate) fn parse(text: &str, sort: Sort, order: Order) -> Option<Self> {
        if CURSOR_BYTES_MAX < text.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let digits = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let cursor: Self = serde_json::from_slice(&bytes?).ok()?;
        let fits = matches!((&cursor.key, sort), (Key::Name(_), Sort::Name))
            || matches!(
                (&cursor.key, sort),
                (Key::Number(_), Sort::Size | Sort::Modified | Sort::Type)
            );
        (fits && cursor.sort == sort && cursor.order == order).then_some(cursor)
    }

    fn after(node: &Node, sort: Sort, order: Order) -> Self {
        let key = match sort {
            Sort::Name => Key::Name(node.name.clone()),
            Sort::Size => Key::Number(node.size),
            Sort::Modified => Key::Number(node.modified_ms.0),
            Sort::Type => Key::Number(node.category.map_or(0, |category| category as u64)),
        };
        Self { sort, order, kind: node.kind as u8, id: node.id.0, key }
    }
}

/// Which entries of a folder are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) sort: Sort,
    pub(crate) order: Order,
    /// At least 1.
    pub(crate) limit: u64,
    pub(crate) after: Option<Cursor>,
}

impl Db {
    /// Up to `limit` entries of a folder behind the name `after`, with their files; None is the
    /// root folder.
    pub(crate) async fn members(
        &self,
        owner: UserId,
        folder: Option<NodeId>,
        after: &str,
        limit: u64,
    ) -> Result<Vec<Stored>, DbError> {
        let rows: Vec<Row> =
            self.all(MEMBERS, (owner.0, folder.map_or(0, |id| id.0), after, limit)).await?;
        Ok(rows.into_iter().map(Stored::from).collect())
    }

    /// One page of a user's folder, and the cursor of the next if there is more.
    pub(crate) async fn list(
        &self,
        owner: UserId,
        folder: Option<NodeId>,
        page: &Page,
    ) -> Result<(Vec<Node>, Option<Cursor>), DbError> {
        let mut nodes: Vec<Node> = Vec::new();
        // One more than asked for tells whether there is a next page.
        let want = page.limit.saturating_add(1);
        let after = page.after.as_ref();
        for kind in [Kind::Folder, Kind::File] {
            let after = after.filter(|cursor| cursor.kind == kind as u8);
            let passed = page.after.as_ref().is_some_and(|cursor| (kind as u8) < cursor.kind);
            let room = want.saturating_sub(nodes.len() as u64);
            if passed || room == 0 {
                continue;
            }
            let sql = statement(page.sort, page.order, after.is_some());
            let mut values: Vec<Value> =
                vec![owner.0.into(), folder.map_or(0, |id| id.0).into(), (kind as u8).into()];
            if let Some(cursor) = after {
                let key: Value = match &cursor.key {
                    Key::Name(name) => name.into(),
                    Key::Number(number) => number.into(),
                };
                values.extend([key.clone(), key, cursor.id.into()]);
            }
            values.push(room.into());
            let rows: Vec<Row> = self.all(&sql, Params::Positional(values)).await?;
            nodes.extend(rows.into_iter().map(|row| Stored::from(row).node));
        }
        let more = page.limit < nodes.len() as u64;
        nodes.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
        let last = nodes.last().filter(|_| more);
        let next = last.map(|node| Cursor::after(node, page.sort, page.order));
        Ok((nodes, next))
    }
}

/// The next live entries of a folder by the bytes of their names: for walks through everything.
const MEMBERS: &str = columns!(
    "FROM node n FORCE INDEX (node_name) LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE n.owner = ? AND n.live_in = ? AND ? < n.name ORDER BY n.name LIMIT ?"
);

/// Sixteen statements from fixed words: nothing of a request is written into them.
fn statement(sort: Sort, order: Order, after: bool) -> String {
    let (key, index) = match sort {
        Sort::Name => ("n.name_order", "node_by_name"),
        Sort::Size => ("n.size", "node_by_size"),
        Sort::Modified => ("n.modified_ms", "node_by_time"),
        Sort::Type => ("n.category", "node_by_type"),
    };
    let (direction, than) = match order {
        Order::Asc => ("ASC", ">"),
        Order::Desc => ("DESC", "<"),
    };
    // The first half lets the index seek; the second leaves out equals that were shown.
    let seek = match (after, sort) {
        (false, _) => String::new(),
        (true, Sort::Name) => {
            let typed = "CONVERT(? USING utf8mb4) COLLATE utf8mb4_unicode_520_ci";
            format!("AND {key} {than}= {typed} AND ({key} {than} {typed} OR n.id {than} ?)")
        }
        (true, _) => format!("AND {key} {than}= ? AND ({key} {than} ? OR n.id {than} ?)"),
    };
    format!(
        "{COLUMNS} FROM node n FORCE INDEX ({index}) LEFT JOIN `blob` b ON b.id = n.blob_id
        WHERE n.owner = ? AND n.live_in = ? AND n.kind = ? {seek}
        ORDER BY {key} {direction}, n.id {direction} LIMIT ?"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_only_to_their_own_order() {
        let key = Key::Name("a\"\\é\u{1f600}".to_owned());
        let cursor = Cursor { sort: Sort::Name, order: Order::Asc, kind: 1, id: 7, key };
        let text = cursor.print();
        assert_eq!(Cursor::parse(&text, Sort::Name, Order::Asc), Some(cursor));
        assert_eq!(Cursor::parse(&text, Sort::Size, Order::Asc), None);
        assert_eq!(Cursor::parse(&text, Sort::Name, Order::Desc), None);
        for wrong in ["", "zz", "7b", "7b7d", "é", &text[1..], &"00".repeat(CURSOR_BYTES_MAX)] {
            assert_eq!(Cursor::parse(wrong, Sort::Name, Order::Asc), None, "{wrong}");
        }
    }

    #[test]
    fn a_cursor_cannot_carry_a_key_of_another_type() {
        let key = Key::Number(1);
        let forged = Cursor { sort: Sort::Name, order: Order::Asc, kind: 1, id: 7, key };
        assert_eq!(Cursor::parse(&forged.print(), Sort::Name, Order::Asc), None);
    }
}
