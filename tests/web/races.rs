//! Many at once for one content or one quota: counted exactly (testing.md 11, races).

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::prelude::Queryable;

use crate::database;
use crate::person::{Person, code};
use crate::support::stack::Stack;
use crate::support::wait::eventually;

#[test]
fn two_hundred_at_once_share_one_content_and_are_counted_exactly() {
    let drive = crate::drive();
    let people: Vec<Person<'_>> = (0..20).map(|_| Person::sign_up(drive, "crowd")).collect();
    let content: Vec<u8> = (0..100_000u32).map(|at| (at >> 4) as u8 ^ 77).collect();
    let all: Vec<u16> = std::thread::scope(|scope| {
        let put = |n: usize| {
            let (person, content) = (&people[n % 20], &content);
            scope.spawn(move || person.put(&format!("c{n}"), content).status)
        };
        let all: Vec<_> = (0..200).map(put).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(all, vec![201; 200]);
    let hash = <sha2::Sha256 as sha2::Digest>::digest(&content);
    let hash: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    let sql = format!("SELECT refcount FROM `blob` WHERE sha256 = UNHEX('{hash}')");
    assert_eq!(database::query::<u64>(drive, &sql), [200]);
    database::check(drive);
}

#[test]
fn fifty_at_the_edge_of_a_quota_never_exceed_it() {
    let drive = crate::drive();
    let person = Person::sign_up(drive, "edge");
    let set = format!("UPDATE user SET quota_bytes = 10000 WHERE id = {}", person.id);
    database::query::<u64>(drive, &set);
    let seen: Vec<u16> = std::thread::scope(|scope| {
        let put = |n: u8| {
            let person = &person;
            scope.spawn(move || match n % 2 {
                0 => person.put(&format!("f{n}"), &[n; 999]).status,
                _ => {
                    let name = format!("t{n}");
                    let meta = crate::resumable::metadata(&[("filename", &name)]);
                    let headers = [
                        ("Tus-Resumable", "1.0.0"),
                        ("Content-Type", "application/offset+octet-stream"),
                        ("Upload-Length", "999"),
                        ("Upload-Metadata", &*meta),
                    ];
                    person.ask("POST", "/api/uploads", &headers, &[n; 999]).status
                }
            })
        };
        let all: Vec<_> = (0..50).map(put).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(seen.iter().all(|status| matches!(status, 201 | 413 | 429)), "{seen:?}");
    let taken = seen.iter().filter(|status| **status == 201).count();
    assert!((1..=10).contains(&taken), "{taken}");
    let used = person.profile()["used_bytes"].as_u64().unwrap();
    assert_eq!(used, taken as u64 * 999);
    database::check(drive);
}

/// They wait together for the user's row, and go on together.
#[test]
fn small_files_that_come_together_have_each_their_own_answer() {
    let drive = crate::drive();
    let (person, other) = (Person::sign_up(drive, "together"), Person::sign_up(drive, "earlier"));
    let content = |n: usize| format!("{}: content {n}", person.id).into_bytes();
    other.make_file("known", &content(0));
    // Eight names for four contents, one of which somebody has; and one name for four contents.
    let files: Vec<(String, Vec<u8>)> = (0..8)
        .map(|n| (format!("f{n}.txt"), content(n / 2)))
        .chain((10..14).map(|n| ("same.txt".to_owned(), content(n))))
        .collect();
    let mut row = HeldRow::of(drive, &person.id);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let put = |(name, bytes): &(String, Vec<u8>)| {
            let (person, name, bytes) = (&person, name.clone(), bytes.clone());
            scope.spawn(move || person.put(&name, &bytes))
        };
        let all: Vec<_> = files.iter().map(put).collect();
        row.wait_for_waiters(drive);
        row.release();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut taken: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    for ((name, bytes), answer) in files.iter().zip(&answers) {
        match answer.status {
            201 => {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                assert_eq!(&person.download(&id), bytes, "{name}");
                taken.entry(name).or_default().push(bytes);
            }
            409 => assert_eq!(code(answer), "name_taken", "{name}"),
            other => panic!("{name}: {other} {}", String::from_utf8_lossy(&answer.body)),
        }
    }
    assert_eq!(taken.len(), 9, "every name is there: {:?}", taken.keys());
    assert!(taken.values().all(|contents| contents.len() == 1), "and once");
    let used: usize = taken.values().flatten().map(|bytes| bytes.len()).sum();
    assert_eq!(person.profile()["used_bytes"].as_u64(), Some(used as u64));
    database::check(drive);
}

/// The row of a user, locked by a transaction of our own.
struct HeldRow {
    runtime: tokio::runtime::Runtime,
    conn: mysql_async::Conn,
}

impl HeldRow {
    fn of(drive: &Stack, user: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = drive.run.join("mysql.sock");
        let options = mysql_async::OptsBuilder::default()
            .socket(Some(socket.to_string_lossy()))
            .user(Some("fastdisk"))
            .db_name(Some("fastdisk"));
        let conn = runtime.block_on(async {
            let mut conn = mysql_async::Conn::new(options).await.unwrap();
            conn.query_drop("BEGIN").await.unwrap();
            let lock = format!("SELECT id FROM user WHERE id = {user} FOR UPDATE");
            conn.query_drop(lock).await.unwrap();
            conn
        });
        Self { runtime, conn }
    }

    /// Until somebody waits for a row.
    fn wait_for_waiters(&self, drive: &Stack) {
        let waits = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
            WHERE VARIABLE_NAME = 'INNODB_ROW_LOCK_CURRENT_WAITS'";
        eventually("a transaction waits for the row", Duration::from_secs(20), || {
            let count: Vec<String> = database::query(drive, waits);
            (count != ["0"]).then_some(())
        });
    }

    fn release(&mut self) {
        self.runtime.block_on(self.conn.query_drop("COMMIT")).unwrap();
    }
}
