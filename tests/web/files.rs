//! Files in and out: PUT and forms, quota, contents that several files share.

use std::io::Read;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::database;
use crate::drive;
use crate::person::{Person, code};
use crate::support::http;

/// Bytes that are a function of `seed`, without holding them.
struct Bytes {
    state: u64,
}

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        for byte in out.iter_mut() {
            self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1);
            *byte = (self.state >> 56) as u8;
        }
        Ok(out.len())
    }
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut all = vec![0; len];
    Bytes { state: seed }.read_exact(&mut all).unwrap();
    all
}

const BOUNDARY: &str = "----WebKitFormBoundaryx";

/// A part of a form: its name, its file name, its bytes.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// A form of text fields (without file name) and files.
fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        let file = file.map(|f| format!("; filename=\"{f}\"")).unwrap_or_default();
        let head = format!("Content-Disposition: form-data; name=\"{name}\"{file}");
        body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

fn post_form(person: &Person<'_>, query: &str, body: &[u8]) -> http::Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    person.ask("POST", &format!("/api/upload{query}"), &[("Content-Type", &kind)], body)
}

#[test]
fn what_goes_in_comes_out() {
    let person = Person::sign_up(drive(), "inout");
    let cases =
        [("empty", 0), ("one", 1), ("64KiB", 65_536), ("odd", 1_234_567), ("8MiB", 8 << 20)];
    let mut sum = 0;
    for (seed, (name, len)) in (1..).zip(cases) {
        let sent = bytes(seed, len);
        let answer = person.put(name, &sent);
        assert_eq!(answer.status, 201, "{name}");
        let node = answer.json();
        assert_eq!((&node["size"], &node["kind"]), (&json!(len), &json!("file")));
        assert!(person.download(node["id"].as_str().unwrap()) == sent, "{name}");
        sum += len;
        assert_eq!(person.profile()["used_bytes"], json!(sum));
    }
    database::check(drive());
}

#[test]
fn a_large_file_with_a_name_in_chinese_passes_unharmed() {
    let person = Person::sign_up(drive(), "large");
    let len = 64 << 20;
    let name = "%E7%85%A7%E7%89%87%20%F0%9F%98%80.bin";
    let answer = person.put_from(name, len, &mut Bytes { state: 42 });
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let node = answer.json();
    assert_eq!(node["name"], json!("照片 😀.bin"));
    let path = format!("/api/download/{}", node["id"].as_str().unwrap());
    let answer = person.get(&path);
    let mut want = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    let mut source = Bytes { state: 42 };
    for _ in 0..64 {
        source.read_exact(&mut piece).unwrap();
        want.update(&piece);
    }
    assert!(Sha256::digest(&answer.body) == want.finalize());
    let disposition = answer.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; "), "{disposition}");
    assert!(disposition.ends_with("filename*=UTF-8''%E7%85%A7%E7%89%87%20%F0%9F%98%80.bin"));
    let part = person.ask("GET", &path, &[("Range", "bytes=1000000-1000009")], b"");
    assert_eq!((part.status, &part.body[..]), (206, &answer.body[1_000_000..=1_000_009]));
}

#[test]
fn a_form_holds_any_number_of_files() {
    let person = Person::sign_up(drive(), "form");
    let folder = person.make_folder("root", "here");
    let (small, large) = (bytes(1, 300), bytes(2, 3 << 20));
    let tricky = b"\r\n\r\n--\r\n------WebKitFormBoundary\r\n".repeat(20_000);
    let body = form(&[
        ("parent", None, folder.as_bytes()),
        ("file", Some("small.txt"), &small),
        ("file", Some("empty"), b""),
        ("file", Some("照片.bin"), &large),
    ]);
    let answer = post_form(&person, "", &body);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let nodes = answer.json()["nodes"].as_array().unwrap().clone();
    let want = [&small[..], b"", &large];
    assert_eq!(nodes.len(), 3);
    for (node, want) in nodes.iter().zip(want) {
        assert_eq!(node["parent"], json!(folder));
        assert!(person.download(node["id"].as_str().unwrap()) == want, "{node}");
    }
    let answer = post_form(&person, "", &form(&[("file", Some("tricky"), &tricky)]));
    let id = answer.json()["nodes"][0]["id"].as_str().unwrap().to_owned();
    assert!(person.download(&id) == tricky);

    // The store wants to know a length before the bytes: a large file that is not the last.
    let body = form(&[("file", Some("first"), &large), ("file", Some("second"), b"x")]);
    let answer = post_form(&person, "", &body);
    assert_eq!((answer.status, code(&answer).as_str()), (411, "length_required"));
    let wrong: [&[Part<'_>]; 7] = [
        &[],
        &[("parent", None, b"root")],
        &[("file", Some("a/../b"), b"x")],
        &[("file", Some("/b"), b"x")],
        &[("file", Some("a//b"), b"x")],
        &[("file", None, b"x")],
        &[("owner_id", None, b"1"), ("file", Some("a"), b"x")],
    ];
    for parts in wrong {
        assert_eq!(post_form(&person, "", &form(parts)).status, 400, "{parts:?}");
    }
    let cut = form(&[("file", Some("cut"), &large)]);
    assert_eq!(post_form(&person, "", &cut[..cut.len() - 20]).status / 100, 4);
    assert_eq!(person.get("/api/disk/root").json()["nodes"].as_array().unwrap().len(), 2);
    database::check(drive());
}

#[test]
fn a_taken_name_is_refused_or_numbered() {
    let person = Person::sign_up(drive(), "taken");
    person.make_file("a.txt", b"1");
    let answer = person.put("a.txt", b"2");
    assert_eq!((answer.status, code(&answer).as_str()), (409, "name_taken"));
    for want in ["a (1).txt", "a (2).txt"] {
        let answer = person.put("a.txt?conflict=rename", b"2");
        assert_eq!((answer.status, &answer.json()["name"]), (201, &json!(want)));
    }
    assert_eq!(person.put("a.txt?conflict=maybe", b"2").status, 400);
    assert_eq!(person.profile()["used_bytes"], json!(3));
    // nginx resolves the first two, and then there is no such route.
    for name in ["%2e%2e", "%2E", "a%00b", "a%2Fb", "..%5Cx", "%ff", "a%0Ab", "%E2%80%AEx"] {
        let answer = person.put(name, b"x");
        assert!(matches!(answer.status, 400 | 404 | 405), "{name}: {}", answer.status);
    }
    assert_eq!(person.get("/api/disk/root").json()["nodes"].as_array().unwrap().len(), 3);
    database::check(drive());
}

#[test]
fn a_replaced_file_keeps_its_id_and_frees_what_it_held() {
    let person = Person::sign_up(drive(), "replace");
    let id = person.make_file("a.txt", b"the first content");
    let folder = person.make_folder("root", "b");
    let answer = person.put("a.txt?conflict=replace", b"second");
    assert_eq!(answer.status, 201);
    assert_eq!((&answer.json()["id"], &answer.json()["size"]), (&json!(id), &json!(6)));
    assert_eq!(person.download(&id), b"second");
    assert_eq!(person.profile()["used_bytes"], json!(6));
    let left = "SELECT COUNT(*) FROM `blob` WHERE sha256 = UNHEX(SHA2('the first content', 256))";
    assert_eq!(database::query::<u64>(drive(), left), [0]);
    // The same content again, then one that is somebody else's too.
    assert_eq!(person.put("a.txt?conflict=replace", b"second").status, 201);
    let other = Person::sign_up(drive(), "replace");
    other.make_file("x", b"shared content of two");
    assert_eq!(person.put("a.txt?conflict=replace", b"shared content of two").status, 201);
    assert_eq!(person.put("a.txt?conflict=replace", b"third").status, 201);
    assert_eq!(person.profile()["used_bytes"], json!(5));
    // A folder is no file.
    let answer = person.put("b?conflict=replace", b"x");
    assert_eq!((answer.status, code(&answer).as_str()), (409, "name_taken"));
    assert_eq!(person.get(&format!("/api/disk/{folder}")).status, 200);
    // New if there is none.
    assert_eq!(person.put("c.txt?conflict=replace", b"x").status, 201);
    database::check(drive());
}

#[test]
fn an_uploaded_folder_keeps_its_shape() {
    let person = Person::sign_up(drive(), "tree");
    let parent = person.make_folder("root", "into");
    let body = form(&[
        ("file", Some("照片/2024/a.jpg"), b"one"),
        ("file", Some("照片/2024/b.jpg"), b"two"),
        ("file", Some("照片/c.jpg"), b"three"),
        // The folder may come last.
        ("parent", None, parent.as_bytes()),
        ("file", Some("d.jpg"), b"four"),
    ]);
    let answer = post_form(&person, "", &body);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let path = format!("e.jpg?parent={parent}&path=%E7%85%A7%E7%89%87/2025");
    assert_eq!(person.put(&path, b"five").status, 201);
    let names = |folder: &str| -> Vec<(String, String)> {
        let page = person.get(&format!("/api/disk/{folder}")).json();
        let nodes = page["nodes"].as_array().unwrap().clone();
        let text = |node: &serde_json::Value, key: &str| node[key].as_str().unwrap().to_owned();
        nodes.iter().map(|node| (text(node, "name"), text(node, "id"))).collect()
    };
    let top = names(&parent);
    assert_eq!((top[0].0.as_str(), top[1].0.as_str(), top.len()), ("照片", "d.jpg", 2));
    let below: Vec<_> = names(&top[0].1);
    let only: Vec<&str> = below.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(only, ["2024", "2025", "c.jpg"]);
    assert_eq!(names(&below[0].1).len(), 2);
    // What is a file cannot be a folder.
    let answer = person.put(&format!("x?parent={parent}&path=d.jpg"), b"x");
    assert_eq!((answer.status, code(&answer).as_str()), (409, "name_taken"));
    for path in ["..", "a/../b", "a//b", "/a", "a/", "%00", &"x/".repeat(70)] {
        assert_eq!(person.put(&format!("x?path={path}"), b"x").status, 400, "{path}");
    }
    // A form that fails later has made nothing visible that it held.
    let body = form(&[("file", Some("held"), b"x"), ("parent", None, b"18446744073709551615")]);
    assert_eq!(post_form(&person, "", &body).status, 404);
    assert_eq!(person.get("/api/disk/root").json()["nodes"].as_array().unwrap().len(), 1);
    database::check(drive());
}

#[test]
fn slow_forms_count_among_a_persons_uploads() {
    let person = Person::sign_up(drive(), "slow");
    let host = drive().url.strip_prefix("http://").unwrap().to_owned();
    let open = || {
        let mut socket = std::net::TcpStream::connect(&host).unwrap();
        let head = format!(
            "POST /api/upload HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nContent-Length: 1000\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n",
            person.cookie
        );
        std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
        socket
    };
    let within = std::time::Duration::from_secs(60);
    // Begun anew where they were cut off: the servers behind the workers are restarted meanwhile.
    let slow = crate::support::wait::eventually("the limit", within, || {
        let slow: Vec<_> = (0..16).map(|_| open()).collect();
        let refused = (0..60).any(|_| {
            let answer = person.put("one-more?conflict=replace", b"x");
            answer.status == 429 && code(&answer) == "too_many_uploads"
        });
        refused.then_some(slow)
    });
    assert_eq!(Person::sign_up(drive(), "other").put("x", b"x").status, 201);
    drop(slow);
    crate::support::wait::eventually("room again", within, || {
        (person.put("one-more?conflict=replace", b"x").status == 201).then_some(())
    });
    database::check(drive());
}

#[test]
fn one_content_is_stored_once_and_counted_for_each() {
    let people = [Person::sign_up(drive(), "twin"), Person::sign_up(drive(), "twin")];
    let content = bytes(99, 200_000);
    let all: Vec<String> = std::thread::scope(|scope| {
        let put = |n: usize| {
            let (people, content) = (&people, &content);
            scope.spawn(move || {
                people[n % 2].make_file(&format!("copy {n}").replace(' ', "-"), content)
            })
        };
        let all: Vec<_> = (0..24).map(put).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let hash: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    let sql =
        format!("SELECT refcount, COUNT(*) OVER () FROM `blob` WHERE sha256 = UNHEX('{hash}')");
    assert_eq!(database::query::<(u64, u64)>(drive(), &sql), [(24, 1)]);
    for (n, id) in all.iter().enumerate() {
        assert!(people[n % 2].download(id) == content);
        assert_eq!(people[(n + 1) % 2].get(&format!("/api/download/{id}")).status, 404);
    }
    assert_eq!(people[0].profile()["used_bytes"], json!(12 * content.len()));
    database::check(drive());
}

#[test]
fn the_quota_holds_to_the_byte_whoever_races() {
    let person = Person::sign_up(drive(), "quota");
    let set = format!("UPDATE user SET quota_bytes = 1000 WHERE id = {}", person.id);
    database::query::<u64>(drive(), &set);
    let mut seen: Vec<u16> = std::thread::scope(|scope| {
        let put = |n: u8| {
            let person = &person;
            scope.spawn(move || person.put(&format!("f{n}"), &[n; 300]).status)
        };
        let all: Vec<_> = (0..12).map(put).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    seen.sort_unstable();
    // Each was either taken or refused for want of space; never more than fit.
    assert_eq!((&seen[..3], &seen[3..]), (&[201; 3][..], &[413; 9][..]));
    assert_eq!(person.put("rest", &[1; 101]).status, 413);
    assert_eq!(person.put("rest", &[1; 100]).status, 201);
    assert_eq!(person.put("more", &[1; 1]).status, 413);
    assert_eq!(person.put("nothing", &[]).status, 201);
    assert_eq!(person.profile()["used_bytes"], json!(1000));
    database::check(drive());
}

#[test]
fn a_body_that_ends_early_leaves_nothing() {
    let person = Person::sign_up(drive(), "cut");
    let host = drive().url.strip_prefix("http://").unwrap().to_owned();
    for sent in [0, 1, 100_000] {
        let mut socket = std::net::TcpStream::connect(&host).unwrap();
        let head = format!(
            "PUT /api/upload/cut HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\n\
             Content-Length: 200000\r\n\r\n",
            person.cookie
        );
        std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
        std::io::Write::write_all(&mut socket, &vec![7; sent]).unwrap();
        socket.shutdown(std::net::Shutdown::Both).unwrap();
    }
    let sql = format!("SELECT COUNT(*) FROM `blob` WHERE storing_for = {}", person.id);
    crate::support::wait::eventually("reservations go", std::time::Duration::from_secs(30), || {
        (database::query::<u64>(drive(), &sql) == [0]).then_some(())
    });
    assert_eq!(person.get("/api/disk/root").json()["nodes"], json!([]));
    assert_eq!(person.put("cut", b"whole").status, 201);
    database::check(drive());
}

#[test]
fn user_content_cannot_act_as_a_page() {
    let person = Person::sign_up(drive(), "page");
    let html = b"<!DOCTYPE html><script>alert(1)</script>";
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    let cases: [(&str, &[u8], &str, &str); 4] = [
        ("a.html", html, "inline", "text/plain; charset=utf-8"),
        ("a.svg", svg, "attachment", "application/octet-stream"),
        ("a.png", png, "inline", "image/png"),
        // A page that calls itself a picture is still told by its bytes.
        ("b.png", html, "inline", "text/plain; charset=utf-8"),
    ];
    for (name, bytes, kind, media_type) in cases {
        let id = person.make_file(name, bytes);
        let saved = person.get(&format!("/api/download/{id}"));
        let shown = person.get(&format!("/api/download/{id}?inline=1"));
        assert_eq!(saved.header("content-type"), Some("application/octet-stream"), "{name}");
        assert!(saved.header("content-disposition").unwrap().starts_with("attachment;"));
        assert_eq!(shown.header("content-type"), Some(media_type), "{name}");
        assert!(shown.header("content-disposition").unwrap().starts_with(kind), "{name}");
        for answer in [saved, shown] {
            assert!(answer.body == bytes);
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"));
            assert_eq!(answer.header("x-accel-redirect"), None);
        }
    }
}
