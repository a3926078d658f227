//! Talks to one storage as another storage does: what keeps the members of a group equal
//! (sync.md 5.6, 6).
//!
//! Every call returns the status that was answered; what it means is the caller's business. A
//! connection that can still be used after a refusal says so. Content is streamed; nothing is
//! ever repeated here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use proto::command::Command;
use proto::header::Header;
use proto::ids::{GroupName, StorageId};
use proto::status::Status;
use proto::storage::delete::FileName as NameBody;
use proto::storage::info::{FileInfo, InfoFlags};
use proto::storage::replicate::{
    ReportId, SyncDelete, SyncFile, SyncNames, SyncPart, SyncTruncate,
};
use proto::wire::DecodeError;

use super::storage::{Content, SYNC_BYTES_PER_SEC_MIN, send_content};
use super::{AtServer as _, ClientError};
use crate::conn::{CHUNK_BYTES_MAX, Conn, Limits};
use crate::ports::World;

/// Content up to this size travels in one write with its head.
const SMALL_BYTES_MAX: usize = CHUNK_BYTES_MAX;

/// A connection to a member of our group. Closed when it is dropped.
#[derive(Debug)]
pub struct Link {
    conn: Conn,
    server: SocketAddr,
    group: GroupName,
    usable: bool,
}

/// What of a file is sent with a command.
pub enum Body<'a> {
    Nothing,
    /// All of it, in memory.
    Small(Bytes),
    /// As many bytes as the head announces, in pieces.
    Stream(&'a mut dyn Content),
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl Link {
    /// Connects to `server`, from the address `from` if there is one.
    pub async fn connect(
        world: &World,
        server: SocketAddr,
        from: Option<IpAddr>,
        connect_timeout: Duration,
        network_timeout: Duration,
        group: GroupName,
    ) -> Result<Self, ClientError> {
        let limits = Limits::new(network_timeout);
        let conn = Conn::connect(world, server, from, connect_timeout, limits).await.at(server)?;
        Ok(Self { conn, server, group, usable: true })
    }

    /// Who is at the other end.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whether another request may be sent: not after an answer that came early.
    pub fn is_usable(&mut self) -> bool {
        self.usable && !self.conn.has_arrived()
    }

    /// Says who we are (9). From then on the peer remembers up to when it has our files.
    pub async fn introduce(&mut self, id: StorageId) -> Result<Status, ClientError> {
        let mut body = Vec::new();
        ReportId { id }.encode(&mut body);
        self.ask(Command::ReportServerId, &body).await
    }

    /// Asks whether the peer is alive (111), so that an idle connection is not forgotten.
    pub async fn active_test(&mut self) -> Result<Status, ClientError> {
        self.ask(Command::ActiveTest, &[]).await
    }

    /// Size and time of a file (22), or the status that says why not.
    pub async fn info(
        &mut self,
        name: &str,
        flags: InfoFlags,
    ) -> Result<Result<FileInfo, Status>, ClientError> {
        let mut body = Vec::new();
        NameBody { group: self.group, name }.encode(&mut body);
        let request = Header::request(Command::QueryFileInfo, body.len() as u64);
        let request = Header { status: Status(flags.0), ..request };
        match self.exchange(request, &body).await? {
            (Status::OK, answer) => Ok(Ok(FileInfo::decode(&answer).at(self.server)?)),
            (status, _) => Ok(Err(status)),
        }
    }

    /// A whole file (16), or in place of what is there (18).
    pub async fn file(
        &mut self,
        over: bool,
        at: u32,
        name: &str,
        size: u64,
        body: Body<'_>,
    ) -> Result<Status, ClientError> {
        let command = if over { Command::SyncUpdateFile } else { Command::SyncCreateFile };
        let mut head = Vec::new();
        SyncFile { size, at, group: self.group, name }.encode(&mut head);
        self.send(command, head, size, body).await
    }

    /// Says that the peer has this file of `size` bytes already (16 without content).
    pub async fn had(&mut self, at: u32, name: &str, size: u64) -> Result<Status, ClientError> {
        let mut head = Vec::new();
        SyncFile { size, at, group: self.group, name }.encode(&mut head);
        let request = Header::request(Command::SyncCreateFile, head.len() as u64);
        let request = Header { status: Status::EEXIST, ..request };
        self.exchange(request, &head).await.map(|(status, _)| status)
    }

    /// A part of a file, behind its end (25) or over what is there (35).
    pub async fn part(
        &mut self,
        append: bool,
        at: u32,
        name: &str,
        (offset, len): (u64, u64),
        body: Body<'_>,
    ) -> Result<Status, ClientError> {
        let command = if append { Command::SyncAppendFile } else { Command::SyncModifyFile };
        let mut head = Vec::new();
        SyncPart { offset, len, at, group: self.group, name }.encode(&mut head);
        self.send(command, head, len, body).await
    }

    /// The length that a file gets (37).
    pub async fn truncate(
        &mut self,
        at: u32,
        name: &str,
        (old, new): (u64, u64),
    ) -> Result<Status, ClientError> {
        let mut body = Vec::new();
        SyncTruncate { old, new, at, group: self.group, name }.encode(&mut body);
        self.ask(Command::SyncTruncateFile, &body).await
    }

    /// A name that is gone (17).
    pub async fn delete(&mut self, at: u32, name: &str) -> Result<Status, ClientError> {
        let mut body = Vec::new();
        SyncDelete { at, group: self.group, name }.encode(&mut body);
        self.ask(Command::SyncDeleteFile, &body).await
    }

    /// A link (19) and what it leads to.
    pub async fn link(&mut self, at: u32, new: &str, old: &str) -> Result<Status, ClientError> {
        self.names(Command::SyncCreateLink, at, new, old).await
    }

    /// Another name (40) for a file, and its name before.
    pub async fn rename(&mut self, at: u32, new: &str, old: &str) -> Result<Status, ClientError> {
        self.names(Command::SyncRenameFile, at, new, old).await
    }

    async fn names(
        &mut self,
        command: Command,
        at: u32,
        new: &str,
        old: &str,
    ) -> Result<Status, ClientError> {
        let mut body = Vec::new();
        SyncNames { at, group: self.group, new, old }.encode(&mut body);
        self.ask(command, &body).await
    }

    async fn ask(&mut self, command: Command, body: &[u8]) -> Result<Status, ClientError> {
        let request = Header::request(command, body.len() as u64);
        self.exchange(request, body).await.map(|(status, _)| status)
    }

    async fn exchange(
        &mut self,
        request: Header,
        body: &[u8],
    ) -> Result<(Status, Bytes), ClientError> {
        self.conn.send_message(request, body).await.at(self.server)?;
        self.answer(self.conn.limits().network_timeout).await
    }

    async fn send(
        &mut self,
        command: Command,
        mut head: Vec<u8>,
        size: u64,
        body: Body<'_>,
    ) -> Result<Status, ClientError> {
        let request = Header::request(command, size.saturating_add(head.len() as u64));
        let complete = match body {
            Body::Nothing => {
                self.conn.send_message(request, &head).await.at(self.server)?;
                size == 0
            }
            Body::Small(bytes) if bytes.len() <= SMALL_BYTES_MAX => {
                if bytes.len() as u64 != size {
                    let got = bytes.len() as u64;
                    return Err(ClientError::Length { got, want: size });
                }
                head.extend_from_slice(&bytes);
                self.conn.send_message(request, &head).await.at(self.server)?;
                true
            }
            Body::Small(mut bytes) => {
                self.conn.send_message(request, &head).await.at(self.server)?;
                send_content(&mut self.conn, self.server, size, &mut bytes).await?
            }
            Body::Stream(content) => {
                self.conn.send_message(request, &head).await.at(self.server)?;
                send_content(&mut self.conn, self.server, size, content).await?
            }
        };
        let syncing = Duration::from_secs(size / SYNC_BYTES_PER_SEC_MIN);
        let limit = self.conn.limits().network_timeout.saturating_add(syncing);
        let (status, _) = self.answer(limit).await?;
        if !complete {
            self.usable = false;
            if status.is_ok() {
                let early = DecodeError::BadValue("success before the end of the content");
                return Err(early).at(self.server);
            }
        }
        Ok(status)
    }

    /// Status and body. The reference answers 40 with the body of the request: it is read.
    async fn answer(&mut self, limit: Duration) -> Result<(Status, Bytes), ClientError> {
        let header = self.conn.header_within(limit).await.at(self.server)?;
        if header.cmd != Command::Resp as u8 {
            return Err(DecodeError::BadValue("command of an answer")).at(self.server);
        }
        let body = self.conn.body(header.body_len, CHUNK_BYTES_MAX).await.at(self.server)?;
        if header.status == Status::EINVAL {
            // The peer closes after this one (storage.md 1.4).
            self.usable = false;
        }
        Ok((header.status, body))
    }
}
