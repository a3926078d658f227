//! Changes of appender files: 24 append, 34 modify, 36 truncate, 38 regenerate
//! (storage.md 3.3 to 3.6).
//!
//! Appends and modifications go through a note (`disk::edit`), so that they happen wholly or
//! not at all; changes of one file come one after the other, and the recorded offset is where
//! the bytes really are. A request for nothing is answered with an empty body, where the
//! reference echoes the request.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use proto::{
    binlog::{Act, Record},
    command::Command,
    fileid::FileName,
    storage::{
        append::{Append, Modify, Regenerate, Truncate},
        upload::Stored,
    },
};

use super::{
    change::{Changed, failed, forget_note, give_up, log_step},
    content::Content,
    error::ServiceError,
    head, late, read,
};
use crate::{
    access_log::name_in,
    commit::{Change, Commit, Durability, Durable, Fault, Next, Step, nothing_to_do},
    disk::{
        edit::{ApplyError, Edit, EditKind, HEAD_LEN, Note, Proof},
        port::{DiskFile, Kind, Open},
        write::{Staged, WriteError},
    },
    owed::Owed,
    store::{NameParts, Store, own, replica},
    sums::{Builder, Changing, Kept, ReadError},
};

/// What an edit changes.
#[derive(Clone, Debug)]
struct Wanted {
    name: FileName,
    kind: EditKind,
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
    content.name = name_in(Command::AppendFile, &bytes);
    let request = Append::decode(&bytes, body_len)?;
    let name = FileName::parse(request.name, store.places.count())?;
    let outcome = edit(store, content, Wanted { name, kind: EditKind::Append, offset: None }).await;
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
    content.name = name_in(Command::ModifyFile, &bytes);
    let request = Modify::decode(&bytes, body_len)?;
    let name = FileName::parse(request.name, store.places.count())?;
    let wanted = Wanted { name, kind: EditKind::Modify, offset: Some(request.offset) };
    let outcome = edit(store, content, wanted).await;
    store.counters.count(|s| &mut s.modify, outcome.is_ok());
    store.counters.add(|s| &mut s.modify_bytes, request.len, outcome.is_ok());
    outcome
}

/// Command 36. Goes through a note without bytes, so that file, sums and record agree.
pub(super) async fn truncate(store: &Arc<Store>, body: &[u8]) -> Result<Changed, ServiceError> {
    let request = Truncate::decode(body)?;
    let (size, name) = (request.size, FileName::parse(request.name, store.places.count())?);
    let path = name.store_path();
    let _alone = store.lock_name(&name).await;
    let shared = Arc::clone(store);
    let wanted = Wanted { name, kind: EditKind::Truncate, offset: Some(size) };
    let job = move || {
        let (_, old) = open_appender(&shared, &wanted.name)?;
        if old == size {
            return Ok(None);
        }
        let staged = stage(&shared, &wanted.name, 0)?;
        prepare(&shared, staged, &wanted).map(|prepared| Some((wanted.name, old, prepared)))
    };
    let outcome = match store.on(path).run(job).await {
        Err(error) => Err(error),
        Ok(None) => Ok(Changed::new(nothing_to_do(), Vec::new())),
        Ok(Some((name, old, prepared))) => {
            finish(store, &name, prepared, format!("{old} {size}")).await
        }
    };
    store.counters.count(|s| &mut s.truncate, outcome.is_ok());
    outcome
}

/// Command 38: the appender becomes a normal file under a new name.
pub(super) async fn regenerate(store: &Arc<Store>, body: &[u8]) -> Result<Changed, ServiceError> {
    let old = FileName::parse(Regenerate::decode(body)?.name, store.places.count())?;
    let path = old.store_path();
    let _alone = store.lock_name(&old).await;
    let shared = Arc::clone(store);
    let job_name = old.clone();
    let renamed = store.on(path).run(move || rename(&shared, &job_name)).await?;
    let Renamed { commit, name: new, record: line, owed } = renamed;
    let durable = late::record(store, path, commit, vec![(line, owed)]).await?;
    let mut answer = Vec::new();
    Stored { group: store.facts.group, name: new.as_str().to_owned() }.encode(&mut answer);
    Ok(Changed::new(durable, answer))
}

/// An appender that has its new name and no record yet.
struct Renamed {
    commit: Commit,
    name: FileName,
    record: Record,
    owed: Owed,
}

/// Steps up to the log. Blocks.
fn rename(store: &Store, old: &FileName) -> Result<Renamed, ServiceError> {
    let (_, size) = open_appender(store, old)?;
    let (place, from) = store.file(old).ok_or(ServiceError::Invalid("no such store path"))?;
    let mut source = read::open(store, old, &from, 0, 0)?;
    let mut sums = store.sums.begin(old.store_path(), size, true);
    let (mut crc, mut summed) = (crc32fast::Hasher::new(), Ok(()));
    read::each(store, &mut source, |bytes| {
        crc.update(bytes);
        if let (Ok(()), Some(sums)) = (&summed, &mut sums) {
            summed = sums.update(bytes);
        }
    })?;
    summed?;
    let crc32 = crc.finalize();
    let (path, timestamp) = (old.store_path(), store.now());
    let ext = store.ext_field(&proto::ids::Extension::NONE);
    let parts = NameParts { path, dir: old.dir(), timestamp, size, crc32, appender: false, ext };
    let name = old.regenerated(&store.record(&parts));
    let name = name.ok_or(ServiceError::Invalid("not an appender's name"))?;
    let mut record = own(timestamp, Act::Rename, &name);
    record.extra = Some(old.as_str().to_owned());
    let owed = Owed::note(&store.disk, place, &record)?;
    let mut commit = Commit::new(Change::Rename, store.durability);
    while let Some(step) = commit.step() {
        let outcome = match step {
            Step::Name => rename_with_sums(store, (&from, &place.file(&name)), &name, sums.take()),
            Step::SyncDir => {
                let synced = store.disk.sync_dir(&place.dir(name.dir()));
                synced.map_err(WriteError::sync("the directory"))
            }
            _ => break,
        };
        if let Err(error) = outcome {
            owed.forget_if(step == Step::Name);
            return Err(failed(store, path, commit, error).1);
        }
        commit.done();
    }
    if let Err(error) = store.sums.remove(old, false) {
        log::warn!("remove the sums of {old}, which has another name now: {error}");
    }
    Ok(Renamed { commit, name, record, owed })
}

/// Names the file, with its new sums in place before that: the old ones fit the old name only.
fn rename_with_sums(
    store: &Store,
    (from, to): (&Path, &Path),
    name: &FileName,
    sums: Option<Builder>,
) -> Result<(), WriteError> {
    if let Some(sums) = sums
        && store.disk.stat(to).is_err()
    {
        sums.publish(&store.sums, name, store.durability == Durability::Full)?;
    }
    store.disk.rename_new(from, to).map_err(WriteError::disk("rename the file"))
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

/// The new bytes of an edit.
enum Received {
    /// In memory.
    Whole(Bytes),
    /// In a temporary file that is going to be the note.
    Staged(Staged),
}

/// Receives the bytes into a note and applies it.
async fn edit(
    store: &Arc<Store>,
    content: &mut Content<'_>,
    wanted: Wanted,
) -> Result<Changed, ServiceError> {
    let path = wanted.name.store_path();
    let (shared, early) = (Arc::clone(store), wanted.clone());
    if content.is_large() || content.left() == 0 {
        // Refused before the content is read; looked at again once nobody else changes the file.
        store.on(path).run(move || place_of(&shared, &early).map(|_| ())).await?;
    }
    if content.left() == 0 {
        return Ok(Changed::new(nothing_to_do(), Vec::new()));
    }
    let received = match content.small().await? {
        Some(bytes) => Received::Whole(bytes),
        None => Received::Staged(receive_note(store, content, &wanted.name).await?),
    };
    let (shared, name) = (Arc::clone(store), wanted.name.clone());
    let _alone = store.lock_name(&name).await;
    let job = move || match received {
        Received::Staged(staged) => prepare(&shared, staged, &wanted),
        Received::Whole(bytes) => {
            // A small edit is one job.
            let mut staged = stage(&shared, &wanted.name, bytes.len() as u64)?;
            staged.write(&bytes)?;
            prepare(&shared, staged, &wanted)
        }
    };
    let prepared = store.on(path).run(job).await?;
    let numbers = format!("{} {}", prepared.note.edit.offset, prepared.note.edit.len);
    finish(store, &name, prepared, numbers).await
}

/// The steps from the log on: records the edit, forgets its note, answers.
async fn finish(
    store: &Arc<Store>,
    name: &FileName,
    prepared: Prepared,
    numbers: String,
) -> Result<Changed, ServiceError> {
    let durable = record_edit(store, name, prepared, numbers).await?;
    store.counters.source_updated(i64::from(store.now()));
    Ok(Changed::new(durable, Vec::new()))
}

/// The same without the answer, for edits of peers, too.
pub(super) async fn record_edit(
    store: &Arc<Store>,
    name: &FileName,
    prepared: Prepared,
    numbers: String,
) -> Result<Durable, ServiceError> {
    let Prepared { commit, note, at } = prepared;
    let path = name.store_path();
    let act = match note.edit.kind {
        EditKind::Append => Act::Append,
        EditKind::Modify => Act::Modify,
        EditKind::Truncate => Act::Truncate,
    };
    let mut line = match note.edit.replica {
        Some(at) => replica(at, act, name),
        None => own(at, act, name),
    };
    line.extra = Some(numbers);
    let (mut commit, next) = log_step(store, path, commit, &[line], |_| true).await?;
    debug_assert_eq!(next, Next::Do(Step::Forget));
    let (shared, full) = (Arc::clone(store), store.durability == Durability::Full);
    let forgotten = store.on(path).run(move || note.forget(&*shared.disk, full)).await;
    if let Err(error) = forgotten {
        give_up(store, path, commit, Fault::Disk);
        let error = WriteError::disk("remove the note of an edit")(error);
        return Err(ServiceError::from(error).uncertain());
    }
    match commit.done() {
        Next::Answer(durable) => Ok(durable),
        Next::Do(step) => unreachable!("{step:?} after the note is gone"),
    }
}

/// The file, where the edit begins, and the size of the file. Blocks.
fn place_of(store: &Store, wanted: &Wanted) -> Result<(Box<dyn DiskFile>, u64, u64), ServiceError> {
    let (file, size) = open_appender(store, &wanted.name)?;
    let offset = wanted.offset.unwrap_or(size);
    if size < offset && wanted.kind != EditKind::Truncate {
        return Err(ServiceError::Invalid("the file ends before the offset"));
    }
    Ok((file, offset, size))
}

/// Streams the content into a temporary file, behind room for the head of the note.
pub(super) async fn receive_note(
    store: &Arc<Store>,
    content: &mut Content<'_>,
    name: &FileName,
) -> Result<Staged, ServiceError> {
    let expected = content.left();
    let (shared, name) = (Arc::clone(store), name.clone());
    let path = name.store_path();
    let mut staged = store.on(path).run(move || stage(&shared, &name, expected)).await?;
    while content.left() != 0 {
        let (chunk, room) = match content.piece(store, path).await {
            Ok(piece) => piece,
            Err(error) => {
                // To remove what has arrived of a large edit takes the disk its time.
                store.on(path).run(move || drop(staged)).await;
                return Err(error);
            }
        };
        let write = move || {
            let _room = room;
            staged.write(&chunk).map(|()| staged)
        };
        staged = store.on(path).run(write).await?;
    }
    Ok(staged)
}

/// Begins a note for `expected` bytes. Blocks.
pub(super) fn stage(store: &Store, name: &FileName, expected: u64) -> Result<Staged, ServiceError> {
    let place = store.places.get(name.store_path());
    let temporary = place.ok_or(ServiceError::Invalid("no such store path"))?.temporary();
    let synced = store.durability == Durability::Full;
    let mut staged = Staged::create(Arc::clone(&store.disk), temporary, expected, synced)?;
    staged.write_uncounted(&[0; HEAD_LEN])?;
    Ok(staged)
}

/// An edit that was applied and is not recorded yet.
pub(super) struct Prepared {
    commit: Commit,
    note: Note,
    at: u32,
}

/// The steps up to the log. Blocks.
fn prepare(store: &Store, staged: Staged, wanted: &Wanted) -> Result<Prepared, ServiceError> {
    let (file, offset, old_len) = place_of(store, wanted)?;
    let target = Target { file, offset, old_len, replica: None };
    apply_edit(store, staged, &wanted.name, wanted.kind, &target)
}

/// Where an edit goes.
pub(super) struct Target {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) offset: u64,
    /// Length of the file before.
    pub(super) old_len: u64,
    /// The time of the record of a peer, if it is one's.
    pub(super) replica: Option<u32>,
}

/// Turns what was received into the note of an edit and applies it: the steps up to the log.
/// Blocks.
pub(super) fn apply_edit(
    store: &Store,
    mut staged: Staged,
    name: &FileName,
    kind: EditKind,
    to: &Target,
) -> Result<Prepared, ServiceError> {
    let path = name.store_path();
    let place = store.places.get(path).ok_or(ServiceError::Invalid("no such store path"))?;
    let Target { offset, old_len, replica, .. } = *to;
    let target = &*to.file;
    let len = staged.stat()?.len.saturating_sub(HEAD_LEN as u64);
    let changing = Changing::new(kind, offset, len, old_len);
    let kept = kept(store, name, target, &changing)?;
    let proof = kept.map(|k| Proof { crc32: staged.crc32(), old_len, kept: [k.head, k.tail] });
    let edit = Edit { kind, name: name.as_str().to_owned(), offset, len, replica, proof };
    if kind != EditKind::Truncate {
        match target.reserve(offset, len) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            // A full disk is found here, where nothing has happened yet.
            other => other.map_err(WriteError::disk("reserve space"))?,
        }
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
            Step::Apply => {
                let new = Note::written(note_path.clone(), staged.file(), edit.clone());
                let applied = apply(&new, target, full);
                note = Some(new);
                applied
                    .and_then(|()| summed(store, name, target, &changing, kept))
                    .inspect_err(|_| store.leave_half_edited(name))
            }
            Step::Log | Step::Forget => break,
        };
        if let Err(error) = outcome {
            let (undo, told) = failed(store, path, commit, error);
            return Err(forget_note(store, &note_path, undo, told));
        }
        commit.done();
    }
    let note = note.ok_or(ServiceError::Invalid("the edit has no note"))?;
    match timed(target, replica) {
        Ok(at) => Ok(Prepared { commit, note, at }),
        // The edit has happened, and its note stands: nothing may come between it and a restart.
        Err(error) => Err(failed(store, path, commit, error).1),
    }
}

/// The time of the edited file; that of the sender, if it came from one. Blocks.
fn timed(target: &dyn DiskFile, replica: Option<u32>) -> Result<u32, WriteError> {
    if let Some(at) = replica {
        target.set_mtime(i64::from(at)).map_err(WriteError::disk("set the time of change"))?;
    }
    let found = target.stat().map_err(WriteError::disk("look at the file"))?;
    Ok(u32::try_from(found.mtime).unwrap_or(0))
}

/// Compares what the edit leaves of the blocks at its ends, before anything happens. Blocks.
fn kept(
    store: &Store,
    name: &FileName,
    target: &dyn DiskFile,
    changing: &Changing,
) -> Result<Option<Kept>, ServiceError> {
    let compare = || store.sums.before_edit(name, target, changing.old_len, changing.span);
    let outcome = match compare() {
        Err(ReadError::Doubt { .. }) => {
            // The sums may be what is damaged: then they are made anew, and it is tried again.
            let (_, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
            let mut source = read::open(store, name, &file, 0, 0)?;
            store.settle(&mut source).and_then(|()| compare())
        }
        other => other,
    };
    outcome.map_err(|error| ServiceError::of_read(name, error))
}

/// Sums the touched blocks anew. Blocks.
fn summed(
    store: &Store,
    name: &FileName,
    target: &dyn DiskFile,
    changing: &Changing,
    kept: Option<Kept>,
) -> Result<(), WriteError> {
    let Some(kept) = kept else { return Ok(()) };
    let full = store.durability == Durability::Full;
    let change = (changing.span, kept, changing.new_len);
    let whole = store.sums.after_edit(name, target, change, full, false);
    // It changed between two reads: the file's sums say so now, and readers will.
    if !whole.map_err(WriteError::sync("the sums of the edited file"))? {
        log::error!("{name} was damaged while it was edited");
    }
    Ok(())
}

fn apply(note: &Note, target: &dyn DiskFile, sync: bool) -> Result<(), WriteError> {
    match note.apply(target, sync) {
        Ok(()) => Ok(()),
        Err(ApplyError::Disk(error)) => Err(WriteError::disk("apply the edit")(error)),
        Err(ApplyError::Sync(error)) => Err(WriteError::sync("the edited file")(error)),
    }
}
