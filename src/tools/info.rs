//! fdfs_file_info: what is known about a file (tools.md 2.4).
//!
//! The name of a normal file says it all, unless it names its creator by a number; only then,
//! and for slaves and appenders, a storage is asked.

use net::ports::World;
use proto::fileid::{FileId, Kind, Record, Source};
use proto::storage::info::{FileInfo, InfoFlags};

use crate::zone::Zone;
use crate::{Doing as _, Failure, connect, file_id, say};

const USAGE: &str = "[options] <config_file> <file_id>\n  options: \n    \
    -s: keep silence, when this file not exist, do not log error on storage server\n    \
    -n: do NOT calculate CRC32 for appender file or slave file\n";

/// Flags of the request (storage.md 3.11).
const NO_CRC: u8 = 1;
const SILENT: u8 = 2;

pub(crate) async fn run(world: &World, args: &[&str]) -> Result<(), Failure> {
    let mut flags = 0;
    let mut plain = Vec::new();
    for arg in args {
        match *arg {
            "-s" => flags |= SILENT,
            "-n" => flags |= NO_CRC,
            other if other.starts_with('-') => return Err(Failure::Usage(USAGE.to_owned())),
            other => plain.push(other),
        }
    }
    let [conf, id] = plain[..] else { return Err(Failure::Usage(USAGE.to_owned())) };
    let id = file_id(id, "query file info")?;
    let client = connect(world, conf).await?;
    let record = id.name.record();
    let known = record.and_then(|record| from_name(&id, record));
    let asked = match known {
        Some(_) => None,
        None => Some(client.info_with(&id, InfoFlags(flags)).await.doing("query file info")?),
    };
    let facts = known.or_else(|| asked.map(|info| from_server(record, &info)));
    if let Some(facts) = facts {
        say(&facts.print(id.name.kind(), &Zone::of_system(), flags & NO_CRC != 0));
    }
    Ok(())
}

/// What is printed.
struct Facts {
    from_server: bool,
    source_id: u32,
    source_ip: String,
    created: i64,
    size: u64,
    crc32: u32,
}

/// What the name says, if it says everything.
fn from_name(id: &FileId, record: Record) -> Option<Facts> {
    let Source::Address(ip) = record.source.source() else { return None };
    Some(Facts {
        from_server: false,
        source_id: 0,
        source_ip: ip.to_string(),
        created: i64::from(record.timestamp),
        size: id.name.size()?,
        crc32: record.crc32,
    })
}

fn from_server(record: Option<Record>, info: &FileInfo) -> Facts {
    let source_id = match record.map(|record| record.source.source()) {
        Some(Source::Server(number)) => number,
        _ => 0,
    };
    Facts {
        from_server: true,
        source_id,
        source_ip: info.source.clone(),
        created: info.mtime,
        size: info.size,
        crc32: info.crc32,
    }
}

impl Facts {
    fn print(&self, kind: Option<Kind>, zone: &Zone, no_crc: bool) -> String {
        let kind = match kind {
            Some(Kind::Normal) => "normal",
            Some(Kind::Slave) => "slave",
            Some(Kind::Appender) => "appender",
            None => "unknown",
        };
        let mut text = format!(
            "GET FROM SERVER: {}\n\n\
             file type: {kind}\n\
             source storage id: {}\n\
             source ip address: {}\n\
             file create timestamp: {}\n\
             file size: {}\n",
            self.from_server,
            self.source_id,
            self.source_ip,
            zone.print(self.created),
            self.size,
        );
        if !(no_crc && self.crc32 == 0) {
            let signed = self.crc32.cast_signed();
            text.push_str(&format!("file crc32: {signed} (0x{:08x})\n", self.crc32));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normal_name_says_everything() {
        let id = FileId::parse("group1/M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt").unwrap();
        let facts = from_name(&id, id.name.record().unwrap()).unwrap();
        assert_eq!(
            facts.print(id.name.kind(), &Zone::utc(), false),
            "GET FROM SERVER: false\n\n\
             file type: normal\n\
             source storage id: 0\n\
             source ip address: 192.168.1.105\n\
             file create timestamp: 2023-11-14 22:13:20\n\
             file size: 13\n\
             file crc32: -1000857820 (0xc4581f24)\n"
        );
    }

    #[test]
    fn appenders_and_numbered_creators_need_the_server() {
        for name in ["oYYBAGVT8QCAEjRWAAAADcRYHyQ482.txt", "wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042"] {
            let id = FileId::parse(format!("group1/M00/00/00/{name}")).unwrap();
            assert!(from_name(&id, id.name.record().unwrap()).is_none(), "{name}");
        }
    }

    #[test]
    fn a_sum_that_was_not_asked_for_is_left_out() {
        let info = FileInfo { size: 5, mtime: 0, crc32: 0, source: String::new() };
        let text = from_server(None, &info).print(None, &Zone::utc(), true);
        assert!(!text.contains("crc32") && text.contains("file type: unknown"));
    }
}
