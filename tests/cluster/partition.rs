//! Networks that are cut between members, between a member and its tracker, and around a member:
//! nothing acknowledged is lost, no answer is wrong, and members become equal when it heals.
//!
//! The test runs in a network namespace of its own. Packets between two addresses vanish there by
//! a rule of routing, as behind a broken switch: what is connected hangs, what connects times out.

use std::process::Command;

use crate::support::checker::Facts;
use crate::support::history::now_ms;
use crate::support::wait::eventually_or;
use crate::{CONVERGE, Load, World, refusals};

/// What is acknowledged while a network is cut.
const EVENTS_WHILE: usize = 100;
/// The tracker, the first member and all clients are at `.1`.
const FIRST: &str = "127.0.0.1";
pub(crate) const SECOND: &str = "127.0.0.2";
pub(crate) const THIRD: &str = "127.0.0.3";
/// From whom to whom no packet gets.
pub(crate) type Cut = &'static [(&'static str, &'static str)];
pub(crate) const BETWEEN_TWO: Cut = &[(SECOND, THIRD), (THIRD, SECOND)];
pub(crate) const ONE_WAY: Cut = &[(THIRD, SECOND)];
/// The second member has the third alone.
pub(crate) const FROM_THE_TRACKER: Cut = &[(SECOND, FIRST), (FIRST, SECOND)];
pub(crate) const AROUND_ONE: Cut =
    &[(THIRD, FIRST), (FIRST, THIRD), (THIRD, SECOND), (SECOND, THIRD)];

/// Runs a program of the system, given with its arguments.
pub(crate) fn run(command: &str) {
    let mut words = command.split(' ');
    let program = words.next().expect("there is a program");
    let done = Command::new(program).args(words).output();
    let done = done.unwrap_or_else(|e| panic!("{program}: {e}: conf/deps.sh test installs it"));
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Runs this test again in a process with a network and mounts of its own, and says whether this
/// is that process. Whoever is not root is root there.
pub(crate) fn has_own_network(test: &str) -> bool {
    const INSIDE: &str = "FASTDISK_TEST_OWN_NETWORK";

    if std::env::var_os(INSIDE).is_some() {
        run("ip link set lo up");
        // Local addresses are looked up by the very first rule; ours go before it.
        run("ip rule add pref 10 lookup local");
        run("ip rule del pref 0");
        return true;
    }
    let user = Command::new("id").arg("-u").output().expect("coreutils are installed").stdout;
    let options: &[&str] = if user == b"0\n" {
        &["--net", "--mount"]
    } else {
        &["--user", "--map-root-user", "--net", "--mount"]
    };
    let done = Command::new("unshare")
        .args(options)
        .arg(std::env::current_exe().expect("it runs"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes")
        .status();
    assert!(done.expect("util-linux is installed").success(), "{test} in a network of its own");
    false
}

pub(crate) fn rule(what: &str, cut: Cut) {
    for (from, to) in cut {
        run(&format!("ip rule {what} pref 5 from {from} to {to} blackhole"));
    }
}

/// Cuts, waits until `noticed` by who is concerned and until the rest has gone on, and heals.
/// Returns when it was cut.
fn hold(world: &World, cut: Cut, noticed: impl Fn() -> Option<()>) -> (u64, u64) {
    let from = now_ms();
    rule("add", cut);
    eventually_or(CONVERGE, noticed, || format!("{cut:?} is not noticed"));
    world.go_on(EVENTS_WHILE);
    rule("del", cut);
    world.wait_for_active(3);
    (from, now_ms())
}

#[test]
fn a_network_that_is_cut_loses_nothing() {
    if !has_own_network("partition::a_network_that_is_cut_loses_nothing") {
        return;
    }
    let world = World::prepare_impatient("partition");
    world.start_all(3);
    let load = Load::start(&world, 4);
    let lost = |member: usize, peer: &str| world.has_lost(member, peer);
    let offline = |member: &str| {
        let state = format!("storage=\"{member}\",state=\"OFFLINE\"}} 1");
        world.cluster.tracker.metrics().lines().any(|line| line.ends_with(&state))
    };
    hold(&world, BETWEEN_TWO, || (lost(1, THIRD) && lost(2, SECOND)).then_some(()));
    hold(&world, ONE_WAY, || (lost(1, THIRD) && lost(2, SECOND)).then_some(()));
    let mut down = Vec::new();
    down.push(hold(&world, FROM_THE_TRACKER, || {
        (offline(SECOND) && lost(0, SECOND)).then_some(())
    }));
    down.push(hold(&world, AROUND_ONE, || (offline(THIRD) && lost(2, SECOND)).then_some(())));
    load.stop(&world);
    world.check(&Facts { allowed: refusals(), cut_off: down, ..Facts::default() });
}
