//! One's own tree: renaming, moving, copying, the trash, search, favourites, categories, and all
//! of it at once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::database;
use crate::drive;
use crate::person::{Person, code};
use crate::support::http::Answer;
use crate::support::wait::eventually;

fn id_of(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn names_in(person: &Person<'_>, folder: &str) -> Vec<String> {
    let page = person.get(&format!("/api/disk/{folder}?limit=1000")).json();
    let nodes = page["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

fn names(answer: &Answer) -> Vec<String> {
    let page = answer.json();
    let nodes = page["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

fn patch(person: &Person<'_>, id: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    person.ask("PATCH", &format!("/api/disk/{id}"), &headers, body.to_string().as_bytes())
}

fn file_in(person: &Person<'_>, folder: &str, name: &str, bytes: &[u8]) -> String {
    let answer = person.put(&format!("{name}?parent={folder}"), bytes);
    assert_eq!(answer.status, 201, "{name}");
    id_of(&answer)
}

/// `(code or "ok")` of each result of a batch.
fn codes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let json = answer.json();
    let results = json["results"].as_array().unwrap();
    let code = |r: &Value| r["error"]["code"].as_str().unwrap_or("ok").to_owned();
    results.iter().map(code).collect()
}

fn totals(person: &Person<'_>) -> Vec<(String, u64, u64)> {
    let json = person.get("/api/category").json();
    let all = json["categories"].as_array().unwrap();
    all.iter()
        .map(|c| {
            let number = |key: &str| c[key].as_u64().unwrap();
            (c["category"].as_str().unwrap().to_owned(), number("files"), number("bytes"))
        })
        .collect()
}

fn documents(person: &Person<'_>) -> (u64, u64) {
    let found = totals(person).into_iter().find(|(category, ..)| category == "document");
    found.map(|(_, files, bytes)| (files, bytes)).unwrap()
}

#[test]
fn things_are_renamed_and_moved_and_keep_what_they_are() {
    let person = Person::sign_up(drive(), "mover");
    let outer = person.make_folder("root", "outer");
    let inner = person.make_folder(&outer, "inner");
    let file = person.make_file("a.txt", b"hello");
    let answer = patch(&person, &file, &json!({"name": "照片.txt", "parent": inner}));
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.json()["name"], &answer.json()["parent"]),
        (&json!("照片.txt"), &json!(inner))
    );
    assert_eq!(person.download(&file), b"hello");
    let page = person.get(&format!("/api/disk/{inner}")).json();
    let path: Vec<&str> =
        page["path"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(path, ["outer", "inner"]);
    let info = person.get(&format!("/api/disk/{file}/info")).json();
    assert_eq!(
        (&info["node"]["name"], info["path"].as_array().unwrap().len()),
        (&json!("照片.txt"), 2)
    );
    let size = person.get(&format!("/api/disk/{outer}/size")).json();
    assert_eq!(size, json!({"bytes": 5, "files": 1, "folders": 1, "complete": true}));
    // A taken name, its own name, a name in another form.
    person.make_file("b.txt", b"x");
    let other = person.make_file("c.txt", b"x");
    let answer = patch(&person, &other, &json!({"name": "b.txt"}));
    assert_eq!((answer.status, code(&answer).as_str()), (409, "name_taken"));
    assert_eq!(patch(&person, &other, &json!({"name": "c.txt"})).status, 200);
    assert_eq!(patch(&person, &other, &json!({"name": "é"})).status, 200);
    let answer = patch(&person, &file, &json!({"parent": "root", "name": "e\u{301}"}));
    assert_eq!((answer.status, code(&answer).as_str()), (409, "name_taken"));
    for name in ["", ".", "..", "a/b", "a\u{0}b", "x\u{202e}y", &"x".repeat(256)] {
        let answer = patch(&person, &other, &json!({"name": name}));
        assert_eq!((answer.status, code(&answer).as_str()), (400, "invalid_name"), "{name:?}");
    }
    for body in [json!({}), json!({"owner_id": "1"}), json!({"size": 1}), json!({"refcount": 9})] {
        assert_eq!(patch(&person, &other, &body).status, 400, "{body}");
    }
    database::check(drive());
}

#[test]
fn a_folder_cannot_be_moved_into_itself() {
    let person = Person::sign_up(drive(), "cycle");
    let a = person.make_folder("root", "a");
    let b = person.make_folder(&a, "b");
    let c = person.make_folder(&b, "c");
    for into in [&a, &b, &c] {
        let answer = patch(&person, &a, &json!({"parent": into}));
        assert_eq!((answer.status, code(&answer).as_str()), (409, "would_cycle"));
        let answer = person.post("/api/disk/copy", &json!({"ids": [a], "parent": into}));
        assert_eq!(codes(&answer), ["would_cycle"]);
    }
    // A file is no folder to move into.
    let file = person.make_file("f", b"x");
    assert_eq!(patch(&person, &a, &json!({"parent": file})).status, 404);
    database::check(drive());
}

#[test]
fn racing_moves_never_make_a_cycle() {
    let person = Person::sign_up(drive(), "racing");
    let folders: Vec<String> =
        (0..6).map(|n| person.make_folder("root", &format!("f{n}"))).collect();
    for round in 0..10 {
        std::thread::scope(|scope| {
            for n in 0..folders.len() {
                let (person, folders) = (&person, &folders);
                scope.spawn(move || {
                    let into = &folders[(n + 1 + round % 5) % folders.len()];
                    let answer = patch(person, &folders[n], &json!({"parent": into}));
                    assert!(matches!(answer.status, 200 | 409), "{}", answer.status);
                });
            }
        });
        // Every folder is still reached from the root: a cycle would be reached from nowhere.
        for folder in &folders {
            let page = person.get(&format!("/api/disk/{folder}"));
            assert_eq!(page.status, 200, "round {round}");
            let depth = page.json()["path"].as_array().unwrap().len();
            assert!((1..=folders.len()).contains(&depth), "round {round}: {depth}");
        }
        let ids = json!({"ids": folders, "parent": "root"});
        assert_eq!(codes(&person.post("/api/disk/move", &ids)), ["ok"; 6]);
    }
    database::check(drive());
}

#[test]
fn folders_end_at_sixty_four() {
    let person = Person::sign_up(drive(), "deep");
    let mut parent = "root".to_owned();
    for n in 0..64 {
        parent = person.make_folder(&parent, &format!("{n}"));
    }
    let answer = person.post("/api/disk", &json!({"parent": parent, "name": "x"}));
    assert_eq!((answer.status, code(&answer).as_str()), (409, "too_deep"));
    let other = person.make_folder("root", "other");
    let answer = patch(&person, &other, &json!({"parent": parent}));
    assert_eq!((answer.status, code(&answer).as_str()), (409, "too_deep"));
    assert_eq!(person.put(&format!("f?parent={parent}"), b"x").status, 201);
}

#[test]
fn each_of_a_batch_is_done_or_refused_by_itself() {
    let person = Person::sign_up(drive(), "batch");
    let stranger = Person::sign_up(drive(), "batch");
    let foreign = stranger.make_file("foreign", b"x");
    let to = person.make_folder("root", "to");
    person.make_folder(&to, "a");
    let ids: Vec<String> = ["a", "b", "c"].iter().map(|n| person.make_file(n, b"12")).collect();
    let mut all = ids.clone();
    all.extend([foreign.clone(), "0".to_owned(), "7777777777".to_owned()]);
    let answer = person.post("/api/disk/move", &json!({"ids": all, "parent": to}));
    let want = ["name_taken", "ok", "ok", "not_found", "not_found", "not_found"];
    assert_eq!(codes(&answer), want);
    let body = json!({"ids": [ids[0]], "parent": to, "conflict": "rename"});
    let answer = person.post("/api/disk/move", &body);
    assert_eq!(answer.json()["results"][0]["node"]["name"], json!("a (1)"));
    let items = json!({"items": [
        {"id": ids[1], "name": "c"}, {"id": ids[2], "name": "z"}, {"id": ids[1], "name": "a/b"},
        {"id": foreign, "name": "mine"}]});
    let answer = person.post("/api/disk/rename", &items);
    assert_eq!(codes(&answer), ["name_taken", "ok", "invalid_name", "not_found"]);
    let many: Vec<String> = (0..1001).map(|n| (n + 1).to_string()).collect();
    for ids in [json!([]), json!(many)] {
        assert_eq!(person.post("/api/disk/trash", &json!({"ids": ids})).status, 400);
    }
    assert_eq!(stranger.download(&foreign), b"x");
    database::check(drive());
}

#[test]
fn a_copy_of_a_folder_holds_everything_and_moves_no_byte() {
    let person = Person::sign_up(drive(), "copier");
    let top = person.make_folder("root", "top");
    let sub = person.make_folder(&top, "sub");
    person.make_folder(&sub, "empty");
    file_in(&person, &top, "one.txt", b"first file");
    file_in(&person, &sub, "two.txt", b"second file");
    let before = documents(&person);
    let answer = person.post("/api/disk/copy", &json!({"ids": [top], "parent": "root"}));
    assert_eq!(codes(&answer), ["name_taken"]);
    let body = json!({"ids": [top], "parent": "root", "conflict": "rename"});
    let answer = person.post("/api/disk/copy", &body);
    assert_eq!(codes(&answer), ["ok"]);
    let copy = answer.json()["results"][0]["node"].clone();
    assert_eq!(copy["name"], json!("top (1)"));
    let copy = copy["id"].as_str().unwrap();
    assert_eq!(names_in(&person, copy), ["sub", "one.txt"]);
    let page = person.get(&format!("/api/disk/{copy}")).json();
    let sub = page["nodes"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(names_in(&person, &sub), ["empty", "two.txt"]);
    let one = page["nodes"][1]["id"].as_str().unwrap();
    assert_eq!(person.download(one), b"first file");
    assert_eq!(documents(&person), (before.0 * 2, before.1 * 2));
    assert_eq!(person.profile()["used_bytes"], json!(2 * before.1));
    // The copy is found by name like everything else.
    assert_eq!(names(&person.get("/api/mydisk/search?q=two")), ["two.txt", "two.txt"]);
    // What the quota does not allow leaves nothing behind.
    let set = format!("UPDATE user SET quota_bytes = 50 WHERE id = {}", person.id);
    database::query::<u64>(drive(), &set);
    let answer = person.post("/api/disk/copy", &body);
    assert_eq!(codes(&answer), ["quota_exceeded"]);
    assert_eq!(names_in(&person, "root"), ["top", "top (1)"]);
    assert_eq!(person.profile()["used_bytes"], json!(2 * before.1));
    database::check(drive());
}

#[test]
fn the_trash_keeps_things_until_they_are_purged() {
    let person = Person::sign_up(drive(), "trash");
    let folder = person.make_folder("root", "folder");
    let inner = person.make_folder(&folder, "inner");
    let file = file_in(&person, &inner, "deep.txt", b"deep");
    let alone = file_in(&person, &folder, "alone.txt", b"alone");
    assert_eq!(documents(&person), (2, 9));
    assert_eq!(person.ask("DELETE", &format!("/api/disk/{alone}"), &[], b"").status, 204);
    assert_eq!(person.ask("DELETE", &format!("/api/disk/{folder}"), &[], b"").status, 204);
    // Nothing in it can be reached in any way.
    for path in [
        format!("/api/download/{file}"),
        format!("/api/download/{alone}"),
        format!("/api/disk/{folder}"),
        format!("/api/disk/{inner}"),
        format!("/api/disk/{file}/info"),
    ] {
        assert_eq!(person.get(&path).status, 404, "{path}");
    }
    for path in ["/api/mydisk/search?q=txt", "/api/category/document", "/api/list"] {
        assert_eq!(names(&person.get(path)), [""; 0], "{path}");
    }
    assert_eq!(person.get("/api/mydisk/recent").json()["nodes"], json!([]));
    assert_eq!(person.put(&format!("x?parent={inner}"), b"x").status, 404);
    assert_eq!(patch(&person, &file, &json!({"parent": "root"})).status, 404);
    assert_eq!(documents(&person), (0, 0));
    let trash = person.get("/api/mydisk/trash").json();
    let entries = trash["entries"].as_array().unwrap();
    let shown: Vec<(&str, &str, u64)> = entries
        .iter()
        .map(|e| {
            (
                e["node"]["name"].as_str().unwrap(),
                e["origin"].as_str().unwrap(),
                e["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [("folder", "", 4), ("alone.txt", "folder", 5)]);
    let usage = person.get("/api/mydisk/usage").json();
    assert_eq!((&usage["used_bytes"], &usage["trash_bytes"]), (&json!(9), &json!(9)));
    // What was in a folder that is gone goes to the root; the folder goes back where it was.
    let answer = person.post("/api/mydisk/trash/restore", &json!({"ids": [alone, folder]}));
    assert_eq!(codes(&answer), ["ok", "ok"]);
    assert_eq!(names_in(&person, "root"), ["folder", "alone.txt"]);
    assert_eq!(person.download(&file), b"deep");
    assert_eq!(documents(&person), (2, 9));
    // A name that was taken meanwhile.
    assert_eq!(person.ask("DELETE", &format!("/api/disk/{alone}"), &[], b"").status, 204);
    person.make_file("alone.txt", b"another");
    let body = json!({"ids": [alone], "conflict": "fail"});
    assert_eq!(codes(&person.post("/api/mydisk/trash/restore", &body)), ["name_taken"]);
    let answer = person.post("/api/mydisk/trash/restore", &json!({"ids": [alone]}));
    assert_eq!(answer.json()["results"][0]["node"]["name"], json!("alone (1).txt"));
    // Purged is gone, and its space is back.
    assert_eq!(
        codes(&person.post("/api/disk/trash", &json!({"ids": [folder, alone]}))),
        ["ok", "ok"]
    );
    let answer = person.post("/api/mydisk/trash/purge", &json!({"ids": [folder, "1"]}));
    assert_eq!(codes(&answer), ["ok", "not_found"]);
    let answer = person.post("/api/mydisk/trash/restore", &json!({"ids": [folder]}));
    assert_eq!(codes(&answer), ["not_found"]);
    assert_eq!(person.profile()["used_bytes"], json!(12));
    let answer = person.ask("DELETE", "/api/mydisk/trash", &[], b"");
    assert_eq!((answer.status, answer.json()), (200, json!({"entries": 1})));
    assert_eq!(person.profile()["used_bytes"], json!(7));
    assert_eq!(person.get("/api/mydisk/trash").json()["entries"], json!([]));
    database::check(drive());
}

#[test]
fn what_was_thrown_away_before_its_folder_survives_the_folder() {
    let person = Person::sign_up(drive(), "outlive");
    let folder = person.make_folder("root", "folder");
    let file = file_in(&person, &folder, "kept.txt", b"kept");
    for id in [&file, &folder] {
        assert_eq!(person.ask("DELETE", &format!("/api/disk/{id}"), &[], b"").status, 204);
    }
    let answer = person.post("/api/mydisk/trash/purge", &json!({"ids": [folder]}));
    assert_eq!(codes(&answer), ["ok"]);
    let answer = person.post("/api/mydisk/trash/restore", &json!({"ids": [file]}));
    assert_eq!(codes(&answer), ["ok"]);
    assert_eq!(person.download(&file), b"kept");
    assert_eq!(names_in(&person, "root"), ["kept.txt"]);
    database::check(drive());
}

#[test]
fn names_are_found_by_any_part_in_any_script() {
    let person = Person::sign_up(drive(), "search");
    let other = Person::sign_up(drive(), "search");
    other.make_file("holiday-foreign", b"x");
    let all = [
        "My Holiday.JPG",
        "holiday plans.txt",
        "假期照片.jpg",
        "照",
        "a%b_c",
        "100% sure",
        "it's",
        "Straße",
        "😀 smile",
        "x",
    ];
    for name in all {
        person.make_folder("root", name);
    }
    let found = |q: &str| -> Vec<String> {
        let escaped: String = q.bytes().map(|b| format!("%{b:02X}")).collect();
        let mut names = names(&person.get(&format!("/api/mydisk/search?q={escaped}")));
        names.sort();
        names
    };
    let cases: [(&str, &[&str]); 14] = [
        ("holiday", &["My Holiday.JPG", "holiday plans.txt"]),
        ("OLIDA", &["My Holiday.JPG", "holiday plans.txt"]),
        ("期照", &["假期照片.jpg"]),
        ("照", &["假期照片.jpg", "照"]),
        ("片", &["假期照片.jpg"]),
        ("%", &["100% sure", "a%b_c"]),
        ("_", &["a%b_c"]),
        ("%b_", &["a%b_c"]),
        ("t's", &["it's"]),
        ("' OR 1=1", &[]),
        ("\\", &[]),
        ("😀", &["😀 smile"]),
        ("x", &["holiday plans.txt", "x"]),
        ("nothing", &[]),
    ];
    for (q, want) in cases {
        let mut want: Vec<&str> = want.to_vec();
        want.sort_unstable();
        assert_eq!(found(q), want, "{q}");
    }
    assert_eq!(names(&person.get("/api/mydisk/search?q=holiday&kind=file")), [""; 0]);
    for query in ["", "q=", "q=%00", "q=a&kind=x", "q=a&category=x", "q=a&cursor=x", "q=a&limit=0"]
    {
        assert_eq!(person.get(&format!("/api/mydisk/search?{query}")).status, 400, "{query}");
    }
    // Renamed and purged names are no longer found.
    let page = person.get("/api/mydisk/search?q=straße").json();
    let id = page["nodes"][0]["id"].as_str().unwrap();
    assert_eq!(patch(&person, id, &json!({"name": "Gasse"})).status, 200);
    assert_eq!((found("straße"), found("gass")), (vec![], vec!["Gasse".to_owned()]));
    assert_eq!(one_by_one(&person, "q=a"), found("a"));
    database::check(drive());
}

/// What a search finds in pages of one entry, sorted.
fn one_by_one(person: &Person<'_>, query: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..100 {
        let page = person.get(&format!("/api/mydisk/search?{query}&limit=1{cursor}"));
        seen.extend(names(&page));
        match page.json()["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seen.sort();
    seen
}

#[test]
fn favourites_recent_files_and_categories_follow_what_is_done() {
    let person = Person::sign_up(drive(), "lists");
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    let picture = person.make_file("a.txt", png);
    let text = person.make_file("b.png", b"text");
    let folder = person.make_folder("root", "c");
    for id in [&picture, &folder] {
        let path = format!("/api/mydisk/favourites/{id}");
        assert_eq!(person.ask("PUT", &path, &[], b"").status, 204);
        assert_eq!(person.ask("PUT", &path, &[], b"").status, 204);
    }
    let mut marked = names(&person.get("/api/mydisk/favourites"));
    marked.sort();
    assert_eq!(marked, ["a.txt", "c"]);
    let page = person.get("/api/mydisk/favourites?limit=1").json();
    let next = page["next"].as_str().expect("one more");
    let rest = person.get(&format!("/api/mydisk/favourites?limit=1&cursor={next}"));
    assert_eq!(names(&rest).len(), 1);
    let answer = person.ask("DELETE", &format!("/api/mydisk/favourites/{folder}"), &[], b"");
    assert_eq!(answer.status, 204);
    assert_eq!(names(&person.get("/api/mydisk/favourites")), ["a.txt"]);
    // By content, not by suffix.
    assert_eq!(names(&person.get("/api/category/image")), ["a.txt"]);
    assert_eq!(names(&person.get("/api/category/document")), ["b.png"]);
    assert_eq!(person.get("/api/category/films").status, 404);
    // A range that goes on is no second download; neither is a repetition.
    let path = format!("/api/download/{text}");
    assert_eq!(person.download(&text), b"text");
    for range in ["bytes=1-", "bytes=2-3", "bytes=0-0"] {
        assert_eq!(person.ask("GET", &path, &[("Range", range)], b"").status, 206, "{range}");
    }
    assert_eq!(person.ask("HEAD", &path, &[], b"").status, 200);
    let listed = person.get("/api/list").json();
    let counts: Vec<(&str, u64)> = listed["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| (n["name"].as_str().unwrap(), n["downloads"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("b.png", 1), ("a.txt", 0)]);
    // Opened last comes first.
    person.download(&picture);
    assert_eq!(names(&person.get("/api/mydisk/recent")), ["a.txt", "b.png"]);
    database::check(drive());
}

#[test]
fn two_hundred_at_once_leave_the_counts_right() {
    let person = Person::sign_up(drive(), "many");
    let content = b"one content that many copies share";
    let first = person.make_file("first", content);
    let count = |what: &str| -> u64 {
        let sql = format!(
            "SELECT {what} FROM `blob` WHERE id = (SELECT blob_id FROM node WHERE owner = {} \
             ORDER BY id LIMIT 1)",
            person.id
        );
        database::query::<u64>(drive(), &sql)[0]
    };
    let at_once = |job: &(dyn Fn(usize) + Sync)| {
        std::thread::scope(|scope| {
            for thread in 0..20 {
                scope.spawn(move || (0..10).for_each(|n| job(thread * 10 + n)));
            }
        });
    };
    let body = json!({"ids": [first], "parent": "root", "conflict": "rename"});
    // Names are numbered to 99, so each thread copies into a folder of its own.
    let folders: Vec<String> =
        (0..20).map(|n| person.make_folder("root", &format!("into {n}"))).collect();
    at_once(&|n| {
        let mut body = body.clone();
        body["parent"] = json!(folders[n / 10]);
        assert_eq!(codes(&person.post("/api/disk/copy", &body)), ["ok"]);
    });
    assert_eq!((count("refcount"), documents(&person).0), (201, 201));
    let copies: Vec<String> = folders
        .iter()
        .flat_map(|folder| {
            let page = person.get(&format!("/api/disk/{folder}")).json();
            let nodes = page["nodes"].as_array().unwrap().clone();
            nodes.into_iter().map(|node| node["id"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(copies.len(), 200);
    // Everybody throws everything away twice, restores some, purges the rest.
    at_once(&|n| {
        let ids = json!({"ids": [copies[n], copies[(n + 1) % 200]]});
        person.post("/api/disk/trash", &ids);
        if n % 4 == 0 {
            person.post("/api/mydisk/trash/restore", &json!({"ids": [copies[n]]}));
        } else {
            person.post("/api/mydisk/trash/purge", &ids);
        }
    });
    assert_eq!(person.ask("DELETE", "/api/mydisk/trash", &[], b"").status, 200);
    database::check(drive());
    let left = documents(&person).0;
    eventually("the purge ends", Duration::from_secs(60), || {
        (count("refcount") == left).then_some(())
    });
    assert_eq!(person.profile()["used_bytes"], json!(left * content.len() as u64));
    assert_eq!(person.download(&first), content);
    // The last reference takes the bytes with it.
    for id in folders.iter().chain([&first]) {
        assert_eq!(person.ask("DELETE", &format!("/api/disk/{id}"), &[], b"").status, 204);
    }
    assert_eq!(person.ask("DELETE", "/api/mydisk/trash", &[], b"").status, 200);
    assert_eq!(person.profile()["used_bytes"], json!(0));
    database::check(drive());
}

#[test]
fn what_is_due_is_purged_by_itself() {
    let person = Person::sign_up(drive(), "due");
    let id = person.make_file("old", b"old content of nobody else");
    assert_eq!(person.ask("DELETE", &format!("/api/disk/{id}"), &[], b"").status, 204);
    let sql = format!("UPDATE trash SET due_ms = 1 WHERE owner = {}", person.id);
    database::query::<u64>(drive(), &sql);
    eventually("the sweep removes it", Duration::from_secs(90), || {
        (person.profile()["used_bytes"] == json!(0)).then_some(())
    });
    database::check(drive());
}
