//! `ls-groups` and `ls-storages`: one line, or one JSON object, for each.

use std::fmt::Display;
use std::net::SocketAddr;

use clap::Args;
use net::client::Client;
use proto::ids::GroupName;
use proto::tracker::Megabytes;
use proto::tracker::beat::Tally;
use proto::tracker::list::{GroupStat, StorageStat};
use serde::Serialize;

use super::output::Output;
use super::put::group_name;
use crate::monitor::report::{human, state};
use crate::{Doing as _, Failure};

/// A group as `--json` shows it. Space in megabytes of 2^20 bytes.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    group: String,
    total_mb: i64,
    free_mb: i64,
    reserved_mb: i64,
    available_mb: i64,
    storages: i64,
    readable: i64,
    writable: i64,
    store_paths: i64,
    trunk_file_id: Option<i64>,
}

impl Group {
    pub(super) fn of(stat: &GroupStat) -> Self {
        Self {
            group: stat.group.to_string(),
            total_mb: stat.total.0,
            free_mb: stat.free.0,
            reserved_mb: stat.reserved.0,
            available_mb: available(stat.free, stat.reserved),
            storages: stat.storages,
            readable: stat.readable,
            writable: stat.writable,
            store_paths: stat.path_count,
            trunk_file_id: (0 <= stat.trunk_file_id).then_some(stat.trunk_file_id),
        }
    }
}

pub(super) fn available(free: Megabytes, reserved: Megabytes) -> i64 {
    free.0.saturating_sub(reserved.0).max(0)
}

/// A storage as `--json` shows it. Times in Unix seconds.
#[derive(Debug, Serialize)]
pub(super) struct Storage {
    group: String,
    id: String,
    host: String,
    state: &'static str,
    mode: u8,
    version: String,
    join_time: i64,
    up_time: i64,
    total_mb: i64,
    free_mb: i64,
    reserved_mb: i64,
    store_paths: i64,
    upload_priority: i64,
    source: Option<String>,
    trunk_server: bool,
    connections: u32,
    uploads: Count,
    downloads: Count,
    deletes: Count,
    appends: Count,
    upload_bytes: Count,
    download_bytes: Count,
    sync_in_bytes: Count,
    sync_out_bytes: Count,
    last_heartbeat: i64,
    last_source_update: i64,
    last_sync_update: i64,
    last_synced: i64,
}

/// How often something was tried, and how often it went well.
#[derive(Debug, Serialize)]
struct Count {
    total: i64,
    success: i64,
}

impl From<Tally> for Count {
    fn from(Tally { total, success }: Tally) -> Self {
        Self { total, success }
    }
}

impl Storage {
    pub(super) fn of(group: GroupName, stat: &StorageStat) -> Self {
        let counts = &stat.statistics;
        Self {
            group: group.to_string(),
            id: stat.id.to_string(),
            host: SocketAddr::new(stat.address, stat.port).to_string(),
            state: state(stat.state),
            mode: stat.mode as u8,
            version: stat.version.as_str().to_owned(),
            join_time: stat.join_time.0,
            up_time: stat.up_time.0,
            total_mb: stat.total.0,
            free_mb: stat.free.0,
            reserved_mb: stat.reserved.0,
            store_paths: stat.path_count,
            upload_priority: stat.upload_priority,
            source: stat.source.map(|id| id.to_string()),
            trunk_server: stat.is_trunk_server,
            connections: counts.connections.current,
            uploads: counts.upload.into(),
            downloads: counts.download.into(),
            deletes: counts.delete.into(),
            appends: counts.append.into(),
            upload_bytes: counts.upload_bytes.into(),
            download_bytes: counts.download_bytes.into(),
            sync_in_bytes: counts.sync_in_bytes.into(),
            sync_out_bytes: counts.sync_out_bytes.into(),
            last_heartbeat: counts.last_heartbeat.0,
            last_source_update: counts.last_source_update.0,
            last_sync_update: counts.last_sync_update.0,
            last_synced: counts.last_synced.0,
        }
    }
}

/// `ls-groups`.
pub(super) async fn list_groups(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let groups = client.trackers().list_groups().await.doing("list groups")?;
    if !output.is_json() {
        output
            .tell(&"GROUP               TOTAL    FREE   AVAIL  STORAGES  READABLE  WRITABLE", &());
    }
    for stat in &groups {
        let text = format!(
            "{:16}  {} {} {}  {:>8}  {:>8}  {:>8}",
            stat.group,
            human(stat.total),
            human(stat.free),
            human(Megabytes(available(stat.free, stat.reserved))),
            stat.storages,
            stat.readable,
            stat.writable
        );
        output.tell(&text, &Group::of(stat));
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct LsStorages {
    /// Only of this group
    #[arg(value_parser = group_name)]
    group: Option<GroupName>,
}

impl LsStorages {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let groups = match self.group {
            Some(group) => vec![group],
            None => {
                let groups = client.trackers().list_groups().await.doing("list groups")?;
                groups.iter().map(|group| group.group).collect()
            }
        };
        let mut lists = Vec::new();
        for group in groups {
            let list = client.trackers().list_storages(group, None).await;
            lists.push((group, list.doing(format!("list storages of {group}"))?));
        }
        if !output.is_json() {
            output.tell(&row(&"GROUP", &"ID", &"HOST", &"STATE", [&"TOTAL", &"FREE"]), &());
        }
        for (group, list) in lists {
            for stat in list {
                let record = Storage::of(group, &stat);
                let space = [human(stat.total), human(stat.free)];
                let [total, free] = &space;
                let text = row(&group, &stat.id, &record.host, &record.state, [total, free]);
                output.tell(&text, &record);
            }
        }
        Ok(())
    }
}

fn row(
    group: &dyn Display,
    id: &dyn Display,
    host: &dyn Display,
    state: &dyn Display,
    [total, free]: [&dyn Display; 2],
) -> String {
    format!("{group:16}  {id:15}  {host:21}  {state:10}  {total:>7}  {free:>7}")
}
