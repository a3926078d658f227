//! What an API token permits. Pure: decides from the route alone.
//!
//! Called by `app` for every request that brings a token. What is not listed here asks for a
//! session: accounts, sessions, tokens and administration are never open to a token.

use serde::{Deserialize, Serialize};

use crate::request::Method;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Look and download.
    Read = 1,
    /// Change files and folders.
    Write = 2,
    /// Make, change and stop shares.
    Share = 4,
    /// Figures, for tokens of administrators.
    Metrics = 8,
}

const ALL: [Scope; 4] = [Scope::Read, Scope::Write, Scope::Share, Scope::Metrics];

/// Several of them, as the bits of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(pub(crate) u8);

impl Scopes {
    pub(crate) fn of(list: &[Scope]) -> Self {
        Self(list.iter().fold(0, |bits, scope| bits | *scope as u8))
    }

    pub(crate) fn holds(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }

    pub(crate) fn list(self) -> Vec<Scope> {
        ALL.into_iter().filter(|scope| self.holds(*scope)).collect()
    }
}

/// Routes that files are looked at through, and changed through.
const FILES: [&str; 11] = [
    "disk", "mydisk", "upload", "uploads", "instant", "download", "zip", "link", "list",
    "category", "thumb",
];

/// What a token needs for this request; None: no token will do.
pub(crate) fn needed(segments: &[&str], method: Method) -> Option<Scope> {
    match (segments, method.is_safe()) {
        (["metrics"], true) => Some(Scope::Metrics),
        (["api", "session"] | ["api", "events"], true) => Some(Scope::Read),
        (["api", "share" | "shares", ..], true) => Some(Scope::Read),
        // Into one's own disk.
        (["api", "share", _, "save"], false) => Some(Scope::Write),
        (["api", "share" | "shares", ..], false) => Some(Scope::Share),
        // Whose list of files does not fit into an address sends it as a form.
        (["api", "zip"], _) => Some(Scope::Read),
        (["api", area, ..], true) if FILES.contains(area) => Some(Scope::Read),
        (["api", area, ..], false) if FILES.contains(area) => Some(Scope::Write),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_reaches_accounts() {
        let check = |path: &str, method, want| {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(needed(&segments, method), want, "{path}");
        };
        check("api/disk/root", Method::Get, Some(Scope::Read));
        check("api/disk/7", Method::Delete, Some(Scope::Write));
        check("api/mydisk/search", Method::Get, Some(Scope::Read));
        check("api/mydisk/trash", Method::Delete, Some(Scope::Write));
        check("api/uploads/ab", Method::Head, Some(Scope::Read));
        check("api/uploads/ab", Method::Patch, Some(Scope::Write));
        check("api/share/7", Method::Post, Some(Scope::Share));
        check("api/share/7/save", Method::Post, Some(Scope::Write));
        check("api/zip", Method::Get, Some(Scope::Read));
        check("api/zip", Method::Post, Some(Scope::Read));
        check("metrics", Method::Get, Some(Scope::Metrics));
        for path in
            ["api/sessions", "api/password", "api/totp", "api/tokens", "api/admin/users", "x", ""]
        {
            for method in [Method::Get, Method::Post, Method::Delete, Method::Patch] {
                check(path, method, None);
            }
        }
        check("api/session", Method::Patch, None);
    }

    #[test]
    fn scopes_are_bits() {
        let some = Scopes::of(&[Scope::Read, Scope::Share, Scope::Read]);
        assert_eq!(some, Scopes(5));
        assert_eq!(some.list(), [Scope::Read, Scope::Share]);
    }
}
