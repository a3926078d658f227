//! Links that work for a while without a session: made for one file, one maker and one time.
//!
//! ```text
//! /api/link/<maker>/<node>/<name>?k=KEY&e=EXPIRES[&inline=1]&s=SIGNATURE
//! ```
//!
//! Signed as links to the store are (`proto::token`), over `node/<maker>/<node>` instead of a file
//! id. Pure; the keys stand in the database, and what a link leads to is the gate's to say.

use proto::query::Query;
use proto::token::{Key, Link, verify_link};

use crate::db::{LinkKey, Node};
use crate::error::WebError;
use crate::hex::escape;
use crate::ids::{NodeId, UnixMs, UserId};

/// Seconds that a link works.
const LIFE_S: u64 = 600;

/// A link and when it ends.
pub(crate) fn make(
    key: &LinkKey,
    maker: UserId,
    node: &Node,
    inline: bool,
    now: UnixMs,
) -> (String, UnixMs) {
    let expires = (now.0 / 1000).saturating_add(LIFE_S);
    let link = Link { inline, ..Link::until(expires) };
    let query = signer(key).map(|key| link.sign(&key, &subject(maker, node.id)));
    let name = escape(&node.name);
    let query = query.unwrap_or_default();
    let url = format!("/api/link/{maker}/{}/{name}?{query}", node.id);
    (url, UnixMs(expires.saturating_mul(1000)))
}

/// Whether the query is a signature of ours that has not expired; if so, whether the file is to
/// be shown.
pub(crate) fn check(
    keys: &[LinkKey],
    maker: UserId,
    node: NodeId,
    query: &[u8],
    now: UnixMs,
) -> Result<bool, WebError> {
    let keys: Vec<Key> = keys.iter().filter_map(signer).collect();
    let file = subject(maker, node);
    let link = verify_link(&keys, &file, Query::new(query), now.0 / 1000, None);
    link.map(|link| link.inline).map_err(|_| WebError::BadLink)
}

fn signer(key: &LinkKey) -> Option<Key> {
    Key::new(&key.id.to_string(), &key.secret)
}

fn subject(maker: UserId, node: NodeId) -> String {
    format!("node/{maker}/{node}")
}
