//! Delete, 12 (storage.md 3.7): the file, then its metadata.
//!
//! Slaves of the file stay. A file that is not there is an error, also when the metadata is.

use std::{io, path::Path, sync::Arc};

use proto::{
    binlog::{Act, Record},
    fileid::FileName,
    storage::delete,
};

use super::{
    change::{Changed, failed},
    error::ServiceError,
    late,
};
use crate::{
    commit::{Change, Commit, Durability, Step},
    disk::{
        layout::Place,
        port::{Kind, Stat},
        write::WriteError,
    },
    owed::Owed,
    store::{Store, own},
};

pub(super) async fn run(store: &Arc<Store>, body: &[u8]) -> Result<Changed, ServiceError> {
    let request = delete::FileName::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let name = FileName::parse(request.name, store.places.count())?;
    let path = name.store_path();
    if !store.takes_changes(path) {
        return Err(ServiceError::ReadOnly);
    }
    let _alone = store.lock_name(&name).await;
    let mut commit = Commit::new(Change::Remove, store.durability);
    let shared = Arc::clone(store);
    let (job_name, now) = (name.clone(), store.now());
    let job = move || {
        let mut gone = Vec::new();
        let outcome = remove(&shared, &mut commit, &job_name, now, &mut gone);
        (commit, gone, outcome)
    };
    let (commit, gone, outcome) = store.on(path).run(job).await;
    if let Err(error) = outcome {
        let error = match error {
            ServiceError::Write(cause) => {
                store.counters.count(|s| &mut s.delete, false);
                failed(store, path, commit, cause).1
            }
            other => other,
        };
        // The file without its metadata: there is no way back.
        let has_begun = !gone.is_empty();
        if has_begun {
            late::keep(store, path, gone).await;
        }
        return Err(if has_begun { error.uncertain() } else { error });
    }
    let outcome = late::record(store, path, commit, gone).await;
    store.counters.count(|s| &mut s.delete, outcome.is_ok());
    store.counters.source_updated(i64::from(now));
    Ok(Changed::new(outcome?, Vec::new()))
}

/// Performs the steps up to the log; `gone` gets the records of what is gone, each with its note:
/// of the file, and of its metadata if there were some. Blocks.
fn remove(
    store: &Store,
    commit: &mut Commit,
    name: &FileName,
    now: u32,
    gone: &mut Vec<(Record, Owed)>,
) -> Result<(), ServiceError> {
    let (place, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
    while let Some(step) = commit.step() {
        match step {
            Step::Name => {
                let Some(found) = stat(store, &file)? else {
                    return Err(ServiceError::NotFound("file"));
                };
                if !matches!(found.kind, Kind::File | Kind::Link) {
                    return Err(ServiceError::Invalid("not a file"));
                }
                let metadata = match name.metadata() {
                    Some(other) => stat(store, &place.file(&other))?.map(|found| (other, found)),
                    None => None,
                };
                let removed = remove_one(store, place, name, death(now, found))?;
                gone.push(removed.ok_or(ServiceError::NotFound("file"))?);
                if let Some((other, found)) = metadata {
                    gone.extend(remove_one(store, place, &other, death(now, found))?);
                }
            }
            Step::SyncDir => {
                let synced = store.disk.sync_dir(&place.dir(name.dir()));
                synced.map_err(WriteError::sync("the directory"))?;
            }
            _ => break,
        }
        commit.done();
    }
    let sync = store.durability == Durability::Full;
    for name in [Some(name.clone()), name.metadata()].into_iter().flatten().take(gone.len()) {
        if let Err(error) = store.sums.remove(&name, sync) {
            // They harm nobody; a scrub removes them.
            log::warn!("remove the sums of {name}, which is deleted: {error}");
        }
    }
    Ok(())
}

/// The time of a deletion: not before the last change of what it deletes, whatever the clock
/// says. Members keep what is later than its deletion, and changes within one second, or by a
/// member whose clock is ahead, carry times that have not come yet.
fn death(now: u32, found: Stat) -> u32 {
    now.max(u32::try_from(found.mtime).unwrap_or(0))
}

/// What is at `file`, if there is something. Blocks.
fn stat(store: &Store, file: &Path) -> Result<Option<Stat>, ServiceError> {
    match store.disk.stat(file) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ServiceError::Read(error)),
    }
}

/// Removes a file, if it is there; its record is noted before. Blocks.
fn remove_one(
    store: &Store,
    place: &Place,
    name: &FileName,
    at: u32,
) -> Result<Option<(Record, Owed)>, WriteError> {
    let record = own(at, Act::Delete, name);
    let owed = Owed::remove(&store.disk, place, &record, &place.file(name))?;
    Ok(owed.map(|owed| (record, owed)))
}
