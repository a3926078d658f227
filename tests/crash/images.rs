//! What a power loss may leave: from a recorded run, for each instant, all that was flushed and a
//! random part of the sectors written after that; mounted, examined, started, and compared with
//! what was acknowledged before that instant.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Tally;
use crate::autopsy;
use crate::client::{self, Outcome};
use crate::daemon::{self, Pair};
use crate::recorder::{Content, Event, Mounted, Recorder, SECTOR};
use crate::seed::{Rng, Seed};
use crate::sweep::bytes;

/// Images of each file system in a run; `N` asks for others.
const IMAGES: usize = 100;
/// Within this many images a planted bug must be found.
const BUDGET: usize = 20;

type Files = BTreeMap<String, Vec<u8>>;

/// The files after each acknowledged operation, and what the next one adds under a name that
/// only it knows.
#[derive(Clone, Debug)]
struct State {
    files: Files,
    new: Option<Vec<u8>>,
}

/// A recorded run.
struct Recording {
    kind: &'static str,
    start: [Content; 2],
    events: Vec<Event>,
    /// Before operation n; with what it adds.
    states: Vec<State>,
}

fn can_record() -> Result<(), String> {
    for needed in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(needed).exists() {
            return Err(format!("{needed} is not there"));
        }
    }
    let uid = Command::new("id").arg("-u").output().map_err(|e| e.to_string())?;
    if uid.stdout != b"0\n" { Err("it takes root".to_owned()) } else { Ok(()) }
}

/// Runs the workload on recorded disks, with the planted bug `plant` if there is one.
fn record(kind: &'static str, plant: Option<&str>) -> Result<Recording, String> {
    let dir = daemon::root().join(format!("record-{kind}"));
    let pair = Pair::new(&dir, true);
    let recorder = Recorder::mount(&dir.join("fuse")).map_err(|e| format!("FUSE: {e}"))?;
    let store = pair.storage_dir().join("store");
    let base_fs = Mounted::make(kind, &recorder.file(0), &pair.base())?;
    let store_fs = Mounted::make(kind, &recorder.file(1), &store)?;
    let _synced = Command::new("sync").args(["-f"]).arg(&store).status();
    let start = recorder.record();
    let settings: Vec<_> =
        plant.map(|name| ("FASTDISK_PLANT", name.to_owned())).into_iter().collect();
    let mut daemon = pair.start(&settings);
    if daemon.has_ended() {
        return Err(daemon.log());
    }
    let mut states = vec![State { files: Files::new(), new: None }];
    workload(&pair, &recorder, &mut states);
    daemon.kill();
    let events = recorder.events();
    drop((base_fs, store_fs));
    Ok(Recording { kind, start, events, states })
}

/// A few operations of each kind, one after the other.
fn workload(pair: &Pair, recorder: &Recorder, states: &mut Vec<State>) {
    let at = pair.storage;
    let mut run = |new: Option<Vec<u8>>, act: &dyn Fn(&Files) -> (Outcome, Option<Files>)| {
        let operation = states.len() - 1;
        let before = states.last_mut().expect("there is a first state");
        before.new = new.clone();
        let mut files = before.files.clone();
        recorder.note(Event::Called(operation));
        let (outcome, changed) = act(&files);
        assert!(outcome.is_done(), "operation {operation}: {outcome:?}");
        recorder.note(Event::Acknowledged(operation));
        if let Some(changed) = changed {
            files = changed;
        }
        if let (Some(name), Some(new)) = (outcome.name(), new) {
            files.insert(name, new);
        }
        states.push(State { files, new: None });
    };
    for (index, len) in [5, 0, 3000, 100_000, 700_000, 17].into_iter().enumerate() {
        let mut content = bytes(len);
        content.push(u8::try_from(index).unwrap());
        let sent = content.clone();
        run(Some(content), &move |_| (client::upload(at, false, &sent), None));
    }
    let first = |files: &Files, appender: bool| {
        let is = |name: &&String| files[*name].starts_with(b"appender") == appender;
        files.keys().find(|name| is(name) && !name.ends_with("-m")).cloned().unwrap()
    };
    let appender = b"appender".to_vec();
    run(Some(appender.clone()), &move |_| (client::upload(at, true, &appender), None));
    for round in 0..2 {
        run(None, &|files| {
            let name = first(files, true);
            let mut changed = files.clone();
            changed.get_mut(&name).unwrap().extend(bytes(5000));
            (client::edit(at, &name, None, &bytes(5000)), Some(changed))
        });
        run(None, &|files| {
            let name = first(files, false);
            let mut changed = files.clone();
            changed.insert(format!("{name}-m"), b"a\x02new".to_vec());
            (client::set_metadata(at, &name, b'O', "a\u{2}new"), Some(changed))
        });
        run(None, &|files| {
            let name = first(files, false);
            let mut changed = files.clone();
            changed.remove(&name);
            changed.remove(&format!("{name}-m"));
            (client::delete(at, &name), Some(changed))
        });
        let content = bytes(900 + round);
        let sent = content.clone();
        run(Some(content), &move |_| (client::upload(at, false, &sent), None));
    }
}

impl Recording {
    /// The disks as a loss of power right before event `cut` may leave them.
    fn image(&self, cut: usize, rng: &mut Rng) -> [Content; 2] {
        let mut disks = self.start.clone();
        for (disk, content) in disks.iter_mut().enumerate() {
            let before = &self.events[..cut];
            let flushed =
                before.iter().rposition(|e| matches!(e, Event::Flush { disk: d } if *d == disk));
            // Nothing, everything, or a random part of what was not flushed.
            let keep = rng.below(4);
            for (index, event) in before.iter().enumerate() {
                let Event::Write { disk: of, at, bytes } = event else { continue };
                if *of != disk {
                    continue;
                }
                if flushed.is_some_and(|flushed| index < flushed) {
                    content.write(*at, bytes);
                    continue;
                }
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if keep == 0 || keep > 1 && rng.below(2) == 0 {
                        content.write(*at + (number * SECTOR) as u64, sector);
                    }
                }
            }
        }
        disks
    }

    /// Right before, at and right after each flush, then anywhere.
    fn cuts(&self, count: usize, rng: &mut Rng) -> Vec<usize> {
        let flushes =
            self.events.iter().enumerate().filter(|(_, e)| matches!(e, Event::Flush { .. }));
        let mut all: Vec<usize> = flushes.flat_map(|(at, _)| [at, at + 1, at + 2]).collect();
        let acked = self.events.iter().enumerate();
        let acked = acked.filter(|(_, e)| matches!(e, Event::Acknowledged(_)));
        all.extend(acked.map(|(at, _)| at + 1));
        all.retain(|at| *at <= self.events.len());
        for last in (1..all.len()).rev() {
            all.swap(last, usize::try_from(rng.below(last as u64 + 1)).unwrap());
        }
        while all.len() < count {
            all.push(usize::try_from(rng.below(self.events.len() as u64 + 1)).unwrap());
        }
        all.truncate(count);
        all
    }

    /// What is wrong with the image of `cut`.
    fn examine(&self, pair: &Pair, number: usize, cut: usize, rng: &mut Rng) -> Vec<String> {
        let dir = &pair.dir;
        let mut mounted = Vec::new();
        let store = pair.storage_dir().join("store");
        let mut files = Vec::new();
        for (disk, content) in self.image(cut, rng).iter().enumerate() {
            // A name of its own: a loop device used again serves what it had cached.
            let file = dir.join(format!("image-{number}-{disk}"));
            content.store(&file);
            let at = if disk == 0 { pair.base() } else { store.clone() };
            match Mounted::open(self.kind, &file, &at) {
                Ok(found) => mounted.push(found),
                Err(error) => return vec![format!("the file system itself: {error}")],
            }
            files.push(file);
        }
        let wrong = self.judge(pair, &store, cut);
        drop(mounted);
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        wrong
    }

    fn judge(&self, pair: &Pair, store: &Path, cut: usize) -> Vec<String> {
        let before = &self.events[..cut];
        let last = |wanted: fn(&Event) -> Option<usize>| before.iter().rev().find_map(wanted);
        let acked = last(|e| if let Event::Acknowledged(n) = e { Some(*n) } else { None });
        let called = last(|e| if let Event::Called(n) = e { Some(*n) } else { None });
        let done = acked.map_or(0, |n| n + 1);
        let mut wrong = Vec::new();
        let verify = Command::new(std::env::current_exe().unwrap())
            .arg("fdfs_storaged")
            .arg(pair.storage_dir().join("conf"))
            .arg("--verify")
            .output()
            .unwrap();
        if !verify.status.success() {
            let said = String::from_utf8_lossy(&verify.stdout).into_owned();
            let bad = said.lines().filter(|line| !line.contains("\"state\":\"good\""));
            wrong.push(format!("--verify: {}", bad.collect::<Vec<_>>().join(" ")));
        }
        let mut daemon = pair.start(&[]);
        if daemon.has_ended() {
            wrong.push(format!("it does not start: {}", daemon.log()));
            return wrong;
        }
        let body = autopsy::examine(&pair.base(), store);
        let now = &self.states[done];
        let next = called.filter(|n| *n == done).and_then(|n| self.states.get(n + 1));
        let as_before = body.files == now.files;
        let as_after = next.is_some_and(|next| body.files == next.files);
        // A file whose name nobody was told may be there, whole.
        let mut rest = body.files.clone();
        rest.retain(|name, content| now.files.get(name) != Some(content));
        let stray = next.is_some()
            && now.new.is_some()
            && rest.len() == 1
            && rest.values().next() == now.new.as_ref()
            && body.files.len() == now.files.len() + 1;
        if !(as_before || as_after || stray) {
            let seen: Vec<_> = body.files.iter().map(|(name, c)| (name, c.len())).collect();
            let want: Vec<_> = now.files.iter().map(|(name, c)| (name, c.len())).collect();
            wrong
                .push(format!("operation {done} under way: found {seen:?}, acknowledged {want:?}"));
        }
        wrong.extend(body.wrong.iter().cloned());
        for name in now.files.keys().filter(|name| body.files.contains_key(*name)) {
            if body.recorded(name) != Some(true) {
                wrong.push(format!("{name} is acknowledged and not in the binlog"));
            }
        }
        daemon.kill();
        wrong
    }
}

/// Builds and examines images until one is wrong or `count` are right.
fn examine(
    recording: &Recording,
    count: usize,
    seed: Seed,
    stop_at_first: bool,
) -> (usize, Vec<String>) {
    let mut rng = seed.child(recording.kind).rng();
    let dir = daemon::root().join(format!("images-{}", recording.kind));
    let pair = Pair::new(&dir, true);
    let mut found = Vec::new();
    let mut seen = 0;
    for cut in recording.cuts(count, &mut rng) {
        seen += 1;
        let wrong = recording.examine(&pair, seen, cut, &mut rng);
        let kind = recording.kind;
        found.extend(wrong.into_iter().map(|w| format!("{kind} image {seen} cut {cut}: {w}")));
        if stop_at_first && !found.is_empty() {
            break;
        }
    }
    (seen, found)
}

pub(crate) fn run(seed: Seed) -> Tally {
    if let Err(why) = can_record() {
        println!("skip images: {why}");
        return Tally { skipped: 2, ..Tally::default() };
    }
    let wanted = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(IMAGES);
    let mut tally = Tally::default();
    for kind in ["ext4", "xfs"] {
        let outcome = record(kind, None).map(|recording| {
            let flushes = recording.events.iter().filter(|e| matches!(e, Event::Flush { .. }));
            println!(
                "images: {kind}: {} events, {} flushes",
                recording.events.len(),
                flushes.count()
            );
            examine(&recording, wanted, seed, false)
        });
        match outcome {
            Ok((seen, wrong)) => {
                wrong.iter().for_each(|w| println!("FAIL images promise=P2 :: {w}"));
                println!("images: {kind}: {seen} images, {} violations", wrong.len());
                let failed = u64::from(!wrong.is_empty());
                tally.add(Tally { passed: 1 - failed, failed, skipped: 0 });
            }
            Err(error) => {
                println!("FAIL images {kind}: {error}");
                tally.failed += 1;
            }
        }
    }
    daemon::remove(&daemon::root());
    tally
}

/// Bugs planted on purpose; each must be found within its budget.
pub(crate) const PLANTS: [&str; 3] =
    ["no file sync", "no directory sync", "answer before log sync"];

pub(crate) fn plants(seed: Seed) -> Tally {
    if let Err(why) = can_record() {
        println!("skip plants: {why}");
        return Tally { skipped: PLANTS.len() as u64, ..Tally::default() };
    }
    let mut tally = Tally::default();
    for plant in PLANTS {
        let outcome =
            record("ext4", Some(plant)).map(|recording| examine(&recording, BUDGET, seed, true));
        match outcome {
            Ok((seen, wrong)) if !wrong.is_empty() => {
                println!("plant: {plant}: found at image {seen} of {BUDGET}");
                tally.passed += 1;
            }
            Ok(_) => {
                println!("FAIL plant {plant}: not found within {BUDGET} images");
                tally.failed += 1;
            }
            Err(error) => {
                println!("FAIL plant {plant}: {error}");
                tally.failed += 1;
            }
        }
    }
    daemon::remove(&daemon::root());
    tally
}
