//! The table `audit`: who did what, from where. Rows are added in the transaction of the deed
//! and never changed or removed.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use super::together::marks;
use super::{Db, DbError, Node};
use crate::ids::{NodeId, UnixMs, UserId};

const INSERT: &str = "INSERT INTO audit (at_ms, actor, action, node, address, detail) VALUES";

const LIST: &str = "\
SELECT a.id, a.at_ms, a.actor, u.name, a.action, a.node, a.address, a.detail
FROM audit a LEFT JOIN user u ON u.id = a.actor
WHERE a.id < ? AND (? IS NULL OR a.actor = ?) AND (? = '' OR a.action = ?)
    AND ? <= a.at_ms AND a.at_ms < ?
ORDER BY a.id DESC LIMIT ?";

/// Bytes of `detail` kept; the column holds no more.
const DETAIL_BYTES_MAX: usize = 1024;
/// Bytes of an address kept: the longest text form of IPv6.
const ADDRESS_BYTES_MAX: usize = 45;

/// One deed.
#[derive(Clone, Debug)]
pub(crate) struct Audit<'a> {
    pub(crate) at: UnixMs,
    /// None: nobody is signed in, as in a failed log-in.
    pub(crate) actor: Option<UserId>,
    /// A word of ours.
    pub(crate) action: &'static str,
    pub(crate) node: Option<NodeId>,
    /// The client's address as nginx saw it.
    pub(crate) address: &'a str,
    /// What the deed was done to, in the user's words; never a secret.
    pub(crate) detail: &'a str,
}

/// A deed as administrators see it; the shape of `AuditEntry` in the API.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) at_ms: UnixMs,
    pub(crate) actor: Option<UserId>,
    pub(crate) actor_name: Option<String>,
    pub(crate) action: String,
    pub(crate) node: Option<NodeId>,
    pub(crate) address: String,
    pub(crate) detail: String,
}

/// Which deeds are asked for.
#[derive(Clone, Debug)]
pub(crate) struct EntryFilter {
    /// Only older ones than this.
    pub(crate) before: u64,
    pub(crate) actor: Option<UserId>,
    /// Empty: any.
    pub(crate) action: String,
    pub(crate) since: u64,
    pub(crate) until: u64,
    pub(crate) limit: u64,
}

impl<'a> Audit<'a> {
    /// What its owner has just done to a node.
    pub(super) fn of_node(
        owner: UserId,
        action: &'static str,
        node: &'a Node,
        address: &'a str,
    ) -> Self {
        Self {
            at: node.modified_ms,
            actor: Some(owner),
            action,
            node: Some(node.id),
            address,
            detail: &node.name,
        }
    }

    pub(super) async fn insert(&self, on: &mut impl Queryable) -> Result<(), DbError> {
        insert_all(on, std::slice::from_ref(self)).await
    }

    fn values(&self) -> [Value; 6] {
        [
            self.at.0.into(),
            self.actor.map(|id| id.0).into(),
            self.action.into(),
            self.node.map(|id| id.0).into(),
            prefix(self.address, ADDRESS_BYTES_MAX).into(),
            prefix(self.detail, DETAIL_BYTES_MAX).into(),
        ]
    }
}

/// Deeds of one transaction, at least one.
pub(super) async fn insert_all(
    on: &mut impl Queryable,
    deeds: &[Audit<'_>],
) -> Result<(), DbError> {
    let sql = format!("{INSERT} {}", marks("(?, ?, ?, ?, ?, ?)", deeds.len()));
    let values: Vec<Value> = deeds.iter().flat_map(Audit::values).collect();
    Ok(on.exec_drop(sql, Params::Positional(values)).await?)
}

impl Db {
    /// The deeds that fit, the newest first.
    pub(crate) async fn audit(&self, filter: &EntryFilter) -> Result<Vec<Entry>, DbError> {
        type Row = (u64, u64, Option<u64>, Option<String>, String, Option<u64>, String, Vec<u8>);
        let actor = filter.actor.map(|id| id.0);
        let action = &filter.action;
        let key =
            (filter.before, actor, actor, action, action, filter.since, filter.until, filter.limit);
        let rows: Vec<Row> = self.all(LIST, key).await?;
        let entry = |(id, at, actor, actor_name, action, node, address, detail): Row| Entry {
            id: id.to_string(),
            at_ms: UnixMs(at),
            actor: actor.map(UserId),
            actor_name,
            action,
            node: node.map(NodeId),
            address,
            detail: String::from_utf8_lossy(&detail).into_owned(),
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Records a deed that changes nothing else.
    pub(crate) async fn note(&self, deed: Audit<'_>) -> Result<(), DbError> {
        let mut conn = self.conn().await?;
        super::within(deed.insert(&mut conn)).await
    }
}

/// The longest prefix of at most `max` bytes that ends between characters.
fn prefix(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}
