//! Small texts inside a request: query and form fields, headers, cookies, nesting of JSON.
//!
//! Called by `request`. Every function is total: any bytes in, a value or None out.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use fcgi::Params;

use super::target::percent_decode;

/// Pairs in one query or form.
const FIELDS_MAX: usize = 128;

/// The decoded pairs of a query or of a form, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Decodes `a=b&c=d`. None for a bad escape, for what is not UTF-8, or for too many pairs.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() >= FIELDS_MAX {
                return None;
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = text(halves.next().unwrap_or_default())?;
            pairs.push((name, text(halves.next().unwrap_or_default())?));
        }
        Some(Self(pairs))
    }

    /// The value of `name`. Of a repeated name the first counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// All pairs as (name, value).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn text(raw: &[u8]) -> Option<String> {
    String::from_utf8(percent_decode(raw, true)?).ok()
}

/// A header by its usual name. CGI (RFC 3875 section 4.1.18) writes it in upper case with `_`
/// for `-` behind `HTTP_`, except for the two that describe the body.
pub(super) fn header<'a>(params: &'a Params, name: &[u8]) -> Option<&'a [u8]> {
    let same = |cgi: &[u8]| {
        cgi.len() == name.len()
            && cgi.iter().zip(name).all(|(have, want)| match want {
                b'-' => *have == b'_',
                _ => *have == want.to_ascii_uppercase(),
            })
    };
    let describes_body = |cgi: &[u8]| matches!(cgi, b"CONTENT_TYPE" | b"CONTENT_LENGTH");
    let found = params.iter().find(|(cgi, _)| match cgi.strip_prefix(b"HTTP_") {
        Some(rest) => same(rest) && !describes_body(rest),
        None => describes_body(cgi) && same(cgi),
    });
    found.map(|(_, value)| value)
}

/// A cookie's value in a `Cookie` header (RFC 6265 section 4.2.1).
pub(super) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let pairs = header.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(have, _)| have.trim() == name);
    values.next().map(|(_, value)| value.trim())
}

/// The deepest nesting of arrays and objects in JSON text. For text that is not JSON the answer
/// is some number: the parser refuses it afterwards.
pub(super) fn json_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_or_refused() {
        let check = |bytes: &[u8], want: Option<&[(&str, &str)]>| {
            let got = Fields::parse(bytes);
            let got = got.as_ref().map(|fields| fields.iter().collect::<Vec<_>>());
            assert_eq!(got.as_deref(), want, "{}", bytes.escape_ascii());
        };
        check(b"", Some(&[]));
        check(b"&&", Some(&[]));
        check(
            b"a=1&b=%E4%BD%A0+x&c&=d&e=f=g",
            Some(&[("a", "1"), ("b", "你 x"), ("c", ""), ("", "d"), ("e", "f=g")]),
        );
        check(b"a=%", None);
        check(b"%ff=1", None);
        check("a=1&".repeat(FIELDS_MAX).as_bytes(), Some(&[("a", "1"); FIELDS_MAX]));
        check("a=1&".repeat(FIELDS_MAX + 1).as_bytes(), None);
        let fields = Fields::parse(b"a=1&a=2").unwrap();
        assert_eq!((fields.get("a"), fields.get("b")), (Some("1"), None));
    }

    #[test]
    fn headers_are_found_by_their_usual_name() {
        let params = Params::from_pairs([
            (&b"CONTENT_TYPE"[..], &b"text/plain"[..]),
            (b"HTTP_CONTENT_TYPE", b"forged"),
            (b"HTTP_X_FORWARDED_FOR", b"\xff"),
            (b"REMOTE_ADDR", b"1.2.3.4"),
        ]);
        let check = |name: &str, want: Option<&[u8]>| {
            assert_eq!(header(&params, name.as_bytes()), want, "{name}");
        };
        check("Content-Type", Some(b"text/plain"));
        check("x-forwarded-for", Some(b"\xff"));
        check("X-Forwarded-For", Some(b"\xff"));
        check("x_forwarded", None);
        check("remote-addr", None);
        check("", None);
    }

    #[test]
    fn cookies_are_found_between_others() {
        for (text, want) in [
            ("session=abc", Some("abc")),
            ("a=b; session=abc; session=def", Some("abc")),
            ("a=b;session=", Some("")),
            ("xsession=1; session2=2", None),
            ("session", None),
            ("", None),
            ("a=\"; session=x", Some("x")),
        ] {
            assert_eq!(cookie(text, "session"), want, "{text}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, want) in
            [("1", 0), ("[]", 1), (r#"{"a":[1,{"b":[]}]}"#, 4), (r#"["[[[\"[["]"#, 1), ("]]][", 1)]
        {
            assert_eq!(json_depth(text.as_bytes()), want, "{text}");
        }
        assert_eq!(json_depth("[".repeat(100_000).as_bytes()), 100_000);
    }
}
