//! Every disk fault during an operation: the n-th call fails, the n-th and all later ones
//! fail, the process dies before the n-th, the power goes with it. After each the store is
//! opened again and compared with what clients were told (testing.md 9, anchors 27).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use proto::fileid::FileName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    DISCARD_BYTES_MAX,
    served::{SYNC, Served, UNANSWERED, named},
};
use crate::{
    disk::simulated::{Chance, Plan, SimulatedDisk},
    sums::State,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn path(name: &str) -> PathBuf {
    Path::new("/base/data").join(&name[4..])
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Upload(usize),
    Delete,
    SetMetadata,
}

const OPERATIONS: [Operation; 5] = [
    Operation::Upload(5),
    Operation::Upload(0),
    Operation::Upload(200_000),
    Operation::Delete,
    Operation::SetMetadata,
];
const OLD: &str = "a\u{2}old";
const NEW: &str = "a\u{2}new";

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

/// After whatever happened, every file that is there agrees with what proves it.
fn all_agree(served: &Served, disk: &SimulatedDisk, when: &str) {
    for file in disk.files().into_keys().filter(|path| path.starts_with("/base/data/00")) {
        let text = file.strip_prefix("/base/data").unwrap().to_str().unwrap();
        let name = FileName::parse(format!("M00/{text}"), 1).unwrap();
        let state = served.store.sums.examine(&name, &file).unwrap().state;
        assert_eq!(state, State::Good, "{when}: {name}");
    }
}

/// What the client was told.
struct Told {
    before: String,
    outcome: Result<Option<String>, u8>,
}

/// One file with metadata is stored and answered; then `operation` runs under `plan`.
async fn run(operation: Operation, plan: Plan) -> (SimulatedDisk, Told, u64) {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let before = served.upload(b"before").await.unwrap();
    served.set_metadata(&before, OLD).await.unwrap();
    disk.plan(plan);
    let outcome = match operation {
        Operation::Upload(len) => served.upload(&content(len)).await.map(Some),
        Operation::Delete => served.delete(&before).await.map(|()| None),
        Operation::SetMetadata => served.set_metadata(&before, NEW).await.map(|()| None),
    };
    served.close().await;
    let effects = disk.effects();
    (disk, Told { before, outcome }, effects)
}

/// Opens the store again and compares it with what the client was told.
async fn check(operation: Operation, told: &Told, disk: &SimulatedDisk, when: &str) {
    let mut served = Served::open(disk);
    all_agree(&served, disk, when);
    let mut files: BTreeMap<PathBuf, Vec<u8>> = disk.files();
    let temporaries = files.keys().filter(|path| path.starts_with("/base/data/.tmp"));
    assert_eq!(temporaries.count(), 0, "{when}: unfinished files are swept");
    let log = String::from_utf8(files[&Path::new(SYNC).join("binlog.000")].clone()).unwrap();
    files.retain(|path, _| path.starts_with("/base/data/00"));
    let recorded = |letter: &str, name: &str| log.contains(&format!(" {letter} {name}\n"));

    let metadata_path = path(&format!("{}-m", told.before));
    let metadata = files.remove(&metadata_path);
    let first = files.remove(&path(&told.before));
    match (operation, &told.outcome) {
        (Operation::Delete, Ok(_)) => {
            assert_eq!((first, metadata), (None, None), "{when}: deleted is deleted");
            assert!(recorded("D", &told.before), "{when}");
        }
        (Operation::Delete, Err(_)) => {
            assert!(first.is_none_or(|f| f == b"before"), "{when}: there or not there");
        }
        (_, outcome) => {
            assert_eq!(first.as_deref(), Some(&b"before"[..]), "{when}");
            let set = operation == Operation::SetMetadata;
            let metadata = metadata.unwrap();
            let legal = match outcome {
                Ok(_) if set => metadata == NEW.as_bytes(),
                Err(_) if set => metadata == OLD.as_bytes() || metadata == NEW.as_bytes(),
                _ => metadata == OLD.as_bytes(),
            };
            assert!(legal, "{when}: metadata {metadata:?}");
        }
    }
    if let (Operation::Upload(len), Ok(Some(name))) = (operation, &told.outcome) {
        let found = files.remove(&path(name));
        assert!(found == Some(content(len)), "{when}: {name} is there and whole");
        assert!(recorded("C", name), "{when}: {name} is in the binlog");
    }
    // An upload that nobody was told about may be there, but only whole and under its name.
    for (path, found) in files {
        let Operation::Upload(len) = operation else { panic!("{when}: {path:?} appeared") };
        let text = path.strip_prefix("/base/data").unwrap().to_str().unwrap();
        let name = FileName::parse(format!("M00/{text}"), 1).unwrap();
        assert!(found == content(len), "{when}: {path:?} is not whole");
        assert_eq!(name.record().map(|r| r.crc32), Some(crc32fast::hash(&found)), "{when}");
        assert!(told.outcome.is_err(), "{when}: a second file");
    }
    let again = served.upload(b"again").await;
    assert!(again.is_ok(), "{when}: the store takes files again: {again:?}");
    served.close().await;
}

/// Runs every operation with a fault at its n-th effect, for every n.
async fn sweep(plan: fn(u64) -> Plan, disks: impl Fn(&SimulatedDisk) -> Vec<SimulatedDisk>) {
    for operation in OPERATIONS {
        let (_, told, effects) = run(operation, Plan::Nothing).await;
        assert!(told.outcome.is_ok() && 3 < effects, "{operation:?} without a fault");
        for nth in 1..=effects {
            let plan = plan(nth);
            let (disk, told, _) = run(operation, plan).await;
            for disk in disks(&disk) {
                check(operation, &told, &disk, &format!("{operation:?} {plan:?}")).await;
            }
        }
    }
}

#[tokio::test]
async fn one_failing_call() {
    for errno in [EIO, ENOSPC] {
        let plan = if errno == EIO { |n| Plan::Fail(n, EIO) } else { |n| Plan::Fail(n, ENOSPC) };
        sweep(plan, |disk| vec![disk.after_kill()]).await;
    }
}

#[tokio::test]
async fn a_disk_that_fails_for_good() {
    sweep(|n| Plan::FailFrom(n, EIO), |disk| vec![disk.after_kill()]).await;
}

#[tokio::test]
async fn death_at_every_effect() {
    sweep(Plan::Die, |disk| vec![disk.after_kill()]).await;
}

#[tokio::test]
async fn power_loss_at_every_effect() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1u64);
    println!("SEED={seed}");
    let images = move |disk: &SimulatedDisk| {
        let image = |n| disk.after_power_loss(&mut Chance(seed.wrapping_mul(1000) + n));
        (0..16).map(image).collect()
    };
    sweep(Plan::Die, images).await;
    // And after the answer, with no fault at all before it.
    for operation in OPERATIONS {
        let (disk, told, _) = run(operation, Plan::Nothing).await;
        for disk in images(&disk) {
            check(operation, &told, &disk, &format!("{operation:?} answered")).await;
        }
    }
}

#[tokio::test]
async fn a_refused_upload_leaves_nothing_behind() {
    for len in [5, 200_000] {
        let effects = run(Operation::Upload(len), Plan::Nothing).await.2;
        for nth in 1..=effects {
            let (disk, told, _) = run(Operation::Upload(len), Plan::Fail(nth, EIO)).await;
            let stored = disk.files().keys().filter(|p| p.starts_with("/base/data/00")).count();
            let files = stored - 2; // the first file and its metadata
            assert_eq!(files, usize::from(told.outcome.is_ok()), "effect {nth}");
            if told.outcome.is_err_and(|status| status != UNANSWERED) {
                for seed in 0..16 {
                    let disk = disk.after_power_loss(&mut Chance(seed));
                    let stored =
                        disk.files().into_keys().filter(|p| p.starts_with("/base/data/00"));
                    assert_eq!(stored.count(), 2, "effect {nth}, seed {seed}: it is back");
                }
            }
        }
    }
}

/// Notes of records that are owed to the binlog.
fn notes(disk: &SimulatedDisk) -> usize {
    let is_note = |path: &PathBuf| path.to_string_lossy().contains("/.tmp/log ");
    disk.files().keys().filter(|path| is_note(path)).count()
}

#[tokio::test]
async fn a_change_that_fails_leaves_no_note_of_it() {
    for operation in OPERATIONS {
        let effects = run(operation, Plan::Nothing).await.2;
        for nth in 1..=effects {
            let (disk, told, _) = run(operation, Plan::Fail(nth, EIO)).await;
            if told.outcome.is_ok() {
                continue;
            }
            let files = disk.files();
            let metadata = files.get(&path(&format!("{}-m", told.before)));
            let happened = match operation {
                // Taken back; not for certain where the sync of its name has failed.
                Operation::Upload(_) => told.outcome == Err(UNANSWERED),
                Operation::SetMetadata => metadata.is_some_and(|found| found == NEW.as_bytes()),
                Operation::Delete => !files.contains_key(&path(&told.before)),
            };
            assert_eq!(0 < notes(&disk), happened, "{operation:?}, effect {nth}");
        }
    }
}

#[tokio::test]
async fn where_no_file_can_be_made_files_can_be_deleted() {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let name = served.upload(b"content").await.unwrap();
    served.set_metadata(&name, OLD).await.unwrap();
    disk.plan(Plan::NoInode);
    assert_eq!(served.upload(b"more").await.err(), Some(ENOSPC as u8));
    served.delete(&name).await.unwrap();
    let left: Vec<_> = disk.files().into_keys().collect();
    assert!(left.iter().all(|path| path.starts_with(SYNC)), "{left:?}");
    let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains(&format!(" D {name}\n")) && log.contains(&format!(" D {name}-m\n")));
    served.close().await;
}

#[tokio::test]
async fn where_no_file_can_be_made_metadata_can_be_deleted() {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let name = served.upload(b"content").await.unwrap();
    served.set_metadata(&name, OLD).await.unwrap();
    disk.plan(Plan::NoInode);
    served.set_metadata(&name, "").await.unwrap();
    assert!(disk.files().contains_key(&path(&name)) && notes(&disk) == 0);
    assert!(!disk.files().contains_key(&path(&format!("{name}-m"))));
    let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
    assert!(String::from_utf8(log).unwrap().contains(&format!(" D {name}-m\n")));
    served.close().await;
}

#[tokio::test]
async fn a_death_after_a_file_became_the_note_of_its_deletion_is_made_good() {
    for nth in 1.. {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let name = served.upload(b"content").await.unwrap();
        // Its note cannot be made, and then the process dies.
        disk.plan(Plan::NoInodeThenDie(nth));
        let deleted = served.delete(&name).await.is_ok();
        served.close().await;
        let disk = disk.after_kill();
        Served::open(&disk).close().await;
        let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
        let recorded = String::from_utf8(log).unwrap().contains(&format!(" D {name}\n"));
        let gone = !disk.files().contains_key(&path(&name));
        assert_eq!((recorded, notes(&disk)), (gone, 0), "effect {nth}");
        if deleted {
            break;
        }
    }
}

#[tokio::test]
async fn metadata_of_a_deleted_file_are_recorded_before_a_start_removes_them() {
    let mut left = 0;
    for nth in 1.. {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let name = served.upload(b"content").await.unwrap();
        served.set_metadata(&name, OLD).await.unwrap();
        disk.plan(Plan::Die(nth));
        let deleted = served.delete(&name).await.is_ok();
        served.close().await;
        let metadata = path(&format!("{name}-m"));
        let disk = disk.after_kill();
        if !disk.files().contains_key(&path(&name)) && disk.files().contains_key(&metadata) {
            left += 1;
            all_starts_die(&disk, &name);
        }
        if deleted {
            break;
        }
    }
    assert!(0 < left, "no death left metadata without their file");
}

/// Starts on copies of `disk`, each of which dies at another effect, and once more after each.
fn all_starts_die(disk: &SimulatedDisk, name: &str) {
    for nth in 1.. {
        let disk = disk.after_kill();
        disk.plan(Plan::Die(nth));
        let started = Served::finish(&disk).is_ok();
        let disk = disk.after_kill();
        drop(Served::finish(&disk).unwrap());
        let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
        let log = String::from_utf8(log).unwrap();
        for line in [format!(" D {name}\n"), format!(" D {name}-m\n")] {
            assert_eq!(log.matches(&line).count(), 1, "effect {nth} of a start: {line:?} in {log}");
        }
        assert!(!disk.files().contains_key(&path(&format!("{name}-m"))), "effect {nth}");
        assert_eq!(notes(&disk), 0, "effect {nth}");
        if started {
            break;
        }
    }
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_before_a_restart() {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let name = served.upload(b"before").await.unwrap();
    // create, write, sync: the third effect of an upload.
    disk.plan(Plan::Fail(3, EIO));
    assert_eq!(served.upload(b"lost").await, Err(5));
    let effects = disk.effects();
    assert_eq!(served.upload(b"later").await, Err(28), "no path takes uploads");
    assert_eq!(served.delete(&name).await, Err(30));
    assert_eq!(served.set_metadata(&name, NEW).await, Err(30));
    assert_eq!(disk.effects(), effects, "the disk was not even asked");
    served.close().await;
    let mut served = Served::open(&disk);
    assert!(served.upload(b"after the restart").await.is_ok());
    served.close().await;
}

/// What an appender holds before and after an edit.
const APPENDER: &[u8] = b"0123456789";

fn edited(at: Option<u64>) -> Vec<u8> {
    let at = at.map_or(APPENDER.len(), |at| at as usize);
    let mut out = APPENDER[..at].to_vec();
    out.extend(content(1000));
    out
}

/// One append or modification under `plan`, then the disks that may be left of it.
async fn edit_under(
    at: Option<u64>,
    plan: Plan,
    disks: impl Fn(&SimulatedDisk) -> Vec<SimulatedDisk>,
) -> u64 {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let name = served.upload_as(23, APPENDER).await.unwrap();
    disk.plan(plan);
    let outcome = served.edit(&name, at, &content(1000)).await;
    served.close().await;
    let effects = disk.effects();
    for (n, disk) in disks(&disk).into_iter().enumerate() {
        let when = format!("{at:?} {plan:?} image {n}: {outcome:?}");
        let mut served = Served::open(&disk);
        all_agree(&served, &disk, &when);
        let found = disk.files().remove(&path(&name)).unwrap();
        let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
        let recorded = String::from_utf8(log).unwrap().lines().count() > 1;
        let legal = match outcome {
            Ok(()) => found == edited(at) && recorded,
            Err(UNANSWERED) => found == APPENDER || found == edited(at) && recorded,
            Err(_) => found == APPENDER && !recorded,
        };
        assert!(legal, "{when}: {} bytes, recorded {recorded}", found.len());
        let notes = disk.files().into_keys().filter(|p| p.starts_with("/base/data/.tmp"));
        assert_eq!(notes.count(), 0, "{when}: no note is left");
        assert!(served.edit(&name, None, b"more").await.is_ok(), "{when}: it goes on");
        served.close().await;
    }
    effects
}

#[tokio::test]
async fn an_edit_happens_wholly_or_not_at_all() {
    for at in [None, Some(4)] {
        let kill = |disk: &SimulatedDisk| vec![disk.after_kill()];
        let power = |disk: &SimulatedDisk| -> Vec<SimulatedDisk> {
            (0..16).map(|n| disk.after_power_loss(&mut Chance(n))).collect()
        };
        let effects = edit_under(at, Plan::Nothing, kill).await;
        edit_under(at, Plan::Nothing, power).await;
        assert!(8 < effects);
        for nth in 1..=effects {
            edit_under(at, Plan::Die(nth), kill).await;
            edit_under(at, Plan::Die(nth), power).await;
            edit_under(at, Plan::Fail(nth, EIO), kill).await;
            edit_under(at, Plan::Fail(nth, EIO), power).await;
            edit_under(at, Plan::Fail(nth, ENOSPC), kill).await;
            edit_under(at, Plan::FailFrom(nth, EIO), kill).await;
        }
    }
}

#[tokio::test]
async fn content_of_an_edit_that_failed_half_way_is_told_from_damage() {
    let mut unreadable = 0;
    for nth in 1.. {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let name = served.upload_as(23, APPENDER).await.unwrap();
        disk.plan(Plan::Fail(nth, EIO));
        let told = served.edit(&name, None, b"more").await;
        let effects = disk.effects();
        disk.plan(Plan::Nothing);
        let parsed = FileName::parse(&name, 1).unwrap();
        let (_, file) = served.store.file(&parsed).unwrap();
        if super::read::whole(&served.store, &parsed, file, 1000).is_err() {
            unreadable += 1;
            assert!(served.store.is_half_edited(&name), "effect {nth}: {told:?}");
        }
        served.close().await;
        if effects < nth {
            break;
        }
    }
    assert!(0 < unreadable, "no edit was left half way");
}

/// One truncation under `plan`, then the disks that may be left of it.
async fn cut_under(
    size: u64,
    plan: Plan,
    disks: impl Fn(&SimulatedDisk) -> Vec<SimulatedDisk>,
) -> u64 {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let name = served.upload_as(23, APPENDER).await.unwrap();
    disk.plan(plan);
    let outcome = served.truncate(&name, size).await;
    served.close().await;
    let effects = disk.effects();
    let mut wanted = APPENDER.to_vec();
    wanted.resize(size as usize, 0);
    for (n, disk) in disks(&disk).into_iter().enumerate() {
        let when = format!("to {size} {plan:?} image {n}: {outcome:?}");
        let served = Served::open(&disk);
        all_agree(&served, &disk, &when);
        let found = disk.files().remove(&path(&name)).unwrap();
        let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
        let line = format!(" T {name} {} {size}\n", APPENDER.len());
        let recorded = String::from_utf8(log).unwrap().contains(&line);
        let legal = match outcome {
            Ok(()) => found == wanted && recorded,
            Err(UNANSWERED) => found == APPENDER || found == wanted && recorded,
            Err(_) => found == APPENDER && !recorded,
        };
        assert!(legal, "{when}: {} bytes, recorded {recorded}", found.len());
        served.close().await;
    }
    effects
}

#[tokio::test]
async fn a_truncation_happens_wholly_or_not_at_all() {
    for size in [4, 0, 70_000] {
        let kill = |disk: &SimulatedDisk| vec![disk.after_kill()];
        let power = |disk: &SimulatedDisk| -> Vec<SimulatedDisk> {
            (0..8).map(|n| disk.after_power_loss(&mut Chance(n))).collect()
        };
        let effects = cut_under(size, Plan::Nothing, kill).await;
        assert!(8 < effects);
        for nth in 1..=effects {
            cut_under(size, Plan::Die(nth), kill).await;
            cut_under(size, Plan::Die(nth), power).await;
            cut_under(size, Plan::Fail(nth, EIO), kill).await;
            cut_under(size, Plan::Fail(nth, EIO), power).await;
            cut_under(size, Plan::FailFrom(nth, EIO), kill).await;
        }
    }
}

#[tokio::test]
async fn merged_metadata_stays_readable() {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let name = served.upload(b"file").await.unwrap();
    let mut outcomes = Vec::new();
    for round in 0..3 {
        let value = "v".repeat(250);
        let pairs: Vec<_> = (0..180).map(|n| format!("{round}{n:0>60}\u{2}{value}")).collect();
        let pairs = pairs.join("\u{1}");
        let mut body = (name.len() as u64).to_be_bytes().to_vec();
        body.extend((pairs.len() as u64).to_be_bytes());
        body.extend([b"M", &named(&name)[..], pairs.as_bytes()].concat());
        outcomes.push(served.ask(13, &body).await.0);
    }
    assert_eq!(outcomes, [0, 0, 22], "the third would be too much");
    served.close().await;
    let mut served = Served::open(&disk);
    let (status, found) = served.ask(15, &named(&name)).await;
    assert_eq!((status, found.split(|byte| *byte == 1).count()), (0, 360));
    served.set_metadata(&name, NEW).await.unwrap();
    assert_eq!(served.ask(15, &named(&name)).await, (0, NEW.as_bytes().to_vec()));
    served.close().await;
}

#[tokio::test]
async fn an_early_refusal_does_not_reset_the_connection_at_once() {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let size: u64 = 1 << 30;
    let mut head = (15 + size).to_be_bytes().to_vec();
    // Store path 9 does not exist.
    head.extend([&[11, 0, 9][..], &size.to_be_bytes(), b"bin\0\0\0"].concat());
    served.client.write_all(&head).await.unwrap();
    let mut answer = [0; 10];
    served.client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[9], 22);
    let mut taken = 0;
    while served.client.write_all(&[0; 32 * 1024]).await.is_ok() {
        taken += 32 * 1024;
    }
    assert!((DISCARD_BYTES_MAX..size).contains(&taken), "{taken} bytes were taken");
    served.close().await;
}

#[tokio::test]
async fn what_an_upload_that_ends_early_has_left_is_removed_beside_the_runtime() {
    let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
    let mut served = Served::open(&disk);
    let mut head = (15u64 + 300_000).to_be_bytes().to_vec();
    head.extend([&[11, 0, 0xff][..], &300_000u64.to_be_bytes(), b"bin\0\0\0"].concat());
    served.client.write_all(&head).await.unwrap();
    served.client.write_all(&[0; 200_000]).await.unwrap();
    served.close().await;
    assert!(disk.remover().is_some_and(|thread| thread != std::thread::current().id()));
    assert!(!disk.files().keys().any(|path| path.starts_with("/base/data/.tmp")));
}
