//! Log files that begin anew: every day, at a size, or when they are asked to; old ones are
//! compressed if that is wanted, and go after some days (storage.md 8.2, 9.3).
//!
//! Used for the error log of both daemons and the access log of the storage. Days and names
//! are those of UTC, as the times inside are. Nobody who writes a line waits for compression.

mod gzip; // old files become name.gz

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use proto::ini::{Entry, Ini, IniError, TimeOfDay};

use crate::ports::{Clock, UnixTime};

const DAY_SECS: u64 = 24 * 3600;

/// When a file begins anew, and how long old ones stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Seconds after midnight; `None`: not daily.
    pub daily_at: Option<u32>,
    /// Bytes; 0: at no size.
    pub on_size: u64,
    /// 0: for ever.
    pub keep_days: u32,
    /// Old files are compressed when they are older than so many days; `None`: never.
    pub compress_days: Option<u32>,
}

impl Rotation {
    /// Reads the keys of a log, from `section` or else from the global section.
    pub fn parse(ini: &Ini, section: &str) -> Result<Self, IniError> {
        let get = |key: &str| ini.get_in(section, key).or_else(|| ini.get(key));
        let daily = get("log_file_rotate_everyday").is_none_or(Entry::bool);
        let at = get("log_file_rotate_time").map_or(Ok(0), |e| e.time().map(TimeOfDay::secs))?;
        let days = "must be a number of days, 0 to 36500";
        let count = |key: &str, default| {
            let days = get(key).map_or(Ok(default), |e| e.int_within(0, 36_500, days))?;
            Ok(u32::try_from(days).unwrap_or(0))
        };
        let compress = get("log_file_compress_old").is_some_and(Entry::bool);
        let compress_days = count("log_file_compress_days_before", 1)?;
        Ok(Self {
            daily_at: daily.then_some(at),
            on_size: get("log_file_rotate_on_size").map_or(Ok(0), Entry::size)?,
            keep_days: count("log_file_keep_days", 15)?,
            compress_days: compress.then_some(compress_days),
        })
    }

    /// The moment of the next daily rotation after `now`.
    fn next(&self, now: u64) -> Option<u64> {
        let at = u64::from(self.daily_at?);
        let today = (now - now % DAY_SECS).saturating_add(at);
        Some(if now < today { today } else { today.saturating_add(DAY_SECS) })
    }
}

/// A log file that rotates itself while it is written.
pub struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    clock: Arc<dyn Clock>,
    /// Written at the start of every file, behind the time; empty: nothing.
    head: String,
    open: Mutex<Open>,
    /// The last one that compresses old files, or did.
    compressing: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    len: u64,
    due: Option<u64>,
}

impl std::fmt::Debug for RotatingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RotatingFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RotatingFile {
    /// Opens or continues `path`; a time and `head`, if there is one, begin every new file.
    pub fn open(
        path: PathBuf,
        rotation: Rotation,
        clock: Arc<dyn Clock>,
        head: String,
    ) -> io::Result<Arc<Self>> {
        let open = begin(&path, &rotation, &head, clock.now())?;
        let (open, compressing) = (Mutex::new(open), Mutex::default());
        let log = Self { path, rotation, clock, head, open, compressing };
        // What an earlier process had no time for, or left in the middle.
        log.compress(log.clock.now());
        Ok(Arc::new(log))
    }

    /// Writes whole lines, into a new file if it is time for one.
    pub fn write(&self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.lock();
        let now = self.clock.now();
        let full = self.rotation.on_size != 0
            && open.len != 0
            && self.rotation.on_size < open.len.saturating_add(lines.len() as u64);
        if full || open.due.is_some_and(|due| due <= now.secs()) {
            // A rotation that fails must not lose lines: the old file goes on for a day.
            match self.rotate(now) {
                Ok(fresh) => *open = fresh,
                Err(_) => open.due = self.rotation.next(now.secs()),
            }
        }
        open.file.write_all(lines)?;
        open.len = open.len.saturating_add(lines.len() as u64);
        Ok(())
    }

    /// On HUP: begins anew. A file that somebody else has moved away is only left; one that is
    /// in its place is moved first, if it rotates daily.
    pub fn renew(&self) -> io::Result<()> {
        let mut open = self.lock();
        let own = open.file.metadata()?;
        let in_place = fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        let now = self.clock.now();
        *open = match in_place && self.rotation.daily_at.is_some() {
            true => self.rotate(now)?,
            false => begin(&self.path, &self.rotation, &self.head, now)?,
        };
        Ok(())
    }

    fn rotate(&self, now: UnixTime) -> io::Result<Open> {
        let mut old = self.path.clone();
        old.as_mut_os_string().push(format!(".{}", stamp(now.secs())));
        // Two rotations of one second keep all lines under one name or the other.
        let mut to = old.clone();
        for number in 1..=9 {
            if !to.exists() {
                break;
            }
            to.clone_from(&old);
            to.as_mut_os_string().push(format!(".{number}"));
        }
        fs::rename(&self.path, &to)?;
        self.purge(now);
        self.compress(now);
        begin(&self.path, &self.rotation, &self.head, now)
    }

    /// Removes what is older than the days that are kept.
    fn purge(&self, now: UnixTime) {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else { return };
        if self.rotation.keep_days == 0 {
            return;
        }
        for file in old_files(dir, &name.to_string_lossy(), self.rotation.keep_days, now.secs()) {
            // One that cannot be removed is tried again at the next rotation.
            let _ = fs::remove_file(file);
        }
    }

    /// Compresses what is old enough, beside whoever writes lines. One that is at work from last
    /// time takes what there is; the rest waits for the next rotation.
    fn compress(&self, now: UnixTime) {
        let Some(days) = self.rotation.compress_days else { return };
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else { return };
        let (dir, name) = (dir.to_owned(), name.to_string_lossy().into_owned());
        let mut last = self.compressing.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| !last.is_finished()) {
            return;
        }
        let job = move || gzip::compress_old(&dir, &name, days, now.secs());
        // Without a thread the files stay as they are until the next rotation.
        *last = thread::Builder::new().name("log-gzip".into()).spawn(job).ok();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Old files of the log `name` that were changed last more than so many days before `now`.
fn old_files(dir: &Path, name: &str, days: u32, now: u64) -> Vec<PathBuf> {
    let age = u64::from(days).saturating_mul(DAY_SECS);
    let Ok(files) = fs::read_dir(dir) else { return Vec::new() };
    let prefix = format!("{name}.");
    let is_old = |file: &fs::DirEntry| {
        let ours = file
            .file_name()
            .to_string_lossy()
            .strip_prefix(&prefix)
            .is_some_and(|s| s.starts_with(|c: char| c.is_ascii_digit()));
        let old = file.metadata().is_ok_and(|facts| {
            let changed = u64::try_from(facts.mtime()).unwrap_or(0);
            changed.saturating_add(age) < now
        });
        ours && old
    };
    files.flatten().filter(is_old).map(|file| file.path()).collect()
}

fn begin(path: &Path, rotation: &Rotation, head: &str, now: UnixTime) -> io::Result<Open> {
    let mut file = File::options().append(true).create(true).open(path)?;
    let facts = file.metadata()?;
    let mut len = facts.len();
    // What an earlier process has left of yesterday is due at once.
    let written = u64::try_from(facts.mtime()).unwrap_or(0);
    let from = if len == 0 { now.secs() } else { written.min(now.secs()) };
    if len == 0 && !head.is_empty() {
        let line = format!("[{}] {head}\n", date_time(now));
        file.write_all(line.as_bytes())?;
        len = line.len() as u64;
    }
    Ok(Open { file, len, due: rotation.next(from) })
}

/// `YYYYMMDD_hhmmss`.
pub fn stamp(secs: u64) -> String {
    let (y, mo, d, h, mi, s) = parts(secs);
    format!("{y:04}{mo:02}{d:02}_{h:02}{mi:02}{s:02}")
}

/// `YYYY-MM-DD hh:mm:ss.mmm`.
pub fn date_time(at: UnixTime) -> String {
    let (y, mo, d, h, mi, s) = parts(at.secs());
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}.{:03}", at.millis() % 1000)
}

/// The calendar of a Unix time, by the proleptic Gregorian rules.
fn parts(secs: u64) -> (u64, u64, u64, u64, u64, u64) {
    let (days, rest) = (secs / DAY_SECS, secs % DAY_SECS);
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, date, rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::ports::Moment;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> UnixTime {
            UnixTime::from_secs(self.0.load(Ordering::Relaxed))
        }

        fn moment(&self) -> Moment {
            Moment(std::time::Duration::ZERO)
        }
    }

    /// Files in `dir` by name, with their text.
    fn files(dir: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        all.sort();
        all
    }

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("net-rotate-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_file_begins_anew_at_its_time_and_at_its_size() {
        let dir = dir("time");
        // 2033-05-18 03:33:20, later than any file of this test is changed.
        let clock = Arc::new(Hand(AtomicU64::new(2_000_000_000)));
        let rotation =
            Rotation { daily_at: Some(4 * 3600), on_size: 50, keep_days: 0, compress_days: None };
        let hand = Arc::clone(&clock) as Arc<dyn Clock>;
        let path = dir.join("a.log");
        let log = RotatingFile::open(path.clone(), rotation, hand, "head".into()).unwrap();
        log.write(b"one\n").unwrap();
        clock.0.fetch_add(2000, Ordering::Relaxed); // 04:06:40
        log.write(b"two\n").unwrap();
        log.write(b"a long line, too much\n").unwrap();
        let want = [
            ("a.log", "[2033-05-18 04:06:40.000] head\na long line, too much\n"),
            ("a.log.20330518_040640", "[2033-05-18 03:33:20.000] head\none\n"),
            ("a.log.20330518_040640.1", "[2033-05-18 04:06:40.000] head\ntwo\n"),
        ];
        let want = want.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files(&dir), want);
        // The system's clock, by which files are changed, is years behind that of this test.
        let rotation = Rotation { keep_days: 15, ..rotation };
        let log = RotatingFile::open(path.clone(), rotation, clock, String::new()).unwrap();
        log.renew().unwrap();
        assert_eq!(files(&dir), [("a.log".to_owned(), String::new())]);
        fs::rename(&path, dir.join("moved")).unwrap();
        log.renew().unwrap();
        log.write(b"new\n").unwrap();
        assert_eq!(files(&dir)[0].1, "new\n");
        assert_eq!(files(&dir)[1].0, "moved", "not one of ours");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn old_files_are_compressed_and_go_when_their_time_comes() {
        use std::io::Read as _;
        let dir = dir("gzip");
        let clock = Arc::new(Hand(AtomicU64::new(2_000_000_000)));
        let rotation =
            Rotation { daily_at: Some(0), on_size: 0, keep_days: 0, compress_days: Some(1) };
        let (hand, path) = (Arc::clone(&clock) as Arc<dyn Clock>, dir.join("a.log"));
        let log = RotatingFile::open(path.clone(), rotation, hand, String::new()).unwrap();
        log.write(b"one\n").unwrap();
        // By the file system's clock it was written years ago.
        log.renew().unwrap();
        log.compressing.lock().unwrap().take().unwrap().join().unwrap();
        let packed = dir.join("a.log.20330518_033320.gz");
        let mut text = String::new();
        let file = File::open(&packed).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\n");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        let rotation = Rotation { keep_days: 15, ..rotation };
        let log = RotatingFile::open(path, rotation, clock, String::new()).unwrap();
        log.renew().unwrap();
        assert!(!packed.exists(), "as old as the lines in it");
        log.compressing.lock().unwrap().take().unwrap().join().unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn keys_come_from_the_section_or_from_the_whole_file() {
        let text = "log_file_keep_days = 3\nlog_file_rotate_on_size = 1KB\n\
                    log_file_compress_old = true\n[access-log]\nlog_file_compress_old = off\n\
                    log_file_keep_days = 7\nlog_file_rotate_everyday = no\n";
        let ini = Ini::parse(text).unwrap();
        let compress_days = Some(1);
        let want = Rotation { daily_at: Some(0), on_size: 1024, keep_days: 3, compress_days };
        assert_eq!(Rotation::parse(&ini, "error-log"), Ok(want));
        let compress_days = None;
        let want = Rotation { daily_at: None, on_size: 1024, keep_days: 7, compress_days };
        assert_eq!(Rotation::parse(&ini, "access-log"), Ok(want));
    }

    #[test]
    fn the_calendar_is_right() {
        for (secs, text) in [
            (0, "19700101_000000"),
            (951_782_400, "20000229_000000"),
            (1_700_000_000, "20231114_221320"),
            (4_107_542_399, "21000228_235959"),
            (4_107_542_400, "21000301_000000"),
        ] {
            assert_eq!(stamp(secs), text);
        }
    }
}
