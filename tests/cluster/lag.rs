//! How far a member is behind is shown while it is away, and that it is not any more.

use crate::support::checker::Facts;
use crate::support::cluster::Daemon;
use crate::support::history::Content;
use crate::support::wait::{eventually, eventually_or};
use crate::{CONVERGE, World};

/// Waits until the page has all these lines.
fn shows(daemon: &Daemon, lines: &[&str]) {
    let all = || {
        let page = daemon.metrics();
        lines.iter().all(|line| page.lines().any(|known| known == *line)).then_some(())
    };
    eventually_or(CONVERGE, all, || format!("{lines:?} in\n{}", daemon.metrics()));
}

#[test]
fn what_a_member_lacks_is_shown_while_it_is_away() {
    let world = World::start("lag", 2, 2, "");
    let client = world.client(1);
    let (first, second) = (&world.cluster.storages[0], &world.cluster.storages[1]);
    world.runtime.block_on(async {
        client.upload(Content { seed: 0, len: 100 }).await.expect("it is taken");
    });
    // On its disk a file may be before it is answered.
    shows(first, &["fdfs_storage_peer_sent_total{peer=\"127.0.0.2\"} 1"]);
    second.kill();
    world.wait_for_active(1);
    world.runtime.block_on(async {
        for seed in 1..=5 {
            client.upload(Content { seed, len: 100 }).await.expect("it is taken");
        }
    });
    let away = [
        "fdfs_storage_peer_lag_records{peer=\"127.0.0.2\"} 5",
        "fdfs_storage_peer_connected{peer=\"127.0.0.2\"} 0",
        "fdfs_storage_exposed_records 5",
    ];
    shows(first, &away);
    let lag = |page: &str, name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<u64>().ok()).expect("the family is there")
    };
    eventually("time goes by", CONVERGE, || {
        (1 < lag(&first.metrics(), "fdfs_storage_exposed_seconds")).then_some(())
    });
    assert!(5 * 40 < lag(&first.metrics(), "fdfs_storage_exposed_bytes"));
    let state = "fdfs_tracker_storage_state{group=\"group1\",storage=\"127.0.0.2\",state=";
    shows(&world.cluster.tracker, &[&format!("{state}\"OFFLINE\"}} 1"), "fdfs_tracker_leads 1"]);
    second.start();
    let back = [
        "fdfs_storage_peer_lag_records{peer=\"127.0.0.2\"} 0",
        "fdfs_storage_peer_lag_bytes{peer=\"127.0.0.2\"} 0",
        "fdfs_storage_peer_lag_seconds{peer=\"127.0.0.2\"} 0",
        "fdfs_storage_peer_connected{peer=\"127.0.0.2\"} 1",
        "fdfs_storage_exposed_records 0",
    ];
    shows(first, &back);
    shows(&world.cluster.tracker, &[&format!("{state}\"ACTIVE\"}} 1")]);
    // Not how long: records that travel beside others do not move the time that a tracker is told
    // (sync.md 8), so it may stand a second behind the last change until the next one.
    let delay = "fdfs_tracker_storage_delay_seconds{group=\"group1\",storage=\"127.0.0.2\"} ";
    assert!(world.cluster.tracker.metrics().contains(delay), "the family is there");
    world.check(&Facts::default());
}
