//! Servers behind the workers go away: 503 with a time to come back, no half file, and everything
//! works again by itself when they are back.

use std::time::Duration;

use serde_json::json;

use crate::database;
use crate::events::Tab;
use crate::instant::{challenge, proof, prove};
use crate::person::{PASSWORD, Person, post_json};
use crate::support::http::Answer;
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
        let asked = |content: &[u8]| {
            let asked = challenge(&person, content, "instant").json();
            let proof = proof(&asked, content);
            (asked, proof)
        };
        let proofs = [asked(&content), asked(&[8; 300_000])];
        drive.kill(what);
        refused(&person, what);
        if what == "mysql" {
            try_to_sign_in_often(&drive, &person);
        }
        if what == "tracker" {
            // Also of what nobody knows: the answer must not tell.
            for (asked, proof) in &proofs {
                is_away(&prove(&person, asked, proof), "an instant upload without a tracker");
            }
        }
        drive.control("start");
        eventually(what, BACK_WITHIN, || {
            let put = person.put(&format!("after-{what}?conflict=rename"), &content);
            (put.status == 201).then_some(())
        });
        assert!(person.download(&id) == content, "{what}");
        if what == "tracker" {
            // The challenge was not spent.
            let (asked, proof) = &proofs[0];
            assert_eq!(prove(&person, asked, proof).status, 201);
        }
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

/// Reads the answer of a service whose server is away.
fn is_away(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 503, "{what}: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["error"]["code"], json!("unavailable"), "{what}");
    let wait: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{what}");
}

#[test]
fn events_and_administration_come_back_by_themselves() {
    let drive = Stack::start(&[]);
    let mut admin = crate::admin::admin(&drive);
    for what in ["redis", "mysql", "tracker", "storage"] {
        let mut tab = Tab::open(&admin);
        admin.make_folder("root", &format!("before {what}"));
        assert_eq!(tab.event().0, "files", "{what}");
        drive.kill(what);
        match what {
            "redis" | "mysql" => {
                for path in ["/api/events", "/api/admin/stats", "/api/admin/cluster", "/metrics"] {
                    is_away(&admin.get(path), &format!("{path} without {what}"));
                }
            }
            // The store has nothing to do with them, but for what it is asked about itself.
            "tracker" => {
                is_away(&admin.get("/api/admin/cluster"), "the cluster without its tracker");
                let figures = String::from_utf8(admin.get("/metrics").body).unwrap();
                assert!(figures.contains("fastdisk_store_up 0"), "{figures}");
            }
            _ => {
                let figures = String::from_utf8(admin.get("/metrics").body).unwrap();
                assert!(figures.contains("fastdisk_store_up 1"), "{figures}");
            }
        }
        if matches!(what, "tracker" | "storage") {
            admin.make_folder("root", &format!("without {what}"));
            assert_eq!(tab.event().0, "files", "{what}: folders need no store");
        }
        drive.control("start");
        // A session may be lost with Redis, which writes to its log once a second.
        let fresh = eventually(what, BACK_WITHIN, || {
            let cookie = [("Cookie", admin.cookie.as_str())];
            match drive.ask("GET", "/api/admin/cluster", &cookie, b"").status {
                401 => Some(Some(crate::admin::admin(&drive))),
                200 => Some(None),
                status => {
                    assert_eq!(status, 503, "{what}");
                    None
                }
            }
        });
        admin = fresh.unwrap_or(admin);
        eventually(what, BACK_WITHIN, || {
            let shown = admin.get("/api/admin/cluster");
            let storage = shown.json()["groups"][0]["storages"][0]["status"].take();
            (storage == json!("ACTIVE")).then_some(())
        });
        assert_eq!(admin.get("/api/admin/stats").status, 200, "{what}");
        // A stream that may have missed something has ended; a new one hears again.
        let mut again = Tab::open(&admin);
        eventually("events are told again", BACK_WITHIN, || {
            let answer = admin.post("/api/disk", &json!({"name": crate::person::fresh_name("x")}));
            (answer.status == 201).then_some(())
        });
        assert_eq!(again.event().0, "files", "{what}");
    }
    database::check(&drive);
}
