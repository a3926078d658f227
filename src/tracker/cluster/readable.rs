//! Who may serve or change a file, given what its name encodes.
//!
//! Called through `Cluster::apply` for 102, 103 and 105 (tracker.md 8). The tracker never
//! knows whether the file exists.

use core::net::{IpAddr, Ipv4Addr};

use proto::ids::StorageId;
use proto::tracker::UnixTime;
use proto::tracker::list::GroupPort;
use proto::tracker::query::{FetchTarget, FileQuery};

use super::group::Group;
use super::member::{Member, MemberIx};
use super::policy::{DownloadChoice, Policy};
use super::{Answer, Cluster, Refusal};

/// Which storage took the upload, as far as the name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Unknown,
    Number(u32),
    Address(Ipv4Addr),
}

/// What a remote file name tells a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) source: Source,
    pub(super) created: UnixTime,
    /// Neither a slave nor an appender: its content never changes.
    pub(super) normal: bool,
}

/// `M00/00/00/` stands before the encoded part, 27 characters.
const ENCODED: core::ops::Range<usize> = 10..37;
/// Bits of the size word.
const APPENDER: u64 = 1 << 58;
const TRUNK: u64 = 1 << 59;
/// Names longer than these are slaves: of a file in a trunk container, and of a plain one.
const SLAVE_OF_TRUNK_MIN: usize = 60;
const SLAVE_OF_PLAIN_MIN: usize = 44;

impl Encoded {
    /// Total: of a name that encodes nothing the source is unknown and the time is 0.
    pub(super) fn of(name: &[u8]) -> Self {
        let bytes = name.get(ENCODED).map(decode_leniently).unwrap_or_default();
        let source = bytes.first_chunk().map_or(Source::Unknown, |b| source_of(*b));
        let created = bytes.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, i32::from_be_bytes);
        let size = bytes.get(8..16).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
        let slave = SLAVE_OF_TRUNK_MIN < name.len()
            || (SLAVE_OF_PLAIN_MIN < name.len() && size & TRUNK == 0);
        let created = UnixTime(i64::from(created));
        Self { source, created, normal: !slave && size & APPENDER == 0 }
    }
}

/// Small values, read with the low byte first, are ids; all others are addresses.
fn source_of(bytes: [u8; 4]) -> Source {
    match u32::from_le_bytes(bytes) {
        0 => Source::Unknown,
        number @ 1..=0xff_ffff => Source::Number(number),
        _ => Source::Address(Ipv4Addr::from(bytes)),
    }
}

/// Base64 as the reference reads it: characters outside the alphabet are skipped.
fn decode_leniently(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut have) = (0u32, 0u32);
    for value in text.iter().filter_map(|byte| base64_value(*byte)) {
        bits = bits << 6 | u32::from(value);
        have += 6;
        if 8 <= have {
            have -= 8;
            out.push((bits >> have & 0xff) as u8);
        }
    }
    out
}

fn base64_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

/// One file, asked about now, in one group.
struct Question<'a> {
    now: UnixTime,
    file: Encoded,
    policy: &'a Policy,
}

impl Question<'_> {
    /// The source by id, within a list.
    fn source_in(&self, group: &Group, list: &[MemberIx]) -> Option<MemberIx> {
        let id = match (self.file.source, &self.policy.ids) {
            (Source::Unknown, _) => None,
            (Source::Number(number), _) => StorageId::from_number(number),
            (Source::Address(address), None) => StorageId::from_ip(IpAddr::V4(address)),
            (Source::Address(address), Some(ids)) => {
                let GroupPort::One(port) = group.port else { return None };
                ids.in_group(&group.name, IpAddr::V4(address), port).copied()
            }
        };
        group.find(&id?).filter(|ix| list.contains(ix))
    }

    /// Whether a normal file is on this member (tracker.md 8.3).
    fn may_serve(&self, member: &Member) -> bool {
        let created = self.file.created;
        let synced = member.statistics.last_synced;
        let age = self.now.since(created);
        self.is_source(member)
            || self.policy.sync_max_delay_secs < age
            || created < synced
            || (created.0 <= synced.0.saturating_add(1) && self.policy.sync_max_time_secs < age)
    }

    fn is_source(&self, member: &Member) -> bool {
        match self.file.source {
            Source::Unknown => false,
            Source::Number(number) => member.id.number() == Some(number),
            Source::Address(address) => {
                let address = IpAddr::V4(address);
                member.current == address || StorageId::from_ip(address) == Some(member.id)
            }
        }
    }

    /// Stands in when nobody qualifies: the file may be there, or may come.
    fn stand_in(&self, group: &Group) -> Result<MemberIx, Refusal> {
        let server = group.store_server(self.policy.server);
        server.filter(|ix| group.member(*ix).mode.readable()).ok_or(Refusal::NotFound)
    }

    /// 102: one server to download from.
    fn one_reader(&self, group: &mut Group) -> Result<MemberIx, Refusal> {
        let count = group.readable().len();
        if count == 0 {
            return Err(Refusal::NotFound);
        }
        let source_first = self.policy.download == DownloadChoice::SourceFirst;
        if (!self.file.normal || source_first)
            && let Some(source) = self.source_in(group, group.readable())
        {
            return Ok(source);
        }
        if self.file.normal {
            let start = if group.read_cursor < count { group.read_cursor } else { 0 };
            let turns = (start..start + count).find_map(|at| {
                Some((at, *group.readable().get(at % count)?))
                    .filter(|(_, ix)| self.may_serve(group.member(*ix)))
            });
            if let Some((at, found)) = turns {
                // The place is counted without wrapping, so that after a wrap the turns begin
                // anew, as those of the reference do.
                group.read_cursor = if at + 1 < count { at + 1 } else { 0 };
                return Ok(found);
            }
        }
        self.stand_in(group)
    }

    /// 105: every server to download from.
    fn all_readers(&self, group: &Group) -> Result<Vec<MemberIx>, Refusal> {
        let list = group.readable();
        if list.is_empty() {
            return Err(Refusal::NotFound);
        }
        let found: Vec<MemberIx> = if self.file.normal {
            list.iter().copied().filter(|ix| self.may_serve(group.member(*ix))).collect()
        } else {
            self.source_in(group, list).into_iter().collect()
        };
        if found.is_empty() { Ok(vec![self.stand_in(group)?]) } else { Ok(found) }
    }

    /// 103: one server to change the file on.
    fn one_writer(&self, group: &mut Group) -> Result<MemberIx, Refusal> {
        let source = self.source_in(group, group.writable());
        source.or_else(|| group.next_writer(self.policy)).ok_or(Refusal::NotFound)
    }
}

/// What is wanted with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    ReadOne,
    ReadAll,
    Update,
}

impl Cluster {
    pub(super) fn fetch(
        &mut self,
        now: UnixTime,
        peer: IpAddr,
        query: &FileQuery,
        purpose: Purpose,
    ) -> Result<Answer, Refusal> {
        let group = self.groups.get_mut(&query.group).ok_or(Refusal::NotFound)?;
        let question = Question { now, file: Encoded::of(&query.name), policy: &self.policy };
        let found = match purpose {
            Purpose::ReadOne => vec![question.one_reader(group)?],
            Purpose::ReadAll => question.all_readers(group)?,
            Purpose::Update => vec![question.one_writer(group)?],
        };
        let servers = found.iter().map(|ix| group.member(*ix).endpoint(peer)).collect();
        Ok(Answer::Fetch(FetchTarget { group: query.group, servers }))
    }
}
