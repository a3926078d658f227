//! A simulated cluster: real trackers and storages, each in a runtime of its own, all in one
//! thread; and what can go wrong with them.
//!
//! Storages keep their files on a simulated disk that knows what was synced. A node that is
//! killed finds all that it wrote, one that lost its power what it had synced and a part of the
//! rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use net::shutdown::Stop;
use proto::metadata::Metadata;
use proto::status::StorageState;
use storage::disk::port::Disk;
use storage::disk::simulated::{Chance, Plan, SimulatedDisk};
use turmoil::{Builder, Sim};

use crate::client::{Views, watch};
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

/// What an effect that fails says.
const EIO: i32 = 5;
/// Passes of the scrub follow one another as the storm goes on.
const SCRUB: &str = "scrub_start_after = 5\nscrub_interval = 15\n";

/// How a storage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Kill,
    PowerLoss,
}

/// What goes wrong with a disk while its daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// There is no room any more.
    Full,
    /// The effect of this number, counted from now, fails.
    Once(u64),
    Over,
}

/// What outlives the processes of a storage.
#[derive(Debug)]
struct Machine {
    disk: SimulatedDisk,
    lives: u64,
    clock_off_millis: i64,
    /// An effect of the disk fails, or failed, since the daemon began: what it may do no more
    /// with that disk it does again after a start (testing.md R6).
    has_failed: bool,
    full: bool,
    /// What the daemon said when it ended by itself.
    ended: Option<String>,
}

pub(crate) struct Cluster<'a> {
    pub(crate) sim: Sim<'a>,
    dir: PathBuf,
    machines: Vec<Arc<Mutex<Machine>>>,
    chance: Chance,
    up: BTreeMap<String, bool>,
    hanging: BTreeSet<String>,
    /// From the first time on that they are asked for.
    views: Option<Arc<Mutex<Views>>>,
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
    /// Starts all trackers and storages of `group1`; state files of trackers go below `dir`,
    /// `lines` into the storages' configuration.
    pub(crate) fn start(seed: Seed, dir: &Path, clocks_off_millis: &[i64], lines: &str) -> Self {
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
        let mut cluster = Self {
            sim,
            dir: dir.to_owned(),
            machines: Vec::new(),
            chance,
            up,
            hanging: BTreeSet::new(),
            views: None,
        };
        for number in 0..STORAGES {
            let off = clocks_off_millis.get(number).copied().unwrap_or(0);
            cluster.add_storage(number, seed.child(&format!("storage{number}")), off, lines);
        }
        cluster
    }

    fn add_storage(&mut self, number: usize, seed: Seed, clock_off_millis: i64, lines: &str) {
        let base = self.dir.join(format!("storage{number}"));
        let conf = storage_conf(&base, lines);
        let machine = Machine {
            disk: fresh_disk(&base),
            lives: 0,
            clock_off_millis,
            has_failed: false,
            full: false,
            ended: None,
        };
        let machine = Arc::new(Mutex::new(machine));
        self.machines.push(Arc::clone(&machine));
        self.sim.host(format!("storage{number}"), move || {
            let (conf, machine) = (conf.clone(), Arc::clone(&machine));
            let (disk, world): (Arc<dyn Disk>, _) = {
                let mut machine = machine.lock().expect("one thread");
                machine.lives += 1;
                let seed = seed.child(&format!("life{}", machine.lives));
                (Arc::new(machine.disk.clone()), world(seed, machine.clock_off_millis))
            };
            async move {
                trace::name_node(&format!("storage{number}"));
                let (_stopper, stop) = Stop::pair();
                if let Err(error) = storage::simulate(&conf, disk, world, stop).await {
                    let mut machine = machine.lock().expect("one thread");
                    machine.ended = Some(format!("{error:#}"));
                }
                Ok(())
            }
        });
        self.up.insert(format!("storage{number}"), true);
    }

    /// Lets virtual time pass; a daemon that ends by itself fails the run.
    pub(crate) fn pass(&mut self, span: Duration) -> Result<(), String> {
        let until = self.sim.elapsed() + span;
        while self.sim.elapsed() < until {
            self.sim.step().map_err(|error| format!("a daemon ended: {error}"))?;
        }
        for number in 0..STORAGES {
            let mut machine = self.machines[number].lock().expect("one thread");
            let Some(why) = machine.ended.take() else { continue };
            trace::event(format_args!("storage{number} ended: {why}"));
            if !machine.has_failed && !machine.full {
                return Err(format!("storage{number} ended: {why}"));
            }
            drop(machine);
            // Whoever looks after daemons starts them again.
            self.stop_storage(number, End::Kill);
        }
        Ok(())
    }

    fn machine(&self, number: usize) -> std::sync::MutexGuard<'_, Machine> {
        self.machines[number].lock().expect("one thread")
    }

    pub(crate) fn is_full(&self, number: usize) -> bool {
        self.machine(number).full
    }

    pub(crate) fn disk_fault(&self, number: usize, fault: DiskFault) {
        trace::event(format_args!("disk of storage{number}: {fault:?}"));
        let mut machine = self.machine(number);
        machine.full = fault == DiskFault::Full;
        machine.has_failed |= matches!(fault, DiskFault::Once(_));
        machine.disk.plan(match fault {
            DiskFault::Full => Plan::Full,
            DiskFault::Once(effect) => Plan::Fail(effect, EIO),
            DiskFault::Over => Plan::Nothing,
        });
    }

    /// Damages a stored file that another running member holds as well, whole: which one and
    /// where follow from `which` and `place`.
    pub(crate) fn damage(&self, number: usize, which: u64, place: u64) -> bool {
        let own = self.files(number);
        let others: Vec<_> =
            (0..STORAGES).filter(|n| *n != number).map(|n| self.files(n)).collect();
        let safe = |(id, copy): &(&String, &Held)| {
            0 < copy.length && others.iter().all(|files| files.get(*id) == Some(*copy))
        };
        let found: Vec<&String> = own.iter().filter(safe).map(|(id, _)| id).collect();
        let pick = |from: u64, count: usize| usize::try_from(from % count.max(1) as u64);
        let Some(id) = found.get(pick(which, found.len()).expect("small")) else { return false };
        let name = id.trim_start_matches("group1/M00/");
        let path = self.dir.join(format!("storage{number}/store0/data")).join(name);
        trace::event(format_args!("damage {id} at storage{number}"));
        self.machine(number).disk.damage(&path, pick(place, 1 << 20).expect("small"))
    }

    pub(crate) fn hangs(&self, node: &str) -> bool {
        self.hanging.contains(node)
    }

    /// Nobody hears from the node for a while, nor does it hear; nothing is lost.
    pub(crate) fn hang(&mut self, node: &str) {
        trace::event(format_args!("{node} hangs"));
        for other in self.up.keys().filter(|other| *other != node) {
            self.sim.hold(node, other.as_str());
        }
        self.hanging.insert(node.to_owned());
    }

    pub(crate) fn go_on(&mut self, node: &str) {
        trace::event(format_args!("{node} goes on"));
        for other in self.up.keys().filter(|other| *other != node) {
            self.sim.release(node, other.as_str());
        }
        self.hanging.remove(node);
    }

    /// A member that is started with an empty disk, or one whose store path was replaced.
    pub(crate) fn wipe(&mut self, number: usize, everything: bool) {
        trace::event(format_args!("storage{number} is wiped, everything: {everything}"));
        self.stop_storage(number, End::Kill);
        let base = self.dir.join(format!("storage{number}"));
        let mut machine = self.machine(number);
        machine.disk = match everything {
            true => fresh_disk(&base),
            false => machine.disk.emptied(&base.join("store0")),
        };
        drop(machine);
        self.start_node(&format!("storage{number}"));
    }

    pub(crate) fn is_up(&self, node: &str) -> bool {
        self.up[node]
    }

    pub(crate) fn stop_storage(&mut self, number: usize, end: End) {
        let name = format!("storage{number}");
        trace::event(format_args!("{name} {end:?}"));
        self.sim.crash(name.as_str());
        let mut machine = self.machines[number].lock().expect("one thread");
        (machine.has_failed, machine.full, machine.ended) = (false, false, None);
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
        for number in 0..STORAGES {
            let has_failed = self.machine(number).has_failed;
            let full = self.is_full(number);
            if has_failed {
                self.stop_storage(number, End::Kill);
            } else if full {
                self.disk_fault(number, DiskFault::Over);
            }
        }
        for node in std::mem::take(&mut self.hanging) {
            self.go_on(&node);
        }
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

    /// Forgets what the trackers said of the storages; they are asked from now on.
    pub(crate) fn look_at_trackers(&mut self) {
        if let Some(views) = &self.views {
            return views.lock().expect("one thread").clear();
        }
        let views = Arc::new(Mutex::new(Views::new()));
        self.views = Some(Arc::clone(&views));
        self.sim.client("watcher", async move {
            watch(Seed(0), &views).await;
            Ok(())
        });
    }

    /// Which storages are not in service at which tracker, in words.
    pub(crate) fn not_served(&self) -> Vec<String> {
        let Some(views) = &self.views else { return Vec::new() };
        let views = views.lock().expect("one thread");
        let mut found = Vec::new();
        for tracker in 0..TRACKERS {
            let view = views.get(&tracker).map_or(&[][..], Vec::as_slice);
            for storage in 0..STORAGES {
                let at = storage_address(storage).ip();
                let state = view.iter().find(|(id, _)| id.as_str() == at.to_string());
                let state = state.map(|(_, state)| *state);
                if state != Some(StorageState::Active) {
                    found.push(format!("P9: storage{storage} is {state:?} at tracker{tracker}"));
                }
            }
        }
        found
    }

    /// Writes what lies on the disks below `dir`.
    pub(crate) fn write_disks(&self, dir: &Path) {
        for machine in &self.machines {
            for (path, bytes) in machine.lock().expect("one thread").disk.files() {
                let place = dir.join(path.strip_prefix(&self.dir).expect("it is below"));
                std::fs::create_dir_all(place.parent().expect("it has one")).expect("ours");
                std::fs::write(place, bytes).expect("the directory is ours");
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

fn storage_conf(base: &Path, lines: &str) -> PathBuf {
    let trackers: String =
        tracker_addresses().iter().map(|at| format!("tracker_server = {at}\n")).collect();
    let text = format!(
        "group_name = group1\nbase_path = {base}\nstore_path0 = {base}/store0\n\
         port = {STORAGE_PORT}\nsubdir_count_per_path = 2\nheart_beat_interval = 1\n\
         stat_report_interval = 1\nconnect_timeout = 1\nnetwork_timeout = 3\n\
         sync_wait_msec = 20\nsync_binlog_buff_interval = 1\nwrite_mark_file_freq = 5\n\
         {SCRUB}{trackers}{lines}",
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
