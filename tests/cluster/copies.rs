//! `copies = 2`: what was answered is at a second member already, whatever becomes of the first.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use net::client::{ClientError, storage};
use proto::fileid::FileId;
use proto::ids::Extension;
use proto::status::Status;

use crate::support::cluster::Daemon;
use crate::support::history::Content;
use crate::support::recorder::Recorder;
use crate::support::wait::eventually;
use crate::{CONVERGE, World};

/// Files that are acknowledged before the fault.
const ACKNOWLEDGED: usize = 60;

/// Uploads at one member.
async fn upload(
    client: &Recorder,
    at: SocketAddr,
    content: Content,
) -> Result<FileId, ClientError> {
    let extension = Extension::parse("bin").expect("an extension");
    let head = storage::head(None, content.bytes().len() as u64, extension);
    let taken = client.client.pool().take(at).await?;
    storage::upload(taken, &head, &mut Bytes::from(content.bytes())).await
}

#[test]
fn what_was_answered_survives_the_loss_of_the_member_that_took_it() {
    let world = World::start("two-copies", 2, 2, "copies = 2\n");
    let (victim, survivor) = (&world.cluster.storages[0], &world.cluster.storages[1]);
    let acknowledged: Arc<Mutex<Vec<(FileId, Content)>>> = Arc::default();
    let clients: Vec<_> = (1..=4u64)
        .map(|number| {
            let (client, acknowledged) = (world.client(1), Arc::clone(&acknowledged));
            let at = victim.address;
            world.runtime.spawn(async move {
                for round in 0.. {
                    let lens = [10, 4_000, 100_000, 700_000];
                    let content =
                        Content { seed: number << 32 | round, len: lens[round as usize % 4] };
                    let Ok(id) = upload(&client, at, content).await else { return };
                    acknowledged.lock().expect("nobody panics").push((id, content));
                }
            })
        })
        .collect();
    eventually("files are acknowledged", CONVERGE, || {
        (ACKNOWLEDGED <= acknowledged.lock().expect("nobody panics").len()).then_some(())
    });
    // Dead and gone, with everything that it had.
    victim.kill();
    for part in ["store0", "base"] {
        fs::remove_dir_all(victim.dir.join(part)).expect("it was there");
    }
    world.runtime.block_on(async {
        for client in clients {
            client.await.expect("no client panics");
        }
    });
    let there = survivor.on_disk("group1");
    let acknowledged = acknowledged.lock().expect("nobody panics");
    for (id, content) in acknowledged.iter() {
        let found = there.get(&id.to_string());
        assert!(found == Some(&content.bytes()), "{id} is lost or another");
    }
}

/// A group of two, the second one stopped.
fn alone(name: &str, lines: &str) -> World {
    let lines = format!("copies = 2\nmetrics_listen = 127.0.0.1:0\n{lines}");
    let world = World::start(name, 2, 2, &lines);
    let client = world.client(1);
    let first = &world.cluster.storages[0];
    // Both know each other, and answers with two copies are given.
    eventually("an upload has two copies", CONVERGE, || {
        let content = Content { seed: 1, len: 1000 };
        world.runtime.block_on(upload(&client, first.address, content)).ok()?;
        (0 < counted(first, "second")).then_some(())
    });
    assert!(world.cluster.storages[1].stop().success());
    world
}

/// How many answers had this outcome since the storage was started.
fn counted(storage: &Daemon, outcome: &str) -> u64 {
    let page = storage.metrics();
    let line = format!("fdfs_storage_copies_total{{outcome=\"{outcome}\"}} ");
    let value = page.lines().find_map(|text| text.strip_prefix(&line));
    value.expect("it is counted").parse().expect("a number")
}

/// Starts the second member again and waits until the first one counts on it.
fn reunited(world: &World) {
    let (first, second) = (&world.cluster.storages[0], &world.cluster.storages[1]);
    let client = world.client(1);
    second.start();
    eventually("there are two copies again", CONVERGE, || {
        let content = Content { seed: 2, len: 1000 };
        world.runtime.block_on(upload(&client, first.address, content)).ok()?;
        first.metrics().contains("\nfdfs_storage_copies_alone 0\n").then_some(())
    });
    world.converge();
}

#[test]
fn without_a_second_member_answers_degrade_with_an_alarm() {
    let world = alone("degrade", "copies_missing = degrade\n");
    let (client, first) = (world.client(1), &world.cluster.storages[0]);
    // Some of the first uploads may have been answered so, before the two knew each other.
    let missing = counted(first, "missing");
    for seed in 10..13 {
        let content = Content { seed, len: 5000 };
        let id = world.runtime.block_on(upload(&client, first.address, content));
        let id = id.expect("it is answered all the same").to_string();
        assert!(first.on_disk("group1").get(&id) == Some(&content.bytes()));
    }
    assert!(first.log().contains("answering with one copy"), "the alarm");
    assert_eq!(counted(first, "missing") - missing, 3);
    assert!(first.metrics().contains("\nfdfs_storage_copies_alone 1\n"));
    reunited(&world);
}

#[test]
fn without_a_second_member_changes_are_refused_and_taken_back() {
    let world = alone("refuse", "copies_missing = refuse\n");
    let (client, first) = (world.client(1), &world.cluster.storages[0]);
    let before = first.on_disk("group1");
    // Some of the first uploads may have been refused, before the two knew each other.
    let refused_before = counted(first, "refused");
    for seed in 10..13 {
        let content = Content { seed, len: 5000 };
        let told = world.runtime.block_on(upload(&client, first.address, content));
        let refused = matches!(told, Err(ClientError::Refused { status: Status::EAGAIN, .. }));
        assert!(refused, "{told:?}");
        assert!(first.on_disk("group1") == before, "nothing of it stays");
    }
    assert!(first.log().contains("refusing changes"), "the alarm");
    assert_eq!(counted(first, "refused") - refused_before, 3);
    reunited(&world);
}
