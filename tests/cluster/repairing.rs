//! Bytes that change on a disk are found and repaired from another member, by the scrub and by
//! whoever reads; what nobody can repair is said, and stays.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use proto::fileid::FileId;

use crate::support::cluster::Daemon;
use crate::support::history::Content;
use crate::support::wait::eventually;
use crate::{CONVERGE, World};

/// Passes follow one another, from the start on.
const OFTEN: &str = "scrub_start_after = 1ms\nscrub_interval = 1s\nscrub_bytes_per_sec = 100MB\n";
/// Nothing is read by itself.
const NEVER: &str = "scrub = off\n";

fn stored(storage: &Daemon, id: &FileId) -> PathBuf {
    storage.dir.join("store0/data").join(id.name.true_name())
}

/// Flips one bit of a file.
fn flip(path: &PathBuf, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).expect("it is stored");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("the file is ours");
}

/// A group of two with files of several lengths that both have.
fn filled(name: &str, lines: &str) -> (World, Vec<(FileId, Content)>) {
    let world = World::start(name, 2, 2, lines);
    let client = world.client(1);
    let files = world.runtime.block_on(async {
        let mut files = Vec::new();
        for (seed, len) in (0..).zip([1, 700, 65_536, 65_537, 300_000, 2_000_000]) {
            let content = Content { seed, len };
            let id = client.upload(content).await.expect("it is taken");
            client.set_metadata(&id, Content { seed, len: 3 }).await.expect("it is taken");
            files.push((id, content));
        }
        files
    });
    world.converge();
    (world, files)
}

fn is_good(storage: &Daemon, (id, content): &(FileId, Content)) -> bool {
    fs::read(stored(storage, id)).is_ok_and(|bytes| bytes == content.bytes())
}

/// Damaged copies that a member has put aside.
fn put_aside(storage: &Daemon) -> usize {
    fs::read_dir(storage.dir.join("store0/damaged")).map_or(0, Iterator::count)
}

#[test]
fn one_flipped_byte_is_found_by_a_pass_and_repaired() {
    let (world, files) = filled("scrub", OFTEN);
    let before = world.cluster.on_disks();
    for (file, storage) in files.iter().zip(world.cluster.storages.iter().cycle()) {
        let len = u64::try_from(file.1.len).expect("it fits");
        flip(&stored(storage, &file.0), len / 2);
        eventually("the byte is repaired", CONVERGE, || is_good(storage, file).then_some(()));
        let metadata = stored(storage, &file.0).to_string_lossy().into_owned() + "-m";
        flip(&metadata.into(), 1);
    }
    eventually("the metadata are repaired", CONVERGE, || {
        (world.cluster.on_disks() == before).then_some(())
    });
    let aside: usize = world.cluster.storages.iter().map(put_aside).sum();
    assert_eq!(aside, 2 * files.len(), "every damaged copy is kept");
}

#[test]
fn what_a_reader_finds_damaged_is_repaired() {
    let (world, files) = filled("read-repair", NEVER);
    let client = world.client(1);
    let storage = &world.cluster.storages[0];
    for file in &files {
        flip(&stored(storage, &file.0), 0);
        // Damaged bytes are not served; whether this reader is told so or is already served the
        // repaired ones is a matter of moments.
        if let Ok(bytes) = world.runtime.block_on(client.read(&file.0, Some(storage.address))) {
            assert!(bytes == file.1.bytes());
        }
        eventually("the byte is repaired", CONVERGE, || is_good(storage, file).then_some(()));
        let bytes = world.runtime.block_on(client.read(&file.0, Some(storage.address)));
        assert!(bytes.expect("it is repaired") == file.1.bytes());
    }
}

#[test]
fn what_nobody_can_repair_is_said_and_stays() {
    let lines = format!("{OFTEN}metrics_listen = 127.0.0.1:0\n");
    let (world, files) = filled("scrub-lost", &lines);
    let (lost, rest) = files.split_last().expect("there are files");
    let damaged: Vec<Vec<u8>> = world
        .cluster
        .storages
        .iter()
        .map(|storage| {
            assert!(storage.stop().success());
            flip(&stored(storage, &lost.0), 1_000);
            fs::read(stored(storage, &lost.0)).expect("it is stored")
        })
        .collect();
    for storage in &world.cluster.storages {
        storage.start();
    }
    for storage in &world.cluster.storages {
        eventually("it is said", CONVERGE, || {
            let said = format!("{} is damaged and could not be repaired", lost.0.name);
            storage.log().contains(&said).then_some(())
        });
        eventually("it is counted", CONVERGE, || {
            storage.metrics().contains("\nfdfs_storage_unrepairable 1\n").then_some(())
        });
    }
    for (storage, damaged) in world.cluster.storages.iter().zip(damaged) {
        assert!(fs::read(stored(storage, &lost.0)).expect("it is there") == damaged);
        assert!(rest.iter().all(|file| is_good(storage, file)));
    }
    // A member that gets it back gives it to the other one.
    let (first, second) = (&world.cluster.storages[0], &world.cluster.storages[1]);
    flip(&stored(first, &lost.0), 1_000);
    eventually("both have it again", CONVERGE, || is_good(second, lost).then_some(()));
    eventually("nothing is left to be repaired", CONVERGE, || {
        let open = |s: &Daemon| s.metrics().contains("\nfdfs_storage_unrepairable 0\n");
        world.cluster.storages.iter().all(open).then_some(())
    });
}

#[test]
fn a_pass_goes_on_where_a_kill_has_ended_it() {
    // So slow that it cannot get to its end.
    let slow = "scrub_start_after = 1ms\nscrub_bytes_per_sec = 100KB\n";
    let world = World::start("scrub-goes-on", 1, 1, slow);
    let client = world.client(1);
    world.runtime.block_on(async {
        for seed in 0..40 {
            client.upload(Content { seed, len: 30_000 }).await.expect("it is taken");
        }
    });
    let storage = &world.cluster.storages[0];
    assert!(storage.stop().success());
    let state = storage.dir.join("base/data/scrub.M00");
    let _absent = fs::remove_file(&state);
    storage.start();
    let position = || {
        let text = fs::read_to_string(&state).ok()?;
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(str::to_owned)
        };
        let after = field("after=").filter(|name| !name.is_empty())?;
        Some((field("dir=")?, after))
    };
    let (_, name) = eventually("it has come somewhere", CONVERGE, position);
    storage.kill();
    let (dir, after) = position().expect("it was saved");
    assert!(name <= after);
    storage.start();
    let goes_on = format!("scrub of M00 goes on at directory {dir} after {after:?}");
    eventually("it goes on", CONVERGE, || storage.log().contains(&goes_on).then_some(()));
}
