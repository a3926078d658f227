//! A whole file against everything that can prove it: its name, the entries of its sums, the
//! root in their head, what it held before a replacement.
//!
//! One of them suffices, so damage of the sums never makes a good file look damaged, and none
//! of them agrees with damaged content.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use proto::{
    fileid::FileName,
    sums::{BadHeader, Blocks, Header, Seed, Whole, content_sum},
};

use super::{
    Builder, ReadError, Source, Sums, crc_in_name,
    read::Guard,
    table::{BATCH, Table, read_full},
};
use crate::disk::{
    port::{DiskFile, Kind, Open},
    write::WriteError,
};

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    /// Nothing to compare with: the reference stored it, or its sums are lost.
    Unsummed,
    /// The first byte of the first block that does not agree.
    Damaged {
        offset: u64,
    },
}

/// The state of the sums beside a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SumsState {
    /// Such a file has none.
    None,
    Good,
    Missing,
    /// Damaged, or left behind by a change that a crash cut short.
    Damaged,
}

/// What an examination found.
#[derive(Debug)]
pub struct Exam {
    pub state: State,
    pub sums: SumsState,
    pub len: u64,
    pub crc32: u32,
    /// Length and root of what was read.
    pub whole: Whole,
    entries: Option<Vec<u64>>,
    blocks: Blocks,
    /// Sums of what was read, for a file that has none.
    made: Option<Builder>,
}

/// An examination that is under way: what is collected while a file is read once.
#[derive(Debug)]
pub struct Examination {
    name: FileName,
    path: PathBuf,
    seed: Seed,
    header: Option<Header>,
    table: Option<Table>,
    blocks: Blocks,
    buffer: Vec<u8>,
    /// The next block, and the entries read last with the number of their first.
    index: u64,
    batch: (u64, Vec<u64>),
    len: u64,
    crc: crc32fast::Hasher,
    root: u64,
    /// Added to the root if blocks of zeros that do not fit their entry are holes.
    holes_root: u64,
    first_bad: Option<u64>,
    entries: Option<Vec<u64>>,
    made: Option<Builder>,
}

impl Sums {
    /// Reads the file called `name` at `path` and says what is known about it. Nothing may
    /// change the file meanwhile. Changes nothing.
    pub fn examine(&self, name: &FileName, path: &Path) -> io::Result<Exam> {
        let file = self.disk.open(path, Open::Read)?;
        self.examine_open(name, path, &*file)
    }

    fn examine_open(&self, name: &FileName, path: &Path, file: &dyn DiskFile) -> io::Result<Exam> {
        let mut reading = self.begin_examination(name, path)?;
        while reading.step(file)? != 0 {}
        self.judge(reading)
    }

    /// Begins to examine the file called `name` at `path`: [`Examination::step`] until it has
    /// read all of it, then [`Sums::judge`]. For those who read slowly on purpose.
    pub fn begin_examination(&self, name: &FileName, path: &Path) -> io::Result<Examination> {
        let table = if Self::has_table(name) { self.table(name, false)? } else { None };
        let unknown = |t: &Table| matches!(t.header, Err(BadHeader::Version(_)));
        let table = table.filter(|table| !unknown(table));
        let header = table.as_ref().and_then(|table| table.header.ok());
        let blocks = header.map_or(Blocks::STANDARD, |header| header.blocks);
        let block_len = usize::try_from(blocks.size()).unwrap_or(usize::MAX);
        Ok(Examination {
            name: name.clone(),
            path: path.to_owned(),
            seed: Seed::of(name.as_str()),
            header,
            table,
            blocks,
            buffer: vec![0; READ_BYTES.max(block_len)],
            index: 0,
            batch: (0, Vec::new()),
            len: 0,
            crc: crc32fast::Hasher::new(),
            root: 0,
            holes_root: 0,
            first_bad: None,
            entries: Some(Vec::new()),
            made: None,
        })
    }

    /// The same, and makes the sums of a file that has none meanwhile, so that it need not be
    /// read again for that.
    pub fn begin_adoption(&self, name: &FileName, path: &Path) -> io::Result<Examination> {
        let mut reading = self.begin_examination(name, path)?;
        reading.made = if reading.lacks_sums() { self.whole(name) } else { None };
        Ok(reading)
    }

    /// What an examination that has read everything found.
    pub fn judge(&self, reading: Examination) -> io::Result<Exam> {
        let path = reading.path.clone();
        let mut exam = reading.judge();
        if let State::Damaged { .. } = exam.state
            && exam.sums != SumsState::Damaged
            && self.disk.stat(&path)?.kind == Kind::Link
        {
            // The sum in the name of a link is chance (storage.md 2.3.3).
            exam.state = State::Unsummed;
        }
        Ok(exam)
    }

    /// Length and root of what a file holds, if it is not damaged.
    pub fn whole_now(&self, name: &FileName, path: &Path) -> Option<Whole> {
        let exam = self.examine(name, path).ok()?;
        (!matches!(exam.state, State::Damaged { .. })).then_some(exam.whole)
    }

    /// After [`ReadError::Doubt`], with the file's name locked: reading `source` may go on, or
    /// the file is damaged. With `heal`, sums that are damaged or missing beside good content
    /// are made anew; what hindered that is returned.
    pub fn settle(
        &self,
        source: &mut Source,
        path: &Path,
        heal: bool,
    ) -> Result<Option<WriteError>, ReadError> {
        let exam = self.examine_open(&source.name, path, &*source.range.file)?;
        if let State::Damaged { offset } = exam.state {
            if self.is_another(&source.name, path)? {
                return Err(ReadError::Replaced);
            }
            self.damage.report(&source.name);
            return Err(ReadError::Damaged { offset });
        }
        let name = source.name.clone();
        let heal = heal && (exam.sums == SumsState::Good || self.is_now(&name, path, &exam)?);
        let healed = if heal { self.heal(&name, &*source.range.file, &exam) } else { Ok(false) };
        source.guard = match (exam.state, exam.entries) {
            (State::Unsummed, _) => Guard::Trust,
            (_, Some(entries)) => Guard::Memory { blocks: exam.blocks, entries },
            // Too many to be held: those on disk are good now, or the doubt remains.
            (_, None) => self.guard(&name, &source.range)?,
        };
        source.range.size = exam.len;
        Ok(healed.err())
    }

    /// Whether what `path` leads to now is no damaged file: then one that was opened before, and
    /// looks damaged, is another one. With the file's name locked.
    fn is_another(&self, name: &FileName, path: &Path) -> io::Result<bool> {
        match self.examine(name, path) {
            Ok(now) => Ok(!matches!(now.state, State::Damaged { .. })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether what `path` leads to now is what was examined.
    fn is_now(&self, name: &FileName, path: &Path, exam: &Exam) -> io::Result<bool> {
        match self.examine(name, path) {
            Ok(now) => Ok(now.whole == exam.whole),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the sums of a good file anew where they are not; true if there was a need. What
    /// nothing proves gets none here, see [`Sums::adopt`].
    pub fn heal(
        &self,
        name: &FileName,
        file: &dyn DiskFile,
        exam: &Exam,
    ) -> Result<bool, WriteError> {
        if matches!(exam.state, State::Damaged { .. })
            || matches!(exam.sums, SumsState::None | SumsState::Good)
        {
            return Ok(false);
        }
        if exam.state == State::Unsummed {
            return Ok(false);
        }
        self.make(name, file, exam.whole)?;
        if exam.sums == SumsState::Damaged {
            self.damage.sums_healed.fetch_add(1, Ordering::Relaxed);
            log::warn!("the sums of {name} were damaged; its content is good, made them anew");
        }
        Ok(true)
    }

    /// Stores the sums that were made beside an examination, if the file is not damaged: from now
    /// on damage of it is found. Nothing may have changed the file since that began.
    pub fn adopt(&self, name: &FileName, exam: Exam) -> Result<bool, WriteError> {
        let damaged = matches!(exam.state, State::Damaged { .. });
        let Some(made) = exam.made.filter(|_| !damaged) else { return Ok(false) };
        made.publish(self, name, true).map(|_| true)
    }

    /// Reads the file again and stores its sums, which have to come out as `whole`.
    fn make(&self, name: &FileName, file: &dyn DiskFile, whole: Whole) -> Result<(), WriteError> {
        let Some(mut builder) = self.whole(name) else { return Ok(()) };
        let mut buffer = vec![0; READ_BYTES];
        let mut at = 0u64;
        loop {
            let count = read_full(file, at, &mut buffer);
            let count = count.map_err(WriteError::disk("read the file again"))?;
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
            builder.update(read)?;
            at = at.saturating_add(count as u64);
        }
        if builder.publish(self, name, true)? != whole {
            self.remove(name, false).map_err(WriteError::disk("remove the sums"))?;
            if let Some(dir) = self.path(name).as_deref().and_then(Path::parent) {
                let synced = self.disk.sync_dir(dir);
                synced.map_err(WriteError::sync("the directory of the sums"))?;
            }
            let twice = io::Error::other("it changed or could not be read the same twice");
            return Err(WriteError::disk("read the file again")(twice));
        }
        Ok(())
    }
}

/// One read: a multiple of every block size up to it.
const READ_BYTES: usize = 256 * 1024;

impl Examination {
    /// Whether the file should have sums and has none.
    pub fn lacks_sums(&self) -> bool {
        self.table.is_none() && Sums::has_table(&self.name)
    }

    /// Reads on, at most 256 KiB or one block; returns how many bytes were read, none at the
    /// end of the file.
    pub fn step(&mut self, file: &dyn DiskFile) -> io::Result<usize> {
        let block_len = usize::try_from(self.blocks.size()).unwrap_or(usize::MAX);
        let mut buffer = std::mem::take(&mut self.buffer);
        let count = read_full(file, self.len, &mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        self.crc.update(read);
        if let Some(made) = &mut self.made {
            made.update(read).map_err(|error| io::Error::other(error.to_string()))?;
        }
        for block in read.chunks(block_len) {
            let index = self.index;
            let at = index.checked_sub(self.batch.0).and_then(|at| usize::try_from(at).ok());
            let at = at.filter(|at| *at < self.batch.1.len()).unwrap_or(0);
            if at == 0
                && let Some(table) = &self.table
            {
                self.batch = (index, table.read(index, BATCH)?);
            }
            self.block(index, block, self.batch.1.get(at).copied());
            self.index = index.saturating_add(1);
        }
        self.len = self.len.saturating_add(count as u64);
        self.buffer = buffer;
        Ok(count)
    }

    fn block(&mut self, index: u64, block: &[u8], stored: Option<u64>) {
        let holes = self.header.is_some_and(|header| header.holes);
        let mut entry = self.seed.entry(index, content_sum(block));
        if stored != Some(entry) {
            let zeros = holes && block.iter().all(|byte| *byte == 0);
            if zeros && stored == Some(0) {
                entry = 0;
            } else {
                let offset = self.blocks.start(index);
                self.first_bad = self.first_bad.or(Some(offset));
                if zeros {
                    self.holes_root = self.holes_root.wrapping_sub(entry);
                }
            }
        }
        self.root = self.root.wrapping_add(entry);
        match &mut self.entries {
            Some(entries) if entries.len() < BATCH && entry != 0 => entries.push(entry),
            // Too many to be held, or with holes: then they are read from the disk.
            entries => *entries = None,
        }
    }

    fn judge(self) -> Exam {
        let name = &self.name;
        let (len, crc32) = (self.len, self.crc.finalize());
        let whole = Whole { len, root: self.root };
        let by_name = crc_in_name(name).map(|proof| proof == (len, crc32));
        let count = self.blocks.count(len);
        let fits = self.table.as_ref().is_some_and(|table| {
            self.header
                .map_or(table.entries == count, |h| h.whole.len == len && count <= table.entries)
        });
        let by_entries = fits && self.first_bad.is_none();
        let or_holes = Whole { len, root: self.root.wrapping_add(self.holes_root) };
        let is = |known: Whole| known == whole || known == or_holes;
        let by_root = self.header.is_some_and(|header| is(header.whole));
        let by_earlier =
            self.header.and_then(|header| header.earlier).is_some_and(|known| known == whole);
        let sums = match &self.table {
            _ if !Sums::has_table(name) => SumsState::None,
            None => SumsState::Missing,
            Some(_) if by_entries && by_root => SumsState::Good,
            Some(_) => SumsState::Damaged,
        };
        let proven = by_name == Some(true) || by_entries || by_root || by_earlier;
        let state = match (proven, by_name, &self.table) {
            (true, ..) => State::Good,
            (false, None, None) => State::Unsummed,
            // Without sums a whole is all that can be named.
            (false, _, None) => State::Damaged { offset: 0 },
            (false, ..) => State::Damaged { offset: self.first_bad.unwrap_or(len) },
        };
        let (entries, blocks, made) = (self.entries, self.blocks, self.made);
        Exam { state, sums, len, crc32, whole, entries, blocks, made }
    }
}
