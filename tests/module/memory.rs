//! Nothing is lost and nothing leaks over many reloads and dead workers, under load; and valgrind
//! finds nothing to say about any kind of request.

use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proto::fileid::FileName;

use crate::nodes::Net;
use crate::server::{Scratch, Server, WORKERS, configuration, eventually};
use crate::store::{appender, content, made_by, put, slave, slot, summed, url};

/// Reloads of the test; each makes and drops all settings.
const RELOADS: u64 = 25;
/// What the master may grow by over the reloads after the first few, in KiB: its heap is cut
/// differently each time, and a setting that is lost is a thousand times that.
const GROWTH_MAX: u64 = 1024;

fn anonymous(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = text.lines().find(|line| line.starts_with("Anonymous:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)).expect("it has one");
    number.parse().expect("it is a number")
}

#[test]
fn reloads_and_dead_workers_lose_nothing() {
    let (dir, bytes) = (Scratch::new(), content(100_000));
    let f = summed(&bytes, "jpg");
    put(&dir, &f, &bytes);
    // Settings that are large enough to be missed: thousands of members and keys.
    let many: String = (0..200)
        .map(|n| {
            format!(
                "fastdfs_member 10.1.{n}.1 group=g{n}; fastdfs_store_path DIR/store1 group=g{n};\n"
            )
        })
        .collect();
    let http = |generation: u64| {
        format!(
            "fastdfs_group group1; fastdfs_store_path DIR/store0; fastdfs_verify once;
             fastdfs_token off; {many}
             server {{ listen unix:DIR/socket; server_name a; add_header X-Gen {generation};
                       location / {{ ngx_fastdfs_module; }}
                       location /x/ {{ ngx_fastdfs_module; }} }}"
        )
    };
    let server = Server::start(dir, &http(0));
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut early = 0;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = server.get(&url(&f), &[]);
                    assert!(answer.status == 200 && answer.body == bytes);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for generation in 1..=RELOADS {
            server.reload(&http(generation));
            let text = generation.to_string();
            eventually("the new configuration answers", || {
                server.get(&url(&f), &[]).header("X-Gen") == Some(&text)
            });
            if generation == RELOADS / 3 {
                early = anonymous(server.pid());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let late = anonymous(server.pid());
    println!("{} requests, master {early} -> {late} KiB", asked.load(Ordering::Relaxed));
    assert!(late < early + GROWTH_MAX, "the master grew from {early} to {late} KiB");
    // A worker that dies is replaced, and the new one serves.
    eventually("old workers have gone", || server.workers().len() == 2);
    let old = server.workers();
    let pids: Vec<String> = old.iter().map(u32::to_string).collect();
    assert!(Command::new("kill").arg("-9").args(&pids).status().expect("kill runs").success());
    eventually("new workers are there", || {
        let new = server.workers();
        new.len() == 2 && new.iter().all(|pid| !old.contains(pid))
    });
    assert!(server.get(&url(&f), &[]).body == bytes);
}

/// One file of every kind, and settings under which each can be asked for.
fn every_kind(dir: &Scratch, net: &Net) -> (Vec<FileName>, String) {
    let bytes = content(70_000);
    let f = summed(&bytes, "jpg");
    let (packed, stored) = slot(&content(300), "txt", 512, b'F');
    let empty = summed(b"", "txt");
    let mut names = vec![f.clone(), slave(&f, "_x", "jpg"), appender("jpg")];
    names.iter().for_each(|name| put(dir, name, &bytes));
    put(dir, &empty, b"");
    dir.write("store0/data/00/00/000001", &[vec![0; 512], stored].concat());
    let wrong = made_by([10, 0, 0, 1], 5, &content(10), "jpg");
    put(dir, &wrong, b"otherbytes");
    names.extend([empty, packed, wrong, summed(&content(9), "jpg")]);
    let http = format!(
        "fastdfs_group group1; fastdfs_store_path DIR/store0; fastdfs_verify once;
         fastdfs_link_key k 'sixteen bytes of k'; fastdfs_md5_secret secret;
         fastdfs_member 127.0.0.1:9; fastdfs_token off;
         server {{ listen unix:DIR/socket; listen {}:{}; server_name a; types {{ image/jpeg jpg; }}
                   location / {{ ngx_fastdfs_module; flv; }} }}
         server {{ listen unix:DIR/socket; server_name strict; fastdfs_token any;
                   location / {{ ngx_fastdfs_module; }} }}
         server {{ listen unix:DIR/socket; server_name away; fastdfs_replica_mode redirect;
                   location / {{ ngx_fastdfs_module; }} }}",
        net.ips[0], net.port
    );
    (names, http)
}

/// nginx under valgrind, in one process; what it finds goes to the file `valgrind`.
fn under_valgrind(dir: &Scratch, http: &str) -> Child {
    let one = "daemon off; master_process off;";
    let text = configuration(dir, http).replacen(&format!("worker_processes {WORKERS};"), one, 1);
    dir.write("nginx.conf", text.as_bytes());
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let mut command = Command::new("valgrind");
    command.env("PATH", &path).args(["--leak-check=full", "--show-leak-kinds=definite"]);
    command.arg(format!("--log-file={}/valgrind", dir.0.display())).arg("nginx");
    command.arg("-p").arg(&dir.0).arg("-c").arg(dir.path("nginx.conf"));
    command.spawn().expect("no valgrind: run conf/deps.sh test")
}

#[test]
fn valgrind_has_nothing_to_say() {
    let (net, dir) = (Net::new(1), Scratch::new());
    let (names, http) = every_kind(&dir, &net);
    let mut child = under_valgrind(&dir, &http);
    let server = Server::running(dir);
    eventually("nginx listens", || {
        std::os::unix::net::UnixStream::connect(server.dir.path("socket")).is_ok()
    });
    let queries = ["", "?filename=a%0d%22.jpg", "?start=5", "?k=k&e=9&s=x", "?token=x&ts=0"];
    for host in ["a", "strict", "away"] {
        for name in &names {
            for header in ["X: 1", "Range: bytes=1-5,7-9", "If-None-Match: *"] {
                for query in queries {
                    server.ask_host(host, "GET", &format!("{}{query}", url(name)), &[header]);
                }
            }
        }
    }
    server.leave(&format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", url(&names[0])));
    let pid = server.dir.read("pid").trim().to_owned();
    assert!(Command::new("kill").args(["-QUIT", &pid]).status().expect("kill runs").success());
    // A signal that comes just before nginx waits for events is noticed at the next one: without a
    // master it waits for ever if there is none.
    let mut ended = None;
    eventually("nginx ends", || {
        drop(std::os::unix::net::UnixStream::connect(server.dir.path("socket")));
        ended = child.try_wait().expect("it is ours");
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()), "{}", server.error_log());
    let said = server.dir.read("valgrind");
    assert!(said.contains("ERROR SUMMARY"), "it did not come to its end: {said}");
    // nginx's own start is not free of findings; one of ours would name the module.
    assert!(!said.contains("ngx_fastdfs"), "{said}");
}
