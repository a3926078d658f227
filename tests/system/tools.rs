//! The programs people call from scripts: what they print and how they exit, against a real
//! store; and the command line of the daemons.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::World;
use crate::support::history::Content;
use crate::support::stack::bin_dir;
use crate::support::wait::eventually;

/// What a program left behind.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: i32,
    out: String,
    err: String,
}

fn run(program: &str, args: &[&str]) -> Outcome {
    let done = Command::new(bin_dir().join(program)).args(args).env("TZ", "UTC").output();
    let done = done.unwrap_or_else(|e| panic!("{program}: {e}"));
    Outcome {
        code: done.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// A client.conf for this world beside its daemons, and the directory.
fn client_conf(world: &World) -> (PathBuf, PathBuf) {
    let dir = world.cluster.tracker.dir.parent().expect("it is in the world's").to_owned();
    let conf = dir.join("client.conf");
    let text = format!("tracker_server = {}\n", world.cluster.tracker.address);
    write(&conf, text.as_bytes());
    (conf, dir)
}

#[allow(clippy::disallowed_methods, reason = "a test's own file need not survive power loss")]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the directory is ours");
}

fn text(path: &Path) -> &str {
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
