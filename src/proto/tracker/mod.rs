//! Bodies of tracker messages, one file per family; here is what several families share.
//!
//! Each family has the request and the answer, both with `decode` and `encode`: the daemon uses
//! one half, `net::client`, the storage's reports and the tools the other. Nothing here decides
//! anything: which storage is told, or refused, is `tracker::cluster`.

pub mod query; // start here: where to store, where to fetch (101-107)

pub mod join; // a storage introduces itself (81)

pub mod beat; // heartbeat, disk usage and what every report is answered (83, 84, 89)

pub mod list; // groups and storages as administrators see them (90-92)

pub mod bootstrap; // what a storage asks before it joins (60, 69, 70, 71, 109)

pub mod sync; // who fills whom, and how far (79, 86-89)

pub mod status; // states reported about storages (59, 76, 85)

pub mod changelog; // renamed and removed storages (77, 78)

pub mod stat; // one line per server, for monitoring (96-98)

pub mod admin; // removing storages and groups (93, 94, 108)

pub mod leader; // what trackers ask each other (58, 63-67)

#[cfg(test)]
mod golden;

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::address::{IpWidth, decode_ip, encode_ip};
use crate::ids::StorageId;
use crate::status::StorageState;
use crate::wire::{DecodeError, Put, Reader, VERSION_LEN};

/// Storages of one group: the arrays of every client and storage are this long (wire.md 8.1).
pub const STORAGES_PER_GROUP_MAX: usize = 32;
/// Groups of one cluster (wire.md 8.1).
pub const GROUPS_MAX: usize = 512;
/// Trackers of one cluster (wire.md 8.1).
pub const TRACKERS_MAX: usize = 16;
/// Store paths of one storage, and sub-directories of one level (wire.md 8.1).
pub const PATHS_MAX: u16 = 256;
/// Width of an address field in the widest records (wire.md 4.1).
pub const ADDRESS_LEN: usize = IpWidth::V6.with_terminator();

/// Seconds since 1970, as every message carries time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// Seconds from `earlier` to this; negative if the clock went back.
    pub fn since(self, earlier: UnixTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Space in units of 2^20 bytes, as every report carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Megabytes(pub i64);

/// Space of a store path, a storage or a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub total: Megabytes,
    pub free: Megabytes,
}

/// A version such as `6.16.1`: at most eight printable characters.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Version([u8; VERSION_LEN]);

impl Version {
    /// Cuts what does not fit; `None` if `text` is not printable ASCII.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut bytes = [0; VERSION_LEN];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        Some(Self(bytes))
    }

    pub fn as_str(&self) -> &str {
        let text = core::str::from_utf8(&self.0).unwrap_or_default();
        text.trim_end_matches('\0')
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let text = reader.text(VERSION_LEN, "version")?;
        Self::parse(text).ok_or(DecodeError::BadText("version"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one server tells another about a storage, or about the leading tracker (wire.md 10.1).
///
/// ```text
/// 0        1      5             21            67
/// | status | port | storage id  | address     |
/// ```
///
/// All zero where there is nobody to tell about: then id and address are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    pub state: StorageState,
    /// Often 0: the senders of REPORT_STATUS do not know it.
    pub port: u16,
    pub id: Option<StorageId>,
    pub address: Option<IpAddr>,
}

impl Brief {
    pub const LEN: usize = 67;
    /// The brief about nobody.
    pub const NOBODY: Self = Self { state: StorageState::Init, port: 0, id: None, address: None };

    /// Reads one record from a body of several.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let state = read_state(reader)?;
        let port = u16::try_from(reader.u32()?).map_err(|_| DecodeError::BadValue("port"))?;
        let id = StorageId::decode_optional(reader)?;
        let address = decode_ip(reader, ADDRESS_LEN)?;
        Ok(Self { state, port, id, address })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.state as u8);
        out.put_u32(u32::from(self.port));
        StorageId::encode_optional(self.id.as_ref(), out);
        encode_ip(self.address, ADDRESS_LEN, out);
    }
}

pub(crate) fn read_state(reader: &mut Reader<'_>) -> Result<StorageState, DecodeError> {
    StorageState::from_byte(reader.u8()?).ok_or(DecodeError::BadValue("storage status"))
}

/// A storage id at the end of a body, 1 to 15 bytes without padding.
pub(crate) fn read_id_text(reader: &mut Reader<'_>) -> Result<StorageId, DecodeError> {
    let text = reader.rest_text("storage id")?;
    StorageId::parse(text).ok_or(DecodeError::BadText("storage id"))
}

/// A port in eight bytes.
pub(crate) fn read_port64(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    u16::try_from(reader.low32()?).map_err(|_| DecodeError::BadValue("port"))
}

/// Reads records of equal length until the body ends; a part of a record is an error.
pub(crate) fn read_all<T>(
    reader: &mut Reader<'_>,
    max: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut records = Vec::new();
    while 0 < reader.remaining() {
        if max <= records.len() {
            return Err(DecodeError::TooLong { got: records.len().saturating_add(1), max });
        }
        records.push(read(reader)?);
    }
    Ok(records)
}
