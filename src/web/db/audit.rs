//! The table `audit`: who did what, from where. Rows are added in the transaction of the deed
//! and never changed or removed.

use mysql_async::prelude::Queryable;

use super::{Db, DbError};
use crate::ids::{NodeId, UnixMs, UserId};

const INSERT: &str =
    "INSERT INTO audit (at_ms, actor, action, node, address, detail) VALUES (?, ?, ?, ?, ?, ?)";

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

impl Audit<'_> {
    pub(super) async fn insert(&self, on: &mut impl Queryable) -> Result<(), DbError> {
        let row = (
            self.at.0,
            self.actor.map(|id| id.0),
            self.action,
            self.node.map(|id| id.0),
            prefix(self.address, ADDRESS_BYTES_MAX),
            prefix(self.detail, DETAIL_BYTES_MAX),
        );
        Ok(on.exec_drop(INSERT, row).await?)
    }
}

impl Db {
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
