//! The crash layer: real `fdfs_storaged` and `fdfs_trackerd` that die, fail and lose power at
//! every effect on the disk, and what their clients were told compared with what is there.
//!
//! `crash [clean|sweep|images|plants]...`; without words, all. The daemons are this very program,
//! built with the feature `faults`: started with their name as first word it is one of them.
//! Needs root for the images: FUSE, loop devices, mounts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on failed")]
#![allow(clippy::disallowed_methods, reason = "a test's own files and clock")]
#![allow(dead_code, reason = "support is shared with other tests")]

mod client; // the wire, by the specification
mod daemon; // start, wait, kill
mod images; // a recorded disk, and what a power loss may leave of it
mod recorder; // the disk that records
mod sweep; // every effect, killed and failed

#[path = "../support/autopsy.rs"]
mod autopsy;
#[path = "../support/seed.rs"]
mod seed;

use std::process::ExitCode;

/// What can be asked for.
const PARTS: [&str; 4] = ["clean", "sweep", "images", "plants"];

/// What a part of the layer has found.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|word| word.to_str()) {
        Some("fdfs_storaged") => return storage::run(args),
        Some("fdfs_trackerd") => return tracker::run(args),
        _ => {}
    }
    let wanted: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
    if let Some(word) = wanted.iter().find(|word| !PARTS.contains(&word.as_ref())) {
        println!("there is no part {word:?} of the crash layer; there are {}", PARTS.join(", "));
        return ExitCode::FAILURE;
    }
    daemon::sweep_leftovers();
    let seed = seed::Seed::of_this_run("crash");
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    let mut tally = Tally::default();
    if wants("clean") {
        tally.add(clean());
    }
    if wants("sweep") {
        tally.add(sweep::run());
    }
    if wants("images") {
        tally.add(images::run(seed));
    }
    if wants("plants") {
        tally.add(images::plants(seed));
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The programs that are delivered hold nothing of the faults: neither their variables nor the
/// names of planted bugs.
fn clean() -> Tally {
    let own = std::env::current_exe().unwrap();
    let debug = own.parent().unwrap();
    let needles = ["FASTDISK_FAULTS", "FASTDISK_PLANT", "FASTDISK_MARKS"];
    let planted = images::PLANTS;
    let all = || needles.iter().chain(&planted);
    let holds = |path: &std::path::Path, needle: &str| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    };
    let mut tally = Tally::default();
    for needle in all() {
        assert!(holds(&own, needle), "{needle} is not even in the program that needs it");
    }
    for program in ["fdfs_storaged", "fdfs_trackerd"] {
        let release = debug.join("../release").join(program);
        // The release need not have been built; the debug programs are built with this one.
        for path in [Some(debug.join(program)), Some(release).filter(|path| path.exists())] {
            let Some(path) = path else { continue };
            if !path.exists() {
                println!("FAIL clean :: {} is missing: build it first", path.display());
                tally.failed += 1;
                continue;
            }
            match all().find(|needle| holds(&path, needle)) {
                Some(needle) => {
                    println!("FAIL clean :: {} holds {needle:?}", path.display());
                    tally.failed += 1;
                }
                None => tally.passed += 1,
            }
        }
    }
    tally
}
