//! What lies here, in pieces: 120, a command of ours (`proto::storage::inventory`).
//!
//! For `fdfs resync`, which compares members without their logs. Reads names, lengths and the
//! heads of sums, never content, and changes nothing.

use std::{io, sync::Arc};

use proto::{
    fileid::{FileName, Kind as NameKind, SubDir},
    ids::StorePath,
    storage::inventory::{Digest, Entries, Entry, EntryKind, Inventory, Part},
};

use super::error::ServiceError;
use crate::{
    disk::{layout::Place, port::Kind},
    store::Store,
};

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
                let mut digest = Digest::default();
                for entry in files(store, path, SubDir { high, low }, "").await? {
                    digest.add(&entry);
                }
                digest.encode(&mut out);
            }
        }
        Part::Entries { high, low, after } if u16::from(high.max(low)) < dirs => {
            let dir = SubDir { high, low };
            let mut all = files(store, path, dir, after).await?;
            all.extend(deleted(store, path, dir, after));
            // A stable order: of one name the file stays in front.
            all.sort_by(|a, b| a.name.cmp(&b.name));
            Entries::page(all).encode(&mut out);
        }
        // Behind the last directory there is nothing.
        Part::Digests { .. } => {}
        Part::Entries { .. } => Entries::default().encode(&mut out),
    }
    Ok(out)
}

/// The files and links of one directory behind `after`. Whatever else lies there is not ours.
async fn files(
    store: &Arc<Store>,
    path: StorePath,
    dir: SubDir,
    after: &str,
) -> Result<Vec<Entry>, ServiceError> {
    let (shared, after) = (Arc::clone(store), after.to_owned());
    let job = move || list(&shared, path, dir, &after).map_err(ServiceError::Read);
    store.on(path).run(job).await
}

/// Blocks.
fn list(store: &Store, path: StorePath, dir: SubDir, after: &str) -> io::Result<Vec<Entry>> {
    let Some(place) = store.places.get(path) else { return Ok(Vec::new()) };
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let at = place.dir(dir);
    let names = match store.disk.list(&at) {
        Err(error) if gone(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = Vec::new();
    for text in names.into_iter().filter_map(|name| name.into_string().ok()) {
        let Ok(name) = FileName::parse(format!("{path}/{dir}/{text}"), store.places.count()) else {
            continue;
        };
        if text.as_str() <= after {
            continue;
        }
        let stat = match store.disk.stat(&at.join(&text)) {
            Err(error) if gone(&error) => continue,
            other => other?,
        };
        let kind = match stat.kind {
            Kind::File => EntryKind::Plain,
            Kind::Link => EntryKind::Link,
            Kind::Dir | Kind::Other => continue,
        };
        // A normal file is what its name says; others may change, and their sums say how.
        let fixed = name.kind() == Some(NameKind::Normal) && !text.ends_with("-m");
        let (len, root) = match (kind, fixed) {
            (EntryKind::Plain, true) => (stat.len, 0),
            (EntryKind::Plain, false) => (stat.len, root(store, &name)?),
            _ => (0, 0),
        };
        all.push(Entry { kind, at: stat.mtime, len, root, name: text });
    }
    Ok(all)
}

/// The root of a file's sums; zero if there are none.
fn root(store: &Store, name: &FileName) -> io::Result<u64> {
    Ok(store.sums.known(name)?.map_or(0, |whole| whole.root))
}

/// What was deleted in one directory, behind `after`.
fn deleted(store: &Store, path: StorePath, dir: SubDir, after: &str) -> Vec<Entry> {
    let prefix = format!("{path}/{dir}/");
    store.with_tombs(|tombs| {
        let below = tombs.below(&prefix).filter_map(|(name, at)| {
            let name = name.strip_prefix(&prefix).filter(|name| after < *name)?.to_owned();
            Some(Entry { kind: EntryKind::Deleted, at: i64::from(at), len: 0, root: 0, name })
        });
        below.collect()
    })
}
