//! Replication: what we changed is brought to every other member of the group (sync.md).
//!
//! `plan` decides, `peers` says who the members are, a `sender` per peer follows the binlog.
//! Started once by `program`, beside the connections. Never answers a request.

pub mod plan; // start here: what to send, what an answer means; pure

pub(crate) mod peers; // the members of the group, as the trackers tell

pub(crate) mod changelog; // members that have moved or were removed

mod local; // what lies here under the name of a record

mod deliver; // one record to one peer

mod ask; // what a sender asks and tells the trackers

mod quarantine; // records that a peer will never take

mod mark; // where a sender is, and what its mark says

mod pace; // the pause between batches; pure

mod pump; // the work of one session

mod lag; // how far each peer is behind

mod pack; // old files of the log are compressed, once a day

mod graves; // what was deleted, on disk, and until when

mod sender; // one task per peer: sessions, one after the other

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use net::{ports::World, shutdown::Stop};
use proto::ids::StorageId;
use tokio::task::JoinSet;

use self::{peers::Peers, sender::Sender};
use crate::{config::Config, start::IdentityFile, store::Store};

/// What all senders share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<Store>,
    pub(crate) identity: Arc<IdentityFile>,
    pub(crate) peers: Arc<Peers>,
    /// The port that we listen on.
    pub(crate) port: u16,
}

impl Shared {
    /// The minute of the day, as the daily window of sending counts them (in UTC).
    fn minute(&self) -> u16 {
        u16::try_from(self.world.clock.now().secs() / 60 % (24 * 60)).unwrap_or(0)
    }

    /// Where binlog and marks are.
    pub(crate) fn dir(&self) -> PathBuf {
        self.config.base_path.join("data/sync")
    }
}

pub(crate) use graves::{GraveLog, load as load_tombs};

/// Keeps the log of deleted files until the program ends.
pub(crate) async fn keep_tombs(shared: Arc<Shared>, log: GraveLog, stop: Stop) {
    graves::keep(shared, log, stop).await;
}

/// Compresses old files of the log, if the configuration says so, until the program ends.
pub(crate) async fn pack_log(shared: Arc<Shared>, stop: Stop) {
    pack::run(shared, stop).await;
}

/// Measures how far the members are behind until the program ends.
pub(crate) async fn watch_lag(shared: Arc<Shared>, stop: Stop) {
    lag::watch(shared, stop).await;
}

/// Keeps one sender per member until the program ends.
pub(crate) async fn supervise(shared: Arc<Shared>, mut stop: Stop) {
    let mut changes = shared.peers.watch();
    let mut senders: JoinSet<StorageId> = JoinSet::new();
    let mut running = BTreeSet::new();
    loop {
        let table = changes.borrow_and_update().clone();
        let (active, others) = shared.peers.holders();
        shared.store.progress.set_members(active, others);
        for (id, peer) in table {
            let ours = Some(id) == shared.peers.own();
            let local =
                shared.peers.own().is_none() && shared.store.facts.addresses.contains(peer.address);
            let gone = plan::stance(peer.state, true) == plan::Stance::End;
            if ours || local || gone || running.contains(&id) {
                continue;
            }
            log::info!("storage {id} at {} is a member: it will get our changes", peer.address);
            running.insert(id);
            let sender = Sender::new(Arc::clone(&shared), id);
            let stop = stop.clone();
            senders.spawn(async move {
                sender.run(stop).await;
                id
            });
        }
        tokio::select! {
            biased;
            () = stop.raised() => break,
            Some(ended) = senders.join_next() => {
                running.remove(&ended.expect("a panic has already ended the process"));
            }
            changed = changes.changed() => if changed.is_err() { break },
        }
    }
    while senders.join_next().await.is_some() {}
}
