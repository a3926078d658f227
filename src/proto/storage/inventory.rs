//! What a storage holds, in pieces: 120, a command of ours. Storages of the reference refuse it
//! with EINVAL, as any number that they do not know.
//!
//! First a digest of each directory, so that equal ones cost nothing; then the entries of those
//! that differ, page by page. Asked by `fdfs resync`; changes nothing.

use alloc::{string::String, vec::Vec};

use super::NAME_MAX;
use crate::ids::{GroupName, StorePath};
use crate::sums::Seed;
use crate::wire::{DecodeError, Put, Reader, printable};

/// What of a store path is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The digests of all directories below the one on the upper level.
    Digests { high: u8 },
    /// The entries of one directory whose names come after this one.
    Entries { high: u8, low: u8, after: &'a str },
}

/// Body of 120.
///
/// ```text
/// 0       16           17     18     19    20
/// | group | store path | what | high | low | a name, to the end |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inventory<'a> {
    pub group: GroupName,
    pub path: StorePath,
    pub part: Part<'a>,
}

impl<'a> Inventory<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let path = StorePath(reader.u8()?);
        let (what, high, low) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let after = reader.rest();
        if NAME_MAX <= after.len() {
            return Err(DecodeError::BadValue("name length"));
        }
        let after = printable(after, "file name")?;
        let part = match what {
            0 if after.is_empty() && low == 0 => Part::Digests { high },
            1 => Part::Entries { high, low, after },
            _ => return Err(DecodeError::BadValue("part of the inventory")),
        };
        Ok(Self { group, path, part })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        out.put_u8(self.path.0);
        match self.part {
            Part::Digests { high } => out.put(&[0, high, 0]),
            Part::Entries { high, low, after } => {
                out.put(&[1, high, low]);
                out.put(after.as_bytes());
            }
        }
    }
}

/// What one directory holds, in short.
///
/// ```text
/// 0       8        16
/// | files | digest |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub files: u64,
    /// The sum of what [`Entry::digest`] gives for its files.
    pub sum: u64,
}

impl Digest {
    /// Takes an entry into account, in whatever order they come.
    pub fn add(&mut self, entry: &Entry) {
        if entry.kind != EntryKind::Deleted {
            self.files = self.files.saturating_add(1);
            self.sum = self.sum.wrapping_add(entry.digest());
        }
    }

    /// The answer: one for each lower directory, in their order.
    pub fn decode_all(body: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(body);
        let mut all = Vec::new();
        while reader.remaining() != 0 {
            all.push(Self { files: reader.u64()?, sum: reader.u64()? });
        }
        Ok(all)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.files);
        out.put_u64(self.sum);
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Plain,
    Link,
    /// It was deleted here: it is not to come back.
    Deleted,
}

/// One name of a directory.
///
/// ```text
/// 0      1      9          17     25            26
/// | kind | time | length   | root | name length | name |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    /// Of the last change, or of the deletion; Unix seconds.
    pub at: i64,
    pub len: u64,
    /// The root of its sums where a file may change; zero where it is not known.
    pub root: u64,
    /// Without directories.
    pub name: String,
}

impl Entry {
    /// Bytes besides the name.
    pub const FIXED_LEN: usize = 26;

    /// A number that two entries of the same content have in common. The time is left out: it
    /// says nothing about bytes.
    pub fn digest(&self) -> u64 {
        let seed = Seed::of(&self.name);
        seed.entry(self.len, self.root)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = match reader.u8()? {
            1 => EntryKind::Plain,
            2 => EntryKind::Link,
            3 => EntryKind::Deleted,
            _ => return Err(DecodeError::BadValue("kind of an entry")),
        };
        let (at, len, root) = (reader.i64()?, reader.u64()?, reader.u64()?);
        let name_len = usize::from(reader.u8()?);
        let name = printable(reader.take(name_len)?, "file name")?.into();
        Ok(Self { kind, at, len, root, name })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(match self.kind {
            EntryKind::Plain => 1,
            EntryKind::Link => 2,
            EntryKind::Deleted => 3,
        });
        out.put_i64(self.at);
        out.put_u64(self.len);
        out.put_u64(self.root);
        // Names are shorter than 128 bytes.
        out.put_u8(u8::try_from(self.name.len()).unwrap_or(u8::MAX));
        out.put(self.name.as_bytes());
    }
}

/// A page of entries, in the order of their names; of one name the file comes before the
/// deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Whether there are more behind the last name.
    pub more: bool,
    pub all: Vec<Entry>,
}

impl Entries {
    /// Bytes of a page at most.
    pub const LEN_MAX: usize = 64 * 1024;

    /// As many of `all` as fit into a page. Entries of one name are not torn apart.
    pub fn page(all: Vec<Entry>) -> Self {
        let mut len = 1usize;
        let mut page = Self::default();
        for entry in all {
            let again = page.all.last().is_some_and(|last: &Entry| last.name == entry.name);
            len = len.saturating_add(Entry::FIXED_LEN).saturating_add(entry.name.len());
            if Self::LEN_MAX.saturating_sub(NAME_MAX.saturating_mul(2)) < len && !again {
                page.more = true;
                break;
            }
            page.all.push(entry);
        }
        page
    }

    /// The name behind which the page after this one begins, if there is one. `after` is the one
    /// behind which this page begins.
    ///
    /// # Errors
    ///
    /// There are more, and the page leads no further: whoever went on would ask for ever.
    pub fn next(&self, after: &str) -> Result<Option<String>, DecodeError> {
        match self.all.last() {
            _ if !self.more => Ok(None),
            Some(last) if after < last.name.as_str() => Ok(Some(last.name.clone())),
            _ => Err(DecodeError::BadValue("the last name of a page")),
        }
    }

    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let more = reader.bool()?;
        let mut all = Vec::new();
        while reader.remaining() != 0 {
            all.push(Entry::read(&mut reader)?);
        }
        Ok(Self { more, all })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_bool(self.more);
        for entry in &self.all {
            entry.encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn entry(kind: EntryKind, name: &str) -> Entry {
        Entry { kind, at: 7, len: 1 << 33, root: 9, name: name.into() }
    }

    #[test]
    fn requests_are_read_as_they_are_written() {
        let group = GroupName::parse("group1").unwrap();
        for part in [
            Part::Digests { high: 7 },
            Part::Entries { high: 1, low: 255, after: "" },
            Part::Entries { high: 0, low: 0, after: "oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log-m" },
        ] {
            let request = Inventory { group, path: StorePath(3), part };
            let mut body = Vec::new();
            request.encode(&mut body);
            assert_eq!(Inventory::decode(&body), Ok(request));
            for cut in 0..20 {
                assert!(Inventory::decode(&body[..cut.min(body.len() - 1)]).is_err(), "{cut}");
            }
        }
        let mut body = b"group1\0\0\0\0\0\0\0\0\0\0\x00\x02\x00\x00".to_vec();
        assert!(Inventory::decode(&body).is_err(), "no such part");
        body[17] = 1;
        body.extend([b'a'; NAME_MAX]);
        assert!(Inventory::decode(&body).is_err(), "a name too long");
    }

    #[test]
    fn answers_are_read_as_they_are_written() {
        use EntryKind::{Deleted, Link, Plain};
        let all = [entry(Plain, "a"), entry(Deleted, "a"), entry(Link, "b")].to_vec();
        let entries = Entries { more: true, all };
        let mut body = Vec::new();
        entries.encode(&mut body);
        assert_eq!(Entries::decode(&body), Ok(entries));
        for cut in 2..body.len() {
            let whole = (1..3).any(|n| cut == 1 + n * 27);
            assert_eq!(Entries::decode(&body[..cut]).is_ok(), whole, "{cut}");
        }
        let digests = [Digest { files: 1, sum: 2 }, Digest { files: u64::MAX, sum: 0 }];
        let mut body = Vec::new();
        digests.iter().for_each(|digest| digest.encode(&mut body));
        assert_eq!(Digest::decode_all(&body).unwrap(), digests);
        assert!(Digest::decode_all(&body[1..]).is_err());
    }

    #[test]
    fn a_page_holds_whole_names_and_says_that_there_are_more() {
        let names = (0..2000).map(|n| format!("{n:060}"));
        let all: Vec<Entry> = names
            .flat_map(|name| [EntryKind::Plain, EntryKind::Deleted].map(|kind| entry(kind, &name)))
            .collect();
        let page = Entries::page(all.clone());
        assert!(page.more && page.all.len().is_multiple_of(2) && !page.all.is_empty());
        let mut body = Vec::new();
        page.encode(&mut body);
        assert!(body.len() <= Entries::LEN_MAX);
        assert!(!Entries::page(all[..10].to_vec()).more);
    }

    #[test]
    fn a_page_with_more_behind_it_leads_further() {
        let page = |more, names: &[&str]| {
            let all = names.iter().map(|name| entry(EntryKind::Plain, name)).collect();
            Entries { more, all }
        };
        assert_eq!(page(true, &["a", "c"]).next("b"), Ok(Some("c".into())));
        assert_eq!(page(false, &["a", "c"]).next("b"), Ok(None));
        assert_eq!(page(false, &[]).next(""), Ok(None));
        for (names, after) in [(&["a", "b"][..], "b"), (&["a"], "b"), (&[], "")] {
            assert!(page(true, names).next(after).is_err(), "{names:?} behind {after}");
        }
    }

    #[test]
    fn a_digest_depends_on_every_file_and_on_no_order() {
        let (a, b) = (entry(EntryKind::Plain, "a"), entry(EntryKind::Plain, "b"));
        let of = |all: &[&Entry]| {
            let mut digest = Digest::default();
            all.iter().for_each(|entry| digest.add(entry));
            digest
        };
        assert_eq!(of(&[&a, &b]), of(&[&b, &a]));
        assert_eq!(of(&[&a, &entry(EntryKind::Deleted, "b")]), of(&[&a]));
        for other in [
            Entry { len: 5, ..b.clone() },
            Entry { root: 5, ..b.clone() },
            Entry { name: "c".into(), ..b.clone() },
        ] {
            assert_ne!(of(&[&a, &b]), of(&[&a, &other]));
        }
    }
}
