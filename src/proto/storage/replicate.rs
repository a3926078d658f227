//! What storages send each other to stay equal: 9, 16 to 19, 25, 35, 37, 40 (sync.md 6).
//!
//! Each request carries the time of the record that it replays and the group. Answers are
//! empty. Content is not coded here; where there is any, the body is a head of fixed fields and
//! a name, and the content behind it.

use alloc::vec::Vec;

use super::{NAME_MAX, name_text};
use crate::ids::{GroupName, StorageId};
use crate::wire::{DecodeError, Put, Reader, printable};

/// Body of 9: who sends on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportId {
    pub id: StorageId,
}

impl ReportId {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let id = StorageId::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { id })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
    }
}

/// Head of 16 and 18: a whole file.
///
/// ```text
/// 0             8      16     20      36
/// | name length | size | time | group | name | content
/// ```
///
/// With a status other than zero in the header nothing follows the name, and `size` is what the
/// sender has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncFile<'a> {
    pub size: u64,
    pub at: u32,
    pub group: GroupName,
    pub name: &'a str,
}

impl<'a> SyncFile<'a> {
    pub const FIXED_LEN: usize = 36;

    /// Length of the head, from its fixed part.
    pub fn head_len(fixed: &[u8]) -> Result<usize, DecodeError> {
        super::head_len(fixed, Self::FIXED_LEN, 0)
    }

    /// `content` is whether content follows; `body_len` is the length of the whole body.
    pub fn decode(head: &'a [u8], body_len: u64, content: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        let name_len = reader.size()?;
        let size = reader.size()?;
        let at = reader.u32()?;
        let group = GroupName::decode(&mut reader)?;
        let name = name_text(&mut reader)?;
        let follows = if content { size } else { 0 };
        super::lengths_agree(name_len, name, Self::FIXED_LEN, follows, body_len)?;
        Ok(Self { size, at, group, name })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.name.len());
        out.put_u64(self.size);
        out.put_u32(self.at);
        self.group.encode(out);
        out.put(self.name.as_bytes());
    }
}

/// Head of 25 and 35: a part of a file; `len` bytes follow.
///
/// ```text
/// 0             8        16    24     28      44
/// | name length | offset | len | time | group | name | content
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPart<'a> {
    pub offset: u64,
    pub len: u64,
    pub at: u32,
    pub group: GroupName,
    pub name: &'a str,
}

impl<'a> SyncPart<'a> {
    pub const FIXED_LEN: usize = 44;

    /// Length of the head, from its fixed part.
    pub fn head_len(fixed: &[u8]) -> Result<usize, DecodeError> {
        super::head_len(fixed, Self::FIXED_LEN, 0)
    }

    pub fn decode(head: &'a [u8], body_len: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        let name_len = reader.size()?;
        let (offset, len) = (reader.size()?, reader.size()?);
        let at = reader.u32()?;
        let group = GroupName::decode(&mut reader)?;
        let name = name_text(&mut reader)?;
        super::lengths_agree(name_len, name, Self::FIXED_LEN, len, body_len)?;
        Ok(Self { offset, len, at, group, name })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.name.len());
        out.put_u64(self.offset);
        out.put_u64(self.len);
        out.put_u32(self.at);
        self.group.encode(out);
        out.put(self.name.as_bytes());
    }
}

/// Body of 37: the length that a file gets. Laid out as [`SyncPart`], without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncTruncate<'a> {
    pub old: u64,
    pub new: u64,
    pub at: u32,
    pub group: GroupName,
    pub name: &'a str,
}

impl<'a> SyncTruncate<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let name_len = reader.size()?;
        let (old, new) = (reader.size()?, reader.size()?);
        let at = reader.u32()?;
        let group = GroupName::decode(&mut reader)?;
        let name = name_text(&mut reader)?;
        let body_len = u64::try_from(body.len()).unwrap_or(u64::MAX);
        super::lengths_agree(name_len, name, SyncPart::FIXED_LEN, 0, body_len)?;
        Ok(Self { old, new, at, group, name })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { old, new, at, group, name } = *self;
        SyncPart { offset: old, len: new, at, group, name }.encode(out);
    }
}

/// Body of 17: a name that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncDelete<'a> {
    pub at: u32,
    pub group: GroupName,
    pub name: &'a str,
}

impl<'a> SyncDelete<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let at = reader.u32()?;
        let group = GroupName::decode(&mut reader)?;
        Ok(Self { at, group, name: name_text(&mut reader)? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.at);
        self.group.encode(out);
        out.put(self.name.as_bytes());
    }
}

/// Body of 19 and 40: a new name and what it leads to, or was called before.
///
/// ```text
/// 0            8            16     20      36
/// | new length | old length | time | group | new name | old name
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncNames<'a> {
    pub at: u32,
    pub group: GroupName,
    /// The link (19), or the name after the renaming (40).
    pub new: &'a str,
    /// The linked file (19), or the name before (40).
    pub old: &'a str,
}

impl<'a> SyncNames<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut length = || -> Result<usize, DecodeError> {
            let length = usize::try_from(reader.size()?).unwrap_or(usize::MAX);
            let legal = 0 < length && length < NAME_MAX;
            if legal { Ok(length) } else { Err(DecodeError::BadValue("name length")) }
        };
        let (new_len, old_len) = (length()?, length()?);
        let at = reader.u32()?;
        let group = GroupName::decode(&mut reader)?;
        let new = printable(reader.take(new_len)?, "file name")?;
        let old = printable(reader.take(old_len)?, "file name")?;
        reader.finish()?;
        Ok(Self { at, group, new, old })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.new.len());
        out.put_len(self.old.len());
        out.put_u32(self.at);
        self.group.encode(out);
        out.put(self.new.as_bytes());
        out.put(self.old.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::between_storages;
    use super::*;

    #[test]
    fn bytes_are_those_of_the_reference() {
        let mut seen = alloc::collections::BTreeMap::<u8, usize>::new();
        for (header, body) in between_storages() {
            *seen.entry(header.cmd).or_default() += 1;
            let mut out = Vec::new();
            let head = match header.cmd {
                9 => {
                    ReportId::decode(&body).unwrap().encode(&mut out);
                    body.len()
                }
                16 | 18 => {
                    let len = SyncFile::head_len(&body).unwrap();
                    let file = SyncFile::decode(&body[..len], header.body_len, true).unwrap();
                    file.encode(&mut out);
                    len
                }
                17 => {
                    SyncDelete::decode(&body).unwrap().encode(&mut out);
                    body.len()
                }
                25 | 35 => {
                    let len = SyncPart::head_len(&body).unwrap();
                    SyncPart::decode(&body[..len], header.body_len).unwrap().encode(&mut out);
                    len
                }
                37 => {
                    SyncTruncate::decode(&body).unwrap().encode(&mut out);
                    body.len()
                }
                40 => {
                    SyncNames::decode(&body).unwrap().encode(&mut out);
                    body.len()
                }
                other => panic!("command {other} was recorded"),
            };
            // The reference leaves behind the end of the group what was in its memory.
            let group = out.windows(6).position(|bytes| bytes == b"group1");
            let stray = group.map_or(0..0, |at| at + 6..at + 16);
            let mut theirs = body[..head].to_vec();
            theirs[stray].fill(0);
            assert_eq!(out, theirs, "command {}", header.cmd);
        }
        let commands: Vec<u8> = seen.into_keys().collect();
        assert_eq!(commands, [9, 16, 17, 18, 25, 35, 37, 40]);
    }

    #[test]
    fn every_truncation_is_refused() {
        for (header, body) in between_storages() {
            for cut in 0..body.len() {
                let part = &body[..cut];
                let whole = match header.cmd {
                    9 => ReportId::decode(part).is_ok(),
                    37 => SyncTruncate::decode(part).is_ok(),
                    40 => SyncNames::decode(part).is_ok(),
                    16 | 18 => SyncFile::decode(part, cut as u64, true).is_ok(),
                    25 | 35 => SyncPart::decode(part, cut as u64).is_ok(),
                    _ => false, // the name of 17 ends where the body does
                };
                assert!(!whole, "command {} cut at {cut}", header.cmd);
            }
        }
    }

    #[test]
    fn a_request_without_content_ends_with_its_name() {
        let group = GroupName::parse("group1").unwrap();
        let name = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
        let file = SyncFile { size: 1 << 40, at: 7, group, name };
        let mut body = Vec::new();
        file.encode(&mut body);
        assert_eq!(SyncFile::decode(&body, body.len() as u64, false), Ok(file));
        assert!(SyncFile::decode(&body, body.len() as u64, true).is_err());
        assert!(SyncFile::decode(&body, body.len() as u64 + 1, false).is_err());
    }
}
