//! A member that hangs, with its connections open and no answer on any, stops nobody else: the
//! others take files and bring them to each other, and when it goes on it gets all of it.

use crate::support::checker::Facts;
use crate::support::history::{Content, now_ms};
use crate::support::wait::eventually;
use crate::{CONVERGE, World, refusals};

/// Files of one round.
const FILES: u64 = 100;

/// Uploads a round of files and waits until both of the first two members have each of them;
/// returns how many files a second that was.
fn round(world: &World, first: u64) -> f64 {
    let client = world.client(1);
    let begun = now_ms();
    let ids = world.runtime.block_on(async {
        let mut ids = Vec::new();
        for seed in first..first + FILES {
            let content = Content { seed, len: 20_000 };
            ids.push(client.upload(content).await.expect("an upload is taken").to_string());
        }
        ids
    });
    let [one, other, ..] = &world.cluster.storages[..] else { panic!("three members") };
    eventually("two members have all", CONVERGE, || {
        let (one, other) = (one.on_disk("group1"), other.on_disk("group1"));
        ids.iter().all(|id| one.contains_key(id) && one.get(id) == other.get(id)).then_some(())
    });
    FILES as f64 * 1000.0 / (now_ms() - begun) as f64
}

#[test]
fn a_member_that_hangs_stops_nobody_else() {
    let world = World::start("hanging", 3, 3, "");
    let free = round(&world, 0);
    let hanging = &world.cluster.storages[2];
    let from = now_ms();
    hanging.signal("STOP");
    // The tracker sends nobody there any more.
    world.wait_for_active(2);
    let beside = round(&world, FILES);
    assert!(hanging.is_stopped(), "it has hung all the time");
    let missing =
        world.cluster.storages[0].on_disk("group1").len() - hanging.on_disk("group1").len();
    assert!(FILES as usize <= missing, "it cannot have got anything: {missing}");
    println!("{free:.0} files/s at two members; {beside:.0} files/s beside a third that hangs");
    hanging.signal("CONT");
    world.wait_for_active(3);
    let cut_off = vec![(from, now_ms())];
    world.check(&Facts { allowed: refusals(), cut_off, ..Facts::default() });
}
