//! Decides for the scrubber: what to read next, how long to rest, when to try a repair again.
//!
//! Pure: `worker` and `repair` read, sleep and write what is decided here. Keeps no file open
//! and asks for no time: `now` is an argument.

use core::{fmt, time::Duration};

/// Where a pass over one store path is, as it is kept over restarts.
///
/// ```text
/// pass=3                        the how many-th
/// begun=1795385452              Unix seconds; 0: none has begun
/// ended=1795300000              the last whole pass; 0: there is none
/// dir=17                        directories before this one are done; HH/LL as one number
/// after=oYYBAGsDaGyE….log       and the files up to this name in it
/// files=120000
/// bytes=98765432100
/// damaged=1
/// unreadable=0                  directories that could not be read: then the pass is not whole
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    pub pass: u64,
    pub begun: u64,
    pub ended: u64,
    pub dir: u32,
    /// Empty: the directory is at its beginning.
    pub after: String,
    pub files: u64,
    pub bytes: u64,
    pub damaged: u64,
    pub unreadable: u64,
}

impl Course {
    /// Reads what [`Course`] prints. A line that makes no sense counts as missing: the worst
    /// that comes of it is that files are read once more.
    pub fn parse(text: &str) -> Self {
        let mut course = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let number = value.parse().unwrap_or(0);
            match key {
                "pass" => course.pass = number,
                "begun" => course.begun = number,
                "ended" => course.ended = number,
                "dir" => course.dir = u32::try_from(number).unwrap_or(0),
                "after" => value.clone_into(&mut course.after),
                "files" => course.files = number,
                "bytes" => course.bytes = number,
                "damaged" => course.damaged = number,
                "unreadable" => course.unreadable = number,
                _ => {}
            }
        }
        course
    }

    /// Whether a pass is under way that ends after `dirs` directories.
    pub fn is_under_way(&self, dirs: u32) -> bool {
        self.begun != 0 && self.dir < dirs
    }

    /// How long until the next pass begins, given that passes begin at this distance. A clock
    /// that was set back delays nothing.
    pub fn rest(&self, now: u64, every: Duration) -> Duration {
        let passed = now.checked_sub(self.begun).filter(|_| self.begun != 0);
        passed.map_or(Duration::ZERO, |passed| every.saturating_sub(Duration::from_secs(passed)))
    }

    /// A pass begins.
    pub fn begin(&mut self, now: u64) {
        let pass = self.pass.saturating_add(1);
        *self = Self { pass, begun: now.max(1), ended: self.ended, ..Self::default() };
    }

    /// A file was looked at.
    pub fn passed(&mut self, name: &str, bytes: u64, damaged: bool) {
        name.clone_into(&mut self.after);
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.damaged = self.damaged.saturating_add(u64::from(damaged));
    }

    /// The pass is over. One that could not read all there is is not the last whole one.
    pub fn end(&mut self, now: u64) {
        if self.unreadable == 0 {
            self.ended = now;
        }
    }

    /// A directory is done.
    pub fn next_dir(&mut self) {
        self.dir = self.dir.saturating_add(1);
        self.after.clear();
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pass, begun, ended, dir, after, files, bytes, damaged, unreadable } = self;
        writeln!(f, "pass={pass}\nbegun={begun}\nended={ended}\ndir={dir}\nafter={after}")?;
        writeln!(f, "files={files}\nbytes={bytes}\ndamaged={damaged}\nunreadable={unreadable}")
    }
}

/// Keeps reading below a rate: each piece is paid for by a rest.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    bytes_per_sec: u64,
    owed: Duration,
}

/// What looking at a file costs besides its bytes: a disk that turns goes to it first.
pub const FILE_COST_BYTES: u64 = 16 * 1024;
/// Rests shorter than this are saved up.
const REST_MIN: Duration = Duration::from_millis(5);

impl Pace {
    /// At most `bytes_per_sec`, which is not zero.
    pub fn new(bytes_per_sec: u64) -> Self {
        Self { bytes_per_sec: bytes_per_sec.max(1), owed: Duration::ZERO }
    }

    /// How long to rest now that `bytes` were read in `took`.
    pub fn after(&mut self, bytes: u64, took: Duration) -> Duration {
        let micros = u128::from(bytes).saturating_mul(1_000_000) / u128::from(self.bytes_per_sec);
        let cost = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.owed = self.owed.saturating_add(cost).saturating_sub(took);
        if self.owed < REST_MIN {
            return Duration::ZERO;
        }
        core::mem::take(&mut self.owed)
    }
}

/// First and longest wait before a file is tried again that nobody could repair.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(3600);

/// How long to wait after `failures` repairs of one file that did not succeed, at least one: a
/// member that has it may come back.
pub fn again_after(failures: u32) -> Duration {
    let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    AGAIN_FIRST.saturating_mul(factor.max(1)).min(AGAIN_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_read_as_it_was_written() {
        let mut course = Course::default();
        course.begin(100);
        course.passed("b", 7, false);
        course.next_dir();
        course.passed("a=b", 8, true);
        course.unreadable = 3;
        assert_eq!(Course::parse(&course.to_string()), course);
        assert_eq!((course.files, course.bytes, course.damaged), (2, 15, 1));
        assert_eq!((course.dir, course.after.as_str()), (1, "a=b"));
        for cut in 0..course.to_string().len() {
            Course::parse(&course.to_string()[..cut]);
        }
        assert_eq!(Course::parse("dir=99999999999\nnonsense\npass=x"), Course::default());
    }

    #[test]
    fn passes_begin_at_a_distance_and_a_clock_set_back_delays_nothing() {
        let mut course = Course::default();
        let every = Duration::from_secs(1000);
        assert_eq!(course.rest(5, every), Duration::ZERO);
        course.begin(5000);
        assert_eq!(course.rest(5400, every), Duration::from_secs(600));
        assert_eq!(course.rest(6001, every), Duration::ZERO);
        assert_eq!(course.rest(4000, every), Duration::ZERO);
        assert!(course.is_under_way(16) && !course.is_under_way(0));
        course.dir = 16;
        assert!(!course.is_under_way(16));
        course.end(5500);
        course.begin(6000);
        assert_eq!((course.pass, course.dir, course.ended), (2, 0, 5500));
    }

    #[test]
    fn reading_costs_its_time_and_small_rests_are_saved_up() {
        let mut pace = Pace::new(1_000_000);
        let mut rested = Duration::ZERO;
        for _ in 0..1000 {
            rested += pace.after(1000, Duration::ZERO);
        }
        assert_eq!(rested, Duration::from_secs(1));
        // A slow disk has rested already.
        assert_eq!(pace.after(1_000_000, Duration::from_secs(2)), Duration::ZERO);
        assert_eq!(Pace::new(0).after(2, Duration::ZERO), Duration::from_secs(2));
    }

    #[test]
    fn repairs_are_tried_again_ever_more_rarely() {
        let waits: Vec<u64> = [1, 2, 3, 10, 13, 40, u32::MAX]
            .into_iter()
            .map(|failures| again_after(failures).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 512, 3600, 3600, 3600]);
        assert_eq!(again_after(0).as_secs(), 1);
    }
}
