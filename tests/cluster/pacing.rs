//! When records are sent, and how fast: the daily window, and the pause between batches.

use std::fs;

use crate::support::cluster::Daemon;
use crate::support::history::Content;
use crate::support::wait::eventually;
use crate::{CONVERGE, World};

fn upload(world: &World, seeds: std::ops::Range<u64>) {
    let client = world.client(1);
    for seed in seeds {
        let stored = world.runtime.block_on(client.upload(Content { seed, len: 100 }));
        stored.expect("it is taken");
    }
}

/// What the page of a member says of its peer.
fn shown(daemon: &Daemon, what: &str) -> Option<u64> {
    let page = daemon.metrics();
    let family = format!("fdfs_storage_peer_{what}{{");
    let line = page.lines().find(|line| line.starts_with(&family))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn records_are_sent_within_the_daily_window_also_across_midnight() {
    let world = World::prepare("window", 2, "sync_start_time = 23:00\nsync_end_time = 01:00\n");
    // Clocks that stand still: the time of day is what the test says.
    world.set_clocks(&["+0d", "2026-11-26 00:30:00", "2026-11-26 00:30:00"]);
    world.start_all(2);
    let set_both = |time| world.cluster.storages.iter().for_each(|s| s.set_clock(time));
    upload(&world, 0..4);
    world.converge();
    for (closed, open, from) in [
        ("2026-11-26 12:00:00", "2026-11-26 23:30:00", 4),
        ("2026-11-26 22:59:00", "2026-11-26 01:00:00", 8),
    ] {
        set_both(closed);
        upload(&world, from..from + 4);
        eventually("nothing is sent", CONVERGE, || {
            let lag = |daemon| shown(daemon, "lag_records");
            let lags: Option<u64> = world.cluster.storages.iter().map(lag).sum();
            (lags == Some(4)).then_some(())
        });
        let held = world.cluster.storages.iter().map(|s| s.lengths("group1").len()).sum::<usize>();
        assert_eq!(held, 2 * usize::try_from(from).expect("small") + 4);
        set_both(open);
        world.converge();
    }
    let all = world.cluster.storages[1].lengths("group1").len();
    assert_eq!(all, 12);
}

#[test]
fn a_pause_follows_each_batch_and_marks_are_saved_meanwhile() {
    let lines = "sync_max_threads = 2\nsync_interval = 3600000\nwrite_mark_file_freq = 2\n";
    let world = World::start("interval", 2, 2, lines);
    let [member, peer] = &world.cluster.storages[..] else { panic!("there are two") };
    assert!(peer.stop().success());
    world.wait_for_active(1);
    upload(&world, 0..5);
    peer.start();
    eventually("the first batch is sent", CONVERGE, || {
        (shown(member, "sent_total") == Some(2)).then_some(())
    });
    let mark = member.dir.join(format!("base/data/sync/127.0.0.2_{}.mark", peer.address.port()));
    let mark = || fs::read_to_string(&mark).unwrap_or_default();
    eventually("the mark is saved after so many", CONVERGE, || {
        mark().contains("sync_row_count=2\n").then_some(())
    });
    member.kill();
    assert!(mark().contains("sync_row_count=2\n"), "{}", mark());
    assert_eq!(peer.on_disk("group1").len(), 2);
}
