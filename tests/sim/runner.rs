//! Many seeds, each in a process of its own, and what came of them in sum.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::Report;
use crate::script::SCRIPTS;
use crate::support::seed::{Seed, commit, parse};
use crate::{entropy, run, script};

/// How long fresh seeds are run where nothing else is said.
const TIME_SECS: u64 = 45;
/// One seed of so many is run twice.
const TWICE: u64 = 10;
/// A run of a seed takes about a second; one that takes so long hangs.
const HANGS: Duration = Duration::from_secs(120);
/// Lines of what a process said before it died.
const LAST_WORDS: usize = 12;
/// Seeds within which a planted bug must be found.
const PLANT_SEEDS: u64 = 60;
/// Bugs planted on purpose (testing.md 14).
const PLANTS: [&str; 1] = ["answer before log sync"];

/// One seed, in this process; `dir` is empty and ours.
pub(crate) fn one(seed: &str, dir: &str, trace: Option<&str>) -> ExitCode {
    let seed = Seed(parse(seed).expect("a seed"));
    let (dir, trace) = (PathBuf::from(dir), trace.map(PathBuf::from));
    alone(seed, move || run::run(seed, &dir, trace.as_deref()))
}

/// One script, likewise.
pub(crate) fn script(name: &str, dir: &str, trace: Option<&str>) -> ExitCode {
    let (name, dir, trace) = (name.to_owned(), PathBuf::from(dir), trace.map(PathBuf::from));
    alone(Seed(1).child(&name), move || script::run(&name, &dir, trace.as_deref()))
}

fn alone(seed: Seed, running: impl FnOnce() -> Report + Send + 'static) -> ExitCode {
    entropy::begin(seed);
    // A thread of its own: this one has drawn the keys of its maps already.
    let Ok(report) = std::thread::spawn(running).join() else { return ExitCode::FAILURE };
    println!("{}", report.line());
    ExitCode::SUCCESS
}

/// What a process said about its seed.
#[derive(Debug, Default)]
struct Outcome {
    operations: u64,
    acknowledged: u64,
    faults: BTreeMap<String, u64>,
    converged_secs: u64,
    trace: String,
    violations: Vec<String>,
}

impl Outcome {
    fn of(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let count = |name: &str| value[name].as_u64();
        let faults = value["faults"].as_object()?;
        let violations = value["violations"].as_array()?;
        Some(Self {
            operations: count("operations")?,
            acknowledged: count("acknowledged")?,
            faults: faults.iter().map(|(k, v)| (k.clone(), v.as_u64().unwrap_or(0))).collect(),
            converged_secs: count("converged_secs")?,
            trace: value["trace"].as_str()?.to_owned(),
            violations: violations.iter().map(|v| v.as_str().unwrap_or("?").to_owned()).collect(),
        })
    }

    fn broken(violation: String) -> Self {
        Self { violations: vec![violation], ..Self::default() }
    }
}

/// A directory of one run, removed at its end.
struct Dir(PathBuf);

impl Dir {
    /// In memory where that can be: the trackers' state files are real, and synced.
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = place.join(format!("fastdisk-sim-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `seed` in a new process, in `dir`, with the planted bug `plant` if there is one.
fn run_one(seed: Seed, dir: &Dir, trace: Option<&Path>, plant: Option<&str>) -> Outcome {
    run_process(["one", &format!("{:#x}", seed.0)], dir, trace, plant)
}

fn run_process(what: [&str; 2], dir: &Dir, trace: Option<&Path>, plant: Option<&str>) -> Outcome {
    let own = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(own);
    command.args(what).arg(&dir.0).args(trace);
    command.env_remove("FASTDISK_PLANT").envs(plant.map(|plant| ("FASTDISK_PLANT", plant)));
    let said = |name: &str| fs::File::create(dir.0.join(name)).expect("the directory is ours");
    command.stdin(Stdio::null()).stdout(said("stdout")).stderr(said("stderr"));
    let mut child = command.spawn().expect("this program can be started");
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break Some(status),
            None if HANGS < begun.elapsed() => break None,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    if ended.is_none() {
        child.kill().expect("a child can be ended");
        child.wait().expect("a child can be waited for");
        return Outcome::broken(format!("it hangs: no end within {HANGS:?}"));
    }
    let read = |name: &str| fs::read_to_string(dir.0.join(name)).unwrap_or_default();
    Outcome::of(&read("stdout")).unwrap_or_else(|| {
        let words = read("stderr");
        let lines: Vec<&str> = words.lines().take(LAST_WORDS).collect();
        Outcome::broken(format!("the process died: {}", lines.join("\n    ")))
    })
}

/// All seeds together.
#[derive(Debug, Default)]
struct Sum {
    passed: u64,
    failed: u64,
    twice: u64,
    operations: u64,
    acknowledged: u64,
    slowest: u64,
    faults: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, seed: Seed, outcome: &Outcome) {
        self.operations += outcome.operations;
        self.acknowledged += outcome.acknowledged;
        self.slowest = self.slowest.max(outcome.converged_secs);
        for (name, times) in &outcome.faults {
            *self.faults.entry(name.clone()).or_default() += times;
        }
        if outcome.violations.is_empty() {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        println!("FAIL sim seed={:#018x} commit={}", seed.0, commit());
        for violation in &outcome.violations {
            println!("  {violation}");
        }
        println!("REPLAY make test-sim SEED={:#018x} TRACE=1", seed.0);
        println!("KEPT {}", keep(seed).display());
    }
}

/// Runs `seed` once more, and keeps what it writes.
fn keep(seed: Seed) -> PathBuf {
    let kept = PathBuf::from(format!("target/failures/sim-{:#018x}", seed.0));
    let dir = Dir::new();
    run_one(seed, &dir, Some(&dir.0.join("trace.txt")), None);
    save(&dir, &kept)
}

/// Copies what a run has left to `kept`.
fn save(dir: &Dir, kept: &Path) -> PathBuf {
    if let Err(error) = copy(&dir.0, kept) {
        println!("keep {}: {error}", kept.display());
    }
    kept.to_owned()
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => copy(&from, &to)?,
            false => fs::copy(&from, &to).map(drop)?,
        }
    }
    Ok(())
}

/// Runs `seed`, twice if `twice`, and returns what came of it.
fn judge(seed: Seed, twice: bool) -> Outcome {
    let first = Dir::new();
    let trace = |dir: &Dir| twice.then(|| dir.0.join("trace.txt"));
    let mut outcome = run_one(seed, &first, trace(&first).as_deref(), None);
    if !twice || outcome.trace.is_empty() {
        return outcome;
    }
    let second = Dir::new();
    let again = run_one(seed, &second, trace(&second).as_deref(), None);
    if again.trace != outcome.trace {
        let read = |dir: &Dir| fs::read_to_string(dir.0.join("trace.txt")).unwrap_or_default();
        let (one, other) = (read(&first), read(&second));
        let lines = one.lines().zip(other.lines()).enumerate();
        let differ = lines.skip_while(|(_, (a, b))| a == b).map(|(n, (a, b))| (n + 1, a, b)).next();
        let what = match differ {
            Some((number, a, b)) => format!("line {number}:\n    {a}\n    {b}"),
            None => "one trace is longer, or only the histories differ".to_owned(),
        };
        outcome.violations.push(format!("two runs differ, first in {what}"));
    }
    outcome
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().as_deref().and_then(parse)
}

/// As the environment says.
pub(crate) fn all() -> ExitCode {
    if let (Some(seed), None, None) = (number("SEED"), number("N"), number("TIME")) {
        return replay(Seed(seed));
    }
    if let Ok(name) = std::env::var("SCRIPT") {
        return if scripted(&name) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let base = Seed::of_this_run("sim");
    let limit = Duration::from_secs(number("TIME").unwrap_or(TIME_SECS));
    let count = number("N");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = number("JOBS").and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or(cores);
    let begun = Instant::now();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let enough = match count {
                        Some(count) => count <= number,
                        None => limit < begun.elapsed(),
                    };
                    if enough {
                        return;
                    }
                    let seed = base.child(&format!("seed{number}"));
                    let twice = number % TWICE == 0;
                    let outcome = judge(seed, twice);
                    let mut sum = sum.lock().expect("no job panics");
                    sum.twice += u64::from(twice);
                    sum.add(seed, &outcome);
                }
            });
        }
    });
    let mut sum = sum.into_inner().expect("no job panics");
    println!(
        "{} seeds in {} s, {} of them twice, {} operations, {} acknowledged, faults {:?}; members \
         were equal {} virtual seconds after healing at the latest",
        sum.passed + sum.failed,
        begun.elapsed().as_secs(),
        sum.twice,
        sum.operations,
        sum.acknowledged,
        sum.faults,
        sum.slowest
    );
    for (name, _) in SCRIPTS {
        match scripted(name) {
            true => sum.passed += 1,
            false => sum.failed += 1,
        }
    }
    for plant in PLANTS {
        match found_within(plant, base) {
            Some(seeds) => {
                println!("planted `{plant}`: found by seed {seeds}");
                sum.passed += 1;
            }
            None => {
                println!("FAIL sim planted `{plant}` was not found within {PLANT_SEEDS} seeds");
                sum.failed += 1;
            }
        }
    }
    println!("{} passed, {} failed, 0 skipped", sum.passed, sum.failed);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the script `name` ends well.
fn scripted(name: &str) -> bool {
    let dir = Dir::new();
    let trace = dir.0.join("trace.txt");
    let outcome = run_process(["script", name], &dir, Some(&trace), None);
    if outcome.violations.is_empty() {
        println!("script `{name}`: well after {} virtual seconds", outcome.converged_secs);
        return true;
    }
    println!("FAIL sim script `{name}` commit={}", commit());
    outcome.violations.iter().for_each(|violation| println!("  {violation}"));
    let kept = PathBuf::from(format!("target/failures/sim-{}", name.replace(' ', "-")));
    println!("KEPT {}", save(&dir, &kept).display());
    false
}

/// The number of the seed that finds the planted bug.
fn found_within(plant: &str, base: Seed) -> Option<u64> {
    (1..=PLANT_SEEDS).find(|number| {
        let seed = base.child(&format!("plant{number}"));
        !run_one(seed, &Dir::new(), None, Some(plant)).violations.is_empty()
    })
}

/// One seed again, with its trace if that is asked for.
fn replay(seed: Seed) -> ExitCode {
    let dir = Dir::new();
    let trace = dir.0.join("trace.txt");
    let outcome = run_one(seed, &dir, Some(&trace), std::env::var("PLANT").ok().as_deref());
    if number("TRACE") == Some(1) {
        print!("{}", fs::read_to_string(&trace).unwrap_or_default());
    }
    println!("trace {}", outcome.trace);
    let mut sum = Sum::default();
    sum.add(seed, &outcome);
    println!("{} operations, {} acknowledged", sum.operations, sum.acknowledged);
    println!("{} passed, {} failed, 0 skipped", sum.passed, sum.failed);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
