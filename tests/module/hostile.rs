//! Many random and mutated addresses, headers and tokens: no worker ends, nothing outside the
//! store is opened, memory stays flat.
//!
//! `HOSTILE=1000000 cargo test --test module hostile` runs as many; the usual run is a small
//! share of that. Every address is a function of `SEED`, which is printed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use proto::token::{Key, Link, md5_token};

use crate::nodes::Net;
use crate::server::{Scratch, Server, eventually};
use crate::store::{content, place, put, slave, slot, summed, url};
use crate::support::seed::{Rng, Seed};

/// Requests of a usual run.
const REQUESTS: u64 = 8_000;
/// Requests sent in one go over a connection.
const BATCH: u64 = 50;
/// Connections at a time.
const CLIENTS: u64 = 4;
/// What workers may grow by, once they have seen every kind of request, in KiB.
const GROWTH_MAX: u64 = 4096;

/// Everything that a request can be made of.
struct Kinds {
    targets: Vec<String>,
    headers: Vec<String>,
}

fn kinds(dir: &Scratch) -> Kinds {
    let bytes = content(1024);
    let f = summed(&bytes, "jpg");
    let (big, film) = (slave(&f, "_big", "jpg"), summed(&content(2000), "flv"));
    let (packed, stored) = slot(&content(300), "txt", 512, b'F');
    put(dir, &f, &bytes);
    put(dir, &big, &bytes);
    put(dir, &film, &content(2000));
    dir.write("store0/data/00/00/000001", &[vec![0; 512], stored].concat());
    dir.write("secret", b"secret");
    let key = Key::new("k", b"sixteen bytes of k").expect("it is long enough");
    let file = format!("group1/{f}");
    let link = Link {
        inline: true,
        media_type: Some("text/plain".into()),
        filename: Some("照.jpg".as_bytes().into()),
        ..Link::until(4_000_000_000)
    };
    let token = String::from_utf8(md5_token(f.as_str().as_bytes(), b"FastDFS1234567890", 0).into());
    let token = token.expect("it is hexadecimal");
    let absent = summed(&content(77), "jpg");
    Kinds {
        targets: vec![
            url(&f),
            url(&big),
            url(&packed),
            url(&absent),
            format!("{}?start=100&end=200", url(&film)),
            format!("{}?{}", url(&f), link.sign(&key, &file)),
            format!("{}?token={token}&ts=0&filename=a%20b.jpg", url(&f)),
            format!("{}?redirect=1", url(&absent)),
            "/group1/M00/../../../../etc/passwd".to_owned(),
        ],
        headers: [
            "Range: bytes=0-9",
            "Range: bytes=-5,1-2,900-",
            "If-Range: \"b70b4c26-400\"",
            "If-Modified-Since: Sun, 22 Nov 2026 21:55:52 GMT",
            "If-None-Match: \"1-2\", *",
            "X-FastDFS-Hop: 1 k 4000000000 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "X-Internal: let me in",
            "Cookie: a=b",
            "X: y",
        ]
        .map(str::to_owned)
        .to_vec(),
    }
}

/// Changes a text in some places; never ends a line.
fn mutate(text: &str, rng: &mut Rng) -> Vec<u8> {
    const PIECES: [&[u8]; 20] = [
        b"/",
        b"..",
        b"%00",
        b"%ff",
        b"M",
        b"_",
        b"-m",
        b"%2f",
        b"0",
        b"%",
        b"?",
        b"//",
        b".jpg",
        b"=",
        b"&",
        b"%0d%0a",
        b"group1",
        b"M00/00/00/",
        b"99999999999999999999",
        b"\xc3\xa9",
    ];
    let mut bytes = text.as_bytes().to_vec();
    let index = |rng: &mut Rng, end: usize| {
        usize::try_from(rng.below(end.max(1) as u64)).expect("it is below a usize")
    };
    for _ in 0..rng.below(4) {
        let at = 1 + index(rng, bytes.len().saturating_sub(1));
        let piece = PIECES[index(rng, PIECES.len())];
        match rng.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, piece.iter().copied())),
            2 => drop(bytes.splice(at..(at + 1).min(bytes.len()), piece.iter().copied())),
            3 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (at % 7)),
            4 => {
                let tail = bytes.split_off(at);
                bytes = [tail, bytes].concat();
            }
            _ => {
                let many = piece.repeat(index(rng, 300));
                drop(bytes.splice(at..at, many));
            }
        }
    }
    bytes.retain(|byte| !matches!(byte, b'\r' | b'\n' | b'\0'));
    bytes
}

fn request(kinds: &Kinds, rng: &mut Rng, last: bool) -> Vec<u8> {
    let pick = |list: &[String], rng: &mut Rng| {
        list[usize::try_from(rng.below(list.len() as u64)).expect("it is small")].clone()
    };
    let mut target = mutate(&pick(&kinds.targets, rng), rng);
    target.retain(|byte| *byte != b' ');
    if !target.starts_with(b"/") {
        target.insert(0, b'/');
    }
    target.truncate(6000);
    let method: &[u8] = if rng.below(10) == 0 { b"HEAD" } else { b"GET" };
    let hosts = ["free", "strong", "both"];
    let host = hosts[usize::try_from(rng.below(3)).expect("it is small")];
    let mut out =
        [method, b" ", &target, b" HTTP/1.1\r\nHost: ", host.as_bytes(), b"\r\n"].concat();
    for _ in 0..rng.below(3) {
        let line = pick(&kinds.headers, rng);
        let (name, value) = line.split_once(": ").expect("all have one");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend(mutate(value, rng).into_iter().filter(|byte| b' ' <= *byte).take(2000));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(if last { b"Connection: close\r\n\r\n" } else { b"\r\n" });
    out
}

/// Sends one batch. nginx closes a connection after a request that it cannot take; then what is
/// left of the batch is not sent. Returns how many answers came.
fn batch(at: (std::net::Ipv4Addr, u16), kinds: &Kinds, rng: &mut Rng) -> u64 {
    let mut socket = TcpStream::connect(at).expect("nginx listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("it is not zero");
    let mut answered = 0;
    let mut all = Vec::new();
    for number in 1..=BATCH {
        all.extend(request(kinds, rng, number == BATCH));
    }
    let mut writer = socket.try_clone().expect("descriptors are left");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It may be closed by a bad request; the answers tell how far it came.
            let _ = writer.write_all(&all);
        });
        let mut seen = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            match socket.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(len) => seen.extend_from_slice(&buffer[..len]),
            }
        }
        answered = seen.windows(9).filter(|part| part == b"HTTP/1.1 ").count() as u64;
        let text = String::from_utf8_lossy(&seen);
        assert!(!text.contains("root:x:"), "a file of the system was sent");
        assert!(!text.contains("\nsecret"), "a file beside the store was sent");
    });
    answered
}

/// Sends about `count` requests over several connections at a time; returns how many answers
/// came.
fn send(net: &Net, kinds: &Kinds, seed: Seed, count: u64) -> u64 {
    let at = (net.ips[0], net.port);
    let clients: Vec<u64> = (0..CLIENTS).collect();
    std::thread::scope(|scope| {
        let run = |client: &u64| {
            let mut rng = seed.child(&format!("client {client}")).rng();
            scope.spawn(move || {
                let mut answered = 0;
                while answered < count / CLIENTS {
                    answered += batch(at, kinds, &mut rng);
                }
                answered
            })
        };
        let running: Vec<_> = clients.iter().map(run).collect();
        running.into_iter().map(|client| client.join().expect("its batches end")).sum()
    })
}

/// Private memory of the workers, in KiB.
fn memory(server: &Server) -> u64 {
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
        let line = text.lines().find(|line| line.starts_with("Private_Dirty:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1)).expect("it has one");
        number.parse::<u64>().expect("it is a number")
    };
    server.workers().into_iter().map(of).sum()
}

/// Writes down every file that the workers open.
fn trace(server: &Server) -> Child {
    let mut command = Command::new("strace");
    command.args(["-f", "-q", "-y", "-e", "trace=open,openat,openat2,stat,newfstatat,statx"]);
    command.arg("-o").arg(server.dir.path("trace"));
    for pid in server.workers() {
        command.arg("-p").arg(pid.to_string());
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    child.spawn().expect("no strace: run conf/deps.sh test")
}

#[test]
fn no_request_breaks_a_worker_or_leaves_the_store() {
    let seed = Seed::of_this_run("hostile");
    let count = std::env::var("HOSTILE").ok().and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(REQUESTS);
    let (net, dir) = (Net::new(1), Scratch::new());
    let kinds = kinds(&dir);
    let server = |name: &str, more: &str| {
        format!(
            "server {{ listen unix:DIR/socket; listen {}:{}; server_name {name}; {more}
             location / {{ ngx_fastdfs_module; }} }}\n",
            net.ips[0], net.port
        )
    };
    let http = [
        "fastdfs_group group1; fastdfs_store_path DIR/store0; fastdfs_store_path DIR/store1;
         fastdfs_verify once; keepalive_requests 1000000; large_client_header_buffers 4 16k;
         fastdfs_link_key k 'sixteen bytes of k'; fastdfs_member 127.0.0.1:9 id=100001;
         fastdfs_token_fail 410; error_log DIR/log/error.log crit;",
        &server("free", "fastdfs_token off; fastdfs_replica_mode redirect;"),
        &server("strong", "fastdfs_token_bypass X-Internal 'let me in';"),
        &server("both", "fastdfs_md5_secret FastDFS1234567890; open_file_cache max=50;"),
    ]
    .concat();
    let server = Server::start(dir, &http);
    let workers = server.workers();
    assert_eq!(workers.len(), 2);

    // Traced: what is opened, is of the store.
    let mut strace = trace(&server);
    let path = server.dir.path("trace");
    eventually("strace looks", || {
        server.ask_host("free", "GET", &kinds.targets[0], &[]);
        path.exists() && std::fs::metadata(&path).is_ok_and(|about| about.len() > 0)
    });
    send(&net, &kinds, seed.child("traced"), 1000.min(count));
    strace.kill().expect("it runs");
    strace.wait().expect("it is ours");
    let text = String::from_utf8_lossy(&std::fs::read(&path).expect("it was written")).into_owned();
    let store = format!("\"{}/store", server.dir.0.display());
    let mut opened = 0;
    for line in text.lines().filter(|line| line.contains("open") && line.contains('"')) {
        let inside = line.contains(&store) && !line.contains("/../") && !line.contains("secret");
        let ours = line.contains("/members\"") || line.contains("/tmp/");
        assert!(inside || ours && !line.contains("secret"), "opened outside the store: {line}");
        opened += u64::from(inside);
    }
    assert!(opened > 50, "the trace has {opened} files of the store:\n{text}");

    // Once warm, memory stays as it is, however many follow.
    send(&net, &kinds, seed.child("warm"), count / 4);
    let before = memory(&server);
    let answered = send(&net, &kinds, seed.child("all"), count);
    let after = memory(&server);
    println!("{answered} answers, {opened} files traced, memory {before} -> {after} KiB");
    assert!(after < before + GROWTH_MAX, "memory grew from {before} to {after} KiB");
    assert_eq!(server.workers(), workers, "a worker ended: {}", server.error_log());
    let log = server.error_log();
    assert!(!log.contains("exited on signal") && !log.contains("[alert]"), "{log}");
    let whole = server.ask_host("free", "GET", &kinds.targets[0], &[]);
    assert!(whole.status == 200 && whole.body == content(1024), "and it still serves");
    assert!(server.dir.path(&place(&summed(&content(1024), "jpg"))).exists());
}
