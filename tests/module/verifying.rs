//! `fastdfs_verify once`: content against the sum in its name, before the first byte leaves.

use crate::nodes::Net;
use crate::server::{Scratch, Server};
use crate::store::{CREATED, appender, content, made_by, place, put, slave, summed, url};

const ONCE: &str = "fastdfs_verify once;";

/// A server of its own, with every way of sending that meets the check.
fn lone() -> Server {
    let http = "
        fastdfs_group group1; fastdfs_store_path DIR/store0; fastdfs_verify once;
        server { listen unix:DIR/socket; server_name a; sendfile on;
                 location / { ngx_fastdfs_module; } }
        server { listen unix:DIR/socket; server_name direct; directio 512; aio threads;
                 location / { ngx_fastdfs_module; } }
        server { listen unix:DIR/socket; server_name cached; open_file_cache max=100;
                 open_file_cache_valid 1s; location / { ngx_fastdfs_module; } }
        server { listen unix:DIR/socket; server_name off; fastdfs_verify off;
                 location / { ngx_fastdfs_module; } }
    ";
    Server::start(Scratch::new(), http)
}

#[test]
fn wrong_bytes_are_not_sent() {
    let server = lone();
    for (host, len) in [("a", 700_001), ("direct", 700_002), ("cached", 700_003)] {
        let bytes = content(len);
        let mut wrong = bytes.clone();
        wrong[500_000] ^= 1;
        let f = summed(&bytes, "jpg");
        put(&server.dir, &f, &wrong);
        for header in ["X: 1", "Range: bytes=0-9", "If-None-Match: *"] {
            let answer = server.ask_host(host, "GET", &url(&f), &[header]);
            assert_eq!(answer.status, 502, "{host} {header}");
        }
        assert_eq!(server.ask_host(host, "HEAD", &url(&f), &[]).status, 502, "{host}");
        let off = server.ask_host("off", "GET", &url(&f), &[]);
        assert!(off.status == 200 && off.body == wrong, "the check is an option");
        // Repaired in the way of a storage, by another file: right at once.
        std::fs::remove_file(server.dir.path(&place(&f))).expect("it is there");
        put(&server.dir, &f, &bytes);
        crate::server::eventually("the repaired file is sent", || {
            server.ask_host(host, "GET", &url(&f), &[]).body == bytes
        });
        for _ in 0..3 {
            let part = server.ask_host(host, "GET", &url(&f), &["Range: bytes=1-2"]);
            assert!(part.status == 206 && part.body == bytes[1..=2], "{host}");
        }
    }
    let log = server.error_log();
    let named = crate::store::crc32(&content(700_001));
    assert!(log.contains(&format!("its name says {named:08x}: damaged")), "{log}");
    assert!(!log.contains("[alert]"), "{log}");
}

#[test]
fn names_without_a_sum_of_their_own_are_sent() {
    let server = lone();
    let bytes = content(1024);
    let (f, a) = (summed(&bytes, "jpg"), appender("jpg"));
    let s = slave(&f, "_x", "jpg");
    for name in [&f, &a, &s] {
        put(&server.dir, name, &bytes);
    }
    // A link has a random sum (storage.md 3.12): the target's counts.
    let link = made_by([1, 2, 3, 4], CREATED + 1, &bytes, "jpg");
    let other = crate::store::normal(1024, "gif");
    for name in [&link, &other] {
        std::os::unix::fs::symlink(server.dir.path(&place(&f)), server.dir.path(&place(name)))
            .expect("it is new");
    }
    for name in [&f, &a, &s, &link, &other] {
        let answer = server.get(&url(name), &[]);
        assert!(answer.status == 200 && answer.body == bytes, "{name}: {}", answer.status);
    }
}

#[test]
fn another_member_answers_for_a_damaged_copy() {
    let net = Net::new(2);
    let servers: Vec<Server> = (0..2).map(|own| net.server(own, ONCE)).collect();
    let bytes = content(100_000);
    let mut wrong = bytes.clone();
    wrong[99_999] = !wrong[99_999];
    let f = made_by(net.ips[0].octets(), CREATED, &bytes, "jpg");
    put(&servers[0].dir, &f, &wrong);
    put(&servers[1].dir, &f, &bytes);
    for server in &servers {
        for header in ["X: 1", "Range: bytes=99990-99999"] {
            let answer = server.get(&url(&f), &[header]);
            let expected = if header.starts_with('R') { &bytes[99_990..] } else { &bytes };
            assert!(answer.body == expected, "{}", answer.status);
        }
    }
    assert!(servers[0].error_log().contains(": damaged"), "it is reported all the same");
}

#[test]
fn many_readers_of_many_files_are_checked_at_once() {
    let server = lone();
    let files: Vec<_> = (1..=40).map(|n| content(n * 20_011)).collect();
    let names: Vec<_> = files.iter().map(|bytes| summed(bytes, "jpg")).collect();
    for (name, bytes) in names.iter().zip(&files) {
        put(&server.dir, name, bytes);
    }
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let (server, names, files) = (&server, &names, &files);
            scope.spawn(move || {
                for turn in 0..names.len() {
                    let at = (turn * 7 + reader) % names.len();
                    let host = ["a", "direct", "cached"][turn % 3];
                    let answer = server.ask_host(host, "GET", &url(&names[at]), &[]);
                    assert!(answer.status == 200 && answer.body == files[at], "{host} {at}");
                }
            });
        }
        // Clients that go away while a thread reads for them.
        scope.spawn(|| {
            for name in names.iter().rev() {
                server.leave(&format!("GET {} HTTP/1.1\r\nHost: direct\r\n\r\n", url(name)));
            }
        });
    });
    let log = server.error_log();
    assert!(!log.contains("[alert]") && !log.contains("exited on signal"), "{log}");
}
