//! Changes of appender files: 24 append, 34 modify, 36 truncate, 38 regenerate
//! (storage.md 3.3 to 3.6).
//!
//! Appends and modifications go through a note (`disk::edit`), so that they happen wholly or
//! not at all; changes of one file come one after the other, and the recorded offset is where
//! the bytes really are. A request for nothing is answered with an empty body, where the
//! reference echoes the request.

use std::{io, sync::Arc};

use bytes::Bytes;
use proto::{
    binlog::Act,
    fileid::FileName,
    storage::{
        append::{Append, Modify, Regenerate, Truncate},
        upload::Stored,
    },
};

use super::{
    change::{Changed, fault_of, give_up, log_step, record},
    content::Content,
    error::ServiceError,
    head,
};
use crate::{
    commit::{Change, Commit, Durability, Fault, Next, Step, Undo, nothing_to_do},
    disk::{
        edit::{ApplyError, Edit, EditKind, HEAD_LEN, Note},
        port::{DiskFile, Kind, Open},
        read::checksum,
        write::{Staged, WriteError},
    },
    store::{NameParts, Store, own},
};

/// What an edit changes.
#[derive(Clone, Debug)]
struct Wanted {
    name: FileName,
    /// `None`: at the end.
    offset: Option<u64>,
}

/// Command 24.
pub(super) async fn append(
    store: &Arc<Store>,
    content: &mut Content<'_>,
) -> Result<Changed, ServiceError> {
    let body_len = content.left();
    let bytes = whole_head(content, Append::FIXED_LEN, Append::head_len).await?;
    let request = Append::decode(&bytes, body_len)?;
    let name = FileName::parse(request.name, store.places.count())?;
    let outcome = edit(store, content, Wanted { name, offset: None }).await;
    store.counters.count(|s| &mut s.append, outcome.is_ok());
    store.counters.add(|s| &mut s.append_bytes, request.len, outcome.is_ok());
    outcome
}

/// Command 34.
pub(super) async fn modify(
    store: &Arc<Store>,
    content: &mut Content<'_>,
) -> Result<Changed, ServiceError> {
    let body_len = content.left();
    let bytes = whole_head(content, Modify::FIXED_LEN, Modify::head_len).await?;
    let request = Modify::decode(&bytes, body_len)?;
    let name = FileName::parse(request.name, store.places.count())?;
    let outcome = edit(store, content, Wanted { name, offset: Some(request.offset) }).await;
    store.counters.count(|s| &mut s.modify, outcome.is_ok());
    store.counters.add(|s| &mut s.modify_bytes, request.len, outcome.is_ok());
    outcome
}

/// Command 36.
pub(super) async fn truncate(store: &Arc<Store>, body: &[u8]) -> Result<Changed, ServiceError> {
    let request = Truncate::decode(body)?;
    let (size, name) = (request.size, FileName::parse(request.name, store.places.count())?);
    let path = name.store_path();
    let _alone = store.lock_name(&name).await;
    let shared = Arc::clone(store);
    let job_name = name.clone();
    let job = move || {
        let (file, old) = open_appender(&shared, &job_name)?;
        let mut commit = Commit::new(Change::Resize, shared.durability);
        if old == size {
            return Ok(None);
        }
        let cut = file.truncate(size).map_err(WriteError::disk("truncate"));
        let synced = cut.and_then(|()| match shared.durability {
            Durability::Full => file.sync_data().map_err(WriteError::sync("the file")),
            Durability::Os => Ok(()),
        });
        if let Err(error) = synced {
            give_up(&shared, path, commit, fault_of(&error));
            return Err(ServiceError::from(error));
        }
        commit.done();
        Ok(Some((commit, old, mtime(&*file)?)))
    };
    let outcome = match store.gate.run(job).await {
        Err(error) => Err(error),
        Ok(None) => Ok(nothing_to_do()),
        Ok(Some((commit, old, at))) => {
            let mut line = own(at, Act::Truncate, &name);
            line.extra = Some(format!("{old} {size}"));
            record(store, path, commit, &[line], |_| ()).await
        }
    };
    store.counters.count(|s| &mut s.truncate, outcome.is_ok());
    Ok(Changed::new(outcome?, Vec::new()))
}

/// Command 38: the appender becomes a normal file under a new name.
pub(super) async fn regenerate(store: &Arc<Store>, body: &[u8]) -> Result<Changed, ServiceError> {
    let old = FileName::parse(Regenerate::decode(body)?.name, store.places.count())?;
    let path = old.store_path();
    let _alone = store.lock_name(&old).await;
    let shared = Arc::clone(store);
    let job_name = old.clone();
    let (commit, new) = store.gate.run(move || rename(&shared, &job_name)).await?;
    let mut line = own(store.now(), Act::Rename, &new);
    line.extra = Some(old.as_str().to_owned());
    let durable = record(store, path, commit, &[line], |_| ()).await?;
    let mut answer = Vec::new();
    Stored { group: store.facts.group, name: new.as_str().to_owned() }.encode(&mut answer);
    Ok(Changed::new(durable, answer))
}

/// Steps up to the log. Blocks.
fn rename(store: &Store, old: &FileName) -> Result<(Commit, FileName), ServiceError> {
    let (_, size) = open_appender(store, old)?;
    let (place, from) = store.file(old).ok_or(ServiceError::Invalid("no such store path"))?;
    let crc32 = checksum(&*store.disk, &from).map_err(ServiceError::Read)?;
    let (path, timestamp) = (old.store_path(), store.now());
    let ext = store.ext_field(&proto::ids::Extension::NONE);
    let parts = NameParts { path, dir: old.dir(), timestamp, size, crc32, appender: false, ext };
    let name = old.regenerated(&store.record(&parts));
    let name = name.ok_or(ServiceError::Invalid("not an appender's name"))?;
    let mut commit = Commit::new(Change::Rename, store.durability);
    while let Some(step) = commit.step() {
        let outcome = match step {
            Step::Name => {
                let renamed = store.disk.rename_new(&from, &place.file(&name));
                renamed.map_err(WriteError::disk("rename the file"))
            }
            Step::SyncDir => {
                let synced = store.disk.sync_dir(&place.dir(name.dir()));
                synced.map_err(WriteError::sync("the directory"))
            }
            _ => break,
        };
        if let Err(error) = outcome {
            give_up(store, path, commit, fault_of(&error));
            return Err(error.into());
        }
        commit.done();
    }
    Ok((commit, name))
}

async fn whole_head(
    content: &mut Content<'_>,
    fixed_len: usize,
    head_len: fn(&[u8]) -> Result<usize, proto::wire::DecodeError>,
) -> Result<Vec<u8>, ServiceError> {
    let fixed = head(content, fixed_len).await?;
    let rest: Bytes = head(content, head_len(&fixed)?.saturating_sub(fixed_len)).await?;
    Ok([fixed, rest].concat())
}

/// Opens an appender file for writing and tells its size. Blocks.
fn open_appender(store: &Store, name: &FileName) -> Result<(Box<dyn DiskFile>, u64), ServiceError> {
    let (_, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
    let stat = store.disk.stat(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ServiceError::NotFound("file"),
        _ => ServiceError::Read(error),
    })?;
    if stat.kind != Kind::File {
        return Err(ServiceError::Invalid("not a regular file"));
    }
    if !name.record().is_some_and(|record| record.size.is_appender()) {
        return Err(ServiceError::Invalid("not an appender"));
    }
    if !store.takes_changes(name.store_path()) {
        return Err(ServiceError::ReadOnly);
    }
    let opened = store.disk.open(&file, Open::Write).map_err(ServiceError::Read)?;
    Ok((opened, stat.len))
}

fn mtime(file: &dyn DiskFile) -> Result<u32, ServiceError> {
    Ok(u32::try_from(file.stat().map_err(ServiceError::Read)?.mtime).unwrap_or(0))
}

/// Receives the bytes into a note and applies it.
async fn edit(
    store: &Arc<Store>,
    content: &mut Content<'_>,
    wanted: Wanted,
) -> Result<Changed, ServiceError> {
    let path = wanted.name.store_path();
    let (shared, early) = (Arc::clone(store), wanted.clone());
    // Refused before the content is read; looked at again once nobody else changes the file.
    store.gate.run(move || place_of(&shared, &early).map(|_| ())).await?;
    if content.left() == 0 {
        return Ok(Changed::new(nothing_to_do(), Vec::new()));
    }
    let staged = receive(store, content, &wanted).await?;
    let _alone = store.lock_name(&wanted.name).await;
    let shared = Arc::clone(store);
    let name = wanted.name.clone();
    let prepared = store.gate.run(move || prepare(&shared, staged, &wanted)).await;
    let Prepared { commit, note, at } = prepared?;
    let act = match note.edit.kind {
        EditKind::Append => Act::Append,
        EditKind::Modify => Act::Modify,
    };
    let mut line = own(at, act, &name);
    line.extra = Some(format!("{} {}", note.edit.offset, note.edit.len));
    let (mut commit, next) = log_step(store, path, commit, &[line], |_| ()).await?;
    debug_assert_eq!(next, Next::Do(Step::Forget));
    let (shared, full) = (Arc::clone(store), store.durability == Durability::Full);
    let forgotten = store.gate.run(move || note.forget(&*shared.disk, full)).await;
    if let Err(error) = forgotten {
        give_up(store, path, commit, Fault::Disk);
        return Err(WriteError::disk("remove the note of an edit")(error).into());
    }
    match commit.done() {
        Next::Answer(durable) => {
            store.counters.source_updated(i64::from(store.now()));
            Ok(Changed::new(durable, Vec::new()))
        }
        Next::Do(step) => unreachable!("{step:?} after the note is gone"),
    }
}

/// The file, and where the edit begins. Blocks.
fn place_of(store: &Store, wanted: &Wanted) -> Result<(Box<dyn DiskFile>, u64), ServiceError> {
    let (file, size) = open_appender(store, &wanted.name)?;
    let offset = wanted.offset.unwrap_or(size);
    if size < offset {
        return Err(ServiceError::Invalid("the file ends before the offset"));
    }
    Ok((file, offset))
}

/// Streams the content into a temporary file, behind room for the head of the note.
async fn receive(
    store: &Arc<Store>,
    content: &mut Content<'_>,
    wanted: &Wanted,
) -> Result<Staged, ServiceError> {
    let place = store.places.get(wanted.name.store_path());
    let temporary = place.ok_or(ServiceError::Invalid("no such store path"))?.temporary();
    let (disk, expected) = (Arc::clone(&store.disk), content.left());
    let synced = store.durability == Durability::Full;
    let create = move || {
        let mut staged = Staged::create(disk, temporary, expected, synced)?;
        staged.write(&[0; HEAD_LEN]).map(|()| staged)
    };
    let mut staged = store.gate.run(create).await?;
    while content.left() != 0 {
        let chunk = match content.chunk().await {
            Ok(chunk) => chunk,
            Err(error) => {
                // To remove what has arrived of a large edit takes the disk its time.
                store.gate.run(move || drop(staged)).await;
                return Err(error);
            }
        };
        staged = store.gate.run(move || staged.write(&chunk).map(|()| staged)).await?;
    }
    Ok(staged)
}

/// An edit that was applied and is not recorded yet.
struct Prepared {
    commit: Commit,
    note: Note,
    at: u32,
}

/// The steps up to the log. Blocks.
fn prepare(store: &Store, mut staged: Staged, wanted: &Wanted) -> Result<Prepared, ServiceError> {
    let path = wanted.name.store_path();
    let place = store.places.get(path).ok_or(ServiceError::Invalid("no such store path"))?;
    let (target, offset) = place_of(store, wanted)?;
    let len = staged.stat()?.len.saturating_sub(HEAD_LEN as u64);
    let kind = if wanted.offset.is_none() { EditKind::Append } else { EditKind::Modify };
    let edit = Edit { kind, name: wanted.name.as_str().to_owned(), offset, len };
    match target.reserve(offset.saturating_add(len)) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        // A full disk is found here, where nothing has happened yet.
        other => other.map_err(WriteError::disk("reserve space"))?,
    }
    let note_path = place.note();
    let mut commit = Commit::new(Change::Edit, store.durability);
    let mut note = None;
    let full = store.durability == Durability::Full;
    while let Some(step) = commit.step() {
        let outcome = match step {
            Step::Write => staged.write_start(&edit.head()),
            Step::SyncData => staged.sync(),
            Step::Name => staged.place(&note_path),
            Step::SyncDir => {
                let synced = store.disk.sync_dir(&place.temporary_dir());
                synced.map_err(WriteError::sync("the directory of notes"))
            }
            Step::Apply => apply(store, &note_path, &*target, full).map(|new| note = Some(new)),
            Step::Log | Step::Forget => break,
        };
        if let Err(error) = outcome {
            if give_up(store, path, commit, fault_of(&error)) == Undo::RemoveName
                && let Err(error) = store.disk.remove(&note_path)
            {
                log::error!("remove {}: {error}", note_path.display());
            }
            return Err(error.into());
        }
        commit.done();
    }
    let note = note.ok_or(ServiceError::Invalid("the edit has no note"))?;
    Ok(Prepared { commit, note, at: mtime(&*target)? })
}

fn apply(
    store: &Store,
    note: &std::path::Path,
    target: &dyn DiskFile,
    sync: bool,
) -> Result<Note, WriteError> {
    let note = Note::open(&*store.disk, note).map_err(WriteError::disk("open the note"))?;
    match note.apply(target, sync) {
        Ok(()) => Ok(note),
        Err(ApplyError::Disk(error)) => Err(WriteError::disk("apply the edit")(error)),
        Err(ApplyError::Sync(error)) => Err(WriteError::sync("the edited file")(error)),
    }
}
