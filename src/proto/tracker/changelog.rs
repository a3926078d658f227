//! Renamed storages (78), and the lines of the change log (77), which is asked for by an empty
//! body, or by [`super::sync::StorageRef`], and answered with its bytes.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::ADDRESS_LEN;
use crate::address::{decode_ip, encode_ip};
use crate::ids::{GroupName, StorageId};
use crate::status::StorageState;
use crate::wire::{DecodeError, Reader};

/// Bytes of the change log in one answer (tracker.md 3.10.1).
pub const CHANGELOG_PIECE_MAX: usize = 8182;

/// Body of 78: a storage has got another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpChanged {
    pub group: GroupName,
    pub old: IpAddr,
    pub new: IpAddr,
}

impl IpChanged {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        const BAD: DecodeError = DecodeError::BadText("ip address");
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let old = decode_ip(&mut reader, ADDRESS_LEN)?.ok_or(BAD)?;
        let new = decode_ip(&mut reader, ADDRESS_LEN)?.ok_or(BAD)?;
        reader.finish()?;
        Ok(Self { group, old, new })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        encode_ip(Some(self.old), ADDRESS_LEN, out);
        encode_ip(Some(self.new), ADDRESS_LEN, out);
    }
}

/// What a line of the change log says of a storage (tracker.md 12.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub group: GroupName,
    pub id: StorageId,
    pub what: LogChange,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogChange {
    Deleted,
    /// It has this id now.
    Renamed(StorageId),
}

impl LogEntry {
    /// `<unix time> <group> <old id> <status> <new id>`, exactly five columns; the last one is
    /// empty if there is no new id. `None` for whatever else a line may be.
    pub fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split(' ');
        let mut next = || columns.next();
        let (at, group, id, state, new) = (next()?, next()?, next()?, next()?, next()?);
        let _: u64 = at.parse().ok()?;
        if next().is_some() {
            return None;
        }
        let what = match state.parse().ok().and_then(StorageState::from_byte)? {
            StorageState::Deleted => LogChange::Deleted,
            StorageState::IpChanged => LogChange::Renamed(StorageId::parse(new)?),
            _ => return None,
        };
        Some(Self { group: GroupName::parse(group)?, id: StorageId::parse(id)?, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_five_columns_are_read_and_others_ignored() {
        let id = |text| StorageId::parse(text).unwrap();
        let entry = |what| {
            let group = GroupName::parse("group1").unwrap();
            Some(LogEntry { group, id: id("10.0.0.11"), what })
        };
        for (line, want) in [
            ("1795385437 group1 10.0.0.11 4 ", entry(LogChange::Deleted)),
            ("1 group1 10.0.0.11 3 10.0.0.31", entry(LogChange::Renamed(id("10.0.0.31")))),
            ("1 group1 10.0.0.11 4", None),
            ("1 group1 10.0.0.11 3 ", None),
            ("1 group1 10.0.0.11 3 10.0.0.31 x", None),
            ("1 group1 10.0.0.11 7 10.0.0.31", None),
            ("x group1 10.0.0.11 4 ", None),
            ("1 gr/up 10.0.0.11 4 ", None),
            ("5437 group1 10.0", None),
            ("", None),
        ] {
            assert_eq!(LogEntry::parse(line), want, "{line:?}");
        }
    }
}
