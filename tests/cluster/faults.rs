//! Every kind of fault, in an order drawn from the seed, under load: kill -9 of a member, of all,
//! of the tracker; a member that hangs; networks that are cut or slow; a full disk; wrong clocks;
//! a rolling restart.
//!
//! One lap is a group of its own with each kind once; `FAULTS=1800` runs laps for half an hour.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::partition::{
    AROUND_ONE, BETWEEN_TWO, Cut, FROM_THE_TRACKER, ONE_WAY, SECOND, THIRD, has_own_network, rule,
    run,
};
use crate::support::checker::Facts;
use crate::support::history::now_ms;
use crate::support::seed::Rng;
use crate::support::wait::eventually;
use crate::{CONVERGE, Load, World, refusals};

/// What is acknowledged during a fault, where anybody can be reached, and after it.
const EVENTS: usize = 60;
/// The disk that gets full: more than a lap needs.
const DISK: &str = "512m";
/// Clocks that are right, of the tracker and three members.
const TRUE: [&str; 4] = ["+0d"; 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillMember,
    KillAll,
    KillTracker,
    Hang,
    Cut,
    Isolate,
    Slow,
    FullDisk,
    Clocks,
    Rolling,
}

const ALL: [Fault; 10] = [
    Fault::KillMember,
    Fault::KillAll,
    Fault::KillTracker,
    Fault::Hang,
    Fault::Cut,
    Fault::Isolate,
    Fault::Slow,
    Fault::FullDisk,
    Fault::Clocks,
    Fault::Rolling,
];

#[test]
fn all_faults_in_any_order_lose_nothing() {
    if !has_own_network("faults::all_faults_in_any_order_lose_nothing") {
        return;
    }
    let secs = std::env::var("FAULTS").ok().map(|text| text.parse().expect("FAULTS is seconds"));
    let until = now_ms() + 1000 * secs.unwrap_or(0);
    let mut met: BTreeMap<Fault, usize> = BTreeMap::new();
    let mut events = 0;
    for number in 1.. {
        let (order, seen) = lap(number);
        events += seen;
        for fault in order {
            *met.entry(fault).or_default() += 1;
        }
        println!("lap {number}: {events} events so far, {} s", now_ms() / 1000);
        if until <= now_ms() {
            break;
        }
    }
    println!("{events} events, faults {met:?}: nothing lost, nothing back, nothing damaged");
}

/// One group from its first start to its end; returns the faults in their order, and how many
/// events clients saw.
fn lap(number: u32) -> (Vec<Fault>, usize) {
    let name = format!("faults-{number}");
    let dir = std::env::temp_dir().join(format!("fastdisk-{name}-{}", std::process::id()));
    let small = dir.join("storage3");
    fs::create_dir_all(&small).expect("the temporary directory can be written");
    run(&format!("mount -t tmpfs -o size={DISK} none {}", small.display()));
    // Lines of the log that are cut short by the full disk would say nothing.
    std::os::unix::fs::symlink(dir.join("storage3.log"), small.join("log")).expect("it is ours");
    let order = {
        let world = World::prepare_impatient(&name);
        let mut rng = world.seed.child("faults").rng();
        let order = shuffled(&mut rng);
        world.set_clocks(&TRUE);
        world.start_all(3);
        let load = Load::start(&world, 4);
        let mut away = Vec::new();
        for fault in &order {
            let from = now_ms();
            println!("{from} ms: {fault:?}");
            fault.happen(&world, &mut rng, &small);
            world.wait_for_active(3);
            if fault.hides_files() {
                away.push((from, now_ms()));
            }
            world.go_on(EVENTS);
        }
        load.stop(&world);
        let errors = vec!["(os error 28)"]; // the full disk
        let facts = Facts { allowed: refusals(), cut_off: away, errors, ..Facts::default() };
        world.check(&facts);
        (order, world.history.events().len())
    };
    run(&format!("umount -l {}", small.display()));
    order
}

impl Fault {
    /// Whether a file may be where nobody gets at it meanwhile.
    fn hides_files(self) -> bool {
        !matches!(self, Self::Cut | Self::Slow | Self::FullDisk | Self::Clocks)
    }

    fn happen(self, world: &World, rng: &mut Rng, small: &Path) {
        let pick = |n: usize, rng: &mut Rng| usize::try_from(rng.below(n as u64)).expect("small");
        let storages = &world.cluster.storages;
        match self {
            Self::KillMember => {
                let victim = &storages[pick(3, rng)];
                victim.kill();
                world.go_on(EVENTS);
                victim.start();
            }
            Self::KillAll => {
                storages.iter().for_each(|storage| storage.kill());
                storages.iter().for_each(|storage| storage.start());
            }
            Self::KillTracker => {
                world.cluster.tracker.kill();
                world.cluster.tracker.start();
            }
            Self::Hang => {
                let victim = &storages[pick(3, rng)];
                victim.signal("STOP");
                world.wait_for_active(2);
                world.go_on(EVENTS);
                victim.signal("CONT");
            }
            Self::Cut => cut([BETWEEN_TWO, ONE_WAY][pick(2, rng)], || {
                let lost = || world.has_lost(1, THIRD) || world.has_lost(2, SECOND);
                eventually("a member notices", CONVERGE, || lost().then_some(()));
                world.go_on(EVENTS);
            }),
            Self::Isolate => cut([FROM_THE_TRACKER, AROUND_ONE][pick(2, rng)], || {
                world.wait_for_active(2);
                world.go_on(EVENTS);
            }),
            Self::Slow => {
                run("tc qdisc add dev lo root tbf rate 40mbit burst 256kb latency 300ms");
                world.go_on(EVENTS);
                run("tc qdisc del dev lo root");
            }
            Self::FullDisk => {
                let ballast = small.join("ballast");
                fill(&ballast);
                world.go_on(EVENTS);
                fs::remove_file(&ballast).expect("it is ours");
            }
            Self::Clocks => {
                let clocks = ["+1d", "-1d", "-1h", "+4100d", "-20700d", "+0d x2", "+0d"];
                world.set_clocks(&TRUE.map(|_| clocks[pick(clocks.len(), rng)]));
                world.go_on(EVENTS);
                world.set_clocks(&TRUE);
            }
            Self::Rolling => {
                for storage in storages {
                    assert!(storage.stop().success(), "it ends in good order");
                    storage.start();
                    world.wait_for_active(3);
                }
            }
        }
    }
}

fn shuffled(rng: &mut Rng) -> Vec<Fault> {
    let mut order = ALL.to_vec();
    for last in (1..order.len()).rev() {
        order.swap(last, usize::try_from(rng.below(last as u64 + 1)).expect("it is small"));
    }
    order
}

fn cut(what: Cut, meanwhile: impl FnOnce()) {
    rule("add", what);
    meanwhile();
    rule("del", what);
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("the directory is ours");
    for piece in [1 << 20, 4096, 1] {
        let zeros = vec![0; piece];
        while file.write_all(&zeros).is_ok() {}
    }
}
