//! A request as a handler sees it: CGI variables checked once, and a body that streams.
//!
//! Made by `serve` from the parameters of a FastCGI request; read by every handler. Nothing
//! here does I/O except waiting for the body, and nothing here knows what a route means.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod body;
mod fields;
mod target;

use std::net::IpAddr;

use fcgi::Params;
use serde::de::DeserializeOwned;

pub use body::{Body, BodyError};
pub(crate) use body::{Feed, pair};
pub use fields::Fields;

/// Levels of arrays and objects in a JSON body. Ours need three.
pub const JSON_DEPTH_MAX: usize = 32;

/// Why a request cannot be understood, before or while its body is read.
#[derive(Debug, thiserror::Error)]
pub enum BadRequest {
    /// A variable that every web server sends is not there, or is not what it must be.
    #[error("the request has no usable {name}")]
    Variable { name: &'static str },
    /// The path is not clean: a bad escape, a dot segment, a control character, not UTF-8.
    #[error("the path of the request is malformed")]
    Path,
    /// A query or form is not `name=value` pairs in UTF-8, or has too many of them.
    #[error("the query or form is malformed")]
    Fields,
    /// The content type is not the one this route takes.
    #[error("the content type is not {want}")]
    WrongType { want: &'static str },
    /// The body is larger than this route takes.
    #[error("the body exceeds {max} bytes")]
    TooLarge { max: usize },
    /// The body is JSON nested deeper than `JSON_DEPTH_MAX`.
    #[error("the body is nested deeper than {max} levels")]
    TooDeep { max: usize },
    /// The body is not the JSON this route takes.
    #[error("the body is not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// The body ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl BadRequest {
    /// The HTTP status and the stable code for a client.
    pub fn public(&self) -> (u16, &'static str) {
        match self {
            Self::Variable { .. } | Self::Path | Self::Fields => (400, "bad_request"),
            Self::WrongType { .. } => (415, "wrong_content_type"),
            Self::TooLarge { .. } => (413, "too_large"),
            Self::TooDeep { .. } | Self::Json(_) => (400, "invalid_json"),
            Self::Body(BodyError::Stalled) => (408, "body_stalled"),
            Self::Body(_) => (400, "incomplete_body"),
        }
    }
}

/// What the client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// Anything else: no route has it.
    Other,
}

impl Method {
    fn parse(bytes: &[u8]) -> Self {
        match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    /// Whether the method only reads (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }
}

/// One request. Its parts were checked when it was made.
#[derive(Debug)]
pub struct Request {
    params: Params,
    method: Method,
    segments: Vec<String>,
    content_length: Option<u64>,
    body: Body,
}

/// The content length of a request: None when absent or empty, an error when not a number.
pub(crate) fn content_length(params: &Params) -> Result<Option<u64>, BadRequest> {
    let bad = BadRequest::Variable { name: "CONTENT_LENGTH" };
    match params.get(b"CONTENT_LENGTH") {
        None | Some(b"") => Ok(None),
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            let text = str::from_utf8(digits).ok();
            text.and_then(|text| text.parse().ok()).map(Some).ok_or(bad)
        }
        Some(_) => Err(bad),
    }
}

impl Request {
    /// Checks the variables of a request: method, path and content length.
    pub fn new(params: Params, body: Body) -> Result<Self, BadRequest> {
        let method = params.get(b"REQUEST_METHOD").map(Method::parse);
        let method = method.ok_or(BadRequest::Variable { name: "REQUEST_METHOD" })?;
        let target = params.get(b"REQUEST_URI");
        let target = target.ok_or(BadRequest::Variable { name: "REQUEST_URI" })?;
        let segments = target::segments(target).ok_or(BadRequest::Path)?;
        let content_length = content_length(&params)?;
        Ok(Self { params, method, segments, content_length, body })
    }

    /// A request without a connection, for the tests of handlers. `variables` are CGI names.
    pub fn for_test(
        method: &str,
        target: &str,
        variables: &[(&str, &str)],
        body: Body,
    ) -> Result<Self, BadRequest> {
        let fixed = [("REQUEST_METHOD", method), ("REQUEST_URI", target)];
        let all = fixed.iter().chain(variables);
        let params =
            Params::from_pairs(all.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        Self::new(params, body)
    }

    pub fn method(&self) -> Method {
        self.method
    }

    /// The decoded path, split at its slashes: `/api/upload/a%2Fb` is `api`, `upload`, `a/b`.
    /// No segment is `.` or `..` or holds a control character; one may be empty.
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// A CGI variable as the web server set it, any bytes.
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        self.params.get(name.as_bytes())
    }

    /// A request header by its usual name (`user-agent`), any bytes.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        fields::header(&self.params, name.as_bytes())
    }

    /// The same, if it is text.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// The value of a cookie. Of a repeated name the first counts.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        fields::cookie(self.header_text("cookie")?, name)
    }

    /// The announced length of the body. A body that does not have it ends with an error.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The client's address as the web server saw it.
    pub fn remote_address(&self) -> Option<IpAddr> {
        let text = str::from_utf8(self.params.get(b"REMOTE_ADDR")?).ok()?;
        text.parse().ok()
    }

    /// Whether the client speaks HTTPS with the web server.
    pub fn is_https(&self) -> bool {
        self.params.get(b"HTTPS").is_some_and(|value| value.eq_ignore_ascii_case(b"on"))
    }

    /// The decoded query.
    pub fn query(&self) -> Result<Fields, BadRequest> {
        Fields::parse(self.params.get(b"QUERY_STRING").unwrap_or_default())
            .ok_or(BadRequest::Fields)
    }

    /// The body, to be read where it is.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The body, to be carried elsewhere. What stays behind is empty.
    pub fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.body, Body::from_bytes(bytes::Bytes::new()))
    }

    /// A JSON body of at most `bytes_max` bytes and `JSON_DEPTH_MAX` levels. The content type
    /// must be JSON: a page of another site cannot send that without asking first.
    pub async fn json<T: DeserializeOwned>(&mut self, bytes_max: usize) -> Result<T, BadRequest> {
        let bytes = self.typed_body("application/json", bytes_max).await?;
        if fields::json_depth(&bytes) > JSON_DEPTH_MAX {
            return Err(BadRequest::TooDeep { max: JSON_DEPTH_MAX });
        }
        serde_json::from_slice(&bytes).map_err(BadRequest::Json)
    }

    /// A form body (`application/x-www-form-urlencoded`) of at most `bytes_max` bytes.
    pub async fn form(&mut self, bytes_max: usize) -> Result<Fields, BadRequest> {
        let bytes = self.typed_body("application/x-www-form-urlencoded", bytes_max).await?;
        Fields::parse(&bytes).ok_or(BadRequest::Fields)
    }

    async fn typed_body(&mut self, want: &'static str, max: usize) -> Result<Vec<u8>, BadRequest> {
        let given = self.header_text("content-type").unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(want) {
            return Err(BadRequest::WrongType { want });
        }
        let announced = self.content_length.unwrap_or(0);
        if u64::try_from(max).is_ok_and(|max| max < announced) {
            return Err(BadRequest::TooLarge { max });
        }
        self.body.collect(max).await?.ok_or(BadRequest::TooLarge { max })
    }
}
