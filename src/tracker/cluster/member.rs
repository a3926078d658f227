//! One storage of a group, and what its states mean.
//!
//! A member is never removed while the process runs, so its place in the order of registration
//! is a name for it. Which transitions exist stands in tracker.md 5.2.

use core::net::IpAddr;

use proto::address::Addresses;
use proto::ids::StorageId;
use proto::status::{RwMode, StorageState};
use proto::tracker::beat::Statistics;
use proto::tracker::query::Endpoint;
use proto::tracker::{Brief, Space, UnixTime, Version};

/// A member by its place in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberIx(pub usize);

/// One storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) id: StorageId,
    pub(super) addresses: Addresses,
    /// The one of `addresses` it was last seen at.
    pub(super) current: IpAddr,
    pub(super) mode: RwMode,
    pub(super) state: StorageState,
    pub(super) version: Version,
    /// 0 until it has joined.
    pub(super) port: u16,
    pub(super) path_count: u16,
    pub(super) subdir_count: u16,
    pub(super) upload_priority: i64,
    pub(super) join_time: UnixTime,
    /// 0 while disconnected.
    pub(super) up_time: UnixTime,
    /// Who sends it the old files, and up to which time they are old.
    pub(super) source: Option<MemberIx>,
    pub(super) until: UnixTime,
    /// How much of the change log it has read.
    pub(super) changelog_offset: u64,
    /// As last reported; empty before the first report.
    pub(super) paths: Vec<Space>,
    /// The sum of `paths`.
    pub(super) space: Space,
    /// Store path of the next upload.
    pub(super) write_path: u16,
    pub(super) statistics: Statistics,
    /// The change counter of its group when it was last sent the list.
    pub(super) changes_seen: u32,
    /// Counts its joins since we run: only the last one's connection speaks for it.
    pub(super) join_number: u64,
}

impl Member {
    /// A storage nothing is known about but its name.
    pub(super) fn new(id: StorageId, addresses: Addresses, mode: RwMode) -> Self {
        Self {
            id,
            addresses,
            current: addresses.first(),
            mode,
            state: StorageState::Init,
            version: Version::default(),
            port: 0,
            path_count: 0,
            subdir_count: 0,
            upload_priority: 0,
            join_time: UnixTime(0),
            up_time: UnixTime(0),
            source: None,
            until: UnixTime(0),
            changelog_offset: 0,
            paths: Vec::new(),
            space: Space::default(),
            write_path: 0,
            statistics: Statistics::default(),
            changes_seen: 0,
            join_number: 0,
        }
    }

    /// Remembers at which of its addresses it was seen.
    pub(super) fn seen_at(&mut self, peer: IpAddr) {
        if self.addresses.contains(peer) {
            self.current = peer.to_canonical();
        }
    }

    /// As a client at `peer` reaches it.
    pub(super) fn endpoint(&self, peer: IpAddr) -> Endpoint {
        Endpoint { address: self.addresses.for_peer(peer), port: self.port }
    }

    /// As another server at `peer` is told about it.
    pub(super) fn brief(&self, peer: IpAddr) -> Brief {
        let Endpoint { address, port } = self.endpoint(peer);
        Brief { state: self.state, port, id: Some(self.id), address: Some(address) }
    }

    /// Forgets everything but the name: what is left of a deleted storage.
    pub(super) fn wipe(&mut self) {
        let Self { id, addresses, current, mode, version, port, join_time, up_time, .. } = *self;
        let changes_seen = self.changes_seen;
        *self = Self::new(id, addresses, mode);
        *self = Self {
            current,
            version,
            port,
            join_time,
            up_time,
            changes_seen,
            state: StorageState::Deleted,
            ..self.clone()
        };
    }
}

/// Whether a storage may be told as the one that sends old files (tracker.md 6, step 2).
pub(super) fn may_be_source(state: StorageState) -> bool {
    matches!(state, StorageState::Offline | StorageState::Online | StorageState::Active)
}

/// Whether the entry only reminds of a storage that is gone. Such entries are not saved.
pub(super) fn is_gone(state: StorageState) -> bool {
    matches!(state, StorageState::Deleted | StorageState::IpChanged)
}

/// Whether the storage is in use and may be neither deleted nor renamed.
pub(super) fn is_busy(state: StorageState) -> bool {
    matches!(state, StorageState::Online | StorageState::Active | StorageState::Recovery)
}
