//! One run of one seed: a storm of operations and faults, healing, and the comparison of every
//! copy with what the clients were told.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::client::client;
use crate::cluster::{Cluster, STORAGES};
use crate::support::checker::{Facts, Members, held, pairs, seen};
use crate::support::history::{Event, History, Kind, Phase};
use crate::support::seed::{Rng, Seed};
use crate::trace;
use crate::weather::{Faults, Weather};
use crate::world::elapsed_millis;

const CLIENTS: u32 = 3;
const STORM: Duration = Duration::from_secs(40);
/// Between two throws of the dice about faults.
const GUST: Duration = Duration::from_millis(500);
/// One run of so many wipes a member when all is equal.
const WIPES: u64 = 3;
/// Within this time of calm all members must be equal.
const CONVERGE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_secs(1);
/// Statuses of refusals that a cluster in trouble gives: no such file, no storage that could
/// take it, again later, busy, input/output error, no room, read-only.
const REFUSALS: [u8; 9] = [2, 5, 11, 14, 16, 17, 22, 28, 30];

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) operations: usize,
    pub(crate) acknowledged: usize,
    pub(crate) faults: Vec<(&'static str, u64)>,
    /// Virtual seconds from healing to equal members.
    pub(crate) converged_secs: u64,
    /// Of all that happened, in order.
    pub(crate) trace: u64,
    pub(crate) violations: Vec<String>,
}

impl Report {
    /// One line, for the process that started this one.
    pub(crate) fn line(&self) -> String {
        let faults: Map<String, Value> =
            self.faults.iter().map(|(name, times)| ((*name).to_owned(), json!(times))).collect();
        json!({
            "operations": self.operations, "acknowledged": self.acknowledged, "faults": faults,
            "converged_secs": self.converged_secs, "trace": format!("{:016x}", self.trace),
            "violations": self.violations,
        })
        .to_string()
    }
}

/// Runs `seed` in the empty directory `dir`; the trace goes to `trace`, if that is a file.
///
/// Once in a process: tokio counts what it made, and takes its order from that.
pub(crate) fn run(seed: Seed, dir: &Path, trace: Option<&Path>) -> Report {
    trace::begin(dir, trace);
    let mut rng = seed.child("weather").rng();
    let weather = Weather::of(&mut rng);
    let clocks: Vec<i64> = (0..STORAGES).map(|_| clock_error(&mut rng)).collect();
    let lines = if rng.below(3) == 0 { "copies = 2\n" } else { "" };
    let mut cluster = Cluster::start(seed, dir, &clocks, lines);
    let history = Arc::new(History::create_at(&dir.join("history.jsonl"), elapsed_millis));
    let files = Arc::new(Mutex::new(Vec::new()));
    for number in 0..CLIENTS {
        let (history, files) = (Arc::clone(&history), Arc::clone(&files));
        let seed = seed.child(&format!("client{number}"));
        cluster.sim.client(format!("client{number}"), async move {
            client(number, seed, &history, &files).await;
            Ok(())
        });
    }
    let mut faults = Faults::default();
    let mut broken = Vec::new();
    let mut storm = || -> Result<u64, String> {
        let begun = cluster.sim.elapsed();
        while cluster.sim.elapsed() - begun < STORM {
            cluster.pass(GUST)?;
            // The first seconds are calm, so that a cluster comes to be.
            if Duration::from_secs(8) < cluster.sim.elapsed() {
                weather.blow(&mut cluster, &mut rng, &mut faults);
            }
        }
        cluster.heal();
        let took = converge(&mut cluster, &history)?;
        if rng.below(WIPES) == 0 {
            let number = usize::try_from(rng.below(STORAGES as u64)).expect("small");
            let everything = rng.below(2) == 0;
            cluster.wipe(number, everything);
            faults.count("wiped member");
            converge(&mut cluster, &history)?;
        }
        Ok(took)
    };
    let converged_secs = storm().unwrap_or_else(|what| {
        broken.push(what);
        0
    });
    broken.extend(seen(&history.events(), &facts()));
    let text = std::fs::read(dir.join("history.jsonl")).expect("it was written");
    let kept = trace.is_some();
    if kept && !broken.is_empty() {
        cluster.write_disks(&dir.join("disks"));
    }
    // What the programs say while they are taken away is no finding.
    let (trace, errors) = trace::end();
    drop(cluster);
    if !faults.is_rough() {
        // Said as an alarm: the setting was to answer with one copy then.
        broken.extend(errors.into_iter().filter(|line| !line.contains("copies = 2")));
    }
    Report {
        operations: history.calls(),
        acknowledged: history.acknowledged(),
        faults: faults.0.into_iter().collect(),
        converged_secs,
        trace: trace::fnv(trace, &text),
        violations: broken,
    }
}

/// What is judged of answers: members can be out of reach at any time, and refuse.
fn facts() -> Facts {
    let changes = [Kind::Append, Kind::Modify, Kind::Truncate, Kind::SetMetadata, Kind::Delete];
    let kinds = changes.into_iter().chain([Kind::Upload, Kind::Read]);
    let refused = |kind| REFUSALS.map(|status| (kind, status));
    Facts {
        converged_at: None,
        cut_off: vec![(0, u64::MAX)],
        allowed: kinds.flat_map(refused).collect(),
        errors: Vec::new(),
    }
}

/// Waits until the members hold what they must and are in service everywhere; says after how many
/// virtual seconds.
pub(crate) fn converge(cluster: &mut Cluster<'_>, history: &History) -> Result<u64, String> {
    let begun = cluster.sim.elapsed();
    cluster.look_at_trackers();
    loop {
        cluster.pass(LOOK)?;
        let (events, members) = (history.events(), cluster.members());
        let mut wrong = held(&events, &members);
        wrong.retain(|what| !is_order_of_metadata(what, &events, &members));
        wrong.extend(cluster.not_served());
        let took = cluster.sim.elapsed() - begun;
        if wrong.is_empty() && !history.has_open_calls() {
            return Ok(took.as_secs());
        }
        if CONVERGE < took {
            return Err(format!("no convergence within {CONVERGE:?}:\n  {}", wrong.join("\n  ")));
        }
    }
}

/// Whether a violation is only that of several metadata set for one file, at members that could
/// not hear of each other or whose clocks differ, others than the last ones stayed: everywhere
/// the same, and ones that were set. Nothing on the wire could tell their order (sync.md 5.6).
fn is_order_of_metadata(what: &str, events: &[Event], members: &Members) -> bool {
    let Some(id) = what
        .strip_prefix("P1: metadata of ")
        .and_then(|rest| rest.strip_suffix(" are not the last acknowledged"))
    else {
        return false;
    };
    let set = events.iter().filter(|e| e.kind == Kind::SetMetadata && e.target == id);
    let set: Vec<_> =
        set.filter(|e| e.phase == Phase::Call).filter_map(|e| e.content).map(pairs).collect();
    let held = members.values().filter_map(|files| files.get(id));
    1 < set.len() && held.into_iter().all(|copy| set.contains(&copy.metadata))
}

/// Most clocks are right; some are wrong by hours or days (P13).
fn clock_error(rng: &mut Rng) -> i64 {
    const HOUR: i64 = 3_600_000;
    match rng.below(6) {
        0 => HOUR,
        1 => -HOUR,
        2 => 24 * HOUR,
        _ => 0,
    }
}
