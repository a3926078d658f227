//! The store as a black box: real daemons, real sockets, real deaths.
//!
//! Every client writes its history; at the end each file is compared with what it was told,
//! through the protocol and on the disk.

#[path = "../support/mod.rs"]
mod support;

mod failure; // kill -9 at the worst moment, restarts
mod fdfs; // the program for people
mod golden; // the programs of scripts beside what the reference printed
mod load; // the load generator
mod tools; // the programs of scripts, the command line of daemons
mod upload; // one operation after the other

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::fileid::FileId;
use proto::ids::GroupName;

use support::checker::{Facts, Held, held, logs, seen};
use support::cluster::Cluster;
use support::history::{History, sha256};
use support::recorder::Recorder;
use support::seed::Seed;
use support::wait::eventually;

/// A cluster with one storage, its history and a runtime for clients.
struct World {
    cluster: Cluster,
    history: Arc<History>,
    runtime: tokio::runtime::Runtime,
    seed: Seed,
}

impl World {
    fn start(name: &str) -> Self {
        let seed = Seed::of_this_run("system").child(name);
        let cluster = Cluster::start(name, 1);
        let kept = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
        let history = Arc::new(History::create(&kept));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let world = Self { cluster, history, runtime: runtime.expect("threads start"), seed };
        world.wait_until_ready();
        world
    }

    fn client(&self, number: u32) -> Recorder {
        Recorder::new(&self.history, number, self.cluster.tracker.address)
    }

    /// Until the tracker sends uploads to the storage.
    fn wait_until_ready(&self) {
        let client = self.client(0).client;
        let group = GroupName::parse("group1").expect("a group name");
        eventually("the storage is active", Duration::from_secs(30), || {
            self.runtime.block_on(client.trackers().query_store(Some(&group))).ok()
        });
    }

    /// Compares every file of the history with the storage's answers and with its disk.
    fn check(&self, facts: &Facts) {
        let events = self.history.events();
        let mut found = seen(&events, facts);
        let mut members = self.cluster.on_disks();
        // Metadata lie beside their file; to the checker they are a part of it.
        for files in members.values_mut() {
            files.retain(|id, _| !id.ends_with("-m"));
        }
        let mut read = BTreeMap::new();
        let reader = self.client(0);
        for (member, files) in &mut members {
            let at = member.parse().expect("members are named by their address");
            for (id, copy) in files.iter_mut() {
                let name = FileId::parse(id).expect("only file ids are in the store");
                let bytes = self.runtime.block_on(reader.read(&name, Some(at)));
                let bytes = bytes.unwrap_or_else(|e| panic!("{id} on the disk of {member}: {e}"));
                copy.metadata = self.runtime.block_on(reader.metadata(&name));
                let told =
                    Held { length: bytes.len() as u64, sha256: sha256(&bytes), ..copy.clone() };
                assert_eq!(&told, copy, "{id}: disk and protocol differ");
                read.insert(id.clone(), bytes.len());
            }
        }
        found.extend(held(&events, &members));
        for daemon in self.cluster.storages.iter().chain([&self.cluster.tracker]) {
            found.extend(logs(&daemon.log(), &[]));
        }
        assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    }
}
