//! A storage in a directory of its own, with a small scripted tracker beside it.
//!
//! The tracker knows just what a storage asks for; the answers are those recorded from the
//! reference. Everything is ended by its own handle when it is dropped.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a storage reports, unless a test says otherwise.
const BEATS: &str = "heart_beat_interval = 100ms\nstat_report_interval = 200ms\n";

/// A directory that is removed at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("storage-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A tracker that lets everybody in.
pub(crate) struct Tracker {
    pub(crate) at: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Tracker {
    /// `own_ip` is what storages are told about themselves.
    pub(crate) fn start(own_ip: &'static str) -> Self {
        Self::start_with(own_ip, "")
    }

    /// The same, with more parameters for the storages.
    pub(crate) fn start_with(own_ip: &'static str, more: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (shared, connections) = (Arc::clone(&seen), Arc::clone(&open));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                connections.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || converse(stream, own_ip, more, &seen));
            }
        });
        Self { at, seen, open }
    }

    /// Closes every connection, as a tracker that is started again does.
    pub(crate) fn hang_up(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // One that its storage has closed already is just as well.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// How often a command was received.
    pub(crate) fn count(&self, command: u8) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| **seen == command).count()
    }
}

fn converse(mut stream: TcpStream, own_ip: &str, more: &str, seen: &Mutex<Vec<u8>>) {
    loop {
        let mut header = [0; 10];
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let len = u64::from_be_bytes(header[..8].try_into().unwrap());
        let mut body = vec![0; len as usize];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        seen.lock().unwrap().push(header[8]);
        let answer: Vec<u8> = match header[8] {
            60 => own_ip.into(),
            75 => format!(
                "use_storage_id=0\nresponse_ip_addr_size=16\nstore_path=0\n\
                 reserved_storage_space=1MB\n{more}"
            )
            .into(),
            81 => vec![0; 17],
            83 | 84 | 89 => vec![0],
            87 | 88 => Vec::new(),
            other => panic!("a storage should not ask {other}"),
        };
        let mut out = (answer.len() as u64).to_be_bytes().to_vec();
        out.extend([100, 0]);
        out.extend(answer);
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

/// A running `fdfs_storaged`.
pub(crate) struct Storage {
    pub(crate) at: SocketAddr,
    child: Child,
}

impl Storage {
    /// Starts on `base`, which keeps its data, with more lines for the configuration.
    pub(crate) fn start(base: &Path, tracker: &Tracker, more: &str) -> Self {
        Self::start_with(base, tracker, more, Stdio::inherit())
    }

    /// The same, with another place for its log.
    pub(crate) fn start_with(base: &Path, tracker: &Tracker, more: &str, log: Stdio) -> Self {
        let conf = base.join("storage.conf");
        let beat = if more.contains("heart_beat_interval") { "" } else { BEATS };
        let text = format!(
            "group_name = group1\nbind_addr = 127.0.0.1\nport = 0\nbase_path = {}\n\
             tracker_server = {}\nsubdir_count_per_path = 4\n{beat}\
             network_timeout = 20\nlog_level = warn\n{more}\n",
            base.display(),
            tracker.at
        );
        fs::write(&conf, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fdfs_storaged"))
            .arg(&conf)
            .arg("--foreground")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let at = line.trim().strip_prefix("listening on ").expect("it starts").parse().unwrap();
        Self { at, child }
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM; true if it ended well.
    pub(crate) fn stop(mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.child.wait().unwrap().success()
    }

    #[allow(dead_code, reason = "the load layer, which shares this file, looks at its memory")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Most memory it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that speaks header and body.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn send(&mut self, command: u8, status: u8, body: &[u8]) {
        let mut out = (body.len() as u64).to_be_bytes().to_vec();
        out.extend([command, status]);
        out.extend(body);
        self.stream.write_all(&out).unwrap();
    }

    /// Status and body of the next answer.
    pub(crate) fn answer(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 10];
        self.stream.read_exact(&mut header).unwrap();
        assert_eq!(header[8], 100);
        let len = u64::from_be_bytes(header[..8].try_into().unwrap());
        let mut body = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (header[9], body)
    }

    /// The body of a success; `None` for a refusal or a connection that ends before the
    /// announced length.
    pub(crate) fn answer_or_end(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 10];
        self.stream.read_exact(&mut header).ok()?;
        let len = u64::from_be_bytes(header[..8].try_into().unwrap());
        let mut body = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut body).ok()?;
        (header[9] == 0).then_some(body)
    }

    pub(crate) fn ask(&mut self, command: u8, body: &[u8]) -> (u8, Vec<u8>) {
        self.send(command, 0, body);
        self.answer()
    }

    /// True if the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(read) => read == 0,
            // Nothing came for as long as we wait: it is open.
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Uploads and returns the file's name.
    pub(crate) fn upload(&mut self, extension: &str, content: &[u8]) -> String {
        let (status, body) =
            self.ask(11, &[&upload_head(extension, content.len())[..], content].concat());
        assert_eq!(status, 0, "upload");
        stored(&body)
    }

    pub(crate) fn download(&mut self, name: &str, offset: u64, bytes: u64) -> (u8, Vec<u8>) {
        let mut body = [offset.to_be_bytes(), bytes.to_be_bytes()].concat();
        body.extend(named(name));
        self.ask(14, &body)
    }
}

/// The fields before the content of an upload.
pub(crate) fn upload_head(extension: &str, len: usize) -> Vec<u8> {
    let mut body = vec![0xff];
    body.extend((len as u64).to_be_bytes());
    body.extend(padded(extension, 6));
    body
}

/// Group and name, as most requests have them.
pub(crate) fn named(name: &str) -> Vec<u8> {
    [padded("group1", 16), name.into()].concat()
}

pub(crate) fn padded(text: &str, width: usize) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.resize(width, 0);
    out
}

/// The name in the answer to an upload.
pub(crate) fn stored(body: &[u8]) -> String {
    assert_eq!(body[..16], padded("group1", 16)[..]);
    String::from_utf8(body[16..].to_vec()).unwrap()
}

/// Where a file of the first store path lies.
pub(crate) fn on_disk(base: &Path, name: &str) -> PathBuf {
    base.join("data").join(name.strip_prefix("M00/").unwrap())
}

/// Bytes that are a function of the seed.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend((state >> 16).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Waits until `holds`, with a deadline.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::yield_now();
    }
}
