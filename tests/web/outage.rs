//! Servers behind the workers go away: 503 with a time to come back, no half file, and everything
//! works again by itself when they are back.

use std::time::Duration;

use serde_json::json;

use crate::database;
use crate::person::{PASSWORD, Person, post_json};
use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// Longer than pools and sessions need to notice, on a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Sees to it that `kill` takes effect: a request is refused in good order.
fn refused(person: &Person<'_>, what: &str) {
    let answer = match what {
        "storage" | "tracker" => person.put("while-away?conflict=rename", b"x"),
        _ => person.get("/api/disk/root"),
    };
    assert_eq!(answer.status, 503, "{what}: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["error"]["code"], json!("unavailable"));
    let wait: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=60).contains(&wait));
}

/// More often than passwords may be wrong: what could not be compared was no guess.
fn try_to_sign_in_often(drive: &Stack, person: &Person<'_>) {
    let form = json!({"name": person.name, "password": PASSWORD});
    for _ in 0..12 {
        assert_eq!(post_json(drive, "/api/login", &form).status, 503);
    }
}

#[test]
fn every_server_may_go_and_come_back() {
    let drive = Stack::start(&[]);
    let person = Person::sign_up(&drive, "outage");
    let content = vec![7; 300_000];
    let id = person.make_file("before", &content);
    for what in ["mysql", "redis", "storage", "tracker"] {
        drive.kill(what);
        refused(&person, what);
        if what == "mysql" {
            try_to_sign_in_often(&drive, &person);
        }
        drive.control("start");
        eventually(what, BACK_WITHIN, || {
            let put = person.put(&format!("after-{what}?conflict=rename"), &content);
            (put.status == 201).then_some(())
        });
        assert!(person.download(&id) == content, "{what}");
    }
    // A worker that dies is started again by an operator; nothing was in it.
    for worker in ["login", "upload", "mydisk", "download", "register"] {
        drive.kill(worker);
    }
    drive.control("start");
    assert!(person.download(&id) == content);
    assert_eq!(person.put("after-workers", &content).status, 201);
    let form = json!({"name": person.name, "password": PASSWORD});
    assert_eq!(post_json(&drive, "/api/login", &form).status, 200);
    database::check(&drive);
    let page = person.get("/api/disk/root").json();
    for node in page["nodes"].as_array().unwrap() {
        let bytes = person.download(node["id"].as_str().unwrap());
        assert!(bytes == content, "{}", node["name"]);
    }
}

#[test]
fn without_redis_sessions_are_lost_and_nothing_else() {
    let drive = Stack::start(&[]);
    let person = Person::sign_up(&drive, "flush");
    let id = person.make_file("kept", b"kept");
    let socket = drive.run.join("redis.sock");
    let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
    let mut conn = client.get_connection().unwrap();
    redis::cmd("FLUSHALL").exec(&mut conn).unwrap();
    assert_eq!(person.get("/api/disk/root").status, 401);
    let form = json!({"name": person.name, "password": PASSWORD});
    let answer = post_json(&drive, "/api/login", &form);
    assert_eq!(answer.status, 200);
    let cookie = format!("session={}", answer.cookie("session").unwrap());
    let (name, number) = (person.name.clone(), person.id.clone());
    let again = Person { drive: &drive, name, id: number, cookie };
    assert_eq!(again.download(&id), b"kept");
}
