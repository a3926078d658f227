//! A store of real daemons: one tracker and some storages in directories of their own.
//!
//! Started in the foreground on leased ports, stopped by signal, killed without warning, started
//! again; every member has an address of its own in 127.0.0.0/8. What members hold is read twice:
//! through the protocol, and from the disk as the specification lays it out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::checker::{Held, Members};
use super::history::sha256;
use super::stack::bin_dir;
use super::wait::eventually;

/// A daemon listens, stops, joins within this time.
const SOON: Duration = Duration::from_secs(30);

/// Sets the clock of the day alone: how long something takes stays true, and so do the times of
/// files. `$LIB` is the loader's own word for Debian's directory.
const FAKETIME: [(&str, &str); 4] = [
    ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1"),
    ("FAKETIME_NO_CACHE", "1"),
    ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ("NO_FAKE_STAT", "1"),
];

/// One daemon and its directory.
#[derive(Debug)]
pub(crate) struct Daemon {
    program: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) dir: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Daemon {
    fn new(dir: &Path, program: &'static str, address: SocketAddr, config: &str) -> Self {
        for made in ["base", "store0"] {
            fs::create_dir_all(dir.join(made)).expect("the directory is ours");
        }
        let head = format!(
            "bind_addr = {}\nport = {}\nbase_path = {}\n",
            address.ip(),
            address.port(),
            dir.join("base").display()
        );
        put(&dir.join("conf"), &format!("{head}{config}"));
        Self { program, address, dir: dir.to_owned(), child: Mutex::new(None) }
    }

    /// Starts it and waits until it says that it listens.
    pub(crate) fn start(&self) {
        let said = self.dir.join("stdout");
        let log = File::options().create(true).append(true).open(self.dir.join("log"));
        let mut command = Command::new(bin_dir().join(self.program));
        if self.clock().exists() {
            command.envs(FAKETIME).env("FAKETIME_TIMESTAMP_FILE", self.clock());
        }
        let child = command
            .arg(self.dir.join("conf"))
            .args(["start", "--foreground"])
            .stdin(Stdio::null())
            .stdout(File::create(&said).expect("the directory is ours"))
            .stderr(log.expect("the directory is ours"))
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.program));
        let mut own = self.child.lock().expect("no test panics while it holds this");
        assert!(own.replace(child).is_none(), "{} runs already", self.program);
        drop(own);
        let line = format!("listening on {}", self.address);
        eventually(&format!("{} says `{line}`", self.program), SOON, || {
            assert!(!self.has_ended(), "{} ended:\n{}", self.program, self.log());
            let text = fs::read_to_string(&said).unwrap_or_default();
            text.lines().any(|known| known == line).then_some(())
        });
    }

    /// Gives it another address, at which it is started next; its files and its port stay.
    pub(crate) fn move_to(&mut self, last: u8) {
        let old = self.address.ip();
        self.address.set_ip([127, 0, 0, last].into());
        self.replace_line(
            &format!("bind_addr = {old}"),
            &format!("bind_addr = {}", self.address.ip()),
        );
    }

    /// Gives it another port.
    pub(crate) fn set_port(&mut self, port: u16) {
        let old = self.address.port();
        self.address.set_port(port);
        self.replace_line(&format!("port = {old}"), &format!("port = {port}"));
    }

    /// Puts other lines in place of one or some of its configuration; for the next start.
    pub(crate) fn replace_line(&self, old: &str, new: &str) {
        let conf = self.dir.join("conf");
        let text = fs::read_to_string(&conf).expect("it was written");
        let line = |line: &str| format!("\n{line}\n");
        let text = format!("\n{text}").replacen(&line(old), &line(new), 1);
        put(&conf, text.trim_start());
    }

    fn clock(&self) -> PathBuf {
        self.dir.join("clock")
    }

    /// Has it see another time than the true one, as `faketime` writes it: `-1d`, `+0 x2`. At
    /// once, if it had a clock of its own when it was started; else from its next start on.
    pub(crate) fn set_clock(&self, time: &str) {
        let new = self.dir.join("clock.new");
        put(&new, time);
        fs::rename(new, self.clock()).expect("the directory is ours");
    }

    fn has_ended(&self) -> bool {
        let mut own = self.child.lock().expect("no test panics while it holds this");
        let child = own.as_mut().expect("it was started");
        child.try_wait().expect("it is our child").is_some()
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        let mut child = self.take();
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// SIGTERM, then waits for it to end.
    pub(crate) fn stop(&self) -> ExitStatus {
        let mut child = self.take();
        let sent = Command::new("kill").arg(child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
        let child = Mutex::new(&mut child);
        eventually(&format!("{} stops", self.program), SOON, || {
            let mut child = child.lock().expect("nobody else has it");
            child.try_wait().expect("it is our child")
        })
    }

    /// Sends a signal by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "SIG{name} to {}", self.program);
    }

    /// Whether `SIGSTOP` holds it.
    pub(crate) fn is_stopped(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        status.expect("it runs").lines().any(|line| line.starts_with("State:\tT"))
    }

    fn pid(&self) -> u32 {
        let own = self.child.lock().expect("no test panics while it holds this");
        own.as_ref().expect("it runs").id()
    }

    fn take(&self) -> Child {
        let mut own = self.child.lock().expect("no test panics while it holds this");
        own.take().expect("it runs")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The page of metrics of a daemon with `metrics_listen = 127.0.0.1:0`.
    pub(crate) fn metrics(&self) -> String {
        let log = self.log();
        let (_, at) = log.rsplit_once("metrics at http://").expect("its log says where");
        let at = at.split('/').next().expect("an address");
        let mut stream = std::net::TcpStream::connect(at).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("it is not zero");
        stream.set_write_timeout(Some(SOON)).expect("it is not zero");
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        page
    }

    /// Plain files of the store path with their content, by file id.
    pub(crate) fn on_disk(&self, group: &str) -> BTreeMap<String, Vec<u8>> {
        self.files(group, |path| fs::read(path))
    }

    /// The same with their lengths only: for whoever asks again and again.
    pub(crate) fn lengths(&self, group: &str) -> BTreeMap<String, u64> {
        self.files(group, |path| Ok(fs::metadata(path)?.len()))
    }

    fn files<T>(
        &self,
        group: &str,
        look: impl Fn(&Path) -> std::io::Result<T>,
    ) -> BTreeMap<String, T> {
        let mut files = BTreeMap::new();
        let data = self.dir.join("store0/data");
        for (first, dir) in entries(&data) {
            for (second, dir) in entries(&dir) {
                for (name, path) in entries(&dir) {
                    let found = match look(&path) {
                        // Deleted since it was listed: a member that runs may do that.
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                        other => other.expect("stored files can be read"),
                    };
                    files.insert(format!("{group}/M00/{first}/{second}/{name}"), found);
                }
            }
        }
        files
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let own = self.child.get_mut().map(Option::take);
        if let Ok(Some(mut child)) = own {
            // It may have ended by itself; a test that cares has looked before.
            let _ended = child.kill();
            let _status = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("== log of {} ({})\n{}", self.program, self.address, self.log());
        }
    }
}

/// The two levels of directories have names of two hexadecimal digits; others are not listed.
fn entries(dir: &Path) -> Vec<(String, PathBuf)> {
    let Ok(found) = fs::read_dir(dir) else { return Vec::new() };
    let named = found.map(|entry| {
        let entry = entry.expect("stored directories can be read");
        (entry.file_name().to_string_lossy().into_owned(), entry.path())
    });
    named.filter(|(name, path)| path.is_file() || name.len() == 2).collect()
}

#[allow(clippy::disallowed_methods, reason = "a test's own file need not survive power loss")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("the directory is ours");
}

/// One tracker and its storages, all of `group1`.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) tracker: Daemon,
    pub(crate) storages: Vec<Daemon>,
    /// Holds the ports.
    lease: Child,
    dir: PathBuf,
}

impl Cluster {
    /// Starts everything and waits until the tracker knows where uploads go.
    pub(crate) fn start(name: &str, storages: u8) -> Self {
        Self::start_with(name, storages, "")
    }

    /// The same, with more lines in the tracker's configuration.
    pub(crate) fn start_with(name: &str, storages: u8, tracker_lines: &str) -> Self {
        let cluster = Self::prepare(name, storages, tracker_lines, "");
        cluster.tracker.start();
        cluster.storages.iter().for_each(Daemon::start);
        cluster
    }

    /// The same with more lines for the storages, which are not started yet, nor is the tracker.
    /// All storages have one port, as those of a group must, and an address each.
    pub(crate) fn prepare(
        name: &str,
        storages: u8,
        tracker_lines: &str,
        storage_lines: &str,
    ) -> Self {
        let dir = std::env::temp_dir().join(format!("fastdisk-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let (lease, ports) = lease(2);
        let (first, port) = (ports[0], ports[1]);
        let at: SocketAddr = ([127, 0, 0, 1], first).into();
        let config =
            format!("check_active_interval = 3\nreserved_storage_space = 0\n{tracker_lines}");
        let tracker = Daemon::new(&dir.join("tracker"), "fdfs_trackerd", at, &config);
        let storages = (1..=storages).map(|index| {
            let dir = dir.join(format!("storage{index}"));
            let config = format!(
                "group_name = group1\ntracker_server = {at}\nstore_path0 = {}\n\
                 subdir_count_per_path = 4\nheart_beat_interval = 1\nstat_report_interval = 1\n\
                 {storage_lines}",
                dir.join("store0").display()
            );
            Daemon::new(&dir, "fdfs_storaged", ([127, 0, 0, index], port).into(), &config)
        });
        Self { tracker, storages: storages.collect(), lease, dir }
    }

    /// Whether all members hold files of the same names and lengths: cheap, and true before they
    /// can be equal.
    pub(crate) fn look_equal(&self) -> bool {
        let mut listed = self.storages.iter().map(|storage| storage.lengths("group1"));
        let first = listed.next().unwrap_or_default();
        listed.all(|files| files == first)
    }

    /// Whole files on each member's disk; metadata are left to the protocol.
    pub(crate) fn on_disks(&self) -> Members {
        let mut members = Members::new();
        for storage in &self.storages {
            let files = storage.on_disk("group1").into_iter().map(|(id, bytes)| {
                let length = u64::try_from(bytes.len()).expect("it fits");
                (id, Held { length, sha256: sha256(&bytes), metadata: Vec::new() })
            });
            members.insert(storage.address.to_string(), files.collect());
        }
        members
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.lease.stdin.take(); // its end gives the ports back
        let _status = self.lease.wait();
        if !std::thread::panicking() {
            // Daemons that still run are killed after this; nothing else is in there.
            let _left = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Ports from `ports.sh`, held as long as its input is open.
fn lease(count: usize) -> (Child, Vec<u16>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/ports.sh");
    let mut child = Command::new(script)
        .arg(count.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs");
    let mut line = String::new();
    let out = child.stdout.take().expect("it is piped");
    BufReader::new(out).read_line(&mut line).expect("it prints the ports");
    let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
    assert_eq!(ports.len(), count, "ports.sh printed {line:?}");
    (child, ports)
}
