//! Records of changes that have happened although the log refused their records, as on a full
//! disk: they are made as soon as the log takes records again, so that members become equal
//! without a restart. Until then notes of them stand ([`crate::owed`]).
//!
//! Never makes or repeats a change.

use std::{sync::Arc, time::Duration};

use net::shutdown::Stop;
use proto::{
    binlog::{Act, Record},
    fileid::FileName,
    ids::StorePath,
};

use super::{change, error::ServiceError};
use crate::{
    binlog::writer::LogError,
    commit::{Commit, Durability, Durable},
    disk::write::WriteError,
    owed::{Due, Owed, sync_dirs},
    store::Store,
};

/// Between two tries.
const EVERY: Duration = Duration::from_secs(1);

/// The last step of a change that cannot be taken back: records it and forgets its notes, or
/// keeps both for later.
pub(super) async fn record(
    store: &Arc<Store>,
    path: StorePath,
    commit: Commit,
    noted: Vec<(Record, Owed)>,
) -> Result<Durable, ServiceError> {
    let (records, notes): (Vec<_>, Vec<_>) = noted.into_iter().unzip();
    let outcome = change::record(store, path, commit, &records, |_| true).await;
    if outcome.is_ok() {
        store.on(path).run(move || notes.into_iter().for_each(Owed::forget)).await;
    } else {
        keep(store, path, records.into_iter().zip(notes).collect()).await;
    }
    outcome
}

/// Keeps what has happened and could not be recorded, for later. Its notes stand long enough now
/// to be synced: what they are about is, and without them it would never be recorded. What is
/// deleted is so from now on: a member that has not heard of it must not bring it back meanwhile.
/// To be called with the name locked.
pub(super) async fn keep(store: &Arc<Store>, path: StorePath, owing: Vec<(Record, Owed)>) {
    owing.iter().for_each(|(record, _)| store.bury(std::slice::from_ref(record)));
    let shared = Arc::clone(store);
    let sync = move || match shared.places.get(path) {
        Some(place) if shared.durability == Durability::Full => {
            shared.disk.sync_dir(&place.temporary_dir())
        }
        _ => Ok(()),
    };
    if let Err(error) = store.on(path).run(sync).await.map_err(WriteError::sync("the notes")) {
        log::error!("keep notes of {path}: {error}: {}", error.io());
        store.distrust(path, &error);
    }
    owing.into_iter().for_each(|(record, owed)| store.owe(record, owed));
}

/// Records what is owed, again and again until `stop`.
pub(crate) async fn run(store: Arc<Store>, mut stop: Stop) {
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        record_all(&store).await;
    }
}

/// Tries once to record all that is owed, as far as the log takes it.
pub(super) async fn record_all(store: &Arc<Store>) {
    let mut refused = false;
    for (record, owed) in store.take_owing() {
        if refused {
            store.owe(record, owed);
            continue;
        }
        match record_one(store, &record, owed.clone()).await {
            Ok(()) => log::info!("made up for a record that the log had refused: {record}"),
            Err(error) => {
                log::debug!("still owed to the log: {record}: {error:#}");
                refused = error.is::<LogError>();
                store.owe(record, owed);
            }
        }
    }
}

/// Records one change, unless its name has changed again since then, and forgets its note.
async fn record_one(store: &Arc<Store>, record: &Record, owed: Owed) -> anyhow::Result<()> {
    let paths = store.places.count();
    let name = FileName::parse(&record.name, paths)?;
    let path = name.store_path();
    // A renaming holds the name that was, as long as it lasts.
    let held = match (record.op.act, &record.extra) {
        (Act::Rename, Some(old)) => FileName::parse(old, paths)?,
        _ => name,
    };
    let _alone = store.lock_file(&held).await;
    anyhow::ensure!(store.takes_changes(path), "its store path is read-only until a restart");
    let (shared, noted) = (Arc::clone(store), record.clone());
    let look = move || match shared.places.get(path) {
        Some(place) => {
            let due = Due::of(&*shared.disk, place, &noted, paths)?;
            sync_dirs(&*shared.disk, [&due])?;
            anyhow::Ok(due)
        }
        None => Ok(Due::default()),
    };
    let due = store.on(path).run(look).await?;
    if !due.records.is_empty() {
        store.log.append(&due.records).await?;
        store.bury(&due.records);
    }
    let shared = Arc::clone(store);
    let forget = move || {
        if let Some(place) = shared.places.get(path) {
            due.finish(&*shared.disk, place, &shared.sums)?;
        }
        owed.forget();
        anyhow::Ok(())
    };
    store.on(path).run(forget).await
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::{
        disk::simulated::{Chance, Plan, SimulatedDisk},
        service::served::{SYNC, Served, UNANSWERED},
    };

    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;
    const OLD: &str = "a\u{2}old";
    const NEW: &str = "a\u{2}new";

    #[derive(Clone, Copy, Debug)]
    enum Operation {
        Delete,
        SetMetadata,
        DeleteMetadata,
        Regenerate,
    }

    fn path(name: &str) -> PathBuf {
        Path::new("/base/data").join(name.trim_start_matches("M00/"))
    }

    /// A store with an appender that has metadata; then `operation` under `plan`, and another
    /// try of the log when all is well again. What it was answered, and its effects.
    async fn run(operation: Operation, plan: Plan) -> (Result<(), u8>, u64) {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let name = served.upload_as(23, b"content").await.unwrap();
        served.set_metadata(&name, OLD).await.unwrap();
        disk.plan(plan);
        let told = match operation {
            Operation::Delete => served.delete(&name).await,
            Operation::SetMetadata => served.set_metadata(&name, NEW).await,
            Operation::DeleteMetadata => served.set_metadata(&name, "").await,
            Operation::Regenerate => served.regenerate(&name).await.map(drop),
        };
        let effects = disk.effects();
        disk.plan(Plan::Nothing);
        record_all(&served.store).await;
        if served.store.takes_changes(StorePath(0)) {
            agree(&disk, &name, &format!("{operation:?} {plan:?}"));
        }
        if told.is_err_and(|status| status != UNANSWERED) {
            let files = disk.files();
            let metadata = files.get(&path(&format!("{name}-m")));
            let is_there = files.contains_key(&path(&name));
            assert!(is_there && metadata == Some(&OLD.into()), "{operation:?} {plan:?}: refused");
        }
        served.close().await;
        (told, effects)
    }

    /// What has happened to a file is in the log, and nothing else.
    fn agree(disk: &SimulatedDisk, name: &str, when: &str) {
        let mut files = disk.files();
        let log = files.remove(&Path::new(SYNC).join("binlog.000")).unwrap();
        let log = String::from_utf8(log).unwrap();
        let metadata = files.remove(&path(&format!("{name}-m")));
        let is_there = files.contains_key(&path(name));
        let renamed = log.contains(&format!(" {name}\n")) && log.contains(" R ");
        let deleted = log.contains(&format!(" D {name}\n"));
        assert_eq!(is_there, !renamed && !deleted, "{when}: {log}");
        let changes = log.matches(&format!(" {name}-m\n")).count();
        let wanted = if metadata == Some(OLD.into()) { 1 } else { 2 };
        assert_eq!(changes, wanted, "{when}: {log}");
        let forgotten = log.contains(&format!(" D {name}-m\n"));
        assert_eq!(forgotten, metadata.is_none(), "{when}: {log}");
    }

    #[tokio::test]
    async fn what_the_log_refused_is_recorded_when_it_takes_records_again() {
        let all = [
            Operation::Delete,
            Operation::SetMetadata,
            Operation::DeleteMetadata,
            Operation::Regenerate,
        ];
        for operation in all {
            let (told, effects) = run(operation, Plan::Nothing).await;
            assert_eq!(told, Ok(()), "{operation:?} without a fault");
            for nth in 1..=effects {
                _ = run(operation, Plan::Fail(nth, ENOSPC)).await;
            }
        }
    }

    #[tokio::test]
    async fn what_the_log_refused_is_recorded_though_the_power_fails_before() {
        let mut refused = 0;
        for nth in 1.. {
            let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
            let mut served = Served::open(&disk);
            let name = served.upload(b"content").await.unwrap();
            disk.plan(Plan::Fail(nth, ENOSPC));
            let told = served.delete(&name).await;
            let effects = disk.effects();
            served.close().await;
            refused += usize::from(told.is_err());
            // Its process was killed, and the next one has recorded what it had not.
            let killed = disk.after_kill();
            Served::finish(&killed).unwrap();
            for seed in 0..32 {
                let disk = if seed < 16 { &disk } else { &killed };
                let disk = disk.after_power_loss(&mut Chance(seed));
                Served::finish(&disk).unwrap();
                let files = disk.files();
                let log = &files[&Path::new(SYNC).join("binlog.000")];
                let recorded = String::from_utf8_lossy(log).contains(&format!(" D {name}\n"));
                let is_there = files.contains_key(&path(&name));
                assert_ne!(is_there, recorded, "effect {nth}, seed {seed}: {told:?}");
            }
            if effects < nth {
                break;
            }
        }
        assert!(0 < refused, "the log refused no record");
    }

    #[tokio::test]
    async fn metadata_of_a_change_that_failed_are_recorded_though_the_power_fails() {
        for nth in 1.. {
            let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
            let mut served = Served::open(&disk);
            let name = served.upload(b"content").await.unwrap();
            served.set_metadata(&name, OLD).await.unwrap();
            disk.plan(Plan::Fail(nth, EIO));
            let told = served.set_metadata(&name, NEW).await;
            let effects = disk.effects();
            served.close().await;
            for seed in 0..32 {
                let disk = disk.after_power_loss(&mut Chance(seed));
                Served::finish(&disk).unwrap();
                let files = disk.files();
                let log = &files[&Path::new(SYNC).join("binlog.000")];
                // Once too often does no harm.
                let recorded = String::from_utf8_lossy(log).contains(&format!(" U {name}-m\n"));
                let is_new = files[&path(&format!("{name}-m"))] == NEW.as_bytes();
                assert!(recorded || !is_new, "effect {nth}, seed {seed}: {told:?}");
                assert!(is_new || told.is_err(), "effect {nth}, seed {seed}: acknowledged");
            }
            if effects < nth {
                assert_eq!(told, Ok(()));
                break;
            }
        }
    }

    #[tokio::test]
    async fn what_has_changed_again_since_then_is_not_recorded_late() {
        let mut tried = 0;
        for nth in 1.. {
            let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
            let mut served = Served::open(&disk);
            let name = served.upload(b"content").await.unwrap();
            served.set_metadata(&name, OLD).await.unwrap();
            disk.plan(Plan::Fail(nth, ENOSPC));
            let refused = served.set_metadata(&name, "").await.is_err();
            let effects = disk.effects();
            disk.plan(Plan::Nothing);
            let is_gone = !disk.files().contains_key(&path(&format!("{name}-m")));
            if refused && is_gone && served.store.takes_changes(StorePath(0)) {
                tried += 1;
                served.set_metadata(&name, NEW).await.unwrap();
                record_all(&served.store).await;
                let log = disk.files().remove(&Path::new(SYNC).join("binlog.000")).unwrap();
                let log = String::from_utf8(log).unwrap();
                assert!(!log.contains(&format!(" D {name}-m\n")), "{log}");
                assert!(served.store.take_owing().is_empty());
            }
            served.close().await;
            if effects < nth {
                break;
            }
        }
        assert!(0 < tried, "the log refused no record");
    }
}
