//! Members die in turn, under load, and come back: nothing acknowledged is lost or returns.

use std::time::Duration;

use crate::support::checker::Facts;
use crate::support::history::{Content, now_ms};
use crate::support::wait::eventually;
use crate::{CONVERGE, Load, World, refusals};

/// Deaths of one run, and how much is acknowledged between them.
const DEATHS: usize = 6;
const EVENTS_BETWEEN: usize = 120;

#[test]
fn members_that_are_killed_in_turn_end_up_equal() {
    let world = World::start("kill-in-turn", 3, 3, "");
    let load = Load::start(&world, 4);
    let mut down = Vec::new();
    for death in 0..DEATHS {
        world.go_on(EVENTS_BETWEEN);
        let victim = &world.cluster.storages[death % 3];
        let from = now_ms();
        victim.kill();
        world.go_on(EVENTS_BETWEEN / 4);
        victim.start();
        world.wait_for_active(3);
        down.push((from, now_ms()));
    }
    load.stop(&world);
    world.check(&Facts { allowed: refusals(), cut_off: down, ..Facts::default() });
}

#[test]
fn all_members_may_die_at_once() {
    let world = World::start("kill-all", 3, 3, "");
    let load = Load::start(&world, 4);
    let mut down = Vec::new();
    for _ in 0..2 {
        world.go_on(EVENTS_BETWEEN);
        let from = now_ms();
        world.cluster.storages.iter().for_each(|storage| storage.kill());
        world.cluster.storages.iter().for_each(|storage| storage.start());
        world.wait_for_active(3);
        down.push((from, now_ms()));
    }
    load.stop(&world);
    world.check(&Facts { allowed: refusals(), cut_off: down, ..Facts::default() });
}

#[test]
fn a_file_can_be_read_at_every_member_as_soon_as_it_is_acknowledged() {
    let world = World::start("read-at-once", 3, 3, "");
    let client = world.client(1);
    world.runtime.block_on(async {
        for seed in 0..60 {
            let content = Content { seed, len: 10_000 };
            let id = client.upload(content).await.expect("an upload is taken");
            let routed = client.read(&id, None).await.expect("it is routed to who has it");
            assert!(routed == content.bytes());
            for storage in &world.cluster.storages {
                let bytes = client.read(&id, Some(storage.address)).await;
                let bytes = bytes.unwrap_or_else(|e| panic!("{id} at {}: {e}", storage.address));
                assert!(bytes == content.bytes(), "{id} at {}", storage.address);
            }
        }
    });
    world.check(&Facts::default());
}

#[test]
fn metadata_set_at_one_member_after_the_other_are_the_last_ones_everywhere() {
    let world = World::start("metadata", 3, 3, "");
    let client = world.client(1);
    for seed in 0..10 {
        let upload = client.upload(Content { seed, len: 100 });
        let id = world.runtime.block_on(upload).expect("an upload is taken");
        for (turn, storage) in (0..).zip(&world.cluster.storages) {
            let (content, at) = (Content { seed: 100 * seed + turn, len: 3 }, storage.address);
            // The file may be on its way to this one, and so may the metadata before these.
            eventually(&format!("{id} comes to {at}"), CONVERGE, || {
                let set = world.runtime.block_on(client.set_metadata_at(&id, content, at));
                let set = set.inspect_err(|e| assert!(e.is_not_found(), "{id} at {at}: {e}"));
                set.ok()
            });
        }
    }
    world.check(&Facts { allowed: refusals(), ..Facts::default() });
}

#[test]
fn a_rolling_restart_is_not_noticed() {
    let world = World::start("rolling", 3, 3, "");
    let load = Load::start(&world, 2);
    let mut down = Vec::new();
    for storage in &world.cluster.storages {
        let from = now_ms();
        assert!(storage.stop().success(), "it ends in good order");
        storage.start();
        world.wait_for_active(3);
        down.push((from, now_ms() + Duration::from_secs(1).as_millis() as u64));
    }
    load.stop(&world);
    world.check(&Facts { allowed: refusals(), cut_off: down, ..Facts::default() });
}
