//! Changes that cross each other between members: in whatever order they come, how often, and
//! whatever the clocks say, the members end up with the same.

use std::{path::Path, sync::Arc};

use proto::{binlog::Act, fileid::FileName};

use crate::{
    disk::simulated::SimulatedDisk,
    service::served::{SYNC, Served, named},
    store::replica,
};

/// Two lists of metadata of the same length.
const FIRST: &str = "a\u{2}1";
const SECOND: &str = "a\u{2}2";
/// A second that no clock of a test shows.
const LONG_AGO: u32 = 1000;
const MISSING: u8 = 2;
const HAVE_IT: u8 = 17;

fn disk() -> SimulatedDisk {
    SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC])
}

/// 16 or 18, as a sender makes them.
fn file(name: &str, at: u32, content: &[u8]) -> Vec<u8> {
    let mut body = (name.len() as u64).to_be_bytes().to_vec();
    body.extend((content.len() as u64).to_be_bytes());
    body.extend(at.to_be_bytes());
    body.extend([&named(name)[..], content].concat());
    body
}

/// 17.
fn delete(name: &str, at: u32) -> Vec<u8> {
    [&at.to_be_bytes()[..], &named(name)].concat()
}

/// 40.
fn rename(new: &str, old: &str, at: u32) -> Vec<u8> {
    let mut body = (new.len() as u64).to_be_bytes().to_vec();
    body.extend((old.len() as u64).to_be_bytes());
    body.extend(at.to_be_bytes());
    body.extend([named(new), old.as_bytes().to_vec()].concat());
    body
}

fn held(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
    disk.files().remove(&Path::new("/base/data").join(&name[4..]))
}

/// The lines of the binlog without their times.
fn records(disk: &SimulatedDisk) -> Vec<String> {
    let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap_or_default();
    let log = String::from_utf8(log).unwrap();
    log.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

/// The time of the last record that ends so.
fn recorded_at(disk: &SimulatedDisk, end: &str) -> u32 {
    let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
    let log = String::from_utf8(log).unwrap();
    let line = log.lines().rev().find(|line| line.ends_with(end)).unwrap();
    line.split_once(' ').unwrap().0.parse().unwrap()
}

/// What is left when metadata come in this order, and whether each is a creation or an update.
async fn left(order: [(u32, &str); 2], command: u8) -> Option<Vec<u8>> {
    let disk = disk();
    let mut served = Served::open(&disk);
    let name = format!("{}-m", served.upload(b"file").await.unwrap());
    for (at, content) in order {
        assert_eq!(served.ask(command, &file(&name, at, content.as_bytes())).await.0, 0);
    }
    served.close().await;
    held(&disk, &name)
}

#[tokio::test]
async fn the_later_metadata_stay_in_whatever_order_they_come() {
    for command in [16, 18] {
        for (a, b) in [((5, SECOND), (6, FIRST)), ((5, FIRST), (6, SECOND))] {
            let later = Some(b.1.as_bytes().to_vec());
            assert_eq!(left([a, b], command).await, later, "{command}");
            // Sent once more after the later one: the same member may do that after a restart.
            assert_eq!(left([b, a], command).await, later, "{command}");
        }
    }
}

#[tokio::test]
async fn of_one_second_our_clients_metadata_and_a_peers_are_judged_by_their_sums() {
    for (ours, theirs) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let disk = disk();
        let mut served = Served::open(&disk);
        let file_name = served.upload(b"file").await.unwrap();
        let name = format!("{file_name}-m");
        served.ask(18, &file(&name, LONG_AGO, theirs.as_bytes())).await;
        served.set_metadata(&file_name, ours).await.unwrap();
        let at = recorded_at(&disk, &name);
        // Twice, and although the metadata before ours came from there, too.
        for _ in 0..2 {
            served.ask(18, &file(&name, at, theirs.as_bytes())).await;
        }
        served.close().await;
        let winner = [FIRST, SECOND].into_iter().max_by_key(|m| crc32fast::hash(m.as_bytes()));
        assert_eq!(held(&disk, &name).unwrap(), winner.unwrap().as_bytes());
    }
}

#[tokio::test]
async fn metadata_that_are_here_are_recorded_although_they_were_placed_before() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let name = format!("{}-m", served.upload(b"file").await.unwrap());
    for _ in 0..2 {
        assert_eq!(served.ask(18, &file(&name, 5, b"a\x02b")).await.0, 0);
    }
    served.close().await;
    assert_eq!(records(&disk).iter().filter(|line| **line == format!("u {name}")).count(), 2);
}

#[tokio::test]
async fn metadata_changed_faster_than_the_clock_are_deleted_later_than_that() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let name = served.upload(b"file").await.unwrap();
    for _ in 0..20 {
        served.set_metadata(&name, FIRST).await.unwrap();
    }
    let metadata = format!("{name}-m");
    let set = recorded_at(&disk, &metadata);
    served.delete(&name).await.unwrap();
    served.close().await;
    assert!(set <= recorded_at(&disk, &format!(" D {metadata}")));
    assert!(recorded_at(&disk, &format!(" D {name}")) < set, "they were ahead of the clock");
}

#[tokio::test]
async fn metadata_go_with_their_file_although_its_deleter_never_heard_of_them() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let name = served.upload(b"file").await.unwrap();
    let metadata = format!("{name}-m");
    served.set_metadata(&name, FIRST).await.unwrap();
    // By a member whose clock is far behind.
    assert_eq!(served.ask(17, &delete(&name, LONG_AGO)).await.0, 0);
    assert_eq!((held(&disk, &name), held(&disk, &metadata)), (None, None));
    assert!(records(&disk).ends_with(&[format!("d {name}"), format!("d {metadata}")]));
    served.close().await;
}

#[tokio::test]
async fn metadata_that_came_before_their_file_go_when_it_is_deleted() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let name = served.upload(b"file").await.unwrap();
    served.delete(&name).await.unwrap();
    // As if this member had never had the file.
    let never = name.replace("M00/00/00/C", "M00/00/00/D");
    let metadata = format!("{never}-m");
    assert_eq!(served.ask(18, &file(&metadata, LONG_AGO, b"a\x02b")).await.0, 0);
    assert!(held(&disk, &metadata).is_some());
    assert_eq!(served.ask(17, &delete(&never, LONG_AGO)).await.0, MISSING);
    assert_eq!(held(&disk, &metadata), None);
    served.ask(18, &file(&metadata, u32::MAX, b"a\x02b")).await;
    assert_eq!(held(&disk, &metadata), None, "of a file that is gone there are none");
    served.close().await;
}

#[tokio::test]
async fn a_slave_is_made_again_later_than_it_was_deleted() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let master = served.upload(b"file").await.unwrap();
    let slave = served.slave(&master, b"small").await.unwrap();
    // By a member whose clock is ahead.
    let ahead = recorded_at(&disk, &slave) + 5000;
    assert_eq!(served.ask(17, &delete(&slave, ahead)).await.0, 0);
    assert_eq!(served.slave(&master, b"other").await, Ok(slave.clone()));
    assert_eq!(recorded_at(&disk, &format!(" C {slave}")), ahead + 1);
    // And deleted here it is so for all who have it.
    served.delete(&slave).await.unwrap();
    assert!(ahead < recorded_at(&disk, &format!(" D {slave}")));
    served.close().await;
}

#[tokio::test]
async fn a_renaming_is_recorded_although_it_was_done_before_and_ends_the_name_before() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let (new, old) =
        (served.upload(b"file").await.unwrap(), served.upload_as(23, b"file").await.unwrap());
    for _ in 0..2 {
        assert_eq!(served.ask(40, &rename(&new, &old, 5)).await.0, HAVE_IT);
        assert_eq!(held(&disk, &old), None);
    }
    assert!(records(&disk).contains(&format!("r {new} {old}")));
    assert_eq!(served.ask(16, &file(&old, 5, b"file")).await.0, 0);
    assert_eq!(held(&disk, &old), None, "it does not come back");
    assert!(held(&disk, &new).is_some());
    served.close().await;
}

#[tokio::test]
async fn a_name_that_was_given_again_is_no_deleted_one() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let master = served.upload(b"file").await.unwrap();
    let slave = served.slave(&master, b"small").await.unwrap();
    assert_eq!(served.ask(17, &delete(&slave, LONG_AGO)).await.0, MISSING);
    assert!(held(&disk, &slave).is_some());
    assert!(served.store.with_tombs(|tombs| tombs.is_empty()));
    assert!(!records(&disk).contains(&format!("d {slave}")));
    served.close().await;
}

#[tokio::test]
async fn a_deletion_that_crosses_the_renaming_is_not_lost() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let store = Arc::clone(&served.store);
    let parsed = |name: &str| FileName::parse(name, 1).unwrap();
    let new = served.upload(b"file").await.unwrap();
    served.delete(&new).await.unwrap();
    let new = new.replace("M00/00/00/C", "M00/00/00/D");
    let deleting = store.lock_file(&parsed(&new)).await;
    // One that does not share its lock with the new name.
    let old = loop {
        let old = served.upload_as(23, b"file").await.unwrap();
        let name = parsed(&old);
        let free = tokio::select! {
            biased;
            _alone = store.lock_file(&name) => true,
            () = std::future::ready(()) => false,
        };
        if free {
            break old;
        }
    };
    let body = rename(&new, &old, 5);
    let deletion = async {
        while held(&disk, &new).is_none() {
            tokio::task::yield_now().await;
        }
        store.bury(&[replica(6, Act::Delete, &parsed(&new))]);
        drop(deleting);
    };
    let (answer, ()) = tokio::join!(served.ask(40, &body), deletion);
    assert_eq!(answer.0, 0);
    assert_eq!((held(&disk, &old), held(&disk, &new)), (None, None));
    drop(store);
    served.close().await;
}

#[tokio::test]
async fn a_deletion_that_crossed_a_renaming_is_made_up_for_when_the_renaming_comes_again() {
    let disk = disk();
    let mut served = Served::open(&disk);
    let (new, old) =
        (served.upload(b"file").await.unwrap(), served.upload_as(23, b"file").await.unwrap());
    // Left by a process that died: renamed and recorded, and the deletion found nothing.
    served.delete(&old).await.unwrap();
    let buried = replica(6, Act::Delete, &FileName::parse(&new, 1).unwrap());
    served.store.bury(&[buried]);
    assert_eq!(served.ask(40, &rename(&new, &old, 5)).await.0, MISSING);
    assert_eq!(held(&disk, &new), None);
    served.close().await;
}
