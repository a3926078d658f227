//! Somebody with a browser: an account, a session cookie, requests that are checked against the
//! document.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::contract;
use crate::support::http::{self, Answer};
use crate::support::stack::Stack;

/// A password that nothing objects to.
pub(crate) const PASSWORD: &str = "a long enough one";

pub(crate) struct Person<'a> {
    pub(crate) drive: &'a Stack,
    pub(crate) name: String,
    pub(crate) id: String,
    /// `session=…`, or empty.
    pub(crate) cookie: String,
}

/// A name nobody else in this run has.
pub(crate) fn fresh_name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One request without an account, checked against the document.
pub(crate) fn ask(
    drive: &Stack,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let answer = drive.ask(method, path, headers, body);
    contract::check(method, path, &answer);
    answer
}

pub(crate) fn post_json(drive: &Stack, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    ask(drive, "POST", path, &headers, body.to_string().as_bytes())
}

impl<'a> Person<'a> {
    /// Makes an account and signs in.
    pub(crate) fn sign_up(drive: &'a Stack, what: &str) -> Self {
        let name = fresh_name(what);
        let form = json!({"name": name, "password": PASSWORD});
        let answer = post_json(drive, "/api/register", &form);
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let id = answer.json()["user"]["id"].as_str().unwrap().to_owned();
        let token = answer.cookie("session").expect("a session");
        Self { drive, name, id, cookie: format!("session={token}") }
    }

    /// Somebody who is not signed in.
    pub(crate) fn nobody(drive: &'a Stack) -> Self {
        Self { drive, name: String::new(), id: String::new(), cookie: String::new() }
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut all = headers.to_vec();
        if !self.cookie.is_empty() {
            all.push(("Cookie", &self.cookie));
        }
        ask(self.drive, method, path, &all, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.ask("POST", path, &headers, body.to_string().as_bytes())
    }

    /// PUTs a file; `target` is what follows `/api/upload/`.
    pub(crate) fn put(&self, target: &str, bytes: &[u8]) -> Answer {
        self.ask("PUT", &format!("/api/upload/{target}"), &[], bytes)
    }

    /// The same with `len` bytes from a reader.
    pub(crate) fn put_from(&self, target: &str, len: u64, body: &mut dyn Read) -> Answer {
        let path = format!("/api/upload/{target}");
        let headers = [("Cookie", self.cookie.as_str())];
        let answer = http::send(&self.drive.url, "PUT", &path, &headers, len, body);
        let answer = answer.unwrap_or_else(|e| panic!("PUT {path}: {e}"));
        contract::check("PUT", &path, &answer);
        answer
    }

    /// A folder in `parent`: its id.
    pub(crate) fn make_folder(&self, parent: &str, name: &str) -> String {
        let answer = self.post("/api/disk", &json!({"parent": parent, "name": name}));
        assert_eq!(answer.status, 201, "{name}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// An uploaded file in the root folder: its id.
    pub(crate) fn make_file(&self, name: &str, bytes: &[u8]) -> String {
        let answer = self.put(name, bytes);
        assert_eq!(answer.status, 201, "{name}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The bytes of a file.
    pub(crate) fn download(&self, id: &str) -> Vec<u8> {
        let answer = self.get(&format!("/api/download/{id}"));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.body
    }

    /// What the drive says about this person.
    pub(crate) fn profile(&self) -> Value {
        self.get("/api/session").json()["user"].take()
    }
}

/// `error.code` of a refusal.
pub(crate) fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}
