//! Removing a storage (93); a group is removed by [`super::query::GroupQuery`] (108), and a
//! trunk server is named by [`super::list::ListStorage`] (94).

use alloc::vec::Vec;

use super::read_id_text;
use crate::ids::{GroupName, StorageId};
use crate::wire::{DecodeError, Put, Reader};

/// Body of 93.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteStorage {
    pub group: GroupName,
    pub id: StorageId,
}

impl DeleteStorage {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let id = read_id_text(&mut reader)?;
        Ok(Self { group, id })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        out.put(self.id.as_str().as_bytes());
    }
}
