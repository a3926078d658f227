//! `fdfs`, the program for people: its results, its JSON, its exit codes, what it does when a
//! reader leaves or a terminal watches.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::World;
use crate::support::history::Content;
use crate::support::stack::bin_dir;
use crate::support::wait::eventually;
use crate::tools::{Outcome, client_conf, run, text, write};

/// Runs `fdfs` with a configuration.
fn fdfs(conf: &Path, args: &[&str]) -> Outcome {
    run("fdfs", &[&["--conf", text(conf)], args].concat())
}

/// The same with `--json`; each line of the output as a value.
fn json(conf: &Path, args: &[&str]) -> Vec<Value> {
    let done = fdfs(conf, &[&["--json"], args].concat());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}: {done:?}");
    done.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn ok(done: Outcome) -> String {
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    done.out
}

#[test]
fn files_go_in_and_out_and_are_told_about() {
    let world = World::start("fdfs-files");
    let (conf, dir) = client_conf(&world);
    let bytes = Content { seed: world.seed.0, len: 5_000_011 }.bytes();
    let (local, back) = (dir.join("film.mp4"), dir.join("back"));
    write(&local, &bytes);

    let stored = &json(&conf, &["put", text(&local), "-m", "colour=blue", "-m", "size=small"])[0];
    let id = stored["id"].as_str().expect("an id");
    assert_eq!(stored["size"], 5_000_011);
    assert!(id.starts_with("group1/M00/") && id.ends_with(".mp4"), "{id}");

    assert_eq!(ok(fdfs(&conf, &["get", id, "-o", text(&back)])), format!("{}\n", text(&back)));
    assert!(fs::read(&back).expect("it was made") == bytes);
    let fetched = &json(&conf, &["get", id, "-o", text(&back), "--offset", "5", "--bytes", "7"])[0];
    assert_eq!((&fetched["size"], &fetched["checked"]), (&Value::from(7), &Value::from(false)));
    assert_eq!(fs::read(&back).expect("it was made"), bytes[5..12]);

    let known = &json(&conf, &["stat", id])[0];
    let decoded = &json(&conf, &["decode", id])[0];
    for key in ["id", "size", "crc32", "created", "kind", "source_ip"] {
        assert_eq!(known[key], decoded[key], "{key}: the storage and the name agree");
    }
    assert_eq!(known["crc32"], stored["crc32"]);
    assert_eq!(known["storages"][0], world.cluster.storages[0].address.to_string());

    assert_eq!(ok(fdfs(&conf, &["meta", id])), "colour=blue\nsize=small\n");
    ok(fdfs(&conf, &["meta", id, "colour=red"]));
    assert_eq!(
        json(&conf, &["meta", id])[0],
        serde_json::json!({"colour": "red", "size": "small"})
    );
    ok(fdfs(&conf, &["meta", id, "--replace", "only=this"]));
    assert_eq!(ok(fdfs(&conf, &["meta", id])), "only=this\n");

    assert_eq!(ok(fdfs(&conf, &["rm", id])), "");
    let again = fdfs(&conf, &["rm", id]);
    assert_eq!((again.code, again.out.as_str()), (2, ""), "{again:?}");
    assert_eq!(json(&conf, &["rm", "--force", id])[0]["removed"], false);
    let gone = fdfs(&conf, &["get", id, "-o", text(&dir.join("gone"))]);
    assert_eq!((gone.code, dir.join("gone").exists()), (2, false), "{gone:?}");
}

#[test]
fn a_stream_of_unknown_length_becomes_a_normal_file() {
    let world = World::start("fdfs-stream");
    let (conf, dir) = client_conf(&world);
    let source = dir.join("stream");
    // More than one piece, and nothing.
    for len in [9_000_001, 0] {
        let bytes = Content { seed: world.seed.0, len }.bytes();
        write(&source, &bytes);
        let done = Command::new(bin_dir().join("fdfs"))
            .args(["--conf", text(&conf), "put", "--ext", "tar", "-"])
            .stdin(fs::File::open(&source).expect("it was made"))
            .output()
            .expect("fdfs runs");
        let id = String::from_utf8(done.stdout).expect("an id is text");
        let id = id.trim_end();
        assert!(done.status.success() && id.ends_with(".tar"), "{id} {:?}", done.stderr);
        assert_eq!(json(&conf, &["decode", id])[0]["kind"], "normal");
        let back = ok(fdfs(&conf, &["get", id, "-o", text(&dir)]));
        assert!(fs::read(back.trim_end()).expect("it was made") == bytes);
    }
}

#[test]
fn one_failure_of_several_is_told_and_the_others_are_done() {
    let world = World::start("fdfs-several");
    let (conf, dir) = client_conf(&world);
    let (good, list) = (dir.join("good"), dir.join("list"));
    write(&good, b"good");
    let done = fdfs(&conf, &["put", "/nonexistent", text(&good)]);
    assert_eq!(done.code, 2, "{done:?}");
    let id = done.out.trim_end();
    assert!(id.starts_with("group1/"), "{done:?}");
    assert!(done.err.contains("/nonexistent") && done.err.contains("error no: 2"), "{done:?}");
    write(&list, format!("{id}\n\nnonsense\n").as_bytes());
    let done = fdfs(&conf, &["--json", "rm", "--from-file", text(&list)]);
    assert_eq!(done.code, 22, "{done:?}");
    let told: Value = serde_json::from_str(&done.err).expect("failures are JSON too");
    assert_eq!(told["error"]["errno"], 22, "{told}");
    assert_eq!(fdfs(&conf, &["stat", id]).code, 2, "the first one was removed");
}

#[test]
fn wrong_calls_and_absent_clusters_have_their_codes() {
    let world = World::start("fdfs-codes");
    let (conf, dir) = client_conf(&world);
    let local = dir.join("file");
    write(&local, b"x");
    for (args, code) in [
        (vec![], 1),
        (vec!["frobnicate"], 1),
        (vec!["put"], 1),
        (vec!["put", text(&local), "--meta", "novalue"], 1),
        (vec!["monitor", "--watch", "0"], 1),
        (vec!["get", "nonsense"], 22),
        (vec!["decode", "nonsense"], 22),
        (vec!["ls-storages", "nogroup"], 2),
        (vec!["-t", "127.0.0.1:1", "put", text(&local)], 111),
        (vec!["-t", "127.0.0.1:x", "ls-groups"], 22),
        (vec!["--conf", "/nonexistent", "ls-groups"], 2),
        (vec!["help"], 0),
        (vec!["put", "--help"], 0),
        (vec!["--version"], 0),
        (vec!["completions", "bash"], 0),
        (vec!["completions", "zsh"], 0),
    ] {
        // A second --conf would be used wrongly.
        let done = if args.contains(&"--conf") { run("fdfs", &args) } else { fdfs(&conf, &args) };
        assert_eq!(done.code, code, "{args:?}: {done:?}");
        let silent = if code == 0 { &done.err } else { &done.out };
        assert_eq!(silent, "", "{args:?}: the other stream stays empty");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let world = World::start("fdfs-pipe");
    let (conf, dir) = client_conf(&world);
    let local = dir.join("large");
    write(&local, &vec![7; 3_000_000]);
    let id = ok(fdfs(&conf, &["put", text(&local)]));
    for args in [vec!["get", id.trim_end(), "-o", "-"], vec!["ls-groups"], vec!["monitor"]] {
        let mut child = Command::new(bin_dir().join("fdfs"))
            .args(["--conf", text(&conf)])
            .args(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("fdfs runs");
        let mut first = [0];
        let mut out = child.stdout.take().expect("it is piped");
        out.read_exact(&mut first).expect("something is printed");
        drop(out);
        let done = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!((done.status.code(), err.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn the_cluster_is_listed_and_watched() {
    let world = World::start("fdfs-monitor");
    let (conf, dir) = client_conf(&world);
    let storage = world.cluster.storages[0].address;
    let groups = json(&conf, &["ls-groups"]);
    assert_eq!((groups.len(), &groups[0]["group"]), (1, &Value::from("group1")));
    let storages = eventually("the storage is active", Duration::from_secs(30), || {
        let storages = json(&conf, &["ls-storages", "group1"]);
        (storages[0]["state"] == "ACTIVE").then_some(storages)
    });
    assert_eq!(storages[0]["host"], storage.to_string());
    assert!(ok(fdfs(&conf, &["ls-storages"])).contains("ACTIVE"));
    let screen = ok(fdfs(&conf, &["monitor"]));
    assert!(screen.contains("1 group  1 storage  1 active"), "{screen}");
    assert!(screen.contains(&storage.to_string()), "{screen}");

    // Two looks, then a signal ends it well.
    let seen = dir.join("seen");
    let mut watching = Command::new(bin_dir().join("fdfs"))
        .args(["--conf", text(&conf), "--json", "monitor", "--watch", "1"])
        .stdout(fs::File::create(&seen).expect("the directory is ours"))
        .spawn()
        .expect("fdfs runs");
    let lines = eventually("it looks twice", Duration::from_secs(30), || {
        let text = fs::read_to_string(&seen).expect("it was made");
        (2 <= text.lines().count() && text.ends_with('\n')).then_some(text)
    });
    let kill = Command::new("kill").arg(watching.id().to_string()).status().expect("kill runs");
    assert!(kill.success() && watching.wait().expect("it ends").success());
    for line in lines.lines() {
        let look: Value = serde_json::from_str(line).expect("a look is JSON");
        assert_eq!(look["groups"][0]["members"][0]["host"], storage.to_string());
    }
}
