//! Sums around a change in place: an append, a modification, a truncation.
//!
//! Before the change the blocks at its two ends, which it leaves in part as they were, are
//! compared, and what stays is noted ([`Kept`]) together with the change itself. After it the
//! touched blocks are summed anew. A restart does the second half again: it may find any
//! mixture of old and new bytes and entries, and what was damaged meanwhile does not pass.

use std::io;

use proto::{
    fileid::FileName,
    sums::{Blocks, Header, Seed, Whole, content_sum},
};

use super::{
    ReadError, Sums,
    table::{Table, read_full},
};
use crate::disk::{edit::EditKind, port::DiskFile};

/// What a change leaves of the blocks at its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Length of the file before.
    pub old_len: u64,
    /// Sum of the bytes before the change, from the beginning of its first block.
    pub head: u64,
    /// Sum of the bytes behind the change, to the end of its last block.
    pub tail: u64,
}

/// The bytes that change: from `from` to before `to`. A truncation changes none, but ends or
/// continues the block at `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub to: u64,
}

/// A change, as far as sums are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changing {
    pub span: Span,
    pub old_len: u64,
    pub new_len: u64,
}

impl Changing {
    /// Of `len` bytes at `offset` in a file of `old_len` bytes; a truncation is to `offset`.
    pub fn new(kind: EditKind, offset: u64, len: u64, old_len: u64) -> Self {
        let to = offset.saturating_add(len);
        match kind {
            EditKind::Truncate => {
                let end = offset.min(old_len);
                Self { span: Span { from: end, to: end }, old_len, new_len: offset }
            }
            EditKind::Append | EditKind::Modify => {
                Self { span: Span { from: offset, to }, old_len, new_len: old_len.max(to) }
            }
        }
    }
}

impl Sums {
    /// Compares what a change of `span` will leave of its first and last block. `None` when
    /// the file has no sums, and then gets none.
    pub fn before_edit(
        &self,
        name: &FileName,
        file: &dyn DiskFile,
        old_len: u64,
        span: Span,
    ) -> Result<Option<Kept>, ReadError> {
        let Some(table) = self.table(name, true)? else { return Ok(None) };
        let header = match table.header {
            Ok(header) if header.whole.len == old_len => header,
            Err(proto::sums::BadHeader::Version(_)) => return Ok(None),
            _ => return Err(ReadError::Doubt { offset: old_len }),
        };
        let mut kept = Kept { old_len, head: content_sum(&[]), tail: content_sum(&[]) };
        let blocks = header.blocks;
        let inside = |at: u64| at.saturating_sub(blocks.start(blocks.index(at)));
        if inside(span.from) != 0 {
            let block = checked(name, file, &table, &header, blocks.index(span.from))?;
            kept.head = content_sum(part(&block, 0, inside(span.from)));
        }
        if inside(span.to) != 0 && span.from < span.to && span.to < old_len {
            let block = checked(name, file, &table, &header, blocks.index(span.to))?;
            kept.tail = content_sum(part(&block, inside(span.to), blocks.size()));
        }
        // A full disk is found here, where nothing has happened yet.
        let first = blocks.index(span.from);
        table.reserve(first, blocks.count(span.to).max(first.saturating_add(1)))?;
        Ok(Some(kept))
    }

    /// Sums the touched blocks anew after a change that made the file `new_len` bytes long.
    /// `again` when an earlier process may have done a part of it. False if what should have
    /// stayed did not: the file is damaged there, and its sums keep saying so.
    pub fn after_edit(
        &self,
        name: &FileName,
        file: &dyn DiskFile,
        (span, kept, new_len): (Span, Kept, u64),
        sync: bool,
        again: bool,
    ) -> io::Result<bool> {
        self.seen.forget(name);
        let Some(table) = self.table(name, true)? else { return Ok(true) };
        let mut header = match table.header {
            Ok(header) => header,
            // A write of it may have been cut short; whether there are holes is lost with it.
            Err(_) if again => {
                let whole = Whole::default();
                Header { blocks: Blocks::STANDARD, whole, holes: true, earlier: None }
            }
            Err(error) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
            }
        };
        let blocks = header.blocks;
        let (old_count, new_count) = (blocks.count(kept.old_len), blocks.count(new_len));
        let seed = Seed::of(name.as_str());
        let mut root = header.whole.root;
        let (mut at, mut whole) = (blocks.index(span.from), true);
        let end = if span.from < span.to {
            blocks.count(span.to)
        } else if span.from == blocks.start(at) {
            at
        } else {
            at.saturating_add(1)
        };
        while at < end.min(new_count) {
            let mut fresh = Vec::new();
            for index in at..end.min(new_count).min(at.saturating_add(RUN)) {
                let (sum, good) = touched(file, blocks, index, new_len, span, kept)?;
                whole &= good;
                fresh.push(seed.entry(index, if good { sum } else { !sum }));
            }
            if !again {
                let was = old_count.saturating_sub(at).min(fresh.len() as u64);
                let old = table.read(at, usize::try_from(was).unwrap_or(0))?;
                root = old.iter().fold(root, |root, entry| root.wrapping_sub(*entry));
            }
            root = fresh.iter().fold(root, |root, entry| root.wrapping_add(*entry));
            table.write(at, &fresh)?;
            at = at.saturating_add(fresh.len() as u64);
        }
        if !again {
            root = root.wrapping_sub(table.part(new_count, old_count)?);
        }
        header.holes |= span.from == span.to && kept.old_len < new_len;
        header.whole = Whole { len: new_len, root };
        header.earlier = None;
        table.resize(&header)?;
        if again {
            header.whole.root = table.part(0, new_count)?;
        }
        table.write_header(&header, seed)?;
        if sync {
            table.sync()?;
        }
        if !whole {
            self.damage.report(name);
        }
        Ok(whole)
    }
}

/// Blocks summed before their entries are written.
const RUN: u64 = 512;

/// Sum of a touched block, and whether what should have stayed of it has.
fn touched(
    file: &dyn DiskFile,
    blocks: Blocks,
    index: u64,
    len: u64,
    span: Span,
    kept: Kept,
) -> io::Result<(u64, bool)> {
    let start = blocks.start(index);
    let wanted = usize::try_from(blocks.len_of(index, len)).unwrap_or(0);
    let mut block = vec![0; wanted];
    if read_full(file, start, &mut block)? != wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut good = true;
    if start < span.from && blocks.index(span.from) == index {
        let head = part(&block, 0, span.from.saturating_sub(start));
        good &= content_sum(head) == kept.head;
    }
    let end = start.saturating_add(block.len() as u64);
    if span.from < span.to && start < span.to && span.to < end && span.to < kept.old_len {
        let tail = part(&block, span.to.saturating_sub(start), blocks.size());
        good &= content_sum(tail) == kept.tail;
    }
    Ok((content_sum(&block), good))
}

/// A block of the file as it is before the change, compared.
fn checked(
    name: &FileName,
    file: &dyn DiskFile,
    table: &Table,
    header: &Header,
    index: u64,
) -> Result<Vec<u8>, ReadError> {
    let start = header.blocks.start(index);
    let len = header.blocks.len_of(index, header.whole.len);
    let mut block = vec![0; usize::try_from(len).unwrap_or(0)];
    let filled = read_full(file, start, &mut block)?;
    let entry = table.read(index, 1)?.first().copied().unwrap_or(0);
    let seed = Seed::of(name.as_str());
    if filled != block.len() || !seed.matches(index, &block, entry, header.holes) {
        return Err(ReadError::Doubt { offset: start });
    }
    Ok(block)
}

fn part(block: &[u8], from: u64, to: u64) -> &[u8] {
    let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(block.len());
    block.get(at(from)..at(to)).unwrap_or_default()
}
