//! A group of real storages under real faults: what was acknowledged is on every member, byte for
//! byte, what was deleted is on none, and a reader is never told that a file is missing.
//!
//! Every client writes its history; at the end every member's disk is compared with it.

#![allow(clippy::print_stdout, reason = "figures of a run")]

#[path = "../support/mod.rs"]
mod support;

mod clocks; // wrong, jumping, standing still
mod copies; // a second copy before the answer
mod difference; // what is not equal, and why
mod faults; // all of these at random
mod filling; // new members, replaced disks
mod groups; // more than one
mod hanging; // a member that does not answer
mod ids; // members have numbers
mod killing; // members die in turn under load
mod lag; // how far a member is behind
mod linking; // links between files
mod moving; // a member gets another address
mod pacing; // when, and how fast
mod packing; // an old log is compressed
mod partition; // networks that are cut
mod poison; // records that nobody can take
mod removing; // a member leaves for good
mod repairing; // bytes change on a disk
mod resyncing; // a log is lost

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use net::client::pool::PoolSettings;
use proto::fileid::FileId;
use proto::ids::GroupName;
use proto::status::StorageState;
use tokio::task::JoinHandle;

use support::checker::{Facts, Members, held, logs, seen};
use support::cluster::Cluster;
use support::history::{Content, History, Kind, now_ms};
use support::recorder::Recorder;
use support::seed::Seed;
use support::wait::{eventually, eventually_or};

/// How long members may take until they are equal, after faults have stopped. Generous: the
/// machine is shared; the promise of 60 s is measured elsewhere.
const CONVERGE: Duration = Duration::from_secs(120);

/// A group, its history and a runtime for clients.
struct World {
    cluster: Cluster,
    history: Arc<History>,
    runtime: tokio::runtime::Runtime,
    seed: Seed,
    /// How long clients wait.
    timeouts: PoolSettings,
}

impl World {
    /// A group of `storages`, of which the first `started` run.
    fn start(name: &str, storages: u8, started: usize, lines: &str) -> Self {
        let world = Self::prepare(name, storages, lines);
        world.start_all(started);
        world
    }

    /// The same with nothing started yet.
    fn prepare(name: &str, storages: u8, lines: &str) -> Self {
        Self::prepare_with(name, storages, "", lines)
    }

    /// The same with lines for the tracker, too.
    fn prepare_with(name: &str, storages: u8, tracker_lines: &str, lines: &str) -> Self {
        let seed = Seed::of_this_run("cluster").child(name);
        let metrics = "metrics_listen = 127.0.0.1:0\n";
        let cluster = Cluster::prepare(
            name,
            storages,
            &format!("{metrics}{tracker_lines}"),
            &format!("{metrics}{lines}"),
        );
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{name}.jsonl"));
        let history = Arc::new(History::create(&kept));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let timeouts = PoolSettings::default();
        Self { cluster, history, runtime: runtime.expect("threads start"), seed, timeouts }
    }

    /// The same, on networks that tests cut: nobody waits long.
    fn prepare_impatient(name: &str) -> Self {
        let mut world = Self::prepare(name, 3, "connect_timeout = 1\nnetwork_timeout = 3\n");
        world.timeouts.connect_timeout = Duration::from_secs(1);
        world.timeouts.network_timeout = Duration::from_secs(3);
        world
    }

    fn start_all(&self, started: usize) {
        self.cluster.tracker.start();
        for (index, storage) in self.cluster.storages.iter().take(started).enumerate() {
            storage.start();
            self.wait_for_active(index + 1);
        }
    }

    fn client(&self, number: u32) -> Recorder {
        Recorder::with(&self.history, number, self.cluster.tracker.address, self.timeouts)
    }

    /// Until `count` members are in service.
    fn wait_for_active(&self, count: usize) {
        let client = self.client(0).client;
        let group = GroupName::parse("group1").expect("a group name");
        eventually(&format!("{count} members are active"), CONVERGE, || {
            let listed =
                self.runtime.block_on(client.trackers().list_storages(group, None)).ok()?;
            let active = listed.iter().filter(|s| s.state == StorageState::Active).count();
            (active == count).then_some(())
        });
    }

    /// Until the load has got further by so many events.
    fn go_on(&self, events: usize) {
        let before = self.history.len();
        eventually("the load goes on", CONVERGE, || {
            (before + events < self.history.len()).then_some(())
        });
    }

    /// Whether a member (0 is the first) says that it has lost its peer at this address.
    fn has_lost(&self, member: usize, peer: &str) -> bool {
        let line = format!("fdfs_storage_peer_connected{{peer=\"{peer}\"}} 0");
        self.cluster.storages[member].metrics().lines().any(|known| known == line)
    }

    /// Sets the clocks of the tracker and of the members, in this order.
    fn set_clocks(&self, clocks: &[&str]) {
        let daemons = std::iter::once(&self.cluster.tracker).chain(&self.cluster.storages);
        for (daemon, clock) in daemons.zip(clocks) {
            daemon.set_clock(clock);
        }
    }

    /// Until all members hold the same files.
    fn converge(&self) -> Members {
        let same = |members: &Members| {
            let mut copies = members.values();
            let first = copies.next().cloned().unwrap_or_default();
            copies.all(|copy| *copy == first)
        };
        let equal = || {
            if !self.cluster.look_equal() {
                return None; // to compare the content would only slow the members down
            }
            let members = self.cluster.on_disks();
            // Twice in a row: nothing is on its way any more.
            (same(&members) && self.cluster.on_disks() == members).then_some(members)
        };
        let why = || difference::explain(&self.cluster, &self.cluster.on_disks());
        eventually_or(CONVERGE, equal, why)
    }

    /// What the members hold, and the metadata that a client is told. A request that nobody waits
    /// for any more may still lie in the queue of a connection, and be done when the network lets
    /// it through: then it is looked at again.
    fn described(&self) -> Members {
        let reader = self.client(0);
        let quiet = || {
            let found = self.converge();
            let mut members = found.clone();
            for files in members.values_mut() {
                files.retain(|id, _| !id.ends_with("-m"));
                for (id, copy) in files.iter_mut() {
                    let name = FileId::parse(id).expect("only file ids are in the store");
                    copy.metadata = self.runtime.block_on(reader.metadata(&name));
                }
            }
            (self.cluster.on_disks() == found).then_some(members)
        };
        eventually("nothing changes any more", CONVERGE, quiet)
    }

    /// Compares what the members hold with what clients were told.
    fn check(&self, facts: &Facts) {
        let events = self.history.events();
        let mut found = seen(&events, facts);
        let members = self.described();
        found.extend(held(&events, &members));
        for daemon in self.cluster.storages.iter().chain([&self.cluster.tracker]) {
            found.extend(logs(&daemon.log(), &facts.errors));
        }
        assert!(found.is_empty(), "\n{}\n", found.join("\n"));
        let files = members.values().next().map_or(0, |files| files.len());
        println!("{} events, {files} files on each of {} members", events.len(), members.len());
    }
}

/// Clients that upload, read, describe and delete until they are told to stop.
struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(world: &World, clients: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let storages: Vec<_> = world.cluster.storages.iter().map(|s| s.address).collect();
        let clients = (1..=clients).map(|number| {
            let (client, over) = (world.client(number), Arc::clone(&over));
            let (storages, mut rng) =
                (storages.clone(), world.seed.child(&number.to_string()).rng());
            world.runtime.spawn(async move {
                let mut own: Vec<FileId> = Vec::new();
                let mut described = HashMap::new();
                while !over.load(Ordering::Relaxed) {
                    let pick = |below: u64, n: usize| usize::try_from(below).expect("small") % n;
                    let (draw, which) = (rng.below(100), rng.next() >> 1);
                    let failed = match (draw, own.is_empty()) {
                        (60..75, false) => {
                            let id = &own[pick(which, own.len())];
                            client.read(id, None).await.is_err()
                        }
                        // Times are whole seconds: what one member was told and had no time to
                        // tell before it died is told from the next one's by nothing else.
                        (75..85, false) if apart(&mut described, &own[pick(which, own.len())]) => {
                            let id = own[pick(which, own.len())].clone();
                            let pairs = Content { seed: rng.next(), len: 3 };
                            client.set_metadata(&id, pairs).await.is_err()
                        }
                        (85..95, false) => {
                            let id = own.swap_remove(pick(which, own.len()));
                            // At the member that took the upload: only that one surely has it.
                            let at = source(&id, &storages);
                            client.delete(&id, at).await.is_err()
                        }
                        _ => {
                            let sizes = [0, 100, 5_000, 70_000, 300_000];
                            let len = sizes[pick(which, sizes.len())];
                            let content = Content { seed: rng.next(), len };
                            match client.upload(content).await {
                                Ok(id) => {
                                    own.push(id);
                                    false
                                }
                                Err(_) => true,
                            }
                        }
                    };
                    if failed {
                        tokio::time::sleep(Duration::from_millis(20)).await; // down: not a spin
                    }
                }
            })
        });
        let clients = clients.collect();
        Self { over, clients }
    }

    fn stop(self, world: &World) {
        self.over.store(true, Ordering::Relaxed);
        world.runtime.block_on(async {
            for client in self.clients {
                client.await.expect("no client panics");
            }
        });
    }
}

/// How long a client leaves the metadata of a file as they are.
const DESCRIBED_FOR_MS: u64 = 2_000;

/// Whether it is time to change the metadata of this file again; takes note of it.
fn apart(described: &mut HashMap<FileId, u64>, id: &FileId) -> bool {
    let now = now_ms();
    let due = described.get(id).is_none_or(|at| at + DESCRIBED_FOR_MS <= now);
    if due {
        described.insert(id.clone(), now);
    }
    due
}

/// The member that a file's name says took it.
fn source(id: &FileId, storages: &[std::net::SocketAddr]) -> std::net::SocketAddr {
    let record = id.name.record().expect("names are generated");
    let proto::fileid::Source::Address(ip) = record.source.source() else {
        panic!("{id} has no address");
    };
    let found = storages.iter().find(|at| at.ip() == std::net::IpAddr::V4(ip));
    *found.expect("a member made it")
}

/// What clients may be told while a member is down.
fn refusals() -> Vec<(Kind, u8)> {
    let kinds = [Kind::Upload, Kind::SetMetadata, Kind::Delete, Kind::Read];
    kinds.into_iter().flat_map(|kind| [(kind, 2), (kind, 28)]).collect()
}
