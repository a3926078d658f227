//! The body behind a request's header, read in parts and counted, so that nobody can read into
//! the next request or forget what was left unread.

use std::time::Duration;

use bytes::Bytes;
use net::conn::Conn;
use proto::ids::StorePath;
use tokio::sync::OwnedSemaphorePermit;

use super::error::ServiceError;
use crate::store::Store;

/// Content up to this size is collected first and written in one job.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
const _: () = assert!(SMALL_BYTES_MAX <= net::conn::CHUNK_BYTES_MAX as u64);
/// And if it comes within this time.
const COLLECT_TIME: Duration = Duration::from_secs(1);

/// What of a body is still to come.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    conn: &'a mut Conn,
    left: u64,
    /// The name that the request is about, once it is known; for the access log.
    pub(crate) name: String,
    /// Bytes of an answer that a handler has streamed.
    pub(crate) sent: u64,
}

impl<'a> Content<'a> {
    pub(crate) fn new(conn: &'a mut Conn, body_len: u64) -> Self {
        Self { conn, left: body_len, name: String::new(), sent: 0 }
    }

    /// Bytes of the body that were not read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The connection, for answers that are streamed.
    pub(crate) fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// All that is left, if it is not more than `max` bytes.
    pub(crate) async fn body(&mut self, max: usize) -> Result<Bytes, ServiceError> {
        match usize::try_from(self.left) {
            Ok(len) if len <= max => self.part(len).await,
            _ => Err(ServiceError::Invalid("request is too long")),
        }
    }

    /// The next `len` bytes, which must be there.
    pub(crate) async fn part(&mut self, len: usize) -> Result<Bytes, ServiceError> {
        let part = self.conn.body(len as u64, len).await?;
        self.left = self.left.saturating_sub(len as u64);
        Ok(part)
    }

    /// Whether what is left is too much to be collected in memory.
    pub(crate) fn is_large(&self) -> bool {
        SMALL_BYTES_MAX < self.left
    }

    /// All that is left, if it is small and comes soon: a slow client does not collect in
    /// memory, what comes later than this is to be streamed.
    pub(crate) async fn small(&mut self) -> Result<Option<Bytes>, ServiceError> {
        if self.is_large() {
            return Ok(None);
        }
        let whole = self.part(usize::try_from(self.left).unwrap_or(0));
        tokio::time::timeout(COLLECT_TIME, whole).await.ok().transpose()
    }

    /// The next piece for the disk of `path`, with the room that it takes in memory: to be kept
    /// until it is written. What has not arrived takes none.
    pub(crate) async fn piece(
        &mut self,
        store: &Store,
        path: StorePath,
    ) -> Result<(Bytes, OwnedSemaphorePermit), ServiceError> {
        self.conn.chunk_arrived().await?;
        let room = store.arriving(path).acquire_owned().await;
        let room = room.expect("the semaphore is never closed");
        Ok((self.chunk().await?, room))
    }

    /// The next piece, at least one byte; to be called only while something is left.
    pub(crate) async fn chunk(&mut self) -> Result<Bytes, ServiceError> {
        let chunk = self.conn.chunk(self.left).await?;
        self.left = self.left.saturating_sub(chunk.len() as u64);
        Ok(chunk)
    }
}
