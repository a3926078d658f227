//! Addresses, methods, headers, ranges and conditions: tables of request and answer.

use proto::fileid::FileName;

use crate::PLAIN;
use crate::server::{Answer, Scratch, Server};
use crate::store::{
    CHANGED_TEXT, CREATED_TEXT, appender, content, in_second_path, normal, place, put, slave,
    trunk, url,
};

/// The file of the conformance list: 1024 bytes, normal.
fn with_f() -> (Server, FileName, Vec<u8>) {
    let (dir, name, bytes) = (Scratch::new(), normal(1024, "jpg"), content(1024));
    put(&dir, &name, &bytes);
    (Server::start(dir, PLAIN), name, bytes)
}

#[test]
fn the_address_is_the_file_id() {
    let (server, f, bytes) = with_f();
    assert_eq!(f.as_str(), "M00/00/00/Ck0AAWsDZOiASVnZAAAEALcLTCY514.jpg", "http.md 4");
    let other = in_second_path(1024, "txt");
    put(&server.dir, &other, &bytes);
    let (f, behind) = (f.as_str(), &f.as_str()[3..]);
    let without_extension = f.strip_suffix(".jpg").expect("it has one");
    let cases: &[(&str, String, u16)] = &[
        ("a", format!("/group1/{f}"), 200),
        ("a", format!("/group1/{other}"), 200),
        ("a", format!("/group1/{f}?filename=a%0d%0aX:1"), 200),
        ("a", format!("/group1/{f}?{}", "x".repeat(8000)), 200),
        ("a", format!("/group1/%4d00{behind}"), 200),
        ("a", format!("/group1//{f}"), 200), // nginx merges slashes
        ("a", format!("http://a/group1/{f}"), 200),
        // With and without the group, crosswise (17.1).
        ("a", format!("/{f}"), 400),
        ("bare", format!("/{f}"), 200),
        ("bare", format!("/group1/{f}"), 400),
        ("bare", format!("/{}", &f[4..]), 200), // before V1.12 names had no store path
        // Store path, directories, extension (17.2).
        ("a", format!("/group1/M05{behind}"), 400),
        ("a", format!("/group1/MFF{behind}"), 400),
        ("a", format!("/group1/M0g{behind}"), 400),
        ("a", format!("/group1/M+0{behind}"), 400),
        ("a", format!("/group1/m00{behind}"), 400),
        ("a", format!("/group1/M01{behind}"), 404),
        ("a", url(&other).replacen("0A/FF", "0a/ff", 1), 400),
        ("a", format!("/group1/{without_extension}"), 400),
        ("a", format!("/group1/{without_extension}.png"), 404),
        ("a", format!("/group1/{f}{}", "x".repeat(90)), 400), // longer than a name can be
        // Another group (17.14).
        ("a", format!("/group2/{f}"), 404),
        ("a", format!("/group2/M77{behind}"), 404),
        ("a", format!("/group2/{}", &f[..30]), 400),
        ("a", format!("/group-1/{f}"), 400),
        ("a", "/".to_owned(), 400),
        ("a", "/group1".to_owned(), 400),
        ("a", "/group1/".to_owned(), 400),
        ("a", "/group1/M00".to_owned(), 400),
        ("a", "/group1/M00/00/00/".to_owned(), 400),
    ];
    for (host, target, status) in cases {
        let answer = server.ask_host(host, "GET", target, &[]);
        assert_eq!(answer.status, *status, "{host} {target}");
        assert!(answer.status != 200 || answer.body == bytes, "{host} {target}: other bytes");
        assert_eq!(answer.header("X"), None, "{target}");
    }
}

#[test]
fn no_address_leaves_the_store() {
    let (server, f, _) = with_f();
    server.dir.write("secret", b"secret");
    server.dir.write("store0/data/secret", b"secret");
    server.dir.write("store0/data/00/secret-with-a-name-long-enough-for-a-file", b"secret");
    let targets = [
        "/group1/M00/../secret",
        "/group1/M00/../../secret",
        "/group1/../../../../../etc/passwd",
        "/group1/M00/00/00/../secret-with-a-name-long-enough-for-a-file",
        "/group1/M00/00/00/..%2fsecret-with-a-name-long-enough-for-a-file",
        "/group1/M00/00/00/..%2f..%2fsecret",
        "/group1/M00/00/00/%2e%2e/secret",
        "/group1/M00/00/00/..%5c..%5c..%5csecret-with-a-name-long-enough",
        "/group1/M00/../../../../../../../../etc/passwd%00aaaaaaaaaaaaaaaaaaaaaaaaaa.jpg",
        "/group1/M00/00/..%2f..%2f..%2fsecret/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/group1/M00/00/00/%2fetc%2fpasswd%2faaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.jpg",
        "/group1/M00/%2e%2e/%2e%2e/secret",
        "/group1/M00//etc/passwd",
        "/M00/00/00/../../../secret",
        "/group1/M00/00/00/..",
        "/group1/M00/00/00/.",
        "/group1/M00/00/00/%ff%fe%fd",
        "/../etc/passwd",
    ];
    for target in targets {
        let answer = server.get(target, &[]);
        assert!([400, 404].contains(&answer.status), "{target}: {}", answer.status);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!body.contains("secret") && !body.contains("root:"), "{target}: {body}");
    }
    // Bytes that are no part of a name: end of string, control characters, blanks, above ASCII.
    for byte in ["%00", "%01", "%0a", "%0d", "%20", "%7f", "%80", "%c3%a9"] {
        let target = url(&f).replacen("514", byte, 1);
        assert_eq!(server.get(&target, &[]).status, 400, "{target}");
    }
    // nginx would have said 404, with the path, for a path that came to be opened.
    assert!(!server.error_log().contains("secret\" failed"), "{}", server.error_log());
}

#[test]
fn only_get_and_head() {
    let (server, f, bytes) = with_f();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        let answer = server.ask(method, &url(&f), &["Content-Length: 0"]);
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let (head, get) = (server.ask("HEAD", &url(&f), &[]), server.get(&url(&f), &[]));
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("1024")));
    assert_eq!((head.body.len(), &get.body), (0, &bytes));
    for name in ["Content-Type", "Last-Modified", "ETag", "Accept-Ranges"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
        assert!(head.header(name).is_some(), "{name}");
    }
    let absent = url(&normal(7, "jpg"));
    assert_eq!(server.ask("HEAD", &absent, &[]).status, 404);
    let partial = server.ask("HEAD", &url(&f), &["Range: bytes=0-9"]);
    assert_eq!((partial.status, partial.header("Content-Length")), (206, Some("10")));
}

#[test]
fn a_body_is_dropped_and_the_connection_goes_on() {
    let (server, f, bytes) = with_f();
    let (target, body) = (url(&f), "x".repeat(9000));
    let first = format!("GET {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n{body}");
    let second = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let both = server.raw(&(first + &second));
    let first = Answer::parse(&both);
    let (first_body, rest) = first.body.split_at(1024);
    assert_eq!((first.status, first_body), (200, bytes.as_slice()));
    let second = Answer::parse(rest);
    assert_eq!((second.status, second.body), (200, bytes));
}

#[test]
fn headers_say_which_content_it_is() {
    let (server, f, bytes) = with_f();
    let (small, added) = (slave(&f, "_100x100", "jpg"), appender("txt"));
    let unknown = normal(1024, "Xyz");
    for name in [&small, &added, &unknown] {
        put(&server.dir, name, &bytes);
    }
    // name, Last-Modified, ETag, Content-Type
    let cases = [
        (&f, CREATED_TEXT, "\"b70b4c26-400\"", "image/jpeg"),
        (&unknown, CREATED_TEXT, "\"b70b4c26-400\"", "application/octet-stream"),
        (&small, CHANGED_TEXT, "\"3b9aca00-400\"", "image/jpeg"),
        (&added, CHANGED_TEXT, "\"3b9aca00-400\"", "text/plain"),
    ];
    for (name, modified, tag, kind) in cases {
        let answer = server.get(&url(name), &[]);
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.header("Last-Modified"), Some(modified), "{name}");
        assert_eq!(answer.header("ETag"), Some(tag), "{name}");
        assert_eq!(answer.header("Content-Type"), Some(kind), "{name}");
        assert_eq!(answer.header("Accept-Ranges"), Some("bytes"), "{name}");
        assert_eq!(answer.body, bytes, "{name}");
    }
    // An appender that grew is other content.
    put(&server.dir, &added, &content(1025));
    let grown = server.get(&url(&added), &["If-None-Match: \"3b9aca00-400\""]);
    assert_eq!((grown.status, grown.header("ETag")), (200, Some("\"3b9aca00-401\"")));
}

#[test]
fn ranges() {
    let (server, f, bytes) = with_f();
    let tag = "If-Range: \"b70b4c26-400\"";
    let date = format!("If-Range: {CREATED_TEXT}");
    let late = format!("If-Range: {CHANGED_TEXT}");
    // range, another header, status, first byte and end
    let cases: &[(&str, &str, u16, usize, usize)] = &[
        ("bytes=0-9", "", 206, 0, 10),
        ("bytes=0-0", "", 206, 0, 1),
        ("bytes=1023-1023", "", 206, 1023, 1024),
        ("bytes=1000-", "", 206, 1000, 1024),
        ("bytes=1000-9999", "", 206, 1000, 1024),
        ("bytes=-24", "", 206, 1000, 1024),
        ("bytes=-5000", "", 206, 0, 1024),
        ("bytes=0-", "", 206, 0, 1024),
        ("bytes=0-9,2000-", "", 206, 0, 10), // the bad one is dropped
        ("bytes=2000-", "", 416, 0, 0),
        ("bytes=1024-", "", 416, 0, 0),
        ("bytes=-0", "", 416, 0, 0),
        ("bytes=a-b", "", 416, 0, 0),
        ("bytes=1-0", "", 200, 0, 1024), // invalid, so ignored
        ("items=0-9", "", 200, 0, 1024), // another unit
        ("bytes=0-9", tag, 206, 0, 10),
        ("bytes=0-9", &date, 206, 0, 10),
        ("bytes=0-9", &late, 200, 0, 1024),
        ("bytes=0-9", "If-Range: \"other\"", 200, 0, 1024),
    ];
    for (range, other, status, first, end) in cases {
        let range_header = format!("Range: {range}");
        let headers: Vec<&str> =
            [range_header.as_str(), other].into_iter().filter(|line| !line.is_empty()).collect();
        let answer = server.get(&url(&f), &headers);
        assert_eq!(answer.status, *status, "{range} {other}");
        let about = answer.header("Content-Range").map(str::to_owned);
        let expected = match status {
            206 => Some(format!("bytes {first}-{}/1024", end - 1)),
            416 => Some("bytes */1024".to_owned()),
            _ => None,
        };
        assert_eq!(about, expected, "{range} {other}");
        if *status != 416 {
            assert!(answer.body == bytes[*first..*end], "{range} {other}: other bytes");
        }
    }
}

#[test]
fn several_ranges_come_in_parts() {
    let (server, f, bytes) = with_f();
    for ranges in [&[(0, 9), (20, 29)][..], &[(0, 0), (5, 5), (9, 9), (13, 13), (17, 17), (1, 1)]] {
        let list: Vec<String> = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
        let answer = server.get(&url(&f), &[&format!("Range: bytes={}", list.join(","))]);
        let kind = answer.header("Content-Type").expect("a multipart answer has a type");
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect(kind);
        let mut expected = Vec::new();
        for (first, last) in ranges {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: image/jpeg\r\n\
                 Content-Range: bytes {first}-{last}/1024\r\n\r\n"
            );
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(&bytes[*first..=*last]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert_eq!(answer.status, 206);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.body == expected, "{list:?}: {body}");
    }
}

#[test]
fn conditions_and_existence_first() {
    let (server, f, _) = with_f();
    let cases: &[(&str, u16)] = &[
        (&format!("If-Modified-Since: {CREATED_TEXT}"), 304),
        (&format!("If-Modified-Since: {CHANGED_TEXT}"), 200),
        (&format!("If-Unmodified-Since: {CREATED_TEXT}"), 200),
        (&format!("If-Unmodified-Since: {CHANGED_TEXT}"), 412),
        ("If-None-Match: \"b70b4c26-400\"", 304),
        ("If-None-Match: W/\"b70b4c26-400\"", 304),
        ("If-None-Match: \"x\", \"b70b4c26-400\"", 304),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"x\"", 200),
        ("If-Match: \"b70b4c26-400\"", 200),
        ("If-Match: *", 200),
        ("If-Match: \"x\"", 412),
    ];
    for (header, status) in cases {
        assert_eq!(server.get(&url(&f), &[header]).status, *status, "{header}");
    }
    let unchanged = server.get(&url(&f), &["If-None-Match: *"]);
    assert_eq!((unchanged.body.len(), unchanged.header("ETag")), (0, Some("\"b70b4c26-400\"")));
    std::fs::remove_file(server.dir.path(&place(&f))).expect("it is there");
    for (header, _) in cases {
        assert_eq!(server.get(&url(&f), &[header]).status, 404, "deleted, {header}");
    }
}

#[test]
fn an_empty_file() {
    let (dir, empty) = (Scratch::new(), normal(0, "txt"));
    put(&dir, &empty, b"");
    let server = Server::start(dir, PLAIN);
    let whole = server.get(&url(&empty), &[]);
    assert_eq!((whole.status, whole.header("Content-Length")), (200, Some("0")));
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let answer = server.get(&url(&empty), &[&format!("Range: {range}")]);
        assert_eq!((answer.status, answer.header("Content-Range")), (416, Some("bytes */0")));
    }
    let unit = server.get(&url(&empty), &["Range: items=0-0"]);
    assert_eq!(unit.status, 200);
    let tag = whole.header("ETag").expect("every file has one");
    let unchanged = [&*format!("If-None-Match: {tag}"), "Range: bytes=0-0"];
    assert_eq!(server.get(&url(&empty), &unchanged).status, 304, "conditions come first");
}

#[test]
fn what_is_not_a_whole_plain_file_is_not_served() {
    let (dir, bytes) = (Scratch::new(), content(1024));
    let (short, packed, folder) = (normal(2000, "jpg"), trunk(1024, "jpg"), normal(3, "jpg"));
    let (original, linked) = (normal(1024, "jpg"), normal(1024, "txt"));
    put(&dir, &short, &bytes);
    put(&dir, &packed, &bytes);
    put(&dir, &original, &bytes);
    std::fs::create_dir(dir.path(&place(&folder))).expect("it is new");
    std::os::unix::fs::symlink(dir.path(&place(&original)), dir.path(&place(&linked)))
        .expect("it is new");
    let server = Server::start(dir, PLAIN);
    for (name, status, logged) in [
        (&short, 502, "fastdfs: the file has 1024 bytes, its name says otherwise: damaged"),
        (&packed, 404, "000001\" failed (2: No such file or directory)"),
        (&folder, 404, "fastdfs: not a regular file"),
        (&linked, 200, ""), // links between stored files are followed
    ] {
        assert_eq!(server.get(&url(name), &[]).status, status, "{name}");
        assert!(server.error_log().contains(logged), "{logged}: {}", server.error_log());
    }
}

/// A generator that a seed repeats: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << by } else { self.0 >> by };
        }
        usize::try_from(self.0 % end as u64).expect("it is below a usize")
    }
}

#[test]
fn damaged_addresses_end_no_worker() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    println!("SEED={seed}");
    let (server, f, bytes) = with_f();
    let (whole, mut chance) = (url(&f), Chance(seed));
    let pieces = ["/", "..", "%00", "%ff", "M", "_", "-m", "A", "0", "%", "?", "//", ".jpg", "="];
    for _ in 0..500 {
        let mut target = whole.clone();
        for _ in 0..1 + chance.below(3) {
            let at = 1 + chance.below(target.len() - 1);
            match chance.below(3) {
                0 => target.truncate(at),
                1 => target.insert_str(at, pieces[chance.below(pieces.len())]),
                _ => target.replace_range(at..=at, pieces[chance.below(pieces.len())]),
            }
            target = if target.len() < 2 { whole.clone() } else { target };
        }
        let answer = server.get(&target, &["Range: bytes=3-5"]);
        let sent = answer.status == 206 && answer.body == bytes[3..=5];
        assert!(sent || [400, 404].contains(&answer.status), "{target}: {}", answer.status);
    }
    let log = server.error_log();
    assert!(!log.contains("exited on signal") && !log.contains("[alert]"), "{log}");
}
