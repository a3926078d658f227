//! Administration: accounts of others, the audit log, the cluster, figures.

use std::time::Duration;

use serde_json::{Value, json};

use crate::database;
use crate::drive;
use crate::person::{PASSWORD, Person, ask, code, fresh_name, post_json};
use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// The first administrator, signed in.
pub(crate) fn admin(drive: &Stack) -> Person<'_> {
    let password = drive.admin.split_whitespace().last().unwrap();
    let answer = post_json(drive, "/api/login", &json!({"name": "admin", "password": password}));
    assert_eq!(answer.status, 200);
    let cookie = format!("session={}", answer.cookie("session").unwrap());
    let id = answer.json()["user"]["id"].as_str().unwrap().to_owned();
    Person { drive, name: "admin".to_owned(), id, cookie }
}

fn patch(admin: &Person<'_>, id: &str, body: &Value) -> (u16, Value) {
    let headers = [("Content-Type", "application/json")];
    let path = format!("/api/admin/users/{id}");
    let answer = admin.ask("PATCH", &path, &headers, body.to_string().as_bytes());
    (answer.status, answer.json())
}

#[test]
fn only_administrators_get_in() {
    let person = Person::sign_up(drive(), "plain");
    let nobody = Person::nobody(drive());
    let id = &person.id;
    let routes = [
        ("GET", "/api/admin/users".to_owned()),
        ("POST", "/api/admin/users".to_owned()),
        ("PATCH", format!("/api/admin/users/{id}")),
        ("POST", format!("/api/admin/users/{id}/password")),
        ("GET", "/api/admin/audit".to_owned()),
        ("GET", "/api/admin/cluster".to_owned()),
        ("GET", "/api/admin/stats".to_owned()),
        ("GET", "/metrics".to_owned()),
    ];
    for (method, path) in routes {
        let headers = [("Content-Type", "application/json")];
        let answer = person.ask(method, &path, &headers, b"{}");
        assert_eq!((answer.status, code(&answer).as_str()), (403, "forbidden"), "{method} {path}");
        assert_eq!(nobody.ask(method, &path, &headers, b"{}").status, 401, "{method} {path}");
    }
}

#[test]
fn accounts_are_made_changed_disabled_and_let_in_again() {
    let admin = admin(drive());
    let name = fresh_name("made");
    let form = json!({"name": name, "quota_bytes": 1000});
    let made = admin.post("/api/admin/users", &form);
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let password = made.json()["password"].as_str().unwrap().to_owned();
    let id = made.json()["user"]["id"].as_str().unwrap().to_owned();
    assert_eq!(admin.post("/api/admin/users", &form).status, 409);
    let login = |password: &str| {
        post_json(drive(), "/api/login", &json!({"name": name, "password": password}))
    };
    let answer = login(&password);
    assert_eq!(answer.status, 200);
    let cookie = format!("session={}", answer.cookie("session").unwrap());
    let person = Person { drive: drive(), name: name.clone(), id: id.clone(), cookie };
    assert_eq!(person.put("a", &[1; 1001]).status, 413);
    assert_eq!(patch(&admin, &id, &json!({"quota_bytes": 2000})).0, 200);
    assert_eq!(person.put("a", &[1; 1001]).status, 201);

    // Disabled: out at once, also from streams, tokens and log-ins.
    let (status, body) = patch(&admin, &id, &json!({"disabled": true}));
    assert_eq!(status, 200);
    assert!(body["user"]["disabled_ms"].is_u64());
    assert_eq!((person.get("/api/session").status, login(&password).status), (401, 401));
    assert_eq!(
        patch(&admin, &id, &json!({"disabled": false})).1["user"]["disabled_ms"],
        json!(null)
    );
    assert_eq!(person.get("/api/session").status, 401, "the session ended for good");
    let reset = admin.post(&format!("/api/admin/users/{id}/password"), &json!({}));
    let fresh = reset.json()["password"].as_str().unwrap().to_owned();
    assert_eq!((login(&password).status, login(&fresh).status), (401, 200));

    // Nobody takes the administration from themselves.
    for body in [json!({"disabled": true}), json!({"role": "user"})] {
        assert_eq!(patch(&admin, &admin.id, &body).0, 409);
    }
    for body in [json!({"totp": true}), json!({"used_bytes": 0}), json!({"quota_bytes": u64::MAX})]
    {
        assert_eq!(patch(&admin, &id, &body).0, 400, "{body}");
    }
    assert_eq!(patch(&admin, "18446744073709551615", &json!({})).0, 404);
    assert_eq!(patch(&admin, &id, &json!({"role": "admin"})).1["user"]["role"], json!("admin"));
    assert_eq!(patch(&admin, &id, &json!({"role": "user"})).1["user"]["role"], json!("user"));
    database::check(drive());
}

#[test]
fn accounts_are_found_and_paged_by_key() {
    let admin = admin(drive());
    let word = fresh_name("Findme");
    for n in 0..5 {
        let form = json!({"name": format!("{word}x{n}"), "password": PASSWORD});
        assert_eq!(post_json(drive(), "/api/register", &form).status, 201);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/admin/users?q={word}x&limit=2{cursor}");
        let page = admin.get(&path).json();
        let users = page["users"].as_array().unwrap();
        seen.extend(users.iter().map(|user| user["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let want: Vec<String> = (0..5).map(|n| format!("{word}x{n}")).collect();
    assert_eq!(seen, want);
    for query in ["limit=0", "limit=1001", "cursor=x", "cursor=-1"] {
        assert_eq!(admin.get(&format!("/api/admin/users?{query}")).status, 400, "{query}");
    }
    // What is searched for is no pattern.
    assert_eq!(admin.get("/api/admin/users?q=%25").json()["users"], json!([]));
}

#[test]
fn the_audit_log_tells_who_did_what() {
    let admin = admin(drive());
    let person = Person::sign_up(drive(), "deeds");
    let file = person.make_file("deed\u{1f600}.txt", b"x");
    let page = admin.get(&format!("/api/admin/audit?actor={}", person.id)).json();
    let entries = page["entries"].as_array().unwrap();
    let seen: Vec<(&str, &Value)> =
        entries.iter().map(|e| (e["action"].as_str().unwrap(), &e["node"])).collect();
    assert_eq!(seen, [("upload", &json!(file)), ("register", &json!(null))]);
    assert_eq!(entries[0]["actor_name"], json!(person.name));
    assert_eq!(entries[0]["detail"], json!("deed\u{1f600}.txt"));
    // What others did to an account, or tried, is not its owner's doing.
    let name = fresh_name("deeds");
    let form = json!({"name": name, "password": PASSWORD});
    let made = admin.post("/api/admin/users", &form).json();
    let id = made["user"]["id"].as_str().unwrap().to_owned();
    let wrong = json!({"name": name, "password": "not the password"});
    assert_eq!(post_json(drive(), "/api/login", &wrong).status, 401);
    let sql = format!(
        "INSERT INTO second_factor (user, sealed, confirmed_ms, step) VALUES ({id}, 'x', 1, 0)"
    );
    database::query::<u64>(drive(), &sql);
    assert_eq!(patch(&admin, &id, &json!({"totp": false})).0, 200);
    let its = admin.get(&format!("/api/admin/audit?actor={id}")).json();
    assert_eq!(its["entries"], json!([]), "the owner did nothing yet");
    let deeds = |action: &str| {
        let page = admin.get(&format!("/api/admin/audit?action={action}")).json();
        let all = page["entries"].as_array().unwrap().clone();
        let found = all
            .into_iter()
            .find(|e| e["detail"].as_str().unwrap().to_lowercase() == name.to_lowercase());
        found.unwrap_or_else(|| panic!("no {action} of {name}"))["actor"].clone()
    };
    assert_eq!(deeds("admin_made_user"), json!(admin.id));
    assert_eq!(deeds("totp_off"), json!(admin.id));
    assert_eq!(deeds("login_refused"), json!(null));
    let one = admin.get(&format!("/api/admin/audit?actor={}&action=upload", person.id)).json();
    assert_eq!(one["entries"].as_array().unwrap().len(), 1);
    let first = admin.get("/api/admin/audit?limit=1").json();
    let next = first["next"].as_str().unwrap();
    let second = admin.get(&format!("/api/admin/audit?limit=1&cursor={next}")).json();
    assert_ne!(first["entries"][0]["id"], second["entries"][0]["id"]);
    for query in ["actor=0", "since_ms=x", "limit=9999", "until_ms=-1"] {
        assert_eq!(admin.get(&format!("/api/admin/audit?{query}")).status, 400, "{query}");
    }
}

#[test]
fn the_cluster_and_the_figures_show_what_runs() {
    let admin = admin(drive());
    let groups = admin.get("/api/admin/cluster").json()["groups"].clone();
    assert_eq!(groups[0]["name"], json!("group1"));
    let storage = &groups[0]["storages"][0];
    assert_eq!(storage["status"], json!("ACTIVE"));
    assert!(0 < storage["free_bytes"].as_u64().unwrap());
    let person = Person::sign_up(drive(), "figures");
    person.make_file("counted", b"counted");
    let stats = admin.get("/api/admin/stats").json();
    assert!(1 <= stats["files"].as_u64().unwrap() && 2 <= stats["users"].as_u64().unwrap());

    // A token for Prometheus, of an administrator.
    let password = drive().admin.split_whitespace().last().unwrap();
    let form = json!({"name": "prometheus", "scopes": ["metrics"], "password": password});
    let secret = admin.post("/api/tokens", &form).json()["secret"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(ask(drive(), "GET", "/api/admin/users", &headers, b"").status, 403);
    let text = eventually("all workers have told", Duration::from_secs(30), || {
        let answer = ask(drive(), "GET", "/metrics", &headers, b"");
        assert_eq!(answer.status, 200);
        let kind = answer.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let text = String::from_utf8(answer.body).unwrap();
        let workers = ["login", "register", "upload", "instant", "mydisk", "download", "events"];
        let all = workers.iter().all(|name| text.contains(&format!("worker=\"{name}\"")));
        (all && text.contains("fastdisk_stored_files_total")).then_some(text)
    });
    for line in ["fastdisk_store_up 1", "# TYPE fastdisk_request_seconds histogram"] {
        assert!(text.contains(line), "{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("fastdisk_") && value.parse::<f64>().is_ok(), "{line}");
    }
    let kinds: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let mut once = kinds.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), kinds.len(), "a family stands in one place");
}
