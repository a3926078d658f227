//! The picture of `fdfs monitor`. Pure: a snapshot in, text out.

use std::fmt::Write as _;
use std::net::SocketAddr;

use proto::status::StorageState;
use proto::tracker::Megabytes;
use proto::tracker::list::{GroupStat, StorageStat};

use super::Snapshot;
use super::rates::{Rate, Rates};
use crate::fdfs::cluster::available;
use crate::monitor::report::{delay, human, state};
use crate::zone::Zone;

const BAR_CELLS: i64 = 24;
const HEAD: &str = "  STORAGE          HOST                   STATE        FREE  \
    UPLOAD/s    MB/s  DOWNLOAD/s    MB/s  CONNS  REPORT  DELAY";
/// A heartbeat older than this is worth a colour: three of the default interval.
const SILENT_SECS: i64 = 90;

/// How to draw.
#[derive(Debug)]
pub(super) struct Look {
    /// Columns; longer lines are cut.
    pub(super) width: usize,
    pub(super) colours: bool,
    pub(super) zone: Zone,
}

#[derive(Clone, Copy, Debug)]
enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// The whole cluster.
pub(super) fn draw(snapshot: &Snapshot, rates: &Rates, look: &Look) -> String {
    let storages = || snapshot.groups.iter().flat_map(|(_, storages)| storages);
    let active = storages().filter(|storage| storage.state == StorageState::Active).count();
    let head = format!(
        "fastdisk  tracker {}  {}  {}  {active} active  {}",
        snapshot.tracker,
        plural(snapshot.groups.len(), "group"),
        plural(storages().count(), "storage"),
        look.zone.print(snapshot.time),
    );
    let mut page = Page { text: String::new(), look };
    page.line(&head, Some(Colour::Bold));
    for (group, storages) in &snapshot.groups {
        page.line("", None);
        page.group(group);
        page.line(HEAD, Some(Colour::Dim));
        for storage in storages {
            let rate = rates.of(group.group, storage.id);
            page.storage(storage, storages, rate, snapshot.time);
        }
    }
    page.text
}

/// Lines that fit.
struct Page<'a> {
    text: String,
    look: &'a Look,
}

impl Page<'_> {
    fn line(&mut self, line: &str, colour: Option<Colour>) {
        let cut: String = line.chars().take(self.look.width).collect();
        let painted = match colour {
            Some(colour) => self.paint(&cut, colour),
            None => cut,
        };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.text, "{}", painted.trim_end());
    }

    fn paint(&self, text: &str, colour: Colour) -> String {
        if self.look.colours { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.into() }
    }

    fn group(&mut self, group: &GroupStat) {
        let used = group.total.0.saturating_sub(group.free.0).max(0);
        let percent = used.saturating_mul(100).checked_div(group.total.0).unwrap_or(0);
        let cells = percent.saturating_mul(BAR_CELLS) / 100;
        let bar: String = (0..BAR_CELLS).map(|n| if n < cells { '█' } else { '░' }).collect();
        let text = format!(
            "{:10}{bar} {percent:>3}% used  {} free  {} for uploads  \
             readable {}/{}  writable {}/{}",
            group.group,
            human(group.free).trim_start(),
            human(Megabytes(available(group.free, group.reserved))).trim_start(),
            group.readable,
            group.storages,
            group.writable,
            group.storages,
        );
        self.line(&text, Some(Colour::Cyan));
    }

    fn storage(
        &mut self,
        storage: &StorageStat,
        group: &[StorageStat],
        rate: Option<Rate>,
        now: i64,
    ) {
        let mark = if storage.is_trunk_server { '*' } else { ' ' };
        let host = SocketAddr::new(storage.address, storage.port).to_string();
        let before = format!("{mark} {:15}  {host:21}  ", storage.id);
        let word = format!("{:10}", state(storage.state));
        let silence = now.saturating_sub(storage.statistics.last_heartbeat.0).max(0);
        let [uploads, up, downloads, down] = match rate {
            Some(rate) => [
                format!("{:.1}", rate.uploads),
                format!("{:.2}", rate.upload_bytes / 1e6),
                format!("{:.1}", rate.downloads),
                format!("{:.2}", rate.download_bytes / 1e6),
            ],
            None => [(); 4].map(|()| "-".to_owned()),
        };
        let behind = delay(storage, group);
        let behind = behind.trim_matches(['(', ')']).trim_end_matches(" delay");
        let after = format!(
            "{:>7}  {uploads:>8}  {up:>6}  {downloads:>10}  {down:>6}  {:>5}  {:>6}  {}",
            human(storage.free),
            storage.statistics.connections.current,
            format!("{silence} s"),
            if behind.is_empty() { "none" } else { behind },
        );
        // Cut before it is coloured: escape codes take no room.
        let whole: String =
            format!("{before}{word}{after}").chars().take(self.look.width).collect();
        let colour = match storage.state {
            StorageState::Active if silence <= SILENT_SECS => Colour::Green,
            StorageState::Active => Colour::Yellow,
            StorageState::Offline | StorageState::Deleted => Colour::Red,
            _ => Colour::Yellow,
        };
        let painted = whole.replacen(&word, &self.paint(&word, colour), 1);
        let _ = writeln!(self.text, "{}", painted.trim_end());
    }
}

fn plural(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use proto::ids::{GroupName, StorageId};
    use proto::status::RwMode;
    use proto::tracker::beat::Statistics;
    use proto::tracker::list::GroupPort;
    use proto::tracker::{UnixTime, Version};

    use super::*;

    fn snapshot() -> Snapshot {
        let group = GroupStat {
            group: GroupName::parse("group1").unwrap(),
            total: Megabytes(4096),
            free: Megabytes(1024),
            reserved: Megabytes(512),
            trunk_free: Megabytes(0),
            storages: 1,
            port: GroupPort::One(23000),
            readable: 1,
            writable: 1,
            write_cursor: 0,
            path_count: 1,
            subdir_count: 256,
            trunk_file_id: -1,
        };
        let storage = StorageStat {
            state: StorageState::Active,
            mode: RwMode::Both,
            id: StorageId::parse("100001").unwrap(),
            address: "10.0.0.2".parse().unwrap(),
            source: None,
            version: Version::default(),
            join_time: UnixTime(0),
            up_time: UnixTime(0),
            total: Megabytes(4096),
            free: Megabytes(1024),
            reserved: Megabytes(512),
            upload_priority: 10,
            path_count: 1,
            subdir_count: 256,
            write_path: 0,
            port: 23000,
            statistics: Statistics { last_heartbeat: UnixTime(95), ..Statistics::default() },
            is_trunk_server: false,
        };
        let tracker = "10.0.0.1:22122".parse().unwrap();
        Snapshot { tracker, time: 100, groups: vec![(group, vec![storage])] }
    }

    #[test]
    fn everything_stands_on_one_screen() {
        let look = Look { width: 200, colours: false, zone: Zone::utc() };
        let text = draw(&snapshot(), &Rates::default(), &look);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "fastdisk  tracker 10.0.0.1:22122  1 group  1 storage  1 active  1970-01-01 00:01:40"
        );
        assert!(lines[2].starts_with("group1    ██████████████████░░░░░░  75% used"), "{text}");
        assert!(lines[4].contains("100001           10.0.0.2:23000         ACTIVE"), "{text}");
        assert!(lines[4].ends_with("5 s  none"), "{text}");
        assert_eq!(lines[3].find("DELAY"), lines[4].find("none"), "{text}");
    }

    #[test]
    fn lines_are_cut_and_colours_take_no_room() {
        let look = Look { width: 60, colours: true, zone: Zone::utc() };
        let text = draw(&snapshot(), &Rates::default(), &look);
        assert!(text.contains("\x1b[32mACTIVE"), "{text:?}");
        for line in text.lines() {
            assert!(console::measure_text_width(line) <= 60, "{line:?}");
        }
    }
}
