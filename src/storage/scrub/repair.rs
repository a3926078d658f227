//! Repairs what was found damaged, by readers and by the scrub, from another member.
//!
//! One task. For each file: looked at again with its name locked, then fetched from the members
//! in turn into a temporary file, and compared with everything that can prove it here. Only what
//! is proven takes the damaged file's name, atomically; before that the damaged bytes are copied
//! to `<store path>/damaged`. Nothing is recorded in the binlog: the file holds again what the
//! record of its creation says. What nobody has is tried again, ever more rarely.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use net::{
    client::{ClientError, storage},
    ports::Moment,
    shutdown::Stop,
};
use proto::{
    fileid::{FileId, FileName, Kind as NameKind},
    ids::StorePath,
    status::Status,
    storage::{PASSED_ON, info::InfoFlags},
};

use super::plan::again_after;
use crate::{
    commit::Durability,
    dir::list,
    disk::{
        layout::Place,
        port::{Kind, Open},
        write::{Staged, WriteError},
    },
    store::Store,
    sums::{Damage, State, SumsState},
};

/// Damaged files that are remembered until somebody can repair them. Those beyond are found
/// again by the next reader or pass.
const OPEN_MAX: usize = 10_000;
/// Longest time without a look at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long damaged copies are kept that were replaced, and how often that is looked at.
const KEEP_DAMAGED_SECS: u64 = 30 * 24 * 3600;
const PURGE_EVERY: Duration = Duration::from_secs(6 * 3600);
/// One piece of what is copied.
const PIECE_BYTES: usize = 256 * 1024;

/// A file that is not repaired yet.
#[derive(Clone, Copy, Debug)]
struct Case {
    due: Moment,
    failures: u32,
}

/// How a repair ended.
#[derive(Debug, PartialEq, Eq)]
enum Mended {
    /// There is nothing to repair: it is good, or gone.
    Needless,
    /// From this member; the damaged bytes lie there.
    By(SocketAddr, PathBuf),
}

/// Why one member's copy was of no use.
#[derive(Debug, thiserror::Error)]
enum Useless {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("write the copy: {0}: {source}", source = .0.io())]
    Write(#[from] WriteError),
    #[error("look at the copies: {0}")]
    Disk(#[from] io::Error),
    #[error("nothing here proves its copy")]
    Unproven,
}

/// Repairs until the program ends.
pub(super) async fn keep(store: Arc<Store>, mut stop: Stop) {
    let mut open: BTreeMap<FileName, Case> = BTreeMap::new();
    let mut purged = None;
    loop {
        let now = store.clock.moment();
        if purged.is_none_or(|purged| PURGE_EVERY <= now.since(purged)) {
            purged = Some(now);
            tokio::select! {
                biased;
                () = stop.raised() => return,
                () = purge_all(&store) => {}
            }
        }
        for name in store.sums.damage.take() {
            if open.len() < OPEN_MAX || open.contains_key(&name) {
                let due = store.clock.moment();
                open.entry(name).or_insert(Case { due, failures: 0 });
            }
        }
        let now = store.clock.moment();
        let due = open.iter().find(|(_, case)| case.due <= now);
        if let Some((name, case)) = due.map(|(name, case)| (name.clone(), *case)) {
            let outcome = tokio::select! {
                biased;
                () = stop.raised() => return,
                outcome = mend(&store, &name) => outcome,
            };
            match closed(&store, &name, case, outcome) {
                Some(case) => open.insert(name, case),
                None => open.remove(&name),
            };
            let failed = open.values().filter(|case| 0 < case.failures).count() as u64;
            store.sums.damage.unrepairable.store(failed, Ordering::Relaxed);
            continue;
        }
        let next = open.values().map(|case| case.due.since(now)).min();
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = store.sums.damage.bell.notified() => {}
            () = tokio::time::sleep(next.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)) => {}
        }
    }
}

/// Says how it went; the case if it stays open.
fn closed(
    store: &Store,
    name: &FileName,
    case: Case,
    outcome: Result<Mended, String>,
) -> Option<Case> {
    match outcome {
        Ok(Mended::Needless) => None,
        Ok(Mended::By(member, aside)) => {
            Damage::count(&store.sums.damage.repaired);
            log::warn!(
                "{name} was damaged: repaired it from {member}; the damaged copy is {}",
                aside.display()
            );
            None
        }
        Err(why) => {
            let failures = case.failures.saturating_add(1);
            let again = again_after(failures);
            // Said once as an error; the metric keeps saying it.
            let level = if failures == 1 { log::Level::Error } else { log::Level::Debug };
            log::log!(level, "{name} is damaged and could not be repaired, stays as it is: {why}");
            Some(Case { due: store.clock.moment().after(again), failures })
        }
    }
}

/// Repairs one file, or says why nobody could. May be dropped: what has begun on the disk ends
/// there.
async fn mend(store: &Arc<Store>, name: &FileName) -> Result<Mended, String> {
    let path = name.store_path();
    {
        let _alone = store.lock_file(name).await;
        let (shared, looked) = (Arc::clone(store), name.clone());
        if !store.on(path).run(move || is_damaged(&shared, &looked)).await {
            return Ok(Mended::Needless);
        }
    }
    if !store.takes_changes(path) {
        return Err("its store path is read-only".to_owned());
    }
    let mut reasons = Vec::new();
    for member in store.progress.members() {
        match from(store, name, member).await {
            Ok(mended) => return Ok(mended),
            Err(why) => reasons.push(format!("{member}: {why}")),
        }
    }
    if reasons.is_empty() {
        reasons.push("there is no other member".to_owned());
    }
    Err(reasons.join("; "))
}

/// Whether there is something to repair; with the name locked. Blocks.
fn is_damaged(store: &Store, name: &FileName) -> bool {
    let Some((_, file)) = store.file(name) else { return false };
    match store.disk.stat(&file) {
        Ok(stat) if stat.kind != Kind::File => return false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        _ => {}
    }
    match store.sums.examine(name, &file) {
        Ok(exam) => matches!(exam.state, State::Damaged { .. }),
        // A disk that cannot read it any more has lost it just the same.
        Err(_) => true,
    }
}

/// Repairs a file from one member. After a sync that failed nothing is written to its store path
/// any more.
async fn from(store: &Arc<Store>, name: &FileName, member: SocketAddr) -> Result<Mended, Useless> {
    let outcome = fetch_and_put(store, name, member).await;
    if let Err(Useless::Write(error)) = &outcome {
        store.distrust(name.store_path(), error);
    }
    outcome
}

async fn fetch_and_put(
    store: &Arc<Store>,
    name: &FileName,
    member: SocketAddr,
) -> Result<Mended, Useless> {
    let (staged, temporary) = fetch(store, name, member).await?;
    let _alone = store.lock_file(name).await;
    let (shared, fetched) = (Arc::clone(store), name.clone());
    let job = move || put(&shared, &fetched, staged, &temporary);
    let path = name.store_path();
    let aside = store.on(path).run(job).await?;
    Ok(aside.map_or(Mended::Needless, |aside| Mended::By(member, aside)))
}

/// Fetches a file from a member, with the time that it has there, into a temporary file.
async fn fetch(
    store: &Arc<Store>,
    name: &FileName,
    member: SocketAddr,
) -> Result<(Staged, PathBuf), Useless> {
    let file = FileId { group: store.facts.group, name: name.clone() };
    let record = name.record().filter(|record| name.kind_with(record) == NameKind::Normal);
    let mtime = match record {
        Some(record) => i64::from(record.timestamp),
        None => storage::info(&store.pool, member, &file, InfoFlags::PROBE).await?.mtime,
    };
    let flags = Status(PASSED_ON);
    let mut content = storage::download_flagged(&store.pool, member, &file, (0, 0), flags).await?;
    let place = store.places.get(name.store_path());
    let temporary = place.map(Place::temporary).unwrap_or_default();
    let (disk, len, path) = (Arc::clone(&store.disk), content.len(), temporary.clone());
    let synced = store.durability == Durability::Full;
    let gate = store.on(name.store_path());
    let mut staged = gate.run(move || Staged::create(disk, path, len, synced)).await?;
    while let Some(piece) = content.chunk().await? {
        staged = gate.run(move || staged.write(&piece).map(|()| staged)).await?;
    }
    let sync = move || {
        staged.set_mtime(mtime)?;
        staged.sync().map(|()| staged)
    };
    Ok((gate.run(sync).await?, temporary))
}

/// Puts a fetched copy in place of the damaged one, if it is proven and still wanted; where the
/// damaged bytes are. With the name locked. Blocks.
fn put(
    store: &Store,
    name: &FileName,
    mut staged: Staged,
    temporary: &Path,
) -> Result<Option<PathBuf>, Useless> {
    let Some((place, file)) = store.file(name) else { return Ok(None) };
    // Deleted, replaced or repaired while it was fetched.
    if !is_damaged(store, name) {
        return Ok(None);
    }
    let exam = store.sums.examine(name, temporary)?;
    if exam.state != State::Good {
        return Err(Useless::Unproven);
    }
    let aside = set_aside(store, place, name, &file)?;
    staged.replace(&file)?;
    let synced = store.disk.sync_dir(&place.dir(name.dir()));
    synced.map_err(WriteError::sync("the directory"))?;
    if exam.sums == SumsState::Damaged || exam.sums == SumsState::Missing {
        let file = store.disk.open(&file, Open::Read).map_err(WriteError::disk("open the copy"));
        if let Err(error) = file.and_then(|file| store.sums.heal(name, &*file, &exam)) {
            store.sums_not_made(name, &error);
        }
    }
    Ok(Some(aside))
}

/// Where damaged copies are kept.
fn aside_dir(place: &Place) -> PathBuf {
    place.data().parent().unwrap_or(Path::new("/")).join("damaged")
}

/// Copies what is left of a damaged file to where it is kept; what cannot be read is zeros.
/// Blocks.
fn set_aside(
    store: &Store,
    place: &Place,
    name: &FileName,
    file: &Path,
) -> Result<PathBuf, WriteError> {
    let aside = || WriteError::disk("keep the damaged copy");
    let dir = aside_dir(place);
    match store.disk.make_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => {
            made.map_err(aside())?;
            let synced = dir.parent().map_or(Ok(()), |above| store.disk.sync_dir(above));
            synced.map_err(WriteError::sync("the store path"))?;
        }
    }
    let (now, chance) = (store.now(), store.random.u32());
    let text = name.true_name().replace('/', "-");
    let to = dir.join(format!("{text}.{now}-{chance:08x}"));
    let from = store.disk.open(file, Open::Read).map_err(aside())?;
    let len = from.stat().map_err(aside())?.len;
    let copy = store.disk.create(&to).map_err(aside())?;
    let mut at = 0u64;
    while at < len {
        let wanted = usize::try_from(len.saturating_sub(at)).unwrap_or(PIECE_BYTES);
        let mut piece = vec![0; wanted.min(PIECE_BYTES)];
        match from.read_at(at, &mut piece) {
            Ok(0) => break,
            Ok(count) => piece.truncate(count),
            Err(_) => piece.fill(0),
        }
        copy.write_at(at, &piece).map_err(aside())?;
        at = at.saturating_add(piece.len() as u64);
    }
    copy.sync_data().map_err(WriteError::sync("the damaged copy"))?;
    store.disk.sync_dir(&dir).map_err(WriteError::sync("the directory of damaged copies"))?;
    Ok(to)
}

/// Removes damaged copies that were replaced long ago. Blocks.
fn purge(store: &Store, place: &Place, now: u64) -> io::Result<()> {
    let dir = aside_dir(place);
    for name in list(store, &dir, "")? {
        let file = dir.join(name);
        let since = u64::try_from(store.disk.stat(&file)?.mtime).unwrap_or(0);
        if KEEP_DAMAGED_SECS < now.saturating_sub(since) {
            store.disk.remove(&file)?;
        }
    }
    Ok(())
}

/// The same on all store paths that may be written to. May be dropped between two of them.
async fn purge_all(store: &Arc<Store>) {
    for path in (0..=u8::MAX).map(StorePath).take(store.places.iter().count()) {
        if !store.takes_changes(path) {
            continue;
        }
        let (shared, now) = (Arc::clone(store), store.clock.now().secs());
        let job = move || shared.places.get(path).map_or(Ok(()), |p| purge(&shared, p, now));
        if let Err(error) = store.on(path).run(job).await {
            log::warn!("remove old damaged copies of {path}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commit::Retire,
        disk::{
            port::Disk as _,
            simulated::{Chance, Plan, SimulatedDisk},
        },
        service::served::{SYNC, Served},
    };

    /// A store with one file, whose byte in the middle is flipped.
    async fn damaged(content: &[u8]) -> (SimulatedDisk, Served, FileName, PathBuf) {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let name = served.upload(content).await.unwrap();
        let name = FileName::parse(name, 1).unwrap();
        let file = served.store.file(&name).unwrap().1;
        let mut bytes = content.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let open = disk.open(&file, Open::Write).unwrap();
        open.write_at(0, &bytes).and_then(|()| open.sync_data()).unwrap();
        (disk, served, name, file)
    }

    /// A copy as it is fetched.
    fn fetched(store: &Store, content: &[u8]) -> Result<(Staged, PathBuf), WriteError> {
        let temporary = store.places.iter().next().unwrap().temporary();
        let disk = Arc::clone(&store.disk);
        let mut staged = Staged::create(disk, temporary.clone(), content.len() as u64, true)?;
        staged.write(content)?;
        staged.sync()?;
        Ok((staged, temporary))
    }

    #[tokio::test]
    async fn a_death_at_any_effect_leaves_the_damaged_file_or_the_good_one() {
        let content: Vec<u8> = (0..150_000u32).map(|i| (i % 251) as u8).collect();
        for content in [&content[..], &content[..700]] {
            for nth in 1.. {
                let (disk, served, name, file) = damaged(content).await;
                let bad = disk.files()[&file].clone();
                disk.plan(Plan::Die(nth));
                let done = fetched(&served.store, content)
                    .map_err(Useless::from)
                    .and_then(|(staged, at)| put(&served.store, &name, staged, &at));
                let whole = matches!(done, Ok(Some(_)));
                for seed in 0..6 {
                    let left = match seed {
                        0 => disk.after_kill(),
                        seed => disk.after_power_loss(&mut Chance(seed)),
                    };
                    let found = &left.files()[&file];
                    let good = found == content;
                    assert!(good || (!whole && *found == bad), "effect {nth}, seed {seed}");
                    let kept = left
                        .files()
                        .into_iter()
                        .any(|(path, bytes)| path.starts_with("/base/damaged") && bytes == bad);
                    assert!(!good || kept, "effect {nth}, seed {seed}: the damaged bytes are kept");
                }
                served.close().await;
                if whole {
                    break;
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_proven_or_not_wanted_any_more_is_not_put_in_place() {
        let content = vec![7; 100_000];
        let (disk, mut served, name, file) = damaged(&content).await;
        let (staged, at) = fetched(&served.store, &[8; 100_000]).unwrap();
        let refused = put(&served.store, &name, staged, &at);
        assert!(matches!(refused, Err(Useless::Unproven)), "{refused:?}");
        assert!(!disk.files().contains_key(&at), "it leaves nothing behind");
        let (staged, at) = fetched(&served.store, &content).unwrap();
        let aside = put(&served.store, &name, staged, &at).unwrap().unwrap();
        assert!(disk.files()[&file] == content && disk.files().contains_key(&aside));
        let (staged, at) = fetched(&served.store, &content).unwrap();
        assert!(put(&served.store, &name, staged, &at).unwrap().is_none(), "it is good");
        served.delete(name.as_str()).await.unwrap();
        let (staged, at) = fetched(&served.store, &content).unwrap();
        assert!(put(&served.store, &name, staged, &at).unwrap().is_none(), "it is gone");
        assert!(!disk.files().contains_key(&file), "it does not come back");
        served.close().await;
    }

    #[tokio::test]
    async fn a_file_without_its_sums_is_proven_by_its_name_and_gets_them_again() {
        let content = vec![9; 100_000];
        let (disk, served, name, file) = damaged(&content).await;
        disk.remove(&served.store.sums.path(&name).unwrap()).unwrap();
        let (staged, at) = fetched(&served.store, &content).unwrap();
        put(&served.store, &name, staged, &at).unwrap().unwrap();
        let exam = served.store.sums.examine(&name, &file).unwrap();
        assert_eq!((exam.state, exam.sums), (State::Good, SumsState::Good));
        served.close().await;
    }

    #[tokio::test]
    async fn a_sync_that_fails_while_a_copy_is_fetched_or_kept_is_told_as_one() {
        let content = vec![7; 1000];
        let mut failed_syncs = 0;
        for nth in 1.. {
            let (disk, served, name, _) = damaged(&content).await;
            disk.plan(Plan::Fail(nth, 5));
            let done = fetched(&served.store, &content)
                .map_err(Useless::from)
                .and_then(|(staged, at)| put(&served.store, &name, staged, &at));
            failed_syncs += u32::from(matches!(done, Err(Useless::Write(WriteError::Sync { .. }))));
            served.close().await;
            if done.is_ok_and(|aside| aside.is_some()) && disk.effects() < nth {
                break;
            }
        }
        // The copy, the store path, the damaged copy, its directory, the file's directory.
        assert_eq!(failed_syncs, 5);
    }

    #[tokio::test]
    async fn old_damaged_copies_are_removed() {
        let (disk, served, name, file) = damaged(&[7; 1000]).await;
        let place = served.store.places.iter().next().unwrap();
        let aside = set_aside(&served.store, place, &name, &file).unwrap();
        let made = disk.stat(&aside).unwrap().mtime as u64;
        purge(&served.store, place, made + KEEP_DAMAGED_SECS).unwrap();
        assert!(disk.files().contains_key(&aside));
        purge_all(&served.store).await;
        assert!(!disk.files().contains_key(&aside), "the clock of this disk stands still");
        served.close().await;
    }

    #[tokio::test]
    async fn old_damaged_copies_stay_where_nothing_is_written_any_more_and_at_the_end() {
        let (disk, served, name, file) = damaged(&[7; 1000]).await;
        let place = served.store.places.iter().next().unwrap();
        let aside = set_aside(&served.store, place, &name, &file).unwrap();
        // The first look at them is the first thing that it does.
        let (stopper, stop) = Stop::pair();
        stopper.raise();
        keep(Arc::clone(&served.store), stop).await;
        assert!(disk.files().contains_key(&aside));
        served.store.retire(StorePath(0), Retire::Path);
        purge_all(&served.store).await;
        assert!(disk.files().contains_key(&aside));
        served.close().await;
    }
}
