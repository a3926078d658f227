//! What a member of the reference needs that has lost a disk: 26, the names of all files of one
//! store path, as they stand in our log (sync.md 10.3).
//!
//! A pass over the whole log, some records at a time, so that it costs little memory and keeps
//! nobody from the disk. What is here now counts, not what a record said: a file that is gone is
//! left out, and so is a line that is no record. Our own members are filled in another way.

use std::{io, path::Path, sync::Arc};

use net::conn::Conn;
use proto::{
    binlog::{Act, Op, Record},
    fileid::FileName,
    header::Header,
    ids::StorePath,
    storage::fetch::{FetchPathBinlog, PSEUDO_LEN},
};

use super::error::ServiceError;
use crate::{
    binlog::{
        Position,
        reader::{Item, Reader, What},
    },
    disk::port::Kind,
    store::Store,
};

/// Records that one job looks at.
const BATCH: usize = 512;

/// Sends everything; the connection has to end behind it.
pub(super) async fn run(
    store: &Arc<Store>,
    conn: &mut Conn,
    body: &[u8],
) -> Result<(), ServiceError> {
    let request = FetchPathBinlog::decode(body)?;
    if request.group != store.facts.group {
        return Err(ServiceError::Invalid("another group"));
    }
    if store.places.get(request.path).is_none() {
        return Err(ServiceError::Invalid("no such store path"));
    }
    let end = *store.log.end().borrow();
    let mut reader = Reader::new(Arc::clone(&store.disk), store.log.dir(), Position::default());
    conn.send_message(Header::answer(PSEUDO_LEN), &[]).await?;
    let mut len = 0u64;
    loop {
        let shared = Arc::clone(store);
        let job = move || {
            let items = reader.batch(end, BATCH)?;
            let text = lines(&shared, request.path, &items)?;
            Ok::<_, io::Error>((reader, text, items.is_empty()))
        };
        let (back, text, at_end) = store.gate.run(job).await.map_err(read_failed)?;
        reader = back;
        if at_end {
            break;
        }
        conn.send(text.as_bytes()).await?;
        len = len.saturating_add(text.len() as u64);
    }
    conn.send(&len.to_be_bytes()).await?;
    Ok(())
}

/// After the header an error can only end the connection, without the trailer.
fn read_failed(error: io::Error) -> ServiceError {
    log::error!("read the binlog for a member that has lost a disk: {error}");
    ServiceError::Conn(net::conn::ConnError::Closed)
}

/// What of these records is here, as lines. Blocks.
fn lines(store: &Store, path: StorePath, items: &[Item]) -> io::Result<String> {
    let mut text = String::new();
    for item in items {
        let What::Record(record) = &item.what else { continue };
        if !matches!(record.op.act, Act::Create | Act::Link | Act::Rename) {
            continue;
        }
        let Ok(name) = FileName::parse(&record.name, store.places.count()) else { continue };
        let Some((_, file)) = store.file(&name).filter(|_| name.store_path() == path) else {
            continue;
        };
        let line = here(store, record, &file)?.and_then(|record| record.line().ok());
        text.push_str(&line.unwrap_or_default());
    }
    Ok(text)
}

/// The record of what lies at `file` now; `None` if there is nothing, or a link to nowhere.
fn here(store: &Store, record: &Record, file: &Path) -> io::Result<Option<Record>> {
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let found = match store.disk.stat(file) {
        Err(error) if missing(&error) => return Ok(None),
        other => other?,
    };
    let (act, extra) = match found.kind {
        Kind::File => (Act::Create, None),
        Kind::Link => {
            match store.disk.stat_target(file) {
                Err(error) if missing(&error) => return Ok(None),
                other => drop(other?),
            }
            let target = store.places.logic_name(&store.disk.read_link(file)?);
            if target.is_none() {
                return Ok(None);
            }
            (Act::Link, target)
        }
        Kind::Dir | Kind::Other => return Ok(None),
    };
    let op = Op { act, ..record.op };
    Ok(Some(Record { op, extra, ..record.clone() }))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{
        disk::{
            port::{Disk as _, Open},
            simulated::SimulatedDisk,
        },
        service::served::{SYNC, Served, named},
    };

    /// The whole answer to 26 for a store path, up to the end of the connection.
    async fn fetch(served: &mut Served, path: u8) -> Vec<u8> {
        let body = [&named("")[..], &[path]].concat();
        let head = [&(body.len() as u64).to_be_bytes()[..], &[26, 0]].concat();
        served.client.write_all(&[head, body].concat()).await.unwrap();
        let mut answer = Vec::new();
        served.client.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_is_here_is_told_with_the_length_behind_it() {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let plain = served.upload(b"plain").await.unwrap();
        let gone = served.upload(b"gone").await.unwrap();
        served.set_metadata(&gone, "a\u{2}b").await.unwrap();
        served.set_metadata(&plain, "a\u{2}b").await.unwrap();
        served.delete(&gone).await.unwrap();
        let appender = served.upload_as(23, b"appender").await.unwrap();
        served.edit(&appender, None, b" more").await.unwrap();
        let renamed = served.regenerate(&appender).await.unwrap();
        let path = |name: &str| Path::new("/base/data").join(&name[4..]);
        // As the reference leaves them: a link of each kind, and a line that is no record.
        let (link, lost) = (plain.replace(".bin", "_l.bin"), plain.replace(".bin", "_m.bin"));
        disk.make_link(&path(&plain), &path(&link)).unwrap();
        disk.make_link(Path::new("/elsewhere"), &path(&lost)).unwrap();
        served.close().await;
        let log = disk.open(&Path::new(SYNC).join("binlog.000"), Open::Write);
        let log = log.unwrap();
        let text = format!("7 l \n8 c {link}\n9 l {link} {plain}\n10 L {lost} {plain}\n");
        log.write_at(log.stat().unwrap().len, text.as_bytes()).unwrap();

        let mut served = Served::open(&disk);
        let answer = fetch(&mut served, 0).await;
        assert_eq!(answer[..10], [4, 0, 0, 0, 0, 0, 0, 0, 100, 0]);
        let (text, trailer) = answer[10..].split_at(answer.len() - 18);
        assert_eq!(trailer, (text.len() as u64).to_be_bytes());
        let text = String::from_utf8(text.to_vec()).unwrap();
        let told: Vec<_> =
            text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        assert_eq!(
            told,
            [
                format!("C {plain}"),
                format!("C {plain}-m"),
                format!("C {renamed}"),
                format!("l {link} {plain}"),
                format!("l {link} {plain}"),
            ]
        );
    }

    #[tokio::test]
    async fn a_store_path_that_is_not_there_is_refused() {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        for path in [1, 0xff] {
            let mut served = Served::open(&disk);
            let answer = fetch(&mut served, path).await;
            assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 0, 100, 22]);
        }
    }
}
