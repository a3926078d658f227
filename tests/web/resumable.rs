//! Resumable uploads (tus 1.0): pieces, cuts, checksums, conflicts, quota, the death of workers.

use std::io::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::database;
use crate::drive;
use crate::person::{PASSWORD, Person, code, post_json};
use crate::support::http::Answer;
use crate::support::stack::Stack;
use crate::support::wait::eventually;

const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");
const CHUNK: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Upload-Metadata of pairs.
pub(crate) fn metadata(pairs: &[(&str, &str)]) -> String {
    let one = |(key, value): &(&str, &str)| format!("{key} {}", STANDARD.encode(value));
    pairs.iter().map(one).collect::<Vec<_>>().join(",")
}

pub(crate) fn create(person: &Person<'_>, len: usize, pairs: &[(&str, &str)]) -> Answer {
    let (len, meta) = (len.to_string(), metadata(pairs));
    let headers = [VERSION, ("Upload-Length", &len), ("Upload-Metadata", &meta)];
    person.ask("POST", "/api/uploads", &headers, b"")
}

/// A begun upload: its address.
pub(crate) fn begin(person: &Person<'_>, len: usize, pairs: &[(&str, &str)]) -> String {
    let answer = create(person, len, pairs);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert!(answer.header("upload-expires").unwrap().ends_with(" GMT"));
    answer.header("location").unwrap().to_owned()
}

pub(crate) fn patch(person: &Person<'_>, at: &str, offset: usize, chunk: &[u8]) -> Answer {
    let offset = offset.to_string();
    person.ask("PATCH", at, &[VERSION, CHUNK, ("Upload-Offset", &offset)], chunk)
}

/// How far it is, and the file if it is whole.
pub(crate) fn head(person: &Person<'_>, at: &str) -> (usize, Option<String>) {
    let answer = person.ask("HEAD", at, &[VERSION], b"");
    assert_eq!(answer.status, 200, "{at}");
    let offset = answer.header("upload-offset").unwrap().parse().unwrap();
    (offset, answer.header("upload-node").map(str::to_owned))
}

#[test]
fn a_file_comes_in_pieces_and_is_whole_at_the_end() {
    let person = Person::sign_up(drive(), "tus");
    let whole = bytes(1, 20_000_000);
    let at = begin(&person, whole.len(), &[("filename", "照片.bin"), ("path", "a/b")]);
    assert_eq!(person.get("/api/disk/root").json()["nodes"], json!([]), "not visible before");
    let mut offset = 0;
    for len in [1, 65_535, 3_000_000, 9_000_000] {
        let answer = patch(&person, &at, offset, &whole[offset..offset + len]);
        assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
        offset += len;
        assert_eq!(head(&person, &at), (offset, None));
    }
    // Elsewhere than where it is, nothing is taken.
    for wrong in [0, offset - 1, offset + 1] {
        let answer = patch(&person, &at, wrong, b"xx");
        assert_eq!((answer.status, code(&answer).as_str()), (409, "wrong_offset"));
    }
    let listed = person.get("/api/uploads").json()["uploads"].clone();
    assert_eq!((&listed[0]["offset"], &listed[0]["path"]), (&json!(offset), &json!("a/b")));
    let answer = patch(&person, &at, offset, &whole[offset..]);
    assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
    let node = answer.header("upload-node").unwrap().to_owned();
    assert!(person.download(&node) == whole);
    assert_eq!(person.profile()["used_bytes"], json!(whole.len()));
    // Whoever did not hear it is told again, and nothing counts twice.
    assert_eq!(head(&person, &at), (whole.len(), Some(node.clone())));
    let again = patch(&person, &at, whole.len(), b"");
    assert_eq!((again.status, again.header("upload-node")), (204, Some(node.as_str())));
    assert_eq!(person.get("/api/uploads").json()["uploads"], json!([]));
    let sql = format!(
        "SELECT HEX(b.sha256) FROM node n JOIN `blob` b ON b.id = n.blob_id WHERE n.id = {node}"
    );
    let hash: String = Sha256::digest(&whole).iter().map(|b| format!("{b:02X}")).collect();
    assert_eq!(database::query::<String>(drive(), &sql), [hash]);
    // The same content by another way is the same content.
    assert_eq!(person.put("plain", &whole).status, 201);
    database::check(drive());
}

#[test]
fn creation_may_bring_bytes_and_an_empty_file_is_whole_at_once() {
    let person = Person::sign_up(drive(), "tus");
    let options = person.ask("OPTIONS", "/api/uploads", &[], b"");
    assert_eq!((options.status, options.header("tus-version")), (204, Some("1.0.0")));
    let extensions = options.header("tus-extension").unwrap();
    for word in ["creation", "creation-with-upload", "expiration", "checksum", "termination"] {
        assert!(extensions.split(',').any(|one| one == word), "{extensions}");
    }
    let meta = metadata(&[("filename", "whole")]);
    let headers = [VERSION, CHUNK, ("Upload-Length", "5"), ("Upload-Metadata", &meta)];
    let answer = person.ask("POST", "/api/uploads", &headers, b"hello");
    assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("5")));
    assert_eq!(person.download(answer.header("upload-node").unwrap()), b"hello");
    let answer = create(&person, 0, &[("filename", "empty")]);
    assert_eq!(person.download(answer.header("upload-node").unwrap()), b"");
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let wrong: [(&str, Pairs<'_>, u16); 9] = [
        ("5", &[], 400),
        ("5", &[("filename", "..")], 400),
        ("5", &[("filename", "a"), ("path", "../b")], 400),
        ("5", &[("filename", "a"), ("parent", "18446744073709551615")], 404),
        ("5", &[("filename", "a"), ("conflict", "maybe")], 400),
        ("-5", &[("filename", "a")], 400),
        ("18446744073709551615", &[("filename", "a")], 400),
        ("9000000000000000", &[("filename", "a")], 413),
        ("5", &[("filename", "whole")], 409),
    ];
    for (len, pairs, want) in wrong {
        let meta = metadata(pairs);
        let headers = [VERSION, ("Upload-Length", len), ("Upload-Metadata", meta.as_str())];
        assert_eq!(
            person.ask("POST", "/api/uploads", &headers, b"").status,
            want,
            "{len} {pairs:?}"
        );
    }
    let headers = [("Upload-Length", "5"), ("Upload-Metadata", meta.as_str())];
    let old = person.ask("POST", "/api/uploads", &headers, b"");
    assert_eq!((old.status, old.header("tus-version")), (412, Some("1.0.0")));
    database::check(drive());
}

#[test]
fn a_damaged_chunk_is_not_kept_and_a_wrong_hash_keeps_nothing() {
    let person = Person::sign_up(drive(), "tus");
    let whole = bytes(2, 300_000);
    let at = begin(&person, whole.len(), &[("filename", "sum")]);
    let send = |offset: usize, chunk: &[u8], sum: &str| {
        let offset = offset.to_string();
        let headers = [VERSION, CHUNK, ("Upload-Offset", &*offset), ("Upload-Checksum", sum)];
        person.ask("PATCH", &at, &headers, chunk)
    };
    let sum = |chunk: &[u8]| format!("sha256 {}", STANDARD.encode(Sha256::digest(chunk)));
    let (first, second) = whole.split_at(100_000);
    for chunk in [first, second] {
        let offset = head(&person, &at).0;
        let answer = send(offset, chunk, &sum(b"something else"));
        assert_eq!((answer.status, code(&answer).as_str()), (460, "checksum_mismatch"));
        assert_eq!(head(&person, &at).0, offset);
        assert_eq!(send(offset, chunk, "sha512 AAAA").status, 400);
        assert_eq!(send(offset, chunk, &sum(chunk)).status, 204);
    }
    assert!(person.download(&head(&person, &at).1.unwrap()) == whole);

    let hash: String =
        Sha256::digest(b"what was announced").iter().map(|b| format!("{b:02x}")).collect();
    let at = begin(&person, 5, &[("filename", "lie"), ("sha256", &hash)]);
    let answer = patch(&person, &at, 0, b"hello");
    assert_eq!((answer.status, code(&answer).as_str()), (422, "hash_mismatch"));
    assert_eq!(person.ask("HEAD", &at, &[VERSION], b"").status, 404);
    assert_eq!(person.profile()["used_bytes"], json!(whole.len()));
    database::check(drive());
}

#[test]
fn conflicts_are_settled_at_the_end_and_uploads_can_be_given_up() {
    let person = Person::sign_up(drive(), "tus");
    let at = begin(&person, 3, &[("filename", "taken")]);
    let other = person.make_file("taken", b"first");
    let answer = patch(&person, &at, 0, b"new");
    assert_eq!((answer.status, code(&answer).as_str()), (409, "name_taken"));
    // All bytes are there; only what to do is missing.
    assert_eq!(head(&person, &at), (3, None));
    let answer = patch(&person, &format!("{at}?conflict=rename"), 3, b"");
    assert_eq!(answer.status, 204);
    assert_eq!(person.download(answer.header("upload-node").unwrap()), b"new");
    let at = begin(&person, 3, &[("filename", "taken"), ("conflict", "replace")]);
    assert_eq!(patch(&person, &at, 0, b"two").header("upload-node"), Some(other.as_str()));
    assert_eq!(person.download(&other), b"two");

    let at = begin(&person, 100, &[("filename", "gone")]);
    assert_eq!(patch(&person, &at, 0, b"some").status, 204);
    assert_eq!(patch(&person, &at, 4, &[0; 97]).status, 413);
    let stranger = Person::sign_up(drive(), "tus");
    for method in ["HEAD", "DELETE"] {
        assert_eq!(stranger.ask(method, &at, &[VERSION], b"").status, 404);
    }
    assert_eq!(patch(&stranger, &at, 4, b"x").status, 404);
    assert_eq!(person.ask("DELETE", &at, &[VERSION], b"").status, 204);
    assert_eq!(person.ask("HEAD", &at, &[VERSION], b"").status, 404);
    let sql = format!("SELECT COUNT(*) FROM `blob` WHERE storing_for = {}", person.id);
    assert_eq!(database::query::<u64>(drive(), &sql), [0]);
    database::check(drive());
}

#[test]
fn space_is_set_aside_before_the_first_byte_and_expires_with_the_upload() {
    let person = Person::sign_up(drive(), "tus");
    let set = format!("UPDATE user SET quota_bytes = 1000 WHERE id = {}", person.id);
    database::query::<u64>(drive(), &set);
    let at = begin(&person, 900, &[("filename", "a")]);
    assert_eq!(create(&person, 101, &[("filename", "b")]).status, 413);
    assert_eq!(person.put("b", &[1; 101]).status, 413);
    assert_eq!(person.put("b", &[1; 100]).status, 201);
    assert_eq!(patch(&person, &at, 0, &[2; 400]).status, 204);
    let expire = format!("UPDATE upload SET expires_ms = 1 WHERE owner = {}", person.id);
    database::query::<u64>(drive(), &expire);
    eventually("it is swept", Duration::from_secs(90), || {
        (person.ask("HEAD", &at, &[VERSION], b"").status == 404).then_some(())
    });
    assert_eq!(person.put("c", &[3; 900]).status, 201);
    database::check(drive());
}

#[test]
fn an_upload_outlives_the_session_and_a_cut_connection() {
    let person = Person::sign_up(drive(), "tus");
    let whole = bytes(3, 12_000_000);
    let at = begin(&person, whole.len(), &[("filename", "long")]);
    // The connection breaks in the middle of the second piece.
    let host = drive().url.strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    let head_text = format!(
        "PATCH {at} HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: {}\r\nUpload-Offset: 0\r\nContent-Length: {}\r\n\r\n",
        person.cookie,
        CHUNK.1,
        whole.len()
    );
    socket.write_all(head_text.as_bytes()).unwrap();
    socket.write_all(&whole[..10_000_000]).unwrap();
    eventually("the first piece", Duration::from_secs(60), || {
        (head(&person, &at).0 == 8 << 20).then_some(())
    });
    let busy = patch(&person, &at, 8 << 20, b"x");
    assert_eq!((busy.status, code(&busy).as_str()), (423, "upload_locked"));
    assert!(busy.header("retry-after").is_some());
    drop(socket);
    assert_eq!(person.ask("POST", "/api/logout", &[], b"").status, 204);
    let form = json!({"name": person.name, "password": PASSWORD});
    let back = post_json(drive(), "/api/login", &form);
    let cookie = format!("session={}", back.cookie("session").unwrap());
    let person = Person { drive: drive(), name: person.name, id: person.id, cookie };
    let offset = head(&person, &at).0;
    assert_eq!(offset, 8 << 20);
    eventually("the lease ends", Duration::from_secs(60), || {
        let answer = patch(&person, &at, offset, &whole[offset..]);
        assert!(matches!(answer.status, 204 | 423), "{}", answer.status);
        (answer.status == 204).then_some(())
    });
    assert!(person.download(&head(&person, &at).1.unwrap()) == whole);
    database::check(drive());
}

#[test]
fn the_death_of_a_worker_costs_a_piece_and_the_hashes_go_on() {
    let drive = Stack::start(&[]);
    let person = Person::sign_up(&drive, "death");
    let whole = bytes(4, 9_000_000);
    let at = begin(&person, whole.len(), &[("filename", "survivor")]);
    for end in [1_000_000, 4_000_000, whole.len()] {
        let offset = head(&person, &at).0;
        assert_eq!(patch(&person, &at, offset, &whole[offset..end]).status, 204);
        drive.kill("upload");
        drive.control("start");
    }
    let (offset, node) = head(&person, &at);
    assert_eq!(offset, whole.len());
    assert!(person.download(&node.unwrap()) == whole);
    let sql = "SELECT HEX(sha256) FROM `blob` WHERE state = 'live'";
    let hash: String = Sha256::digest(&whole).iter().map(|b| format!("{b:02X}")).collect();
    assert_eq!(database::query::<String>(&drive, sql), [hash]);
    database::check(&drive);
}
