//! What trackers, and storages looking for the leading tracker, ask (58, 61, 63 to 67).

use alloc::vec::Vec;

use core::net::SocketAddr;

use super::beat::Connections;
use super::{GROUPS_MAX, UnixTime, Version, read_all, read_port64};
use crate::address::{HOST_LEN, parse_endpoint};
use crate::ids::{GroupName, StorageId};
use crate::wire::{DecodeError, Put, Reader, VERSION_LEN};

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

/// Body of 58, 24 bytes: a follower introduces itself, once per connection.
///
/// ```text
/// 0         8         16       24
/// | up time | version | port   |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinLeader {
    pub up_time: UnixTime,
    pub version: Version,
    /// Where the follower listens; with the address it comes from, this is who it is.
    pub port: u16,
}

impl JoinLeader {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let up_time = UnixTime(reader.i64()?);
        let version = Version::read(&mut reader)?;
        let port = read_port64(&mut reader)?;
        reader.finish()?;
        Ok(Self { up_time, version, port })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.up_time.0);
        out.put_text(self.version.as_str(), VERSION_LEN);
        out.put_i64(i64::from(self.port));
    }
}

/// Body of 65, 12 bytes: the figures of the follower that pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingLeader(pub Connections);

impl PingLeader {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let connections = Connections::read(&mut reader)?;
        reader.finish()?;
        Ok(Self(connections))
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

/// One record of the answer to 65, 32 bytes: who hands out the slots of a group. The answer is
/// empty where nothing changed since the last one on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkServer {
    pub group: GroupName,
    /// `None`: nobody.
    pub server: Option<StorageId>,
}

impl TrunkServer {
    pub fn decode_all(body: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(body);
        read_all(&mut reader, GROUPS_MAX, |reader| {
            let group = GroupName::decode(reader)?;
            Ok(Self { group, server: StorageId::decode_optional(reader)? })
        })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        StorageId::encode_optional(self.server.as_ref(), out);
    }
}

/// Body of 66 and 67: the tracker that is to lead, as `ip:port` text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextLeader(pub SocketAddr);

impl NextLeader {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if HOST_LEN < body.len() {
            return Err(DecodeError::TooLong { got: body.len(), max: HOST_LEN });
        }
        let text = Reader::new(body).rest_text("tracker address")?;
        parse_endpoint(text).map(Self).ok_or(DecodeError::BadText("tracker address"))
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put(alloc::string::ToString::to_string(&self.0).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_introduces_itself_in_24_bytes() {
        let version = Version::parse("6.16.1").expect("printable");
        let join = JoinLeader { up_time: UnixTime(258), version, port: 22122 };
        let mut body = Vec::new();
        join.encode(&mut body);
        let want = [&[0, 0, 0, 0, 0, 0, 1, 2][..], b"6.16.1\0\0", &[0, 0, 0, 0, 0, 0, 0x56, 0x6a]];
        assert_eq!(body, want.concat());
        assert_eq!(JoinLeader::decode(&body), Ok(join));
        (0..body.len()).for_each(|len| assert!(JoinLeader::decode(&body[..len]).is_err()));
    }

    #[test]
    fn trunk_servers_are_records_of_32_bytes() {
        let group = GroupName::parse("group1").expect("a name");
        let all = [
            TrunkServer { group, server: None },
            TrunkServer { group, server: StorageId::parse("100001") },
        ];
        let mut body = Vec::new();
        all.iter().for_each(|one| one.encode(&mut body));
        assert_eq!(body.len(), 64);
        assert_eq!(TrunkServer::decode_all(&body), Ok(all.to_vec()));
        assert_eq!(TrunkServer::decode_all(&[]), Ok(Vec::new()));
        assert!(TrunkServer::decode_all(&body[..63]).is_err());
    }

    #[test]
    fn the_next_leader_is_text() {
        for text in ["10.0.0.1:22122", "[2001:db8::1]:22122"] {
            let next = NextLeader::decode(text.as_bytes()).expect(text);
            let mut body = Vec::new();
            next.encode(&mut body);
            assert_eq!(body, text.as_bytes());
        }
        let long = [b'1'; HOST_LEN + 1];
        for bad in [&b""[..], b"10.0.0.1", b"host:1", &long] {
            assert!(NextLeader::decode(bad).is_err());
        }
    }
}
