//! What peers send: the reference's own conversations replayed, and every operation twice.

use std::{collections::BTreeMap, fs, path::Path};

use super::{cluster::*, records};

const RECORDED: &str = include_str!("../data/golden/storage_storage_cmds.hex");

/// Where ours is better on purpose: command, the status and the length of our answer.
const BETTER: &[(u8, u8, usize)] = &[
    // A renaming is answered without an echo of the request (sync.md 6.9).
    (40, 0, 0),
];

struct Exchange {
    name: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

fn exchanges() -> Vec<Exchange> {
    let mut all: Vec<Exchange> = Vec::new();
    for line in RECORDED.lines() {
        if let Some((name, _)) = line.strip_prefix("# cmd").and_then(|line| line.split_once(": ")) {
            let name = format!("cmd{name}");
            all.push(Exchange { name, request: Vec::new(), answer: Vec::new() });
        } else if let (Some(last), Some((way, hex))) = (all.last_mut(), line.split_once(' ')) {
            let bytes =
                (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16));
            match way {
                ">" => last.request.extend(bytes.map(|byte| byte.expect("the file holds hex"))),
                "<" => last.answer.extend(bytes.map(|byte| byte.expect("the file holds hex"))),
                _ => {}
            }
        }
    }
    // Of long contents only the start was recorded; any other bytes do as well.
    for exchange in &mut all {
        let len = u64::from_be_bytes(exchange.request[..8].try_into().unwrap());
        exchange.request.resize(usize::try_from(len).unwrap() + 10, b'x');
    }
    all
}

/// The same place of a name in a request, for requests that have one name.
fn name_at(request: &[u8]) -> String {
    let at = request.windows(4).position(|w| w.starts_with(b"M00/")).expect("a name");
    let rest = &request[at..];
    let len = match request[8] {
        17 => rest.len(),
        _ => usize::try_from(u64::from_be_bytes(request[10..18].try_into().unwrap())).unwrap(),
    };
    String::from_utf8_lossy(&rest[..len]).into_owned()
}

/// Makes what the recorded receiver had before: it was uploaded to it, or sent earlier.
fn prepare(base: &Path, exchange: &Exchange) {
    let (command, status) = (exchange.request[8], exchange.answer[9]);
    let number = |at: usize| u64::from_be_bytes(exchange.request[at..at + 8].try_into().unwrap());
    let len = match (command, status) {
        (17, 0) => 1,
        (25 | 37, 0) => number(18),
        (35, 0) => number(18) + number(26),
        _ => return,
    };
    let path = on_disk(base, &name_at(&exchange.request));
    if !path.exists() || (command != 17 && fs::metadata(&path).unwrap().len() != len) {
        fs::write(&path, vec![b'y'; usize::try_from(len).unwrap()]).unwrap();
        // As old as the recording: of metadata, members keep the later.
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
    }
}

#[test]
fn peers_are_answered_as_the_reference_answers_them() {
    let tracker = Tracker::start("10.77.0.11");
    let dirs = [Dir::new(), Dir::new()];
    let storages = [&dirs[0], &dirs[1]].map(|dir| Storage::start(&dir.0, &tracker, ""));
    for dir in &dirs {
        fs::create_dir_all(dir.0.join("data/00/00")).unwrap();
    }
    let mut compared = BTreeMap::<u8, usize>::new();
    for exchange in exchanges() {
        // The name says who sent it; the other one received.
        let receiver = usize::from(exchange.name.contains("_11_"));
        prepare(&dirs[receiver].0, &exchange);
        let Exchange { name, request, answer } = exchange;
        let mut peer = storages[receiver].connect();
        peer.send(request[8], request[9], &request[10..]);
        let (status, body) = peer.answer();
        *compared.entry(request[8]).or_default() += 1;
        let better = BETTER.iter().any(|better| *better == (request[8], status, body.len()));
        assert_eq!(status, answer[9], "{name}");
        assert!(better || body == answer[10..], "{name}");
    }
    assert_eq!(compared.values().sum::<usize>(), 74);
    assert_eq!(compared.into_keys().collect::<Vec<u8>>(), [9, 16, 17, 18, 25, 35, 37, 40]);
    for dir in &dirs {
        let letters = records(&dir.0).into_iter().map(|(letter, _)| letter);
        assert!(letters.into_iter().all(|letter| letter.chars().all(char::is_lowercase)));
    }
}

const AT: u32 = 1_700_000_000;
const APPENDER: &str = "M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";
const NORMAL: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
const LINK: &str = "M00/00/00/wKgBaWVT8QCAEjRXAAAADcRYHyQ483.txt";

/// A request with numbers first, then time, group and names.
fn request(numbers: &[u64], names: &[&str], content: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    body.extend(AT.to_be_bytes());
    body.extend(padded("group1", 16));
    names.iter().for_each(|name| body.extend(name.as_bytes()));
    body.extend(content);
    body
}

fn len(name: &str) -> u64 {
    name.len() as u64
}

/// Operations in order: command, body, the first answer and every later one.
fn operations() -> Vec<(u8, Vec<u8>, u8, u8)> {
    let (name, other) = (APPENDER, NORMAL);
    vec![
        (16, request(&[len(name), 5], &[name], b"01234"), 0, 17),
        (25, request(&[len(name), 5, 5], &[name], b"56789"), 0, 17),
        (35, request(&[len(name), 2, 3], &[name], b"abc"), 0, 0),
        (37, request(&[len(name), 10, 7], &[name], b""), 0, 17),
        (18, request(&[len(name), 4], &[name], b"over"), 0, 0),
        (40, request(&[len(other), len(name)], &[other, name], b""), 0, 17),
        (19, request(&[len(LINK), len(other)], &[LINK, other], b""), 0, 0),
        (17, [&AT.to_be_bytes()[..], &padded("group1", 16), LINK.as_bytes()].concat(), 0, 2),
    ]
}

/// Names, kinds and contents of the stored files.
fn files(base: &Path) -> Vec<(String, bool, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(base.join("data/00/00"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, path.is_symlink(), fs::read(&path).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn what_comes_twice_happens_once_also_when_the_receiver_dies_between() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let mut storage = Storage::start(&dir.0, &tracker, "");
    for (command, body, first, later) in operations() {
        let (status, answer) = storage.connect().ask(command, &body);
        assert_eq!((status, answer.len()), (first, 0), "command {command}");
        let once = files(&dir.0);
        for _ in 0..2 {
            assert_eq!(storage.connect().ask(command, &body).0, later, "command {command} again");
            assert_eq!(files(&dir.0), once, "command {command} again");
        }
        storage.kill();
        storage = Storage::start(&dir.0, &tracker, "");
        assert_eq!(files(&dir.0), once, "command {command} after a death");
        assert_eq!(storage.connect().ask(command, &body).0, later, "command {command} at last");
    }
    let text = fs::read_to_string(dir.0.join("data/sync/binlog.000")).unwrap();
    for line in [
        format!("{AT} c {APPENDER}\n"),
        format!("{AT} a {APPENDER} 5 5\n"),
        format!("{AT} m {APPENDER} 2 3\n"),
        format!("{AT} t {APPENDER} 10 7\n"),
        format!("{AT} u {APPENDER}\n"),
        format!("{AT} r {NORMAL} {APPENDER}\n"),
        format!("{AT} l {LINK} {NORMAL}\n"),
        format!("{AT} d {LINK}\n"),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    let stored = fs::metadata(on_disk(&dir.0, NORMAL)).unwrap();
    let secs = stored.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(secs, u64::from(AT), "the time is that of the source");
}

#[test]
fn what_does_not_fit_is_answered_so_that_the_sender_knows_what_to_do() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "");
    let mut peer = storage.connect();
    let part = |command, offset: u64, content: &[u8]| {
        let numbers = [len(APPENDER), offset, content.len() as u64];
        (command, request(&numbers, &[APPENDER], content))
    };
    let ask = |peer: &mut Client, (command, body): (u8, Vec<u8>)| peer.ask(command, &body).0;
    for command in [25, 35, 37] {
        assert_eq!(ask(&mut peer, part(command, 0, if command == 37 { b"" } else { b"x" })), 2);
    }
    assert_eq!(peer.ask(16, &request(&[len(APPENDER), 5], &[APPENDER], b"01234")).0, 0);
    for (command, offset, content, status) in [
        (25, 6, &b"x"[..], 2), // a gap
        (25, 4, b"xy", 2),     // half of it is there
        (25, 3, b"34", 17),
        (35, 6, b"x", 2),
        (35, 5, b"x", 0),
        (37, 9, b"", 17),
    ] {
        assert_eq!(ask(&mut peer, part(command, offset, content)), status, "{command} {offset}");
    }
    // Another size: replaced. No content: recorded, nothing else.
    assert_eq!(peer.ask(16, &request(&[len(APPENDER), 3], &[APPENDER], b"new")).0, 0);
    peer.send(16, 17, &request(&[len(NORMAL), 99], &[NORMAL], b""));
    assert_eq!(peer.answer().0, 17);
    assert!(!on_disk(&dir.0, NORMAL).exists());
    assert_eq!(fs::read(on_disk(&dir.0, APPENDER)).unwrap(), b"new");
    for (command, body) in [
        (9, vec![0; 16]),
        (9, vec![b'1'; 15]),
        (16, request(&[3, 0], &["M00"], b"")),
        (17, vec![0; 20]),
        (19, request(&[len(NORMAL), 200], &[NORMAL, NORMAL], b"")),
    ] {
        assert_eq!(storage.connect().ask(command, &body), (22, vec![]), "{command}");
    }
}

/// A deletion by one member arrives before the creation by another: in whatever order the
/// reference's third member hears of them, it keeps the file for ever.
#[test]
fn delete_overtakes_create() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let mut storage = Storage::start(&dir.0, &tracker, "");
    let deletion =
        |name: &str| [&AT.to_be_bytes()[..], &padded("group1", 16), name.as_bytes()].concat();
    let metadata = format!("{LINK}-m");
    for name in [NORMAL, APPENDER, &metadata] {
        assert_eq!(storage.connect().ask(17, &deletion(name)).0, 2, "{name} never was here");
        for round in 0..3 {
            for command in [16, 18] {
                let late = request(&[len(name), 4], &[name], b"late");
                assert_eq!(storage.connect().ask(command, &late).0, 0, "{name}: it need not wait");
                assert!(!on_disk(&dir.0, name).exists(), "{name} is back, round {round}");
            }
            // Neither a death nor a stop forgets.
            if round == 0 {
                storage.kill();
            } else {
                assert!(storage.stop());
            }
            storage = Storage::start(&dir.0, &tracker, "");
        }
    }
    // Metadata that are set again later are new.
    let mut later = request(&[len(&metadata), 4], &[&metadata], b"more");
    later[16..20].copy_from_slice(&(AT + 1).to_be_bytes());
    assert_eq!(storage.connect().ask(16, &later).0, 0);
    assert_eq!(fs::read(on_disk(&dir.0, &metadata)).unwrap(), b"more");
}

/// The same with a file that was renamed and then deleted under its new name.
#[test]
fn delete_overtakes_rename() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "");
    let mut peer = storage.connect();
    let (old, new) = (APPENDER, NORMAL);
    assert_eq!(peer.ask(16, &request(&[len(old), 5], &[old], b"01234")).0, 0);
    let deletion = [&AT.to_be_bytes()[..], &padded("group1", 16), new.as_bytes()].concat();
    assert_eq!(peer.ask(17, &deletion).0, 2);
    assert_eq!(peer.ask(40, &request(&[len(new), len(old)], &[new, old], b"")).0, 0);
    assert_eq!(files(&dir.0), [], "neither name is left");
}
