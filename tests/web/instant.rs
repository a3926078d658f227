//! Instant uploads: who proves to have a content gets it, and nobody else learns anything.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::database;
use crate::drive;
use crate::person::{Person, code};
use crate::support::http::Answer;
use crate::support::stack::Stack;

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn challenge(person: &Person<'_>, content: &[u8], name: &str) -> Answer {
    let form = json!({"md5": hex(&Md5::digest(content)), "size": content.len(), "name": name});
    person.post("/api/instant", &form)
}

/// What a page computes from the file it has.
pub(crate) fn proof(challenge: &Value, content: &[u8]) -> String {
    let nonce = unhex(challenge["nonce"].as_str().unwrap());
    let mut mac = Hmac::<Sha256>::new_from_slice(&nonce).unwrap();
    for range in challenge["ranges"].as_array().unwrap() {
        let at = range["offset"].as_u64().unwrap() as usize;
        let len = range["length"].as_u64().unwrap() as usize;
        mac.update(&content[at..at + len]);
    }
    hex(&mac.finalize().into_bytes())
}

pub(crate) fn prove(person: &Person<'_>, challenge: &Value, proof: &str) -> Answer {
    let id = challenge["challenge"].as_str().unwrap();
    person.post(&format!("/api/instant/{id}"), &json!({ "proof": proof }))
}

#[test]
fn who_has_the_bytes_gets_the_file_at_once() {
    let owner = Person::sign_up(drive(), "instant");
    let content = bytes(11, 3_000_000);
    owner.make_file("a.bin", &content);
    let other = Person::sign_up(drive(), "instant");
    let asked = challenge(&other, &content, "b.bin");
    assert_eq!(asked.status, 200);
    let asked = asked.json();
    assert_eq!(asked["ranges"].as_array().unwrap().len(), 32);
    // What is no proof at all is refused before the challenge is taken.
    assert_eq!(prove(&other, &asked, "xyz").status, 404);
    let done = prove(&other, &asked, &proof(&asked, &content));
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    let id = done.json()["id"].as_str().unwrap().to_owned();
    assert!(other.download(&id) == content);
    assert_eq!(other.profile()["used_bytes"], json!(content.len()));
    let sql = format!(
        "SELECT refcount FROM `blob` WHERE sha256 = UNHEX('{}')",
        hex(&Sha256::digest(&content))
    );
    assert_eq!(database::query::<u64>(drive(), &sql), [2]);
    // A proof is good once.
    let replay = prove(&other, &asked, &proof(&asked, &content));
    assert_eq!((replay.status, code(&replay).as_str()), (404, "not_found"));
    assert_eq!(challenge(&other, &content, "b.bin").status, 409, "the name is taken");
    database::check(drive());
}

#[test]
fn a_known_content_looks_like_an_unknown_one_to_who_does_not_have_it() {
    let owner = Person::sign_up(drive(), "instant");
    let content = bytes(12, 200_000);
    owner.make_file("secret.bin", &content);
    let thief = Person::sign_up(drive(), "thief");
    let unknown = bytes(13, 200_000);
    let (known, not) = (challenge(&thief, &content, "x"), challenge(&thief, &unknown, "x"));
    assert_eq!((known.status, not.status), (200, 200));
    let shape = |answer: &Answer| {
        let json = answer.json();
        let keys: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        (keys, json["ranges"].as_array().unwrap().len(), json["nonce"].as_str().unwrap().len())
    };
    assert_eq!(shape(&known), shape(&not));
    // No content, a wrong proof, one for another challenge, none at all: one answer.
    let guess = "0".repeat(64);
    let mut answers = vec![prove(&thief, &not.json(), &proof(&not.json(), &unknown))];
    for wrong in [guess.as_str(), "", "xyz", &proof(&not.json(), &content)] {
        let asked = challenge(&thief, &content, "x").json();
        answers.push(prove(&thief, &asked, wrong));
    }
    // Nine tenths of the content are not enough.
    let asked = challenge(&thief, &content, "x").json();
    let mut most = content.clone();
    most[..20_000].fill(0);
    most[199_999] ^= 1;
    answers.push(prove(&thief, &asked, &proof(&asked, &most)));
    // Somebody else's challenge is none.
    let theirs = challenge(&owner, &content, "y").json();
    answers.push(prove(&thief, &theirs, &proof(&theirs, &content)));
    answers.push(
        thief.post("/api/instant/00000000000000000000000000000000", &json!({"proof": guess})),
    );
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (404, &answers[0].body));
    }
    assert_eq!(thief.get("/api/disk/root").json()["nodes"], json!([]));
    let sql = format!(
        "SELECT COUNT(*) FROM audit WHERE action = 'instant_refused' AND actor = {}",
        thief.id
    );
    assert!(1 <= database::query::<u64>(drive(), &sql)[0]);
    database::check(drive());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a least time, which a busy machine cannot miss")]
fn a_refusal_takes_its_time_whether_or_not_the_content_is_known() {
    let owner = Person::sign_up(drive(), "instant");
    let content = bytes(14, 200_000);
    owner.make_file("timed.bin", &content);
    let unknown = bytes(15, 200_000);
    for content in [&content, &unknown] {
        let asked = challenge(&owner, content, "x").json();
        let begun = Instant::now();
        assert_eq!(prove(&owner, &asked, &"0".repeat(64)).status, 404);
        // The floor, not a speed: what is quicker would tell.
        assert!(Duration::from_millis(240) <= begun.elapsed());
    }
}

#[test]
fn another_size_an_old_challenge_and_poison_lead_nowhere() {
    let owner = Person::sign_up(drive(), "instant");
    let content = bytes(16, 100_000);
    owner.make_file("a", &content);
    let thief = Person::sign_up(drive(), "thief");
    let md5 = hex(&Md5::digest(&content));
    // The right hash with another size.
    let form = json!({"md5": md5, "size": 100_001, "name": "x"});
    let asked = thief.post("/api/instant", &form).json();
    let longer = [content.as_slice(), b"x"].concat();
    assert_eq!(prove(&thief, &asked, &proof(&asked, &longer)).status, 404);
    // Expired.
    let asked = challenge(&thief, &content, "x").json();
    let id = asked["challenge"].as_str().unwrap();
    let client =
        redis::Client::open(format!("unix://{}", drive().run.join("redis.sock").display()));
    let mut conn = client.unwrap().get_connection().unwrap();
    let gone: u64 =
        redis::cmd("PEXPIRE").arg(format!("inst:{id}")).arg(1).query(&mut conn).unwrap();
    assert_eq!(gone, 1);
    crate::support::wait::eventually("it expires", Duration::from_secs(10), || {
        let left: u64 =
            redis::cmd("EXISTS").arg(format!("inst:{id}")).query(&mut client_again()).unwrap();
        (left == 0).then_some(())
    });
    assert_eq!(prove(&thief, &asked, &proof(&asked, &content)).status, 404);
    // Poison: whoever claims a hash for other bytes stores those bytes under their own hash.
    let poison = bytes(17, 100_000);
    let meta = format!("filename eA==,sha256 {}", base64_of(&hex(&Sha256::digest(&content))));
    let headers = [
        ("Tus-Resumable", "1.0.0"),
        ("Content-Type", "application/offset+octet-stream"),
        ("Upload-Length", "100000"),
        ("Upload-Metadata", &*meta),
    ];
    assert_eq!(thief.ask("POST", "/api/uploads", &headers, &poison).status, 422);
    thief.make_file("poison", &poison);
    let victim = Person::sign_up(drive(), "victim");
    let asked = challenge(&victim, &content, "mine").json();
    let done = prove(&victim, &asked, &proof(&asked, &content));
    assert!(victim.download(done.json()["id"].as_str().unwrap()) == content);
    // Forms that are wrong.
    for form in [
        json!({"md5": md5, "size": 65_535, "name": "x"}),
        json!({"md5": "zz", "size": 100_000, "name": "x"}),
        json!({"md5": md5.to_uppercase(), "size": 100_000, "name": "x"}),
        json!({"md5": md5, "size": 100_000, "name": "a/b"}),
        json!({"md5": md5, "size": 100_000, "name": "x", "path": ".."}),
        json!({"md5": md5, "size": 100_000, "name": "x", "refcount": 1}),
        json!({"md5": md5, "size": -1, "name": "x"}),
    ] {
        assert_eq!(thief.post("/api/instant", &form).status, 400, "{form}");
    }
    database::check(drive());
}

fn client_again() -> redis::Connection {
    let path = drive().run.join("redis.sock");
    redis::Client::open(format!("unix://{}", path.display())).unwrap().get_connection().unwrap()
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn the_quota_holds_for_instant_uploads_and_asking_has_an_end() {
    let drive = Stack::start(&["s/^instant_per_user_max = .*/instant_per_user_max = 3/"]);
    let owner = Person::sign_up(&drive, "instant");
    let content = bytes(18, 100_000);
    owner.make_file("a", &content);
    let poor = Person::sign_up(&drive, "poor");
    let set = format!("UPDATE user SET quota_bytes = 150000 WHERE id = {}", poor.id);
    database::query::<u64>(&drive, &set);
    for (name, want) in [("one", 201), ("two", 413)] {
        let asked = challenge(&poor, &content, name).json();
        assert_eq!(prove(&poor, &asked, &proof(&asked, &content)).status, want);
    }
    assert_eq!(poor.profile()["used_bytes"], json!(100_000));
    assert_eq!(challenge(&poor, &content, "three").status, 200);
    assert_eq!(challenge(&poor, &content, "four").status, 429);
    assert_eq!(challenge(&owner, &content, "five").status, 200);
    database::check(&drive);
}
