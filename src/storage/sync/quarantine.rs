//! Records that a peer will never take, set aside where an operator sees them.
//!
//! ```text
//! data/sync/<peer>.aside:  <unix seconds> <file>:<offset> <why> | <the record or line>
//! ```
//!
//! Appended by the sender of the peer, read by people and by `fdfs resync`. Every call may block.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    binlog::Position,
    disk::port::{Disk, Open},
};

/// Beyond this the file only counts in the log: something is wrong at large.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The file for the peer whose mark is `mark`.
pub(super) fn path_beside(mark: &Path) -> PathBuf {
    mark.with_extension("aside")
}

/// Adds one record; durable when it returns.
pub(super) fn add(
    disk: &dyn Disk,
    path: &Path,
    now: u32,
    at: Position,
    why: &str,
    text: &str,
) -> io::Result<()> {
    let file = disk.open(path, Open::WriteOrCreate)?;
    let len = file.stat()?.len;
    if FILE_BYTES_MAX <= len {
        return Ok(());
    }
    let text = text.replace(|c: char| c.is_control(), "?");
    file.write_at(len, format!("{now} {at} {why} | {text}\n").as_bytes())?;
    file.sync_data()?;
    match path.parent() {
        Some(dir) if len == 0 => disk.sync_dir(dir),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    #[test]
    fn records_are_added_as_lines() {
        let disk = SimulatedDisk::with_dirs(&["/sync"]);
        let path = path_beside(Path::new("/sync/10.77.0.12_23000.mark"));
        let at = Position { file: 1, offset: 70 };
        add(&disk, &path, 5, at, "why", "1 C a\nb").unwrap();
        add(&disk, &path, 6, at, "why", "x").unwrap();
        let files = disk.files();
        let text = &files[Path::new("/sync/10.77.0.12_23000.aside")];
        assert_eq!(text, b"5 1:70 why | 1 C a?b\n6 1:70 why | x\n");
    }
}
