//! Daemons of this layer: started with a plan of what goes wrong, waited for, killed.
//!
//! Everything lies below one directory whose name holds our process id, so that two runs do not
//! meet and a later one can remove what an earlier one left when it was killed itself.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A daemon listens, or ends, within this time.
const SOON: Duration = Duration::from_secs(60);
const PREFIX: &str = "fastdisk-crash-";

/// Where this run keeps its files: in memory, for the kernel keeps what a killed process wrote
/// on any file system.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(format!("/dev/shm/{PREFIX}{}", std::process::id()))
}

/// Removes what runs left whose process is gone: mounts, loop devices, files.
pub(crate) fn sweep_leftovers() {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            remove(&entry.path());
        }
    }
}

/// Unmounts what is mounted below `dir`, detaches its loop devices, removes it.
pub(crate) fn remove(dir: &Path) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let prefix = dir.display().to_string();
    let below = |line: &&str| line.split(' ').nth(1).is_some_and(|at| at.starts_with(&prefix));
    for line in mounts.lines().rev().filter(below) {
        let _status = Command::new("umount").args(["-l", line.split(' ').nth(1).unwrap()]).status();
    }
    let list = Command::new("losetup").args(["-l", "-n", "-O", "NAME,BACK-FILE"]).output();
    let list = list.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    for line in list.unwrap_or_default().lines().filter(|line| line.contains(&prefix)) {
        let device = line.split_whitespace().next().unwrap_or_default();
        let _status = Command::new("losetup").args(["-d", device]).status();
    }
    // What is busy stays for the next run.
    let _removed = fs::remove_dir_all(dir);
}

/// Waits until `look` has something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) dir: PathBuf,
}

impl Daemon {
    /// Starts `program` with the configuration in `dir`; `settings` is the environment. Returns
    /// once it listens or has ended.
    pub(crate) fn start(program: &str, dir: &Path, settings: &[(&str, String)]) -> Self {
        let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(program)
            .arg(dir.join("conf"))
            .args(["start", "--foreground"])
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        // Its first line says that it listens; the end of the stream that it has ended.
        let out = child.stdout.take().unwrap();
        let daemon = Self { child, dir: dir.to_owned() };
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            let read = BufReader::new(out).read_line(&mut String::new());
            // Nobody hears it if it came too late.
            let _late = say.send(read);
        });
        // If not, it is killed as the daemon is dropped, and the thread's reading ends with it.
        let read = said.recv_timeout(SOON);
        let read = read.unwrap_or_else(|_| {
            panic!("{program} neither listens nor ends within {SOON:?}:\n{}", daemon.log())
        });
        read.unwrap();
        daemon
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// `kill -9`, unless it is dead already.
    pub(crate) fn kill(&mut self) {
        let _dead_already = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGTERM, then waits until it has ended.
    pub(crate) fn stop(&mut self) {
        let pid = self.child.id().to_string();
        let _status = Command::new("kill").arg(pid).status();
        eventually("the daemon stops", || self.child.try_wait().unwrap());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A tracker with one storage, which starts and dies again and again.
pub(crate) struct Pair {
    pub(crate) dir: PathBuf,
    pub(crate) storage: SocketAddr,
    tracker: Option<Daemon>,
    /// Holds the ports.
    lease: Child,
}

impl Pair {
    /// Starts the tracker; `dir` is made. The storage's files are in `dir/storage/base`, or what
    /// is stored in `dir/storage/store`.
    pub(crate) fn new(dir: &Path, apart: bool) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../support/ports.sh");
        let mut lease = Command::new(script)
            .arg("2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(lease.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
        let [tracker, storage] = ports[..] else { panic!("ports.sh printed {line:?}") };
        let tracker_dir = dir.join("tracker");
        fs::create_dir_all(tracker_dir.join("base")).unwrap();
        let config = format!(
            "bind_addr = 127.0.0.1\nport = {tracker}\nbase_path = {}\n\
             reserved_storage_space = 0\ncheck_active_interval = 3600\n",
            tracker_dir.join("base").display()
        );
        fs::write(tracker_dir.join("conf"), config).unwrap();
        let started = Daemon::start("fdfs_trackerd", &tracker_dir, &[]);
        let pair = Self {
            dir: dir.to_owned(),
            storage: ([127, 0, 0, 1], storage).into(),
            tracker: Some(started),
            lease,
        };
        pair.configure(tracker, apart);
        pair
    }

    /// Makes an empty storage in `at`: only the heartbeat of its start comes by itself.
    fn configure(&self, tracker: u16, apart: bool) {
        let at = self.storage_dir();
        let store = at.join(if apart { "store" } else { "base" });
        for dir in [self.base(), store.clone()] {
            fs::create_dir_all(dir).unwrap();
        }
        let config = format!(
            "bind_addr = 127.0.0.1\nport = {}\nbase_path = {base}\nstore_path0 = {store}\n\
             group_name = group1\ntracker_server = 127.0.0.1:{tracker}\n\
             subdir_count_per_path = 1\nheart_beat_interval = 3600\n\
             stat_report_interval = 3600\nsync_stat_file_interval = 3600\n",
            self.storage.port(),
            base = self.base().display(),
            store = store.display(),
        );
        fs::write(at.join("conf"), config).unwrap();
    }

    pub(crate) fn storage_dir(&self) -> PathBuf {
        self.dir.join("storage")
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.storage_dir().join("base")
    }

    /// Starts the storage.
    pub(crate) fn start(&self, settings: &[(&str, String)]) -> Daemon {
        Daemon::start("fdfs_storaged", &self.storage_dir(), settings)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.tracker.take();
        self.lease.stdin.take(); // its end gives the ports back
        let _status = self.lease.wait();
    }
}
