//! Ways of sending: with and without sendfile, direct reads, threads, open-file cache; as part of
//! another answer; behind X-Accel-Redirect; while nginx reads its configuration again.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::PLAIN;
use crate::server::{Scratch, Server, eventually};
use crate::store::{content, normal, place, put, url};

/// Larger than every buffer on the way, and no multiple of a page.
const LARGE: usize = 5_000_001;

#[test]
fn every_way_of_sending_sends_the_same_bytes() {
    let (dir, large, small) = (Scratch::new(), normal(LARGE as u64, "mp4"), normal(10, "txt"));
    let bytes = content(LARGE);
    put(&dir, &large, &bytes);
    put(&dir, &small, &bytes[..10]);
    let ways = [
        ("plain", "sendfile off;"),
        ("sendfile", "sendfile on; tcp_nopush on;"),
        ("threads", "sendfile on; aio threads;"),
        ("copying-threads", "sendfile off; aio threads;"),
        ("direct", "sendfile on; directio 1m; aio threads;"),
        ("direct-blocking", "sendfile off; directio 512; output_buffers 2 64k;"),
        ("cached", "sendfile on; open_file_cache max=10; open_file_cache_min_uses 1;"),
        ("errors-cached", "open_file_cache max=10; open_file_cache_errors on;"),
        ("no-links", "disable_symlinks on from=DIR;"),
        ("zipped", "gzip on; gzip_min_length 1; gzip_types *;"),
    ];
    let servers: String = ways
        .iter()
        .map(|(name, settings)| {
            format!(
                "server {{ listen unix:DIR/socket; server_name {name}; {settings}
             location / {{ ngx_fastdfs_module; }} }}\n"
            )
        })
        .collect();
    let http = format!("fastdfs_group group1; fastdfs_store_path DIR/store0;\n{servers}");
    let server = Server::start(dir, &http);
    for (host, _) in ways {
        for _ in 0..3 {
            let whole = server.ask_host(host, "GET", &url(&large), &[]);
            assert!(whole.status == 200 && whole.body == bytes, "{host}: the whole file");
            let part = ["Range: bytes=999999-4000000"];
            let part = server.ask_host(host, "GET", &url(&large), &part);
            assert!(part.status == 206 && part.body == bytes[999_999..=4_000_000], "{host}: part");
            let little = server.ask_host(host, "GET", &url(&small), &[]);
            assert!(little.status == 200 && little.body == bytes[..10], "{host}: ten bytes");
        }
    }
    let log = server.error_log();
    assert!(!log.contains("[alert]") && !log.contains("[crit]"), "{log}");
}

#[test]
fn the_cache_of_open_files_sees_deletion() {
    let (dir, f) = (Scratch::new(), normal(1024, "jpg"));
    put(&dir, &f, &content(1024));
    let cache = "open_file_cache max=10; open_file_cache_valid 1s; types";
    let server = Server::start(dir, &PLAIN.replacen("types", cache, 1));
    assert_eq!(server.get(&url(&f), &[]).status, 200);
    std::fs::remove_file(server.dir.path(&place(&f))).expect("it is there");
    eventually("a deleted file is 404", || server.get(&url(&f), &[]).status == 404);
    put(&server.dir, &f, &content(1024));
    assert_eq!(server.get(&url(&f), &[]).status, 200, "absence is not remembered");
}

#[test]
fn a_file_can_be_part_of_another_answer() {
    let (dir, f, empty) = (Scratch::new(), normal(1024, "txt"), normal(0, "txt"));
    put(&dir, &f, &content(1024));
    put(&dir, &empty, b"");
    dir.write("www/page", b"[page]");
    let parts = format!(
        "server {{
            listen unix:DIR/socket;
            server_name parts;
            location / {{ ngx_fastdfs_module; }}
            location /page {{
                root DIR/www;
                default_type text/html;
                addition_types *;
                add_before_body {};
                add_after_body {};
            }}
        }}",
        url(&f),
        url(&empty),
    );
    let server = Server::start(dir, &(PLAIN.to_owned() + &parts));
    // Without a length in advance nginx closes the connection at the end for HTTP/1.0.
    let answer = server.raw("GET /page HTTP/1.0\r\nHost: parts\r\n\r\n");
    let expected = [content(1024), b"[page]".to_vec()].concat();
    assert!(answer.ends_with(&expected), "{}", String::from_utf8_lossy(&answer));
    assert!(!server.error_log().contains("[alert]"), "{}", server.error_log());
}

#[test]
fn a_workers_type_and_disposition_stand() {
    let (dir, f) = (Scratch::new(), normal(1024, "html"));
    put(&dir, &f, &content(1024));
    let behind = format!(
        "server {{
            listen unix:DIR/worker;
            location / {{
                default_type \"text/x-worker; charset=utf-8\";
                add_header X-Accel-Redirect {f};
                add_header Content-Disposition \"attachment; filename*=UTF-8''%C3%A9\";
                add_header Set-Cookie session=1;
                add_header ETag \\\"worker\\\";
                return 200 ignored;
            }}
            location /bare {{
                add_header X-Accel-Redirect {f};
                add_header Content-Type '';
                return 204;
            }}
        }}
        server {{
            listen unix:DIR/socket;
            server_name front;
            location / {{ proxy_pass http://unix:DIR/worker:; }}
            location /group1/ {{
                internal;
                ngx_fastdfs_module;
                types {{ }}
                default_type application/octet-stream;
            }}
        }}",
        f = url(&f),
    );
    let server = Server::start(dir, &(PLAIN.to_owned() + &behind));
    let front =
        |method, target, headers: &[&str]| server.ask_host("front", method, target, headers);
    let answer = front("GET", "/node", &[]);
    assert!(answer.status == 200 && answer.body == content(1024));
    assert_eq!(answer.header("Content-Type"), Some("text/x-worker; charset=utf-8"));
    let disposition = Some("attachment; filename*=UTF-8''%C3%A9");
    assert_eq!(answer.header("Content-Disposition"), disposition);
    assert_eq!(answer.header("Set-Cookie"), Some("session=1"));
    assert_eq!(answer.header("ETag"), Some("\"b70b4c26-400\""), "of the content, not the worker");
    let part = front("GET", "/node", &["Range: bytes=5-9"]);
    assert!(part.status == 206 && part.body == content(1024)[5..10]);
    assert_eq!(part.header("Content-Disposition"), disposition);
    let unchanged = front("GET", "/node", &["If-None-Match: \"b70b4c26-400\""]);
    assert_eq!(unchanged.status, 304);
    let head = front("HEAD", "/node", &[]);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("1024")));
    let untyped = front("GET", "/bare", &[]);
    assert_eq!(untyped.header("Content-Type"), Some("application/octet-stream"));
    assert_eq!(front("GET", &url(&f), &[]).status, 404, "not from outside");
}

#[test]
fn a_reload_loses_no_request() {
    let (dir, f) = (Scratch::new(), normal(100_000, "jpg"));
    let bytes = content(100_000);
    put(&dir, &f, &bytes);
    let generation = |n: u32| PLAIN.replacen("types", &format!("add_header X-Gen {n}; types"), 1);
    let server = Server::start(dir, &generation(0));
    let (stop, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = server.get(&url(&f), &[]);
                    assert!(answer.status == 200 && answer.body == bytes);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 1..=4 {
            server.reload(&generation(n));
            let text = n.to_string();
            eventually("the new configuration answers", || {
                server.get(&url(&f), &[]).header("X-Gen") == Some(&text)
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 0, "no request was under way");
    // A configuration with a mistake changes nothing.
    server.dir.write("nginx.conf", b"load_module nothing;\n");
    assert_eq!(server.get(&url(&f), &[]).status, 200);
    server.reload(&generation(5));
    let log = server.error_log();
    assert!(!log.contains("[alert]") && !log.contains("exited on signal"), "{log}");
}
