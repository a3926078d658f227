//! nginx/nginx.conf as it is installed: filled in, in front of a worker that only listens.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use crate::server::{Scratch, Server, module};
use crate::store::{content, crc32, normal, put, summed, url};

/// Fills in the template, with every worker at the unix socket `worker` of the directory.
fn site(dir: &Scratch) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut text =
        std::fs::read_to_string(format!("{root}/nginx/nginx.conf")).expect("it is there");
    let here = dir.0.display().to_string();
    let (module, worker) = (module().display().to_string(), format!("unix:{here}/worker"));
    for (name, value) in [
        ("USER_LINE", "user root;"),
        ("MODULE", &module),
        ("LISTEN", &format!("unix:{here}/socket")),
        ("WWW", &format!("{here}/www")),
        ("MIME", "/etc/nginx/mime.types"),
        ("FASTCGI", &format!("{root}/nginx/fastcgi.conf")),
        ("GROUP", "group1"),
        ("MEMCACHED", &format!("{here}/memcached")),
        ("STORE_PATHS", "fastdfs_store_path RUN/store0;\n fastdfs_store_path RUN/store1;"),
        ("UP_REGISTER", &worker),
        ("UP_LOGIN", &worker),
        ("UP_UPLOAD", &worker),
        ("UP_MYDISK", &worker),
        ("UP_DOWNLOAD", &worker),
        ("UP_INSTANT", &worker),
        ("UP_ADMIN", &worker),
        ("UP_EVENTS", &worker),
        ("UP_THUMB", &worker),
        ("UP_CATEGORY", &worker),
        ("UP_SHARE", &worker),
        ("REAL_IP", ""),
    ] {
        assert!(text.contains(&format!("@{name}@")), "{name} is documented and not used");
        text = text.replace(&format!("@{name}@"), &value.replace("RUN", &here));
    }
    text = text.replace("@RUN@", &here);
    let left = text
        .split('@')
        .skip(1)
        .step_by(2)
        .find(|name| name.chars().all(|c| c == '_' || c.is_ascii_uppercase()));
    assert_eq!(left, None, "a name that nobody fills in");
    text
}

fn start() -> Server {
    let dir = Scratch::new();
    dir.write("www/index.html", b"<!doctype html><title>x</title>");
    dir.write("www/login.html", b"login");
    dir.write("www/.secret", b"secret");
    dir.write("nginx.conf", site(&dir).as_bytes());
    Server::start_written(dir)
}

#[test]
fn pages_carry_their_headers() {
    let server = start();
    for target in ["/", "/login.html", "/login"] {
        let page = server.get(target, &[]);
        assert_eq!((page.status, page.header("Server")), (200, Some("nginx")), "{target}");
        let policy = page.header("Content-Security-Policy").expect("every page has one");
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"), "{target}");
        assert_eq!(page.header("X-Frame-Options"), Some("DENY"), "{target}");
        assert_eq!(page.header("Cache-Control"), Some("no-cache"), "{target}");
        assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"), "{target}");
    }
    for target in ["/.secret", "/nothing", "/../nginx.conf", "/www/../../nginx.conf"] {
        assert!([400, 404].contains(&server.get(target, &[]).status), "{target}");
    }
    assert_eq!(server.ask("POST", "/login.html", &["Content-Length: 0"]).status, 405);
}

#[test]
fn stored_files_are_not_served_to_those_who_ask_for_them() {
    let server = start();
    let f = normal(10, "html");
    put(&server.dir, &f, &content(10));
    assert_eq!(server.get(&url(&f), &[]).status, 404);
    assert_eq!(server.get(&url(&f), &["X-Accel-Redirect: /"]).status, 404);
    assert_eq!(server.get(&format!("/x/..{}", url(&f)), &[]).status, 404);
}

#[test]
fn nginx_refuses_in_json() {
    let server = start();
    let cases = [
        ("GET", "/api/nothing", "Content-Length: 0", 404, "not_found", None),
        ("GET", "/api/", "Content-Length: 0", 404, "not_found", None),
        ("GET", "/api/login", "Content-Length: 0", 502, "unavailable", Some("2")),
        ("PUT", "/api/upload/a.jpg", "Content-Length: 0", 502, "unavailable", Some("2")),
        ("POST", "/api/login", "Content-Length: 2000000", 413, "too_large", None),
    ];
    for (method, target, header, status, code, retry) in cases {
        let answer = server.ask(method, target, &[header]);
        assert_eq!(answer.status, status, "{target}");
        let kind = answer.header("Content-Type");
        assert_eq!(kind, Some("application/json; charset=utf-8"), "{target}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("it is JSON");
        assert_eq!(body["error"]["code"], code, "{target}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(answer.header("Retry-After"), retry, "{target}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{target}");
    }
}

/// Takes one request and answers `head`; returns what nginx sent.
fn worker(listener: &UnixListener, head: &str) -> Vec<u8> {
    let (mut socket, _) = listener.accept().expect("nginx connects");
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // The request ends with an empty record of type 5, the body's.
    while !request.ends_with(&[1, 5, 0, 1, 0, 0, 0, 0]) {
        let len = socket.read(&mut buffer).expect("nginx sends");
        assert!(len > 0, "nginx sends a whole request");
        request.extend_from_slice(&buffer[..len]);
    }
    let len = u8::try_from(head.len()).expect("a short answer");
    let mut answer = vec![1, 6, 0, 1, 0, len, 0, 0];
    answer.extend_from_slice(head.as_bytes());
    answer.extend_from_slice(&[1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    socket.write_all(&answer).expect("nginx reads");
    request
}

/// The value of a parameter in the bytes of a request: both lengths are below 128 here.
fn parameter<'r>(request: &'r [u8], name: &str) -> Option<&'r str> {
    let at = (2..request.len()).find(|at| {
        request[*at..].starts_with(name.as_bytes()) && usize::from(request[at - 2]) == name.len()
    })?;
    let value = at + name.len();
    std::str::from_utf8(&request[value..value + usize::from(request[at - 1])]).ok()
}

#[test]
fn a_client_cannot_forge_what_workers_are_told() {
    let server = start();
    let listener = UnixListener::bind(server.dir.path("worker")).expect("the name is free");
    let headers = [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 1.2.3.4",
        "X-Forwarded-Host: evil",
        "Forwarded: for=1.2.3.4",
        "Proxy: http://evil",
        "X-Accel-Redirect: /group1/M00",
        "X-Accel-Limit-Rate: 1",
        "X-Sendfile: /etc/passwd",
        "X-Original-URL: /api/admin",
        "Cookie: session=1",
    ];
    let (request, answer) = std::thread::scope(|scope| {
        let worker = scope.spawn(|| worker(&listener, "Status: 200\r\nX-Accel-Expires: 9\r\n\r\n"));
        let answer = server.raw(&format!(
            "GET /api/disk/%C3%A9?x=1 HTTP/1.0\r\nHost: a\r\n{}\r\n\r\n",
            headers.join("\r\n")
        ));
        (worker.join().expect("the worker is served"), answer)
    });
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(!String::from_utf8_lossy(&answer).contains("X-Accel"));
    for (name, value) in [
        ("REQUEST_METHOD", Some("GET")),
        ("REQUEST_URI", Some("/api/disk/%C3%A9?x=1")),
        ("DOCUMENT_URI", Some("/api/disk/é")),
        ("QUERY_STRING", Some("x=1")),
        ("HTTP_COOKIE", Some("session=1")),
        ("HTTP_X_FORWARDED_FOR", Some("unix:")), // the client's address here
        ("HTTP_X_FORWARDED_PROTO", Some("http")),
        ("HTTP_X_REAL_IP", Some("unix:")),
        ("HTTP_X_FORWARDED_HOST", None),
        ("HTTP_FORWARDED", None),
        ("HTTP_PROXY", None),
        ("HTTP_X_ACCEL_REDIRECT", None),
        ("HTTP_X_ACCEL_LIMIT_RATE", None),
        ("HTTP_X_SENDFILE", None),
        ("HTTP_X_ORIGINAL_URL", None),
    ] {
        assert_eq!(parameter(&request, name), value, "{name}");
    }
}

#[test]
fn a_worker_sends_a_stored_file() {
    let server = start();
    let listener = UnixListener::bind(server.dir.path("worker")).expect("the name is free");
    let f = summed(&content(1024), "html");
    put(&server.dir, &f, &content(1024));
    let tag = format!("\"{:x}-400\"", crc32(&content(1024)));
    let head = format!(
        "X-Accel-Redirect: {}\r\nContent-Type: text/plain\r\n\
         Content-Disposition: attachment\r\nX-Frame-Options: ALLOWALL\r\n\r\n",
        url(&f)
    );
    let answer = std::thread::scope(|scope| {
        let worker = scope.spawn(|| worker(&listener, &head));
        let answer = server.get("/api/download/7", &[]);
        worker.join().expect("the worker is served");
        answer
    });
    assert!(answer.status == 200 && answer.body == content(1024));
    for (name, value) in [
        ("Content-Type", "text/plain"),
        ("Content-Disposition", "attachment"),
        ("Content-Security-Policy", "sandbox; default-src 'none'"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Cache-Control", "private, no-cache"),
        ("ETag", &tag),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let gone = normal(5, "txt");
    let head = format!("X-Accel-Redirect: {}\r\n\r\n", url(&gone));
    let answer = std::thread::scope(|scope| {
        let worker = scope.spawn(|| worker(&listener, &head));
        let answer = server.get("/api/download/8", &[]);
        worker.join().expect("the worker is served");
        answer
    });
    assert_eq!(answer.status, 404);
    assert!(answer.body.starts_with(b"{\"error\":{\"code\":\"content_missing\""));
}
