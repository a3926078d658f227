//! The members of our group as we know them: the peer table and how lists of the trackers are
//! merged into it (sync.md 4.1, 4.2).
//!
//! Fed by `report` with what trackers say and by the senders with the states that they set;
//! watched by the senders. The merging is a function of table and list. Knows nothing of
//! connections.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
};

use proto::{
    ids::StorageId,
    status::StorageState,
    tracker::{Brief, STORAGES_PER_GROUP_MAX},
};
use tokio::sync::watch;

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) state: StorageState,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// All members by id, ourselves included.
pub(crate) type Table = BTreeMap<StorageId, Peer>;

/// What a list led to besides changes of the table.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Merged {
    /// What we know better: to be sent back (85).
    pub(crate) reports: Vec<Brief>,
    /// A tracker takes us for a new member although we are not: join again.
    pub(crate) join_again: bool,
    /// Members that did not fit.
    pub(crate) refused: Vec<StorageId>,
}

/// The shared table.
#[derive(Debug)]
pub(crate) struct Peers {
    own: Option<StorageId>,
    table: watch::Sender<Table>,
    leader: Mutex<Option<SocketAddr>>,
}

impl Peers {
    /// An empty table; `own` is our id.
    pub(crate) fn new(own: Option<StorageId>) -> Self {
        Self { own, table: watch::Sender::new(Table::new()), leader: Mutex::default() }
    }

    /// Our own id.
    pub(crate) fn own(&self) -> Option<StorageId> {
        self.own
    }

    /// The state in which we last were, as far as a tracker has told.
    pub(crate) fn own_state(&self) -> Option<StorageState> {
        Some(self.table.borrow().get(&self.own?)?.state)
    }

    /// Changes of the table; the present one counts as seen.
    pub(crate) fn watch(&self) -> watch::Receiver<Table> {
        self.table.subscribe()
    }

    /// Members other than us that are in service, and others that may have files: what we know of
    /// them may be a heartbeat old, and one that was new then may have taken an upload since.
    pub(crate) fn holders(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        use StorageState as S;
        let table = self.table.borrow();
        let in_state = |states: &[S]| {
            let others = table.iter().filter(|(id, peer)| {
                Some(**id) != self.own && peer.port != 0 && states.contains(&peer.state)
            });
            others.map(|(_, peer)| SocketAddr::new(peer.address, peer.port)).collect()
        };
        let others = [S::Online, S::Syncing, S::Offline, S::Recovery, S::WaitSync, S::Init];
        (in_state(&[S::Active]), in_state(&others))
    }

    /// The tracker that leads, as far as one has told.
    pub(crate) fn leader(&self) -> Option<SocketAddr> {
        *self.leader.lock().expect("no code panics while holding this lock")
    }

    pub(crate) fn set_leader(&self, leader: Option<SocketAddr>) {
        *self.leader.lock().expect("no code panics while holding this lock") = leader;
    }

    /// All trackers in the order in which they are to be asked: the leader first.
    pub(crate) fn trackers(&self, all: &[SocketAddr]) -> Vec<SocketAddr> {
        let leader = self.leader();
        let mut all = all.to_vec();
        all.sort_by_key(|tracker| Some(*tracker) != leader);
        all
    }

    /// Takes over what a tracker says of the group.
    pub(crate) fn told(&self, list: &[Brief]) -> Merged {
        let mut merged = Merged::default();
        self.table.send_if_modified(|table| {
            let before = table.clone();
            merged = merge(table, list, self.own);
            *table != before
        });
        merged
    }

    /// A sender has changed the state of its peer.
    pub(crate) fn set_state(&self, id: StorageId, state: StorageState) {
        self.table.send_if_modified(|table| match table.get_mut(&id) {
            Some(peer) => std::mem::replace(&mut peer.state, state) != state,
            None => false,
        });
    }
}

/// Merges a list into the table, row by row of sync.md 4.2.
fn merge(table: &mut Table, list: &[Brief], own: Option<StorageId>) -> Merged {
    use StorageState as S;
    let mut merged = Merged::default();
    for brief in list {
        let (Some(id), Some(address)) = (brief.id, brief.address) else { continue };
        let (port, theirs) = (brief.port, brief.state);
        let gone = matches!(theirs, S::Deleted | S::IpChanged);
        let Some(peer) = table.get_mut(&id) else {
            if gone {
                continue;
            }
            if STORAGES_PER_GROUP_MAX <= table.len() {
                merged.refused.push(id);
                continue;
            }
            table.insert(id, Peer { state: theirs, address, port });
            continue;
        };
        peer.address = address;
        if port != 0 {
            peer.port = port;
        }
        let known = peer.state;
        let report = Brief { state: known, ..brief.clone() };
        match (theirs, known) {
            (theirs, known) if theirs == known => {}
            (S::Offline, S::Active | S::Online) => peer.state = S::Offline,
            (S::Offline, S::None | S::Init) => {}
            (S::Offline, _) => merged.reports.push(report),
            (_, S::Offline) => peer.state = theirs,
            (S::Deleted | S::IpChanged, S::None) => {}
            (_, S::None) => peer.state = theirs,
            // Another member that waits to be filled has lost a disk and asked for it: to stay
            // with what we knew, as the reference does, would leave it waiting for ever.
            (S::WaitSync, _) if Some(id) != own => peer.state = theirs,
            (S::WaitSync | S::Syncing, known) if theirs < known => {
                merged.reports.push(report);
                merged.join_again |= Some(id) == own;
            }
            _ => peer.state = theirs,
        }
    }
    for (id, peer) in table.iter().filter(|(_, peer)| peer.state != S::None) {
        if !list.iter().any(|brief| brief.id == Some(*id)) {
            let Peer { state, address, port } = *peer;
            merged.reports.push(Brief { state, port, id: Some(*id), address: Some(address) });
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> StorageId {
        StorageId::parse(&format!("10.77.0.{number}")).unwrap()
    }

    fn brief(number: u8, state: StorageState) -> Brief {
        let address = Some(IpAddr::from([10, 77, 0, number]));
        Brief { state, port: 23000, id: Some(id(number)), address }
    }

    #[test]
    fn whoever_is_a_member_may_have_files_in_service_or_not() {
        use StorageState as S;
        let states = [S::Active, S::WaitSync, S::Init, S::Deleted, S::Offline, S::IpChanged];
        let peers = Peers::new(Some(id(9)));
        let list: Vec<_> = (1..).zip(states).map(|(n, state)| brief(n, state)).collect();
        peers.told(&[&list[..], &[brief(9, S::Active)]].concat());
        let at = |number: u8| SocketAddr::from(([10, 77, 0, number], 23000));
        assert_eq!(peers.holders(), (vec![at(1)], vec![at(2), at(3), at(5)]));
    }

    /// The state after a list that says `theirs` of a member known as `known`, and what is
    /// reported.
    fn merged(theirs: StorageState, known: StorageState) -> (StorageState, usize) {
        let mut table = Table::new();
        merge(&mut table, &[brief(1, StorageState::Active)], None);
        table.get_mut(&id(1)).unwrap().state = known;
        let merged = merge(&mut table, &[brief(1, theirs)], None);
        (table[&id(1)].state, merged.reports.len())
    }

    #[test]
    fn states_are_merged_as_the_reference_does() {
        use StorageState as S;
        for (theirs, known, becomes, reports) in [
            (S::Active, S::Active, S::Active, 0),
            (S::Offline, S::Active, S::Offline, 0),
            (S::Offline, S::Online, S::Offline, 0),
            (S::Offline, S::None, S::None, 0),
            (S::Offline, S::Init, S::Init, 0),
            (S::Offline, S::Syncing, S::Syncing, 1),
            (S::Active, S::Offline, S::Active, 0),
            (S::WaitSync, S::Offline, S::WaitSync, 0),
            (S::Deleted, S::None, S::None, 0),
            (S::Active, S::None, S::Active, 0),
            (S::WaitSync, S::Active, S::WaitSync, 0),
            (S::Syncing, S::Active, S::Active, 1),
            (S::Syncing, S::WaitSync, S::Syncing, 0),
            (S::Deleted, S::Active, S::Deleted, 0),
            (S::Recovery, S::Active, S::Recovery, 0),
        ] {
            assert_eq!(merged(theirs, known), (becomes, reports), "{theirs:?} {known:?}");
        }
    }

    #[test]
    fn members_that_are_gone_are_not_taken_in_and_missing_ones_reported() {
        let mut table = Table::new();
        let list = [brief(1, StorageState::Active), brief(2, StorageState::Deleted)];
        assert_eq!(merge(&mut table, &list, None), Merged::default());
        assert_eq!(table.len(), 1);
        let merged = merge(&mut table, &[], None);
        assert_eq!(merged.reports, [brief(1, StorageState::Active)]);
    }

    #[test]
    fn who_is_taken_for_new_joins_again() {
        let mut table = Table::new();
        merge(&mut table, &[brief(1, StorageState::Active)], Some(id(1)));
        let again = |table: &mut Table, own| {
            merge(table, &[brief(1, StorageState::WaitSync)], Some(own)).join_again
        };
        assert!(again(&mut table, id(1)));
        assert!(!again(&mut table, id(2)));
    }

    #[test]
    fn the_table_has_an_end() {
        let mut table = Table::new();
        let list: Vec<Brief> = (0..40).map(|n| brief(n, StorageState::Active)).collect();
        let merged = merge(&mut table, &list, None);
        assert_eq!((table.len(), merged.refused.len()), (STORAGES_PER_GROUP_MAX, 8));
    }
}
