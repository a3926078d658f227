//! fdfs_download_file: fetches a file, or a part of it, into a local one (tools.md 2.2).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use net::client::storage::Download;
use net::ports::World;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;

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
        number.ok_or_else(|| Failure::Argument(format!("{text} is not an offset or a length")))
    };
    let (offset, bytes) = (number(offset)?, number(bytes)?);
    let id = file_id(id)?;
    let local = PathBuf::from(local.copied().unwrap_or(id.name.file_part()));
    let client = connect(world, conf).await?;
    let download = client.download(&id, offset, bytes).await.doing("download file")?;
    save(download, &local).await
}

/// Writes to a file beside `local` that takes its name when it is whole, so that a failure
/// leaves whatever was there. A device or a pipe is written directly.
async fn save(mut download: Download, local: &Path) -> Result<(), Failure> {
    let is_special = fs::metadata(local).await.is_ok_and(|about| !about.is_file());
    let mut partial = OsString::from(local.as_os_str());
    partial.push(".part");
    let target = if is_special { local.to_owned() } else { PathBuf::from(partial) };
    let mut options = File::options();
    options.write(true).create(!is_special).truncate(!is_special);
    let mut file = options.open(&target).await.map_err(|e| Failure::local("open", &target, e))?;
    let written = copy(&mut download, &mut file, &target).await;
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

async fn copy(download: &mut Download, file: &mut File, path: &Path) -> Result<(), Failure> {
    while let Some(chunk) = download.chunk().await.doing("download file")? {
        file.write_all(&chunk).await.map_err(|e| Failure::local("write", path, e))?;
    }
    file.flush().await.map_err(|e| Failure::local("write", path, e))
}
