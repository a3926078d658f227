//! Groups and storages as administrators see them (90, 91, 92).

use alloc::vec::Vec;
use core::net::IpAddr;

use super::beat::Statistics;
use super::{
    GROUPS_MAX, Megabytes, STORAGES_PER_GROUP_MAX, UnixTime, Version, read_all, read_id_text,
    read_port64, read_state,
};
use crate::address::{IpWidth, decode_ip, encode_ip};
use crate::ids::{GroupName, StorageId};
use crate::status::{RwMode, StorageState};
use crate::wire::{DecodeError, Put, Reader, VERSION_LEN};

/// The port of a group's storages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupPort {
    /// No storage has joined: 0 on the wire.
    #[default]
    Unknown,
    /// They differ: −1 on the wire.
    Mixed,
    One(u16),
}

impl GroupPort {
    /// The number of the wire and of the state file.
    pub fn number(self) -> i64 {
        match self {
            GroupPort::Unknown => 0,
            GroupPort::Mixed => -1,
            GroupPort::One(port) => i64::from(port),
        }
    }

    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(GroupPort::Unknown),
            -1 => Some(GroupPort::Mixed),
            _ => u16::try_from(number).ok().map(GroupPort::One),
        }
    }
}

/// Group statistics, 113 bytes (tracker.md 3.3.1): the answer to 90; 91 answers with one for
/// each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStat {
    pub group: GroupName,
    pub total: Megabytes,
    pub free: Megabytes,
    pub reserved: Megabytes,
    pub trunk_free: Megabytes,
    /// Deleted ones included.
    pub storages: i64,
    pub port: GroupPort,
    pub readable: i64,
    pub writable: i64,
    /// Index of the next server for an upload.
    pub write_cursor: i64,
    pub path_count: i64,
    pub subdir_count: i64,
    /// −1 when trunk files are off.
    pub trunk_file_id: i64,
}

impl GroupStat {
    pub const LEN: usize = 113;

    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let group = GroupName::decode_terminated(reader)?;
        let total = Megabytes(reader.i64()?);
        let free = Megabytes(reader.i64()?);
        let reserved = Megabytes(reader.i64()?);
        let trunk_free = Megabytes(reader.i64()?);
        let storages = reader.i64()?;
        let port = GroupPort::from_number(reader.i64()?).ok_or(DecodeError::BadValue("port"))?;
        Ok(Self {
            group,
            total,
            free,
            reserved,
            trunk_free,
            storages,
            port,
            readable: reader.i64()?,
            writable: reader.i64()?,
            write_cursor: reader.i64()?,
            path_count: reader.i64()?,
            subdir_count: reader.i64()?,
            trunk_file_id: reader.i64()?,
        })
    }

    /// The answer to 91, or to 90 with its single record.
    pub fn decode_all(body: &[u8]) -> Result<Vec<Self>, DecodeError> {
        read_all(&mut Reader::new(body), GROUPS_MAX, Self::read)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode_terminated(out);
        for space in [self.total, self.free, self.reserved, self.trunk_free] {
            out.put_i64(space.0);
        }
        out.put_i64(self.storages);
        out.put_i64(self.port.number());
        out.put_i64(self.readable);
        out.put_i64(self.writable);
        out.put_i64(self.write_cursor);
        out.put_i64(self.path_count);
        out.put_i64(self.subdir_count);
        out.put_i64(self.trunk_file_id);
    }
}

/// Body of 92 and 94: a group, and one of its storages or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListStorage {
    pub group: GroupName,
    pub id: Option<StorageId>,
}

impl ListStorage {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let some = 0 < reader.remaining();
        let id = some.then(|| read_id_text(&mut reader)).transpose()?;
        Ok(Self { group, id })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        if let Some(id) = &self.id {
            out.put(id.as_str().as_bytes());
        }
    }
}

/// Storage statistics, 487 or 517 bytes (tracker.md 3.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageStat {
    pub state: StorageState,
    pub mode: RwMode,
    pub id: StorageId,
    /// The one the asking peer should use.
    pub address: IpAddr,
    pub source: Option<StorageId>,
    pub version: Version,
    pub join_time: UnixTime,
    /// 0 while disconnected.
    pub up_time: UnixTime,
    pub total: Megabytes,
    pub free: Megabytes,
    pub reserved: Megabytes,
    pub upload_priority: i64,
    pub path_count: i64,
    pub subdir_count: i64,
    pub write_path: i64,
    /// 0 until the storage has joined.
    pub port: u16,
    pub statistics: Statistics,
    pub is_trunk_server: bool,
}

impl StorageStat {
    /// Bytes of one record.
    pub const fn len(width: IpWidth) -> usize {
        match width {
            IpWidth::V4 => 487,
            IpWidth::V6 => 517,
        }
    }

    fn read(reader: &mut Reader<'_>, width: IpWidth) -> Result<Self, DecodeError> {
        let state = read_state(reader)?;
        let mode = RwMode::from_byte(reader.u8()?).ok_or(DecodeError::BadValue("mode"))?;
        let id = StorageId::decode(reader)?;
        let address = decode_ip(reader, width.with_terminator())?;
        Ok(Self {
            state,
            mode,
            id,
            address: address.ok_or(DecodeError::BadText("ip address"))?,
            source: StorageId::decode_optional(reader)?,
            version: Version::read(reader)?,
            join_time: UnixTime(reader.i64()?),
            up_time: UnixTime(reader.i64()?),
            total: Megabytes(reader.i64()?),
            free: Megabytes(reader.i64()?),
            reserved: Megabytes(reader.i64()?),
            upload_priority: reader.i64()?,
            path_count: reader.i64()?,
            subdir_count: reader.i64()?,
            write_path: reader.i64()?,
            port: read_port64(reader)?,
            statistics: Statistics::read(reader)?,
            is_trunk_server: reader.bool()?,
        })
    }

    /// The answer to 92; the width of the addresses follows from the length, IPv4 first.
    pub fn decode_all(body: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let width = [IpWidth::V4, IpWidth::V6]
            .into_iter()
            .find(|width| body.len().checked_rem(Self::len(*width)) == Some(0))
            .ok_or(DecodeError::BadValue("length of the storage list"))?;
        read_all(&mut Reader::new(body), STORAGES_PER_GROUP_MAX, |r| Self::read(r, width))
    }

    pub fn encode(&self, width: IpWidth, out: &mut Vec<u8>) {
        out.put_u8(self.state as u8);
        out.put_u8(self.mode as u8);
        self.id.encode(out);
        encode_ip(Some(self.address), width.with_terminator(), out);
        StorageId::encode_optional(self.source.as_ref(), out);
        out.put_text(self.version.as_str(), VERSION_LEN);
        out.put_i64(self.join_time.0);
        out.put_i64(self.up_time.0);
        for space in [self.total, self.free, self.reserved] {
            out.put_i64(space.0);
        }
        out.put_i64(self.upload_priority);
        out.put_i64(self.path_count);
        out.put_i64(self.subdir_count);
        out.put_i64(self.write_path);
        out.put_u64(u64::from(self.port));
        self.statistics.encode(out);
        out.put_bool(self.is_trunk_server);
    }
}
