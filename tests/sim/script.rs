//! Sequences of faults that once led to a loss, step by step and without chance: seeds lose their
//! meaning when code changes, these do not (testing.md 6.8).
//!
//! Each starts with a whole cluster whose members hold the same files, and ends when they do so
//! again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{change_in_turn, upload};
use crate::cluster::{Cluster, End, STORAGES, TRACKERS};
use crate::run::{Report, converge};
use crate::support::history::{Content, History, Kind};
use crate::support::seed::Seed;
use crate::trace;
use crate::world::elapsed_millis;

/// Files of each script.
const FILES: usize = 20;
/// In it whoever can reach somebody has done so.
const MOMENT: Duration = Duration::from_secs(6);

type Steps = fn(&mut Cluster<'_>, &Arc<History>) -> Result<(), String>;

/// Names, and what happens.
pub(crate) const SCRIPTS: [(&str, Steps); 6] = [
    ("one tracker hears late that a member lost everything", heard_late),
    ("both trackers forget a member that is not filled", both_forget),
    ("both trackers forget members that had filled each other", filled_each_other),
    ("one tracker is not told that a member is filled", not_told),
    ("a member loses its disk again and again", again_and_again),
    ("an appender grows and is cut before one member has heard of either", cut_again),
];

/// Runs the script `name` in the empty directory `dir`.
pub(crate) fn run(name: &str, dir: &Path, trace: Option<&Path>) -> Report {
    trace::begin(dir, trace);
    let known = SCRIPTS.iter().find(|(known, _)| *known == name);
    let (_, steps) = known.expect("a script of this name");
    let seed = Seed(1).child(name);
    let mut cluster = Cluster::start(seed, dir, &[], "");
    let history = Arc::new(History::create_at(&dir.join("history.jsonl"), elapsed_millis));
    let written = Arc::clone(&history);
    cluster.sim.client("client0", async move {
        upload(FILES, seed.child("client0"), &written).await;
        Ok(())
    });
    let mut all = || {
        cluster.pass(Duration::from_secs(15))?;
        converge(&mut cluster, &history)?;
        trace::event(format_args!("script: {name}"));
        steps(&mut cluster, &history)?;
        cluster.heal();
        converge(&mut cluster, &history)
    };
    let (converged_secs, violations) = match all() {
        Ok(secs) => (secs, Vec::new()),
        Err(what) => (0, vec![what]),
    };
    drop(cluster);
    let (trace, _) = trace::end();
    Report {
        operations: history.calls(),
        acknowledged: history.acknowledged(),
        faults: Vec::new(),
        converged_secs,
        trace,
        violations,
    }
}

/// Storage 2 lost everything and may reach nobody but one tracker, and then nobody but the
/// other, which leads.
fn heard_late(cluster: &mut Cluster<'_>, _: &Arc<History>) -> Result<(), String> {
    cluster.stop_tracker(0);
    cluster.pass(MOMENT)?;
    cluster.start_node("tracker0");
    cluster.pass(MOMENT)?;
    for other in ["tracker1", "storage0", "storage1"] {
        cluster.cut("storage2", other, true);
    }
    cluster.wipe(2, true);
    cluster.pass(MOMENT)?;
    cluster.cut("storage2", "tracker0", true);
    cluster.repair("storage2", "tracker1");
    cluster.pass(MOMENT)
}

/// Storage 2 lost everything and has not been filled when both trackers lose their files; it is
/// the first one that comes back.
fn both_forget(cluster: &mut Cluster<'_>, _: &Arc<History>) -> Result<(), String> {
    for other in ["storage0", "storage1"] {
        cluster.cut("storage2", other, true);
    }
    cluster.wipe(2, true);
    cluster.pass(MOMENT)?;
    for number in [0, 1] {
        cluster.stop_storage(number, End::Kill);
    }
    forget(cluster);
    cluster.pass(MOMENT)
}

/// Storages 0 and 1 have each been filled by the other one; they are started again when both
/// trackers have lost their files.
fn filled_each_other(cluster: &mut Cluster<'_>, _: &Arc<History>) -> Result<(), String> {
    cluster.stop_storage(2, End::Kill);
    for number in [0, 1] {
        cluster.wipe(number, true);
        cluster.pass(3 * MOMENT)?;
    }
    for number in [0, 1] {
        cluster.stop_storage(number, End::Kill);
    }
    forget(cluster);
    (0..STORAGES).for_each(|number| cluster.start_node(&format!("storage{number}")));
    Ok(())
}

/// Storage 2 lost everything; the one that fills it can tell that only to the tracker that leads.
fn not_told(cluster: &mut Cluster<'_>, _: &Arc<History>) -> Result<(), String> {
    for other in ["storage0", "storage1"] {
        cluster.cut("tracker0", other, true);
    }
    cluster.wipe(2, true);
    cluster.pass(3 * MOMENT)
}

/// Storage 2 loses its disk at ever another time after the last list of members: those who send
/// to it have heard of that, or not yet.
fn again_and_again(cluster: &mut Cluster<'_>, history: &Arc<History>) -> Result<(), String> {
    for number in 0..12 {
        cluster.wipe(2, number % 2 == 0);
        converge(cluster, history)?;
        cluster.pass(number * Duration::from_millis(85))?;
    }
    Ok(())
}

/// An appender is overwritten beyond its end and cut to less than it was, so that what was
/// overwritten before that is still there; storage 2 has it as it was first.
fn cut_again(cluster: &mut Cluster<'_>, history: &Arc<History>) -> Result<(), String> {
    let written = Arc::clone(history);
    cluster.sim.client("client1", async move {
        let first = Content { seed: 1, len: 1000 };
        // Written from 500 on, then cut at 800.
        let over = Content { seed: 500, len: 1000 };
        let cut = Content { seed: 800, len: 0 };
        let changes = [(Kind::Modify, over), (Kind::Truncate, cut)];
        change_in_turn(first, MOMENT, &changes, &written).await;
        Ok(())
    });
    cluster.pass(MOMENT / 2)?;
    cluster.cut("storage0", "storage2", true);
    cluster.pass(2 * MOMENT)
}

/// All trackers lose their files.
fn forget(cluster: &mut Cluster<'_>) {
    for number in 0..TRACKERS {
        cluster.stop_tracker(number);
        cluster.wipe_tracker(number);
    }
    (0..TRACKERS).for_each(|number| cluster.start_node(&format!("tracker{number}")));
}
