//! How far each peer has got: one small file per peer, in the reference's form and under its
//! names, replaced atomically (sync.md 3).
//!
//! Used by the senders. Every call may block. A mark that is damaged, or that points where no
//! record begins, is repaired towards the beginning: to send a record again is harmless, to miss
//! one is not.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use proto::{
    binlog::{LINE_MAX, Mark},
    ids::StorageId,
};

use super::{Position, log::file_name, packed};
use crate::disk::{
    port::{Disk, Open},
    write::{read_whole, replace_whole},
};

/// Largest mark file that makes sense.
const MARK_BYTES_MAX: usize = 4096;

/// Under which name the marks of peers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `<id>.mark`.
    ById,
    /// `<address>_<port>.mark`, with the port of this storage.
    ByAddress { port: u16 },
}

/// The mark of one peer.
#[derive(Clone, Debug)]
pub struct MarkFile {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
}

impl MarkFile {
    /// The mark of `peer` in `dir`. One that stands under its address is taken over when marks
    /// go by id.
    pub fn of(
        disk: Arc<dyn Disk>,
        dir: &Path,
        peer: &StorageId,
        address: &str,
        naming: Naming,
        port: u16,
    ) -> io::Result<Self> {
        let by_address = |port| dir.join(format!("{address}_{port}.mark"));
        let path = match naming {
            Naming::ById => dir.join(format!("{peer}.mark")),
            Naming::ByAddress { port } => by_address(port),
        };
        if naming == Naming::ById && is_missing(&*disk, &path)? {
            let old = by_address(port);
            if !is_missing(&*disk, &old)? {
                disk.rename_over(&old, &path)?;
                disk.sync_dir(dir)?;
            }
        }
        Ok(Self { disk, dir: dir.to_owned(), path })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mark; `None` if there is none, `InvalidData` if it is damaged.
    pub fn load(&self) -> io::Result<Option<Mark>> {
        let Some(bytes) = read_whole(&*self.disk, &self.path, MARK_BYTES_MAX)? else {
            return Ok(None);
        };
        let mark = Mark::parse(&String::from_utf8_lossy(&bytes));
        mark.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Replaces the mark.
    pub fn save(&self, mark: &Mark) -> io::Result<()> {
        replace_whole(&*self.disk, &self.path, mark.text().as_bytes())
    }

    /// Puts the mark aside for good: the peer is no longer a member, and would begin anew.
    pub fn retire(&self, stamp: &str) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".{stamp}"));
        match self.disk.rename_over(&self.path, Path::new(&aside)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.disk.sync_dir(&self.dir),
        }
    }

    /// Gives the mark the name of `other`, unless that has one; whether it did. The peer has
    /// moved, and is to be sent what it lacks and nothing else.
    pub fn rename_to(&self, other: &Self) -> io::Result<bool> {
        match self.disk.rename_new(&self.path, &other.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
            Ok(()) => self.disk.sync_dir(&self.dir).map(|()| true),
        }
    }

    /// The position of `mark` if a record can begin there in a log that ends at `end`, else one
    /// before it where one can, with what was wrong.
    pub fn sound(&self, mark: &Mark, end: Position) -> io::Result<(Position, Option<String>)> {
        let wanted = Position { file: mark.binlog_index, offset: mark.binlog_offset };
        let start = |file| Position { file, offset: 0 };
        if end < wanted {
            let found = start(wanted.file.min(end.file));
            let wrong = format!("it stands at {wanted}, the log ends at {end}");
            return Ok((found, Some(wrong)));
        }
        if wanted.offset == 0 {
            return Ok((wanted, None));
        }
        let from = wanted.offset.saturating_sub(LINE_MAX as u64);
        let before = match self.disk.open(&self.dir.join(file_name(wanted.file)), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match packed::before(&*self.disk, &self.dir, wanted, LINE_MAX) {
                    // Lost, or damaged: the reader will say.
                    Ok(None) => return Ok((wanted, None)),
                    Err(error) if packed::is_damage(&error) => return Ok((wanted, None)),
                    other => other?.unwrap_or_default(),
                }
            }
            Err(error) => return Err(error),
            Ok(file) if wanted.offset <= file.stat()?.len => {
                let len = usize::try_from(wanted.offset.saturating_sub(from)).unwrap_or(0);
                let mut before = vec![0; len];
                let count = file.read_at(from, &mut before)?;
                before.truncate(count);
                before
            }
            Ok(_) => Vec::new(),
        };
        if before.is_empty() {
            let wrong = format!("it stands at {wanted}, behind the end of that file");
            return Ok((start(wanted.file), Some(wrong)));
        }
        if before.last() == Some(&b'\n') {
            return Ok((wanted, None));
        }
        let line = before.iter().rposition(|byte| *byte == b'\n');
        let offset = line.map_or(0, |at| from.saturating_add(at as u64).saturating_add(1));
        let wrong = format!("it stands at {wanted}, in the middle of a record");
        Ok((Position { file: wanted.file, offset }, Some(wrong)))
    }
}

/// Gives all marks in `dir` that carry our port `from` the names with our port `to`, and what
/// lies beside them; how many marks (sync.md 9.3).
pub fn move_port(disk: &dyn Disk, dir: &Path, from: u16, to: u16) -> io::Result<usize> {
    let mut moved = 0;
    for name in disk.list(dir)? {
        let name = name.to_string_lossy();
        for ending in ["mark", "aside"] {
            let Some(peer) = name.strip_suffix(&format!("_{from}.{ending}")) else { continue };
            match disk.rename_new(&dir.join(&*name), &dir.join(format!("{peer}_{to}.{ending}"))) {
                // It stands there from another time with that port: the newer one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => {
                    other?;
                    moved += usize::from(ending == "mark");
                }
            }
        }
    }
    disk.sync_dir(dir)?;
    Ok(moved)
}

fn is_missing(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.stat(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    const DIR: &str = "/sync";
    const LINE: &str = "1700000000 C M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt\n";

    fn file(disk: &SimulatedDisk, naming: Naming) -> MarkFile {
        let peer = StorageId::parse("100002").unwrap();
        let disk = Arc::new(disk.clone());
        MarkFile::of(disk, Path::new(DIR), &peer, "10.77.0.12", naming, 23000).unwrap()
    }

    fn mark(file: u32, offset: usize) -> Mark {
        Mark { binlog_index: file, binlog_offset: offset as u64, ..Mark::default() }
    }

    #[test]
    fn marks_are_kept_and_taken_over_from_addresses() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let by_address = file(&disk, Naming::ByAddress { port: 23000 });
        assert_eq!(by_address.path(), Path::new("/sync/10.77.0.12_23000.mark"));
        assert_eq!(by_address.load().unwrap(), None);
        by_address.save(&mark(1, 2)).unwrap();
        let by_id = file(&disk, Naming::ById);
        assert_eq!(by_id.path(), Path::new("/sync/100002.mark"));
        assert_eq!(by_id.load().unwrap(), Some(mark(1, 2)));
        assert_eq!(by_address.load().unwrap(), None);
        by_id.retire("20261125210000").unwrap();
        assert_eq!(by_id.load().unwrap(), None);
        by_id.retire("20261125210000").unwrap();
    }

    #[test]
    fn a_mark_follows_its_peer_and_our_port_but_takes_no_other_s_place() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let of = |peer: &str| {
            let (disk, peer) = (Arc::new(disk.clone()), StorageId::parse(peer).unwrap());
            let naming = Naming::ByAddress { port: 23000 };
            MarkFile::of(disk, Path::new(DIR), &peer, peer.as_str(), naming, 23000).unwrap()
        };
        let (old, new) = (of("10.77.0.12"), of("10.77.0.32"));
        assert!(!old.rename_to(&new).unwrap(), "there is none");
        old.save(&mark(1, 2)).unwrap();
        assert!(old.rename_to(&new).unwrap());
        assert_eq!((old.load().unwrap(), new.load().unwrap()), (None, Some(mark(1, 2))));
        old.save(&mark(3, 4)).unwrap();
        assert!(!old.rename_to(&new).unwrap(), "taken");
        assert_eq!(new.load().unwrap(), Some(mark(1, 2)));

        let aside = Path::new(DIR).join("10.77.0.32_23000.aside");
        disk.create(&aside).unwrap();
        assert_eq!(move_port(&disk, Path::new(DIR), 23000, 24000).unwrap(), 2);
        assert_eq!(move_port(&disk, Path::new(DIR), 23000, 24000).unwrap(), 0);
        let names: Vec<_> = disk.files().into_keys().collect();
        let want = ["10.77.0.12_24000.mark", "10.77.0.32_24000.aside", "10.77.0.32_24000.mark"];
        assert_eq!(names, want.map(|name| Path::new(DIR).join(name)));
        old.save(&mark(5, 6)).unwrap();
        assert_eq!(move_port(&disk, Path::new(DIR), 23000, 24000).unwrap(), 0, "taken");
    }

    #[test]
    fn a_mark_that_points_nowhere_is_repaired_towards_the_beginning() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let log = disk.create(&Path::new(DIR).join("binlog.001")).unwrap();
        log.write_at(0, LINE.repeat(3).as_bytes()).unwrap();
        let len = LINE.len();
        let file = file(&disk, Naming::ById);
        let end = Position { file: 1, offset: 3 * len as u64 };
        for (mark, place) in [
            (mark(1, len), (1, len)),
            (mark(1, 0), (1, 0)),
            (mark(1, 3 * len), (1, 3 * len)),
            (mark(0, 77), (0, 77)), // lost: the reader says so
            (mark(1, len + 5), (1, len)),
            (mark(1, 5), (1, 0)),
            (mark(1, 3 * len + 1), (1, 0)),
            (mark(9, 4), (1, 0)),
        ] {
            let (found, wrong) = file.sound(&mark, end).unwrap();
            assert_eq!((found.file, found.offset), (place.0, place.1 as u64), "{mark:?}");
            let moved = (mark.binlog_index, mark.binlog_offset) != (found.file, found.offset);
            assert_eq!(wrong.is_some(), moved, "{mark:?}");
        }
    }

    #[test]
    fn a_mark_in_a_compressed_file_is_repaired_likewise() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gz, LINE.repeat(3000).as_bytes()).unwrap();
        let log = disk.create(&Path::new(DIR).join("binlog.000.gz")).unwrap();
        log.write_at(0, &gz.finish().unwrap()).unwrap();
        let (len, end) = (LINE.len(), Position { file: 1, offset: 0 });
        let file = file(&disk, Naming::ById);
        for (offset, found) in [
            (len, len),
            (3000 * len, 3000 * len),
            (2999 * len + 5, 2999 * len),
            (5, 0),
            (3000 * len + 1, 0),
        ] {
            let place = file.sound(&mark(0, offset), end).unwrap().0;
            assert_eq!(place, Position { file: 0, offset: found as u64 }, "{offset}");
        }
    }

    #[test]
    fn a_damaged_mark_is_an_error_and_not_a_mark() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let file = file(&disk, Naming::ById);
        disk.create(file.path()).unwrap().write_at(0, b"binlog_index=0\n").unwrap();
        assert_eq!(file.load().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
