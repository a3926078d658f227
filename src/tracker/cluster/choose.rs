//! Chooses the group, the storage and the store path that receive the next upload.
//!
//! Called through `Cluster::apply` for 101, 104, 106 and 107 (tracker.md 7). The store path is
//! a proposal: a storage may take another one.

use core::net::IpAddr;

use proto::ids::{GroupName, StorePath};
use proto::tracker::query::StoreTarget;

use super::group::Group;
use super::member::MemberIx;
use super::policy::{Lookup, PathChoice, Policy};
use super::{Answer, Cluster, Refusal};

impl Cluster {
    /// Where to store: in `group` if given; one server, or all that could take the file.
    pub(super) fn store(
        &mut self,
        peer: IpAddr,
        group: Option<GroupName>,
        all: bool,
    ) -> Result<Answer, Refusal> {
        let name = match (group, &self.policy.lookup) {
            (Some(name), _) => name,
            (None, Lookup::Group(name)) => *name,
            (None, Lookup::RoundRobin | Lookup::MostFree) => self.next_group()?,
        };
        let policy = &self.policy;
        let group = self.groups.get_mut(&name).ok_or(Refusal::NotFound)?;
        takes_uploads(group, policy)?;
        let (servers, first) = if all {
            let first = group.writable().first().copied();
            (group.writable().to_vec(), first)
        } else {
            let next = group.next_writer(policy);
            (next.into_iter().collect(), next)
        };
        let path = next_path(group, policy, first.ok_or(Refusal::NotFound)?)?;
        let servers = servers.iter().map(|ix| group.member(*ix).endpoint(peer)).collect();
        Ok(Answer::Store(StoreTarget { group: name, servers, path }))
    }

    /// The next group that takes uploads, starting at the cursor.
    fn next_group(&mut self) -> Result<GroupName, Refusal> {
        let count = self.groups.len();
        let start = if self.write_group < count { self.write_group } else { 0 };
        let places = self.groups.values().enumerate();
        let (before, after): (Vec<_>, Vec<_>) = places.partition(|(at, _)| *at < start);
        let mut refusal = Refusal::NotFound;
        for (at, group) in after.into_iter().chain(before) {
            match takes_uploads(group, &self.policy) {
                Ok(()) => {
                    let turns = self.policy.lookup == Lookup::RoundRobin;
                    self.write_group = if turns { (at + 1) % count } else { at };
                    return Ok(group.name);
                }
                Err(Refusal::Full) => refusal = Refusal::Full,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// After a report, with `store_lookup = 2`: the group with the most free space is next.
    pub(super) fn aim_at_most_free(&mut self) {
        if self.policy.lookup != Lookup::MostFree {
            return;
        }
        let usable = self.groups.values().enumerate().filter(|(_, g)| !g.writable().is_empty());
        // Compared from the end, so that of equals the first in name order is kept.
        let best = usable.rev().max_by_key(|(_, group)| group.space.free);
        if let Some((at, _)) = best {
            self.write_group = at;
        }
    }
}

fn takes_uploads(group: &Group, policy: &Policy) -> Result<(), Refusal> {
    if group.writable().is_empty() {
        return Err(Refusal::NotFound);
    }
    if policy.reserved.admits_group(group.space) { Ok(()) } else { Err(Refusal::Full) }
}

/// The store path of the next upload on `server`, from its cursor on.
fn next_path(group: &mut Group, policy: &Policy, server: MemberIx) -> Result<StorePath, Refusal> {
    let count = group.path_count;
    if count == 0 {
        return Err(Refusal::NotFound);
    }
    let member = group.member_mut(server);
    let start = if member.write_path < count { member.write_path } else { 0 };
    let admitted = |path: &u16| {
        let space = member.paths.get(usize::from(*path)).copied().unwrap_or_default();
        policy.reserved.admits_path(space, count)
    };
    let path = (start..count).chain(0..start).find(admitted).ok_or(Refusal::Full)?;
    member.write_path = match policy.path {
        PathChoice::RoundRobin => (path + 1) % count,
        PathChoice::MostFree => path,
    };
    // At most 256 paths exist, so the index fits its byte.
    u8::try_from(path).map(StorePath).map_err(|_| Refusal::Full)
}
