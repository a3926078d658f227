//! Renamed storages (78). The change log itself (77) is asked for by an empty body, or by
//! [`super::sync::StorageRef`], and answered with its bytes.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::ADDRESS_LEN;
use crate::address::{decode_ip, encode_ip};
use crate::ids::GroupName;
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
