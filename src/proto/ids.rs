//! Names that cannot be mixed up: group, storage id, store path, extension, slave prefix.
//!
//! A value that exists is valid; each has one constructor that may refuse. All are `Copy` and
//! hold no memory of their own. Their order is that of their bytes, as `strcmp` has it.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::wire::{DecodeError, EXTENSION_LEN, GROUP_LEN, PREFIX_LEN, Put, Reader, STORAGE_ID_LEN};

/// ASCII text of at most `N` bytes, zero padded; the base of the types below.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Short<const N: usize> {
    // First, and padded with zeros, so that the derived order is `strcmp`'s.
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Short<N> {
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, len: u8::try_from(text.len()).ok()? })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }
}

/// What every name type has besides its rule.
macro_rules! name_type {
    ($name:ident, $len:expr, $field:literal) => {
        impl $name {
            /// The text, without padding.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The same as bytes, which are not looked at again.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// Reads the zero-padded field of a body.
            pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let text = reader.text($len, $field)?;
                Self::parse(text).ok_or(DecodeError::BadText($field))
            }

            /// Writes the zero-padded field of a body.
            pub fn encode(&self, out: &mut Vec<u8>) {
                out.put_text(self.as_str(), $len);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.as_str())
            }
        }
    };
}

/// A group name: 1 to 16 ASCII letters and digits (wire.md 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Short<GROUP_LEN>);

name_type!(GroupName, GROUP_LEN, "group name");

impl GroupName {
    pub fn parse(text: &str) -> Option<Self> {
        let clean = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if clean { Short::new(text).map(Self) } else { None }
    }

    /// Reads the variant of 17 bytes, whose last is a terminator (wire.md 3).
    pub fn decode_terminated(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let group = Self::decode(reader)?;
        reader.u8()?;
        Ok(group)
    }

    /// Writes the variant of 17 bytes, whose last is a terminator (wire.md 3).
    pub fn encode_terminated(&self, out: &mut Vec<u8>) {
        self.encode(out);
        out.put_u8(0);
    }
}

/// Largest number a storage id may be (wire.md 3.2).
pub const STORAGE_NUMBER_MAX: u32 = (1 << 24) - 1;

/// The id of a storage: a number of storage_ids.conf, or its IPv4 address when ids are not
/// used. 1 to 15 characters (wire.md 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageId(Short<STORAGE_ID_LEN>);

name_type!(StorageId, STORAGE_ID_LEN, "storage id");

impl StorageId {
    /// Any id that fits its field. Letters, digits, `.`, `:`, `-` and `_` cover numbers,
    /// addresses and the short code of an IPv6 address.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..STORAGE_ID_LEN).contains(&text.len());
        let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-_".contains(&b));
        if fits && clean { Short::new(text).map(Self) } else { None }
    }

    /// The id of a cluster that uses ids: 1 to [`STORAGE_NUMBER_MAX`].
    pub fn from_number(number: u32) -> Option<Self> {
        let legal = (1..=STORAGE_NUMBER_MAX).contains(&number);
        if legal { Self::parse(&alloc::format!("{number}")) } else { None }
    }

    /// The id of a storage in a cluster that does not use ids; only IPv4 fits the field.
    pub fn from_ip(ip: IpAddr) -> Option<Self> {
        if ip.is_ipv4() { Self::parse(&alloc::format!("{ip}")) } else { None }
    }

    /// The number, if this is one in canonical form: no sign, no leading zero, in range.
    pub fn number(&self) -> Option<u32> {
        let text = self.as_str();
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse().ok().filter(|n| *n <= STORAGE_NUMBER_MAX)?;
        canonical.then_some(number)
    }

    /// Reads a field in which all zeros mean "none".
    pub fn decode_optional(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let text = reader.text(STORAGE_ID_LEN, "storage id")?;
        if text.is_empty() {
            return Ok(None);
        }
        Self::parse(text).map(Some).ok_or(DecodeError::BadText("storage id"))
    }

    /// Writes a field in which all zeros mean "none".
    pub fn encode_optional(id: Option<&Self>, out: &mut Vec<u8>) {
        out.put_text(id.map_or("", Self::as_str), STORAGE_ID_LEN);
    }
}

/// Which of a server's store paths: the `NN` in `M00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath(pub u8);

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M{:02X}", self.0)
    }
}

/// The characters of extensions and prefixes (storage.md 2.11).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// A file extension without its dot: 0 to 6 characters of `A-Z a-z 0-9 - _ .`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extension(Short<EXTENSION_LEN>);

name_type!(Extension, EXTENSION_LEN, "file extension");

impl Extension {
    /// No extension.
    pub const NONE: Extension = Extension(Short { bytes: [0; EXTENSION_LEN], len: 0 });

    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(is_name_byte) { Short::new(text).map(Self) } else { None }
    }

    /// The extension of a local file's name as uploading clients take it: what follows the
    /// last dot, if that is a legal extension, else none.
    pub fn of_file(name: &str) -> Self {
        let last = name.rsplit('/').next().unwrap_or(name);
        let found = last.rsplit_once('.').and_then(|(_, extension)| Self::parse(extension));
        found.unwrap_or(Self::NONE)
    }

    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

/// What a slave's name adds to its master's: 0 to 16 characters of `A-Z a-z 0-9 - _ .`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(Short<PREFIX_LEN>);

name_type!(Prefix, PREFIX_LEN, "slave prefix");

impl Prefix {
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(is_name_byte) { Short::new(text).map(Self) } else { None }
    }

    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString as _};

    use super::*;

    #[test]
    fn group_names_are_letters_and_digits() {
        for (text, legal) in [
            ("group1", true),
            ("G", true),
            ("0123456789abcdef", true),
            ("0123456789abcdefg", false),
            ("", false),
            ("group-1", false),
            ("gr\u{fc}n", false),
        ] {
            assert_eq!(GroupName::parse(text).is_some(), legal, "{text}");
        }
    }

    #[test]
    fn a_full_field_has_no_terminator() {
        let group = GroupName::parse("0123456789abcdef").unwrap();
        let mut out = Vec::new();
        group.encode(&mut out);
        assert_eq!(out, b"0123456789abcdef");
        assert_eq!(GroupName::decode(&mut Reader::new(&out)), Ok(group));
        group.encode_terminated(&mut out);
        assert_eq!(out.len(), 16 + 17);
    }

    #[test]
    fn order_is_that_of_bytes() {
        let group = |text| GroupName::parse(text).unwrap();
        assert!(group("group10") < group("group2"));
        assert!(group("group1") < group("group10"));
    }

    #[test]
    fn storage_ids_are_numbers_or_addresses() {
        let number = |text| StorageId::parse(text).and_then(|id| id.number());
        assert_eq!(number("100001"), Some(100_001));
        assert_eq!(number("16777215"), Some(STORAGE_NUMBER_MAX));
        for text in ["16777216", "007", "0", "+1", "10.0.0.11", "x"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(StorageId::parse("1234567890123456"), None);
        assert_eq!(StorageId::from_number(0), None);
        assert_eq!(StorageId::from_number(7).map(|id| id.to_string()), Some(String::from("7")));
        assert_eq!(StorageId::from_ip("::1".parse().unwrap()), None);
        let none = StorageId::decode_optional(&mut Reader::new(&[0; 16]));
        assert_eq!(none, Ok(None));
    }

    #[test]
    fn extensions_are_taken_from_file_names() {
        for (name, extension) in [
            ("a.txt", "txt"),
            ("dir.d/photo.JPEG", "JPEG"),
            ("archive.tar.gz", "gz"),
            ("dir.d/none", ""),
            ("long.extension", ""),
            ("bad.t t", ""),
            ("dot.", ""),
        ] {
            assert_eq!(Extension::of_file(name).as_str(), extension, "{name}");
        }
        assert_eq!(Extension::parse("a/b"), None);
        assert_eq!(Prefix::parse("_100x100").map(|p| p.is_empty()), Some(false));
    }

    #[test]
    fn a_store_path_prints_as_in_names() {
        assert_eq!(StorePath(10).to_string(), "M0A");
        assert_eq!(StorePath(255).to_string(), "MFF");
    }
}
