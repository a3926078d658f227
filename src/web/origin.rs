//! Whether a request that changes something comes from our own pages.
//!
//! Called by `app` before any handler. Programs without a browser send neither header and are
//! let in: a forged request needs a victim's browser, and every browser sends at least one.

use crate::error::WebError;
use crate::request::Request;

/// Refuses a state change that another site asked for.
pub(crate) fn check(request: &Request, public_url: Option<&str>) -> Result<(), WebError> {
    if request.method().is_safe() {
        return Ok(());
    }
    let header = |name| request.header(name).map(|v| std::str::from_utf8(v).unwrap_or("?"));
    let (site, origin) = (header("sec-fetch-site"), header("origin"));
    if is_ours(site, origin, header("host"), public_url) {
        Ok(())
    } else {
        Err(WebError::CrossSite)
    }
}

fn is_ours(
    site: Option<&str>,
    origin: Option<&str>,
    host: Option<&str>,
    public_url: Option<&str>,
) -> bool {
    // "none" is the user's own doing, such as a bookmark.
    if !matches!(site, None | Some("same-origin" | "none")) {
        return false;
    }
    let Some(origin) = origin else { return true };
    if public_url.is_some_and(|url| url.eq_ignore_ascii_case(origin)) {
        return true;
    }
    // The scheme is not compared: in front of nginx something else may speak TLS.
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_and_programs_may_change_things() {
        let host = Some("disk.example:8080");
        let ours = Some("http://disk.example:8080");
        let cases = [
            (None, None, true),
            (Some("same-origin"), ours, true),
            (Some("none"), None, true),
            (None, ours, true),
            (None, Some("https://DISK.example:8080"), true),
            (None, Some("https://public.example"), true),
            (Some("same-site"), None, false),
            (Some("cross-site"), None, false),
            (Some("cross-site"), ours, false),
            (Some("same-origin"), Some("http://evil.example"), false),
            (None, Some("http://evil.example"), false),
            (None, Some("http://disk.example:8081"), false),
            (None, Some("null"), false),
            (None, Some(""), false),
            (None, Some("http://disk.example:8080.evil.example"), false),
        ];
        for (site, origin, want) in cases {
            let got = is_ours(site, origin, host, Some("https://public.example"));
            assert_eq!(got, want, "{site:?} {origin:?}");
        }
        assert!(!is_ours(None, ours, None, None));
    }
}
