//! Answers of MariaDB and Redis that get lost on their way: what was done is not taken back, what
//! was not done leaves nothing, and nobody is taken for a guesser.
//!
//! The tests stand between the workers and a server: its socket is moved aside and another one is
//! put in its place, so that one statement, known by some of its bytes, can be let through
//! without its answer, or lost with everything that comes for a while.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::database;
use crate::instant::challenge;
use crate::person::{PASSWORD, Person, post_json};
use crate::resumable::{begin, head, patch};
use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// What happens to the first statement that holds the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It is done, and its answer is lost.
    Answer,
    /// It does not arrive.
    Statement,
}

/// What is to be lost, once; and how many connections are refused behind that.
#[derive(Default)]
struct Plan {
    bytes: Vec<u8>,
    loss: Option<Loss>,
    refuse_then: usize,
    refuse: usize,
}

impl Plan {
    /// Whether `bytes` are those that are to be lost.
    fn strike(&mut self, bytes: &[u8]) -> Option<Loss> {
        if !bytes.windows(self.bytes.len().max(1)).any(|part| part == self.bytes) {
            return None;
        }
        let loss = self.loss.take()?;
        self.refuse = self.refuse_then;
        Some(loss)
    }
}

/// A way to a server on which things get lost.
struct Wire {
    plan: Arc<Mutex<Plan>>,
}

impl Wire {
    /// Puts itself between the workers of `drive` and its database, or Redis.
    fn between(drive: &Stack, server: &str) -> Self {
        let socket = drive.run.join(format!("{server}.sock"));
        let real = drive.run.join(format!("{server}.real.sock"));
        std::fs::rename(&socket, &real).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&socket, mode).unwrap();
        let plan: Arc<Mutex<Plan>> = Arc::default();
        let wire = Self { plan: plan.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                {
                    let mut plan = plan.lock().unwrap();
                    if 0 < plan.refuse {
                        plan.refuse -= 1;
                        continue;
                    }
                }
                let server = UnixStream::connect(&real).unwrap();
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let cut = Arc::new(AtomicBool::new(false));
                let (plan, mute) = (plan.clone(), cut.clone());
                std::thread::spawn(move || pass(from, to, &mute));
                std::thread::spawn(move || watch(client, server, &plan, &cut));
            }
        });
        // Connections from before are none of ours.
        if server == "redis" {
            let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
            let mut conn = client.get_connection().unwrap();
            let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).exec(&mut conn);
            kill.unwrap();
        } else {
            let sql = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()";
            for id in database::query::<u64>(drive, sql) {
                database::query::<u64>(drive, &format!("KILL {id}"));
            }
        }
        wire
    }

    /// The first statement with `bytes`, and `refuse` connections behind it.
    fn lose(&self, loss: Loss, bytes: &[u8], refuse: usize) {
        *self.plan.lock().unwrap() =
            Plan { bytes: bytes.to_vec(), loss: Some(loss), refuse_then: refuse, refuse: 0 };
    }

    fn has_lost(&self) {
        let plan = self.plan.lock().unwrap();
        assert_eq!((plan.loss, plan.refuse), (None, 0), "nothing was lost");
    }
}

/// Answers, until one end closes or an answer is to be lost.
fn pass(mut from: UnixStream, mut to: UnixStream, cut: &AtomicBool) {
    let mut chunk = [0; 16384];
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        if cut.load(Ordering::SeqCst) || to.write_all(&chunk[..len]).is_err() {
            break;
        }
    }
    close(&to);
    close(&from);
}

/// Statements, until one is to be lost.
fn watch(mut client: UnixStream, mut server: UnixStream, plan: &Mutex<Plan>, cut: &AtomicBool) {
    let mut chunk = vec![0; 1 << 20];
    while let Ok(len @ 1..) = client.read(&mut chunk) {
        let loss = plan.lock().unwrap().strike(&chunk[..len]);
        if loss == Some(Loss::Statement) {
            break;
        }
        cut.store(loss.is_some(), Ordering::SeqCst);
        if server.write_all(&chunk[..len]).is_err() {
            break;
        }
        if loss.is_some() {
            return; // the answer ends the connection, by being lost
        }
    }
    close(&client);
    close(&server);
}

fn close(socket: &UnixStream) {
    if let Err(error) = socket.shutdown(Shutdown::Both) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected, "it was closed already");
    }
}

#[test]
fn a_lost_answer_costs_no_acknowledged_byte() {
    let drive = Stack::start(&[]);
    let person = Person::sign_up(&drive, "wire");
    let wire = Wire::between(&drive, "mysql");
    eventually("the drive is used to it", Duration::from_secs(30), || {
        (person.get("/api/disk/root").status == 200).then_some(())
    });
    // More connections refused than one operation tries: only asking again tells what was done.
    for (case, loss, refuse, kept) in [
        (1, Loss::Answer, 0, true),
        (2, Loss::Answer, 9, true),
        (3, Loss::Statement, 0, true),
        (4, Loss::Statement, 9, false),
    ] {
        let whole: Vec<u8> = (0..900_000u32).flat_map(|n| (n * case).to_le_bytes()).collect();
        let at = begin(&person, whole.len(), &[("filename", &format!("file {case}"))]);
        let (first, second) = whole.split_at(1_000_000);
        // The note of the first piece is the first statement that names its file.
        wire.lose(loss, b"group1/M00/", refuse);
        let answer = patch(&person, &at, 0, first);
        wire.has_lost();
        assert_eq!(answer.status == 204, kept, "{case}: {}", answer.status);
        let (offset, rest) = if kept { (first.len(), second) } else { (0, &whole[..]) };
        assert_eq!(head(&person, &at), (offset, None), "{case}");
        assert_eq!(patch(&person, &at, offset, rest).status, 204, "{case}");
        let node = head(&person, &at).1.unwrap();
        assert!(person.download(&node) == whole, "{case}");
        database::check(&drive);
    }
}

#[test]
fn a_server_that_goes_away_is_no_wrong_guess() {
    let drive = Stack::start(&[
        "s/^login_failures_per_account_and_address_max = .*/\
            login_failures_per_account_and_address_max = 3/",
        "s/^token_failures_per_address_max = .*/token_failures_per_address_max = 3/",
    ]);
    let person = Person::sign_up(&drive, "away");
    let form = json!({"name": "program", "scopes": ["read"], "password": PASSWORD});
    let secret = person.post("/api/tokens", &form).json()["secret"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {secret}");
    let with_token = || drive.ask("GET", "/api/disk/root", &[("Authorization", &bearer)], b"");
    let sign_in = |password: &str| {
        let form = json!({"name": person.name, "password": password});
        post_json(&drive, "/api/login", &form).status
    };
    let wire = Wire::between(&drive, "mysql");
    eventually("the drive is used to it", Duration::from_secs(30), || {
        (person.get("/api/disk/root").status == 200).then_some(())
    });
    // More often than guesses may be wrong. The password was right each time, and the token too.
    for _ in 0..5 {
        wire.lose(Loss::Statement, b"FROM second_factor", 3);
        assert_eq!(sign_in(PASSWORD), 503);
        wire.has_lost();
        wire.lose(Loss::Statement, b"FROM api_token", 3);
        assert_eq!(with_token().status, 503);
        wire.has_lost();
    }
    assert_eq!((sign_in(PASSWORD), with_token().status), (200, 200));
    // What is counted without an answer is counted once.
    let wire = Wire::between(&drive, "redis");
    eventually("the drive is used to it", Duration::from_secs(30), || {
        (person.get("/api/disk/root").status == 200).then_some(())
    });
    for _ in 0..2 {
        wire.lose(Loss::Answer, b"try:login:pair", 0);
        assert_eq!(sign_in("not the password"), 401);
        wire.has_lost();
    }
    assert_eq!((sign_in("not the password"), sign_in(PASSWORD)), (401, 429));
}

#[test]
fn what_is_counted_without_an_answer_is_counted_once() {
    let drive = Stack::start(&["s/^instant_per_user_max = .*/instant_per_user_max = 4/"]);
    let person = Person::sign_up(&drive, "once");
    let whole: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
    let node = person.make_file("shared", &whole);
    let form = json!({"nodes": [node], "download_limit": 1});
    let share = person.post("/api/shares", &form).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/share/{share}/download/{node}");
    let visitor = Person::nobody(&drive);
    let wire = Wire::between(&drive, "redis");
    // Each worker gets used to it before anything is lost: one answer may be, not two.
    let ask = || challenge(&person, &whole, "again").status;
    assert_eq!((ask(), visitor.get(&path).status), (200, 200));
    for _ in 0..3 {
        wire.lose(Loss::Answer, b"lim:instant:", 0);
        assert_eq!(ask(), 200);
        wire.has_lost();
    }
    assert_eq!(ask(), 429, "four were counted, and each once");
    // Whoever was counted may take the file a few times in pieces, each of them once.
    let socket = drive.run.join("redis.sock");
    let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
    let mut conn = client.get_connection().unwrap();
    let left = |conn: &mut redis::Connection| {
        let keys: Vec<String> = redis::cmd("KEYS").arg("shdl:*").query(conn).unwrap();
        redis::cmd("GET").arg(&keys[..]).query::<u64>(conn).unwrap()
    };
    let before = left(&mut conn);
    wire.lose(Loss::Answer, b"shdl:", 0);
    let ranged = [("Range", "bytes=150000-")];
    assert_eq!(visitor.ask("GET", &path, &ranged, b"").status, 206);
    wire.has_lost();
    assert_eq!(before - left(&mut conn), 50_000);
}
