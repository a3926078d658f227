//! A real nginx with the module in it, in a directory of its own, behind a unix socket; and the
//! least HTTP client that shows exactly what was answered.
//!
//! Used by the tests beside it. Never skips: without nginx or the module it says what to run.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Worker processes of a server that [`Server::start`] started.
pub(crate) const WORKERS: usize = 2;

/// A directory below the system's own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ngx-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("the name is new");
        for dir in ["log", "tmp", "store0/data/00/00", "store1/data/0A/FF", "www"] {
            std::fs::create_dir_all(path.join(dir)).expect("the directory is ours");
        }
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file below the directory.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let mut file = File::create(self.path(name)).expect("the directory exists");
        file.write_all(content).expect("the disk has room");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("nginx has written it")
    }
}

impl Drop for Scratch {
    #[allow(clippy::print_stderr, reason = "a test says what it leaves behind")]
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

/// The module that belongs to this test program.
pub(crate) fn module() -> PathBuf {
    let program = std::env::current_exe().expect("a test program has a path");
    let dir = program.parent().and_then(Path::parent).expect("target/<profile>/deps/<program>");
    let module = dir.join("libngx_fastdfs_module.so");
    let profile = if dir.ends_with("release") { "release" } else { "debug" };
    assert!(module.exists(), "no {}: run nginx/module/build.sh {profile}", module.display());
    module
}

/// Runs nginx on the configuration in `dir` and waits for it to return.
pub(crate) fn nginx(dir: &Scratch, args: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let mut command = Command::new("nginx");
    command.env("PATH", path).arg("-p").arg(&dir.0).arg("-c").arg(dir.path("nginx.conf"));
    command.args(args).output().expect("no nginx: run apt-get install nginx")
}

/// What stands around `http` in every configuration of these tests.
pub(crate) fn configuration(dir: &Scratch, http: &str) -> String {
    let (module, dir) = (module(), dir.0.display());
    format!(
        "user root;\nworker_processes {WORKERS};\nload_module {};\npid {dir}/pid;\n\
         error_log {dir}/log/error.log info;\nevents {{ worker_connections 128; }}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {dir}/tmp/a;\nproxy_temp_path {dir}/tmp/b;\n\
         fastcgi_temp_path {dir}/tmp/c;\nuwsgi_temp_path {dir}/tmp/d;\n\
         scgi_temp_path {dir}/tmp/e;\n{}\n}}\n",
        module.display(),
        http.replace("DIR", &dir.to_string()),
    )
}

/// A running nginx, stopped at the end.
pub(crate) struct Server {
    pub(crate) dir: Scratch,
    /// Where it is asked, if not at its unix socket.
    pub(crate) at: Option<SocketAddr>,
}

/// A connection of either kind.
trait Stream: std::io::Read + std::io::Write {}
impl<T: std::io::Read + std::io::Write> Stream for T {}

impl Server {
    /// Starts nginx with `http` inside its `http` block; `DIR` stands for its directory. It
    /// must listen on `unix:DIR/socket`.
    pub(crate) fn start(dir: Scratch, http: &str) -> Self {
        dir.write("nginx.conf", configuration(&dir, http).as_bytes());
        let server = Self::start_written(dir);
        server.wait_for_workers();
        server
    }

    /// The same, with the configuration that already stands in the directory.
    pub(crate) fn start_written(dir: Scratch) -> Self {
        // It returns when its sockets listen, so requests have nothing to wait for; the master
        // makes its workers after that.
        let output = nginx(&dir, &[]);
        assert!(output.status.success(), "nginx: {}", String::from_utf8_lossy(&output.stderr));
        Self { dir, at: None }
    }

    /// A cache adds processes of its own, after the workers.
    fn wait_for_workers(&self) {
        eventually("the workers are there", || {
            self.dir.path("pid").exists() && self.workers().len() >= WORKERS
        });
    }

    /// One that somebody else has started in the directory.
    pub(crate) fn running(dir: Scratch) -> Self {
        Self { dir, at: None }
    }

    /// Has nginx read another configuration; requests go on meanwhile.
    pub(crate) fn reload(&self, http: &str) {
        self.dir.write("nginx.conf", configuration(&self.dir, http).as_bytes());
        let output = nginx(&self.dir, &["-s", "reload"]);
        assert!(output.status.success(), "nginx: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Sends `text` as it is on a connection of its own and returns all that comes back.
    pub(crate) fn raw(&self, text: &str) -> Vec<u8> {
        let mut socket = self.connect();
        socket.write_all(text.as_bytes()).expect("nginx reads");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("nginx answers and closes");
        answer
    }

    /// Sends `text` and goes away without reading an answer.
    pub(crate) fn leave(&self, text: &str) {
        self.connect().write_all(text.as_bytes()).expect("nginx reads");
    }

    fn connect(&self) -> Box<dyn Stream> {
        if let Some(at) = self.at {
            let socket = TcpStream::connect(at).expect("nginx listens");
            socket.set_read_timeout(Some(WAIT_MAX)).expect("it is not zero");
            return Box::new(socket);
        }
        let socket = UnixStream::connect(self.dir.path("socket")).expect("nginx listens");
        socket.set_read_timeout(Some(WAIT_MAX)).expect("it is not zero");
        Box::new(socket)
    }

    /// One request to the virtual host `host`; `headers` are whole lines.
    pub(crate) fn ask_host(
        &self,
        host: &str,
        method: &str,
        target: &str,
        headers: &[&str],
    ) -> Answer {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        let answer = self.raw(&format!("{head}Connection: close\r\n{headers}\r\n"));
        let answer = Answer::parse(&answer);
        let announced = answer.header("Content-Length").and_then(|len| len.parse().ok());
        if method != "HEAD" && ![204, 304].contains(&answer.status) {
            assert_eq!(announced, Some(answer.body.len()), "{method} {target}: length");
        }
        answer
    }

    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Answer {
        self.ask_host("a", method, target, headers)
    }

    pub(crate) fn get(&self, target: &str, headers: &[&str]) -> Answer {
        self.ask("GET", target, headers)
    }

    pub(crate) fn error_log(&self) -> String {
        self.dir.read("log/error.log")
    }
}

impl Server {
    /// The process id of the master.
    pub(crate) fn pid(&self) -> u32 {
        self.dir.read("pid").trim().parse().expect("nginx writes a number")
    }

    /// The process ids of the workers that are there now.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let pid = self.dir.read("pid");
        let pid = pid.trim(); // still empty while the master starts
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Ends nginx without warning, its workers included.
    pub(crate) fn kill(&self) {
        let pids: Vec<String> =
            std::iter::once(self.pid()).chain(self.workers()).map(|pid| pid.to_string()).collect();
        let done = Command::new("kill").arg("-9").args(&pids).status().expect("kill is there");
        assert!(done.success(), "kill {pids:?}");
        let gone = |pid: &String| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        eventually("nginx is gone", || pids.iter().all(gone));
        std::fs::remove_file(self.dir.path("pid")).expect("a killed nginx leaves its file");
        // So that it can be bound again; one with TCP alone has none.
        let _ = std::fs::remove_file(self.dir.path("socket"));
    }

    /// Starts nginx again after [`Server::kill`].
    pub(crate) fn revive(&self) {
        let output = nginx(&self.dir, &[]);
        assert!(output.status.success(), "nginx: {}", String::from_utf8_lossy(&output.stderr));
        self.wait_for_workers();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = if self.dir.path("nginx.pid").exists() { "nginx.pid" } else { "pid" };
        if !self.dir.path(pid).exists() {
            return; // killed by the test
        }
        nginx(&self.dir, &["-s", "stop"]);
        // nginx removes this file as its last act.
        eventually("nginx stops", || !self.dir.path(pid).exists());
    }
}

/// Waits until `condition` holds.
#[allow(clippy::disallowed_methods, reason = "a test that waits for another process")]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(Instant::now() < end, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// One request on a connection of its own; none if it ends before a whole answer.
    pub(crate) fn ask(at: SocketAddr, target: &str) -> Option<Self> {
        let mut socket = TcpStream::connect(at).ok()?;
        socket.set_read_timeout(Some(WAIT_MAX)).ok()?;
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).ok()?;
        if !bytes.windows(4).any(|part| part == b"\r\n\r\n") {
            return None;
        }
        let answer = Self::parse(&bytes);
        let len: usize = answer.header("Content-Length")?.parse().ok()?;
        (len == answer.body.len()).then_some(answer)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let shown = String::from_utf8_lossy(bytes);
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no end of headers: {shown}"));
        let head = std::str::from_utf8(&bytes[..end]).expect("headers are ASCII");
        let (first, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {shown}"));
        let headers = lines.lines().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    /// The value of a header that must not occur twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} occurs twice in {:?}", self.headers);
        value
    }
}
