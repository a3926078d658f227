//! Who may do what: every route with somebody else's ids, without a session, after its end, from
//! another site; and input that only an attacker sends.

use serde_json::json;

use crate::database;
use crate::drive;
use crate::person::{PASSWORD, Person, ask, code};

/// Every route that needs a session, with what stands for a folder and a file.
fn routes(folder: &str, file: &str) -> Vec<(&'static str, String, &'static str, Vec<u8>)> {
    let json = "application/json";
    let form = "multipart/form-data; boundary=b";
    let part = |name: &str, more: &str, text: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{text}\r\n")
    };
    let file_part = part("file", "; filename=\"f\"", "x");
    let with_parent = format!("{}{file_part}--b--\r\n", part("parent", "", folder));
    let alone = format!("{file_part}--b--\r\n");
    vec![
        ("GET", "/api/session".to_owned(), "", vec![]),
        ("GET", format!("/api/disk/{folder}"), "", vec![]),
        ("HEAD", format!("/api/disk/{folder}"), "", vec![]),
        ("POST", "/api/disk".to_owned(), json, made(folder)),
        ("PUT", format!("/api/upload/f?parent={folder}"), "", b"x".to_vec()),
        ("POST", format!("/api/upload?parent={folder}"), form, alone.into_bytes()),
        ("POST", "/api/upload".to_owned(), form, with_parent.into_bytes()),
        ("GET", format!("/api/download/{file}"), "", vec![]),
        ("GET", format!("/api/download/{file}?inline=1"), "", vec![]),
        ("HEAD", format!("/api/download/{file}"), "", vec![]),
        ("GET", format!("/api/disk/{file}/info"), "", vec![]),
        ("GET", format!("/api/disk/{folder}/size"), "", vec![]),
        ("PATCH", format!("/api/disk/{file}"), json, b"{\"name\":\"g\"}".to_vec()),
        ("DELETE", format!("/api/disk/{file}"), "", vec![]),
        ("PUT", format!("/api/mydisk/favourites/{file}"), "", vec![]),
        ("DELETE", format!("/api/mydisk/favourites/{file}"), "", vec![]),
        ("POST", "/api/disk/move".to_owned(), json, placed(file, folder)),
        ("POST", "/api/disk/copy".to_owned(), json, placed(file, folder)),
        ("GET", format!("/api/zip?ids={file}"), "", vec![]),
        ("GET", format!("/api/link/{file}"), "", vec![]),
        ("GET", format!("/api/thumb/{file}"), "", vec![]),
        ("POST", "/api/shares".to_owned(), json, json!({"nodes": [file]}).to_string().into_bytes()),
    ]
}

/// Routes that need a session and say of each id by itself whether it is there.
fn batches(folder: &str, file: &str) -> Vec<(&'static str, String, &'static str, Vec<u8>)> {
    let json = "application/json";
    let ids = json!({"ids": [file, folder]}).to_string().into_bytes();
    let items = json!({"items": [{"id": file, "name": "g"}]}).to_string().into_bytes();
    let post = |path: &str, body: Vec<u8>| ("POST", path.to_owned(), json, body);
    vec![
        post("/api/disk/rename", items),
        post("/api/disk/move", placed(file, "root")),
        post("/api/disk/copy", placed(file, "root")),
        post("/api/disk/trash", ids.clone()),
        post("/api/mydisk/trash/restore", ids.clone()),
        post("/api/mydisk/trash/purge", ids),
    ]
}

/// Routes about nothing but the user's own.
const OWN: &[&str] = &[
    "/api/mydisk/trash",
    "/api/mydisk/search?q=mine",
    "/api/mydisk/recent",
    "/api/mydisk/favourites",
    "/api/mydisk/usage",
    "/api/category",
    "/api/category/document",
    "/api/list",
    "/api/shares",
];

fn placed(file: &str, folder: &str) -> Vec<u8> {
    json!({"ids": [file], "parent": folder}).to_string().into_bytes()
}

fn made(parent: &str) -> Vec<u8> {
    json!({"parent": parent, "name": "f"}).to_string().into_bytes()
}

fn status(who: &Person<'_>, route: &(&'static str, String, &'static str, Vec<u8>)) -> u16 {
    let (method, path, kind, body) = route;
    let headers = [("Content-Type", *kind)];
    who.ask(method, path, if kind.is_empty() { &[] } else { &headers }, body).status
}

#[test]
fn nobody_reaches_what_is_somebody_elses() {
    let owner = Person::sign_up(drive(), "owner");
    let folder = owner.make_folder("root", "mine");
    let file = owner.make_file("mine.txt", b"private");
    let stranger = Person::sign_up(drive(), "stranger");
    let ended = Person::sign_up(drive(), "ended");
    assert_eq!(ended.ask("POST", "/api/logout", &[], b"").status, 204);
    let disabled = Person::sign_up(drive(), "disabled");
    let sql = format!("UPDATE user SET disabled_ms = 1 WHERE id = {}", disabled.id);
    database::query::<u64>(drive(), &sql);
    let nobody = Person::nobody(drive());

    for route in routes(&folder, &file).iter().skip(1) {
        let place = format!("{} {}", route.0, route.1);
        assert_eq!(status(&stranger, route), 404, "{place}");
        for (who, what) in [(&nobody, "nobody"), (&ended, "ended"), (&disabled, "disabled")] {
            assert_eq!(status(who, route), 401, "{what}: {place}");
        }
    }
    for route in batches(&folder, &file) {
        let (method, path, kind, body) = &route;
        let answer = stranger.ask(method, path, &[("Content-Type", kind)], body);
        assert_eq!(answer.status, 200, "{path}");
        for result in answer.json()["results"].as_array().unwrap() {
            assert_eq!(result["error"]["code"], json!("not_found"), "{path}");
        }
        for (who, what) in [(&nobody, "nobody"), (&ended, "ended"), (&disabled, "disabled")] {
            assert_eq!(status(who, &route), 401, "{what}: {path}");
        }
    }
    for path in OWN {
        let answer = stranger.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("mine.txt"), "{path}");
        for who in [&nobody, &ended, &disabled] {
            assert_eq!(who.get(path).status, 401, "{path}");
        }
    }
    assert_eq!(nobody.ask("DELETE", "/api/mydisk/trash", &[], b"").status, 401);
    // What is not there looks the same, byte for byte.
    let missing = stranger.get("/api/download/18446744073709551615");
    let foreign = stranger.get(&format!("/api/download/{file}"));
    assert_eq!((missing.status, &missing.body), (foreign.status, &foreign.body));
    // Nothing was made by all of that, and the owner has what there was.
    let root = owner.get("/api/disk/root").json();
    assert_eq!(root["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(owner.get(&format!("/api/disk/{folder}")).json()["nodes"], json!([]));
    assert_eq!(owner.download(&file), b"private");
    let form = json!({"name": disabled.name, "password": PASSWORD}).to_string();
    let headers = [("Content-Type", "application/json")];
    let answer = ask(drive(), "POST", "/api/login", &headers, form.as_bytes());
    assert_eq!((answer.status, code(&answer).as_str()), (401, "bad_credentials"));
    database::check(drive());
}

#[test]
fn the_store_cannot_be_reached_but_through_the_gate() {
    let owner = Person::sign_up(drive(), "store");
    let id = owner.make_file("a", b"bytes only the owner may have");
    let sql =
        format!("SELECT b.file_id FROM node n JOIN `blob` b ON b.id = n.blob_id WHERE n.id = {id}");
    let file_id = database::query::<String>(drive(), &sql).remove(0);
    for path in [format!("/{file_id}"), format!("//{file_id}"), format!("/./{file_id}?x=1")] {
        let answer = owner.drive.ask("GET", &path, &[("Cookie", &owner.cookie)], b"");
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
        assert!(!String::from_utf8_lossy(&answer.body).contains("only the owner"));
    }
    // What a client writes into these headers is not believed.
    let headers = [("X-Accel-Redirect", &*format!("/{file_id}")), ("X-Forwarded-For", "10.0.0.1")];
    let answer = ask(drive(), "GET", &format!("/api/download/{id}"), &headers, b"");
    assert_eq!(answer.status, 401);
}

#[test]
fn other_sites_cannot_make_a_browser_change_anything() {
    let person = Person::sign_up(drive(), "csrf");
    let host = drive().url.strip_prefix("http://").unwrap();
    let own = format!("http://{host}");
    let headers: [(&str, &str, bool); 8] = [
        ("Origin", &own, true),
        ("Sec-Fetch-Site", "same-origin", true),
        ("Sec-Fetch-Site", "none", true),
        ("Sec-Fetch-Site", "same-site", false),
        ("Sec-Fetch-Site", "cross-site", false),
        ("Origin", "http://evil.example", false),
        ("Origin", "null", false),
        ("Origin", &format!("{own}.evil.example"), false),
    ];
    for (number, (name, value, allowed)) in headers.into_iter().enumerate() {
        let body = json!({"name": format!("made {number}")}).to_string();
        let all = [("Content-Type", "application/json"), (name, value)];
        let answer = person.ask("POST", "/api/disk", &all, body.as_bytes());
        assert_eq!(answer.status, if allowed { 201 } else { 403 }, "{name}: {value}");
        let path = format!("/api/upload/f{number}");
        let answer = person.ask("PUT", &path, &[(name, value)], b"x");
        assert_eq!(answer.status, if allowed { 201 } else { 403 }, "{name}: {value}");
        for path in ["/api/login", "/api/register"] {
            let answer = ask(drive(), "POST", path, &all, b"{}");
            assert_eq!(answer.status, if allowed { 400 } else { 403 }, "{path} {name}: {value}");
        }
        // Reading is harmless: the answer cannot be read by the other site.
        assert_eq!(person.ask("GET", "/api/session", &[(name, value)], b"").status, 200);
    }
    let answer = person.ask("POST", "/api/logout", &[("Origin", "http://evil.example")], b"");
    assert_eq!(answer.status, 403);
    let answer = person.ask("GET", "/api/session", &[("Origin", "http://evil.example")], b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    // A form that needs no permission to be sent is not taken for JSON.
    let answer = person.ask("POST", "/api/disk", &[("Content-Type", "text/plain")], b"{}");
    assert_eq!((answer.status, code(&answer).as_str()), (415, "wrong_content_type"));
}

#[test]
fn hostile_json_is_refused_and_nothing_falls() {
    let person = Person::sign_up(drive(), "json");
    let deep = format!("{{\"name\":{}", "[".repeat(30_000));
    let objects = "{\"name\":".repeat(8_000);
    let name_twice = r#"{"name":"a","name":"b"}"#;
    let cases: [(&[u8], u16); 12] = [
        (b"", 400),
        (b"{", 400),
        (b"null", 400),
        (deep.as_bytes(), 400),
        (objects.as_bytes(), 400),
        (name_twice.as_bytes(), 400),
        (b"{\"name\":\"\xff\"}", 400),
        (b"{\"name\":\"\\ud800\"}", 400),
        (br#"{"name":"a","owner_id":"1"}"#, 400),
        (br#"{"name":"a","id":"1","size":7,"refcount":9}"#, 400),
        (br#"{"name":"a","parent":7}"#, 400),
        (br#"{"name":"a"} trailing"#, 400),
    ];
    for (body, want) in cases {
        for path in ["/api/disk", "/api/login", "/api/register"] {
            let headers = [("Content-Type", "application/json")];
            let answer = person.ask("POST", path, &headers, body);
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert_eq!(answer.status, want, "{path} {shown}");
        }
    }
    for size in [70_000, 10 << 20] {
        let long = format!("{{\"name\":\"{}\"}}", "x".repeat(size));
        let headers = [("Content-Type", "application/json")];
        let answer = person.ask("POST", "/api/disk", &headers, long.as_bytes());
        assert_eq!((answer.status, code(&answer).as_str()), (413, "too_large"), "{size}");
    }
    let deepest = "[".repeat(100_000);
    let headers = [("Content-Type", "application/json")];
    let answer = person.ask("POST", "/api/disk", &headers, deepest.as_bytes());
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    assert_eq!(person.get("/api/disk/root").json()["nodes"], json!([]));
}

#[test]
fn hostile_addresses_are_refused_and_nothing_falls() {
    let person = Person::sign_up(drive(), "paths");
    let mine = person.make_file("a", b"x");
    let paths = [
        "/api/disk/0",
        "/api/disk/-1",
        "/api/disk/1e3",
        "/api/disk/%00",
        "/api/disk/root%2F..",
        "/api/disk/18446744073709551616",
        "/api/disk/1%27%20OR%201%3D1",
        "/api/disk/",
        "/api/disk",
        "/api/disk/root/x",
        "/api/download/",
        "/api/download/root",
        "/api/download/a%FFb",
        "/api/upload",
        "/api/upload/",
        "/api/nothing",
        "/api/session/1",
    ];
    for path in paths {
        let status = person.get(path).status;
        assert!(matches!(status, 400 | 404 | 405), "{path}: {status}");
    }
    let queries = [
        "limit=0",
        "limit=1001",
        "limit=18446744073709551616",
        "limit=1;DROP",
        "sort=owner",
        "sort=name%27",
        "order=desc,id",
        "cursor=7b7d",
        "cursor=%00",
        "cursor=zz",
        "limit=%FF",
    ];
    for query in queries {
        assert_eq!(person.get(&format!("/api/disk/root?{query}")).status, 400, "{query}");
    }
    for method in ["DELETE", "PATCH", "PUT", "POST", "TRACE", "BREW"] {
        let answer = drive().ask(method, &format!("/api/download/{mine}"), &[], b"");
        assert!(matches!(answer.status, 400 | 403 | 405), "{method}: {}", answer.status);
    }
    assert_eq!(person.download(&mine), b"x");
    // What is there says which methods it has, also beside a route that takes any id.
    let health = ["admin", "events", "instant", "login", "mydisk", "register", "upload"];
    let health = health.map(|worker| ("DELETE", format!("/api/{worker}/health"), "GET, HEAD"));
    let disk = ["rename", "move", "copy", "trash"];
    let disk = disk.map(|what| ("PATCH", format!("/api/disk/{what}"), "POST"));
    let shares = ["public", "ranking"];
    let shares = shares.map(|what| ("PATCH", format!("/api/shares/{what}"), "GET, HEAD"));
    for (method, path, allow) in health.into_iter().chain(disk).chain(shares) {
        let answer = drive().ask(method, &path, &[("Cookie", &person.cookie)], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
    }
}

#[test]
fn what_goes_into_statements_is_data() {
    let person = Person::sign_up(drive(), "sql");
    let names = ["'); DROP TABLE node; --", "\\'", "a%b_c", "`", "\" OR \"\"=\"", "${x}", "$(id)"];
    for name in names {
        let answer = person.post("/api/disk", &json!({"name": name}));
        let want = if name.contains('\\') { 400 } else { 201 };
        assert_eq!(answer.status, want, "{name}");
    }
    let page = person.get("/api/disk/root").json();
    assert_eq!(page["nodes"].as_array().unwrap().len(), names.len() - 1);
}
