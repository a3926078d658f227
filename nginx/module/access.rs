//! Who may have a file: the token of the C module, strong links, the header that skips both, and
//! the pass of a server that asks on behalf of its client.
//!
//! Called by `handler` before the name is looked at (http.md 6). What a token is, and whether
//! it is right, `proto::token` knows; here is only which of them a location demands.

use std::borrow::Cow;

use proto::ids::GroupName;
use proto::query::Query;
use proto::token::{self, Key, Link};

use crate::ffi::Request;

/// The header by which one server asks another on behalf of a client. It ends a circle of
/// servers, and if it is signed it stands for the token.
pub(crate) const HOP: &str = "x-fastdfs-hop";

/// What a location demands of its links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// For strong links; the first signs what is passed on to other servers.
    pub(crate) keys: Vec<Key>,
    pub(crate) md5: Option<Md5>,
    pub(crate) demand: Option<Demand>,
    pub(crate) fail: Option<Fail>,
    /// Name in lower case, and value.
    pub(crate) bypass: Option<(Vec<u8>, Vec<u8>)>,
}

/// The secret of the C module's token.
#[derive(Clone)]
pub(crate) struct Md5 {
    pub(crate) secret: Vec<u8>,
    pub(crate) ttl_secs: u64,
}

impl std::fmt::Debug for Md5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Md5({} s)", self.ttl_secs) // never the secret
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Off,
    Md5,
    Link,
    Any,
}

/// The answer to a link that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fail {
    Status(u16),
    /// This file, with status 200.
    File(Vec<u8>),
}

/// What a link granted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    pub(crate) link: Link<'static>,
    /// Unix seconds; none if no token was needed, or it never expires.
    pub(crate) until: Option<u64>,
    /// Not for caches that others use.
    pub(crate) private: bool,
}

/// A link that is refused, and which of the two forms it was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) why: token::Refusal,
    pub(crate) strong: bool,
}

impl Rules {
    /// Fills what is unset from `outer`.
    pub(crate) fn inherit(&mut self, outer: &Self) {
        if self.keys.is_empty() {
            self.keys.clone_from(&outer.keys);
        }
        self.md5 = self.md5.take().or_else(|| outer.md5.clone());
        self.demand = self.demand.or(outer.demand);
        self.fail = self.fail.take().or_else(|| outer.fail.clone());
        self.bypass = self.bypass.take().or_else(|| outer.bypass.clone());
    }

    /// What is demanded: if nothing is said, a token of each kind that there is a secret for.
    pub(crate) fn demanded(&self) -> Demand {
        self.demand.unwrap_or(match (self.md5.is_some(), !self.keys.is_empty()) {
            (false, false) => Demand::Off,
            (true, false) => Demand::Md5,
            (false, true) => Demand::Link,
            (true, true) => Demand::Any,
        })
    }

    /// What cannot work, for `nginx -t`.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self.demanded() {
            Demand::Md5 if self.md5.is_none() => Err("needs a \"fastdfs_md5_secret\""),
            Demand::Link if self.keys.is_empty() => Err("needs a \"fastdfs_link_key\""),
            Demand::Any if self.md5.is_none() && self.keys.is_empty() => {
                Err("needs a \"fastdfs_link_key\" or a \"fastdfs_md5_secret\"")
            }
            _ => Ok(()),
        }
    }

    /// Judges a request for `name` (as the address shows it) of `group`.
    pub(crate) fn judge(
        &self,
        request: &Request<'_>,
        group: GroupName,
        name: &[u8],
    ) -> Result<Grant, Denied> {
        let demand = self.demanded();
        let query = Query::new(request.args());
        if demand == Demand::Off || self.bypasses(request) {
            return Ok(unsigned(query));
        }
        let strong = match demand {
            Demand::Link => true,
            Demand::Any => self.md5.is_none() || token::is_link(query),
            Demand::Md5 | Demand::Off => false,
        };
        let now = request.now();
        let Ok(text) = std::str::from_utf8(name) else {
            return Err(Denied { why: token::Refusal::Malformed, strong });
        };
        let file = [group.as_str(), "/", text].concat();
        let pass = request.header(HOP.as_bytes());
        if pass.is_some_and(|pass| token::verify_hop(&self.keys, &file, pass, now)) {
            let link = token::read_link(query).ok();
            let grant = link.map(|link| Grant { until: Some(link.expires), private: true, link });
            return Ok(grant.unwrap_or_else(|| unsigned(query)));
        }
        if strong {
            let link = token::verify_link(&self.keys, &file, query, now, request.client());
            let link = link.map_err(|why| Denied { why, strong })?;
            return Ok(Grant { until: Some(link.expires), private: true, link });
        }
        let Some(md5) = &self.md5 else {
            return Err(Denied { why: token::Refusal::Missing, strong });
        };
        let until = token::verify_md5(name, &md5.secret, md5.ttl_secs, query, now);
        let until = until.map_err(|why| Denied { why, strong })?;
        Ok(Grant { until, private: true, ..unsigned(query) })
    }

    fn bypasses(&self, request: &Request<'_>) -> bool {
        let Some((name, value)) = &self.bypass else { return false };
        request.header(name).is_some_and(|sent| sent == value.as_slice())
    }
}

/// What a link may ask for without a signature: to be saved, under a name.
fn unsigned(query: Query<'_>) -> Grant {
    let link = Link { filename: query.get("filename").map(Cow::Owned), ..Link::default() };
    Grant { link, until: None, private: false }
}
