//! What peers send that changes names and no content: 17 delete, 19 link, 40 rename
//! (sync.md 6.7 to 6.9).
//!
//! As all of replication: done twice is done once. A renamed file gets sums under its new name
//! before it is visible there.

use std::{io, sync::Arc};

use proto::{
    binlog::Act,
    fileid::FileName,
    storage::replicate::{SyncDelete, SyncNames},
};

use super::{Caller, checked, received, stat, whole_wanted};
use crate::{
    commit::{Change, Commit, Durability, Durable, Step},
    disk::{port::Kind, write::WriteError},
    service::{
        change::{failed, record},
        error::ServiceError,
        read,
    },
    store::{Store, replica},
    sums::Builder,
};

/// 17: a name that is gone.
pub(super) async fn delete(
    store: &Arc<Store>,
    caller: &Caller,
    body: &[u8],
) -> Result<Durable, ServiceError> {
    let request = SyncDelete::decode(body)?;
    let name = checked(store, request.group, request.name)?;
    let _alone = store.lock_file(&name).await;
    let durable = delete_file(store, &name, request.at).await?;
    received(store, caller, request.at);
    Ok(durable)
}

/// Removes a file whose name is locked, and remembers that it is gone even if it is not there.
/// Its metadata go with it: who deleted it may not have heard of them, and says nothing of them.
async fn delete_file(
    store: &Arc<Store>,
    name: &FileName,
    at: u32,
) -> Result<Durable, ServiceError> {
    let mut lines = vec![replica(at, Act::Delete, name)];
    let (shared, of) = (Arc::clone(store), name.clone());
    let metadata = store.gate.run(move || remove_metadata(&shared, &of, at)).await?;
    lines.extend(metadata.map(|name| replica(at, Act::Delete, &name)));
    let gone = name.clone();
    let commit = named(store, name, move |store| {
        let Some(found) = stat(store, &gone)? else { return Err(ServiceError::NotFound("file")) };
        if !matches!(found.kind, Kind::File | Kind::Link) {
            return Err(ServiceError::Invalid("not a file"));
        }
        if gone.is_reusable() && i64::from(at) < found.mtime {
            // Given again since then: the later one of two changes stays, at every member.
            return Err(ServiceError::GivenAgain);
        }
        let (_, file) = store.file(&gone).ok_or(ServiceError::Invalid("no such store path"))?;
        store.disk.remove(&file).map_err(WriteError::disk("remove the file"))?;
        forget_sums(store, &gone);
        Ok(())
    })
    .await;
    let commit = match commit {
        Err(missing @ (ServiceError::NotFound(_) | ServiceError::GivenAgain)) => {
            // It may be on its way from another member: it is not to be taken then.
            let with_metadata = 1 < lines.len();
            if matches!(missing, ServiceError::GivenAgain) {
                // A name in use is not one that was deleted: nothing would end that.
                lines.remove(0);
            }
            if with_metadata {
                let (shared, of) = (Arc::clone(store), name.clone());
                store.gate.run(move || sync_dir(&shared, &of)).await?;
            }
            if !lines.is_empty() {
                store.log.append(&lines).await?;
                store.bury(&lines);
            }
            return Err(missing);
        }
        other => other?,
    };
    record(store, name.store_path(), commit, &lines, |_| true).await
}

/// Removes the metadata of a file that is to be deleted, and says their name if there were any.
/// Where the file's name can be used again they may be of a later file: those stay. Blocks.
fn remove_metadata(
    store: &Store,
    of: &FileName,
    at: u32,
) -> Result<Option<FileName>, ServiceError> {
    let Some(name) = of.metadata() else { return Ok(None) };
    let Some(found) = stat(store, &name)? else { return Ok(None) };
    if of.is_reusable() && i64::from(at) < found.mtime {
        return Ok(None);
    }
    let (_, file) = store.file(&name).ok_or(ServiceError::Invalid("no such store path"))?;
    store.disk.remove(&file).map_err(WriteError::disk("remove metadata"))?;
    forget_sums(store, &name);
    Ok(Some(name))
}

/// 19: a link to another stored file.
pub(super) async fn link(
    store: &Arc<Store>,
    caller: &Caller,
    body: &[u8],
) -> Result<Durable, ServiceError> {
    let request = SyncNames::decode(body)?;
    let name = checked(store, request.group, request.new)?;
    let source = FileName::parse(request.old, store.places.count())?;
    let at = request.at;
    let mut line = replica(at, Act::Link, &name);
    line.extra = Some(source.as_str().to_owned());
    let _alone = store.lock_file(&name).await;
    let new = name.clone();
    let commit = named(store, &name, move |store| {
        let (place, file) = store.file(&new).ok_or(ServiceError::Invalid("no such store path"))?;
        let target = store.file(&source).ok_or(ServiceError::Invalid("no such store path"))?.1;
        // Without its source the link would lead nowhere: its sender has deleted both, or will.
        let late = store.is_buried(&new, at);
        if late || stat(store, &new)?.is_some() || stat(store, &source)?.is_none() {
            return Ok(());
        }
        place.ensure_dir(new.dir()).map_err(WriteError::disk("make a directory"))?;
        match store.disk.make_link(&target, &file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => Ok(other.map_err(WriteError::disk("make a link"))?),
        }
    })
    .await?;
    let durable = record(store, name.store_path(), commit, &[line], |_| true).await?;
    received(store, caller, at);
    Ok(durable)
}

/// 40: another name for a file.
pub(super) async fn rename(store: &Arc<Store>, body: &[u8]) -> Result<Durable, ServiceError> {
    let request = SyncNames::decode(body)?;
    let new = checked(store, request.group, request.new)?;
    let old = checked(store, request.group, request.old)?;
    if new.store_path() != old.store_path() {
        return Err(ServiceError::Invalid("a file does not change its store path"));
    }
    let mut line = replica(request.at, Act::Rename, &new);
    line.extra = Some(old.as_str().to_owned());
    let alone = store.lock_file(&old).await;
    if store.is_buried(&new, request.at) {
        // Deleted under its new name before we heard that it has one.
        let outcome = delete_file(store, &old, request.at).await;
        // Both names may share one lock.
        drop(alone);
        // Or this was done before, up to the renaming: what had to follow it is made up for.
        delete_if_buried(store, &new).await?;
        return outcome;
    }
    let (to, from) = (new.clone(), old.clone());
    let commit = named(store, &new, move |store| {
        let (new, old) = (to, from);
        let (place, file) = store.file(&new).ok_or(ServiceError::Invalid("no such store path"))?;
        let from = place.file(&old);
        if stat(store, &new)?.is_some() {
            return Err(ServiceError::Exists);
        }
        if stat(store, &old)?.is_none() {
            return Err(ServiceError::NotFound("file"));
        }
        place.ensure_dir(new.dir()).map_err(WriteError::disk("make a directory"))?;
        let sums = sums_anew(store, &old, &from, &new).map_err(whole_wanted)?;
        if let Some(sums) = sums {
            sums.publish(&store.sums, &new, store.durability == Durability::Full)?;
        }
        store.disk.rename_new(&from, &file).map_err(WriteError::disk("rename the file"))?;
        forget_sums(store, &old);
        if old.dir() != new.dir() && store.durability == Durability::Full {
            // The old name is gone for good before the new one is recorded.
            let synced = store.disk.sync_dir(&place.dir(old.dir()));
            synced.map_err(WriteError::sync("the directory"))?;
        }
        Ok(())
    })
    .await;
    let commit = match commit {
        Err(missing @ ServiceError::NotFound(_)) => {
            // The sender brings the file under its new name; the old one is not to come any more,
            // also not after a restart.
            store.log.append(std::slice::from_ref(&line)).await?;
            store.bury(&[line]);
            return Err(missing);
        }
        Err(done @ ServiceError::Exists) => {
            // Renamed by a process that died before it could record that; or the file came under
            // its new name while the old one was on its way from elsewhere.
            store.log.append(std::slice::from_ref(&line)).await?;
            store.bury(&[line]);
            delete_if_there(store, &old, request.at).await?;
            return Err(done);
        }
        other => other?,
    };
    let durable = record(store, new.store_path(), commit, &[line], |_| true).await?;
    drop(alone);
    delete_if_buried(store, &new).await?;
    Ok(durable)
}

/// Its deletion may have come while the file was getting this name, and found nothing: then the
/// file goes now.
async fn delete_if_buried(store: &Arc<Store>, name: &FileName) -> Result<(), ServiceError> {
    let _alone = store.lock_file(name).await;
    match store.with_tombs(|tombs| tombs.free_after(name.as_str())) {
        Some(at) => delete_if_there(store, name, at).await,
        None => Ok(()),
    }
}

/// Removes a file whose name is locked, unless there is none of that time.
async fn delete_if_there(store: &Arc<Store>, name: &FileName, at: u32) -> Result<(), ServiceError> {
    match delete_file(store, name, at).await {
        Ok(_) | Err(ServiceError::NotFound(_) | ServiceError::GivenAgain) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The sums of a file under another name: those that it has fit the old one only. Blocks.
fn sums_anew(
    store: &Store,
    old: &FileName,
    file: &std::path::Path,
    new: &FileName,
) -> Result<Option<Builder>, ServiceError> {
    let Some(mut sums) = store.sums.whole(new) else { return Ok(None) };
    let mut source = read::open(store, old, file, 0, 0)?;
    let mut summed = Ok(());
    read::each(store, &mut source, |bytes| {
        if summed.is_ok() {
            summed = sums.update(bytes);
        }
    })?;
    summed?;
    Ok(Some(sums))
}

fn forget_sums(store: &Store, name: &FileName) {
    if let Err(error) = store.sums.remove(name, false) {
        // They harm nobody: a file of this name would bring its own.
        log::warn!("remove the sums of {name}: {error}");
    }
}

/// Performs a change of names up to the log; the directory of `name` is synced behind it.
async fn named(
    store: &Arc<Store>,
    name: &FileName,
    change: impl FnOnce(&Store) -> Result<(), ServiceError> + Send + 'static,
) -> Result<Commit, ServiceError> {
    let (shared, name) = (Arc::clone(store), name.clone());
    let job = move || {
        let mut commit = Commit::new(Change::Rename, shared.durability);
        let mut change = Some(change);
        while let Some(step) = commit.step() {
            let outcome = match step {
                Step::Name => change.take().map_or(Ok(()), |change| change(&shared)),
                Step::SyncDir => sync_dir(&shared, &name),
                _ => break,
            };
            match outcome {
                Err(ServiceError::Write(cause)) => {
                    return Err(failed(&shared, name.store_path(), commit, cause).1);
                }
                other => other?,
            }
            commit.done();
        }
        Ok(commit)
    };
    store.gate.run(job).await
}

fn sync_dir(store: &Store, name: &FileName) -> Result<(), ServiceError> {
    let place = store.places.get(name.store_path());
    let place = place.ok_or(ServiceError::Invalid("no such store path"))?;
    let synced = store.disk.sync_dir(&place.dir(name.dir()));
    match synced {
        // A link that was not made needs no directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other.map_err(WriteError::sync("the directory"))?),
    }
}
