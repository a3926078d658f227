//! `storage.conf`: as written -> as meant (storage.md 8).
//!
//! The written form is `proto::ini`; here the keys get their meaning. Keys that ask for
//! something that is not there yet are reported, keys that nobody knows too; neither stops the
//! start, because existing installations bring their files along.

mod keys; // every key there is

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use log::LevelFilter;
use net::{hosts::AllowedHosts, program::RunBy, rotate::Rotation};
use proto::{
    ids::GroupName,
    ini::{Ini, IniError, TimeOfDay},
    tracker::{PATHS_MAX, TRACKERS_MAX},
};

use crate::{
    commit::Durability, copies::Alone, scrub, store::Distribution, sums::VerifyReads,
    sync::plan::DailyWindow,
};

/// How deep `#include` lines may lead.
const INCLUDE_DEPTH_MAX: usize = 8;
/// Largest configuration file.
const FILE_BYTES_MAX: u64 = 4 << 20;
const TRACKER_PORT: u16 = 22122;
/// Records on their way to one peer when the file does not say.
const SYNC_THREADS_AUTO: i64 = 16;

/// 01:30, when the reference does it.
const COMPRESS_AT_SECS: u32 = 90 * 60;

/// What the scrub reads of one store path when the file does not say: a tenth of a slow disk, and
/// 8 TB in ten days.
const SCRUB_BYTES_PER_SEC: u64 = 10 << 20;
/// From the begin of one pass to that of the next: a week.
const SCRUB_INTERVAL_SECS: u64 = 7 * 24 * 3600;
/// After a start: whoever was away has other things to do first.
const SCRUB_START_AFTER_SECS: u64 = 60;

/// One store path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorePathConfig {
    pub(crate) root: PathBuf,
    pub(crate) read_only: bool,
}

/// The settings, as meant. Having one means they are usable.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `None`: a tracker tells.
    pub(crate) group: Option<GroupName>,
    pub(crate) bind: Vec<IpAddr>,
    /// The address that outgoing connections come from.
    pub(crate) client_bind: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) server_id: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) network_timeout: Duration,
    pub(crate) heart_beat_interval: Duration,
    pub(crate) stat_report_interval: Duration,
    pub(crate) stat_file_interval: Duration,
    pub(crate) base_path: PathBuf,
    pub(crate) max_connections: usize,
    /// Jobs that may wait for one store path at one time.
    pub(crate) disk_jobs: usize,
    /// 1 to 256.
    pub(crate) store_paths: Vec<StorePathConfig>,
    pub(crate) dirs_per_level: u16,
    /// 1 to 16.
    pub(crate) trackers: Vec<SocketAddr>,
    pub(crate) allowed: AllowedHosts,
    pub(crate) upload_priority: i64,
    pub(crate) distribution: Distribution,
    pub(crate) check_marks: bool,
    /// Records on their way to one peer at one time.
    pub(crate) sync_threads: usize,
    /// The pause of a sender that has nothing to send.
    pub(crate) sync_wait: Duration,
    /// The pause of a sender after each batch of records.
    pub(crate) sync_interval: Duration,
    pub(crate) sync_window: DailyWindow,
    /// Records sent after which a mark is saved.
    pub(crate) mark_every: u64,
    /// Seconds of the day at which old files of the binlog are compressed; `None`: never.
    pub(crate) compress_at: Option<u32>,
    pub(crate) durability: Durability,
    pub(crate) verify_reads: VerifyReads,
    pub(crate) scrub: scrub::Settings,
    /// What is done without a second copy; `None`: one is enough.
    pub(crate) copies: Option<Alone>,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_rotation: Rotation,
    pub(crate) run_by: RunBy,
    pub(crate) metrics: Option<SocketAddr>,
    /// `None`: there is none.
    pub(crate) access_log: Option<AccessLogConfig>,
    /// What the operator should know; logged once the log is there.
    pub(crate) remarks: Vec<String>,
}

/// The section `[access-log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessLogConfig {
    pub(crate) rotation: Rotation,
    /// Times in microseconds, not milliseconds.
    pub(crate) micros: bool,
    /// Longest time that a line stays in memory.
    pub(crate) flush: Duration,
}

/// Reads and checks the file.
pub(crate) fn load(path: &Path) -> anyhow::Result<Config> {
    let config = check(&read(path, 0)?)?;
    for dir in config.store_paths.iter().map(|path| &path.root).chain([&config.base_path]) {
        ensure!(dir.is_dir(), "{} is not an existing directory", dir.display());
    }
    Ok(config)
}

/// Makes a configuration of a text, for fuzzing.
#[cfg(feature = "faults")]
pub(crate) fn of_text(text: &str) -> anyhow::Result<Config> {
    check(&Ini::parse(text)?)
}

fn read(path: &Path, depth: usize) -> anyhow::Result<Ini> {
    ensure!(depth <= INCLUDE_DEPTH_MAX, "files include each other more than {depth} deep");
    let size = std::fs::metadata(path).context("open")?.len();
    ensure!(size <= FILE_BYTES_MAX, "file of {size} bytes is not a configuration");
    let text = std::fs::read_to_string(path).context("read")?;
    let dir = path.parent().unwrap_or(Path::new("."));
    Ini::parse(&text)?.include(|inner| {
        let inner = dir.join(inner);
        read(&inner, depth + 1).with_context(|| format!("include {}", inner.display()))
    })
}

fn check(ini: &Ini) -> anyhow::Result<Config> {
    ensure!(!ini.bool_or("disabled", false), "disabled = true: this storage is switched off");
    let mut remarks = keys::remarks(ini);
    let group = match ini.get("group_name") {
        Some(entry) => Some(
            GroupName::parse(&entry.value)
                .ok_or_else(|| entry.refuse("must be 1 to 16 letters and digits"))?,
        ),
        None => None,
    };
    let base_path = PathBuf::from(&ini.require("base_path")?.value);
    let bind = addresses(ini)?;
    let secs = |key, default| ini.seconds_or(key, Duration::from_secs(default));
    let threads =
        int(ini, "disk_reader_threads", 1, 0, 1024)? + int(ini, "disk_writer_threads", 1, 0, 1024)?;
    let store_paths = store_paths(ini, &base_path)?;
    let rotate = int(ini, "file_distribute_rotate_count", 100, 1, i64::from(u32::MAX))?;
    let files_per_dir = u32::try_from(rotate).unwrap_or(u32::MAX);
    let client_bind = ini.bool_or("client_bind", true).then(|| bind.first().copied()).flatten();
    Ok(Config {
        group,
        client_bind: client_bind.filter(|ip| !ip.is_unspecified()),
        bind,
        port: u16::try_from(int(ini, "port", 23000, 0, 65535)?)?,
        server_id: ini.get("server_id").map(|entry| entry.value.clone()),
        connect_timeout: secs("connect_timeout", 10)?,
        network_timeout: secs("network_timeout", 60)?,
        heart_beat_interval: secs("heart_beat_interval", 30)?,
        stat_report_interval: secs("stat_report_interval", 300)?,
        stat_file_interval: secs("sync_stat_file_interval", 60)?,
        max_connections: usize::try_from(int(ini, "max_connections", 256, 1, 1 << 20)?)?,
        // The reference's two threads per path are few for a disk that is synced: four times.
        disk_jobs: usize::try_from(threads.max(1))?.saturating_mul(4),
        store_paths,
        dirs_per_level: u16::try_from(int(ini, "subdir_count_per_path", 256, 1, 256)?)?,
        trackers: trackers(ini)?,
        allowed: net::hosts::allowed(ini, &mut remarks)?,
        upload_priority: ini.int_or("upload_priority", 10)?,
        distribution: match ini.int_or("file_distribute_path_mode", 0)? {
            0 => Distribution::RoundRobin { files_per_dir },
            _ => Distribution::Hashed,
        },
        check_marks: ini.bool_or("check_store_path_mark", true),
        sync_threads: sync_threads(ini)?,
        sync_wait: millis(ini, "sync_wait_msec", 100, 1)?,
        sync_interval: millis(ini, "sync_interval", 0, 0)?,
        sync_window: DailyWindow {
            from: minute(ini, "sync_start_time", DailyWindow::ALWAYS.from)?,
            to: minute(ini, "sync_end_time", DailyWindow::ALWAYS.to)?,
        },
        mark_every: int(ini, "write_mark_file_freq", 500, 1, i64::MAX)?.unsigned_abs(),
        compress_at: compress_at(ini)?,
        durability: durability(ini)?,
        verify_reads: verify_reads(ini)?,
        copies: copies(ini)?,
        scrub: scrub::Settings {
            enabled: ini.bool_or("scrub", true),
            bytes_per_sec: ini.size_or("scrub_bytes_per_sec", SCRUB_BYTES_PER_SEC)?.max(1),
            every: secs("scrub_interval", SCRUB_INTERVAL_SECS)?,
            start_after: secs("scrub_start_after", SCRUB_START_AFTER_SECS)?,
        },
        log_level: log_level(ini)?,
        log_rotation: Rotation::parse(ini, "error-log")?,
        run_by: RunBy::parse(ini),
        metrics: net::metrics::listen_at(ini)?,
        access_log: access_log(ini)?,
        remarks,
        base_path,
    })
}

/// `sync_max_threads`: a number, or `auto`. The reference takes two per store path; a peer of ours
/// syncs many files at once, so more of them on the way cost it no more.
fn sync_threads(ini: &Ini) -> anyhow::Result<usize> {
    let auto = ini.get("sync_max_threads").is_none_or(|entry| entry.value == "auto");
    let threads = if auto { SYNC_THREADS_AUTO } else { int(ini, "sync_max_threads", 1, 1, 256)? };
    let least = int(ini, "sync_min_threads", 1, 1, 256)?;
    Ok(usize::try_from(threads.max(least)).unwrap_or(1))
}

/// `HH:MM` as a minute of the day.
fn minute(ini: &Ini, key: &str, default: u16) -> Result<u16, IniError> {
    let Some(entry) = ini.get(key) else { return Ok(default) };
    let parse = |text: &str| -> Option<u16> {
        let (hour, minute) = text.split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.trim().parse().ok()?, minute.trim().parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    parse(&entry.value).ok_or_else(|| entry.refuse("must be a time such as 23:30"))
}

fn int(ini: &Ini, key: &str, default: i64, min: i64, max: i64) -> anyhow::Result<i64> {
    let Some(entry) = ini.get(key) else { return Ok(default) };
    let number = entry.int_within(min, max, "is not a number in its range");
    number.with_context(|| format!("{key} must be {min} to {max}"))
}

fn millis(ini: &Ini, key: &str, default: i64, least: i64) -> anyhow::Result<Duration> {
    Ok(Duration::from_millis(int(ini, key, default, least, 3_600_000)?.unsigned_abs()))
}

fn addresses(ini: &Ini) -> anyhow::Result<Vec<IpAddr>> {
    let text = ini.get("bind_addr").map_or("", |entry| &entry.value);
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        all.push(part.parse().with_context(|| format!("bind_addr = {text}: {part}"))?);
    }
    if all.is_empty() {
        all.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    Ok(all)
}

fn store_paths(ini: &Ini, base_path: &Path) -> anyhow::Result<Vec<StorePathConfig>> {
    let count = int(ini, "store_path_count", 1, 1, i64::from(PATHS_MAX))?;
    let mut all: Vec<StorePathConfig> = Vec::new();
    for index in 0..count {
        let root = match ini.get(&format!("store_path{index}")) {
            Some(entry) => PathBuf::from(&entry.value),
            None if index == 0 => base_path.to_owned(),
            None => bail!("store_path{index} is missing, store_path_count is {count}"),
        };
        if all.iter().any(|other| other.root == root) {
            bail!("store_path{index} = {}: is used twice", root.display());
        }
        let read_only = ini.bool_or(&format!("store_path{index}_readonly"), false);
        all.push(StorePathConfig { root, read_only });
    }
    Ok(all)
}

fn trackers(ini: &Ini) -> anyhow::Result<Vec<SocketAddr>> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for entry in ini.all("tracker_server") {
        // Of two addresses of one tracker, the first is the inner one.
        let first = entry.value.split(',').next().unwrap_or("").trim_start_matches('[');
        let both = entry.value.contains(',');
        let port = entry.value.rsplit_once(':').filter(|_| both).map(|(_, port)| port);
        let text = match port {
            Some(port) => format!("{first}:{port}"),
            None if both || !entry.value.contains(':') => format!("{first}:{TRACKER_PORT}"),
            None => entry.value.clone(),
        };
        let mut found = text
            .to_socket_addrs()
            .with_context(|| format!("{}: tracker_server = {}", entry.place, entry.value))?;
        let found = found.next().ok_or_else(|| entry.refuse("names no address"))?;
        if !all.contains(&found) {
            all.push(found);
        }
    }
    ensure!(!all.is_empty(), "tracker_server is missing");
    ensure!(all.len() <= TRACKERS_MAX, "more than {TRACKERS_MAX} tracker_server lines");
    Ok(all)
}

fn compress_at(ini: &Ini) -> Result<Option<u32>, IniError> {
    let at = ini
        .get("compress_binlog_time")
        .map_or(Ok(COMPRESS_AT_SECS), |entry| entry.time().map(TimeOfDay::secs))?;
    Ok(ini.bool_or("compress_binlog", false).then_some(at))
}

fn durability(ini: &Ini) -> Result<Durability, IniError> {
    match ini.get("durability") {
        None => Ok(Durability::Full),
        Some(entry) => match entry.value.as_str() {
            "full" => Ok(Durability::Full),
            "os" => Ok(Durability::Os),
            _ => Err(entry.refuse("must be full or os")),
        },
    }
}

fn verify_reads(ini: &Ini) -> Result<VerifyReads, IniError> {
    match ini.get("verify_reads") {
        None => Ok(VerifyReads::Always),
        Some(entry) => match entry.value.as_str() {
            "always" => Ok(VerifyReads::Always),
            "once" => Ok(VerifyReads::Once),
            "off" => Ok(VerifyReads::Off),
            _ => Err(entry.refuse("must be always, once or off")),
        },
    }
}

fn copies(ini: &Ini) -> anyhow::Result<Option<Alone>> {
    let alone = match ini.get("copies_missing").map(|entry| (entry, entry.value.as_str())) {
        None | Some((_, "degrade")) => Alone::Degrade,
        Some((_, "refuse")) => Alone::Refuse,
        Some((entry, _)) => return Err(entry.refuse("must be degrade or refuse").into()),
    };
    Ok((int(ini, "copies", 1, 1, 2)? == 2).then_some(alone))
}

fn access_log(ini: &Ini) -> Result<Option<AccessLogConfig>, IniError> {
    let get = |key| ini.get_in("access-log", key);
    if !get("enabled").is_some_and(|entry| entry.bool()) {
        return Ok(None);
    }
    let micros = match get("time_precision").map(|entry| (entry, entry.value.as_str())) {
        None | Some((_, "ms" | "millisecond")) => false,
        Some((_, "us" | "microsecond")) => true,
        Some((entry, _)) => return Err(entry.refuse("must be ms or us")),
    };
    let second = Duration::from_secs(1);
    let flush = get("sync_log_buff_interval").or_else(|| ini.get("sync_log_buff_interval"));
    let flush = flush.map_or(Ok(second), |entry| entry.duration("s", second))?;
    Ok(Some(AccessLogConfig { rotation: Rotation::parse(ini, "access-log")?, micros, flush }))
}

fn log_level(ini: &Ini) -> Result<LevelFilter, IniError> {
    match ini.get("log_level") {
        None => Ok(LevelFilter::Info),
        Some(entry) => net::program::level_of(&entry.value)
            .ok_or_else(|| entry.refuse("must be emerg, alert, crit, error, warn, … debug")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        check(&Ini::parse(text)?)
    }

    const LEAST: &str = "base_path = /base\ntracker_server = 10.0.0.1:22122\n";

    #[test]
    fn a_short_file_means_the_defaults() {
        let config = parse(LEAST).unwrap();
        assert_eq!((config.port, config.dirs_per_level), (23000, 256));
        assert_eq!(config.store_paths[0].root, Path::new("/base"));
        assert_eq!(config.trackers, ["10.0.0.1:22122".parse().unwrap()]);
        assert_eq!(config.durability, Durability::Full);
        assert_eq!(config.distribution, Distribution::RoundRobin { files_per_dir: 100 });
        assert!(config.remarks.is_empty() && config.group.is_none());
        assert_eq!(config.compress_at, None);
        let config = parse(&format!("{LEAST}compress_binlog = true\n")).unwrap();
        assert_eq!(config.compress_at, Some(5400));
    }

    #[test]
    fn bad_values_are_refused_with_their_line() {
        for (line, part) in [
            ("port = 70000", "line 3: port = 70000"),
            ("group_name = a-b", "group_name = a-b"),
            ("subdir_count_per_path = 0", "subdir_count_per_path"),
            ("store_path_count = 2\nstore_path1 = /base", "used twice"),
            ("store_path_count = 2", "store_path1 is missing"),
            ("durability = perhaps", "must be full or os"),
            ("copies = 3", "copies must be 1 to 2"),
            ("copies_missing = hope", "must be degrade or refuse"),
            ("disabled = yes", "switched off"),
            ("sync_interval = -1", "sync_interval must be 0 to 3600000"),
            ("compress_binlog_time = 25:00", "line 3: compress_binlog_time"),
            ("allow_hosts = 10.0.1.[1-", "line 3: allow_hosts"),
            ("[access-log]\nenabled = on\ntime_precision = h", "must be ms or us"),
            ("max_connections = 0", "max_connections must be 1 to 1048576"),
        ] {
            let error = format!("{:#}", parse(&format!("{LEAST}{line}\n")).unwrap_err());
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(parse("base_path = /base").is_err());
        assert!(parse("tracker_server = 10.0.0.1:1").is_err());
    }

    #[test]
    fn what_is_not_there_yet_is_reported() {
        let text = format!(
            "{LEAST}check_file_duplicate = 1\nfrobnicate = 1\nuse_io_uring = on\n\
             store_path0_readonly = yes\n[access-log]\nenabled = true\n"
        );
        let config = parse(&text).unwrap();
        assert!(config.store_paths[0].read_only);
        let all = config.remarks.join("\n");
        for part in [
            "line 4: unknown key frobnicate",
            "line 3: check_file_duplicate is not supported yet",
            "without effect here: use_io_uring (sockets",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert_eq!(config.remarks.len(), 3);
        assert_eq!(config.access_log.map(|log| log.micros), Some(false));
    }

    #[test]
    fn trackers_are_read_in_all_their_forms() {
        for (text, at) in [
            ("10.0.0.1:22000", "10.0.0.1:22000"),
            ("10.0.0.1", "10.0.0.1:22122"),
            ("10.0.0.1,122.1.2.3:22000", "10.0.0.1:22000"),
            ("[2001:db8::1]:22000", "[2001:db8::1]:22000"),
        ] {
            let config = parse(&format!("base_path = /b\ntracker_server = {text}\n")).unwrap();
            assert_eq!(config.trackers, [at.parse().unwrap()], "{text}");
        }
    }
}
