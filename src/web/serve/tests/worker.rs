//! A worker whose handler shows what the layer does: echoes, waits, streams, breaks.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use net::shutdown::{Stop, Stopper};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::client::{Client, DEADLINE};
use crate::request::Request;
use crate::response::Response;
use crate::serve::connection::Connection;
use crate::serve::pulse::Heart;
use crate::serve::{Limits, Listener, Service, serve};

pub(super) const STREAM_CHUNK_BYTES: usize = 10_000;

/// What the handlers of one worker share with their test.
struct State {
    /// `/wait` passes one at a time.
    gate: Semaphore,
    /// What `/body` saw.
    seen: mpsc::UnboundedSender<String>,
    /// Chunks that `/stream` was asked for.
    chunks: AtomicUsize,
    /// Requests that reached a handler.
    requests: AtomicUsize,
}

async fn handle(state: Arc<State>, mut request: Request) -> Response {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let text = "text/plain";
    let segments: Vec<String> = request.segments().iter().map(ToString::to_string).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["echo"] => match request.body().collect(100_000_000).await {
            Ok(body) => Response::bytes(text, body.expect("it is not that large")),
            Err(error) => Response::bytes(text, error.to_string()).with_status(400),
        },
        ["wait"] => {
            state.gate.acquire().await.expect("it is never closed").forget();
            match request.body().collect(100_000_000).await {
                Ok(body) => Response::bytes(text, body.expect("it is not that large")),
                Err(error) => Response::bytes(text, error.to_string()).with_status(400),
            }
        }
        ["body"] => {
            let mut got = 0;
            let end = loop {
                match request.body().chunk().await {
                    Ok(Some(chunk)) => got += chunk.len(),
                    Ok(None) => break "the end".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            // Nobody listens to a worker of a test that is over.
            let _ = state.seen.send(format!("{got} bytes, then {end}"));
            Response::empty(200)
        }
        ["header"] => {
            let raw = request.header("x-raw").unwrap_or_default().to_vec();
            Response::bytes(text, raw)
        }
        ["stream", count] => {
            let left: usize = count.parse().expect("a number of chunks");
            let chunks = futures_util::stream::unfold(left, move |left| {
                let state = state.clone();
                async move {
                    let left = left.checked_sub(1)?;
                    state.chunks.fetch_add(1, Ordering::SeqCst);
                    Some((Ok(Bytes::from(vec![b'z'; STREAM_CHUNK_BYTES])), left))
                }
            });
            Response::stream(text, chunks)
        }
        ["broken"] => {
            let chunks = [Ok(Bytes::from_static(b"begin")), Err(anyhow::anyhow!("no more"))];
            Response::stream(text, futures_util::stream::iter(chunks))
        }
        ["early"] => Response::empty(413),
        ["never"] => std::future::pending().await,
        _ => Response::empty(404),
    }
}

fn state() -> (Arc<State>, mpsc::UnboundedReceiver<String>) {
    let (seen, told) = mpsc::unbounded_channel();
    let (chunks, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
    (Arc::new(State { gate: Semaphore::new(0), seen, chunks, requests }), told)
}

/// Polls a condition until it holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::time::timeout(DEADLINE, wait).await;
    done.unwrap_or_else(|_| panic!("waited too long for {what}"));
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    Tcp,
    Unix,
}

enum Address {
    Tcp(std::net::SocketAddr),
    /// The socket and the directory that holds it.
    Unix(PathBuf, PathBuf),
}

/// A worker behind a listening socket.
pub(super) struct Worker {
    address: Address,
    state: Arc<State>,
    seen: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    stopper: Stopper,
    task: JoinHandle<usize>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Address::Unix(_, dir) = &self.address {
            // What remains is in the temporary directory of the machine.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl Worker {
    pub(super) async fn start(transport: Transport, limits: Limits) -> Self {
        let (listener, address) = match transport {
            Transport::Tcp => {
                let socket = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = socket.local_addr().unwrap();
                (Listener::tcp(socket).unwrap(), Address::Tcp(address))
            }
            Transport::Unix => {
                static NUMBER: AtomicUsize = AtomicUsize::new(0);
                let number = NUMBER.fetch_add(1, Ordering::SeqCst);
                let name = format!("fastdisk-serve-{}-{number}", std::process::id());
                let dir = std::env::temp_dir().join(name);
                std::fs::create_dir_all(&dir).unwrap();
                let path = dir.join("socket");
                let socket = UnixListener::bind(&path).unwrap();
                (Listener::unix(socket).unwrap(), Address::Unix(path, dir))
            }
        };
        let (state, told) = state();
        let (stopper, stop) = Stop::pair();
        let of_handler = state.clone();
        let handler = move |request| handle(of_handler.clone(), request);
        let task = tokio::spawn(serve("test", listener, handler, limits, stop));
        Self { address, state, seen: tokio::sync::Mutex::new(told), stopper, task }
    }

    pub(super) async fn connect(&self) -> Client {
        self.try_connect().await.expect("the worker listens")
    }

    async fn try_connect(&self) -> std::io::Result<Client> {
        Ok(match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Client::new(stream)
            }
            Address::Unix(path, _) => Client::new(UnixStream::connect(path).await?),
        })
    }

    pub(super) fn open_gate(&self) {
        self.state.gate.add_permits(1);
    }

    pub(super) async fn seen(&self) -> String {
        let mut seen = self.seen.lock().await;
        let line = tokio::time::timeout(DEADLINE, seen.recv()).await;
        line.expect("a handler tells in time").expect("the worker runs")
    }

    /// Waits until so many requests have reached their handlers.
    pub(super) async fn until_requests(&self, count: usize) {
        let requests = &self.state.requests;
        eventually("requests", async || requests.load(Ordering::SeqCst) >= count).await;
    }

    pub(super) async fn until_nobody_listens(&self) {
        eventually("a refusal", async || self.try_connect().await.is_err()).await;
    }

    pub(super) fn raise(&self) {
        self.stopper.raise();
    }

    /// Stops the worker and returns how many connections it had to cut.
    pub(super) async fn stop(mut self) -> usize {
        self.stopper.raise();
        let cut = tokio::time::timeout(DEADLINE, &mut self.task).await;
        cut.expect("it stops in time").expect("it does not panic")
    }
}

/// One connection without a socket, so that time can stand still.
pub(super) struct Piped {
    state: Arc<State>,
    seen: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    read: Arc<AtomicUsize>,
    task: JoinHandle<String>,
    /// Held, because a lost hand stops the connection.
    _stopper: Stopper,
}

/// A pipe that holds `pipe_bytes` in each direction, and a connection at its other end.
pub(super) fn pipe(limits: Limits, pipe_bytes: usize) -> (Client, Piped) {
    let (ours, theirs) = duplex(pipe_bytes);
    let (state, told) = state();
    let (stopper, stop) = Stop::pair();
    let of_handler = state.clone();
    let handler = move |request| handle(of_handler.clone(), request);
    let service = Arc::new(Service {
        health: "/api/test/health".to_owned(),
        handler,
        limits,
        requests: Arc::default(),
    });
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Counted { pipe: theirs, read: read.clone() };
    let (heart, tick) = (Heart::new(), service.tick());
    let connection = Connection::new(counted, service).run(heart.pulse());
    let task = tokio::spawn(async move {
        let ended = tokio::select! {
            ended = connection => ended,
            never = heart.beat(tick, stop) => match never {},
        };
        match ended {
            Ok(()) => "closed".to_owned(),
            Err(error) => error.to_string(),
        }
    });
    let seen = tokio::sync::Mutex::new(told);
    let mut client = Client::new(ours);
    client.deadline = Duration::from_secs(1_000_000);
    (client, Piped { state, seen, read, task, _stopper: stopper })
}

impl Piped {
    pub(super) fn bytes_read(&self) -> usize {
        self.read.load(Ordering::SeqCst)
    }

    pub(super) fn chunks_made(&self) -> usize {
        self.state.chunks.load(Ordering::SeqCst)
    }

    pub(super) fn open_gate(&self) {
        self.state.gate.add_permits(1);
    }

    pub(super) async fn seen(&self) -> String {
        self.seen.lock().await.recv().await.expect("the connection runs")
    }

    /// How long the connection lives without any further byte.
    pub(super) async fn time_to_close(self, client: &mut Client) -> Duration {
        let mut ticks = 0;
        while !self.task.is_finished() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ticks += 1;
            assert!(ticks < 100_000, "it never ends");
        }
        assert!(client.is_closed().await);
        Duration::from_secs(ticks)
    }

    /// Waits for the end of the connection; returns why it ended.
    pub(super) async fn until_over(self) -> String {
        self.task.await.expect("a connection does not panic")
    }
}

/// Counts what is read from a pipe.
struct Counted {
    pipe: DuplexStream,
    read: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.pipe).poll_read(cx, buffer);
        self.read.fetch_add(buffer.filled().len() - before, Ordering::SeqCst);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
