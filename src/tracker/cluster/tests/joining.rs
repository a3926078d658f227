//! Who may join, under which identity, and how states move.

use core::time::Duration;

use proto::status::RwMode;
use proto::tracker::admin::DeleteStorage;
use proto::tracker::changelog::IpChanged;
use proto::tracker::status::{ReplicaChange, ReportStatus};
use proto::tracker::sync::StorageRef;
use proto::tracker::{Brief, STORAGES_PER_GROUP_MAX};

use super::*;

use StorageState::{Active, Deleted, Init, IpChanged as Renamed, Offline, Online, Recovery};
use StorageState::{Syncing, WaitSync};

const A: &str = "10.0.0.11";
const B: &str = "10.0.0.12";

#[test]
fn the_first_storage_becomes_active_without_a_source() {
    let mut world = World::new(policy());
    let joined = world.join(A, first_join("group1")).unwrap();
    assert_eq!(joined, JoinAnswer { state: Init, source: None });
    for file in [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes] {
        assert!(world.saves(file), "{file:?}");
    }
    assert_eq!(world.apply(A, Event::SyncDestReq), Ok(Answer::SyncPoint(None)));
    let nobody = SyncPoint { source: None, until: UnixTime(0) };
    assert_eq!(world.apply(A, Event::SyncNotify(nobody)), Ok(Answer::Empty));
    assert_eq!(world.state("group1", A), Online);
    world.beat(A);
    assert_eq!(world.state("group1", A), Active);
}

#[test]
fn a_second_storage_is_filled_by_the_first() {
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    world.join(B, first_join("group1")).unwrap();
    world.now = UnixTime(NOON.0 + 7);
    let point = SyncPoint { source: Some(id(A)), until: world.now };
    assert_eq!(world.apply(B, Event::SyncDestReq), Ok(Answer::SyncPoint(Some(point))));
    assert_eq!(world.state("group1", B), WaitSync);
    assert_eq!(world.apply(B, Event::SyncNotify(point)), Ok(Answer::Empty));
    world.beat(B);
    assert_eq!(world.state("group1", B), WaitSync, "a heartbeat does not end the waiting");
    assert_eq!(world.apply(B, Event::SyncDestQuery), Ok(Answer::SyncPoint(Some(point))));
    for (told, want) in [(Syncing, Syncing), (Offline, Offline)] {
        let brief = Brief { state: told, port: 0, id: Some(id(B)), address: Some(ip(B)) };
        let report = ReportStatus { group: group("group1"), brief };
        world.apply(A, Event::ReportStatus(report)).unwrap();
        assert_eq!(world.state("group1", B), want);
    }
    world.beat(B);
    assert_eq!(world.state("group1", B), Active);
    let joined = world.join(B, Join { init: false, ..first_join("group1") }).unwrap();
    assert_eq!(joined.source, Some(id(A)), "the arrangement is remembered");
}

#[test]
fn joins_are_refused_in_the_order_of_the_specification() {
    let known =
        |state| Join { init: false, state: ReportedState::Known(state), ..first_join("group1") };
    let unknown_state = Join { init: false, state: ReportedState::Unknown, ..first_join("group1") };
    let others = |port: u16| {
        (0..17u8).map(move |n| TrackerHost {
            addresses: Addresses::one(ip(&format!("10.1.0.{n}"))),
            port,
        })
    };
    let table: [(&str, Join, Result<StorageState, Refusal>); 11] = [
        (
            "too many trackers",
            Join { trackers: others(1).collect(), ..first_join("group1") },
            Err(Refusal::Full),
        ),
        ("another port", Join { port: 23001, ..first_join("group1") }, Err(Refusal::Invalid)),
        ("state unknown to the storage", unknown_state, Err(Refusal::Unready)),
        ("once deleted", known(Deleted), Err(Refusal::Unready)),
        ("once renamed", known(Renamed), Err(Refusal::Unready)),
        ("none", known(StorageState::None), Err(Refusal::Unready)),
        ("more paths", Join { path_count: 2, ..first_join("group1") }, Ok(Init)),
        (
            "other sub-directories",
            Join { subdir_count: 100, ..first_join("group1") },
            Err(Refusal::Invalid),
        ),
        ("was active", known(Active), Ok(Online)),
        ("was offline", known(Offline), Ok(Online)),
        ("was being filled", known(Syncing), Ok(Syncing)),
    ];
    for (what, join, want) in table {
        let mut world = World::new(policy());
        world.serve(A, first_join("group1"), &[(1000, 500)]);
        let got = world.join(B, join).map(|joined| joined.state);
        assert_eq!(got, want, "{what}");
    }
    let mut world = World::new(policy());
    world.serve(A, Join { path_count: 2, ..first_join("group1") }, &[(10, 5), (10, 5)]);
    assert_eq!(world.join(B, first_join("group1")), Err(Refusal::Invalid), "fewer paths");
    assert!(world.sessions[B].is_joined(), "a late refusal leaves the storage attached");
}

#[test]
fn a_storage_with_more_paths_waits_for_its_group() {
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    world.join(B, Join { path_count: 2, ..first_join("group1") }).unwrap();
    assert_eq!(world.disk(B, &[(1, 1), (1, 1)]), Err(Refusal::Invalid));
    world.join(A, Join { path_count: 2, ..first_join("group1") }).unwrap();
    assert!(world.saves(StateFile::Groups), "now both have two");
    assert_eq!(world.disk(B, &[(1, 1), (1, 1)]), Ok(()));
}

#[test]
fn a_group_moves_to_another_port_with_its_last_member() {
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    world.serve(B, first_join("group1"), &[(1000, 500)]);
    let moved = || Join { port: 24000, ..first_join("group1") };
    assert_eq!(world.join(A, moved()), Err(Refusal::Invalid));
    assert!(world.join(B, moved()).is_ok());
    assert!(world.join(A, moved()).is_ok());
}

#[test]
fn a_group_holds_as_many_storages_as_clients_can_list() {
    let mut world = World::new(policy());
    for n in 0..STORAGES_PER_GROUP_MAX {
        world.join(&format!("10.0.1.{n}"), first_join("group1")).unwrap();
    }
    assert_eq!(world.join("10.0.2.1", first_join("group1")), Err(Refusal::Full));
    assert!(world.join("10.0.1.0", first_join("group1")).is_ok(), "a known one comes back");
}

fn with_ids() -> Policy {
    let mut table = IdTable::default();
    let rows = [
        ("100001", "group1", A, RwMode::Both),
        ("100002", "group1", B, RwMode::Read),
        ("100003", "group2", "10.0.0.13", RwMode::None),
    ];
    for (number, name, address, mode) in rows {
        let addresses = Addresses::one(ip(address));
        let storage = ConfiguredStorage { group: group(name), addresses, port: 23000, mode };
        table.add(id(number), storage).unwrap();
    }
    Policy { ids: Some(table), id_in_name: IdInName::Id, ..policy() }
}

#[test]
fn configured_storages_join_under_their_ids() {
    let with = |name: &str, number: &str, port| Join {
        id: (!number.is_empty()).then(|| id(number)),
        port,
        ..first_join(name)
    };
    type Row = (&'static str, bool, &'static str, Join, Result<&'static str, Refusal>);
    let table: [Row; 8] = [
        ("found by address", true, A, with("group1", "", 23000), Ok("100001")),
        ("trusted from anywhere", true, "10.7.7.7", with("group1", "100001", 23000), Ok("100001")),
        ("not trusted", false, "10.7.7.7", with("group1", "100001", 23000), Err(Refusal::NotFound)),
        ("not configured", true, "10.7.7.7", with("group1", "", 23000), Err(Refusal::NotFound)),
        ("unknown id", true, A, with("group1", "100009", 23000), Err(Refusal::NotFound)),
        ("another group", true, A, with("group1", "100003", 23000), Err(Refusal::Invalid)),
        ("another port", true, A, with("group1", "", 23001), Err(Refusal::NotFound)),
        ("ports may differ", true, A, with("group1", "100001", 23001), Ok("100001")),
    ];
    for (what, trust_storage_id, peer, join, want) in table {
        let mut world = World::new(Policy { trust_storage_id, ..with_ids() });
        let got = world.join(peer, join).map(|_| {
            let group = &world.cluster.groups[&group("group1")];
            group.sorted().map(|(_, m)| m.id.to_string()).collect::<Vec<_>>().join(",")
        });
        assert_eq!(got.as_deref(), want.as_ref().map(|text| *text), "{what}");
    }
}

#[test]
fn modes_decide_who_is_listed() {
    let mut world = World::new(with_ids());
    for (peer, name, number) in
        [(A, "group1", "100001"), (B, "group1", "100002"), ("10.0.0.13", "group2", "100003")]
    {
        world.join(peer, first_join(name)).unwrap();
        world.set_state(name, number, Online);
        world.beat(peer);
        assert_eq!(world.state(name, number), Active);
    }
    let lists = |world: &World, name: &str| {
        let group = &world.cluster.groups[&group(name)];
        (group.readable().len(), group.writable().len())
    };
    assert_eq!(lists(&world, "group1"), (2, 1));
    assert_eq!(lists(&world, "group2"), (0, 0));
}

#[test]
fn connections_and_reports_move_states() {
    // From, then what a join, a heartbeat and the end of the connection make of it.
    let table = [
        (Init, Init, Init, Init),
        (WaitSync, WaitSync, WaitSync, WaitSync),
        (Syncing, Syncing, Syncing, Syncing),
        (Renamed, Init, Renamed, Renamed),
        (Deleted, Init, Active, Deleted),
        (Offline, Online, Active, Offline),
        (Online, Online, Active, Offline),
        (Active, Active, Active, Offline),
        (Recovery, Online, Active, Recovery),
    ];
    for (from, joined, beaten, ended) in table {
        let mut world = World::new(policy());
        world.join(A, first_join("group1")).unwrap();
        world.set_state("group1", A, from);
        let rejoin = Join { init: false, ..first_join("group1") };
        assert_eq!(world.join(A, rejoin).unwrap().state, joined, "join in {from:?}");
        world.set_state("group1", A, from);
        world.beat(A);
        assert_eq!(world.state("group1", A), beaten, "heartbeat in {from:?}");
        world.set_state("group1", A, from);
        world.closed(A);
        assert_eq!(world.state("group1", A), ended, "end of the connection in {from:?}");
    }
}

#[test]
fn one_that_lost_everything_is_new_whatever_it_was_and_though_its_connection_stands() {
    for from in [WaitSync, Syncing, Offline, Online, Active, Recovery] {
        let mut world = World::new(policy());
        world.serve(A, first_join("group1"), &[(1000, 500)]);
        world.serve(B, first_join("group1"), &[(1000, 500)]);
        let source = Some(world.ix("group1", A));
        world.member("group1", B).source = source;
        world.set_state("group1", B, from);
        let joined = world.join(B, first_join("group1")).unwrap();
        assert_eq!(joined, JoinAnswer { state: Init, source: None }, "{from:?}");
        let told = [world.store(None), world.store(None)].map(|to| to.unwrap().1);
        assert_eq!(told, [A, A], "{from:?}: no upload is sent there");
        let lists = &world.cluster.groups[&group("group1")];
        assert_eq!(lists.readable().len(), 1, "{from:?}: nor a reader");
    }
}

#[test]
fn the_end_of_an_old_connection_does_not_end_the_new_one() {
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    let old = world.sessions.remove(A).unwrap();
    world.join(A, Join { init: false, ..first_join("group1") }).unwrap();
    world.cluster.closed(&mut old.clone());
    assert_eq!(world.state("group1", A), Active);
    world.closed(A);
    assert_eq!(world.state("group1", A), Offline);
}

#[test]
fn reports_about_others_only_say_more() {
    // Current state, reported state, state afterwards.
    let table = [
        (WaitSync, Syncing, Syncing),
        (Syncing, WaitSync, Syncing),
        (Syncing, Offline, Offline),
        (Offline, Recovery, Recovery),
        (Offline, Active, Active),
        (Offline, Deleted, Deleted),
        (Deleted, Offline, Offline),
        (Active, Recovery, Active),
        (Init, Active, Init),
        (Online, Deleted, Online),
        (Recovery, Deleted, Recovery),
        (Offline, StorageState::None, Offline),
    ];
    for (current, told, want) in table {
        let mut world = World::new(policy());
        world.join(A, first_join("group1")).unwrap();
        world.set_state("group1", A, current);
        let brief = Brief { state: told, port: 0, id: Some(id(A)), address: Some(ip(A)) };
        let report = ReportStatus { group: group("group1"), brief: brief.clone() };
        assert_eq!(world.apply(B, Event::ReportStatus(report)), Ok(Answer::Empty));
        assert_eq!(world.state("group1", A), want, "{told:?} in {current:?}");
        // The same through a joined connection of a tracker that does not lead.
        world.set_state("group1", A, current);
        let change = ReplicaChange { briefs: vec![brief] };
        assert_eq!(world.apply(A, Event::ReplicaChange(change)), Ok(Answer::Empty));
        assert_eq!(world.state("group1", A), want, "{told:?} in {current:?}");
    }
}

#[test]
fn a_storage_corrects_its_state() {
    let table = [
        (Active, Offline, Active),
        (Active, Recovery, Recovery),
        (Recovery, Active, Offline),
        (Init, Online, Offline),
        (Syncing, WaitSync, WaitSync),
    ];
    for (from, wanted, to) in table {
        let mut world = World::new(policy());
        world.join(A, first_join("group1")).unwrap();
        world.set_state("group1", A, from);
        assert_eq!(world.apply(A, Event::ChangeStatus(wanted)), Ok(Answer::Empty));
        assert_eq!(world.state("group1", A), to, "{wanted:?} in {from:?}");
        assert_eq!(world.saves(StateFile::Storages), from != to);
    }
}

#[test]
fn only_the_leader_tells_what_changed() {
    let mut world = World::new(policy());
    world.join(A, first_join("group1")).unwrap();
    world.set_state("group1", A, Online);
    assert_eq!(world.beat(A), Changes::default());
    world.elect();
    let changes = world.beat(A);
    let leader = changes.leader.unwrap();
    assert_eq!((leader.id, leader.port), (Some(id("10.0.0.1")), 22122));
    assert_eq!(changes.group.unwrap().len(), 1);
    assert_eq!(world.beat(A), Changes::default(), "said once");

    // Joined in the other order; told in the order of their ids, gone ones included.
    for peer in ["10.0.0.9", "10.0.0.10"] {
        world.join(peer, first_join("group1")).unwrap();
    }
    world.set_state("group1", "10.0.0.9", Deleted);
    let told: Vec<String> =
        world.beat(A).group.unwrap().iter().map(|b| b.id.unwrap().to_string()).collect();
    assert_eq!(told, ["10.0.0.10", "10.0.0.11", "10.0.0.9"]);

    world.closed(A);
    world.join(A, Join { init: false, ..first_join("group1") }).unwrap();
    let again = world.beat(A);
    assert!(again.leader.is_some() && again.group.is_some(), "everything again after a join");
}

#[test]
fn whom_another_tracker_may_have_told_otherwise_is_told_again() {
    let host = |at| TrackerHost { addresses: Addresses::one(ip(at)), port: 22122 };
    let trackers = ["10.0.0.1", "10.0.0.2"].map(host).to_vec();
    let mut world = World::new(policy());
    world.join(A, Join { trackers, ..first_join("group1") }).unwrap();
    world.elect();
    assert!(world.beat(A).group.is_some());
    assert_eq!(world.beat(A), Changes::default(), "said once");
    let version = Version::parse("6.16.1").unwrap();
    let follower = JoinLeader { up_time: NOON, version, port: 22122 };
    world.apply("10.0.0.2", Event::JoinLeader(follower)).unwrap();
    let again = world.beat(A);
    assert!(again.leader.is_some() && again.group.is_some(), "the follower may have led");
    assert_eq!(world.beat(A), Changes::default());
}

/// The state of a member that has beaten before the clock was set by `by` seconds, and not in the
/// `silence` seconds since.
fn state_after(by: i64, silence: u64) -> StorageState {
    let mut world = World::new(policy());
    let steady = Duration::from_secs(1000);
    assert_eq!(world.cluster.tell_time(NOON, steady), 0);
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    let later = UnixTime(NOON.0 + by + i64::try_from(silence).unwrap());
    let set_by = world.cluster.tell_time(later, steady + Duration::from_secs(silence));
    assert_eq!(set_by, by);
    world.cluster.check(later);
    world.state("group1", A)
}

#[test]
fn a_clock_that_is_set_makes_nobody_silent_and_nobody_alive() {
    for by in [0, 3600, -3600, 400_000_000, -400_000_000] {
        assert_eq!(state_after(by, 100), Active, "set by {by} s, silent for as long as one may be");
        assert_eq!(state_after(by, 101), Offline, "set by {by} s, silent for longer");
    }
}

#[test]
fn a_silent_storage_goes_offline_and_comes_back() {
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    for (later, state) in [(100, Active), (101, Offline)] {
        world.cluster.check(UnixTime(NOON.0 + later));
        assert_eq!(world.state("group1", A), state, "{later} s");
    }
    assert_eq!(world.store(None), Err(Refusal::NotFound));
    world.now = UnixTime(NOON.0 + 150);
    world.disk(A, &[(1000, 500)]).unwrap();
    assert_eq!(world.state("group1", A), Active, "a disk report puts it into service");
    world.cluster.check(world.now);
    assert_eq!(world.state("group1", A), Offline, "but says nothing about its life");
}

#[test]
fn who_fills_a_new_member() {
    // States of the other member, and what the new one is answered.
    let table = [
        (Active, Ok(Some(A))),
        (Offline, Err(Refusal::NotFound)),
        (Online, Err(Refusal::NotFound)),
        (Recovery, Ok(None)),
        (Init, Ok(None)),
    ];
    for (state, want) in table {
        let mut world = World::new(policy());
        world.serve(A, first_join("group1"), &[(1000, 500)]);
        if state != Active {
            let ix = world.ix("group1", A);
            world.cluster.groups.get_mut(&group("group1")).unwrap().deactivate(ix);
            world.set_state("group1", A, state);
        }
        world.join(B, first_join("group1")).unwrap();
        let got = world.apply(B, Event::SyncDestReq).map(|answer| match answer {
            Answer::SyncPoint(point) => point.and_then(|p| p.source),
            other => panic!("{other:?}"),
        });
        assert_eq!(got, want.map(|source| source.map(id)), "{state:?}");
    }
}

#[test]
fn whether_old_files_must_be_sent() {
    let ask = |world: &mut World| {
        world.apply(A, Event::SyncSrcReq(StorageRef { group: group("group1"), id: id(B) }))
    };
    // State of the source, and whether it is still named.
    for (state, named) in
        [(Active, true), (Offline, true), (Recovery, true), (Deleted, false), (Init, false)]
    {
        let mut world = World::new(policy());
        world.serve(A, first_join("group1"), &[(1000, 500)]);
        world.join(B, first_join("group1")).unwrap();
        assert_eq!(ask(&mut world), Err(Refusal::NotFound), "not arranged yet");
        world.apply(B, Event::SyncDestReq).unwrap();
        world.set_state("group1", A, state);
        let point = named.then_some(SyncPoint { source: Some(id(A)), until: NOON });
        assert_eq!(ask(&mut world), Ok(Answer::SyncPoint(point)), "{state:?}");
        assert_eq!(world.saves(StateFile::Storages), !named);
    }
}

#[test]
fn a_source_that_cannot_send_is_refused_and_not_remembered() {
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    world.join(B, first_join("group1")).unwrap();
    for source in [id("10.0.0.99"), id(A), id(B)] {
        world.set_state("group1", A, Deleted);
        let point = SyncPoint { source: Some(source), until: UnixTime(5) };
        assert_eq!(world.apply(B, Event::SyncNotify(point)), Err(Refusal::NotFound));
        assert_eq!(world.apply(B, Event::SyncDestQuery), Ok(Answer::SyncPoint(None)));
    }
}

#[test]
fn storages_and_groups_are_removed() {
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    let delete = |world: &mut World, id_text: &str| {
        let about = DeleteStorage { group: group("group1"), id: id(id_text) };
        world.apply(B, Event::DeleteStorage(about))
    };
    assert_eq!(delete(&mut world, A), Err(Refusal::Busy));
    assert_eq!(delete(&mut world, B), Err(Refusal::NotFound));
    world.join(B, first_join("group1")).unwrap();
    world.apply(B, Event::SyncDestReq).unwrap();
    world.set_state("group1", A, Offline);
    assert_eq!(delete(&mut world, A), Ok(Answer::Empty));
    assert!(world.saves(StateFile::Storages) && world.saves(StateFile::SyncTimes));
    let line = format!("{} group1 {A} 4 \n", NOON.0);
    assert!(world.effects.contains(&Effect::AppendChangelog(line.clone())), "{line:?}");
    assert_eq!(world.apply(B, Event::SyncDestQuery), Ok(Answer::SyncPoint(None)));
    assert_eq!(delete(&mut world, A), Err(Refusal::Already));
    // It is told to the others whole, again if the connection ended with it, and once they have
    // it no more.
    assert_eq!(world.apply(B, Event::ChangelogReq(None)), Ok(Answer::Text(line.clone())));
    world.sessions.remove(B);
    world.join(B, first_join("group1")).unwrap();
    assert_eq!(world.apply(B, Event::ChangelogReq(None)), Ok(Answer::Text(line)));
    assert_eq!(world.apply(B, Event::ChangelogReq(None)), Ok(Answer::Empty));
    assert!(world.saves(StateFile::Storages));
    world.sessions.remove(B);
    world.join(B, first_join("group1")).unwrap();
    assert_eq!(world.apply(B, Event::ChangelogReq(None)), Ok(Answer::Empty));
    let gone = Event::DeleteGroup(group("group1"));
    assert_eq!(world.apply(A, gone.clone()), Err(Refusal::Busy));
    world.cluster.groups.insert(group("empty"), Group::new(group("empty")));
    assert_eq!(world.apply(A, Event::DeleteGroup(group("empty"))), Ok(Answer::Empty));
    assert_eq!(world.apply(A, Event::DeleteGroup(group("empty"))), Err(Refusal::NotFound));
}

#[test]
fn a_storage_keeps_its_history_under_a_new_address() {
    const NEW: &str = "10.0.0.31";
    let change = |old: &str| {
        Event::IpChanged(IpChanged { group: group("group1"), old: ip(old), new: ip(NEW) })
    };
    let mut world = World::new(policy());
    world.serve(A, first_join("group1"), &[(1000, 500)]);
    assert_eq!(world.apply(B, change(A)), Err(Refusal::Invalid), "from another address");
    assert_eq!(world.apply(NEW, change(B)), Err(Refusal::NotFound));
    assert_eq!(world.apply(NEW, change(A)), Err(Refusal::Busy));
    world.set_state("group1", A, Offline);
    assert_eq!(world.apply(NEW, change(A)), Ok(Answer::Empty));
    let line = format!("{} group1 {A} 3 {NEW}\n", NOON.0);
    assert!(world.effects.contains(&Effect::AppendChangelog(line)));
    assert_eq!(world.state("group1", A), Renamed);
    assert_eq!(world.member("group1", NEW).space.free, Megabytes(500));
    // And back: what reminds of the address makes room for the one that had it.
    let back = Event::IpChanged(IpChanged { group: group("group1"), old: ip(NEW), new: ip(A) });
    assert_eq!(world.apply(A, back), Ok(Answer::Empty));
    assert_eq!((world.state("group1", NEW), world.state("group1", A)), (Renamed, Offline));
    assert_eq!(world.member("group1", A).space.free, Megabytes(500));
    assert_eq!(world.apply(NEW, change(A)), Ok(Answer::Empty));
    assert_eq!(world.cluster.groups[&group("group1")].len(), 2);
    assert_eq!(world.apply(NEW, change(A)), Err(Refusal::Already));
    world.set_state("group1", A, Offline);
    assert_eq!(world.apply(NEW, change(A)), Err(Refusal::Exists));
}

#[test]
fn nobody_speaks_for_a_storage_without_joining() {
    let nobody = SyncPoint { source: None, until: UnixTime(0) };
    let events = [
        Event::Beat(Box::new(Beat { statistics: None })),
        Event::DiskUsage(DiskUsage { paths: vec![] }),
        Event::SyncReport(SyncReport { records: vec![] }),
        Event::SyncNotify(nobody),
        Event::SyncDestReq,
        Event::SyncDestQuery,
        Event::ChangeStatus(Active),
        Event::TrunkFid,
        Event::TrunkReport,
        Event::ReplicaChange(ReplicaChange { briefs: vec![] }),
    ];
    let mut world = World::new(policy());
    for event in events {
        assert_eq!(world.apply(A, event.clone()), Err(Refusal::NotJoined), "{event:?}");
    }
}
