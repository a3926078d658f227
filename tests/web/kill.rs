//! Servers die in the middle of what people do: no half file, no visible file lost, counters
//! exact, and the client's retry succeeds and counts once (testing.md 11).
//!
//! ```text
//! victim x action x moment = one point; the table of all points is printed
//! ```
//!
//! A moment is a share of an upload's body that has been sent when the victim is killed, or of a
//! download's that has been read, so the order of sending decides and no clock: before the first
//! byte, in the middle, behind the last, behind the answer. `KILL=all` runs every point, else a
//! fixed sample: each victim at one moment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::console;
use crate::database;
use crate::instant::{challenge, proof, prove};
use crate::person::Person;
use crate::resumable::{begin, patch};
use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// Longer than pools, leases and daemons need to come back on a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(120);
const VICTIMS: [(&str, &[&str]); 6] = [
    ("worker", &["upload", "instant", "mydisk", "share"]),
    ("mysql", &["mysql"]),
    ("redis", &["redis"]),
    ("storage", &["storage"]),
    ("tracker", &["tracker"]),
    ("memcached", &["memcached"]),
];
/// All are under way when the victim dies.
const ACTIONS: [&str; 5] = ["put", "tus", "instant", "delete", "download"];

/// When the victim dies, as seen by the client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The head is sent, nothing of the body.
    Begun,
    Half,
    /// Everything is sent; the answer may be on its way.
    Sent,
    /// The answer was read to its end.
    Answered,
}

use Moment::{Answered, Begun, Half, Sent};

const MOMENTS: [Moment; 4] = [Begun, Half, Sent, Answered];
/// One of them for each victim, where time is short.
const SAMPLE: [Moment; 6] = [Sent, Half, Answered, Sent, Begun, Half];

fn content(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed) ^ (at >> 8) as u8).collect()
}

/// A line of the table, also where output of tests that succeed is kept back.
fn table(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
}

/// One request that a kill happens in: the status, or 0 if there was no whole answer, and the body
/// of a whole answer.
fn send_around(
    person: &Person<'_>,
    (method, path, headers): (&str, &str, &str),
    body: &[u8],
    moment: Moment,
    kill: &(dyn Fn() + Sync),
) -> (u16, Vec<u8>) {
    let host = person.drive.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    socket.set_read_timeout(Some(BACK_WITHIN)).unwrap();
    socket.set_write_timeout(Some(BACK_WITHIN)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nConnection: close\r\n\
         Content-Length: {}\r\n{headers}\r\n",
        person.cookie,
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let before = match moment {
        Begun => 0,
        // Of a download it is the answer's half.
        Half if method == "GET" => body.len(),
        Half => body.len() / 2,
        Sent | Answered => body.len(),
    };
    let (first, rest) = body.split_at(before);
    socket.write_all(first).unwrap();
    let mut kill = Some(kill);
    if matches!(moment, Begun | Sent) || moment == Half && method != "GET" {
        kill.take().expect("not killed yet")();
    }
    // A server that is gone takes nothing more; what it answered still counts.
    let _gone = socket.write_all(rest);
    let answer = read_around(&mut BufReader::new(socket), moment, &mut kill);
    if let Some(kill) = kill {
        kill();
    }
    answer
}

/// Reads an answer; calls `kill` in its middle if it was not called yet.
fn read_around(
    from: &mut BufReader<TcpStream>,
    moment: Moment,
    kill: &mut Option<&(dyn Fn() + Sync)>,
) -> (u16, Vec<u8>) {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match from.read_line(&mut line) {
            Ok(0) | Err(_) => return (0, Vec::new()),
            Ok(_) if line == "\r\n" => break,
            Ok(_) => lines.push(line.to_ascii_lowercase()),
        }
    }
    let status = lines[0].split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {lines:?}"));
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = Vec::new();
    let Some(length) = length.map(|value| value.trim().parse::<u64>().unwrap()) else {
        let whole = from.read_to_end(&mut body).is_ok();
        return if whole { (status, body) } else { (0, Vec::new()) };
    };
    if moment == Half && kill.is_some() {
        let _cut = from.by_ref().take(length / 2).read_to_end(&mut body);
        kill.take().expect("just looked")();
    }
    let left = length - body.len() as u64;
    let read = from.take(left).read_to_end(&mut body);
    let whole = read.is_ok() && body.len() as u64 == length;
    if whole { (status, body) } else { (0, Vec::new()) }
}

/// What a name in the root folder holds, if it is there; it must then be whole.
fn found(person: &Person<'_>, name: &str, want: &[u8]) -> Option<String> {
    let page = person.get("/api/disk/root").json();
    let nodes = page["nodes"].as_array().unwrap();
    let mut ids = nodes.iter().filter(|node| node["name"] == json!(name));
    let id = ids.next()?["id"].as_str().unwrap().to_owned();
    assert!(ids.next().is_none(), "{name} is there twice");
    assert!(person.download(&id) == want, "{name} is visible and not whole");
    Some(id)
}

/// Everything runs again, and somebody who is signed in again can work.
fn recover<'a>(person: &Person<'a>, victim: &str) -> Person<'a> {
    person.drive.control("start");
    let (name, password) = (person.name.clone(), crate::person::PASSWORD);
    let form = json!({"name": name, "password": password}).to_string();
    let cookie = eventually(victim, BACK_WITHIN, || {
        let headers = [("Content-Type", "application/json")];
        let answer = person.drive.ask("POST", "/api/login", &headers, form.as_bytes());
        (answer.status == 200).then(|| format!("session={}", answer.cookie("session").unwrap()))
    });
    Person { drive: person.drive, name, id: person.id.clone(), cookie }
}

/// What all points share.
struct Scene {
    /// A content the store has, for uploads.
    known: Vec<u8>,
    /// A larger one, shared, and where visitors get it.
    large: Vec<u8>,
    shared: String,
}

impl Scene {
    fn set(person: &Person<'_>) -> Self {
        let (known, large) = (content(1, 300_000), content(2, 16_000_000));
        person.make_file("known", &known);
        let node = person.make_file("large", &large);
        let share = person.post("/api/shares", &json!({"nodes": [node]}));
        let share = share.json()["id"].as_str().unwrap().to_owned();
        Self { known, large, shared: format!("/api/share/{share}/download/{node}") }
    }
}

#[test]
fn a_kill_at_any_step_loses_nothing_visible_and_counts_once() {
    let all = std::env::var("KILL").is_ok_and(|word| word == "all");
    let drive = Stack::start(&[]);
    let mut person = Person::sign_up(&drive, "matrix");
    let scene = Scene::set(&person);
    let mut points = 0;
    for ((victim, services), sample) in VICTIMS.into_iter().zip(SAMPLE) {
        for moment in MOMENTS.into_iter().filter(|moment| all || *moment == sample) {
            let name = |action: &str| format!("{action}-{victim}-{moment:?}");
            let (before, after) =
                (Barrier::new(ACTIONS.len() + 1), Barrier::new(ACTIONS.len() + 1));
            let kill = || {
                before.wait();
                after.wait();
            };
            let answers = std::thread::scope(|scope| {
                let begun: Vec<_> = ACTIONS
                    .map(|action| {
                        let (person, scene, kill) = (&person, &scene, &kill);
                        let name = name(action);
                        scope.spawn(move || {
                            met(kill, |kill| point(person, action, &name, scene, moment, kill))
                        })
                    })
                    .into();
                before.wait();
                let killed = catch_unwind(AssertUnwindSafe(|| {
                    services.iter().for_each(|one| drive.kill(one));
                }));
                // Whatever happened, nobody is left waiting.
                after.wait();
                killed.unwrap_or_else(|why| resume_unwind(why));
                begun.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            person = recover(&person, victim);
            for (action, (status, body)) in ACTIONS.into_iter().zip(answers) {
                let outcome = match action {
                    "download" => settle_download(&person, &scene, status, &body),
                    _ => settle(&person, action, &name(action), &scene.known, status),
                };
                let moment = format!("{moment:?}");
                table(&format!("kill {victim:<9} {action:<8} {moment:<8} {status:>3} {outcome}"));
                points += 1;
            }
            database::check(&drive);
        }
    }
    let how = if all { "all" } else { "a fixed sample; `make test-kill` runs all" };
    table(&format!("kill matrix: {points} points ({how})"));
    let moments = if all { MOMENTS.len() } else { 1 };
    assert_eq!(points, VICTIMS.len() * moments * ACTIONS.len());
    found(&person, "known", &scene.known).expect("it was never touched");
    nothing_is_left_over(&person);
}

/// What the kills left behind goes: reservations, resumable uploads, files of no row.
fn nothing_is_left_over(person: &Person<'_>) {
    let drive = person.drive;
    // Long after the last kill.
    for sql in [
        "UPDATE `blob` SET touched_ms = 1 WHERE state = 'storing'",
        "UPDATE upload SET expires_ms = 1",
    ] {
        database::query::<u64>(drive, sql);
    }
    eventually("swept", BACK_WITHIN, || {
        database::query::<u64>(drive, "UPDATE garbage SET due_ms = 1");
        let said = console::done(drive, &["gc"]);
        (said == "stored files that could not be removed yet: 0\n").then_some(())
    });
    let left = "SELECT (SELECT COUNT(*) FROM `blob` WHERE state <> 'live')
        + (SELECT COUNT(*) FROM upload) + (SELECT COUNT(*) FROM garbage)";
    assert_eq!(database::query::<u64>(drive, left), [0]);
    console::age_stored_files(drive);
    let report = console::done(drive, &["reconcile", "--repair"]);
    for line in report.lines() {
        table(&format!("after the kills: {line}"));
    }
    console::done(drive, &["gc"]);
    let report = console::done(drive, &["reconcile", "--sums"]);
    assert!(report.contains(" 0 of them belong to nothing"), "{report}");
    database::check(drive);
}

/// Runs what calls `kill` once. If it panics before that, the others that wait at the kill are
/// met all the same, and the panic goes on.
fn met<T>(kill: &(dyn Fn() + Sync), act: impl FnOnce(&(dyn Fn() + Sync)) -> T) -> T {
    let called = AtomicBool::new(false);
    let noted = || {
        called.store(true, Ordering::Relaxed);
        kill();
    };
    catch_unwind(AssertUnwindSafe(|| act(&noted))).unwrap_or_else(|why| {
        if !called.load(Ordering::Relaxed) {
            kill();
        }
        resume_unwind(why)
    })
}

/// One action with a kill in it.
fn point(
    person: &Person<'_>,
    action: &str,
    name: &str,
    scene: &Scene,
    moment: Moment,
    kill: &(dyn Fn() + Sync),
) -> (u16, Vec<u8>) {
    let known = &scene.known;
    let json_type = "Content-Type: application/json\r\n";
    match action {
        "put" => {
            let path = format!("/api/upload/{name}");
            send_around(person, ("PUT", &path, ""), known, moment, kill)
        }
        "tus" => {
            let at = begin(person, known.len(), &[("filename", name)]);
            let headers = "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\
                           Content-Type: application/offset+octet-stream\r\n";
            send_around(person, ("PATCH", &at, headers), known, moment, kill)
        }
        "instant" => {
            let asked = challenge(person, known, name).json();
            let path = format!("/api/instant/{}", asked["challenge"].as_str().unwrap());
            let body = json!({"proof": proof(&asked, known)}).to_string();
            send_around(person, ("POST", &path, json_type), body.as_bytes(), moment, kill)
        }
        "download" => {
            let visitor = Person::nobody(person.drive);
            send_around(&visitor, ("GET", &scene.shared, ""), b"", moment, kill)
        }
        _ => {
            let path = format!("/api/disk/{}", person.make_file(name, known));
            send_around(person, ("DELETE", &path, ""), b"", moment, kill)
        }
    }
}

/// What looked whole was whole; and it can be had now.
fn settle_download(person: &Person<'_>, scene: &Scene, status: u16, body: &[u8]) -> &'static str {
    if status == 200 {
        assert!(body == scene.large, "a download ended well with other bytes");
        return "done";
    }
    assert!(matches!(status, 0 | 404 | 500..), "a download was answered {status}");
    let visitor = Person::nobody(person.drive);
    eventually("a download", BACK_WITHIN, || {
        let headers = [("Cookie", visitor.cookie.as_str())];
        let answer = person.drive.ask("GET", &scene.shared, &headers, b"");
        (answer.status == 200).then(|| assert!(answer.body == scene.large))
    });
    "retried"
}

/// Tries until it is done; what is away is still on its way back.
fn retry(again: impl Fn() -> u16) {
    eventually("a retry", BACK_WITHIN, || match again() {
        200..300 => Some(()),
        503 => None,
        other => panic!("a retry was answered {other}"),
    });
}

/// Does what a client does that did not hear of success: looks, and tries again if need be.
fn settle(
    person: &Person<'_>,
    action: &str,
    name: &str,
    known: &[u8],
    status: u16,
) -> &'static str {
    let there = found(person, name, known);
    if action == "delete" {
        let Some(id) = there else { return "done" };
        assert!(!(200..300).contains(&status), "{name}: acknowledged and still there");
        let path = format!("/api/disk/{id}");
        retry(|| person.ask("DELETE", &path, &[], b"").status);
        assert_eq!(found(person, name, known), None);
        return "retried";
    }
    if there.is_some() {
        return "done";
    }
    assert!(!(200..300).contains(&status), "{name}: acknowledged and not there");
    match action {
        "put" => retry(|| person.put(name, known).status),
        "tus" => {
            let listed = person.get("/api/uploads").json();
            let mut all = listed["uploads"].as_array().unwrap().iter();
            let upload = all.find(|upload| upload["name"] == json!(name)).expect("it goes on");
            let at = format!("/api/uploads/{}", upload["id"].as_str().unwrap());
            eventually("the lease ends", BACK_WITHIN, || {
                let offset = crate::resumable::head(person, &at).0;
                let answer = patch(person, &at, offset, &known[offset..]);
                assert!(matches!(answer.status, 204 | 423 | 503), "{}", answer.status);
                (answer.status == 204).then_some(())
            });
        }
        _ => eventually("the store answers", BACK_WITHIN, || {
            let asked = challenge(person, known, name).json();
            // A store that is still away looks like a content that is not known.
            let status = prove(person, &asked, &proof(&asked, known)).status;
            assert!(matches!(status, 201 | 404 | 503), "{status}");
            (status == 201).then_some(())
        }),
    }
    found(person, name, known).expect("the retry succeeded");
    "retried"
}
