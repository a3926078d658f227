//! File ids, `group1/M00/02/44/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt`: parse, print, what they
//! encode (storage.md 2).
//!
//! ```text
//! M00/02/44/wKgBaWVT8QCAEjRWAAAADcRYHyQ[16 trunk]482.txt[slave]
//! path dirs 27 characters: a Record      slot     7 characters
//! ```
//!
//! A name from the network is opaque: [`FileName::parse`] checks only what protects the disk,
//! and the rest of its methods say what the name encodes if it encodes anything. Clock and
//! random bits are arguments, so a new name can be replayed in a test.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::base64;
use crate::ids::{Extension, GroupName, Prefix, StorePath};
use crate::status::Status;

mod record; // what the characters of a name encode

pub use record::{ExtField, Record, SizeField, Source, SourceId, TrunkSlot};

/// Bytes of a logic file name; the reference keeps names in buffers of 128 (storage.md 2.11).
pub const NAME_LEN_MAX: usize = 127;
/// Store paths a name can address; what to pass to [`FileName::parse`] when the number of
/// configured ones is not known.
pub const STORE_PATHS_MAX: u16 = 256;
/// Length of a normal logic name.
pub const NORMAL_LEN: usize = 44;
/// Length of the logic name of a file in a trunk container.
pub const TRUNK_LEN: usize = 60;

/// Where the parts of a logic name begin and end.
const TRUE_AT: usize = 4;
const BASE_AT: usize = 10;
const SLOT_AT: usize = 37;
const SLOT_END: usize = 53;
/// A master's true name has at least this many characters (storage.md 2.9).
const MASTER_TRUE_LEN_MIN: usize = 34;

/// Why text is not a file name or a file id. Always EINVAL on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("file name is too short")]
    TooShort,
    #[error("file name is longer than {NAME_LEN_MAX} bytes")]
    TooLong,
    #[error("file name has no valid store path")]
    BadStorePath,
    #[error("file name is malformed")]
    Malformed,
    #[error("group name is malformed")]
    BadGroup,
    /// A slave name that would collide with its master or the master's metadata.
    #[error("slave name collides with its master")]
    Collision,
}

impl BadName {
    pub fn status(self) -> Status {
        Status::EINVAL
    }
}

/// A sub-directory of `data`: the `02/44` of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubDir {
    pub high: u8,
    pub low: u8,
}

impl fmt::Display for SubDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}/{:02X}", self.high, self.low)
    }
}

/// `subdir_count_per_path`: 1 to 256 directories on each of the two levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubDirCount(u16);

impl SubDirCount {
    pub fn new(count: u16) -> Option<Self> {
        (1..=256).contains(&count).then_some(Self(count))
    }

    pub fn get(self) -> u16 {
        self.0
    }
}

impl SubDir {
    /// The directory of hash mode for `name`, the 27 characters of a file (storage.md 2.8).
    pub fn hashed(name: &str, count: SubDirCount) -> Self {
        let [.., m_high, m_low] = pjw(name.as_bytes()).to_be_bytes();
        let wrap = |byte: u8| {
            let index = u16::from(byte).checked_rem(count.0).unwrap_or(0);
            u8::try_from(index).unwrap_or(0)
        };
        Self { high: wrap(m_high), low: wrap(m_low) }
    }

    /// The directory of hash mode for a new trunk container.
    pub fn of_container(container: u32, count: SubDirCount) -> Self {
        Self::hashed(&base64::encode(&container.to_be_bytes()), count)
    }
}

/// The PJW hash of the reference: signed, with an arithmetic shift (storage.md 2.8). With a
/// logical shift the directories would differ.
fn pjw(bytes: &[u8]) -> i32 {
    let mut hash = 0i32;
    for byte in bytes {
        hash = hash.wrapping_shl(4).wrapping_add(i32::from(*byte));
        let top = hash & i32::from_be_bytes([0xf0, 0, 0, 0]);
        if top != 0 {
            hash = (hash ^ (top >> 24)) & 0x0fff_ffff;
        }
    }
    hash
}

/// Everything a new name is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewName {
    pub store_path: StorePath,
    pub dir: SubDir,
    pub record: Record,
    /// Only for a file in a trunk container.
    pub slot: Option<TrunkSlot>,
    pub ext: ExtField,
}

impl NewName {
    /// The logic name: 44 characters, or 60 with a slot.
    pub fn print(&self) -> FileName {
        let slot = self.slot.map(|slot| slot.encode()).unwrap_or_default();
        let mut text = format!("{}/{}/{}{slot}", self.store_path, self.dir, self.record.encode());
        text.extend(self.ext.0.map(char::from));
        FileName { text, store_path: self.store_path }
    }
}

/// What kind of file a name belongs to, as far as names tell: links look like normal files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Appender,
    /// Record, size and sum in the name are those of the master.
    Slave,
}

/// The file whose metadata have this name, if it is one of metadata (storage.md 3.9).
pub fn metadata_of(name: &str) -> Option<&str> {
    name.strip_suffix("-m")
}

/// A logic file name that passed the checks of storage.md 2.11: it names something directly in
/// a sub-directory of a store path, and nothing else. Printable ASCII without blanks.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    text: String,
    store_path: StorePath,
}

impl FileName {
    /// Checks a name from the network. `store_paths` is the number of configured store paths,
    /// or [`STORE_PATHS_MAX`] where it is not known.
    ///
    /// Names of very old ids, without `M00/`, get it; the digits behind `M` become upper case.
    pub fn parse(name: impl AsRef<[u8]>, store_paths: u16) -> Result<Self, BadName> {
        let name = name.as_ref();
        if name.len() <= BASE_AT {
            return Err(BadName::TooShort);
        }
        if NAME_LEN_MAX < name.len() {
            return Err(BadName::TooLong);
        }
        let (digits, true_name) = match name {
            [b'M', high, low, b'/', rest @ ..] => ([*high, *low], rest),
            [b'M', ..] => return Err(BadName::BadStorePath),
            _ => (*b"00", name),
        };
        // The name as it is kept, with its store path, has to fit as well.
        if NAME_LEN_MAX < true_name.len().saturating_add(TRUE_AT) {
            return Err(BadName::TooLong);
        }
        let store_path = store_path(digits)?;
        if u16::from(store_path.0) >= store_paths {
            return Err(BadName::BadStorePath);
        }
        // Blanks would split a record of the binlog; control characters have no business here.
        // Looked at to the end, which the compiler does many bytes at a time.
        let clean = name.iter().fold(true, |clean, byte| clean & byte.is_ascii_graphic());
        let text = core::str::from_utf8(true_name).map_err(|_| BadName::Malformed)?;
        if !clean || !is_true_name(true_name) {
            return Err(BadName::Malformed);
        }
        // Put together by hand: the nginx module does this for every download.
        let mut logic = String::with_capacity(TRUE_AT.saturating_add(text.len()));
        logic.push('M');
        logic.extend(digits.map(|digit| char::from(digit.to_ascii_uppercase())));
        logic.push('/');
        logic.push_str(text);
        Ok(Self { text: logic, store_path })
    }

    /// The logic name, with its store path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn store_path(&self) -> StorePath {
        self.store_path
    }

    /// The name relative to the `data` directory of its store path.
    pub fn true_name(&self) -> &str {
        self.text.get(TRUE_AT..).unwrap_or("")
    }

    /// The two directories.
    pub fn dir(&self) -> SubDir {
        let hex = |range| {
            let digits = self.true_name().get(range).unwrap_or("");
            u8::from_str_radix(digits, 16).unwrap_or(0)
        };
        SubDir { high: hex(0..2), low: hex(3..5) }
    }

    /// The last component: the name inside its directory.
    pub fn file_part(&self) -> &str {
        self.text.get(BASE_AT..).unwrap_or("")
    }

    /// What the 27 characters encode; none for names that are not generated ones.
    pub fn record(&self) -> Option<Record> {
        Record::decode(self.text.as_bytes().get(BASE_AT..SLOT_AT)?)
    }

    /// The kind, by the tests of storage.md 2.10; none without a record.
    pub fn kind(&self) -> Option<Kind> {
        Some(self.kind_with(&self.record()?))
    }

    /// The same for those who have decoded the name's record already.
    pub fn kind_with(&self, record: &Record) -> Kind {
        let len = self.text.len();
        let longer = TRUNK_LEN < len || (NORMAL_LEN < len && !record.size.is_trunk());
        match (record.size.is_appender(), longer) {
            (true, _) => Kind::Appender,
            (false, true) => Kind::Slave,
            (false, false) => Kind::Normal,
        }
    }

    /// The slot, if the file is stored in a trunk container.
    pub fn slot(&self) -> Option<TrunkSlot> {
        let in_trunk = self.text.len() == TRUNK_LEN && self.record()?.size.is_trunk();
        let text = self.text.as_bytes().get(SLOT_AT..SLOT_END)?;
        if in_trunk { TrunkSlot::decode(text) } else { None }
    }

    /// The size, where the name knows it: normal files only.
    pub fn size(&self) -> Option<u64> {
        let record = self.record()?;
        (self.kind()? == Kind::Normal).then(|| record.size.size())
    }

    /// The name of a slave of this file (storage.md 2.9). Fails if this cannot be a master,
    /// or if the result would be the master or its metadata, or too long.
    pub fn slave(&self, prefix: &Prefix, extension: &Extension) -> Result<Self, BadName> {
        if self.true_name().len() < MASTER_TRUE_LEN_MIN {
            return Err(BadName::TooShort);
        }
        if prefix.as_str() == "-m" && extension.is_empty() {
            return Err(BadName::Collision);
        }
        let tail_at = self.text.len().saturating_sub(ExtField::LEN);
        let (head, tail) = self.text.split_at_checked(tail_at).ok_or(BadName::Malformed)?;
        let tail = tail.split_once('.').map_or(tail, |(before, _)| before);
        let dot = match extension.as_str() {
            "" => "",
            dotted if dotted.starts_with('.') => "",
            _ => ".",
        };
        let text = format!("{head}{tail}{prefix}{dot}{extension}");
        match text.len() {
            _ if text == self.text => Err(BadName::Collision),
            ..=NAME_LEN_MAX => Ok(Self { text, store_path: self.store_path }),
            _ => Err(BadName::TooLong),
        }
    }

    /// The name of a regenerated appender: same directory and extension field, another record
    /// (storage.md 3.6).
    pub fn regenerated(&self, record: &Record) -> Option<Self> {
        let dirs = self.text.get(..BASE_AT)?;
        let ext = self.text.get(self.text.len().checked_sub(ExtField::LEN)?..)?;
        let fits = self.text.len() == NORMAL_LEN;
        let text = format!("{dirs}{}{ext}", record.encode());
        fits.then_some(Self { text, store_path: self.store_path })
    }

    /// Whether the content behind this name never changes: that of a normal file, whose name
    /// says it.
    pub fn is_fixed(&self) -> bool {
        self.kind() == Some(Kind::Normal) && !self.is_metadata()
    }

    /// Whether the name can be given again after its deletion: that of metadata, of a slave, of
    /// anything that was not generated. Other names carry time and chance and never come back.
    pub fn is_reusable(&self) -> bool {
        let generated = matches!(self.kind(), Some(Kind::Normal | Kind::Appender));
        !generated || self.is_metadata()
    }

    /// Whether this is the name of metadata.
    pub fn is_metadata(&self) -> bool {
        metadata_of(&self.text).is_some()
    }

    /// The name of the file that holds this one's metadata; none if it would be too long.
    pub fn metadata(&self) -> Option<Self> {
        let text = format!("{}-m", self.text);
        (text.len() <= NAME_LEN_MAX).then_some(Self { text, store_path: self.store_path })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({:?})", self.text)
    }
}

/// Exactly two hexadecimal digits, in either case; the reference is more lenient.
fn store_path([high, low]: [u8; 2]) -> Result<StorePath, BadName> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(StorePath(high << 4 | low)),
        _ => Err(BadName::BadStorePath),
    }
}

/// `HH/HH/` and one more component. This is the whole protection against path traversal.
fn is_true_name(name: &[u8]) -> bool {
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    match name {
        [a, b, b'/', c, d, b'/', last @ ..] => {
            let dirs = [a, b, c, d].into_iter().all(hex);
            dirs && !last.contains(&b'/') && !matches!(last, b"" | b"." | b"..")
        }
        _ => false,
    }
}

/// A whole file id: the group and the name in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    pub group: GroupName,
    pub name: FileName,
}

impl FileId {
    /// `group1/M00/...`, cut at the first slash.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, BadName> {
        let text = text.as_ref();
        let slash = text.iter().position(|b| *b == b'/').ok_or(BadName::TooShort)?;
        let (group, rest) = text.split_at_checked(slash).ok_or(BadName::TooShort)?;
        let group = core::str::from_utf8(group).ok().and_then(GroupName::parse);
        let name = FileName::parse(rest.strip_prefix(b"/").unwrap_or(rest), STORE_PATHS_MAX)?;
        Ok(Self { group: group.ok_or(BadName::BadGroup)?, name })
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&[self.group.as_str(), self.name.as_str()].join("/"))
    }
}

#[cfg(test)]
mod tests;
