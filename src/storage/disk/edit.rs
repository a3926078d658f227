//! Changes of existing files that happen wholly or not at all: the note of an edit.
//!
//! ```text
//! data/.tmp/edit-N:  | A or M, name, offset, length; zero padded to 256 bytes | the new bytes |
//! ```
//!
//! A note is complete and synced before the first byte of its file is touched, and removed only
//! after the edit is in the binlog. A restart applies the notes that it finds; applying one
//! twice changes nothing. Nothing here decides when; `service` and `start` do.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::port::{Disk, DiskFile, Open};

/// Bytes before the content.
pub const HEAD_LEN: usize = 256;
/// One piece of a copy.
const COPY_BYTES: usize = 256 * 1024;

/// What kind of edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditKind {
    Append,
    Modify,
}

/// The head of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub kind: EditKind,
    /// Logic name of the file.
    pub name: String,
    pub offset: u64,
    pub len: u64,
}

impl Edit {
    /// The padded head.
    pub fn head(&self) -> Vec<u8> {
        let letter = match self.kind {
            EditKind::Append => 'A',
            EditKind::Modify => 'M',
        };
        let text = format!("{letter} {} {} {}\n", self.name, self.offset, self.len);
        let mut head = text.into_bytes();
        head.resize(HEAD_LEN, 0);
        head
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(head).ok()?.split('\n').next()?;
        let mut words = line.split(' ');
        let kind = match words.next()? {
            "A" => EditKind::Append,
            "M" => EditKind::Modify,
            _ => return None,
        };
        let name = words.next()?.to_owned();
        let (offset, len) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { kind, name, offset, len })
    }
}

/// An open note.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    pub edit: Edit,
}

impl Note {
    /// Opens a note; `InvalidData` if it is not a whole one.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Open::Read)?;
        let mut head = vec![0; HEAD_LEN];
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not the note of an edit");
        if file.read_at(0, &mut head)? != HEAD_LEN {
            return Err(bad());
        }
        let edit = Edit::parse(&head).ok_or_else(bad)?;
        if file.stat()?.len != edit.len.saturating_add(HEAD_LEN as u64) {
            return Err(bad());
        }
        Ok(Self { path: path.to_owned(), file, edit })
    }

    /// Writes the new bytes into `target`, and syncs them if asked to.
    pub fn apply(&self, target: &dyn DiskFile, sync: bool) -> Result<(), ApplyError> {
        let mut buffer = vec![0; COPY_BYTES];
        let mut done = 0u64;
        while done < self.edit.len {
            let count = self.file.read_at(done.saturating_add(HEAD_LEN as u64), &mut buffer)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Err(ApplyError::Disk(io::ErrorKind::UnexpectedEof.into()));
            };
            target.write_at(self.edit.offset.saturating_add(done), bytes)?;
            done = done.saturating_add(count as u64);
        }
        if sync {
            target.sync_data().map_err(ApplyError::Sync)?;
        }
        Ok(())
    }

    /// Removes the note, for good if asked to.
    pub fn forget(self, disk: &dyn Disk, sync: bool) -> io::Result<()> {
        disk.remove(&self.path)?;
        match self.path.parent() {
            Some(dir) if sync => disk.sync_dir(dir),
            _ => Ok(()),
        }
    }
}

/// Why an edit was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("copy the edit")]
    Disk(#[from] io::Error),
    #[error("sync the edited file")]
    Sync(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let name = "M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042".to_owned();
        let edit = Edit { kind: EditKind::Append, name, offset: 5, len: u64::MAX };
        assert_eq!(edit.head().len(), HEAD_LEN);
        assert_eq!(Edit::parse(&edit.head()), Some(edit));
        for bad in ["", "A", "X a 1 2\n", "A a 1 2 3\n", "A a -1 2\n"] {
            assert_eq!(Edit::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
