//! What goes wrong in a storm: how often which fault is thrown, and the throwing.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, DiskFault, End, STORAGES, TRACKERS};
use crate::support::seed::Rng;

/// Effects of a disk within which one of them fails.
const EFFECTS: u64 = 60;

/// How often which fault is thrown at a node, of 1000 for each gust; most are off in most runs
/// (testing.md 6.7).
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    rates: BTreeMap<&'static str, u64>,
    /// Damage is done at one member only: elsewhere there is a good copy (testing.md 4.5).
    damaged: usize,
}

/// How often each fault was thrown.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) BTreeMap<&'static str, u64>);

impl Faults {
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    /// Whether a daemon had reason to complain.
    pub(crate) fn is_rough(&self) -> bool {
        ["io error", "full", "damage"].iter().any(|name| self.0.contains_key(name))
    }
}

impl Weather {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let mut rates = BTreeMap::new();
        let often = [
            ("kill", 120),
            ("power", 80),
            ("tracker", 80),
            ("wiped tracker", 300),
            ("cut", 100),
            ("one way", 100),
            ("hang", 40),
            ("io error", 40),
            ("full", 60),
            ("damage", 200),
        ];
        for (name, high) in often {
            let rate = match rng.below(3) {
                0 => 0,
                1 => 1.max(high / 4),
                _ => high,
            };
            // Disks fail in a part of the runs: daemons may complain there as they like.
            let rare = ["io error", "full", "damage"].contains(&name) && rng.below(3) != 0;
            rates.insert(name, if rare { 0 } else { rate });
        }
        let damaged = usize::try_from(rng.below(STORAGES as u64)).expect("small");
        Self { rates, damaged }
    }

    /// Throws the dice about one fault.
    fn throws(&self, rng: &mut Rng, name: &str) -> bool {
        rng.below(1000) < self.rates[name]
    }

    /// Throws the dice once about each fault, and about its end.
    pub(crate) fn blow(&self, cluster: &mut Cluster<'_>, rng: &mut Rng, faults: &mut Faults) {
        for number in 0..STORAGES {
            self.storage(cluster, number, rng, faults);
        }
        for number in 0..TRACKERS {
            self.tracker(cluster, number, rng, faults);
        }
        self.links(cluster, rng, faults);
    }

    fn storage(
        &self,
        cluster: &mut Cluster<'_>,
        number: usize,
        rng: &mut Rng,
        faults: &mut Faults,
    ) {
        let name = format!("storage{number}");
        if !cluster.is_up(&name) {
            if rng.below(100) < 35 {
                cluster.start_node(&name);
            }
            return;
        }
        if cluster.hangs(&name) {
            if rng.below(100) < 25 {
                cluster.go_on(&name);
            }
        } else if self.throws(rng, "hang") {
            cluster.hang(&name);
            faults.count("hang");
        }
        if self.throws(rng, "kill") {
            cluster.stop_storage(number, End::Kill);
            faults.count("kill");
        } else if self.throws(rng, "power") {
            cluster.stop_storage(number, End::PowerLoss);
            faults.count("power");
        } else {
            self.disk(cluster, number, rng, faults);
        }
    }

    fn disk(&self, cluster: &mut Cluster<'_>, number: usize, rng: &mut Rng, faults: &mut Faults) {
        if cluster.is_full(number) {
            if rng.below(100) < 25 {
                cluster.disk_fault(number, DiskFault::Over);
            }
        } else if self.throws(rng, "full") {
            cluster.disk_fault(number, DiskFault::Full);
            faults.count("full");
        } else if self.throws(rng, "io error") {
            cluster.disk_fault(number, DiskFault::Once(1 + rng.below(EFFECTS)));
            faults.count("io error");
        }
        if number == self.damaged
            && self.throws(rng, "damage")
            && cluster.damage(number, rng.next(), rng.next())
        {
            faults.count("damage");
        }
    }

    fn tracker(
        &self,
        cluster: &mut Cluster<'_>,
        number: usize,
        rng: &mut Rng,
        faults: &mut Faults,
    ) {
        let name = format!("tracker{number}");
        if !cluster.is_up(&name) {
            if rng.below(100) < 30 {
                cluster.start_node(&name);
            }
        } else if self.throws(rng, "tracker") {
            cluster.stop_tracker(number);
            faults.count("tracker");
            if self.throws(rng, "wiped tracker") {
                cluster.wipe_tracker(number);
                faults.count("wiped tracker");
            }
        }
    }

    fn links(&self, cluster: &mut Cluster<'_>, rng: &mut Rng, faults: &mut Faults) {
        let trackers = (0..TRACKERS).map(|n| format!("tracker{n}"));
        let storages = (0..STORAGES).map(|n| format!("storage{n}"));
        let nodes: Vec<String> = trackers.chain(storages).collect();
        let mut pick = || usize::try_from(rng.below(nodes.len() as u64)).expect("small");
        let (a, b) = (pick(), pick());
        if a == b {
            return;
        }
        if self.throws(rng, "cut") {
            cluster.cut(&nodes[a], &nodes[b], true);
            faults.count("cut");
        } else if self.throws(rng, "one way") {
            cluster.cut(&nodes[a], &nodes[b], false);
            faults.count("one way");
        } else if rng.below(100) < 40 {
            cluster.repair(&nodes[a], &nodes[b]);
        }
    }
}
