//! Who fills a new member, and up to what time (79, 86, 87, 88; tracker.md 6).

use proto::status::StorageState;
use proto::tracker::UnixTime;
use proto::tracker::sync::{StorageRef, SyncPoint};

use super::group::Group;
use super::member::{Member, MemberIx, is_gone, may_be_source};
use super::{Answer, Cluster, Effect, Refusal, Session, StateFile};

impl Cluster {
    /// 87: a new storage asks who will send it the existing files.
    pub(super) fn sync_dest_req(
        &mut self,
        now: UnixTime,
        session: &Session,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let (group, ix) = self.joined(session)?;
        let may_send = |(other, m): (MemberIx, &Member)| other != ix && may_be_source(m.state);
        if !group.registered().any(may_send) {
            group.move_to(ix, StorageState::Online, effects);
            group.touch();
            effects.push(Effect::Save(StateFile::Storages));
            return Ok(Answer::SyncPoint(None));
        }
        let source = group.writable().iter().copied().find(|other| *other != ix);
        let source = source.ok_or(Refusal::NotFound)?;
        let id = group.member(source).id;
        let member = group.member_mut(ix);
        member.source = Some(source);
        member.until = now;
        group.move_to(ix, StorageState::WaitSync, effects);
        group.touch();
        effects.push(Effect::Save(StateFile::Storages));
        Ok(Answer::SyncPoint(Some(SyncPoint { source: Some(id), until: now })))
    }

    /// 88: a storage says what was arranged, perhaps with another tracker.
    pub(super) fn sync_notify(
        &mut self,
        session: &Session,
        point: SyncPoint,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let (group, ix) = self.joined(session)?;
        let state = group.member(ix).state;
        let Some(source) = point.source else {
            let waiting = [StorageState::Init, StorageState::WaitSync, StorageState::Syncing];
            if waiting.contains(&state) {
                group.move_to(ix, StorageState::Online, effects);
                group.touch();
                effects.push(Effect::Save(StateFile::Storages));
            }
            return Ok(Answer::Empty);
        };
        let mut changed = false;
        if state == StorageState::Init {
            group.move_to(ix, StorageState::WaitSync, effects);
            group.touch();
            changed = true;
        }
        let result = remember_source(group, ix, source, point.until);
        if changed || result == Ok(true) {
            effects.push(Effect::Save(StateFile::Storages));
        }
        result.map(|_| Answer::Empty)
    }

    /// 79: what was arranged for the storage that asks.
    pub(super) fn sync_dest_query(&mut self, session: &Session) -> Result<Answer, Refusal> {
        let (group, ix) = self.joined(session)?;
        let member = group.member(ix);
        let point = member
            .source
            .map(|source| SyncPoint { source: Some(group.member(source).id), until: member.until });
        Ok(Answer::SyncPoint(point))
    }

    /// 86: a storage asks whether the one it sends to must get old files, and from whom.
    pub(super) fn sync_src_req(
        &mut self,
        about: &StorageRef,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let group = self.groups.get_mut(&about.group).ok_or(Refusal::NotFound)?;
        let ix = group.find(&about.id).ok_or(Refusal::NotFound)?;
        let member = group.member(ix);
        if member.state == StorageState::Init || is_gone(member.state) {
            return Err(Refusal::NotFound);
        }
        let (until, Some(source)) = (member.until, member.source) else {
            return Ok(Answer::SyncPoint(None));
        };
        let sender = group.member(source);
        if may_be_source(sender.state) || sender.state == StorageState::Recovery {
            let source = Some(sender.id);
            return Ok(Answer::SyncPoint(Some(SyncPoint { source, until })));
        }
        group.member_mut(ix).source = None;
        effects.push(Effect::Save(StateFile::Storages));
        Ok(Answer::SyncPoint(None))
    }
}

/// Stores the source unless one is stored already; says whether it did. A source that is gone
/// is refused, and not remembered either.
fn remember_source(
    group: &mut Group,
    ix: MemberIx,
    source: proto::ids::StorageId,
    until: UnixTime,
) -> Result<bool, Refusal> {
    if group.member(ix).source.is_some() {
        return Ok(false);
    }
    // A storage cannot fill itself; it would wait for ever.
    let source = group.find(&source).filter(|source| *source != ix).ok_or(Refusal::NotFound)?;
    if is_gone(group.member(source).state) {
        return Err(Refusal::NotFound);
    }
    let member = group.member_mut(ix);
    member.source = Some(source);
    member.until = until;
    Ok(true)
}
