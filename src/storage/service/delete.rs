//! Delete, 12 (storage.md 3.7): the file, then its metadata.
//!
//! Slaves of the file stay. A file that is not there is an error, also when the metadata is.

use std::{io, sync::Arc};

use proto::{binlog::Act, fileid::FileName, storage::delete};

use super::{
    change::{Changed, fault_of, give_up, record},
    error::ServiceError,
};
use crate::{
    commit::{Change, Commit, Durability, Step},
    disk::{port::Kind, write::WriteError},
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
        let outcome = remove(&shared, &mut commit, &job_name, now);
        (commit, outcome)
    };
    let (commit, outcome) = store.on(path).run(job).await;
    let (metadata, owed) = match outcome {
        Ok(removed) => removed,
        Err(error) => {
            if let ServiceError::Write(cause) = &error {
                give_up(store, path, commit, fault_of(cause));
                store.counters.count(|s| &mut s.delete, false);
            }
            return Err(error);
        }
    };
    let records: Vec<_> = [Some(&name), metadata.as_ref()]
        .into_iter()
        .flatten()
        .map(|name| own(now, Act::Delete, name))
        .collect();
    // A delete that is not recorded cannot be taken back: its note stays for the next start.
    let outcome = record(store, path, commit, &records, |_| ()).await;
    if outcome.is_ok() {
        store.on(path).run(move || owed.into_iter().for_each(Owed::forget)).await;
    }
    store.counters.count(|s| &mut s.delete, outcome.is_ok());
    store.counters.source_updated(i64::from(now));
    Ok(Changed::new(outcome?, Vec::new()))
}

/// Performs the steps up to the log; returns the metadata file's name if there was one, and the
/// notes of the records. Blocks.
fn remove(
    store: &Store,
    commit: &mut Commit,
    name: &FileName,
    now: u32,
) -> Result<(Option<FileName>, Vec<Owed>), ServiceError> {
    let (place, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
    let found = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true).map_err(WriteError::disk("remove the file")),
    };
    let (mut metadata, mut owed) = (None, Vec::new());
    while let Some(step) = commit.step() {
        match step {
            Step::Name => {
                match store.disk.stat(&file).map(|stat| stat.kind) {
                    Ok(Kind::File | Kind::Link) => {}
                    Ok(_) => return Err(ServiceError::Invalid("not a file")),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(ServiceError::NotFound("file"));
                    }
                    Err(error) => return Err(ServiceError::Read(error)),
                }
                let other = match name.metadata() {
                    Some(other) => match store.disk.stat(&place.file(&other)) {
                        Ok(_) => Some(other),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                        Err(error) => return Err(ServiceError::Read(error)),
                    },
                    None => None,
                };
                let record = own(now, Act::Delete, name);
                owed.push(Owed::note(&store.disk, place, &record)?);
                if !found(store.disk.remove(&file))? {
                    return Err(ServiceError::NotFound("file"));
                }
                if let Some(other) = other {
                    let record = own(now, Act::Delete, &other);
                    owed.push(Owed::note(&store.disk, place, &record)?);
                    if found(store.disk.remove(&place.file(&other)))? {
                        metadata = Some(other);
                    }
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
    for gone in [Some(name), metadata.as_ref()].into_iter().flatten() {
        if let Err(error) = store.sums.remove(gone, sync) {
            // They harm nobody; a scrub removes them.
            log::warn!("remove the sums of {gone}, which is deleted: {error}");
        }
    }
    Ok((metadata, owed))
}
