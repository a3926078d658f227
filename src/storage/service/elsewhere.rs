//! A file that is not here may be at another member: it is fetched there while the client waits.
//!
//! A tracker decides by times who has a file, and may be wrong: a file that was just uploaded, or
//! whose store path was replaced, must not be called missing while a member that has it can be
//! reached. Asks members in service one after the other, those that were silent lately only now and
//! then; what was deleted here is not asked for, and a question that came from a member is not
//! passed on.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use net::{
    client::{ClientError, storage},
    ports::Moment,
};
use proto::{
    command::Command,
    fileid::{FileId, FileName},
    header::Header,
    status::Status,
    storage::{
        PASSED_ON,
        info::{FileInfo, InfoFlags},
    },
};
use tokio::task::JoinSet;

use super::{Answer, content::Content, error::ServiceError};
use crate::store::Store;

/// So long a member has to begin its answer to a client's question that was passed on: the
/// client waits for it, and another member may have the file.
const BEGIN_TIME: Duration = Duration::from_secs(3);
/// For a member that does not answer nobody waits longer.
const ASK_TIME: Duration = Duration::from_millis(300);
/// Longest answer to 15 and 22.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Whether a request that found nothing here is to be asked of the others.
pub(super) fn may_be(header: Header, error: &ServiceError) -> bool {
    let command = Command::try_from(header.cmd);
    let reads = matches!(
        command,
        Ok(Command::DownloadFile | Command::GetMetadata | Command::QueryFileInfo)
    );
    // Flags in 22 are of a storage that wants to know what lies here, before it sends a file.
    let asks_us = header.status.0 & PASSED_ON != 0
        || (command == Ok(Command::QueryFileInfo) && header.status != Status::OK);
    reads && !asks_us && matches!(error, ServiceError::NotFound("file"))
}

/// The name and the range in a request that was understood before.
fn wanted(store: &Store, command: Command, body: &[u8]) -> Option<(FileName, u64, u64)> {
    let (name, offset, bytes) = if command == Command::DownloadFile {
        let request = proto::storage::download::Download::decode(body).ok()?;
        (request.name, request.offset, request.bytes)
    } else {
        (proto::storage::delete::FileName::decode(body).ok()?.name, 0, 0)
    };
    Some((FileName::parse(name, store.places.count()).ok()?, offset, bytes))
}

/// Asks the other members; `None` when none of them has it.
pub(super) async fn ask(
    store: &Arc<Store>,
    header: Header,
    body: &[u8],
    content: &mut Content<'_>,
) -> Result<Option<Answer>, ServiceError> {
    let Ok(command) = Command::try_from(header.cmd) else { return Ok(None) };
    let Some((name, offset, bytes)) = wanted(store, command, body) else { return Ok(None) };
    if store.is_buried(&name, 0) {
        return Ok(None);
    }
    let file = FileId { group: store.facts.group, name };
    for member in store.progress.members() {
        let asked = store.clock.moment();
        if !store.progress.may_ask(member, asked) {
            continue;
        }
        let begun = async {
            if command == Command::DownloadFile {
                let (pool, range, flags) = (&store.pool, (offset, bytes), Status(PASSED_ON));
                let begun = storage::download_flagged(pool, member, &file, range, flags).await;
                return begun.map(|download| Begun::Download(Box::new(download)));
            }
            let status = Status(header.status.0 | PASSED_ON);
            let request = Header { status, body_len: body.len() as u64, ..header };
            let answer = store.pool.ask(member, request, body, ANSWER_BYTES_MAX).await;
            answer.map(|found| Begun::Whole(found.to_vec()))
        };
        let Ok(begun) = tokio::time::timeout(BEGIN_TIME, begun).await else {
            log::debug!("ask {member} for {}: no answer in {BEGIN_TIME:?}", file.name);
            store.progress.late(member, asked, store.clock.moment());
            continue;
        };
        heard(store, member, asked, &begun);
        let outcome = match begun {
            Ok(Begun::Whole(answer)) => Ok(Answer::Found(answer)),
            Ok(Begun::Download(download)) => relay(content, member, download).await.map(Ok)?,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(answer) => {
                log::debug!("{} is not here, {member} has it", file.name);
                return Ok(Some(answer));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => log::debug!("ask {member} for {}: {error}", file.name),
        }
    }
    Ok(None)
}

/// Whether a member is there, as far as what came of a question shows it.
fn heard<T>(store: &Store, member: SocketAddr, asked: Moment, begun: &Result<T, ClientError>) {
    match begun {
        Ok(_) | Err(ClientError::Refused { .. }) => store.progress.is_here(member),
        // One that is switched off: connecting to it ends earlier than our patience.
        Err(ClientError::Conn { source, .. }) if source.status() == Status::ETIMEDOUT => {
            store.progress.late(member, asked, store.clock.moment());
        }
        // What fails here, or at once, says nothing of its silence.
        Err(_) => {}
    }
}

/// When the members in service changed these metadata last, as far as they say so in time. A
/// member that was away does not know yet what the others were told meanwhile; what it is told
/// now must be later than that, and times have no more than whole seconds.
pub(super) async fn changed_at(store: &Arc<Store>, metadata: &FileName) -> Option<u32> {
    let mut body = Vec::new();
    let group = store.facts.group;
    proto::storage::delete::FileName { group, name: metadata.as_str() }.encode(&mut body);
    let command = Command::QueryFileInfo as u8;
    let status = Status(InfoFlags::PROBE.0);
    let request = Header { body_len: body.len() as u64, cmd: command, status };
    let mut asked = JoinSet::new();
    for member in store.progress.active_members() {
        let (store, body) = (Arc::clone(store), body.clone());
        let asking = async move {
            let answer = store.pool.ask(member, request, &body, ANSWER_BYTES_MAX).await;
            let found = FileInfo::decode(&answer.ok()?).ok()?;
            u32::try_from(found.mtime).ok()
        };
        asked.spawn(tokio::time::timeout(ASK_TIME, asking));
    }
    let answers = asked.join_all().await;
    answers.into_iter().filter_map(|answer| answer.ok().flatten()).max()
}

/// What a member has begun to answer.
enum Begun {
    Download(Box<storage::Download>),
    Whole(Vec<u8>),
}

/// Passes a download on, piece by piece. Once the header is out an error ends the connection.
async fn relay(
    content: &mut Content<'_>,
    member: SocketAddr,
    mut download: Box<storage::Download>,
) -> Result<Answer, ServiceError> {
    let conn = content.conn();
    conn.send_message(Header::answer(download.len()), &[]).await?;
    loop {
        match download.chunk().await {
            Ok(Some(piece)) => conn.send(&piece).await?,
            Ok(None) => return Ok(Answer::Sent),
            Err(error) => {
                log::warn!("a download passed on from {member} ends early: {error}");
                return Err(net::conn::ConnError::CutOff.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, net::IpAddr, sync::Arc};

    use net::{
        client::pool::PoolSettings,
        ports::{Fut, Listener, Net, Stream},
    };

    use super::*;
    use crate::{
        disk::simulated::SimulatedDisk,
        service::served::{SYNC, Served, named},
    };

    /// A network in which nobody answers: as that of a machine that is switched off.
    struct Nobody;

    impl Net for Nobody {
        fn connect(&self, _: SocketAddr, _: Option<IpAddr>) -> Fut<'_, io::Result<Stream>> {
            Box::pin(std::future::pending())
        }

        fn listen(&self, _: SocketAddr, _: Duration) -> io::Result<Box<dyn Listener>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// The first rest of a member is longer than this by far.
    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_member_that_is_switched_off_is_left_alone() {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let member: SocketAddr = "10.0.0.2:23000".parse().unwrap();
        let settings = PoolSettings { connect_timeout: SOON, ..PoolSettings::default() };
        let mut served = Served::open_in(&disk, Arc::new(Nobody), settings);
        served.store.progress.set_members(Vec::new(), vec![member]);
        let before = served.store.clock.moment();
        assert_eq!(served.ask(14, &[&[0; 16][..], &named(NAME)].concat()).await.0, 2);
        assert!(!served.store.progress.may_ask(member, before));
        served.close().await;
    }

    #[tokio::test]
    async fn only_an_answer_shows_that_a_member_is_there() {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let served = Served::open(&disk);
        let (progress, asked) = (&served.store.progress, served.store.clock.moment());
        let server: SocketAddr = "10.0.0.2:23000".parse().unwrap();
        let busy = Err::<(), _>(ClientError::Busy { server, connections: 1 });
        heard(&served.store, server, asked, &busy);
        assert!(progress.may_ask(server, asked), "our own limit is not its silence");
        progress.late(server, asked, asked);
        heard(&served.store, server, asked, &busy);
        assert!(!progress.may_ask(server, asked), "nor its answer");
        let refused = Err::<(), _>(ClientError::Refused { server, status: Status::ENOENT });
        heard(&served.store, server, asked, &refused);
        assert!(progress.may_ask(server, asked));
        served.close().await;
    }

    const NAME: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";

    /// Asks for what is not here while the one other member says nothing.
    async fn ask_with_a_silent_member(command: u8, body: &[u8]) {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let mut served = Served::open(&disk);
        let store = std::sync::Arc::clone(&served.store);
        // Connects, since the kernel does that, and hears nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let member = silent.local_addr().unwrap();
        store.progress.set_members(Vec::new(), vec![member]);
        let before = store.clock.moment();
        assert!(store.progress.may_ask(member, before));
        assert_eq!(served.ask(command, body).await.0, 2);
        assert!(!store.progress.may_ask(member, before), "nobody else waits for it");
        drop(store);
        served.close().await;
    }

    #[tokio::test]
    async fn a_download_waits_once_for_a_silent_member() {
        ask_with_a_silent_member(14, &[&[0; 16][..], &named(NAME)].concat()).await;
    }

    #[tokio::test]
    async fn a_question_waits_once_for_a_silent_member() {
        ask_with_a_silent_member(22, &named(NAME)).await;
    }
}
