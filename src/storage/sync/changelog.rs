//! What the trackers' change log asks of us: the marks of members that have moved or were
//! removed, and the source of our files (sync.md 9.1).
//!
//! Applied by `report` before it takes over a list of members, so that the sender of a member
//! that has moved finds the mark under its new name and goes on where it was. A line that is
//! applied again changes nothing. Never asks a tracker and never starts or ends a sender.

use std::{io, path::Path, sync::Arc};

use proto::{
    ids::{GroupName, StorageId},
    tracker::changelog::{LogChange, LogEntry},
};

use super::quarantine;
use crate::{
    binlog::mark::{MarkFile, Naming},
    disk::port::Disk,
    start::IdentityFile,
};

/// What the lines are applied to.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) group: GroupName,
    pub(crate) naming: Naming,
    /// The port that we listen on.
    pub(crate) port: u16,
    pub(crate) identity: Arc<IdentityFile>,
    /// Unix seconds.
    pub(crate) now: u32,
}

/// Applies the lines of `text` to the marks in `dir`; whether the source of our files was
/// removed. What then becomes of us is for the trackers to say. Blocks.
pub(crate) fn apply(ours: &Ours, dir: &Path, text: &str) -> io::Result<bool> {
    let mut source_gone = false;
    for entry in text.lines().filter_map(LogEntry::parse) {
        if entry.group != ours.group {
            continue;
        }
        let mark = |id: &StorageId| {
            let disk = Arc::clone(&ours.disk);
            MarkFile::of(disk, dir, id, id.as_str(), ours.naming, ours.port)
        };
        let old = entry.id;
        match entry.what {
            LogChange::Deleted => {
                mark(&old)?.retire(&ours.now.to_string())?;
                source_gone |= ours.identity.get().sync_source == Some(old);
            }
            // With ids a storage stays what it was, wherever it is.
            LogChange::Renamed(_) if ours.naming == Naming::ById => {}
            LogChange::Renamed(new) => {
                let (from, to) = (mark(&old)?, mark(&new)?);
                if from.rename_to(&to)? {
                    log::info!("storage {old} is at {new} now: what it lacks is sent there");
                    let [from, to] = [&from, &to].map(|m| quarantine::path_beside(m.path()));
                    match ours.disk.rename_new(&from, &to) {
                        Err(error) if !is_harmless(&error) => return Err(error),
                        _ => {}
                    }
                }
                ours.identity.update(|identity| {
                    if identity.sync_source == Some(old) {
                        identity.sync_source = Some(new);
                    }
                })?;
            }
        }
    }
    Ok(source_gone)
}

/// There is nothing to rename, or another one is there already.
fn is_harmless(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

#[cfg(test)]
mod tests {
    use proto::binlog::Mark;

    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    const DIR: &str = "/base/data/sync";

    fn ours(disk: &SimulatedDisk, naming: Naming) -> Ours {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let identity = IdentityFile::open(Arc::clone(&disk), Path::new("/base"), 1).unwrap();
        let group = GroupName::parse("group1").unwrap();
        Ours { disk, group, naming, port: 23000, identity: Arc::new(identity), now: 77 }
    }

    fn disk(marks: &[&str]) -> SimulatedDisk {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", DIR]);
        for (name, offset) in marks.iter().zip(1..) {
            let text = Mark { binlog_offset: offset, ..Mark::default() }.text();
            let file = disk.create(&Path::new(DIR).join(name)).unwrap();
            file.write_at(0, text.as_bytes()).unwrap();
        }
        disk
    }

    /// Names in the directory, with the offset of a mark.
    fn names(disk: &SimulatedDisk) -> Vec<(String, u64)> {
        let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(DIR));
        let one = |(path, text): (std::path::PathBuf, Vec<u8>)| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let mark = Mark::parse(&String::from_utf8_lossy(&text));
            (name, mark.map_or(0, |mark| mark.binlog_offset))
        };
        files.map(one).collect()
    }

    fn want(all: &[(&str, u64)]) -> Vec<(String, u64)> {
        all.iter().map(|(name, offset)| ((*name).to_owned(), *offset)).collect()
    }

    #[test]
    fn marks_follow_those_that_moved_and_go_with_those_that_were_removed() {
        let disk = disk(&["10.0.0.2_23000.mark", "10.0.0.3_23000.mark", "10.0.0.4_23000.mark"]);
        disk.create(&Path::new(DIR).join("10.0.0.2_23000.aside")).unwrap();
        let ours = ours(&disk, Naming::ByAddress { port: 23000 });
        ours.identity
            .update(|identity| identity.sync_source = StorageId::parse("10.0.0.2"))
            .unwrap();
        let text = "5 group1 10.0.0.2 3 10.0.0.9\n6 group2 10.0.0.3 4 \n7 group1 10.0.0.4 4 \n\
                    8 group1 10.0.0.3 3\n9 group1 10.0.0.8 3 10.0.0.7\n";
        let all = want(&[
            ("10.0.0.3_23000.mark", 2),
            ("10.0.0.4_23000.mark.77", 3),
            ("10.0.0.9_23000.aside", 0),
            ("10.0.0.9_23000.mark", 1),
        ]);
        for _ in 0..2 {
            assert!(!apply(&ours, Path::new(DIR), text).unwrap());
            assert_eq!(names(&disk), all);
            assert_eq!(ours.identity.get().sync_source, StorageId::parse("10.0.0.9"));
        }
        // It moves on, and back to where it was first: in one piece of the log.
        let text = "10 group1 10.0.0.9 3 10.0.0.5\n11 group1 10.0.0.5 3 10.0.0.2\n";
        assert!(!apply(&ours, Path::new(DIR), text).unwrap());
        assert!(names(&disk).contains(&("10.0.0.2_23000.mark".to_owned(), 1)));
        assert!(apply(&ours, Path::new(DIR), "12 group1 10.0.0.2 4 \n").unwrap());
        assert_eq!(
            ours.identity.get().sync_source,
            StorageId::parse("10.0.0.2"),
            "not ours to say"
        );
    }

    #[test]
    fn with_ids_only_removals_count() {
        let disk = disk(&["100002.mark", "100003.mark"]);
        let ours = ours(&disk, Naming::ById);
        let text = "5 group1 10.0.0.2 3 10.0.0.9\n6 group1 100003 4 \n";
        assert!(!apply(&ours, Path::new(DIR), text).unwrap());
        assert_eq!(names(&disk), want(&[("100002.mark", 1), ("100003.mark.77", 2)]));
    }
}
