//! Three real trackers: they agree on a leader, choose another one when it is killed, and one
//! that lost its data gets it back from the others.

use std::net::SocketAddr;
use std::time::Duration;

use super::process::{Dir, Peer, Tracker, configure};
use super::{long, recorded_storages, text};
use crate::wait::eventually;

/// Three pings that fail, with longer and longer rests, and the choice; on a busy machine.
const AGREE_WAIT: Duration = Duration::from_secs(60);
const EAGAIN: u8 = 11;

/// A loopback address of this process alone: a tracker that is started again needs its old
/// port, which nobody else may take meanwhile.
fn address(host: u32) -> String {
    let pid = std::process::id();
    format!("127.{}.{}.{host}", 64 + (pid >> 8) % 64, pid % 256)
}

fn start(dir: &Dir, host: u32, port: u16) -> Tracker {
    let (bind, port) = (address(host), port.to_string());
    Tracker::start(&configure(&dir.0, &[("bind_addr", &bind), ("port", &port)]))
}

/// Status and state after a join of a storage that knows all `trackers`.
fn join(peer: &mut Peer, via: &Tracker, trackers: &[SocketAddr], init: bool) -> u8 {
    let stat = &recorded_storages()[0];
    let lines: String = trackers.iter().map(|at| format!("{at}\n")).collect();
    let numbers = [23000, stat.path_count, stat.subdir_count, stat.upload_priority];
    let times = [stat.join_time.0, stat.up_time.0];
    let (status, _) = peer.command(
        81,
        &[
            &text("group1", 17),
            &numbers.map(long).concat(),
            &times.map(long).concat(),
            &text("6.16.1", 8),
            &[u8::from(init), if init { 0 } else { stat.state as u8 }],
            &[0; 16],
            &text(&via.at.ip().to_string(), 46),
            &long(i64::try_from(trackers.len()).unwrap()),
            lines.as_bytes(),
        ],
    );
    status
}

/// Whom a tracker names as the leader.
fn leader(tracker: &Tracker) -> Option<SocketAddr> {
    let (status, name) = tracker.connect("127.0.0.1").command(95, &[]);
    (status == 0).then(|| String::from_utf8(name).unwrap().parse().unwrap())
}

/// The one that all of them name.
fn agreed(trackers: &[&Tracker]) -> Option<SocketAddr> {
    let first = leader(trackers[0])?;
    trackers.iter().all(|tracker| leader(tracker) == Some(first)).then_some(first)
}

/// The storages of group1 as this tracker has them.
fn storages(tracker: &Tracker) -> usize {
    let (status, records) = tracker.connect("127.0.0.1").command(92, &[&text("group1", 16)]);
    assert_eq!(status, 0);
    records.len() / 487
}

#[test]
fn trackers_elect_a_leader_and_replace_it_and_a_new_one_takes_over_what_they_know() {
    let dirs = ["several-1", "several-2", "several-3"].map(Dir::new);
    let mut trackers: Vec<Tracker> =
        dirs.iter().zip(1..).map(|(dir, host)| start(dir, host, 0)).collect();
    let at: Vec<SocketAddr> = trackers.iter().map(|tracker| tracker.at).collect();

    // Two storages, connected to every tracker as storages are.
    let mut peers = Vec::new();
    for tracker in &trackers {
        for from in ["127.7.0.11", "127.7.0.12"] {
            let mut peer = tracker.connect(from);
            assert_eq!(join(&mut peer, tracker, &at, true), 0, "{from} at {}", tracker.at);
            peers.push(peer);
        }
    }
    let all: Vec<&Tracker> = trackers.iter().collect();
    let first = eventually("the trackers agree", AGREE_WAIT, || agreed(&all));
    assert!(at.contains(&first));

    // The leader says how the others do: all alive.
    let leading = at.iter().position(|at| *at == first).unwrap();
    let active = || {
        let (status, body) = trackers[leading].connect("127.0.0.1").command(96, &[&[1, 1, 0]]);
        (status == 0 && body.first() == Some(&3)).then_some(body)
    };
    let stats = eventually("its followers are active", AGREE_WAIT, active);
    assert_eq!(stats.len(), 1 + 3 * 90);

    // It dies; the others choose anew, and keep what they know.
    let old = trackers.remove(leading);
    old.kill();
    let rest: Vec<&Tracker> = trackers.iter().collect();
    let second = eventually("the rest agrees", AGREE_WAIT, || {
        agreed(&rest).filter(|leader| *leader != first)
    });
    assert!(rest.iter().all(|tracker| storages(tracker) == 2));

    // It comes back with an empty disk, and the first storage that joins brings it up to date:
    // it knows the other one, too.
    std::fs::remove_dir_all(dirs[leading].0.join("data")).unwrap();
    let again = start(&dirs[leading], u32::try_from(leading).unwrap() + 1, first.port());
    assert_eq!(again.at, first);
    let mut peer = again.connect("127.7.0.11");
    assert_eq!(join(&mut peer, &again, &at, false), 0);
    assert_eq!(storages(&again), 2);
    let mut all = rest;
    all.push(&again);
    let third = eventually("all agree", AGREE_WAIT, || agreed(&all));
    assert_eq!(third, second, "whoever leads goes on leading");
}

#[test]
fn a_tracker_without_data_lets_nobody_join_before_another_one_was_asked() {
    let dirs = ["alone-1", "alone-2"].map(Dir::new);
    let one = start(&dirs[0], 8, 0);
    let two = start(&dirs[1], 9, 0);
    let at = [one.at, two.at];
    two.kill();
    let mut peer = one.connect("127.7.0.11");
    assert_eq!(join(&mut peer, &one, &at, true), EAGAIN);
    let _two = start(&dirs[1], 9, at[1].port());
    let mut peer = one.connect("127.7.0.11");
    assert_eq!(join(&mut peer, &one, &at, true), 0, "the other one knows nothing either");
}
