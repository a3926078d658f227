//! A member is removed, and those that it once had filled start again: with two trackers no one of
//! which leads before anybody has asked.

use std::fs;
use std::process::Command;

use crate::support::cluster::Cluster;
use crate::support::history::Content;
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
