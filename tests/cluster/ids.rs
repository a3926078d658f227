//! A group whose storages have ids: names and marks go by them, and an address is where somebody
//! lives and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use proto::fileid::{FileId, Source};

use crate::support::checker::Facts;
use crate::support::history::Content;
use crate::support::wait::eventually_or;
use crate::{CONVERGE, World, refusals};

/// Where the trackers' table stands.
fn table() -> PathBuf {
    std::env::temp_dir().join(format!("fastdisk-ids-{}.conf", std::process::id()))
}

#[allow(clippy::disallowed_methods, reason = "a test's own file need not survive power loss")]
fn write_table(world: &World, path: &Path) {
    let line = |(id, at): (u32, std::net::SocketAddr)| format!("{id} group1 {at}\n");
    let ids = (100_001..).zip(world.cluster.storages.iter().map(|storage| storage.address));
    fs::write(path, ids.map(line).collect::<String>()).expect("the directory can be written");
}

fn upload(world: &World, seeds: std::ops::Range<u64>) -> Vec<FileId> {
    let client = world.client(1);
    let one = |seed| world.runtime.block_on(client.upload(Content { seed, len: 3_000 }));
    seeds.map(|seed| one(seed).expect("it is taken")).collect()
}

/// The number that a file's name says took it.
fn number(id: &FileId) -> u32 {
    match id.name.record().expect("names are generated").source.source() {
        Source::Server(number) => number,
        other => panic!("{id} is of {other:?}"),
    }
}

/// Until each member has sent each of its changes once to each other, by what the marks say.
fn each_was_sent_once(world: &World) {
    for (own, daemon) in (100_001..).zip(&world.cluster.storages) {
        let sync = daemon.dir.join("base/data/sync");
        let mine = || {
            let log = fs::read_to_string(sync.join("binlog.000")).unwrap_or_default();
            log.lines().filter(|line| line.split(' ').nth(1).is_some_and(|op| op < "a")).count()
        };
        let sent = |peer: u32| {
            let mark = fs::read_to_string(sync.join(format!("{peer}.mark"))).unwrap_or_default();
            mark.lines().any(|line| line == format!("sync_row_count={}", mine()))
        };
        let peers = (100_001..=100_003).filter(|peer| *peer != own);
        let all = || peers.clone().all(sent).then_some(());
        eventually_or(CONVERGE, all, || format!("{own} has made {} changes", mine()));
    }
}

#[test]
fn with_ids_a_member_is_the_same_wherever_it_is() {
    let table = table();
    let lines = format!(
        "use_storage_id = true\nstorage_ids_filename = {}\nid_type_in_filename = id\n",
        table.display()
    );
    let mut world = World::prepare_with("ids", 3, &lines, "");
    write_table(&world, &table);
    world.start_all(3);
    let first = upload(&world, 0..20);
    assert!(first.iter().all(|id| (100_001..=100_003).contains(&number(id))));
    world.converge();
    each_was_sent_once(&world);
    // All stop, the table says where the second one is now, all start again.
    for storage in &world.cluster.storages {
        assert!(storage.stop().success());
    }
    assert!(world.cluster.tracker.stop().success());
    world.cluster.storages[1].move_to(9);
    write_table(&world, &table);
    world.start_all(3);
    let client = world.client(1);
    for id in &first[..5] {
        let at = &world.cluster.storages[number(id) as usize - 100_001];
        world.runtime.block_on(client.delete(id, at.address)).expect("it is there");
    }
    upload(&world, 20..30);
    world.converge();
    each_was_sent_once(&world);
    world.check(&Facts { allowed: refusals(), ..Facts::default() });
    fs::remove_file(table).expect("it was there");
}
