//! Registering, signing in and out, and limits on guessing.

use serde_json::{Value, json};

use crate::drive;
use crate::person::{PASSWORD, Person, ask, code, fresh_name, post_json};

#[test]
fn an_account_is_made_signed_in_shown_and_signed_out() {
    let name = fresh_name("Anna");
    let form =
        json!({"name": name, "password": PASSWORD, "nickname": "安娜", "email": "a@b.example"});
    let made = post_json(drive(), "/api/register", &form);
    assert_eq!(made.status, 201);
    let user = &made.json()["user"];
    assert_eq!((&user["name"], &user["nickname"]), (&json!(name), &json!("安娜")));
    assert_eq!((&user["role"], &user["used_bytes"]), (&json!("user"), &json!(0)));
    let set = made.header("set-cookie").unwrap();
    for word in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
        assert!(set.contains(word), "{set}");
    }

    let person = Person {
        drive: drive(),
        name: name.clone(),
        id: user["id"].as_str().unwrap().to_owned(),
        cookie: format!("session={}", made.cookie("session").unwrap()),
    };
    assert_eq!(person.profile(), *user);
    let out = person.ask("POST", "/api/logout", &[], b"");
    assert_eq!(out.status, 204);
    assert_eq!(out.cookie("session").as_deref(), Some(""));
    // The token itself is over, whoever kept it.
    assert_eq!(person.get("/api/session").status, 401);

    // Capitals do not matter for who it is.
    let form = json!({"name": name.to_uppercase(), "password": PASSWORD});
    let back = post_json(drive(), "/api/login", &form);
    assert_eq!((back.status, &back.json()["user"]["id"]), (200, &user["id"]));
    assert_ne!(back.cookie("session"), made.cookie("session"));
}

#[test]
fn a_name_is_taken_once_however_it_is_written_and_however_many_ask() {
    let name = fresh_name("bert");
    let forms: Vec<Value> = (0..8)
        .map(|n| if n % 2 == 0 { name.clone() } else { name.to_uppercase() })
        .map(|name| json!({"name": name, "password": PASSWORD}))
        .collect();
    let mut seen: Vec<u16> = std::thread::scope(|scope| {
        let ask = |form| scope.spawn(move || post_json(drive(), "/api/register", form).status);
        let all: Vec<_> = forms.iter().map(ask).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    seen.sort_unstable();
    assert_eq!(seen, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[test]
fn forms_that_are_wrong_say_which_field() {
    let name = fresh_name("carl");
    let long = "x".repeat(33);
    let cases = [
        (json!({"name": "", "password": PASSWORD}), "invalid_name"),
        (json!({"name": "a/b", "password": PASSWORD}), "invalid_name"),
        (json!({"name": "a\u{202e}b", "password": PASSWORD}), "invalid_name"),
        (json!({"name": long, "password": PASSWORD}), "invalid_name"),
        (json!({"name": name, "password": "short"}), "weak_password"),
        (json!({"name": name, "password": "password"}), "weak_password"),
        (json!({"name": name, "password": "QWERTYUIOP"}), "weak_password"),
        (json!({"name": name, "password": "x1".repeat(65)}), "weak_password"),
        (json!({"name": name, "password": PASSWORD, "email": "nobody"}), "invalid_value"),
        (json!({"name": name, "password": PASSWORD, "nickname": "a\u{0}b"}), "invalid_value"),
        (json!({"name": name}), "invalid_json"),
        (json!({"name": 7, "password": PASSWORD}), "invalid_json"),
        (json!([name, PASSWORD]), "invalid_json"),
        // What only the server decides cannot be sent along.
        (json!({"name": name, "password": PASSWORD, "role": "admin"}), "invalid_json"),
        (json!({"name": name, "password": PASSWORD, "quota_bytes": 1u64 << 60}), "invalid_json"),
        (json!({"name": name, "password": PASSWORD, "id": "1"}), "invalid_json"),
    ];
    for (form, want) in cases {
        let answer = post_json(drive(), "/api/register", &form);
        assert_eq!((answer.status, code(&answer).as_str()), (400, want), "{form}");
    }
    // None of them has made the account.
    let form = json!({"name": name, "password": PASSWORD});
    assert_eq!(post_json(drive(), "/api/register", &form).status, 201);
}

#[test]
fn wrong_names_and_wrong_passwords_look_the_same() {
    let person = Person::sign_up(drive(), "dora");
    let stranger = fresh_name("nobody");
    let wrong =
        post_json(drive(), "/api/login", &json!({"name": person.name, "password": "xxxxxxxx"}));
    let unknown =
        post_json(drive(), "/api/login", &json!({"name": stranger, "password": "xxxxxxxx"}));
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(wrong.body, unknown.body);
    assert_eq!(wrong.header("set-cookie"), None);
    for name in ["' OR '1'='1", "", "a\u{0}", "%", "_"] {
        let answer = post_json(drive(), "/api/login", &json!({"name": name, "password": "x"}));
        assert_eq!((answer.status, code(&answer).as_str()), (401, "bad_credentials"), "{name:?}");
    }
}

#[test]
fn guessing_ends_and_says_when_to_come_back() {
    let person = Person::sign_up(drive(), "emil");
    let wrong = json!({"name": person.name, "password": "not the password"});
    let right = json!({"name": person.name, "password": PASSWORD});
    for _ in 0..10 {
        assert_eq!(post_json(drive(), "/api/login", &wrong).status, 401);
    }
    // From now on even the right password is not looked at, from this address.
    for form in [&wrong, &right] {
        let answer = post_json(drive(), "/api/login", form);
        assert_eq!((answer.status, code(&answer).as_str()), (429, "too_many_attempts"));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=900).contains(&wait), "{wait}");
    }
    // Who is signed in stays so, and others are not concerned.
    assert_eq!(person.get("/api/session").status, 200);
    let other = Person::sign_up(drive(), "frida");
    let form = json!({"name": other.name, "password": PASSWORD});
    assert_eq!(post_json(drive(), "/api/login", &form).status, 200);
}

#[test]
fn success_is_not_counted() {
    let person = Person::sign_up(drive(), "gerd");
    for _ in 0..15 {
        let form = json!({"name": person.name, "password": PASSWORD});
        assert_eq!(post_json(drive(), "/api/login", &form).status, 200);
    }
}

#[test]
fn a_session_cannot_be_chosen_by_somebody_else() {
    let person = Person::sign_up(drive(), "hanna");
    let planted = "0".repeat(64);
    let form = json!({"name": person.name, "password": PASSWORD}).to_string();
    let cookie = format!("session={planted}");
    let headers = [("Content-Type", "application/json"), ("Cookie", &*cookie)];
    let answer = ask(drive(), "POST", "/api/login", &headers, form.as_bytes());
    assert_eq!(answer.status, 200);
    assert_ne!(answer.cookie("session").unwrap(), planted);
    for cookie in [&*cookie, "session=", "session=x", "session=../../etc/passwd", "other=1"] {
        let answer = ask(drive(), "GET", "/api/session", &[("Cookie", cookie)], b"");
        assert_eq!(answer.status, 401, "{cookie}");
    }
    // A new log-in in the same browser ends the session it had, and no other.
    let mine = [("Content-Type", "application/json"), ("Cookie", &*person.cookie)];
    let other = answer.cookie("session").unwrap();
    assert_eq!(ask(drive(), "POST", "/api/login", &mine, form.as_bytes()).status, 200);
    assert_eq!(person.get("/api/session").status, 401);
    let other = format!("session={other}");
    assert_eq!(ask(drive(), "GET", "/api/session", &[("Cookie", &other)], b"").status, 200);
}

#[test]
fn the_administrator_was_made_once_with_a_password_of_its_own() {
    let words: Vec<&str> = drive().admin.split_whitespace().collect();
    let password = words.last().expect("a password was printed");
    assert!(16 <= password.len(), "{password}");
    let answer = post_json(drive(), "/api/login", &json!({"name": "admin", "password": password}));
    assert_eq!((answer.status, &answer.json()["user"]["role"]), (200, &json!("admin")));
    assert!(!drive().control("start").contains(password), "shown twice");
}

#[test]
fn secrets_reach_no_log() {
    let person = Person::sign_up(drive(), "ida");
    let secret = "a secret nobody may read";
    post_json(drive(), "/api/login", &json!({"name": person.name, "password": secret}));
    let form = json!({"name": "a\nERROR forged line", "password": secret});
    post_json(drive(), "/api/login", &form);
    let token = person.cookie.strip_prefix("session=").unwrap();
    let admin = drive().admin.split_whitespace().last().unwrap();
    for entry in std::fs::read_dir(drive().run.join("log")).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
        for word in [secret, token, admin, PASSWORD, "\nERROR forged"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
