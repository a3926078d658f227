//! What peers send to keep the group equal: 9, 16 to 19, 25, 35, 37, 40 (sync.md 6).
//!
//! Every operation may come twice, also after a death in its middle, and from two members: it
//! then changes nothing and says so. What was applied is recorded with the time of the sender
//! and in small letters. Whether an operation is right is not judged here, and nothing is sent
//! on. The answers distinguish: success, "have it already" (EEXIST), "send the whole file"
//! (ENOENT).

mod names; // deletes, links, renamings

#[cfg(test)]
mod tests; // changes that cross each other

use std::{io, sync::Arc};

use bytes::Bytes;
use proto::{
    binlog::Act,
    command::Command,
    fileid::{FileName, Kind as NameKind},
    header::Header,
    ids::GroupName,
    status::Status,
    storage::replicate::{ReportId, SyncFile, SyncPart, SyncTruncate},
};

use super::{
    Answer, BODY_BYTES_MAX, Caller,
    append::{Target, apply_edit, receive_note, record_edit, stage},
    change::{Changed, failed, fault_of, give_up, record},
    content::Content,
    error::ServiceError,
    head,
};
use crate::{
    commit::{Change, Commit, Durability, Durable, Fault, Step, nothing_to_do},
    disk::{
        edit::EditKind,
        port::{DiskFile, Kind, Open, Stat},
        write::{Staged, WriteError},
    },
    store::{Store, replica},
    sums::Builder,
};

/// Content up to this size is collected first and written in one job.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Whether a command is one that only storages send each other.
pub(super) fn is_of_peers(command: Command) -> bool {
    use Command as C;
    matches!(
        command,
        C::ReportServerId
            | C::SyncCreateFile
            | C::SyncUpdateFile
            | C::SyncDeleteFile
            | C::SyncCreateLink
            | C::SyncAppendFile
            | C::SyncModifyFile
            | C::SyncTruncateFile
            | C::SyncRenameFile
    )
}

/// Performs one of them.
pub(super) async fn run(
    store: &Arc<Store>,
    caller: &mut Caller,
    header: Header,
    command: Command,
    content: &mut Content<'_>,
) -> Result<Answer, ServiceError> {
    let len = content.left();
    let durable = match command {
        Command::ReportServerId => {
            caller.id = Some(ReportId::decode(&content.body(BODY_BYTES_MAX).await?)?.id);
            caller.session = store.progress.new_session(caller.address);
            return Ok(Answer::Found(Vec::new()));
        }
        Command::SyncCreateFile | Command::SyncUpdateFile => {
            file(store, caller, header, command == Command::SyncUpdateFile, content).await?
        }
        Command::SyncAppendFile => part(store, caller, EditKind::Append, content).await?,
        Command::SyncModifyFile => part(store, caller, EditKind::Modify, content).await?,
        Command::SyncTruncateFile => {
            let body = content.body(BODY_BYTES_MAX).await?;
            truncate(store, caller, &body).await?
        }
        Command::SyncDeleteFile => {
            let body = content.body(BODY_BYTES_MAX).await?;
            names::delete(store, caller, &body).await?
        }
        Command::SyncCreateLink => {
            let body = content.body(BODY_BYTES_MAX).await?;
            names::link(store, caller, &body).await?
        }
        Command::SyncRenameFile => {
            let body = content.body(BODY_BYTES_MAX).await?;
            names::rename(store, &body).await?
        }
        _ => return Err(ServiceError::Invalid("unknown command")),
    };
    store.counters.add(|s| &mut s.sync_in_bytes, len, true);
    Ok(Answer::Changed(Changed::new(durable, Vec::new())))
}

/// Takes note that the caller's operation of this time has been received.
fn received(store: &Store, caller: &Caller, at: u32) {
    store.counters.sync_updated(i64::from(store.now()));
    if let Some(id) = caller.id {
        store.progress.received(id, at);
    }
}

/// The checks that all these requests share.
fn checked(store: &Store, group: GroupName, name: &str) -> Result<FileName, ServiceError> {
    if group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let name = FileName::parse(name, store.places.count())?;
    if !store.takes_changes(name.store_path()) {
        return Err(ServiceError::ReadOnly);
    }
    Ok(name)
}

async fn whole_head(
    content: &mut Content<'_>,
    fixed_len: usize,
    head_len: fn(&[u8]) -> Result<usize, proto::wire::DecodeError>,
) -> Result<Vec<u8>, ServiceError> {
    let fixed = head(content, fixed_len).await?;
    let rest = head(content, head_len(&fixed)?.saturating_sub(fixed_len)).await?;
    Ok([fixed, rest].concat())
}

/// Reads and drops the content of a request that changes nothing.
async fn drain(content: &mut Content<'_>) -> Result<(), ServiceError> {
    while content.left() != 0 {
        content.chunk().await?;
    }
    Ok(())
}

/// What lies under a name; links are not followed. Blocks.
fn stat(store: &Store, name: &FileName) -> Result<Option<Stat>, ServiceError> {
    let (_, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
    match store.disk.stat(&file) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ServiceError::Read(error)),
    }
}

async fn stat_here(store: &Arc<Store>, name: &FileName) -> Result<Option<Stat>, ServiceError> {
    let (shared, name) = (Arc::clone(store), name.clone());
    store.gate.run(move || stat(&shared, &name)).await
}

/// 16 and 18: a whole file.
async fn file(
    store: &Arc<Store>,
    caller: &Caller,
    header: Header,
    over: bool,
    content: &mut Content<'_>,
) -> Result<Durable, ServiceError> {
    let (body_len, has_content) = (content.left(), header.status == Status::OK);
    let bytes = whole_head(content, SyncFile::FIXED_LEN, SyncFile::head_len).await?;
    let request = SyncFile::decode(&bytes, body_len, has_content)?;
    let name = checked(store, request.group, request.name)?;
    if store.is_buried(&name, request.at) {
        // Its deletion has overtaken it.
        drain(content).await?;
        received(store, caller, request.at);
        return Ok(nothing_to_do());
    }
    let line = replica(request.at, if over { Act::Update } else { Act::Create }, &name);
    let found = stat_here(store, &name).await?;
    // Metadata of one length are not the same metadata.
    let changes = name.is_metadata();
    let same = |stat: &Stat| !changes && stat.kind == Kind::File && stat.len == request.size;
    if !has_content || (!over && found.as_ref().is_some_and(same)) {
        drain(content).await?;
        store.log.append(&[line]).await?;
        received(store, caller, request.at);
        return Err(ServiceError::Exists);
    }
    let (mut commit, staged) = begin(store, &name, content).await?;
    let (path, at) = (name.store_path(), request.at);
    let _alone = store.lock_file(&name).await;
    let shared = Arc::clone(store);
    let current = caller.is_current(store);
    if current.is_err() || store.is_buried(&name, at) {
        // Sent again, or deleted, while it arrived.
        shared.gate.run(move || drop(staged)).await;
        current?;
        received(store, caller, at);
        return Ok(nothing_to_do());
    }
    let again = store.came_from(&name, caller.address);
    let placing = name.clone();
    let job = move || {
        let placed = place(&shared, &mut commit, staged, &placing, at, again);
        (commit, placed)
    };
    let (commit, placed) = store.gate.run(job).await;
    match placed {
        Ok(Taken::Placed) => store.now_from(&name, changes.then_some(caller.address)),
        Ok(Taken::Superseded) => {
            // It may have been placed by a process that died before it could record that.
            store.log.append(&[line]).await?;
            received(store, caller, at);
            return Ok(nothing_to_do());
        }
        Ok(Taken::Unfit) => {
            // Asked again it would be the same, and everything behind it would wait: whoever
            // sent it has to be repaired first.
            log::error!("{} is not taken: its content is not what its name says", request.name);
            received(store, caller, at);
            return Ok(nothing_to_do());
        }
        Err(error) => {
            return Err(failed(store, path, commit, error).1);
        }
    }
    let durable = record(store, path, commit, &[line], |_| true).await?;
    received(store, caller, at);
    Ok(durable)
}

/// Receives the content, or gives the operation up.
async fn begin(
    store: &Arc<Store>,
    name: &FileName,
    content: &mut Content<'_>,
) -> Result<(Commit, (Receiving, Bytes)), ServiceError> {
    let commit = Commit::new(Change::Replace, store.durability);
    match receive(store, name, content).await {
        Ok(staged) => Ok((commit, staged)),
        Err(error) => {
            let fault = match &error {
                ServiceError::Write(error) => fault_of(error),
                _ => Fault::Gone,
            };
            give_up(store, name.store_path(), commit, fault);
            Err(error)
        }
    }
}

/// A file being received, with its sums.
struct Receiving {
    staged: Staged,
    sums: Option<Builder>,
}

impl Receiving {
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.staged.write(bytes)?;
        self.sums.as_mut().map_or(Ok(()), |sums| sums.update(bytes))
    }
}

/// Streams the content into a temporary file; the last piece is kept for the job that finishes.
async fn receive(
    store: &Arc<Store>,
    name: &FileName,
    content: &mut Content<'_>,
) -> Result<(Receiving, Bytes), ServiceError> {
    let size = content.left();
    let place = store.places.get(name.store_path());
    let temporary = place.ok_or(ServiceError::Invalid("no such store path"))?.temporary();
    let (disk, synced) = (Arc::clone(&store.disk), store.durability == Durability::Full);
    let sums = store.sums.whole(name);
    let create = move || {
        Staged::create(disk, temporary, size, synced).map(|staged| Receiving { staged, sums })
    };
    if size <= SMALL_BYTES_MAX {
        let whole = content.part(usize::try_from(size).unwrap_or(0)).await?;
        return Ok((store.gate.run(create).await?, whole));
    }
    let mut chunk = content.chunk().await?;
    let mut receiving = store.gate.run(create).await?;
    while content.left() != 0 {
        let write = store.gate.run(move || receiving.write(&chunk).map(|()| receiving));
        // The next piece arrives while this one is written.
        let (written, next) = tokio::join!(write, content.chunk());
        receiving = written?;
        chunk = match next {
            Ok(next) => next,
            Err(error) => {
                // To remove what has arrived of a large file takes the disk its time.
                store.gate.run(move || drop(receiving)).await;
                return Err(error);
            }
        };
    }
    Ok((receiving, chunk))
}

/// What became of a received file.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Placed,
    /// What is here is later.
    Superseded,
    /// It is not what its name says.
    Unfit,
}

/// Whether metadata that were received are later than those here. Two members may change them at
/// the same time, each before it hears of the other: the later ones stay at both, and of two of
/// one second those with the larger sum, unless those here came from the same member (`again`),
/// which sends them in their order. Other files do not change in place. Blocks.
fn is_later(
    store: &Store,
    name: &FileName,
    at: u32,
    again: bool,
    (receiving, last): (&Receiving, &[u8]),
) -> bool {
    let is_metadata = name.is_metadata();
    let Some((_, file)) = store.file(name).filter(|_| is_metadata) else { return true };
    let Ok(found) = store.disk.stat(&file) else { return true };
    if found.mtime != i64::from(at) {
        return found.mtime < i64::from(at);
    }
    if again {
        return true;
    }
    let mut crc = receiving.staged.crc();
    crc.update(last);
    crate::disk::read::checksum(&*store.disk, &file).is_ok_and(|ours| ours < crc.finalize())
}

/// The steps of a received file up to the log. Blocks.
fn place(
    store: &Store,
    commit: &mut Commit,
    (mut receiving, last): (Receiving, Bytes),
    name: &FileName,
    at: u32,
    again: bool,
) -> Result<Taken, WriteError> {
    if !is_later(store, name, at, again, (&receiving, &last)) {
        return Ok(Taken::Superseded);
    }
    let Some((place, file)) = store.file(name) else { return Ok(Taken::Unfit) };
    let full = store.durability == Durability::Full;
    while let Some(step) = commit.step() {
        match step {
            Step::Write => {
                receiving.write(&last)?;
                if !fits(name, &receiving.staged)? {
                    return Ok(Taken::Unfit);
                }
                receiving.staged.set_mtime(i64::from(at))?;
            }
            Step::SyncData => receiving.staged.sync()?,
            Step::Name => {
                place.ensure_dir(name.dir()).map_err(WriteError::disk("make a directory"))?;
                if let Some(sums) = receiving.sums.take() {
                    // What a crash may leave under the new sums; of a damaged file nothing.
                    let earlier = store.sums.whole_now(name, &file);
                    sums.replacing(earlier).publish(&store.sums, name, full)?;
                }
                receiving.staged.replace(&file)?;
            }
            Step::SyncDir => {
                let synced = store.disk.sync_dir(&place.dir(name.dir()));
                synced.map_err(WriteError::sync("the directory"))?;
            }
            _ => break,
        }
        commit.done();
    }
    if let Err(error) = store.sums.forget_earlier(name) {
        // What was there before stays acceptable.
        log::warn!("finish the sums of {name}: {error}");
    }
    Ok(Taken::Placed)
}

/// Whether size and sum are those in the name, where a name has them.
fn fits(name: &FileName, staged: &Staged) -> Result<bool, WriteError> {
    let record = name.record().filter(|record| name.kind_with(record) == NameKind::Normal);
    let Some(record) = record.filter(|_| name.slot().is_none()) else { return Ok(true) };
    Ok(record.size.size() == staged.stat()?.len && record.crc32 == staged.crc32())
}

/// What becomes of a part, given what is there (the tables of sync.md 6.4 and 6.5).
fn judge(kind: EditKind, found: Option<Stat>, offset: u64, len: u64) -> Result<(), ServiceError> {
    let stat = found.ok_or(ServiceError::NotFound("file"))?;
    if stat.kind != Kind::File {
        return Err(ServiceError::Exists);
    }
    match kind {
        EditKind::Append if stat.len == offset => Ok(()),
        EditKind::Append if offset.saturating_add(len) <= stat.len => Err(ServiceError::Exists),
        EditKind::Modify if offset <= stat.len => Ok(()),
        _ => Err(ServiceError::NotFound("what is before it")),
    }
}

/// 25 and 35: a part of a file.
async fn part(
    store: &Arc<Store>,
    caller: &Caller,
    kind: EditKind,
    content: &mut Content<'_>,
) -> Result<Durable, ServiceError> {
    let body_len = content.left();
    let bytes = whole_head(content, SyncPart::FIXED_LEN, SyncPart::head_len).await?;
    let request = SyncPart::decode(&bytes, body_len)?;
    let name = checked(store, request.group, request.name)?;
    let (offset, len, at) = (request.offset, request.len, request.at);
    let early = judge(kind, stat_here(store, &name).await?, offset, len);
    if early.is_err() || len == 0 {
        drain(content).await?;
        // Decided by what is there now; the content is gone, so it cannot be applied.
        let now = judge(kind, stat_here(store, &name).await?, offset, len);
        received(store, caller, at);
        return match now {
            Ok(()) if len == 0 => Ok(nothing_to_do()),
            Ok(()) => Err(ServiceError::NotFound("what is before it")),
            Err(error) => Err(error),
        };
    }
    let staged = receive_note(store, content, &name).await?;
    let _alone = store.lock_file(&name).await;
    caller.is_current(store)?;
    let (shared, edited) = (Arc::clone(store), name.clone());
    let job = move || {
        let found = stat(&shared, &edited)?;
        judge(kind, found, offset, len)?;
        let file = open(&shared, &edited)?;
        let old_len = found.map_or(0, |stat| stat.len);
        let target = Target { file, offset, old_len, replica: Some(at) };
        apply_edit(&shared, staged, &edited, kind, &target).map_err(whole_wanted)
    };
    let prepared = store.gate.run(job).await;
    received(store, caller, at);
    record_edit(store, &name, prepared?, format!("{offset} {len}")).await
}

/// A copy of ours that is damaged is not edited: the sender has a whole one.
fn whole_wanted(error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Damaged { name, offset } => {
            log::error!("{name} is damaged at byte {offset}: it is fetched whole");
            ServiceError::NotFound("an undamaged file")
        }
        other => other,
    }
}

fn open(store: &Store, name: &FileName) -> Result<Box<dyn DiskFile>, ServiceError> {
    let (_, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
    store.disk.open(&file, Open::Write).map_err(ServiceError::Read)
}

/// 37: the length of a file.
async fn truncate(
    store: &Arc<Store>,
    caller: &Caller,
    body: &[u8],
) -> Result<Durable, ServiceError> {
    let request = SyncTruncate::decode(body)?;
    let name = checked(store, request.group, request.name)?;
    let (old, new, at) = (request.old, request.new, request.at);
    let _alone = store.lock_file(&name).await;
    caller.is_current(store)?;
    let (shared, cut) = (Arc::clone(store), name.clone());
    let job = move || {
        match stat(&shared, &cut)? {
            None => return Err(ServiceError::NotFound("file")),
            Some(stat) if stat.kind == Kind::File && stat.len == old => {}
            Some(_) => return Err(ServiceError::Exists),
        }
        let file = open(&shared, &cut)?;
        let target = Target { file, offset: new, old_len: old, replica: Some(at) };
        let staged = stage(&shared, &cut, 0)?;
        apply_edit(&shared, staged, &cut, EditKind::Truncate, &target).map_err(whole_wanted)
    };
    let prepared = store.gate.run(job).await?;
    let durable = record_edit(store, &name, prepared, format!("{old} {new}")).await?;
    received(store, caller, at);
    Ok(durable)
}
