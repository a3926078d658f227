//! A response: status, headers, and a body that is whole or streams.
//!
//! Made by handlers, written by `serve`. A header that could end its line early cannot be put
//! into one, so nothing a user typed can add a header of its own.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::Stream;
use serde::Serialize;

/// Bytes of all header lines: they must fit into the buffer where a web server gathers them.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A header name or value that would break the header block, or make it too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header {name:?} has a forbidden name or value, or is too long")]
pub struct BadHeader {
    /// The name, shown escaped.
    pub name: String,
}

/// What a streamed body is made of. An error ends the connection, so that the client sees a cut
/// body and never takes it for a whole one.
pub type Chunks = Pin<Box<dyn Stream<Item = anyhow::Result<Bytes>> + Send>>;

pub(crate) enum ResponseBody {
    Whole(Bytes),
    Stream(Chunks),
}

/// The answer to one request.
pub struct Response {
    status: u16,
    /// Complete lines, `name: value\r\n`, in the order they were added.
    lines: Vec<u8>,
    body: ResponseBody,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Response");
        shown.field("status", &self.status).field("lines", &self.lines.escape_ascii().to_string());
        match &self.body {
            ResponseBody::Whole(bytes) => shown.field("body_len", &bytes.len()),
            ResponseBody::Stream(_) => shown.field("body", &"stream"),
        };
        shown.finish()
    }
}

impl Response {
    /// A status and nothing else, such as 204.
    pub fn empty(status: u16) -> Self {
        Self { status, lines: Vec::new(), body: ResponseBody::Whole(Bytes::new()) }
    }

    /// Status 200 with a body of the given media type.
    pub fn bytes(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: ResponseBody::Whole(body.into()), ..Self::typed(content_type) }
    }

    /// Status 200 with a body that is made while it is sent, so that its length is not known
    /// when the header leaves: the web server frames it.
    pub fn stream(
        content_type: &'static str,
        chunks: impl Stream<Item = anyhow::Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self { body: ResponseBody::Stream(Box::pin(chunks)), ..Self::typed(content_type) }
    }

    /// Status 200 with `value` as JSON. A value that JSON cannot express (a map with keys that
    /// are not text) is a mistake of ours and becomes an error.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(Self::bytes("application/json; charset=utf-8", body))
    }

    fn typed(content_type: &'static str) -> Self {
        let mut response = Self::empty(200);
        response.push_line(b"content-type", content_type.as_bytes());
        response
    }

    /// The same with another status. Numbers outside 100 to 999 become 500.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = if (100..=999).contains(&status) { status } else { 500 };
        self
    }

    /// Adds a header. The name must be a token of RFC 9110, the value free of control
    /// characters; bytes above 127 are allowed. `status` and the framing headers belong to us.
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, BadHeader> {
        let value = value.as_ref();
        let ours = ["status", "content-length", "connection", "transfer-encoding"];
        let allowed = !ours.iter().any(|own| own.eq_ignore_ascii_case(name));
        let token = !name.is_empty() && name.bytes().all(is_token_byte);
        let fits = name.len().saturating_add(value.len())
            <= HEAD_BYTES_MAX.saturating_sub(self.lines.len());
        let plain = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        if !(allowed && token && plain && fits) {
            return Err(BadHeader { name: name.escape_default().to_string() });
        }
        self.push_line(name.as_bytes(), value);
        Ok(self)
    }

    fn push_line(&mut self, name: &[u8], value: &[u8]) {
        let len = name.len().saturating_add(value.len()).saturating_add(4);
        self.lines.reserve(len); // once, not for each part
        for part in [name, b": ", value, b"\r\n"] {
            self.lines.extend_from_slice(part);
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first header of that name, for tests of handlers.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.lines.split(|byte| *byte == b'\n');
        lines.find_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let (have, value) = line.split_at_checked(name.len())?;
            have.eq_ignore_ascii_case(name.as_bytes()).then_some(value)?.strip_prefix(b": ")
        })
    }

    /// The body if it is whole, for tests of handlers.
    pub fn whole_body(&self) -> Option<&Bytes> {
        match &self.body {
            ResponseBody::Whole(bytes) => Some(bytes),
            ResponseBody::Stream(_) => None,
        }
    }

    /// Writes the CGI header block (RFC 3875 section 6.3) and hands over the body.
    pub(crate) fn write_head(self, out: &mut Vec<u8>) -> ResponseBody {
        out.extend_from_slice(b"Status: ");
        push_number(out, u64::from(self.status));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.lines);
        // RFC 9110 section 8.6: none of these has content.
        let has_content = self.status >= 200 && !matches!(self.status, 204 | 304);
        match self.body {
            ResponseBody::Whole(bytes) if has_content => {
                out.extend_from_slice(b"content-length: ");
                push_number(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                out.extend_from_slice(b"\r\n\r\n");
                ResponseBody::Whole(bytes)
            }
            ResponseBody::Stream(chunks) if has_content => {
                out.extend_from_slice(b"\r\n");
                ResponseBody::Stream(chunks)
            }
            _ => {
                out.extend_from_slice(b"\r\n");
                ResponseBody::Whole(Bytes::new())
            }
        }
    }
}

/// Decimal digits, without the machinery of formatting: this runs for every response.
fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut left = number;
    let mut used = 0usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        used = used.saturating_add(1);
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a handler may return: a response, or an error that knows its response. The implementor
/// for an error logs it, because that is where the error stops.
pub trait IntoResponse {
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl<E: IntoResponse> IntoResponse for Result<Response, E> {
    fn into_response(self) -> Response {
        self.unwrap_or_else(E::into_response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(response: Response) -> String {
        let mut out = Vec::new();
        response.write_head(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_header_block_is_frozen() {
        let response = Response::json(&serde_json::json!({"a": 1})).unwrap().with_status(201);
        let response = response.with_header("set-cookie", "session=x; HttpOnly").unwrap();
        let want = "Status: 201\r\ncontent-type: application/json; charset=utf-8\r\n\
                    set-cookie: session=x; HttpOnly\r\ncontent-length: 7\r\n\r\n";
        assert_eq!(head(response), want);
        assert_eq!(head(Response::empty(204)), "Status: 204\r\n\r\n");
        assert_eq!(head(Response::empty(304)), "Status: 304\r\n\r\n");
        assert_eq!(head(Response::empty(404)), "Status: 404\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(
            head(Response::empty(200).with_status(7)),
            "Status: 500\r\ncontent-length: 0\r\n\r\n"
        );
        let stream = futures_util::stream::empty();
        let want = "Status: 200\r\ncontent-type: application/zip\r\n\r\n";
        assert_eq!(head(Response::stream("application/zip", stream)), want);
    }

    #[test]
    fn no_header_can_end_its_line() {
        for (name, value) in [
            ("x-a", "b\r\nset-cookie: c"),
            ("x-a", "b\n"),
            ("x-a", "b\0"),
            ("x-a", "b\x7f"),
            ("x-a: b\r\nc", "d"),
            ("x a", "b"),
            ("", "b"),
            ("é", "b"),
            ("Status", "200"),
            ("content-length", "1"),
            ("Transfer-Encoding", "chunked"),
        ] {
            let refused = Response::empty(200).with_header(name, value);
            assert!(refused.is_err(), "{name:?}: {value:?}");
        }
        let fine = Response::empty(200).with_header("X-Accel-Redirect", "/a\tb é".as_bytes());
        let fine = fine.unwrap();
        assert_eq!(fine.header("x-accel-redirect"), Some("/a\tb é".as_bytes()));
        assert_eq!(fine.header("x-accel"), None);
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 99, 100, 4096, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
