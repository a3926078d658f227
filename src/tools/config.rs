//! client.conf: as written, then as meant (tools.md 8).
//!
//! Every key of the reference is known. One that asks for something these programs do not do is
//! named with what happens instead; an unknown key is a warning with its line; a bad value is an
//! error with its line and what is legal. Keys at their defaults change nothing and are not named.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use net::client::pool::PoolSettings;
use net::ports::World;
use proto::address::split_host_port;
use proto::ini::{Ini, IniError};
use proto::status::Status;

use crate::Failure;

/// Trackers of one cluster (wire.md 8.1).
const TRACKERS_MAX: usize = 16;
const TRACKER_PORT: u16 = 22122;
/// How deep `#include` may nest.
const INCLUDE_DEPTH_MAX: usize = 4;

/// Every key of the reference.
const KEYS: &[&str] = &[
    "connect_timeout",
    "network_timeout",
    "base_path",
    "tracker_server",
    "log_level",
    "connect_first_by",
    "use_connection_pool",
    "connection_pool_max_idle_time",
    "load_fdfs_parameters_from_tracker",
    "use_storage_id",
    "storage_ids_filename",
    "http.anti_steal.check_token",
    "http.anti_steal.secret_key",
    "http.anti_steal.token_ttl",
    "http.tracker_server_port",
];

/// What a key asks for with this value, and these programs do not do.
const IDLE: &[(&str, &str, &str)] = &[
    ("connect_first_by", "last-connected", "a tracker says which address of a storage to take"),
    ("use_storage_id", "true", "the address in a file's info is asked from its storage"),
    ("load_fdfs_parameters_from_tracker", "true", "no parameter of a tracker is needed here"),
    ("http.anti_steal.check_token", "true", "the addresses that test programs print have no token"),
];

/// The settings of a client.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) pool: PoolSettings,
    /// Host and port of each; at least one.
    trackers: Vec<(String, u16)>,
    /// For whoever wrote the file.
    remarks: Vec<String>,
}

/// Reads and checks a configuration file.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    let refuse = |text: String| Failure::Config { text, status: Status::EINVAL };
    let ini = read(path, path.parent().unwrap_or(Path::new(".")), 0)?;
    let config = check(&ini).map_err(|error| refuse(format!("{}: {error}", path.display())))?;
    for remark in &config.remarks {
        let _ = writeln!(io::stderr(), "{}: {remark}", path.display()); // nobody may be reading
    }
    Ok(config)
}

fn read(path: &Path, base: &Path, depth: usize) -> Result<Ini, Failure> {
    if INCLUDE_DEPTH_MAX < depth {
        let text = format!("{}: files include each other too deeply", path.display());
        return Err(Failure::Config { text, status: Status::EINVAL });
    }
    let text = fs::read(path).map_err(|error| Failure::Config {
        text: format!("read {}: {error}", path.display()),
        status: Status::from_errno(error.raw_os_error().unwrap_or_default()),
    })?;
    let ini = Ini::parse(&String::from_utf8_lossy(&text)).map_err(|error| Failure::Config {
        text: format!("{}: {error}", path.display()),
        status: Status::EINVAL,
    })?;
    ini.include(|name| read(&base.join(name), base, depth + 1))
}

/// The configuration that only names these trackers; all else is as if nothing were written.
pub(crate) fn of_trackers(named: &[String]) -> Result<Config, Failure> {
    let lines: String = named.iter().map(|name| format!("tracker_server = {name}\n")).collect();
    let of_line = |error: IniError| match error {
        IniError::BadValue { value, need, .. } => Failure::Argument(format!("{value}: {need}")),
        other => Failure::Argument(other.to_string()),
    };
    Ini::parse(&lines).and_then(|ini| check(&ini)).map_err(of_line)
}

fn check(ini: &Ini) -> Result<Config, IniError> {
    let default = PoolSettings::default();
    let mut trackers = Vec::new();
    for entry in ini.all("tracker_server") {
        let need = "must be HOST[:PORT], at most 16 times";
        let (hosts, port) = split_host_port(&entry.value).ok_or_else(|| entry.refuse(need))?;
        for host in hosts.split(',').map(str::trim) {
            if host.is_empty() || TRACKERS_MAX * 2 <= trackers.len() {
                return Err(entry.refuse(need));
            }
            trackers.push((host.to_owned(), port.unwrap_or(TRACKER_PORT)));
        }
    }
    if trackers.is_empty() {
        return Err(IniError::Missing { key: "tracker_server" });
    }
    // The order in the file has no meaning; one that is named twice is asked once.
    trackers.sort();
    trackers.dedup();
    check_others(ini)?;
    // The file counts seconds; without a pool of its own the reference keeps no connection, but
    // a program that ends soon keeps none for long either.
    let idle_max = ini.seconds_or("connection_pool_max_idle_time", default.idle_max)?;
    Ok(Config {
        pool: PoolSettings {
            connect_timeout: ini.seconds_or("connect_timeout", default.connect_timeout)?,
            network_timeout: ini.seconds_or("network_timeout", default.network_timeout)?,
            idle_max: idle_max.min(default.idle_max),
            ..default
        },
        trackers,
        remarks: remarks(ini),
    })
}

/// Values that change nothing here must be legal all the same.
fn check_others(ini: &Ini) -> Result<(), IniError> {
    let legal = |key: &str, need, is_legal: &dyn Fn(&str) -> bool| match ini.get(key) {
        Some(entry) if !is_legal(&entry.value) => Err(entry.refuse(need)),
        _ => Ok(()),
    };
    let level = "must be one of emerg, alert, crit, error, warn, notice, info, debug";
    legal("log_level", level, &|value| net::program::level_of(value).is_some())?;
    legal("connect_first_by", "must be tracker or last-connected", &|value| {
        ["tracker", "last-connected"].iter().any(|word| value.eq_ignore_ascii_case(word))
    })?;
    let seconds = "must be a number of seconds above 0";
    legal("connection_pool_max_idle_time", seconds, &|value| {
        value.parse::<u64>().is_ok_and(|secs| 0 < secs)
    })
}

fn remarks(ini: &Ini) -> Vec<String> {
    let unknown = ini.unknown(|key| KEYS.contains(&key));
    let mut remarks: Vec<String> = unknown
        .map(|entry| format!("{}: unknown key {} is ignored", entry.place, entry.key))
        .collect();
    for (key, value, instead) in IDLE {
        let asks = ini.get(key).filter(|entry| match *value {
            "true" => entry.bool(),
            word => entry.value.eq_ignore_ascii_case(word),
        });
        if let Some(entry) = asks {
            remarks.push(format!("{}: {key} is without effect here: {instead}", entry.place));
        }
    }
    remarks
}

impl Config {
    /// The addresses of the trackers. A name that cannot be resolved is left out as long as
    /// another one can.
    pub(crate) async fn trackers(&self, world: &World) -> Result<Vec<SocketAddr>, Failure> {
        let mut found: Vec<SocketAddr> = Vec::new();
        let mut failure: Option<(&str, io::Error)> = None;
        for (host, port) in &self.trackers {
            match world.net.resolve(host, *port).await {
                Ok(addresses) => found.extend(addresses.first()),
                Err(error) => failure = Some((host, error)),
            }
        }
        match failure {
            Some((host, error)) if found.is_empty() => Err(Failure::Config {
                text: format!("resolve tracker server {host}: {error}"),
                status: Status::ENOENT,
            }),
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn trackers_are_read_in_every_form() {
        let v6 = "[fd00::1]:5";
        for (text, want) in [
            ("10.0.0.1", Ok("10.0.0.1:22122")),
            ("tracker.example:80", Ok("tracker.example:80")),
            ("10.0.0.2,8.8.8.80:7", Ok("10.0.0.2:7 8.8.8.80:7")),
            (v6, Ok("fd00::1:5")),
            ("", Err(())),
            ("10.0.0.1:x", Err(())),
        ] {
            let ini = Ini::parse(&format!("tracker_server = {text}")).unwrap();
            let got = check(&ini).map_err(|_| ()).map(|config| {
                let hosts = config.trackers.iter().map(|(host, port)| format!("{host}:{port}"));
                hosts.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(got.as_deref().map_err(|e| *e), want, "{text}");
        }
        let none = check(&Ini::parse("connect_timeout = 5").unwrap()).unwrap_err();
        assert_eq!(none.to_string(), "tracker_server is missing");
    }

    #[test]
    fn times_have_defaults_and_doubles_are_asked_once() {
        let text = "tracker_server=a\ntracker_server=a:22122\nnetwork_timeout=5\nhttp.x=1\n";
        let config = check(&Ini::parse(text).unwrap()).unwrap();
        assert_eq!(config.trackers.len(), 1);
        assert_eq!(config.pool.connect_timeout, Duration::from_secs(10));
        assert_eq!(config.pool.network_timeout, Duration::from_secs(5));
    }

    #[test]
    fn every_key_is_known_and_what_is_not_done_is_said() {
        let keys: String = KEYS
            .iter()
            .map(|key| match *key {
                "log_level" => "log_level = info\n".to_owned(),
                "connect_first_by" => "connect_first_by = tracker\n".to_owned(),
                "tracker_server" => "tracker_server = 10.0.0.1\n".to_owned(),
                "use_storage_id" | "http.anti_steal.check_token" => format!("{key} = false\n"),
                "load_fdfs_parameters_from_tracker" => format!("{key} = no\n"),
                other => format!("{other} = 7\n"),
            })
            .collect();
        let config = check(&Ini::parse(&keys).unwrap()).unwrap();
        assert_eq!(config.remarks, Vec::<String>::new());
        let lines = "tracker_server=a\nnonsense = 1\nuse_storage_id = true\n";
        let remarks = check(&Ini::parse(lines).unwrap()).unwrap().remarks;
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert!(remarks[0].starts_with("line 2: unknown key nonsense"), "{remarks:?}");
        assert!(remarks[1].starts_with("line 3: use_storage_id is without effect"), "{remarks:?}");
        for wrong in [
            "connect_timeout = soon",
            "network_timeout = x",
            "log_level = loud",
            "connect_first_by = somebody",
            "connection_pool_max_idle_time = 0",
        ] {
            let text = format!("tracker_server=a\n{wrong}\n");
            let error = check(&Ini::parse(&text).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with("line 2: "), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let failure = load(Path::new("/nonexistent/client.conf")).unwrap_err();
        assert_eq!(failure.status(), Status::ENOENT);
    }
}
