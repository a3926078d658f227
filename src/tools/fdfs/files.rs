//! The subcommands about files that move no content: `rm`, `stat`, `meta`, `decode`.

use std::fmt::{self, Display, Write as _};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use clap::Args;
use net::client::Client;
use proto::fileid::{FileId, Kind, Source};
use proto::metadata::{Metadata, Pair};
use proto::storage::metadata::SetMode;
use serde::Serialize;

use super::output::Output;
use super::put::pair;
use crate::zone::Zone;
use crate::{Doing as _, Failure, file_id};

#[derive(Debug, Args)]
pub(super) struct Rm {
    /// File ids
    #[arg(required_unless_present = "from_file", value_name = "FILE_ID")]
    ids: Vec<String>,
    /// Delete what this file lists, one id a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Files that are gone already are no failure
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct Removed<'a> {
    id: &'a str,
    removed: bool,
}

impl Rm {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let mut ids = self.ids.clone();
        if let Some(path) = &self.from_file {
            ids.extend(listed(path)?);
        }
        for id in &ids {
            let outcome = self.one(client, id, output).await;
            output.note(outcome);
        }
        Ok(())
    }

    async fn one(&self, client: &Client, text: &str, output: &Output) -> Result<(), Failure> {
        let id = file_id(text, "delete file")?;
        let removed = match client.delete(&id).await {
            Err(error) if self.force && error.is_not_found() => false,
            other => other.doing(format!("delete file {id}")).map(|()| true)?,
        };
        if output.is_json() {
            output.tell(&"", &Removed { id: text, removed });
        }
        Ok(())
    }
}

/// The lines of a list that hold something.
fn listed(path: &Path) -> Result<Vec<String>, Failure> {
    let lines: Result<Vec<String>, std::io::Error> = if path.as_os_str() == "-" {
        std::io::stdin().lock().lines().collect()
    } else {
        std::fs::read_to_string(path).map(|text| text.lines().map(str::to_owned).collect())
    };
    let lines = lines.map_err(|e| Failure::local("read", path, e))?;
    Ok(lines.iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

/// What a name says by itself.
#[derive(Debug, Serialize)]
struct Decoded {
    id: String,
    group: String,
    store_path: u8,
    directory: String,
    kind: &'static str,
    /// Number of the storage that took the upload, if names carry numbers.
    source_id: Option<u32>,
    /// Address of the storage that took the upload, if names carry addresses.
    source_ip: Option<String>,
    /// Unix seconds.
    created: Option<u32>,
    /// None where the name cannot say: appenders and slaves.
    size: Option<u64>,
    crc32: Option<String>,
    /// Where in a trunk file it lies.
    trunk: Option<Slot>,
}

#[derive(Debug, Serialize)]
struct Slot {
    container: u32,
    offset: u32,
    size: u32,
}

impl Decoded {
    fn of(id: &FileId) -> Self {
        let name = &id.name;
        let record = name.record();
        let kind = name.kind();
        let normal = record.filter(|_| kind == Some(Kind::Normal));
        let source = record.map(|record| record.source.source());
        Self {
            id: id.to_string(),
            group: id.group.to_string(),
            store_path: name.store_path().0,
            directory: name.dir().to_string(),
            kind: kind_name(kind),
            source_id: match source {
                Some(Source::Server(number)) => Some(number),
                _ => None,
            },
            source_ip: match source {
                Some(Source::Address(ip)) => Some(ip.to_string()),
                _ => None,
            },
            created: record.map(|record| record.timestamp),
            size: name.size(),
            crc32: normal.map(|record| format!("{:08x}", record.crc32)),
            trunk: name.slot().map(|slot| Slot {
                container: slot.container,
                offset: slot.offset,
                size: slot.size,
            }),
        }
    }
}

impl Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, value: &dyn Display| writeln!(f, "{label:12}{value}");
        line("id", &self.id)?;
        line("group", &self.group)?;
        line("place", &format!("store path {}, directory {}", self.store_path, self.directory))?;
        line("kind", &self.kind)?;
        match (self.source_id, &self.source_ip) {
            (Some(number), _) => line("source", &format!("storage id {number}"))?,
            (None, Some(ip)) => line("source", ip)?,
            (None, None) => {}
        }
        if let Some(created) = self.created {
            line("created", &Zone::of_system().print(i64::from(created)))?;
        }
        if let Some(size) = self.size {
            line("size", &size)?;
        }
        if let Some(sum) = &self.crc32 {
            line("crc32", sum)?;
        }
        if let Some(Slot { container, offset, size }) = self.trunk {
            line("trunk", &format!("file {container}, offset {offset}, slot of {size} bytes"))?;
        }
        Ok(())
    }
}

fn kind_name(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Normal) => "normal",
        Some(Kind::Slave) => "slave",
        Some(Kind::Appender) => "appender",
        None => "unknown",
    }
}

#[derive(Debug, Args)]
pub(super) struct Decode {
    /// File ids
    #[arg(required = true, value_name = "FILE_ID")]
    ids: Vec<String>,
}

impl Decode {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        for id in &self.ids {
            let outcome = file_id(id, "decode").map(|id| {
                let decoded = Decoded::of(&id);
                output.tell(&decoded.to_string().trim_end(), &decoded);
            });
            output.note(outcome);
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Stat {
    /// File ids
    #[arg(required = true, value_name = "FILE_ID")]
    ids: Vec<String>,
}

/// What the cluster says about a file.
#[derive(Debug, Serialize)]
struct Known {
    id: String,
    kind: &'static str,
    size: u64,
    crc32: String,
    /// Unix seconds.
    created: i64,
    /// Address of the storage that took the upload.
    source_ip: String,
    /// Storages that serve it now.
    storages: Vec<String>,
}

impl Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, value: &dyn Display| writeln!(f, "{label:12}{value}");
        line("id", &self.id)?;
        line("kind", &self.kind)?;
        line("size", &self.size)?;
        line("crc32", &self.crc32)?;
        line("created", &Zone::of_system().print(self.created))?;
        line("source", &self.source_ip)?;
        line("storages", &self.storages.join(" "))
    }
}

impl Stat {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        for id in &self.ids {
            let outcome = match file_id(id, "query file info") {
                Ok(id) => one_stat(client, &id, output).await,
                Err(failure) => Err(failure),
            };
            output.note(outcome);
        }
        Ok(())
    }
}

async fn one_stat(client: &Client, id: &FileId, output: &Output) -> Result<(), Failure> {
    let info = client.info(id).await.doing(format!("query file info {id}"))?;
    let servers = client.trackers().query_fetch_all(id).await.doing("query storages")?;
    let storages = servers
        .iter()
        .map(|server| std::net::SocketAddr::new(server.address, server.port).to_string());
    let known = Known {
        id: id.to_string(),
        kind: kind_name(id.name.kind()),
        size: info.size,
        crc32: format!("{:08x}", info.crc32),
        created: info.mtime,
        source_ip: info.source,
        storages: storages.collect(),
    };
    output.tell(&known.to_string().trim_end(), &known);
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct Meta {
    /// File id
    #[arg(value_name = "FILE_ID")]
    id: String,
    /// Pairs to write; those of other names stay
    #[arg(value_name = "NAME=VALUE", value_parser = pair)]
    pairs: Vec<Pair>,
    /// Let these pairs be all there are; without any, the file has none afterwards
    #[arg(short, long)]
    replace: bool,
}

impl Meta {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let id = file_id(&self.id, "meta data")?;
        if self.replace || !self.pairs.is_empty() {
            let mode = if self.replace { SetMode::Overwrite } else { SetMode::Merge };
            let metadata = Metadata::new(self.pairs.iter().cloned());
            return client.set_metadata(&id, mode, &metadata).await.doing("set meta data");
        }
        let metadata = client.metadata(&id).await.doing("get meta data")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut lines = String::new();
        let mut pairs = serde_json::Map::new();
        for Pair { name, value } in metadata.pairs() {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{}={}", text(name), text(value));
            pairs.insert(text(name), text(value).into());
        }
        if output.is_json() || !lines.is_empty() {
            output.tell(&lines.trim_end_matches('\n'), &pairs);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart() {
        let id = "group1/M01/02/44/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
        let decoded = Decoded::of(&FileId::parse(id).unwrap());
        let record = serde_json::to_value(&decoded).unwrap();
        for (key, want) in [
            ("group", serde_json::json!("group1")),
            ("store_path", 1.into()),
            ("directory", "02/44".into()),
            ("kind", "normal".into()),
            ("source_ip", "192.168.1.105".into()),
            ("source_id", serde_json::Value::Null),
            ("created", 1_700_000_000.into()),
            ("size", 13.into()),
            ("crc32", "c4581f24".into()),
        ] {
            assert_eq!(record[key], want, "{key}");
        }
        assert!(decoded.to_string().contains("\ncrc32       c4581f24\n"));
    }

    #[test]
    fn an_appender_says_no_size() {
        let id = "group1/M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";
        let decoded = Decoded::of(&FileId::parse(id).unwrap());
        assert_eq!((decoded.kind, decoded.size, decoded.crc32), ("appender", None, None));
    }
}
