//! A real `fdfs_storaged` beside a scripted tracker: the whole way from socket to disk.

#![expect(clippy::disallowed_methods, reason = "tests keep their own time and write plain files")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cluster;
mod damage; // changed bytes are never served, all of them found

mod settings; // as an operator sees them

mod recorded; // the reference's own conversations, replayed
mod replication; // what peers send

use std::{fs, io::Write as _, path::Path};

use cluster::*;

fn start() -> (Dir, Tracker, Storage) {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "");
    (dir, tracker, storage)
}

fn binlog(base: &Path) -> String {
    fs::read_to_string(base.join("data/sync/binlog.000")).unwrap()
}

/// Letters and names of the records, in order.
fn records(base: &Path) -> Vec<(String, String)> {
    let text = binlog(base);
    let words = text.lines().map(|line| line.split(' ').skip(1).map(str::to_owned));
    words.map(|mut w| (w.next().unwrap(), w.next().unwrap())).collect()
}

fn temporaries(base: &Path) -> usize {
    fs::read_dir(base.join("data/.tmp")).unwrap().count()
}

#[test]
fn a_file_is_stored_found_and_deleted() {
    let (dir, _tracker, storage) = start();
    let mut client = storage.connect();
    let content = content(1, 300_000);
    let name = client.upload("txt", &content);
    assert_eq!(fs::read(on_disk(&dir.0, &name)).unwrap(), content);
    assert_eq!(client.download(&name, 0, 0), (0, content.clone()));
    for (offset, bytes, range) in [
        (1, 1, 1..2),
        (0, 300_000, 0..300_000),
        (5, 200_000, 5..200_005),
        (299_999, 0, 299_999..300_000),
        (299_990, 500, 299_990..300_000),
    ] {
        let (status, got) = client.download(&name, offset, bytes);
        assert_eq!((status, got == content[range]), (0, true), "{offset} {bytes}");
    }
    assert_eq!(client.ask(12, &named(&name)), (0, vec![]));
    assert_eq!(client.ask(12, &named(&name)), (2, vec![]), "deleted once");
    assert_eq!(client.download(&name, 0, 0), (2, vec![]));
    assert!(!on_disk(&dir.0, &name).exists());
    assert_eq!(records(&dir.0), [("C".into(), name.clone()), ("D".into(), name)]);
}

#[test]
fn an_empty_file_can_be_downloaded() {
    let (_dir, _tracker, storage) = start();
    let mut client = storage.connect();
    let name = client.upload("", b"");
    assert_eq!(client.download(&name, 0, 0), (0, vec![]));
    assert_eq!(client.download(&name, 1, 0).0, 22);
    assert!(client.is_closed(), "EINVAL closes");
}

/// Times that a peer compares: what is deleted is not older than its deletion, what comes after
/// one is younger, also when all of it happens within one second.
#[test]
fn changes_of_one_name_within_a_second_carry_times_in_their_order() {
    let (dir, _tracker, storage) = start();
    let mut client = storage.connect();
    let master = client.upload("jpg", b"master");
    let set = |client: &mut Client, name: &str, pairs: &[u8]| {
        let mut body = (name.len() as u64).to_be_bytes().to_vec();
        body.extend((pairs.len() as u64).to_be_bytes());
        body.extend([b"O", &named(name)[..], pairs].concat());
        assert_eq!(client.ask(13, &body).0, 0);
    };
    let mut slave = (master.len() as u64).to_be_bytes().to_vec();
    slave.extend(5u64.to_be_bytes());
    slave.extend([padded("_small", 16), padded("jpg", 6), master.as_bytes().to_vec()].concat());
    slave.extend(b"slave");
    let small = master.replace(".jpg", "_small.jpg");
    for _ in 0..3 {
        assert_eq!(client.ask(21, &slave).0, 0);
        for pairs in [&b"a\x021"[..], b"a\x022", b"a\x023"] {
            set(&mut client, &small, pairs);
        }
        assert_eq!(client.ask(12, &named(&small)).0, 0);
    }
    let text = binlog(&dir.0);
    for name in [small.clone(), format!("{small}-m")] {
        let mut deleted = 0;
        let mut last = 0;
        let mut records = 0;
        for line in text.lines() {
            let [at, act, of] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            if of != name {
                continue;
            }
            let at: u64 = at.parse().unwrap();
            match act {
                "D" => {
                    assert!(last <= at, "{line} is before what it deletes, of {last}");
                    deleted = at;
                }
                _ => assert!(deleted < at, "{line} counts as deleted at {deleted}"),
            }
            (last, records) = (at, records + 1);
        }
        assert!(6 <= records, "{name}: {text}");
    }
    assert!(storage.stop());
}

#[test]
fn metadata_and_slaves_lie_beside_their_file() {
    let (dir, _tracker, storage) = start();
    let mut client = storage.connect();
    let name = client.upload("jpg", b"master");
    let set = |client: &mut Client, flag: u8, pairs: &[u8]| {
        let mut body = (name.len() as u64).to_be_bytes().to_vec();
        body.extend((pairs.len() as u64).to_be_bytes());
        body.push(flag);
        body.extend(named(&name));
        body.extend(pairs);
        client.ask(13, &body)
    };
    assert_eq!(client.ask(15, &named(&name)).0, 2);
    assert_eq!(set(&mut client, b'O', b"b\x022\x01a\x021").0, 0);
    assert_eq!(client.ask(15, &named(&name)), (0, b"a\x021\x01b\x022".to_vec()));
    assert_eq!(set(&mut client, b'M', b"b\x023").0, 0);
    assert_eq!(client.ask(15, &named(&name)), (0, b"a\x021\x01b\x023".to_vec()));

    let mut slave = (name.len() as u64).to_be_bytes().to_vec();
    slave.extend(5u64.to_be_bytes());
    slave.extend([padded("_small", 16), padded("jpg", 6), name.as_bytes().to_vec()].concat());
    slave.extend(b"slave");
    let (status, body) = client.ask(21, &slave);
    let slave_name = name.replace(".jpg", "_small.jpg");
    assert_eq!((status, stored(&body)), (0, slave_name.clone()));
    assert_eq!(client.ask(21, &slave).0, 17, "a slave is stored once");
    assert_eq!(client.download(&slave_name, 0, 0), (0, b"slave".to_vec()));

    assert_eq!(client.ask(12, &named(&name)).0, 0);
    let letters: String = records(&dir.0).into_iter().map(|(letter, _)| letter).collect();
    assert_eq!(letters, "CCUCDD", "file, metadata twice, slave, file and metadata gone");
    assert_eq!(client.download(&slave_name, 0, 0).0, 0, "the slave stays");
}

#[test]
fn several_requests_may_be_under_way() {
    let (_dir, _tracker, storage) = start();
    let mut client = storage.connect();
    for seed in 0..50 {
        let content = content(seed, 100 + seed as usize);
        client.send(11, 0, &[&upload_head("bin", content.len())[..], &content].concat());
        client.send(111, 0, &[]);
    }
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let (status, body) = client.answer();
        assert_eq!(status, 0);
        assert!(names.insert(stored(&body)), "a name is given once");
        assert_eq!(client.answer(), (0, vec![]));
    }
}

#[test]
fn refusals_come_early_and_never_confuse_content_with_a_request() {
    let (dir, _tracker, storage) = start();
    let mut client = storage.connect();
    // A slave of a file that is not there, with content that looks like requests.
    let master = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
    let fake = [0, 0, 0, 0, 0, 0, 0, 0, 111, 0].repeat(1000);
    let mut slave = (master.len() as u64).to_be_bytes().to_vec();
    slave.extend((fake.len() as u64).to_be_bytes());
    slave.extend([padded("_x", 16), padded("jpg", 6), master.as_bytes().to_vec(), fake].concat());
    assert_eq!(client.ask(21, &slave), (2, vec![]));
    assert_eq!(client.ask(111, &[]), (0, vec![]), "the connection goes on");

    for (command, body) in [(200, vec![]), (101, vec![]), (111, vec![1]), (11, vec![0; 3])] {
        let mut client = storage.connect();
        assert_eq!(client.ask(command, &body), (22, vec![]), "{command}");
        assert!(client.is_closed(), "{command}");
    }
    let mut client = storage.connect();
    client.stream.write_all(&[0xff; 10]).unwrap();
    assert!(client.is_closed(), "a negative length is not answered");

    // An upload that ends early leaves nothing.
    let mut client = storage.connect();
    let mut begun = ((15 + (1 << 20)) as u64).to_be_bytes().to_vec();
    begun.extend([11, 0]);
    begun.extend(upload_head("bin", 1 << 20));
    begun.extend(content(3, 600_000));
    client.stream.write_all(&begun).unwrap();
    eventually("the upload has begun", || temporaries(&dir.0) == 1);
    drop(client);
    eventually("the temporary file is gone", || temporaries(&dir.0) == 0);
    assert_eq!(binlog(&dir.0), "");
}

#[test]
fn acknowledged_files_survive_kill_9() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..20u64 {
        let storage = Storage::start(&dir.0, &tracker, "");
        let mut client = storage.connect();
        if let Some((name, content)) = kept.last() {
            assert_eq!(client.download(name, 0, 0), (0, content.clone()), "round {round}");
        }
        // Beside the one that is answered, one that is under way when the process dies.
        let mut other = storage.connect();
        other.stream.write_all(&(1_000_015u64).to_be_bytes()).unwrap();
        other.stream.write_all(&[11, 0]).unwrap();
        other.stream.write_all(&upload_head("bin", 1_000_000)).unwrap();
        other.stream.write_all(&content(round, 500_000)).unwrap();
        let bytes = content(round + 100, [0, 1, 70_000, 1_500_000][round as usize % 4]);
        let name = client.upload("bin", &bytes);
        storage.kill();
        kept.push((name, bytes));
    }
    let storage = Storage::start(&dir.0, &tracker, "");
    assert_eq!(temporaries(&dir.0), 0, "swept");
    let mut client = storage.connect();
    for (name, bytes) in &kept {
        let (status, got) = client.download(name, 0, 0);
        assert!(status == 0 && got == *bytes, "{name}");
    }
    let recorded: Vec<String> = records(&dir.0).into_iter().map(|(_, name)| name).collect();
    let names: Vec<String> = kept.into_iter().map(|(name, _)| name).collect();
    assert_eq!(recorded, names, "every answer is in the binlog, once");
}

#[test]
fn a_large_upload_does_not_take_memory() {
    const SIZE: usize = 1 << 30;
    let (dir, _tracker, storage) = start();
    let mut client = storage.connect();
    client.upload("bin", &content(1, 2_000_000));
    let before = storage.peak_memory();
    let mut head = ((15 + SIZE) as u64).to_be_bytes().to_vec();
    head.extend([11, 0]);
    head.extend(upload_head("bin", SIZE));
    client.stream.write_all(&head).unwrap();
    let piece = vec![0; 1 << 20];
    for _ in 0..SIZE / piece.len() {
        client.stream.write_all(&piece).unwrap();
    }
    let (status, body) = client.answer();
    assert_eq!(status, 0);
    let name = stored(&body);
    assert_eq!(fs::metadata(on_disk(&dir.0, &name)).unwrap().len(), SIZE as u64);
    let (status, tail) = client.download(&name, SIZE as u64 - 10, 0);
    assert_eq!((status, tail), (0, vec![0; 10]));
    let grown = storage.peak_memory() - before;
    assert!(grown <= 16 << 20, "peak memory grew by {} KiB", grown / 1024);
}

#[test]
fn a_storage_joins_reports_and_stops() {
    let (dir, tracker, storage) = start();
    for command in [60, 75, 81, 87, 88, 83, 84] {
        eventually(&format!("command {command}"), || 0 < tracker.count(command));
    }
    let mark = fs::read_to_string(dir.0.join("data/.fastdfs_vars")).unwrap();
    let flag = fs::read_to_string(dir.0.join("data/.data_init_flag")).unwrap();
    let mark = mark.trim().strip_prefix("store_path_mark=").unwrap().to_owned();
    assert!(flag.contains(&format!("store_path_mark0={mark}\n")), "{flag}");
    eventually("the initial copy is settled", || {
        let flag = fs::read_to_string(dir.0.join("data/.data_init_flag")).unwrap();
        flag.contains("sync_old_done=1\n") && flag.contains("last_ip_addr=10.77.0.11\n")
    });
    eventually("all directories are there", || dir.0.join("data/03/03").is_dir());
    storage.connect().upload("txt", b"counted");
    assert!(storage.stop(), "it ends in good order");
    let stat = fs::read_to_string(dir.0.join("data/storage_stat.dat")).unwrap();
    assert!(stat.starts_with("total_upload_count=1\nsuccess_upload_count=1\n"), "{stat}");
    assert!(!dir.0.join("data/fdfs_storaged.pid").exists());
    // 87 is asked once in a storage's life.
    let asked = tracker.count(87);
    let storage = Storage::start(&dir.0, &tracker, "");
    let joins = tracker.count(88);
    eventually("it joins again", || joins < tracker.count(88));
    assert_eq!(tracker.count(87), asked);
    drop(storage);
}

#[test]
fn a_lost_tracker_is_noticed_before_the_next_beat() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let rare = "heart_beat_interval = 3600\nstat_report_interval = 3600";
    let storage = Storage::start(&dir.0, &tracker, rare);
    eventually("it joins and reports", || tracker.count(84) == 1);
    tracker.hang_up();
    eventually("it joins again", || tracker.count(81) == 2);
    drop(storage);
}
