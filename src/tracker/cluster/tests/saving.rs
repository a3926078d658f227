//! State files: what is written is read back, what is damaged is refused.

use super::*;

const A: &str = "10.0.0.11";
const B: &str = "10.0.0.12";

fn texts(cluster: &Cluster) -> [String; 3] {
    [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes].map(|f| cluster.file_text(f))
}

fn saved(cluster: &Cluster) -> Saved {
    let [groups, storages, sync_times] = texts(cluster).map(Some);
    let changelog = cluster.changelog.as_str().to_owned();
    Saved { groups, storages, sync_times, changelog, last_check: None }
}

/// Two groups; B joined before A, and each has something of the other.
fn grown() -> World {
    let mut world = World::new(policy());
    world.serve(B, first_join("group1"), &[(1000, 500)]);
    world.serve(A, first_join("group1"), &[(2000, 700)]);
    world.serve("10.0.0.13", first_join("group2"), &[(10, 5)]);
    world.synced(A, B, 1234);
    world.synced(B, A, 5678);
    let source = world.ix("group1", B);
    let member = world.member("group1", A);
    member.source = Some(source);
    member.until = UnixTime(99);
    member.statistics.upload.total = 8;
    member.statistics.upload.success = 7;
    member.state = StorageState::Syncing;
    world
}

#[test]
fn the_files_have_the_form_of_the_reference() {
    let [groups, storages, sync_times] = texts(&grown().cluster);
    assert_eq!(
        groups,
        "[Global]\n\tgroup_count=2\n\n\
         # group: group1\n[Group001]\n\tgroup_name=group1\n\tstorage_port=23000\n\
         \tstore_path_count=1\n\tsubdir_count_per_path=256\n\tcurrent_trunk_file_id=0\n\
         \ttrunk_server=\n\tlast_trunk_server=\n\n\
         # group: group2\n[Group002]\n\tgroup_name=group2\n\tstorage_port=23000\n\
         \tstore_path_count=1\n\tsubdir_count_per_path=256\n\tcurrent_trunk_file_id=0\n\
         \ttrunk_server=\n\tlast_trunk_server=\n\n"
    );
    let start = "# storage: 10.0.0.12:23000\n[Storage001]\n\tgroup_name=group1\n\
         \tip_addr=10.0.0.12\n\tstatus=7\n\tversion=6.16.1\n\tjoin_time=1000\n\
         \tstorage_port=23000\n\tsync_src_server=\n\tsync_until_timestamp=0\n\
         \ttotal_mb=1000\n\tfree_mb=500\n\tchangelog_offset=0\n\tstore_path_count=1\n\
         \tsubdir_count_per_path=256\n\tupload_priority=10\n\ttotal_upload_count=0\n";
    assert!(storages.starts_with(start), "{storages}");
    assert!(storages.ends_with("\n\n\n[Global]\n\tstorage_count=3\n"), "{storages}");
    assert!(storages.contains("\tsync_src_server=10.0.0.12\n\tsync_until_timestamp=99\n"));
    assert_eq!(
        sync_times,
        "group1,10.0.0.12,0,1234\ngroup1,10.0.0.11,5678,0\ngroup2,10.0.0.13,0\n"
    );
}

#[test]
fn what_was_saved_is_known_again() {
    let before = grown().cluster;
    let after = Cluster::restore(policy(), NOON, &saved(&before)).unwrap();
    let [groups, storages, sync_times] = texts(&before);
    // Nobody is connected after a start, but who was being filled still is.
    let storages = storages.replace("status=7", "status=5");
    assert_eq!(texts(&after), [groups, storages, sync_times]);
    let group1 = &after.groups[&group("group1")];
    let a = group1.member(group1.find(&id(A)).unwrap());
    assert_eq!((a.state, a.source), (StorageState::Syncing, Some(MemberIx(0))));
    assert_eq!(a.statistics.last_synced, UnixTime(1234));
    assert_eq!(group1.readable(), [], "nobody is in service before a report");
}

#[test]
fn gone_storages_are_left_out_of_rows_and_columns() {
    let mut world = grown();
    world.set_state("group1", B, StorageState::Deleted);
    let [_, storages, sync_times] = texts(&world.cluster);
    assert!(!storages.contains(B), "{storages}");
    assert_eq!(sync_times, "group1,10.0.0.11,0\ngroup2,10.0.0.13,0\n");
    assert!(Cluster::restore(policy(), NOON, &saved(&world.cluster)).is_ok());
}

#[test]
fn a_tracker_without_files_starts_empty() {
    let cluster = Cluster::restore(policy(), NOON, &Saved::default()).unwrap();
    assert!(cluster.groups.is_empty());
}

#[test]
fn a_tracker_that_died_before_it_saved_a_storage_starts_empty() {
    let saved = Saved { storages: None, sync_times: None, ..saved(&grown().cluster) };
    let cluster = Cluster::restore(policy(), NOON, &saved).unwrap();
    assert!(cluster.groups.is_empty(), "so that it takes over what another one knows");
}

#[test]
fn damaged_files_are_refused_by_name() {
    let good = saved(&grown().cluster);
    let edit = |file: usize, from: &str, to: &str| {
        let mut bad = good.clone();
        let slot =
            [&mut bad.groups, &mut bad.storages, &mut bad.sync_times][file].as_mut().unwrap();
        assert!(slot.contains(from), "{from}");
        *slot = slot.replacen(from, to, 1);
        bad
    };
    let table = [
        (edit(0, "group_count=2", "group_count=3"), "storage_groups_new.dat: [Group003]"),
        (edit(0, "group_count=2", "group_count=-1"), "storage_groups_new.dat: [Global]"),
        (edit(0, "group_name=group2", "group_name=group1"), "a second time"),
        (edit(1, "group_name=group1", "group_name=other"), "storage_servers_new.dat: [Storage001]"),
        (edit(1, "ip_addr=10.0.0.12", "ip_addr="), "has no usable ip_addr"),
        (edit(1, "ip_addr=10.0.0.12", "ip_addr=10.0.0.11"), "a second time"),
        (edit(1, "sync_src_server=10.0.0.12", "sync_src_server=1.1.1.1"), "which is not known"),
        (edit(2, "group1,10.0.0.12", "group9,10.0.0.12"), "line 1: unknown group"),
        (edit(2, "group1,10.0.0.12", "group1,10.0.0.11"), "line 1: the order"),
        (edit(2, ",0,1234", ",0,1234,5"), "line 1: more columns"),
        (edit(2, "group1,10.0.0.12,0,1234", "group1,10.0.0.12"), "line 1: fewer than three"),
        (edit(2, ",1234", ",x"), "line 1: not a time"),
        (Saved { storages: None, ..good.clone() }, "storage_servers_new.dat is missing"),
    ];
    for (bad, want) in table {
        let error = Cluster::restore(policy(), NOON, &bad).unwrap_err().to_string();
        assert!(error.contains(want), "{error} should contain {want}");
    }
    assert!(Cluster::restore(policy(), NOON, &Saved { sync_times: None, ..good }).is_ok());
}

#[test]
fn peers_get_the_files_in_pieces() {
    let mut world = grown();
    assert_eq!(world.apply(A, Event::SysFilesStart), Ok(Answer::Empty));
    for (index, file) in (0..).zip([StateFile::Groups, StateFile::Storages, StateFile::SyncTimes]) {
        let text = world.cluster.file_text(file);
        let mut got = Vec::new();
        loop {
            let piece = SysFilePiece { index, offset: got.len() as u64 };
            let Ok(Answer::SysFile(len, piece)) = world.apply(A, Event::SysFile(piece)) else {
                panic!("file {index}")
            };
            assert_eq!(len, text.len() as u64);
            got.extend(piece);
            if got.len() as u64 == len {
                break;
            }
        }
        assert_eq!(got, text.as_bytes());
        let beyond = SysFilePiece { index, offset: text.len() as u64 + 1 };
        assert_eq!(world.apply(A, Event::SysFile(beyond)), Err(Refusal::Invalid));
    }
    let unknown = SysFilePiece { index: 4, offset: 0 };
    assert_eq!(world.apply(A, Event::SysFile(unknown)), Err(Refusal::Invalid));
    let mut empty = World::new(policy());
    assert_eq!(empty.apply(A, Event::SysFilesStart), Err(Refusal::NotFound));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_restore_panic(groups: String, storages: String, times: String) {
        let damaged = Saved {
            groups: Some(format!("[Global]\ngroup_count=1\n[Group001]\n{groups}")),
            storages: Some(format!("[Global]\nstorage_count=1\n[Storage001]\n{storages}")),
            sync_times: Some(times),
            ..Saved::default()
        };
        let _ = Cluster::restore(policy(), NOON, &damaged);
    }
}
