//! `fdfs put`: stores local files, or a stream of unknown length.
//!
//! What was sent is summed on its way; the id that comes back must carry that sum. A stream is
//! stored as an appender that grows and then gets its final name.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use clap::Args;
use indicatif::ProgressBar;
use net::client::Client;
use net::client::storage::{Content, Reading};
use net::ports::Fut;
use proto::fileid::{FileId, Kind};
use proto::ids::{Extension, GroupName};
use proto::metadata::{Metadata, Pair};
use proto::storage::metadata::SetMode;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::output::Output;
use crate::upload::open;
use crate::{Doing as _, Failure};

/// Bytes of a stream that are collected before they are sent: each piece is a request.
const PIECE_BYTES: usize = 4 << 20;

#[derive(Debug, Args)]
pub(super) struct Put {
    /// Local files; `-` is standard input, of any length
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Store in this group instead of the one that the tracker chooses
    #[arg(short, long, value_parser = group_name)]
    group: Option<GroupName>,
    /// Store files that can grow and change later
    #[arg(short, long)]
    appender: bool,
    /// Extension of the id, in place of that of the local name
    #[arg(short, long, value_parser = extension)]
    ext: Option<Extension>,
    /// A name/value pair to store with each file; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = pair)]
    meta: Vec<Pair>,
}

#[derive(Debug, Serialize)]
struct Stored<'a> {
    file: &'a str,
    id: String,
    size: u64,
    crc32: String,
}

impl Put {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        for file in &self.files {
            let outcome = self.one(client, file, output).await;
            output.note(outcome);
        }
        Ok(())
    }

    async fn one(&self, client: &Client, file: &Path, output: &Output) -> Result<(), Failure> {
        let name = file.to_string_lossy();
        let (id, sent) = if name == "-" {
            let mut sent = Sent::new(output.bar("standard input", None));
            let id = self.stream(client, tokio::io::stdin(), &mut sent).await?;
            (id, sent)
        } else {
            self.file(client, file, output).await?
        };
        sent.bar.finish();
        let (size, crc32) = (sent.size, format!("{:08x}", sent.sum.clone().finalize()));
        let record = Stored { file: &name, id: id.to_string(), size, crc32 };
        output.tell(&id, &record);
        if !self.meta.is_empty() {
            let metadata = Metadata::new(self.meta.iter().cloned());
            let set = client.set_metadata(&id, SetMode::Overwrite, &metadata).await;
            set.doing("set meta data")?;
        }
        Ok(())
    }

    async fn file(
        &self,
        client: &Client,
        file: &Path,
        output: &Output,
    ) -> Result<(FileId, Sent), Failure> {
        let name = file.to_string_lossy();
        let (source, size) = open(file, &format!("upload file {name}")).await?;
        let extension = self.ext.unwrap_or_else(|| Extension::of_file(&name));
        let shown = file.file_name().unwrap_or_default().to_string_lossy();
        let mut sent = Sent::new(output.bar(&shown, Some(size)));
        let mut content = Watched { inner: Reading(source), sent: &mut sent };
        let group = self.group.as_ref();
        let id = match self.appender {
            false => client.upload(group, extension, size, &mut content).await,
            true => client.upload_appender(group, extension, size, &mut content).await,
        };
        let id = id.doing("upload file")?;
        sent.compare(&id)?;
        Ok((id, sent))
    }

    /// Stores whatever comes, piece by piece.
    async fn stream(
        &self,
        client: &Client,
        mut source: impl AsyncRead + Unpin,
        sent: &mut Sent,
    ) -> Result<FileId, Failure> {
        let extension = self.ext.unwrap_or(Extension::NONE);
        let piece = next_piece(&mut source).await?;
        let len = piece.len() as u64;
        sent.count(&piece);
        let group = self.group.as_ref();
        let id = client.upload_appender(group, extension, len, &mut piece.clone()).await;
        let id = id.doing("upload file")?;
        loop {
            let piece = next_piece(&mut source).await?;
            if piece.is_empty() {
                break;
            }
            sent.count(&piece);
            let len = piece.len() as u64;
            client.append(&id, len, &mut piece.clone()).await.doing("append file")?;
        }
        if self.appender {
            return Ok(id);
        }
        let id = client.regenerate(&id).await.doing("regenerate file")?;
        sent.compare(&id)?;
        Ok(id)
    }
}

/// The next bytes of a stream, fewer than a piece only at its end.
async fn next_piece(source: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, Failure> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    let mut rest = source.take(PIECE_BYTES as u64);
    while rest
        .read_buf(&mut piece)
        .await
        .map_err(|e| Failure::local("read", Path::new("standard input"), e))?
        != 0
    {}
    Ok(piece.freeze())
}

/// What has been sent of a file.
#[derive(Debug)]
struct Sent {
    size: u64,
    sum: crc32fast::Hasher,
    bar: ProgressBar,
}

impl Sent {
    fn new(bar: ProgressBar) -> Self {
        Self { size: 0, sum: crc32fast::Hasher::new(), bar }
    }

    fn count(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.sum.update(piece);
        self.bar.inc(piece.len() as u64);
    }

    /// The name of a normal file carries its sum; another one than ours was not our content.
    fn compare(&self, id: &FileId) -> Result<(), Failure> {
        let named = id.name.record().filter(|_| id.name.kind() == Some(Kind::Normal));
        let sum = self.sum.clone().finalize();
        match named {
            Some(record) if (record.crc32, record.size.size()) != (sum, self.size) => {
                let text = format!("{id} was stored with other bytes than were sent; delete it");
                Err(Failure::Corrupt(text))
            }
            _ => Ok(()),
        }
    }
}

/// Content that is summed and shown while it is sent.
#[derive(Debug)]
struct Watched<'a, C> {
    inner: C,
    sent: &'a mut Sent,
}

impl<C: Content> Content for Watched<'_, C> {
    fn next(&mut self) -> Fut<'_, io::Result<Option<Bytes>>> {
        Box::pin(async {
            let piece = self.inner.next().await?;
            if let Some(piece) = &piece {
                self.sent.count(piece);
            }
            Ok(piece)
        })
    }
}

pub(super) fn group_name(text: &str) -> Result<GroupName, &'static str> {
    GroupName::parse(text).ok_or("a group name is 1 to 16 letters and digits")
}

fn extension(text: &str) -> Result<Extension, &'static str> {
    let need = "an extension is up to 6 letters, digits, '-', '_' and '.'";
    Extension::parse(text.strip_prefix('.').unwrap_or(text)).ok_or(need)
}

pub(super) fn pair(text: &str) -> Result<Pair, &'static str> {
    let (name, value) = text.split_once('=').ok_or("a pair is NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name of a pair is empty");
    }
    Ok(Pair { name: name.into(), value: value.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_another_sum_is_found_out() {
        let id = FileId::parse("group1/M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt").unwrap();
        let mut sent = Sent::new(ProgressBar::hidden());
        sent.count(b"hello, world!");
        assert!(matches!(sent.compare(&id), Err(Failure::Corrupt(_))));
        let appender = "group1/M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";
        assert!(sent.compare(&FileId::parse(appender).unwrap()).is_ok());
    }

    #[tokio::test]
    async fn a_stream_is_cut_into_pieces() {
        let bytes = vec![7; PIECE_BYTES + 3];
        let mut source = &bytes[..];
        assert_eq!(next_piece(&mut source).await.unwrap().len(), PIECE_BYTES);
        assert_eq!(next_piece(&mut source).await.unwrap().len(), 3);
        assert_eq!(next_piece(&mut source).await.unwrap().len(), 0);
    }

    #[test]
    fn pairs_need_a_name() {
        assert!(pair("a=b=c").is_ok_and(|pair| pair.value == b"b=c"));
        assert!(pair("a").is_err() && pair("=b").is_err());
        assert_eq!(extension(".jpg"), extension("jpg"));
    }
}
