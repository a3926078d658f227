//! Set and get metadata: 13 and 15 (storage.md 3.9, 3.10).
//!
//! Metadata of `<name>` is the file `<name>-m` beside it, replaced as a whole and never written
//! in place. What is stored is exactly the packed, sorted list.

use std::{io, path::Path, sync::Arc};

use proto::{
    binlog::{Act, Record},
    fileid::FileName,
    metadata::Metadata,
    storage::{
        delete,
        metadata::{SetMetadata, SetMode},
    },
};

use super::{
    BODY_BYTES_MAX,
    change::{Changed, failed},
    elsewhere,
    error::ServiceError,
    late, read,
};
use crate::{
    commit::{Change, Commit, Durability, Step, nothing_to_do},
    disk::{
        layout::Place,
        port::Kind,
        write::{Staged, WriteError},
    },
    owed::Owed,
    store::{Store, own},
    sums::Builder,
};

/// Largest metadata file that is read: what one request can set, and the same once more for
/// what merges have added.
const FILE_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
/// How often metadata are opened that are replaced each time while they are read.
const READS_MAX: usize = 10;

/// Command 13.
pub(super) async fn set(store: &Arc<Store>, body: &[u8]) -> Result<Changed, ServiceError> {
    let request = SetMetadata::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let name = FileName::parse(request.name, store.places.count())?;
    let metadata_name = name.metadata().ok_or(ServiceError::Invalid("name is too long"))?;
    let path = name.store_path();
    if !store.takes_changes(path) {
        return Err(ServiceError::ReadOnly);
    }
    let (mode, pairs) = (request.mode, Metadata::parse(request.pairs));
    let elsewhere = elsewhere::changed_at(store, &metadata_name).await;
    let _alone = store.lock_name(&name).await;
    let shared = Arc::clone(store);
    let target = metadata_name.clone();
    let job = move || change(&shared, (&name, &target), mode, pairs, elsewhere);
    let outcome = store.on(path).run(job).await;
    store.now_from(&metadata_name, None);
    let outcome = match outcome {
        Ok(None) => Ok(nothing_to_do()),
        Ok(Some((commit, line, owed))) => {
            late::record(store, path, commit, vec![(line, owed)]).await
        }
        Err((Some(commit), ServiceError::Write(error))) => {
            Err(failed(store, path, commit, error).1)
        }
        Err((_, error)) => Err(error),
    };
    store.counters.count(|s| &mut s.set_metadata, outcome.is_ok());
    store.counters.source_updated(i64::from(store.now()));
    Ok(Changed::new(outcome?, Vec::new()))
}

/// Command 15: the raw bytes of the metadata file.
pub(super) async fn get(store: &Arc<Store>, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let request = delete::FileName::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let name = FileName::parse(request.name, store.places.count())?;
    let metadata_name = name.metadata().ok_or(ServiceError::NotFound("metadata"))?;
    let mut outcome = Err(ServiceError::Replaced);
    for _ in 0..READS_MAX {
        outcome = read_once(store, &name, &metadata_name).await;
        if !matches!(outcome, Err(ServiceError::Replaced)) {
            break;
        }
    }
    store.counters.count(|s| &mut s.get_metadata, outcome.is_ok());
    outcome
}

async fn read_once(
    store: &Arc<Store>,
    name: &FileName,
    metadata_name: &FileName,
) -> Result<Vec<u8>, ServiceError> {
    let (shared, job_name) = (Arc::clone(store), name.clone());
    let metadata_name = metadata_name.clone();
    let job = move || {
        let (place, file) = store_file(&shared, &job_name)?;
        exists(&shared, &file, "file")?;
        let file = place.file(&metadata_name);
        if exists(&shared, &file, "metadata")? != Kind::File {
            return Err(ServiceError::NotRegular);
        }
        let mut source = read::open(&shared, &metadata_name, &file, 0, 0)?;
        if (FILE_BYTES_MAX as u64) < source.len() {
            return Err(ServiceError::Read(io::ErrorKind::FileTooLarge.into()));
        }
        let first = source.read(&shared.sums, 0, FILE_BYTES_MAX);
        Ok((source, first))
    };
    let (source, first) = store.on(name.store_path()).run(job).await?;
    let whole = read::settled(store, source, name, first, 0, FILE_BYTES_MAX).await;
    whole.map(|(_, verified)| verified.into_bytes())
}

fn store_file<'a>(
    store: &'a Store,
    name: &FileName,
) -> Result<(&'a Place, std::path::PathBuf), ServiceError> {
    store.file(name).ok_or(ServiceError::Invalid("no such store path"))
}

/// What `file` leads to, which must be there.
fn exists(store: &Store, file: &Path, what: &'static str) -> Result<Kind, ServiceError> {
    match store.disk.stat_target(file) {
        Ok(stat) => Ok(stat.kind),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ServiceError::NotFound(what)),
        Err(error) => Err(ServiceError::Read(error)),
    }
}

type Outcome = Result<Option<(Commit, Record, Owed)>, (Option<Commit>, ServiceError)>;

/// Decides what has to change (the table of storage.md 3.9) and does it up to the log.
/// `elsewhere` is when other members have changed them last. Blocks.
fn change(
    store: &Store,
    (name, metadata_name): (&FileName, &FileName),
    mode: SetMode,
    pairs: Metadata,
    elsewhere: Option<u32>,
) -> Outcome {
    let (place, file) = store_file(store, name).map_err(|error| (None, error))?;
    exists(store, &file, "file").map_err(|error| (None, error))?;
    let target = place.file(metadata_name);
    let (list, existed) = match mode {
        SetMode::Merge if pairs.is_empty() => return Ok(None),
        SetMode::Merge => {
            let old = read::whole(store, metadata_name, target.clone(), FILE_BYTES_MAX);
            match old.map_err(|error| (None, error))? {
                Some(old) => (Metadata::parse_file(&old).merge(pairs), true),
                None => (pairs, false),
            }
        }
        // What is replaced need not be readable.
        SetMode::Overwrite => match exists(store, &target, "metadata") {
            Ok(_) => (pairs, true),
            Err(ServiceError::NotFound(_)) => (pairs, false),
            Err(error) => return Err((None, error)),
        },
    };
    let act = match (list.is_empty(), existed) {
        (true, false) => return Ok(None),
        (true, true) => Act::Delete,
        (false, true) => Act::Update,
        (false, false) => Act::Create,
    };
    let kind = if act == Act::Delete { Change::Remove } else { Change::Replace };
    let mut commit = Commit::new(kind, store.durability);
    let content = (act != Act::Delete).then(|| list.print());
    if content.as_ref().is_some_and(|content| FILE_BYTES_MAX < content.len()) {
        // Written, it could never be read or merged again.
        return Err((None, ServiceError::Invalid("metadata would become too long")));
    }
    // What a crash may leave under the new sums; of damaged metadata nothing.
    let earlier = if existed { store.sums.whole_now(metadata_name, &target) } else { None };
    let sums = store.sums.whole(metadata_name).map(|sums| sums.replacing(earlier));
    // Later than what it replaces, whatever the clock says: members keep the later of two.
    let before = store.disk.stat(&target).map_or(0, |stat| stat.mtime);
    let before = before.max(i64::from(elsewhere.unwrap_or(0)));
    let now = store.now().max(u32::try_from(before.saturating_add(1)).unwrap_or(0));
    let at = store.time_for(metadata_name, now);
    let line = own(at, act, metadata_name);
    let content = content.as_deref().zip(sums);
    match noted(store, &mut commit, place, (metadata_name, &line), content) {
        Ok(owed) => Ok(Some((commit, line, owed))),
        Err(error) => Err((Some(commit), error.into())),
    }
}

/// Performs the change that `line` records, with a note of that from before it; the note. Blocks.
fn noted(
    store: &Store,
    commit: &mut Commit,
    place: &Place,
    (name, line): (&FileName, &Record),
    content: Option<(&[u8], Builder)>,
) -> Result<Owed, WriteError> {
    if content.is_none() {
        // Makes its note itself, also where there is no room for one.
        let removed = perform(store, commit, place, (name, line), None)?;
        let gone = || WriteError::disk("remove metadata")(io::ErrorKind::NotFound.into());
        return removed.ok_or_else(gone);
    }
    let owed = Owed::note(&store.disk, place, line)?;
    match perform(store, commit, place, (name, line), content) {
        Ok(_) => Ok(owed),
        Err(error) => {
            owed.forget_if(commit.step() <= Some(Step::Name));
            Err(error)
        }
    }
}

/// The steps up to the log: write `content`, or remove the file if there is none; the note of
/// the removal. Blocks.
fn perform(
    store: &Store,
    commit: &mut Commit,
    place: &Place,
    (name, line): (&FileName, &Record),
    content: Option<(&[u8], Builder)>,
) -> Result<Option<Owed>, WriteError> {
    let target = place.file(name);
    let full = store.durability == Durability::Full;
    let (content, mut sums) = content.unzip();
    let mut removed = None;
    let mut staged = match content {
        Some(content) => {
            let disk = Arc::clone(&store.disk);
            let len = content.len() as u64;
            Some(Staged::create(disk, place.temporary(), len, full)?)
        }
        None => None,
    };
    while let Some(step) = commit.step() {
        match (step, &mut staged) {
            (Step::Write, Some(staged)) => {
                staged.write(content.unwrap_or_default())?;
                staged.set_mtime(i64::from(line.at))?;
            }
            (Step::SyncData, Some(staged)) => staged.sync()?,
            (Step::Name, Some(staged)) => {
                if let Some(mut sums) = sums.take() {
                    sums.update(content.unwrap_or_default())?;
                    sums.publish(&store.sums, name, full)?;
                }
                staged.replace(&target)?;
            }
            (Step::Name, None) => {
                removed = Owed::remove(&store.disk, place, line, &target)?;
            }
            (Step::SyncDir, _) => {
                let synced = store.disk.sync_dir(&place.dir(name.dir()));
                synced.map_err(WriteError::sync("the directory"))?;
            }
            _ => break,
        }
        commit.done();
    }
    let settled = match staged {
        Some(_) => store.sums.forget_earlier(name),
        None => store.sums.remove(name, full),
    };
    if let Err(error) = settled {
        // What was there before stays acceptable, or a scrub removes the sums of nothing.
        log::warn!("finish the sums of {name}: {error}");
    }
    Ok(removed)
}
