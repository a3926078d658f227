//! Heartbeat (83), disk usage (84), and the answer that 83, 84 and 89 have in common.

use alloc::vec::Vec;

use super::{Brief, Megabytes, PATHS_MAX, Space, UnixTime, read_all};
use crate::wire::{DecodeError, Put, Reader};

/// Briefs in one answer that storages still accept: two single ones and a full group (W 8.1).
pub const BRIEFS_MAX: usize = 34;

/// How often something was tried, and how often it worked; or the bytes of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub total: i64,
    pub success: i64,
}

/// Connections of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    pub allocated: u32,
    pub current: u32,
    pub max: u32,
}

impl Connections {
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { allocated: reader.u32()?, current: reader.u32()?, max: reader.u32()? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.allocated);
        out.put_u32(self.current);
        out.put_u32(self.max);
    }
}

/// The statistics block, 348 bytes (tracker.md 3.7.2): sent with a heartbeat, and shown by
/// LIST_STORAGE. The last two fields are the tracker's own and are ignored on the way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub connections: Connections,
    pub upload: Tally,
    pub append: Tally,
    pub modify: Tally,
    pub truncate: Tally,
    pub set_metadata: Tally,
    pub delete: Tally,
    pub download: Tally,
    pub get_metadata: Tally,
    pub create_link: Tally,
    pub delete_link: Tally,
    pub upload_bytes: Tally,
    pub append_bytes: Tally,
    pub modify_bytes: Tally,
    pub download_bytes: Tally,
    pub sync_in_bytes: Tally,
    pub sync_out_bytes: Tally,
    pub file_open: Tally,
    pub file_read: Tally,
    pub file_write: Tally,
    pub last_source_update: UnixTime,
    pub last_sync_update: UnixTime,
    pub last_synced: UnixTime,
    pub last_heartbeat: UnixTime,
}

impl Statistics {
    pub const LEN: usize = 348;

    /// The tallies in the order of the wire.
    fn tallies(&self) -> [Tally; 19] {
        let Self { upload, append, modify, truncate, set_metadata, delete, .. } = *self;
        let Self { download, get_metadata, create_link, delete_link, .. } = *self;
        let Self { upload_bytes, append_bytes, modify_bytes, download_bytes, .. } = *self;
        let Self { sync_in_bytes, sync_out_bytes, file_open, file_read, file_write, .. } = *self;
        [
            upload,
            append,
            modify,
            truncate,
            set_metadata,
            delete,
            download,
            get_metadata,
            create_link,
            delete_link,
            upload_bytes,
            append_bytes,
            modify_bytes,
            download_bytes,
            sync_in_bytes,
            sync_out_bytes,
            file_open,
            file_read,
            file_write,
        ]
    }

    /// Reads the block from a record or a body.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let connections = Connections::read(reader)?;
        let mut tally = || Ok(Tally { total: reader.i64()?, success: reader.i64()? });
        // The order of the fields is the order of the wire.
        Ok(Self {
            connections,
            upload: tally()?,
            append: tally()?,
            modify: tally()?,
            truncate: tally()?,
            set_metadata: tally()?,
            delete: tally()?,
            download: tally()?,
            get_metadata: tally()?,
            create_link: tally()?,
            delete_link: tally()?,
            upload_bytes: tally()?,
            append_bytes: tally()?,
            modify_bytes: tally()?,
            download_bytes: tally()?,
            sync_in_bytes: tally()?,
            sync_out_bytes: tally()?,
            file_open: tally()?,
            file_read: tally()?,
            file_write: tally()?,
            last_source_update: UnixTime(reader.i64()?),
            last_sync_update: UnixTime(reader.i64()?),
            last_synced: UnixTime(reader.i64()?),
            last_heartbeat: UnixTime(reader.i64()?),
        })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.connections.encode(out);
        for tally in self.tallies() {
            out.put_i64(tally.total);
            out.put_i64(tally.success);
        }
        out.put_i64(self.last_source_update.0);
        out.put_i64(self.last_sync_update.0);
        out.put_i64(self.last_synced.0);
        out.put_i64(self.last_heartbeat.0);
    }
}

/// Body of 83: nothing, or the statistics if they changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    pub statistics: Option<Statistics>,
}

impl Beat {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.is_empty() {
            return Ok(Self { statistics: None });
        }
        let mut reader = Reader::new(body);
        let statistics = Statistics::read(&mut reader)?;
        reader.finish()?;
        Ok(Self { statistics: Some(statistics) })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(statistics) = &self.statistics {
            statistics.encode(out);
        }
    }
}

/// Body of 84: the space of every store path, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    pub paths: Vec<Space>,
}

impl DiskUsage {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let paths = read_all(&mut Reader::new(body), usize::from(PATHS_MAX), |reader| {
            Ok(Space { total: Megabytes(reader.i64()?), free: Megabytes(reader.i64()?) })
        })?;
        Ok(Self { paths })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        for path in &self.paths {
            out.put_i64(path.total.0);
            out.put_i64(path.free.0);
        }
    }
}

/// Answer to 83, 84 and 89: what changed since this storage was last told.
///
/// ```text
/// 0       1
/// | flags | leader | trunk server | every storage of the group, by id |
/// ```
///
/// `Some(Brief::NOBODY)` says that there is none any more; `None` that nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub leader: Option<Brief>,
    pub trunk: Option<Brief>,
    pub group: Option<Vec<Brief>>,
}

const LEADER_CHANGED: u8 = 1;
const TRUNK_CHANGED: u8 = 2;
const GROUP_CHANGED: u8 = 4;

impl Changes {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        // A body of no bytes is legal and says the same as flags of zero (wire.md 8.3).
        let flags = if body.is_empty() { 0 } else { reader.u8()? };
        let leader = (flags & LEADER_CHANGED != 0).then(|| Brief::read(&mut reader)).transpose()?;
        let trunk = (flags & TRUNK_CHANGED != 0).then(|| Brief::read(&mut reader)).transpose()?;
        let group = (flags & GROUP_CHANGED != 0)
            .then(|| read_all(&mut reader, BRIEFS_MAX, Brief::read))
            .transpose()?;
        reader.finish()?;
        Ok(Self { leader, trunk, group })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |told: bool, bit: u8| if told { bit } else { 0 };
        out.put_u8(
            flag(self.leader.is_some(), LEADER_CHANGED)
                | flag(self.trunk.is_some(), TRUNK_CHANGED)
                | flag(self.group.is_some(), GROUP_CHANGED),
        );
        let group = self.group.iter().flatten();
        for brief in self.leader.iter().chain(&self.trunk).chain(group) {
            brief.encode(out);
        }
    }
}
