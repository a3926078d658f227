//! A member gets another address, without ids: it stays the one that it was. The others send it
//! what it lacks and nothing twice, what it made before is read under the old names, and a tracker
//! that was down at the time learns of it, too.

use std::fs;

use proto::fileid::FileId;
use proto::status::StorageState;

use crate::removing::states;
use crate::support::checker::Facts;
use crate::support::cluster::{Cluster, Daemon};
use crate::support::history::Content;
use crate::support::wait::{eventually, eventually_or};
use crate::{CONVERGE, World};

/// Changes that a member made itself: each is to be sent to every other member, once.
fn own_changes(daemon: &Daemon) -> usize {
    let log = fs::read_to_string(daemon.dir.join("base/data/sync/binlog.000"));
    let op = |line: &str| line.split(' ').nth(1).is_some_and(|op| op < "a");
    log.expect("every member has a log").lines().filter(|line| op(line)).count()
}

/// What the marks of a member say, `name` and `sync_row_count` of each, in order.
fn marks(daemon: &Daemon) -> Vec<(String, usize)> {
    let files = fs::read_dir(daemon.dir.join("base/data/sync")).expect("it is there");
    let mark = |file: std::io::Result<fs::DirEntry>| {
        let path = file.expect("the directory can be read").path();
        let text = path.extension().filter(|ending| *ending == "mark")?;
        let name = path.with_extension("").file_name()?.to_string_lossy().into_owned();
        assert_eq!(text, "mark");
        let text = fs::read_to_string(&path).ok()?;
        let sent = text.lines().find_map(|line| line.strip_prefix("sync_row_count="))?;
        Some((name, sent.parse().expect("a number")))
    };
    let mut all: Vec<_> = files.filter_map(mark).collect();
    all.sort();
    all
}

/// Until every member has sent each of its changes to each other one, once, and has marks for
/// these and for nobody else.
fn each_was_sent_once(world: &World) {
    let port = world.cluster.storages[0].address.port();
    for daemon in &world.cluster.storages {
        let others = world.cluster.storages.iter().filter(|d| d.address != daemon.address);
        let mut names: Vec<_> = others.map(|d| format!("{}_{port}", d.address.ip())).collect();
        names.sort();
        let wanted = || {
            let sent = own_changes(daemon);
            names.iter().map(|name| (name.clone(), sent)).collect::<Vec<_>>()
        };
        let why = || format!("{}: {:?}, not {:?}", daemon.address, marks(daemon), wanted());
        eventually_or(CONVERGE, || (marks(daemon) == wanted()).then_some(()), why);
    }
}

/// Some more files, taken by whoever is in service.
fn upload(world: &World, seeds: std::ops::Range<u64>) -> Vec<FileId> {
    let client = world.client(1);
    let one = |seed| world.runtime.block_on(client.upload(Content { seed, len: 3_000 }));
    seeds.map(|seed| one(seed).expect("it is taken")).collect()
}

#[test]
fn a_member_that_moves_goes_on_where_it_was() {
    let other = Cluster::prepare("moved-2", 0, "", "");
    other.tracker.start();
    let lines = format!("tracker_server = {}\n", other.tracker.address);
    let mut world = World::start("moved", 3, 3, &lines);
    let before = upload(&world, 0..30);
    world.converge();
    each_was_sent_once(&world);

    // One tracker and one member are down while it moves.
    assert!(world.cluster.storages[1].stop().success());
    assert!(world.cluster.storages[2].stop().success());
    other.tracker.kill();
    let mut all = [before, upload(&world, 30..40)].concat();
    world.cluster.storages[1].move_to(9);
    let moved = world.cluster.storages[1].address;
    world.cluster.storages[1].start();
    world.wait_for_active(2);
    all.extend(upload(&world, 40..50));
    world.cluster.storages[2].start();
    world.wait_for_active(3);
    all.extend(upload(&world, 50..60));
    world.converge();
    each_was_sent_once(&world);
    let reader = world.client(2);
    for id in &all {
        world.runtime.block_on(reader.read(id, Some(moved))).expect("it has what it had");
        world.runtime.block_on(reader.read(id, None)).expect("trackers say who has it");
    }

    // The tracker comes back with what it knew, and is told before the member joins it.
    let noted = world.cluster.storages[1].dir.join("base/data/moved");
    assert!(noted.exists(), "a tracker has still to be told");
    other.tracker.start();
    let old = "127.0.0.2".parse().expect("an address");
    eventually("the other tracker knows it under its new address", CONVERGE, || {
        let states = states(&world, other.tracker.address);
        let active = states.contains(&(moved, StorageState::Active));
        let gone = states.iter().all(|(at, state)| {
            at.ip() != std::net::IpAddr::V4(old) || *state == StorageState::IpChanged
        });
        (active && gone && states.len() == 4).then_some(())
    });
    assert!(!noted.exists(), "all have heard");
    each_was_sent_once(&world);

    // And back to where it was: what reminds of that address is in nobody's way.
    assert!(world.cluster.storages[1].stop().success());
    upload(&world, 60..65);
    world.cluster.storages[1].move_to(2);
    world.cluster.storages[1].start();
    world.wait_for_active(3);
    upload(&world, 65..75);
    each_was_sent_once(&world);
    world.check(&Facts { allowed: crate::refusals(), ..Facts::default() });
}

#[test]
fn a_group_whose_port_changes_sends_nothing_again() {
    let mut world = World::start("port", 2, 2, "");
    upload(&world, 0..20);
    world.converge();
    each_was_sent_once(&world);
    let other = Cluster::prepare("port-2", 1, "", "");
    let port = other.storages[0].address.port();
    for daemon in &mut world.cluster.storages {
        assert!(daemon.stop().success());
        daemon.set_port(port);
    }
    // The tracker takes another port when all members have it.
    for daemon in &world.cluster.storages {
        daemon.start();
    }
    world.wait_for_active(2);
    upload(&world, 20..30);
    world.converge();
    each_was_sent_once(&world);
    world.check(&Facts { allowed: crate::refusals(), ..Facts::default() });
}
