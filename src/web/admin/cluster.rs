//! The store as its trackers know it: groups, storages, space, how far behind they are.

use std::fmt::Write as _;

use net::client::ClientError;
use proto::tracker::list::StorageStat;

use crate::app::App;
use crate::error::WebError;
use crate::files::FilesError;

/// The figure of a store that does not answer.
pub(super) const AWAY: &str = "\
# HELP fastdisk_store_up Whether a tracker answered.
# TYPE fastdisk_store_up gauge
fastdisk_store_up 0
";

/// The shape of `Group` in the API.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Group {
    name: String,
    total_bytes: u64,
    free_bytes: u64,
    storages: Vec<Storage>,
}

/// The shape of `Storage` in the API.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Storage {
    id: String,
    address: String,
    status: &'static str,
    version: String,
    total_bytes: u64,
    free_bytes: u64,
    uploads: u64,
    downloads: u64,
    lag_s: Option<u64>,
    heartbeat_s: Option<u64>,
}

/// Asks a tracker.
pub(super) async fn groups(app: &App) -> Result<Vec<Group>, WebError> {
    let trackers = app.files.trackers().await?;
    let away = |error: ClientError| WebError::Files(FilesError::Client(error));
    let now_s = i64::try_from(app.now().0 / 1000).unwrap_or(i64::MAX);
    let mut groups = Vec::new();
    for group in trackers.list_groups().await.map_err(away)? {
        let all = trackers.list_storages(group.group, None).await.map_err(away)?;
        groups.push(Group {
            name: group.group.as_str().to_owned(),
            total_bytes: bytes(group.total.0),
            free_bytes: bytes(group.free.0),
            storages: all.iter().map(|one| storage(one, &all, now_s)).collect(),
        });
    }
    Ok(groups)
}

fn storage(one: &StorageStat, group: &[StorageStat], now_s: i64) -> Storage {
    let heard = one.statistics.last_heartbeat.0;
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    Storage {
        id: one.id.as_str().to_owned(),
        address: format!("{}:{}", one.address, one.port),
        status: one.state.name(),
        version: one.version.as_str().to_owned(),
        total_bytes: bytes(one.total.0),
        free_bytes: bytes(one.free.0),
        uploads: count(one.statistics.upload.success),
        downloads: count(one.statistics.download.success),
        lag_s: lag_s(one, group),
        heartbeat_s: (0 < heard).then(|| count(now_s.saturating_sub(heard))),
    }
}

/// How much newer the newest change of another member is than what has arrived here. None for a
/// storage that is alone, or to which nothing was ever sent.
fn lag_s(one: &StorageStat, group: &[StorageStat]) -> Option<u64> {
    let others = group.iter().filter(|other| other.id != one.id);
    let newest = others.map(|other| other.statistics.last_source_update.0).max()?;
    let synced = one.statistics.last_synced.0;
    (0 < synced).then(|| u64::try_from(newest.saturating_sub(synced)).unwrap_or_default())
}

fn bytes(megabytes: i64) -> u64 {
    u64::try_from(megabytes).unwrap_or_default().saturating_mul(1 << 20)
}

/// The figures of the store.
pub(super) fn metrics(groups: &[Group]) -> String {
    let mut out = AWAY.replace("store_up 0", "store_up 1");
    // Writing to a String cannot fail.
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{text}");
    };
    line(format_args!("# HELP fastdisk_storage_free_bytes Space left on a storage."));
    line(format_args!("# TYPE fastdisk_storage_free_bytes gauge"));
    let all = || groups.iter().flat_map(|g| g.storages.iter().map(move |s| (&g.name, s)));
    for (group, one) in all() {
        let (id, free) = (&one.id, one.free_bytes);
        line(format_args!(
            "fastdisk_storage_free_bytes{{group=\"{group}\",storage=\"{id}\"}} {free}"
        ));
    }
    line(format_args!("# HELP fastdisk_storage_active Whether a storage is active."));
    line(format_args!("# TYPE fastdisk_storage_active gauge"));
    for (group, one) in all() {
        let (id, active) = (&one.id, u8::from(one.status == "ACTIVE"));
        line(format_args!(
            "fastdisk_storage_active{{group=\"{group}\",storage=\"{id}\"}} {active}"
        ));
    }
    line(format_args!("# HELP fastdisk_storage_lag_seconds How far behind its group it is."));
    line(format_args!("# TYPE fastdisk_storage_lag_seconds gauge"));
    for (group, one) in all().filter(|(_, one)| one.lag_s.is_some()) {
        let (id, lag) = (&one.id, one.lag_s.unwrap_or_default());
        line(format_args!(
            "fastdisk_storage_lag_seconds{{group=\"{group}\",storage=\"{id}\"}} {lag}"
        ));
    }
    out
}
