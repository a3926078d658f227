//! Live events: a change made in one tab is told to the others of the same user, and to nobody
//! else.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::database;
use crate::drive;
use crate::instant::{challenge, proof, prove};
use crate::person::{PASSWORD, Person, ask};

/// A tab that listens.
pub(crate) struct Tab {
    lines: BufReader<TcpStream>,
}

impl Tab {
    pub(crate) fn open(person: &Person<'_>) -> Self {
        let host = person.drive.url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(host).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "GET /api/events HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nConnection: close\r\n\r\n",
            person.cookie
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut tab = Self { lines: BufReader::new(socket) };
        assert!(tab.line().unwrap().contains(" 200"));
        while tab.line().unwrap() != ": hello" {}
        tab
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let got = self.lines.read_line(&mut line).unwrap();
        (0 < got).then(|| line.trim_end().to_owned())
    }

    /// The next event: its kind and its data.
    pub(crate) fn event(&mut self) -> (String, Value) {
        let mut signs_of_life = 0;
        loop {
            let line = self.line().expect("the stream goes on");
            // One comes every quarter of a minute.
            signs_of_life += u32::from(line == ": still here");
            assert!(signs_of_life < 4, "no event for a minute");
            let Some(kind) = line.strip_prefix("event: ") else { continue };
            let kind = kind.to_owned();
            let data = self.line().unwrap();
            let data = data.strip_prefix("data: ").unwrap();
            return (kind, serde_json::from_str(data).unwrap());
        }
    }
}

/// A person with two tabs, and somebody else with one.
struct Scene {
    person: Person<'static>,
    tabs: [Tab; 2],
    other: Person<'static>,
    foreign: Tab,
}

impl Scene {
    fn set(what: &str) -> Self {
        let person = Person::sign_up(drive(), what);
        let other = Person::sign_up(drive(), what);
        let tabs = [Tab::open(&person), Tab::open(&person)];
        let foreign = Tab::open(&other);
        Self { person, tabs, other, foreign }
    }

    /// Both tabs hear these next, and so nothing else before; events of one kind keep their order.
    fn hear(&mut self, what: &str, want: &[(&str, Value)]) {
        for tab in &mut self.tabs {
            let mut heard: Vec<(String, Value)> = want.iter().map(|_| tab.event()).collect();
            heard.sort_by(|(a, _), (b, _)| a.cmp(b));
            let mut want: Vec<(String, Value)> =
                want.iter().map(|(kind, data)| ((*kind).to_owned(), data.clone())).collect();
            want.sort_by(|(a, _), (b, _)| a.cmp(b));
            assert_eq!(heard, want, "{what}");
        }
    }

    /// Something else changed and was heard: what came too much before that would show here.
    /// Then the other person's tab hears that person's own change first.
    fn end(mut self) {
        let folder = self.person.make_folder("root", "the end");
        self.hear("the end", &[files(&["root"])]);
        self.person.make_folder(&folder, "of it");
        self.hear("of it", &[files(&[&folder])]);
        let own = self.other.make_folder("root", "mine");
        assert_eq!(self.foreign.event().1, json!({"folders": ["root"]}));
        self.other.make_folder(&own, "too");
        assert_eq!(self.foreign.event().1, json!({"folders": [own]}));
        database::check(drive());
    }
}

/// An event of what is in folders; `root` comes after numbers.
fn files(folders: &[&str]) -> (&'static str, Value) {
    let mut folders = folders.to_vec();
    folders.sort_unstable();
    ("files", json!({ "folders": folders }))
}

fn plain(kind: &'static str) -> (&'static str, Value) {
    (kind, json!({}))
}

fn patch(person: &Person<'_>, path: &str, body: &Value) -> u16 {
    let headers = [("Content-Type", "application/json")];
    person.ask("PATCH", path, &headers, body.to_string().as_bytes()).status
}

/// A request about many things of which all succeed.
fn batch(person: &Person<'_>, path: &str, body: &Value) -> Vec<String> {
    let answer = person.post(path, body);
    assert_eq!(answer.status, 200, "{path}");
    let results = answer.json()["results"].take();
    let results = results.as_array().unwrap();
    assert!(results.iter().all(|r| r["error"].is_null()), "{path}: {results:?}");
    results.iter().filter_map(|r| Some(r["node"]["id"].as_str()?.to_owned())).collect()
}

#[test]
fn making_uploading_renaming_moving_and_copying_are_told() {
    let mut scene = Scene::set("tabs");
    let folder = scene.person.make_folder("root", "d");
    scene.hear("a folder", &[files(&["root"])]);
    let a = scene.person.make_file("a", b"x");
    scene.hear("an upload", &[files(&["root"])]);
    assert_eq!(scene.person.put(&format!("b?parent={folder}"), b"x").status, 201);
    scene.hear("an upload into a folder", &[files(&[&folder])]);
    assert_eq!(patch(&scene.person, &format!("/api/disk/{a}"), &json!({"name": "c"})), 200);
    scene.hear("a new name", &[files(&["root"])]);
    let renames = json!({"items": [{"id": a, "name": "a"}, {"id": folder, "name": "e"}]});
    batch(&scene.person, "/api/disk/rename", &renames);
    scene.hear("new names, one of a folder, told once", &[files(&["all"])]);
    assert_eq!(patch(&scene.person, &format!("/api/disk/{a}"), &json!({"parent": folder})), 200);
    scene.hear("a new place", &[files(&[&folder, "root"])]);
    let many: Vec<String> =
        (0..5).map(|n| scene.person.make_folder("root", &format!("m{n}"))).collect();
    for _ in &many {
        scene.hear("a folder", &[files(&["root"])]);
    }
    batch(&scene.person, "/api/disk/move", &json!({"ids": many, "parent": folder}));
    scene.hear("new places of folders, told once", &[files(&["all"])]);
    batch(&scene.person, "/api/disk/copy", &json!({"ids": many, "parent": "root"}));
    scene.hear("copies, told once", &[files(&["root"])]);
    let favourite = format!("/api/mydisk/favourites/{a}");
    for method in ["PUT", "DELETE"] {
        assert_eq!(scene.person.ask(method, &favourite, &[], b"").status, 204);
        scene.hear("a favourite", &[files(&[&folder])]);
    }
    // What was refused is no change.
    assert_eq!(scene.person.get("/api/disk/root").status, 200);
    assert_eq!(patch(&scene.person, &format!("/api/disk/{a}"), &json!({"name": ".."})), 400);
    assert_eq!(patch(&scene.other, &format!("/api/disk/{a}"), &json!({"name": "x"})), 404);
    scene.end();
}

#[test]
fn throwing_away_restoring_and_purging_are_told() {
    let mut scene = Scene::set("tabs");
    let folder = scene.person.make_folder("root", "d");
    scene.hear("a folder", &[files(&["root"])]);
    let ids: Vec<String> = (0..4).map(|n| scene.person.make_file(&format!("f{n}"), b"x")).collect();
    for _ in &ids {
        scene.hear("an upload", &[files(&["root"])]);
    }
    assert_eq!(scene.person.ask("DELETE", &format!("/api/disk/{folder}"), &[], b"").status, 204);
    scene.hear("a folder to the trash", &[files(&["all"]), plain("trash")]);
    batch(&scene.person, "/api/disk/trash", &json!({"ids": ids}));
    scene.hear("many to the trash, told once", &[files(&["root"]), plain("trash")]);
    batch(&scene.person, "/api/mydisk/trash/restore", &json!({"ids": [folder]}));
    scene.hear("a folder back", &[files(&["all"]), plain("trash")]);
    let back = json!({"ids": ids[..2], "parent": folder});
    batch(&scene.person, "/api/mydisk/trash/restore", &back);
    scene.hear("back to elsewhere", &[files(&[&folder]), plain("trash")]);
    batch(&scene.person, "/api/mydisk/trash/purge", &json!({"ids": [ids[2]]}));
    scene.hear("purged", &[plain("trash"), plain("account")]);
    assert_eq!(scene.person.ask("DELETE", "/api/mydisk/trash", &[], b"").status, 200);
    scene.hear("emptied", &[plain("trash"), plain("account")]);
    scene.end();
}

#[test]
fn shares_are_told_to_their_owner_and_saving_to_the_visitor() {
    let mut scene = Scene::set("tabs");
    let file = scene.person.make_file("shared", b"shared");
    scene.hear("an upload", &[files(&["root"])]);
    let share = scene.person.post("/api/shares", &json!({"nodes": [file]}));
    assert_eq!(share.status, 201);
    let id = share.json()["id"].as_str().unwrap().to_owned();
    scene.hear("a share", &[plain("shares")]);
    assert_eq!(patch(&scene.person, &format!("/api/shares/{id}"), &json!({"title": "t"})), 200);
    scene.hear("another title", &[plain("shares")]);
    assert_eq!(scene.other.get(&format!("/api/share/{id}")).status, 200);
    scene.hear("a look", &[plain("shares")]);
    assert_eq!(scene.other.get(&format!("/api/share/{id}/download/{file}")).status, 200);
    scene.hear("a download", &[plain("shares")]);
    let saved = batch(&scene.other, &format!("/api/share/{id}/save"), &json!({}));
    assert_eq!(saved.len(), 1);
    // It counts as a download, and as a copy.
    scene.hear("saved", &[plain("shares"), plain("shares")]);
    assert_eq!(scene.foreign.event(), ("files".to_owned(), files(&["root"]).1));
    assert_eq!(scene.person.ask("DELETE", &format!("/api/shares/{id}"), &[], b"").status, 204);
    scene.hear("stopped", &[plain("shares")]);
    scene.end();
}

#[test]
fn resumable_and_instant_uploads_are_told() {
    let mut scene = Scene::set("tabs");
    let content = vec![9; 100_000];
    let length = content.len().to_string();
    let tus = ("Tus-Resumable", "1.0.0");
    let begin = |person: &Person<'_>, name: &str| {
        let metadata = format!("filename {}", STANDARD.encode(name));
        let headers =
            [tus, ("Upload-Length", length.as_str()), ("Upload-Metadata", metadata.as_str())];
        let answer = person.ask("POST", "/api/uploads", &headers, b"");
        assert_eq!(answer.status, 201);
        answer.header("location").unwrap().to_owned()
    };
    let given_up = begin(&scene.person, "one");
    scene.hear("begun", &[plain("uploads")]);
    assert_eq!(scene.person.ask("DELETE", &given_up, &[tus], b"").status, 204);
    scene.hear("given up", &[plain("uploads")]);
    let finished = begin(&scene.person, "two");
    scene.hear("begun", &[plain("uploads")]);
    let kind = ("Content-Type", "application/offset+octet-stream");
    let headers = [tus, kind, ("Upload-Offset", "0")];
    assert_eq!(scene.person.ask("PATCH", &finished, &headers, &content).status, 204);
    scene.hear("finished", &[files(&["root"]), plain("uploads")]);
    let asked = challenge(&scene.person, &content, "three").json();
    assert_eq!(prove(&scene.person, &asked, &proof(&asked, &content)).status, 201);
    scene.hear("instant", &[files(&["root"])]);
    scene.end();
}

#[test]
fn what_happens_to_an_account_is_told() {
    let mut scene = Scene::set("tabs");
    assert_eq!(patch(&scene.person, "/api/session", &json!({"theme": "dark"})), 200);
    scene.hear("settings", &[plain("account")]);
    let form = json!({"name": "t", "scopes": ["read"], "password": PASSWORD});
    let made = scene.person.post("/api/tokens", &form);
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    scene.hear("a token", &[plain("account")]);
    let id = made.json()["token"]["id"].as_str().unwrap().to_owned();
    assert_eq!(scene.person.ask("DELETE", &format!("/api/tokens/{id}"), &[], b"").status, 204);
    scene.hear("no token", &[plain("account")]);
    assert_eq!(scene.person.ask("DELETE", "/api/sessions", &[], b"").status, 204);
    scene.hear("other sessions ended", &[plain("account")]);
    let admin = crate::admin::admin(drive());
    let path = format!("/api/admin/users/{}", scene.person.id);
    assert_eq!(patch(&admin, &path, &json!({"quota_bytes": 123_456_789})), 200);
    scene.hear("a quota", &[plain("account")]);
    let form = json!({"password": PASSWORD, "new_password": "another long one"});
    assert_eq!(scene.person.post("/api/password", &form).status, 204);
    scene.hear("a password", &[plain("account")]);
    scene.end();
}

#[test]
fn nobody_listens_without_a_session() {
    assert_eq!(ask(drive(), "GET", "/api/events", &[], b"").status, 401);
    assert_eq!(ask(drive(), "POST", "/api/events", &[], b"").status, 405);
}

#[test]
fn a_stream_ends_with_the_session_it_came_with() {
    let person = Person::sign_up(drive(), "ended");
    let mut tab = Tab::open(&person);
    assert_eq!(person.ask("POST", "/api/logout", &[], b"").status, 204);
    // Within a few signs of life, which come four times a minute.
    let mut signs_of_life = 0;
    while let Some(line) = tab.line() {
        assert!(!line.starts_with("event:"), "{line}");
        signs_of_life += u32::from(line == ": still here");
        assert!(signs_of_life < 4, "it goes on a minute after the session");
    }
}

#[test]
fn streams_of_one_user_have_a_limit() {
    let person = Person::sign_up(drive(), "many");
    let all: Vec<Tab> = (0..16).map(|_| Tab::open(&person)).collect();
    assert_eq!(person.get("/api/events").status, 429);
    drop(all);
}
