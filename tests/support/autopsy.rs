//! Reads a storage's files straight from the disk, by the text of the specification: what is
//! there, whether it is what its name says, what the binlog says, what was left over.
//!
//! The second reader besides the protocol. Uses `proto::fileid` and nothing else of ours, and
//! never changes anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proto::fileid::{FileName, Kind};

/// What lies in one store path, with the binlog of its storage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    /// Logic names (`M00/HH/HH/…`) with content; metadata files are `<name>-m`.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Temporary files and notes of changes.
    pub(crate) unfinished: Vec<String>,
    /// Letter, name and the rest of each record, in order.
    pub(crate) binlog: Vec<(char, String, Option<String>)>,
    /// What cannot be, whatever happened.
    pub(crate) wrong: Vec<String>,
}

/// Looks at the store path 0 in `store` and the base path `base`.
pub(crate) fn examine(base: &Path, store: &Path) -> Body {
    let mut body = Body::default();
    for high in names(&store.join("data")).into_iter().filter(|name| is_dir_name(name)) {
        for low in names(&store.join("data").join(&high)) {
            let dir = store.join("data").join(&high).join(&low);
            for file in names(&dir) {
                let content = fs::read(dir.join(&file)).unwrap_or_default();
                body.take(format!("M00/{high}/{low}/{file}"), content);
            }
        }
    }
    body.unfinished = names(&store.join("data/.tmp"));
    let mut logs = names(&base.join("data/sync"));
    logs.retain(|name| name.strip_prefix("binlog.").is_some_and(|n| n.parse::<u32>().is_ok()));
    for log in logs {
        let text = fs::read(base.join("data/sync").join(&log)).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).split_inclusive('\n') {
            body.record(&log, line);
        }
    }
    body
}

impl Body {
    fn take(&mut self, name: String, content: Vec<u8>) {
        let master = name.strip_suffix("-m").unwrap_or(&name);
        match FileName::parse(master, 1) {
            Err(error) => self.wrong.push(format!("{name} is no name: {error}")),
            Ok(parsed) if parsed.kind() == Some(Kind::Normal) && master == name => {
                let record = parsed.record().expect("a normal name has a record");
                if record.size.size() != content.len() as u64 || record.crc32 != crc32(&content) {
                    self.wrong.push(format!("{name} is not what its name says"));
                }
            }
            Ok(_) => {}
        }
        self.files.insert(name, content);
    }

    fn record(&mut self, log: &str, line: &str) {
        let mut words = line.trim_end_matches('\n').splitn(4, ' ');
        let at = words.next().and_then(|at| at.parse::<u64>().ok());
        let letter = words.next().filter(|letter| letter.len() == 1);
        let name = words.next().filter(|name| name.starts_with("M00/"));
        match (at, letter, name, line.ends_with('\n')) {
            (Some(_), Some(letter), Some(name), true) => {
                let letter = letter.chars().next().expect("one letter");
                self.binlog.push((letter, name.to_owned(), words.next().map(str::to_owned)));
            }
            _ => self.wrong.push(format!("{log} holds a line that is no record: {line:?}")),
        }
    }

    /// Whether the last record of `name` says that it is there; none if there is no record.
    pub(crate) fn recorded(&self, name: &str) -> Option<bool> {
        let says = |(letter, of, rest): &(char, String, Option<String>)| {
            let letter = letter.to_ascii_uppercase();
            match letter {
                'R' if rest.as_deref() == Some(name) => Some(false),
                _ if of != name => None,
                'D' => Some(false),
                'C' | 'R' | 'U' | 'L' => Some(true),
                _ => None,
            }
        };
        self.binlog.iter().rev().find_map(says)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is_dir_name(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The checksum of storage.md 2.4, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}
