//! A simulated cluster: real trackers and storages, each in a runtime of its own, all in one
//! thread; and what can go wrong with them.
//!
//! Storages keep their files on a simulated disk that knows what was synced. A node that is
//! killed finds all that it wrote, one that lost its power what it had synced and a part of the
//! rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use net::shutdown::Stop;
use proto::metadata::Metadata;
use storage::disk::port::Disk;
use storage::disk::simulated::{Chance, SimulatedDisk};
use turmoil::{Builder, Sim};

use crate::support::checker::{Held, Members};
use crate::support::history::sha256;
use crate::support::seed::Seed;
use crate::trace;
use crate::world::world;

pub(crate) const TRACKERS: usize = 2;
pub(crate) const STORAGES: usize = 3;
const TRACKER_PORT: u16 = 22122;
pub(crate) const STORAGE_PORT: u16 = 23000;
/// One step of the simulation.
const TICK: Duration = Duration::from_millis(5);
/// Far beyond any run, which ends by itself.
const DURATION: Duration = Duration::from_secs(3600);

/// How a storage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Kill,
    PowerLoss,
}

/// What outlives the processes of a storage.
#[derive(Debug)]
struct Machine {
    disk: SimulatedDisk,
    lives: u64,
    clock_off_millis: i64,
}

pub(crate) struct Cluster<'a> {
    pub(crate) sim: Sim<'a>,
    dir: PathBuf,
    machines: Vec<Arc<Mutex<Machine>>>,
    chance: Chance,
    up: BTreeMap<String, bool>,
}

/// A node's address: the simulated network counts from 192.168.0.1, in the order of adding.
pub(crate) fn address(number: usize) -> String {
    format!("192.168.0.{}", number + 1)
}

pub(crate) fn tracker_addresses() -> Vec<std::net::SocketAddr> {
    let at = |number| format!("{}:{TRACKER_PORT}", address(number)).parse();
    (0..TRACKERS).map(|number| at(number).expect("an address")).collect()
}

pub(crate) fn storage_address(number: usize) -> std::net::SocketAddr {
    let text = format!("{}:{STORAGE_PORT}", address(TRACKERS + number));
    text.parse().expect("an address")
}

impl<'a> Cluster<'a> {
    /// Starts all trackers and storages of `group1`; state files of trackers go below `dir`.
    pub(crate) fn start(seed: Seed, dir: &Path, clocks_off_millis: &[i64]) -> Self {
        let mut sim = Builder::new()
            .tick_duration(TICK)
            .simulation_duration(DURATION)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(30))
            .tcp_capacity(1024)
            .enable_random_order()
            .rng_seed(seed.child("net").0)
            .build();
        let chance = Chance(seed.child("disk").0);
        let mut up = BTreeMap::new();
        for number in 0..TRACKERS {
            let conf = tracker_conf(&dir.join(format!("tracker{number}")));
            let seed = seed.child(&format!("tracker{number}"));
            sim.host(format!("tracker{number}"), move || {
                let conf = conf.clone();
                async move {
                    trace::name_node(&format!("tracker{number}"));
                    let (_stopper, stop) = Stop::pair();
                    tracker::simulate(&conf, world(seed, 0), stop).await.map_err(Into::into)
                }
            });
            up.insert(format!("tracker{number}"), true);
        }
        let mut machines = Vec::new();
        for number in 0..STORAGES {
            let base = dir.join(format!("storage{number}"));
            let conf = storage_conf(&base);
            let clock_off_millis = clocks_off_millis.get(number).copied().unwrap_or(0);
            let machine = Machine { disk: fresh_disk(&base), lives: 0, clock_off_millis };
            let machine = Arc::new(Mutex::new(machine));
            machines.push(Arc::clone(&machine));
            let seed = seed.child(&format!("storage{number}"));
            sim.host(format!("storage{number}"), move || {
                let conf = conf.clone();
                let (disk, world): (Arc<dyn Disk>, _) = {
                    let mut machine = machine.lock().expect("one thread");
                    machine.lives += 1;
                    let seed = seed.child(&format!("life{}", machine.lives));
                    (Arc::new(machine.disk.clone()), world(seed, machine.clock_off_millis))
                };
                async move {
                    trace::name_node(&format!("storage{number}"));
                    let (_stopper, stop) = Stop::pair();
                    storage::simulate(&conf, disk, world, stop).await.map_err(Into::into)
                }
            });
            up.insert(format!("storage{number}"), true);
        }
        Self { sim, dir: dir.to_owned(), machines, chance, up }
    }

    /// Lets virtual time pass; a daemon that ends by itself fails the run.
    pub(crate) fn pass(&mut self, span: Duration) -> Result<(), String> {
        let until = self.sim.elapsed() + span;
        while self.sim.elapsed() < until {
            self.sim.step().map_err(|error| format!("a daemon ended: {error}"))?;
        }
        Ok(())
    }

    pub(crate) fn is_up(&self, node: &str) -> bool {
        self.up[node]
    }

    pub(crate) fn stop_storage(&mut self, number: usize, end: End) {
        let name = format!("storage{number}");
        trace::event(format_args!("{name} {end:?}"));
        self.sim.crash(name.as_str());
        let mut machine = self.machines[number].lock().expect("one thread");
        machine.disk = match end {
            End::Kill => machine.disk.after_kill(),
            End::PowerLoss => machine.disk.after_power_loss(&mut self.chance),
        };
        self.up.insert(name, false);
    }

    pub(crate) fn stop_tracker(&mut self, number: usize) {
        let name = format!("tracker{number}");
        trace::event(format_args!("{name} Kill"));
        self.sim.crash(name.as_str());
        self.up.insert(name, false);
    }

    /// A tracker that lost its disk as well.
    pub(crate) fn wipe_tracker(&mut self, number: usize) {
        let data = self.dir.join(format!("tracker{number}/data"));
        if let Err(error) = std::fs::remove_dir_all(&data) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", data.display());
        }
    }

    pub(crate) fn start_node(&mut self, name: &str) {
        trace::event(format_args!("{name} starts"));
        self.sim.bounce(name);
        self.up.insert(name.to_owned(), true);
    }

    pub(crate) fn cut(&mut self, a: &str, b: &str, both_ways: bool) {
        trace::event(format_args!("cut {a} {b}{}", if both_ways { "" } else { " one way" }));
        match both_ways {
            true => self.sim.partition(a, b),
            false => self.sim.partition_oneway(a, b),
        }
    }

    pub(crate) fn repair(&mut self, a: &str, b: &str) {
        trace::event(format_args!("repair {a} {b}"));
        self.sim.repair(a, b);
    }

    /// Everything runs, and everybody reaches everybody.
    pub(crate) fn heal(&mut self) {
        let down: Vec<String> =
            self.up.iter().filter(|(_, up)| !**up).map(|(name, _)| name.clone()).collect();
        down.iter().for_each(|name| self.start_node(name));
        let names: Vec<String> = self.up.keys().cloned().collect();
        for (at, a) in names.iter().enumerate() {
            for b in &names[at + 1..] {
                self.repair(a, b);
            }
        }
    }

    /// What lies on the disks under file ids, with the metadata beside it.
    pub(crate) fn members(&self) -> Members {
        (0..STORAGES).map(|n| (storage_address(n).to_string(), self.files(n))).collect()
    }

    fn files(&self, number: usize) -> BTreeMap<String, Held> {
        let data = self.dir.join(format!("storage{number}/store0/data"));
        let files = self.machines[number].lock().expect("one thread").disk.files();
        let mut metadata = BTreeMap::new();
        let mut held = BTreeMap::new();
        for (path, bytes) in files {
            let Ok(name) = path.strip_prefix(&data) else { continue };
            let name = name.to_str().expect("names are text");
            // `XX/XX/name`, and nothing else, is a stored file.
            let parts: Vec<&str> = name.split('/').collect();
            if parts.len() != 3 || parts[0].len() != 2 || parts[1].len() != 2 {
                continue;
            }
            let id = format!("group1/M00/{name}");
            match id.strip_suffix("-m") {
                Some(owner) => {
                    metadata.insert(owner.to_owned(), pairs(&bytes));
                }
                None => {
                    let length = bytes.len() as u64;
                    let copy = Held { length, sha256: sha256(&bytes), metadata: Vec::new() };
                    held.insert(id, copy);
                }
            }
        }
        for (id, pairs) in metadata {
            if let Some(copy) = held.get_mut(&id) {
                copy.metadata = pairs;
            }
        }
        held
    }
}

fn pairs(content: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let parsed = Metadata::parse_file(content);
    let mut pairs: Vec<_> =
        parsed.pairs().iter().map(|pair| (text(&pair.name), text(&pair.value))).collect();
    pairs.sort();
    pairs
}

/// A disk with the directories that an installation has made.
fn fresh_disk(base: &Path) -> SimulatedDisk {
    let mut dirs: Vec<PathBuf> = base.ancestors().map(Path::to_path_buf).collect();
    dirs.extend(["store0", "data", "logs"].map(|name| base.join(name)));
    let dirs: Vec<&str> = dirs.iter().map(|dir| dir.to_str().expect("text")).collect();
    SimulatedDisk::with_dirs(&dirs)
}

fn tracker_conf(base: &Path) -> PathBuf {
    let text = format!(
        "base_path = {}\nport = {TRACKER_PORT}\nstore_lookup = 0\nreserved_storage_space = 0\n\
         check_active_interval = 4\nconnect_timeout = 1\nnetwork_timeout = 3\n",
        base.display()
    );
    put(&base.join("tracker.conf"), &text)
}

fn storage_conf(base: &Path) -> PathBuf {
    let trackers: String =
        tracker_addresses().iter().map(|at| format!("tracker_server = {at}\n")).collect();
    let text = format!(
        "group_name = group1\nbase_path = {base}\nstore_path0 = {base}/store0\n\
         port = {STORAGE_PORT}\nsubdir_count_per_path = 2\nheart_beat_interval = 1\n\
         stat_report_interval = 1\nconnect_timeout = 1\nnetwork_timeout = 3\n\
         sync_wait_msec = 20\nsync_binlog_buff_interval = 1\nwrite_mark_file_freq = 5\n{trackers}",
        base = base.display()
    );
    std::fs::create_dir_all(base.join("store0")).expect("the directory of the test is ours");
    put(&base.join("storage.conf"), &text)
}

fn put(path: &Path, text: &str) -> PathBuf {
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("ours");
    std::fs::write(path, text).expect("the directory of the test is ours");
    path.to_owned()
}
