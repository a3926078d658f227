//! With two trackers, no one of which leads before anybody has asked: a member is removed, and
//! those that it once had filled start again; one that lost its disk is in service to neither
//! before it has everything.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use proto::ids::GroupName;
use proto::status::StorageState;

use crate::support::cluster::{Cluster, Daemon};
use crate::support::history::Content;
use crate::support::recorder::Recorder;
use crate::support::stack::bin_dir;
use crate::support::wait::eventually;
use crate::{CONVERGE, World};

#[test]
fn members_start_again_when_who_filled_them_is_gone() {
    let other = Cluster::prepare("removed-2", 0, "", "");
    other.tracker.start();
    let lines = format!("tracker_server = {}\n", other.tracker.address);
    let world = World::start("removed", 3, 3, &lines);
    let client = world.client(1);
    let upload = |seed| world.runtime.block_on(client.upload(Content { seed, len: 3_000 }));
    for seed in 0..20 {
        upload(seed).expect("it is taken");
    }
    world.converge();
    let [gone, rest @ ..] = &world.cluster.storages[..] else { panic!("there are three") };
    assert!(gone.stop().success());
    for tracker in [&world.cluster.tracker, &other.tracker] {
        let_go(tracker, gone);
    }
    for storage in rest {
        assert!(storage.stop().success());
    }
    for storage in rest {
        storage.start();
    }
    world.wait_for_active(2);
    let id = eventually("an upload is taken", CONVERGE, || upload(99).ok()).to_string();
    eventually("both have it", CONVERGE, || {
        rest.iter().all(|storage| storage.on_disk("group1").contains_key(&id)).then_some(())
    });
}

/// Until the tracker has removed this member from the group, as an administrator does it.
fn let_go(tracker: &Daemon, gone: &Daemon) {
    let conf = tracker.dir.join("client.conf");
    let text = format!("tracker_server = {}\nbase_path = /tmp\n", tracker.address);
    #[allow(clippy::disallowed_methods, reason = "a test's own file")]
    fs::write(&conf, text).expect("the directory is ours");
    eventually("the tracker lets it go", CONVERGE, || {
        let mut monitor = Command::new(bin_dir().join("fdfs_monitor"));
        let id = gone.address.ip().to_string();
        let done = monitor.arg(&conf).args(["delete", "group1", &id]).output();
        done.expect("it runs").status.success().then_some(())
    });
}

/// The states of all members, as one tracker tells them.
pub(crate) fn states(world: &World, tracker: SocketAddr) -> Vec<(SocketAddr, StorageState)> {
    let client = Recorder::new(&world.history, 0, tracker).client;
    let group = GroupName::parse("group1").expect("a group name");
    let listed = world.runtime.block_on(client.trackers().list_storages(group, None));
    let listed = listed.unwrap_or_default().into_iter();
    listed.map(|stat| (SocketAddr::new(stat.address, stat.port), stat.state)).collect()
}

#[test]
fn a_member_without_its_files_is_in_service_to_no_tracker() {
    let other = Cluster::prepare("emptied-2", 0, "", "");
    other.tracker.start();
    let lines = format!("tracker_server = {}\nsync_max_threads = 1\n", other.tracker.address);
    let world = World::start("emptied", 2, 2, &lines);
    let client = world.client(1);
    for seed in 0..150 {
        let content = Content { seed, len: 3_000 };
        world.runtime.block_on(client.upload(content)).expect("it is taken");
    }
    let full = world.converge();
    let victim = &world.cluster.storages[1];
    let all = full.values().next().expect("there are members").len();
    assert!(victim.stop().success());
    fs::remove_dir_all(victim.dir.join("store0")).expect("it was there");
    fs::create_dir(victim.dir.join("store0")).expect("the directory is ours");
    victim.start();
    eventually("it is in service again with both", CONVERGE, || {
        let trackers = [world.cluster.tracker.address, other.tracker.address];
        let active = trackers.map(|tracker| {
            states(&world, tracker).contains(&(victim.address, StorageState::Active))
        });
        if active.contains(&true) {
            // Looked at behind the states: what is there now was there or came meanwhile.
            let held = victim.on_disk("group1").len();
            assert_eq!(held, all, "it lacks files, and is in service: {active:?}");
        }
        (active == [true, true]).then_some(())
    });
}

#[test]
fn a_new_member_whose_source_is_removed_is_filled_by_another_one() {
    // Slowly, so that it is not done before.
    let world = World::prepare("unsourced", 3, "sync_max_threads = 1\nsync_interval = 100\n");
    world.start_all(2);
    let client = world.client(1);
    for seed in 0..60 {
        let content = Content { seed, len: 3_000 };
        world.runtime.block_on(client.upload(content)).expect("it is taken");
    }
    let [gone, other, newcomer] = &world.cluster.storages[..] else { panic!("there are three") };
    eventually("both have all", CONVERGE, || {
        (gone.lengths("group1").len() == 60 && other.lengths("group1").len() == 60).then_some(())
    });
    newcomer.start();
    let tracker = &world.cluster.tracker;
    eventually("it is being filled", CONVERGE, || {
        let states = states(&world, tracker.address);
        states.contains(&(newcomer.address, StorageState::Syncing)).then_some(())
    });
    let log = gone.log();
    assert!(log.contains("storage 127.0.0.3 gets everything"), "by the first one: {log}");
    gone.kill();
    let_go(tracker, gone);
    eventually("it is in service, and has all", CONVERGE, || {
        let states = states(&world, tracker.address);
        let active = states.contains(&(newcomer.address, StorageState::Active));
        // Looked at behind the state: what is there now was there or came meanwhile.
        let held = newcomer.lengths("group1").len();
        assert!(!active || held == 60, "it has {held} files, and is in service");
        active.then_some(())
    });
    let log = other.log();
    assert!(log.contains("storage 127.0.0.3 gets everything"), "{log}");
    assert!(!log.contains("will join again"), "in service all the time: {log}");
}
