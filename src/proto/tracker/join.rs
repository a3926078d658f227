//! A storage introduces itself (81), and is told in which state the tracker has it.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{ADDRESS_LEN, PATHS_MAX, TRACKERS_MAX, UnixTime, Version, read_state};
use crate::address::{Addresses, MULTI_HOST_LEN_MAX, decode_ip, encode_ip};
use crate::ids::{GroupName, StorageId};
use crate::status::StorageState;
use crate::wire::{DecodeError, Put, Reader, VERSION_LEN};

/// A line without a port means this one (tracker.md 3.6.1).
const TRACKER_PORT: u16 = 22122;

/// One tracker as the storages know it: one or two addresses and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerHost {
    pub addresses: Addresses,
    pub port: u16,
}

impl TrackerHost {
    /// Reads `host[,host2]:port`; anything with IPv6 stands in brackets.
    fn parse(line: &str) -> Result<Self, DecodeError> {
        const BAD: DecodeError = DecodeError::BadText("tracker list");
        let (hosts, port) = if let Some(inner) = line.strip_prefix('[') {
            let (hosts, rest) = inner.split_once(']').ok_or(BAD)?;
            (hosts, rest.strip_prefix(':'))
        } else {
            line.rsplit_once(':').map_or((line, None), |(hosts, port)| (hosts, Some(port)))
        };
        let port = match port {
            None => TRACKER_PORT,
            Some(text) => text.parse().ok().filter(|p| *p != 0).ok_or(BAD)?,
        };
        let addresses = Addresses::parse(hosts).ok_or(BAD)?;
        Ok(Self { addresses, port })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.addresses.with_port(self.port).as_bytes());
        out.put_u8(b'\n');
    }
}

/// What the storage says of its state: it may not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedState {
    /// Any negative byte: not every tracker has answered yet.
    Unknown,
    Known(StorageState),
}

/// Body of 81 (tracker.md 3.6.1).
///
/// ```text
/// 0       17     25      33         41         49      57     65
/// | group | port | paths | subdirs  | priority | join  | up   |
/// 65        73     74       75   91               137     145
/// | version | init | status | id | this tracker's | count | lines… |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    pub group: GroupName,
    /// Not 0.
    pub port: u16,
    /// 1 to 256.
    pub path_count: u16,
    /// 1 to 256.
    pub subdir_count: u16,
    pub upload_priority: i64,
    /// When the storage was created.
    pub join_time: UnixTime,
    /// When its process started.
    pub up_time: UnixTime,
    pub version: Version,
    /// Its initial synchronisation is not arranged yet.
    pub init: bool,
    pub state: ReportedState,
    /// `None` unless storages have ids.
    pub id: Option<StorageId>,
    /// The address under which the storage reached this tracker.
    pub tracker: Option<IpAddr>,
    /// Every tracker the storage knows, this one included: 1 to 16.
    pub trackers: Vec<TrackerHost>,
}

impl Join {
    /// Refuses in the order of tracker.md 3.6.3, steps 1 to 8.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode_terminated(&mut reader)?;
        let port = in_range(reader.i64()?, u16::MAX, "port")?;
        let path_count = in_range(reader.i64()?, PATHS_MAX, "store path count")?;
        let subdir_count = in_range(reader.i64()?, PATHS_MAX, "sub-directory count")?;
        let upload_priority = reader.i64()?;
        let join_time = UnixTime(reader.i64()?);
        let up_time = UnixTime(reader.i64()?);
        let version = Version::read(&mut reader)?;
        let init = reader.bool()?;
        let state = read_reported_state(&mut reader)?;
        let id = StorageId::decode_optional(&mut reader)?;
        let tracker = decode_ip(&mut reader, ADDRESS_LEN)?;
        let count = in_range(reader.i64()?, 16, "tracker count")?;
        let trackers = read_trackers(reader.rest(), usize::from(count))?;
        Ok(Self {
            group,
            port,
            path_count,
            subdir_count,
            upload_priority,
            join_time,
            up_time,
            version,
            init,
            state,
            id,
            tracker,
            trackers,
        })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode_terminated(out);
        out.put_u64(u64::from(self.port));
        out.put_u64(u64::from(self.path_count));
        out.put_u64(u64::from(self.subdir_count));
        out.put_i64(self.upload_priority);
        out.put_i64(self.join_time.0);
        out.put_i64(self.up_time.0);
        out.put_text(self.version.as_str(), VERSION_LEN);
        out.put_bool(self.init);
        match self.state {
            ReportedState::Unknown => out.put_i8(-1),
            ReportedState::Known(state) => out.put_u8(state as u8),
        }
        StorageId::encode_optional(self.id.as_ref(), out);
        encode_ip(self.tracker, ADDRESS_LEN, out);
        out.put_len(self.trackers.len());
        for tracker in &self.trackers {
            tracker.encode(out);
        }
    }
}

fn in_range(value: i64, max: u16, field: &'static str) -> Result<u16, DecodeError> {
    u16::try_from(value)
        .ok()
        .filter(|value| (1..=max).contains(value))
        .ok_or(DecodeError::BadValue(field))
}

fn read_reported_state(reader: &mut Reader<'_>) -> Result<ReportedState, DecodeError> {
    let byte = reader.i8()?;
    let Ok(byte) = u8::try_from(byte) else {
        return Ok(ReportedState::Unknown);
    };
    let state = StorageState::from_byte(byte);
    state.map(ReportedState::Known).ok_or(DecodeError::BadValue("storage status"))
}

/// Exactly `count` lines; what stands behind them is ignored.
fn read_trackers(text: &[u8], count: usize) -> Result<Vec<TrackerHost>, DecodeError> {
    let max = count.saturating_mul(MULTI_HOST_LEN_MAX);
    if max < text.len() {
        return Err(DecodeError::TooLong { got: text.len(), max });
    }
    let mut trackers = Vec::new();
    let mut rest = text;
    while trackers.len() < count.min(TRACKERS_MAX) {
        let end = rest.iter().position(|b| *b == b'\n');
        let (line, after) = end
            .and_then(|end| Some((rest.get(..end)?, rest.get(end.checked_add(1)?..)?)))
            .ok_or(DecodeError::BadText("tracker list"))?;
        let line = crate::wire::printable(line, "tracker list")?;
        trackers.push(TrackerHost::parse(line)?);
        rest = after;
    }
    Ok(trackers)
}

/// Answer to 81.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The storage's state after the join.
    pub state: StorageState,
    /// Who fills it, if that is arranged.
    pub source: Option<StorageId>,
}

impl JoinAnswer {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let state = read_state(&mut reader)?;
        let source = StorageId::decode_optional(&mut reader)?;
        reader.finish()?;
        Ok(Self { state, source })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.state as u8);
        StorageId::encode_optional(self.source.as_ref(), out);
    }
}
