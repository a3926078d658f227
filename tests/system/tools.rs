//! The programs people call from scripts: what they print and how they exit, against a real
//! store; and the command line of the daemons.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;

use crate::World;
use crate::support::history::Content;
use crate::support::stack::bin_dir;
use crate::support::wait::eventually;

/// What a program left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(program: &str, args: &[&str]) -> Outcome {
    let done = Command::new(bin_dir().join(program)).args(args).env("TZ", "UTC").output();
    let done = done.unwrap_or_else(|e| panic!("{program}: {e}"));
    Outcome {
        code: done.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// A client.conf for this world beside its daemons, and the directory.
pub(crate) fn client_conf(world: &World) -> (PathBuf, PathBuf) {
    let dir = world.cluster.tracker.dir.parent().expect("it is in the world's").to_owned();
    let conf = dir.join("client.conf");
    let text = format!("tracker_server = {}\n", world.cluster.tracker.address);
    write(&conf, text.as_bytes());
    (conf, dir)
}

#[allow(clippy::disallowed_methods, reason = "a test's own file need not survive power loss")]
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the directory is ours");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("our paths are ASCII")
}

#[test]
fn a_file_goes_in_and_out_by_the_tools() {
    let world = World::start("tools");
    let (conf, dir) = client_conf(&world);
    let conf = text(&conf);
    let bytes = Content { seed: world.seed.0, len: 700_001 }.bytes();
    let (local, back) = (dir.join("photo.jpg"), dir.join("back"));
    write(&local, &bytes);

    let stored = run("fdfs_upload_file", &[conf, text(&local)]);
    assert_eq!((stored.code, stored.err.as_str()), (0, ""), "{stored:?}");
    let id = stored.out.trim_end();
    assert_eq!(stored.out, format!("{id}\n"), "the id and nothing else");
    assert!(id.starts_with("group1/M00/") && id.ends_with(".jpg"), "{id}");

    let silent = Outcome { code: 0, out: String::new(), err: String::new() };
    assert_eq!(run("fdfs_download_file", &[conf, id, text(&back)]), silent);
    assert!(fs::read(&back).expect("it was made") == bytes);
    assert_eq!(run("fdfs_download_file", &[conf, id, text(&back), "100", "50"]), silent);
    assert_eq!(fs::read(&back).expect("it was made"), bytes[100..150]);

    let info = run("fdfs_file_info", &[conf, id]);
    let start = "GET FROM SERVER: false\n\nfile type: normal\nsource storage id: 0\n";
    assert!(info.out.starts_with(start), "{info:?}");
    assert!(info.out.contains("\nfile size: 700001\n"), "{info:?}");

    assert_eq!(run("fdfs_delete_file", &[conf, id]), silent);
    let again = run("fdfs_delete_file", &[conf, id]);
    assert_eq!((again.code, again.err.as_str()), (2, ""));
    assert!(again.out.starts_with("delete file fail, error no: 2, "), "{again:?}");
    let gone = dir.join("gone");
    let missing = run("fdfs_download_file", &[conf, id, text(&gone)]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(!gone.exists() && !dir.join("gone.part").exists());
}

#[test]
fn an_appender_grows_and_becomes_a_normal_file() {
    let world = World::start("appender");
    let (conf, dir) = client_conf(&world);
    let conf = text(&conf);
    let bytes = Content { seed: world.seed.0, len: 300_007 }.bytes();
    let (first, second) = bytes.split_at(200_000);
    let (local, more, back) = (dir.join("day.log"), dir.join("more"), dir.join("back"));
    write(&local, first);
    write(&more, second);
    let silent = Outcome { code: 0, out: String::new(), err: String::new() };

    let stored = run("fdfs_upload_appender", &[conf, text(&local)]);
    let id = stored.out.trim_end();
    assert_eq!((stored.code, format!("{id}\n")), (0, stored.out.clone()), "{stored:?}");
    assert!(id.starts_with("group1/M00/") && id.ends_with(".log"), "{id}");
    assert_eq!(run("fdfs_append_file", &[conf, id, text(&more)]), silent);
    let info = run("fdfs_file_info", &[conf, id]);
    assert!(info.out.starts_with("GET FROM SERVER: true\n\nfile type: appender\n"), "{info:?}");
    assert!(info.out.contains("\nfile size: 300007\n"), "{info:?}");

    let renamed = run("fdfs_regenerate_filename", &[conf, id]);
    let normal = renamed.out.trim_end();
    assert_eq!((renamed.code, renamed.err.as_str()), (0, ""), "{renamed:?}");
    assert_ne!(normal, id);
    assert_eq!(run("fdfs_download_file", &[conf, normal, text(&back)]), silent);
    assert!(fs::read(&back).expect("it was made") == bytes);
    let sum = run("fdfs_crc32", &[text(&back)]);
    assert_eq!((sum.code, sum.err.as_str()), (0, ""), "{sum:?}");
    let info = run("fdfs_file_info", &[conf, normal]);
    let padded = format!("(0x{:0>8})\n", sum.out.trim_end());
    assert!(info.out.contains("\nfile type: normal\n"), "{info:?}");
    assert!(info.out.ends_with(&format!("{padded}\n")), "{info:?} {padded}");

    let gone = run("fdfs_file_info", &[conf, id]);
    assert_eq!(gone.code, 2, "the old id is gone: {gone:?}");
    let refused = run("fdfs_append_file", &[conf, normal, text(&more)]);
    assert_eq!((refused.code, refused.err.as_str()), (22, ""), "a normal file: {refused:?}");
    assert!(refused.out.starts_with("append file fail, error no: 22, "), "{refused:?}");
    let refused = run("fdfs_regenerate_filename", &[conf, normal]);
    assert_eq!((refused.code, refused.out.as_str()), (22, ""), "{refused:?}");
}

#[test]
fn sums_are_printed_as_scripts_know_them() {
    let world = World::start("sums");
    let (_, dir) = client_conf(&world);
    let local = dir.join("summed");
    for (bytes, sum) in [(&b""[..], "0\n"), (b"123456789", "cbf43926\n"), (b"62", "12d20a\n")] {
        write(&local, bytes);
        let printed = run("fdfs_crc32", &[text(&local)]);
        assert_eq!(printed, Outcome { code: 0, out: sum.to_owned(), err: String::new() });
    }
    let missing = run("fdfs_crc32", &["/nonexistent"]);
    assert_eq!((missing.code, missing.err.as_str()), (2, ""), "{missing:?}");
    assert!(missing.out.starts_with("open file /nonexistent fail, errno: 2, "), "{missing:?}");
}

#[test]
fn what_changes_changes_through_the_client() {
    let world = World::start("change");
    let client = world.client(1).client;
    let at = proto::ids::Extension::of_file("x.log");
    world.runtime.block_on(async {
        let piece = Bytes::from_static;
        let id = client.upload_appender(None, at, 8, &mut piece(b"01234567")).await.unwrap();
        client.modify(&id, 2, 3, &mut piece(b"abc")).await.unwrap();
        client.truncate(&id, 6).await.unwrap();
        client.append(&id, 2, &mut piece(b"yz")).await.unwrap();
        let prefix = proto::ids::Prefix::parse("-small").unwrap();
        let jpg = proto::ids::Extension::of_file("x.jpg");
        let master = client.upload(None, jpg, 1, &mut piece(b"m")).await.unwrap();
        let slave = client.upload_slave(&master, prefix, jpg, 2, &mut piece(b"sl")).await.unwrap();
        let stem = master.to_string();
        let stem = stem.strip_suffix(".jpg").unwrap();
        assert_eq!(slave.to_string(), format!("{stem}-small.jpg"));
        for (file, want) in [(&id, &b"01abc5yz"[..]), (&master, b"m"), (&slave, b"sl")] {
            let mut got = Vec::new();
            let mut download = client.download(file, 0, 0).await.unwrap();
            while let Some(chunk) = download.chunk().await.unwrap() {
                got.extend_from_slice(&chunk);
            }
            assert_eq!(got, want, "{file}");
        }
        let again = client.upload_slave(&master, prefix, jpg, 2, &mut piece(b"sl")).await;
        assert_eq!(again.unwrap_err().status().0, 17, "the name is taken");
        let refused = client.append(&master, 1, &mut piece(b"x")).await.unwrap_err();
        assert_eq!(refused.status().0, 22, "a normal file does not grow");
    });
}

#[test]
fn the_stat_programs_show_a_line_for_each_and_a_count() {
    let world = World::start("stat");
    let (conf, _dir) = client_conf(&world);
    let conf = text(&conf);
    let (tracker, storage) = (world.cluster.tracker.address, world.cluster.storages[0].address);
    let ask = |program: &str, option: &str| {
        let outcome = run(program, &["-c", conf, option]);
        assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{program} {option}");
        outcome.out
    };
    let lines = eventually("the storage is shown", Duration::from_secs(30), || {
        let out = ask("fdfs_storage_stat", "-Ad");
        (!out.is_empty()).then_some(out)
    });
    let head = format!("{storage} ACTIVE, connections {{alloc: ");
    assert!(lines.starts_with(&format!("\n{head}")), "{lines}");
    assert!(
        lines.contains("}\n  version: ") && lines.contains(", last_heartbeat_time: "),
        "{lines}"
    );
    assert!(lines.ends_with("\nstorage server count: 1\n\n"), "{lines}");
    assert_eq!(ask("fdfs_storage_stat", "-N"), "");

    // Nobody but the leader knows, and a tracker that has just started leads nobody yet.
    let lines = eventually("the tracker leads", Duration::from_secs(30), || {
        let outcome = run("fdfs_tracker_stat", &["-c", conf, "-L"]);
        assert!([0, 95].contains(&outcome.code), "{outcome:?}");
        (outcome.code == 0).then_some(outcome.out)
    });
    let head = format!("{tracker}, is_leader: 1, is_active: 1, connections {{alloc: ");
    assert!(lines.starts_with(&format!("\n{head}")), "{lines}");
    assert!(lines.ends_with("}\n\ntracker server count: 1\n\n"), "{lines}");
    assert_eq!(ask("fdfs_tracker_stat", "-F"), "");

    let lines = ask("fdfs_volumn_stat", "-A");
    assert!(lines.starts_with("\ngroup1 disk_available: 1, disk space {total: "), "{lines}");
    assert!(lines.ends_with("%}\n\nstorage volumn / group count: 1\n\n"), "{lines}");
    assert_eq!(ask("fdfs_volumn_stat", "-N"), "");

    for program in ["fdfs_tracker_stat", "fdfs_storage_stat", "fdfs_volumn_stat"] {
        assert_eq!(run(program, &["-h"]).code, 0);
        assert_eq!(run(program, &["-x"]).code, 1);
        assert_eq!(run(program, &["-c", "/nonexistent"]).code, 2);
    }
}

#[test]
fn failures_exit_with_their_errno() {
    let world = World::start("errno");
    let (conf, dir) = client_conf(&world);
    let conf = text(&conf);
    let nobody = dir.join("nobody.conf");
    write(&nobody, b"tracker_server = 127.0.0.1:1\nconnect_timeout = 2\n");
    let local = dir.join("file");
    write(&local, b"x");
    let id = "group1/M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";
    for (program, args, code) in [
        ("fdfs_upload_file", vec![], 1),
        ("fdfs_upload_file", vec![conf], 1),
        ("fdfs_upload_file", vec![conf, "/nonexistent"], 2),
        ("fdfs_upload_file", vec!["/nonexistent", text(&local)], 2),
        ("fdfs_upload_file", vec![text(&nobody), text(&local)], 111),
        ("fdfs_download_file", vec![conf, "no id"], 22),
        ("fdfs_download_file", vec![conf, id, "x", "-1", "0"], 22),
        ("fdfs_download_file", vec![text(&nobody), id], 111),
        ("fdfs_delete_file", vec![conf], 1),
        ("fdfs_file_info", vec!["-x", conf, id], 1),
        ("fdfs_file_info", vec![conf, id], 2),
        ("fdfs_upload_appender", vec![conf], 1),
        ("fdfs_upload_appender", vec![conf, "/nonexistent"], 2),
        ("fdfs_append_file", vec![conf, id], 1),
        ("fdfs_append_file", vec![conf, id, "/nonexistent"], 2),
        ("fdfs_append_file", vec![conf, "no id", text(&local)], 22),
        ("fdfs_regenerate_filename", vec![conf], 1),
        ("fdfs_regenerate_filename", vec![conf, id], 2),
        ("fdfs_crc32", vec![], 1),
        ("fdfs_tracker_stat", vec!["-c", text(&nobody)], 111),
        ("fdfs_monitor", vec![text(&nobody)], 111),
        ("fdfs_monitor", vec!["-h"], 0),
        ("fdfs_monitor", vec![conf, "-h", "127.0.0.9:1"], 2),
        ("fdfs_monitor", vec![conf, "delete", "group1", "127.0.0.1"], 16),
        ("fdfs_monitor", vec![conf, "frobnicate"], 1),
    ] {
        let outcome = run(program, &args);
        assert_eq!(outcome.code, code, "{program} {args:?}: {outcome:?}");
        assert!(code == 0 || !(outcome.err.is_empty() && outcome.out.is_empty()), "it says why");
    }
}

#[test]
fn the_monitor_lists_groups_and_storages() {
    let world = World::start("monitor");
    let (conf, _dir) = client_conf(&world);
    let tracker = world.cluster.tracker.address;
    let storage = world.cluster.storages[0].address;
    let report = eventually("the storage is shown", Duration::from_secs(30), || {
        let list = run("fdfs_monitor", &[text(&conf), "list"]);
        (list.code == 0 && list.out.contains("ACTIVE")).then_some(list.out)
    });
    let head = format!(
        "tracker server count=1, current server index=0\n\n\
         tracker server is {tracker}\n\ngroup count: 1\n\nGroup 1:\ngroup name = group1\n"
    );
    assert!(report.starts_with(&head), "{report}");
    assert!(report.contains(&format!("\t\thost = {storage}  ACTIVE\n")), "{report}");
    // Group: 13 lines; storage: a title and 61 labels (tools.md 3.1).
    let labels = report.lines().filter(|line| line.starts_with("\t\t")).count();
    assert_eq!(labels, 61, "{report}");
}

#[test]
fn a_daemon_goes_to_the_background_and_comes_back_by_its_command_line() {
    let world = World::start("command-line");
    let tracker = &world.cluster.tracker;
    let conf = tracker.dir.join("conf");
    let conf = text(&conf);
    let pid_file = tracker.dir.join("base/data/fdfs_trackerd.pid");
    let call = |args: &[&str]| run("fdfs_trackerd", args);

    assert_eq!(call(&[conf, "status"]).code, 0);
    assert_eq!(call(&[conf, "start"]).code, 17, "it runs already");
    assert!(tracker.stop().success());
    assert!(!pid_file.exists());
    assert_eq!(call(&[conf, "status"]).out, "NOT running\n");
    assert_eq!(call(&[conf, "stop"]).code, 2);

    assert_eq!(call(&[conf, "start"]).code, 0);
    let pid = fs::read_to_string(&pid_file).expect("it runs");
    assert_eq!(call(&[conf, "status"]).out, format!("Running, pid: {pid}\n"));
    std::net::TcpStream::connect(tracker.address).expect("it listens when start returns");
    assert_eq!(call(&[conf, "restart"]).code, 0);
    assert_ne!(fs::read_to_string(&pid_file).expect("it runs"), pid);
    assert_eq!(call(&[conf, "stop"]).code, 0);
    assert!(!pid_file.exists());
    let log = fs::read_to_string(tracker.dir.join("base/logs/trackerd.log")).expect("its log");
    assert_eq!(log.matches("fdfs_trackerd has stopped").count(), 2, "{log}");

    let taken = std::net::TcpListener::bind(tracker.address).expect("nobody listens");
    let failed = call(&[conf, "start"]);
    assert_eq!(failed.code, 98, "{failed:?}");
    assert!(failed.err.contains("in use"), "the reason is shown where it was ordered: {failed:?}");
    drop(taken);

    assert_eq!(call(&["-V"]).out, "\nfdfs_trackerd V6.16.1\n\n");
    assert_eq!(call(&[]).code, 1);
    assert_eq!(call(&[conf, "fly"]).code, 22);
    assert_eq!(call(&["--check-config", conf]).code, 0);
    assert_eq!(call(&["--check-config", "/nonexistent"]).code, 22);
    tracker.start(); // as it was, for whoever looks at the world last
}
