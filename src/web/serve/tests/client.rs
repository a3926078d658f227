//! A web server as small as a test needs it: writes records, reads answers.

use std::pin::Pin;
use std::time::Duration;

use fcgi::params::encode_pair;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, duplex, split,
};

/// The longest a test waits for something that must happen.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// One record with padding of 0xee.
pub(super) fn record(kind: u8, id: u16, content: &[u8], padding: usize) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    let [high, low] = id.to_be_bytes();
    let mut bytes = vec![1, kind, high, low, len[0], len[1], u8::try_from(padding).unwrap(), 0];
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + padding, if kind == 6 { 0 } else { 0xee });
    bytes
}

/// A whole request. Without a body there is only the empty record that ends it.
pub(super) fn request(
    id: u16,
    keep: bool,
    method: &str,
    target: &str,
    variables: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Vec<u8> {
    let fixed = [("REQUEST_METHOD", method), ("REQUEST_URI", target)];
    let all = fixed.iter().chain(variables);
    let pairs: Vec<_> = all.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    request_of_bytes(id, keep, &pairs, body)
}

pub(super) fn request_of_bytes(
    id: u16,
    keep: bool,
    pairs: &[(&[u8], &[u8])],
    body: Option<&[u8]>,
) -> Vec<u8> {
    let mut params = Vec::new();
    for (name, value) in pairs {
        assert!(encode_pair(&mut params, name, value));
    }
    let mut bytes = record(1, id, &[0, 1, u8::from(keep), 0, 0, 0, 0, 0], 0);
    for part in params.chunks(40_000) {
        bytes.extend(record(4, id, part, part.len() % 8));
    }
    bytes.extend(record(4, id, b"", 0));
    for part in body.unwrap_or_default().chunks(30_000) {
        bytes.extend(record(5, id, part, part.len() % 3));
    }
    bytes.extend(record(5, id, b"", 0));
    bytes
}

/// Splits bytes into their records.
pub(super) fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut rest) = (Vec::new(), bytes);
    while rest.len() >= 8 {
        let content = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
        let len = (8 + content + usize::from(rest[6])).min(rest.len());
        all.push(rest[..len].to_vec());
        rest = &rest[len..];
    }
    all
}

/// A request whose body does not end.
pub(super) fn without_last_record(request: &[u8]) -> Vec<u8> {
    let mut all = records(request);
    all.pop();
    all.concat()
}

/// What a request was answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Application status and protocol status.
    pub(super) ended: (u32, u8),
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        let line = self.head.lines().next().expect("an answer has a head");
        line.strip_prefix("Status: ").expect("the status comes first").parse().unwrap()
    }
}

/// One connection to a worker.
pub(super) struct Client {
    reader: ReadHalf<Pin<Box<dyn Socket>>>,
    writer: WriteHalf<Pin<Box<dyn Socket>>>,
    /// Records read while waiting for those of another request.
    kept: Vec<(u8, u16, Vec<u8>)>,
    /// Much longer where time only passes while nobody can go on.
    pub(super) deadline: Duration,
}

async fn in_time<T>(deadline: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(deadline, future).await;
    done.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

impl Client {
    pub(super) fn new(socket: impl Socket + 'static) -> Self {
        let socket: Pin<Box<dyn Socket>> = Box::pin(socket);
        let (reader, writer) = split(socket);
        Self { reader, writer, kept: Vec::new(), deadline: DEADLINE }
    }

    /// A reading and a writing client, for a test that does both at once.
    pub(super) fn split(&mut self) -> (Client, Client) {
        // Each gets one half of the socket, beside a half of a socket that is not used.
        let unused = || Client::new(duplex(1).0);
        let whole = std::mem::replace(self, unused());
        let (one, two) = (unused(), unused());
        let deadline = whole.deadline;
        let reading =
            Client { reader: whole.reader, writer: one.writer, kept: whole.kept, deadline };
        let writing =
            Client { reader: two.reader, writer: whole.writer, kept: Vec::new(), deadline };
        (reading, writing)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
    }

    /// Sends if the worker still listens.
    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok()
    }

    pub(super) async fn shut_down(&mut self) {
        // It may be closed already, which is as good.
        let _ = self.writer.shutdown().await;
    }

    pub(super) async fn exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        in_time(self.deadline, "bytes", self.reader.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Everything up to the end of the connection.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        in_time(self.deadline, "the end", self.reader.read_to_end(&mut bytes)).await.unwrap();
        bytes
    }

    pub(super) async fn record(&mut self) -> (u8, u16, Vec<u8>) {
        let head = self.exactly(8).await;
        let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let mut content = self.exactly(len + usize::from(head[6])).await;
        content.truncate(len);
        (head[1], u16::from_be_bytes([head[2], head[3]]), content)
    }

    /// The records of one request up to its end. Those of others are kept for later.
    pub(super) async fn answer(&mut self, wanted: u16) -> Answer {
        let mut stdout = Vec::new();
        loop {
            let kept = self.kept.iter().position(|(_, id, _)| *id == wanted);
            let (kind, id, content) = match kept {
                Some(index) => self.kept.remove(index),
                None => self.record().await,
            };
            match kind {
                _ if id != wanted => self.kept.push((kind, id, content)),
                6 => stdout.extend(content),
                3 => {
                    let cut = stdout.windows(4).position(|part| part == b"\r\n\r\n");
                    let body = stdout.split_off(cut.map_or(0, |at| at + 4));
                    let app_status = u32::from_be_bytes(content[..4].try_into().unwrap());
                    let head = String::from_utf8(stdout).unwrap();
                    return Answer { head, body, ended: (app_status, content[4]) };
                }
                other => panic!("a record of type {other}"),
            }
        }
    }

    /// Sends a request again and again until it is answered and not refused.
    pub(super) async fn until_answered(&mut self, id: u16, target: &str) {
        let done = async {
            loop {
                self.send(&request(id, true, "GET", target, &[], None)).await;
                if self.answer(id).await.ended == (0, 0) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        in_time(DEADLINE, "an answer", done).await;
    }

    /// Whether the worker closes the connection without another byte.
    pub(super) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        // A reset is an end too.
        matches!(
            in_time(self.deadline, "the end", self.reader.read(&mut byte)).await,
            Ok(0) | Err(_)
        )
    }

    /// Whether nothing has arrived so far.
    pub(super) fn has_nothing(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = tokio::io::ReadBuf::new(&mut byte);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        Pin::new(&mut self.reader).poll_read(&mut cx, &mut buffer).is_pending()
    }
}
