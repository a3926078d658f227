//! Connections over an in-memory pipe with a paused clock: framing, limits, time-outs.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::DuplexStream;

use super::*;
use crate::ports::{Moment, SystemClock, UnixTime};

const LIMIT: Duration = Duration::from_secs(10);

/// A clock that follows tokio's paused one.
struct PausedClock;

impl Clock for PausedClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(0)
    }

    #[expect(clippy::disallowed_methods, reason = "this is a Clock port")]
    fn moment(&self) -> Moment {
        static START: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
        let start = *START.get_or_init(tokio::time::Instant::now);
        Moment(tokio::time::Instant::now().saturating_duration_since(start))
    }
}

/// A connection and its other end.
fn pipe(size: usize) -> (Conn, DuplexStream) {
    let (near, far) = tokio::io::duplex(size);
    let peer = "127.0.0.1:1".parse().unwrap();
    (Conn::new(Box::new(near), peer, Arc::new(PausedClock), Limits::new(LIMIT)), far)
}

fn request(cmd: Command, body: &[u8]) -> Vec<u8> {
    [&Header::request(cmd, body.len() as u64).to_bytes()[..], body].concat()
}

#[tokio::test(start_paused = true)]
async fn requests_in_one_segment_are_read_one_after_the_other() {
    let (mut conn, mut far) = pipe(1024);
    let (_hand, mut stop) = Stop::pair();
    let all = [
        request(Command::DeleteFile, b"body of one"),
        request(Command::ActiveTest, b""),
        request(Command::Quit, b""),
    ];
    far.write_all(&all.concat()).await.unwrap();
    let header = conn.next_request(&mut stop).await.unwrap().unwrap();
    assert_eq!((header.cmd, header.body_len), (12, 11));
    assert_eq!(conn.body(11, 100).await.unwrap(), "body of one");
    let header = conn.next_request(&mut stop).await.unwrap().unwrap();
    assert_eq!(header.cmd, 111);
    assert!(conn.next_request(&mut stop).await.unwrap().is_none(), "quit ends it");
}

#[tokio::test(start_paused = true)]
async fn lengths_are_refused_before_anything_is_read() {
    let (mut conn, _far) = pipe(64);
    for (len, max, legal) in [(0, 0, true), (5, 4, false), (u64::MAX, usize::MAX, false)] {
        let outcome = conn.body(len, max).await;
        assert_eq!(outcome.is_ok(), legal, "{len} of {max}");
        assert!(legal || matches!(outcome, Err(ConnError::TooLong { .. })));
        assert_eq!(conn.inbox.capacity(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn content_comes_in_pieces_and_stops_at_its_end() {
    let (mut conn, mut far) = pipe(64 * 1024);
    let content: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = content.clone();
    let writer = tokio::spawn(async move {
        far.write_all(&sent).await.unwrap();
        far.write_all(&request(Command::ActiveTest, b"")).await.unwrap();
        far
    });
    let mut got = Vec::new();
    while got.len() < content.len() {
        let chunk = conn.chunk((content.len() - got.len()) as u64).await.unwrap();
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK_BYTES_MAX);
        got.extend_from_slice(&chunk);
    }
    assert_eq!(got, content);
    assert_eq!(conn.header().await.unwrap().cmd, 111);
    writer.await.unwrap();
    conn.become_idle();
    assert_eq!(conn.inbox.capacity(), 0, "an idle connection holds nothing");
}

#[tokio::test(start_paused = true)]
async fn unread_content_can_be_discarded() {
    let (mut conn, mut far) = pipe(1024);
    far.write_all(&[&[7; 700][..], &request(Command::ActiveTest, b"")].concat()).await.unwrap();
    conn.discard(700).await.unwrap();
    assert_eq!(conn.header().await.unwrap().cmd, 111);
}

#[tokio::test(start_paused = true)]
async fn a_silent_newcomer_is_closed_and_a_served_peer_may_idle() {
    let (mut conn, mut far) = pipe(64);
    let (hand, mut stop) = Stop::pair();
    assert!(matches!(conn.next_request(&mut stop).await, Err(ConnError::Stalled(_))));
    far.write_all(&request(Command::ActiveTest, b"")).await.unwrap();
    assert!(conn.next_request(&mut stop).await.unwrap().is_some());
    let idle = timeout(LIMIT * 1000, conn.next_request(&mut stop)).await;
    assert!(idle.is_err(), "still waiting");
    hand.raise();
    assert!(conn.next_request(&mut stop).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_header_that_trickles_is_not_waited_for() {
    let (mut conn, mut far) = pipe(64);
    let trickle = tokio::spawn(async move {
        for byte in request(Command::ActiveTest, b"") {
            if far.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(LIMIT / 4).await;
        }
    });
    assert!(matches!(conn.header().await, Err(ConnError::Stalled(_))));
    trickle.abort();
}

#[tokio::test(start_paused = true)]
async fn content_that_trickles_is_cut_although_it_is_never_silent() {
    let (mut conn, mut far) = pipe(64);
    let trickle = tokio::spawn(async move {
        while far.write_all(b"x").await.is_ok() {
            tokio::time::sleep(LIMIT / 4).await;
        }
    });
    let mut left = 1000;
    let error = loop {
        match conn.chunk(left).await {
            Ok(chunk) => left -= chunk.len() as u64,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ConnError::Stalled(_)), "{error}");
    assert!(left > 900, "it was cut early");
    trickle.abort();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_closed() {
    let (mut conn, _far) = pipe(64);
    let error = conn.answer(&[0; 4096]).await.unwrap_err();
    assert!(matches!(error, ConnError::Stalled(_)));
    assert_eq!(error.status(), Status::ETIMEDOUT);
}

#[tokio::test(start_paused = true)]
async fn leaving_between_messages_is_not_being_cut_off() {
    for (sent, between) in [(0, true), (3, false), (12, false)] {
        let (mut conn, mut far) = pipe(64);
        let (_hand, mut stop) = Stop::pair();
        far.write_all(&request(Command::DeleteFile, b"abcd")[..sent]).await.unwrap();
        drop(far);
        let outcome = match conn.next_request(&mut stop).await {
            Ok(Some(header)) => conn.body(header.body_len, 100).await.map(|_| false),
            Ok(None) => Ok(true),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(quietly) => assert!(quietly && between, "{sent}"),
            Err(error) => assert!(matches!(error, ConnError::CutOff) && !between, "{sent}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_negative_length_ends_the_connection() {
    let (mut conn, mut far) = pipe(64);
    far.write_all(&[0xff, 0, 0, 0, 0, 0, 0, 0, 11, 0]).await.unwrap();
    assert!(matches!(conn.header().await, Err(ConnError::Malformed(_))));
}

#[tokio::test]
async fn an_answer_is_one_write() {
    struct Counting(DuplexStream, Arc<AtomicU64>);
    impl tokio::io::AsyncRead for Counting {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }
    impl tokio::io::AsyncWrite for Counting {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            std::pin::Pin::new(&mut self.0).poll_write(cx, bytes)
        }
        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_shutdown(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }
    impl crate::ports::Duplex for Counting {}
    let writes = Arc::new(AtomicU64::new(0));
    let (near, mut far) = tokio::io::duplex(1024);
    let stream = Box::new(Counting(near, Arc::clone(&writes)));
    let peer = "127.0.0.1:1".parse().unwrap();
    let mut conn = Conn::new(stream, peer, Arc::new(SystemClock::new()), Limits::new(LIMIT));
    conn.answer(b"hello").await.unwrap();
    let mut bytes = [0; 15];
    far.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"\0\0\0\0\0\0\0\x05\x64\0hello");
    assert_eq!(writes.load(Ordering::Relaxed), 1);
}
