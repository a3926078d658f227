//! Every effect of every operation, killed before and after, failed and cut short: no sampling.
//!
//! One run counts the effects of an operation; then for each of them and each fault a fresh copy
//! of the same store is started, the operation is asked for, the daemon is started again, and
//! what is on the disk is compared with what the client was told. Only the effects of the
//! operation itself count; those of the daemon's start and of what it writes by itself, beside
//! all requests, are swept in the same way, each as an operation of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    /// The start of a daemon.
    Start,
    /// The list of members for the nginx module, written beside the requests.
    Members,
    /// The log of deleted files, written behind the binlog beside the requests.
    Tombs,
}

const ALL: [Operation; 17] = [
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
    Operation::Start,
    Operation::Members,
    Operation::Tombs,
];

impl Operation {
    /// The name under which the daemon counts its effects.
    fn scope(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Members => "members",
            Self::Tombs => "tombs",
            _ => "operation",
        }
    }

    /// Runs in which an effect has to be reached. The pieces of a large upload are cut where the
    /// socket had no more, so that one may have fewer effects than the one that was counted.
    fn runs_max(self) -> u32 {
        if self == Self::Upload(LARGE) { 50 } else { 1 }
    }

    /// Whether it comes by itself when a daemon starts.
    fn is_of_start(self) -> bool {
        matches!(self, Self::Start | Self::Members | Self::Tombs)
    }

    /// Whether it comes while requests are served, and some time after the start.
    fn is_beside(self) -> bool {
        matches!(self, Self::Members | Self::Tombs)
    }
}

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
    /// Stores two files with the real daemon, deletes a third one, and keeps the result: without
    /// the log of deleted files, as if the daemon had died before it was written.
    fn make(pair: &Pair) -> Self {
        let mut daemon = pair.start(&[]);
        let at = pair.storage;
        let file = client::upload(at, false, OLD_FILE).name().expect("a plain upload");
        let appender = client::upload(at, true, OLD_APPENDER).name().expect("an appender");
        assert!(client::set_metadata(at, &file, b'O', OLD_PAIRS).is_done());
        let deleted = client::upload(at, false, b"deleted").name().expect("a third upload");
        assert!(client::delete(at, &deleted).is_done());
        daemon.stop();
        let _never_written = fs::remove_file(pair.base().join(TOMBS));
        let dir = pair.dir.join("template");
        copy(&pair.storage_dir(), &dir);
        let files = autopsy::examine(&pair.base(), &pair.base()).files;
        assert_eq!(files.len(), 3, "{files:?}");
        Self { names: Names { file, appender }, files, dir }
    }
}

/// Below the base path.
const TOMBS: &str = "data/sync/tombs.log";
const MEMBERS: &str = "data/members";

/// The list of members, if it is there and whole.
fn members(pair: &Pair) -> Option<()> {
    let text = fs::read_to_string(pair.base().join(MEMBERS)).ok()?;
    let whole = proto::members::Members::parse(&text).ok()?;
    (whole.members.len() == 1).then_some(())
}

/// Whether the log of deleted files holds the one that the template has deleted.
fn tombs(pair: &Pair) -> Option<()> {
    let text = fs::read_to_string(pair.base().join(TOMBS)).ok()?;
    let has = |start| text.lines().any(|line| line.starts_with(start));
    (has("+ ") && has("= ") && text.ends_with('\n')).then_some(())
}

/// What a daemon writes by itself is there.
fn is_written(pair: &Pair, operation: Operation) -> Option<()> {
    match operation {
        Operation::Members => members(pair),
        Operation::Tombs => tombs(pair),
        _ => Some(()),
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
        // They have come by themselves.
        Operation::Start | Operation::Members | Operation::Tombs => Outcome::Unknown,
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
        Operation::Stop | Operation::Start | Operation::Members | Operation::Tombs => {}
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
    let (outcome, trace, _) = run_once(pair, template, operation, ("count", u64::MAX));
    let asked = !operation.is_of_start() && operation != Operation::Stop;
    assert!(!asked || outcome.is_done(), "{operation:?}: {outcome:?}");
    if operation.is_beside() {
        // What comes again and again is swept once: it ends where its last name is safe.
        let end = trace.lines().position(|line| line.contains(" SyncDir "));
        return end.expect("it syncs its directory") as u64 + 1;
    }
    let count = trace.lines().count() as u64;
    assert!(0 < count, "{operation:?}: the trace saw no effect at all");
    count
}

/// Waits until what comes by itself has come, has failed, or was the end of the daemon.
fn wait_beside(pair: &Pair, operation: Operation, daemon: &mut Daemon, plan: (&str, u64)) {
    let dies = plan.0.starts_with("kill");
    let reached = |trace: &str| match plan {
        ("count", _) => trace.contains(" SyncDir "),
        (_, nth) => nth <= trace.lines().count() as u64,
    };
    daemon::eventually("what comes by itself", || {
        if daemon.has_ended() {
            return Some(());
        }
        let log = daemon.log();
        let failed = log.contains("the log of deleted files: ") || log.contains("data/members: ");
        let trace = fs::read_to_string(pair.dir.join("trace")).unwrap();
        let through = reached(&trace) && (failed || is_written(pair, operation).is_some());
        (!dies && through).then_some(())
    });
}

/// One run under a plan for the n-th effect: the outcome, the trace, the log of the daemon.
fn run_once(
    pair: &Pair,
    template: &Template,
    operation: Operation,
    plan: (&str, u64),
) -> (Outcome, String, String) {
    copy(&template.dir, &pair.storage_dir());
    if operation.is_beside() {
        for file in [TOMBS, MEMBERS] {
            let _not_there = fs::remove_file(pair.base().join(file));
        }
        // A tracker tells of the members in its answer to a heartbeat.
        let conf = pair.storage_dir().join("conf");
        let often = fs::read_to_string(&conf).unwrap();
        fs::write(&conf, often.replace("heart_beat_interval = 3600", "heart_beat_interval = 1"))
            .unwrap();
    }
    let trace = pair.dir.join("trace");
    let _gone = fs::remove_file(&trace);
    if operation.is_of_start() {
        fs::write(&trace, "").unwrap();
    }
    let settings = [
        ("FASTDISK_FAULTS", plan.0.to_owned()),
        ("FASTDISK_SCOPE", operation.scope().to_owned()),
        ("FASTDISK_TRACE", trace.display().to_string()),
    ];
    let mut daemon = pair.start(&settings);
    if operation.is_beside() {
        wait_beside(pair, operation, &mut daemon, plan);
    } else if operation != Operation::Start {
        assert!(!daemon.has_ended(), "{}", daemon.log());
        fs::write(&trace, "").unwrap();
    }
    let outcome = ask(pair, &template.names, operation, &mut daemon);
    daemon.kill();
    let log = daemon.log();
    (outcome, fs::read_to_string(&trace).unwrap(), log)
}

/// One point: operation, effect, fault. What is wrong, and with which trace.
fn point(pair: &Pair, template: &Template, point: &Point) -> Vec<String> {
    let Point { operation, nth, ref plan } = *point;
    let mut tries = operation.runs_max();
    let (outcome, log) = loop {
        let (outcome, trace, log) = run_once(pair, template, operation, (plan, nth));
        let reached = trace.lines().count() as u64;
        if nth <= reached {
            break (outcome, log);
        }
        tries -= 1;
        if tries == 0 {
            return vec![format!("effect {nth} was never reached, only {reached}")];
        }
    };
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
    if operation.is_beside() {
        daemon::eventually("it is written after the restart", || is_written(pair, operation));
    }
    daemon.kill();
    if log.contains("panicked") || daemon.log().contains("panicked") {
        wrong.push("a daemon panicked".to_owned());
    }
    wrong
}

/// One fault at one effect of one operation.
struct Point {
    operation: Operation,
    nth: u64,
    plan: String,
}

/// Lets every worker take what comes next until nothing is left.
fn share<T: Sync, R: Send>(
    workers: &[(Pair, Template)],
    work: &[T],
    act: impl Fn(&Pair, &Template, &T) -> R + Sync,
) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for (pair, template) in workers {
            let (next, done, act) = (&next, &done, &act);
            scope.spawn(move || {
                while let Some(item) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = act(pair, template, item);
                    done.lock().unwrap().push(outcome);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

pub(crate) fn run() -> Tally {
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let pair = Pair::new(&daemon::root().join(format!("sweep{worker}")), false);
            let template = Template::make(&pair);
            (pair, template)
        })
        .collect();
    let counts = share(&workers, &ALL, |pair, template, operation| {
        (*operation, count(pair, template, *operation))
    });
    let mut points = Vec::new();
    for (operation, count) in counts {
        println!("sweep: {operation:?}: {count} effects, {} faults each", FAULTS.len());
        for (nth, fault) in (1..=count).flat_map(|nth| FAULTS.map(|fault| (nth, fault))) {
            points.push(Point { operation, nth, plan: fault.replace('N', &nth.to_string()) });
        }
    }
    let wrong = share(&workers, &points, |pair, template, at| {
        let wrong = point(pair, template, at).into_iter();
        wrong.map(|w| format!("{:?} {}: {w}", at.operation, at.plan)).collect::<Vec<_>>()
    });
    drop(workers);
    daemon::remove(&daemon::root());
    let failures = wrong.concat();
    for failure in &failures {
        println!("FAIL sweep promise=P1 :: {failure}");
    }
    println!("sweep: {} points, {} violations", points.len(), failures.len());
    let failed = u64::from(!failures.is_empty());
    Tally { passed: 1 - failed, failed, skipped: 0 }
}
