//! The text of the stat programs, line by line (tools.md 4).

use std::fmt::Write as _;

use proto::tracker::beat::Connections;
use proto::tracker::stat::{StorageLines, TrackerStat, Volumes};
use proto::tracker::{Megabytes, UnixTime, Version};

use crate::monitor::report::{human, state};
use crate::zone::Zone;

/// A line for each tracker; a zone asks for a second one with details.
pub(super) fn trackers(rows: &[TrackerStat], details: Option<&Zone>) -> String {
    let mut text = String::new();
    for row in rows {
        let TrackerStat { host, is_leader, is_active, .. } = row;
        let connections = connections(row.connections);
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "{host}, is_leader: {}, is_active: {}, {connections}",
            u8::from(*is_leader),
            u8::from(*is_active),
        );
        if let Some(zone) = details {
            // The leader hears from the others; nobody hears from it.
            let heartbeat = (!is_leader).then_some(row.last_heartbeat);
            text.push_str(&detail(row.version, row.up_time, heartbeat, zone));
        }
    }
    if !rows.is_empty() {
        let _ = writeln!(text, "\ntracker server count: {}", rows.len());
    }
    text
}

/// A line for each storage; a zone asks for a second one with details.
pub(super) fn storages(answer: &StorageLines, details: Option<&Zone>) -> String {
    let mut text = String::new();
    for row in &answer.lines {
        if answer.use_storage_id {
            let _ = write!(text, "{} ", row.id);
        }
        let _ = write!(text, "{} {}, ", row.host, state(row.state));
        if answer.use_trunk_file {
            let _ = write!(text, "is_trunk_server: {}, ", u8::from(row.is_trunk_server));
        }
        let _ = writeln!(text, "{}", connections(row.connections));
        if let Some(zone) = details {
            text.push_str(&detail(row.version, row.up_time, Some(row.last_heartbeat), zone));
        }
    }
    if !answer.lines.is_empty() {
        let _ = writeln!(text, "\nstorage server count: {}", answer.lines.len());
    }
    text
}

/// A line for each group, and below several their sum.
pub(super) fn volumes(answer: &Volumes) -> String {
    let mut text = String::new();
    let mut sum = Space::default();
    for row in &answer.volumes {
        let _ = write!(text, "{} disk_available: {}", row.group, u8::from(row.disk_available));
        if answer.use_trunk_file {
            let _ = write!(text, ", trunk_available: {}", u8::from(row.trunk_available));
        }
        let space = Space {
            total: row.total.0,
            free: row.free.0,
            reserved: row.reserved.0,
            available: row.available.0,
            trunk: row.trunk_free.0,
        };
        let _ = writeln!(text, ", {}", space.print(answer.use_trunk_file));
        sum.add(&space);
    }
    let count = answer.volumes.len();
    match count {
        0 => {}
        1 => text.push_str("\nstorage volumn / group count: 1\n"),
        _ => {
            let usable = |v: &&proto::tracker::stat::Volume| v.disk_available || v.trunk_available;
            let available = answer.volumes.iter().filter(usable).count();
            let rule = "=".repeat(20);
            let _ = writeln!(text, "\n{rule} VOLUMNS SUMMARY {rule}");
            let _ = writeln!(text, "{}", sum.print(answer.use_trunk_file));
            let _ =
                writeln!(text, "volumn / group counts {{total: {count}, available: {available}}}");
        }
    }
    text
}

fn connections(Connections { allocated, current, max }: Connections) -> String {
    format!("connections {{alloc: {allocated}, current: {current}, max: {max}}}")
}

fn detail(version: Version, up: UnixTime, heartbeat: Option<UnixTime>, zone: &Zone) -> String {
    let mut text = format!("  version: {}, up_time: {}", version.as_str(), zone.print(up.0));
    if let Some(time) = heartbeat {
        let _ = write!(text, ", last_heartbeat_time: {}", zone.print(time.0));
    }
    text.push_str("\n\n");
    text
}

/// Megabytes of a group, or of all.
#[derive(Debug, Default)]
struct Space {
    total: i64,
    free: i64,
    reserved: i64,
    available: i64,
    trunk: i64,
}

impl Space {
    fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.free = self.free.saturating_add(other.free);
        self.reserved = self.reserved.saturating_add(other.reserved);
        self.available = self.available.saturating_add(other.available);
        self.trunk = self.trunk.saturating_add(other.trunk);
    }

    fn print(&self, with_trunk: bool) -> String {
        let usable = self.total.saturating_sub(self.reserved);
        let used = usable.saturating_sub(self.available);
        let mut text = format!(
            "disk space {{total: {}, free: {}, reserved: {}, avail: {}, util: {}%}}",
            unpadded(self.total),
            unpadded(self.free),
            unpadded(self.reserved),
            unpadded(self.available),
            percent(used, usable),
        );
        if with_trunk {
            let space = self.available.saturating_add(self.trunk);
            let _ = write!(
                text,
                ", trunk free space: {}, total available {{space: {}, ratio: {}%}}",
                unpadded(self.trunk),
                unpadded(space),
                percent(space, usable),
            );
        }
        text
    }
}

/// A size for people; these programs do not align it.
fn unpadded(megabytes: i64) -> String {
    human(Megabytes(megabytes)).trim_start().to_owned()
}

/// A share with two decimals; nothing of nothing is 0.00.
fn percent(part: i64, whole: i64) -> String {
    let (part, whole) = (i128::from(part.max(0)), i128::from(whole.max(0)));
    let hundredths = (part * 10_000 + whole / 2).checked_div(whole).unwrap_or(0);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use proto::ids::{GroupName, StorageId};
    use proto::status::StorageState;
    use proto::tracker::stat::{StorageLine, Volume};

    use super::*;

    const CONNECTIONS: Connections = Connections { allocated: 8, current: 2, max: 5 };

    #[test]
    fn a_leader_has_no_heartbeat() {
        let tracker = |is_leader| TrackerStat {
            host: "10.0.0.1:22122".to_owned(),
            is_leader,
            is_active: true,
            connections: CONNECTIONS,
            version: Version::parse("6.16.1").unwrap(),
            up_time: UnixTime(0),
            last_heartbeat: UnixTime(60),
        };
        assert_eq!(
            trackers(&[tracker(true), tracker(false)], Some(&Zone::utc())),
            "10.0.0.1:22122, is_leader: 1, is_active: 1, \
             connections {alloc: 8, current: 2, max: 5}\n  \
             version: 6.16.1, up_time: 1970-01-01 00:00:00\n\n\
             10.0.0.1:22122, is_leader: 0, is_active: 1, \
             connections {alloc: 8, current: 2, max: 5}\n  \
             version: 6.16.1, up_time: 1970-01-01 00:00:00, \
             last_heartbeat_time: 1970-01-01 00:01:00\n\n\n\
             tracker server count: 2\n"
        );
        assert_eq!(trackers(&[], None), "");
    }

    #[test]
    fn numbers_and_packing_are_shown_where_they_are_in_use() {
        let line = StorageLine {
            id: StorageId::parse("100001").unwrap(),
            host: "10.0.0.2:23000".to_owned(),
            is_trunk_server: true,
            state: StorageState::Active,
            connections: CONNECTIONS,
            version: Version::default(),
            up_time: UnixTime(0),
            last_heartbeat: UnixTime(0),
        };
        for (use_storage_id, use_trunk_file, want) in [
            (false, false, "10.0.0.2:23000 ACTIVE, connections {"),
            (true, true, "100001 10.0.0.2:23000 ACTIVE, is_trunk_server: 1, connections {"),
        ] {
            let answer = StorageLines { use_storage_id, use_trunk_file, lines: vec![line.clone()] };
            let text = storages(&answer, None);
            assert!(text.starts_with(want), "{text}");
            assert!(text.ends_with("max: 5}\n\nstorage server count: 1\n"), "{text}");
        }
    }

    #[test]
    fn several_groups_are_summed() {
        let volume = |name, disk_available| Volume {
            group: GroupName::parse(name).unwrap(),
            total: Megabytes(4096),
            free: Megabytes(2048),
            reserved: Megabytes(1024),
            available: Megabytes(1024),
            trunk_free: Megabytes(0),
            disk_available,
            trunk_available: false,
        };
        let mut answer = Volumes { use_trunk_file: false, volumes: vec![volume("group1", true)] };
        let space = "disk space {total: 4.0 GB, free: 2.0 GB, reserved: 1.0 GB, \
            avail: 1.0 GB, util: 66.67%}";
        let one = format!("group1 disk_available: 1, {space}\n");
        assert_eq!(volumes(&answer), format!("{one}\nstorage volumn / group count: 1\n"));
        answer.volumes.push(volume("group2", false));
        let text = volumes(&answer);
        assert!(text.starts_with(&one), "{text}");
        assert!(text.contains("VOLUMNS SUMMARY") && text.contains("total: 8.0 GB"), "{text}");
        assert!(text.ends_with("volumn / group counts {total: 2, available: 1}\n"), "{text}");
    }

    #[test]
    fn packing_adds_what_trunk_files_have_left() {
        let space = Space { total: 1024, available: 256, trunk: 256, ..Space::default() };
        let text = space.print(true);
        assert!(text.contains("util: 75.00%}, trunk free space: 256 MB, "), "{text}");
        assert!(text.ends_with("total available {space: 512 MB, ratio: 50.00%}"), "{text}");
        assert_eq!(percent(0, 0), "0.00");
    }
}
