//! Where uploads go, and who serves a file.

use super::*;

const A: &str = "10.0.0.11";
const B: &str = "10.0.0.12";
const C: &str = "10.0.0.13";

fn target(group: &str, server: &str, path: u8) -> Result<(String, String, u8), Refusal> {
    Ok((group.to_owned(), server.to_owned(), path))
}

#[test]
fn reservations_are_strict() {
    let space = |total, free| Space { total: Megabytes(total), free: Megabytes(free) };
    let absolute = Reserved::Absolute(Megabytes(100));
    let ratio = Reserved::Ratio(0.1);
    let groups = [
        (absolute, space(1000, 100), false),
        (absolute, space(1000, 101), true),
        (ratio, space(1000, 100), false),
        (ratio, space(1000, 101), true),
        (ratio, space(0, 0), false),
    ];
    for (reserved, space, admitted) in groups {
        assert_eq!(reserved.admits_group(space), admitted, "{reserved:?} {space:?}");
    }
    // The absolute reservation is shared by the paths, a ratio holds for each.
    let paths = [
        (absolute, 3, space(1000, 33), false),
        (absolute, 3, space(1000, 34), true),
        (ratio, 3, space(1000, 100), false),
        (ratio, 3, space(1000, 101), true),
    ];
    for (reserved, count, space, admitted) in paths {
        assert_eq!(reserved.admits_path(space, count), admitted, "{reserved:?} {space:?}");
    }
    assert_eq!(Reserved::Ratio(0.01).of_total(Megabytes(258_019)), Megabytes(2580));
}

/// Three groups of one storage each: with space, without, and with more.
fn three_groups(lookup: Lookup) -> World {
    let mut world = World::new(Policy { lookup, ..policy() });
    for (peer, name, free) in [(A, "g1", 500), (B, "g2", 100), (C, "g3", 900)] {
        world.serve(peer, first_join(name), &[(1000, free)]);
    }
    world
}

#[test]
fn groups_take_turns_and_full_ones_are_left_out() {
    let mut world = three_groups(Lookup::RoundRobin);
    for (name, server) in [("g1", A), ("g3", C), ("g1", A), ("g3", C)] {
        assert_eq!(world.store(None), target(name, server, 0));
    }
    assert_eq!(world.store(Some("g2")), Err(Refusal::Full));
    assert_eq!(world.store(Some("g4")), Err(Refusal::NotFound));
    world.closed(C);
    assert_eq!(world.store(Some("g3")), Err(Refusal::NotFound), "nobody to write to");
    assert_eq!(world.store(None), target("g1", A, 0));
    assert_eq!(world.store(None), target("g1", A, 0));
}

#[test]
fn the_group_with_most_space_is_taken_until_a_report_says_otherwise() {
    let mut world = three_groups(Lookup::MostFree);
    for _ in 0..2 {
        assert_eq!(world.store(None), target("g3", C, 0));
    }
    world.disk(C, &[(1000, 400)]).unwrap();
    assert_eq!(world.store(None), target("g1", A, 0));
}

#[test]
fn a_configured_group_is_the_only_one() {
    let mut world = three_groups(Lookup::Group(group("g1")));
    assert_eq!(world.store(None), target("g1", A, 0));
    assert_eq!(three_groups(Lookup::Group(group("g2"))).store(None), Err(Refusal::Full));
    assert_eq!(three_groups(Lookup::Group(group("g9"))).store(None), Err(Refusal::NotFound));
    assert_eq!(World::new(policy()).store(None), Err(Refusal::NotFound));
}

#[test]
fn servers_are_chosen_by_turn_id_or_priority() {
    let table = [
        (ServerChoice::RoundRobin, [A, B, C, A]),
        (ServerChoice::FirstById, [A, A, A, A]),
        (ServerChoice::Priority, [B, B, B, B]),
    ];
    for (server, want) in table {
        let mut world = World::new(Policy { server, ..policy() });
        for (peer, upload_priority) in [(C, 1), (A, 10), (B, 1)] {
            let join = Join { upload_priority, ..first_join("group1") };
            world.serve(peer, join, &[(1000, 500)]);
        }
        let got: Vec<String> = (0..4).map(|_| world.store(None).unwrap().1).collect();
        assert_eq!(got, want, "{server:?}");
        let all = world.apply(A, Event::Store { group: None, all: true });
        let Ok(Answer::Store(all)) = all else { panic!("{all:?}") };
        let all: Vec<String> = all.servers.iter().map(|s| s.address.to_string()).collect();
        assert_eq!(all, [A, B, C], "all, in id order");
    }
}

#[test]
fn paths_take_turns_or_the_freest_is_taken() {
    let paths = [(1000, 500), (1000, 20), (1000, 900)];
    let join = || Join { path_count: 3, ..first_join("group1") };
    for (path, want) in [(PathChoice::RoundRobin, [0, 2, 0, 2]), (PathChoice::MostFree, [2; 4])] {
        let mut world = World::new(Policy { path, ..policy() });
        world.serve(A, join(), &paths);
        let got: Vec<u8> = (0..4).map(|_| world.store(None).unwrap().2).collect();
        assert_eq!(got, want, "{path:?}");
    }
    // The group has space in sum, but none of its paths has its share.
    let mut world = World::new(policy());
    world.serve(A, join(), &[(1000, 33), (1000, 33), (1000, 33)]);
    world.cluster.groups.get_mut(&group("group1")).unwrap().space.free = Megabytes(500);
    assert_eq!(world.store(None), Err(Refusal::Full));
}

#[test]
fn the_space_of_a_group_is_that_of_its_fullest_writable_member() {
    let mut world = World::new(policy());
    let free = |world: &World| world.cluster.groups[&group("group1")].space.free.0;
    // Who reports, how much, and what the group has then.
    for (peer, reported, want) in [(A, 500, 500), (B, 300, 300), (A, 600, 300), (B, 900, 600)] {
        if !world.sessions.contains_key(peer) {
            world.serve(peer, first_join("group1"), &[(1000, reported)]);
        } else {
            world.disk(peer, &[(1000, reported)]).unwrap();
        }
        assert_eq!(free(&world), want, "{peer} reports {reported}");
    }
    let mut session = world.sessions[A].clone();
    world.cluster.closed(&mut session);
    assert_eq!(free(&world), 600, "not computed anew when a member leaves");
}

/// A remote name that encodes this source, time and size word; as long as a plain file's.
fn name(source: [u8; 4], created: i64, size: u64) -> Vec<u8> {
    let created = i32::try_from(created).unwrap();
    let mut bytes = source.to_vec();
    bytes.extend(created.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    bytes.extend([1, 2, 3, 4]);
    format!("M00/00/00/{}.txt", proto::base64::encode(&bytes)).into_bytes()
}

/// A and B are in service, the file came to A; B has everything of A up to `synced`.
fn pair(policy: Policy, synced: i64) -> World {
    let mut world = World::new(policy);
    for peer in [A, B] {
        world.serve(peer, first_join("group1"), &[(1000, 500)]);
    }
    if synced != 0 {
        world.synced(B, A, synced);
    }
    world
}

const FROM_A: [u8; 4] = [10, 0, 0, 11];

#[test]
fn a_file_is_served_by_whoever_must_have_it() {
    let now = NOON.0;
    // Created, what B has of A, and who may serve it.
    let table: [(&str, i64, i64, &[&str]); 8] = [
        ("new, nothing synced", now - 10, 0, &[A]),
        ("new, synced beyond", now - 10, now - 9, &[A, B]),
        ("new, synced up to it", now - 10, now - 10, &[A]),
        ("older than one takes, synced up to it", now - 301, now - 301, &[A, B]),
        ("older than one takes, synced to the second before", now - 301, now - 302, &[A, B]),
        ("older than one takes, synced before", now - 301, now - 303, &[A]),
        ("as old as assumed", now - 86400, 0, &[A]),
        ("older than assumed", now - 86401, 0, &[A, B]),
    ];
    for (what, created, synced, want) in table {
        let mut world = pair(policy(), synced);
        let file = name(FROM_A, created, 5);
        assert_eq!(world.fetch(&file, Purpose::ReadAll).unwrap(), want, "{what}");
        // One of them, in turn.
        let turns: Vec<String> =
            (0..want.len()).flat_map(|_| world.fetch(&file, Purpose::ReadOne).unwrap()).collect();
        assert_eq!(turns, want, "{what}");
    }
}

#[test]
fn changeable_files_are_read_where_they_were_written() {
    let appender = name(FROM_A, NOON.0 - 86401, 1 << 58);
    let slave = [&name(FROM_A, NOON.0 - 86401, 5)[..37], b"_120x120.jpeg"].concat();
    let from_b = name([10, 0, 0, 12], NOON.0 - 86401, 1 << 58);
    let foreign = name([10, 9, 9, 9], NOON.0 - 86401, 1 << 58);
    for (file, want) in [(&appender, A), (&slave, A), (&from_b, B), (&foreign, A)] {
        let mut world = pair(policy(), 0);
        for purpose in [Purpose::ReadOne, Purpose::ReadAll] {
            assert_eq!(world.fetch(file, purpose).unwrap(), [want], "{purpose:?}");
        }
    }
    let mut gone = pair(policy(), 0);
    let mut session = gone.sessions[A].clone();
    gone.cluster.closed(&mut session);
    assert_eq!(gone.fetch(&appender, Purpose::ReadOne).unwrap(), [B], "the next best");
}

#[test]
fn downloads_may_prefer_the_source() {
    let old = name([10, 0, 0, 12], NOON.0 - 86401, 5);
    let mut world = pair(Policy { download: DownloadChoice::SourceFirst, ..policy() }, 0);
    for _ in 0..3 {
        assert_eq!(world.fetch(&old, Purpose::ReadOne).unwrap(), [B]);
    }
}

#[test]
fn changes_go_to_the_source() {
    let mut world = pair(policy(), 0);
    let file = name([10, 0, 0, 12], NOON.0, 5);
    assert_eq!(world.fetch(&file, Purpose::Update).unwrap(), [B]);
    let foreign = name([10, 9, 9, 9], NOON.0, 5);
    assert_eq!(world.fetch(&foreign, Purpose::Update).unwrap(), [A]);
    assert_eq!(world.fetch(&foreign, Purpose::Update).unwrap(), [B], "in turn");
    for peer in [A, B] {
        let mut session = world.sessions[peer].clone();
        world.cluster.closed(&mut session);
    }
    for purpose in [Purpose::ReadOne, Purpose::ReadAll, Purpose::Update] {
        assert_eq!(world.fetch(&file, purpose), Err(Refusal::NotFound));
    }
}

#[test]
fn names_that_encode_nothing_are_served_by_anybody() {
    for file in [&b"M00/00/00/short-name-xx"[..], b"M00/00/00/!!!!!!!!!!!!!!!!!!!!!!!!!!!.txt"] {
        // Nothing is known of its age, so it is taken for old.
        assert_eq!(pair(policy(), 0).fetch(file, Purpose::ReadAll).unwrap(), [A, B]);
    }
}

#[test]
fn the_last_time_is_the_least_of_a_report_or_the_greatest_of_all() {
    for (server, want) in [(ServerChoice::RoundRobin, 100), (ServerChoice::FirstById, 300)] {
        let mut world = World::new(Policy { server, ..policy() });
        for peer in [A, B, C] {
            world.serve(peer, first_join("group1"), &[(1000, 500)]);
        }
        let until = |source: &str, until| SyncedUntil { source: id(source), until };
        // Unknown sources, oneself and times of zero do not count.
        let reports = [
            vec![until(B, 300), until(C, 200)],
            vec![until(B, 100), until(C, 200), until(A, 7), until("10.0.0.99", 8)],
            vec![until(B, 0)],
        ];
        for records in reports {
            world.apply(A, Event::SyncReport(SyncReport { records })).unwrap();
        }
        assert_eq!(world.member("group1", A).statistics.last_synced, UnixTime(want));
    }
}
