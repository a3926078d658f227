//! Live events: a change made in one tab is told to the others of the same user, and to nobody
//! else.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::database;
use crate::drive;
use crate::person::{Person, ask};

/// A tab that listens.
struct Tab {
    lines: BufReader<TcpStream>,
}

impl Tab {
    fn open(person: &Person<'_>) -> Self {
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
    fn event(&mut self) -> (String, serde_json::Value) {
        loop {
            let line = self.line().expect("the stream goes on");
            let Some(kind) = line.strip_prefix("event: ") else { continue };
            let kind = kind.to_owned();
            let data = self.line().unwrap();
            let data = data.strip_prefix("data: ").unwrap();
            return (kind, serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn a_change_in_one_tab_shows_in_the_others_of_the_same_user() {
    let person = Person::sign_up(drive(), "tabs");
    let other = Person::sign_up(drive(), "tabs");
    let (mut first, mut second) = (Tab::open(&person), Tab::open(&person));
    let mut foreign = Tab::open(&other);
    let folder = person.make_folder("root", "d");
    for tab in [&mut first, &mut second] {
        assert_eq!(tab.event(), ("files".to_owned(), json!({"folders": ["root"]})));
    }
    assert_eq!(person.put(&format!("a?parent={folder}"), b"x").status, 201);
    assert_eq!(first.event().1, json!({"folders": [folder]}));
    // What the other hears first is their own.
    let own = other.make_folder("root", "mine");
    assert_eq!(other.put(&format!("b?parent={own}"), b"x").status, 201);
    assert_eq!(foreign.event().1, json!({"folders": ["root"]}));
    assert_eq!(foreign.event().1, json!({"folders": [own]}));
    let headers = [("Content-Type", "application/json")];
    person.ask("PATCH", "/api/session", &headers, br#"{"theme":"dark"}"#);
    assert_eq!(first.event().0, "account");
    assert_eq!(ask(drive(), "GET", "/api/events", &[], b"").status, 401);
    database::check(drive());
}

#[test]
fn a_stream_ends_with_the_session_it_came_with() {
    let person = Person::sign_up(drive(), "ended");
    let mut tab = Tab::open(&person);
    assert_eq!(person.ask("POST", "/api/logout", &[], b"").status, 204);
    // Within a few signs of life, which come four times a minute.
    while let Some(line) = tab.line() {
        assert!(!line.starts_with("event:"), "{line}");
    }
}

#[test]
fn streams_of_one_user_have_a_limit() {
    let person = Person::sign_up(drive(), "many");
    let all: Vec<Tab> = (0..16).map(|_| Tab::open(&person)).collect();
    assert_eq!(person.get("/api/events").status, 429);
    drop(all);
}
