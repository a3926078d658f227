//! `Content-Disposition`: the name under which a browser saves a file (RFC 6266, RFC 8187).
//!
//! Used by the nginx module for the name in a link. Whatever the name holds, the result is one
//! header value: no control character, no quote or separator that could end it, and no path.

use alloc::string::{String, ToString as _};

use crate::query;

/// Bytes of a name; more is cut at a character.
const NAME_LEN_MAX: usize = 255;

/// Whether the browser shows the file or saves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disposition {
    #[default]
    Attachment,
    Inline,
}

impl Disposition {
    fn word(self) -> &'static str {
        match self {
            Self::Attachment => "attachment",
            Self::Inline => "inline",
        }
    }

    /// The header's value for a file called `name`, which may be any bytes.
    pub fn header(self, name: &[u8]) -> String {
        let name = clean(name);
        if name.is_empty() {
            return self.word().to_string();
        }
        let mut out = String::with_capacity(name.len().saturating_mul(4).saturating_add(48));
        out.push_str(self.word());
        out.push_str("; filename=\"");
        // Quotes and backslashes would need escapes that browsers disagree about, and a percent
        // sign makes some of them decode.
        out.extend(name.chars().map(|c| match c {
            '"' | '\\' | '%' => '_',
            plain if plain.is_ascii() => plain,
            _ => '_',
        }));
        out.push_str("\"; filename*=UTF-8''");
        query::encode_into(&mut out, name.as_bytes());
        out
    }
}

/// The name as a file system may see it: the last component, valid UTF-8, no control
/// characters and none that change the direction of text, not too long.
fn clean(name: &[u8]) -> String {
    let last = name.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or(name);
    let text = String::from_utf8_lossy(last);
    let bidi = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len().min(NAME_LEN_MAX));
    for c in text.chars().filter(|c| !c.is_control() && !bidi(*c)) {
        if NAME_LEN_MAX < out.len().saturating_add(c.len_utf8()) {
            break;
        }
        out.push(c);
    }
    let trimmed = out.trim();
    if matches!(trimmed, "." | "..") { String::new() } else { trimmed.to_string() }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_name_becomes_one_safe_value() {
        for (name, fallback, exact) in [
            (&b"a.txt"[..], "a.txt", "a.txt"),
            (b"a b\".txt", "a b_.txt", "a%20b%22.txt"),
            (b"100%.txt", "100_.txt", "100%25.txt"),
            ("\u{7167}\u{7247}.png".as_bytes(), "__.png", "%E7%85%A7%E7%89%87.png"),
            (b"a\r\nX: 1", "aX: 1", "aX%3A%201"),
            (b"a\0\x1b\x7f.txt", "a.txt", "a.txt"),
            (b"../../etc/passwd", "passwd", "passwd"),
            (b"C:\\Windows\\x.exe", "x.exe", "x.exe"),
            (b"\xff.txt", "_.txt", "%EF%BF%BD.txt"),
            ("gpj.\u{202e}exe".as_bytes(), "gpj.exe", "gpj.exe"),
            (b"a;b'c*", "a;b'c*", "a%3Bb%27c%2A"),
        ] {
            let want =
                alloc::format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{exact}");
            assert_eq!(Disposition::Attachment.header(name), want);
        }
        for name in [&b""[..], b"..", b"/", b"a/", b"\r\n", b" . "] {
            assert_eq!(Disposition::Inline.header(name), "inline");
        }
        let long = Disposition::Inline.header("\u{7167}".repeat(200).as_bytes());
        assert!(
            long.ends_with(&"%E7%85%A7".repeat(85)) && !long.ends_with(&"%E7%85%A7".repeat(86))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_name_leaves_the_value(name: Vec<u8>) {
            let value = Disposition::Attachment.header(&name);
            assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{value}");
            assert!(matches!(value.matches('"').count(), 0 | 2), "{value}");
        }
    }
}
