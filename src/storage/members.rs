//! The `members` file, from which the nginx module knows the group: written whole whenever the
//! table of members changes, so that nginx needs no connection to a tracker.
//!
//! One task, started by `program`; it only watches the table. Without a word from a tracker the
//! file of the last run stays as it is.

use std::{path::PathBuf, sync::Arc, time::Duration};

use net::shutdown::Stop;
use proto::{
    ids::StorageId,
    members::{Member, Members},
};

use crate::{
    config::Config,
    disk::write::replace_whole,
    store::Store,
    sync::peers::{Peer, Peers, Table},
};

/// Where it lies below the base path.
const FILE: &str = "data/members";
/// After a write that failed.
const AGAIN: Duration = Duration::from_secs(10);

/// Keeps the file true until the program ends.
pub(crate) async fn keep(
    config: Arc<Config>,
    store: Arc<Store>,
    peers: Arc<Peers>,
    mut stop: Stop,
) {
    let mut tables = peers.watch();
    tables.mark_changed();
    let path = config.base_path.join(FILE);
    let mut written = String::new();
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            changed = tables.changed() => if changed.is_err() { return },
        }
        let table = tables.borrow_and_update().clone();
        let text = text(&config, &store, &peers, &table);
        if table.is_empty() || text == written {
            continue; // nobody has told us anything, or nothing that matters here
        }
        match write(&store, path.clone(), text.clone()).await {
            Ok(()) => written = text,
            Err(error) => {
                log::error!("save {}: {error}", path.display());
                tables.mark_changed();
                tokio::select! {
                    biased;
                    () = stop.raised() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    }
}

/// The file as it should be.
fn text(config: &Config, store: &Store, peers: &Peers, table: &Table) -> String {
    let own = peers.own();
    let member = |(id, peer): (&StorageId, &Peer)| Member {
        address: peer.address,
        id: id.number().map(|_| *id),
        state: peer.state,
        own: own == Some(*id),
    };
    let roots = config.store_paths.iter().map(|path| path.root.to_string_lossy().into_owned());
    let members = Members {
        group: store.facts.group,
        store_paths: roots.collect(),
        members: table.iter().map(member).collect(),
    };
    members.print()
}

async fn write(store: &Arc<Store>, path: PathBuf, text: String) -> std::io::Result<()> {
    let disk = Arc::clone(&store.disk);
    store.gate.run(move || replace_whole(&*disk, &path, text.as_bytes())).await
}
