//! The text of `fdfs_monitor list`, label by label (tools.md 3.1).

use std::fmt::Write as _;

use proto::status::{RwMode, StorageState};
use proto::tracker::beat::{Statistics, Tally};
use proto::tracker::list::{GroupStat, StorageStat};
use proto::tracker::{Megabytes, UnixTime};

use crate::zone::Zone;

/// One group, up to the list of its storages.
pub(super) fn group(number: usize, group: &GroupStat, storages: &[StorageStat]) -> String {
    let mut text = format!(
        "Group {number}:\n\
         group name = {}\n\
         disk total space     = {}\n\
         disk free space      = {}\n\
         disk reserved space  = {}\n\
         disk available space = {}\n",
        group.group,
        human(group.total),
        human(group.free),
        human(group.reserved),
        human(available(group.free, group.reserved)),
    );
    let packing = 0 <= group.trunk_file_id;
    if packing {
        line(&mut text, "trunk free space", &human(group.trunk_free));
    }
    line(&mut text, "storage server count", &group.storages);
    line(&mut text, "readable server count", &group.readable);
    line(&mut text, "writable server count", &group.writable);
    line(&mut text, "storage server port", &group.port.number());
    line(&mut text, "store path count", &group.path_count);
    line(&mut text, "subdir count per path", &group.subdir_count);
    line(&mut text, "current write server index", &group.write_cursor);
    if packing {
        let trunk = storages.iter().find(|storage| storage.is_trunk_server);
        let named = trunk.map(|trunk| format!("{} ({})", trunk.id, trunk.address));
        line(&mut text, "current trunk server", &named.unwrap_or_default());
        line(&mut text, "current trunk file id", &group.trunk_file_id);
    }
    text
}

/// One storage; `group` are all of its group, itself included.
pub(super) fn storage(
    number: usize,
    storage: &StorageStat,
    group: &[StorageStat],
    zone: &Zone,
) -> String {
    let StorageStat { statistics, .. } = storage;
    let mut text = format!("\tStorage {number}:\n");
    let mut line = |label: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\t\t{label} = {value}");
    };
    let source = storage.source.map(|id| id.to_string()).unwrap_or_default();
    line("id", &storage.id);
    line("host", &host(storage));
    line("read write mode", &mode(storage.mode));
    line("version", &storage.version.as_str());
    line("join time", &zone.print(storage.join_time.0));
    line("up time", &zone.print(storage.up_time.0));
    line("disk total space    ", &human(storage.total));
    line("disk free space     ", &human(storage.free));
    line("disk reserved space ", &human(storage.reserved));
    line("disk available space", &human(available(storage.free, storage.reserved)));
    line("upload priority", &storage.upload_priority);
    line("store_path_count", &storage.path_count);
    line("subdir_count_per_path", &storage.subdir_count);
    line("current_write_path", &storage.write_path);
    line("source storage id", &source);
    line("if_trunk_server", &u8::from(storage.is_trunk_server));
    line("connection.alloc_count", &statistics.connections.allocated);
    line("connection.current_count", &statistics.connections.current);
    line("connection.max_count", &statistics.connections.max);
    for (name, Tally { total, success }) in tallies(statistics) {
        // The misspelling is what scripts look for.
        let odd = if name == "download_bytes" { "s" } else { "" };
        line(&format!("{odd}total_{name}"), &total);
        line(&format!("success_{name}"), &success);
    }
    line("last_heart_beat_time", &zone.print(statistics.last_heartbeat.0));
    line("last_source_update", &zone.print(statistics.last_source_update.0));
    line("last_sync_update", &zone.print(statistics.last_sync_update.0));
    let synced = zone.print(statistics.last_synced.0);
    line("last_synced_timestamp", &format!("{synced} {}", delay(storage, group)));
    text
}

fn line(text: &mut String, label: &str, value: &dyn std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{label} = {value}");
}

fn host(storage: &StorageStat) -> String {
    let at = std::net::SocketAddr::new(storage.address, storage.port);
    format!("{at}  {}", state(storage.state))
}

/// The word for a status.
pub(crate) fn state(state: StorageState) -> &'static str {
    match state {
        StorageState::None => "UNKNOWN",
        known => known.name(),
    }
}

fn mode(mode: RwMode) -> &'static str {
    match mode {
        RwMode::None => "none (disabled)",
        RwMode::Read => "readonly",
        RwMode::Write => "writeonly",
        RwMode::Both => "both (normal)",
    }
}

/// Every pair of counters with the name that its two lines share, in the order of the lines.
fn tallies(statistics: &Statistics) -> [(&'static str, Tally); 19] {
    [
        ("upload_count", statistics.upload),
        ("append_count", statistics.append),
        ("modify_count", statistics.modify),
        ("truncate_count", statistics.truncate),
        ("set_meta_count", statistics.set_metadata),
        ("delete_count", statistics.delete),
        ("download_count", statistics.download),
        ("get_meta_count", statistics.get_metadata),
        ("create_link_count", statistics.create_link),
        ("delete_link_count", statistics.delete_link),
        ("upload_bytes", statistics.upload_bytes),
        ("append_bytes", statistics.append_bytes),
        ("modify_bytes", statistics.modify_bytes),
        ("download_bytes", statistics.download_bytes),
        ("sync_in_bytes", statistics.sync_in_bytes),
        ("sync_out_bytes", statistics.sync_out_bytes),
        ("file_open_count", statistics.file_open),
        ("file_read_count", statistics.file_read),
        ("file_write_count", statistics.file_write),
    ]
}

/// How far this storage is behind what the others of its group took in.
pub(crate) fn delay(storage: &StorageStat, group: &[StorageStat]) -> String {
    let others = group.iter().filter(|other| other.id != storage.id);
    let Some(newest) = others.map(|other| other.statistics.last_source_update).max() else {
        return String::new();
    };
    let synced = storage.statistics.last_synced;
    match newest.since(synced) {
        _ if synced == UnixTime(0) && newest == UnixTime(0) => String::new(),
        _ if synced == UnixTime(0) => "(never synced)".to_owned(),
        late if 0 < late => format!("({} delay)", span(late)),
        _ => String::new(),
    }
}

/// A span in its largest units, down to minutes, or in seconds if it is shorter.
fn span(secs: i64) -> String {
    let units = [("day", 86_400, i64::MAX), ("hour", 3600, 24), ("minute", 60, 60)];
    let parts = units.into_iter().filter_map(|(name, unit, wrap)| {
        let count = secs / unit % wrap;
        (count != 0).then(|| plural(count, name))
    });
    let text = parts.collect::<Vec<_>>().join(" ");
    if text.is_empty() { plural(secs, "second") } else { text }
}

fn plural(count: i64, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

fn available(free: Megabytes, reserved: Megabytes) -> Megabytes {
    Megabytes(free.0.saturating_sub(reserved.0).max(0))
}

/// A size for people, right-aligned in seven characters: one decimal below 10.
pub(crate) fn human(space: Megabytes) -> String {
    let units = ["MB", "GB", "TB", "PB", "EB"];
    let mut size = space.0;
    let mut tenths = 0;
    let mut unit = 0;
    while 1024 <= size && unit + 1 < units.len() {
        tenths = size % 1024 * 10 / 1024;
        size /= 1024;
        unit += 1;
    }
    let number = match unit {
        0 => size.to_string(),
        _ if size < 10 => format!("{size}.{tenths}"),
        _ => size.to_string(),
    };
    format!("{:>7}", format!("{number} {}", units.get(unit).unwrap_or(&"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_right_aligned() {
        for (megabytes, text) in [
            (0, "   0 MB"),
            (512, " 512 MB"),
            (1024, " 1.0 GB"),
            (2560, " 2.5 GB"),
            (258_048, " 252 GB"),
            (10_485_760, "  10 TB"),
        ] {
            assert_eq!(human(Megabytes(megabytes)), text);
        }
        assert_eq!(available(Megabytes(5), Megabytes(9)), Megabytes(0));
    }

    #[test]
    fn spans_name_their_largest_units_first() {
        for (secs, text) in [
            (5, "5 seconds"),
            (60, "1 minute"),
            (93_780, "1 day 2 hours 3 minutes"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(secs), text);
        }
    }
}
