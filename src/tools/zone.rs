//! Local time, as the tools print it: `YYYY-mm-dd HH:MM:SS`.
//!
//! Reads the system's zone file (RFC 8536) up to its last transition; the standard library
//! knows no zones, and this is all that the tools need of one.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a zone file that are looked at; real ones have a few thousand.
const FILE_BYTES_MAX: usize = 256 * 1024;
const HEADER_LEN: usize = 44;
const DAY_SECS: i64 = 86_400;

/// Offsets from UTC over time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Seconds east of UTC before the first transition.
    first: i64,
    /// From when on which offset holds, in order.
    changes: Vec<(i64, i64)>,
}

impl Zone {
    pub(crate) fn utc() -> Self {
        Self { first: 0, changes: Vec::new() }
    }

    /// The zone of `TZ`, or else of the machine; UTC where neither can be read.
    pub(crate) fn of_system() -> Self {
        let name = std::env::var("TZ").unwrap_or_default();
        let name = name.trim_start_matches(':');
        let path = match name {
            "" => PathBuf::from("/etc/localtime"),
            name => Path::new("/usr/share/zoneinfo").join(name),
        };
        let bytes = fs::read(path).ok().filter(|bytes| bytes.len() <= FILE_BYTES_MAX);
        bytes.and_then(|bytes| Self::parse(&bytes)).unwrap_or_else(Self::utc)
    }

    /// Reads a zone file of version 2 or later: the part with 64-bit times.
    fn parse(file: &[u8]) -> Option<Self> {
        let skipped = Counts::read(file)?.len(4);
        let part = file.get(HEADER_LEN + skipped..)?;
        let counts = Counts::read(part)?;
        let body = part.get(HEADER_LEN..)?;
        let (times, body) = body.split_at_checked(counts.times * 8)?;
        let (indexes, body) = body.split_at_checked(counts.times)?;
        let (types, _) = body.split_at_checked(counts.types * 6)?;
        let offsets: Vec<i64> = types.as_chunks::<6>().0.iter().map(offset_of).collect();
        let mut changes = Vec::new();
        for (time, index) in times.as_chunks::<8>().0.iter().zip(indexes) {
            changes.push((i64::from_be_bytes(*time), *offsets.get(usize::from(*index))?));
        }
        Some(Self { first: offsets.first().copied().unwrap_or(0), changes })
    }

    /// A time in Unix seconds, as people of this zone write it.
    pub(crate) fn print(&self, time: i64) -> String {
        let after = self.changes.partition_point(|(from, _)| *from <= time);
        let change = after.checked_sub(1).and_then(|last| self.changes.get(last));
        let local = time.saturating_add(change.map_or(self.first, |(_, offset)| *offset));
        let (days, secs) = (local.div_euclid(DAY_SECS), local.rem_euclid(DAY_SECS));
        let (year, month, day) = civil(days);
        let (hours, minutes) = (secs / 3600, secs / 60 % 60);
        format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{:02}", secs % 60)
    }
}

/// The seconds east of UTC of one local time type.
fn offset_of([a, b, c, d, ..]: &[u8; 6]) -> i64 {
    i64::from(i32::from_be_bytes([*a, *b, *c, *d]))
}

/// The counts in the header of one part of a zone file.
struct Counts {
    utc_marks: usize,
    standard_marks: usize,
    leaps: usize,
    times: usize,
    types: usize,
    chars: usize,
}

impl Counts {
    fn read(part: &[u8]) -> Option<Self> {
        let counts = part.get(..HEADER_LEN)?.strip_prefix(b"TZif")?.get(16..)?;
        let mut counts = counts.as_chunks::<4>().0.iter().map(|bytes| {
            usize::try_from(u32::from_be_bytes(*bytes)).ok().filter(|n| *n <= FILE_BYTES_MAX)
        });
        Some(Self {
            utc_marks: counts.next()??,
            standard_marks: counts.next()??,
            leaps: counts.next()??,
            times: counts.next()??,
            types: counts.next()??,
            chars: counts.next()??,
        })
    }

    /// Bytes of the part behind its header, with times of `width` bytes.
    fn len(&self, width: usize) -> usize {
        let leaps = self.leaps * (width + 4);
        let marks = self.utc_marks + self.standard_marks;
        self.times * (width + 1) + self.types * 6 + self.chars + leaps + marks
    }
}

/// Year, month and day of a number of days after 1970-01-01 (the proleptic Gregorian calendar,
/// counted in eras of 400 years that begin on the first of March).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (time, text) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_700_000_000, "2023-11-14 22:13:20"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(Zone::utc().print(time), text);
        }
    }

    #[test]
    fn offsets_change_where_the_file_says() {
        // Two parts: an empty one with 32-bit times, then one transition from +1 h to +2 h.
        let header = |times: u32, types: u32, chars: u32| {
            let counts = [0, 0, 0, times, types, chars].map(u32::to_be_bytes).concat();
            [&b"TZif2"[..], &[0; 15], &counts].concat()
        };
        let kind = |offset: i32| [&offset.to_be_bytes()[..], &[0, 0]].concat();
        let file = [
            header(0, 1, 1),
            kind(0),
            vec![0],
            header(1, 2, 1),
            1_000_000i64.to_be_bytes().to_vec(),
            vec![1],
            kind(3600),
            kind(7200),
            vec![0],
        ]
        .concat();
        let zone = Zone::parse(&file).unwrap();
        assert_eq!(zone, Zone { first: 3600, changes: vec![(1_000_000, 7200)] });
        assert_eq!(zone.print(999_999), "1970-01-12 14:46:39");
        assert_eq!(zone.print(1_000_000), "1970-01-12 15:46:40");
        for cut in 0..file.len() - 1 {
            assert_eq!(Zone::parse(&file[..cut]), None, "{cut}");
        }
    }
}
