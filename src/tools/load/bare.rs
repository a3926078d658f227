//! A server that only moves bytes: epoll, one thread, canned answers by command.
//!
//! What a load reaches against it is what the load generator and the machine can do at all; the
//! difference to a real server is what that server does. It reads requests to their end and
//! looks at nothing but length and command; content is sent with `sendfile`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use proto::header::Header;
use rustix::event::epoll;

/// Requests and their content are read into this.
const BUFFER_BYTES: usize = 256 * 1024;
/// The key of the listener; connections count from behind it.
const LISTENER: u64 = 0;

/// An answer: some bytes, then the beginning of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Canned {
    pub(super) bytes: Vec<u8>,
    pub(super) content: u64,
}

/// What is answered to which command.
pub(super) type Answers = BTreeMap<u8, Canned>;

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Bare {
    pub(super) at: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    /// Starts on a free port. `content` is what answers send of.
    pub(super) fn start(answers: Answers, content: File) -> io::Result<Self> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let mut server = Server { epoll, listener, answers, content, connections: BTreeMap::new() };
        let thread = std::thread::spawn(move || server.serve(&flag));
        Ok(Self { at, stop, thread: Some(thread) })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(self.at); // it waits for events without a limit
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    answers: Answers,
    content: File,
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of a header that is not complete.
    head: Vec<u8>,
    cmd: u8,
    /// What is still to come of the request's body.
    body_left: u64,
    /// What is still to be sent: bytes from `sent` on, then content up to `content_left`.
    answer: Option<Arc<Canned>>,
    sent: usize,
    content_sent: u64,
}

impl Server {
    fn serve(&mut self, stop: &AtomicBool) {
        let mut next = LISTENER + 1;
        let mut buffer = vec![0; BUFFER_BYTES];
        let answers: BTreeMap<u8, Arc<Canned>> =
            std::mem::take(&mut self.answers).into_iter().map(|(c, a)| (c, Arc::new(a))).collect();
        let mut events = Vec::with_capacity(256);
        while !stop.load(Ordering::Relaxed) {
            events.clear();
            let waited =
                epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None);
            match waited {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return, // the load sees its connections close
            }
            for event in &events {
                let key = event.data.u64();
                if key == LISTENER {
                    self.accept(&mut next);
                    continue;
                }
                let Some(connection) = self.connections.get_mut(&key) else { continue };
                if connection.advance(&mut buffer, &answers, &self.content).is_err() {
                    self.connections.remove(&key);
                }
            }
        }
    }

    fn accept(&mut self, next: &mut u64) {
        while let Ok((stream, _)) = self.listener.accept() {
            let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            let data = epoll::EventData::new_u64(*next);
            if ready.is_err() || epoll::add(&self.epoll, &stream, data, flags).is_err() {
                continue;
            }
            let connection = Connection {
                stream,
                head: Vec::new(),
                cmd: 0,
                body_left: 0,
                answer: None,
                sent: 0,
                content_sent: 0,
            };
            self.connections.insert(*next, connection);
            *next += 1;
        }
    }
}

impl Connection {
    /// Reads and writes until neither goes on. An error ends the connection.
    fn advance(
        &mut self,
        buffer: &mut [u8],
        answers: &BTreeMap<u8, Arc<Canned>>,
        content: &File,
    ) -> io::Result<()> {
        loop {
            if !self.send(content)? {
                return Ok(());
            }
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.take(buffer.get(..count).unwrap_or_default(), answers)?;
        }
    }

    /// Takes in what has arrived: at most one request, since clients wait for the answer.
    fn take(&mut self, mut bytes: &[u8], answers: &BTreeMap<u8, Arc<Canned>>) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        if self.body_left == 0 {
            let missing = Header::LEN.saturating_sub(self.head.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(missing);
            self.head.extend_from_slice(head);
            bytes = rest;
            let Ok(head) = <[u8; Header::LEN]>::try_from(self.head.as_slice()) else {
                return Ok(());
            };
            self.head.clear();
            let header = Header::decode(&head).map_err(|_| broken())?;
            (self.cmd, self.body_left) = (header.cmd, header.body_len);
        }
        let body_left = self.body_left.checked_sub(bytes.len() as u64).ok_or_else(broken)?;
        self.body_left = body_left;
        if body_left == 0 {
            self.answer = Some(Arc::clone(answers.get(&self.cmd).ok_or_else(broken)?));
            (self.sent, self.content_sent) = (0, 0);
        }
        Ok(())
    }

    /// Sends on; false if the peer has to read first.
    fn send(&mut self, content: &File) -> io::Result<bool> {
        let Some(answer) = &self.answer else { return Ok(true) };
        while let Some(rest) = answer.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        while self.content_sent < answer.content {
            let count = usize::try_from(answer.content - self.content_sent).unwrap_or(usize::MAX);
            let mut offset = self.content_sent;
            match rustix::fs::sendfile(&self.stream, content, Some(&mut offset), count) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.content_sent = offset,
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.answer = None;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_to_their_end_and_answered_with_content() {
        let path = std::env::temp_dir().join(format!("fdfs-bare-{}", std::process::id()));
        let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        let content: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        file.write_all(&content).unwrap();
        std::fs::remove_file(&path).unwrap();
        let answer = Canned { bytes: b"head".to_vec(), content: content.len() as u64 };
        let bare = Bare::start([(14, answer)].into(), file).unwrap();
        let mut stream = TcpStream::connect(bare.at).unwrap();
        let want = [&b"head"[..], &content].concat();
        for body in [0, 5, 1_000_000] {
            let head = Header { body_len: body, cmd: 14, status: proto::status::Status::OK };
            let request = [&head.to_bytes()[..], &vec![0; usize::try_from(body).unwrap()]].concat();
            // In two parts, the first of them less than a header.
            stream.write_all(&request[..3]).unwrap();
            stream.write_all(&request[3..]).unwrap();
            let mut got = vec![0; want.len()];
            stream.read_exact(&mut got).unwrap();
            assert!(got == want, "{body}");
        }
        let unknown = Header { body_len: 0, cmd: 99, status: proto::status::Status::OK };
        stream.write_all(&unknown.to_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "an unknown command closes");
    }
}
