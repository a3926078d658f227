//! What nginx hands on of a request: method, target, query, cookies, ranges, lengths.

use crate::request::{Body, Request};
use fcgi::Params;

pub fn run(data: &[u8]) {
    // Lines: target, query, cookie, content length, range.
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let pairs = [
        (&b"REQUEST_METHOD"[..], &b"GET"[..]),
        (b"REQUEST_URI", line()),
        (b"QUERY_STRING", line()),
        (b"HTTP_COOKIE", line()),
        (b"CONTENT_LENGTH", line()),
        (b"HTTP_RANGE", line()),
        (b"REMOTE_ADDR", line()),
    ];
    let Ok(request) = Request::new(Params::from_pairs(pairs), Body::from_bytes(Vec::new())) else {
        return;
    };
    for segment in request.segments() {
        // A slash may stand in a segment, as `%2F`: handlers take no segment for a path.
        let plain = !matches!(segment, "." | "..") && !segment.chars().any(char::is_control);
        assert!(plain, "{segment:?}");
    }
    if let Ok(fields) = request.query() {
        for (name, value) in fields.iter() {
            assert!(fields.get(name).is_some(), "{name}={value}");
        }
    }
    for name in ["session", "token", ""] {
        let _ = request.cookie(name);
    }
    let _ = (request.content_length(), request.remote_address(), request.is_https());
    let _ = (request.header("range"), request.header_text("range"));
}
