//! `multipart/form-data` as a stream of parts, each a stream of bytes. Called by upload handlers.
//!
//! The boundary search and the part headers are `multer`'s. (The other known crate, `multipart`,
//! reads blocking, is abandoned since 2022 and has an open advisory.) What multer lacks is here:
//! it would gather a preamble or a header block of any size and read ahead as fast as bytes
//! come, so the stream it is given is cut into small pieces, one per poll, and counted. Nothing
//! here keeps a part or writes a file: parts come in the order the client chose.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::Stream;

use crate::request::{Body, BodyError, Request};

/// Bytes handed to the parser at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The same between parts, where the parser keeps everything until a header block is complete.
const HEAD_PIECE_BYTES: usize = 4 * 1024;
/// RFC 2046 section 5.1.1: the longest boundary.
const BOUNDARY_BYTES_MAX: usize = 70;

/// What one multipart body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartLimits {
    /// Parts in one body.
    pub parts_max: usize,
    /// Bytes before the first part, or of the headers of one part.
    pub head_bytes_max: usize,
}

impl Default for MultipartLimits {
    fn default() -> Self {
        // A page sends at most some hundred files at once; a header holds one file name.
        Self { parts_max: 1000, head_bytes_max: 16 * 1024 }
    }
}

/// Why a multipart body was refused.
#[derive(Debug, thiserror::Error)]
pub enum MultipartError {
    /// Not `multipart/form-data`, or without a usable boundary.
    #[error("the content type is not multipart/form-data with a boundary")]
    WrongType,
    /// One part more than `parts_max`.
    #[error("more than {max} parts")]
    TooManyParts { max: usize },
    /// More than `head_bytes_max` bytes without a complete header block.
    #[error("the header of a part exceeds {max} bytes")]
    HeadTooLong { max: usize },
    /// A part has no name, or a name or file name that is not UTF-8.
    #[error("a part has no usable name")]
    Name,
    /// A text part is longer than the caller takes, or not UTF-8.
    #[error("the text of a part is not UTF-8 or exceeds {max} bytes")]
    Text { max: usize },
    /// The parts are cut or malformed.
    #[error("the multipart body is malformed")]
    Malformed(#[source] multer::Error),
    /// The body ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl MultipartError {
    /// The HTTP status and the stable code for a client.
    pub fn public(&self) -> (u16, &'static str) {
        match self {
            Self::WrongType => (415, "wrong_content_type"),
            Self::TooManyParts { .. } | Self::HeadTooLong { .. } => (413, "too_large"),
            Self::Name | Self::Text { .. } | Self::Malformed(_) => (400, "invalid_multipart"),
            Self::Body(BodyError::Stalled) => (408, "body_stalled"),
            Self::Body(_) => (400, "incomplete_body"),
        }
    }
}

/// The parts of one body.
#[derive(Debug)]
pub struct Multipart {
    parser: multer::Multipart<'static>,
    /// The part handed out last, as far as it was not read.
    field: Option<multer::Field<'static>>,
    /// Shared with the `Gate` that feeds the parser: bytes it may still take before the next
    /// part begins, or `IN_A_PART`.
    allowance: Arc<AtomicUsize>,
    parts: usize,
    limits: MultipartLimits,
}

/// The allowance while a part is read: its length is the handler's affair.
const IN_A_PART: usize = usize::MAX;

/// One part: its name, perhaps a file name, and its bytes.
#[derive(Debug)]
pub struct Part<'a> {
    from: &'a mut Multipart,
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl Multipart {
    /// Takes the body of `request` if it is multipart.
    pub fn new(request: &mut Request, limits: MultipartLimits) -> Result<Self, MultipartError> {
        let given = request.header_text("content-type").unwrap_or_default();
        let boundary = multer::parse_boundary(given).map_err(|_| MultipartError::WrongType)?;
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
            return Err(MultipartError::WrongType);
        }
        let allowance = Arc::new(AtomicUsize::new(limits.head_bytes_max));
        let gate = Gate {
            body: request.take_body(),
            rest: Bytes::new(),
            allowance: allowance.clone(),
            gave: false,
        };
        let parser = multer::Multipart::new(gate, boundary);
        Ok(Self { parser, field: None, allowance, parts: 0, limits })
    }

    /// The next part, after skipping what is left of the one before; None at the end.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_>>, MultipartError> {
        while self.chunk().await?.is_some() {}
        self.field = None;
        self.allowance.store(self.limits.head_bytes_max, Ordering::Relaxed);
        let next = self.parser.next_field().await.map_err(|error| self.explain(error))?;
        let Some(field) = next else { return Ok(None) };
        if self.parts >= self.limits.parts_max {
            return Err(MultipartError::TooManyParts { max: self.limits.parts_max });
        }
        self.parts = self.parts.saturating_add(1);
        self.allowance.store(IN_A_PART, Ordering::Relaxed);

        // The parser drops a name that is not UTF-8. To take such a file for a text field would
        // be wrong, so the whole header is asked.
        let disposition = field.headers().get("content-disposition");
        let readable = disposition.is_some_and(|value| str::from_utf8(value.as_bytes()).is_ok());
        let (Some(name), true) = (field.name(), readable) else {
            return Err(MultipartError::Name);
        };
        let name = name.to_owned();
        let file_name = field.file_name().map(str::to_owned);
        let content_type = field.content_type().map(|mime| mime.essence_str().to_owned());
        self.field = Some(field);
        Ok(Some(Part { from: self, name, file_name, content_type }))
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, MultipartError> {
        let Some(field) = &mut self.field else { return Ok(None) };
        match field.chunk().await {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Finds our own errors inside the parser's.
    fn explain(&self, error: multer::Error) -> MultipartError {
        let multer::Error::StreamReadFailed(cause) = error else {
            return MultipartError::Malformed(error);
        };
        match cause.downcast::<GateError>() {
            Ok(gate) => match *gate {
                GateError::Body(error) => MultipartError::Body(error),
                GateError::Head => MultipartError::HeadTooLong { max: self.limits.head_bytes_max },
            },
            Err(other) => MultipartError::Malformed(multer::Error::StreamReadFailed(other)),
        }
    }
}

impl Part<'_> {
    /// The name of the form field.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file name as the client wrote it; None for a text field. Not checked in any way.
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The media type the client claims, without parameters.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The next bytes, or None at the end of the part. Cancel-safe.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, MultipartError> {
        self.from.chunk().await
    }

    /// The part as text of at most `bytes_max` bytes.
    pub async fn text(mut self, bytes_max: usize) -> Result<String, MultipartError> {
        let refused = MultipartError::Text { max: bytes_max };
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes_max.saturating_sub(whole.len()) < chunk.len() {
                return Err(refused);
            }
            whole.extend_from_slice(&chunk);
        }
        String::from_utf8(whole).map_err(|_| refused)
    }
}

#[derive(Debug, thiserror::Error)]
enum GateError {
    #[error(transparent)]
    Body(BodyError),
    #[error("the header of a part is too long")]
    Head,
}

/// Between the body and the parser: one small piece per poll, counted while the parser gathers.
struct Gate {
    body: Body,
    rest: Bytes,
    allowance: Arc<AtomicUsize>,
    /// A piece went out at the last poll. The parser polls until it is told to wait.
    gave: bool,
}

impl Stream for Gate {
    type Item = Result<Bytes, GateError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match self.body.poll_chunk(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => return Poll::Ready(None),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(GateError::Body(error)))),
                Poll::Ready(Ok(Some(chunk))) => self.rest = chunk,
            }
        }
        let allowed = self.allowance.load(Ordering::Relaxed);
        let most = if allowed == IN_A_PART {
            PIECE_BYTES
        } else if allowed == 0 {
            return Poll::Ready(Some(Err(GateError::Head)));
        } else {
            allowed.min(HEAD_PIECE_BYTES)
        };
        let len = most.min(self.rest.len());
        let piece = self.rest.split_to(len);
        if allowed != IN_A_PART {
            self.allowance.store(allowed.saturating_sub(len), Ordering::Relaxed);
        }
        self.gave = true;
        Poll::Ready(Some(Ok(piece)))
    }
}
