//! fdfs_download_file: fetches a file, or a part of it, into a local one (tools.md 2.2).
//!
//! A whole normal file is compared with the size and the sum that its name carries, before it
//! gets its local name: what a storage, a disk or the network made of it is never taken for it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use net::client::storage::Download;
use net::ports::World;
use proto::fileid::{FileId, Kind};
use tokio::fs::{self, File};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{Doing as _, Failure, connect, file_id};

const USAGE: &str = "<config_file> <file_id> [local_filename] [<download_offset> <download_bytes>]";

pub(crate) async fn run(world: &World, args: &[&str]) -> Result<(), Failure> {
    let (conf, id, local, offset, bytes) = match args {
        [conf, id] => (conf, id, None, "0", "0"),
        [conf, id, local] => (conf, id, Some(local), "0", "0"),
        [conf, id, local, offset, bytes] => (conf, id, Some(local), *offset, *bytes),
        _ => return Err(Failure::Usage(USAGE.to_owned())),
    };
    let number = |text: &str| {
        let number = text.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok());
        number.ok_or_else(|| Failure::Invalid {
            what: "download file".to_owned(),
            because: format!("{text} is not an offset or a length"),
        })
    };
    let (offset, bytes) = (number(offset)?, number(bytes)?);
    let id = file_id(id, "download file")?;
    let local = PathBuf::from(local.copied().unwrap_or(id.name.file_part()));
    let client = connect(world, conf).await?;
    let download = client.download(&id, offset, bytes).await.doing("download file")?;
    save(download, &local, &mut Check::of(&id, offset, bytes)).await
}

/// What has come of a file, and what its name says of the whole.
#[derive(Debug)]
pub(crate) struct Check {
    size: u64,
    sum: crc32fast::Hasher,
    /// Size and sum; none where the name does not say, or only a part was asked for.
    named: Option<(u64, u32)>,
    bar: ProgressBar,
}

impl Check {
    pub(crate) fn of(id: &FileId, offset: u64, bytes: u64) -> Self {
        let whole = offset == 0 && bytes == 0 && id.name.kind() == Some(Kind::Normal);
        let record = id.name.record().filter(|_| whole);
        Self {
            size: 0,
            sum: crc32fast::Hasher::new(),
            named: record.map(|record| (record.size.size(), record.crc32)),
            bar: ProgressBar::hidden(),
        }
    }

    pub(crate) fn with_bar(self, bar: ProgressBar) -> Self {
        Self { bar, ..self }
    }

    /// Whether there is something to compare with.
    pub(crate) fn is_whole(&self) -> bool {
        self.named.is_some()
    }

    fn saw(&mut self, chunk: &[u8]) {
        self.size += chunk.len() as u64;
        self.sum.update(chunk);
        self.bar.inc(chunk.len() as u64);
    }

    fn verdict(&self) -> Result<(), Failure> {
        let got = (self.size, self.sum.clone().finalize());
        match self.named {
            Some(named) if named != got => Err(Failure::Corrupt(format!(
                "received {} bytes with CRC32 {:08x}, the name says {} bytes with {:08x}: \
                 this copy is damaged, try again for another one",
                got.0, got.1, named.0, named.1
            ))),
            _ => Ok(()),
        }
    }
}

/// Writes to a file beside `local` that takes its name when it is whole, so that a failure
/// leaves whatever was there. A device or a pipe is written directly.
pub(crate) async fn save(
    mut download: Download,
    local: &Path,
    check: &mut Check,
) -> Result<(), Failure> {
    let is_special = fs::metadata(local).await.is_ok_and(|about| !about.is_file());
    let mut partial = OsString::from(local.as_os_str());
    partial.push(".part");
    let target = if is_special { local.to_owned() } else { PathBuf::from(partial) };
    let mut options = File::options();
    options.write(true).create(!is_special).truncate(!is_special);
    let mut file = options.open(&target).await.map_err(|e| Failure::local("open", &target, e))?;
    let written = copy(&mut download, &mut file, &target, check).await;
    if is_special {
        return written;
    }
    let moved = match written {
        Ok(()) => fs::rename(&target, local).await.map_err(|e| Failure::local("write", local, e)),
        Err(failure) => Err(failure),
    };
    if moved.is_err() {
        // The failure that is told is the first one.
        let _ = fs::remove_file(&target).await;
    }
    moved
}

/// The same to standard output. A reader that leaves has what it wanted.
pub(crate) async fn save_to_stdout(
    mut download: Download,
    check: &mut Check,
) -> Result<(), Failure> {
    let place = Path::new("standard output");
    match copy(&mut download, &mut tokio::io::stdout(), place, check).await {
        Err(Failure::Local { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

async fn copy(
    download: &mut Download,
    file: &mut (impl AsyncWrite + Unpin),
    path: &Path,
    check: &mut Check,
) -> Result<(), Failure> {
    while let Some(chunk) = download.chunk().await.doing("download file")? {
        check.saw(&chunk);
        file.write_all(&chunk).await.map_err(|e| Failure::local("write", path, e))?;
    }
    file.flush().await.map_err(|e| Failure::local("write", path, e))?;
    check.verdict()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_normal_files_are_compared_and_damage_is_found() {
        let normal = FileId::parse("group1/M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt").unwrap();
        let mut check = Check::of(&normal, 0, 0);
        assert!(check.is_whole());
        check.saw(b"hello, world!");
        assert!(matches!(check.verdict(), Err(Failure::Corrupt(_))));
        let appender = "group1/M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";
        for check in [
            Check::of(&normal, 1, 0),
            Check::of(&normal, 0, 1),
            Check::of(&FileId::parse(appender).unwrap(), 0, 0),
        ] {
            assert!(!check.is_whole() && check.verdict().is_ok());
        }
    }
}
