//! Why members are not equal, in words for whoever has to find out: each name that differs, who
//! has it, what every binlog says of it, and the state of every sender.
//!
//! Only called when a test has already failed. Reads the members' directories and changes nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::checker::Members;
use crate::support::cluster::{Cluster, Daemon};

/// Names that are told in full.
const TOLD_MAX: usize = 10;

/// All that is known about why `members` differ.
pub(crate) fn explain(cluster: &Cluster, members: &Members) -> String {
    let mut text = String::from("the members are equal");
    let all: BTreeSet<&String> = members.values().flat_map(|files| files.keys()).collect();
    let differs = |id: &&&String| {
        let mut copies = members.values().map(|files| files.get(**id));
        let first = copies.next();
        copies.any(|copy| Some(copy) != first)
    };
    let differing: Vec<&String> = all.iter().filter(differs).copied().collect();
    write!(text, " in all but {} of {} names", differing.len(), all.len()).expect("a string");
    for id in differing.iter().take(TOLD_MAX) {
        write!(text, "\n\n{id}").expect("a string");
        for (member, files) in members {
            let copy = files.get(*id).map(|copy| (copy.length, &copy.sha256[..12]));
            write!(text, "\n  at {member}: {copy:?}").expect("a string");
        }
        let name = id.split_once('/').map_or(id.as_str(), |(_, name)| name);
        let name = name.strip_suffix("-m").unwrap_or(name);
        for storage in &cluster.storages {
            told(&mut text, storage, name);
        }
    }
    for storage in &cluster.storages {
        write!(text, "\n\nsenders of {}:", storage.address).expect("a string");
        for (file, content) in texts(&storage.dir.join("base/data/sync")) {
            if ["mark", "aside", "dat"].iter().any(|end| file.ends_with(end)) {
                write!(text, "\n  {file}: {}", content.trim_end().replace('\n', " "))
                    .expect("text");
            }
        }
        let owed = names(&storage.dir.join("store0/data/.tmp/log"));
        let begun = names(&storage.dir.join("store0/data/.tmp"));
        write!(text, "\n  owed to the log: {owed:?}; begun: {begun:?}").expect("a string");
    }
    text
}

/// What the logs of a member say of a name and its metadata.
fn told(text: &mut String, storage: &Daemon, name: &str) {
    for (file, content) in texts(&storage.dir.join("base/data/sync")) {
        let mut at = 0;
        for line in content.split_inclusive('\n') {
            if line.contains(name) {
                let line = line.trim_end();
                write!(text, "\n  {} {file}:{at}: {line}", storage.address).expect("a string");
            }
            at += line.len();
        }
    }
    for line in storage.log().lines().filter(|line| line.contains(name)) {
        write!(text, "\n  {} says: {line}", storage.address).expect("a string");
    }
}

/// Files of a directory as text.
fn texts(dir: &Path) -> Vec<(String, String)> {
    let read = |name: String| {
        let bytes = fs::read(dir.join(&name)).unwrap_or_default();
        (name, String::from_utf8_lossy(&bytes).into_owned())
    };
    names(dir).into_iter().map(read).collect()
}

/// What a directory holds, in order; nothing if it is not there.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
