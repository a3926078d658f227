//! Verified reads for the handlers: what to do when content and sums do not agree.
//!
//! A reader takes no lock. It may meet a change that is half done, so a difference counts only
//! when it is still there with the file's name locked; then the file is damaged, and said so.

use std::{path::PathBuf, sync::Arc};

use proto::fileid::FileName;

use super::error::ServiceError;
use crate::{
    disk::read::RangeError,
    store::Store,
    sums::{ReadError, Source, Verified},
};

/// One piece of a file that is read whole.
const PIECE_BYTES: usize = 256 * 1024;

/// The next piece of `source`, at least one byte. `lock` is the name that changes of this file
/// lock: the file's own, or for metadata the name of its file.
pub(super) async fn piece(
    store: &Arc<Store>,
    mut source: Source,
    lock: &FileName,
    at: u64,
    max: usize,
) -> Result<(Source, Verified), ServiceError> {
    let shared = Arc::clone(store);
    let job = move || {
        let outcome = source.read(&shared.sums, at, max);
        (source, outcome)
    };
    let (source, outcome) = store.on(lock.store_path()).run(job).await;
    settled(store, source, lock, outcome, at, max).await
}

/// Goes on after a first read: with a doubt, once more with the name locked.
pub(super) async fn settled(
    store: &Arc<Store>,
    mut source: Source,
    lock: &FileName,
    outcome: Result<Verified, ReadError>,
    at: u64,
    max: usize,
) -> Result<(Source, Verified), ServiceError> {
    let name = source.name().clone();
    match outcome {
        Ok(verified) => return Ok((source, verified)),
        Err(ReadError::Doubt { .. }) => {}
        Err(error) => return Err(ServiceError::of_read(&name, error)),
    }
    let _alone = store.lock_name(lock).await;
    let shared = Arc::clone(store);
    let job = move || {
        let outcome = shared.settle(&mut source);
        let outcome = outcome.and_then(|()| source.read(&shared.sums, at, max));
        (source, outcome)
    };
    let (source, outcome) = store.on(lock.store_path()).run(job).await;
    Ok((source, outcome.map_err(|error| ServiceError::of_read(&name, error))?))
}

/// Opens a file for a reader.
pub(super) fn open(
    store: &Store,
    name: &FileName,
    file: &std::path::Path,
    offset: u64,
    bytes: u64,
) -> Result<Source, ServiceError> {
    store.sums.open(name, file, offset, bytes).map_err(|error| match error {
        RangeError::NotRegular => ServiceError::NotRegular,
        RangeError::BeyondEnd => ServiceError::Invalid("the file ends before the range begins"),
        RangeError::Open(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ServiceError::NotFound("file")
        }
        RangeError::Open(error) => ServiceError::Read(error),
    })
}

/// A whole file that is at most `max` bytes long, with its name locked by the caller; `None`
/// when it is not there. Blocks.
pub(super) fn whole(
    store: &Store,
    name: &FileName,
    file: PathBuf,
    max: usize,
) -> Result<Option<Vec<u8>>, ServiceError> {
    let mut source = match open(store, name, &file, 0, 0) {
        Err(ServiceError::NotFound(_)) => return Ok(None),
        other => other?,
    };
    if max < usize::try_from(source.len()).unwrap_or(usize::MAX) {
        return Err(ServiceError::Read(std::io::ErrorKind::FileTooLarge.into()));
    }
    let mut content = Vec::new();
    each(store, &mut source, |bytes| content.extend_from_slice(bytes))?;
    Ok(Some(content))
}

/// Hands the rest of a file over piece by piece, with its name locked by the caller. Blocks.
pub(super) fn each(
    store: &Store,
    source: &mut Source,
    mut take: impl FnMut(&[u8]),
) -> Result<(), ServiceError> {
    let name = source.name().clone();
    let bad = |error| ServiceError::of_read(&name, error);
    let mut at = 0u64;
    while at < source.len() {
        let verified = match source.read(&store.sums, at, PIECE_BYTES) {
            Err(ReadError::Doubt { .. }) => {
                store.settle(source).map_err(bad)?;
                source.read(&store.sums, at, PIECE_BYTES)
            }
            other => other,
        };
        let verified = verified.map_err(bad)?;
        take(verified.bytes());
        at = at.saturating_add(verified.bytes().len() as u64);
    }
    Ok(())
}
