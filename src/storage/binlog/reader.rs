//! Follows the sync binlog from a position, whatever its lines hold.
//!
//! Used by one sender each, by recovery and by the tombstones. Every call may block. Never
//! stops at a line that is no record, at a file that is missing or at one that ends in the middle
//! of a line, or at one that was compressed and is damaged: it says what it found and goes on
//! behind it. Files that were compressed are read as they are.

// What stands in the log may be damage or the work of another program.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use proto::binlog::{LINE_MAX, Record};

use super::{
    Position,
    log::file_name,
    packed::{is_damage, packed_name},
};
use crate::disk::port::{Disk, DiskFile, Open};

/// One read of the file.
const READ_BYTES: usize = 64 * 1024;
/// Of a line that is no record, this much is told.
const SHOWN_BYTES_MAX: usize = 300;

/// What stands at one place of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub what: What,
    /// Behind it.
    pub next: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Record(Record),
    /// A line that is no record, or the rest of a compressed file that cannot be read: its text
    /// as far as it can be shown, and why.
    Damaged {
        text: String,
        why: String,
    },
    /// A file of the log is not there: everything in it is lost to this reader.
    Missing,
}

/// See the module.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    at: Position,
    file: Option<Source>,
    /// Bytes from `at` on that were read and not used.
    buffer: Vec<u8>,
    used: usize,
}

impl Reader {
    /// Reads the log in `dir` from `at` on. Opens nothing yet.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, at: Position) -> Self {
        Self { disk, dir: dir.to_owned(), at, file: None, buffer: Vec::new(), used: 0 }
    }

    /// Where the next item begins.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next items before `end`, at most `max`; none when there are none.
    pub fn batch(&mut self, end: Position, max: usize) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        while items.len() < max {
            match self.next(end)? {
                Some(item) => items.push(item),
                None => break,
            }
        }
        Ok(items)
    }

    /// The next item before `end`, if there is one.
    pub fn next(&mut self, end: Position) -> io::Result<Option<Item>> {
        while self.at < end {
            let behind = Position { file: self.at.file.saturating_add(1), offset: 0 };
            let last = self.at.file == end.file;
            let limit = if last { end.offset } else { u64::MAX };
            match self.open().and_then(|there| if there { self.line(limit) } else { Ok(None) }) {
                Ok(Some(line)) => {
                    let what = what_of(&line);
                    return Ok(Some(Item { what, next: self.at }));
                }
                Ok(None) if self.file.is_none() => {
                    self.move_to(behind.min(end));
                    return Ok(Some(Item { what: What::Missing, next: self.at }));
                }
                Ok(None) if last => return Ok(None),
                Ok(None) => self.move_to(behind),
                Err(error) if is_damage(&error) => {
                    let text = packed_name(self.at.file);
                    let why = format!("{error}: what stands behind it is lost to the reader");
                    self.move_to(behind.min(end));
                    return Ok(Some(Item { what: What::Damaged { text, why }, next: self.at }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn move_to(&mut self, at: Position) {
        self.at = at;
        self.file = None;
        self.buffer.clear();
        self.used = 0;
    }

    /// Opens the file of the position, plain or compressed, if it is not open; false if there is
    /// neither.
    fn open(&mut self) -> io::Result<bool> {
        if self.file.is_some() {
            return Ok(true);
        }
        let plain = self.dir.join(file_name(self.at.file));
        self.buffer.clear();
        self.used = 0;
        let offset = self.at.offset;
        match self.disk.open(&plain, Open::Read) {
            Ok(file) => self.file = Some(Source::Plain { file, offset }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let packed = self.dir.join(packed_name(self.at.file));
                match self.disk.open(&packed, Open::Read) {
                    Ok(file) => self.file = Some(Source::packed(file, offset)?),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The next line that ends before `limit`, without its end, and moves behind it. Of a line
    /// that is too long, the start. `None` at the end of what is there; the rest of a finished
    /// file that has no line end counts as a line.
    fn line(&mut self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut line: Vec<u8> = Vec::new();
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            let room = usize::try_from(limit.saturating_sub(self.at.offset)).unwrap_or(usize::MAX);
            let usable = rest.get(..rest.len().min(room)).unwrap_or_default();
            let end = usable.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(usable.len());
            let keep = taken.min(SHOWN_BYTES_MAX.saturating_sub(line.len()));
            line.extend_from_slice(usable.get(..keep).unwrap_or_default());
            let step = taken.saturating_add(usize::from(end.is_some()));
            self.used = self.used.saturating_add(step);
            self.at.offset = self.at.offset.saturating_add(step as u64);
            if end.is_some() {
                return Ok(Some(line));
            }
            if limit <= self.at.offset || !self.fill()? {
                return Ok((!line.is_empty()).then_some(line));
            }
        }
    }

    /// Reads on; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(source) = &mut self.file else { return Ok(false) };
        self.buffer.resize(READ_BYTES, 0);
        self.used = 0;
        let count = source.read(&mut self.buffer)?;
        self.buffer.truncate(count);
        Ok(count != 0)
    }
}

fn what_of(line: &[u8]) -> What {
    let shown = || String::from_utf8_lossy(line).into_owned();
    if LINE_MAX <= line.len().saturating_add(1) {
        return What::Damaged { text: shown(), why: "the line is too long".to_owned() };
    }
    match std::str::from_utf8(line).map(Record::parse) {
        Ok(Ok(record)) => What::Record(record),
        Ok(Err(why)) => What::Damaged { text: shown(), why: why.to_string() },
        Err(_) => What::Damaged { text: shown(), why: "not text".to_owned() },
    }
}

/// An open file of the log.
enum Source {
    Plain { file: Box<dyn DiskFile>, offset: u64 },
    Packed(Box<MultiGzDecoder<Bytes>>),
}

impl Source {
    /// A compressed file, from `offset` of its content on; from its end on if that is before.
    fn packed(file: Box<dyn DiskFile>, offset: u64) -> io::Result<Self> {
        let mut decoder = MultiGzDecoder::new(Bytes { file, offset: 0 });
        io::copy(&mut (&mut decoder).take(offset), &mut io::sink())?;
        Ok(Self::Packed(Box::new(decoder)))
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain { file, offset } => {
                let count = file.read_at(*offset, out)?;
                *offset = offset.saturating_add(count as u64);
                Ok(count)
            }
            Self::Packed(decoder) => decoder.read(out),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Plain { .. }) { "Plain" } else { "Packed" })
    }
}

/// A stored file as a stream.
#[derive(Debug)]
pub(crate) struct Bytes {
    pub(crate) file: Box<dyn DiskFile>,
    /// Of what is read next.
    pub(crate) offset: u64,
}

impl io::Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(self.offset, out)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    const DIR: &str = "/sync";
    const LINE: &str = "1700000000 C M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt\n";

    fn disk(files: &[(&str, &[u8])]) -> Arc<dyn Disk> {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        for (name, content) in files {
            disk.create(&Path::new(DIR).join(name)).unwrap().write_at(0, content).unwrap();
        }
        Arc::new(disk)
    }

    fn gz(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// What is found from `from` on, as letters: record, damaged, missing; and where it ends.
    fn letters(disk: &Arc<dyn Disk>, from: Position, end: Position) -> (String, Position) {
        let mut reader = Reader::new(Arc::clone(disk), Path::new(DIR), from);
        let mut found = String::new();
        while let Some(item) = reader.next(end).unwrap() {
            found.push(match item.what {
                What::Record(_) => 'r',
                What::Damaged { .. } => 'd',
                What::Missing => 'm',
            });
            assert_eq!(item.next, reader.position());
        }
        (found, reader.position())
    }

    fn at(file: u32, offset: usize) -> Position {
        Position { file, offset: offset as u64 }
    }

    #[test]
    fn records_are_read_up_to_the_end_and_not_beyond() {
        let disk = disk(&[("binlog.000", LINE.repeat(3).as_bytes())]);
        let len = LINE.len();
        assert_eq!(letters(&disk, at(0, 0), at(0, 2 * len)), ("rr".into(), at(0, 2 * len)));
        assert_eq!(letters(&disk, at(0, 2 * len), at(0, 3 * len)).0, "r");
        assert_eq!(letters(&disk, at(0, 3 * len), at(0, 3 * len)).0, "");
    }

    #[test]
    fn the_next_file_follows_and_a_compressed_one_is_read_in_its_middle() {
        let two = LINE.repeat(2);
        let (len, packed) = (LINE.len(), gz(two.as_bytes()));
        let disk = disk(&[
            ("binlog.000.gz", &packed),
            ("binlog.001", two.as_bytes()),
            ("binlog.002", LINE.as_bytes()),
        ]);
        let end = at(2, len);
        assert_eq!(letters(&disk, at(0, 0), end), ("rrrrr".into(), end));
        assert_eq!(letters(&disk, at(0, len), end).0, "rrrr");
        assert_eq!(letters(&disk, at(0, 2 * len), end).0, "rrr");
    }

    #[test]
    fn nothing_in_the_log_stops_a_reader() {
        let long = format!("{}\n", "x".repeat(200_000));
        let half = format!("{LINE}17000000");
        let bad = [LINE, "rubbish\n", "\0\0\n", "1 l \n", "\n", &long, LINE].concat();
        let disk = disk(&[
            ("binlog.000", half.as_bytes()),
            ("binlog.001", bad.as_bytes()),
            ("binlog.004", LINE.as_bytes()),
        ]);
        let end = at(4, LINE.len());
        assert_eq!(letters(&disk, at(0, 0), end), ("rdrdddddrmmr".into(), end));
    }

    #[test]
    fn a_compressed_file_that_is_damaged_or_short_stops_nobody() {
        let two = LINE.repeat(2000);
        let whole = gz(two.as_bytes());
        let (cut, mut bent) = (whole[..whole.len() / 2].to_vec(), whole.clone());
        *bent.last_mut().unwrap() ^= 1; // its length: only known at the end
        let mut wrong = whole.clone();
        wrong[0] ^= 1;
        let len = LINE.len();
        for (packed, from, want) in [
            (&whole, at(0, 2001 * len), "r"),
            (&wrong, at(0, 0), "dr"),
            (&wrong, at(0, len), "dr"),
            (&bent, at(0, 1999 * len), "rdr"),
            (&cut, at(0, 1999 * len), "dr"),
        ] {
            let disk = disk(&[("binlog.000.gz", packed), ("binlog.001", LINE.as_bytes())]);
            let end = at(1, len);
            assert_eq!(letters(&disk, from, end), (want.to_owned(), end), "{from}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_at_all_ends_at_the_end() {
        let disk = disk(&[]);
        assert_eq!(letters(&disk, at(0, 5), at(0, 90)), ("m".into(), at(0, 90)));
    }
}
