//! Every command that clients send to a tracker, in every variant: which status, and how long
//! an answer (tracker.md 3.2 to 3.5). The bytes of the answers are in the recorded exchanges.

use super::*;

/// A file of group1, 44 characters.
const NAME: &[u8] = b"M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";

/// What is expected: the status, and for success the length of the body.
#[derive(Clone, Copy, Debug)]
enum Want {
    Refused(u8),
    Len(usize),
    /// A head, and records of one length, at least one.
    Records(usize, usize),
}

use Want::{Len, Records, Refused};

fn group(name: &str, rest: &[u8]) -> Vec<u8> {
    [&text(name, 16)[..], rest].concat()
}

fn bytes(len: usize) -> Vec<u8> {
    vec![b'1'; len]
}

/// Command, body, what is expected: where to store, where to fetch.
fn places() -> Vec<(u8, Vec<u8>, Want)> {
    let mut table = vec![
        (101, vec![], Len(40)),
        (101, bytes(1), Refused(22)),
        (104, group("group1", &[]), Len(40)),
        (104, group("group9", &[]), Refused(2)),
        (104, bytes(15), Refused(22)),
        (104, bytes(17), Refused(22)),
        (106, vec![], Records(17, 23)),
        (106, bytes(1), Refused(22)),
        (107, group("group1", &[]), Records(17, 23)),
        (107, group("group9", &[]), Refused(2)),
        (107, bytes(15), Refused(22)),
    ];
    for (command, one) in [(102, true), (103, true), (105, false)] {
        let found = if one { Len(39) } else { Records(16, 23) };
        table.extend([
            (command, group("group1", NAME), found),
            (command, group("group1", &NAME[..22]), found),
            (command, group("group1", &[b'x'; 127]), found),
            (command, group("group9", NAME), Refused(2)),
            (command, group("group1", &NAME[..21]), Refused(22)),
            (command, group("group1", &[b'x'; 128]), Refused(22)),
            (command, vec![], Refused(22)),
        ]);
    }
    table
}

/// Groups, storages, the cluster, and what they are administered by.
fn lists() -> Vec<(u8, Vec<u8>, Want)> {
    vec![
        (90, group("group1", &[]), Len(113)),
        (90, group("group9", &[]), Refused(2)),
        (90, bytes(15), Refused(22)),
        (91, vec![], Len(2 * 113)),
        (91, bytes(1), Refused(22)),
        (92, group("group1", &[]), Len(2 * 487)),
        (92, group("group2", &[]), Len(487)),
        (92, group("group1", b"127.7.0.11"), Len(487)),
        (92, group("group1", b"127.7.0.99"), Refused(2)),
        (92, group("group9", &[]), Refused(2)),
        (92, bytes(15), Refused(22)),
        (92, bytes(32), Refused(22)),
        // The cluster: trackers, storages, space; filters that match and that do not.
        (95, vec![], Len("127.7.0.1:22122".len())),
        (95, bytes(1), Refused(22)),
        (96, vec![0, 0, 0], Len(1 + 90)),
        (96, vec![3, 1, 1], Len(1 + 90)),
        (96, vec![1, 0, 0], Len(1)),
        (96, bytes(2), Refused(22)),
        (97, vec![0, 0, 0, 0], Len(6 + 3 * 106)),
        (97, vec![2, b'=', 4, 0], Len(6)),
        (97, vec![2, b'!', 4, 0], Len(6 + 3 * 106)),
        (97, vec![2, b'?', 7, 0], Len(6)),
        (97, bytes(5), Refused(22)),
        (98, vec![0, 0, 0, 0], Len(5 + 2 * 59)),
        (98, vec![1, 0, 0, 0], Len(5)),
        (98, bytes(3), Refused(22)),
        // Administration. Nothing is removed here; that is tried where it can be.
        (93, group("group1", b"127.7.0.99"), Refused(2)),
        (93, group("group9", b"127.7.0.11"), Refused(2)),
        (93, group("group1", b"127.7.0.11"), Refused(16)),
        (93, group("group1", &[]), Refused(22)),
        (93, bytes(32), Refused(22)),
        (94, group("group1", &[]), Refused(95)),
        (94, group("group1", b"127.7.0.11"), Refused(95)),
        (94, bytes(15), Refused(22)),
        (94, bytes(32), Refused(22)),
        (108, group("group9", &[]), Refused(2)),
        (108, group("group1", &[]), Refused(16)),
        (108, bytes(15), Refused(22)),
    ]
}

/// What a client may ask before anything else, and what it may not say.
fn others() -> Vec<(u8, Vec<u8>, Want)> {
    vec![
        (111, vec![], Len(0)),
        (111, bytes(1), Refused(22)),
        (75, bytes(1), Refused(22)),
        (69, vec![0, 0, 0, 0, 1], Len(8)),
        (69, vec![0, 0, 0, 0, 0], Refused(95)),
        (69, bytes(4), Refused(22)),
        (70, group("group1", b"127.7.0.11:23000"), Len("127.7.0.11".len())),
        (70, group("group1", b"127.7.0.11"), Refused(22)),
        (70, group("group1", &[]), Refused(22)),
        (71, group("group1", b"127.7.0.11:1"), Len(67)),
        (71, group("group1", b"127.7.0.99:23000"), Refused(2)),
        (71, group("group9", b"127.7.0.11:23000"), Refused(2)),
        (64, vec![], Len(17)),
        (64, bytes(1), Refused(22)),
        (60, bytes(20), Refused(22)),
        (60, [&text("group1", 17)[..], &[0, 0, 0x59, 0xd8]].concat(), Len("127.7.0.90".len())),
        (109, vec![0, 0, 0x59, 0xd8], Refused(95)),
        // What only a storage that has joined may say, and what nobody may.
        (83, vec![], Refused(13)),
        (84, vec![0; 16], Refused(13)),
        (89, vec![0; 20], Refused(13)),
        (99, vec![], Refused(22)),
        (255, vec![], Refused(22)),
    ]
}

#[test]
fn every_variant_has_its_status_and_length() {
    let dir = Dir::new("commands");
    let tracker = Tracker::start(&configure(&dir.0, &[]));
    let _storages = bring_up(&tracker);
    let mut client = tracker.connect("127.7.0.90");
    let mut wrong = Vec::new();
    for (command, body, want) in [places(), lists(), others()].concat() {
        let (status, answer) = client.command(command, &[&body]);
        let right = match want {
            Refused(expected) => (status, answer.len()) == (expected, 0),
            Len(expected) => (status, answer.len()) == (0, expected),
            Records(head, one) => {
                let records = answer.len().checked_sub(head).filter(|rest| *rest != 0);
                status == 0 && records.is_some_and(|rest| rest % one == 0)
            }
        };
        if !right {
            let (got, sent) = (answer.len(), String::from_utf8_lossy(&body).into_owned());
            wrong.push(format!("{command} {sent:?}: {status}, {got} bytes; wanted {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn wide_answers_have_wide_addresses() {
    let dir = Dir::new("wide");
    let tracker = Tracker::start(&configure(&dir.0, &[("response_ip_addr_size", "IPv6")]));
    let _storages = bring_up(&tracker);
    let mut client = tracker.connect("127.7.0.90");
    for (command, body, len) in [
        (101, vec![], 70),
        (104, group("group1", &[]), 70),
        (106, vec![], 17 + 53),
        (102, group("group1", NAME), 69),
        (103, group("group1", NAME), 69),
        (92, group("group2", &[]), 517),
        (92, group("group1", &[]), 2 * 517),
    ] {
        let (status, answer) = client.command(command, &[&body]);
        // Of several servers there may be more than one.
        let records = answer.len().saturating_sub(len);
        let right = status == 0 && (records == 0 || command == 106 && records % 53 == 0);
        assert!(right, "{command}: {status}, {} bytes instead of {len}", answer.len());
    }
    let (_, parameters) = client.command(75, &[]);
    let parameters = String::from_utf8(parameters).unwrap();
    assert!(parameters.contains("response_ip_addr_size=46\n"), "{parameters}");
    assert!(parameters.len() < 1024, "readers have no room for more");
}

#[test]
fn storages_with_ids_of_both_families_are_told_to_clients() {
    let dir = Dir::new("ids");
    let ids = "100001 group1 [10.7.0.11,2001:db8::11]:23000\n100002 group1 127.7.0.12 rw=read\n";
    std::fs::write(dir.0.join("storage_ids.conf"), ids).unwrap();
    let tracker = Tracker::start(&configure(&dir.0, &[("use_storage_id", "true")]));
    let mut client = tracker.connect("127.7.0.12");
    let asked = |answer: (u8, Vec<u8>)| (answer.0, String::from_utf8_lossy(&answer.1).into_owned());
    let (status, table) = client.command(69, &[&[0, 0, 0, 0, 0]]);
    assert_eq!((status, &table[..8]), (0, &[0, 0, 0, 2, 0, 0, 0, 2][..]));
    assert_eq!(
        String::from_utf8_lossy(&table[8..]),
        "100001 group1 [10.7.0.11,2001:db8::11]:23000\n100002 group1 127.7.0.12:23000 rw=read\n"
    );
    let (status, rest) = client.command(69, &[&[0, 0, 0, 1, 0]]);
    assert_eq!((status, &rest[..8]), (0, &[0, 0, 0, 2, 0, 0, 0, 1][..]));
    assert_eq!(client.command(69, &[&[0, 0, 0, 2, 0]]).0, 22, "there is no third");
    for (command, body, want) in [
        (70, group("group1", b"10.7.0.11:23000"), (0, "100001")),
        (70, group("group1", b"[2001:db8::11]:23000"), (0, "100001")),
        (70, group("group1", b"10.7.0.11:1"), (2, "")),
        (70, group("group2", b"10.7.0.11:23000"), (2, "")),
        (109, vec![0, 0, 0x59, 0xd8], (0, "group1\0\0\0\0\0\0\0\0\0\0")),
        (109, b"10.7.0.11\0\0\x59\xd8".to_vec(), (0, "group1\0\0\0\0\0\0\0\0\0\0")),
        (109, vec![0, 0, 0, 1], (2, "")),
        (109, vec![0], (22, "")),
        (60, [&text("group1", 17)[..], &[0, 0, 0x59, 0xd8]].concat(), (0, "127.7.0.12")),
        (78, vec![0; 108], (95, "")),
    ] {
        let got = asked(client.command(command, &[&body]));
        assert_eq!(got, (want.0, want.1.to_owned()), "{command} {body:?}");
    }
    // Whoever is not in the table is told what it comes from.
    let mut other = tracker.connect("127.7.0.11");
    let own = [&text("group1", 17)[..], &[0, 0, 0x59, 0xd8]].concat();
    assert_eq!(asked(other.command(60, &[&own])), (0, "127.7.0.11".to_owned()));
}
