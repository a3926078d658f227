//! Slow and many connections against the real daemons: what one of them costs, that it stops
//! nobody else, that nothing announced is believed (testing.md 12).
//!
//! Client and server are separate processes. Everything is on loopback, counted, and bounded by
//! a deadline; times are printed, never asserted.

#![allow(clippy::print_stdout, reason = "figures of a run")]
#![expect(clippy::disallowed_methods, reason = "tests keep their own time and write plain files")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../storage/cluster.rs"]
#[expect(dead_code, reason = "the storage's own tests use more of it")]
mod cluster;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use cluster::*;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

/// Connections of one style at the same time.
const MANY: usize = 10_000;
/// Of unfinished uploads: each has a temporary file open, besides its socket.
const UPLOADS: usize = 5000;
/// Of readers that do not read: the kernel holds a part of the file for each.
const READERS: usize = 2000;
/// What one of them may cost.
const BYTES_EACH_MAX: u64 = 16 * 1024;
/// Descriptors that both sides need.
const DESCRIPTORS: &str = "20000:20000";
/// One test at a time: each of them wants the machine's descriptors for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `test` while no other one runs.
fn alone(test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test);
}

fn raise_limit() {
    let pid = std::process::id().to_string();
    let nofile = format!("--nofile={DESCRIPTORS}");
    let raised = Command::new("prlimit").args(["--pid", &pid, &nofile]).status().unwrap();
    assert!(raised.success(), "prlimit --nofile={DESCRIPTORS}: run this as root");
}

/// Resident bytes of a process.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Sockets a process has open: its files come and go with uploads and readers. A descriptor
/// that is closed while they are counted is none.
fn sockets(pid: u32) -> usize {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// `count` connections to `at`, each with `first` sent. Every process and turn has a source
/// address of its own, so that closed connections of others do not use up the ports; to look for
/// a free port among so many takes the kernel long, so they are taken in their order.
async fn connect_all(at: SocketAddr, turn: u8, count: usize, first: &[u8]) -> Vec<TcpStream> {
    let mut all = Vec::with_capacity(count);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let from = IpAddr::V4(Ipv4Addr::new(127, high | 0x80, low, turn));
    let mut ports = 2000..=u16::MAX;
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        // One that somebody listens on at every address is left out.
        let bound = |port| socket.bind(SocketAddr::new(from, port)).is_ok();
        ports.find(|&port| bound(port)).expect("a free port");
        // What the kernel holds for readers that do not read is not ours; it shall not be much.
        socket.set_recv_buffer_size(8192).unwrap();
        let mut stream = socket.connect(at).await.unwrap();
        stream.write_all(first).await.unwrap();
        all.push(stream);
    }
    all
}

/// A request: header, then as much of the body as is given.
fn message(command: u8, len: u64, body: &[u8]) -> Vec<u8> {
    let mut out = len.to_be_bytes().to_vec();
    out.extend([command, 0]);
    out.extend(body);
    out
}

/// A server under test.
struct Server {
    name: &'static str,
    at: SocketAddr,
    pid: u32,
    /// Sockets it has before the first style: a good client's and its own.
    sockets: usize,
}

/// Connections a server makes on its own account, to trackers, that may come and go.
const ITS_OWN: usize = 8;

impl Server {
    fn new(name: &'static str, at: SocketAddr, pid: u32) -> Self {
        Self { name, at, pid, sockets: sockets(pid) }
    }

    /// Waits until it has accepted `many` connections besides those of the start.
    fn has_accepted(&self, many: usize) {
        let least = self.sockets + many - ITS_OWN;
        eventually("all connections are accepted", || sockets(self.pid) >= least);
    }

    /// Waits until it has closed all but those of the start.
    fn is_left_alone(&self) {
        let most = self.sockets + ITS_OWN;
        eventually("all are gone", || sockets(self.pid) <= most);
    }
}

/// Opens many connections of one style, measures what each costs, lets a good client work
/// beside them, closes them and waits until they are gone.
async fn style(server: &Server, turn: u8, style: &str, first: &[u8], mut good: impl FnMut()) {
    let many = match style {
        "slow reader" => READERS,
        "half body" | "trickle" => UPLOADS,
        _ => MANY,
    };
    let before = resident(server.pid);
    let begun = Instant::now();
    let mut all = connect_all(server.at, turn, many, first).await;
    server.has_accepted(many);
    if style == "trickle" {
        for _ in 0..3 {
            for stream in &mut all {
                stream.write_all(b"x").await.unwrap();
            }
        }
    }
    let mut times = Vec::new();
    for _ in 0..100 {
        let from = Instant::now();
        good();
        times.push(from.elapsed());
    }
    times.sort();
    let cost = resident(server.pid).saturating_sub(before) / many as u64;
    let p99 = times[98];
    drop(all);
    server.is_left_alone();
    println!(
        "{} {style}: {many} connections, {cost} bytes each, good client p99 {p99:?}, {:?} in all",
        server.name,
        begun.elapsed()
    );
    assert!(cost <= BYTES_EACH_MAX, "{} {style}: {cost} bytes each", server.name);
}

#[test]
fn ten_thousand_slow_connections_to_a_storage() {
    alone(ten_thousand_slow_connections_to_a_storage_now());
}

async fn ten_thousand_slow_connections_to_a_storage_now() {
    raise_limit();
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "max_connections = 20000");
    let mut client = storage.connect();
    client.upload("bin", b"the connection is accepted");
    let server = Server::new("storage", storage.at, storage.pid());
    let content = content(1, 20_000);
    let large = client.upload("bin", &self::content(2, 8 << 20));
    let mut good = || {
        let name = client.upload("bin", &content);
        assert_eq!(client.download(&name, 0, 0), (0, content.clone()));
    };
    // What the first requests allocate is not the cost of slow ones.
    (0..50).for_each(|_| good());
    // What is announced is reserved on the disk: all of them together fit on a small one.
    let upload = [&upload_head("bin", 1 << 17)[..], &[7; 4000]].concat();
    let small = [&upload_head("bin", 60_000)[..], &[7; 4000]].concat();
    let mut read = [0u64.to_be_bytes(), 0u64.to_be_bytes()].concat();
    read.extend(named(&large));
    let read = message(14, read.len() as u64, &read);
    let styles: [(&str, Vec<u8>); 6] = [
        ("silent", Vec::new()),
        ("half header", vec![0; 5]),
        ("half body", message(11, 15 + (1 << 17), &upload)),
        ("trickle", message(11, 15 + 60_000, &small)),
        ("slow reader", read),
        ("idle keep-alive", message(111, 0, &[])),
    ];
    for ((name, first), turn) in styles.into_iter().zip(1..) {
        style(&server, turn, name, &first, &mut good).await;
    }
    assert_eq!(fs::read_dir(dir.0.join("data/.tmp")).unwrap().count(), 0, "nothing is left");
    assert!(storage.stop());
}

#[test]
fn ten_thousand_slow_connections_to_a_tracker() {
    alone(ten_thousand_slow_connections_to_a_tracker_now());
}

async fn ten_thousand_slow_connections_to_a_tracker_now() {
    raise_limit();
    let dir = Dir::new();
    let (mut child, at) = tracker(&dir, "max_connections = 20000");
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    let mut good = || {
        stream.write_all(&message(111, 0, &[])).unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
    };
    (0..50).for_each(|_| good());
    let server = Server::new("tracker", at, child.id());
    let half = message(101, 100, &[1; 50]);
    let styles: [(&str, Vec<u8>); 4] = [
        ("silent", Vec::new()),
        ("half header", vec![0; 5]),
        ("half body", half),
        ("idle keep-alive", message(111, 0, &[])),
    ];
    for ((name, first), turn) in styles.into_iter().zip(11..) {
        style(&server, turn, name, &first, &mut good).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A real tracker in the foreground, and where it listens.
fn tracker(dir: &Dir, more: &str) -> (Child, SocketAddr) {
    let conf = dir.0.join("tracker.conf");
    let base = dir.0.display();
    fs::write(&conf, format!("base_path = {base}\nbind_addr = 127.0.0.1\nport = 0\n{more}\n"))
        .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fdfs_trackerd"))
        .arg(&conf)
        .arg("--foreground")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let at = line.trim().strip_prefix("listening on ").expect("it starts").parse().unwrap();
    (child, at)
}

#[test]
fn nothing_that_is_announced_is_believed() {
    alone(nothing_that_is_announced_is_believed_now());
}

async fn nothing_that_is_announced_is_believed_now() {
    raise_limit();
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "max_connections = 20000");
    let mut client = storage.connect();
    client.upload("", b"warm");
    let server = Server::new("storage", storage.at, storage.pid());
    // A thousand uploads that say the truth: what they cost is the other tests' matter.
    let honest = message(11, 15 + 60_000, &upload_head("bin", 60_000));
    let all = connect_all(storage.at, 20, 1000, &honest).await;
    server.has_accepted(all.len());
    drop(all);
    server.is_left_alone();
    let before = resident(storage.pid());
    for (turn, size) in [(21, 1u64 << 40), (22, 1 << 62), (23, u64::MAX - 20), (24, 1 << 63)] {
        let mut body = vec![0xff];
        body.extend(size.to_be_bytes());
        body.extend(b"bin\0\0\0");
        let first = message(11, size.saturating_add(15), &body);
        let all = connect_all(storage.at, turn, 1000, &first).await;
        let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
        for stream in all {
            let mut stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut header = [0; 10];
            let outcome = match stream.read_exact(&mut header) {
                Ok(()) => format!("status {}", header[9]),
                Err(_) => "closed".to_owned(),
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        println!("1000 uploads that announce {size} bytes: {outcomes:?}");
        let refused = ["closed", "status 22", "status 27", "status 28"];
        assert!(outcomes.keys().all(|o| refused.contains(&o.as_str())), "{outcomes:?}");
    }
    let grown = resident(storage.pid()).saturating_sub(before);
    println!("memory grew by {grown} bytes");
    assert!(grown <= 1000 * BYTES_EACH_MAX, "{grown}");
    client.upload("", b"and it goes on");
}

#[test]
fn one_connection_too_many_is_closed_and_the_others_go_on() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "max_connections = 50");
    let mut all: Vec<Client> = (0..50).map(|_| storage.connect()).collect();
    for client in &mut all {
        assert_eq!(client.ask(111, b""), (0, vec![]));
    }
    for _ in 0..20 {
        assert!(storage.connect().is_closed(), "the 51st is turned away");
    }
    for client in &mut all {
        assert_eq!(client.ask(111, b""), (0, vec![]), "those that are there are not harmed");
    }
    all.truncate(10);
    eventually("room returns", || {
        let mut client = storage.connect();
        client.stream.write_all(&message(111, 0, &[])).is_ok()
            && client.stream.read_exact(&mut [0; 10]).is_ok()
    });
}

#[test]
fn slow_ones_are_cut_off_at_their_deadline() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "network_timeout = 300ms");
    let large = content(1, 32 << 20);
    let mut client = storage.connect();
    let large = client.upload("bin", &large);
    let mut read = [0u64.to_be_bytes(), 0u64.to_be_bytes()].concat();
    read.extend(named(&large));
    let upload = message(11, 15 + (1 << 20), &upload_head("bin", 1 << 20));
    let firsts = [Vec::new(), vec![0; 5], upload, message(14, read.len() as u64, &read)];
    let server = Server::new("storage", storage.at, storage.pid());
    let mut all: Vec<Client> = (0..80)
        .map(|index| {
            let mut client = storage.connect();
            client.stream.write_all(&firsts[index % firsts.len()]).unwrap();
            client
        })
        .collect();
    for (index, other) in all.iter_mut().enumerate().filter(|(index, _)| index % 4 != 3) {
        assert!(other.is_closed(), "{index} is cut off though it does not close");
    }
    // Readers that do not read would take what is under way, if they looked whether they are.
    server.is_left_alone();
    drop(all);
    assert_eq!(client.ask(111, b""), (0, vec![]), "an idle one that was served may stay");
}
