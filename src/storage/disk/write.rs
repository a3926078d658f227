//! Temporary file -> durable file, removed on any early exit; and the replacement of small
//! files as a whole.
//!
//! The steps of `commit` that belong to a new file are methods here, one effect or two each,
//! and every one may block. Never decides about the next step and never retries.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::port::{Disk, DiskFile, Stat};

/// Bytes written since the last sync after which an upload syncs early, so that the last sync
/// of a large one has little left to do and dirty memory stays bounded.
const SYNC_EVERY_BYTES: u64 = 32 << 20;
/// From this size on the room is reserved at the start: the disk cannot fill up in the middle,
/// and a large file lies in one piece.
const RESERVE_FROM_BYTES: u64 = 1 << 20;

/// What went wrong while a file was made. The kind decides what is retired.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk refused.
    #[error("{doing}")]
    Disk { doing: &'static str, source: io::Error },
    /// A sync failed; the content on disk is unknown.
    #[error("sync {what}")]
    Sync { what: &'static str, source: io::Error },
}

impl WriteError {
    /// The error of the system.
    pub fn io(&self) -> &io::Error {
        match self {
            WriteError::Disk { source, .. } | WriteError::Sync { source, .. } => source,
        }
    }

    pub(crate) fn disk(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| WriteError::Disk { doing, source }
    }

    pub(crate) fn sync(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| WriteError::Sync { what, source }
    }
}

/// A file that is being received, under a temporary name that no client can ask for.
///
/// Dropping it before [`Staged::place`] or [`Staged::replace`] removes it. The checksum is
/// computed while the bytes pass.
#[derive(Debug)]
pub struct Staged {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Sync early while writing.
    synced_writes: bool,
    len: u64,
    unsynced: u64,
    crc: crc32fast::Hasher,
    placed: bool,
}

impl Staged {
    /// Creates the temporary file and, if it will be large, reserves its room.
    pub fn create(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        expected: u64,
        synced_writes: bool,
    ) -> Result<Self, WriteError> {
        let file = disk.create(&path).map_err(WriteError::disk("create a temporary file"))?;
        let staged = Self {
            disk,
            path,
            file: Arc::from(file),
            synced_writes,
            len: 0,
            unsynced: 0,
            crc: crc32fast::Hasher::new(),
            placed: false,
        };
        if RESERVE_FROM_BYTES <= expected {
            match staged.file.reserve(0, expected) {
                // Not every file system can; then the space is found while writing.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                other => other.map_err(WriteError::disk("reserve space"))?,
            }
        }
        Ok(staged)
    }

    /// Appends the next bytes of the content.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.crc.update(bytes);
        self.file.write_at(self.len, bytes).map_err(WriteError::disk("write content"))?;
        let count = bytes.len() as u64;
        self.len = self.len.saturating_add(count);
        self.unsynced = self.unsynced.saturating_add(count);
        if self.synced_writes && SYNC_EVERY_BYTES <= self.unsynced {
            self.sync()?;
        }
        Ok(())
    }

    /// Appends bytes that the checksum does not see: room for a head that comes last.
    pub fn write_uncounted(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_at(self.len, bytes).map_err(WriteError::disk("write content"))?;
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Syncs the content. After an error the file must be given up.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.file.sync_data().map_err(WriteError::sync("content"))?;
        self.unsynced = 0;
        Ok(())
    }

    /// Writes over the first bytes of what was written; the checksum does not see it.
    pub fn write_start(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_at(0, bytes).map_err(WriteError::disk("write content"))
    }

    /// The checksum in the making.
    pub fn crc(&self) -> crc32fast::Hasher {
        self.crc.clone()
    }

    /// CRC-32 of what has been written so far.
    pub fn crc32(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// Gives the file the time of change that it has at its source.
    pub fn set_mtime(&self, secs: i64) -> Result<(), WriteError> {
        self.file.set_mtime(secs).map_err(WriteError::disk("set the time of change"))
    }

    pub fn stat(&self) -> Result<Stat, WriteError> {
        self.file.stat().map_err(WriteError::disk("stat a temporary file"))
    }

    /// Gives the file its name, which must not exist yet.
    pub fn place(&mut self, to: &Path) -> Result<(), WriteError> {
        let renamed = self.disk.rename_new(&self.path, to);
        renamed.map_err(WriteError::disk("name the file"))?;
        self.placed = true;
        Ok(())
    }

    /// The open file, for whoever reads it back.
    pub fn file(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.file)
    }

    /// Gives the file its name, in place of what had it before.
    pub fn replace(&mut self, to: &Path) -> Result<(), WriteError> {
        let renamed = self.disk.rename_over(&self.path, to);
        renamed.map_err(WriteError::disk("replace the file"))?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now is swept at the next start.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Replaces a small file of our own: after a crash there is the old content or the new.
///
/// For state files; `temporary` is `<name>.tmp` beside it, as the reference has it.
pub fn replace_whole(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&temporary)?;
    file.write_at(0, content)?;
    file.sync_data()?;
    disk.rename_over(&temporary, path)?;
    disk.sync_dir(dir)
}

/// Reads a small file whole; `None` when there is none, an error when it exceeds `max`.
pub fn read_whole(disk: &dyn Disk, path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, super::port::Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let len = usize::try_from(file.stat()?.len).unwrap_or(usize::MAX);
    if max < len {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "file is too large"));
    }
    let mut content = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(filled as u64, rest)? {
            0 => break, // it became shorter meanwhile
            count => filled = filled.saturating_add(count),
        }
    }
    content.truncate(filled);
    Ok(Some(content))
}
