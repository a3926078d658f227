//! Groups and storages as administrators and monitoring see them (71, 90-92, 97, 98).
//!
//! Changes nothing.

use core::net::IpAddr;

use proto::ids::{GroupName, StorageId};
use proto::tracker::bootstrap::ServerQuery;
use proto::tracker::list::{GroupStat, ListStorage, StorageStat};
use proto::tracker::stat::{StorageFilter, StorageLine, StorageLines};
use proto::tracker::stat::{Volume, VolumeFilter, Volumes};
use proto::tracker::{Brief, Megabytes};

use super::group::Group;
use super::leader::host_text;
use super::member::Member;
use super::policy::Policy;
use super::{Answer, Cluster, Refusal, Session};

impl Cluster {
    /// Every group with its storages, as administrators see them: for the metrics.
    pub fn overview(&self) -> Vec<(GroupStat, Vec<StorageStat>)> {
        let anyone = IpAddr::from([0; 4]);
        let of = |group: &Group| {
            let stat = |member: &Member| storage_stat(group, member, anyone, &self.policy);
            let stats = group.sorted().map(|(_, member)| stat(member)).collect();
            (group_stat(group, &self.policy), stats)
        };
        self.groups.values().map(of).collect()
    }

    /// Whether this tracker leads.
    pub fn leads(&self) -> bool {
        self.trackers.is_leader()
    }

    /// 90 and, without a name, 91.
    pub(super) fn list_groups(&self, name: Option<&GroupName>) -> Result<Answer, Refusal> {
        let stats = match name {
            None => self.groups.values().map(|group| group_stat(group, &self.policy)).collect(),
            Some(name) => {
                let group = self.groups.get(name).ok_or(Refusal::NotFound)?;
                vec![group_stat(group, &self.policy)]
            }
        };
        Ok(Answer::Groups(stats))
    }

    /// 92: deleted and renamed storages included.
    pub(super) fn list_storages(
        &self,
        session: &Session,
        query: &ListStorage,
    ) -> Result<Answer, Refusal> {
        let group = self.groups.get(&query.group).ok_or(Refusal::NotFound)?;
        let stat = |member: &Member| storage_stat(group, member, session.peer, &self.policy);
        let stats = match &query.id {
            None => group.sorted().map(|(_, member)| stat(member)).collect(),
            Some(id) => vec![stat(group.member(group.find(id).ok_or(Refusal::NotFound)?))],
        };
        Ok(Answer::Storages(stats))
    }

    /// 71.
    pub(super) fn storage_status(&self, query: &ServerQuery) -> Result<Answer, Refusal> {
        let group = self.groups.get(&query.group).ok_or(Refusal::NotFound)?;
        let id = match &self.policy.ids {
            None => StorageId::from_ip(query.address),
            Some(ids) => ids.in_group(&query.group, query.address, query.port).copied(),
        };
        let ix = id.and_then(|id| group.find(&id)).ok_or(Refusal::NotFound)?;
        let Member { state, port, id, addresses, .. } = *group.member(ix);
        Ok(Answer::Status(Brief { state, port, id: Some(id), address: Some(addresses.first()) }))
    }

    /// 97: every storage of every group, in one line each. Trunk files are off, so the filter
    /// for trunk servers is ignored (tracker.md 3.3.5).
    pub(super) fn storage_lines(
        &self,
        session: &Session,
        filter: StorageFilter,
    ) -> Result<Answer, Refusal> {
        let members = self.groups.values().flat_map(|group| group.sorted());
        let wanted = members
            .map(|(_, member)| member)
            .filter(|member| filter.status.is_none_or(|status| status.matches(member.state)));
        let lines = wanted.map(|member| {
            let endpoint = member.endpoint(session.peer);
            StorageLine {
                id: member.id,
                host: host_text(endpoint.address, endpoint.port),
                is_trunk_server: false,
                state: member.state,
                connections: member.statistics.connections,
                version: member.version,
                up_time: member.up_time,
                last_heartbeat: member.statistics.last_heartbeat,
            }
        });
        Ok(Answer::StorageLines(StorageLines {
            use_storage_id: self.policy.ids.is_some(),
            use_trunk_file: false,
            lines: lines.collect(),
        }))
    }

    /// 98. Trunk files are off: no trunk space, and the filter for it is ignored.
    pub(super) fn volumes(&self, filter: VolumeFilter) -> Result<Answer, Refusal> {
        let all = self.groups.values().map(|group| volume(group, &self.policy));
        let wanted = all.filter(|v| {
            [filter.disk, filter.space].into_iter().flatten().all(|want| v.disk_available == want)
        });
        Ok(Answer::Volumes(Volumes { use_trunk_file: false, volumes: wanted.collect() }))
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

fn group_stat(group: &Group, policy: &Policy) -> GroupStat {
    GroupStat {
        group: group.name,
        total: group.space.total,
        free: group.space.free,
        reserved: group.reserved(policy),
        trunk_free: Megabytes(0),
        storages: count(group.len()),
        port: group.port,
        readable: count(group.readable().len()),
        writable: count(group.writable().len()),
        write_cursor: count(group.write_cursor),
        path_count: i64::from(group.path_count),
        subdir_count: i64::from(group.subdir_count),
        trunk_file_id: -1, // trunk files are off
    }
}

fn storage_stat(group: &Group, member: &Member, peer: IpAddr, policy: &Policy) -> StorageStat {
    StorageStat {
        state: member.state,
        mode: member.mode,
        id: member.id,
        address: member.addresses.for_peer(peer),
        source: member.source.map(|source| group.member(source).id),
        version: member.version,
        join_time: member.join_time,
        up_time: member.up_time,
        total: member.space.total,
        free: member.space.free,
        reserved: policy.reserved.of_total(member.space.total),
        upload_priority: member.upload_priority,
        path_count: i64::from(member.path_count),
        subdir_count: i64::from(member.subdir_count),
        write_path: i64::from(member.write_path),
        port: member.port,
        statistics: member.statistics,
        is_trunk_server: false,
    }
}

fn volume(group: &Group, policy: &Policy) -> Volume {
    let reserved = group.reserved(policy);
    let disk_available = policy.reserved.admits_group(group.space);
    let left = group.space.free.0.saturating_sub(reserved.0).max(0);
    Volume {
        group: group.name,
        total: group.space.total,
        free: group.space.free,
        reserved,
        available: Megabytes(if disk_available { left } else { 0 }),
        trunk_free: Megabytes(0),
        disk_available,
        trunk_available: false,
    }
}
