//! The state files as text, in the format of the reference (tracker.md 12.2 to 12.4).
//!
//! Peers of the reference fetch and parse these files, so their form is part of the wire. Only
//! text is made here; `saved` writes it.

use std::fmt::Write as _;

use proto::tracker::beat::{Statistics, Tally};

use super::group::Group;
use super::member::{Member, MemberIx, is_gone};
use super::{Cluster, StateFile};

impl Cluster {
    /// What the file holds now.
    pub fn file_text(&self, file: StateFile) -> String {
        match file {
            StateFile::Groups => self.groups_text(),
            StateFile::Storages => self.storages_text(),
            StateFile::SyncTimes => self.sync_times_text(),
            StateFile::ChangeLog => self.changelog.as_str().to_owned(),
        }
    }

    fn groups_text(&self) -> String {
        let mut out = format!("[Global]\n\tgroup_count={}\n\n", self.groups.len());
        for (number, group) in (1..).zip(self.groups.values()) {
            let Group { name, path_count, subdir_count, .. } = group;
            let port = group.port.number();
            // Writing to a string cannot fail; trunk files are off, so the rest is constant.
            let _ = write!(
                out,
                "# group: {name}\n[Group{number:03}]\n\tgroup_name={name}\n\
                 \tstorage_port={port}\n\tstore_path_count={path_count}\n\
                 \tsubdir_count_per_path={subdir_count}\n\tcurrent_trunk_file_id=0\n\
                 \ttrunk_server=\n\tlast_trunk_server=\n\n",
            );
        }
        out
    }

    fn storages_text(&self) -> String {
        let mut out = String::new();
        let mut number = 0;
        for group in self.groups.values() {
            for (_, member) in saved_members(group) {
                number += 1;
                storage_text(&mut out, number, group, member, self.policy.ids.is_some());
            }
        }
        let _ = write!(out, "\n[Global]\n\tstorage_count={number}\n");
        out
    }

    fn sync_times_text(&self) -> String {
        let mut out = String::new();
        for group in self.groups.values() {
            for (source, member) in saved_members(group) {
                let _ = write!(out, "{},{}", group.name, member.id);
                for (dest, _) in saved_members(group) {
                    let until = group.synced.get(&(source, dest)).copied().unwrap_or(0);
                    let _ = write!(out, ",{until}");
                }
                out.push('\n');
            }
        }
        out
    }
}

/// In the order of registration, which is that of the sync times too.
fn saved_members(group: &Group) -> impl Iterator<Item = (MemberIx, &Member)> {
    group.registered().filter(|(_, member)| !is_gone(member.state))
}

fn storage_text(out: &mut String, number: usize, group: &Group, member: &Member, with_id: bool) {
    let source = member.source.map(|source| group.member(source));
    let source = source.filter(|source| !is_gone(source.state)).map(|source| source.id);
    let source = source.map_or(String::new(), |id| id.to_string());
    let heading = format!(
        "# storage: {}\n[Storage{number:03}]\n",
        super::leader::host_text(member.current, member.port)
    );
    out.push_str(&heading);
    let mut item = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "\t{key}={value}");
    };
    if with_id {
        item("id", &member.id);
    }
    item("group_name", &group.name);
    item("ip_addr", &member.current);
    item("status", &(member.state as u8));
    item("version", &member.version.as_str());
    item("join_time", &member.join_time.0);
    item("storage_port", &member.port);
    item("sync_src_server", &source);
    item("sync_until_timestamp", &member.until.0);
    item("total_mb", &member.space.total.0);
    item("free_mb", &member.space.free.0);
    item("changelog_offset", &member.changelog_offset);
    item("store_path_count", &member.path_count);
    item("subdir_count_per_path", &member.subdir_count);
    item("upload_priority", &member.upload_priority);
    let statistics = &mut member.statistics.clone();
    for (key, tally) in saved_tallies(statistics) {
        item(&format!("total_{key}"), &tally.total);
        item(&format!("success_{key}"), &tally.success);
    }
    item("last_source_update", &statistics.last_source_update.0);
    item("last_sync_update", &statistics.last_sync_update.0);
    item("last_synced_timestamp", &statistics.last_synced.0);
    item("last_heart_beat_time", &statistics.last_heartbeat.0);
    out.push('\n');
}

/// The pairs of figures that are saved, with their names; modify and truncate are not.
pub(super) fn saved_tallies(s: &mut Statistics) -> [(&'static str, &mut Tally); 16] {
    [
        ("upload_count", &mut s.upload),
        ("append_count", &mut s.append),
        ("set_meta_count", &mut s.set_metadata),
        ("delete_count", &mut s.delete),
        ("download_count", &mut s.download),
        ("get_meta_count", &mut s.get_metadata),
        ("create_link_count", &mut s.create_link),
        ("delete_link_count", &mut s.delete_link),
        ("upload_bytes", &mut s.upload_bytes),
        ("append_bytes", &mut s.append_bytes),
        ("download_bytes", &mut s.download_bytes),
        ("sync_in_bytes", &mut s.sync_in_bytes),
        ("sync_out_bytes", &mut s.sync_out_bytes),
        ("file_open_count", &mut s.file_open),
        ("file_read_count", &mut s.file_read),
        ("file_write_count", &mut s.file_write),
    ]
}
