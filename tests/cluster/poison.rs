//! Records that a peer can never take, as damage or the reference leave them in a log: they are
//! set aside where an operator sees them, and stop nobody.

use std::fs::{self, File};
use std::io::Write as _;

use crate::support::checker::Facts;
use crate::support::history::Content;
use crate::support::wait::{eventually, eventually_or};
use crate::{CONVERGE, World, refusals};

#[test]
fn what_a_peer_will_never_take_is_set_aside_and_stops_nobody() {
    let world = World::start("poison", 2, 2, "");
    let client = world.client(1);
    let upload = |seed| {
        let stored = world.runtime.block_on(client.upload(Content { seed, len: 1_000 }));
        stored.expect("it is taken")
    };
    (0..10).for_each(|seed| drop(upload(seed)));
    world.converge();
    let [member, peer] = &world.cluster.storages[..] else { panic!("there are two") };
    assert!(member.stop().success());
    let sync = member.dir.join("base/data/sync");
    let log = sync.join("binlog.000");
    let known = fs::read_to_string(&log).expect("it has a log");
    let good = known.lines().find(|line| line.contains(" C ")).expect("it took an upload");
    let gone = good.replace(".bin", "_x.bin");
    let long = "x".repeat(300);
    let lines = [
        ("rubbish", true),
        ("1700000000 l ", true), // the reference's record of a link that it received
        ("1700000000 C M00/no/name", true),
        ("1700000000 X M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt", true),
        ("\0\0\0", true),
        (&long, true),
        (&gone, false), // deleted since then: nothing to send
        (good, false),
    ];
    let mut file = File::options().append(true).open(&log).expect("the directory is ours");
    for (line, _) in lines {
        writeln!(file, "{line}").expect("the directory is ours");
    }
    drop(file);
    member.start();
    world.wait_for_active(2);
    (10..20).for_each(|seed| drop(upload(seed)));
    world.converge();
    let aside = sync.join(format!("127.0.0.2_{}.aside", peer.address.port()));
    let all = lines.iter().filter(|(_, poison)| *poison).count();
    let told = || fs::read_to_string(&aside).unwrap_or_default();
    eventually_or(CONVERGE, || (told().lines().count() == all).then_some(()), told);
    for (line, _) in lines.iter().filter(|(line, poison)| *poison && line.is_ascii()) {
        let shown = line.replace('\0', "?");
        assert!(told().contains(&shown[..shown.len().min(200)]), "{line:?} in\n{}", told());
    }
    let counted = format!("fdfs_storage_peer_aside_total{{peer=\"127.0.0.2\"}} {all}");
    eventually("it is counted", CONVERGE, || member.metrics().contains(&counted).then_some(()));
    assert!(member.log().contains("set aside for storage 127.0.0.2"));
    let errors = vec!["set aside for storage", "damaged lines near the end of the binlog"];
    world.check(&Facts { allowed: refusals(), errors, ..Facts::default() });
}
