//! Real storages and an nginx beside each: members die and come back while readers read, and the
//! history of what readers were told is clean.
//!
//! Uploads go through the protocol; which members hold a file at a time is up to replication, so
//! a reader may be told that the servers cannot know, and never that a file is not there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::nodes::Net;
use crate::server::{Answer, Scratch, Server, eventually};
use crate::support::checker::{Facts, seen};
use crate::support::cluster::Cluster;
use crate::support::history::{Content, History, Kind, Outcome, Phase};
use crate::support::recorder::Recorder;
use crate::support::seed::{Rng, Seed};
use crate::support::wait;

const STORAGES: u8 = 3;
const FILES: u64 = 30;
/// Storages find one another within this time.
const SOON: Duration = Duration::from_secs(90);
/// Deaths of an nginx, one after the other.
const DEATHS: u64 = 6;

/// The machine of one storage: its nginx, which reads what `fdfs_storaged` writes.
fn front(net: &Net, own: usize, cluster: &Cluster) -> Server {
    let members = cluster.storages[own].dir.join("base/data/members");
    wait::eventually("the storage writes who is in its group", SOON, || {
        let text = std::fs::read_to_string(&members).unwrap_or_default();
        (text.matches("state=ACTIVE").count() == usize::from(STORAGES)).then_some(())
    });
    // All of this runs as one user; an nginx started by root gives its workers another one.
    let more = format!(
        "fastdfs_members {};\nfastdfs_verify once;\nproxy_connect_timeout 1s;",
        members.display()
    );
    net.start(Scratch::new(), own, &more)
}

/// Reads a file by HTTP and writes down what was said.
fn read(history: &History, client: u32, at: SocketAddr, id: &str) -> Option<u16> {
    let call = history.call(client, Kind::Read, id, "tracker", None);
    let answer = Answer::ask(at, &format!("/{id}"));
    let status = answer.as_ref().map(|answer| answer.status);
    match answer {
        Some(answer) if answer.status == 200 => {
            history.end(call, Phase::Ok, Outcome::read(&answer.body));
        }
        // "No such file" has the number that the protocol gives it.
        Some(answer) if answer.status == 404 => {
            history.end(call, Phase::Fail, Outcome::refused(2));
        }
        _ => history.end(call, Phase::Unknown, Outcome::default()),
    }
    status
}

fn pick<T: Copy>(list: &[T], rng: &mut Rng) -> T {
    list[usize::try_from(rng.below(list.len() as u64)).expect("it is small")]
}

/// How often readers were told which status; none is a broken connection.
type Told = BTreeMap<Option<u16>, u64>;

/// Readers read while one machine after the other dies and comes back.
fn storm(
    seed: Seed,
    cluster: &Cluster,
    fronts: &[Server],
    history: &History,
    ids: &[String],
    ends: &[SocketAddr],
) -> Told {
    let (stop, told) = (AtomicBool::new(false), Mutex::new(Told::new()));
    std::thread::scope(|scope| {
        for client in 1..=3 {
            let (stop, told) = (&stop, &told);
            scope.spawn(move || {
                let mut rng = seed.child(&format!("reader {client}")).rng();
                let names: Vec<&str> = ids.iter().map(String::as_str).collect();
                while !stop.load(Ordering::Relaxed) {
                    let status =
                        read(history, client, pick(ends, &mut rng), pick(&names, &mut rng));
                    *told.lock().expect("no reader panics here").entry(status).or_default() += 1;
                }
            });
        }
        let mut rng = seed.child("deaths").rng();
        let victims: Vec<usize> = (0..fronts.len()).collect();
        let reads = || told.lock().expect("no reader panics here").values().sum::<u64>();
        for _ in 0..DEATHS {
            let victim = pick(&victims, &mut rng);
            fronts[victim].kill();
            cluster.storages[victim].kill();
            let then = reads();
            eventually("readers go on", || reads() >= then + 60);
            cluster.storages[victim].start();
            fronts[victim].revive();
            let then = reads();
            eventually("readers go on", || reads() >= then + 60);
        }
        stop.store(true, Ordering::Relaxed);
    });
    told.into_inner().expect("no reader panicked")
}

#[test]
fn readers_get_right_bytes_while_servers_die() {
    let seed = Seed::of_this_run("history");
    let cluster = Cluster::start("module-history", STORAGES);
    // Every nginx has the address of its storage.
    let mut ips = Vec::new();
    for storage in &cluster.storages {
        let SocketAddr::V4(at) = storage.address else { panic!("the tests use IPv4") };
        ips.push(*at.ip());
    }
    let net = Net::at(ips);
    let fronts: Vec<Server> =
        (0..usize::from(STORAGES)).map(|own| front(&net, own, &cluster)).collect();
    let scratch = Scratch::new();
    let history = Arc::new(History::create(&scratch.path("history")));

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("threads are left");
    let writer = Recorder::new(&history, 0, cluster.tracker.address);
    let upload = |number: u64| {
        let mut rng = seed.child(&format!("file {number}")).rng();
        let len = usize::try_from(rng.below(200_000)).expect("it is small");
        let told = runtime.block_on(writer.upload(Content { seed: rng.next(), len }));
        told.expect("the storages are up").to_string()
    };
    let ids: Vec<String> = (0..FILES).map(upload).collect();
    let listen = |own: usize| SocketAddr::from((net.ips[own], net.port));
    let ends: Vec<SocketAddr> = (0..fronts.len()).map(listen).collect();
    // Each file is there for a reader at once, whoever has it.
    for (number, id) in ids.iter().enumerate() {
        let at = ends[number % ends.len()];
        assert_eq!(read(&history, 9, at, id), Some(200), "{id} at {at}");
    }

    let told = storm(seed, &cluster, &fronts, &history, &ids, &ends);
    println!("what readers were told: {told:?}");
    assert!(told.get(&Some(200)).is_some_and(|count| *count > 300), "{told:?}");

    let found = seen(&history.events(), &Facts::default());
    assert!(found.is_empty(), "{}", found.join("\n"));
    // Healed: every file at every door.
    for id in &ids {
        for at in &ends {
            eventually("the file is there", || read(&history, 9, *at, id) == Some(200));
        }
    }
    let found = seen(&history.events(), &Facts::default());
    assert!(found.is_empty(), "{}", found.join("\n"));
}
