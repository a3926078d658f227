//! One request on a connection: from its first record to the last of its answer.
//!
//! Owned by `connection`, which feeds it events and gives it turns. It appends records to the
//! connection's buffer and never touches the socket.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fcgi::record::Kind;
use fcgi::response::{OpenRecord, Padding, end_request, stdout, stdout_end};
use fcgi::{Params, ProtocolStatus, RequestId};
use log::warn;

use super::{Service, Turnstile};
use crate::request::{BadRequest, BodyError, Feed, Request, content_length, pair};
use crate::response::{Chunks, IntoResponse, Response, ResponseBody};

/// Bytes of a response put into the buffer at once, and the mark above which a response waits
/// for the web server to take what is there.
pub(super) const OUT_BYTES: usize = 0xfff8; // the most in one record, in eights

/// What a turn led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing to do before something else happens.
    Waiting,
    /// Bytes were appended, more may follow.
    Moved,
    /// The answer is complete in the buffer.
    Finished,
    /// The answer cannot be completed: only closing the connection tells the web server so.
    Broken,
}

/// How far a request has come.
enum Work<F> {
    /// Its parameters are still coming.
    Receiving,
    /// The handler has it.
    Handling(Pin<Box<F>>),
    /// The rest of a body that is there.
    Sending(Bytes),
    /// A body that is being made.
    Streaming(Chunks),
}

/// One request under way.
pub(super) struct Exchange<F> {
    pub(super) id: RequestId,
    pub(super) keep_conn: bool,
    /// Ended for the web server: the handler goes on to its end and its answer is dropped.
    abandoned: bool,
    /// The method is HEAD: the answer has no body.
    head_only: bool,
    /// The empty record after the body has come.
    body_ended: bool,
    feed: Option<Feed>,
    work: Work<F>,
    /// Counts this request among those of the worker.
    _counted: Turnstile,
}

impl<F> Exchange<F>
where
    F: Future + Send,
    F::Output: IntoResponse,
{
    pub(super) fn new(id: RequestId, keep_conn: bool, counted: Turnstile) -> Self {
        Self {
            id,
            keep_conn,
            abandoned: false,
            head_only: false,
            body_ended: false,
            feed: None,
            work: Work::Receiving,
            _counted: counted,
        }
    }

    /// The parameters are complete: starts the handler, or has the answer at once.
    pub(super) fn start<H: Fn(Request) -> F>(
        &mut self,
        params: Params,
        service: &Service<H>,
        out: &mut Vec<u8>,
    ) {
        self.head_only = params.get(b"REQUEST_METHOD") == Some(b"HEAD");
        if service.is_health_check(&params) {
            return self.answer(Response::bytes(JSON, HEALTHY), out);
        }
        match self.request(params) {
            Ok(request) => self.work = Work::Handling(Box::pin((service.handler)(request))),
            Err(error) => {
                let (status, code) = error.public();
                self.answer(refusal(status, code, &error.to_string()), out);
            }
        }
    }

    fn request(&mut self, params: Params) -> Result<Request, BadRequest> {
        let (feed, body) = pair(content_length(&params)?);
        self.feed = Some(feed);
        Request::new(params, body)
    }

    /// The parameters were refused.
    pub(super) fn refuse(&mut self, why: &str, out: &mut Vec<u8>) {
        self.answer(refusal(431, "headers_too_large", why), out);
    }

    pub(super) fn body_piece(&self, bytes: &[u8]) {
        if let Some(feed) = &self.feed {
            feed.push(bytes);
        }
    }

    pub(super) fn body_end(&mut self) {
        self.body_ended = true;
        if let Some(feed) = &self.feed {
            feed.end();
        }
    }

    /// The body will not be completed. Has no effect on a complete one.
    pub(super) fn body_fails(&self, error: BodyError) {
        if let Some(feed) = &self.feed {
            feed.fail(error);
        }
    }

    /// Nobody waits for the answer any more. Returns whether a handler must still run: it may
    /// hold something that it has to put back, so it is told through its body and not dropped.
    pub(super) fn abandon(&mut self) -> bool {
        self.body_fails(BodyError::Aborted);
        self.abandoned = true;
        matches!(self.work, Work::Handling(_))
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Whether the next step is the web server's: a parameter, or a byte of the body.
    pub(super) fn waits_for_peer(&self) -> bool {
        match self.work {
            Work::Receiving => true,
            Work::Handling(_) => self.feed.as_ref().is_some_and(Feed::awaited),
            Work::Sending(_) | Work::Streaming(_) => false,
        }
    }

    /// Whether the web server has sent everything that belongs to the request.
    pub(super) fn has_whole_body(&self) -> bool {
        self.body_ended
    }

    pub(super) fn is_receiving_params(&self) -> bool {
        matches!(self.work, Work::Receiving)
    }

    /// Body bytes that the handler has not taken.
    pub(super) fn queued(&self) -> usize {
        self.feed.as_ref().map_or(0, Feed::queued)
    }

    /// The same, and asks for a wake-up when there are fewer.
    pub(super) fn wake_when_taken(&self, cx: &Context<'_>) -> usize {
        self.feed.as_ref().map_or(0, |feed| feed.wake_when_taken(cx))
    }

    /// Goes on as far as possible. The caller leaves room in `out` before each turn.
    pub(super) fn turn(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Turn {
        match &mut self.work {
            Work::Receiving => Turn::Waiting,
            Work::Handling(handler) => match handler.as_mut().poll(cx) {
                Poll::Pending => Turn::Waiting,
                Poll::Ready(_) if self.abandoned => Turn::Finished,
                Poll::Ready(result) => {
                    self.answer(result.into_response(), out);
                    Turn::Moved
                }
            },
            Work::Sending(rest) if rest.is_empty() => self.finish(out),
            Work::Sending(rest) => {
                let piece = rest.split_to(rest.len().min(OUT_BYTES));
                stdout(out, self.id, &piece, Padding::Eight);
                Turn::Moved
            }
            Work::Streaming(chunks) => match chunks.as_mut().poll_next(cx) {
                Poll::Pending => Turn::Waiting,
                Poll::Ready(Some(Ok(chunk))) => {
                    stdout(out, self.id, &chunk, Padding::Eight);
                    Turn::Moved
                }
                Poll::Ready(None) => self.finish(out),
                Poll::Ready(Some(Err(error))) => {
                    warn!("cut a response short: {error:#}");
                    Turn::Broken
                }
            },
        }
    }

    /// Writes the head, and as much of a whole body as the same record holds: a small answer
    /// leaves as one record in one write.
    fn answer(&mut self, response: Response, out: &mut Vec<u8>) {
        let record = OpenRecord::begin(out, Kind::Stdout, self.id);
        self.work = match response.write_head(out) {
            _ if self.head_only => Work::Sending(Bytes::new()),
            ResponseBody::Stream(chunks) => Work::Streaming(chunks),
            ResponseBody::Whole(mut bytes) => {
                let fits = record.room(out).min(bytes.len());
                out.extend_from_slice(&bytes.split_to(fits));
                Work::Sending(bytes)
            }
        };
        let fits = record.close(out, Padding::Eight);
        debug_assert!(fits, "the head is limited to less than a record");
    }

    fn finish(&self, out: &mut Vec<u8>) -> Turn {
        stdout_end(out, self.id);
        end_request(out, self.id, 0, ProtocolStatus::RequestComplete);
        Turn::Finished
    }
}

const JSON: &str = "application/json; charset=utf-8";
const HEALTHY: &[u8] = br#"{"status":"ok"}"#;

/// An answer of the layer itself, in the form all errors have. The texts are our own and hold
/// nothing that would need escaping beyond quotes.
fn refusal(status: u16, code: &str, why: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code, "message": why } });
    Response::bytes(JSON, body.to_string()).with_status(status)
}
