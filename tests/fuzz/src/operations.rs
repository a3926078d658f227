//! Any sequence of client operations and faults against a store in memory, compared with a
//! model: what was acknowledged is there and whole, what was not is there wholly or not at all,
//! and every file has its record in the binlog, every deleted one has its own.

use std::collections::BTreeMap;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use storage::fuzzing::{Chance, Plan, World};

use crate::tracker_stream::runtime;

/// Steps of one run: enough for every pair of operations around a fault and a restart.
const STEPS_MAX: usize = 24;

#[derive(Arbitrary, Debug)]
enum Step {
    Upload { len: u8, large: bool, appender: bool },
    Slave { of: u8, len: u8 },
    Append { of: u8, len: u8 },
    Modify { of: u8, at: u8, len: u8 },
    Truncate { of: u8, size: u8 },
    Regenerate { of: u8 },
    SetMetadata { of: u8, pairs: u8 },
    Delete { of: u8 },
    Fault { at: u8, kind: Kind },
    Restart { power: Option<u8> },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Eio,
    Enospc,
    EioFromThere,
    Death,
}

/// What a file may hold; more than one version after an operation of unknown outcome.
#[derive(Clone, Debug)]
struct Story {
    versions: Vec<Option<Vec<u8>>>,
    metadata: Vec<Option<Vec<u8>>>,
    appender: bool,
}

/// All that clients know.
#[derive(Default)]
struct Model {
    files: BTreeMap<String, Story>,
    /// Contents of uploads, slaves and regenerated files that were not acknowledged.
    strays: Vec<Vec<u8>>,
    /// Contents drawn so far: no two are the same.
    drawn: u64,
    /// Names survive a loss of power one by one on the simulated disk, where those of a real
    /// file system survive in order: then a note may be lost although its change was not.
    lost_power: bool,
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut steps = Vec::new();
    while steps.len() < STEPS_MAX && !input.is_empty() {
        match Step::arbitrary(&mut input) {
            Ok(step) => steps.push(step),
            Err(_) => break,
        }
    }
    runtime().block_on(async {
        let (mut world, mut model) = (World::new(), Model::default());
        for step in &steps {
            perform(&mut world, &mut model, step).await;
        }
        world.restart(None).await;
        model.check(&world, &steps);
    });
}

fn bytes(model: &mut Model, len: usize) -> Vec<u8> {
    model.drawn += 1;
    let mut chance = Chance(model.drawn);
    (0..len).map(|_| chance.draw().to_le_bytes()[0]).collect()
}

async fn perform(world: &mut World, model: &mut Model, step: &Step) {
    match step {
        Step::Fault { at, kind } => {
            let at = u64::from(*at % 32) + 1;
            world.plan(match kind {
                Kind::Eio => Plan::Fail(at, 5),
                Kind::Enospc => Plan::Fail(at, 28),
                Kind::EioFromThere => Plan::FailFrom(at, 5),
                Kind::Death => Plan::Die(at),
            });
        }
        Step::Restart { power } => {
            let mut chance = power.map(|seed| Chance(u64::from(seed)));
            model.lost_power |= power.is_some();
            world.restart(chance.as_mut()).await;
            model.check(world, &[]);
            model.settle(world);
        }
        Step::Upload { len, large, appender } => {
            let len = usize::from(*len) * if *large { 1000 } else { 1 };
            let content = bytes(model, len);
            let answer = world.upload(*appender, &content).await;
            model.created(answer, content, *appender);
        }
        _ => change(world, model, step).await,
    }
}

/// The operations that need a file.
async fn change(world: &mut World, model: &mut Model, step: &Step) {
    let (Step::Slave { of, .. }
    | Step::Append { of, .. }
    | Step::Modify { of, .. }
    | Step::Truncate { of, .. }
    | Step::Regenerate { of }
    | Step::SetMetadata { of, .. }
    | Step::Delete { of }) = step
    else {
        return;
    };
    let Some(name) = model.pick(*of) else { return };
    match step {
        Step::Slave { len, .. } => {
            let content = bytes(model, usize::from(*len));
            let answer = world.slave(&name, &content).await;
            // The bit that says so is in the master's name, and so in the slave's (storage.md 3.3).
            let appender = model.story(&name).appender;
            model.created(answer, content, appender);
        }
        Step::Append { len, .. } => {
            let more = bytes(model, usize::from(*len));
            let answer = world.edit(&name, None, &more).await;
            model.changed(&name, answer, |old| [old, &more].concat());
        }
        Step::Modify { at, len, .. } => {
            let (at, new) = (usize::from(*at), bytes(model, usize::from(*len)));
            let answer = world.edit(&name, Some(at as u64), &new).await;
            model.changed(&name, answer, |old| {
                let mut all = old.to_vec();
                all.resize(all.len().max(at + new.len()), 0);
                all[at..at + new.len()].copy_from_slice(&new);
                all
            });
        }
        Step::Truncate { size, .. } => {
            let size = usize::from(*size);
            let answer = world.truncate(&name, size as u64).await;
            model.changed(&name, answer, |old| {
                let mut all = old.to_vec();
                all.resize(size, 0);
                all
            });
        }
        Step::Regenerate { .. } => {
            let answer = world.regenerate(&name).await;
            model.regenerated(&name, answer);
        }
        Step::SetMetadata { pairs, .. } => {
            let text = format!("key\u{2}{pairs}");
            let answer = world.set_metadata(&name, &text).await;
            model.metadata(&name, answer, Some(text.into_bytes()));
        }
        _ => {
            let answer = world.delete(&name).await;
            model.deleted(&name, answer);
        }
    }
}

impl Model {
    fn pick(&self, of: u8) -> Option<String> {
        let count = self.files.len().max(1);
        self.files.keys().nth(usize::from(of) % count).cloned()
    }

    fn created(&mut self, answer: Result<String, u8>, content: Vec<u8>, appender: bool) {
        match answer {
            Ok(name) => {
                let story = Story { versions: vec![Some(content)], metadata: vec![None], appender };
                let old = self.files.insert(name.clone(), story);
                // A slave's name comes again after it was deleted, and only then.
                assert!(old.is_none_or(|s| s.versions.contains(&None)), "{name} was given twice");
            }
            Err(_) => self.strays.push(content),
        }
    }

    fn story(&mut self, name: &str) -> &mut Story {
        self.files.get_mut(name).expect("picked from the files")
    }

    fn changed(&mut self, name: &str, answer: Result<(), u8>, new: impl Fn(&[u8]) -> Vec<u8>) {
        let story = self.story(name);
        let after: Vec<_> = story.versions.iter().flatten().map(|old| Some(new(old))).collect();
        match answer {
            Ok(()) => {
                assert!(story.appender, "{name} is not an appender and was changed");
                story.versions = after;
            }
            Err(_) if story.appender => story.versions.extend(after),
            Err(_) => {}
        }
    }

    fn regenerated(&mut self, name: &str, answer: Result<String, u8>) {
        let story = self.story(name).clone();
        match answer {
            Ok(new) => {
                self.story(name).versions = vec![None];
                let versions = story.versions.into_iter().filter(Option::is_some).collect();
                let metadata = vec![None];
                self.files.insert(new, Story { versions, metadata, appender: false });
            }
            Err(_) if story.appender => {
                self.strays.extend(story.versions.into_iter().flatten());
                self.story(name).versions.push(None);
            }
            Err(_) => {}
        }
    }

    fn metadata(&mut self, name: &str, answer: Result<(), u8>, new: Option<Vec<u8>>) {
        let story = self.story(name);
        match answer {
            Ok(()) => story.metadata = vec![new],
            Err(_) => story.metadata.push(new),
        }
    }

    fn deleted(&mut self, name: &str, answer: Result<(), u8>) {
        let story = self.story(name);
        match answer {
            Ok(()) => (story.versions, story.metadata) = (vec![None], vec![None]),
            Err(_) => {
                story.versions.push(None);
                story.metadata.push(None);
            }
        }
    }

    /// Compares the disk with what is known, right after a start.
    fn check(&self, world: &World, steps: &[Step]) {
        let mut files = world.files();
        let log = files.remove(Path::new("/base/data/sync/binlog.000")).unwrap_or_default();
        let log = String::from_utf8(log).expect("the binlog is text");
        let temporary = files.keys().find(|path| path.starts_with("/base/data/.tmp"));
        assert_eq!(temporary, None, "a left-over after a start: {steps:?}");
        files.retain(|path, _| path.starts_with("/base/data/00"));
        for (name, story) in &self.files {
            let path = Path::new("/base/data").join(&name[4..]);
            let metadata = files.remove(Path::new(&format!("{}-m", path.display())));
            let found = files.remove(&path);
            let whole = story.versions.contains(&found);
            assert!(whole, "{name}: {:?} bytes\n{steps:?}", found.as_ref().map(Vec::len));
            assert!(story.metadata.contains(&metadata), "{name}: metadata {metadata:?}\n{steps:?}");
            if !self.lost_power {
                recorded(&log, name, found.is_some(), steps);
            }
        }
        for (path, found) in files {
            let name = path.strip_prefix("/base/data").expect("below it").to_str().expect("text");
            if name.ends_with("-m") {
                continue; // of a file that nobody was told about
            }
            assert!(self.strays.contains(&found), "{name} is not whole, or no upload explains it");
            if !self.lost_power {
                recorded(&log, &format!("M00/{name}"), true, steps);
            }
        }
    }

    /// After a start every file is what it is: only what was found goes on.
    fn settle(&mut self, world: &World) {
        let files = world.files();
        for (name, story) in &mut self.files {
            let path = Path::new("/base/data").join(&name[4..]);
            story.versions = vec![files.get(&path).cloned()];
            story.metadata = vec![files.get(Path::new(&format!("{}-m", path.display()))).cloned()];
        }
    }
}

/// What replication will learn of a file: that it is there, or that it is gone.
fn recorded(log: &str, name: &str, there: bool, steps: &[Step]) {
    let mut last = None;
    for line in log.lines() {
        let mut words = line.split(' ').skip(1);
        match (words.next(), words.next(), words.next()) {
            (Some("C"), Some(of), None) if of == name => last = Some(true),
            (Some("D"), Some(of), None) if of == name => last = Some(false),
            // The new name, then the old one.
            (Some("R"), Some(new), Some(_)) if new == name => last = Some(true),
            (Some("R"), Some(_), Some(old)) if old == name => last = Some(false),
            _ => {}
        }
    }
    assert_eq!(last, Some(there), "the last record of {name}\n{log}\n{steps:?}");
}
