//! Uploads: 11, 23 and 21 (storage.md 3.1, 3.2).
//!
//! The content is streamed into a temporary file, with one piece being written while the next
//! one arrives; then the file gets its name. An upload that ends early for whatever reason
//! leaves nothing behind: the temporary file is removed by its guard.

use std::sync::Arc;

use bytes::Bytes;
use proto::{
    binlog::{Act, Record},
    fileid::FileName,
    ids::StorePath,
    storage::upload::{Stored, Upload, UploadSlave},
};

use super::{
    change::{Changed, fault_of, give_up, record},
    content::Content,
    error::ServiceError,
    head,
};
use crate::{
    commit::{Change, Commit, Durability, Fault, Step, Undo},
    disk::write::{Staged, WriteError},
    owed::Owed,
    store::{NameParts, Store, own},
    sums::Builder,
};

/// How often a name is tried that the disk says is taken.
const PLACE_ATTEMPTS: usize = 10;

/// What the name of an uploaded file depends on.
enum Naming {
    /// Generated from what was received.
    Own(NameParts),
    /// A slave's name, known beforehand.
    Given(FileName),
}

/// Commands 11 and 23.
pub(super) async fn file(
    store: &Arc<Store>,
    content: &mut Content<'_>,
    appender: bool,
) -> Result<Changed, ServiceError> {
    let body_len = content.left();
    let upload = Upload::decode(&head(content, Upload::HEAD_LEN).await?, body_len)?;
    if upload.store_path.is_some_and(|path| store.places.get(path).is_none()) {
        return Err(ServiceError::Invalid("no such store path"));
    }
    let path = store.choose_path(upload.store_path, upload.size).ok_or(ServiceError::NoSpace)?;
    let mut parts = NameParts {
        path,
        dir: proto::fileid::SubDir { high: 0, low: 0 },
        timestamp: store.now(),
        size: upload.size,
        crc32: 0,
        appender,
        ext: store.ext_field(&upload.extension),
    };
    parts.dir = store.next_dir(path, &parts);
    let outcome = store_content(store, content, path, Naming::Own(parts)).await;
    count(store, upload.size, outcome.is_ok());
    outcome
}

/// Command 21.
pub(super) async fn slave(
    store: &Arc<Store>,
    content: &mut Content<'_>,
) -> Result<Changed, ServiceError> {
    let body_len = content.left();
    let fixed = head(content, UploadSlave::FIXED_LEN).await?;
    let head_len = UploadSlave::head_len(&fixed)?;
    let rest = head(content, head_len.saturating_sub(fixed.len())).await?;
    let bytes = [fixed, rest].concat();
    let slave = UploadSlave::decode(&bytes, body_len)?;
    let master = FileName::parse(slave.master, store.places.count())?;
    let path = master.store_path();
    if !store.takes_changes(path) {
        return Err(ServiceError::ReadOnly);
    }
    if !store.has_room(path, slave.size) {
        return Err(ServiceError::NoSpace);
    }
    let name = master.slave(&slave.prefix, &slave.extension)?;
    let exists = |name: FileName| {
        let store = Arc::clone(store);
        async move {
            let file = store.file(&name).map(|(_, file)| file);
            let disk = Arc::clone(&store.disk);
            let found = move || file.is_some_and(|file| disk.stat_target(&file).is_ok());
            store.on(path).run(found).await
        }
    };
    if !exists(master).await {
        return Err(ServiceError::NotFound("master"));
    }
    if exists(name.clone()).await {
        return Err(ServiceError::Exists);
    }
    let outcome = store_content(store, content, path, Naming::Given(name)).await;
    count(store, slave.size, outcome.is_ok());
    outcome
}

fn count(store: &Store, size: u64, success: bool) {
    store.counters.count(|s| &mut s.upload, success);
    store.counters.add(|s| &mut s.upload_bytes, size, success);
    if success {
        store.counters.source_updated(i64::from(store.now()));
    }
}

/// Receives the content, makes it durable, answers with its name.
async fn store_content(
    store: &Arc<Store>,
    content: &mut Content<'_>,
    path: StorePath,
    naming: Naming,
) -> Result<Changed, ServiceError> {
    let mut commit = Commit::new(Change::Create, store.durability);
    // A slave's name is known, and nobody may make the same one at the same time.
    let given = match &naming {
        Naming::Given(name) => Some(name.clone()),
        Naming::Own(_) => None,
    };
    let normal = matches!(&naming, Naming::Own(parts) if !parts.appender);
    let (begin, last) = match receive(store, content, path, normal).await {
        Ok(received) => received,
        Err(error) => {
            let fault = match &error {
                ServiceError::Write(error) => fault_of(error),
                _ => Fault::Gone,
            };
            // The temporary file is gone already: its guard went with the error.
            give_up(store, path, commit, fault);
            return Err(error);
        }
    };
    let _alone = match &given {
        Some(name) => Some(store.lock_name(name).await),
        None => None,
    };
    let shared = Arc::clone(store);
    let job = move || {
        let outcome = match begin() {
            Ok(receiving) => finish(&shared, &mut commit, receiving, &last, naming),
            Err(error) => Err(Failed { error: error.into(), placed: None }),
        };
        (commit, outcome)
    };
    let (commit, outcome) = store.on(path).run(job).await;
    let placed = match outcome {
        Ok(placed) => placed,
        Err(failed) => {
            let fault = fault_of_service(&failed.error);
            let undo = give_up(store, path, commit, fault);
            let Some(placed) = failed.placed else { return Err(failed.error) };
            let (shared, synced) = (Arc::clone(store), fault != Fault::Sync);
            let take_back = move || take_back(&shared, *placed, undo, synced);
            let certain = store.on(path).run(take_back).await;
            return Err(if certain { failed.error } else { failed.error.uncertain() });
        }
    };
    let (shared, again) = (Arc::clone(store), placed.clone());
    let undo = move |undo| take_back(&shared, again, undo, true);
    let Placed { name, record: line, owed } = placed;
    let durable = record(store, path, commit, &[line], undo).await?;
    store.on(path).run(move || owed.forget()).await;
    let mut body = Vec::new();
    Stored { group: store.facts.group, name: name.as_str().to_owned() }.encode(&mut body);
    Ok(Changed::new(durable, body))
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

/// Brings the file that is being received; makes it first if it is a small one. Blocks.
type Begin = Box<dyn FnOnce() -> Result<Receiving, WriteError> + Send>;

/// Streams the content into a temporary file. The last piece is not written yet: it shares the
/// job that finishes the file, so that a small upload is one job.
async fn receive(
    store: &Arc<Store>,
    content: &mut Content<'_>,
    path: StorePath,
    normal: bool,
) -> Result<(Begin, Bytes), ServiceError> {
    let size = content.left();
    let place = store.places.get(path).ok_or(ServiceError::Invalid("no such store path"))?;
    let temporary = place.temporary();
    let disk = Arc::clone(&store.disk);
    let synced = store.durability == Durability::Full;
    let sums = store.sums.begin(path, size, normal);
    let create = move || {
        Staged::create(disk, temporary, size, synced).map(|staged| Receiving { staged, sums })
    };
    if let Some(whole) = content.small().await? {
        return Ok((Box::new(create), whole));
    }
    let (mut chunk, mut room) = content.piece(store, path).await?;
    let mut receiving = store.on(path).run(create).await?;
    while content.left() != 0 {
        let write = store.on(path).run(move || {
            let _room = room;
            receiving.write(&chunk).map(|()| receiving)
        });
        // The next piece arrives while this one is written.
        let (written, next) = tokio::join!(write, content.piece(store, path));
        receiving = written?;
        (chunk, room) = match next {
            Ok(next) => next,
            Err(error) => {
                // To remove what has arrived of a large file takes the disk its time.
                store.on(path).run(move || drop(receiving)).await;
                return Err(error);
            }
        };
    }
    let begin = move || {
        drop(room);
        Ok(receiving)
    };
    Ok((Box::new(begin), chunk))
}

/// A file that has its name.
#[derive(Clone)]
struct Placed {
    name: FileName,
    record: Record,
    owed: Owed,
}

/// A file that did not get that far; with its name if it is visible.
struct Failed {
    error: ServiceError,
    placed: Option<Box<Placed>>,
}

/// Performs the steps of `commit` up to the log. Blocks.
fn finish(
    store: &Store,
    commit: &mut Commit,
    mut receiving: Receiving,
    last: &[u8],
    naming: Naming,
) -> Result<Placed, Failed> {
    let mut naming = Some(naming);
    let mut placed: Option<Placed> = None;
    loop {
        let outcome = match commit.step() {
            Some(Step::Write) => receiving.write(last).map_err(ServiceError::from),
            Some(Step::SyncData) => receiving.staged.sync().map_err(ServiceError::from),
            Some(Step::Name) => match naming.take() {
                Some(naming) => place(store, &mut receiving, naming).map(|new| placed = Some(new)),
                None => Ok(()),
            },
            Some(Step::SyncDir) => {
                let name = placed.as_ref().map(|placed| &placed.name);
                let dir = name.and_then(|name| Some(store.file(name)?.0.dir(name.dir())));
                let synced = dir.map_or(Ok(()), |dir| store.disk.sync_dir(&dir));
                synced.map_err(|e| WriteError::sync("the directory")(e).into())
            }
            _ => {
                let nameless = ServiceError::Invalid("the file has no name");
                return placed.ok_or(Failed { error: nameless, placed: None });
            }
        };
        if let Err(error) = outcome {
            return Err(Failed { error, placed: placed.map(Box::new) });
        }
        commit.done();
    }
}

/// Gives the file its name; the disk has the last word on whether the name is free.
fn place(store: &Store, receiving: &mut Receiving, naming: Naming) -> Result<Placed, ServiceError> {
    let stat = receiving.staged.stat()?;
    let mut mtime = u32::try_from(stat.mtime).unwrap_or(0);
    if let Naming::Given(name) = &naming {
        let at = store.time_for(name, mtime);
        if at != mtime {
            receiving.staged.set_mtime(i64::from(at))?;
            mtime = at;
        }
    }
    for _ in 0..PLACE_ATTEMPTS {
        let name = match &naming {
            Naming::Given(name) => name.clone(),
            Naming::Own(parts) => {
                let crc32 = receiving.staged.crc32();
                let parts = NameParts { timestamp: mtime, crc32, size: stat.len, ..*parts };
                store.new_name(&parts).ok_or(ServiceError::Exists)?
            }
        };
        let (place, file) = store.file(&name).ok_or(ServiceError::Invalid("no such store path"))?;
        place.ensure_dir(name.dir()).map_err(WriteError::disk("make a directory"))?;
        if receiving.sums.is_some() && store.disk.stat(&file).is_ok() {
            // Whose sums these would replace.
            match naming {
                Naming::Own(_) => continue,
                Naming::Given(_) => return Err(ServiceError::Exists),
            }
        }
        if let Some(sums) = receiving.sums.take() {
            sums.publish(&store.sums, &name, store.durability == Durability::Full)?;
        }
        let record = own(mtime, Act::Create, &name);
        let owed = Owed::note(&store.disk, place, &record)?;
        let taken = |error: &WriteError| error.io().kind() == std::io::ErrorKind::AlreadyExists;
        match receiving.staged.place(&file) {
            Ok(()) => return Ok(Placed { record, name, owed }),
            Err(error) if !taken(&error) => {
                forget_sums(store, &name);
                owed.forget();
                return Err(error.into());
            }
            // The clock was set back: draw again.
            Err(_) if matches!(naming, Naming::Own(_)) => owed.forget(),
            Err(_) => {
                owed.forget();
                return Err(ServiceError::Exists);
            }
        }
    }
    Err(ServiceError::Exists)
}

fn fault_of_service(error: &ServiceError) -> Fault {
    match error {
        ServiceError::Write(error) => fault_of(error),
        _ => Fault::Disk,
    }
}

/// Removes a name that was made but may not be answered, and the note of it; says whether it is
/// gone for certain. It is not where the disk cannot be asked to keep that: unless it is `synced`,
/// for a sync that failed once says nothing any more. Then the note stays, and if the file is there
/// after a restart, it is recorded. Blocks.
fn take_back(store: &Store, placed: Placed, undo: Undo, synced: bool) -> bool {
    let Placed { name, record, owed } = placed;
    let Some((place, file)) = store.file(&name).filter(|_| undo == Undo::RemoveName) else {
        return undo != Undo::Nothing;
    };
    let full = store.durability == Durability::Full;
    let kept = || match full && synced {
        true => store.disk.sync_dir(&place.dir(name.dir())),
        false => Ok(()),
    };
    let removed = store.disk.remove(&file).map_err(WriteError::disk("remove the file"));
    match removed.and_then(|()| kept().map_err(WriteError::sync("the directory"))) {
        Ok(()) if synced => {
            forget_sums(store, &name);
            owed.forget();
            true
        }
        Ok(()) => {
            owed.stay();
            false
        }
        Err(error) => {
            log::error!("take back {name} after a failed upload: {error}: {}", error.io());
            store.distrust(name.store_path(), &error);
            owed.clone().stay();
            store.owe(record, owed);
            false
        }
    }
}

fn forget_sums(store: &Store, name: &FileName) {
    if let Err(error) = store.sums.remove(name, false) {
        // They harm nobody: a file of this name would bring its own.
        log::warn!("remove the sums of {name} after a failed upload: {error}");
    }
}
