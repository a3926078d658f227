//! Download, 14 (storage.md 3.8): a range of a file.
//!
//! What the setting `verify_reads` wants compared goes through memory: the first piece is read
//! in the job that opens the file and sent with the header in one write, and each further one
//! is read while another is sent. A large range that need not be compared goes from file to
//! socket inside the kernel.

use std::{io, sync::Arc, time::Duration};

use net::conn::{Conn, ConnError, Limits};
use proto::{fileid::FileName, header::Header, storage::download::Download};
use tokio::{io::Interest, net::TcpStream};

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
/// Most bytes of one piece through memory; two are held.
const PIECE_BYTES: usize = 256 * 1024;
/// Most bytes of one `sendfile`: bounds how long the runtime's thread may wait for the disk.
const SEND_BYTES: usize = 256 * 1024;
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
    let (source, first) = store.on(name.store_path()).run(job).await?;
    let len = source.len();
    let outcome = match first {
        Some(first) => match settled(store, source, &name, first, 0, PIECE_BYTES).await {
            Ok((source, first)) => copy(store, conn, source, &name, first).await,
            Err(error) => Err(error),
        },
        None => stream(store, conn, source).await,
    };
    store.counters.count(|s| &mut s.download, outcome.is_ok());
    store.counters.add(|s| &mut s.download_bytes, len, outcome.is_ok());
    outcome.map(|()| len)
}

/// Sends header and range through memory, each piece compared, the next one being read while
/// one is sent. After the header an error can only end the connection, before the announced
/// length.
async fn copy(
    store: &Arc<Store>,
    conn: &mut Conn,
    source: Source,
    name: &FileName,
    first: Verified,
) -> Result<(), ServiceError> {
    let len = source.len();
    let mut at = first.bytes().len() as u64;
    if len <= at {
        return Ok(conn.send_message(Header::answer(len), first.bytes()).await?);
    }
    let head = async |conn: &mut Conn| {
        conn.send_message(Header::answer(len), first.bytes()).await.map_err(ServiceError::from)
    };
    let next = read::piece(store, source, name, at, PIECE_BYTES);
    let (sent, read) = tokio::join!(head(conn), next);
    let (mut source, mut piece) = cut_off(read)?;
    sent?;
    loop {
        at = at.saturating_add(piece.bytes().len() as u64);
        if len <= at {
            return Ok(conn.send(piece.bytes()).await?);
        }
        let next = read::piece(store, source, name, at, PIECE_BYTES);
        let (sent, read) = tokio::join!(conn.send(piece.bytes()), next);
        sent?;
        (source, piece) = cut_off(read)?;
    }
}

/// The header is out, so nobody can be told: the log is, and the connection ends.
fn cut_off<T>(outcome: Result<T, ServiceError>) -> Result<T, ServiceError> {
    outcome.map_err(|error| {
        log::error!("a download ends early: {}", super::chain(&error));
        ServiceError::Conn(ConnError::Io(io::ErrorKind::InvalidData.into()))
    })
}

/// Sends the header and then the range, from file to socket inside the kernel where it can.
async fn stream(store: &Arc<Store>, conn: &mut Conn, source: Source) -> Result<(), ServiceError> {
    let name = source.name().clone();
    let len = source.len();
    conn.send_message(Header::answer(len), &[]).await?;
    let mut pace = Pace::default();
    let mut at = 0u64;
    if let (Some(tcp), Some(range)) = (conn.stream().tcp(), source.unread())
        && range.file.raw().is_some()
    {
        while at < len {
            let sent = send_file(store, tcp, range, at, &mut pace).await;
            at = at.saturating_add(sent.inspect_err(|error| {
                log::debug!("download by {} ends early: {error}", conn.peer());
            })?);
        }
    }
    let mut source = source;
    while at < len {
        let piece;
        (source, piece) = cut_off(read::piece(store, source, &name, at, PIECE_BYTES).await)?;
        conn.send(piece.bytes()).await?;
        at = at.saturating_add(piece.bytes().len() as u64);
    }
    Ok(())
}

/// One `sendfile`, as soon as the socket takes something.
async fn send_file(
    store: &Store,
    tcp: &TcpStream,
    range: &Range,
    at: u64,
    pace: &mut Pace,
) -> Result<u64, ConnError> {
    let left = usize::try_from(range.len.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut offset = range.offset.saturating_add(at);
    if at % AHEAD_BYTES < SEND_BYTES as u64 {
        range.file.will_read(offset, AHEAD_BYTES.saturating_mul(2));
    }
    let from = store.clock.moment();
    let send = tcp.async_io(Interest::WRITABLE, || {
        let file = range.file.raw().ok_or(io::ErrorKind::Unsupported)?;
        let count = left.min(SEND_BYTES);
        Ok(rustix::fs::sendfile(tcp, file, Some(&mut offset), count)?)
    });
    let window = store.network_timeout;
    let count = match tokio::time::timeout(window, send).await {
        Err(_) => return Err(ConnError::Stalled(window)),
        Ok(Ok(0)) => return Err(ConnError::Io(io::ErrorKind::UnexpectedEof.into())),
        Ok(sent) => sent? as u64,
    };
    pace.moved(count, store.clock.moment().since(from), window)?;
    Ok(count)
}

/// How much a reader takes: one that never is silent and never gets anywhere is cut off.
#[derive(Debug, Default)]
struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    fn moved(&mut self, bytes: u64, wait: Duration, window: Duration) -> Result<(), ConnError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited = self.waited.saturating_add(wait);
        if self.waited < window {
            return Ok(());
        }
        if self.bytes < Limits::RATE_MIN.saturating_mul(self.waited.as_secs()) {
            return Err(ConnError::Stalled(self.waited));
        }
        *self = Self::default();
        Ok(())
    }
}
