//! The files of one directory of a store path, as the scrub and the inventory list them: names
//! in order, and nothing that is not ours. Everything here may block; only reads.

use std::{io, path::Path};

use proto::{
    fileid::{FileName, SubDir},
    ids::StorePath,
};

use crate::store::Store;

/// The name of a file in a directory; `None` of what cannot be one.
pub(crate) fn named(store: &Store, path: StorePath, dir: SubDir, name: &str) -> Option<FileName> {
    FileName::parse(format!("{path}/{dir}/{name}"), store.places.count()).ok()
}

/// What a directory holds behind `after`, in order; a directory that is not there has nothing.
pub(crate) fn list(store: &Store, dir: &Path, after: &str) -> io::Result<Vec<String>> {
    let names = match store.disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let mut names: Vec<_> = names.filter(|name| after < name.as_str()).collect();
    names.sort_unstable();
    Ok(names)
}

/// The stored files of a directory behind `after`, by their last parts, in order.
pub(crate) fn files(
    store: &Store,
    path: StorePath,
    dir: SubDir,
    after: &str,
) -> io::Result<Vec<String>> {
    let Some(place) = store.places.get(path) else { return Ok(Vec::new()) };
    let mut names = list(store, &place.dir(dir), after)?;
    names.retain(|name| named(store, path, dir, name).is_some());
    Ok(names)
}
