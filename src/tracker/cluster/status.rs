//! States that storages report about themselves and each other (59, 76, 85; tracker.md 5.5).

use proto::address::Addresses;
use proto::ids::StorageId;
use proto::status::{RwMode, StorageState};
use proto::tracker::Brief;
use proto::tracker::status::ReportStatus;

use super::group::Group;
use super::join::add_member;
use super::member::{Member, is_gone};
use super::policy::Policy;
use super::{Answer, Cluster, Effect, Refusal, Session, StateFile};

impl Cluster {
    /// 59: a storage corrects what this tracker believes of it.
    pub(super) fn change_status(
        &mut self,
        session: &Session,
        wanted: StorageState,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let (group, ix) = self.joined(session)?;
        let current = group.member(ix).state;
        let served =
            |s| matches!(s, StorageState::Offline | StorageState::Online | StorageState::Active);
        if wanted == current || (served(wanted) && served(current)) {
            return Ok(Answer::Empty);
        }
        // Only a report of its own puts a storage into service.
        let to = if served(wanted) { StorageState::Offline } else { wanted };
        group.move_to(ix, to, effects);
        effects.push(Effect::Save(StateFile::Storages));
        Ok(Answer::Empty)
    }

    /// 76: anybody may report, joined or not.
    pub(super) fn report_status(
        &mut self,
        report: &ReportStatus,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let group = self.groups.get_mut(&report.group).ok_or(Refusal::NotFound)?;
        merge(group, &self.policy, &report.brief, effects)?;
        Ok(Answer::Empty)
    }

    /// 85: the leading tracker knows better; another one merges.
    pub(super) fn replica_change(
        &mut self,
        session: &Session,
        briefs: &[Brief],
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let (name, _) = session.joined.ok_or(Refusal::NotJoined)?;
        if !self.trackers.is_leader() {
            let group = self.groups.get_mut(&name).ok_or(Refusal::NotFound)?;
            for brief in briefs {
                merge(group, &self.policy, brief, effects)?;
            }
        }
        Ok(Answer::Empty)
    }
}

/// Takes over what a brief says, if it says more than is known.
fn merge(
    group: &mut Group,
    policy: &Policy,
    brief: &Brief,
    effects: &mut Vec<Effect>,
) -> Result<(), Refusal> {
    if brief.state == StorageState::None {
        return Ok(());
    }
    let id = brief.id.ok_or(Refusal::NotFound)?;
    let Some(ix) = group.find(&id) else {
        return match brief.state {
            StorageState::Online | StorageState::Active => Ok(()),
            state if is_gone(state) => Ok(()),
            _ => learn(group, policy, brief, effects),
        };
    };
    let current = group.member(ix).state;
    let settled = matches!(
        current,
        StorageState::Init | StorageState::Online | StorageState::Active | StorageState::Recovery
    );
    // The states are compared as numbers: what comes later in a life is larger.
    if current != brief.state && !settled && (is_gone(brief.state) || current < brief.state) {
        group.move_to(ix, brief.state, effects);
        group.touch();
        // The reference does not save here. But whoever has just been filled would wait for
        // old files again if this tracker crashed, and nobody would send them.
        effects.push(Effect::SaveSoon(StateFile::Storages));
    }
    Ok(())
}

/// Takes in a storage that only others know.
fn learn(
    group: &mut Group,
    policy: &Policy,
    brief: &Brief,
    effects: &mut Vec<Effect>,
) -> Result<(), Refusal> {
    let id = brief.id.ok_or(Refusal::NotFound)?;
    let (addresses, mode) = match &policy.ids {
        None => {
            // The address is the id: anything else could be saved, but not read back.
            let address = brief.address.filter(|address| StorageId::from_ip(*address) == Some(id));
            (Addresses::one(address.ok_or(Refusal::Invalid)?), RwMode::Both)
        }
        Some(ids) => {
            let storage = ids.get(&id).ok_or(Refusal::NotFound)?;
            if storage.group != group.name {
                return Err(Refusal::Invalid);
            }
            (storage.addresses, storage.mode)
        }
    };
    let ix = add_member(group, Member::new(id, addresses, mode))?;
    group.member_mut(ix).port = brief.port;
    group.move_to(ix, brief.state, effects);
    Ok(())
}
