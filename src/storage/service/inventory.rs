//! What lies here, in pieces: 120, a command of ours (`proto::storage::inventory`).
//!
//! For `fdfs resync`, which compares members without their logs. Reads names, lengths and the
//! heads of sums, never content, and changes nothing.

use std::{io, sync::Arc};

use proto::{
    fileid::{FileName, SubDir},
    ids::StorePath,
    storage::inventory::{Digest, Entries, Entry, EntryKind, Inventory, Part},
};

use super::error::ServiceError;
use crate::{
    dir,
    disk::{layout::Place, port::Kind},
    store::Store,
};

/// Files that one job looks at, so that it does not keep others from the disk for long.
const LOOKED_AT_MAX: usize = 512;
/// More deleted names than a page holds are not looked at for it.
const DELETED_MAX: usize = Entries::LEN_MAX / Entry::FIXED_LEN;

pub(super) async fn run(store: &Arc<Store>, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let request = Inventory::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let path = request.path;
    let dirs = store.places.get(path).map(Place::dirs);
    let dirs = dirs.ok_or(ServiceError::Invalid("no such store path"))?;
    let mut out = Vec::new();
    match request.part {
        Part::Digests { high } if u16::from(high) < dirs => {
            for low in (0..dirs).filter_map(|low| u8::try_from(low).ok()) {
                let (mut digest, dir) = (Digest::default(), SubDir { high, low });
                let mut names = names(store, path, dir, "").await?.into_iter();
                while let Some(entries) = some(store, path, dir, &mut names).await? {
                    entries.iter().for_each(|entry| digest.add(entry));
                }
                digest.encode(&mut out);
            }
        }
        Part::Entries { high, low, after } if u16::from(high.max(low)) < dirs => {
            let dir = SubDir { high, low };
            let mut names = names(store, path, dir, after).await?.into_iter();
            let mut all = Vec::new();
            // Only those are looked at that the page may hold.
            let mut room = Entries::LEN_MAX;
            while room != 0
                && let Some(entries) = some(store, path, dir, &mut names).await?
            {
                let len = |entry: &Entry| Entry::FIXED_LEN + entry.name.len();
                room = room.saturating_sub(entries.iter().map(len).sum());
                all.extend(entries);
            }
            let upto = names.next();
            all.extend(deleted(store, path, dir, (after, upto.as_deref())));
            // A stable order: of one name the file stays in front.
            all.sort_by(|a, b| a.name.cmp(&b.name));
            let mut page = Entries::page(all);
            page.more |= upto.is_some();
            page.encode(&mut out);
        }
        // Behind the last directory there is nothing.
        Part::Digests { .. } => {}
        Part::Entries { .. } => Entries::default().encode(&mut out),
    }
    Ok(out)
}

/// The names of the files and links of one directory behind `after`, in order.
async fn names(
    store: &Arc<Store>,
    path: StorePath,
    dir: SubDir,
    after: &str,
) -> Result<Vec<String>, ServiceError> {
    let (shared, after) = (Arc::clone(store), after.to_owned());
    let job = move || dir::files(&shared, path, dir, &after).map_err(ServiceError::Read);
    store.on(path).run(job).await
}

/// The next files and links of `names`, as many as one job looks at; `None` behind the last.
async fn some(
    store: &Arc<Store>,
    path: StorePath,
    dir: SubDir,
    names: &mut std::vec::IntoIter<String>,
) -> Result<Option<Vec<Entry>>, ServiceError> {
    let names: Vec<_> = names.by_ref().take(LOOKED_AT_MAX).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let shared = Arc::clone(store);
    let job = move || {
        let entries = names.into_iter().map(|name| entry(&shared, path, dir, name));
        let entries: io::Result<Vec<_>> = entries.filter_map(io::Result::transpose).collect();
        entries.map(Some).map_err(ServiceError::Read)
    };
    store.on(path).run(job).await
}

/// One file or link; `None` if it is neither, or gone meanwhile. Blocks.
fn entry(store: &Store, path: StorePath, dir: SubDir, text: String) -> io::Result<Option<Entry>> {
    let Some(name) = dir::named(store, path, dir, &text) else { return Ok(None) };
    let Some((_, file)) = store.file(&name) else { return Ok(None) };
    let stat = match store.disk.stat(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let kind = match stat.kind {
        Kind::File => EntryKind::Plain,
        Kind::Link => EntryKind::Link,
        Kind::Dir | Kind::Other => return Ok(None),
    };
    // Content that may change has sums that say how.
    let (len, root) = match (kind, name.is_fixed()) {
        (EntryKind::Plain, true) => (stat.len, 0),
        (EntryKind::Plain, false) => (stat.len, root(store, &name)?),
        _ => (0, 0),
    };
    Ok(Some(Entry { kind, at: stat.mtime, len, root, name: text }))
}

/// The root of a file's sums; zero if there are none.
fn root(store: &Store, name: &FileName) -> io::Result<u64> {
    Ok(store.sums.known(name)?.map_or(0, |whole| whole.root))
}

/// What was deleted in one directory, behind `after` and before `upto`.
fn deleted(
    store: &Store,
    path: StorePath,
    dir: SubDir,
    (after, upto): (&str, Option<&str>),
) -> Vec<Entry> {
    let prefix = format!("{path}/{dir}/");
    let (from, len) = (format!("{prefix}{after}"), prefix.len());
    store.with_tombs(|tombs| {
        let behind = tombs.after(&from).take_while(|(name, _)| name.starts_with(&prefix));
        let named = behind.filter_map(|(name, at)| Some((name.get(len..)?, at)));
        let wanted = named.take_while(|(name, _)| upto.is_none_or(|upto| *name < upto));
        let entries = wanted.take(DELETED_MAX).map(|(name, at)| {
            let (kind, name) = (EntryKind::Deleted, name.to_owned());
            Entry { kind, at: i64::from(at), len: 0, root: 0, name }
        });
        entries.collect()
    })
}

#[cfg(test)]
mod tests {
    use proto::storage::inventory::{Entries, EntryKind, Inventory, Part};

    use crate::{
        disk::simulated::SimulatedDisk,
        service::served::{SYNC, Served},
    };

    #[tokio::test]
    async fn a_page_costs_what_is_in_it_and_all_pages_hold_everything() {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let mut wanted = Vec::new();
        for number in 0..3000u32 {
            let name = served.upload(b"x").await.unwrap();
            let gone = number % 3 == 0;
            if gone {
                served.delete(&name).await.unwrap();
            }
            let kind = if gone { EntryKind::Deleted } else { EntryKind::Plain };
            wanted.push((name["M00/00/00/".len()..].to_owned(), kind));
        }
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let part = Part::Entries { high: 0, low: 0, after: &after };
            let group = served.store.facts.group;
            let mut body = Vec::new();
            Inventory { group, path: proto::ids::StorePath(0), part }.encode(&mut body);
            let before = disk.effects();
            let (status, body) = served.ask(120, &body).await;
            assert_eq!(status, 0);
            assert!(disk.effects() - before <= 2048, "one list, and a look at each of a page");
            let page = Entries::decode(&body).unwrap();
            found.extend(page.all.into_iter().map(|entry| (entry.name, entry.kind)));
            pages += 1;
            if !page.more {
                break;
            }
            after = found.last().unwrap().0.clone();
        }
        assert!(found == wanted && 2 < pages, "{} of {}", found.len(), wanted.len());
        served.close().await;
    }
}
