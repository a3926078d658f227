//! Old files of the log, compressed with gzip as the reference does (sync.md 2.5).
//!
//! ```text
//! binlog.007 -> binlog.007.gz.tmp -> binlog.007.gz, and binlog.007 goes
//! ```
//!
//! The plain file goes when the compressed one is on disk and was read back whole, so that at no
//! moment there is neither; where there are both, the plain one is read. Every call may block.
//! Never decides which files are old.

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use super::{Position, log::file_name, reader::Bytes};
use crate::disk::port::{Disk, DiskFile, Open};

/// Read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Behind the name while a file is written.
const TEMPORARY: &str = ".gz.tmp";

/// `binlog.NNN.gz`.
pub fn packed_name(index: u32) -> String {
    format!("{}.gz", file_name(index))
}

/// Whether what was read is no gzip, cut or changed. Otherwise the disk has failed, which may
/// pass.
pub fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    let kind = matches!(error.kind(), K::InvalidData | K::InvalidInput | K::UnexpectedEof);
    kind && error.raw_os_error().is_none()
}

/// The last bytes before a place in a compressed file, at most `max`; none if the file ends
/// before it, `None` if there is no such file.
pub(super) fn before(
    disk: &dyn Disk,
    dir: &Path,
    place: Position,
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(&dir.join(packed_name(place.file)), Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let from = place.offset.saturating_sub(max as u64);
    let mut decoder = MultiGzDecoder::new(Bytes { file, offset: 0 });
    let skipped = io::copy(&mut (&mut decoder).take(from), &mut io::sink())?;
    let mut found = Vec::new();
    decoder.take(place.offset.saturating_sub(from)).read_to_end(&mut found)?;
    let whole = skipped.saturating_add(found.len() as u64) == place.offset;
    Ok(Some(if whole { found } else { Vec::new() }))
}

/// One file on its way. Dropped before [`Packing::finish`] it leaves everything as it was.
pub struct Packing {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    index: u32,
    source: Bytes,
    encoder: Option<GzEncoder<Sink>>,
    finished: bool,
}

impl std::fmt::Debug for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packing").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A file that is written from its beginning to its end.
struct Sink {
    file: Box<dyn DiskFile>,
    len: u64,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.len, bytes)?;
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Packing {
    /// Begins to compress the file of this number; `None` if there is none, or no plain one.
    pub fn begin(disk: &Arc<dyn Disk>, dir: &Path, index: u32) -> io::Result<Option<Self>> {
        let file = match disk.open(&dir.join(file_name(index)), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let temporary = dir.join(temporary_name(index));
        remove_if_there(&**disk, &temporary)?;
        let sink = Sink { file: disk.create(&temporary)?, len: 0 };
        Ok(Some(Self {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            index,
            source: Bytes { file, offset: 0 },
            encoder: Some(GzEncoder::new(sink, Compression::default())),
            finished: false,
        }))
    }

    /// Compresses the next piece; true when there is no more.
    pub fn step(&mut self) -> io::Result<bool> {
        let Some(encoder) = &mut self.encoder else { return Ok(true) };
        let mut piece = vec![0; PIECE_BYTES];
        let count = self.source.read(&mut piece)?;
        encoder.write_all(piece.get(..count).unwrap_or_default())?;
        Ok(count == 0)
    }

    /// Puts the compressed file in place of the plain one; how long both are.
    pub fn finish(mut self) -> io::Result<(u64, u64)> {
        let encoder = self.encoder.take().ok_or(io::ErrorKind::InvalidInput)?;
        let sink = encoder.finish()?;
        sink.file.sync_data()?;
        let (temporary, len) = (self.dir.join(temporary_name(self.index)), self.source.offset);
        if content_len(&*self.disk, &temporary)? != Some(len) {
            return Err(io::Error::other("what was compressed does not read back as it was"));
        }
        self.disk.rename_over(&temporary, &self.dir.join(packed_name(self.index)))?;
        self.finished = true;
        self.disk.sync_dir(&self.dir)?;
        self.disk.remove(&self.dir.join(file_name(self.index)))?;
        self.disk.sync_dir(&self.dir)?;
        Ok((len, sink.len))
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is swept at the next start.
            let _ = self.disk.remove(&self.dir.join(temporary_name(self.index)));
        }
    }
}

/// Removes what an earlier process, ours or one of the reference, had not finished when it
/// ended; `current` is the file being written. To be called before anybody reads.
pub fn settle(disk: &Arc<dyn Disk>, dir: &Path, current: u32) -> io::Result<()> {
    let mut changed = false;
    for name in disk.list(dir)? {
        let name = name.to_string_lossy();
        let number = |ending: &str| -> Option<u32> {
            name.strip_prefix("binlog.")?.strip_suffix(ending)?.parse().ok()
        };
        // Of the reference: it says that a file is being compressed, or the reverse.
        let flag = name.starts_with(".binlog.") && name.ends_with(".flag");
        if flag || number(TEMPORARY).is_some() {
            changed |= remove_if_there(&**disk, &dir.join(&*name))?;
        }
        if let Some(index) = number(".gz").filter(|index| *index < current) {
            changed |= settle_pair(&**disk, dir, index)?;
        }
    }
    if changed {
        disk.sync_dir(dir)?;
    }
    Ok(())
}

/// Of a file that is there twice one goes: the compressed one if it is not whole, else the other,
/// which may be a part that the reference was unpacking.
fn settle_pair(disk: &dyn Disk, dir: &Path, index: u32) -> io::Result<bool> {
    let (plain, packed) = (dir.join(file_name(index)), dir.join(packed_name(index)));
    let len = match disk.stat(&plain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?.len,
    };
    let whole = content_len(disk, &packed)?.is_some_and(|content| len <= content);
    let goes = if whole { plain } else { packed };
    log::warn!("an earlier process had not finished with binlog {index}: remove {goes:?}");
    remove_if_there(disk, &goes)
}

/// How long the content of a compressed file is; `None` if it is not whole.
fn content_len(disk: &dyn Disk, path: &Path) -> io::Result<Option<u64>> {
    let file = disk.open(path, Open::Read)?;
    let mut decoder = MultiGzDecoder::new(Bytes { file, offset: 0 });
    match io::copy(&mut decoder, &mut io::sink()) {
        Ok(len) => Ok(Some(len)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn temporary_name(index: u32) -> String {
    format!("{}{TEMPORARY}", file_name(index))
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        binlog::{log::Log, reader::Reader},
        disk::simulated::{Chance, Plan, SimulatedDisk},
    };

    const DIR: &str = "/sync";
    const LINE: &str = "1700000000 C M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt\n";
    /// Records in each file.
    const COUNT: usize = 40;

    /// Three files, the last one being written.
    fn disk() -> SimulatedDisk {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let (mut log, _) =
            Log::open(Arc::new(disk.clone()), Path::new(DIR), (COUNT * LINE.len()) as u64).unwrap();
        for _ in 0..3 * COUNT {
            log.append(LINE).unwrap();
        }
        log.sync().unwrap();
        assert_eq!(log.position().file, 2);
        disk
    }

    fn shared(disk: &SimulatedDisk) -> Arc<dyn Disk> {
        Arc::new(disk.clone())
    }

    fn pack(disk: &SimulatedDisk, index: u32) -> io::Result<Option<(u64, u64)>> {
        let Some(mut packing) = Packing::begin(&shared(disk), Path::new(DIR), index)? else {
            return Ok(None);
        };
        while !packing.step()? {}
        packing.finish().map(Some)
    }

    /// How many records a reader finds from the beginning on, and how much else.
    fn records(disk: &SimulatedDisk) -> (usize, usize) {
        let end = Position { file: 2, offset: (COUNT * LINE.len()) as u64 };
        let mut reader = Reader::new(shared(disk), Path::new(DIR), Position::default());
        let all = reader.batch(end, usize::MAX).unwrap();
        let good = |item: &&crate::binlog::reader::Item| {
            matches!(item.what, crate::binlog::reader::What::Record(_))
        };
        let count = all.iter().filter(good).count();
        (count, all.len() - count)
    }

    fn names(disk: &SimulatedDisk) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        disk.files().into_keys().map(name).filter(|name| name != "binlog_index.dat").collect()
    }

    #[test]
    fn a_file_is_compressed_and_read_as_before() {
        let disk = disk();
        let (plain, packed) = pack(&disk, 0).unwrap().unwrap();
        assert_eq!(plain, (COUNT * LINE.len()) as u64);
        assert!(packed < plain / 5, "{packed}");
        assert_eq!(names(&disk), ["binlog.000.gz", "binlog.001", "binlog.002"]);
        assert_eq!(records(&disk), (3 * COUNT, 0));
        assert_eq!(pack(&disk, 0).unwrap(), None, "it is");
        assert_eq!(pack(&disk, 9).unwrap(), None, "there is none");
    }

    #[test]
    fn one_that_was_given_up_leaves_everything_as_it_was() {
        let disk = disk();
        let before = disk.files();
        let mut packing = Packing::begin(&shared(&disk), Path::new(DIR), 0).unwrap().unwrap();
        packing.step().unwrap();
        drop(packing);
        assert_eq!(disk.files(), before);
    }

    #[test]
    fn no_record_is_lost_whatever_happens_at_any_effect() {
        let plans: [fn(u64) -> Plan; 3] =
            [Plan::Die, |nth| Plan::Fail(nth, 28), |nth| Plan::FailFrom(nth, 5)];
        for plan in plans {
            for nth in 1.. {
                let disk = disk();
                disk.plan(plan(nth));
                let done = pack(&disk, 0).is_ok() && disk.effects() < nth;
                let mut lefts = vec![disk.after_kill()];
                lefts.extend((0..20).map(|seed| disk.after_power_loss(&mut Chance(seed))));
                for (number, left) in lefts.into_iter().enumerate() {
                    // As the running process reads on, and the next one.
                    assert_eq!(records(&left), (3 * COUNT, 0), "effect {nth}, {number}");
                    settle(&shared(&left), Path::new(DIR), 2).unwrap();
                    assert_eq!(records(&left), (3 * COUNT, 0), "effect {nth}, {number}");
                    assert_eq!(names(&left).len(), 3, "effect {nth}: {:?}", names(&left));
                    pack(&left, 0).unwrap();
                    assert_eq!(names(&left)[0], "binlog.000.gz", "effect {nth}, {number}");
                }
                if done {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_start_settles_what_the_reference_left_behind() {
        let put = |disk: &SimulatedDisk, name: &str, content: &[u8]| {
            let path = Path::new(DIR).join(name);
            // One may be there from before.
            let _ = disk.remove(&path);
            disk.create(&path).unwrap().write_at(0, content).unwrap();
        };
        let packed = {
            let disk = disk();
            pack(&disk, 0).unwrap();
            disk.files().remove(&Path::new(DIR).join("binlog.000.gz")).unwrap()
        };
        // It was compressing: the compressed file is a part.
        let zipping = disk();
        put(&zipping, ".binlog.000.flag", b"zip");
        put(&zipping, "binlog.000.gz", &packed[..packed.len() / 2]);
        settle(&shared(&zipping), Path::new(DIR), 2).unwrap();
        assert_eq!(names(&zipping), ["binlog.000", "binlog.001", "binlog.002"]);
        assert_eq!(records(&zipping), (3 * COUNT, 0));
        // It was doing the reverse: the plain file is a part.
        let unzipping = disk();
        put(&unzipping, ".binlog.000.flag", b"unzip");
        put(&unzipping, "binlog.000.gz", &packed);
        put(&unzipping, "binlog.000", LINE.as_bytes());
        settle(&shared(&unzipping), Path::new(DIR), 2).unwrap();
        assert_eq!(names(&unzipping), ["binlog.000.gz", "binlog.001", "binlog.002"]);
        assert_eq!(records(&unzipping), (3 * COUNT, 0));
    }

    #[test]
    fn a_file_that_the_gzip_program_made_is_read_and_it_reads_ours() {
        let dir = std::env::temp_dir().join(format!("storage-packed-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let gzip = |args: &[&str]| {
            let done = std::process::Command::new("gzip").args(args).current_dir(&dir).status();
            assert!(done.unwrap().success(), "gzip {args:?}");
        };
        let text = LINE.repeat(COUNT).into_bytes();
        let write = |name: &str, content: &[u8]| {
            std::io::Write::write_all(&mut std::fs::File::create(dir.join(name)).unwrap(), content)
                .unwrap();
        };
        let simulated = disk();
        pack(&simulated, 0).unwrap();
        let path = Path::new(DIR).join("binlog.000.gz");
        write("binlog.000.gz", &simulated.files()[&path]);
        gzip(&["-d", "binlog.000.gz"]);
        assert_eq!(std::fs::read(dir.join("binlog.000")).unwrap(), text);
        gzip(&["binlog.000"]);
        simulated.remove(&path).unwrap();
        let theirs = std::fs::read(dir.join("binlog.000.gz")).unwrap();
        simulated.create(&path).unwrap().write_at(0, &theirs).unwrap();
        assert_eq!(records(&simulated), (3 * COUNT, 0));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
