//! The one kind of `Range` that nginx's own filter answers wrongly.
//!
//! Called by `handler`. Pure; everything else about ranges is left to nginx.

/// Whether every range of the header ends before it begins, as `bytes=9-0` does. Such a header
/// is invalid and must be ignored (RFC 9110, 14.1.1); nginx would answer 416.
pub(crate) fn is_backward(header: &[u8]) -> bool {
    let Some(ranges) = header.strip_prefix(b"bytes=") else { return false };
    ranges.split(|byte| *byte == b',').all(|range| {
        let dash = range.iter().position(|byte| *byte == b'-');
        let sides = dash.and_then(|dash| Some((range.get(..dash)?, range.get(dash + 1..)?)));
        let numbers = sides.and_then(|(first, last)| Some((number(first)?, number(last)?)));
        numbers.is_some_and(|(first, last)| last < first)
    })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::is_backward;

    #[test]
    fn only_ranges_that_end_before_they_begin() {
        for (header, backward) in [
            ("bytes=9-0", true),
            ("bytes=1-0, 7-6", true),
            ("bytes=0-0", false),
            ("bytes=9-0,0-9", false),
            ("bytes=-5", false),
            ("bytes=5-", false),
            ("bytes=", false),
            ("bytes=a-b", false),
            ("bytes=+9-0", true), // not a number either: nginx refuses it, we ignore it
            ("items=9-0", false),
            ("", false),
            ("bytes=99999999999999999999-0", false),
        ] {
            assert_eq!(is_backward(header.as_bytes()), backward, "{header}");
        }
    }
}
