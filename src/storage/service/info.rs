//! Query file info, 22 (storage.md 3.11).

use std::{io, net::IpAddr, sync::Arc};

use proto::{
    fileid::{FileName, Kind, Source},
    status::Status,
    storage::{
        delete,
        info::{FileInfo, InfoFlags},
    },
};

use super::error::ServiceError;
use crate::{disk::read::checksum, store::Store};

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
        _ => checksum(&*store.disk, &file).map_err(ServiceError::Read)?,
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
