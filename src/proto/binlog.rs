//! One line of the sync binlog and one mark file (sync.md 2 and 3), in the reference's form.
//!
//! Used by `storage::binlog` and by whoever examines a data directory. Knows nothing of files
//! and positions; the caller cuts the text into lines.

use alloc::{format, string::String};
use core::fmt;

/// Longest line of the reference's reader, newline included, is one byte less (sync.md 2.1).
pub const LINE_MAX: usize = 256;
/// Most bytes of name and extra together, the blank between them included (sync.md 2.1).
pub const NAMES_MAX: usize = 127;

/// What happened to a file. Capitals are our own doing, small letters came from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Create,
    Delete,
    Update,
    Append,
    Modify,
    Truncate,
    Link,
    Rename,
}

impl Act {
    fn letter(self) -> u8 {
        match self {
            Act::Create => b'C',
            Act::Delete => b'D',
            Act::Update => b'U',
            Act::Append => b'A',
            Act::Modify => b'M',
            Act::Truncate => b'T',
            Act::Link => b'L',
            Act::Rename => b'R',
        }
    }
}

/// The one-letter operation of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    pub act: Act,
    /// Received from a peer, written in small letters, and not sent on.
    pub replica: bool,
}

impl Op {
    /// An operation of this server's own clients.
    pub fn own(act: Act) -> Self {
        Self { act, replica: false }
    }

    fn from_letter(letter: u8) -> Option<Self> {
        let act = match letter.to_ascii_uppercase() {
            b'C' => Act::Create,
            b'D' => Act::Delete,
            b'U' => Act::Update,
            b'A' => Act::Append,
            b'M' => Act::Modify,
            b'T' => Act::Truncate,
            b'L' => Act::Link,
            b'R' => Act::Rename,
            _ => return None,
        };
        Some(Self { act, replica: letter.is_ascii_lowercase() })
    }
}

/// One line: `<unix seconds> <op> <name>[ <extra>]\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub at: u32,
    pub op: Op,
    /// Logic file name, `M00/HH/HH/…`.
    pub name: String,
    /// Two numbers or the other name; what it means depends on the operation.
    pub extra: Option<String>,
}

/// Why a line is no record, or a record has no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    #[error("line of {0} bytes")]
    TooLong(usize),
    #[error("names of {0} bytes")]
    NamesTooLong(usize),
    #[error("malformed line")]
    Malformed,
}

impl Record {
    /// A record without extra.
    pub fn new(at: u32, op: Op, name: String) -> Self {
        Self { at, op, name, extra: None }
    }

    /// The line, newline included; refuses what the reference's reader would stop at.
    pub fn line(&self) -> Result<String, BadRecord> {
        let extra = self.extra.as_deref();
        let names = extra.map_or(0, |e| e.len().saturating_add(1)).saturating_add(self.name.len());
        if NAMES_MAX < names {
            return Err(BadRecord::NamesTooLong(names));
        }
        if !is_word(&self.name) || !extra.is_none_or(|e| e.split(' ').all(is_word)) {
            return Err(BadRecord::Malformed);
        }
        Ok(format!("{self}\n"))
    }

    /// Reads a line without its newline.
    pub fn parse(line: &str) -> Result<Self, BadRecord> {
        if LINE_MAX <= line.len().saturating_add(1) {
            return Err(BadRecord::TooLong(line.len().saturating_add(1)));
        }
        let mut columns = line.splitn(3, ' ');
        let (Some(at), Some(op), Some(names)) = (columns.next(), columns.next(), columns.next())
        else {
            return Err(BadRecord::Malformed);
        };
        if NAMES_MAX < names.len() {
            return Err(BadRecord::NamesTooLong(names.len()));
        }
        let at = decimal(at).ok_or(BadRecord::Malformed)?;
        let &[letter] = op.as_bytes() else { return Err(BadRecord::Malformed) };
        let op = Op::from_letter(letter).ok_or(BadRecord::Malformed)?;
        let (name, extra) = match names.split_once(' ') {
            Some((name, extra)) => (name, Some(extra)),
            None => (names, None),
        };
        if !is_word(name) || !extra.is_none_or(|e| e.split(' ').all(is_word)) {
            return Err(BadRecord::Malformed);
        }
        Ok(Self { at, op, name: name.into(), extra: extra.map(Into::into) })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = self.op.act.letter();
        let letter = if self.op.replica { letter.to_ascii_lowercase() } else { letter };
        write!(f, "{} {} {}", self.at, char::from(letter), self.name)?;
        match &self.extra {
            Some(extra) => write!(f, " {extra}"),
            None => Ok(()),
        }
    }
}

/// How far one peer has got, in the reference's seven lines (sync.md 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub binlog_index: u32,
    pub binlog_offset: u64,
    pub need_sync_old: bool,
    pub sync_old_done: bool,
    pub until_timestamp: u32,
    pub scan_row_count: u64,
    pub sync_row_count: u64,
}

impl Mark {
    /// The file's text.
    pub fn text(&self) -> String {
        format!(
            "binlog_index={}\nbinlog_offset={}\nneed_sync_old={}\nsync_old_done={}\n\
             until_timestamp={}\nscan_row_count={}\nsync_row_count={}\n",
            self.binlog_index,
            self.binlog_offset,
            u8::from(self.need_sync_old),
            u8::from(self.sync_old_done),
            self.until_timestamp,
            self.scan_row_count,
            self.sync_row_count,
        )
    }

    /// Reads the text; `None` when one of the seven keys is missing or not a number.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
        };
        Some(Self {
            binlog_index: value("binlog_index")?.parse().ok()?,
            binlog_offset: value("binlog_offset")?.parse().ok()?,
            need_sync_old: value("need_sync_old")? != "0",
            sync_old_done: value("sync_old_done")? != "0",
            until_timestamp: value("until_timestamp")?.parse().ok()?,
            scan_row_count: value("scan_row_count")?.parse().ok()?,
            sync_row_count: value("sync_row_count")?.parse().ok()?,
        })
    }
}

/// Neither empty nor anything that would break the columns or the line.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (0x21..0x7f).contains(&b))
}

/// Digits only: the standard parser would also take a sign.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const NAME: &str = "M00/00/00/oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log";

    #[test]
    fn lines_of_the_reference_are_read_and_written_unchanged() {
        for line in [
            "1795385452 C M00/00/00/oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log",
            "1795385452 A M00/00/00/oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log 10 5",
            "1795385454 R M00/00/00/oYYBAGsDaG6AVDJ1AAAAD-F9eSI970.log \
             M00/00/00/oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log",
            "1795385452 c M00/00/00/oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log",
        ] {
            let record = Record::parse(line).unwrap();
            assert_eq!(record.line().unwrap(), format!("{line}\n"));
        }
        let record = Record::parse("7 a x 10 5").unwrap();
        assert_eq!(record.op, Op { act: Act::Append, replica: true });
        assert_eq!(record.extra.as_deref(), Some("10 5"));
    }

    #[test]
    fn damaged_lines_are_refused() {
        for line in ["", "1", "1 C", "1 C ", "x C a", "+1 C a", "1 X a", "1 CC a", "1 C a\0b"] {
            assert!(Record::parse(line).is_err(), "{line:?}");
        }
        let long = |len: usize| format!("1 C {}", "x".repeat(len));
        assert!(Record::parse(&long(NAMES_MAX)).is_ok());
        assert_eq!(Record::parse(&long(128)), Err(BadRecord::NamesTooLong(128)));
        assert_eq!(Record::parse(&long(300)), Err(BadRecord::TooLong(305)));
        assert!(Record::parse("99999999999 C a").is_err());
    }

    #[test]
    fn records_that_no_reader_would_take_are_not_written() {
        let record = |name: &str| Record::new(1, Op::own(Act::Create), name.to_string());
        assert!(record(NAME).line().is_ok());
        for bad in ["", "a b", "a\nb", "a\0"] {
            assert_eq!(record(bad).line(), Err(BadRecord::Malformed), "{bad:?}");
        }
        let mut link = record(&"x".repeat(76));
        link.extra = Some("y".repeat(60));
        assert_eq!(link.line(), Err(BadRecord::NamesTooLong(137)));
    }

    #[test]
    fn marks_keep_the_order_of_the_reference() {
        let text = "binlog_index=0\nbinlog_offset=224\nneed_sync_old=1\nsync_old_done=1\n\
                    until_timestamp=1795385437\nscan_row_count=3\nsync_row_count=3\n";
        let mark = Mark::parse(text).unwrap();
        assert_eq!(mark.binlog_offset, 224);
        assert_eq!(mark.text(), text);
        assert_eq!(Mark::parse("binlog_index=0\n"), None);
    }
}
