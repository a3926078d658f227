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

use super::error::ServiceError;
use crate::{
    disk::port::{self, Open},
    store::Store,
};

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
    let info = store.gate.run(move || examine(&shared, &name, flags, peer)).await?;
    let mut body = Vec::new();
    info.encode(store.facts.parameters.address_len, &mut body);
    Ok(body)
}

/// Collects the facts. Blocks.
fn examine(
    store: &Store,
    name: &FileName,
    flags: InfoFlags,
    peer: IpAddr,
) -> Result<FileInfo, ServiceError> {
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
        _ => checksum(store, &file).map_err(ServiceError::Read)?,
    };
    let source = match record.source.source() {
        Source::Address(ip) => ip.to_string(),
        Source::Server(number) => {
            let known = store.facts.ids.iter().find(|(id, _)| id.number() == Some(number));
            known.map(|(_, ips)| ips.for_peer(peer).to_string()).unwrap_or_default()
        }
    };
    Ok(FileInfo { size: stat.len, mtime, crc32, source })
}

/// CRC-32 of the whole content as it is now. Blocks.
fn checksum(store: &Store, file: &Path) -> io::Result<u32> {
    let file = store.disk.open(file, Open::Read)?;
    if file.stat()?.kind != port::Kind::File {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0u64;
    loop {
        let count = file.read_at(at, &mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
            return Ok(crc.finalize());
        };
        crc.update(read);
        at = at.saturating_add(count as u64);
    }
}
