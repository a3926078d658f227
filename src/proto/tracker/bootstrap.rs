//! What a storage asks on short connections before it joins (60, 69, 70, 71, 109).
//!
//! The answers to 60, 70 and 75 are plain text without a terminator and have no type here.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Brief;
use crate::address::{parse_endpoint, parse_ip};
use crate::ids::{GroupName, StorageId};
use crate::wire::{DecodeError, GROUP_LEN, Put, Reader};

/// The answer to 75 must stay below this: readers have a buffer of 1024 bytes.
pub const PARAMETERS_LEN_MAX: usize = 1023;
/// Longest `ip:port` text after a group name (tracker.md 3.5.4).
const ENDPOINT_LEN_MAX: usize = 52;

/// Body of 60: which storage asks for its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetMyIp {
    pub group: GroupName,
    pub port: u16,
}

impl GetMyIp {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode_terminated(&mut reader)?;
        let port = read_port32(&mut reader)?;
        reader.finish()?;
        Ok(Self { group, port })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode_terminated(out);
        out.put_u32(u32::from(self.port));
    }
}

fn read_port32(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    u16::try_from(reader.u32()?).map_err(|_| DecodeError::BadValue("port"))
}

/// Body of 70 and 71: a storage by group, address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerQuery {
    pub group: GroupName,
    pub address: IpAddr,
    pub port: u16,
}

impl ServerQuery {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let max = GROUP_LEN.saturating_add(ENDPOINT_LEN_MAX);
        if max < body.len() {
            return Err(DecodeError::TooLong { got: body.len(), max });
        }
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let text = reader.rest_text("address and port")?;
        let endpoint = parse_endpoint(text).ok_or(DecodeError::BadText("address and port"))?;
        Ok(Self { group, address: endpoint.ip(), port: endpoint.port() })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        let endpoint = core::net::SocketAddr::new(self.address, self.port);
        out.put(alloc::format!("{endpoint}").as_bytes());
    }
}

/// Answer to 71.
pub fn decode_status(body: &[u8]) -> Result<Brief, DecodeError> {
    let mut reader = Reader::new(body);
    let brief = Brief::read(&mut reader)?;
    reader.finish()?;
    Ok(brief)
}

/// Body of 69: which part of the table of storages is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchIds {
    /// Negative ones are refused by the tracker, not here.
    pub start: i32,
    /// Answer with an empty table, not with an error, if ids are not used.
    pub allow_empty: bool,
}

impl FetchIds {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let start = reader.i32()?;
        let allow_empty = reader.bool()?;
        reader.finish()?;
        Ok(Self { start, allow_empty })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_i32(self.start);
        out.put_bool(self.allow_empty);
    }
}

/// Answer to 69: a part of the table, one line of text for each storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdLines {
    /// Storages in the whole table.
    pub total: u32,
    /// Storages in `lines`.
    pub count: u32,
    /// `<id> <group> <hosts>:<port>[ rw=<mode>]`, each ended by a line feed.
    pub lines: String,
}

impl IdLines {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (total, count) = (reader.u32()?, reader.u32()?);
        let lines = core::str::from_utf8(reader.rest());
        let lines = lines.map_err(|_| DecodeError::BadText("storage ids"))?;
        Ok(Self { total, count, lines: lines.into() })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.total);
        out.put_u32(self.count);
        out.put(self.lines.as_bytes());
    }
}

/// Body of 109: which group a storage belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetGroupName {
    /// `None`: the address the request comes from.
    pub address: Option<IpAddr>,
    pub port: u16,
}

impl GetGroupName {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let Some((text, port)) = body.split_last_chunk::<4>() else {
            return Err(DecodeError::TooShort { got: body.len(), min: 4 });
        };
        let port = read_port32(&mut Reader::new(port))?;
        let text = Reader::new(text).text(text.len(), "address")?;
        if text.is_empty() {
            return Ok(Self { address: None, port });
        }
        let address = parse_ip(text).ok_or(DecodeError::BadText("address"))?;
        Ok(Self { address: Some(address), port })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(address) = self.address {
            out.put(alloc::format!("{address}").as_bytes());
        }
        out.put_u32(u32::from(self.port));
    }
}

/// Answer to 70, and body of everything that is only an id without padding.
pub fn decode_id(body: &[u8]) -> Result<StorageId, DecodeError> {
    super::read_id_text(&mut Reader::new(body))
}
