//! The configuration: `tracker.conf` as written, and [`Settings`] as meant.
//!
//! Every key of the reference is known here (tracker.md 13). One that changes nothing in this
//! tracker is named once at start, with what that means; an unknown key is a warning with its
//! line; a bad value is an error with its line and its legal range. Read once; there is no
//! reload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use log::LevelFilter;
use net::hosts::AllowedHosts;
use net::program::RunBy;
use net::rotate::Rotation;
use proto::address::IpWidth;
use proto::ids::GroupName;
use proto::ini::{Ini, IniError};
use proto::tracker::Megabytes;

use crate::cluster::ServerChoice;
use crate::cluster::{DownloadChoice, IdInName, IdTable, Lookup, PathChoice, Policy, Reserved};

mod keys; // every key there is
mod parameters; // what storages are told
mod storage_ids; // the table of storages

/// Bytes of one request at most; the reference's default, and what a connection can hold.
const PACKAGE_LEN_MAX: u64 = 256 * 1024;
const PACKAGE_LEN_MIN: u64 = 8 * 1024;
/// How deep `#include` may nest.
const INCLUDE_DEPTH_MAX: usize = 8;

/// The settings, as meant. Having one means they are usable.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) base_path: PathBuf,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_rotation: Rotation,
    pub(crate) run_by: RunBy,
    /// At least one; all with the same port, 0 for any.
    pub(crate) listen: Vec<SocketAddr>,
    /// For connections to other trackers.
    pub(crate) connect_timeout: Duration,
    pub(crate) network_timeout: Duration,
    pub(crate) max_connections: usize,
    /// Bytes of one request, header included.
    pub(crate) package_len_max: usize,
    pub(crate) allowed: AllowedHosts,
    /// Where `GET /metrics` answers.
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) check_active: Duration,
    /// What decisions depend on; its port is set once the tracker listens.
    pub(crate) policy: Policy,
    /// For the log, once there is one.
    pub(crate) remarks: Vec<String>,
}

impl Settings {
    /// Reads and checks the file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let ini = read(path, path, 0)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let read_ids = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Self::check(&ini, &read_ids)
    }

    /// Makes settings of a text, for fuzzing.
    #[cfg(feature = "faults")]
    pub(crate) fn of_text(
        text: &str,
        read_ids: &dyn Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        Self::check(&Ini::parse(text)?, read_ids)
    }

    /// Makes settings of what is written; `read_ids` gets the text of storage_ids.conf.
    fn check(ini: &Ini, read_ids: &dyn Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<Self> {
        refuse_unusable(ini)?;
        keys::check_idle(ini)?;
        let mut remarks = keys::remarks(ini);
        let base_path = PathBuf::from(&ini.require("base_path")?.value);
        if base_path.as_os_str().is_empty() {
            return Err(ini.require("base_path")?.refuse("must name a directory").into());
        }
        let ids = storage_ids(ini, read_ids)?;
        let policy = policy(ini, ids)?;
        let package_len = package_len(ini)?;
        let allowed = net::hosts::allowed(ini, &mut remarks)?;
        Ok(Self {
            base_path,
            log_rotation: Rotation::parse(ini, "error-log")?,
            run_by: RunBy::parse(ini),
            log_level: log_level(ini)?,
            listen: listen(ini, &policy)?,
            connect_timeout: ini.seconds_or("connect_timeout", Duration::from_secs(10))?,
            network_timeout: ini.seconds_or("network_timeout", Duration::from_secs(60))?,
            max_connections: positive(ini, "max_connections", 256, 1_000_000)?,
            package_len_max: usize::try_from(package_len).unwrap_or(usize::MAX),
            allowed,
            metrics: net::metrics::listen_at(ini)?,
            check_active: Duration::from_secs(policy.check_active_secs.unsigned_abs()),
            policy,
            remarks,
        })
    }
}

/// Whether a text is a good `storage_ids.conf`, for fuzzing.
#[cfg(feature = "faults")]
pub(crate) fn ids_are_good(text: &str) -> bool {
    storage_ids::parse(text).is_ok()
}

/// Reads a file and what it includes. Relative names are relative to the main file.
fn read(main: &Path, path: &Path, depth: usize) -> anyhow::Result<Ini> {
    if INCLUDE_DEPTH_MAX < depth {
        bail!("{}: more than {INCLUDE_DEPTH_MAX} files include each other", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let ini = Ini::parse(&text).with_context(|| path.display().to_string())?;
    ini.include(|name| {
        let name = name.strip_prefix("file://").unwrap_or(name);
        if name.contains("://") {
            bail!("#include {name}: only files can be included");
        }
        let dir = main.parent().unwrap_or(Path::new(""));
        read(main, &dir.join(name), depth + 1)
    })
}

/// Settings with which this tracker must not start.
fn refuse_unusable(ini: &Ini) -> Result<(), IniError> {
    let refuse = |key: &str, need: &'static str| match ini.get(key) {
        Some(entry) if entry.bool() => Err(entry.refuse(need)),
        _ => Ok(()),
    };
    refuse("disabled", "this tracker is disabled; set it to false to start")?;
    refuse(
        "use_trunk_file",
        "trunk files are not supported yet; set it to false (files already stored in trunk \
         containers need the reference tracker)",
    )
}

/// A positive count; zero and less mean the default, as in the reference.
fn positive(ini: &Ini, key: &str, default: usize, max: usize) -> Result<usize, IniError> {
    let Some(entry) = ini.get(key) else { return Ok(default) };
    let value = entry.int()?;
    if value <= 0 {
        return Ok(default);
    }
    usize::try_from(value)
        .ok()
        .filter(|value| *value <= max)
        .ok_or_else(|| entry.refuse("must be a whole number up to 1000000"))
}

/// One of the numbers 0 … of a policy.
fn choice(ini: &Ini, key: &str, max: i64, need: &'static str) -> Result<i64, IniError> {
    ini.get(key).map_or(Ok(0), |entry| entry.int_within(0, max, need))
}

/// Seconds as decisions use them.
fn secs(ini: &Ini, key: &str, default: u64) -> Result<i64, IniError> {
    let span = ini.seconds_or(key, Duration::from_secs(default))?;
    // Decisions count whole seconds; a shorter span becomes the shortest they can count.
    Ok(i64::try_from(span.as_secs()).unwrap_or(i64::MAX).max(1))
}

fn log_level(ini: &Ini) -> Result<LevelFilter, IniError> {
    let Some(entry) = ini.get("log_level") else { return Ok(LevelFilter::Info) };
    net::program::level_of(&entry.value).ok_or_else(|| {
        entry.refuse("must be one of emerg, alert, crit, error, warn, notice, info, debug")
    })
}

/// The largest request (wire.md 8.2): `buff_size`, raised by the pair of the others.
fn package_len(ini: &Ini) -> Result<u64, IniError> {
    let size = |key| ini.get(key).map(|entry| entry.size()).transpose();
    let mut len = size("buff_size")?.unwrap_or(PACKAGE_LEN_MAX).max(PACKAGE_LEN_MIN);
    if let (Some(_), Some(max)) = (size("min_buff_size")?, size("max_buff_size")?) {
        len = len.max(max);
    }
    // No request of the protocol comes near this, so a larger buffer would serve nobody.
    Ok(len.min(PACKAGE_LEN_MAX))
}

fn listen(ini: &Ini, policy: &Policy) -> anyhow::Result<Vec<SocketAddr>> {
    let port = match ini.get("port") {
        None => 22122,
        Some(entry) => entry.int_within(0, 65535, "must be a port, 0 (any free one) to 65535")?,
    };
    let port = u16::try_from(port).unwrap_or(22122);
    let family = ini.get("address_family").map_or("auto", |entry| entry.value.as_str());
    let mut addresses = Vec::new();
    if let Some(entry) = ini.get("bind_addr") {
        for text in entry.value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            let address: Option<IpAddr> = bare.parse().ok();
            addresses.push(address.ok_or_else(|| {
                entry.refuse("must be an IPv4 address, an IPv6 address, or both with a comma")
            })?);
        }
    }
    let (want_v4, want_v6) = match family.to_ascii_lowercase().as_str() {
        "ipv4" => (true, false),
        "ipv6" => (false, true),
        "both" => (true, true),
        // Machines without IPv4 set the family; all others are served by default.
        "auto" if addresses.is_empty() => (true, false),
        "auto" => (true, true),
        _ => {
            let entry = ini.require("address_family")?;
            return Err(entry.refuse("must be IPv4, IPv6, both or auto").into());
        }
    };
    if addresses.is_empty() {
        addresses = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    }
    addresses.retain(|address| if address.is_ipv4() { want_v4 } else { want_v6 });
    if addresses.is_empty() {
        bail!("bind_addr has no address of address_family = {family}");
    }
    if addresses.iter().any(IpAddr::is_ipv6) && !policy.mixed_ports_allowed() {
        bail!("listening on IPv6 needs use_storage_id = true and id_type_in_filename = id");
    }
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// The table of storages, if storages have ids.
fn storage_ids(
    ini: &Ini,
    read_ids: &dyn Fn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Option<IdTable>> {
    if !ini.bool_or("use_storage_id", false) {
        return Ok(None);
    }
    let entry = ini.require("storage_ids_filename")?;
    if entry.value.is_empty() {
        return Err(entry.refuse("must name the file with the storage ids").into());
    }
    let text = read_ids(&entry.value)?;
    let table = storage_ids::parse(&text).with_context(|| entry.value.clone())?;
    Ok(Some(table))
}

fn policy(ini: &Ini, ids: Option<IdTable>) -> anyhow::Result<Policy> {
    let by_id = ini.get("id_type_in_filename").is_some_and(|e| e.value.eq_ignore_ascii_case("id"));
    let id_in_name = if ids.is_some() && by_id { IdInName::Id } else { IdInName::Ip };
    let any_v6 = ids.as_ref().is_some_and(|ids| {
        ids.iter().any(|(_, storage)| storage.addresses.iter().any(|a| a.is_ipv6()))
    });
    let address_width = match ini.get("response_ip_addr_size").map(|e| e.value.as_str()) {
        Some(text) if !text.is_empty() && !text.eq_ignore_ascii_case("auto") => IpWidth::V6,
        _ if any_v6 => IpWidth::V6,
        _ => IpWidth::V4,
    };
    let mut policy = Policy {
        port: 0,
        lookup: lookup(ini)?,
        server: match choice(ini, "store_server", 2, "must be 0, 1 or 2")? {
            1 => ServerChoice::FirstById,
            2 => ServerChoice::Priority,
            _ => ServerChoice::RoundRobin,
        },
        path: match ini.get("store_path").map_or(Ok(0), |entry| entry.int())? {
            0 => PathChoice::RoundRobin,
            2 => PathChoice::MostFree,
            _ => return Err(ini.require("store_path")?.refuse("must be 0 or 2").into()),
        },
        download: match choice(ini, "download_server", 1, "must be 0 or 1")? {
            1 => DownloadChoice::SourceFirst,
            _ => DownloadChoice::RoundRobin,
        },
        reserved: reserved(ini)?,
        check_active_secs: secs(ini, "check_active_interval", 100)?,
        sync_max_delay_secs: secs(ini, "storage_sync_file_max_delay", 86400)?,
        sync_max_time_secs: secs(ini, "storage_sync_file_max_time", 300)?,
        trust_storage_id: ids.is_none() || ini.bool_or("trust_storage_server_id", true),
        ids,
        id_in_name,
        address_width,
        parameters: String::new(),
    };
    policy.parameters = parameters::text(ini, &policy)?;
    Ok(policy)
}

fn lookup(ini: &Ini) -> anyhow::Result<Lookup> {
    Ok(match choice(ini, "store_lookup", 2, "must be 0, 1 or 2")? {
        1 => {
            let entry = ini.require("store_group").context("store_lookup = 1 needs a group")?;
            let need = "must be a group name: 1 to 16 letters and digits";
            Lookup::Group(GroupName::parse(&entry.value).ok_or_else(|| entry.refuse(need))?)
        }
        2 => Lookup::MostFree,
        _ => Lookup::RoundRobin,
    })
}

/// A share such as `20%`, or a size of which a plain number counts bytes.
fn reserved(ini: &Ini) -> Result<Reserved, IniError> {
    let Some(entry) = ini.get("reserved_storage_space") else {
        return Ok(Reserved::Absolute(Megabytes(1024)));
    };
    if let Some(percent) = entry.value.strip_suffix('%') {
        let percent: Option<f64> = percent.trim().parse().ok();
        let legal = percent.filter(|percent| 0.0 < *percent && *percent < 100.0);
        let need = "a share must lie between 0% and 100%";
        return Ok(Reserved::Ratio(legal.ok_or_else(|| entry.refuse(need))? / 100.0));
    }
    let megabytes = entry.size()? >> 20;
    Ok(Reserved::Absolute(Megabytes(i64::try_from(megabytes).unwrap_or(i64::MAX))))
}

#[cfg(test)]
mod tests;
