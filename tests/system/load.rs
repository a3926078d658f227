//! `fdfs_load`, the load generator: what it counts, what it measures beside, how it fails.

use serde_json::Value;

use crate::World;
use crate::tools::{Outcome, client_conf, run, text};

/// A run against a world's tracker; the report.
fn load(conf: &str, args: &[&str]) -> Value {
    let Outcome { code, out, err } = run("fdfs_load", &[args, &["-c", conf, "--json"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}: {out}");
    serde_json::from_str(&out).expect("the report is JSON")
}

#[test]
fn every_operation_is_counted_and_leaves_what_it_says() {
    let world = World::start("load");
    let (conf, dir) = client_conf(&world);
    let conf = text(&conf);
    for (operation, bytes) in [
        ("query-store", 0),
        ("query-fetch", 0),
        ("upload", 60_000),
        ("download", 60_000),
        ("append", 60_000),
        ("delete", 0),
    ] {
        let args = [operation, "--count", "60", "-n", "3", "--threads", "2", "-s", "1000"];
        let report = load(conf, &args);
        assert_eq!(report["operations"], 60, "{report}");
        assert_eq!(report["errors"], 0, "{report}");
        let moved = report["bytes_per_sec"].as_f64().unwrap() * report["secs"].as_f64().unwrap();
        assert_eq!(moved.round() as u64, bytes, "{report}");
        let latency = &report["latency_ms"];
        let all = ["p50", "p90", "p99", "p999", "max"].map(|name| latency[name].as_f64().unwrap());
        assert!(0.0 < all[0] && all.is_sorted(), "{report}");
    }
    // 3 x 64 files for fetching, 60 uploads, appenders; deleted ones are gone.
    let stored = world.cluster.storages[0].on_disk("group1");
    let whole = stored.values().filter(|bytes| bytes.len() == 1000).count();
    assert_eq!(whole, 64 + 64 + 60, "{}", dir.display());
}

#[test]
fn a_mix_of_sizes_at_a_rate_is_watched_and_compared_with_limits() {
    let world = World::start("load-mix");
    let (conf, dir) = client_conf(&world);
    let own = format!("own={}", std::process::id());
    let report = load(
        text(&conf),
        &[
            &["mix", "--shares", "upload:2,download:2,delete:1", "--files", "5", "-n", "4"][..],
            &["-s", "100:1,9K:1", "--rate", "200", "--duration", "0.5", "--warmup", "0"],
            &["--pid", &own, "--limit", "--limit-dir", text(&dir), "--seed", "7"],
        ]
        .concat(),
    );
    let operations = report["operations"].as_u64().unwrap();
    assert!((1..=104).contains(&operations), "a rate is no more than that: {report}");
    assert_eq!((&report["errors"], &report["seed"]), (&Value::from(0), &Value::from(7)));
    let server = &report["servers"][0];
    assert_eq!(server["name"], "own");
    assert!(0 < server["rss_max"].as_u64().unwrap(), "{report}");
    let limits = &report["limits"];
    for figure in ["bare_ops_per_sec", "loopback_bytes_per_sec", "loopback_sendfile_bytes_per_sec"]
    {
        assert!(0.0 < limits[figure].as_f64().unwrap(), "{figure}: {limits}");
    }
    for figure in ["create_per_sec", "rename_per_sec", "sync_per_sec"] {
        assert!(0.0 < limits["files"][figure].as_f64().unwrap(), "{figure}: {limits}");
    }
    let left = std::fs::read_dir(&dir).expect("it is ours");
    let names = left.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert!(!names.into_iter().any(|name| name.starts_with("fdfs-load-")), "it cleans up");
}

#[test]
fn failures_are_counted_and_shown_in_the_exit_code() {
    let world = World::start("load-fails");
    let (conf, _dir) = client_conf(&world);
    let conf = text(&conf);
    for (args, code) in [
        (vec!["upload", "-t", "127.0.0.1:1", "--count", "1"], 5),
        (vec!["download", "-t", "127.0.0.1:1", "--count", "1"], 111),
        (vec!["upload", "-s", "nothing"], 1),
        (vec!["frobnicate"], 1),
        (vec!["upload", "-c", "/nonexistent"], 2),
        (vec!["--help"], 0),
    ] {
        let outcome = run("fdfs_load", &args);
        assert_eq!(outcome.code, code, "{args:?}: {outcome:?}");
    }
    let text = run("fdfs_load", &["upload", "-c", conf, "--count", "5"]);
    assert_eq!((text.code, text.err.as_str()), (0, ""), "{text:?}");
    assert!(text.out.contains("\n  operations    5 ("), "{text:?}");
}
