//! Many at once for one content or one quota: counted exactly (testing.md 11, races).

use crate::database;
use crate::person::Person;

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
