//! client.conf: as written, then as meant (tools.md 8). Keys that only other programs use are
//! ignored without a word, since existing installations bring them along.

use std::fs;
use std::io;
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

/// The settings of a client.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) pool: PoolSettings,
    /// Host and port of each; at least one.
    trackers: Vec<(String, u16)>,
}

/// Reads and checks a configuration file.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    let refuse = |text: String| Failure::Config { text, status: Status::EINVAL };
    let ini = read(path, path.parent().unwrap_or(Path::new(".")), 0)?;
    check(&ini).map_err(|error| refuse(format!("{}: {error}", path.display())))
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
    Ok(Config {
        pool: PoolSettings {
            connect_timeout: ini.seconds_or("connect_timeout", default.connect_timeout)?,
            network_timeout: ini.seconds_or("network_timeout", default.network_timeout)?,
            ..default
        },
        trackers,
    })
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
    fn a_missing_file_is_not_found() {
        let failure = load(Path::new("/nonexistent/client.conf")).unwrap_err();
        assert_eq!(failure.status(), Status::ENOENT);
    }
}
