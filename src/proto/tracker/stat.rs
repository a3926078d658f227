//! One line per tracker, storage or group, for monitoring (96, 97, 98).

use alloc::string::String;
use alloc::vec::Vec;

use super::beat::Connections;
use super::{GROUPS_MAX, Megabytes, STORAGES_PER_GROUP_MAX, TRACKERS_MAX, UnixTime, Version};
use super::{read_all, read_state};
use crate::address::HOST_LEN;
use crate::ids::{GroupName, StorageId};
use crate::status::StorageState;
use crate::wire::{DecodeError, Put, Reader, VERSION_LEN};

/// Body of 96: which trackers are wanted; `None` is no matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerFilter {
    pub active: Option<bool>,
    pub leader: Option<bool>,
}

impl TrackerFilter {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let bits = reader.u8()?;
        let (active, leader) = (reader.bool()?, reader.bool()?);
        reader.finish()?;
        Ok(Self {
            active: (bits & 1 != 0).then_some(active),
            leader: (bits & 2 != 0).then_some(leader),
        })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.active.is_some()) | u8::from(self.leader.is_some()) << 1);
        out.put_bool(self.active.unwrap_or(false));
        out.put_bool(self.leader.unwrap_or(false));
    }
}

/// One record of the answer to 96, 90 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerStat {
    /// `ip:port`, brackets around IPv6.
    pub host: String,
    pub is_leader: bool,
    pub is_active: bool,
    pub connections: Connections,
    pub version: Version,
    pub up_time: UnixTime,
    /// 0 for the leader itself.
    pub last_heartbeat: UnixTime,
}

impl TrackerStat {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            host: reader.text(HOST_LEN, "host")?.into(),
            is_leader: reader.bool()?,
            is_active: reader.bool()?,
            connections: Connections::read(reader)?,
            version: Version::read(reader)?,
            up_time: UnixTime(reader.i64()?),
            last_heartbeat: UnixTime(reader.i64()?),
        })
    }

    /// The answer to 96: a count in one byte, then the records.
    pub fn decode_all(body: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(body);
        let count = usize::from(reader.u8()?);
        let records = read_all(&mut reader, TRACKERS_MAX, Self::read)?;
        counted(records, count)
    }

    /// The answer to 96; never more than 16 records, so the count fits its byte.
    pub fn encode_all(records: &[Self], out: &mut Vec<u8>) {
        out.put_u8(u8::try_from(records.len()).unwrap_or(u8::MAX));
        for record in records {
            out.put_text(&record.host, HOST_LEN);
            out.put_bool(record.is_leader);
            out.put_bool(record.is_active);
            record.connections.encode(out);
            out.put_text(record.version.as_str(), VERSION_LEN);
            out.put_i64(record.up_time.0);
            out.put_i64(record.last_heartbeat.0);
        }
    }
}

fn counted<T>(records: Vec<T>, count: usize) -> Result<Vec<T>, DecodeError> {
    if records.len() == count { Ok(records) } else { Err(DecodeError::BadValue("record count")) }
}

/// How a wanted storage status is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    Is(u8),
    IsNot(u8),
    /// An operator nobody knows: matches nothing.
    Nothing,
}

impl StatusFilter {
    pub fn matches(self, state: StorageState) -> bool {
        match self {
            StatusFilter::Is(wanted) => state as u8 == wanted,
            StatusFilter::IsNot(wanted) => state as u8 != wanted,
            StatusFilter::Nothing => false,
        }
    }
}

/// Body of 97: which storages are wanted; `None` is no matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageFilter {
    pub trunk: Option<bool>,
    pub status: Option<StatusFilter>,
}

impl StorageFilter {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (bits, operator, status) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let trunk = reader.bool()?;
        reader.finish()?;
        let filter = match operator {
            b'=' => StatusFilter::Is(status),
            b'!' => StatusFilter::IsNot(status),
            _ => StatusFilter::Nothing,
        };
        Ok(Self {
            trunk: (bits & 1 != 0).then_some(trunk),
            status: (bits & 2 != 0).then_some(filter),
        })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.trunk.is_some()) | u8::from(self.status.is_some()) << 1);
        let (operator, status) = match self.status {
            Some(StatusFilter::Is(status)) => (b'=', status),
            Some(StatusFilter::IsNot(status)) => (b'!', status),
            Some(StatusFilter::Nothing) | None => (0, 0),
        };
        out.put_u8(operator);
        out.put_u8(status);
        out.put_bool(self.trunk.unwrap_or(false));
    }
}

/// One record of the answer to 97, 106 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageLine {
    pub id: StorageId,
    /// `ip:port`, brackets around IPv6.
    pub host: String,
    pub is_trunk_server: bool,
    pub state: StorageState,
    pub connections: Connections,
    pub version: Version,
    pub up_time: UnixTime,
    pub last_heartbeat: UnixTime,
}

/// Answer to 97.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageLines {
    pub use_storage_id: bool,
    pub use_trunk_file: bool,
    pub lines: Vec<StorageLine>,
}

impl StorageLines {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (use_storage_id, use_trunk_file) = (reader.bool()?, reader.bool()?);
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let max = GROUPS_MAX.saturating_mul(STORAGES_PER_GROUP_MAX);
        let lines = read_all(&mut reader, max, |reader| {
            Ok(StorageLine {
                id: StorageId::decode(reader)?,
                host: reader.text(HOST_LEN, "host")?.into(),
                is_trunk_server: reader.bool()?,
                state: read_state(reader)?,
                connections: Connections::read(reader)?,
                version: Version::read(reader)?,
                up_time: UnixTime(reader.i64()?),
                last_heartbeat: UnixTime(reader.i64()?),
            })
        })?;
        Ok(Self { use_storage_id, use_trunk_file, lines: counted(lines, count)? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_bool(self.use_storage_id);
        out.put_bool(self.use_trunk_file);
        out.put_u32(u32::try_from(self.lines.len()).unwrap_or(u32::MAX));
        for line in &self.lines {
            line.id.encode(out);
            out.put_text(&line.host, HOST_LEN);
            out.put_bool(line.is_trunk_server);
            out.put_u8(line.state as u8);
            line.connections.encode(out);
            out.put_text(line.version.as_str(), VERSION_LEN);
            out.put_i64(line.up_time.0);
            out.put_i64(line.last_heartbeat.0);
        }
    }
}

/// Body of 98: which groups are wanted; `None` is no matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeFilter {
    pub disk: Option<bool>,
    pub trunk: Option<bool>,
    pub space: Option<bool>,
}

impl VolumeFilter {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let bits = reader.u8()?;
        let (disk, trunk, space) = (reader.bool()?, reader.bool()?, reader.bool()?);
        reader.finish()?;
        Ok(Self {
            disk: (bits & 1 != 0).then_some(disk),
            trunk: (bits & 2 != 0).then_some(trunk),
            space: (bits & 4 != 0).then_some(space),
        })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let wanted = [self.disk, self.trunk, self.space];
        let bits = wanted.iter().zip([1, 2, 4]);
        out.put_u8(bits.map(|(wanted, bit)| if wanted.is_some() { bit } else { 0 }).sum());
        for wanted in wanted {
            out.put_bool(wanted.unwrap_or(false));
        }
    }
}

/// One record of the answer to 98, 59 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub group: GroupName,
    pub total: Megabytes,
    pub free: Megabytes,
    pub reserved: Megabytes,
    /// What uploads may still fill.
    pub available: Megabytes,
    pub trunk_free: Megabytes,
    pub disk_available: bool,
    pub trunk_available: bool,
}

/// Answer to 98.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volumes {
    pub use_trunk_file: bool,
    pub volumes: Vec<Volume>,
}

impl Volumes {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let use_trunk_file = reader.bool()?;
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let volumes = read_all(&mut reader, GROUPS_MAX, |reader| {
            Ok(Volume {
                group: GroupName::decode_terminated(reader)?,
                total: Megabytes(reader.i64()?),
                free: Megabytes(reader.i64()?),
                reserved: Megabytes(reader.i64()?),
                available: Megabytes(reader.i64()?),
                trunk_free: Megabytes(reader.i64()?),
                disk_available: reader.bool()?,
                trunk_available: reader.bool()?,
            })
        })?;
        Ok(Self { use_trunk_file, volumes: counted(volumes, count)? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_bool(self.use_trunk_file);
        out.put_u32(u32::try_from(self.volumes.len()).unwrap_or(u32::MAX));
        for v in &self.volumes {
            v.group.encode_terminated(out);
            for space in [v.total, v.free, v.reserved, v.available, v.trunk_free] {
                out.put_i64(space.0);
            }
            out.put_bool(v.disk_available);
            out.put_bool(v.trunk_available);
        }
    }
}
