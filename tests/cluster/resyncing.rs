//! `fdfs resync`: two members whose files differ and of which one has lost its binlog become
//! equal, and nothing that was deleted comes back.

use std::fs;
use std::process::{Command, Output};

use proto::fileid::FileId;

use crate::support::cluster::{Cluster, Daemon};
use crate::support::history::Content;
use crate::support::stack::bin_dir;
use crate::support::wait::eventually;
use crate::{CONVERGE, World};

/// Runs `fdfs resync --from` the second member, for the first; what it printed.
fn resync(world: &World, more: &[&str]) -> serde_json::Value {
    let (first, second) = (&world.cluster.storages[0], &world.cluster.storages[1]);
    let out = Command::new(bin_dir().join("fdfs"))
        .args(["--json", "-t", &world.cluster.tracker.address.to_string()])
        .args(["resync", "--from", &second.address.ip().to_string(), &first.address.to_string()])
        .args(more)
        .output()
        .expect("fdfs runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}\n{said}");
    serde_json::from_str(text.lines().last().expect("a summary")).expect("JSON")
}

/// Takes a file away behind the storage's back.
fn lose(storage: &Daemon, id: &FileId) {
    let path = storage.dir.join("store0/data").join(id.name.true_name());
    fs::remove_file(path).expect("it is stored");
}

/// Seven files are missing at the second member; more differs, of which replication, which goes
/// on meanwhile, may do a part.
fn planned_and_done(world: &World) {
    let before = world.cluster.on_disks();
    let planned = resync(world, &["--dry-run"]);
    assert!(planned["fetched"] == 7 && planned["failed"] == 0, "{planned}");
    assert!(world.cluster.on_disks() == before, "a dry run changes nothing");
    let done = resync(world, &[]);
    assert!(done["fetched"] == 7 && done["failed"] == 0, "{done}");
    assert!(done["deleted"].as_u64().is_some_and(|count| 6 <= count), "{done}");
}

#[test]
fn members_become_equal_without_a_binlog_and_deletions_stay() {
    let world = World::start("resync", 2, 2, "scrub = off\n");
    let client = world.client(1);
    let (first, second) = (&world.cluster.storages[0], &world.cluster.storages[1]);
    let upload = |seeds: std::ops::Range<u64>| -> Vec<FileId> {
        world.runtime.block_on(async {
            let mut ids = Vec::new();
            for seed in seeds {
                let content = Content { seed, len: [10, 3_000, 150_000][seed as usize % 3] };
                let id = client.upload(content).await.expect("it is taken");
                if seed % 4 == 0 {
                    let pairs = Content { seed, len: 2 };
                    client.set_metadata(&id, pairs).await.expect("it is taken");
                }
                ids.push(id);
            }
            ids
        })
    };
    let ids = upload(0..60);
    world.converge();
    let everywhere = first.on_disk("group1");
    assert!(first.stop().success());

    // While the first is away: new files, new metadata, deletions; then the log of them is lost.
    world.wait_for_active(1);
    let new = upload(100..110);
    for id in &ids[..6] {
        world.runtime.block_on(client.delete(id, second.address)).expect("it is there");
    }
    let tombs = second.dir.join("base/data/sync/tombs.log");
    eventually("the deletions are remembered", CONVERGE, || {
        let text = fs::read_to_string(&tombs).unwrap_or_default();
        ids[..6].iter().all(|id| text.contains(id.name.as_str())).then_some(())
    });
    assert!(second.stop().success());
    for lost in ["binlog.000", "binlog_index.dat"] {
        fs::remove_file(second.dir.join("base/data/sync").join(lost)).expect("it was there");
    }
    // And files on both disks.
    ids[10..18].iter().for_each(|id| lose(first, id));
    ids[30..37].iter().for_each(|id| lose(second, id));
    first.start();
    second.start();
    world.wait_for_active(2);

    planned_and_done(&world);
    world.converge();
    let files = first.on_disk("group1");
    for id in &ids[..6] {
        assert!(!files.keys().any(|name| name.starts_with(&id.to_string())), "{id} came back");
    }
    for id in &ids[6..] {
        let id = id.to_string();
        assert!(files.get(&id) == everywhere.get(&id), "{id}");
    }
    assert!(new.iter().all(|id| files.contains_key(&id.to_string())));
    let again = resync(&world, &[]);
    assert_eq!(again["different"], 0, "{again}");

    // And replication goes on.
    let later = upload(200..203);
    let members = world.converge();
    assert!(later.iter().all(|id| members.values().all(|m| m.contains_key(&id.to_string()))));
}

/// Runs `fdfs resync --from` a member with all others of its group.
fn resync_all(cluster: &Cluster, from: &Daemon) -> Output {
    Command::new(bin_dir().join("fdfs"))
        .args(["--json", "-t", &cluster.tracker.address.to_string()])
        .args(["resync", "--from", &from.address.to_string()])
        .output()
        .expect("fdfs runs")
}

#[test]
fn a_member_that_is_away_keeps_none_of_the_others_from_it() {
    let world = World::start("resync-away", 3, 3, "scrub = off\n");
    let client = world.client(1);
    let [from, rest @ ..] = &world.cluster.storages[..] else { panic!("there are three") };
    let ids: Vec<FileId> = world.runtime.block_on(async {
        let mut ids = Vec::new();
        for seed in 0..6 {
            ids.push(client.upload(Content { seed, len: 100 }).await.expect("it is taken"));
        }
        ids
    });
    world.converge();
    // Each is away once, so that it is the first of the two once, and the other lacks files.
    for (away, other) in [(&rest[0], &rest[1]), (&rest[1], &rest[0])] {
        assert!(away.stop().success());
        ids.iter().for_each(|id| lose(other, id));
        let out = resync_all(&world.cluster, from);
        let (text, said) =
            (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(!out.status.success() && said.contains(&away.address.to_string()), "{said}");
        let pairs: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(pairs.len(), 2, "{text}");
        for pair in pairs {
            let gone = pair["storage"] == away.address.to_string();
            assert!(gone || pair["storage"] == other.address.to_string(), "{pair}");
            assert_eq!(pair["broken_off"], gone, "{pair}");
            assert_eq!(pair["sent"], if gone { 0 } else { 6 }, "{pair}");
        }
        away.start();
        world.wait_for_active(3);
    }
    world.converge();
}

#[test]
fn a_member_without_others_is_told_so() {
    let world = World::start("resync-alone", 1, 1, "");
    let out = resync_all(&world.cluster, &world.cluster.storages[0]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("no other storage"), "{said}");
}
