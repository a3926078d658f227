//! The body behind a request's header, read in parts and counted, so that nobody can read into
//! the next request or forget what was left unread.

use bytes::Bytes;
use net::conn::Conn;

use super::error::ServiceError;

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

    /// The next piece, at least one byte; to be called only while something is left.
    pub(crate) async fn chunk(&mut self) -> Result<Bytes, ServiceError> {
        let chunk = self.conn.chunk(self.left).await?;
        self.left = self.left.saturating_sub(chunk.len() as u64);
        Ok(chunk)
    }
}
