//! The client against servers on loopback that answer as the test tells them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proto::address::IpWidth;
use proto::command::Command;
use proto::ids::StorePath;
use proto::storage::info::FileInfo;
use proto::tracker::query::{FetchTarget, StoreTarget};
use tokio::task::JoinHandle;

use super::*;
use crate::conn::{Conn, Limits};
use crate::ports::{Jobs, Net as _, OsRandom, SystemClock, TcpNet};
use crate::serve::{Admission, serve};
use crate::shutdown::{Stop, Stopper};

mod peers; // servers that fail, and slow ones

const LIMIT: Duration = Duration::from_secs(10);
const NAME: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";

fn world() -> World {
    World {
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(OsRandom),
        net: Arc::new(TcpNet),
        jobs: Jobs::Threads,
    }
}

/// A server whose answers the test decides.
struct Server {
    at: SocketAddr,
    connections: Arc<AtomicUsize>,
    _stop: Stopper,
    _task: JoinHandle<usize>,
}

impl Server {
    fn start<H, F>(handler: H) -> Self
    where
        H: Fn(Conn, Stop) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpNet.listen("127.0.0.1:0".parse().unwrap(), LIMIT).unwrap();
        let at = listener.local_addr().unwrap();
        let (hand, stop) = Stop::pair();
        let admission = Admission::open(100, Limits::new(LIMIT), Duration::ZERO);
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&connections);
        let counted = move |conn, stop| {
            seen.fetch_add(1, Ordering::SeqCst);
            handler(conn, stop)
        };
        let task = tokio::spawn(serve(listener, admission, world().clock, stop, counted));
        Self { at, connections, _stop: hand, _task: task }
    }

    /// A tracker that sends everybody to `storage`.
    fn tracker(storage: SocketAddr) -> Self {
        Self::tracker_of(vec![storage])
    }

    /// A tracker of several storages; who asks for one gets the first.
    fn tracker_of(storages: Vec<SocketAddr>) -> Self {
        Self::start(move |mut conn, mut stop| {
            let storages = storages.clone();
            async move {
                while let Ok(Some(header)) = conn.next_request(&mut stop).await {
                    conn.discard(header.body_len).await.unwrap();
                    let group = GroupName::parse("group1").unwrap();
                    let all =
                        storages.iter().map(|at| Endpoint { address: at.ip(), port: at.port() });
                    let count = if header.cmd == Command::QueryFetchAll as u8 { 64 } else { 1 };
                    let servers: Vec<Endpoint> = all.take(count).collect();
                    let mut out = Vec::new();
                    if header.cmd == Command::QueryStoreWithoutGroupOne as u8 {
                        StoreTarget { group, servers, path: StorePath(0) }
                            .encode(IpWidth::V4, &mut out);
                    } else {
                        FetchTarget { group, servers }.encode(IpWidth::V4, &mut out);
                    }
                    conn.answer(&out).await.unwrap();
                }
            }
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn client(trackers: Vec<SocketAddr>) -> Client {
    Client::new(world(), PoolSettings::default(), trackers)
}

fn file() -> FileId {
    FileId::parse(format!("group1/{NAME}")).unwrap()
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A storage that keeps the last upload and serves it again.
fn keeper() -> Server {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    Server::start(move |mut conn, mut stop| {
        let kept = Arc::clone(&kept);
        async move {
            while let Ok(Some(header)) = conn.next_request(&mut stop).await {
                if header.cmd == Command::UploadFile as u8 {
                    conn.body(15, 15).await.unwrap();
                    let size = header.body_len - 15;
                    let mut content = Vec::new();
                    while (content.len() as u64) < size {
                        let Ok(chunk) = conn.chunk(size - content.len() as u64).await else {
                            return;
                        };
                        content.extend_from_slice(&chunk);
                    }
                    *kept.lock().unwrap() = content;
                    let answer = [&b"group1\0\0\0\0\0\0\0\0\0\0"[..], NAME.as_bytes()].concat();
                    conn.answer(&answer).await.unwrap();
                } else {
                    conn.discard(header.body_len).await.unwrap();
                    let content = kept.lock().unwrap().clone();
                    conn.answer(&content).await.unwrap();
                }
            }
        }
    })
}

#[tokio::test]
async fn a_file_goes_out_and_comes_back_over_two_connections() {
    let storage = keeper();
    let tracker = Server::tracker(storage.at);
    let client = client(vec![tracker.at]);
    let content: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let mut reading = storage::Reading(&content[..]);
    let size = content.len() as u64;
    let id = client.upload(None, Extension::NONE, size, &mut reading).await.unwrap();
    assert_eq!(id, file());
    for _ in 0..3 {
        let mut download = client.download(&id, 0, 0).await.unwrap();
        assert_eq!(download.len(), size);
        let mut got = Vec::new();
        while let Some(chunk) = download.chunk().await.unwrap() {
            got.extend_from_slice(&chunk);
        }
        assert!(got == content);
    }
    assert_eq!((tracker.connections(), storage.connections()), (1, 1));
}

#[tokio::test]
async fn content_of_another_length_is_an_error_and_leaves_no_connection() {
    let storage = keeper();
    let tracker = Server::tracker(storage.at);
    let client = client(vec![tracker.at]);
    for announced in [4, 6] {
        let mut content = Bytes::from_static(b"hello");
        let outcome = client.upload(None, Extension::NONE, announced, &mut content).await;
        let wanted =
            matches!(outcome, Err(ClientError::Length { got: 5, want }) if want == announced);
        assert!(wanted, "{outcome:?}");
    }
    let mut content = Bytes::from_static(b"hello");
    client.upload(None, Extension::NONE, 5, &mut content).await.unwrap();
    assert_eq!(storage.connections(), 3);
}

#[tokio::test]
async fn a_refusal_before_the_end_of_the_content_is_heard() {
    /// More than any socket buffers, so that somebody has to read it.
    struct Endless;
    impl Content for Endless {
        fn next(&mut self) -> crate::ports::Fut<'_, io::Result<Option<Bytes>>> {
            Box::pin(async {
                tokio::task::yield_now().await;
                Ok(Some(Bytes::from_static(&[0; 4096])))
            })
        }
    }
    for (status, want) in [(Status::ENOSPC, Status::ENOSPC), (Status::OK, Status::EINVAL)] {
        let storage = Server::start(move |mut conn, mut stop| async move {
            while let Ok(Some(header)) = conn.next_request(&mut stop).await {
                conn.refuse(status).await.unwrap();
                let _ = conn.discard(header.body_len).await;
            }
        });
        let tracker = Server::tracker(storage.at);
        let client = client(vec![tracker.at]);
        let outcome = client.upload(None, Extension::NONE, 1 << 40, &mut Endless).await;
        assert_eq!(outcome.unwrap_err().status(), want, "a success in the middle is none");
    }
}

#[tokio::test]
async fn a_refusal_by_a_storage_that_closes_is_heard() {
    let storage = Server::start(|mut conn, mut stop| async move {
        if let Ok(Some(_)) = conn.next_request(&mut stop).await {
            conn.refuse(Status::EINVAL).await.unwrap();
        }
    });
    let tracker = Server::tracker(storage.at);
    let client = client(vec![tracker.at]);
    let content = vec![0; 3_000_000];
    let mut reading = storage::Reading(&content[..]);
    let outcome = client.upload(None, Extension::NONE, 3_000_000, &mut reading).await;
    assert!(matches!(outcome, Err(ClientError::Refused { status: Status::EINVAL, .. })));
}

#[tokio::test]
async fn the_next_tracker_is_asked_and_remembered() {
    let storage = keeper();
    let tracker = Server::tracker(storage.at);
    let client = client(vec![nowhere(), tracker.at]);
    for _ in 0..3 {
        let server = client.trackers().query_fetch(&file()).await.unwrap();
        assert_eq!(server.port, storage.at.port());
    }
    assert_eq!(tracker.connections(), 1);
}

#[tokio::test]
async fn what_a_tracker_says_tells_more_than_that_another_is_down() {
    let refusing = Server::start(|mut conn, mut stop| async move {
        while let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
            conn.refuse(Status::ENOENT).await.unwrap();
        }
    });
    for trackers in [vec![refusing.at, nowhere()], vec![nowhere(), refusing.at]] {
        let error = client(trackers).trackers().query_store(None).await.unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }
    let error = client(vec![nowhere()]).trackers().query_store(None).await.unwrap_err();
    assert_eq!(error.status(), Status::ECONNREFUSED);
    let error = client(vec![]).trackers().query_store(None).await.unwrap_err();
    assert!(matches!(error, ClientError::NoTracker));
}

#[tokio::test]
async fn an_idle_connection_that_died_is_replaced() {
    let once = Server::start(|mut conn, mut stop| async move {
        // Answers a single request and leaves.
        if let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
            conn.answer(b"a\x02b").await.unwrap();
        }
    });
    let tracker = Server::tracker(once.at);
    let client = client(vec![tracker.at]);
    for _ in 0..3 {
        assert_eq!(client.metadata(&file()).await.unwrap().pairs().len(), 1);
    }
    assert_eq!(once.connections(), 3);
}

#[tokio::test]
async fn a_change_that_was_not_answered_and_is_refused_when_repeated_may_have_happened() {
    let refuses = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&refuses);
    let storage = Server::start(move |mut conn, mut stop| {
        let told = Arc::clone(&told);
        async move {
            // The first request is answered, the second one not, and all others are refused.
            while let Ok(Some(header)) = conn.next_request(&mut stop).await {
                conn.discard(header.body_len).await.unwrap();
                match told.fetch_add(1, Ordering::Relaxed) {
                    0 => conn.answer(&[]).await.unwrap(),
                    1 => return,
                    _ => conn.refuse(Status::ENOSPC).await.unwrap(),
                }
            }
        }
    });
    let pool = client(vec![]).pool().clone();
    let set = || {
        let (pool, at, metadata) = (pool.clone(), storage.at, Metadata::default());
        let mode = SetMode::Overwrite;
        async move { storage::set_metadata(&pool, at, &file(), mode, &metadata).await }
    };
    set().await.unwrap();
    let error = set().await.unwrap_err();
    assert!(error.is_of_network(), "{error}");
    assert_eq!(refuses.load(Ordering::Relaxed), 3, "it was repeated");
    assert_eq!(set().await.unwrap_err().status(), Status::ENOSPC);
}

#[tokio::test]
async fn a_download_that_breaks_is_an_error_and_never_an_end() {
    let breaking = Server::start(|mut conn, mut stop| async move {
        if let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
            conn.send_message(proto::header::Header::answer(10), b"12345").await.unwrap();
        }
    });
    let tracker = Server::tracker(breaking.at);
    let mut download = client(vec![tracker.at]).download(&file(), 0, 0).await.unwrap();
    let mut got = 0;
    let error = loop {
        match download.chunk().await {
            Ok(chunk) => got += chunk.expect("the end was not reached").len(),
            Err(error) => break error,
        }
    };
    assert_eq!((got, error.status()), (5, Status::ECONNRESET));
}

/// A storage that refuses downloads as the reference refuses those of empty files, and says that
/// the file has this size.
fn refusing(size: u64) -> Server {
    Server::start(move |mut conn, mut stop| async move {
        while let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
            if header.cmd == Command::DownloadFile as u8 {
                conn.refuse(Status::EINVAL).await.unwrap();
                continue;
            }
            let source = "127.0.0.1".to_owned();
            let info = FileInfo { size, mtime: 1_700_000_000, crc32: 0, source };
            let mut out = Vec::new();
            info.encode(IpWidth::V4.with_terminator(), &mut out);
            conn.answer(&out).await.unwrap();
        }
    })
}

#[tokio::test]
async fn an_empty_file_is_no_bytes_and_no_error() {
    let (empty, other) = (refusing(0), refusing(1));
    let tracker = Server::tracker(empty.at);
    let mut download = client(vec![tracker.at]).download(&file(), 0, 0).await.unwrap();
    assert_eq!((download.len(), download.chunk().await.unwrap()), (0, None));
    // A part of it is still asked for in vain, and so is a file that is not empty.
    for (at, offset) in [(&empty, 1), (&other, 0)] {
        let tracker = Server::tracker(at.at);
        let error = client(vec![tracker.at]).download(&file(), offset, 0).await.unwrap_err();
        assert_eq!(error.status(), Status::EINVAL);
    }
}
