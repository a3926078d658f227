//! Log files that begin anew: every day, at a size, or when they are asked to; old ones go
//! after some days (storage.md 8.2, 9.3).
//!
//! Used for the error log of both daemons and the access log of the storage. Days and names
//! are those of UTC, as the times inside are. Never compresses.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}

impl Rotation {
    /// Reads the keys of a log, from `section` or else from the global section.
    pub fn parse(ini: &Ini, section: &str) -> Result<Self, IniError> {
        let get = |key: &str| ini.get_in(section, key).or_else(|| ini.get(key));
        let daily = get("log_file_rotate_everyday").is_none_or(Entry::bool);
        let at = get("log_file_rotate_time").map_or(Ok(0), |e| e.time().map(TimeOfDay::secs))?;
        let days = "must be a number of days, 0 to 36500";
        let keep = get("log_file_keep_days").map_or(Ok(15), |e| e.int_within(0, 36_500, days))?;
        Ok(Self {
            daily_at: daily.then_some(at),
            on_size: get("log_file_rotate_on_size").map_or(Ok(0), Entry::size)?,
            keep_days: u32::try_from(keep).unwrap_or(0),
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
        Ok(Arc::new(Self { path, rotation, clock, head, open: Mutex::new(open) }))
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
        begin(&self.path, &self.rotation, &self.head, now)
    }

    /// Removes what is older than the days that are kept.
    fn purge(&self, now: UnixTime) {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else { return };
        let keep = u64::from(self.rotation.keep_days).saturating_mul(DAY_SECS);
        let Ok(files) = fs::read_dir(dir) else { return };
        let prefix = format!("{}.", name.to_string_lossy());
        for file in files.flatten().filter(|_| keep != 0) {
            let ours = file
                .file_name()
                .to_string_lossy()
                .strip_prefix(&prefix)
                .is_some_and(|s| s.starts_with(|c: char| c.is_ascii_digit()));
            let old = file.metadata().is_ok_and(|facts| {
                let changed = u64::try_from(facts.mtime()).unwrap_or(0);
                changed.saturating_add(keep) < now.secs()
            });
            if ours && old {
                // One that cannot be removed is tried again at the next rotation.
                let _ = fs::remove_file(file.path());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let rotation = Rotation { daily_at: Some(4 * 3600), on_size: 50, keep_days: 0 };
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
    fn keys_come_from_the_section_or_from_the_whole_file() {
        let text = "log_file_keep_days = 3\nlog_file_rotate_on_size = 1KB\n[access-log]\n\
                    log_file_keep_days = 7\nlog_file_rotate_everyday = no\n";
        let ini = Ini::parse(text).unwrap();
        let want = Rotation { daily_at: Some(0), on_size: 1024, keep_days: 3 };
        assert_eq!(Rotation::parse(&ini, "error-log"), Ok(want));
        let want = Rotation { daily_at: None, on_size: 1024, keep_days: 7 };
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
