//! A real `fdfs_trackerd`, black box: recorded requests of every client command, storages that
//! come and go, restarts, crashes, and configurations it must refuse.

#![expect(clippy::disallowed_methods, reason = "tests keep their own time and write plain files")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/wait.rs"]
mod wait;

mod commands; // every client command in every variant
mod process; // a real tracker, and connections to it
mod recorded; // what the reference answered
mod several; // more than one

use std::process::Command;
use std::time::Duration;

use process::{Dir, Peer, Tracker, configure};
use proto::status::StorageState;
use proto::tracker::list::StorageStat;
use wait::eventually;

/// Parts of an answer that differ between any two runs: offset in the body, and length.
type Differs = &'static [(usize, usize)];

/// What may differ. All other bytes are equal.
fn differing(name: &str) -> Differs {
    // Offsets in a record: storage statistics end with the last heartbeat, then one byte.
    const BEAT_1: Differs = &[(478, 8)];
    match name {
        // The second record was cut by the recording before its time.
        "list_storages" | "list_storages_one" | "list_storages_g2" => BEAT_1,
        // Connections, and the start of the tracker.
        "tracker_cluster_stat" | "tracker_cluster_stat_active" => &[(55, 12), (75, 8)],
        "storage_cluster_stat" | "storage_cluster_stat_active" => {
            &[(6 + 98, 8), (6 + 106 + 98, 8), (6 + 212 + 98, 8)]
        }
        // How long the tracker has been running.
        "get_tracker_status" => &[(1, 8)],
        _ => &[],
    }
}

/// Text fields in which the reference leaves stray bytes behind the text; ours are zero.
fn text_fields(name: &str) -> Vec<(usize, usize)> {
    match name {
        "tracker_cluster_stat" | "tracker_cluster_stat_active" => vec![(1, 52)],
        "storage_cluster_stat" | "storage_cluster_stat_active" => {
            (0..3).flat_map(|n| [(6 + n * 106, 16), (22 + n * 106, 52)]).collect()
        }
        "volumn_stat" => (0..2).map(|n| (5 + n * 59, 17)).collect(),
        _ => Vec::new(),
    }
}

/// Makes two answers equal where they may differ.
fn level(name: &str, answer: &mut [u8]) {
    for (at, len) in differing(name) {
        let from = (10 + at).min(answer.len());
        let to = (10 + at + len).min(answer.len());
        answer[from..to].fill(0);
    }
    for (at, len) in text_fields(name) {
        let field = &mut answer[10 + at..10 + at + len];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
        field[end..].fill(0);
    }
}

/// What was recorded of the three storages, in the order in which they had joined.
fn recorded_storages() -> Vec<StorageStat> {
    let exchanges = recorded::client_commands();
    let first = |name: &str| {
        let exchange = exchanges.iter().find(|e| e.name == name).expect(name);
        StorageStat::decode_all(&exchange.answer[10..497]).unwrap().remove(0)
    };
    vec![first("list_storages_one"), first("list_storages_g2"), first("list_storages")]
}

fn text(text: &str, width: usize) -> Vec<u8> {
    let mut field = text.as_bytes().to_vec();
    field.resize(width, 0);
    field
}

fn long(value: i64) -> [u8; 8] {
    value.to_be_bytes()
}

/// Joins as the storage of this record did.
fn join(peer: &mut Peer, group: &str, stat: &StorageStat, init: bool) -> (u8, Vec<u8>) {
    let numbers = [23000, stat.path_count, stat.subdir_count, stat.upload_priority];
    let times = [stat.join_time.0, stat.up_time.0];
    peer.command(
        81,
        &[
            &text(group, 17),
            &numbers.map(long).concat(),
            &times.map(long).concat(),
            &text(stat.version.as_str(), 8),
            &[u8::from(init), if init { 0 } else { stat.state as u8 }],
            &[0; 16],
            &text("127.7.0.1", 46),
            &long(1),
            b"127.7.0.1:22122\n",
        ],
    )
}

/// Brings the storages of the recording into the state in which they were recorded.
fn bring_up(tracker: &Tracker) -> Vec<Peer> {
    let storages = recorded_storages();
    let mut peers = Vec::new();
    for (stat, group) in storages.iter().zip(["group1", "group2", "group1"]) {
        let mut peer = tracker.connect(stat.id.as_str());
        let (status, joined) = join(&mut peer, group, stat, true);
        assert_eq!((status, joined.len()), (0, 17));
        let (status, point) = peer.command(87, &[]);
        assert_eq!((status, point.is_empty()), (0, stat.source.is_none()));
        let source = stat.source.map_or(String::new(), |id| id.to_string());
        let until = if point.is_empty() { long(0).to_vec() } else { point[16..].to_vec() };
        assert_eq!(peer.command(88, &[&text(&source, 16), &until]), (0, vec![]));
        if stat.source.is_some() {
            // Its source says that the old files are there.
            let brief = [&[5][..], &[0; 4], &text(stat.id.as_str(), 16), &[0; 46]].concat();
            assert_eq!(peers_first(&mut peers).command(76, &[&text(group, 16), &brief]).0, 0);
        }
        let mut beat = Vec::new();
        stat.statistics.encode(&mut beat);
        assert_eq!(peer.command(83, &[&beat]).0, 0);
        let space = [long(stat.total.0), long(stat.free.0)].concat();
        assert_eq!(peer.command(84, &[&space]).0, 0);
        peers.push(peer);
    }
    // Who has what of whom; the file of sync times holds the same numbers.
    for (at, source, until) in [(2, "127.7.0.12", 1_795_384_349), (0, "127.7.0.11", 1_795_384_717)]
    {
        let record = [text(source, 16), i32::to_be_bytes(until).to_vec()].concat();
        assert_eq!(peers[at].command(89, &[&record]).0, 0);
    }
    let mut client = tracker.connect("127.7.0.99");
    let leads = || (client_leads(tracker) == 0).then_some(());
    eventually("the tracker leads", Duration::from_secs(10), leads);
    assert_eq!(client.command(111, &[]), (0, vec![]));
    peers
}

fn peers_first(peers: &mut [Peer]) -> &mut Peer {
    peers.first_mut().expect("the source joined before")
}

fn client_leads(tracker: &Tracker) -> u8 {
    tracker.connect("127.7.0.99").command(95, &[]).0
}

#[test]
fn every_client_command_is_answered_as_the_reference_does() {
    let dir = Dir::new("recorded");
    let tracker = Tracker::start(&configure(&dir.0, &[]));
    let _storages = bring_up(&tracker);
    let mut client = tracker.connect("127.7.0.100");
    let mut wrong = Vec::new();
    let mut asked = 0;
    for exchange in recorded::client_commands() {
        let name = exchange.name.as_str();
        asked += 1;
        if name == "byte_by_byte" {
            exchange.request.iter().for_each(|byte| client.send(&[*byte]));
        } else {
            client.send(&exchange.request);
        }
        let messages = if name == "pipelined_3_requests" { 3 } else { 1 };
        let mut got: Vec<u8> = (0..messages).flat_map(|_| client.receive()).collect();
        if name == "quit" {
            assert_eq!(got, b"", "no answer, and the connection is closed");
            client = tracker.connect("127.7.0.100");
            continue;
        }
        let mut want = exchange.answer;
        level(name, &mut got);
        level(name, &mut want);
        // Long answers are recorded in part.
        got.truncate(want.len().max(if want.len() == 600 { 600 } else { got.len() }));
        if got != want {
            let at = got.iter().zip(&want).position(|(a, b)| a != b);
            wrong.push(format!("{name}: {} bytes, {} recorded, {at:?}", got.len(), want.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(asked, 71);
}

/// The storages of group1: id and state.
fn states(tracker: &Tracker) -> Vec<(String, StorageState)> {
    let (status, body) = tracker.connect("127.7.0.99").command(92, &[&text("group1", 16)]);
    assert_eq!(status, 0);
    let storages = StorageStat::decode_all(&body).unwrap();
    storages.iter().map(|stat| (stat.id.to_string(), stat.state)).collect()
}

#[test]
fn what_was_answered_survives_a_crash_and_a_stop() {
    let dir = Dir::new("restart");
    let conf = configure(&dir.0, &[]);
    let known = |state| ["127.7.0.11", "127.7.0.12"].map(|id| (id.to_owned(), state)).to_vec();

    let tracker = Tracker::start(&conf);
    let peers = bring_up(&tracker);
    assert_eq!(states(&tracker), known(StorageState::Active));
    tracker.kill();
    drop(peers);

    let tracker = Tracker::start(&conf);
    assert_eq!(states(&tracker), known(StorageState::Offline));
    let groups = tracker.connect("127.7.0.99").command(91, &[]).1;
    assert_eq!(groups.len(), 2 * 113);
    let stat = &recorded_storages()[2];
    let mut peer = tracker.connect("127.7.0.11");
    let (status, joined) = join(&mut peer, "group1", stat, false);
    assert_eq!((status, joined[0]), (0, StorageState::Online as u8));
    assert_eq!(joined[1..], text("127.7.0.12", 16), "who fills it is remembered");
    assert!(tracker.stop(), "a stop ends well");

    let tracker = Tracker::start(&conf);
    assert_eq!(states(&tracker), known(StorageState::Offline));
    let pid_file = dir.0.join("data/fdfs_trackerd.pid");
    assert!(pid_file.exists());
    assert!(tracker.stop());
    assert!(!pid_file.exists());
}

#[test]
fn a_storage_that_leaves_is_offline_at_once() {
    let dir = Dir::new("leave");
    let tracker = Tracker::start(&configure(&dir.0, &[]));
    let mut peers = bring_up(&tracker);
    let gone = |id: &str| {
        let offline =
            |(name, state): &(String, StorageState)| name == id && *state == StorageState::Offline;
        states(&tracker).iter().any(offline).then_some(())
    };
    drop(peers.pop());
    eventually("a closed connection", Duration::from_secs(10), || gone("127.7.0.11"));
    let mut first = peers.remove(0);
    first.send(&[0, 0, 0, 0, 0, 0, 0, 0, 82, 0]);
    assert_eq!(first.receive(), b"", "quit has no answer");
    eventually("a connection that quit", Duration::from_secs(10), || gone("127.7.0.12"));
    let (status, _) = tracker.connect("127.7.0.99").command(104, &[&text("group1", 16)]);
    assert_eq!(status, 2, "nobody left to store on");
}

#[test]
fn impossible_lengths_close_the_connection() {
    let dir = Dir::new("lengths");
    let tracker = Tracker::start(&configure(&dir.0, &[]));
    // Header and body together may have 256 KiB.
    let lengths: [(i64, bool); 6] = [
        (-1, true),
        (i64::MIN, true),
        (1 << 32, true),
        (256 * 1024 - 9, true),
        (256 * 1024 - 10, false),
        (0, false),
    ];
    for (len, closes) in lengths {
        let mut peer = tracker.connect("127.0.0.1");
        peer.send(&[&long(len)[..], &[111, 0]].concat());
        if !closes {
            peer.send(&vec![0; usize::try_from(len).unwrap()]);
        }
        let status = peer.receive().get(9).copied();
        let want = if len == 0 { 0 } else { 22 };
        assert_eq!(status, (!closes).then_some(want), "{len}");
    }
}

#[test]
fn strangers_are_closed_at_once() {
    let dir = Dir::new("strangers");
    let tracker = Tracker::start(&configure(&dir.0, &[("allow_hosts", "127.0.0.[2-3]")]));
    assert_eq!(tracker.connect("127.0.0.2").command(111, &[]).0, 0);
    assert_eq!(tracker.connect("127.0.0.4").receive(), b"");
}

#[test]
fn bad_configurations_are_refused_with_their_line() {
    let table = [
        ("use_trunk_file", "true", "trunk files are not supported yet"),
        ("disabled", "true", "this tracker is disabled"),
        ("store_lookup", "3", "store_lookup = 3: must be 0, 1 or 2"),
        ("port", "70000", "must be a port"),
        ("reserved_storage_space", "120%", "between 0% and 100%"),
        ("bind_addr", "nowhere", "must be an IPv4 address"),
        ("address_family", "IPv6", "use_storage_id"),
        ("log_level", "loud", "must be one of emerg"),
    ];
    let dir = Dir::new("refused");
    for (key, value, want) in table {
        let lines: &[(&str, &str)] = match key {
            "address_family" => &[("address_family", "IPv6"), ("bind_addr", "")],
            _ => &[(key, value)],
        };
        let conf = configure(&dir.0, lines);
        let run = Command::new(env!("CARGO_BIN_EXE_fdfs_trackerd"))
            .arg(&conf)
            .arg("--foreground")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && said.contains(want), "{key} = {value}: {said}");
        assert!(said.contains("tracker.conf"), "it names the file: {said}");
    }
}
