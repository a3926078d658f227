//! The files of the sync binlog: open, repair the tail, append, sync, rotate (sync.md 2.4).
//!
//! ```text
//! data/sync/binlog.000 binlog.001 …   the highest number is being written
//! data/sync/binlog_index.dat          current_write=<number>, current_compress=<number>
//! ```
//!
//! Used by `binlog::writer`, one at a time. Every call may block. Never reads records back and
//! never decides who may be answered.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use proto::binlog::{LINE_MAX, Record};

use super::Position;
use crate::disk::{
    port::{Disk, DiskFile, Open},
    write::{read_whole, replace_whole},
};

/// A file of this size is followed by the next one. The reference's number.
pub const ROTATE_BYTES: u64 = 1 << 30;
/// How much of the end is examined when the log is opened: more than an unsynced batch holds.
const TAIL_BYTES: u64 = 512 * 1024;
/// Largest index file that makes sense.
const INDEX_BYTES_MAX: usize = 4096;

/// What opening the log found at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Bytes of an unfinished append that were cut off.
    pub cut: u64,
    /// Lines before the end that are no records: damage, left as it is.
    pub damaged: usize,
}

/// The log that is being written.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Box<dyn DiskFile>,
    index: u32,
    compressed: u32,
    /// End of the last complete append; the next one begins here.
    len: u64,
    before: u64,
    rotate_bytes: u64,
    /// A sync has failed while rotating: nothing may be written any more.
    broken: bool,
}

impl Log {
    /// Opens the log in `dir`, creating it when there is none. `dir` exists.
    ///
    /// An incomplete line at the end was never acknowledged and is cut off; so are broken lines
    /// behind the last good one. Anything else is damage and stays for whoever repairs it.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, rotate_bytes: u64) -> io::Result<(Self, Tail)> {
        let (index, compressed, known) = read_index(&*disk, dir)?;
        let file = disk.open(&dir.join(file_name(index)), Open::WriteOrCreate)?;
        let found = file.stat()?.len;
        let (kept, damaged) = examine(&*file, found)?;
        if kept < found {
            file.truncate(kept)?;
            file.sync_data()?;
        }
        let len = end_line(&*file, kept)?;
        // The file may be new, or its name may not have been synced by whoever made it.
        disk.sync_dir(dir)?;
        let dir = dir.to_owned();
        let before = len;
        let broken = false;
        let log = Self { disk, dir, file, index, compressed, len, before, rotate_bytes, broken };
        if !known {
            log.save_index(index)?;
        }
        Ok((log, Tail { cut: found.saturating_sub(kept), damaged }))
    }

    /// Writes complete lines at the end, moving on to the next file when this one is full.
    pub fn append(&mut self, lines: &str) -> io::Result<()> {
        // Noted first: when the rotation fails, the file ends where it did, too.
        self.before = self.len;
        if self.rotate_bytes <= self.len {
            self.rotate()?;
        }
        self.file.write_at(self.len, lines.as_bytes())?;
        self.len = self.len.saturating_add(lines.len() as u64);
        Ok(())
    }

    /// Removes what a failed append may have left behind. Fails for good if what failed was a
    /// sync: the log is not usable any more.
    pub fn cut_back(&mut self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("a sync failed while the binlog was rotated"));
        }
        self.len = self.before;
        self.file.truncate(self.len)
    }

    /// Makes all appended lines survive power loss.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The last lines of the file that is being written; the first may be a part of one.
    pub fn tail(&self) -> io::Result<String> {
        let bytes = read_tail(&*self.file, self.len)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the next record will stand.
    pub fn position(&self) -> Position {
        Position { file: self.index, offset: self.len }
    }

    /// All files below this number are compressed, or are not there (sync.md 2.4).
    pub fn compressed(&self) -> u32 {
        self.compressed
    }

    /// All files below this number are compressed now.
    pub fn set_compressed(&mut self, below: u32) -> io::Result<()> {
        self.compressed = below;
        self.save_index(self.index)
    }

    /// The order is that of the reference: first the index, then the file. A crash between
    /// leaves an index whose file is missing, which `open` creates.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.broken = true)?;
        let next = self.index.saturating_add(1);
        self.save_index(next)?;
        let path = self.dir.join(file_name(next));
        match self.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(&path)?;
        self.disk.sync_dir(&self.dir).inspect_err(|_| self.broken = true)?;
        self.file = file;
        (self.index, self.len, self.before) = (next, 0, 0);
        Ok(())
    }

    fn save_index(&self, write: u32) -> io::Result<()> {
        let compress = self.compressed;
        let text = format!("current_write={write}\ncurrent_compress={compress}\n");
        replace_whole(&*self.disk, &self.dir.join("binlog_index.dat"), text.as_bytes())
    }
}

/// `binlog.NNN`, at least three digits.
pub fn file_name(index: u32) -> String {
    format!("binlog.{index:03}")
}

/// Number being written, number below which all are compressed, and whether that is on disk in
/// the present form.
fn read_index(disk: &dyn Disk, dir: &Path) -> io::Result<(u32, u32, bool)> {
    let bad = |name: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is damaged"));
    if let Some(bytes) = read_whole(disk, &dir.join("binlog_index.dat"), INDEX_BYTES_MAX)? {
        let text = String::from_utf8_lossy(&bytes);
        let value = |key| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| name.trim() == key).and_then(|(_, v)| v.trim().parse().ok())
        };
        let write = value("current_write").ok_or_else(|| bad("binlog_index.dat"))?;
        return Ok((write, value("current_compress").unwrap_or(0), true));
    }
    // The form before 6.01: a plain number (sync.md 2.4).
    match read_whole(disk, &dir.join("binlog.index"), INDEX_BYTES_MAX)? {
        Some(bytes) => {
            let number = String::from_utf8_lossy(&bytes).trim().parse();
            Ok((number.map_err(|_| bad("binlog.index"))?, 0, false))
        }
        None => Ok((0, 0, false)),
    }
}

/// Where the last good record of a log of `len` bytes ends, and how many bad lines precede it.
fn examine(file: &dyn DiskFile, len: u64) -> io::Result<(u64, usize)> {
    let start = len.saturating_sub(TAIL_BYTES);
    let tail = read_tail(file, len)?;
    let (mut good_end, mut at, mut bad, mut damaged) = (0, 0, 0, 0);
    for (number, line) in tail.split_inclusive(|byte| *byte == b'\n').enumerate() {
        at += line.len();
        // The examined part may begin in the middle of a line.
        let partial_start = number == 0 && 0 < start && line.len() < LINE_MAX;
        if partial_start || is_record(line) {
            good_end = at;
            damaged += std::mem::take(&mut bad);
        } else {
            bad += 1;
        }
    }
    if good_end == 0 && 0 < start {
        // Nothing but damage as far as we look: not the end of an append, so it is kept.
        return Ok((len, bad));
    }
    Ok((start.saturating_add(good_end as u64), damaged))
}

/// The last [`TAIL_BYTES`] of a file of `len` bytes.
fn read_tail(file: &dyn DiskFile, len: u64) -> io::Result<Vec<u8>> {
    let start = len.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; usize::try_from(len.saturating_sub(start)).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = tail.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(start.saturating_add(filled as u64), rest)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled = filled.saturating_add(count),
        }
    }
    Ok(tail)
}

/// Ends damage that was kept with a line end, so that the next record is a line of its own.
fn end_line(file: &dyn DiskFile, len: u64) -> io::Result<u64> {
    let mut last = [b'\n'];
    if let Some(at) = len.checked_sub(1) {
        file.read_at(at, &mut last)?;
    }
    if last == *b"\n" {
        return Ok(len);
    }
    file.write_at(len, b"\n")?;
    Ok(len.saturating_add(1))
}

fn is_record(line: &[u8]) -> bool {
    let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    text.is_some_and(|text| Record::parse(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::{Chance, Plan, SimulatedDisk};

    const DIR: &str = "/base/data/sync";
    const LINE: &str = "1700000000 C M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt\n";

    fn disk() -> SimulatedDisk {
        SimulatedDisk::with_dirs(&["/base", "/base/data", DIR])
    }

    fn open(disk: &SimulatedDisk) -> (Log, Tail) {
        Log::open(Arc::new(disk.clone()), Path::new(DIR), ROTATE_BYTES).unwrap()
    }

    fn content(disk: &SimulatedDisk, name: &str) -> String {
        let bytes = disk.files().remove(&Path::new(DIR).join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn a_new_log_begins_with_number_zero_and_goes_on_where_it_was() {
        let disk = disk();
        let (mut log, tail) = open(&disk);
        assert_eq!((log.position(), tail), (Position::default(), Tail::default()));
        log.append(LINE).unwrap();
        drop(log);
        assert_eq!(open(&disk).0.position(), Position { file: 0, offset: LINE.len() as u64 });
        assert_eq!(content(&disk, "binlog_index.dat"), "current_write=0\ncurrent_compress=0\n");
    }

    #[test]
    fn a_torn_tail_is_cut_and_damage_before_it_is_kept() {
        for (text, kept, damaged) in [
            (format!("{LINE}1700000"), LINE.to_owned(), 0),
            (format!("{LINE}\0\0\0\0\0\n"), LINE.to_owned(), 0),
            (format!("{LINE}rubbish\n{LINE}17"), format!("{LINE}rubbish\n{LINE}"), 1),
            ("17000".to_owned(), String::new(), 0),
        ] {
            let disk = disk();
            let (mut log, _) = open(&disk);
            log.append(&text).unwrap();
            drop(log);
            let (_, tail) = open(&disk);
            assert_eq!(content(&disk, "binlog.000"), kept, "{text:?}");
            let cut = (text.len() - kept.len()) as u64;
            assert_eq!(tail, Tail { cut, damaged }, "{text:?}");
        }
    }

    #[test]
    fn damage_that_is_kept_does_not_run_into_the_next_record() {
        let disk = disk();
        let (mut log, _) = open(&disk);
        log.append(&format!("{LINE}{}", "\0".repeat(600 * 1024))).unwrap();
        drop(log);
        let (mut log, tail) = open(&disk);
        assert_eq!(tail, Tail { cut: 0, damaged: 1 });
        log.append(LINE).unwrap();
        assert!(content(&disk, "binlog.000").ends_with(&format!("\0\n{LINE}")));
    }

    #[test]
    fn a_full_file_is_followed_by_the_next() {
        let disk = disk();
        let open = || Log::open(Arc::new(disk.clone()), Path::new(DIR), 100).unwrap().0;
        let mut log = open();
        for _ in 0..5 {
            log.append(LINE).unwrap();
        }
        assert_eq!(log.position(), Position { file: 2, offset: LINE.len() as u64 });
        drop(log);
        assert_eq!(content(&disk, "binlog.001"), LINE.repeat(2));
        assert_eq!(content(&disk, "binlog.002"), LINE);
        assert_eq!(open().position().file, 2);
    }

    #[test]
    fn a_failed_rotation_takes_no_line_away_and_is_repeated() {
        for nth in 1.. {
            let disk = disk();
            let open = || Log::open(Arc::new(disk.clone()), Path::new(DIR), 100).unwrap().0;
            let mut log = open();
            for _ in 0..2 {
                log.append(LINE).and_then(|()| log.sync()).unwrap();
            }
            disk.plan(Plan::Fail(nth, 28));
            let appended = log.append(LINE).is_ok();
            let done = appended && disk.effects() < nth;
            disk.plan(Plan::Nothing);
            let mut lines = if appended { 3 } else { 2 };
            if appended || log.cut_back().is_ok() {
                log.append(LINE).and_then(|()| log.sync()).unwrap();
                lines += 1;
            }
            drop(log);
            open();
            let all = [0, 1].map(|n| content(&disk, &file_name(n))).concat();
            assert_eq!(all, LINE.repeat(lines), "effect {nth}");
            if done {
                break;
            }
        }
    }

    #[test]
    fn a_failed_sync_while_rotating_is_final() {
        let disk = disk();
        let mut log = Log::open(Arc::new(disk.clone()), Path::new(DIR), 50).unwrap().0;
        log.append(LINE).unwrap();
        disk.plan(Plan::Fail(1, 5));
        assert!(log.append(LINE).is_err());
        let effects = disk.effects();
        assert!(log.cut_back().is_err() && disk.effects() == effects, "nothing is tried again");
    }

    #[test]
    fn synced_lines_survive_power_loss_at_every_effect_of_a_rotation() {
        for seed in 0..20 {
            for nth in 1.. {
                let disk = disk();
                let open =
                    |disk: &SimulatedDisk| Log::open(Arc::new(disk.clone()), Path::new(DIR), 100);
                let mut log = open(&disk).unwrap().0;
                disk.plan(Plan::Die(nth));
                let mut acknowledged = 0;
                for _ in 0..5 {
                    if log.append(LINE).and_then(|()| log.sync()).is_err() {
                        break;
                    }
                    acknowledged += 1;
                }
                let after = disk.after_power_loss(&mut Chance(seed));
                open(&after).unwrap();
                let all: String =
                    (0..4).map(|n| content(&after, &file_name(n))).collect::<Vec<_>>().concat();
                let found = all.matches(LINE).count();
                assert!(acknowledged <= found, "seed {seed} effect {nth}: {found} lines");
                assert_eq!(all.len(), found * LINE.len(), "seed {seed} effect {nth}: {all:?}");
                if acknowledged == 5 {
                    break;
                }
            }
        }
    }
}
