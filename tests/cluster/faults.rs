//! Every kind of fault, in an order drawn from the seed, under load: kill -9 of a member, of all,
//! of the tracker; a member that hangs; networks that are cut or slow; a full disk; wrong clocks;
//! a rolling restart.
//!
//! One lap is a group of its own with each kind once; `FAULTS=1800` runs laps for half an hour.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::partition::{
    AROUND_ONE, BETWEEN_TWO, Cut, FROM_THE_TRACKER, ONE_WAY, has_own_network, rule, run,
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
        let mut world = World::prepare(&name, 3, "connect_timeout = 1\nnetwork_timeout = 3\n");
        world.timeouts.connect_timeout = Duration::from_secs(1);
        world.timeouts.network_timeout = Duration::from_secs(3);
        let mut rng = world.seed.child("faults").rng();
        let order = shuffled(&mut rng);
        set_clocks(&world, ["+0d"; 4]);
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
            go_on(&world);
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
                go_on(world);
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
                go_on(world);
                victim.signal("CONT");
            }
            Self::Cut => cut([BETWEEN_TWO, ONE_WAY][pick(2, rng)], || {
                eventually("a member notices", CONVERGE, || lost(world).then_some(()));
                go_on(world);
            }),
            Self::Isolate => cut([FROM_THE_TRACKER, AROUND_ONE][pick(2, rng)], || {
                world.wait_for_active(2);
                go_on(world);
            }),
            Self::Slow => {
                run("tc qdisc add dev lo root tbf rate 40mbit burst 256kb latency 300ms");
                go_on(world);
                run("tc qdisc del dev lo root");
            }
            Self::FullDisk => {
                let ballast = small.join("ballast");
                fill(&ballast);
                go_on(world);
                fs::remove_file(&ballast).expect("it is ours");
            }
            Self::Clocks => {
                let clocks = ["+1d", "-1d", "-1h", "+4100d", "-20700d", "+0d x2", "+0d"];
                set_clocks(world, [(); 4].map(|()| clocks[pick(clocks.len(), rng)]));
                go_on(world);
                set_clocks(world, ["+0d"; 4]);
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

/// Until the load has got further.
fn go_on(world: &World) {
    let before = world.history.events().len();
    eventually("the load goes on", CONVERGE, || {
        (before + EVENTS < world.history.events().len()).then_some(())
    });
}

fn cut(what: Cut, meanwhile: impl FnOnce()) {
    rule("add", what);
    meanwhile();
    rule("del", what);
}

/// Whether the second or the third member has lost the other.
fn lost(world: &World) -> bool {
    let cut_off = |member: usize, peer: &str| {
        let line = format!("fdfs_storage_peer_connected{{peer=\"{peer}\"}} 0");
        world.cluster.storages[member].metrics().lines().any(|known| known == line)
    };
    cut_off(1, "127.0.0.3") || cut_off(2, "127.0.0.2")
}

/// Of the tracker and the three members.
fn set_clocks(world: &World, clocks: [&str; 4]) {
    let daemons = std::iter::once(&world.cluster.tracker).chain(&world.cluster.storages);
    for (daemon, clock) in daemons.zip(clocks) {
        daemon.set_clock(clock);
    }
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("the directory is ours");
    for piece in [1 << 20, 4096, 1] {
        let zeros = vec![0; piece];
        while file.write_all(&zeros).is_ok() {}
    }
}
