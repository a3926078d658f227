//! Shares: who may enter, for how long, how often; looking, downloading, saving. Archives, signed
//! links.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::database;
use crate::drive;
use crate::person::{Person, ask, code};
use crate::support::http::Answer;
use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// Refusals must be in force this soon.
const AT_ONCE: Duration = Duration::from_secs(1);

fn patch(person: &Person<'_>, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    person.ask("PATCH", path, &headers, body.to_string().as_bytes())
}

fn share(person: &Person<'_>, body: &Value) -> String {
    let answer = person.post("/api/shares", body);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn names(answer: &Answer) -> Vec<String> {
    let page = answer.json();
    let nodes = page["nodes"].as_array().unwrap_or_else(|| panic!("{page}"));
    nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

fn file_in(person: &Person<'_>, folder: &str, name: &str, bytes: &[u8]) -> String {
    let answer = person.put(&format!("{name}?parent={folder}"), bytes);
    assert_eq!(answer.status, 201, "{name}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Every way into a share that needs no session, with a file and a folder of it.
fn ways(id: &str, file: &str, folder: &str) -> Vec<(&'static str, String, &'static [u8])> {
    let at = |rest: &str| format!("/api/share/{id}{rest}");
    vec![
        ("GET", at(""), b""),
        ("GET", at("/nodes"), b""),
        ("GET", at(&format!("/nodes/{folder}")), b""),
        ("GET", at(&format!("/download/{file}")), b""),
        ("GET", at(&format!("/download/{file}?inline=1")), b""),
        ("HEAD", at(&format!("/download/{file}")), b""),
        ("GET", at("/zip"), b""),
        ("GET", at(&format!("/zip?ids={file}")), b""),
        ("POST", at("/open"), b"{\"code\":\"right1\"}"),
        ("POST", at("/report"), b"{\"reason\":\"other\"}"),
    ]
}

fn try_way(who: &Person<'_>, way: &(&'static str, String, &'static [u8])) -> Answer {
    let (method, path, body) = way;
    let json = [("Content-Type", "application/json")];
    who.ask(method, path, if body.is_empty() { &[] } else { &json }, body)
}

struct Shared<'a> {
    owner: Person<'a>,
    folder: String,
    file: String,
    outside: String,
    id: String,
}

/// A folder with one file, shared as `more` says.
fn shared(more: &Value) -> Shared<'static> {
    let owner = Person::sign_up(drive(), "sharer");
    let folder = owner.make_folder("root", "album");
    let file = file_in(&owner, &folder, "a.txt", b"shared bytes");
    let outside = owner.make_file("outside.txt", b"nobody's business");
    let mut body = json!({"nodes": [folder]});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let id = share(&owner, &body);
    Shared { owner, folder, file, outside, id }
}

/// Every way is refused with one of `want` at once, and goes on to be.
fn refused(shared: &Shared<'_>, who: &Person<'_>, want: &[u16]) {
    for way in ways(&shared.id, &shared.file, &shared.folder) {
        eventually(&format!("{} {} is refused", way.0, way.1), AT_ONCE, || {
            want.contains(&try_way(who, &way).status).then_some(())
        });
    }
    let saver = Person::sign_up(drive(), "late");
    let answer = saver.post(&format!("/api/share/{}/save", shared.id), &json!({}));
    assert!(want.contains(&answer.status), "save: {}", answer.status);
}

#[test]
fn a_share_shows_what_was_shared_and_nothing_else() {
    let shared = shared(&json!({"title": "相册"}));
    let inner = shared.owner.make_folder(&shared.folder, "inner");
    let deep = file_in(&shared.owner, &inner, "deep.txt", b"deep");
    let nobody = Person::nobody(drive());
    let at = |rest: &str| format!("/api/share/{}{rest}", shared.id);
    let page = nobody.get(&at("")).json();
    assert_eq!((&page["title"], &page["needs_code"]), (&json!("相册"), &json!(false)));
    assert_eq!((&page["views"], &page["entries"]), (&json!(1), &json!(1)));
    assert_eq!(nobody.get(&at("")).json()["views"], json!(1), "one visitor, one view");
    let top = nobody.get(&at("/nodes"));
    assert_eq!(names(&top), ["album"]);
    assert_eq!(top.json()["nodes"][0]["parent"], json!(null));
    let page = nobody.get(&at(&format!("/nodes/{inner}"))).json();
    let path: Vec<&str> =
        page["path"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(path, ["album", "inner"]);
    assert_eq!(nobody.get(&at(&format!("/download/{deep}"))).body, b"deep");
    // Neither beside nor above, neither by another share nor by another's id.
    let stranger = Person::sign_up(drive(), "stranger");
    let foreign = stranger.make_file("foreign", b"x");
    for id in [&shared.outside, &foreign, "1", "18446744073709551615", "root", "0", "x"] {
        for path in [format!("/download/{id}"), format!("/nodes/{id}")] {
            assert_eq!(nobody.get(&at(&path)).status, 404, "{path}");
        }
    }
    for ids in [shared.outside.clone(), format!("{},{}", shared.file, shared.outside)] {
        assert_eq!(nobody.get(&at(&format!("/zip?ids={ids}"))).status, 404, "{ids}");
    }
    let body = json!({"ids": [shared.outside]});
    assert_eq!(stranger.post(&at("/save"), &body).status, 404);
    assert_eq!(nobody.post(&at("/save"), &json!({})).status, 401);
    for id in ["0", "x", &"0".repeat(32), &"A".repeat(32)] {
        assert!(matches!(nobody.get(&format!("/api/share/{id}")).status, 400 | 404), "{id}");
    }
    // Only its owner manages it.
    let own = format!("/api/shares/{}", shared.id);
    assert_eq!(stranger.get(&own).status, 404);
    assert_eq!(patch(&stranger, &own, &json!({"public": true})).status, 404);
    assert_eq!(stranger.ask("DELETE", &own, &[], b"").status, 404);
    assert_eq!(nobody.get(&own).status, 401);
    let body = json!({"nodes": [shared.file]});
    assert_eq!(stranger.post("/api/shares", &body).status, 404);
    let listed = shared.owner.get("/api/shares").json();
    assert_eq!(listed["shares"][0]["nodes"][0]["name"], json!("album"));
    assert_eq!(stranger.get("/api/shares").json()["shares"], json!([]));
}

#[test]
fn a_code_is_asked_for_and_guessing_it_ends() {
    let shared = shared(&json!({"code": "right1"}));
    let nobody = Person::nobody(drive());
    let open = format!("/api/share/{}/open", shared.id);
    assert_eq!(nobody.get(&format!("/api/share/{}", shared.id)).json()["needs_code"], json!(true));
    for way in ways(&shared.id, &shared.file, &shared.folder) {
        let answer = try_way(&nobody, &way);
        if way.1.ends_with("/open") || way.1.ends_with("/report") || way.1.ends_with(&shared.id) {
            continue;
        }
        assert_eq!(answer.status, 403, "{} {}", way.0, way.1);
    }
    let saver = Person::sign_up(drive(), "saver");
    let answer = saver.post(&format!("/api/share/{}/save", shared.id), &json!({}));
    assert_eq!((answer.status, code(&answer).as_str()), (403, "code_required"));
    let answer = nobody.post(&open, &json!({"code": "wrong"}));
    assert_eq!((answer.status, code(&answer).as_str()), (403, "wrong_code"));
    let right = nobody.post(&open, &json!({"code": "right1"}));
    assert_eq!(right.status, 204);
    let name = format!("share-{}", shared.id);
    let pass = format!("{name}={}", right.cookie(&name).expect("a pass"));
    let set = right.header("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains(&format!("Path=/api/share/{}", shared.id)));
    let path = format!("/api/share/{}/download/{}", shared.id, shared.file);
    let with = |cookie: &str| ask(drive(), "GET", &path, &[("Cookie", cookie)], b"");
    assert_eq!(with(&pass).body, b"shared bytes");
    let forged = format!("{name}={}", "0".repeat(64));
    assert_eq!(with(&forged).status, 403);
    // Another code ends the passes of the old one.
    let own = format!("/api/shares/{}", shared.id);
    assert_eq!(patch(&shared.owner, &own, &json!({"code": "other2"})).status, 200);
    assert_eq!(with(&pass).status, 403);
    assert_eq!(patch(&shared.owner, &own, &json!({"code": null})).status, 200);
    assert_eq!(ask(drive(), "GET", &path, &[], b"").status, 200);
    assert_eq!(patch(&shared.owner, &own, &json!({"code": "third3"})).status, 200);
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(nobody.post(&open, &json!({"code": "guess"})).status);
    }
    assert!(seen.contains(&429) && !seen.contains(&204), "{seen:?}");
    let answer = nobody.post(&open, &json!({"code": "third3"}));
    assert_eq!(answer.status, 429, "not even the right one is looked at");
    for wrong in ["abc", "with blank", "照片照片", &"x".repeat(33)] {
        let body = json!({"nodes": [shared.file], "code": wrong});
        assert_eq!(shared.owner.post("/api/shares", &body).status, 400, "{wrong}");
    }
}

#[test]
fn a_share_that_is_stopped_is_refused_on_every_route_at_once() {
    let shared = shared(&json!({}));
    let nobody = Person::nobody(drive());
    assert_eq!(nobody.get(&format!("/api/share/{}", shared.id)).status, 200);
    let own = format!("/api/shares/{}", shared.id);
    assert_eq!(shared.owner.ask("DELETE", &own, &[], b"").status, 204);
    refused(&shared, &nobody, &[410]);
    assert_eq!(shared.owner.get(&own).json()["state"], json!("stopped"));
    assert_eq!(patch(&shared.owner, &own, &json!({"public": true})).status, 410);
}

#[test]
fn a_share_that_has_expired_is_refused_on_every_route_at_once() {
    let shared = shared(&json!({}));
    let sql = format!("UPDATE share SET expires_ms = 1 WHERE id = UNHEX('{}')", shared.id);
    database::query::<u64>(drive(), &sql);
    refused(&shared, &Person::nobody(drive()), &[410]);
    let body = json!({"nodes": [shared.file], "expires_ms": 1});
    assert_eq!(shared.owner.post("/api/shares", &body).status, 400);
}

#[test]
fn a_share_of_somebody_disabled_is_refused_on_every_route_at_once() {
    let shared = shared(&json!({"public": true}));
    let sql = format!("UPDATE user SET disabled_ms = 1 WHERE id = {}", shared.owner.id);
    database::query::<u64>(drive(), &sql);
    let nobody = Person::nobody(drive());
    refused(&shared, &nobody, &[404]);
    let public = nobody.get("/api/shares/public?limit=1000").json().to_string();
    assert!(!public.contains(&shared.id));
}

#[test]
fn what_is_thrown_away_or_moved_out_is_refused_on_every_route_at_once() {
    let nobody = Person::nobody(drive());
    // Thrown away: the folder that was shared, or one above it.
    for above in [false, true] {
        let shared = shared(&json!({}));
        let outer = shared.owner.make_folder("root", "outer");
        let body = json!({"ids": [shared.folder], "parent": outer});
        assert_eq!(shared.owner.post("/api/disk/move", &body).status, 200);
        assert_eq!(nobody.get(&format!("/api/share/{}/nodes", shared.id)).status, 200);
        let gone = if above { &outer } else { &shared.folder };
        let answer = shared.owner.ask("DELETE", &format!("/api/disk/{gone}"), &[], b"");
        assert_eq!(answer.status, 204);
        for way in ways(&shared.id, &shared.file, &shared.folder) {
            if way.1.ends_with("/open") || way.1.ends_with("/report") {
                continue; // they reveal nothing of it
            }
            assert_eq!(try_way(&nobody, &way).status, 404, "{} {}", way.0, way.1);
        }
    }
    // Moved out of what was shared.
    let shared = shared(&json!({}));
    let body = json!({"ids": [shared.file], "parent": "root"});
    assert_eq!(shared.owner.post("/api/disk/move", &body).status, 200);
    for path in [format!("download/{}", shared.file), format!("zip?ids={}", shared.file)] {
        assert_eq!(nobody.get(&format!("/api/share/{}/{path}", shared.id)).status, 404);
    }
    let body = json!({"ids": [shared.file]});
    let saver = Person::sign_up(drive(), "saver");
    assert_eq!(saver.post(&format!("/api/share/{}/save", shared.id), &body).status, 404);
}

#[test]
fn a_limit_of_one_gives_one_of_a_hundred_parallel_downloads() {
    let shared = shared(&json!({"download_limit": 1}));
    let path = format!("/api/share/{}/download/{}", shared.id, shared.file);
    let nobody = Person::nobody(drive());
    let seen: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..100).map(|_| scope.spawn(|| nobody.get(&path).status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status: u16| seen.iter().filter(|s| **s == status).count();
    assert_eq!((count(200), count(410)), (1, 99), "{seen:?}");
    // Whoever was counted may go on with it; nobody may begin again.
    let rest = nobody.ask("GET", &path, &[("Range", "bytes=7-")], b"");
    assert_eq!((rest.status, &rest.body[..]), (206, &b"bytes"[..]));
    refused(&shared, &nobody, &[410]);
    let own = shared.owner.get(&format!("/api/shares/{}", shared.id)).json();
    assert_eq!((&own["downloads"], &own["state"]), (&json!(1), &json!("used_up")));
    // A higher limit opens it again.
    let body = json!({"download_limit": 2});
    let own = format!("/api/shares/{}", shared.id);
    assert_eq!(patch(&shared.owner, &own, &body).json()["state"], json!("live"));
    assert_eq!(nobody.get(&path).status, 200);
    assert_eq!(nobody.get(&path).status, 410);
}

#[test]
fn a_limit_holds_whatever_a_visitor_says_and_asks_for() {
    let shared = shared(&json!({"download_limit": 2}));
    let at = |rest: &str| format!("/api/share/{}{rest}", shared.id);
    let path = at(&format!("/download/{}", shared.file));
    let nobody = Person::nobody(drive());
    let left = || {
        let own = shared.owner.get(&format!("/api/shares/{}", shared.id)).json();
        2 - own["downloads"].as_u64().unwrap()
    };
    // A cookie of one's own making is nobody: it shares no download that was counted.
    let cookie = format!("share-{}={}; session={}", shared.id, "0".repeat(64), "1".repeat(64));
    let with = |range: &str| {
        let headers = [("Cookie", cookie.as_str()), ("Range", range)];
        ask(drive(), "GET", &path, &headers, b"")
    };
    assert_eq!((with("bytes=0-").status, left()), (206, 1));
    // Other spellings of the beginning begin, and several ranges may be the whole file.
    for range in ["bytes=00-", "bytes=1-2,3-", "bytes=-11"] {
        let body = json!({"download_limit": 2});
        let own = format!("/api/shares/{}", shared.id);
        assert_eq!(patch(&shared.owner, &own, &body).status, 200);
        let sql = format!("UPDATE share SET downloads = 1 WHERE id = UNHEX('{}')", shared.id);
        database::query::<u64>(drive(), &sql);
        assert!(matches!(with(range).status, 200 | 206), "{range}");
        assert_eq!((left(), with(range).status), (0, 410), "{range}");
    }
    // Going on ends when the file was asked for a few times.
    let mut times = 0;
    while nobody.ask("GET", &path, &[("Range", "bytes=1-")], b"").status == 206 {
        times += 1;
        assert!(times <= 8, "11 of 12 bytes again and again");
    }
    assert!(2 <= times, "{times}");
    // An archive is always sent from its beginning.
    let other = self::shared(&json!({"download_limit": 1}));
    let zip = format!("/api/share/{}/zip", other.id);
    let ranged = [("Range", "bytes=5-")];
    assert_eq!(nobody.ask("GET", &zip, &ranged, b"").status, 200);
    assert_eq!(nobody.ask("GET", &zip, &ranged, b"").status, 410);
}

#[test]
fn a_download_that_is_not_given_is_not_counted() {
    let owner = Person::sign_up(drive(), "sharer");
    let node = owner.make_file("lost", b"a content of nobody else, lost for a while");
    let id = share(&owner, &json!({"nodes": [node], "download_limit": 1}));
    // Nothing fits into this disk.
    let full = Person::sign_up(drive(), "full");
    let set = format!("UPDATE user SET quota_bytes = 1 WHERE id = {}", full.id);
    database::query::<u64>(drive(), &set);
    let answer = full.post(&format!("/api/share/{id}/save"), &json!({}));
    assert_eq!(answer.json()["results"][0]["error"]["code"], json!("quota_exceeded"));
    // The store does not give this content.
    let sql = "SELECT file_id FROM `blob` b JOIN node n ON n.blob_id = b.id WHERE n.id =";
    let file: String = database::query(drive(), &format!("{sql} {node}")).remove(0);
    let rename = |to: &str| {
        let sql = "UPDATE `blob` b JOIN node n ON n.blob_id = b.id SET b.file_id =";
        database::query::<u64>(drive(), &format!("{sql} '{to}' WHERE n.id = {node}"));
    };
    rename(&id_of_nothing(&file));
    let nobody = Person::nobody(drive());
    let zip = format!("/api/share/{id}/zip");
    assert_eq!(nobody.get(&zip).status, 503);
    rename(&file);
    let own = owner.get(&format!("/api/shares/{id}")).json();
    assert_eq!((&own["downloads"], &own["state"]), (&json!(0), &json!("live")));
    assert_eq!(nobody.get(&zip).status, 200);
    assert_eq!(nobody.get(&zip).status, 410);
}

/// The id of a file that the store has not, made from one that it has.
fn id_of_nothing(file: &str) -> String {
    let (dir, name) = file.rsplit_once('/').unwrap();
    let swapped: String = name.chars().map(|c| if c == 'A' { 'B' } else { c }).collect();
    assert_ne!(swapped, name);
    format!("{dir}/{swapped}")
}

#[test]
fn archives_sent_at_once_are_bounded_for_each_user() {
    let drive = Stack::start(&[]);
    let person = Person::sign_up(&drive, "zips");
    let big = vec![7; 40_000_000];
    let id = person.make_file("big", &big);
    let host = drive.url.strip_prefix("http://").unwrap();
    // Four that are not read to their end.
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let mut socket = std::net::TcpStream::connect(host).unwrap();
            let head = format!(
                "GET /api/zip?ids={id} HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\n\r\n",
                person.cookie
            );
            socket.write_all(head.as_bytes()).unwrap();
            let mut first = [0; 12];
            socket.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            socket
        })
        .collect();
    let path = format!("/api/zip?ids={id}");
    let answer = person.get(&path);
    assert_eq!((answer.status, code(&answer).as_str()), (429, "too_many_archives"));
    assert!(answer.header("retry-after").is_some());
    let other = Person::sign_up(&drive, "zips");
    let own = other.make_file("small", b"small");
    assert_eq!(other.get(&format!("/api/zip?ids={own}")).status, 200);
    drop(waiting);
    eventually("who leaves makes room", Duration::from_secs(30), || {
        (person.get(&path).status == 200).then_some(())
    });
}

#[test]
fn what_was_shared_is_saved_without_moving_a_byte() {
    let shared = shared(&json!({}));
    let saver = Person::sign_up(drive(), "saver");
    let into = saver.make_folder("root", "into");
    let path = format!("/api/share/{}/save", shared.id);
    for want in ["album", "album (1)"] {
        let answer = saver.post(&path, &json!({"parent": into}));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["results"][0]["node"]["name"], json!(want));
    }
    let answer = saver.post(&path, &json!({"ids": [shared.file]}));
    let copy = answer.json()["results"][0]["node"]["id"].as_str().unwrap().to_owned();
    assert_eq!(saver.download(&copy), b"shared bytes");
    assert_eq!(saver.profile()["used_bytes"], json!(3 * 12));
    // It is the saver's own now, whatever becomes of the share.
    let own = format!("/api/shares/{}", shared.id);
    assert_eq!(shared.owner.ask("DELETE", &own, &[], b"").status, 204);
    let answer = shared.owner.ask("DELETE", &format!("/api/disk/{}", shared.folder), &[], b"");
    assert_eq!(answer.status, 204);
    assert_eq!(shared.owner.ask("DELETE", "/api/mydisk/trash", &[], b"").status, 200);
    assert_eq!(saver.download(&copy), b"shared bytes");
    assert_eq!(shared.owner.get(&format!("/api/download/{copy}")).status, 404);
    // The quota is the saver's.
    let full = Person::sign_up(drive(), "full");
    let set = format!("UPDATE user SET quota_bytes = 1 WHERE id = {}", full.id);
    database::query::<u64>(drive(), &set);
    let other = self::shared(&json!({}));
    let answer = full.post(&format!("/api/share/{}/save", other.id), &json!({}));
    assert_eq!(answer.json()["results"][0]["error"]["code"], json!("quota_exceeded"));
    assert_eq!(full.profile()["used_bytes"], json!(0));
    database::check(drive());
}

#[test]
fn the_ranking_follows_downloads_and_comes_back_after_redis_is_flushed() {
    let nobody = Person::nobody(drive());
    let (first, second) = (shared(&json!({"public": true})), shared(&json!({"public": true})));
    let hidden = shared(&json!({}));
    for (shared, times) in [(&first, 2u64), (&second, 3), (&hidden, 9)] {
        let sql = format!(
            "UPDATE share SET downloads = {} WHERE id = UNHEX('{}')",
            1_000_000 + times,
            shared.id
        );
        database::query::<u64>(drive(), &sql);
    }
    let forget = || {
        let socket = drive().run.join("redis.sock");
        let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
        let mut conn = client.get_connection().unwrap();
        redis::cmd("DEL").arg("rank:downloads").exec(&mut conn).unwrap();
    };
    let top = || -> Vec<String> {
        let ranking = nobody.get("/api/shares/ranking?limit=2").json();
        let shares = ranking["shares"].as_array().unwrap();
        shares.iter().map(|share| share["id"].as_str().unwrap().to_owned()).collect()
    };
    forget();
    assert_eq!(top(), [second.id.clone(), first.id.clone()]);
    // Two downloads move the first to the top.
    for shared in [&first, &first] {
        let path = format!("/api/share/{}/download/{}", shared.id, shared.file);
        assert_eq!(nobody.get(&path).status, 200);
    }
    assert_eq!(top(), [first.id.clone(), second.id.clone()]);
    forget();
    assert_eq!(top(), [first.id.clone(), second.id.clone()]);
    let own = format!("/api/shares/{}", first.id);
    assert_eq!(first.owner.ask("DELETE", &own, &[], b"").status, 204);
    assert!(!top().contains(&first.id), "stopped at once");
    let public = nobody.get("/api/shares/public?limit=1000").json().to_string();
    assert!(public.contains(&second.id) && !public.contains(&hidden.id));
}

#[test]
fn a_picture_has_a_page_with_a_counter() {
    let owner = Person::sign_up(drive(), "painter");
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    let picture = owner.make_file("p.png", png);
    let text = owner.make_file("t.txt", b"text");
    let id = share(&owner, &json!({"nodes": [picture], "picture": true}));
    for nodes in [json!([text]), json!([picture, text])] {
        let body = json!({"nodes": nodes, "picture": true});
        assert_eq!(owner.post("/api/shares", &body).status, 400);
    }
    let nobody = Person::nobody(drive());
    let page = nobody.get(&format!("/api/share/{id}")).json();
    assert_eq!((&page["picture"], &page["views"]), (&json!(true), &json!(1)));
    assert_eq!(page["owner"], json!(owner.name));
    let shown = nobody.get(&format!("/api/share/{id}/download/{picture}?inline=1"));
    assert_eq!(shown.header("content-type"), Some("image/png"));
    let reported = nobody.post(
        &format!("/api/share/{id}/report"),
        &json!({"reason": "copyright", "text": "mine'; DROP TABLE share; --"}),
    );
    assert_eq!(reported.status, 204);
    let sql = format!("SELECT COUNT(*) FROM share_report WHERE share = UNHEX('{id}')");
    assert_eq!(database::query::<u64>(drive(), &sql), [1]);
    for body in [json!({}), json!({"reason": "x"}), json!({"reason": "other", "user": "1"})] {
        assert_eq!(nobody.post(&format!("/api/share/{id}/report"), &body).status, 400, "{body}");
    }
}

#[test]
fn fields_that_only_the_server_decides_are_refused() {
    let owner = Person::sign_up(drive(), "fields");
    let file = owner.make_file("f", b"x");
    for (key, value) in [
        ("owner_id", json!("1")),
        ("downloads", json!(0)),
        ("views", json!(9)),
        ("stopped_ms", json!(null)),
        ("download_limit", json!(0)),
        ("download_limit", json!(-1)),
        ("expires_ms", json!(u64::MAX)),
        ("title", json!("a\u{0}b")),
        ("nodes", json!([])),
        ("nodes", json!(["0"])),
    ] {
        let mut body = json!({"nodes": [file]});
        body[key] = value;
        let status = owner.post("/api/shares", &body).status;
        assert!(matches!(status, 400 | 404), "{body}: {status}");
    }
    assert_eq!(owner.get("/api/shares").json()["shares"], json!([]));
}

#[test]
fn a_link_works_without_a_session_until_it_is_over() {
    let owner = Person::sign_up(drive(), "linker");
    let file = owner.make_file("a%20b.txt", b"linked");
    let stranger = Person::sign_up(drive(), "linker");
    assert_eq!(stranger.get(&format!("/api/link/{file}")).status, 404);
    assert_eq!(Person::nobody(drive()).get(&format!("/api/link/{file}")).status, 401);
    let link = owner.get(&format!("/api/link/{file}")).json();
    let url = link["url"].as_str().unwrap();
    let nobody = Person::nobody(drive());
    let answer = nobody.get(url);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"linked"[..]));
    assert!(answer.header("content-disposition").unwrap().starts_with("attachment"));
    // Nothing about it can be changed.
    let other = owner.make_file("other", b"other");
    let expires = (link["expires_ms"].as_u64().unwrap() / 1000).to_string();
    for changed in [
        url.replace(&format!("/{file}/"), &format!("/{other}/")),
        url.replace(&format!("/{}/", owner.id), &format!("/{}/", stranger.id)),
        url.replace(&expires, "99999999999"),
        format!("{url}&inline=1"),
        url[..url.len() - 1].to_owned(),
        url.split('?').next().unwrap().to_owned(),
    ] {
        let answer = nobody.get(&changed);
        assert_eq!((answer.status, code(&answer).as_str()), (403, "bad_link"), "{changed}");
    }
    assert_eq!(owner.ask("DELETE", &format!("/api/disk/{file}"), &[], b"").status, 204);
    assert_eq!(nobody.get(url).status, 404);
}

#[test]
fn a_selection_comes_as_one_archive_that_others_can_read() {
    let owner = Person::sign_up(drive(), "packer");
    let folder = owner.make_folder("root", "照片");
    let inner = owner.make_folder(&folder, "inner");
    owner.make_folder(&inner, "empty");
    let large: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    file_in(&owner, &inner, "large.bin", &large);
    file_in(&owner, &folder, "%F0%9F%98%80.txt", b"smile");
    file_in(&owner, &folder, "nothing", b"");
    let twin = file_in(&owner, &inner, "twin.txt", b"1");
    let other = owner.make_file("twin.txt", b"2");
    let path = format!("/api/zip?ids={folder},{twin},{other}&name=%E5%85%A8.zip");
    let answer = owner.get(&path);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    assert!(answer.header("content-disposition").unwrap().ends_with("%E5%85%A8.zip"));
    let dir = std::env::temp_dir().join(format!("fastdisk-zip-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("a.zip");
    std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), &answer.body).unwrap();
    let script = "\
import sys, zipfile, hashlib
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
for i in sorted(z.infolist(), key=lambda i: i.filename):
    print(i.filename, i.file_size, hashlib.sha256(z.read(i)).hexdigest()[:8])";
    let out = std::process::Command::new("python3")
        .args(["-X", "utf8", "-c", script])
        .arg(&file)
        .output()
        .expect("python3 runs");
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let listed = String::from_utf8(out.stdout).unwrap();
    let sum = |bytes: &[u8]| -> String {
        use sha2::{Digest, Sha256};
        Sha256::digest(bytes).iter().take(4).map(|b| format!("{b:02x}")).collect()
    };
    let mut want: Vec<String> = vec![
        format!("twin (1).txt 1 {}", sum(b"2")),
        format!("twin.txt 1 {}", sum(b"1")),
        format!("照片/ 0 {}", sum(b"")),
        format!("照片/inner/ 0 {}", sum(b"")),
        format!("照片/inner/empty/ 0 {}", sum(b"")),
        format!("照片/inner/large.bin 700000 {}", sum(&large)),
        format!("照片/inner/twin.txt 1 {}", sum(b"1")),
        format!("照片/nothing 0 {}", sum(b"")),
        format!("照片/😀.txt 5 {}", sum("smile".as_bytes())),
    ];
    want.sort();
    let mut found: Vec<&str> = listed.lines().collect();
    found.sort_unstable();
    assert_eq!(found, want);
    // The form of a page may ask too.
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    let form = owner.ask("POST", "/api/zip", &kind, format!("ids={twin}").as_bytes());
    assert_eq!((form.status, &form.body[..4]), (200, &b"PK\x03\x04"[..]));
    let stranger = Person::sign_up(drive(), "packer");
    assert_eq!(stranger.get(&path).status, 404);
    for query in ["", "?ids=", "?ids=x", "?ids=1,,2", "?ids=-1"] {
        assert_eq!(owner.get(&format!("/api/zip{query}")).status, 400, "{query}");
    }
}

#[test]
fn an_archive_whose_member_is_missing_ends_without_success() {
    let owner = Person::sign_up(drive(), "cut");
    let folder = owner.make_folder("root", "f");
    let file = file_in(&owner, &folder, "lost.bin", b"bytes that will be lost from the store");
    let sql = format!(
        "UPDATE `blob` SET file_id = CONCAT(LEFT(file_id, CHAR_LENGTH(file_id) - 5), 'AAAAA') \
         WHERE id = (SELECT blob_id FROM node WHERE id = {file})"
    );
    database::query::<u64>(drive(), &sql);
    let headers = [("Cookie", owner.cookie.as_str())];
    let path = format!("/api/zip?ids={folder}");
    let answer = crate::support::http::request(&drive().url, "GET", &path, &headers, b"");
    // Cut off in its middle, or refused when not a byte of it had left.
    let whole = answer.as_ref().is_ok_and(|answer| answer.status < 500);
    assert!(!whole, "a cut archive must not look whole: {answer:?}");
}
