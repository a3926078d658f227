//! Download, 14 (storage.md 3.8): a range of a file.
//!
//! A small range is read in the job that opens the file and sent with the header in one write.
//! A large one goes from file to socket inside the kernel where there is a real socket, else
//! through one bounded buffer.

use std::{io, sync::Arc, time::Duration};

use net::conn::{Conn, ConnError, Limits};
use proto::{fileid::FileName, header::Header, storage::download::Download};
use tokio::{io::Interest, net::TcpStream};

use super::{Answer, error::ServiceError};
use crate::{
    disk::read::{Range, RangeError, open_range},
    store::Store,
};

/// A range up to this size is read at once.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of one `sendfile`: bounds how long the runtime's thread may wait for the disk.
const SEND_BYTES: usize = 256 * 1024;
/// How far ahead the kernel is told to read.
const AHEAD_BYTES: u64 = 2 << 20;

pub(super) async fn run(
    store: &Arc<Store>,
    conn: &mut Conn,
    body: &[u8],
) -> Result<Answer, ServiceError> {
    let request = Download::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let name = FileName::parse(request.name, store.places.count())?;
    let (offset, bytes) = (request.offset, request.bytes);
    let (_, file) = store.file(&name).ok_or(ServiceError::Invalid("no such store path"))?;
    let disk = Arc::clone(&store.disk);
    let job = move || {
        let range = open_range(&*disk, &file, offset, bytes)?;
        if range.len <= SMALL_BYTES_MAX as u64 {
            let bytes = range.read(0, SMALL_BYTES_MAX).map_err(RangeError::Open)?;
            return Ok((range, Some(bytes)));
        }
        range.file.will_read(range.offset, AHEAD_BYTES.min(range.len));
        Ok((range, None))
    };
    let (range, small) = store.gate.run(job).await.map_err(|error| match error {
        RangeError::NotRegular => ServiceError::NotRegular,
        RangeError::BeyondEnd => ServiceError::Invalid("the file ends before the range begins"),
        RangeError::Open(error) if error.kind() == io::ErrorKind::NotFound => {
            ServiceError::NotFound("file")
        }
        RangeError::Open(error) => ServiceError::Read(error),
    })?;
    let len = range.len;
    let outcome = match small {
        // A file that became shorter meanwhile must not give a shorter answer than announced.
        Some(bytes) if bytes.len() as u64 != len => {
            Err(ServiceError::Read(io::ErrorKind::UnexpectedEof.into()))
        }
        Some(bytes) => conn.answer(&bytes).await.map_err(ServiceError::from),
        None => stream(store, conn, range).await,
    };
    store.counters.count(|s| &mut s.download, outcome.is_ok());
    store.counters.add(|s| &mut s.download_bytes, len, outcome.is_ok());
    outcome.map(|()| Answer::Sent)
}

/// Sends the header and then the range. After the header an error can only end the connection.
async fn stream(store: &Arc<Store>, conn: &mut Conn, range: Range) -> Result<(), ServiceError> {
    conn.send_message(Header::answer(range.len), &[]).await?;
    let range = Arc::new(range);
    let mut pace = Pace::default();
    let mut at = 0u64;
    while at < range.len {
        let sent = match (conn.stream().tcp(), range.file.raw().is_some()) {
            (Some(tcp), true) => send_file(store, tcp, &range, at, &mut pace).await,
            _ => copy(store, conn, &range, at).await,
        };
        at = at.saturating_add(sent.inspect_err(|error| {
            log::debug!("download by {} ends early: {error}", conn.peer());
        })?);
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

/// One piece through memory.
async fn copy(
    store: &Store,
    conn: &mut Conn,
    range: &Arc<Range>,
    at: u64,
) -> Result<u64, ConnError> {
    let shared = Arc::clone(range);
    let piece = store.gate.run(move || shared.read(at, SEND_BYTES)).await?;
    if piece.is_empty() {
        return Err(ConnError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    conn.send(&piece).await?;
    Ok(piece.len() as u64)
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
