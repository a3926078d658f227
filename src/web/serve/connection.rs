//! One connection from a web server: reads, lets handlers run, writes.
//!
//! Started by `serve` as one task that owns everything of the connection, the handlers of its
//! requests included, so an answer needs no other task or thread. It waits in one place. While
//! it waits for bytes it holds no buffer: reading goes through a buffer of the thread.
//!
//! ```text
//!  socket -> fcgi::Connection -> Exchange (handler, body queue) -> out -> socket
//!    ^                                         |
//!    +---- not read while the queue is full ---+
//! ```

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fcgi::response::{end_request, get_values_result, unknown_type};
use fcgi::{ConnectionLimits, Event, Params, ProtocolError, ProtocolStatus, RequestId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;

use super::exchange::{Exchange, OUT_BYTES, Turn};
use super::pulse::Pulse;
use super::{PARAM_LIMITS, Service};
use crate::request::{BodyError, Request};
use crate::response::IntoResponse;

/// Bytes taken from the socket at once, into a buffer that all connections of a thread share.
const READ_BYTES: usize = 64 * 1024;
/// Room for answers that a connection keeps between requests.
const OUT_KEPT_BYTES: usize = 2 * 1024;
/// The clock of a worker ticks that often within `silence_max`.
pub(super) const TICKS: u32 = 4;
/// Fewer bytes than these within `silence_max` count as silence, unless they end something.
const PROGRESS_BYTES_MIN: usize = 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("not FastCGI: {0}")]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error("the web server neither sent nor took anything for {}s", .0.as_secs())]
    Silent(Duration),
    #[error("a response could not be completed")]
    Broken,
}

/// The state of one connection.
pub(super) struct Connection<S, H, F> {
    socket: S,
    service: Arc<Service<H>>,
    incoming: fcgi::Connection,
    exchanges: Vec<Exchange<F>>,
    /// Records for the web server; those before `written` have left.
    out: Vec<u8>,
    written: usize,
    /// No more input will come: the web server closed its side.
    input_ended: bool,
    /// Ends with the last request: one was not to be kept alive, or the worker stops.
    closing: bool,
    /// A request that was not to be kept alive is answered: no other can be on its way.
    parting: bool,
    /// A request was answered before its body was complete. To close now could make the system
    /// discard the answer together with the bytes that nobody read: our side ends, and the web
    /// server closes.
    answered_early: bool,
    /// Ticks without progress, and bytes since the last.
    quiet_ticks: u32,
    progress_bytes: usize,
}

impl<S, H, F> Connection<S, H, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request) -> F,
    F: Future + Send,
    F::Output: IntoResponse,
{
    pub(super) fn new(socket: S, service: Arc<Service<H>>) -> Self {
        let limits = ConnectionLimits {
            requests_max: service.limits.requests_per_connection_max,
            params: PARAM_LIMITS,
        };
        Self {
            socket,
            service,
            incoming: fcgi::Connection::new(limits),
            exchanges: Vec::new(),
            out: Vec::new(),
            written: 0,
            input_ended: false,
            closing: false,
            parting: false,
            answered_early: false,
            quiet_ticks: 0,
            progress_bytes: 0,
        }
    }

    /// Serves to the end. Handlers that are still at work when the connection breaks are told
    /// through their bodies and run on; what they answer is dropped.
    pub(super) async fn run(mut self, mut pulse: Pulse) -> Result<(), ConnectionError> {
        let ended = loop {
            let (ticked, stopping) = tokio::select! {
                biased;
                ended = std::future::poll_fn(|cx| self.poll(cx)) => break ended,
                // However busy the connection is, it feels the pulse.
                beat = unconstrained(pulse.next()) => beat,
            };
            self.closing |= stopping;
            if ticked && let Err(error) = self.tick() {
                break Err(error);
            }
        };
        self.abandon_all();
        let Self { socket, mut exchanges, .. } = self;
        drop(socket);
        std::future::poll_fn(|cx| {
            exchanges.retain_mut(|one| one.turn(&mut Vec::new(), cx) != Turn::Finished);
            if exchanges.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        ended
    }

    /// Everything that can be done now. Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        loop {
            let worked = self.work(cx)?;
            let wrote = self.write(cx)?;
            if self.has_parted() {
                return Poll::Ready(Ok(()));
            }
            let read = self.read(cx)?;
            if !worked && !wrote && !read {
                return self.end(cx).map_err(ConnectionError::Socket);
            }
        }
    }

    /// Whether the one request of this connection is over, so that no read is needed to find
    /// that out.
    fn has_parted(&self) -> bool {
        let owed = !self.exchanges.is_empty() || !self.unsent().is_empty();
        self.parting && !owed && !self.answered_early && self.incoming.is_idle()
    }

    /// Ready when nothing is owed to the web server and nothing more is wanted from it.
    fn end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let owed = !self.exchanges.is_empty() || !self.unsent().is_empty();
        if owed || !(self.closing || self.input_ended) {
            return Poll::Pending;
        }
        if self.input_ended {
            return Poll::Ready(Ok(()));
        }
        if self.answered_early {
            std::task::ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            return Poll::Pending;
        }
        if self.incoming.is_idle() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn unsent(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// Gives every request a turn, as long as the web server takes the answers.
    fn work(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let mut moved = false;
        let mut index = 0usize;
        while let Some(one) = self.exchanges.get_mut(index) {
            if self.out.len().saturating_sub(self.written) >= OUT_BYTES {
                break;
            }
            match one.turn(&mut self.out, cx) {
                Turn::Waiting => index = index.saturating_add(1),
                Turn::Moved => moved = true,
                Turn::Broken => return Err(ConnectionError::Broken),
                Turn::Finished => {
                    moved = true;
                    let done = self.exchanges.swap_remove(index);
                    // Of an abandoned one the end was told before.
                    if !done.is_abandoned() {
                        self.incoming.finish(done.id);
                        self.closing |= !done.keep_conn;
                        self.parting |= !done.keep_conn;
                        self.answered_early |= !done.has_whole_body();
                    }
                }
            }
        }
        Ok(moved)
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let mut moved = false;
        while let Some(unsent) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.socket).poll_write(cx, unsent) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Poll::Ready(Ok(len)) => {
                    self.written = self.written.saturating_add(len);
                    self.progress(len);
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error.into()),
            }
        }
        if moved {
            self.quiet_ticks = 0;
        }
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(OUT_KEPT_BYTES);
        Ok(moved)
    }

    /// Reads once, if handlers have room for what may come.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let Some(room) = self.room(cx) else { return Ok(false) };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Pending => Ok(false),
                Poll::Ready(Err(error)) => Err(error.into()),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.end_of_input();
                    Ok(true)
                }
                Poll::Ready(Ok(())) => {
                    self.receive(buffer.filled())?;
                    Ok(true)
                }
            }
        })
    }

    /// How much may be read now; None while handlers or the web server must catch up first.
    fn room(&self, cx: &Context<'_>) -> Option<usize> {
        if self.input_ended || self.unsent().len() >= OUT_BYTES {
            return None;
        }
        let max = self.service.limits.body_buffer_bytes;
        let queued: usize = self.exchanges.iter().map(Exchange::queued).sum();
        if queued < max {
            return Some(max.saturating_sub(queued).min(READ_BYTES));
        }
        let still: usize = self.exchanges.iter().map(|one| one.wake_when_taken(cx)).sum();
        (still < max).then(|| max.saturating_sub(still).min(READ_BYTES))
    }

    fn end_of_input(&mut self) {
        self.input_ended = true;
        // A request that is not complete will never be; a complete one may still be awaited.
        for one in &self.exchanges {
            one.body_fails(BodyError::Aborted);
        }
        self.exchanges.retain(|one| !one.is_receiving_params());
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let mut input = bytes;
        while let Some(event) = self.incoming.next(&mut input)? {
            self.act(event);
        }
        Ok(())
    }

    fn act(&mut self, event: Event<'_>) {
        match event {
            Event::Stdin { id, bytes } => {
                self.progress(bytes.len());
                self.exchange(id, |one, _, _| one.body_piece(bytes));
                return;
            }
            Event::Begin { id, keep_conn } => self.begin(id, keep_conn),
            Event::Params { id, params } => {
                self.exchange(id, |one, service, out| one.start(params, service, out));
            }
            Event::Refused { id, error } => {
                self.exchange(id, |one, _, out| one.refuse(&error.to_string(), out));
            }
            Event::StdinEnd { id } => self.exchange(id, |one, _, _| one.body_end()),
            Event::Abort { id } => self.abort(id),
            Event::UnknownRole { id, keep_conn, .. } => {
                self.refuse(id, keep_conn, ProtocolStatus::UnknownRole);
            }
            Event::TooMany { id, keep_conn } => {
                let one_at_a_time = self.service.limits.requests_per_connection_max == 1;
                let status = if one_at_a_time {
                    ProtocolStatus::CantMpxConn
                } else {
                    ProtocolStatus::Overloaded
                };
                self.refuse(id, keep_conn, status);
            }
            Event::GetValues(names) => self.values(&names),
            Event::UnknownType(kind) => unknown_type(&mut self.out, kind),
        }
        self.quiet_ticks = 0;
    }

    fn exchange(
        &mut self,
        id: RequestId,
        act: impl FnOnce(&mut Exchange<F>, &Service<H>, &mut Vec<u8>),
    ) {
        let mut all = self.exchanges.iter_mut();
        if let Some(one) = all.find(|one| one.id == id && !one.is_abandoned()) {
            act(one, &self.service, &mut self.out);
        }
    }

    fn begin(&mut self, id: RequestId, keep_conn: bool) {
        // Aborted requests whose handlers still run count too: whoever begins and aborts
        // without end must not gather handlers without end.
        let full = self.exchanges.len() >= self.service.limits.requests_per_connection_max;
        match self.service.enter().filter(|_| !full) {
            Some(counted) => self.exchanges.push(Exchange::new(id, keep_conn, counted)),
            None => {
                self.incoming.finish(id);
                self.refuse(id, keep_conn, ProtocolStatus::Overloaded);
            }
        }
    }

    fn refuse(&mut self, id: RequestId, keep_conn: bool, status: ProtocolStatus) {
        end_request(&mut self.out, id, 0, status);
        self.closing |= !keep_conn;
    }

    fn abort(&mut self, id: RequestId) {
        let found = self.exchanges.iter().position(|one| one.id == id && !one.is_abandoned());
        let Some(index) = found else { return };
        let Some(one) = self.exchanges.get_mut(index) else { return };
        let keep_conn = one.keep_conn;
        if !one.abandon() {
            self.exchanges.swap_remove(index);
        }
        self.incoming.finish(id);
        self.refuse(id, keep_conn, ProtocolStatus::RequestComplete);
    }

    fn abandon_all(&mut self) {
        self.exchanges.retain_mut(|one| one.abandon());
    }

    /// Answers the three variables of the specification (section 4.1).
    fn values(&mut self, names: &Params) {
        let limits = &self.service.limits;
        let multiplex = usize::from(limits.requests_per_connection_max > 1);
        let all = [
            ("FCGI_MAX_CONNS", limits.connections_max.to_string()),
            ("FCGI_MAX_REQS", limits.requests_max.to_string()),
            ("FCGI_MPXS_CONNS", multiplex.to_string()),
        ];
        let asked = all.iter().filter(|(name, _)| names.get(name.as_bytes()).is_some());
        let asked = asked.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        get_values_result(&mut self.out, asked);
    }

    fn progress(&mut self, bytes: usize) {
        self.progress_bytes = self.progress_bytes.saturating_add(bytes);
        if self.progress_bytes >= PROGRESS_BYTES_MIN {
            self.progress_bytes = 0;
            self.quiet_ticks = 0;
        }
    }

    /// One tick of the clock: whoever is awaited too long is given up.
    fn tick(&mut self) -> Result<(), ConnectionError> {
        let limits = self.service.limits;
        let awaited = !self.unsent().is_empty()
            || self.exchanges.iter().any(Exchange::waits_for_peer)
            || self.exchanges.is_empty() && (self.closing || !self.incoming.is_idle());
        let idle = self.exchanges.is_empty() && self.incoming.is_idle();
        if !awaited && !idle {
            self.quiet_ticks = 0; // a handler is at work: that is its own affair
            return Ok(());
        }
        self.quiet_ticks = self.quiet_ticks.saturating_add(1);
        // The first of them may have come at once.
        let quiet = self.service.tick().saturating_mul(self.quiet_ticks.saturating_sub(1));
        if !awaited {
            self.closing |= quiet >= limits.idle_max;
            return Ok(());
        }
        if quiet < limits.silence_max {
            return Ok(());
        }
        // The first time handlers may still answer that the body stalled; then it is over.
        for one in &self.exchanges {
            one.body_fails(BodyError::Stalled);
        }
        self.exchanges.retain(|one| !one.is_receiving_params());
        if self.closing || self.exchanges.is_empty() || !self.unsent().is_empty() {
            return Err(ConnectionError::Silent(limits.silence_max));
        }
        self.closing = true;
        self.quiet_ticks = 0;
        Ok(())
    }
}
