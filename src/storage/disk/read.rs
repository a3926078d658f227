//! Ranges of stored files: which part of a file is asked for, and reading it.
//!
//! Sending a file without copying is the business of whoever has the socket; here are the file
//! and its limits. Never follows what `layout` does not name.

use std::{io, path::Path};

use super::port::{Disk, DiskFile, Kind, Open};

/// One read while a checksum is computed.
const READ_BYTES: usize = 256 * 1024;

/// A part of an open file, fixed at the time of the request: later appends do not extend it.
#[derive(Debug)]
pub struct Range {
    pub file: Box<dyn DiskFile>,
    pub offset: u64,
    pub len: u64,
    /// Bytes of the whole file when it was opened.
    pub size: u64,
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    #[error("not a regular file")]
    NotRegular,
    #[error("the file ends before the range begins")]
    BeyondEnd,
    #[error("open the file")]
    Open(#[source] io::Error),
}

/// Opens `path` and cuts the range to what is there. `bytes` 0 means to the end. An empty file
/// has an empty range at offset 0, so that it can be downloaded (storage.md 3.8).
pub fn open_range(
    disk: &dyn Disk,
    path: &Path,
    offset: u64,
    bytes: u64,
) -> Result<Range, RangeError> {
    let file = disk.open(path, Open::Read).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory => RangeError::NotRegular,
        _ => RangeError::Open(error),
    })?;
    let stat = file.stat().map_err(RangeError::Open)?;
    if stat.kind != Kind::File {
        return Err(RangeError::NotRegular);
    }
    let rest = match stat.len.checked_sub(offset) {
        None => return Err(RangeError::BeyondEnd),
        Some(0) if stat.len != 0 => return Err(RangeError::BeyondEnd),
        Some(rest) => rest,
    };
    let len = if bytes == 0 { rest } else { bytes.min(rest) };
    Ok(Range { file, offset, len, size: stat.len })
}

impl Range {
    /// Reads up to `max` bytes at `at` inside the range; fewer only at the end of the file.
    pub fn read(&self, at: u64, max: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut out = vec![0; max.min(left)];
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let position = self.offset.saturating_add(at).saturating_add(filled as u64);
            match self.file.read_at(position, rest)? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        out.truncate(filled);
        Ok(out)
    }
}

/// CRC-32 of the whole content as it is now.
pub fn checksum(disk: &dyn Disk, path: &Path) -> io::Result<u32> {
    let file = disk.open(path, Open::Read)?;
    if file.stat()?.kind != Kind::File {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0u64;
    loop {
        let count = file.read_at(at, &mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
            return Ok(crc.finalize());
        };
        crc.update(read);
        at = at.saturating_add(count as u64);
    }
}
