//! Renamed and removed members and groups (77, 78, 93, 108), and the log that says so.
//!
//! The log is short (a line per administrative act), so all of it is kept here; `saved`
//! appends what is added to its file.

use proto::address::Addresses;
use proto::ids::{GroupName, StorageId};
use proto::status::StorageState;
use proto::tracker::admin::DeleteStorage;
use proto::tracker::changelog::{CHANGELOG_PIECE_MAX, IpChanged};
use proto::tracker::sync::StorageRef;
use proto::tracker::{STORAGES_PER_GROUP_MAX, UnixTime};

use super::member::{Member, MemberIx, is_busy, is_gone};
use super::{Answer, Cluster, Effect, Refusal, Session, StateFile};

/// `<time> <group> <old id> <state> <new id>` a line; the new id may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChangeLog {
    text: String,
}

impl ChangeLog {
    pub(super) fn new(text: String) -> Self {
        Self { text }
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.text.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whole lines from `offset` on, as many as fit one answer.
    fn piece(&self, offset: u64) -> &str {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.text.get(from..).unwrap_or("");
        let fits = rest.get(..CHANGELOG_PIECE_MAX).unwrap_or(rest);
        let end = fits.rfind('\n').map_or(0, |at| at + 1);
        fits.get(..end).unwrap_or("")
    }

    /// Storages demand five columns: without a new id the line ends with a blank.
    fn add(
        &mut self,
        now: UnixTime,
        group: &GroupName,
        old: StorageId,
        state: StorageState,
        new: Option<StorageId>,
    ) -> Effect {
        let new = new.as_ref().map_or("", StorageId::as_str);
        let line = format!("{} {group} {old} {} {new}\n", now.0, state as u8);
        self.text.push_str(&line);
        Effect::AppendChangelog(line)
    }
}

impl Cluster {
    /// 77: what the asking storage, or the named one, has not read yet.
    ///
    /// On a connection that has joined it counts as read when the next request comes in: the
    /// reference counts it at once, and what is lost with a connection is never told again, so that
    /// a member that has moved is sent everything once more.
    pub(super) fn changelog_req(
        &mut self,
        session: &mut Session,
        about: Option<&StorageRef>,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let (name, ix) = match about {
            None => session.joined.ok_or(Refusal::NotJoined)?,
            Some(about) => {
                let group = self.groups.get(&about.group).ok_or(Refusal::NotFound)?;
                (about.group, group.find(&about.id).ok_or(Refusal::NotFound)?)
            }
        };
        let group = self.groups.get_mut(&name).ok_or(Refusal::NotFound)?;
        let member = group.member_mut(ix);
        let piece = self.changelog.piece(member.changelog_offset);
        if piece.is_empty() {
            return Ok(Answer::Empty);
        }
        let sent = u64::try_from(piece.len()).unwrap_or(0);
        let end = member.changelog_offset.saturating_add(sent);
        if about.is_none() {
            session.changelog_sent = Some(end);
        } else {
            member.changelog_offset = end;
            effects.push(Effect::Save(StateFile::Storages));
        }
        Ok(Answer::Text(piece.to_owned()))
    }

    /// The storage has asked for something else: what it was sent of the change log has arrived.
    pub(super) fn changelog_arrived(&mut self, session: &mut Session, effects: &mut Vec<Effect>) {
        let Some(end) = session.changelog_sent.take() else { return };
        let Ok((group, ix)) = self.joined(session) else { return };
        let member = group.member_mut(ix);
        if member.changelog_offset < end {
            member.changelog_offset = end;
            effects.push(Effect::Save(StateFile::Storages));
        }
    }

    /// 93: the entry stays until the next start, so that others learn of the removal.
    pub(super) fn delete_storage(
        &mut self,
        now: UnixTime,
        about: &DeleteStorage,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let group = self.groups.get_mut(&about.group).ok_or(Refusal::NotFound)?;
        let ix = group.find(&about.id).ok_or(Refusal::NotFound)?;
        match group.member(ix).state {
            StorageState::IpChanged => return Err(Refusal::NotFound),
            StorageState::Deleted => return Err(Refusal::Already),
            state if is_busy(state) => return Err(Refusal::Busy),
            _ => {}
        }
        let fed: Vec<MemberIx> =
            group.registered().filter(|(_, m)| m.source == Some(ix)).map(|(ix, _)| ix).collect();
        for other in fed {
            group.member_mut(other).source = None;
        }
        group.deactivate(ix);
        group.move_to(ix, StorageState::Deleted, effects);
        group.member_mut(ix).wipe();
        group.touch();
        let name = group.name;
        effects.push(self.changelog.add(now, &name, about.id, StorageState::Deleted, None));
        // Both leave it out from now on, and rows and columns of the one follow the other.
        effects.extend([StateFile::Storages, StateFile::SyncTimes].map(Effect::Save));
        Ok(Answer::Empty)
    }

    /// 78: the entry with its history gets the new address as its id; an entry that says
    /// "renamed" takes the place of the old one.
    pub(super) fn ip_changed(
        &mut self,
        now: UnixTime,
        session: &Session,
        change: &IpChanged,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let group = self.groups.get_mut(&change.group).ok_or(Refusal::NotFound)?;
        if change.new.to_canonical() != session.peer.to_canonical() {
            return Err(Refusal::Invalid);
        }
        let (old, new) = StorageId::from_ip(change.old)
            .zip(StorageId::from_ip(change.new))
            .ok_or(Refusal::NotFound)?;
        let ix = group.find(&old).ok_or(Refusal::NotFound)?;
        match group.member(ix).state {
            StorageState::Deleted => return Err(Refusal::NotFound),
            StorageState::IpChanged => return Err(Refusal::Already),
            state if is_busy(state) => return Err(Refusal::Busy),
            _ => {}
        }
        let there = group.find(&new);
        if there.is_some_and(|there| !is_gone(group.member(there).state)) {
            return Err(Refusal::Exists);
        }
        if there.is_none() && STORAGES_PER_GROUP_MAX <= group.len() {
            return Err(Refusal::Full); // the marker below would not fit
        }
        let old_address = group.member(ix).addresses;
        let mut marker = Member::new(old, old_address, group.member(ix).mode);
        marker.port = group.member(ix).port;
        marker.state = StorageState::IpChanged;
        group.rename(ix, new);
        let member = group.member_mut(ix);
        member.addresses = Addresses::one(change.new);
        member.current = change.new;
        match there {
            // What reminds of a storage that is gone makes room: one that has moved away and
            // comes back would else be a new one, which is all that the reference can do.
            Some(there) => group.replace(there, marker),
            None => {
                group.register(marker);
            }
        }
        let name = group.name;
        effects.push(self.changelog.add(now, &name, old, StorageState::IpChanged, Some(new)));
        let files = [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes];
        effects.extend(files.map(Effect::Save));
        Ok(Answer::Empty)
    }

    /// 108: only a group that never had a storage since the start can go.
    pub(super) fn delete_group(
        &mut self,
        name: &GroupName,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let group = self.groups.get(name).ok_or(Refusal::NotFound)?;
        if group.len() != 0 {
            return Err(Refusal::Busy);
        }
        self.groups.remove(name);
        effects.push(Effect::Save(StateFile::Groups));
        Ok(Answer::Empty)
    }
}
