//! What storages report again and again: heartbeat, disk usage, progress of replication.
//!
//! Each is answered with what changed since the storage was last told (tracker.md 3.7).

use proto::ids::GroupName;
use proto::status::StorageState;
use proto::tracker::beat::{Changes, Statistics};
use proto::tracker::sync::SyncedUntil;
use proto::tracker::{Brief, Space, UnixTime};

use super::member::MemberIx;
use super::policy::{PathChoice, ServerChoice};
use super::{Answer, Cluster, Effect, Refusal, Session, StateFile};

/// Every so many reports their file is saved, counted over all storages.
const SAVE_EVERY: u32 = 1000;

impl Cluster {
    /// 83: the storage is alive.
    pub(super) fn beat(
        &mut self,
        now: UnixTime,
        session: &mut Session,
        statistics: Option<Statistics>,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let (group, ix) = self.joined(session)?;
        let member = group.member_mut(ix);
        let ours = member.statistics;
        if let Some(reported) = statistics {
            // These two are ours: a storage only shows them to others.
            let (last_synced, last_heartbeat) = (ours.last_synced, ours.last_heartbeat);
            member.statistics = Statistics { last_synced, last_heartbeat, ..reported };
        }
        member.statistics.last_heartbeat = now;
        group.activate(ix, effects);
        if statistics.is_some() {
            self.beats = self.beats.wrapping_add(1);
            if self.beats.is_multiple_of(SAVE_EVERY) {
                effects.push(Effect::SaveSoon(StateFile::Storages));
            }
        }
        self.changes(session)
    }

    /// 84: the space of every store path. It puts the storage into service, but says nothing
    /// about its life: only a heartbeat does.
    pub(super) fn disk_usage(
        &mut self,
        session: &mut Session,
        paths: Vec<Space>,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let choice = self.policy.path;
        let (group, ix) = self.joined(session)?;
        if paths.len() != usize::from(group.path_count) {
            return Err(Refusal::Invalid);
        }
        let before = group.member(ix).space.free;
        let space = store_usage(group.member_mut(ix), paths, choice);
        if group.space.free.0 == 0 || space.free < group.space.free {
            group.space = space;
        } else if before < space.free {
            group.space = group.fullest_writable().unwrap_or(group.space);
        }
        group.activate(ix, effects);
        self.aim_at_most_free();
        self.changes(session)
    }

    /// 89: up to which time the reporter has everything from each source.
    pub(super) fn sync_report(
        &mut self,
        session: &mut Session,
        records: &[SyncedUntil],
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let turns = self.policy.server == ServerChoice::RoundRobin;
        let (group, reporter) = self.joined(session)?;
        let mut accepted = Vec::new();
        for SyncedUntil { source, until } in records {
            let source = group.find(source).filter(|ix| *ix != reporter);
            let Some(source) = source.filter(|_| *until != 0) else { continue };
            if group.member(source).state == StorageState::Active {
                group.synced.insert((source, reporter), *until);
                accepted.push(UnixTime(i64::from(*until)));
            }
        }
        let last_synced = &mut group.member_mut(reporter).statistics.last_synced;
        if turns {
            *last_synced = accepted.into_iter().min().unwrap_or(*last_synced);
        } else {
            *last_synced = accepted.into_iter().fold(*last_synced, UnixTime::max);
        }
        self.sync_reports = self.sync_reports.wrapping_add(1);
        if self.sync_reports.is_multiple_of(SAVE_EVERY) {
            effects.push(Effect::SaveSoon(StateFile::SyncTimes));
        }
        self.changes(session)
    }

    /// What changed since the storage was last told. Only the leading tracker tells.
    fn changes(&mut self, session: &mut Session) -> Result<Answer, Refusal> {
        let mut changes = Changes::default();
        if !self.trackers.is_leader() {
            return Ok(Answer::Changes(changes));
        }
        let leader_changes = self.trackers.leader_changes();
        // Another one may have led meanwhile, or believed so, and have told it otherwise.
        let anew = session.leader_seen != leader_changes;
        if anew {
            session.leader_seen = leader_changes;
            changes.leader = Some(self.trackers.leader_brief().unwrap_or(Brief::NOBODY));
        }
        let peer = session.peer;
        let (group, ix) = self.joined(session)?;
        if anew || group.member(ix).changes_seen != group.changes {
            group.member_mut(ix).changes_seen = group.changes;
            changes.group = Some(group.sorted().map(|(_, member)| member.brief(peer)).collect());
        }
        Ok(Answer::Changes(changes))
    }

    /// Takes storages offline that have been silent for too long. Their connections stay: the
    /// next heartbeat puts them back.
    pub(super) fn check_alive(&mut self, now: UnixTime, effects: &mut Vec<Effect>) {
        let wait_max = self.policy.check_active_secs;
        for group in self.groups.values_mut() {
            let active = group.registered().filter(|(_, m)| m.state == StorageState::Active);
            let silent: Vec<MemberIx> = active
                .filter(|(_, member)| wait_max < now.since(member.statistics.last_heartbeat))
                .map(|(ix, _)| ix)
                .collect();
            for ix in silent {
                let id = group.member(ix).id;
                let name: GroupName = group.name;
                effects.push(Effect::Warn(format!(
                    "storage {name}/{id} has been silent for more than {wait_max} s"
                )));
                group.move_to(ix, StorageState::Offline, effects);
                group.deactivate(ix);
            }
        }
    }
}

/// Stores a report path by path and returns the sum. With the balance by free space the write
/// path is compared while values are being replaced, so a path further on counts with its
/// previous report: the reference does the same, and the choice is only a proposal.
fn store_usage(member: &mut super::member::Member, paths: Vec<Space>, choice: PathChoice) -> Space {
    let mut sum = Space::default();
    let old = core::mem::take(&mut member.paths);
    member.paths = paths.iter().enumerate().map(|(at, new)| *old.get(at).unwrap_or(new)).collect();
    for ((index, at), space) in (0u16..).zip(0..).zip(paths) {
        if let Some(slot) = member.paths.get_mut::<usize>(at) {
            *slot = space;
        }
        sum.total.0 = sum.total.0.saturating_add(space.total.0);
        sum.free.0 = sum.free.0.saturating_add(space.free.0);
        let current = member.paths.get(usize::from(member.write_path)).copied().unwrap_or_default();
        if choice == PathChoice::MostFree && current.free < space.free {
            member.write_path = index;
        }
    }
    member.space = sum;
    sum
}
