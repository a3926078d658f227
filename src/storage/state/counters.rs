//! What this storage has done, and which directory the next file goes to: `storage_stat.dat`
//! (storage.md 2.8, 5.4, 7).
//!
//! The numbers are kept under one short lock; the file is written by the reporter. Knows
//! nothing of the wire, whose block has another order.

use std::{
    fmt::Write as _,
    sync::{Mutex, MutexGuard},
};

use proto::{
    fileid::SubDir,
    tracker::{
        UnixTime,
        beat::{Statistics, Tally},
    },
};

/// The keys of the file, in its order.
const TALLIES: [(&str, &str); 19] = [
    ("upload", "count"),
    ("append", "count"),
    ("modify", "count"),
    ("truncate", "count"),
    ("download", "count"),
    ("set_meta", "count"),
    ("delete", "count"),
    ("get_meta", "count"),
    ("create_link", "count"),
    ("delete_link", "count"),
    ("upload", "bytes"),
    ("append", "bytes"),
    ("modify", "bytes"),
    ("download", "bytes"),
    ("sync_in", "bytes"),
    ("sync_out", "bytes"),
    ("file_open", "count"),
    ("file_read", "count"),
    ("file_write", "count"),
];
/// The two times stand behind this many tallies.
const TIMES_AT: usize = 5;

/// The next directory of round robin mode, shared by all store paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotor {
    high: u8,
    low: u8,
    count: u32,
}

impl Rotor {
    /// The directory for a file; afterwards the position of the next one.
    pub fn next(&mut self, dirs: u16, files_per_dir: u32) -> SubDir {
        let wrap = |index: u8| if u16::from(index) < dirs { index } else { 0 };
        let dir = SubDir { high: wrap(self.high), low: wrap(self.low) };
        self.count = self.count.saturating_add(1);
        if files_per_dir <= self.count {
            let last = dirs.saturating_sub(1);
            self.count = 0;
            (self.high, self.low) = match (u16::from(dir.high), u16::from(dir.low)) {
                (_, low) if low < last => (dir.high, dir.low.wrapping_add(1)),
                (high, _) if high < last => (dir.high.wrapping_add(1), 0),
                _ => (0, 0),
            };
        }
        dir
    }
}

/// Everything the file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub statistics: Statistics,
    pub rotor: Rotor,
}

impl Numbers {
    /// Reads the file's text; what is missing or damaged is zero.
    pub fn parse(text: &str) -> Self {
        let number = |key: &str| super::value(text, key).and_then(|v| v.parse::<i64>().ok());
        let mut numbers = Self::default();
        for (index, (what, unit)) in TALLIES.iter().enumerate() {
            if let Some(tally) = tally(&mut numbers.statistics, index) {
                tally.total = number(&format!("total_{what}_{unit}")).unwrap_or(0);
                tally.success = number(&format!("success_{what}_{unit}")).unwrap_or(0);
            }
        }
        let statistics = &mut numbers.statistics;
        statistics.last_source_update = UnixTime(number("last_source_update").unwrap_or(0));
        statistics.last_sync_update = UnixTime(number("last_sync_update").unwrap_or(0));
        let small = |key| number(key).and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
        let count = number("dist_write_file_count").and_then(|n| u32::try_from(n).ok());
        numbers.rotor = Rotor {
            high: small("dist_path_index_high"),
            low: small("dist_path_index_low"),
            count: count.unwrap_or(0),
        };
        numbers
    }

    /// The file's text.
    pub fn text(mut self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: i64| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}={value}");
        };
        let (source, sync) = (self.statistics.last_source_update, self.statistics.last_sync_update);
        for (index, (what, unit)) in TALLIES.iter().enumerate() {
            if index == TIMES_AT {
                line("last_source_update", source.0);
                line("last_sync_update", sync.0);
            }
            let tally = tally(&mut self.statistics, index).map_or(Tally::default(), |t| *t);
            line(&format!("total_{what}_{unit}"), tally.total);
            line(&format!("success_{what}_{unit}"), tally.success);
        }
        line("dist_path_index_high", self.rotor.high.into());
        line("dist_path_index_low", self.rotor.low.into());
        line("dist_write_file_count", self.rotor.count.into());
        text
    }
}

/// The tally that stands at `index` in the file.
fn tally(s: &mut Statistics, index: usize) -> Option<&mut Tally> {
    Some(match index {
        0 => &mut s.upload,
        1 => &mut s.append,
        2 => &mut s.modify,
        3 => &mut s.truncate,
        4 => &mut s.download,
        5 => &mut s.set_metadata,
        6 => &mut s.delete,
        7 => &mut s.get_metadata,
        8 => &mut s.create_link,
        9 => &mut s.delete_link,
        10 => &mut s.upload_bytes,
        11 => &mut s.append_bytes,
        12 => &mut s.modify_bytes,
        13 => &mut s.download_bytes,
        14 => &mut s.sync_in_bytes,
        15 => &mut s.sync_out_bytes,
        16 => &mut s.file_open,
        17 => &mut s.file_read,
        18 => &mut s.file_write,
        _ => return None,
    })
}

/// The numbers, shared by all connections.
#[derive(Debug, Default)]
pub struct Counters {
    numbers: Mutex<Numbers>,
}

impl Counters {
    pub fn new(numbers: Numbers) -> Self {
        Self { numbers: Mutex::new(numbers) }
    }

    /// The numbers now.
    pub fn snapshot(&self) -> Numbers {
        *self.lock()
    }

    /// The directory of the next file in round robin mode.
    pub fn next_dir(&self, dirs: u16, files_per_dir: u32) -> SubDir {
        self.lock().rotor.next(dirs, files_per_dir)
    }

    /// Counts one operation, and what it moved.
    pub fn count(&self, which: fn(&mut Statistics) -> &mut Tally, success: bool) {
        self.add(which, 1, success);
    }

    /// Adds to one tally: to its total, and with `success` to what succeeded.
    pub fn add(&self, which: fn(&mut Statistics) -> &mut Tally, amount: u64, success: bool) {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        let mut numbers = self.lock();
        let tally = which(&mut numbers.statistics);
        tally.total = tally.total.saturating_add(amount);
        if success {
            tally.success = tally.success.saturating_add(amount);
        }
    }

    /// A client changed something.
    pub fn source_updated(&self, now: i64) {
        self.lock().statistics.last_source_update = UnixTime(now);
    }

    /// A peer changed something.
    pub fn sync_updated(&self, now: i64) {
        self.lock().statistics.last_sync_update = UnixTime(now);
    }

    /// Connections now; the most ever seen is kept.
    pub fn connections(&self, current: u32, allocated: u32) {
        let connections = &mut self.lock().statistics.connections;
        connections.current = current;
        connections.allocated = allocated;
        connections.max = connections.max.max(current);
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().expect("no code panics while holding this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_take_turns() {
        let mut rotor = Rotor::default();
        let dirs: Vec<_> = (0..9).map(|_| rotor.next(2, 2).to_string()).collect();
        let turn = ["00/00", "00/00", "00/01", "00/01", "01/00", "01/00", "01/01", "01/01"];
        assert_eq!(dirs[..8], turn);
        assert_eq!(dirs[8], "00/00");
        let mut last = Rotor { high: 255, low: 255, count: 0 };
        assert_eq!(last.next(256, 1).to_string(), "FF/FF");
        assert_eq!(last, Rotor::default());
        let mut shrunk = Rotor { high: 9, low: 9, count: 0 };
        assert_eq!(shrunk.next(4, 100).to_string(), "00/00");
    }

    #[test]
    fn the_file_keeps_the_order_of_the_reference() {
        let counters = Counters::default();
        counters.count(|s| &mut s.upload, true);
        counters.count(|s| &mut s.upload, false);
        counters.add(|s| &mut s.download_bytes, 7, true);
        counters.source_updated(5);
        counters.next_dir(256, 100);
        let numbers = counters.snapshot();
        let text = numbers.text();
        assert!(text.starts_with("total_upload_count=2\nsuccess_upload_count=1\ntotal_append_"));
        assert!(text.contains("success_download_count=0\nlast_source_update=5\nlast_sync_update"));
        assert!(text.contains("last_sync_update=0\ntotal_set_meta_count=0\n"));
        assert!(text.ends_with("dist_path_index_low=0\ndist_write_file_count=1\n"));
        assert_eq!(text.lines().count(), 43);
        assert_eq!(Numbers::parse(&text), numbers);
        assert_eq!(Numbers::parse("garbage"), Numbers::default());
    }
}
