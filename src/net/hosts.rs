//! Who may connect: `allow_hosts` of both daemons (tracker.md 13.4).
//!
//! Names are resolved once, at start. Whoever is in doubt is not let in.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};

use proto::ini::{Entry, Ini, IniError};

/// Addresses one pattern may stand for.
const ADDRESSES_MAX: usize = 65_536;

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHosts {
    Everybody,
    Only { addresses: BTreeSet<IpAddr>, nets: Vec<(u32, u32)> },
}

impl AllowedHosts {
    pub fn admits(&self, peer: IpAddr) -> bool {
        let AllowedHosts::Only { addresses, nets } = self else { return true };
        let peer = peer.to_canonical();
        let in_net = |v4: Ipv4Addr| nets.iter().any(|(base, mask)| u32::from(v4) & mask == *base);
        addresses.contains(&peer) || matches!(peer, IpAddr::V4(v4) if in_net(v4))
    }
}

/// Reads every `allow_hosts` line. Without any, everybody may connect; with lines of which
/// none is usable, nobody.
pub fn allowed(ini: &Ini, remarks: &mut Vec<String>) -> Result<AllowedHosts, IniError> {
    let entries: Vec<&Entry> = ini.all("allow_hosts").collect();
    if entries.is_empty() || entries.iter().any(|entry| entry.value == "*") {
        return Ok(AllowedHosts::Everybody);
    }
    let mut addresses = BTreeSet::new();
    let mut nets = Vec::new();
    for entry in entries.into_iter().filter(|entry| !entry.value.is_empty()) {
        if let Some((base, bits)) = entry.value.split_once('/') {
            nets.push(net(base, bits).ok_or_else(|| {
                entry.refuse("must be a network address and /10 to /31, such as 10.0.1.0/24")
            })?);
            continue;
        }
        let names = expand(&entry.value).ok_or_else(|| {
            entry.refuse("must be a host, or one with numbers such as 10.0.1.[1-15,20]")
        })?;
        for name in names {
            let found = resolve(&name);
            if found.is_empty() {
                remarks.push(format!("{}: allow_hosts: {name} has no address", entry.place));
            }
            addresses.extend(found);
        }
    }
    if addresses.is_empty() && nets.is_empty() {
        remarks.push("allow_hosts names nobody, so nobody may connect".to_owned());
    }
    Ok(AllowedHosts::Only { addresses, nets })
}

fn net(base: &str, bits: &str) -> Option<(u32, u32)> {
    let base = u32::from(base.trim().parse::<Ipv4Addr>().ok()?);
    let bits: u32 = bits.trim().parse().ok().filter(|bits| (10..=31).contains(bits))?;
    let mask = u32::MAX << (32 - bits);
    (base & mask == base).then_some((base, mask))
}

/// `head[r1,r2,…]tail`: each r is a number or a range, printed as wide as its start.
fn expand(pattern: &str) -> Option<Vec<String>> {
    // An IPv6 address in brackets is an address, not a list of numbers.
    let bare = pattern.strip_prefix('[').and_then(|p| p.strip_suffix(']'));
    if let Some(address) = bare.filter(|address| address.contains(':')) {
        return Some(vec![address.to_owned()]);
    }
    let Some((head, rest)) = pattern.split_once('[') else {
        return Some(vec![pattern.to_owned()]);
    };
    let (ranges, tail) = rest.split_once(']')?;
    let mut names = Vec::new();
    for range in ranges.split(',').map(str::trim) {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (from.trim(), to.trim());
        let (first, last): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        for number in first..=last {
            if ADDRESSES_MAX <= names.len() {
                return None;
            }
            names.push(format!("{head}{number:0width$}{tail}", width = from.len()));
        }
    }
    Some(names)
}

fn resolve(name: &str) -> Vec<IpAddr> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return vec![address.to_canonical()];
    }
    let found = (name, 0).to_socket_addrs();
    found.map(|all| all.map(|a| a.ip().to_canonical()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(lines: &[&str], peer: &str) -> bool {
        let text: String = lines.iter().map(|line| format!("allow_hosts = {line}\n")).collect();
        let ini = Ini::parse(&text).unwrap();
        allowed(&ini, &mut Vec::new()).unwrap().admits(peer.parse().unwrap())
    }

    #[test]
    fn patterns_admit_whom_they_name() {
        let table: [(&[&str], &str, bool); 14] = [
            (&[], "1.2.3.4", true),
            (&["*"], "1.2.3.4", true),
            (&["10.0.0.1", "*"], "fd00::1", true),
            (&["10.0.0.1"], "10.0.0.1", true),
            (&["10.0.0.1"], "10.0.0.2", false),
            (&["10.0.0.1"], "::ffff:10.0.0.1", true),
            (&["10.0.1.0/24"], "10.0.1.255", true),
            (&["10.0.1.0/24"], "10.0.2.0", false),
            (&["10.0.1.[1-3,20]"], "10.0.1.20", true),
            (&["10.0.1.[1-3,20]"], "10.0.1.4", false),
            (&["fd00::12"], "fd00::12", true),
            (&["10.0.0.1"], "fd00::12", false),
            (&[""], "10.0.0.1", false),
            (&["127.0.0.1"], "127.0.0.1", true),
        ];
        for (lines, peer, want) in table {
            assert_eq!(admits(lines, peer), want, "{lines:?} {peer}");
        }
    }

    #[test]
    fn numbers_keep_their_width() {
        assert_eq!(expand("h[08-10].x").unwrap(), ["h08.x", "h09.x", "h10.x"]);
        assert_eq!(expand("h[1-"), None);
        assert_eq!(expand("h[0-70000]"), None);
    }

    #[test]
    fn a_bad_network_names_its_line() {
        for bad in ["10.0.0.1/24", "10.0.0.0/9", "10.0.0.0/32", "x/24"] {
            let ini = Ini::parse(&format!("\nallow_hosts = {bad}")).unwrap();
            let error = allowed(&ini, &mut Vec::new()).unwrap_err().to_string();
            assert!(error.starts_with("line 2: allow_hosts"), "{error}");
        }
    }
}
