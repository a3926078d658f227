//! Query file info, 22 (storage.md 3.11).

use std::{io, net::IpAddr, path::Path, sync::Arc};

use proto::{
    fileid::{FileName, Kind, Source},
    status::Status,
    storage::{
        delete,
        info::{FileInfo, InfoFlags},
    },
};

use super::{error::ServiceError, read};
use crate::{store::Store, sums::ReadError};

/// One read while a checksum is computed.
const READ_BYTES: usize = 256 * 1024;

/// Shortest name that can be asked about.
const NAME_MIN: usize = 37;

pub(super) async fn run(
    store: &Arc<Store>,
    flags: Status,
    peer: IpAddr,
    body: &[u8],
) -> Result<Vec<u8>, ServiceError> {
    let request = delete::FileName::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    let name = FileName::parse(request.name, store.places.count())?;
    let flags = InfoFlags(flags.0);
    let shared = Arc::clone(store);
    let (path, job_name) = (name.store_path(), name.clone());
    let info = match store.on(path).run(move || examine(&shared, &job_name, flags, peer)).await? {
        Some(info) => info,
        None => {
            let _alone = store.lock_name(&name).await;
            let shared = Arc::clone(store);
            store.on(path).run(move || examine_alone(&shared, &name, flags, peer)).await?
        }
    };
    let mut body = Vec::new();
    info.encode(store.facts.parameters.address_len, &mut body);
    Ok(body)
}

/// Collects the facts; `None` when the content differs from its sums, which may be a change
/// that is under way. Blocks.
fn examine(
    store: &Store,
    name: &FileName,
    flags: InfoFlags,
    peer: IpAddr,
) -> Result<Option<FileInfo>, ServiceError> {
    let (_, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
    let not_there = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ServiceError::NotFound("file"),
        _ => ServiceError::Read(error),
    };
    // Of a link: the time of the link, the size of what it leads to.
    let mtime = store.disk.stat(&file).map_err(not_there)?.mtime;
    let stat = store.disk.stat_target(&file).map_err(not_there)?;
    let record = name.record();
    let (Some(record), true) = (record, NAME_MIN <= name.as_str().len()) else {
        return Err(ServiceError::Invalid("the name is not one we gave out"));
    };
    let crc32 = match name.kind() {
        Some(Kind::Normal) => record.crc32,
        _ if flags.no_crc() => 0,
        _ => match checksum(store, name, &file)? {
            Some(crc32) => crc32,
            None => return Ok(None),
        },
    };
    let source = match record.source.source() {
        Source::Address(ip) => ip.to_string(),
        Source::Server(number) => {
            let known = store.facts.ids.iter().find(|(id, _)| id.number() == Some(number));
            known.map(|(_, ips)| ips.for_peer(peer).to_string()).unwrap_or_default()
        }
    };
    Ok(Some(FileInfo { size: stat.len, mtime, crc32, source }))
}

/// The same with the name locked: what differs now is damaged. Blocks.
fn examine_alone(
    store: &Store,
    name: &FileName,
    flags: InfoFlags,
    peer: IpAddr,
) -> Result<FileInfo, ServiceError> {
    let (_, file) = store.file(name).ok_or(ServiceError::Invalid("no such store path"))?;
    let mut source = read::open(store, name, &file, 0, 0)?;
    let settled = store.settle(&mut source);
    settled.map_err(|error| ServiceError::of_read(name, error))?;
    examine(store, name, flags, peer)?
        .ok_or_else(|| ServiceError::of_read(name, ReadError::Damaged { offset: 0 }))
}

/// CRC-32 of the content as it is now, compared with its sums; `None` when it has to be done
/// with the name locked. Blocks.
fn checksum(store: &Store, name: &FileName, file: &Path) -> Result<Option<u32>, ServiceError> {
    let mut source = read::open(store, name, file, 0, 0)?;
    let mut crc = crc32fast::Hasher::new();
    let mut at = 0u64;
    while at < source.len() {
        match source.read(&store.sums, at, READ_BYTES) {
            Ok(verified) => {
                crc.update(verified.bytes());
                at = at.saturating_add(verified.bytes().len() as u64);
            }
            Err(ReadError::Doubt { .. }) => return Ok(None),
            Err(error) => return Err(ServiceError::of_read(name, error)),
        }
    }
    Ok(Some(crc.finalize()))
}
