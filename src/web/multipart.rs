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
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    feed: Arc<Feed>,
    /// What of the body is not content of its last part, if that begins at 0: the closing line.
    closing_len: u64,
    content_length: Option<u64>,
    parts: usize,
    limits: MultipartLimits,
}

/// What the parser's side and the `Gate` that feeds it tell each other.
#[derive(Debug)]
struct Feed {
    /// Bytes the parser may still take before the next part begins, or `IN_A_PART`.
    allowance: AtomicUsize,
    /// Bytes the parser was given so far. No piece goes beyond the empty line that ends a header
    /// block, so when a part begins this is where its content does.
    given: AtomicU64,
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
    length: Option<u64>,
}

impl Multipart {
    /// Takes the body of `request` if it is multipart.
    pub fn new(request: &mut Request, limits: MultipartLimits) -> Result<Self, MultipartError> {
        let given = request.header_text("content-type").unwrap_or_default();
        let boundary = multer::parse_boundary(given).map_err(|_| MultipartError::WrongType)?;
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
            return Err(MultipartError::WrongType);
        }
        let feed = Arc::new(Feed {
            allowance: AtomicUsize::new(limits.head_bytes_max),
            given: AtomicU64::new(0),
        });
        let content_length = request.content_length();
        let gate = Gate {
            body: request.take_body(),
            rest: Bytes::new(),
            feed: feed.clone(),
            gave: false,
            paused: false,
            matched: 0,
        };
        // CR LF "--" boundary "--" CR LF; every known client writes the last two as well.
        let closing_len = (boundary.len() as u64).saturating_add(8);
        let parser = multer::Multipart::new(gate, boundary);
        Ok(Self { parser, field: None, feed, closing_len, content_length, parts: 0, limits })
    }

    /// The next part, after skipping what is left of the one before; None at the end.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_>>, MultipartError> {
        while self.chunk().await?.is_some() {}
        self.field = None;
        self.feed.allowance.store(self.limits.head_bytes_max, Ordering::Relaxed);
        let next = self.parser.next_field().await.map_err(|error| self.explain(error))?;
        let Some(field) = next else { return Ok(None) };
        if self.parts >= self.limits.parts_max {
            return Err(MultipartError::TooManyParts { max: self.limits.parts_max });
        }
        self.parts = self.parts.saturating_add(1);
        self.feed.allowance.store(IN_A_PART, Ordering::Relaxed);

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
        let announced = field.headers().get("content-length");
        let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
        let length = announced.or_else(|| self.length_if_last());
        self.field = Some(field);
        Ok(Some(Part { from: self, name, file_name, content_type, length }))
    }

    /// What is left of the body but for its closing line.
    fn length_if_last(&self) -> Option<u64> {
        let given = self.feed.given.load(Ordering::Relaxed);
        self.content_length?.checked_sub(given)?.checked_sub(self.closing_len)
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

    /// The length the part announces, or else the one it has if it is the last. A guess: only
    /// the end of the part tells.
    pub fn length(&self) -> Option<u64> {
        self.length
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
    feed: Arc<Feed>,
    /// A piece went out at the last poll. The parser polls until it is told to wait.
    gave: bool,
    /// The last piece ended with an empty line, or was the last one allowed. The parser asks for
    /// more before it looks at what it has; it is told to wait once, so that it finds the header
    /// block or the end that it may have got.
    paused: bool,
    /// How much of `EMPTY_LINE` the bytes given last end with.
    matched: usize,
}

/// Bytes looked at together for the first byte of an empty line.
const SCAN_BYTES: usize = 64;

/// What ends a header block.
const EMPTY_LINE: [u8; 4] = *b"\r\n\r\n";

impl Gate {
    /// How many of the next `most` bytes go up to and including the first empty line.
    fn up_to_empty_line(&mut self, most: usize) -> usize {
        let mut seen = 0usize;
        for block in self.rest.chunks(SCAN_BYTES) {
            // Most blocks of a file have no CR: those are passed over at the speed of memory.
            if self.matched == 0 && !block.contains(&b'\r') {
                seen = seen.saturating_add(block.len());
                continue;
            }
            for (index, byte) in block.iter().enumerate() {
                let at = seen.saturating_add(index);
                if at >= most {
                    return most;
                }
                let fits = EMPTY_LINE.get(self.matched) == Some(byte);
                // A second CR may still begin an empty line; nothing else of a partial match can.
                self.matched = match fits {
                    true => self.matched.saturating_add(1),
                    false => usize::from(*byte == b'\r'),
                };
                if self.matched == EMPTY_LINE.len() {
                    self.matched = 0;
                    self.paused = true;
                    return at.saturating_add(1);
                }
            }
            seen = seen.saturating_add(block.len());
        }
        most.min(self.rest.len())
    }
}

impl Stream for Gate {
    type Item = Result<Bytes, GateError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) || std::mem::take(&mut self.paused) {
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
        let allowed = self.feed.allowance.load(Ordering::Relaxed);
        let most = if allowed == IN_A_PART {
            PIECE_BYTES
        } else if allowed == 0 {
            return Poll::Ready(Some(Err(GateError::Head)));
        } else {
            allowed.min(HEAD_PIECE_BYTES)
        };
        let len = self.up_to_empty_line(most);
        let piece = self.rest.split_to(len);
        if allowed != IN_A_PART {
            let left = allowed.saturating_sub(len);
            self.feed.allowance.store(left, Ordering::Relaxed);
            // What completes a header block at the very limit is looked at before it is refused.
            self.paused |= left == 0;
        }
        self.feed.given.fetch_add(len as u64, Ordering::Relaxed);
        self.gave = true;
        Poll::Ready(Some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests;
