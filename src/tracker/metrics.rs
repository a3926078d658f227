//! The page of metrics: who is in the groups, in which state, how full, and how far behind.
//!
//! A function of what the cluster looks like to administrators. Knows no connection but their
//! number.

use net::metrics::Page;
use proto::tracker::beat::Connections;
use proto::tracker::list::{GroupStat, StorageStat};

/// Megabytes of the reports are of this size.
const MEGABYTE: i64 = 1 << 20;

/// Writes the page.
pub(crate) fn gather(
    groups: &[(GroupStat, Vec<StorageStat>)],
    leads: bool,
    connections: Connections,
    page: &mut Page,
) {
    page.gauge("fdfs_tracker_connections", "Connections of clients, storages and trackers.");
    page.value("fdfs_tracker_connections", &[("state", "open")], connections.current);
    page.value("fdfs_tracker_connections", &[("state", "most")], connections.max);
    page.gauge("fdfs_tracker_leads", "Whether this tracker leads the others.");
    page.value("fdfs_tracker_leads", &[], u8::from(leads));
    page.gauge("fdfs_tracker_group_bytes", "Room of a group: that of its smallest member.");
    for (group, _) in groups {
        let name = group.group.to_string();
        for (kind, megabytes) in
            [("total", group.total), ("free", group.free), ("reserved", group.reserved)]
        {
            let bytes = megabytes.0.saturating_mul(MEGABYTE);
            page.value("fdfs_tracker_group_bytes", &[("group", &name), ("kind", kind)], bytes);
        }
    }
    page.gauge("fdfs_tracker_group_storages", "Members of a group that may be read and written.");
    for (group, _) in groups {
        let name = group.group.to_string();
        for (kind, count) in [("readable", group.readable), ("writable", group.writable)] {
            page.value("fdfs_tracker_group_storages", &[("group", &name), ("kind", kind)], count);
        }
    }
    page.gauge("fdfs_tracker_storage_state", "The state of each storage.");
    each(groups, |group, storage, _| {
        let labels = [("group", group), ("storage", &*storage.id.to_string())];
        let labels = [labels[0], labels[1], ("state", storage.state.name())];
        page.value("fdfs_tracker_storage_state", &labels, 1);
    });
    let name = "fdfs_tracker_storage_delay_seconds";
    page.gauge(name, "How far a storage is behind what the others of its group took in.");
    each(groups, |group, storage, all| {
        let labels = [("group", group), ("storage", &*storage.id.to_string())];
        page.value(name, &labels, delay(storage, all));
    });
}

fn each(
    groups: &[(GroupStat, Vec<StorageStat>)],
    mut tell: impl FnMut(&str, &StorageStat, &[StorageStat]),
) {
    for (group, storages) in groups {
        let name = group.group.to_string();
        storages.iter().for_each(|storage| tell(&name, storage, storages));
    }
}

/// Seconds between the newest change that another storage took in and what this one has for
/// certain, by the clocks of the storages.
fn delay(storage: &StorageStat, all: &[StorageStat]) -> i64 {
    let others = all.iter().filter(|other| other.id != storage.id);
    let newest = others.map(|other| other.statistics.last_source_update).max();
    newest.map_or(0, |newest| newest.since(storage.statistics.last_synced).max(0))
}
