//! The FastCGI layer over real sockets: what a web server sees of a worker.
//!
//! `client` is the web server, `worker` the handler behind the layer. Everything that waits has
//! a deadline, and nothing sleeps: where silence itself is tested the clock is the runtime's
//! paused one and the socket a pipe in memory.

mod client;
mod worker;

use std::time::Duration;

use client::{Client, record, request};
use net::shutdown::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use worker::{Transport, Worker};

use super::*;

const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Unix];

#[tokio::test]
async fn one_connection_carries_many_requests() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut client = worker.connect().await;
        for round in 0..50u16 {
            let body = format!("body {round}");
            client.send(&request(1, true, "POST", "/echo", &[], Some(body.as_bytes()))).await;
            let answer = client.answer(1).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.body, body.as_bytes());
            assert_eq!(answer.ended, (0, 0));
        }
        client.send(&request(1, false, "GET", "/echo", &[], None)).await;
        assert_eq!(client.answer(1).await.status(), 200);
        assert!(client.is_closed().await, "a request without keep-alive ends its connection");
        assert_eq!(worker.stop().await, 0);
    }
}

#[tokio::test]
async fn a_small_answer_is_one_record_with_the_end_behind_it() {
    let worker = Worker::start(Transport::Unix, Limits::default()).await;
    let mut client = worker.connect().await;
    client.send(&request(7, true, "GET", "/api/test/health", &[], None)).await;
    let head = "Status: 200\r\ncontent-type: application/json; charset=utf-8\r\n\
                content-length: 15\r\n\r\n{\"status\":\"ok\"}";
    let want = [
        record(6, 7, head.as_bytes(), (8 - head.len() % 8) % 8),
        record(6, 7, b"", 0),
        record(3, 7, &[0; 8], 0),
    ]
    .concat();
    assert_eq!(client.exactly(want.len()).await, want);
}

#[tokio::test]
async fn the_health_of_a_worker_needs_no_handler() {
    let worker = Worker::start(Transport::Tcp, Limits::default()).await;
    let mut client = worker.connect().await;
    for (method, path, status, body) in [
        ("GET", "/api/test/health", 200, &br#"{"status":"ok"}"#[..]),
        ("GET", "/api/test/health?x=1", 200, br#"{"status":"ok"}"#),
        ("HEAD", "/api/test/health", 200, b""),
        ("POST", "/api/test/health", 404, b""),
        ("GET", "/api/other/health", 404, b""),
    ] {
        client.send(&request(1, true, method, path, &[], None)).await;
        let answer = client.answer(1).await;
        assert_eq!((answer.status(), &answer.body[..]), (status, body), "{method} {path}");
    }
}

#[tokio::test]
async fn requests_interleave_on_one_connection() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut client = worker.connect().await;
        let (one, two) = (
            request(1, true, "POST", "/wait", &[], Some(b"first")),
            request(2, true, "POST", "/echo", &[], Some(b"second")),
        );
        // Cut in the middle of the other's records would be wrong; between them is allowed.
        let (one, two) = (client::records(&one), client::records(&two));
        for index in 0..one.len().max(two.len()) {
            for list in [&one, &two] {
                client.send(list.get(index).map_or(&[][..], Vec::as_slice)).await;
            }
        }
        assert_eq!(client.answer(2).await.body, b"second", "it does not wait for the first");
        worker.open_gate();
        assert_eq!(client.answer(1).await.body, b"first");
    }
}

#[tokio::test]
async fn records_may_arrive_byte_by_byte() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut client = worker.connect().await;
        let bytes = request(300, true, "POST", "/echo?a=b", &[("HTTP_X", "y")], Some(b"hello"));
        for byte in bytes {
            client.send(&[byte]).await;
        }
        assert_eq!(client.answer(300).await.body, b"hello");
    }
}

#[tokio::test]
async fn an_abort_reaches_the_body_and_spares_the_connection() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut client = worker.connect().await;
        let whole = request(1, true, "POST", "/body", &[("CONTENT_LENGTH", "10")], Some(b"part"));
        client.send(&client::without_last_record(&whole)).await;
        client.send(&record(2, 1, b"", 0)).await;
        let answer = client.answer(1).await;
        assert_eq!((answer.ended, answer.head.is_empty()), ((0, 0), true));
        assert_eq!(worker.seen().await, "4 bytes, then the request was aborted");
        // The number is free again at once.
        client.send(&request(1, true, "POST", "/echo", &[], Some(b"next"))).await;
        assert_eq!(client.answer(1).await.body, b"next");
    }
}

#[tokio::test]
async fn a_closed_socket_reaches_the_body() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut client = worker.connect().await;
        let whole = request(1, true, "POST", "/body", &[], Some(b"part"));
        client.send(&client::without_last_record(&whole)).await;
        drop(client);
        assert_eq!(worker.seen().await, "4 bytes, then the request was aborted");
    }
}

#[tokio::test]
async fn aborted_requests_count_until_their_handlers_end() {
    let limits = Limits { requests_per_connection_max: 2, ..Limits::default() };
    let worker = Worker::start(Transport::Unix, limits).await;
    let mut client = worker.connect().await;
    for id in [1, 2] {
        client.send(&request(id, true, "POST", "/wait", &[], Some(b""))).await;
        client.send(&record(2, id, b"", 0)).await;
        assert_eq!(client.answer(id).await.ended, (0, 0));
    }
    client.send(&request(3, true, "GET", "/echo", &[], None)).await;
    assert_eq!(client.answer(3).await.ended, (0, 2), "overloaded");
    worker.open_gate();
    worker.open_gate();
    client.until_answered(4, "/echo").await;
}

#[tokio::test]
async fn what_is_too_much_is_refused_with_its_status() {
    for (max, status) in [(1, 1u8), (2, 2)] {
        let limits = Limits { requests_per_connection_max: max, ..Limits::default() };
        let worker = Worker::start(Transport::Unix, limits).await;
        let mut client = worker.connect().await;
        for id in 1..=u16::try_from(max).unwrap() {
            client.send(&request(id, true, "GET", "/wait", &[], None)).await;
        }
        client.send(&request(9, true, "GET", "/echo", &[], None)).await;
        assert_eq!(client.answer(9).await.ended, (0, status));
    }
    let limits = Limits { requests_max: 1, ..Limits::default() };
    let worker = Worker::start(Transport::Unix, limits).await;
    let (mut one, mut two) = (worker.connect().await, worker.connect().await);
    one.send(&request(1, true, "GET", "/wait", &[], None)).await;
    one.send(&request(2, true, "GET", "/echo", &[], None)).await;
    assert_eq!(one.answer(2).await.ended, (0, 2), "a limit of the worker, on one connection");
    two.send(&request(1, true, "GET", "/echo", &[], None)).await;
    assert_eq!(two.answer(1).await.ended, (0, 2), "and over all");
    worker.open_gate();
    assert_eq!(one.answer(1).await.status(), 200);
    two.send(&request(1, true, "GET", "/echo", &[], None)).await;
    assert_eq!(two.answer(1).await.status(), 200);
}

#[tokio::test]
async fn management_records_are_answered() {
    let worker = Worker::start(Transport::Tcp, Limits::default()).await;
    let mut client = worker.connect().await;
    let names = b"\x0e\x00FCGI_MAX_CONNS\x0d\x00FCGI_MAX_REQS\x0f\x00FCGI_MPXS_CONNS\x01\x00X";
    client.send(&record(9, 0, names, 3)).await;
    let (kind, id, content) = client.record().await;
    assert_eq!((kind, id), (10, 0));
    let want = b"\x0e\x04FCGI_MAX_CONNS4096\x0d\x04FCGI_MAX_REQS4096\x0f\x01FCGI_MPXS_CONNS1";
    assert_eq!(content, want);
    client.send(&record(42, 0, b"what?", 3)).await;
    assert_eq!(client.record().await, (11, 0, vec![42, 0, 0, 0, 0, 0, 0, 0]));
}

#[tokio::test]
async fn other_roles_are_refused() {
    let worker = Worker::start(Transport::Unix, Limits::default()).await;
    let mut client = worker.connect().await;
    for role in [0, 2, 3, 255] {
        client.send(&record(1, 5, &[0, role, 1, 0, 0, 0, 0, 0], 0)).await;
        assert_eq!(client.answer(5).await.ended, (0, 3));
    }
    client.send(&record(1, 5, &[0, 2, 0, 0, 0, 0, 0, 0], 0)).await;
    assert_eq!(client.answer(5).await.ended, (0, 3));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn parameters_may_hold_any_bytes() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut client = worker.connect().await;
        let pairs: [(&[u8], &[u8]); 3] = [
            (b"REQUEST_METHOD", b"GET"),
            (b"REQUEST_URI", b"/header"),
            (b"HTTP_X_RAW", b"\xff\xfe\x00 \xc3\x28"),
        ];
        client.send(&client::request_of_bytes(1, true, &pairs, Some(b""))).await;
        assert_eq!(client.answer(1).await.body, b"\xff\xfe\x00 \xc3\x28");
    }
}

#[tokio::test]
async fn requests_that_cannot_be_understood_are_answered() {
    let worker = Worker::start(Transport::Tcp, Limits::default()).await;
    let mut client = worker.connect().await;
    let long = "v".repeat(60_000);
    for (target, variables, status, code) in [
        ("/a/../b", vec![], 400, "bad_request"),
        ("/%ff", vec![], 400, "bad_request"),
        ("", vec![], 400, "bad_request"),
        ("/echo", vec![("CONTENT_LENGTH", "-1")], 400, "bad_request"),
        ("/echo", vec![("CONTENT_LENGTH", "99999999999999999999")], 400, "bad_request"),
        ("/echo", vec![("A", &long[..]), ("B", &long)], 431, "headers_too_large"),
    ] {
        client.send(&request(1, true, "GET", target, &variables, None)).await;
        let answer = client.answer(1).await;
        assert_eq!(answer.status(), status, "{target}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], code);
    }
}

#[tokio::test]
async fn a_body_has_the_announced_length_or_an_error() {
    let worker = Worker::start(Transport::Unix, Limits::default()).await;
    let mut client = worker.connect().await;
    for (length, want) in [
        ("", "5 bytes, then the end"),
        ("5", "5 bytes, then the end"),
        ("6", "5 bytes, then the body ended after 5 of 6 bytes"),
        ("4", "0 bytes, then the body is longer than the announced 4 bytes"),
    ] {
        let variables = [("CONTENT_LENGTH", length)];
        client.send(&request(1, true, "POST", "/body", &variables, Some(b"12345"))).await;
        assert_eq!(client.answer(1).await.status(), 200);
        assert_eq!(worker.seen().await, want);
    }
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut client = worker.connect().await;
        let body: Vec<u8> = (0..5_000_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        let (mut reading, mut writing) = client.split();
        let bytes = request(1, true, "POST", "/echo", &[], Some(&body));
        let (_, answer) = tokio::join!(writing.send(&bytes), reading.answer(1));
        assert_eq!(answer.status(), 200);
        assert!(answer.body == body);
        let bytes = request(2, true, "GET", "/stream/500", &[], None);
        let (_, answer) = tokio::join!(writing.send(&bytes), reading.answer(2));
        assert_eq!(answer.body.len(), 500 * worker::STREAM_CHUNK_BYTES);
    }
}

#[tokio::test]
async fn an_early_answer_leaves_the_connection_usable() {
    let worker = Worker::start(Transport::Tcp, Limits::default()).await;
    let mut client = worker.connect().await;
    let whole = request(1, true, "POST", "/early", &[], Some(&vec![b'x'; 300_000]));
    let (head, tail) = whole.split_at(100_000);
    client.send(head).await;
    assert_eq!(client.answer(1).await.status(), 413);
    client.send(tail).await;
    client.send(&request(2, true, "POST", "/echo", &[], Some(b"next"))).await;
    assert_eq!(client.answer(2).await.body, b"next");
    // Without keep-alive our side ends first, and what still comes is read and dropped.
    let whole = request(3, false, "POST", "/early", &[], Some(&vec![b'x'; 3_000_000]));
    let (mut reading, mut writing) = client.split();
    let whole = client::records(&whole);
    let (head, tail) = whole.split_at(4);
    writing.send(&head.concat()).await;
    assert_eq!(reading.answer(3).await.status(), 413);
    writing.send(&tail.concat()).await;
    assert!(reading.is_closed().await);
}

#[tokio::test]
async fn a_response_that_breaks_never_looks_complete() {
    let worker = Worker::start(Transport::Unix, Limits::default()).await;
    let mut client = worker.connect().await;
    client.send(&request(1, true, "GET", "/broken", &[], None)).await;
    let rest = client.rest().await;
    assert!(client::records(&rest).iter().all(|record| record[1] != 3), "no END_REQUEST");
}

#[tokio::test]
async fn bytes_that_are_not_fastcgi_close_their_connection_only() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let mut good = worker.connect().await;
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1; 64], &record(5, 0, b"x", 0)] {
            let mut bad = worker.connect().await;
            bad.send(bytes).await;
            assert!(bad.is_closed().await);
        }
        good.send(&request(1, true, "GET", "/echo", &[], None)).await;
        assert_eq!(good.answer(1).await.status(), 200);
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let worker = Worker::start(Transport::Unix, limits).await;
    let mut first = worker.connect().await;
    first.send(&request(1, true, "GET", "/echo", &[], None)).await;
    assert_eq!(first.answer(1).await.status(), 200);
    let mut second = worker.connect().await;
    second.send(&request(1, true, "GET", "/echo", &[], None)).await;
    first.send(&request(2, true, "GET", "/echo", &[], None)).await;
    assert_eq!(first.answer(2).await.status(), 200);
    assert!(second.has_nothing(), "the kernel holds it");
    drop(first);
    assert_eq!(second.answer(1).await.status(), 200);
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    for transport in BOTH {
        let worker = Worker::start(transport, Limits::default()).await;
        let (mut busy, mut idle) = (worker.connect().await, worker.connect().await);
        idle.send(&request(1, true, "GET", "/echo", &[], None)).await;
        assert_eq!(idle.answer(1).await.status(), 200);
        let whole = request(1, true, "POST", "/echo", &[], Some(b"slow"));
        let last = client::records(&whole).pop().unwrap();
        busy.send(&client::without_last_record(&whole)).await;
        worker.until_requests(2).await;
        worker.raise();
        assert!(idle.is_closed().await, "nothing is owed to it");
        worker.until_nobody_listens().await;
        busy.send(&last).await;
        assert_eq!(busy.answer(1).await.body, b"slow");
        assert!(busy.is_closed().await);
        assert_eq!(worker.stop().await, 0);
    }
}

#[tokio::test]
async fn the_grace_period_has_an_end() {
    let limits = Limits { grace: Duration::from_millis(20), ..Limits::default() };
    let worker = Worker::start(Transport::Unix, limits).await;
    let mut client = worker.connect().await;
    client.send(&request(1, true, "GET", "/never", &[], None)).await;
    worker.until_requests(1).await;
    assert_eq!(worker.stop().await, 1);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_handler_may_be_anywhere_when_its_connection_goes() {
    // The handler is told through the body, runs to its end, and its permit comes back.
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let worker = Worker::start(Transport::Unix, limits).await;
    let mut first = worker.connect().await;
    first.send(&request(1, true, "GET", "/wait", &[], None)).await;
    worker.until_requests(1).await;
    first.send(b"nonsense").await;
    assert!(first.is_closed().await);
    worker.open_gate();
    let mut second = worker.connect().await;
    second.send(&request(1, true, "GET", "/echo", &[], None)).await;
    assert_eq!(second.answer(1).await.status(), 200);
}

/// A connection over a pipe in memory, with the number of bytes taken from it.
fn piped(limits: Limits, pipe_bytes: usize) -> (Client, worker::Piped) {
    worker::pipe(limits, pipe_bytes)
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_read_stops_the_socket() {
    let limits = Limits { body_buffer_bytes: 50_000, ..Limits::default() };
    let (mut client, worker) = piped(limits, 1000);
    let body = vec![b'x'; 1_000_000];
    let whole = request(1, true, "POST", "/wait", &[], Some(&body));
    let head = whole.len() - body.len();
    let (mut reading, mut writing) = client.split();
    let sending = tokio::spawn(async move { writing.send(&whole).await });
    // Time only passes when nobody can go on: this waits for the standstill.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let taken = worker.bytes_read();
    assert!(taken >= limits.body_buffer_bytes, "it reads ahead as far as allowed");
    assert!(taken <= limits.body_buffer_bytes + head, "{taken} bytes were taken");
    assert!(!sending.is_finished());
    worker.open_gate();
    let answer = reading.answer(1).await;
    assert_eq!((answer.status(), answer.body == body), (200, true));
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_web_server_that_does_not_read_stops_the_response() {
    let (mut client, worker) = piped(Limits::default(), 1000);
    client.send(&request(1, true, "GET", "/stream/1000", &[], None)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let made = worker.chunks_made() * worker::STREAM_CHUNK_BYTES;
    assert!(made > 0 && made <= 64 * 1024 + worker::STREAM_CHUNK_BYTES, "{made} bytes were made");
    let answer = client.answer(1).await;
    assert_eq!(answer.body.len(), 1000 * worker::STREAM_CHUNK_BYTES);
}

#[tokio::test(start_paused = true)]
async fn silence_has_an_end() {
    let limits = Limits::default();
    // Nothing at all, half a header, half of the parameters: the connection is closed.
    let whole = request(1, true, "POST", "/body", &[], Some(b"part"));
    for (sent, wait_max) in
        [(0, limits.idle_max), (5, limits.silence_max), (30, limits.silence_max)]
    {
        let (mut client, worker) = piped(limits, 1000);
        client.send(&whole[..sent]).await;
        let waited = worker.time_to_close(&mut client).await;
        assert!(waited >= wait_max, "{sent}: closed after {waited:?}");
        assert!(waited <= wait_max * 2, "{sent}: closed after {waited:?}");
    }
    // A body that stalls is an error of the handler, which may still answer.
    let (mut client, worker) = piped(limits, 1000);
    client.send(&client::without_last_record(&whole)).await;
    assert_eq!(client.answer(1).await.status(), 200);
    assert_eq!(worker.seen().await, "4 bytes, then the body stalled");
    // An answer that nobody takes.
    let (mut client, worker) = piped(limits, 1000);
    client.send(&request(1, true, "GET", "/stream/1000", &[], None)).await;
    assert!(worker.until_over().await.contains("neither sent nor took"));
    // A handler that works is not silence.
    let (mut client, worker) = piped(limits, 1000);
    client.send(&request(1, true, "GET", "/wait", &[], None)).await;
    tokio::time::sleep(limits.idle_max * 3).await;
    worker.open_gate();
    assert_eq!(client.answer(1).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_silence() {
    let limits = Limits::default();
    let (mut client, worker) = piped(limits, 1000);
    let whole = request(1, true, "POST", "/body", &[], Some(&[b'x'; 2000]));
    client.send(&client::without_last_record(&whole)[..whole.len() - 2008]).await;
    let (mut reading, mut writing) = client.split();
    let trickle = tokio::spawn(async move {
        for _ in 0..2000 {
            if !writing.try_send(b"x").await {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(reading.answer(1).await.status(), 200);
    assert!(worker.seen().await.ends_with("bytes, then the body stalled"));
    trickle.abort();
}

#[tokio::test]
async fn a_half_closed_connection_still_gets_its_answer() {
    let worker = Worker::start(Transport::Unix, Limits::default()).await;
    let mut client = worker.connect().await;
    client.send(&request(1, true, "POST", "/wait", &[], Some(b"late"))).await;
    client.shut_down().await;
    worker.until_requests(1).await;
    worker.open_gate();
    assert_eq!(client.answer(1).await.body, b"late");
    assert!(client.is_closed().await);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_can_hurt(
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        kinds in proptest::collection::vec((1u8..12, 0u16..4, 0usize..40), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut client, worker) = piped(Limits::default(), 4096);
            let mut bytes = request(1, true, "POST", "/body", &[], Some(b"x"));
            for (kind, id, len) in kinds {
                let content = noise.get(..len).unwrap_or_default();
                bytes.extend(record(kind, id, content, len % 9));
            }
            bytes.extend_from_slice(&noise);
            client.try_send(&bytes).await;
            client.shut_down().await;
            worker.until_over().await;
        });
    }
}

#[tokio::test]
async fn a_descriptor_from_the_outside_is_served() {
    // What `from_stdin` does, without taking the descriptor of the test program itself.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener::tcp(socket).unwrap();
    let (stopper, stop) = Stop::pair();
    let handler = |_: Request| async { crate::response::Response::empty(204) };
    let task = tokio::spawn(serve("test", listener, handler, Limits::default(), stop));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(&request(1, false, "GET", "/", &[], None)).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.windows(11).any(|part| part == b"Status: 204"));
    stopper.raise();
    assert_eq!(task.await.unwrap(), 0);
}
