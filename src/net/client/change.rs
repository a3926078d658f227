//! Talks to one storage about files that change: appenders and slaves.
//!
//! Used by [`super::Client`], which finds the storage. Each request is sent once: repeated, an
//! append would be in the file twice, and a slave or a new name would be refused as taken.

use std::net::SocketAddr;

use proto::command::Command;
use proto::fileid::FileId;
use proto::header::Header;
use proto::ids::{Extension, Prefix};
use proto::storage::append::{Append, Modify, Regenerate, Truncate};
use proto::storage::upload::UploadSlave;

use super::pool::{Pool, Taken};
use super::storage::{Content, send, stored};
use super::{AtServer as _, ClientError};

/// Longest answer to 38: group and name.
const ANSWER_BYTES_MAX: usize = 256;

/// Stores a slave (21): `size` bytes beside `master`, under its name with `prefix` behind it.
pub async fn upload_slave(
    taken: Taken,
    master: &FileId,
    prefix: Prefix,
    extension: Extension,
    size: u64,
    content: &mut dyn Content,
) -> Result<FileId, ClientError> {
    let server = taken.server;
    let mut head = Vec::new();
    UploadSlave { size, prefix, extension, master: master.name.as_str() }.encode(&mut head);
    let answer = send(taken, Command::UploadSlaveFile, &head, size, content).await?;
    stored(&answer).at(server)
}

/// Puts `len` bytes behind the end of an appender (24).
pub async fn append(
    taken: Taken,
    file: &FileId,
    len: u64,
    content: &mut dyn Content,
) -> Result<(), ClientError> {
    let mut head = Vec::new();
    Append { len, name: file.name.as_str() }.encode(&mut head);
    send(taken, Command::AppendFile, &head, len, content).await.map(drop)
}

/// Writes `len` bytes from `offset` on into an appender (34).
pub async fn modify(
    taken: Taken,
    file: &FileId,
    offset: u64,
    len: u64,
    content: &mut dyn Content,
) -> Result<(), ClientError> {
    let mut head = Vec::new();
    Modify { offset, len, name: file.name.as_str() }.encode(&mut head);
    send(taken, Command::ModifyFile, &head, len, content).await.map(drop)
}

/// Gives an appender the length `size` (36).
pub async fn truncate(
    pool: &Pool,
    server: SocketAddr,
    file: &FileId,
    size: u64,
) -> Result<(), ClientError> {
    let mut body = Vec::new();
    Truncate { size, name: file.name.as_str() }.encode(&mut body);
    let request = Header::request(Command::TruncateFile, body.len() as u64);
    pool.take(server).await?.call(request, &body, 0).await.map(drop)
}

/// Makes a normal file of an appender (38), and returns its new id; the old one is gone.
pub async fn regenerate(
    pool: &Pool,
    server: SocketAddr,
    file: &FileId,
) -> Result<FileId, ClientError> {
    let mut body = Vec::new();
    Regenerate { name: file.name.as_str() }.encode(&mut body);
    let request = Header::request(Command::RegenerateAppenderFilename, body.len() as u64);
    let answer = pool.take(server).await?.call(request, &body, ANSWER_BYTES_MAX).await?;
    stored(&answer).at(server)
}
