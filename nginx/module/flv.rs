//! Pseudo-streaming of FLV files as the C module has it: `start` and `end` of a query, and the
//! header that a player needs when it does not begin at the beginning (http.md 13).
//!
//! Called by `handler` where `flv_support` of an old configuration is on. Pure.

use proto::query::Query;

/// What stands before the content that does not begin at 0.
pub(crate) const HEADER: &[u8] = b"FLV\x01\x01\0\0\0\x09\0\0\0\x09";

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Whether [`HEADER`] goes before it.
    pub(crate) header: bool,
}

/// The part that the query asks for; `None` if it asks for none.
pub(crate) fn window(query: Query<'_>, size: u64) -> Option<Result<Window, ()>> {
    let number = |key| query.raw(key).and_then(signed);
    let start = number("start")?;
    if start == 0 {
        return Some(Ok(Window { from: 0, to: size, header: false }));
    }
    let window = match u64::try_from(start) {
        Ok(from) => {
            let end = query.raw("end").map(|_| number("end").and_then(|e| u64::try_from(e).ok()));
            let to = end.map_or(Some(size), |end| end.map(|end| end.min(size)));
            to.filter(|to| from < *to).map(|to| Window { from, to, header: true })
        }
        Err(_) => {
            let from = size.saturating_sub(start.unsigned_abs());
            (size != 0).then_some(Window { from, to: size, header: false })
        }
    };
    Some(window.ok_or(()))
}

fn signed(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let clean = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| clean)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        let part = |from, to, header| Some(Ok(Window { from, to, header }));
        for (query, window) in [
            ("start=100", part(100, 1000, true)),
            ("start=0", part(0, 1000, false)),
            ("start=-10", part(990, 1000, false)),
            ("start=-5000", part(0, 1000, false)),
            ("start=100&end=200", part(100, 200, true)),
            ("start=100&end=5000", part(100, 1000, true)),
            ("start=100&end=0", Some(Err(()))),
            ("start=100&end=x", Some(Err(()))),
            ("start=1000", Some(Err(()))),
            ("start=200&end=100", Some(Err(()))),
            ("start=x", None),
            ("start=", None),
            ("start=1.5", None),
            ("", None),
        ] {
            assert_eq!(super::window(Query::new(query.as_bytes()), 1000), window, "{query}");
        }
        assert_eq!(super::window(Query::new(b"start=-1"), 0), Some(Err(())));
    }
}
