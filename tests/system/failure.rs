//! Deaths at the worst moment: what was acknowledged is there after the restart, and whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proto::fileid::FileId;

use crate::World;
use crate::support::checker::Facts;
use crate::support::history::{Content, Kind};
use crate::support::seed::Seed;
use crate::support::wait::eventually;

/// Clients that upload at the same time, and times the storage is killed under them.
const CLIENTS: u32 = 4;
const DEATHS: u64 = 6;
/// Uploads acknowledged before the next death.
const UPLOADS_BETWEEN: usize = 12;

/// While the storage is down, the tracker has no place for an upload: it says so.
fn nowhere_to_store() -> Facts {
    Facts { allowed: vec![(Kind::Upload, 2), (Kind::Upload, 28)], ..Facts::default() }
}

#[test]
fn kill_nine_right_after_the_answer_loses_nothing() {
    let world = World::start("kill");
    let over = Arc::new(AtomicBool::new(false));
    let (told, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for number in 1..=CLIENTS {
        let (client, over, told) = (world.client(number), Arc::clone(&over), told.clone());
        let mut rng = world.seed.child(&format!("client {number}")).rng();
        tasks.push(world.runtime.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let len = usize::try_from(rng.below(200_000)).expect("it fits");
                let content = Content { seed: rng.next(), len };
                if let Ok(id) = client.upload(content).await {
                    told.send(id).expect("the test listens");
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await; // it is down: not a spin
                }
            }
        }));
    }
    drop(told);
    let storage = &world.cluster.storages[0];
    let mut rng = world.seed.child("deaths").rng();
    for _ in 0..DEATHS {
        let count = 1 + usize::try_from(rng.below(UPLOADS_BETWEEN as u64)).expect("it fits");
        world.runtime.block_on(async {
            for _ in 0..count {
                let next = tokio::time::timeout(Duration::from_secs(30), acknowledged.recv()).await;
                next.expect("uploads go on after a restart").expect("clients run");
            }
        });
        storage.kill();
        storage.start();
    }
    over.store(true, Ordering::Relaxed);
    world.runtime.block_on(async {
        for task in tasks {
            task.await.expect("no client panics");
        }
    });
    world.wait_until_ready();
    let mut facts = nowhere_to_store();
    facts.converged_at = Some(u64::MAX);
    world.check(&facts);
}

#[test]
fn a_delete_and_metadata_that_were_acknowledged_survive_kill_nine() {
    let world = World::start("kill-changes");
    let client = world.client(1);
    let storage = &world.cluster.storages[0];
    for round in 0..3 {
        let seed = world.seed.child(&format!("round {round}")).0;
        let id = world.runtime.block_on(async {
            let id = client.upload(Content { seed, len: 5000 }).await.expect("taken");
            client.set_metadata(&id, Content { seed, len: 2 }).await.expect("taken");
            id
        });
        storage.kill();
        storage.start();
        world.wait_until_ready();
        let gone = upload(&world, Seed(seed).child("gone").0);
        world.runtime.block_on(client.delete(&gone, storage.address)).expect("it is there");
        storage.kill();
        storage.start();
        world.wait_until_ready();
        world.runtime.block_on(client.read(&id, Some(storage.address))).expect("it is there");
    }
    world.check(&nowhere_to_store());
}

#[test]
fn a_tracker_that_was_stopped_and_started_knows_its_storages() {
    let world = World::start("tracker-restart");
    let id = upload(&world, 1);
    let status = world.cluster.tracker.stop();
    assert!(status.success(), "SIGTERM is a clean end: {status}");
    world.cluster.tracker.start();
    // The groups come from the state files: asked at once, before a storage has joined again.
    let client = world.client(1);
    let groups = world.runtime.block_on(client.client.trackers().list_groups());
    let groups = groups.expect("the tracker answers");
    assert_eq!(groups.len(), 1, "{groups:?}");
    world.wait_until_ready();
    world.runtime.block_on(client.read(&id, None)).expect("it is routed as before");
    world.check(&nowhere_to_store());
}

#[test]
fn a_storage_rejoins_a_tracker_that_died_and_lost_everything() {
    let world = World::start("tracker-death");
    let id = upload(&world, 1);
    let tracker = &world.cluster.tracker;
    for wipe in [false, true] {
        tracker.kill();
        if wipe {
            std::fs::remove_dir_all(tracker.dir.join("base/data")).expect("it had state");
        }
        tracker.start();
        world.wait_until_ready();
        let client = world.client(1);
        eventually("the file is routed again", Duration::from_secs(30), || {
            let routed = world.runtime.block_on(client.client.trackers().query_fetch(&id));
            routed.ok()
        });
        world.runtime.block_on(client.read(&id, None)).expect("it is routed as before");
        upload(&world, 2 + u64::from(wipe));
    }
    world.check(&nowhere_to_store());
}

#[test]
fn a_storage_stops_cleanly_and_starts_with_everything() {
    let world = World::start("stop");
    for seed in 1..4 {
        let id = upload(&world, seed);
        let status = world.cluster.storages[0].stop();
        assert!(status.success(), "SIGTERM is a clean end: {status}");
        world.cluster.storages[0].start();
        world.wait_until_ready();
        let at = world.cluster.storages[0].address;
        world.runtime.block_on(world.client(1).read(&id, Some(at))).expect("it is there");
    }
    world.check(&nowhere_to_store());
}

fn upload(world: &World, seed: u64) -> FileId {
    let content = Content { seed, len: 10_000 };
    world.runtime.block_on(world.client(1).upload(content)).expect("an upload is taken")
}
