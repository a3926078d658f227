//! Who may join, and under which identity (tracker.md 3.6.3, from step 9 on).
//!
//! The steps are not a transaction: a refusal leaves the effects of the steps before it, as the
//! reference does, and storages rely on it when they come back.

use proto::address::Addresses;
use proto::ids::StorageId;
use proto::status::{RwMode, StorageState};
use proto::tracker::join::{Join, JoinAnswer, ReportedState};
use proto::tracker::list::GroupPort;
use proto::tracker::{GROUPS_MAX, STORAGES_PER_GROUP_MAX};

use super::group::Group;
use super::member::{Member, MemberIx, is_gone};
use super::policy::Policy;
use super::{Answer, Cluster, Effect, Refusal, Session, StateFile};

impl Cluster {
    pub(super) fn join(
        &mut self,
        session: &mut Session,
        join: &Join,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        self.trackers.remember_own(session.local);
        if let Some(address) = join.tracker {
            self.trackers.remember_own(address);
        }
        self.trackers.merge(&join.trackers, effects)?;
        if !self.groups.contains_key(&join.group) {
            if GROUPS_MAX <= self.groups.len() {
                return Err(Refusal::Full);
            }
            self.groups.insert(join.group, Group::new(join.group));
            effects.push(Effect::Save(StateFile::Groups));
        }
        let group = self.groups.get_mut(&join.group).expect("inserted above if it was missing");
        let policy = &self.policy;
        let id = identity(policy, session, join)?;
        check_port(group, policy, &id, join.port, effects)?;
        if group.find(&id).is_none() && !join.init && must_be_known(join.state) {
            return Err(Refusal::Unready);
        }
        let (ix, new) = register(group, policy, session, id, effects)?;
        // From here on the connection speaks for this storage, even if a check below fails.
        session.joined = Some((join.group, ix));
        session.leader_seen = 0;
        let member = group.member_mut(ix);
        member.join_number = member.join_number.wrapping_add(1);
        session.join_number = member.join_number;
        member.path_count = join.path_count;
        member.subdir_count = join.subdir_count;
        member.upload_priority = join.upload_priority;
        member.join_time = join.join_time;
        member.up_time = join.up_time;
        member.version = join.version;
        member.port = join.port;
        // A storage that comes back is told everything again; extra lists are harmless.
        member.changes_seen = 0;
        check_paths(group, join.path_count, effects)?;
        check_subdirs(group, join.subdir_count, effects)?;
        if new {
            let state = first_state(join);
            group.move_to(ix, state, effects);
            let files = [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes];
            effects.extend(files.map(Effect::Save));
        }
        match group.member(ix).state {
            // One that has lost a disk asks a single tracker who fills it (87) and tells the
            // others (88). To these it must not count as in service meanwhile, as it would to
            // the reference; who was to fill it before does not count any more.
            state if join.init && state != StorageState::Init => begin_anew(group, ix, effects),
            StorageState::Offline | StorageState::Recovery => {
                group.move_to(ix, StorageState::Online, effects);
            }
            StorageState::Init => {
                group.member_mut(ix).changelog_offset = self.changelog.len();
            }
            _ => {}
        }
        let member = group.member(ix);
        let source = member.source.map(|source| group.member(source).id);
        Ok(Answer::Joined(JoinAnswer { state: member.state, source }))
    }
}

/// A member that we know has lost everything.
fn begin_anew(group: &mut Group, ix: MemberIx, effects: &mut Vec<Effect>) {
    group.move_to(ix, StorageState::Init, effects);
    group.member_mut(ix).source = None;
    // The connection that it had before may not have ended yet.
    group.deactivate(ix);
    group.touch();
    effects.push(Effect::Save(StateFile::Storages));
}

/// Step 13: under which id the storage is known.
fn identity(policy: &Policy, session: &Session, join: &Join) -> Result<StorageId, Refusal> {
    let Some(ids) = &policy.ids else {
        return StorageId::from_ip(session.peer).ok_or(Refusal::NotFound);
    };
    match join.id {
        Some(id) if policy.trust_storage_id => ids.get(&id).map(|_| id).ok_or(Refusal::NotFound),
        _ => ids.in_group(&join.group, session.peer, join.port).copied().ok_or(Refusal::NotFound),
    }
}

/// Step 14: whether the members of a group may listen on different ports.
fn check_port(
    group: &mut Group,
    policy: &Policy,
    id: &StorageId,
    port: u16,
    effects: &mut Vec<Effect>,
) -> Result<(), Refusal> {
    let mixed = policy.mixed_ports_allowed();
    group.port = match group.port {
        GroupPort::One(known) if known == port => return Ok(()),
        GroupPort::Mixed if mixed => return Ok(()),
        GroupPort::Unknown | GroupPort::Mixed => GroupPort::One(port),
        GroupPort::One(_) if mixed => GroupPort::Mixed,
        GroupPort::One(_) => {
            if let Some(ix) = group.find(id) {
                group.member_mut(ix).port = port;
            }
            // All members have moved to the new port one by one.
            if !group.registered().all(|(_, member)| member.port == port) {
                return Err(Refusal::Invalid);
            }
            GroupPort::One(port)
        }
    };
    effects.push(Effect::Save(StateFile::Groups));
    Ok(())
}

/// Step 15: a storage in one of these states was known to us once, so we have lost our data. It
/// asks again, until the trackers that know it have answered.
fn must_be_known(state: ReportedState) -> bool {
    match state {
        ReportedState::Unknown => true,
        ReportedState::Known(state) => is_gone(state) || state == StorageState::None,
    }
}

/// Step 16: finds or takes in the storage; says whether it is new.
fn register(
    group: &mut Group,
    policy: &Policy,
    session: &Session,
    id: StorageId,
    effects: &mut Vec<Effect>,
) -> Result<(MemberIx, bool), Refusal> {
    let known = group.find(&id);
    let ix = match known {
        Some(ix) => {
            if is_gone(group.member(ix).state) {
                group.move_to(ix, StorageState::Init, effects);
            }
            ix
        }
        None => {
            let (addresses, mode) = configured(policy, group, id, session)?;
            add_member(group, Member::new(id, addresses, mode))?
        }
    };
    group.member_mut(ix).seen_at(session.peer);
    Ok((ix, known.is_none()))
}

/// What the configuration says of a storage that is not known yet.
fn configured(
    policy: &Policy,
    group: &Group,
    id: StorageId,
    session: &Session,
) -> Result<(Addresses, RwMode), Refusal> {
    let Some(ids) = &policy.ids else {
        return Ok((Addresses::one(session.peer.to_canonical()), RwMode::Both));
    };
    let storage = ids.get(&id).ok_or(Refusal::NotFound)?;
    if storage.group != group.name {
        return Err(Refusal::Invalid);
    }
    Ok((storage.addresses, storage.mode))
}

/// Adds a storage, within what clients and storages can hold in their lists.
pub(super) fn add_member(group: &mut Group, member: Member) -> Result<MemberIx, Refusal> {
    if STORAGES_PER_GROUP_MAX <= group.len() {
        return Err(Refusal::Full);
    }
    Ok(group.register(member))
}

/// Step 18. A storage with more paths than its group joins: its disk reports are refused until
/// the others have followed.
fn check_paths(group: &mut Group, count: u16, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
    if group.path_count == count {
        return Ok(());
    }
    let agrees = |m: &Member| m.state == StorageState::Deleted || m.path_count == count;
    let shared = group.registered().all(|(_, member)| agrees(member));
    if group.path_count == 0 || shared {
        group.path_count = count;
        effects.push(Effect::Save(StateFile::Groups));
        return Ok(());
    }
    if count < group.path_count { Err(Refusal::Invalid) } else { Ok(()) }
}

/// Step 19. Files are found by the number of sub-directories, so it must be common to all.
fn check_subdirs(group: &mut Group, count: u16, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
    if group.subdir_count == count {
        return Ok(());
    }
    let shared = group.registered().all(|(_, member)| member.subdir_count == count);
    if group.subdir_count == 0 || shared {
        group.subdir_count = count;
        effects.push(Effect::Save(StateFile::Groups));
        return Ok(());
    }
    Err(Refusal::Invalid)
}

/// Step 20: in which state a new storage starts.
fn first_state(join: &Join) -> StorageState {
    match join.state {
        ReportedState::Known(StorageState::Active) if !join.init => StorageState::Online,
        ReportedState::Known(state) if !join.init => state,
        _ => StorageState::Init,
    }
}
