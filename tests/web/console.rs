//! `fastdisk` at the console of a running drive: people let in again, files taken out, database
//! and store compared both ways, backed up, lost and restored.

#![allow(clippy::disallowed_methods, reason = "scratch files need no durable recipe")]

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use serde_json::json;

use crate::access::totp;
use crate::database;
use crate::person::{PASSWORD, Person, post_json};
use crate::support::stack::{Stack, bin_dir};
use crate::support::wait::eventually;

/// Longer than daemons need to come back on a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Runs `fastdisk` as an operator does.
fn fastdisk(drive: &Stack, args: &[&str]) -> Output {
    let mut command = Command::new(drive.run.join("bin/fastdisk"));
    command.arg("--conf").arg(drive.run.join("etc/fastdisk.toml")).arg("--run").arg(&drive.run);
    command.args(args).output().unwrap()
}

/// What it prints when it succeeds.
pub(crate) fn done(drive: &Stack, args: &[&str]) -> String {
    let out = fastdisk(drive, args);
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{args:?}: {errors}");
    String::from_utf8(out.stdout).unwrap()
}

/// What it says when it refuses: exit code 1 and nothing on standard output.
fn refused(drive: &Stack, args: &[&str]) -> String {
    let out = fastdisk(drive, args);
    let errors = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{args:?}: {errors}");
    assert_eq!(out.stdout, b"", "{args:?}");
    errors
}

fn login(person: &Person<'_>, password: &str) -> u16 {
    let form = json!({"name": person.name, "password": password});
    post_json(person.drive, "/api/login", &form).status
}

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(what: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("fastdisk-{what}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("it is ours");
    }
}

#[test]
fn people_are_let_in_again() {
    let drive = Stack::start(&[]);
    // The first administrator was made at the start; there is no second one this way.
    let password = drive.admin.split_whitespace().last().unwrap();
    let form = json!({"name": "admin", "password": password});
    assert_eq!(post_json(&drive, "/api/login", &form).status, 200);
    assert!(refused(&drive, &["create-admin"]).contains("there is an administrator already"));

    let person = Person::sign_up(&drive, "lost");
    let printed = done(&drive, &["reset-password", &person.name]);
    let fresh = printed.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    assert!(printed.contains(&format!("name:     {}\n", person.name)), "{printed}");
    assert_eq!(person.get("/api/session").status, 401, "the sessions ended");
    assert_eq!((login(&person, PASSWORD), login(&person, fresh)), (401, 200));

    let second = Person::sign_up(&drive, "phone");
    let begun = second.post("/api/totp", &json!({"password": PASSWORD}));
    let secret = begun.json()["secret"].as_str().unwrap().to_owned();
    let confirmed = second.post("/api/totp/confirm", &json!({"code": totp(&secret, 0)}));
    assert_eq!((confirmed.status, login(&second, PASSWORD)), (200, 401));
    assert_eq!(done(&drive, &["end-second-factor", &second.name]), "");
    assert_eq!(login(&second, PASSWORD), 200);
    let again = refused(&drive, &["end-second-factor", &second.name]);
    assert!(again.contains("has no second factor"), "{again}");

    for command in ["reset-password", "end-second-factor", "export"] {
        let why = refused(&drive, &[command, "nobody-of-this-name"]);
        assert!(why.contains("there is no user \"nobody-of-this-name\""), "{command}: {why}");
        assert!(refused(&drive, &[command, "a\nb"]).contains("is no user name"), "{command}");
        let wrong = fastdisk(&drive, &[command]);
        assert_eq!(wrong.status.code(), Some(2), "{command} without a name");
        assert!(String::from_utf8(wrong.stderr).unwrap().starts_with("usage: fastdisk"));
    }
    let deeds = "SELECT action FROM audit WHERE address = 'console' ORDER BY id";
    let deeds: Vec<String> = database::query(&drive, deeds);
    assert_eq!(deeds, ["console_reset_password", "totp_off"]);
}

#[test]
fn the_files_of_a_user_are_exported_whole() {
    let drive = Stack::start(&[]);
    let (owner, other) = (Person::sign_up(&drive, "leaves"), Person::sign_up(&drive, "stays"));
    other.make_file("not-mine", b"of somebody else");
    let folder = owner.make_folder("root", "照片 2024");
    let inner = owner.make_folder(&folder, "long ".repeat(40).trim_end());
    owner.make_folder(&inner, "empty");
    let large: Vec<u8> = (0..5_000_001u32).map(|n| (n >> 3) as u8).collect();
    let put = |name: &str, parent: &str, bytes: &[u8]| {
        let answer = owner.put(&format!("{name}?parent={parent}"), bytes);
        assert_eq!(answer.status, 201);
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    put("a.txt", "root", b"a");
    put("nothing", "root", b"");
    put("large.bin", &inner, &large);
    let gone = put("gone", &folder, b"gone");
    assert_eq!(owner.ask("DELETE", &format!("/api/disk/{gone}"), &[], b"").status, 204);

    let scratch = Scratch::new("export");
    let archive = fastdisk(&drive, &["export", &owner.name]);
    assert!(archive.status.success(), "{}", String::from_utf8_lossy(&archive.stderr));
    fs::write(scratch.path("all.tar"), &archive.stdout).unwrap();
    let out = scratch.path("out");
    fs::create_dir(&out).unwrap();
    let tar = Command::new("tar").args(["-xf", &scratch.path("all.tar"), "-C", &out]).status();
    assert!(tar.unwrap().success());
    let inner = format!("照片 2024/{}", "long ".repeat(40).trim_end());
    let mut found = Vec::new();
    list(Path::new(&out), Path::new(&out), &mut found);
    found.sort();
    let mut want = vec![
        "a.txt".to_owned(),
        "nothing".to_owned(),
        format!("{inner}/empty/"),
        inner.clone() + "/",
    ];
    want.extend(["照片 2024/".to_owned(), format!("{inner}/large.bin")]);
    want.sort();
    assert_eq!(found, want);
    let read = |name: &str| fs::read(Path::new(&out).join(name)).unwrap();
    assert!(read(&format!("{inner}/large.bin")) == large);
    assert_eq!((read("a.txt"), read("nothing")), (b"a".to_vec(), Vec::new()));
}

/// Names below `dir`, folders with a slash behind them.
fn list(top: &Path, dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.push(name + "/");
            list(top, &path, found);
        } else {
            found.push(name);
        }
    }
}

/// The stored file of a node: its id, and where it lies.
fn stored(drive: &Stack, node: &str) -> (String, PathBuf) {
    let sql = format!(
        "SELECT b.file_id FROM node n JOIN `blob` b ON b.id = n.blob_id WHERE n.id = {node}"
    );
    let id = database::query::<String>(drive, &sql).remove(0);
    let path = place(drive, &id);
    (id, path)
}

fn place(drive: &Stack, file_id: &str) -> PathBuf {
    drive.run.join("data/store0/data").join(file_id.strip_prefix("group1/M00/").unwrap())
}

/// Stores a file that no row names; it was written two hours ago.
fn orphan(drive: &Stack, scratch: &Scratch, bytes: &[u8], old: bool) -> String {
    let local = scratch.path("orphan.bin");
    fs::write(&local, bytes).unwrap();
    let conf = drive.run.join("etc/client.conf");
    let out = Command::new(bin_dir().join("fdfs_upload_file")).arg(conf).arg(&local).output();
    let out = out.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let id = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    if old {
        age(&place(drive, &id));
    }
    id
}

#[test]
fn reconcile_finds_what_one_side_has_and_the_other_has_not() {
    let drive = Stack::start(&[]);
    let scratch = Scratch::new("reconcile");
    let owner = Person::sign_up(&drive, "both");
    let kept = owner.make_file("kept", &[1; 100_000]);
    let missing = owner.make_file("missing", &[2; 100_000]);
    let damaged = owner.make_file("damaged", &[3; 100_000]);
    let report = done(&drive, &["reconcile", "--sums"]);
    assert!(report.contains("database: 3 contents, 0 of them not right"), "{report}");
    let scratch_backup = scratch.path("all.backup");
    assert!(report.contains("0 of them belong to nothing"), "{report}");

    // The store has more: one file that is old enough, and one that may be on its way.
    let (old, young) =
        (orphan(&drive, &scratch, b"nobody's", true), orphan(&drive, &scratch, b"soon", false));
    let why = refused(&drive, &["reconcile"]);
    assert!(why.contains(&format!("store: {old} belongs to nothing")), "{why}");
    assert!(!why.contains(&young) && why.contains("`--repair` mends"), "{why}");
    // A backup is made all the same, and says what was found.
    let said = done(&drive, &["backup", &scratch_backup]);
    assert!(said.starts_with("backed up ") && said.contains(&old), "{said}");
    assert!(said.contains("`fastdisk reconcile --repair` mends"), "{said}");
    let report = done(&drive, &["reconcile", "--repair"]);
    assert!(report.contains("1 of them belong to nothing; they will be removed"), "{report}");
    assert!(place(&drive, &old).exists(), "reconcile itself removes nothing");
    assert_eq!(done(&drive, &["gc"]), "stored files that could not be removed yet: 0\n");
    assert!(!place(&drive, &old).exists() && place(&drive, &young).exists());
    done(&drive, &["reconcile"]);

    // Counters are wrong: found, and counted anew.
    let broken = "UPDATE `blob` SET refcount = refcount + 1";
    database::query::<u64>(&drive, broken);
    database::query::<u64>(&drive, "UPDATE user SET used_bytes = 5 WHERE used_bytes <> 0");
    let why = refused(&drive, &["reconcile"]);
    assert!(why.contains("counters: 3 contents and 1 users are counted wrongly"), "{why}");
    done(&drive, &["reconcile", "--repair"]);
    database::check(&drive);

    // In the middle of somebody's work: counted when that is done, and not wrongly.
    database::query::<u64>(&drive, broken);
    count_anew_in_the_middle(&drive, &kept);

    // The store has less: a file is gone, another has other bytes. Nothing can mend that.
    let (missing_id, path) = stored(&drive, &missing);
    fs::remove_file(path).unwrap();
    let (damaged_id, path) = stored(&drive, &damaged);
    flip_a_byte(&path);
    let why = refused(&drive, &["reconcile", "--sums"]);
    assert!(why.contains("database: 3 contents, 2 of them not right"), "{why}");
    assert!(why.contains(&format!("{missing_id} is not there")), "{why}");
    assert!(why.contains(&format!("{damaged_id} is damaged")), "{why}");
    assert!(why.contains(&format!("\"missing\" of {:?}", owner.name)), "whose it is: {why}");
    refused(&drive, &["reconcile", "--sums", "--repair"]);
    assert!(owner.download(&kept) == vec![1; 100_000]);
}

/// Repairs counters while a transaction that nobody sees yet has one more use of a content.
fn count_anew_in_the_middle(drive: &Stack, node: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let socket = drive.run.join("mysql.sock");
    let options = mysql_async::OptsBuilder::default()
        .socket(Some(socket.to_string_lossy()))
        .user(Some("root"))
        .db_name(Some("fastdisk"));
    let other = [
        "BEGIN".to_owned(),
        format!(
            "UPDATE user u JOIN node n ON n.owner = u.id SET u.used_bytes = u.used_bytes + n.size
            WHERE n.id = {node}"
        ),
        format!(
            "UPDATE `blob` b JOIN node n ON n.blob_id = b.id SET b.refcount = b.refcount + 1
            WHERE n.id = {node}"
        ),
        format!(
            "INSERT INTO node (owner, name, kind, blob_id, size, category, created_ms, modified_ms)
            SELECT owner, 'twice', kind, blob_id, size, category, created_ms, modified_ms
            FROM node WHERE id = {node}"
        ),
    ];
    let mut conn = runtime.block_on(async {
        let mut conn = mysql_async::Conn::new(options).await.unwrap();
        for sql in other {
            conn.query_drop(sql).await.unwrap();
        }
        conn
    });
    std::thread::scope(|scope| {
        let repair = scope.spawn(|| done(drive, &["reconcile", "--repair"]));
        eventually("the repair waits for the row", BACK_WITHIN, || {
            // Not INNODB_TRX: whoever asks it ten times a second is shown the same again and again.
            let waits = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
                WHERE VARIABLE_NAME = 'INNODB_ROW_LOCK_CURRENT_WAITS'";
            (root(drive, waits) != "0").then_some(())
        });
        runtime.block_on(conn.query_drop("COMMIT")).unwrap();
        repair.join().unwrap();
    });
    let wrong = "SELECT COUNT(*) FROM `blob` b WHERE b.refcount <>
        (SELECT COUNT(*) FROM node n WHERE n.blob_id = b.id)";
    assert_eq!(database::query::<u64>(drive, wrong), [0]);
    runtime.block_on(async {
        conn.query_drop("DELETE FROM node WHERE name = 'twice'").await.unwrap();
        conn.disconnect().await.unwrap();
    });
    // The same content is used once less: the counters follow, also that of the space.
    done(drive, &["reconcile", "--repair"]);
    database::check(drive);
}

/// A statement of the database's own administrator, and what is answered.
fn root(drive: &Stack, sql: &str) -> String {
    let socket = format!("--socket={}", drive.run.join("mysql.sock").display());
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--protocol=socket", &socket, "--user=root", "-N", "-e", sql]);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_a_form_holds_is_not_taken_for_garbage() {
    let drive = Stack::start(&[]);
    let owner = Person::sign_up(&drive, "form");
    let (first, second) = (vec![5u8; 400_000], vec![6u8; 2_000_000]);
    let part = |name: &str, bytes: &[u8]| {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Length: {}\r\n\r\n",
            bytes.len()
        );
        [head.as_bytes(), bytes, b"\r\n"].concat()
    };
    let body = [part("first", &first), part("second", &second), b"--edge--\r\n".to_vec()].concat();
    let host = drive.url.strip_prefix("http://").unwrap();
    let head = format!(
        "POST /api/upload HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {}\r\n\r\n",
        owner.cookie,
        body.len()
    );
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    let (now, later) = body.split_at(1_500_000);
    socket.write_all(now).unwrap();
    eventually("the first file is held while the second comes", BACK_WITHIN, || {
        let storing = "SELECT COUNT(*) FROM `blob` WHERE state = 'storing'";
        (database::query::<u64>(&drive, storing) == [2]).then_some(())
    });
    age_stored_files(&drive);
    done(&drive, &["reconcile", "--repair"]);
    done(&drive, &["gc"]);
    socket.write_all(later).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let nodes = owner.get("/api/disk/root").json()["nodes"].clone();
    for (node, want) in nodes.as_array().unwrap().iter().zip([&first, &second]) {
        assert!(owner.download(node["id"].as_str().unwrap()) == *want, "{node}");
    }
    // One that died leaves nothing, neither space nor files.
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    let fresh: Vec<u8> = now.iter().map(|byte| if *byte == 5 { 7 } else { *byte }).collect();
    socket.write_all(&fresh).unwrap();
    eventually("the first file is held again", BACK_WITHIN, || {
        let held = "SELECT COUNT(*) FROM `blob` WHERE state = 'storing' AND file_id IS NOT NULL";
        (database::query::<u64>(&drive, held) == [1]).then_some(())
    });
    drive.kill("upload");
    database::query::<u64>(&drive, "UPDATE `blob` SET touched_ms = 1 WHERE state = 'storing'");
    age_stored_files(&drive);
    assert_eq!(done(&drive, &["gc"]), "stored files that could not be removed yet: 0\n");
    let report = done(&drive, &["reconcile"]);
    assert!(report.contains("0 of them belong to nothing"), "{report}");
    database::check(&drive);
}

fn flip_a_byte(path: &Path) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(50_000)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(50_000)).unwrap();
    file.write_all(&[!byte[0]]).unwrap();
}

#[test]
fn gc_removes_what_nothing_needs_also_after_the_store_was_away() {
    // The trash keeps nothing for long, so that gc alone decides.
    let drive = Stack::start(&["s/^trash_retention_s = .*/trash_retention_s = 1/"]);
    let owner = Person::sign_up(&drive, "swept");
    let (first, second) = (owner.make_file("first", &[1; 70_000]), owner.make_file("b", &[2; 9]));
    let kept = owner.make_file("kept", &[3; 70_000]);
    let paths = [stored(&drive, &first).1, stored(&drive, &second).1];
    for id in [&first, &second] {
        assert_eq!(owner.ask("DELETE", &format!("/api/disk/{id}"), &[], b"").status, 204);
    }
    drive.kill("storage");
    eventually("due, and let go of", BACK_WITHIN, || {
        done(&drive, &["gc"]);
        let waiting = database::query::<u64>(&drive, "SELECT COUNT(*) FROM garbage");
        (waiting == [2]).then_some(())
    });
    assert!(paths.iter().all(|path| path.exists()));
    // A store that is away has not lost anything.
    let why = refused(&drive, &["reconcile"]);
    assert!(!why.contains("is not there"), "{why}");
    assert_eq!(owner.profile()["used_bytes"], json!(70_000), "space came back at once");
    drive.control("start");
    // What could not be removed is tried again after a while that grows.
    database::query::<u64>(&drive, "UPDATE garbage SET due_ms = 0");
    eventually("removed", BACK_WITHIN, || {
        let said = done(&drive, &["gc"]);
        (said == "stored files that could not be removed yet: 0\n").then_some(())
    });
    assert!(!paths.iter().any(|path| path.exists()));
    assert!(owner.download(&kept) == vec![3; 70_000]);
    database::check(&drive);
}

#[test]
fn a_lost_database_comes_back_from_its_backup_with_every_file() {
    let drive = Stack::start(&[]);
    let scratch = Scratch::new("backup");
    let file = scratch.path("all.backup");
    let people = [Person::sign_up(&drive, "saved"), Person::sign_up(&drive, "saved")];
    let folder = people[0].make_folder("root", "照片");
    let contents: Vec<Vec<u8>> = (1..5u8).map(|n| vec![n; 50_000 * usize::from(n)]).collect();
    let mut nodes: Vec<(usize, String, usize)> = Vec::new();
    for (index, person) in people.iter().enumerate() {
        for (at, content) in contents.iter().enumerate() {
            let answer = person.put(&format!("f{at}"), content);
            nodes.push((index, answer.json()["id"].as_str().unwrap().to_owned(), at));
        }
    }
    let inner = people[0].put(&format!("in?parent={folder}"), &contents[0]);
    nodes.push((0, inner.json()["id"].as_str().unwrap().to_owned(), 0));
    let share = people[1].post("/api/shares", &json!({"nodes": [nodes[5].1]}));
    let share = share.json()["id"].as_str().unwrap().to_owned();
    let facts = "SELECT CONCAT_WS('|', 'node', COUNT(*), SUM(id), SUM(size)) FROM node
        UNION ALL SELECT CONCAT_WS('|', 'blob', COUNT(*), SUM(id), SUM(refcount)) FROM `blob`
        UNION ALL SELECT CONCAT_WS('|', 'user', COUNT(*), SUM(id), SUM(used_bytes)) FROM user
        UNION ALL SELECT CONCAT_WS('|', 'gram', COUNT(*), SUM(node), SUM(gram)) FROM name_gram
        UNION ALL SELECT CONCAT_WS('|', 'audit', COUNT(*), SUM(id)) FROM audit";
    let before: Vec<String> = database::query(&drive, facts);
    let said = done(&drive, &["backup", &file]);
    assert!(said.starts_with("backed up ") && said.contains("0 of them not right"), "{said}");
    assert!(refused(&drive, &["restore", &file]).contains("the database holds accounts"));

    // A file of after the backup: lost with the database, and found in the store.
    people[0].make_file("too-late", b"made after the backup");
    for worker in workers(&drive) {
        drive.kill(&worker);
    }
    root(&drive, "DROP DATABASE fastdisk");
    assert!(refused(&drive, &["reconcile"]).contains("nknown database"));
    root(&drive, "CREATE DATABASE fastdisk CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    done(&drive, &["migrate"]);

    // A cut backup, and one that was tampered with, leave the database empty.
    let whole = fs::read_to_string(&file).unwrap();
    let cut = whole.rsplit_once("{\"end\"").unwrap().0;
    let foreign = whole.replacen("\"fastdisk\":1", "\"fastdisk\":2", 1);
    for (what, text) in [("it has no end", cut), ("another version", &*foreign), ("not of", "x\n")]
    {
        fs::write(scratch.path("bad"), text).unwrap();
        let why = refused(&drive, &["restore", &scratch.path("bad")]);
        assert!(why.contains(what), "{what}: {why}");
        assert_eq!(database::query::<u64>(&drive, "SELECT COUNT(*) FROM user"), [0]);
    }
    let said = done(&drive, &["restore", &file]);
    assert!(said.starts_with("restored ") && said.contains("0 of them not right"), "{said}");
    assert_eq!(database::query::<String>(&drive, facts), before);

    drive.control("start");
    // Sessions were in Redis; every file opens with its bytes, and work goes on.
    for (who, id, at) in &nodes {
        assert!(people[*who].download(id) == contents[*at], "{id}");
    }
    let visitor = Person::nobody(&drive);
    let path = format!("/api/share/{share}/download/{}", nodes[5].1);
    assert!(visitor.get(&path).body == contents[1]);
    assert_eq!(login(&people[0], PASSWORD), 200);
    people[0].make_file("after", b"made after the restore");
    database::check(&drive);
}

/// The workers of the configuration.
fn workers(drive: &Stack) -> Vec<String> {
    let settings = done(drive, &["config"]);
    let line = settings.lines().find_map(|line| line.strip_prefix("workers='")).unwrap();
    line.trim_end_matches('\'').split(' ').map(str::to_owned).collect()
}

/// Makes every stored file look two hours old, longer than reconcile waits for its row.
pub(crate) fn age_stored_files(drive: &Stack) {
    let mut found = Vec::new();
    let top = drive.run.join("data/store0/data");
    list(&top, &top, &mut found);
    found.iter().filter(|name| !name.ends_with('/')).for_each(|name| age(&top.join(name)));
}

fn age(path: &Path) {
    let then = std::time::SystemTime::now() - Duration::from_secs(7200);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}
