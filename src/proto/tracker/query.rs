//! Where to store a file (101, 104, 106, 107) and where to fetch or change it (102, 103, 105).
//!
//! The answers to "one server" and "all servers" have one layout, so one type serves both. The
//! class of the addresses is not announced: readers infer it from the length (wire.md 4.2).

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{read_all, read_port64};
use crate::address::{IpWidth, decode_ip, encode_ip};
use crate::ids::{GroupName, StorePath};
use crate::wire::{DecodeError, GROUP_LEN, Put, Reader};

/// Servers in one answer: twice what a group may hold, so that a long answer is still read.
const SERVERS_MAX: usize = 64;
/// Bytes of a remote file name in a query (tracker.md 3.2.2).
const NAME_LEN_MIN: usize = 22;
const NAME_LEN_MAX: usize = 127;

/// A storage as clients reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
}

impl Endpoint {
    fn len(width: IpWidth) -> usize {
        width.text_only().saturating_add(8)
    }

    fn read(reader: &mut Reader<'_>, width: IpWidth) -> Result<Self, DecodeError> {
        let address =
            decode_ip(reader, width.text_only())?.ok_or(DecodeError::BadText("ip address"))?;
        Ok(Self { address, port: read_port64(reader)? })
    }

    fn encode(self, width: IpWidth, out: &mut Vec<u8>) {
        encode_ip(Some(self.address), width.text_only(), out);
        out.put_u64(u64::from(self.port));
    }
}

/// The width of the addresses in `bytes` of records; IPv4 is tried first, as every client does.
fn width_of(bytes: usize) -> Result<IpWidth, DecodeError> {
    [IpWidth::V4, IpWidth::V6]
        .into_iter()
        .find(|width| bytes.checked_rem(Endpoint::len(*width)) == Some(0))
        .ok_or(DecodeError::BadValue("length of the server list"))
}

/// Body of 104 and 107, and of every other command that names only a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupQuery {
    pub group: GroupName,
}

impl GroupQuery {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { group })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
    }
}

/// Answer to 101, 104, 106 and 107.
///
/// ```text
/// 0       16        16+15|45  +8             end-1
/// | group | address | port | …more servers… | store path |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTarget {
    pub group: GroupName,
    /// One server, or all writable ones in id order.
    pub servers: Vec<Endpoint>,
    /// A proposal: the storage may take another one.
    pub path: StorePath,
}

impl StoreTarget {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let Some((path, front)) = body.split_last() else {
            return Err(DecodeError::TooShort { got: 0, min: 1 });
        };
        let FetchTarget { group, servers } = FetchTarget::decode(front)?;
        Ok(Self { group, servers, path: StorePath(*path) })
    }

    pub fn encode(&self, width: IpWidth, out: &mut Vec<u8>) {
        encode_servers(&self.group, &self.servers, width, out);
        out.put_u8(self.path.0);
    }
}

/// Answer to 102, 103 and 105: as [`StoreTarget`], without the store path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTarget {
    pub group: GroupName,
    /// At least one.
    pub servers: Vec<Endpoint>,
}

impl FetchTarget {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let width = width_of(reader.remaining())?;
        let servers = read_all(&mut reader, SERVERS_MAX, |r| Endpoint::read(r, width))?;
        if servers.is_empty() {
            return Err(DecodeError::BadValue("empty server list"));
        }
        Ok(Self { group, servers })
    }

    pub fn encode(&self, width: IpWidth, out: &mut Vec<u8>) {
        encode_servers(&self.group, &self.servers, width, out);
    }
}

fn encode_servers(group: &GroupName, servers: &[Endpoint], width: IpWidth, out: &mut Vec<u8>) {
    group.encode(out);
    for server in servers {
        server.encode(width, out);
    }
}

/// Body of 102, 103 and 105: a group and a remote file name (`M00/00/00/…`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileQuery {
    pub group: GroupName,
    /// 22 to 127 bytes, as sent: the tracker never checks that such a file exists.
    pub name: Vec<u8>,
}

impl FileQuery {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let min = GROUP_LEN.saturating_add(NAME_LEN_MIN);
        if body.len() < min {
            return Err(DecodeError::TooShort { got: body.len(), min });
        }
        let max = GROUP_LEN.saturating_add(NAME_LEN_MAX);
        if max < body.len() {
            return Err(DecodeError::TooLong { got: body.len(), max });
        }
        let group = GroupName::decode(&mut reader)?;
        Ok(Self { group, name: reader.rest().to_vec() })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        out.put(&self.name);
    }
}
