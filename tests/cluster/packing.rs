//! Old files of the binlog are compressed, and whoever needs them reads them all the same: a new
//! member, and a start that has to find out what was deleted.

use std::fs;
use std::path::Path;

use crate::support::checker::Facts;
use crate::support::history::Content;
use crate::support::wait::eventually;
use crate::{CONVERGE, World, refusals};

/// The first file of the log is finished: the next record goes to the second one.
#[allow(clippy::disallowed_methods, reason = "a test's own file need not survive power loss")]
fn rotate(sync: &Path) {
    let text = "current_write=1\ncurrent_compress=0\n";
    fs::write(sync.join("binlog_index.dat"), text).expect("the directory is ours");
}

#[test]
fn a_new_member_is_filled_from_a_compressed_log() {
    let world = World::prepare("packing", 3, "compress_binlog = true\n");
    world.set_clocks(&["+0d", "+0d", "+0d", "+0d"]);
    world.start_all(2);
    let client = world.client(1);
    let upload = |seed| {
        let id = world.runtime.block_on(client.upload(Content { seed, len: 3_000 }));
        id.expect("it is taken")
    };
    let first: Vec<_> = (0..20).map(upload).collect();
    let [member, other, newcomer] = &world.cluster.storages[..] else { panic!("there are three") };
    for id in &first[..5] {
        let at = crate::source(id, &[member.address, other.address]);
        world.runtime.block_on(client.delete(id, at)).expect("it is there");
    }
    let equal = || (member.lengths("group1") == other.lengths("group1")).then_some(());
    eventually("both are equal", CONVERGE, equal);
    let sync = member.dir.join("base/data/sync");
    assert!(member.stop().success());
    rotate(&sync);
    member.start();
    world.wait_for_active(2);
    (20..30).for_each(|seed| drop(upload(seed)));
    let mark = sync.join(format!("127.0.0.2_{}.mark", member.address.port()));
    eventually("the other one needs nothing of the first file", CONVERGE, || {
        fs::read_to_string(&mark).ok()?.lines().any(|l| l == "binlog_index=1").then_some(())
    });

    assert!(sync.join("binlog.000").exists(), "not before its time");
    member.set_clock("+1d"); // it was half past one in between
    let index = || fs::read_to_string(sync.join("binlog_index.dat")).unwrap_or_default();
    eventually("the first file is compressed", CONVERGE, || {
        index().contains("current_compress=1\n").then_some(())
    });
    assert!(sync.join("binlog.000.gz").exists() && !sync.join("binlog.000").exists());
    assert!(sync.join("binlog.001").exists(), "it is being written");

    // Whoever starts without its log of deleted files finds them in there.
    assert!(member.stop().success());
    fs::remove_file(sync.join("tombs.log")).expect("it was there");
    member.start();
    world.wait_for_active(2);
    let tombs = || fs::read_to_string(sync.join("tombs.log")).unwrap_or_default();
    let known = |tombs: &str| first[..5].iter().all(|id| tombs.contains(&id.name.to_string()));
    eventually("it knows what was deleted", CONVERGE, || known(&tombs()).then_some(()));
    newcomer.start();
    world.wait_for_active(3);
    let log = [member, other].map(|daemon| daemon.log()).concat();
    assert!(log.contains("storage 127.0.0.3 gets everything"), "{log}");
    assert!(member.log().contains("storage 127.0.0.3 gets everything"), "the other one fills it");
    assert!(sync.join("binlog.000.gz").exists() && !sync.join("binlog.000").exists());
    world.check(&Facts { allowed: refusals(), ..Facts::default() });
}
