//! The path of a request target: decoded once, refused when it is not plain.
//!
//! Called by `request`. Never resolves dot segments: the web server chose the worker by a
//! path it had normalised, and a second reading here could differ from its.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

/// The decoded segments of the path before any query, or None if it is malformed.
pub(super) fn segments(target: &[u8]) -> Option<Vec<String>> {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let path = path.strip_prefix(b"/")?;
    path.split(|byte| *byte == b'/').map(segment).collect()
}

fn segment(raw: &[u8]) -> Option<String> {
    let text = String::from_utf8(percent_decode(raw, false)?).ok()?;
    let plain = !matches!(text.as_str(), "." | "..") && !text.chars().any(char::is_control);
    plain.then_some(text)
}

/// Undoes `%XX`, and `+` for a space in forms. None if an escape is cut or not hexadecimal.
pub(super) fn percent_decode(raw: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        rest = match rest {
            [] => return Some(out),
            [b'%', high, low, tail @ ..] => {
                out.push(hex(*high)? << 4 | hex(*low)?);
                tail
            }
            [b'%', ..] => return None,
            [b'+', tail @ ..] if plus_is_space => {
                out.push(b' ');
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &[u8], want: Option<&[&str]>) {
        let got = segments(target);
        let got = got.as_ref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(got.as_deref(), want, "{}", target.escape_ascii());
    }

    #[test]
    fn paths_are_decoded_or_refused() {
        check(b"/", Some(&[""]));
        check(b"/api/login?x=/..", Some(&["api", "login"]));
        check(b"/api/upload/a%2Fb", Some(&["api", "upload", "a/b"]));
        check(b"/api/upload/%E4%BD%A0+%25", Some(&["api", "upload", "你+%"]));
        check(b"//api/", Some(&["", "api", ""]));
        check(b"/...", Some(&["..."]));
        for bad in [
            &b""[..],
            b"api",
            b"*",
            b"/a/../b",
            b"/a/%2e%2E/b",
            b"/./b",
            b"/%",
            b"/%4",
            b"/%zz",
            b"/%+1",
            b"/%00",
            b"/a%0d%0a",
            b"/\x7f",
            b"/%c2%85",
            b"/%ff",
            b"/\xc3\x28",
        ] {
            check(bad, None);
        }
    }
}
