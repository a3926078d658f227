//! Download, 14 (storage.md 3.8): a range of a file.
//!
//! What the setting `verify_reads` wants compared goes through memory: the first piece is read
//! in the job that opens the file and sent with the header in one write. A reader that does not
//! take its piece does not keep it in memory. A large range that need not be compared goes from
//! file to socket inside the kernel.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use net::conn::{Conn, ConnError, Limits};
use proto::{fileid::FileName, header::Header, storage::download::Download};
use tokio::{io::Interest, net::TcpStream, sync::SemaphorePermit};

use super::{
    error::ServiceError,
    read::{self, settled},
};
use crate::{
    disk::read::Range,
    store::Store,
    sums::{Source, Verified},
};

/// A range up to this size is read at once.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of one piece through memory.
const PIECE_BYTES: usize = 256 * 1024;
/// How long a piece is kept for a peer whose socket is full.
const HOLD: Duration = Duration::from_millis(20);
/// Most bytes of one `sendfile`, and of those that one job sends.
const SEND_BYTES: usize = 1 << 20;
const ROUND_BYTES: u64 = 4 << 20;
/// How far ahead the kernel is told to read.
const AHEAD_BYTES: u64 = 2 << 20;

/// Returns how many bytes were sent.
pub(super) async fn run(
    store: &Arc<Store>,
    conn: &mut Conn,
    body: &[u8],
) -> Result<u64, ServiceError> {
    let request = Download::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let name = FileName::parse(request.name, store.places.count())?;
    let (offset, bytes) = (request.offset, request.bytes);
    let (_, file) = store.file(&name).ok_or(ServiceError::Invalid("no such store path"))?;
    let (shared, job_name) = (Arc::clone(store), name.clone());
    let job = move || {
        let mut source = read::open(&shared, &job_name, &file, offset, bytes)?;
        let unread = source.unread().filter(|range| (SMALL_BYTES_MAX as u64) < range.len);
        if let Some(range) = unread {
            range.file.will_read(range.offset, AHEAD_BYTES.min(range.len));
            return Ok::<_, ServiceError>((source, None));
        }
        let first = source.read(&shared.sums, 0, PIECE_BYTES);
        Ok((source, Some(first)))
    };
    // Memory for pieces is bounded whatever clients do: one that does not take its piece gives
    // the room back, and the piece is read again when it does.
    let room = store.pieces.acquire().await.expect("the semaphore is never closed");
    let (source, first) = store.on(name.store_path()).run(job).await?;
    let len = source.len();
    let outcome = match first {
        Some(first) => match settled(store, source, &name, first, 0, PIECE_BYTES).await {
            Ok((source, first)) => {
                let mut sending = Sending::new(store, &name, source, len);
                sending.all(conn, Some((first, room))).await
            }
            Err(error) => Err(error),
        },
        None => {
            drop(room);
            let mut sending = Sending::new(store, &name, source, len);
            match conn.send_message(Header::answer(len), &[]).await {
                Ok(()) => sending.unread(conn).await,
                Err(error) => Err(error.into()),
            }
        }
    };
    store.counters.count(|s| &mut s.download, outcome.is_ok());
    store.counters.add(|s| &mut s.download_bytes, len, outcome.is_ok());
    outcome.map(|()| len)
}

/// A range on its way.
struct Sending<'a> {
    store: &'a Arc<Store>,
    name: &'a FileName,
    source: Option<Source>,
    len: u64,
    at: u64,
    pace: Pace,
}

impl<'a> Sending<'a> {
    fn new(store: &'a Arc<Store>, name: &'a FileName, source: Source, len: u64) -> Self {
        Self { store, name, source: Some(source), len, at: 0, pace: Pace::default() }
    }

    /// Sends header and range through memory, each piece compared; `first` is the first one.
    /// After the header an error can only end the connection, before the announced length.
    async fn all(
        &mut self,
        conn: &mut Conn,
        mut held: Option<(Verified, SemaphorePermit<'_>)>,
    ) -> Result<(), ServiceError> {
        let mut head = Some(Header::answer(self.len).to_bytes());
        loop {
            let (piece, room) = match held.take() {
                Some(held) => held,
                None => {
                    self.writable(conn).await?;
                    let room = self.store.pieces.acquire().await;
                    let room = room.expect("the semaphore is never closed");
                    (self.piece().await?, room)
                }
            };
            let taken = match conn.stream().tcp() {
                Some(tcp) => offer(tcp, head.as_ref().map_or(&[], |h| &h[..]), &piece).await?,
                None => {
                    let head = head.as_ref().map_or(&[][..], |h| &h[..]);
                    let all = [head, piece.bytes()].concat();
                    conn.send(&all).await?;
                    all.len()
                }
            };
            drop(room);
            let mut bytes = taken;
            if let Some(first) = head.take() {
                let in_head = taken.min(first.len());
                // The few bytes of a header that a full socket has left over.
                conn.send(first.get(in_head..).unwrap_or_default()).await?;
                bytes = taken.saturating_sub(in_head);
            }
            self.at = self.at.saturating_add(bytes as u64);
            if self.len <= self.at {
                return Ok(());
            }
        }
    }

    /// The next piece, read with a header already out: nobody can be told what is wrong with
    /// it, so the log is, and the connection ends.
    async fn piece(&mut self) -> Result<Verified, ServiceError> {
        let ended = || ServiceError::Conn(ConnError::Io(io::ErrorKind::InvalidData.into()));
        let source = self.source.take().ok_or_else(ended)?;
        match read::piece(self.store, source, self.name, self.at, PIECE_BYTES).await {
            Ok((source, piece)) => {
                self.source = Some(source);
                Ok(piece)
            }
            Err(error) => {
                log::error!("a download ends early: {}", super::chain(&error));
                Err(ended())
            }
        }
    }

    /// Waits, without holding anything, until the peer takes more.
    async fn writable(&mut self, conn: &Conn) -> Result<(), ConnError> {
        let Some(tcp) = conn.stream().tcp() else { return Ok(()) };
        let (window, from) = (self.store.network_timeout, self.store.clock.moment());
        let ready = tokio::time::timeout(window, tcp.writable()).await;
        ready.map_err(|_| ConnError::Stalled(window))??;
        self.pace.moved(self.at, self.store.clock.moment().since(from), window)
    }

    /// Sends the range from file to socket inside the kernel, beside the runtime: a disk that
    /// hangs keeps only those waiting who read from it.
    async fn unread(&mut self, conn: &mut Conn) -> Result<(), ServiceError> {
        let socket = conn.stream().tcp().map(|tcp| tcp.as_fd().try_clone_to_owned());
        let raw = self.source.as_ref().and_then(Source::unread).and_then(|r| r.file.raw());
        let (Some(socket), Some(_)) = (socket, raw) else {
            return self.rest(conn).await;
        };
        let socket = Arc::new(socket.map_err(ConnError::Io)?);
        while self.at < self.len {
            self.writable(conn).await?;
            let Some(source) = self.source.take() else { break };
            let (socket, at) = (Arc::clone(&socket), self.at);
            let job = move || {
                let sent = source.unread().map_or(Ok(0), |range| send_file(&socket, range, at));
                (source, sent)
            };
            let (source, sent) = self.store.on(self.name.store_path()).run(job).await;
            self.source = Some(source);
            match sent {
                Ok(count) => self.at = self.at.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Our copy of the descriptor has met a full socket; the runtime has to
                    // learn of it, or it would call it writable for ever.
                    if let Some(tcp) = conn.stream().tcp() {
                        let full = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = tcp.try_io(Interest::WRITABLE, full);
                    }
                }
                Err(error) => return Err(ConnError::Io(error).into()),
            }
        }
        Ok(())
    }

    /// What cannot be sent inside the kernel.
    async fn rest(&mut self, conn: &mut Conn) -> Result<(), ServiceError> {
        while self.at < self.len {
            let piece = self.piece().await?;
            conn.send(piece.bytes()).await?;
            self.at = self.at.saturating_add(piece.bytes().len() as u64);
        }
        Ok(())
    }
}

/// Gives the peer as much of `head` and `piece` as it takes without long waits; returns how
/// many bytes that were.
async fn offer(tcp: &TcpStream, head: &[u8], piece: &Verified) -> Result<usize, ConnError> {
    let mut taken = 0usize;
    let all = head.len().saturating_add(piece.bytes().len());
    while taken < all {
        let head = head.get(taken..).unwrap_or_default();
        let skip = taken.saturating_sub(all.saturating_sub(piece.bytes().len()));
        let body = piece.bytes().get(skip..).unwrap_or_default();
        match tcp.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(0) => return Err(ConnError::CutOff),
            Ok(count) => taken = taken.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match tokio::time::timeout(HOLD, tcp.writable()).await {
                    Ok(ready) => ready?,
                    Err(_) => return Ok(taken),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(taken)
}

/// One round of `sendfile`, until the socket takes no more. Blocks for the disk only.
fn send_file(socket: &OwnedFd, range: &Range, at: u64) -> io::Result<u64> {
    let file = range.file.raw().ok_or(io::ErrorKind::Unsupported)?;
    let left = range.len.saturating_sub(at).min(ROUND_BYTES);
    let mut offset = range.offset.saturating_add(at);
    range.file.will_read(offset, AHEAD_BYTES.min(range.len.saturating_sub(at)));
    let mut sent = 0u64;
    while sent < left {
        let count = usize::try_from(left.saturating_sub(sent)).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(socket, file, Some(&mut offset), count.min(SEND_BYTES)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => sent = sent.saturating_add(count as u64),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) if sent != 0 => return Ok(sent),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

/// How much a reader takes: one that never is silent and never gets anywhere is cut off.
#[derive(Debug, Default)]
struct Pace {
    /// How far the range had come when it was judged last.
    from: u64,
    waited: Duration,
}

impl Pace {
    /// Judges anew every `window` of waiting; `at` is how far the range has come.
    fn moved(&mut self, at: u64, wait: Duration, window: Duration) -> Result<(), ConnError> {
        self.waited = self.waited.saturating_add(wait);
        if self.waited < window {
            return Ok(());
        }
        let needed = Limits::RATE_MIN.saturating_mul(self.waited.as_secs());
        if at.saturating_sub(self.from) < needed {
            return Err(ConnError::Stalled(self.waited));
        }
        *self = Self { from: at, waited: Duration::ZERO };
        Ok(())
    }
}
