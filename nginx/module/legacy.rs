//! `mod_fastdfs.conf`: the configuration of the C module, read as it stands (http.md 5).
//!
//! Called by `conf` for a location that says nothing about a store, while nginx reads its
//! configuration: what is wrong is found by `nginx -t` and not by a worker that ends. Trackers
//! are never asked: members come from `storage_ids.conf`, from the file of `fdfs_storaged`, or
//! from `fastdfs_member`.

use std::path::{Path, PathBuf};

use proto::address::parse_ip;
use proto::ids::{GroupName, StorageId};
use proto::ini::{Entry, Ini, IniError};
use proto::members::Member;
use proto::status::StorageState;

use crate::access::{Demand, Fail, Md5};
use crate::conf::{Conf, Mode, data_dir};
use crate::site::{self, Peer};

/// Where the C module looks, and nowhere else.
pub(crate) const PATH: &str = "/etc/fdfs/mod_fastdfs.conf";
/// How long a token lives, unless said otherwise.
pub(crate) const TTL_SECS: u64 = 600;
/// Included files within included files.
const DEPTH_MAX: usize = 8;
/// Groups of one configuration.
const GROUPS_MAX: i64 = 64;

/// Fills `conf` from the file at `path`. The error names the file.
pub(crate) fn read(path: &Path, conf: &mut Conf) -> Result<(), String> {
    let ini = load(path, DEPTH_MAX)?;
    let about = |error: &dyn std::fmt::Display| format!("\"{}\": {error}", path.display());
    let (own, groups) = groups(&ini).map_err(|error| about(&error))?;
    for (name, dirs) in groups {
        for (key, dir) in dirs {
            let data = data_dir(dir.as_bytes());
            let data = data.map_err(|why| about(&format!("{key} = {dir}: {why}")))?;
            conf.store_paths.push((Some(name), data));
        }
    }
    conf.group = own;
    let with_group = ini.bool_or("url_have_group_name", false);
    if !with_group && conf.group.is_none() {
        return Err(about(&"url_have_group_name must be true when group_count is set"));
    }
    conf.url_group = conf.url_group.or(Some(with_group));
    let mode = ini.get("response_mode").map_or(Mode::Proxy, |entry| match &*entry.value {
        "redirect" => Mode::Redirect,
        _ => Mode::Proxy,
    });
    conf.mode = conf.mode.or(Some(mode));
    if ini.bool_or("flv_support", false) {
        let extension = ini.get("flv_extension").map_or("flv", |entry| &entry.value);
        conf.flv = Some(extension.to_owned());
    }
    conf.single_range = !ini.bool_or("http.multi_range.enabled", true);
    tokens(&ini, conf).map_err(|error| about(&error))?;
    members(path, &ini, conf)
}

fn load(path: &Path, depth: usize) -> Result<Ini, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("\"{shown}\": {error}"))?;
    let ini = Ini::parse(&text).map_err(|error| format!("\"{shown}\": {error}"))?;
    ini.include(|other| {
        let next = depth.checked_sub(1);
        let depth = next.ok_or_else(|| format!("\"{shown}\": includes too many files"))?;
        load(&beside(path, other), depth)
    })
}

/// A relative path counts from the file that names it.
fn beside(file: &Path, other: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(other)
}

/// A key and a store path.
type Dir = (String, String);
type Groups = Vec<(GroupName, Vec<Dir>)>;

/// The groups of this machine; the first result is the one that addresses without a group mean.
fn groups(ini: &Ini) -> Result<(Option<GroupName>, Groups), IniError> {
    let count = match ini.get("group_count") {
        Some(entry) => entry.int_within(0, GROUPS_MAX, "must be 0 to 64")?,
        None => 0,
    };
    let name = |entry: &Entry| {
        let name = GroupName::parse(&entry.value);
        name.ok_or_else(|| entry.refuse("must be 1 to 16 letters and digits"))
    };
    if count == 0 {
        let group = name(ini.require("group_name")?)?;
        let base = ini.get("base_path").map(|entry| entry.value.clone());
        let dirs = store_paths(ini, "", base)?;
        return Ok((Some(group), vec![(group, dirs)]));
    }
    let mut groups = Vec::new();
    for number in 1..=count {
        let section = format!("group{number}");
        let entry = ini.get_in(&section, "group_name");
        let group = name(entry.ok_or(IniError::Missing { key: "group_name of a [groupN]" })?)?;
        groups.push((group, store_paths(ini, &section, None)?));
    }
    Ok((None, groups))
}

fn store_paths(ini: &Ini, section: &str, base: Option<String>) -> Result<Vec<Dir>, IniError> {
    let count = match ini.get_in(section, "store_path_count") {
        Some(entry) => entry.int_within(1, 256, "must be 1 to 256")?,
        None => 1,
    };
    let mut dirs = Vec::new();
    for number in 0..count {
        let key = format!("store_path{number}");
        let value = ini.get_in(section, &key).map(|entry| entry.value.clone());
        let value = value.or_else(|| base.clone().filter(|_| number == 0));
        let value = value.filter(|value| !value.is_empty());
        dirs.push((key, value.ok_or(IniError::Missing { key: "store_pathN" })?));
    }
    Ok(dirs)
}

/// The keys of `http.conf` and of the bypass header.
fn tokens(ini: &Ini, conf: &mut Conf) -> Result<(), IniError> {
    let rules = &mut conf.rules;
    let enabled = !ini.bool_or("http.disabled", false);
    if enabled && ini.bool_or("http.anti_steal.check_token", false) {
        let secret = ini.require("http.anti_steal.secret_key")?;
        let ttl =
            ini.seconds_or("http.anti_steal.token_ttl", std::time::Duration::from_secs(TTL_SECS))?;
        let md5 = Md5 { secret: secret.value.clone().into_bytes(), ttl_secs: ttl.as_secs() };
        rules.md5.get_or_insert(md5);
        let fail = ini.get("http.anti_steal.token_check_fail");
        if let Some(entry) = fail.filter(|entry| !entry.value.is_empty()) {
            if !Path::new(&entry.value).is_file() {
                return Err(entry.refuse("must be a file that can be read"));
            }
            rules.fail.get_or_insert(Fail::File(entry.value.clone().into_bytes()));
        }
    } else if rules.md5.is_none() && rules.keys.is_empty() {
        rules.demand.get_or_insert(Demand::Off);
    }
    let header = ini.get("anti_steal_bypass_header_name").filter(|name| !name.value.is_empty());
    // Without a value any request with an empty header would pass: that is no secret.
    let value = ini.get("anti_steal_bypass_header_value").filter(|value| !value.value.is_empty());
    if let Some(header) = header {
        let value = value.ok_or(IniError::Missing { key: "anti_steal_bypass_header_value" })?;
        let name = header.value.to_ascii_lowercase().into_bytes();
        rules.bypass.get_or_insert((name, value.value.clone().into_bytes()));
    }
    Ok(())
}

/// Who may be asked for what is not here.
fn members(path: &Path, ini: &Ini, conf: &mut Conf) -> Result<(), String> {
    if ini.bool_or("use_storage_id", false) {
        let ids = ini.get("storage_ids_filename").filter(|entry| !entry.value.is_empty());
        if let Some(entry) = ids {
            let ids = beside(path, &entry.value);
            let shown = ids.display();
            let text =
                std::fs::read_to_string(&ids).map_err(|error| format!("\"{shown}\": {error}"))?;
            for (number, line) in (1..).zip(text.lines()) {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let peer = storage_id(line);
                conf.peers.push(peer.ok_or_else(|| {
                    format!("\"{shown}\" line {number}: needs an id, a group and an address")
                })?);
            }
        }
    }
    // Beside `fdfs_storaged` of ours, its file is where its other files are.
    let bases = ["base_path", "store_path0"].into_iter().filter_map(|key| ini.get(key));
    for base in bases {
        let file = Path::new(&base.value).join("data/members");
        if let Ok(members) = site::read(&file)
            && Some(members.group) == conf.group
        {
            conf.follow(file);
            break;
        }
    }
    Ok(())
}

/// `id group address[:port][,address...] [more]`: a line of `storage_ids.conf`.
fn storage_id(line: &str) -> Option<(Option<GroupName>, Peer)> {
    let mut words = line.split_ascii_whitespace();
    let id = words.next().and_then(StorageId::parse)?;
    let group = words.next().and_then(GroupName::parse)?;
    let first = words.next()?.split(',').next()?;
    // The port, if there is one, is the storage's own and not nginx's.
    let socket: Option<std::net::SocketAddr> = first.parse().ok();
    let address = socket.map(|socket| socket.ip()).or_else(|| parse_ip(first))?;
    let member = Member { address, id: Some(id), state: StorageState::Active, own: false };
    Some((Some(group), Peer { member, port: None, url: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_storage_ids() {
        for (line, address) in [
            ("100001 group1 10.0.0.1", Some("10.0.0.1")),
            ("100002  group1\t10.0.0.2:23000 rw=both", Some("10.0.0.2")),
            ("100003 group2 10.0.0.3,1.2.3.4", Some("10.0.0.3")),
            ("100004 group2 host", None),
            ("100005 group2", None),
        ] {
            let found = storage_id(line).map(|(_, peer)| peer.member.address.to_string());
            assert_eq!(found.as_deref(), address, "{line}");
        }
    }

    #[test]
    fn groups_and_their_store_paths() {
        let read = |text: &str| groups(&Ini::parse(text).expect("the tests use good ones"));
        let one = read("base_path=/b\ngroup_name=g1\nstore_path_count=2\nstore_path1=/d");
        let (own, all) = one.expect("it is complete");
        let dirs: Vec<&str> = all[0].1.iter().map(|(_, dir)| dir.as_str()).collect();
        assert_eq!((own.map(|g| g.to_string()).as_deref(), dirs), (Some("g1"), vec!["/b", "/d"]));
        let two = "group_count=2\n[group1]\ngroup_name=a\nstore_path0=/a\n[group2]\n\
                   group_name=b\nstore_path0=/b\n";
        let (own, all) = read(two).expect("it is complete");
        assert_eq!((own, all.len(), all[1].1[0].1.as_str()), (None, 2, "/b"));
        for broken in [
            "store_path0=/a",
            "group_name=a-b\nstore_path0=/a",
            "group_name=a",
            "group_name=a\nstore_path0=/a\nstore_path_count=2",
            "group_count=1\n[group1]\nstore_path0=/a",
            "group_count=99",
        ] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
