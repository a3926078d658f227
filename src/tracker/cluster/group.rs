//! A group: its members, who of them may be read and written, and its common figures.

use std::collections::BTreeMap;

use proto::ids::{GroupName, StorageId};
use proto::status::StorageState;
use proto::tracker::list::GroupPort;
use proto::tracker::{Megabytes, Space};

use super::Effect;
use super::member::{Member, MemberIx};
use super::policy::{Policy, ServerChoice};

/// One group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: GroupName,
    pub(super) port: GroupPort,
    /// 0 until a storage has joined.
    pub(super) path_count: u16,
    /// 0 until a storage has joined.
    pub(super) subdir_count: u16,
    /// Of the fullest writable member.
    pub(super) space: Space,
    /// Index of the next server for a download.
    pub(super) read_cursor: usize,
    /// Index of the next server for an upload.
    pub(super) write_cursor: usize,
    /// Grows with everything that the members must be told.
    pub(super) changes: u32,
    /// Up to which of the source's times a member has everything: (source, member).
    pub(super) synced: BTreeMap<(MemberIx, MemberIx), u32>,
    /// In the order of registration.
    members: Vec<Member>,
    by_id: BTreeMap<StorageId, MemberIx>,
    /// Members in service that may be read, in id order.
    readable: Vec<MemberIx>,
    /// Members in service that may be written, in id order.
    writable: Vec<MemberIx>,
}

impl Group {
    pub(super) fn new(name: GroupName) -> Self {
        Self {
            name,
            port: GroupPort::Unknown,
            path_count: 0,
            subdir_count: 0,
            space: Space::default(),
            read_cursor: 0,
            write_cursor: 0,
            changes: 0,
            synced: BTreeMap::new(),
            members: Vec::new(),
            by_id: BTreeMap::new(),
            readable: Vec::new(),
            writable: Vec::new(),
        }
    }

    pub(super) fn member(&self, ix: MemberIx) -> &Member {
        self.members.get(ix.0).expect("members are never removed")
    }

    pub(super) fn member_mut(&mut self, ix: MemberIx) -> &mut Member {
        self.members.get_mut(ix.0).expect("members are never removed")
    }

    pub(super) fn find(&self, id: &StorageId) -> Option<MemberIx> {
        self.by_id.get(id).copied()
    }

    /// How many storages there are, deleted ones included.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// In the order of registration.
    pub(super) fn registered(&self) -> impl Iterator<Item = (MemberIx, &Member)> {
        self.members.iter().enumerate().map(|(at, member)| (MemberIx(at), member))
    }

    /// All of them, deleted ones included.
    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut()
    }

    /// In id order.
    pub(super) fn sorted(&self) -> impl Iterator<Item = (MemberIx, &Member)> {
        self.by_id.values().map(|ix| (*ix, self.member(*ix)))
    }

    pub(super) fn readable(&self) -> &[MemberIx] {
        &self.readable
    }

    pub(super) fn writable(&self) -> &[MemberIx] {
        &self.writable
    }

    /// Takes in a storage that is not known yet.
    pub(super) fn register(&mut self, member: Member) -> MemberIx {
        let ix = MemberIx(self.members.len());
        self.by_id.insert(member.id, ix);
        self.members.push(member);
        self.touch();
        ix
    }

    /// Puts a storage into the place of one that is gone.
    pub(super) fn replace(&mut self, ix: MemberIx, member: Member) {
        // The id of the one that was there may be another one's by now.
        let was = self.member(ix).id;
        if self.find(&was) == Some(ix) {
            self.by_id.remove(&was);
        }
        self.by_id.insert(member.id, ix);
        *self.member_mut(ix) = member;
        self.synced.retain(|(source, dest), _| *source != ix && *dest != ix);
        self.touch();
    }

    /// The members must be told something.
    pub(super) fn touch(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }

    /// Gives a member another id, with its history.
    pub(super) fn rename(&mut self, ix: MemberIx, id: StorageId) {
        let old = self.member(ix).id;
        self.by_id.remove(&old);
        self.by_id.insert(id, ix);
        self.member_mut(ix).id = id;
        let place = |ix: &MemberIx| self.members.get(ix.0).map(|m| m.id);
        self.readable.sort_by_key(place);
        self.writable.sort_by_key(place);
    }

    /// Changes a state and says so.
    pub(super) fn move_to(&mut self, ix: MemberIx, to: StorageState, effects: &mut Vec<Effect>) {
        let group = self.name;
        let member = self.member_mut(ix);
        let from = core::mem::replace(&mut member.state, to);
        if from != to {
            effects.push(Effect::Moved { group, id: member.id, from, to });
        }
    }

    /// A report came in: whoever is not waiting for old files is in service from now on.
    pub(super) fn activate(&mut self, ix: MemberIx, effects: &mut Vec<Effect>) {
        let Member { state, mode, .. } = *self.member(ix);
        let waiting = [StorageState::Init, StorageState::WaitSync, StorageState::Syncing];
        if waiting.contains(&state) || state == StorageState::IpChanged {
            return;
        }
        self.move_to(ix, StorageState::Active, effects);
        let listed = |list: &[MemberIx]| list.contains(&ix);
        let add_read = mode.readable() && !listed(&self.readable);
        let add_write = mode.writable() && !listed(&self.writable);
        if add_read {
            insert_sorted(&mut self.readable, ix, &self.members);
        }
        if add_write {
            insert_sorted(&mut self.writable, ix, &self.members);
        }
        if state != StorageState::Active || add_read || add_write {
            self.touch();
        }
    }

    /// Out of service: nobody is sent there until the next report.
    pub(super) fn deactivate(&mut self, ix: MemberIx) {
        let before = (self.readable.len(), self.writable.len());
        self.readable.retain(|listed| *listed != ix);
        self.writable.retain(|listed| *listed != ix);
        if before.0 != self.readable.len() {
            self.touch();
        }
        if before.1 != self.writable.len() {
            self.touch();
        }
        self.member_mut(ix).changes_seen = 0;
    }

    /// The connection of a member ended.
    pub(super) fn disconnect(&mut self, ix: MemberIx, effects: &mut Vec<Effect>) {
        self.member_mut(ix).up_time = proto::tracker::UnixTime(0);
        match self.member(ix).state {
            StorageState::Online | StorageState::Active | StorageState::Offline => {
                self.move_to(ix, StorageState::Offline, effects);
                self.deactivate(ix);
            }
            // The others keep their state: what they wait for has not changed.
            _ => {}
        }
    }

    /// The server that is taken when no cursor and no file decides (tracker.md 7.4).
    pub(super) fn store_server(&self, choice: ServerChoice) -> Option<MemberIx> {
        match choice {
            // With a cursor there is no fixed server; the first stands in for it.
            ServerChoice::RoundRobin | ServerChoice::FirstById => self.writable.first().copied(),
            ServerChoice::Priority => {
                // Of equals the first is kept, so ties go to the smallest id.
                self.writable.iter().copied().min_by_key(|ix| self.member(*ix).upload_priority)
            }
        }
    }

    /// The server for the next upload; moves the cursor when servers take turns.
    pub(super) fn next_writer(&mut self, policy: &Policy) -> Option<MemberIx> {
        if policy.server != ServerChoice::RoundRobin || self.writable.len() == 1 {
            return self.store_server(policy.server);
        }
        let at = if self.write_cursor < self.writable.len() { self.write_cursor } else { 0 };
        let chosen = self.writable.get(at).copied()?;
        self.write_cursor = (at + 1) % self.writable.len();
        Some(chosen)
    }

    /// The space of the writable member with the least of it.
    pub(super) fn fullest_writable(&self) -> Option<Space> {
        let spaces = self.writable.iter().map(|ix| self.member(*ix).space);
        spaces.min_by_key(|space| space.free)
    }

    /// Reserved space as the lists show it.
    pub(super) fn reserved(&self, policy: &Policy) -> Megabytes {
        policy.reserved.of_total(self.space.total)
    }
}

/// Keeps a list in id order.
fn insert_sorted(list: &mut Vec<MemberIx>, ix: MemberIx, members: &[Member]) {
    let id = |ix: &MemberIx| members.get(ix.0).map(|m| m.id);
    let at = list.partition_point(|listed| id(listed) < id(&ix));
    list.insert(at, ix);
}
