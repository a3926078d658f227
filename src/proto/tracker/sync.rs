//! Who fills a new storage, and how far each has got (79, 86, 87, 88, 89).

use alloc::vec::Vec;

use super::{STORAGES_PER_GROUP_MAX, UnixTime, read_all};
use crate::ids::{GroupName, StorageId};
use crate::wire::{DecodeError, Put, Reader};

/// Records of one report: sources of two full groups, so that none is refused.
const REPORTS_MAX: usize = STORAGES_PER_GROUP_MAX * 2;

/// Who sends the old files, and up to which time they are old (wire.md 10.2).
///
/// Body of 88; answer to 79, 86 and 87, which may also be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPoint {
    /// `None` in 88: nobody is needed.
    pub source: Option<StorageId>,
    pub until: UnixTime,
}

impl SyncPoint {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let source = StorageId::decode_optional(&mut reader)?;
        let until = UnixTime(reader.i64()?);
        reader.finish()?;
        Ok(Self { source, until })
    }

    /// An answer that may be empty.
    pub fn decode_optional(body: &[u8]) -> Result<Option<Self>, DecodeError> {
        if body.is_empty() { Ok(None) } else { Self::decode(body).map(Some) }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        StorageId::encode_optional(self.source.as_ref(), out);
        out.put_i64(self.until.0);
    }
}

/// Body of 86, and of 77 on a connection that has not joined: a storage by group and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageRef {
    pub group: GroupName,
    pub id: StorageId,
}

impl StorageRef {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let id = StorageId::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { group, id })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        self.id.encode(out);
    }
}

/// One record of 89: everything of `source` up to `until` has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedUntil {
    pub source: StorageId,
    /// A time of the source's clock.
    pub until: u32,
}

/// Body of 89: at least one record of 20 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    pub records: Vec<SyncedUntil>,
}

impl SyncReport {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.is_empty() {
            return Err(DecodeError::TooShort { got: 0, min: 20 });
        }
        let records = read_all(&mut Reader::new(body), REPORTS_MAX, |reader| {
            Ok(SyncedUntil { source: StorageId::decode(reader)?, until: reader.u32()? })
        })?;
        Ok(Self { records })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        for record in &self.records {
            record.source.encode(out);
            out.put_u32(record.until);
        }
    }
}
