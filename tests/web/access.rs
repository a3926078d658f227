//! Sessions that are listed and ended, passwords that are changed, second factors, API tokens,
//! and limits on guessing at any of them.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::database;
use crate::drive;
use crate::person::{PASSWORD, Person, ask, code, fresh_name, post_json};
use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// One more browser of the same person.
fn sign_in<'a>(person: &Person<'a>, password: &str, code: Option<&str>) -> Person<'a> {
    let form = json!({"name": person.name, "password": password, "code": code});
    let answer = post_json(person.drive, "/api/login", &form);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    Person {
        drive: person.drive,
        name: person.name.clone(),
        id: person.id.clone(),
        cookie: format!("session={}", answer.cookie("session").unwrap()),
    }
}

fn sessions(person: &Person<'_>) -> Vec<Value> {
    person.get("/api/sessions").json()["sessions"].as_array().unwrap().clone()
}

#[test]
fn sessions_are_listed_and_ended_one_by_one_or_all_others() {
    let first = Person::sign_up(drive(), "sessions");
    let second = sign_in(&first, PASSWORD, None);
    let third = sign_in(&first, PASSWORD, None);
    let all = sessions(&first);
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().filter(|one| one["current"] == json!(true)).count(), 1);
    assert!(all.iter().all(|one| one["address"] == json!("127.0.0.1")), "{all:?}");
    // What names a session does not open it.
    let id = sessions(&second).into_iter().find(|one| one["current"] == json!(true)).unwrap();
    let id = id["id"].as_str().unwrap().to_owned();
    let forged = format!("session={id}");
    assert_eq!(ask(drive(), "GET", "/api/session", &[("Cookie", &forged)], b"").status, 401);
    // Nobody ends a stranger's.
    let stranger = Person::sign_up(drive(), "sessions");
    let path = format!("/api/sessions/{id}");
    assert_eq!(stranger.ask("DELETE", &path, &[], b"").status, 404);
    assert_eq!(second.get("/api/session").status, 200);
    assert_eq!(first.ask("DELETE", &path, &[], b"").status, 204);
    assert_eq!(second.get("/api/session").status, 401);
    assert_eq!(first.ask("DELETE", &path, &[], b"").status, 404);
    assert_eq!(first.ask("DELETE", "/api/sessions", &[], b"").status, 204);
    assert_eq!((first.get("/api/session").status, third.get("/api/session").status), (200, 401));
    assert_eq!(sessions(&first).len(), 1);
}

#[test]
fn a_new_password_ends_the_other_sessions_and_the_old_password() {
    let person = Person::sign_up(drive(), "password");
    let other = sign_in(&person, PASSWORD, None);
    let fresh = "another long enough one";
    let change = |old: &str, new: &str| {
        person.post("/api/password", &json!({"password": old, "new_password": new}))
    };
    let refused = change("not the password", fresh);
    assert_eq!((refused.status, code(&refused).as_str()), (401, "bad_credentials"));
    assert_eq!(code(&change(PASSWORD, "short")), "weak_password");
    assert_eq!(other.get("/api/session").status, 200);
    assert_eq!(change(PASSWORD, fresh).status, 204);
    assert_eq!((person.get("/api/session").status, other.get("/api/session").status), (200, 401));
    let form = json!({"name": person.name, "password": PASSWORD});
    assert_eq!(post_json(drive(), "/api/login", &form).status, 401);
    sign_in(&person, fresh, None);
    // Guessing at the old one of a session that was left open has an end.
    for _ in 0..10 {
        change("not the password", PASSWORD);
    }
    assert_eq!(change(fresh, PASSWORD).status, 429);
}

#[test]
fn settings_are_kept_and_others_are_refused() {
    let person = Person::sign_up(drive(), "settings");
    let change = |body: &Value| {
        let headers = [("Content-Type", "application/json")];
        person.ask("PATCH", "/api/session", &headers, body.to_string().as_bytes())
    };
    let all = json!({"nickname": "小明", "email": "a@b.example", "locale": "en", "theme": "dark"});
    assert_eq!(change(&all).status, 200);
    let profile = person.profile();
    for (key, want) in all.as_object().unwrap() {
        assert_eq!(profile[key], *want);
    }
    assert_eq!(change(&json!({"email": null})).json()["user"]["email"], json!(null));
    assert_eq!(person.profile()["theme"], json!("dark"));
    let wrong = [
        json!({"theme": "pink"}),
        json!({"locale": "../etc"}),
        json!({"email": "nobody"}),
        json!({"nickname": "a\u{202e}b"}),
        // What only the server decides.
        json!({"role": "admin"}),
        json!({"quota_bytes": 1u64 << 60}),
        json!({"used_bytes": 0}),
        json!({"name": "admin"}),
        json!({"totp": false}),
    ];
    for body in wrong {
        assert_eq!(change(&body).status, 400, "{body}");
    }
    assert_eq!(person.profile()["role"], json!("user"));
}

fn base32(text: &str) -> Vec<u8> {
    let mut bits = 0u64;
    let (mut count, mut out) = (0, Vec::new());
    for c in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|b| *b == c).unwrap();
        bits = bits << 5 | value as u64;
        count += 5;
        if 8 <= count {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// The code of `steps` half minutes from now, as an authenticator computes it.
#[expect(clippy::disallowed_methods, reason = "an authenticator has a clock of its own")]
pub(crate) fn totp(secret: &str, steps: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let step = (now.as_secs() / 30).wrapping_add_signed(steps);
    let mut mac = Hmac::<Sha1>::new_from_slice(&base32(secret)).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let word = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap());
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

#[test]
fn a_second_factor_is_enrolled_asked_for_and_ended() {
    let person = Person::sign_up(drive(), "totp");
    let wrong = person.post("/api/totp", &json!({"password": "not the password"}));
    assert_eq!((wrong.status, code(&wrong).as_str()), (401, "bad_credentials"));
    let begun = person.post("/api/totp", &json!({"password": PASSWORD}));
    assert_eq!(begun.status, 201, "{}", String::from_utf8_lossy(&begun.body));
    let secret = begun.json()["secret"].as_str().unwrap().to_owned();
    assert!(begun.json()["uri"].as_str().unwrap().starts_with("otpauth://totp/fastdisk:"));
    // Not in force yet.
    sign_in(&person, PASSWORD, None);
    let refused = person.post("/api/totp/confirm", &json!({"code": "000000"}));
    assert_eq!((refused.status, code(&refused).as_str()), (401, "bad_code"));
    let answer = person.post("/api/totp/confirm", &json!({"code": totp(&secret, -1)}));
    assert_eq!(answer.status, 200);
    let codes = answer.json()["recovery_codes"].as_array().unwrap().clone();
    assert_eq!((codes.len(), person.profile()["totp"].clone()), (10, json!(true)));
    assert_eq!(person.post("/api/totp", &json!({"password": PASSWORD})).status, 409);

    // The secret is sealed: the database alone is worth nothing.
    let sql = format!("SELECT HEX(sealed) FROM second_factor WHERE user = {}", person.id);
    let sealed = database::query::<String>(drive(), &sql).remove(0).to_lowercase();
    let plain: String = base32(&secret).iter().map(|b| format!("{b:02x}")).collect();
    assert!(!sealed.contains(&plain));

    let login = |code: Option<&str>| {
        let form = json!({"name": person.name, "password": PASSWORD, "code": code});
        post_json(drive(), "/api/login", &form)
    };
    assert_eq!((login(None).status, code(&login(None)).as_str()), (401, "code_required"));
    let bad = login(Some("123456"));
    assert_eq!(
        (bad.status, code(&bad).as_str(), bad.header("set-cookie")),
        (401, "bad_code", None)
    );
    // A wrong password does not tell that there is a second factor.
    let form = json!({"name": person.name, "password": "xxxxxxxx"});
    assert_eq!(code(&post_json(drive(), "/api/login", &form)), "bad_credentials");
    let now = totp(&secret, 0);
    assert_eq!(login(Some(&now)).status, 200);
    assert_eq!(code(&login(Some(&now))), "bad_code", "a code is good once");
    let recovery = codes[0].as_str().unwrap().to_uppercase().replace('-', " ");
    assert_eq!(login(Some(&recovery)).status, 200);
    assert_eq!(code(&login(Some(&recovery))), "bad_code", "so is a recovery code");

    let end =
        |code: &str| person.post("/api/totp/disable", &json!({"password": PASSWORD, "code": code}));
    assert_eq!(end("000000").status, 401);
    assert_eq!(end(codes[1].as_str().unwrap()).status, 204);
    assert_eq!((end("000000").status, login(None).status), (409, 200));
}

#[test]
fn guessing_at_a_second_factor_ends() {
    let person = Person::sign_up(drive(), "guess");
    let begun = person.post("/api/totp", &json!({"password": PASSWORD}));
    let secret = begun.json()["secret"].as_str().unwrap().to_owned();
    let confirm = json!({"code": totp(&secret, 0)});
    assert_eq!(person.post("/api/totp/confirm", &confirm).status, 200);
    let login = |code: &str| {
        let form = json!({"name": person.name, "password": PASSWORD, "code": code});
        post_json(drive(), "/api/login", &form)
    };
    let statuses: Vec<u16> = (0..11).map(|n| login(&format!("{n:06}")).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    // Even the right one is not looked at any more; who is signed in stays so.
    assert_eq!(login(&totp(&secret, 1)).status, 429);
    assert_eq!(person.get("/api/session").status, 200);
}

fn make_token(person: &Person<'_>, scopes: &Value) -> (String, String) {
    let form = json!({"name": "robot", "scopes": scopes, "password": PASSWORD});
    let answer = person.post("/api/tokens", &form);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let made = answer.json();
    let id = made["token"]["id"].as_str().unwrap().to_owned();
    (id, format!("Bearer {}", made["secret"].as_str().unwrap()))
}

#[test]
fn a_token_reaches_what_its_scopes_say_and_nothing_else() {
    let person = Person::sign_up(drive(), "token");
    let file = person.make_file("a", b"for robots");
    let with = |secret: &str, method: &str, path: &str, body: &[u8]| {
        let headers = [("Authorization", secret), ("Content-Type", "application/json")];
        ask(drive(), method, path, &headers, body).status
    };
    let (_, read) = make_token(&person, &json!(["read"]));
    let (id, write) = make_token(&person, &json!(["read", "write"]));
    let path = format!("/api/download/{file}");
    assert_eq!(with(&read, "GET", &path, b""), 200);
    assert_eq!(with(&read, "GET", "/api/session", b""), 200);
    assert_eq!(with(&read, "PUT", "/api/upload/b", b"x"), 403);
    assert_eq!(with(&write, "PUT", "/api/upload/b", b"x"), 201);
    assert_eq!(with(&write, "POST", "/api/disk", br#"{"name":"d"}"#), 201);
    // Accounts ask for a session, whatever the scopes.
    let closed = [
        ("GET", "/api/sessions"),
        ("DELETE", "/api/sessions"),
        ("GET", "/api/tokens"),
        ("PATCH", "/api/session"),
        ("POST", "/api/password"),
        ("POST", "/api/totp"),
        ("POST", "/api/tokens"),
        ("GET", "/api/admin/users"),
        ("GET", "/metrics"),
    ];
    for (method, path) in closed {
        assert_eq!(with(&write, method, path, b"{}"), 403, "{method} {path}");
    }
    let stranger = Person::sign_up(drive(), "token");
    let foreign = stranger.make_file("x", b"not for robots");
    assert_eq!(with(&read, "GET", &format!("/api/download/{foreign}"), b""), 404);
    let tokens = person.get("/api/tokens").json();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 2);
    assert!(!tokens.to_string().contains(read.strip_prefix("Bearer ").unwrap()));
    assert_eq!(stranger.ask("DELETE", &format!("/api/tokens/{id}"), &[], b"").status, 404);
    assert_eq!(person.ask("DELETE", &format!("/api/tokens/{id}"), &[], b"").status, 204);
    assert_eq!(with(&write, "GET", &path, b""), 401);
    assert_eq!(with("Bearer fdt_0", "GET", &path, b""), 401);
    // An expired one is none; neither is one of a disabled account.
    database::query::<u64>(
        drive(),
        &format!("UPDATE api_token SET expires_ms = 1 WHERE user = {}", person.id),
    );
    assert_eq!(with(&read, "GET", &path, b""), 401);
    let (_, last) = make_token(&person, &json!(["read"]));
    assert_eq!(with(&last, "GET", &path, b""), 200);
    database::query::<u64>(
        drive(),
        &format!("UPDATE user SET disabled_ms = 1 WHERE id = {}", person.id),
    );
    assert_eq!(with(&last, "GET", &path, b""), 401);
    for form in [
        json!({"name": "x", "scopes": [], "password": PASSWORD}),
        json!({"name": "x", "scopes": ["admin"], "password": PASSWORD}),
        json!({"name": "", "scopes": ["read"], "password": PASSWORD}),
        json!({"name": "x", "scopes": ["read"], "password": PASSWORD, "expires_days": 0}),
    ] {
        assert_eq!(stranger.post("/api/tokens", &form).status, 400, "{form}");
    }
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let trusted = "s/^trusted_proxies = .*/trusted_proxies = [\"127.0.0.1\"]/";
    let few = "s/^registrations_per_address_max = .*/registrations_per_address_max = 1/";
    let drive = Stack::start(&[trusted, few]);
    let register = |name: &str, from: &str| {
        let form = json!({"name": name, "password": PASSWORD}).to_string();
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from)];
        ask(&drive, "POST", "/api/register", &headers, form.as_bytes())
    };
    assert_eq!(register("one", "192.0.2.1").status, 201);
    assert_eq!(register("two", "192.0.2.1").status, 429);
    assert_eq!(register("two", "192.0.2.2").status, 201);
    // What a client put in front of it does not count: the proxy adds the last one.
    assert_eq!(register("three", "203.0.113.9, 192.0.2.2").status, 429);
    let rows: Vec<String> =
        database::query(&drive, "SELECT address FROM audit WHERE action = 'register' ORDER BY id");
    assert_eq!(rows, ["192.0.2.1", "192.0.2.2"]);
    // And where nobody is trusted, nobody is believed.
    let person = Person::sign_up(crate::drive(), "proxy");
    let headers = [("X-Forwarded-For", "192.0.2.77"), ("X-Real-IP", "192.0.2.77")];
    person.ask("PUT", "/api/upload/x", &headers, b"x");
    let sql =
        format!("SELECT address FROM audit WHERE action = 'upload' AND actor = {}", person.id);
    assert_eq!(database::query::<String>(crate::drive(), &sql), ["127.0.0.1"]);
}

#[test]
fn listening_prolongs_no_session_however_much_there_is_to_hear() {
    let drive = Stack::start(&["s/^session_idle_s = .*/session_idle_s = 10/"]);
    let person = Person::sign_up(&drive, "listens");
    let form = json!({"name": person.name, "password": PASSWORD});
    let answer = post_json(&drive, "/api/login", &form);
    let cookie = format!("session={}", answer.cookie("session").unwrap());
    let Person { name, id, .. } = &person;
    let busy = Person { drive: &drive, name: name.clone(), id: id.clone(), cookie };
    let host = drive.url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "GET /api/events HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nConnection: close\r\n\r\n",
        person.cookie
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let heard = std::cell::RefCell::new((stream, Vec::new()));
    // Others' work keeps the stream busy; nobody but the stream uses this session.
    eventually("the stream ends with its session", Duration::from_secs(90), || {
        busy.make_folder("root", &fresh_name("noise"));
        let (stream, all) = &mut *heard.borrow_mut();
        match stream.read_to_end(all) {
            Ok(_) => Some(()),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                None
            }
        }
    });
    let text = String::from_utf8(heard.into_inner().1).unwrap();
    assert!(text.contains(" 200") && text.contains("event: files"), "{text}");
    assert_eq!(person.get("/api/session").status, 401);
}
