//! Settings as an operator sees them: who may connect, the access log and its rotation, two
//! store paths, what is refused at start and with which words.

use std::{fs, path::Path, process::Command};

use super::cluster::*;

/// Starts a storage that is expected to refuse: its exit code and what it says.
fn refused(base: &Path, tracker: &Tracker, more: &str, option: &str) -> (i32, String) {
    let conf = base.join("storage.conf");
    let text = format!(
        "group_name = group1\nbind_addr = 127.0.0.1\nport = 0\nbase_path = {}\n\
         tracker_server = {}\n{more}\n",
        base.display(),
        tracker.at
    );
    fs::write(&conf, text).unwrap();
    let out =
        Command::new(env!("CARGO_BIN_EXE_fdfs_storaged")).arg(&conf).arg(option).output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    (out.status.code().unwrap(), said)
}

#[test]
fn only_hosts_of_the_list_may_connect() {
    let tracker = Tracker::start("10.77.0.11");
    for (lines, served) in [
        ("allow_hosts = 127.0.0.[2-9]\nallow_hosts = 10.0.0.0/24", false),
        ("allow_hosts = 127.0.0.0/24", true),
        ("allow_hosts = 10.1.2.3\nallow_hosts = 127.0.0.[1,5]", true),
        ("allow_hosts = *", true),
    ] {
        let dir = Dir::new();
        let storage = Storage::start(&dir.0, &tracker, lines);
        let mut client = storage.connect();
        if served {
            assert_eq!(client.ask(111, b""), (0, vec![]), "{lines}");
        } else {
            assert!(client.is_closed(), "{lines}");
        }
    }
}

#[test]
fn requests_are_noted_and_the_log_begins_anew_on_hup() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let more = "[access-log]\nenabled = true\nsync_log_buff_interval = 10ms";
    let storage = Storage::start(&dir.0, &tracker, more);
    let mut client = storage.connect();
    let name = client.upload("txt", b"hello");
    client.download(&name, 0, 0);
    client.ask(22, &named(&name));
    client.ask(15, &named(&name));
    client.ask(111, b"");
    assert_eq!(client.ask(12, &named(&name)).0, 0);
    client.ask(12, b"x");
    let logs = dir.0.join("logs");
    let path = logs.join("storage_access.log");
    let lines = || fs::read_to_string(&path).unwrap_or_default().lines().count();
    eventually("all lines are written", || lines() == 7);
    let text = fs::read_to_string(&path).unwrap();
    let without_time = text.lines().map(|line| line.split_once("] ").unwrap().1);
    let mut words: Vec<Vec<&str>> = without_time.map(|line| line.split(' ').collect()).collect();
    let head = "client_ip action filename status time_used_ms req_len resp_len";
    assert_eq!(words.remove(0).join(" "), head);
    let seen: Vec<_> = words.iter().map(|w| [w[0], w[1], w[2], w[3], w[5], w[6]]).collect();
    let (request, answer) = ("30", "70");
    let ip = "127.0.0.1";
    assert_eq!(seen[0], [ip, "upload", &name, "0", request, answer]);
    assert_eq!(seen[1], [ip, "download", &name, "0", "86", "15"]);
    assert_eq!(seen[2], [ip, "status", &name, "0", "70", "50"]);
    assert_eq!(seen[3], [ip, "get_metadata", &name, "2", "70", "10"]);
    assert_eq!(seen[4], [ip, "delete", &name, "0", "70", "10"]);
    assert_eq!(seen[5], [ip, "delete", "-", "22", "11", "10"]);

    storage.signal("HUP");
    eventually("the old file has another name", || {
        let names = fs::read_dir(&logs).unwrap().flatten().map(|e| e.file_name());
        names.filter(|n| n.to_string_lossy().starts_with("storage_access.log.")).count() == 1
    });
    storage.connect().upload("", b"");
    eventually("the new file has its head and one line", || lines() == 2);
    storage.signal("USR1");
    assert_eq!(storage.connect().ask(111, b""), (0, vec![]), "USR1 changes nothing");
    assert!(storage.stop());
}

#[test]
fn metrics_are_shown_on_an_address_of_this_machine() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let log = fs::File::create(dir.0.join("log")).unwrap();
    let more = "metrics_listen = 127.0.0.1:0\nlog_level = info";
    let storage = Storage::start_with(&dir.0, &tracker, more, log.into());
    let mut client = storage.connect();
    let name = client.upload("bin", &content(1, 100_000));
    let path = on_disk(&dir.0, &name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[70_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    client.send(14, 0, &[[0; 16].to_vec(), named(&name)].concat());
    assert!(client.answer_or_end().is_none(), "not served");
    let text = fs::read_to_string(dir.0.join("log")).unwrap();
    let (_, rest) = text.split_once("metrics at http://").expect("it says where");
    let at = rest.split('/').next().unwrap();
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let page = std::io::read_to_string(stream).unwrap();
    for line in [
        "fdfs_storage_operations_total{op=\"upload\",outcome=\"ok\"} 1",
        "fdfs_storage_operations_total{op=\"download\",outcome=\"failed\"} 1",
        "fdfs_storage_bytes_total{op=\"upload\",outcome=\"ok\"} 100000",
        "fdfs_storage_damage_total{kind=\"found\"} 1",
        "fdfs_storage_path_takes{path=\"M00\",kind=\"uploads\"} 1",
        "fdfs_storage_connections{state=\"open\"} 1",
    ] {
        assert!(page.lines().any(|known| known == line), "{line} in\n{page}");
    }
}

#[test]
fn files_are_spread_over_the_store_paths_and_found_again() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let (a, b, c) = (dir.0.join("a"), dir.0.join("b"), dir.0.join("c"));
    for path in [&a, &b, &c] {
        fs::create_dir(path).unwrap();
    }
    let more = format!(
        "store_path_count = 3\nstore_path0 = {}\nstore_path1 = {}\nstore_path2 = {}\n\
         store_path1_readonly = true",
        a.display(),
        b.display(),
        c.display()
    );
    let storage = Storage::start(&dir.0, &tracker, &more);
    let mut client = storage.connect();
    let content = content(1, 100_000);
    let names: Vec<String> = (0..4).map(|_| client.upload("bin", &content)).collect();
    let paths: Vec<&str> = names.iter().map(|name| &name[..3]).collect();
    assert!(paths.contains(&"M00") && paths.contains(&"M02"), "{paths:?}");
    assert!(!paths.contains(&"M01"), "{paths:?} is read-only");
    for name in &names {
        let root = if name.starts_with("M00") { &a } else { &c };
        assert!(root.join("data").join(&name[4..]).exists());
        assert!(root.join("sums").join(&name[4..]).exists());
        assert_eq!(client.download(name, 0, 0), (0, content.clone()));
    }
    let mut wanted = upload_head("bin", 3);
    wanted[0] = 1;
    let (status, body) = client.ask(11, &[&wanted[..], b"abc"].concat());
    assert_eq!((status, &stored(&body)[..2]), (0, "M0"), "another path is chosen");
    wanted[0] = 3;
    assert_eq!(client.ask(11, &[&wanted[..], b"abc"].concat()).0, 22, "there is no such path");
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_do() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    for (more, code, part) in [
        ("run_by_user = nobody-of-this-name", 1, "there is no such user"),
        ("subdir_count_per_path = 257", 22, "subdir_count_per_path must be 1 to 256"),
        ("heart_beat_interval = soon", 22, "line 6: heart_beat_interval = soon"),
        ("allow_hosts = 10.0.0.0/33", 22, "must be a network address and /10 to /31"),
        ("[access-log]\nenabled = 1\ntime_precision = days", 22, "must be ms or us"),
        ("log_file_rotate_on_size = big", 22, "log_file_rotate_on_size = big"),
    ] {
        let (exit, said) = refused(&dir.0, &tracker, more, "--foreground");
        assert_eq!(exit, code, "{more}: {said}");
        assert!(said.contains(part), "{more}: {said}");
    }
    let trunk = Tracker::start_with("10.77.0.11", "use_trunk_file=1\n");
    let (exit, said) = refused(&dir.0, &trunk, "", "--foreground");
    assert_ne!(exit, 0);
    assert!(said.contains("the trackers ask for trunk files (use_trunk_file"), "{said}");
    let (exit, said) = refused(&dir.0, &tracker, "frobnicate = 1", "--check-config");
    assert_eq!((exit, said.contains("the configuration is good")), (0, true), "{said}");
    let own = fs::metadata(&dir.0).map(|facts| std::os::unix::fs::MetadataExt::uid(&facts));
    let as_self = format!("run_by_user = {}", own.unwrap());
    let storage = Storage::start(&dir.0, &tracker, &as_self);
    assert_eq!(storage.connect().ask(111, b""), (0, vec![]));
}
