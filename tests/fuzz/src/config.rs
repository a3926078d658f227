//! Configuration text of both daemons and `storage_ids.conf`.

use proto::ini::Ini;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ini) = Ini::parse(text) {
        for key in ["base_path", "port", "max_connections", "reserved_storage_space", ""] {
            let Some(entry) = ini.get(key) else { continue };
            let _ = (entry.bool(), entry.int(), entry.size(), entry.time());
            let _ = entry.duration("s", std::time::Duration::ZERO);
        }
    }
    let _ = tracker::fuzzing::settings(text);
    let _ = storage::fuzzing::config(text);
    // A name would be looked up: only addresses are tried here.
    let names = |line: &str| line.split_whitespace().nth(2).is_some_and(|host| !is_address(host));
    if !text.lines().any(names) {
        let _ = tracker::fuzzing::storage_ids(text);
    }
}

/// Made of what addresses are made of, so that no resolver is asked.
fn is_address(host: &str) -> bool {
    let parts = host.split([',', '[', ']']).filter(|part| !part.is_empty());
    let hosts = parts.map(|part| match part.matches(':').count() {
        1 => part.split(':').next().unwrap_or_default(),
        _ => part,
    });
    hosts.filter(|host| !host.is_empty()).all(|host| host.parse::<std::net::IpAddr>().is_ok())
}
