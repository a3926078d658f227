//! The client beside servers that fail and servers that are slow: where it turns to, and when it
//! gives up.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::ports::{Clock, Moment, UnixTime};

/// Longest wait of these tests for a silent server.
const SILENCE: Duration = Duration::from_millis(200);

/// A storage that answers every download with this, and everything else with nothing.
fn serving(content: &'static [u8]) -> Server {
    Server::start(move |mut conn, mut stop| async move {
        while let Ok(Some(header)) = conn.next_request(&mut stop).await {
            let body = conn.body(header.body_len, 1024).await.unwrap();
            let offset = u64::from_be_bytes(body[..8].try_into().unwrap());
            let rest = &content[usize::try_from(offset).unwrap()..];
            conn.answer(rest).await.unwrap();
        }
    })
}

fn refusing(status: Status) -> Server {
    Server::start(move |mut conn, mut stop| async move {
        while let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
            conn.refuse(status).await.unwrap();
        }
    })
}

/// Takes every request and never answers.
fn silent() -> Server {
    Server::start(|mut conn, mut stop| async move {
        while let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
        }
    })
}

/// Sends the beginning of what it announced, and leaves.
fn breaking(announced: u64, sent: &'static [u8]) -> Server {
    Server::start(move |mut conn, mut stop| async move {
        if let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
            let answer = proto::header::Header::answer(announced);
            conn.send_message(answer, sent).await.unwrap();
        }
    })
}

fn impatient(trackers: Vec<SocketAddr>) -> Client {
    let settings = PoolSettings { network_timeout: SILENCE, ..PoolSettings::default() };
    Client::new(world(), settings, trackers)
}

async fn read(client: &Client, file: &FileId) -> Result<Vec<u8>, ClientError> {
    let mut download = client.download(file, 0, 0).await?;
    let mut got = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        got.extend_from_slice(&chunk);
    }
    Ok(got)
}

#[tokio::test]
async fn a_read_moves_on_from_a_storage_that_cannot_serve_it() {
    let good = serving(b"content");
    let without = [refusing(Status::ENOENT), refusing(Status::EIO), silent()];
    for bad in without.iter().map(|server| server.at).chain([nowhere()]) {
        let tracker = Server::tracker_of(vec![bad, good.at]);
        assert_eq!(read(&impatient(vec![tracker.at]), &file()).await.unwrap(), b"content");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_wrong_everywhere() {
    let (bad, good) = (refusing(Status::EINVAL), serving(b"content"));
    let tracker = Server::tracker_of(vec![bad.at, good.at]);
    let error = read(&impatient(vec![tracker.at]), &file()).await.unwrap_err();
    assert_eq!((error.status(), good.connections()), (Status::EINVAL, 0));
}

#[tokio::test]
async fn where_nobody_has_it_the_first_failure_is_told() {
    let (first, second) = (refusing(Status::ENOENT), refusing(Status::EIO));
    let tracker = Server::tracker_of(vec![first.at, second.at]);
    let error = read(&impatient(vec![tracker.at]), &file()).await.unwrap_err();
    assert_eq!((error.status(), second.connections()), (Status::ENOENT, 1));
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_elsewhere_at_the_same_byte() {
    let (bad, good) = (breaking(10, b"0123"), serving(b"0123456789"));
    let tracker = Server::tracker_of(vec![bad.at, good.at]);
    assert_eq!(read(&impatient(vec![tracker.at]), &file()).await.unwrap(), b"0123456789");
    assert_eq!((bad.connections(), good.connections()), (1, 1));
}

#[tokio::test]
async fn a_download_does_not_go_on_with_a_file_of_another_length() {
    let (bad, other) = (breaking(10, b"0123"), serving(b"01234567"));
    let tracker = Server::tracker_of(vec![bad.at, other.at]);
    let error = read(&impatient(vec![tracker.at]), &file()).await.unwrap_err();
    assert_eq!(error.status(), Status::ECONNRESET);
}

#[tokio::test]
async fn an_appender_that_breaks_is_not_put_together_from_two_storages() {
    let (bad, good) = (breaking(10, b"0123"), serving(b"0123456789"));
    let tracker = Server::tracker_of(vec![bad.at, good.at]);
    let appender = FileId::parse("group1/M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042").unwrap();
    let error = read(&impatient(vec![tracker.at]), &appender).await.unwrap_err();
    assert_eq!((error.status(), good.connections()), (Status::ECONNRESET, 0));
}

#[tokio::test]
async fn a_silent_tracker_is_left_for_the_next_and_a_silent_storage_is_an_error() {
    let (slow, storage) = (silent(), silent());
    let tracker = Server::tracker(storage.at);
    let client = impatient(vec![slow.at, tracker.at]);
    let found = client.trackers().query_fetch(&file()).await.unwrap();
    assert_eq!(found.port, storage.at.port());
    assert_eq!(client.delete(&file()).await.unwrap_err().status(), Status::ETIMEDOUT);
    let mut content = Bytes::from_static(b"x");
    let stored = client.upload(None, Extension::NONE, 1, &mut content).await;
    assert_eq!(stored.unwrap_err().status(), Status::ETIMEDOUT);
    assert_eq!(storage.connections(), 2, "what was sent once is not sent again");
}

#[tokio::test]
async fn connections_to_one_address_are_bounded() {
    let server = serving(b"content");
    let settings = PoolSettings { connections_max: 2, ..PoolSettings::default() };
    let pool = Pool::new(world(), settings);
    let (one, two) = (pool.take(server.at).await.unwrap(), pool.take(server.at).await.unwrap());
    let waiting = tokio::spawn({
        let (pool, at) = (pool.clone(), server.at);
        async move { pool.take(at).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    one.keep();
    waiting.await.unwrap().unwrap();
    assert_eq!(server.connections(), 2, "the third got the one that was given back");
    drop(two);

    let settings = PoolSettings { connections_max: 1, connect_timeout: SILENCE, ..settings };
    let pool = Pool::new(world(), settings);
    let _held = pool.take(server.at).await.unwrap();
    let error = pool.take(server.at).await.unwrap_err();
    assert!(matches!(error, ClientError::Busy { connections: 1, .. }), "{error}");
    assert_eq!(error.status(), Status::EAGAIN);
}

/// A clock that a test moves.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn moment(&self) -> Moment {
        Moment(Duration::from_millis(self.0.load(Ordering::SeqCst)))
    }
}

#[tokio::test]
async fn an_idle_connection_has_its_time() {
    let server = serving(b"content");
    let clock = Arc::new(Hand(AtomicU64::new(0)));
    let world = World { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..world() };
    let settings = PoolSettings { idle_max: Duration::from_secs(60), ..PoolSettings::default() };
    let pool = Pool::new(world, settings);
    for (millis, connections) in [(0, 1), (59_000, 1), (59_000, 1), (60_001, 2)] {
        clock.0.fetch_add(millis, Ordering::SeqCst);
        pool.take(server.at).await.unwrap().keep();
        // Connecting is done before the server has taken note of it.
        while server.connections() < connections {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.connections(), connections, "after {millis} ms more");
    }
}
