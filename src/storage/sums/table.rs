//! One file of sums: its head and its entries, read and written in batches.
//!
//! Knows nothing of content and of names beyond their seed.

use std::{io, path::Path};

use proto::sums::{BadHeader, Header, Seed};

use crate::disk::port::{Disk, DiskFile, Open};

/// Entries that are held in memory at one time: 64 KiB, for 512 MiB of content.
pub(super) const BATCH: usize = 8192;

/// An open file of sums.
#[derive(Debug)]
pub(super) struct Table {
    file: Box<dyn DiskFile>,
    pub(super) header: Result<Header, BadHeader>,
    /// Entries that the length of the file has room for.
    pub(super) entries: u64,
}

impl Table {
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        seed: Seed,
        write: bool,
    ) -> io::Result<Option<Self>> {
        let how = if write { Open::Write } else { Open::Read };
        let file = match disk.open(path, how) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut head = [0; Header::LEN];
        let count = read_full(&*file, 0, &mut head)?;
        if count == 0 {
            return Ok(None);
        }
        let header = Header::decode(head.get(..count).unwrap_or_default(), seed);
        let len = file.stat()?.len;
        let entries = len.saturating_sub(Header::LEN as u64) / 8;
        Ok(Some(Self { file, header, entries }))
    }

    /// Up to `count` entries from `first` on; fewer at the end of the file.
    pub(super) fn read(&self, first: u64, count: usize) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; count.min(BATCH).saturating_mul(8)];
        let filled = read_full(&*self.file, Header::entry_at(first), &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
            .collect())
    }

    pub(super) fn write(&self, first: u64, entries: &[u64]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.file.write_at(Header::entry_at(first), &bytes)
    }

    pub(super) fn write_header(&self, header: &Header, seed: Seed) -> io::Result<()> {
        self.file.write_at(0, &header.encode(seed))
    }

    pub(super) fn resize(&self, header: &Header) -> io::Result<()> {
        self.file.truncate(header.file_len())
    }

    /// Asks for the room of the entries from `first` to before `end`; a disk that cannot is as
    /// good.
    pub(super) fn reserve(&self, first: u64, end: u64) -> io::Result<()> {
        let at = Header::entry_at(first);
        match self.file.reserve(at, Header::entry_at(end).saturating_sub(at)) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            other => other,
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Sum of the entries from `first` to before `end`; zero if there are none.
    pub(super) fn part(&self, first: u64, end: u64) -> io::Result<u64> {
        let (mut sum, mut at) = (0u64, first);
        while at < end {
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let batch = self.read(at, left)?;
            if batch.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            sum = batch.iter().fold(sum, |sum, entry| sum.wrapping_add(*entry));
            at = at.saturating_add(batch.len() as u64);
        }
        Ok(sum)
    }
}

/// Reads until `out` is full or the file ends.
pub(super) fn read_full(file: &dyn DiskFile, at: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(at.saturating_add(filled as u64), rest)? {
            0 => break,
            count => filled = filled.saturating_add(count),
        }
    }
    Ok(filled)
}
