//! Reads of a file: repeated at another storage that has it, when one cannot serve it.
//!
//! A storage that cannot be reached, falls silent, has not got the file yet or cannot read it is
//! replaced by the next one; whatever else one says is final. A download goes on where it broke
//! off, unless the file is one that may change meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::fileid::{FileId, Kind};
use proto::metadata::Metadata;
use proto::storage::info::{FileInfo, InfoFlags};

use super::storage::{self, Download, Rest};
use super::{Client, ClientError, address_of};

impl Client {
    /// Begins to fetch `bytes` bytes from `offset` on; 0 means to the end.
    pub async fn download(
        &self,
        file: &FileId,
        offset: u64,
        bytes: u64,
    ) -> Result<Download, ClientError> {
        let first = address_of(self.trackers.query_fetch(file).await?);
        let begin = |server| storage::download(&self.pool, server, file, offset, bytes);
        let download = self.at_any(first, file, begin).await?;
        let may_change = file.name.kind() == Some(Kind::Appender);
        Ok(match may_change {
            true => download,
            false => download.with_rest(Rest {
                trackers: Arc::clone(&self.trackers),
                pool: self.pool.clone(),
                file: file.clone(),
                offset,
            }),
        })
    }

    /// Size, time and sum of a file, as a storage that has it says.
    pub async fn info(&self, file: &FileId) -> Result<FileInfo, ClientError> {
        self.info_with(file, InfoFlags::default()).await
    }

    /// The same, with flags that spare the storage work or a log line.
    pub async fn info_with(
        &self,
        file: &FileId,
        flags: InfoFlags,
    ) -> Result<FileInfo, ClientError> {
        let first = address_of(self.trackers.query_fetch(file).await?);
        self.at_any(first, file, |server| storage::info(&self.pool, server, file, flags)).await
    }

    /// Reads the name/value pairs of a file: where it was made if that storage can be reached,
    /// because what was written last is there first.
    pub async fn metadata(&self, file: &FileId) -> Result<Metadata, ClientError> {
        let first = address_of(self.trackers.query_update(file).await?);
        match storage::metadata(&self.pool, first, file).await {
            Err(error) if error.is_of_network() => {
                let read = |server| storage::metadata(&self.pool, server, file);
                self.at_others(first, file, error, read).await
            }
            other => other,
        }
    }

    /// A read at `first`, and if that storage cannot do it, at one after the other.
    async fn at_any<T, F>(
        &self,
        first: SocketAddr,
        file: &FileId,
        read: impl Fn(SocketAddr) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        match read(first).await {
            Err(error) if error.is_of_storage() => self.at_others(first, file, error, read).await,
            other => other,
        }
    }

    /// The failure of the first storage is the one that is told: it was the one to have the file.
    async fn at_others<T, F>(
        &self,
        first: SocketAddr,
        file: &FileId,
        failed: ClientError,
        read: impl Fn(SocketAddr) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let Ok(servers) = self.trackers.query_fetch_all(file).await else { return Err(failed) };
        for server in servers.into_iter().map(address_of).filter(|server| *server != first) {
            log::info!("read {file} at {server}: {failed}");
            match read(server).await {
                Err(error) if error.is_of_storage() => {}
                other => return other,
            }
        }
        Err(failed)
    }
}
