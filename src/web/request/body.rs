//! The body of a request: a bounded queue between a connection and a handler.
//!
//! The connection holds the `Feed`, the handler the `Body`. The queue never refuses bytes: its
//! bound is kept by the connection, which stops reading the socket while `Feed::queued` is at
//! its limit. Neither side ever waits while holding the lock.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_util::stream::Stream;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The web server gave the request up, or its connection is gone: nobody waits for an answer.
    #[error("the request was aborted")]
    Aborted,
    /// Fewer bytes than the content length.
    #[error("the body ended after {got} of {want} bytes")]
    Short { got: u64, want: u64 },
    /// More bytes than the content length.
    #[error("the body is longer than the announced {want} bytes")]
    Excess { want: u64 },
    /// No byte came for the time a connection may be silent.
    #[error("the body stalled")]
    Stalled,
}

/// Pieces are joined up to this size: a body in records of one byte must not cost an allocation
/// for each.
const CHUNK_BYTES: usize = 16 * 1024;

#[derive(Debug)]
struct Queue {
    chunks: VecDeque<BytesMut>,
    /// Bytes in `chunks`.
    queued: usize,
    /// Bytes that have arrived so far.
    got: u64,
    /// The announced content length.
    want: Option<u64>,
    /// Set once: how the body ended. Chunks before it are still delivered.
    end: Option<Result<(), BodyError>>,
    /// The handler is done with the body; whatever comes is dropped.
    unwanted: bool,
    /// The handler, waiting for bytes.
    reader: Option<Waker>,
    /// The connection, waiting for room.
    writer: Option<Waker>,
}

type Shared = Arc<Mutex<Queue>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Queue> {
    shared.lock().expect("no code panics while holding this lock")
}

/// The bytes of a request, in order, as they arrive. Dropping it discards the rest.
#[derive(Debug)]
pub struct Body {
    shared: Shared,
}

/// The connection's end of a body.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Shared,
}

/// Makes both ends of a body of `want` bytes, or of unknown length.
pub(crate) fn pair(want: Option<u64>) -> (Feed, Body) {
    let queue = Queue {
        chunks: VecDeque::new(),
        queued: 0,
        got: 0,
        want,
        end: None,
        unwanted: false,
        reader: None,
        writer: None,
    };
    let shared = Arc::new(Mutex::new(queue));
    (Feed { shared: shared.clone() }, Body { shared })
}

impl Body {
    /// A body that is already there, for tests and for handlers that call one another.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let (feed, body) = pair(None);
        feed.push(&bytes.into());
        feed.end();
        body
    }

    /// A body that arrived cut like this, for tests: pieces are handed on as they are.
    pub fn from_pieces(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let (feed, body) = pair(None);
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            lock(&feed.shared).chunks.push_back(BytesMut::from(&piece[..]));
        }
        feed.end();
        body
    }

    /// The next bytes, or None at the end of a complete body. Cancel-safe: a chunk is either
    /// returned or still queued.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The same for callers that are polled themselves.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let mut queue = lock(&self.shared);
        if let Some(chunk) = queue.chunks.pop_front() {
            queue.queued = queue.queued.saturating_sub(chunk.len());
            let writer = queue.writer.take();
            drop(queue);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Ok(Some(chunk.freeze())));
        }
        match queue.end {
            Some(end) => Poll::Ready(end.map(|()| None)),
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The whole body, or None when it has more than `bytes_max` bytes.
    pub async fn collect(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, BodyError> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes_max.saturating_sub(whole.len()) < chunk.len() {
                return Ok(None);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(Some(whole))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    /// The same as `poll_chunk`. An error is repeated by every later call.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx).map(Result::transpose)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared);
        queue.unwanted = true;
        queue.chunks = VecDeque::new();
        queue.queued = 0;
        let writer = queue.writer.take();
        drop(queue);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl Feed {
    /// Queues what arrived. Bytes beyond the content length end the body with an error.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut queue = lock(&self.shared);
        if queue.end.is_some() {
            return;
        }
        queue.got = queue.got.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match queue.want {
            Some(want) if want < queue.got => queue.end = Some(Err(BodyError::Excess { want })),
            _ if queue.unwanted || bytes.is_empty() => return,
            _ => {
                queue.queued = queue.queued.saturating_add(bytes.len());
                let joined =
                    |last: &&mut BytesMut| last.len().saturating_add(bytes.len()) <= CHUNK_BYTES;
                match queue.chunks.back_mut().filter(joined) {
                    Some(last) => last.extend_from_slice(bytes),
                    None => queue.chunks.push_back(BytesMut::from(bytes)),
                }
            }
        }
        wake_reader(queue);
    }

    /// The stream is over: complete if it has the announced length.
    pub(crate) fn end(&self) {
        let queue = lock(&self.shared);
        let end = match queue.want {
            Some(want) if queue.got < want => Err(BodyError::Short { got: queue.got, want }),
            _ => Ok(()),
        };
        finish(queue, end);
    }

    /// The body will not be completed.
    pub(crate) fn fail(&self, error: BodyError) {
        finish(lock(&self.shared), Err(error));
    }

    /// Bytes waiting for the handler.
    pub(crate) fn queued(&self) -> usize {
        lock(&self.shared).queued
    }

    /// Whether the handler waits for bytes that have not come yet.
    pub(crate) fn awaited(&self) -> bool {
        let queue = lock(&self.shared);
        queue.end.is_none() && queue.reader.is_some()
    }

    /// Asks to be woken when the handler takes a chunk or lets go of the body. Returns the bytes
    /// still queued, looked at under the same lock, so that no wake-up is lost.
    pub(crate) fn wake_when_taken(&self, cx: &Context<'_>) -> usize {
        let mut queue = lock(&self.shared);
        if queue.queued > 0 {
            queue.writer = Some(cx.waker().clone());
        }
        queue.queued
    }
}

fn finish(mut queue: MutexGuard<'_, Queue>, end: Result<(), BodyError>) {
    if queue.end.is_none() {
        queue.end = Some(end);
    }
    wake_reader(queue);
}

fn wake_reader(mut queue: MutexGuard<'_, Queue>) {
    let reader = queue.reader.take();
    drop(queue);
    if let Some(reader) = reader {
        reader.wake();
    }
}
