//! One worker: one operation after the other, each timed from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use net::client::storage::{Content, head};
use net::client::{Client, ClientError, storage};
use net::ports::{Fut, Moment, World};
use proto::fileid::FileId;
use proto::ids::Extension;

use super::Operation;
use super::size::Sizes;

/// Content is sent in pieces of this size, all of them the same bytes.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
/// An appender that has grown to this is left alone for a new one.
const APPENDER_BYTES_MAX: u64 = 64 << 20;
/// Files that a worker of a mix remembers of its own.
const OWN_FILES_MAX: usize = 1024;

/// Operations with their shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix(Vec<(Operation, u64)>);

impl Mix {
    pub(super) fn only(operation: Operation) -> Self {
        Self(vec![(operation, 1)])
    }

    /// `upload:20,download:75,delete:5`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let one = |text: &str| {
            let (name, share) = text.split_once(':').ok_or(format!("{text} is no NAME:SHARE"))?;
            let all = [
                Operation::QueryStore,
                Operation::QueryFetch,
                Operation::Upload,
                Operation::Download,
                Operation::Append,
                Operation::Delete,
            ];
            let operation = all.into_iter().find(|operation| operation.name() == name);
            let operation = operation.ok_or(format!("{name} is no operation"))?;
            let share = share.parse::<u32>().map_err(|_| format!("{share} is no share"))?;
            Ok((operation, u64::from(share)))
        };
        let shares: Result<Vec<(Operation, u64)>, String> = text.split(',').map(one).collect();
        let shares = shares?;
        match shares.iter().map(|(_, share)| share).sum::<u64>() {
            0 => Err("the shares add up to nothing".to_owned()),
            _ => Ok(Self(shares)),
        }
    }

    fn pick(&self, random: u64) -> Operation {
        let sum: u64 = self.0.iter().map(|(_, share)| share).sum();
        let mut left = random.checked_rem(sum).unwrap_or(0);
        for (operation, share) in &self.0 {
            match left.checked_sub(*share) {
                None => return *operation,
                Some(rest) => left = rest,
            }
        }
        Operation::QueryStore
    }

    /// Whether it needs files that are there already.
    pub(super) fn needs_files(&self) -> bool {
        let wanted = [Operation::QueryFetch, Operation::Download];
        self.0.iter().any(|(operation, _)| wanted.contains(operation))
    }
}

/// Numbers that look random, from a seed: the same run can be had again.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator is splitmix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// As many bytes as wanted, without holding them.
#[derive(Debug)]
pub(super) struct Repeated {
    pub(super) piece: Bytes,
    pub(super) left: u64,
}

impl Content for Repeated {
    fn next(&mut self) -> Fut<'_, io::Result<Option<Bytes>>> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.piece.len());
        self.left = self.left.saturating_sub(len as u64);
        let piece = self.piece.slice(..len);
        Box::pin(async move { Ok((!piece.is_empty()).then_some(piece)) })
    }
}

/// What one connection does.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) world: World,
    pub(super) client: Client,
    pub(super) mix: Mix,
    pub(super) sizes: Sizes,
    pub(super) chance: Chance,
    pub(super) piece: Bytes,
    /// Go to this storage without asking.
    pub(super) direct: Option<SocketAddr>,
    /// Files that are there for all.
    pub(super) files: Arc<Vec<FileId>>,
    /// Files of this worker, that it may delete.
    pub(super) own: Vec<FileId>,
    /// The appender that grows, and its size.
    pub(super) appender: Option<(FileId, u64)>,
}

impl Worker {
    /// One operation: when it began, and how many bytes of content moved.
    pub(super) async fn once(&mut self) -> Result<(Moment, u64), ClientError> {
        let operation = self.mix.pick(self.chance.next());
        let size = self.sizes.pick(self.chance.next());
        match operation {
            Operation::Append => self.append(size).await,
            Operation::Delete => self.delete(size).await,
            Operation::Upload => {
                let begun = self.now();
                let id = self.upload(size).await?;
                if self.own.len() < OWN_FILES_MAX {
                    self.own.push(id);
                }
                Ok((begun, size))
            }
            Operation::Download => {
                let file = self.any_file();
                let begun = self.now();
                Ok((begun, self.download(&file?).await?))
            }
            Operation::QueryFetch => {
                let file = self.any_file();
                let begun = self.now();
                self.client.trackers().query_fetch(&file?).await?;
                Ok((begun, 0))
            }
            Operation::QueryStore | Operation::Mix => {
                let begun = self.now();
                self.client.trackers().query_store(None).await?;
                Ok((begun, 0))
            }
        }
    }

    fn now(&self) -> Moment {
        self.world.clock.moment()
    }

    fn any_file(&mut self) -> Result<FileId, ClientError> {
        let count = self.files.len() as u64;
        let index = self.chance.next().checked_rem(count).unwrap_or(0);
        let file = usize::try_from(index).ok().and_then(|index| self.files.get(index));
        let missing = || ClientError::Source(io::ErrorKind::NotFound.into());
        file.cloned().ok_or_else(missing)
    }

    pub(super) async fn upload(&mut self, size: u64) -> Result<FileId, ClientError> {
        let mut content = Repeated { piece: self.piece.clone(), left: size };
        match self.direct {
            None => self.client.upload(None, Extension::NONE, size, &mut content).await,
            Some(server) => {
                let conn = self.client.pool().take(server).await?;
                storage::upload(conn, &head(None, size, Extension::NONE), &mut content).await
            }
        }
    }

    async fn download(&self, file: &FileId) -> Result<u64, ClientError> {
        let download = match self.direct {
            None => self.client.download(file, 0, 0).await?,
            Some(server) => storage::download(self.client.pool(), server, file, 0, 0).await?,
        };
        let len = download.len();
        download.discard().await?;
        Ok(len)
    }

    async fn append(&mut self, size: u64) -> Result<(Moment, u64), ClientError> {
        let grown = self.appender.take().filter(|(_, len)| *len < APPENDER_BYTES_MAX);
        let (id, len) = match grown {
            Some(appender) => appender,
            None => {
                let mut nothing = Bytes::new();
                let made = self.client.upload_appender(None, Extension::NONE, 0, &mut nothing);
                (made.await?, 0)
            }
        };
        let begun = self.now();
        let mut content = Repeated { piece: self.piece.clone(), left: size };
        self.client.append(&id, size, &mut content).await?;
        self.appender = Some((id, len + size));
        Ok((begun, size))
    }

    /// Stores a file first, if it has none; that does not count.
    async fn delete(&mut self, size: u64) -> Result<(Moment, u64), ClientError> {
        let id = match self.own.pop() {
            Some(id) => id,
            None => self.upload(size).await?,
        };
        let begun = self.now();
        match self.direct {
            None => self.client.delete(&id).await?,
            Some(server) => storage::delete(self.client.pool(), server, &id).await?,
        }
        Ok((begun, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_choose_the_operation() {
        let mix = Mix::parse("upload:1,download:2").unwrap();
        let picked: Vec<Operation> = (0..4).map(|random| mix.pick(random)).collect();
        use Operation::{Download, Upload};
        assert_eq!(picked, [Upload, Download, Download, Upload]);
        assert!(mix.needs_files() && !Mix::only(Upload).needs_files());
        for wrong in ["", "upload", "upload:x", "mix:1", "upload:0"] {
            assert!(Mix::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn repeated_content_has_its_length() {
        for want in [0, 1, 10, 11, 25] {
            let mut content = Repeated { piece: Bytes::from_static(b"0123456789"), left: want };
            let mut got = 0;
            while let Some(piece) = content.next().await.unwrap() {
                got += piece.len() as u64;
            }
            assert_eq!(got, want);
        }
    }
}
