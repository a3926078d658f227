//! What trackers, and storages looking for the leading tracker, ask (61, 63, 64).

use alloc::vec::Vec;

use crate::wire::{DecodeError, Put, Reader};

/// Answer to 64, 17 bytes. The leader byte comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerStatus {
    pub is_leader: bool,
    /// Seconds since the start, rounded down to a multiple of 300.
    pub running_secs: i64,
    /// Seconds the tracker was down before its start, rounded down likewise; 0 if unknown.
    pub restart_secs: i64,
}

impl TrackerStatus {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let status = Self {
            is_leader: reader.bool()?,
            running_secs: reader.i64()?,
            restart_secs: reader.i64()?,
        };
        reader.finish()?;
        Ok(status)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_bool(self.is_leader);
        out.put_i64(self.running_secs);
        out.put_i64(self.restart_secs);
    }
}

/// Bytes of one piece of a state file: the buffers of peers hold 8192 with its length.
pub const SYS_FILE_PIECE_MAX: usize = 8173;

/// Body of 63: a piece of one of the four state files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysFilePiece {
    /// 0 groups, 1 storages, 2 sync timestamps, 3 change log.
    pub index: u8,
    pub offset: u64,
}

impl SysFilePiece {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (index, offset) = (reader.u8()?, reader.size()?);
        reader.finish()?;
        Ok(Self { index, offset })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.index);
        out.put_u64(self.offset);
    }
}
