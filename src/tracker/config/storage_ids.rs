//! `storage_ids.conf`: `<id> <group> <host>[,<host>][:<port>] [rw=<mode>]` (tracker.md 13.5).

use std::net::{IpAddr, ToSocketAddrs as _};

use proto::address::{Addresses, IpKind};
use proto::ids::{GroupName, StorageId};
use proto::status::RwMode;

use crate::cluster::{ConfiguredStorage, IdClash, IdTable};

/// The port of a storage that names none.
const STORAGE_PORT: u16 = 23000;

/// Why the file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StorageIdsError {
    #[error("line {line}: {what}: {text}")]
    Line { line: usize, what: &'static str, text: String },
    #[error("it names no storage")]
    Empty,
}

/// Reads the whole file.
pub(super) fn parse(text: &str) -> Result<IdTable, StorageIdsError> {
    let mut table = IdTable::default();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let error = |what| StorageIdsError::Line { line, what, text: text.to_owned() };
        let (id, storage) = storage(text).map_err(error)?;
        table.add(id, storage).map_err(|clash| {
            error(match clash {
                IdClash::Id => "this id stands in an earlier line",
                IdClash::AddressAndPort(..) => "this address and port stand in an earlier line",
            })
        })?;
    }
    if table.is_empty() { Err(StorageIdsError::Empty) } else { Ok(table) }
}

fn storage(line: &str) -> Result<(StorageId, ConfiguredStorage), &'static str> {
    let mut words = line.split_ascii_whitespace();
    let id = words.next().and_then(StorageId::parse).filter(|id| id.number().is_some());
    let id = id.ok_or("the id must be a whole number from 1 to 16777215")?;
    let group = words.next().and_then(GroupName::parse);
    let group = group.ok_or("the group must be 1 to 16 letters and digits")?;
    let (addresses, port) = host(words.next().ok_or("the host is missing")?)?;
    let mode = match words.next() {
        None => RwMode::Both,
        Some(option) => option
            .split_once('=')
            .filter(|(key, _)| key.eq_ignore_ascii_case("rw"))
            .and_then(|(_, mode)| RwMode::parse(mode))
            .ok_or("the option must be rw=none, rw=read, rw=write or rw=both")?,
    };
    if words.next().is_some() {
        return Err("something stands behind the last option");
    }
    Ok((id, ConfiguredStorage { group, addresses, port, mode }))
}

fn host(text: &str) -> Result<(Addresses, u16), &'static str> {
    let (hosts, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (hosts, rest) = inner.split_once(']').ok_or("a bracket is not closed")?;
            (hosts, rest.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(hosts, port)| (hosts, Some(port))),
    };
    let port = match port {
        None => STORAGE_PORT,
        Some(port) => port.parse().ok().filter(|p| *p != 0).ok_or("the port is not a port")?,
    };
    let addresses = match hosts.split_once(',') {
        None => Addresses::one(resolve(hosts)?),
        Some((a, b)) => Addresses::two(resolve(a)?, resolve(b)?)
            .ok_or("two addresses of a storage must belong to different kinds of network")?,
    };
    Ok((addresses, port))
}

fn resolve(name: &str) -> Result<IpAddr, &'static str> {
    let found = name.parse().ok().or_else(|| {
        let mut all = (name, 0).to_socket_addrs().ok()?;
        all.next().map(|address| address.ip().to_canonical())
    });
    let address = found.ok_or("the host has no address")?;
    if IpKind::of(address) == IpKind::Unknown {
        return Err("addresses of fewer than eight characters cannot be used");
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_every_form() {
        let text = "# id group host\n\n\
            100001 group1 10.0.0.11\n\
            100002\tgroup1\t10.0.0.12:24000 rw=Read\n\
            100003 group2 88.1.2.30,10.0.0.13 rw=none\n\
            100004 group2 [10.0.0.14,2001:db8::14]:1\n";
        let table = parse(text).unwrap();
        let lines: Vec<String> = table
            .iter()
            .map(|(id, s)| {
                format!("{id} {} {} {:?}", s.group, s.addresses.with_port(s.port), s.mode)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "100001 group1 10.0.0.11:23000 Both",
                "100002 group1 10.0.0.12:24000 Read",
                "100003 group2 10.0.0.13,88.1.2.30:23000 None",
                "100004 group2 [10.0.0.14,2001:db8::14]:1 Both",
            ]
        );
    }

    #[test]
    fn bad_lines_are_named() {
        for bad in [
            "0 group1 10.0.0.11",
            "x group1 10.0.0.11",
            "16777216 group1 10.0.0.11",
            "01 group1 10.0.0.11",
            "1 group-1 10.0.0.11",
            "1 group1",
            "1 group1 1.2.3.4",
            "1 group1 10.0.0.11:0",
            "1 group1 10.0.0.11,10.0.0.12",
            "1 group1 10.0.0.11 rw=some",
            "1 group1 10.0.0.11 rw=read more",
            "1 group1 [10.0.0.11",
        ] {
            let error = parse(&format!("2 group1 10.0.0.99\n{bad}\n")).unwrap_err();
            assert!(error.to_string().starts_with("line 2: "), "{bad}: {error}");
        }
        assert_eq!(parse("# nothing\n"), Err(StorageIdsError::Empty));
    }

    #[test]
    fn ids_and_addresses_stand_once() {
        let twice = ["1 g 10.0.0.11\n1 g 10.0.0.12", "1 g 10.0.0.11\n2 h 10.0.0.11:23000"];
        for text in twice {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("1 g 10.0.0.11\n2 g 10.0.0.11:23001").is_ok());
    }
}
