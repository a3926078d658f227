//! Every effect of every operation, killed before and after, failed and cut short: no sampling.
//!
//! One run counts the effects of an operation; then for each of them and each fault a fresh copy
//! of the same store is started, the operation is asked for, the daemon is started again, and
//! what is on the disk is compared with what the client was told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::Tally;
use crate::autopsy::{self, Body};
use crate::client::{self, Outcome};
use crate::daemon::{self, Daemon, Pair};

/// More than one buffer of the daemon, so that it is written in pieces.
const LARGE: usize = 700_000;
const WORKERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Upload(usize),
    UploadAppender,
    Slave,
    Append,
    Modify,
    Truncate,
    Regenerate,
    SetMetadata,
    MergeMetadata,
    RemoveMetadata,
    Delete,
    /// The state that is saved when the daemon stops.
    Stop,
}

const ALL: [Operation; 14] = [
    Operation::Upload(5),
    Operation::Upload(0),
    Operation::Upload(LARGE),
    Operation::UploadAppender,
    Operation::Slave,
    Operation::Append,
    Operation::Modify,
    Operation::Truncate,
    Operation::Regenerate,
    Operation::SetMetadata,
    Operation::MergeMetadata,
    Operation::RemoveMetadata,
    Operation::Delete,
    Operation::Stop,
];

/// What goes wrong at the n-th effect.
const FAULTS: [&str; 6] =
    ["kill:N:before", "kill:N:after", "fail:N:5", "fail:N:28", "fail-from:N:5", "short:N"];

const OLD_FILE: &[u8] = b"a file that is there before";
const OLD_APPENDER: &[u8] = b"0123456789";
const OLD_PAIRS: &str = "a\u{2}old\u{1}b\u{2}old";
const NEW_PAIRS: &str = "a\u{2}new";
const MERGED: &str = "a\u{2}new\u{1}b\u{2}old";

pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
}

/// The names of what is stored before the operation.
#[derive(Clone, Debug)]
struct Names {
    file: String,
    appender: String,
}

type Files = BTreeMap<String, Vec<u8>>;

/// A store as it was made once, to be copied for every run.
struct Template {
    names: Names,
    files: Files,
    dir: PathBuf,
}

fn copy(from: &Path, to: &Path) {
    let _gone = fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

impl Template {
    /// Stores two files with the real daemon and keeps the result.
    fn make(pair: &Pair) -> Self {
        let mut daemon = pair.start(&[]);
        let at = pair.storage;
        let file = client::upload(at, false, OLD_FILE).name().expect("a plain upload");
        let appender = client::upload(at, true, OLD_APPENDER).name().expect("an appender");
        assert!(client::set_metadata(at, &file, b'O', OLD_PAIRS).is_done());
        daemon.stop();
        let dir = pair.dir.join("template");
        copy(&pair.storage_dir(), &dir);
        let files = autopsy::examine(&pair.base(), &pair.base()).files;
        assert_eq!(files.len(), 3, "{files:?}");
        Self { names: Names { file, appender }, files, dir }
    }
}

fn ask(pair: &Pair, names: &Names, operation: Operation, daemon: &mut Daemon) -> Outcome {
    let at = pair.storage;
    match operation {
        Operation::Upload(len) => client::upload(at, false, &bytes(len)),
        Operation::UploadAppender => client::upload(at, true, &bytes(5)),
        Operation::Slave => client::slave(at, &names.file, &bytes(5)),
        Operation::Append => client::edit(at, &names.appender, None, &bytes(5)),
        Operation::Modify => client::edit(at, &names.appender, Some(2), &bytes(5)),
        Operation::Truncate => client::truncate(at, &names.appender, 4),
        Operation::Regenerate => client::regenerate(at, &names.appender),
        Operation::SetMetadata => client::set_metadata(at, &names.file, b'O', NEW_PAIRS),
        Operation::MergeMetadata => client::set_metadata(at, &names.file, b'M', NEW_PAIRS),
        Operation::RemoveMetadata => client::set_metadata(at, &names.file, b'O', ""),
        Operation::Delete => client::delete(at, &names.file),
        Operation::Stop => {
            daemon.stop();
            Outcome::Unknown
        }
    }
}

/// The files when the operation has happened, without the one whose name only it knows; and that
/// one's content.
fn after(operation: Operation, before: &Files, names: &Names) -> (Files, Option<Vec<u8>>) {
    let mut files = before.clone();
    let metadata = format!("{}-m", names.file);
    let mut new = None;
    let mut appender = |content: Vec<u8>| files.insert(names.appender.clone(), content);
    match operation {
        Operation::Upload(len) => new = Some(bytes(len)),
        Operation::UploadAppender | Operation::Slave => new = Some(bytes(5)),
        Operation::Append => drop(appender([OLD_APPENDER, &bytes(5)].concat())),
        Operation::Modify => {
            let mut content = OLD_APPENDER.to_vec();
            content[2..7].copy_from_slice(&bytes(5));
            appender(content);
        }
        Operation::Truncate => drop(appender(OLD_APPENDER[..4].to_vec())),
        Operation::Regenerate => new = files.remove(&names.appender),
        Operation::SetMetadata => drop(files.insert(metadata, NEW_PAIRS.into())),
        Operation::MergeMetadata => drop(files.insert(metadata, MERGED.into())),
        Operation::RemoveMetadata => drop(files.remove(&metadata)),
        Operation::Delete => {
            files.remove(&metadata);
            files.remove(&names.file);
        }
        Operation::Stop => {}
    }
    (files, new)
}

/// Whether `found` is `wanted` and, if there is one, a new file of content `new`.
fn is(found: &Files, wanted: &Files, new: Option<&Vec<u8>>, named: Option<&str>) -> bool {
    let mut rest = found.clone();
    let all = wanted.iter().all(|(name, content)| rest.remove(name).as_ref() == Some(content));
    let extra = match (rest.len(), new) {
        (0, None) => true,
        (1, Some(new)) => rest
            .iter()
            .all(|(name, content)| content == new && named.is_none_or(|named| named == name)),
        _ => false,
    };
    all && extra
}

/// What is wrong with the disk after the restart.
fn judge(operation: Operation, template: &Template, outcome: &Outcome, body: &Body) -> Vec<String> {
    let (files, new) = after(operation, &template.files, &template.names);
    let named = outcome.name();
    let happened = is(&body.files, &files, new.as_ref(), named.as_deref());
    let untouched = is(&body.files, &template.files, None, None);
    let mut wrong = body.wrong.clone();
    if !(happened || (!outcome.is_done() && untouched)) {
        let seen: Vec<_> = body.files.iter().map(|(name, c)| (name, c.len())).collect();
        wrong.push(format!("{outcome:?}, and on the disk is {seen:?}"));
    }
    for name in body.files.keys() {
        if body.recorded(name) != Some(true) {
            wrong.push(format!("{name} is there, and the binlog does not say so"));
        }
    }
    for name in template.files.keys().filter(|name| !body.files.contains_key(*name)) {
        if body.recorded(name) != Some(false) {
            wrong.push(format!("{name} is gone, and the binlog does not say so"));
        }
    }
    if !body.unfinished.is_empty() {
        wrong.push(format!("left over after a start: {:?}", body.unfinished));
    }
    wrong
}

/// Effects of an operation, as the trace of a run that only counts has them.
fn count(pair: &Pair, template: &Template, operation: Operation) -> u64 {
    let (outcome, trace, _) = run_once(pair, template, operation, "count");
    assert!(operation == Operation::Stop || outcome.is_done(), "{operation:?}: {outcome:?}");
    trace.lines().count() as u64
}

/// One run under `plan`: the outcome, the trace, the log of the daemon.
fn run_once(
    pair: &Pair,
    template: &Template,
    operation: Operation,
    plan: &str,
) -> (Outcome, String, String) {
    copy(&template.dir, &pair.storage_dir());
    let trace = pair.dir.join("trace");
    let _gone = fs::remove_file(&trace);
    let settings =
        [("FASTDISK_FAULTS", plan.to_owned()), ("FASTDISK_TRACE", trace.display().to_string())];
    let mut daemon = pair.start(&settings);
    assert!(!daemon.has_ended(), "{}", daemon.log());
    fs::write(&trace, "").unwrap();
    let outcome = ask(pair, &template.names, operation, &mut daemon);
    daemon.kill();
    let log = daemon.log();
    (outcome, fs::read_to_string(&trace).unwrap(), log)
}

/// One point: operation, effect, fault. What is wrong, and with which trace.
fn point(
    pair: &Pair,
    template: &Template,
    operation: Operation,
    plan: &str,
    nth: u64,
) -> Vec<String> {
    let (outcome, trace, log) = run_once(pair, template, operation, plan);
    let reached = trace.lines().count() as u64;
    if reached < nth {
        return vec![format!("effect {nth} was never reached, only {reached}")];
    }
    let mut daemon = pair.start(&[]);
    if daemon.has_ended() {
        return vec![format!("it does not start again: {}", daemon.log())];
    }
    let body = autopsy::examine(&pair.base(), &pair.base());
    let mut wrong = judge(operation, template, &outcome, &body);
    for (name, content) in &body.files {
        if !name.ends_with("-m")
            && client::download(pair.storage, name) != Outcome::Done(content.clone())
        {
            wrong.push(format!("{name} cannot be read as it lies on the disk"));
        }
    }
    if !client::upload(pair.storage, false, b"goes on").is_done() {
        wrong.push("it takes no upload after the restart".to_owned());
    }
    daemon.kill();
    if log.contains("panicked") || daemon.log().contains("panicked") {
        wrong.push("a daemon panicked".to_owned());
    }
    wrong
}

pub(crate) fn run() -> Tally {
    let next = AtomicUsize::new(0);
    let (points, effects) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (next, points, effects, failures) = (&next, &points, &effects, &failures);
            scope.spawn(move || {
                let dir = daemon::root().join(format!("sweep{worker}"));
                let pair = Pair::new(&dir, false);
                let template = Template::make(&pair);
                while let Some(operation) = ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let count = count(&pair, &template, *operation);
                    effects.lock().unwrap().insert(format!("{operation:?}"), count);
                    for (nth, fault) in (1..=count).flat_map(|nth| FAULTS.map(|fault| (nth, fault)))
                    {
                        let plan = fault.replace('N', &nth.to_string());
                        points.fetch_add(1, Ordering::Relaxed);
                        let wrong = point(&pair, &template, *operation, &plan, nth);
                        let all = wrong.into_iter().map(|w| format!("{operation:?} {plan}: {w}"));
                        failures.lock().unwrap().extend(all);
                    }
                }
            });
        }
    });
    daemon::remove(&daemon::root());
    let (failures, points) = (failures.into_inner().unwrap(), points.into_inner());
    for failure in &failures {
        println!("FAIL sweep promise=P1 :: {failure}");
    }
    for (operation, count) in effects.into_inner().unwrap() {
        println!("sweep: {operation}: {count} effects, {} faults each", FAULTS.len());
    }
    println!("sweep: {points} points, {} violations", failures.len());
    let failed = u64::from(!failures.is_empty());
    Tally { passed: 1 - failed, failed, skipped: 0 }
}
