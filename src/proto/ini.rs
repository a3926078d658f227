//! Configuration text: keys with line numbers, sections, sizes, times (tracker.md 13.1).
//!
//! Both daemons, the tools and the drive's client part read their `.conf` files through this.
//! Nothing here reads a file: `#include` lines are handed to the caller by [`Ini::include`],
//! and what a key means is decided where its setting is checked.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Lines of one file; a longer one is not a configuration.
pub const LINES_MAX: usize = 100_000;

/// A configuration that cannot be used, with the place to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IniError {
    /// A value that is not what its key needs.
    #[error("{place}: {key} = {value}: {need}")]
    BadValue { place: Place, key: String, value: String, need: &'static str },
    /// A required key is not there.
    #[error("{key} is missing")]
    Missing { key: &'static str },
    /// A directive of the reference that we refuse rather than misread.
    #[error("{place}: directive {text} is not supported")]
    Directive { place: Place, text: String },
    /// The text is not a configuration at all.
    #[error("more than {LINES_MAX} lines")]
    TooManyLines,
}

/// A line, and the included file it stands in, if it is not in the main one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Option<String>,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file} line {}", self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// One `key = value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: String,
    pub place: Place,
    /// Empty for the global section.
    section: String,
}

/// A file to be read in place of an `#include` line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Include {
    path: String,
    /// How many entries stand before it.
    at: usize,
}

/// The entries of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ini {
    entries: Vec<Entry>,
    includes: Vec<Include>,
}

impl Ini {
    /// Reads the text of a file. Lines without `=` are ignored, as in the reference;
    /// directives other than `#include` are refused, because they would change the meaning.
    pub fn parse(text: &str) -> Result<Self, IniError> {
        let mut ini = Self::default();
        let mut section = String::new();
        for (line, text) in (1..).zip(text.lines()) {
            if LINES_MAX < line {
                return Err(IniError::TooManyLines);
            }
            let place = Place { file: None, line };
            let text = text.trim_matches(BLANKS);
            if let Some(comment) = text.strip_prefix('#') {
                if let Some(path) = include_path(comment) {
                    ini.includes.push(Include { path, at: ini.entries.len() });
                    section.clear(); // afterwards we are in the global section again
                } else if comment.starts_with('@') {
                    let text = text.split(BLANKS).next().unwrap_or(text).to_string();
                    return Err(IniError::Directive { place, text });
                }
            } else if let Some(name) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
                section = name.trim_matches(BLANKS).to_string();
            } else if let Some((key, value)) = text.split_once('=') {
                let key = key.trim_matches(BLANKS).to_string();
                let value = value.trim_matches(BLANKS).to_string();
                ini.entries.push(Entry { key, value, place, section: section.clone() });
            }
        }
        Ok(ini)
    }

    /// Reads the files of all `#include` lines with `read` and puts them in their places.
    /// `read` gets the path as written, resolves it, and limits how deep it goes.
    pub fn include<E>(mut self, mut read: impl FnMut(&str) -> Result<Ini, E>) -> Result<Self, E> {
        // From the last to the first, so that the positions in front stay what they were.
        while let Some(Include { path, at }) = self.includes.pop() {
            let mut inner = read(&path)?;
            for entry in &mut inner.entries {
                entry.place.file.get_or_insert_with(|| path.clone());
            }
            let tail = self.entries.split_off(at.min(self.entries.len()));
            self.entries.append(&mut inner.entries);
            self.entries.extend(tail);
        }
        Ok(self)
    }

    /// The paths of `#include` lines not yet dealt with.
    pub fn includes(&self) -> impl Iterator<Item = &str> {
        self.includes.iter().map(|include| include.path.as_str())
    }

    /// The last entry of this key in the global section: a later one replaces an earlier one.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.get_in("", key)
    }

    /// The last entry of this key in a section.
    pub fn get_in(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries.iter().rfind(|e| e.section == section && e.key == key)
    }

    /// The entry of this key, or an error that names the key.
    pub fn require(&self, key: &'static str) -> Result<&Entry, IniError> {
        self.get(key).ok_or(IniError::Missing { key })
    }

    /// Every entry of a key that may repeat, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |e| e.section.is_empty() && e.key == key)
    }

    /// Entries of the global section whose key `is_known` does not know; worth a warning.
    pub fn unknown<'a>(
        &'a self,
        is_known: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |e| e.section.is_empty() && !is_known(&e.key))
    }

    /// A boolean key, or `default` if it is absent.
    pub fn bool_or(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, Entry::bool)
    }

    /// An integer key, or `default` if it is absent.
    pub fn int_or(&self, key: &str, default: i64) -> Result<i64, IniError> {
        self.get(key).map_or(Ok(default), Entry::int)
    }

    /// A key in seconds, or `default` if it is absent or not positive.
    pub fn seconds_or(&self, key: &str, default: Duration) -> Result<Duration, IniError> {
        self.get(key).map_or(Ok(default), |entry| entry.duration("s", default))
    }

    /// A key in milliseconds, or `default` if it is absent or not positive.
    pub fn millis_or(&self, key: &str, default: Duration) -> Result<Duration, IniError> {
        self.get(key).map_or(Ok(default), |entry| entry.duration("ms", default))
    }

    /// A size in bytes, or `default` if the key is absent.
    pub fn size_or(&self, key: &str, default: u64) -> Result<u64, IniError> {
        self.get(key).map_or(Ok(default), Entry::size)
    }

    /// A time of day, or `default` if the key is absent.
    pub fn time_or(&self, key: &str, default: TimeOfDay) -> Result<TimeOfDay, IniError> {
        self.get(key).map_or(Ok(default), Entry::time)
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The path of `#include path`, in any case, followed by a blank.
fn include_path(comment: &str) -> Option<String> {
    let (word, rest) = comment.split_at_checked("include".len())?;
    let path = rest.trim_matches(BLANKS);
    let is_one = word.eq_ignore_ascii_case("include") && rest.starts_with(BLANKS);
    (is_one && !path.is_empty()).then(|| path.to_string())
}

impl Entry {
    /// An error that shows this line and says what the key needs.
    pub fn refuse(&self, need: &'static str) -> IniError {
        IniError::BadValue {
            place: self.place.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            need,
        }
    }

    /// `true`, `yes`, `on` in any case, or `1`; anything else is false.
    pub fn bool(&self) -> bool {
        self.value == "1"
            || ["true", "yes", "on"].iter().any(|t| self.value.eq_ignore_ascii_case(t))
    }

    /// Leading decimal digits with an optional sign, as the reference reads them; but no digit
    /// at all is an error, not zero.
    pub fn int(&self) -> Result<i64, IniError> {
        let after_sign = self.value.strip_prefix(['-', '+']).unwrap_or(&self.value);
        let rest = after_sign.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = self.value.strip_suffix(rest).unwrap_or(&self.value);
        number.parse().map_err(|_| self.refuse("must be a whole number"))
    }

    /// An integer from `min` to `max`.
    pub fn int_within(&self, min: i64, max: i64, need: &'static str) -> Result<i64, IniError> {
        self.int().ok().filter(|n| (min..=max).contains(n)).ok_or_else(|| self.refuse(need))
    }

    /// Bytes: an integer, optional blanks, an optional unit `K`, `M`, `G` or `T` in any case,
    /// which a `B` may follow. No unit means bytes.
    pub fn size(&self) -> Result<u64, IniError> {
        let error = || self.refuse("must be a size such as 4096, 256KB or 1 GB");
        let digits = self.value.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = self.value.strip_prefix(digits).unwrap_or("").trim_matches(BLANKS);
        let shift = match unit.to_ascii_uppercase().as_str() {
            "" => 0,
            "K" | "KB" => 10,
            "M" | "MB" => 20,
            "G" | "GB" => 30,
            "T" | "TB" => 40,
            _ => return Err(error()),
        };
        let count: u64 = digits.parse().map_err(|_| error())?;
        count.checked_mul(1 << shift).filter(|n| i64::try_from(*n).is_ok()).ok_or_else(error)
    }

    /// `H:M` or `H:M:S`.
    pub fn time(&self) -> Result<TimeOfDay, IniError> {
        TimeOfDay::parse(&self.value).ok_or_else(|| self.refuse("must be a time such as 02:30"))
    }

    /// A time span: an integer in `unit` (`s` or `ms`), or with one of the two behind it, so
    /// that short spans can be written where the key counts seconds. Zero and less mean
    /// `default`.
    pub fn duration(&self, unit: &str, default: Duration) -> Result<Duration, IniError> {
        let digits = self.value.trim_end_matches(|c: char| !c.is_ascii_digit());
        let suffix = self.value.strip_prefix(digits).unwrap_or("").trim_matches(BLANKS);
        let count: i64 =
            digits.parse().map_err(|_| self.refuse("must be a time such as 30 or 250ms"))?;
        let Some(count) = u64::try_from(count).ok().filter(|n| *n != 0) else {
            return Ok(default);
        };
        match if suffix.is_empty() { unit } else { suffix } {
            "s" => Ok(Duration::from_secs(count)),
            "ms" => Ok(Duration::from_millis(count)),
            _ => Err(self.refuse("must be a time such as 30 or 250ms")),
        }
    }
}

/// A time of day, as seconds after midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    secs: u32,
}

impl TimeOfDay {
    pub const MIDNIGHT: TimeOfDay = TimeOfDay { secs: 0 };

    /// `H:M` or `H:M:S`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':').map(|part| part.parse::<u32>().ok());
        let (hours, minutes) = (parts.next()??, parts.next()??);
        let seconds = parts.next().unwrap_or(Some(0))?;
        let legal = hours < 24 && minutes < 60 && seconds < 60;
        let secs = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
        legal.then_some(Self { secs: secs.checked_add(seconds)? })
    }

    /// Seconds after midnight.
    pub fn secs(self) -> u32 {
        self.secs
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.secs / 60;
        let text = format!("{:02}:{:02}", minutes / 60, minutes % 60);
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
port=22122
  base_path =  /var/lib/x = y  \r
no equals sign
port = 23000 # not a comment
allow_hosts = 10.0.1.[1-15,20]
allow_hosts = *
#include other.conf
[error-log]
port = 1
#INCLUDE\tsecond.conf
last = yes
#includeless = 1
[]
empty =
";

    fn entry(value: &str) -> Entry {
        let text = format!("key = {value}");
        Ini::parse(&text).unwrap().get("key").unwrap().clone()
    }

    #[test]
    fn keys_are_read_with_their_lines() {
        let ini = Ini::parse(TEXT).unwrap();
        assert_eq!(ini.get("port").map(|e| e.value.as_str()), Some("23000 # not a comment"));
        assert_eq!(ini.get("port").map(|e| e.int()), Some(Ok(23000)));
        assert_eq!(ini.get("base_path").unwrap().value, "/var/lib/x = y");
        assert_eq!(ini.all("allow_hosts").map(|e| e.place.line).collect::<Vec<_>>(), [6, 7]);
        assert_eq!(ini.get_in("error-log", "port").map(|e| e.int()), Some(Ok(1)));
        assert_eq!(ini.includes().collect::<Vec<_>>(), ["other.conf", "second.conf"]);
        assert!(ini.bool_or("last", false), "behind an include we are in the global section");
        assert_eq!(ini.get("empty").map(|e| e.value.as_str()), Some(""));
        assert_eq!(ini.require("none"), Err(IniError::Missing { key: "none" }));
        let unknown: Vec<_> = ini.unknown(|key| key == "last").map(|e| e.place.line).collect();
        assert_eq!(unknown, [2, 3, 5, 6, 7, 15]);
    }

    #[test]
    fn included_files_take_the_place_of_their_line() {
        let ini = Ini::parse("a = 1\n#include x\na = 3\n#include y\n").unwrap();
        let whole = ini.include(|path| match path {
            "x" => Ini::parse("a = 2\nb = 2"),
            _ => Ini::parse("\nb = 4x"),
        });
        let whole = whole.unwrap();
        assert_eq!(whole.get("a").map(|e| e.value.as_str()), Some("3"));
        assert_eq!(whole.all("a").map(|e| e.value.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
        let error = whole.get("b").unwrap().size().unwrap_err().to_string();
        assert_eq!(error, "y line 2: b = 4x: must be a size such as 4096, 256KB or 1 GB");
        assert_eq!(whole.includes().count(), 0);
    }

    #[test]
    fn directives_that_change_the_meaning_are_refused() {
        let error = Ini::parse("a = 1\n#@if %{LOCAL_IP} in [10.0.0.1]\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: directive #@if is not supported");
    }

    #[test]
    fn sizes_have_units() {
        for (text, want) in [
            ("0", Some(0)),
            ("256", Some(256)),
            ("8KB", Some(8 << 10)),
            ("64 mb", Some(64 << 20)),
            ("1G", Some(1 << 30)),
            ("2tB", Some(2 << 40)),
            ("100B", None),
            ("-1", None),
            ("1.5G", None),
            ("K", None),
            ("", None),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("8388608T", None),
        ] {
            assert_eq!(entry(text).size().ok(), want, "{text}");
        }
    }

    #[test]
    fn numbers_booleans_and_times() {
        for (text, want) in
            [("10", Some(10)), ("-3x", Some(-3)), ("+4", Some(4)), ("x", None), ("", None)]
        {
            assert_eq!(entry(text).int().ok(), want, "{text}");
        }
        for (text, want) in [("TRUE", true), ("1", true), ("On", true), ("yes", true), ("2", false)]
        {
            assert_eq!(entry(text).bool(), want, "{text}");
        }
        for (text, want) in [
            ("02:30", Some(9000)),
            ("1:2:3", Some(3723)),
            ("23:59", Some(86340)),
            ("24:00", None),
            ("1", None),
            ("1:60", None),
        ] {
            assert_eq!(entry(text).time().ok().map(TimeOfDay::secs), want, "{text}");
        }
        assert_eq!(TimeOfDay::parse("2:5").unwrap().to_string(), "02:05");
        assert_eq!(entry("7").int_within(1, 6, "1 to 6").ok(), None);
    }

    #[test]
    fn time_spans_may_be_shorter_than_a_second() {
        let default = Duration::from_secs(30);
        for (text, want) in [
            ("10", Some(Duration::from_secs(10))),
            ("10ms", Some(Duration::from_millis(10))),
            ("0", Some(default)),
            ("-1", Some(default)),
            ("3 s", Some(Duration::from_secs(3))),
            ("3h", None),
            ("x", None),
        ] {
            assert_eq!(entry(text).duration("s", default).ok(), want, "{text}");
        }
        let ini = Ini::parse("sync_wait_msec = 200").unwrap();
        let wait = ini.millis_or("sync_wait_msec", default);
        assert_eq!(wait, Ok(Duration::from_millis(200)));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            if let Ok(ini) = Ini::parse(&text) {
                for entry in &ini.entries {
                    let _ = (entry.int(), entry.size(), entry.time(), entry.bool());
                    let _ = entry.duration("s", Duration::ZERO);
                }
            }
        }
    }
}
