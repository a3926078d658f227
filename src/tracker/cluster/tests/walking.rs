//! Any events in any order: the invariants hold, and what was saved can always be read back.
//!
//! A tracker that cannot read its own files does not start, so this is the worst that a wrong
//! event could do.

use proptest::collection::vec;
use proptest::prelude::*;
use proto::tracker::Brief;
use proto::tracker::admin::DeleteStorage;
use proto::tracker::changelog::IpChanged;
use proto::tracker::status::ReportStatus;
use proto::tracker::sync::StorageRef;

use super::*;

const GROUPS: [&str; 2] = ["group1", "group2"];
const PEERS: [&str; 5] = ["10.0.0.11", "10.0.0.12", "10.0.0.9", "10.0.0.100", "10.1.0.1"];

/// One event: what, by whom, about whom, and a number whose meaning depends on it.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: u8,
    by: usize,
    about: usize,
    number: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (0..20u8, 0..PEERS.len(), 0..PEERS.len(), any::<u8>())
        .prop_map(|(what, by, about, number)| Step { what, by, about, number })
}

fn event(world: &World, step: Step) -> Event {
    let Step { what, by: _, about, number } = step;
    let name = group(GROUPS[usize::from(number) % GROUPS.len()]);
    let other = id(PEERS[about]);
    let state = StorageState::ALL[usize::from(number) % StorageState::ALL.len()];
    let count = u16::from(number % 3) + 1;
    let until = UnixTime(world.now.0 + i64::from(number));
    match what {
        0..=3 => Event::Join(Box::new(Join {
            init: number < 128,
            state: ReportedState::Known(state),
            path_count: if number % 8 == 0 { count } else { 1 },
            ..first_join(name.as_str())
        })),
        4 | 5 => Event::Beat(Box::new(Beat { statistics: None })),
        6 | 7 => {
            let space = Space { total: Megabytes(1000), free: Megabytes(i64::from(number) * 4) };
            Event::DiskUsage(DiskUsage { paths: vec![space; usize::from(count)] })
        }
        8 => Event::SyncDestReq,
        9 => Event::SyncNotify(SyncPoint { source: (number < 128).then_some(other), until }),
        10 => Event::SyncReport(SyncReport {
            records: vec![SyncedUntil { source: other, until: u32::from(number) }],
        }),
        11 => {
            let brief = Brief { state, port: 0, id: Some(other), address: Some(ip(PEERS[about])) };
            Event::ReportStatus(ReportStatus { group: name, brief })
        }
        12 => Event::ChangeStatus(state),
        13 => Event::DeleteStorage(DeleteStorage { group: name, id: other }),
        14 => {
            let new = ip(PEERS[step.by]);
            Event::IpChanged(IpChanged { group: name, old: ip(PEERS[about]), new })
        }
        15 => Event::DeleteGroup(name),
        16 => Event::SyncSrcReq(StorageRef { group: name, id: other }),
        17 => Event::ChangelogReq(Some(StorageRef { group: name, id: other })),
        18 => Event::Store { group: (number < 128).then_some(name), all: number % 2 == 0 },
        _ => Event::Fetch(
            FileQuery { group: name, name: vec![number; 40] },
            [Purpose::ReadOne, Purpose::ReadAll, Purpose::Update][usize::from(number) % 3],
        ),
    }
}

/// What holds after every event.
fn check_invariants(cluster: &Cluster) {
    for group in cluster.groups.values() {
        for list in [group.readable(), group.writable()] {
            let ids: Vec<StorageId> = list.iter().map(|ix| group.member(*ix).id).collect();
            assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "in id order, once each");
        }
        assert_eq!(group.sorted().count(), group.len(), "every member is found by its id");
        for (ix, member) in group.registered() {
            assert_eq!(group.find(&member.id), Some(ix));
            assert!(member.source != Some(ix), "nobody fills itself");
        }
        let known = |ix: MemberIx| ix.0 < group.len();
        assert!(group.synced.keys().all(|(source, dest)| known(*source) && known(*dest)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_state_is_sound_and_can_be_restored(
        leads: bool,
        steps in vec(step(), 1..80),
    ) {
        let mut world = World::new(policy());
        for step in steps {
            world.now = UnixTime(world.now.0 + i64::from(step.number % 40));
            let peer = PEERS[step.by];
            let event = event(&world, step);
            // Refused or not, the state must stay sound.
            let _ = world.apply(peer, event);
            if step.number % 16 == 1 && let Some(mut session) = world.sessions.remove(peer) {
                world.cluster.closed(&mut session);
            }
            if step.number % 16 == 2 {
                world.cluster.check(world.now);
            }
            if leads {
                world.elect();
            }
            check_invariants(&world.cluster);
        }
        let text = |cluster: &Cluster, file| cluster.file_text(file);
        let saved = Saved {
            groups: Some(text(&world.cluster, StateFile::Groups)),
            storages: Some(text(&world.cluster, StateFile::Storages)),
            sync_times: Some(text(&world.cluster, StateFile::SyncTimes)),
            changelog: world.cluster.changelog.as_str().to_owned(),
            last_check: None,
        };
        let again = Cluster::restore(policy(), world.now, &saved);
        let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
        check_invariants(&again);
        prop_assert_eq!(Some(text(&again, StateFile::Groups)), saved.groups);
        prop_assert_eq!(Some(text(&again, StateFile::SyncTimes)), saved.sync_times);
    }
}
