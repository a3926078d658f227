//! The programs of scripts beside what the reference printed (`tests/data/tools.txt`), line by
//! line, and with its exit codes except where ours tell a failure that it hides.

use std::time::Duration;

use crate::World;
use crate::support::wait::eventually;
use crate::tools::{Outcome, client_conf, run, text, write};

/// Lines of the banner that the test programs print first; ours has as many and other words.
const BANNER_LINES: usize = 9;

/// One call: what it was, its exit code, its lines.
struct Call<'a> {
    line: &'a str,
    code: i32,
    out: Vec<&'a str>,
    err: Vec<&'a str>,
}

/// The calls of the file, in their order.
fn calls(golden: &str) -> Vec<Call<'_>> {
    let mut calls: Vec<Call> = Vec::new();
    for line in golden.lines() {
        if let Some(line) = line.strip_prefix("$ ") {
            calls.push(Call { line, code: 0, out: Vec::new(), err: Vec::new() });
        } else if let Some(call) = calls.last_mut() {
            if let Some(code) = line.strip_prefix("-> ") {
                let ours = code.split_once(" (ours ").map_or(code, |(_, ours)| ours);
                call.code = ours.trim_end_matches(')').parse().expect("a number");
            } else if let Some(out) = line.strip_prefix('|') {
                call.out.push(out.strip_prefix(' ').unwrap_or(out));
            } else if let Some(err) = line.strip_prefix("! ") {
                call.err.push(err);
            }
        }
    }
    calls
}

/// Whether a line is the golden one, in which `*` stands for anything.
fn matches(golden: &str, line: &str) -> bool {
    let Some((head, tail)) = golden.split_once('*') else { return golden == line };
    let Some(rest) = line.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| matches(tail, rest)))
}

/// Ours say behind a failure, in parentheses, who said so.
fn without_reason(line: &str) -> &str {
    if line.contains(", error no: ") { line.split(" (").next().unwrap_or(line) } else { line }
}

fn compare(call: &Call, stream: &str, golden: &[&str], said: &[&str]) {
    let said: Vec<&str> = said.iter().map(|line| without_reason(line)).collect();
    let equal = golden.len() == said.len()
        && golden.iter().zip(&said).all(|(golden, line)| matches(golden, line.trim_end()));
    let shown = |lines: &[&str]| lines.join("\n");
    assert!(
        equal,
        "$ {}\n{stream} of the reference:\n{}\nours:\n{}",
        call.line,
        shown(golden),
        shown(&said)
    );
}

#[test]
fn every_program_prints_what_the_reference_printed() {
    let world = World::start("golden");
    let (conf, dir) = client_conf(&world);
    let (photo, more, local) = (dir.join("photo.jpg"), dir.join("more"), dir.join("local"));
    let content: Vec<u8> = (0..1000u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    write(&photo, &content);
    write(&more, b"more and more\n");
    let stored = |program: &str| {
        let Outcome { code, out, err } = run(program, &[text(&conf), text(&photo)]);
        assert_eq!((code, err.as_str()), (0, ""), "{program}");
        out.trim_end().to_owned()
    };
    let (id, appender) = (stored("fdfs_upload_file"), stored("fdfs_upload_appender"));
    let (group, name) = id.split_once('/').expect("an id has a group");
    let storage = world.cluster.storages[0].address.ip().to_string();
    // The reference's leader had been elected when this was recorded.
    eventually("the tracker leads", Duration::from_secs(30), || {
        (run("fdfs_tracker_stat", &["-c", text(&conf)]).code == 0).then_some(())
    });

    let golden = include_str!("../data/tools.txt");
    let calls = calls(golden);
    assert!(90 < calls.len(), "only {} calls", calls.len());
    for call in &calls {
        let mut words = call.line.split(' ');
        let program = words.next().expect("a program");
        let args: Vec<&str> = words
            .map(|word| match word {
                "CONF" => text(&conf),
                "PHOTO" => text(&photo),
                "MORE" => text(&more),
                "LOCAL" => text(&local),
                "ID" => &id,
                "GROUP" => group,
                "NAME" => name,
                "APPENDER" => &appender,
                "STORAGE" => &storage,
                other => other,
            })
            .collect();
        let Outcome { code, out, err } = run(program, &args);
        let skipped = if program.contains("test") { BANNER_LINES } else { 0 };
        let lines: Vec<&str> = out.lines().skip(skipped).collect();
        let trimmed: Vec<&str> = call.out.iter().map(|line| line.trim_end()).collect();
        compare(call, "standard output", &trimmed, &lines);
        if !call.err.is_empty() {
            let lines: Vec<&str> = err.lines().filter(|line| !line.is_empty()).collect();
            let golden = call.err.iter().map(|line| line.trim_end()).filter(|l| !l.is_empty());
            let golden: Vec<&str> = golden.collect();
            compare(call, "standard error", &golden, &lines);
        }
        assert_eq!(code, call.code, "$ {}\n{out}{err}", call.line);
    }
}

#[test]
fn stars_stand_for_anything_and_nothing() {
    for (golden, line, want) in [
        ("a*c", "abbc", true),
        ("a*c", "ac", true),
        ("a*c", "abd", false),
        ("*:*", "10.0.0.1:5", true),
        ("ab", "ab", true),
        ("ab", "abc", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(golden, line), want, "{golden} {line}");
    }
}
