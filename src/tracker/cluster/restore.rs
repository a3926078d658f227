//! Makes a cluster from its state files (tracker.md 12.6).
//!
//! Any inconsistency ends the start: guessing would hand out wrong servers later. Gets texts
//! and returns a value; `saved` does the reading.

use proto::address::{Addresses, parse_ip};
use proto::ids::{GroupName, StorageId};
use proto::ini::{Ini, IniError};
use proto::status::{RwMode, StorageState};
use proto::tracker::beat::Statistics;
use proto::tracker::list::GroupPort;
use proto::tracker::{Megabytes, UnixTime, Version};

use super::changelog::ChangeLog;
use super::files::saved_tallies;
use super::group::Group;
use super::member::{Member, MemberIx};
use super::policy::{Policy, ServerChoice};
use super::{Cluster, Saved};

/// Why state files cannot be used. The names are those of the files.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{file}: not readable as sections and keys: {error}")]
    Syntax { file: &'static str, error: IniError },
    #[error("{file}: [{section}] has no usable {key}")]
    Missing { file: &'static str, section: String, key: &'static str },
    #[error("{file}: [{section}] names {name} a second time")]
    Twice { file: &'static str, section: String, name: String },
    #[error("{file}: [{section}] names {name}, which is not known")]
    Unknown { file: &'static str, section: String, name: String },
    #[error("{STORAGES} is missing although {GROUPS} names {groups} groups")]
    NoStorages { groups: usize },
    #[error("{SYNC_TIMES} line {line}: {what}")]
    SyncTimes { line: usize, what: &'static str },
}

const GROUPS: &str = "storage_groups_new.dat";
const STORAGES: &str = "storage_servers_new.dat";
const SYNC_TIMES: &str = "storage_sync_timestamp.dat";

/// One section of a state file.
struct Section<'a> {
    file: &'static str,
    ini: &'a Ini,
    name: String,
}

impl Section<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.ini.get_in(&self.name, key).map(|e| e.value.as_str()).filter(|v| !v.is_empty())
    }

    fn number(&self, key: &str) -> i64 {
        self.ini.get_in(&self.name, key).and_then(|entry| entry.int().ok()).unwrap_or(0)
    }

    fn missing(&self, key: &'static str) -> RestoreError {
        RestoreError::Missing { file: self.file, section: self.name.clone(), key }
    }

    fn unknown(&self, name: &str) -> RestoreError {
        let (file, section) = (self.file, self.name.clone());
        RestoreError::Unknown { file, section, name: name.to_owned() }
    }

    fn count(&self, key: &'static str) -> Result<usize, RestoreError> {
        let entry = self.ini.get_in(&self.name, key).ok_or_else(|| self.missing(key))?;
        entry.int().ok().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| self.missing(key))
    }

    fn group_name(&self) -> Result<GroupName, RestoreError> {
        let key = "group_name";
        self.text(key).and_then(GroupName::parse).ok_or_else(|| self.missing(key))
    }
}

fn parse(file: &'static str, text: &str) -> Result<Ini, RestoreError> {
    Ini::parse(text).map_err(|error| RestoreError::Syntax { file, error })
}

/// Small counts; what does not fit is as unknown as what is absent.
fn small(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

impl Cluster {
    /// The cluster as it was saved; an empty one if nothing was.
    pub fn restore(policy: Policy, started: UnixTime, saved: &Saved) -> Result<Self, RestoreError> {
        let mut cluster = Self::new(policy, started);
        cluster.last_check = saved.last_check;
        cluster.changelog = ChangeLog::new(saved.changelog.clone());
        let Some(groups) = &saved.groups else {
            return Ok(cluster);
        };
        if saved.storages.is_none() && saved.sync_times.is_none() {
            // A group whose first storage was refused is saved without any, and a tracker may die
            // before it has saved the other files: nothing is known yet.
            return Ok(cluster);
        }
        cluster.restore_groups(&parse(GROUPS, groups)?)?;
        match &saved.storages {
            Some(storages) => cluster.restore_storages(&parse(STORAGES, storages)?)?,
            None if cluster.groups.is_empty() => {}
            None => return Err(RestoreError::NoStorages { groups: cluster.groups.len() }),
        }
        if let Some(text) = &saved.sync_times {
            cluster.restore_sync_times(text)?;
        }
        Ok(cluster)
    }

    fn restore_groups(&mut self, ini: &Ini) -> Result<(), RestoreError> {
        let file = GROUPS;
        let global = Section { file, ini, name: "Global".to_owned() };
        for number in 1..=global.count("group_count")? {
            let section = Section { file, ini, name: format!("Group{number:03}") };
            let name = section.group_name()?;
            let mut group = Group::new(name);
            let port = GroupPort::from_number(section.number("storage_port"));
            group.port = port.ok_or_else(|| section.missing("storage_port"))?;
            group.path_count = small(section.number("store_path_count"));
            group.subdir_count = small(section.number("subdir_count_per_path"));
            if self.groups.insert(name, group).is_some() {
                let (section, name) = (section.name, name.to_string());
                return Err(RestoreError::Twice { file, section, name });
            }
        }
        Ok(())
    }

    fn restore_storages(&mut self, ini: &Ini) -> Result<(), RestoreError> {
        let file = STORAGES;
        let global = Section { file, ini, name: "Global".to_owned() };
        // A source may stand behind the storages it fills, so it is looked up afterwards.
        let mut sources = Vec::new();
        for number in 1..=global.count("storage_count")? {
            let section = Section { file, ini, name: format!("Storage{number:03}") };
            let name = section.group_name()?;
            let group = self.groups.get_mut(&name);
            let group = group.ok_or_else(|| section.unknown(name.as_str()))?;
            let member = restore_member(&section, group, &self.policy)?;
            if group.find(&member.id).is_some() {
                let (name, section) = (member.id.to_string(), section.name);
                return Err(RestoreError::Twice { file, section, name });
            }
            let ix = group.register(member);
            if let Some(source) = section.text("sync_src_server") {
                sources.push((name, ix, source.to_owned(), section));
            }
        }
        for (name, ix, source, section) in sources {
            let group = self.groups.get_mut(&name).ok_or_else(|| section.unknown(&source))?;
            let found = find_saved(group, &self.policy, &source);
            let found = found.ok_or_else(|| section.unknown(&source))?;
            group.member_mut(ix).source = Some(found);
        }
        Ok(())
    }

    fn restore_sync_times(&mut self, text: &str) -> Result<(), RestoreError> {
        let mut rows: std::collections::BTreeMap<GroupName, usize> = Default::default();
        for (line, row) in (1..).zip(text.lines()) {
            let error = |what| RestoreError::SyncTimes { line, what };
            let mut columns = row.split(',');
            let name = columns.next().and_then(GroupName::parse);
            let group = name.and_then(|name| self.groups.get_mut(&name));
            let group = group.ok_or(error("unknown group"))?;
            let row = rows.entry(group.name).or_default();
            let source = MemberIx(*row);
            *row += 1;
            let id = columns.next().ok_or(error("fewer than three columns"))?;
            if find_saved(group, &self.policy, id) != Some(source) {
                return Err(error("the order is not that of the storages"));
            }
            let mut dests = 0;
            for column in columns {
                let until: u32 = column.parse().map_err(|_| error("not a time"))?;
                if group.len() <= dests {
                    return Err(error("more columns than storages"));
                }
                if until != 0 {
                    group.synced.insert((source, MemberIx(dests)), until);
                }
                dests += 1;
            }
            if dests == 0 {
                return Err(error("fewer than three columns"));
            }
        }
        let choice = self.policy.server;
        self.groups.values_mut().filter(|g| 1 < g.len()).for_each(|g| set_last_synced(g, choice));
        Ok(())
    }
}

/// What is shown and decided by is derived from the times of all sources.
fn set_last_synced(group: &mut Group, choice: ServerChoice) {
    for dest in (0..group.len()).map(MemberIx) {
        let column = group.synced.iter().filter(|((_, to), _)| *to == dest).map(|(_, t)| *t);
        let last = match choice {
            ServerChoice::RoundRobin => column.min(),
            ServerChoice::FirstById | ServerChoice::Priority => column.max(),
        };
        let last = UnixTime(i64::from(last.unwrap_or(0)));
        group.member_mut(dest).statistics.last_synced = last;
    }
}

/// A storage by the id in a file. Files written before ids were used hold addresses.
fn find_saved(group: &Group, policy: &Policy, text: &str) -> Option<MemberIx> {
    let id = StorageId::parse(text)?;
    if let (Some(ids), None, GroupPort::One(port)) = (&policy.ids, id.number(), group.port) {
        let id = ids.in_group(&group.name, parse_ip(text)?, port)?;
        return group.find(id);
    }
    group.find(&id)
}

fn restore_member(
    section: &Section<'_>,
    group: &Group,
    policy: &Policy,
) -> Result<Member, RestoreError> {
    let key = "ip_addr";
    let address = section.text(key).and_then(parse_ip).ok_or_else(|| section.missing(key))?;
    let port = small(section.number("storage_port"));
    let mut member = match &policy.ids {
        None => {
            let id = StorageId::from_ip(address).ok_or_else(|| section.missing(key))?;
            Member::new(id, Addresses::one(address), RwMode::Both)
        }
        Some(ids) => {
            let group_port = u16::try_from(group.port.number()).unwrap_or(0);
            let look_up_port = if port == 0 { group_port } else { port };
            let id = match section.text("id") {
                Some(text) => StorageId::parse(text),
                None => ids.in_group(&group.name, address, look_up_port).copied(),
            };
            let unknown = || section.unknown(&format!("a storage at {address}:{look_up_port}"));
            let id = id.ok_or_else(unknown)?;
            let known = ids.get(&id).filter(|storage| storage.group == group.name);
            let known = known.ok_or_else(|| section.unknown(id.as_str()))?;
            Member::new(id, known.addresses, known.mode)
        }
    };
    member.seen_at(address);
    let state = u8::try_from(section.number("status")).ok().and_then(StorageState::from_byte);
    member.state = match state {
        Some(waiting @ (StorageState::Init | StorageState::WaitSync | StorageState::Syncing)) => {
            waiting
        }
        _ => StorageState::Offline,
    };
    member.version = section.text("version").and_then(Version::parse).unwrap_or_default();
    member.join_time = UnixTime(section.number("join_time"));
    member.port = port;
    member.until = UnixTime(section.number("sync_until_timestamp"));
    member.space.total = Megabytes(section.number("total_mb"));
    member.space.free = Megabytes(section.number("free_mb"));
    member.changelog_offset = u64::try_from(section.number("changelog_offset")).unwrap_or(0);
    member.path_count = small(section.number("store_path_count"));
    member.subdir_count = small(section.number("subdir_count_per_path"));
    member.upload_priority = section.number("upload_priority");
    member.statistics = restore_statistics(section);
    Ok(member)
}

fn restore_statistics(section: &Section<'_>) -> Statistics {
    let mut statistics = Statistics::default();
    for (key, tally) in saved_tallies(&mut statistics) {
        tally.total = section.number(&format!("total_{key}"));
        tally.success = section.number(&format!("success_{key}"));
    }
    statistics.last_source_update = UnixTime(section.number("last_source_update"));
    statistics.last_sync_update = UnixTime(section.number("last_sync_update"));
    statistics.last_synced = UnixTime(section.number("last_synced_timestamp"));
    statistics.last_heartbeat = UnixTime(section.number("last_heart_beat_time"));
    statistics
}
