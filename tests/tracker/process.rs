//! A real tracker in a directory of its own, and connections to it from any loopback address.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for one answer; far beyond any healthy one.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// A directory that goes with the test.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fdfs-tracker-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `fdfs_trackerd`; killed with the test.
pub(crate) struct Tracker {
    child: Child,
    pub(crate) at: SocketAddr,
}

/// The sample configuration, with these lines in the place of its own.
pub(crate) fn configure(dir: &Path, lines: &[(&str, &str)]) -> PathBuf {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/tracker.conf");
    let mut text = std::fs::read_to_string(sample).unwrap();
    let base = dir.to_str().unwrap();
    let own = [("base_path", base), ("port", "0"), ("bind_addr", "127.0.0.1")];
    for (key, value) in own.iter().chain(lines) {
        let starts = |line: &&str| line.split('=').next().is_some_and(|k| k.trim() == *key);
        let old = text.lines().find(starts).unwrap_or_else(|| panic!("{key} is in the sample"));
        text = text.replacen(&format!("\n{old}\n"), &format!("\n{key} = {value}\n"), 1);
    }
    let path = dir.join("tracker.conf");
    std::fs::write(&path, text).unwrap();
    path
}

impl Tracker {
    pub(crate) fn start(conf: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fdfs_trackerd"))
            .arg(conf)
            .arg("--foreground")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let at = line.trim().strip_prefix("listening on ").expect("it says where it listens");
        Self { at: at.parse().unwrap(), child }
    }

    /// A connection from this loopback address.
    pub(crate) fn connect(&self, from: &str) -> Peer {
        let from: IpAddr = from.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(from, 0)).unwrap();
            socket.connect(self.at).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream }
    }

    /// Ends it in good order; says whether it ended well.
    pub(crate) fn stop(mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().success()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
}

impl Peer {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next answer, header and body; empty when the tracker has closed.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 10];
        if self.stream.read_exact(&mut bytes).is_err() {
            return Vec::new();
        }
        let len = u64::from_be_bytes(bytes[..8].try_into().unwrap());
        bytes.resize(10 + usize::try_from(len).unwrap(), 0);
        self.stream.read_exact(&mut bytes[10..]).unwrap();
        bytes
    }

    pub(crate) fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.receive()
    }

    /// Asks with a body of these parts; status and body of the answer.
    pub(crate) fn command(&mut self, cmd: u8, parts: &[&[u8]]) -> (u8, Vec<u8>) {
        let body = parts.concat();
        let mut request = (body.len() as u64).to_be_bytes().to_vec();
        request.extend([cmd, 0]);
        request.extend(body);
        let answer = self.ask(&request);
        assert!(10 <= answer.len(), "the tracker closed the connection after command {cmd}");
        (answer[9], answer[10..].to_vec())
    }
}
