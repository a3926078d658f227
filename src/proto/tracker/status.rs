//! States reported about storages (59, 76, 85).

use alloc::vec::Vec;

use super::{Brief, STORAGES_PER_GROUP_MAX, read_all, read_state};
use crate::ids::GroupName;
use crate::status::StorageState;
use crate::wire::{DecodeError, Put, Reader};

/// Body of 59: the new state of the storage that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeStatus {
    pub state: StorageState,
}

impl ChangeStatus {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let state = read_state(&mut reader)?;
        reader.finish()?;
        Ok(Self { state })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.state as u8);
    }
}

/// Body of 76: the state of some storage, seen by another one or by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportStatus {
    pub group: GroupName,
    pub brief: Brief,
}

impl ReportStatus {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let brief = Brief::read(&mut reader)?;
        reader.finish()?;
        Ok(Self { group, brief })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        self.brief.encode(out);
    }
}

/// Body of 85: what a storage knows better than the list it was sent, 1 to 32 briefs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaChange {
    pub briefs: Vec<Brief>,
}

impl ReplicaChange {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.is_empty() {
            return Err(DecodeError::TooShort { got: 0, min: Brief::LEN });
        }
        let briefs = read_all(&mut Reader::new(body), STORAGES_PER_GROUP_MAX, Brief::read)?;
        Ok(Self { briefs })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        for brief in &self.briefs {
            brief.encode(out);
        }
    }
}
