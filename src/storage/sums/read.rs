//! Ranges of stored files, block by block, each compared before it is handed on.

use std::{io, ops, path::Path, sync::Arc};

use proto::{
    fileid::FileName,
    sums::{Blocks, Seed},
};

use super::{
    Buffer, Damage, Spare, Sums, Verified, VerifyReads, crc_in_name,
    table::{Table, read_full},
};
use crate::disk::read::{Range, RangeError, open_range};

/// Entries fetched at one time: for 32 MiB of content.
const ENTRIES: usize = 512;

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("read the file")]
    Io(#[from] io::Error),
    /// Content and sums do not agree: a change is under way, or one of them is damaged. See
    /// [`Sums::settle`].
    #[error("content and sums differ at byte {offset}")]
    Doubt { offset: u64 },
    /// Known after [`Sums::settle`].
    #[error("the file is damaged at byte {offset}")]
    Damaged { offset: u64 },
    /// Known after [`Sums::settle`]: another file has this name by now, or none. What was opened
    /// cannot be proven any more; open it again.
    #[error("the file was replaced while it was read")]
    Replaced,
}

/// What proves the content.
#[derive(Debug)]
pub(super) enum Guard {
    /// Nothing: by setting, because it was compared before, or because there are no sums.
    Trust,
    /// A small file as a whole, proven by its name.
    Whole(Arc<Buffer>),
    Table {
        table: Table,
        blocks: Blocks,
        holes: bool,
        first: u64,
        entries: Vec<u64>,
    },
    /// All entries, computed while the file was proven as a whole.
    Memory {
        blocks: Blocks,
        entries: Vec<u64>,
    },
    Doubt(u64),
}

/// A range of an open file.
#[derive(Debug)]
pub struct Source {
    pub(super) name: FileName,
    pub(super) range: Range,
    pub(super) guard: Guard,
}

impl Sums {
    /// Opens `path`, the file called `name`, and cuts the range to what is there
    /// ([`open_range`]). Small files are read and compared here.
    pub fn open(
        &self,
        name: &FileName,
        path: &Path,
        offset: u64,
        bytes: u64,
    ) -> Result<Source, RangeError> {
        let range = open_range(&*self.disk, path, offset, bytes)?;
        let guard = self.guard(name, &range).map_err(RangeError::Open)?;
        Ok(Source { name: name.clone(), range, guard })
    }

    pub(super) fn guard(&self, name: &FileName, range: &Range) -> io::Result<Guard> {
        if self.policy == VerifyReads::Off {
            return Ok(Guard::Trust);
        }
        if self.policy == VerifyReads::Once {
            let blocks = Blocks::STANDARD;
            let end = blocks.count(range.offset.saturating_add(range.len));
            if self.seen.holds(name, blocks.index(range.offset), end) {
                return Ok(Guard::Trust);
            }
        }
        if !Self::has_table(name) {
            return small(&self.spare, name, range);
        }
        Ok(match self.table(name, false)? {
            Some(table) => match table.header {
                Ok(header) if header.whole.len == range.size => {
                    let (blocks, holes) = (header.blocks, header.holes);
                    Guard::Table { table, blocks, holes, first: 0, entries: Vec::new() }
                }
                // Of a format that a later release made.
                Err(proto::sums::BadHeader::Version(_)) => Guard::Trust,
                _ => Guard::Doubt(range.size),
            },
            // The name may prove it, as a whole.
            None if crc_in_name(name).is_some() => Guard::Doubt(0),
            None => Guard::Trust,
        })
    }
}

/// A normal file that fits into one block: size and CRC-32 stand in its name.
fn small(spare: &Arc<Spare>, name: &FileName, range: &Range) -> io::Result<Guard> {
    let Some((size, crc32)) = crc_in_name(name).filter(|(size, _)| *size == range.size) else {
        return Ok(Guard::Doubt(range.size));
    };
    let mut content = spare.take(usize::try_from(size).unwrap_or(0));
    let filled = read_full(&*range.file, 0, content.bytes_mut())?;
    let good = filled == content.bytes().len() && crc32fast::hash(content.bytes()) == crc32;
    Ok(if good { Guard::Whole(Arc::new(content)) } else { Guard::Doubt(0) })
}

impl Source {
    /// Bytes of the range.
    pub fn len(&self) -> u64 {
        self.range.len
    }

    pub fn is_empty(&self) -> bool {
        self.range.len == 0
    }

    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// The open file and its limits, where the setting allows to send it without looking.
    pub fn unread(&self) -> Option<&Range> {
        matches!(self.guard, Guard::Trust).then_some(&self.range)
    }

    /// Up to `max` bytes at `at` inside the range, at least one unless the range has ended; a
    /// bit less than `max`, so that the next call begins with a block.
    pub fn read(&mut self, sums: &Sums, at: u64, max: usize) -> Result<Verified, ReadError> {
        let left = usize::try_from(self.range.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let max = max.min(left);
        if max == 0 {
            return Ok(Verified { buffer: Arc::new(Vec::new().into()), range: 0..0 });
        }
        let begin = self.range.offset.saturating_add(at);
        let verified = match &mut self.guard {
            Guard::Doubt(offset) => return Err(ReadError::Doubt { offset: *offset }),
            Guard::Trust => {
                let bytes = self.range.read(at, max)?;
                if bytes.is_empty() {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                let range = 0..bytes.len();
                return Ok(Verified { buffer: Arc::new(bytes.into()), range });
            }
            Guard::Whole(content) => {
                let begin = usize::try_from(begin).unwrap_or(usize::MAX);
                let range = begin..begin.saturating_add(max).min(content.bytes().len());
                Verified { buffer: Arc::clone(content), range }
            }
            Guard::Table { blocks, .. } | Guard::Memory { blocks, .. } => {
                let blocks = *blocks;
                let (buffer, range) = self.compared(sums, blocks, (begin, max), max < left)?;
                Verified { buffer: Arc::new(buffer), range }
            }
        };
        Damage::count(&sums.damage.blocks_good);
        if sums.policy == VerifyReads::Once {
            let blocks = Blocks::STANDARD;
            // Whole blocks were compared, also where only a part of them is handed on.
            let end = blocks.count(begin.saturating_add(verified.bytes().len() as u64));
            sums.seen.note(&self.name, blocks.index(begin), end);
        }
        Ok(verified)
    }

    /// Reads whole blocks around `max` bytes at `begin` and compares them; says where in the
    /// buffer the wanted bytes are.
    fn compared(
        &mut self,
        sums: &Sums,
        blocks: Blocks,
        (begin, max): (u64, usize),
        more: bool,
    ) -> Result<(Buffer, ops::Range<usize>), ReadError> {
        let size = self.range.size;
        let mut end = begin.saturating_add(max as u64);
        let last_start = blocks.start(blocks.index(end));
        if more && begin < last_start {
            end = last_start;
        }
        let first = blocks.index(begin);
        let from = blocks.start(first);
        let to = blocks.start(blocks.count(end)).min(size);
        let mut buffer = sums.spare.take(usize::try_from(to.saturating_sub(from)).unwrap_or(0));
        let filled = read_full(&*self.range.file, from, buffer.bytes_mut())?;
        if filled != buffer.bytes().len() {
            return Err(ReadError::Doubt { offset: from.saturating_add(filled as u64) });
        }
        let block_len = usize::try_from(blocks.size()).unwrap_or(usize::MAX);
        let seed = Seed::of(self.name.as_str());
        for (block, index) in buffer.bytes().chunks(block_len).zip(first..) {
            let (entry, holes) = self.entry(index)?;
            if !entry.is_some_and(|entry| seed.matches(index, block, entry, holes)) {
                return Err(ReadError::Doubt { offset: blocks.start(index) });
            }
        }
        let skip = usize::try_from(begin.saturating_sub(from)).unwrap_or(0);
        let stop = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        let stop = stop.min(buffer.bytes().len());
        Ok((buffer, skip.min(stop)..stop))
    }

    /// The entry of a block, and whether holes are allowed.
    fn entry(&mut self, index: u64) -> io::Result<(Option<u64>, bool)> {
        let at = |entries: &[u64], first: u64| {
            let at = index.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| entries.get(at).copied())
        };
        Ok(match &mut self.guard {
            Guard::Memory { entries, .. } => (at(entries, 0), false),
            Guard::Table { table, holes, first, entries, .. } => {
                if at(entries, *first).is_none() {
                    *entries = table.read(index, ENTRIES)?;
                    *first = index;
                }
                (at(entries, *first), *holes)
            }
            _ => (None, false),
        })
    }
}
