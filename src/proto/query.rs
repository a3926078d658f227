//! The query of a download address, and the percent coding of names in headers and addresses.
//!
//! Used by the nginx module to read what a link asks for, and by `token` to write links. The
//! rules of reading are the reference's (http.md 3.3): items without `=` or with an empty key
//! are nothing, keys are taken as they are, the first of several wins.

use alloc::string::String;
use alloc::vec::Vec;

/// The part of an address behind its question mark, as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a>(&'a [u8]);

impl<'a> Query<'a> {
    pub fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// The items that count, keys and values as they were sent.
    pub fn raw_items(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.split(|byte| *byte == b'&').filter_map(|item| {
            let equals = item.iter().position(|byte| *byte == b'=')?;
            let (key, rest) = item.split_at_checked(equals)?;
            (!key.is_empty()).then_some((key, rest.get(1..)?))
        })
    }

    /// The value of `key` as it was sent.
    pub fn raw(self, key: &str) -> Option<&'a [u8]> {
        self.raw_items().find(|(other, _)| *other == key.as_bytes()).map(|(_, value)| value)
    }

    /// The decoded value of `key`.
    pub fn get(self, key: &str) -> Option<Vec<u8>> {
        self.raw(key).map(decode)
    }

    /// Whether any item counts: decides between `?` and `&` when one is added.
    pub fn is_empty(self) -> bool {
        self.raw_items().next().is_none()
    }
}

/// Undoes percent coding; `+` is a blank. A percent sign that begins no code stands for itself.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = behind;
                }
                _ => out.push(b'%'),
            },
            (byte, _) => out.push(byte),
        }
    }
    out
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Appends `bytes` in percent coding: letters, digits and `-._~` stand for themselves, which is
/// right in a query as well as in a header (RFC 3986 2.3, RFC 8187 3.2.1).
pub fn encode_into(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            let digits = [byte >> 4, byte & 15].map(usize::from);
            out.extend(digits.iter().filter_map(|at| DIGITS.get(*at)).map(|b| char::from(*b)));
        }
    }
}

/// Whole seconds of a query: decimal digits and nothing else.
pub fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_the_reference_reads_them() {
        let query = Query::new(b"x&=1&token=a%2Bb+c&token=second&ts=&Token=z&%74s=9&q=a=b");
        let get = |key| query.get(key).map(|value| String::from_utf8(value).unwrap());
        assert_eq!(get("token").as_deref(), Some("a+b c"));
        assert_eq!(get("ts").as_deref(), Some(""));
        assert_eq!(get("Token").as_deref(), Some("z"));
        assert_eq!(get("q").as_deref(), Some("a=b"));
        assert_eq!(get("x"), None);
        assert_eq!(query.raw("token"), Some(&b"a%2Bb+c"[..]));
        for (text, empty) in [("", true), ("x", true), ("=1&&x", true), ("x=", false)] {
            assert_eq!(Query::new(text.as_bytes()).is_empty(), empty, "{text}");
        }
    }

    #[test]
    fn broken_codes_stand_for_themselves() {
        for (text, decoded) in [
            ("%41%e7%85%A7", &b"A\xe7\x85\xa7"[..]),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%zz%41", b"%zzA"),
            ("100%", b"100%"),
            ("%00%0d%0a", b"\0\r\n"),
        ] {
            assert_eq!(decode(text.as_bytes()), decoded, "{text}");
        }
    }

    #[test]
    fn numbers_have_digits_only() {
        for (text, value) in [
            ("1700000000", Some(1_700_000_000)),
            ("0", Some(0)),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1x", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes: Vec<u8>) {
            let mut text = String::new();
            encode_into(&mut text, &bytes);
            assert_eq!(decode(text.as_bytes()), bytes);
        }

        #[test]
        fn arbitrary_queries_never_panic(bytes: Vec<u8>) {
            let query = Query::new(&bytes);
            for (key, value) in query.raw_items() {
                decode(value);
                assert!(!key.is_empty());
            }
        }
    }
}
