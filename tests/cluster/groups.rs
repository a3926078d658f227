//! Two groups under one tracker: uploads are spread as the tracker is told to, a file is found in
//! the group that its id names, and a group goes when its last storage has gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Output};

use bytes::Bytes;
use net::client::Client;
use proto::fileid::FileId;
use proto::ids::{Extension, GroupName};
use proto::status::StorageState;

use crate::support::cluster::Cluster;
use crate::support::stack::bin_dir;
use crate::support::wait::eventually;
use crate::{CONVERGE, World};

fn group(name: &str) -> GroupName {
    GroupName::parse(name).expect("a group name")
}

/// Uploads one file to wherever the tracker says.
fn upload(world: &World, client: &Client, byte: u8) -> Option<FileId> {
    let extension = Extension::parse("bin").expect("an extension");
    let mut content = Bytes::from(vec![byte; 1_000]);
    let stored = client.upload(None, extension, 1_000, &mut content);
    world.runtime.block_on(stored).ok()
}

/// How many of `count` uploads go to each group.
fn spread(world: &World, client: &Client, count: u8) -> BTreeMap<String, usize> {
    let mut groups = BTreeMap::new();
    for byte in 0..count {
        let id = upload(world, client, byte).expect("it is taken");
        *groups.entry(id.group.to_string()).or_default() += 1;
        let read = async {
            let mut download = client.download(&id, 0, 0).await?;
            let mut all = Vec::new();
            while let Some(piece) = download.chunk().await? {
                all.extend_from_slice(&piece);
            }
            Ok::<_, net::client::ClientError>(all)
        };
        let content = world.runtime.block_on(read).expect("it is where its name says");
        assert_eq!(content, vec![byte; 1_000]);
    }
    groups
}

/// Until the storage at this address is in service.
fn wait_for(world: &World, client: &Client, name: &str, at: SocketAddr) {
    eventually("it is active", CONVERGE, || {
        let listed = client.trackers().list_storages(group(name), None);
        let listed = world.runtime.block_on(listed).ok()?;
        let active = |s: &proto::tracker::list::StorageStat| {
            (s.address, s.port, s.state) == (at.ip(), at.port(), StorageState::Active)
        };
        listed.iter().any(active).then_some(())
    });
}

/// Runs `fdfs_monitor` with these words.
fn monitor(world: &World, words: &[&str]) -> Output {
    let conf = world.cluster.tracker.dir.join("client.conf");
    let text = format!("tracker_server = {}\nbase_path = /tmp\n", world.cluster.tracker.address);
    #[allow(clippy::disallowed_methods, reason = "a test's own file")]
    std::fs::write(&conf, text).expect("the directory is ours");
    let run = Command::new(bin_dir().join("fdfs_monitor")).arg(conf).args(words).output();
    run.expect("it runs")
}

#[test]
fn uploads_are_spread_over_groups_and_a_group_that_is_empty_can_go() {
    let world = World::prepare_with("groups", 1, "store_lookup = 0\n", "");
    let lines =
        format!("tracker_server = {}\ngroup_name = group2\n", world.cluster.tracker.address);
    // Its own tracker never runs.
    let second = Cluster::prepare("groups-2", 1, "", &lines);
    world.cluster.tracker.start();
    let all = [("group1", &world.cluster.storages[0]), ("group2", &second.storages[0])];
    let client = world.client(1).client;
    for (name, storage) in all {
        storage.start();
        wait_for(&world, &client, name, storage.address);
    }
    let half = |name: &str| (name.to_owned(), 5);
    let both: BTreeMap<_, _> = ["group1", "group2"].map(half).into();
    assert_eq!(spread(&world, &client, 10), both, "they take turns");

    let restart = |old: &str, new: &str| {
        assert!(world.cluster.tracker.stop().success());
        world.cluster.tracker.replace_line(old, new);
        world.cluster.tracker.start();
        for (name, storage) in all {
            wait_for(&world, &client, name, storage.address);
        }
    };
    let one = "store_lookup = 1\nstore_group = group2";
    restart("store_lookup = 0", one);
    assert_eq!(spread(&world, &client, 5), [("group2".to_owned(), 5)].into(), "the one named");
    restart(one, "store_lookup = 0");

    let refused = monitor(&world, &["delete", "group2"]);
    assert!(!refused.status.success(), "it is in use: {refused:?}");
    assert!(second.storages[0].stop().success());
    let id = second.storages[0].address.ip().to_string();
    eventually("the storage goes", CONVERGE, || {
        monitor(&world, &["delete", "group2", &id]).status.success().then_some(())
    });
    // What reminds of it lasts until the tracker starts again.
    assert!(world.cluster.tracker.stop().success());
    world.cluster.tracker.start();
    wait_for(&world, &client, "group1", world.cluster.storages[0].address);
    let deleted = monitor(&world, &["delete", "group2"]);
    assert!(deleted.status.success(), "{deleted:?}");
    let groups = world.runtime.block_on(client.trackers().list_groups()).expect("it answers");
    assert_eq!(groups.iter().map(|g| g.group.to_string()).collect::<Vec<_>>(), ["group1"]);
    assert_eq!(spread(&world, &client, 3), [("group1".to_owned(), 3)].into());
}
