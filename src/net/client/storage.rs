//! Talks to one storage: upload, download, delete, file info, metadata.
//!
//! Content is streamed in both directions, at most a chunk of it in memory. A connection goes
//! back to the pool only behind a complete success.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::command::Command;
use proto::fileid::{FileId, FileName, STORE_PATHS_MAX};
use proto::header::Header;
use proto::ids::{Extension, StorePath};
use proto::metadata::Metadata;
use proto::status::Status;
use proto::storage::delete::FileName as NameBody;
use proto::storage::download::Download as DownloadBody;
use proto::storage::info::{FileInfo, InfoFlags};
use proto::storage::metadata::{SetMetadata, SetMode};
use proto::storage::upload::{Stored, Upload};
use proto::wire::DecodeError;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::pool::{Pool, Taken, accept};
use super::tracker::Trackers;
use super::{AtServer as _, ClientError, address_of};
use crate::conn::{CHUNK_BYTES_MAX, Conn};
use crate::ports::Fut;

/// Longest small answer: the text of all metadata a request may set.
const ANSWER_BYTES_MAX: usize = CHUNK_BYTES_MAX;
/// A storage syncs the file before it answers; slower than this no disk of ours may be.
pub(super) const SYNC_BYTES_PER_SEC_MIN: u64 = 16 << 20;
/// How often one download may go on at another storage.
const RESUMES_MAX: u32 = 3;

/// Content to be uploaded: pieces in order, then none.
pub trait Content: Send {
    /// The next piece, at most a few hundred KiB and not empty.
    fn next(&mut self) -> Fut<'_, io::Result<Option<Bytes>>>;
}

/// Content that is read from a file or a socket.
#[derive(Debug)]
pub struct Reading<R>(pub R);

impl<R: AsyncRead + Unpin + Send> Content for Reading<R> {
    fn next(&mut self) -> Fut<'_, io::Result<Option<Bytes>>> {
        Box::pin(async {
            let mut piece = BytesMut::with_capacity(CHUNK_BYTES_MAX);
            let count = self.0.read_buf(&mut piece).await?;
            Ok((count != 0).then(|| piece.freeze()))
        })
    }
}

/// The fixed part of an upload (11); no path lets the storage choose.
pub fn head(path: Option<StorePath>, size: u64, extension: Extension) -> Upload {
    Upload { store_path: path, size, extension }
}

/// Uploads `content`, which must have the length that `head` announces.
pub async fn upload(
    taken: Taken,
    head: &Upload,
    content: &mut dyn Content,
) -> Result<FileId, ClientError> {
    upload_as(taken, Command::UploadFile, head, content).await
}

/// The same, as an appender (23).
pub async fn upload_appender(
    taken: Taken,
    head: &Upload,
    content: &mut dyn Content,
) -> Result<FileId, ClientError> {
    upload_as(taken, Command::UploadAppenderFile, head, content).await
}

/// Uploads a normal file (11) or an appender (23): they differ in nothing but the command.
pub(super) async fn upload_as(
    taken: Taken,
    command: Command,
    head: &Upload,
    content: &mut dyn Content,
) -> Result<FileId, ClientError> {
    let server = taken.server;
    let mut fixed = Vec::new();
    head.encode(&mut fixed);
    let body = send(taken, command, &fixed, head.size, content).await?;
    stored(&body).at(server)
}

/// Sends a request of `head` and `size` bytes of `content`; the body of the answer. The
/// connection is closed on any failure, so that the storage forgets what it got.
pub(super) async fn send(
    mut taken: Taken,
    command: Command,
    head: &[u8],
    size: u64,
    content: &mut dyn Content,
) -> Result<Bytes, ClientError> {
    let server = taken.server;
    let request = Header::request(command, size.saturating_add(head.len() as u64));
    taken.conn.send_message(request, head).await.at(server)?;
    let complete = send_content(&mut taken.conn, server, size, content).await?;
    let limit = taken.conn.limits().network_timeout;
    let syncing = Duration::from_secs(size / SYNC_BYTES_PER_SEC_MIN);
    let answer = taken.conn.header_within(limit.saturating_add(syncing)).await.at(server)?;
    let body = taken.answer(answer, ANSWER_BYTES_MAX).await?;
    if !complete {
        return Err(DecodeError::BadValue("success before the end of the content")).at(server);
    }
    taken.keep();
    Ok(body)
}

/// Sends `size` bytes. False if the storage answered before it had them all: it has refused,
/// and to send on would only lose its answer.
pub(super) async fn send_content(
    conn: &mut Conn,
    server: SocketAddr,
    size: u64,
    content: &mut dyn Content,
) -> Result<bool, ClientError> {
    let mut sent = 0;
    while let Some(piece) = content.next().await.map_err(ClientError::Source)? {
        let after = piece.len() as u64 + sent;
        if size < after {
            return Err(ClientError::Length { got: after, want: size });
        }
        if conn.has_arrived() {
            return Ok(false);
        }
        if let Err(error) = conn.send(&piece).await {
            // Whoever refuses and closes may be heard although it no longer listens.
            return if conn.has_arrived() { Ok(false) } else { Err(error).at(server) };
        }
        sent = after;
    }
    if sent != size {
        return Err(ClientError::Length { got: sent, want: size });
    }
    Ok(true)
}

/// The id in the answer to an upload (11, 21, 23) or to a regeneration (38).
pub(super) fn stored(body: &[u8]) -> Result<FileId, DecodeError> {
    let Stored { group, name } = Stored::decode(body)?;
    let name = FileName::parse(name, STORE_PATHS_MAX);
    Ok(FileId { group, name: name.map_err(|_| DecodeError::BadText("file name"))? })
}

/// A download under way. Dropping it before its end closes the connection.
#[derive(Debug)]
pub struct Download {
    len: u64,
    left: u64,
    server: SocketAddr,
    /// Goes back to its pool as soon as the end is reached.
    taken: Option<Taken>,
    /// Where else the rest may come from, if the connection breaks.
    rest: Option<Rest>,
    resumes: u32,
}

/// What a download needs to go on at another storage.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    pub(super) trackers: Arc<Trackers>,
    pub(super) pool: Pool,
    pub(super) file: FileId,
    /// Of the first byte of the download.
    pub(super) offset: u64,
}

impl Download {
    fn new(len: u64, taken: Taken) -> Self {
        let server = taken.server;
        let taken = Some(taken);
        let mut download = Self { len, left: len, server, taken, rest: None, resumes: 0 };
        download.end_if_complete();
        download
    }

    fn of_nothing(server: SocketAddr) -> Self {
        Self { len: 0, left: 0, server, taken: None, rest: None, resumes: 0 }
    }

    /// How many bytes come in all.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next piece; none at the end. A connection that breaks is an error, never an end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(taken) = &mut self.taken else { return Ok(None) };
            match taken.conn.chunk(self.left).await.at(self.server) {
                Ok(chunk) => {
                    self.left = self.left.saturating_sub(chunk.len() as u64);
                    self.end_if_complete();
                    return Ok(Some(chunk));
                }
                Err(broken) => self.resume(broken).await?,
            }
        }
    }

    pub(super) fn with_rest(self, rest: Rest) -> Self {
        Self { rest: Some(rest), ..self }
    }

    /// Goes on at another storage, or at the same one if it is the only one and has come back.
    async fn resume(&mut self, broken: ClientError) -> Result<(), ClientError> {
        let Some(Rest { trackers, pool, file, offset }) = self.rest.clone() else {
            return Err(broken);
        };
        self.resumes += 1;
        if RESUMES_MAX < self.resumes {
            return Err(broken);
        }
        let Ok(servers) = trackers.query_fetch_all(&file).await else { return Err(broken) };
        let servers: Vec<SocketAddr> = servers.into_iter().map(address_of).collect();
        let others = servers.iter().filter(|server| **server != self.server);
        let same = servers.iter().filter(|server| **server == self.server);
        let from = offset.saturating_add(self.len.saturating_sub(self.left));
        for server in others.chain(same) {
            log::info!("read {file} from {from} on at {server}: {broken}");
            match download(&pool, *server, &file, from, self.left).await {
                Ok(Self { len, taken: Some(taken), .. }) if len == self.left => {
                    // The broken connection is closed by this, not before: without one the
                    // download would look complete.
                    (self.server, self.taken) = (*server, Some(taken));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(broken)
    }

    /// Reads to the end and forgets what comes: for those who only want to know that it does.
    pub async fn discard(mut self) -> Result<(), ClientError> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }

    fn end_if_complete(&mut self) {
        if self.left == 0
            && let Some(taken) = self.taken.take()
        {
            taken.keep();
        }
    }
}

/// Begins to download `bytes` bytes from `offset` on; 0 means to the end. An empty file is one of
/// no bytes also where the storage is the reference, which answers EINVAL.
pub async fn download(
    pool: &Pool,
    server: SocketAddr,
    file: &FileId,
    offset: u64,
    bytes: u64,
) -> Result<Download, ClientError> {
    match download_flagged(pool, server, file, (offset, bytes), Status::OK).await {
        Err(ClientError::Refused { status: Status::EINVAL, server })
            if (offset, bytes) == (0, 0)
                && info(pool, server, file, InfoFlags::PROBE).await?.size == 0 =>
        {
            Ok(Download::of_nothing(server))
        }
        begun => begun,
    }
}

/// The same with flags in the status byte, which storages of ours understand among themselves.
pub async fn download_flagged(
    pool: &Pool,
    server: SocketAddr,
    file: &FileId,
    (offset, bytes): (u64, u64),
    flags: Status,
) -> Result<Download, ClientError> {
    let mut body = Vec::new();
    DownloadBody { offset, bytes, group: file.group, name: file.name.as_str() }.encode(&mut body);
    let request = Header::request(Command::DownloadFile, body.len() as u64);
    let request = Header { status: flags, ..request };
    let first = begin(pool.take(server).await?, request, &body).await;
    let (taken, header) = match first {
        // An idle connection may have died just now; nothing was received yet.
        Err((false, error)) if error.is_of_network() => {
            begin(pool.connect(server).await?, request, &body).await.map_err(|(_, e)| e)?
        }
        other => other.map_err(|(_, error)| error)?,
    };
    accept(header, server)?;
    Ok(Download::new(header.body_len, taken))
}

/// Sends a request and waits for the header of its answer. An error comes with whether the
/// connection was fresh.
async fn begin(
    mut taken: Taken,
    request: Header,
    body: &[u8],
) -> Result<(Taken, Header), (bool, ClientError)> {
    let (server, is_fresh) = (taken.server, taken.is_fresh);
    let sent = taken.conn.send_message(request, body).await;
    let answered = match sent {
        Ok(()) => taken.conn.header().await,
        Err(error) => Err(error),
    };
    answered.at(server).map(|header| (taken, header)).map_err(|error| (is_fresh, error))
}

/// Deletes a file. Sent once: repeated, it could not tell its own success from a missing file.
pub async fn delete(pool: &Pool, server: SocketAddr, file: &FileId) -> Result<(), ClientError> {
    let body = name_body(file);
    let request = Header::request(Command::DeleteFile, body.len() as u64);
    pool.take(server).await?.call(request, &body, 0).await.map(drop)
}

/// Asks for size, time and sum. `flags` go into the status byte (storage.md 3.11).
pub async fn info(
    pool: &Pool,
    server: SocketAddr,
    file: &FileId,
    flags: InfoFlags,
) -> Result<FileInfo, ClientError> {
    let body = name_body(file);
    let request = Header { status: Status(flags.0), ..Header::request(Command::QueryFileInfo, 0) };
    let request = Header { body_len: body.len() as u64, ..request };
    let answer = pool.ask(server, request, &body, ANSWER_BYTES_MAX).await?;
    FileInfo::decode(&answer).at(server)
}

/// Writes name/value pairs; doing it twice is the same as once.
pub async fn set_metadata(
    pool: &Pool,
    server: SocketAddr,
    file: &FileId,
    mode: SetMode,
    metadata: &Metadata,
) -> Result<(), ClientError> {
    let pairs = metadata.print();
    let mut body = Vec::new();
    SetMetadata { mode, group: file.group, name: file.name.as_str(), pairs: &pairs }
        .encode(&mut body);
    let request = Header::request(Command::SetMetadata, body.len() as u64);
    pool.ask_to_change(server, request, &body).await
}

/// Reads name/value pairs.
pub async fn metadata(
    pool: &Pool,
    server: SocketAddr,
    file: &FileId,
) -> Result<Metadata, ClientError> {
    let body = name_body(file);
    let request = Header::request(Command::GetMetadata, body.len() as u64);
    let answer = pool.ask(server, request, &body, ANSWER_BYTES_MAX).await?;
    Ok(Metadata::parse_file(&answer))
}

fn name_body(file: &FileId) -> Vec<u8> {
    let mut body = Vec::new();
    NameBody { group: file.group, name: file.name.as_str() }.encode(&mut body);
    body
}
