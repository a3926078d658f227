//! A new member is filled before it is in service, also while clients go on.

use std::fs;

use crate::support::checker::Facts;
use crate::support::history::{Content, now_ms};
use crate::support::wait::eventually;
use crate::{CONVERGE, Load, World, refusals};

#[test]
fn a_new_member_has_everything_when_it_is_in_service() {
    let world = World::start("new-member", 3, 2, "");
    let client = world.client(9);
    let ids = world.runtime.block_on(async {
        let mut ids = Vec::new();
        for seed in 0..120 {
            let id = client.upload(Content { seed, len: 2_000 }).await.expect("it is taken");
            if seed % 10 == 0 {
                client.set_metadata(&id, Content { seed, len: 2 }).await.expect("it is taken");
            }
            ids.push(id);
        }
        ids
    });
    let load = Load::start(&world, 2);
    world.cluster.storages[2].start();
    world.wait_for_active(3);
    let new = world.cluster.storages[2].on_disk("group1");
    for id in &ids {
        assert!(new.contains_key(&id.to_string()), "{id} is not at the new member");
    }
    load.stop(&world);
    world.check(&Facts { allowed: refusals(), ..Facts::default() });
}

/// Takes what `wiped` names away from a stopped member and starts it again, while clients go on:
/// when it is in service it has everything.
fn refilled(name: &str, wiped: &[&str]) {
    let world = World::start(name, 3, 3, "");
    let client = world.client(9);
    let upload = |seeds: std::ops::Range<u64>| {
        world.runtime.block_on(async {
            let mut ids = Vec::new();
            for seed in seeds {
                ids.push(client.upload(Content { seed, len: 2_000 }).await.expect("it is taken"));
            }
            ids
        })
    };
    let ids = upload(0..90);
    world.converge();
    for id in &ids[..10] {
        let storages: Vec<_> = world.cluster.storages.iter().map(|s| s.address).collect();
        let at = crate::source(id, &storages);
        world.runtime.block_on(client.delete(id, at)).expect("it is there");
    }
    world.converge();
    let from = now_ms();
    let victim = &world.cluster.storages[1];
    assert!(victim.stop().success(), "it ends in good order");
    for part in wiped {
        let dir = victim.dir.join(part);
        fs::remove_dir_all(&dir).expect("it was there");
        fs::create_dir_all(&dir).expect("a disk that is replaced is empty");
    }
    let load = Load::start(&world, 2);
    victim.start();
    // Not yet filled, it is not called missing there.
    eventually("it asks the others for what it lacks", CONVERGE, || {
        let bytes = world.runtime.block_on(client.read(&ids[50], Some(victim.address))).ok()?;
        assert!(bytes == Content { seed: 50, len: 2_000 }.bytes());
        Some(())
    });
    world.wait_for_active(3);
    let refilled = victim.on_disk("group1");
    for id in &ids[10..] {
        assert!(refilled.contains_key(&id.to_string()), "{id} did not come back");
    }
    load.stop(&world);
    let cut_off = vec![(from, now_ms())];
    world.check(&Facts { allowed: refusals(), cut_off, ..Facts::default() });
}

#[test]
fn a_replaced_disk_is_refilled_before_it_is_in_service() {
    refilled("replaced-disk", &["store0"]);
}

#[test]
fn a_member_that_lost_everything_is_filled_again() {
    refilled("lost-everything", &["store0", "base"]);
}
