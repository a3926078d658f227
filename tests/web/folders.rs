//! Making and listing folders: names, pages, orders.

use serde_json::{Value, json};

use crate::drive;
use crate::person::{Person, code};

fn names(page: &Value) -> Vec<String> {
    let nodes = page["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

/// All names of a folder, page by page.
fn all(person: &Person<'_>, folder: &str, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..1000 {
        let page = person.get(&format!("/api/disk/{folder}?{query}{cursor}"));
        assert_eq!(page.status, 200);
        let page = page.json();
        found.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
    panic!("pages without end");
}

#[test]
fn folders_hold_folders_and_say_where_they_are() {
    let person = Person::sign_up(drive(), "folders");
    let outer = person.make_folder("root", "outer");
    let inner = person.make_folder(&outer, "inner");
    let root = person.get("/api/disk/root").json();
    assert_eq!((&root["folder"], names(&root)), (&Value::Null, vec!["outer".to_owned()]));
    let page = person.get(&format!("/api/disk/{outer}")).json();
    assert_eq!(
        (&page["folder"]["name"], names(&page)),
        (&json!("outer"), vec!["inner".to_owned()])
    );
    assert_eq!(page["nodes"][0]["id"], json!(inner));
    assert_eq!(page["nodes"][0]["parent"], json!(outer));
    // A file is not a folder.
    let file = person.make_file("file", b"x");
    assert_eq!(person.get(&format!("/api/disk/{file}")).status, 404);
    let answer = person.post("/api/disk", &json!({"parent": file, "name": "a"}));
    assert_eq!(answer.status, 404);
}

#[test]
fn names_are_taken_once_in_a_folder_and_differ_by_any_byte() {
    let person = Person::sign_up(drive(), "names");
    let names = ["a", "A", "a ", "á", "ß", "ss", "照片", "👩‍👩‍👧", "' OR 1=1 --", "%", "_", "..."];
    for name in names.iter().filter(|name| **name != "a") {
        person.make_folder("root", name);
    }
    person.make_folder("root", "a");
    for name in ["a", "A", "照片", "a\u{301}"] {
        let answer = person.post("/api/disk", &json!({"name": name}));
        assert_eq!((answer.status, code(&answer).as_str()), (409, "name_taken"), "{name}");
    }
    // The same name elsewhere is free.
    let outer = person.make_folder("root", "outer");
    person.make_folder(&outer, "a");
    let hostile = [
        "",
        ".",
        "..",
        "/",
        "a/b",
        "..\\x",
        "a\u{0}b",
        "a\nb",
        "\u{7f}",
        "\u{85}",
        "x\u{202e}gpj.exe",
        "\u{2066}",
        &"x".repeat(256),
        &"é".repeat(128),
    ];
    for name in hostile {
        let answer = person.post("/api/disk", &json!({"name": name}));
        assert_eq!((answer.status, code(&answer).as_str()), (400, "invalid_name"), "{name:?}");
        assert_eq!(answer.json()["error"]["field"], json!("name"));
    }
}

#[test]
fn one_of_many_who_make_the_same_folder_succeeds() {
    let person = Person::sign_up(drive(), "race");
    let mut seen: Vec<u16> = std::thread::scope(|scope| {
        let make = |_| scope.spawn(|| person.post("/api/disk", &json!({"name": "one"})).status);
        let all: Vec<_> = (0..16).map(make).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    seen.sort_unstable();
    assert_eq!((seen[0], &seen[1..]), (201, &[409; 15][..]));
}

#[test]
fn pages_show_every_entry_once_in_every_order() {
    let person = Person::sign_up(drive(), "pages");
    let folder = person.make_folder("root", "pages");
    let mut want = Vec::new();
    for number in 0..7 {
        want.push(format!("folder {number}"));
        person.make_folder(&folder, &format!("folder {number}"));
    }
    for number in 0..9usize {
        // Three sizes, so that keys repeat.
        let name = format!("file {number}");
        let bytes = vec![b'x'; number % 3];
        assert_eq!(
            person.put(&format!("{}?parent={folder}", name.replace(' ', "%20")), &bytes).status,
            201
        );
        want.push(name);
    }
    for sort in ["name", "size", "modified"] {
        let mut by_order = Vec::new();
        for order in ["asc", "desc"] {
            let whole = all(&person, &folder, &format!("sort={sort}&order={order}"));
            for limit in [1, 2, 3, 7, 15, 16, 17] {
                let query = format!("sort={sort}&order={order}&limit={limit}");
                assert_eq!(all(&person, &folder, &query), whole, "{query}");
            }
            let (folders, files) = whole.split_at(7);
            assert!(folders.iter().all(|name| name.starts_with("folder")), "{sort} {order}");
            assert!(files.iter().all(|name| name.starts_with("file")), "{sort} {order}");
            let mut sorted = whole.clone();
            sorted.sort();
            let mut wanted = want.clone();
            wanted.sort();
            assert_eq!(sorted, wanted);
            by_order.push((folders.to_vec(), files.to_vec()));
        }
        let [(up, files_up), (mut down, mut files_down)] = <[_; 2]>::try_from(by_order).unwrap();
        down.reverse();
        files_down.reverse();
        assert_eq!((up, files_up), (down, files_down), "{sort}");
    }
}

#[test]
fn a_page_goes_on_after_its_last_entry_is_gone_and_new_ones_came() {
    let person = Person::sign_up(drive(), "moving");
    for name in ["b", "d", "f"] {
        person.make_folder("root", name);
    }
    let first = person.get("/api/disk/root?limit=2").json();
    assert_eq!(names(&first), ["b", "d"]);
    person.make_folder("root", "a");
    person.make_folder("root", "e");
    let next = first["next"].as_str().unwrap();
    let second = person.get(&format!("/api/disk/root?limit=2&cursor={next}")).json();
    assert_eq!((names(&second), &second["next"]), (vec!["e".into(), "f".into()], &Value::Null));
    // A cursor belongs to its order.
    let wrong = person.get(&format!("/api/disk/root?sort=size&cursor={next}"));
    assert_eq!((wrong.status, code(&wrong).as_str()), (400, "invalid_value"));
}

#[test]
fn people_sort_names_as_people_do() {
    let person = Person::sign_up(drive(), "order");
    for name in ["b", "A", "C", "a", "É", "f", "z", "e"] {
        person.make_folder("root", name);
    }
    let found = all(&person, "root", "sort=name");
    let folded: Vec<String> = found.iter().map(|n| n.to_lowercase().replace('é', "e")).collect();
    assert!(folded.is_sorted(), "{found:?}");
}
