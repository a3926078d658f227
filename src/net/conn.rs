//! A socket that speaks header and body, with limits and time-outs (wire.md 1 and 7).
//!
//! Used by the services of both daemons and by `client`. It frames messages and streams
//! content; it never looks into a body and never decides what to answer.
//!
//! Memory: bytes that have arrived lie in one inbox, which is empty and unallocated while a
//! connection is idle, and never grows beyond [`CHUNK_BYTES_MAX`]. Announced lengths reserve
//! nothing. Time: waiting for the peer is measured as progress, see [`Limits`].

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use proto::command::Command;
use proto::header::Header;
use proto::status::Status;
use proto::wire::DecodeError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::ports::{Clock, Stream, World};
use crate::shutdown::Stop;

/// Most bytes one read takes, and so the largest piece of content that is handed on.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// What a connection begins to read with; it grows while reads fill it.
const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// How long to wait for a peer, and how little it may move.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest silence while something is under way: `network_timeout`. The fixed part of a
    /// message, header and small body, must be complete within this time.
    pub network_timeout: Duration,
    /// Bytes per second that content must move at least, measured over the time that we wait
    /// for the peer. Our own slowness never counts.
    pub rate_min: u64,
}

impl Limits {
    /// Slower than any working line; a peer below it holds resources and delivers nothing.
    pub const RATE_MIN: u64 = 512;

    pub fn new(network_timeout: Duration) -> Self {
        Self { network_timeout, rate_min: Self::RATE_MIN }
    }
}

/// Why a connection cannot go on. After any of these it is closed.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// The peer left between two messages, or never sent one.
    #[error("peer closed the connection")]
    Closed,
    #[error("peer closed the connection in the middle of a message")]
    CutOff,
    #[error("no progress by the peer for {0:?}")]
    Stalled(Duration),
    #[error("body of {got} bytes, at most {max} are allowed")]
    TooLong { got: u64, max: u64 },
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    #[error("connection: {0}")]
    Io(#[from] io::Error),
}

impl ConnError {
    /// The errno of this failure, as tools and relayed answers show it.
    pub fn status(&self) -> Status {
        match self {
            ConnError::Closed | ConnError::CutOff => Status::ECONNRESET,
            ConnError::Stalled(_) => Status::ETIMEDOUT,
            ConnError::TooLong { .. } => Status::EOVERFLOW,
            ConnError::Malformed(_) => Status::EINVAL,
            ConnError::Io(error) => match error.kind() {
                io::ErrorKind::TimedOut => Status::ETIMEDOUT,
                io::ErrorKind::ConnectionRefused => Status::ECONNREFUSED,
                _ => Status::from_errno(error.raw_os_error().unwrap_or(0)),
            },
        }
    }

    /// Whether this is how peers commonly leave: worth a debug line and no more.
    pub fn is_ordinary(&self) -> bool {
        matches!(self, ConnError::Closed)
    }
}

/// One connection. Methods that wait are not cancel-safe unless they say so.
pub struct Conn {
    stream: Stream,
    peer: SocketAddr,
    clock: Arc<dyn Clock>,
    limits: Limits,
    inbox: BytesMut,
    /// What the next read reserves.
    room: usize,
    /// Whether a whole request was answered: from then on the peer may idle (wire.md 7).
    served: bool,
    pace: Pace,
}

impl Conn {
    /// Speaks over a stream that was accepted or connected.
    pub fn new(stream: Stream, peer: SocketAddr, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            stream,
            peer,
            clock,
            limits,
            inbox: BytesMut::new(),
            room: CHUNK_BYTES_MIN,
            served: false,
            pace: Pace::default(),
        }
    }

    /// Connects to `to`, from the address `from` if there is one, within `connect_timeout`.
    pub async fn connect(
        world: &World,
        to: SocketAddr,
        from: Option<IpAddr>,
        connect_timeout: Duration,
        limits: Limits,
    ) -> Result<Self, ConnError> {
        match timeout(connect_timeout, world.net.connect(to, from)).await {
            Ok(Ok(stream)) => Ok(Self::new(stream, to, Arc::clone(&world.clock), limits)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ConnError::Stalled(connect_timeout)),
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The stream, for what only a real socket can do. Bytes may already lie in the inbox, so
    /// nobody else may read from it.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Waits for the next request of a client. None when the peer has closed or quit, or `stop`
    /// is raised: all three end the connection in good order.
    pub async fn next_request(&mut self, stop: &mut Stop) -> Result<Option<Header>, ConnError> {
        let idle = self.limits.network_timeout;
        let forever = self.served;
        self.become_idle();
        if self.inbox.is_empty() {
            let first = async {
                if forever { self.arrived().await } else { waited(idle, self.arrived()).await }
            };
            tokio::select! {
                biased;
                () = stop.raised() => return Ok(None),
                outcome = first => match outcome {
                    Err(ConnError::Closed) => return Ok(None),
                    other => other?,
                },
            }
        }
        let header = self.header().await?;
        self.served = true;
        Ok((header.cmd != Command::Quit as u8).then_some(header))
    }

    /// Reads a header, complete within the time-out.
    pub async fn header(&mut self) -> Result<Header, ConnError> {
        self.header_within(self.limits.network_timeout).await
    }

    /// Reads a header, complete within `limit`: for answers that may take the peer longer.
    pub async fn header_within(&mut self, limit: Duration) -> Result<Header, ConnError> {
        self.gather(Header::LEN, limit).await?;
        let mut bytes = [0; Header::LEN];
        self.inbox.copy_to_slice(&mut bytes);
        Ok(Header::decode(&bytes)?)
    }

    /// Reads a body, or the fixed part of one, of `len` bytes; refuses more than `max` before
    /// reading any. `max` is at most [`CHUNK_BYTES_MAX`]. Cancel-safe: what has arrived stays.
    pub async fn body(&mut self, len: u64, max: usize) -> Result<Bytes, ConnError> {
        let max = max.min(CHUNK_BYTES_MAX);
        let wanted = usize::try_from(len).ok().filter(|len| *len <= max);
        let wanted = wanted.ok_or(ConnError::TooLong { got: len, max: max as u64 })?;
        self.gather(wanted, self.limits.network_timeout).await?;
        Ok(self.inbox.split_to(wanted).freeze())
    }

    /// The next piece of content, of at most `left` bytes: what has arrived, at least one byte.
    /// `left` counts what of the content is still to come, and is not zero.
    pub async fn chunk(&mut self, left: u64) -> Result<Bytes, ConnError> {
        if self.inbox.is_empty() {
            self.fill_at_pace().await?;
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.inbox.len());
        let piece = self.inbox.split_to(count).freeze();
        // The rest of the buffer would keep the whole of it for as long as the peer is silent.
        self.give_back();
        Ok(piece)
    }

    /// Waits, without holding a buffer, until there is content for [`Conn::chunk`].
    pub async fn chunk_arrived(&mut self) -> Result<(), ConnError> {
        let Some(tcp) = self.stream.tcp().filter(|_| self.inbox.is_empty()) else {
            return Ok(());
        };
        let window = self.limits.network_timeout;
        let from = self.clock.moment();
        waited(window, async { Ok(tcp.readable().await?) }).await?;
        self.pace.moved(0, self.clock.moment().since(from), self.limits)
    }

    /// Reads `left` bytes of content and forgets them, so that the next header can be found
    /// behind them (storage.md 1.4).
    pub async fn discard(&mut self, mut left: u64) -> Result<(), ConnError> {
        while left != 0 {
            let chunk = self.chunk(left).await?;
            left = left.saturating_sub(chunk.len() as u64);
        }
        Ok(())
    }

    /// Answers with success and this body, in one write.
    pub async fn answer(&mut self, body: &[u8]) -> Result<(), ConnError> {
        self.send_message(Header::answer(body.len() as u64), body).await
    }

    /// Answers with a status and no body (wire.md 1.4); [`Status::OK`] is the empty success.
    pub async fn refuse(&mut self, status: Status) -> Result<(), ConnError> {
        self.send(&Header::refusal(status).to_bytes()).await
    }

    /// Sends a header with its body, or with the first part of it, in one write.
    pub async fn send_message(&mut self, header: Header, body: &[u8]) -> Result<(), ConnError> {
        self.send(&[&header.to_bytes()[..], body].concat()).await
    }

    /// Sends more of a message whose header is out.
    pub async fn send(&mut self, mut bytes: &[u8]) -> Result<(), ConnError> {
        let window = self.limits.network_timeout;
        while !bytes.is_empty() {
            let from = self.clock.moment();
            let Ok(written) = timeout(window, self.stream.write(bytes)).await else {
                return Err(ConnError::Stalled(window));
            };
            let count = written?;
            if count == 0 {
                return Err(ConnError::CutOff);
            }
            bytes = bytes.get(count..).unwrap_or_default();
            self.pace.moved(count, self.clock.moment().since(from), self.limits)?;
        }
        Ok(())
    }

    /// Whether the peer has sent something, or left, without our waiting for it. An idle
    /// connection of which this is true cannot be used again; in the middle of sending content
    /// it means that the answer has come early.
    pub fn has_arrived(&mut self) -> bool {
        let Some(tcp) = self.stream.tcp() else { return !self.inbox.is_empty() };
        self.inbox.reserve(CHUNK_BYTES_MIN);
        match tcp.try_read_buf(&mut self.inbox) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => !self.inbox.is_empty(),
            _ => true,
        }
    }

    /// Waits, without holding a buffer, until something has arrived. Cancel-safe.
    async fn arrived(&mut self) -> Result<(), ConnError> {
        match self.fill().await? {
            0 => Err(ConnError::Closed),
            _ => Ok(()),
        }
    }

    /// Waits, on a connection that is idle between requests of our own, until the peer leaves;
    /// one that speaks unasked breaks the protocol just the same. Cancel-safe.
    pub async fn broken(&mut self) -> ConnError {
        match self.arrived().await {
            Ok(()) => DecodeError::TooLong { got: self.inbox.len(), max: 0 }.into(),
            Err(error) => error,
        }
    }

    /// Makes `count` bytes lie in the inbox, within `limit` as a whole: many single bytes do
    /// not keep a connection.
    async fn gather(&mut self, count: usize, limit: Duration) -> Result<(), ConnError> {
        waited(limit, async {
            while self.inbox.len() < count {
                if self.fill().await? == 0 {
                    let nothing = self.inbox.is_empty() && count == Header::LEN;
                    return Err(if nothing { ConnError::Closed } else { ConnError::CutOff });
                }
            }
            Ok(())
        })
        .await
    }

    /// One read of content, against silence and against trickling.
    async fn fill_at_pace(&mut self) -> Result<(), ConnError> {
        let window = self.limits.network_timeout;
        let from = self.clock.moment();
        let count = waited(window, self.fill()).await?;
        if count == 0 {
            return Err(ConnError::CutOff);
        }
        self.pace.moved(count, self.clock.moment().since(from), self.limits)
    }

    /// One read into the inbox; zero at the end of the stream. Cancel-safe.
    async fn fill(&mut self) -> Result<usize, ConnError> {
        let count = loop {
            let Some(tcp) = self.stream.tcp() else {
                self.inbox.reserve(self.room);
                let mut limited = (&mut self.stream).take(self.room as u64);
                break limited.read_buf(&mut self.inbox).await?;
            };
            // The buffer comes after the bytes: thousands may wait in here.
            tcp.readable().await?;
            self.inbox.reserve(self.room);
            match tcp.try_read_buf(&mut (&mut self.inbox).limit(self.room)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.give_back(),
                outcome => break outcome?,
            }
        };
        // Buffers follow the bytes: much more next time if this read was full.
        self.room = match count {
            full if full == self.room => (self.room * 4).min(CHUNK_BYTES_MAX),
            little if little < self.room / 4 => (self.room / 2).max(CHUNK_BYTES_MIN),
            _ => self.room,
        };
        Ok(count)
    }

    /// Gives back the memory of an empty inbox.
    fn give_back(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
    }

    /// Gives back what a busy connection has collected.
    fn become_idle(&mut self) {
        self.give_back();
        if self.inbox.is_empty() {
            self.room = CHUNK_BYTES_MIN;
        }
        self.pace = Pace::default();
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Bounds a wait for the peer.
async fn waited<T>(
    limit: Duration,
    wait: impl Future<Output = Result<T, ConnError>>,
) -> Result<T, ConnError> {
    timeout(limit, wait).await.unwrap_or(Err(ConnError::Stalled(limit)))
}

/// How much content moved while we waited for the peer.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// Counts one transfer. Every `network_timeout` of waiting the sum is judged anew.
    fn moved(&mut self, bytes: usize, wait: Duration, limits: Limits) -> Result<(), ConnError> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(wait);
        if self.waited < limits.network_timeout {
            return Ok(());
        }
        let needed = limits.rate_min.saturating_mul(self.waited.as_secs());
        if self.bytes < needed {
            return Err(ConnError::Stalled(self.waited));
        }
        *self = Self::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
