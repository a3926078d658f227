//! Members and tracker whose clocks are wrong, jump, run fast or stand still: no outcome changes.
//!
//! Clients have the true time. What they are told, and where they are sent, must not depend on
//! what the others take for now. The clock that is set is the one that the programs ask; the one
//! by which file systems note changes is the machine's, so the two differ, too.

use std::collections::BTreeSet;

use crate::support::checker::Facts;
use crate::support::history::now_ms;
use crate::{Load, World, refusals};

/// What is acknowledged between two changes of the clocks.
const EVENTS_BETWEEN: usize = 100;
/// `[2026-11-27`, at the beginning of each line of a log.
const DATE_LEN: usize = 11;
/// Clocks of the tracker and of three members, one row after the other. In 2038 the seconds no
/// longer fit 31 bits; a clock without a sign before its time stands still.
const CLOCKS: [[&str; 4]; 5] = [
    ["+0d", "+1d", "-1d", "+0d x2"],
    ["-1d", "-1h", "+1h", "-20700d"],
    ["+4100d", "+4100d", "+0d", "-1d"],
    ["+0d x2", "2026-01-01 00:00:00", "+4100d", "-1d x0.5"],
    ["+1h", "+0d", "-20700d", "2026-01-01 00:00:00"],
];

#[test]
fn wrong_clocks_change_nothing() {
    let world = World::prepare("clocks", 3, "");
    world.set_clocks(&CLOCKS[0]);
    world.start_all(3);
    the_clocks_are_wrong(&world);
    let load = Load::start(&world, 4);
    let mut down = Vec::new();
    for (turn, clocks) in CLOCKS.iter().enumerate() {
        world.set_clocks(clocks);
        world.go_on(EVENTS_BETWEEN);
        let from = now_ms();
        let victim = &world.cluster.storages[turn % 3];
        victim.kill();
        victim.start();
        world.wait_for_active(3);
        down.push((from, now_ms()));
        world.go_on(EVENTS_BETWEEN);
    }
    load.stop(&world);
    let events = world.history.events();
    let ids: Vec<&String> = events.iter().filter_map(|e| e.outcome.file_id.as_ref()).collect();
    let different: BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "two files have one id");
    world.check(&Facts { allowed: refusals(), cut_off: down, ..Facts::default() });
}

/// Else nothing would be tested: the second member begins its log a day before the third, and
/// the first a day after it.
fn the_clocks_are_wrong(world: &World) {
    let date = |member: usize| {
        let log = world.cluster.storages[member].log();
        log.get(..DATE_LEN).expect("its log has a line").to_owned()
    };
    assert!(date(1) < date(2) && date(2) < date(0), "{} {} {}", date(0), date(1), date(2));
}
