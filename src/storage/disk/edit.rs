//! Changes of existing files that happen wholly or not at all: the note of an edit.
//!
//! ```text
//! data/.tmp/edit-N:  | one line, zero padded to 256 bytes | the new bytes |
//!
//! A <name> <offset> <length> [<CRC-32> <old length> <sum> <sum>]   append
//! M …                                                             modify
//! T <name> <new length> 0 …                                        truncate, without bytes
//! a, m, t <name> <offset> <length> <time> …                        received from a peer
//! ```
//!
//! In brackets: of the new bytes, of the file before, and of what the edit leaves of its first
//! and last block (`sums::Kept`), missing when the file has no sums.
//!
//! A note is complete and synced before the first byte of its file is touched, and removed only
//! after the edit is in the binlog. A restart applies the notes that it finds; applying one
//! twice changes nothing. Nothing here decides when; `service` and `start` do.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
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
    /// To `offset` bytes.
    Truncate,
}

/// The head of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub kind: EditKind,
    /// Logic name of the file.
    pub name: String,
    pub offset: u64,
    pub len: u64,
    /// Of an edit received from a peer: the time that its record carries.
    pub replica: Option<u32>,
    pub proof: Option<Proof>,
}

/// What completes the sums of the file after a crash, and shows that the note is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// CRC-32 of the new bytes.
    pub crc32: u32,
    /// Length of the file before.
    pub old_len: u64,
    /// Sums of what stays of the first and the last block.
    pub kept: [u64; 2],
}

impl Edit {
    /// The padded head.
    pub fn head(&self) -> Vec<u8> {
        let letter = match self.kind {
            EditKind::Append => 'A',
            EditKind::Modify => 'M',
            EditKind::Truncate => 'T',
        };
        let letter = if self.replica.is_some() { letter.to_ascii_lowercase() } else { letter };
        let replica = self.replica.map_or(String::new(), |at| format!(" {at}"));
        let proof = self.proof.map_or(String::new(), |proof| {
            let [head, tail] = proof.kept;
            format!(" {:x} {:x} {head:x} {tail:x}", proof.crc32, proof.old_len)
        });
        let (offset, len) = (self.offset, self.len);
        let text = format!("{letter} {} {offset} {len}{replica}{proof}\n", self.name);
        let mut head = text.into_bytes();
        head.resize(HEAD_LEN, 0);
        head
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(head).ok()?.split('\n').next()?;
        let mut words = line.split(' ');
        let letter = words.next()?;
        let kind = match letter {
            "A" | "a" => EditKind::Append,
            "M" | "m" => EditKind::Modify,
            "T" | "t" => EditKind::Truncate,
            _ => return None,
        };
        let name = words.next()?.to_owned();
        let (offset, len) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let replica = match letter.chars().next() {
            Some(letter) if letter.is_ascii_lowercase() => Some(words.next()?.parse().ok()?),
            _ => None,
        };
        let proof = match words.next() {
            None => None,
            Some(crc32) => {
                let mut number = || u64::from_str_radix(words.next()?, 16).ok();
                let (old_len, kept) = (number()?, [number()?, number()?]);
                Some(Proof { crc32: u32::from_str_radix(crc32, 16).ok()?, old_len, kept })
            }
        };
        words.next().is_none().then_some(Self { kind, name, offset, len, replica, proof })
    }
}

/// An open note.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    pub edit: Edit,
}

impl Note {
    /// The note of `edit` that was just written to `file`, which lies at `path`.
    pub fn written(path: PathBuf, file: Arc<dyn DiskFile>, edit: Edit) -> Self {
        Self { path, file, edit }
    }

    /// Opens a note; `InvalidData` if it is not a whole one.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file: Arc<dyn DiskFile> = Arc::from(disk.open(path, Open::Read)?);
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

    /// Whether the new bytes are those that were noted; those of a note of an earlier release
    /// are taken as they are.
    pub fn is_whole(&self) -> io::Result<bool> {
        let Some(proof) = self.edit.proof else { return Ok(true) };
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = HEAD_LEN as u64;
        loop {
            let count = self.file.read_at(at, &mut buffer)?;
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
                return Ok(crc.finalize() == proof.crc32);
            };
            crc.update(read);
            at = at.saturating_add(count as u64);
        }
    }

    /// Does the edit to `target`, and syncs it if asked to.
    pub fn apply(&self, target: &dyn DiskFile, sync: bool) -> Result<(), ApplyError> {
        if self.edit.kind == EditKind::Truncate {
            target.truncate(self.edit.offset)?;
        }
        let piece = usize::try_from(self.edit.len).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let mut buffer = vec![0; piece];
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
        let (replica, proof) = (None, None);
        let edit = Edit { kind: EditKind::Append, name, offset: 5, len: u64::MAX, replica, proof };
        let received = Edit { replica: Some(7), ..edit.clone() };
        let proof = Proof { crc32: u32::MAX, old_len: u64::MAX, kept: [u64::MAX; 2] };
        let longest = Edit {
            kind: EditKind::Truncate,
            name: "M".repeat(127),
            offset: u64::MAX,
            len: u64::MAX,
            replica: Some(u32::MAX),
            proof: Some(proof),
        };
        for edit in [edit, received, longest] {
            assert_eq!(edit.head().len(), HEAD_LEN);
            assert_eq!(Edit::parse(&edit.head()), Some(edit));
        }
        let bad = ["", "A", "X a 1 2\n", "A a 1 2 3\n", "A a -1 2\n", "A a 1 2 3 4 5 6 7\n"];
        for bad in bad.into_iter().chain(["a a 1 2\n"]) {
            assert_eq!(Edit::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
