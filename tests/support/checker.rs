//! Compares what clients were told with what they saw and with what the members hold.
//!
//! [`seen`] judges each observation while a run lasts, [`held`] every file on every member at its
//! end, [`logs`] the daemons' own words. Each verdict names the promise it defends. It knows
//! nothing of the programs under test but their answers; `tests/harness.rs` tests each of its
//! rules with a history it must accept and one it must refuse.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Content, Event, Kind, Phase, sha256};

/// Changes of one file whose outcome is unknown; the checker tries every subset of them.
const UNKNOWN_EDITS_MAX: usize = 10;
/// Status of "no such file".
const NOT_FOUND: u8 = 2;

/// Facts about a run that the history does not hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// When the members had everything from one another.
    pub(crate) converged_at: Option<u64>,
    /// Spans in which no member that has the file could be reached.
    pub(crate) cut_off: Vec<(u64, u64)>,
    /// Status bytes that the specification allows, besides "no such file" where that is judged.
    pub(crate) allowed: Vec<(Kind, u8)>,
    /// Words of the errors that daemons log for the faults of the run.
    pub(crate) errors: Vec<&'static str>,
}

impl Facts {
    /// Whether those who have the file, as it is now, could not be reached meanwhile.
    fn is_cut_off(&self, event: &Event, called: u64) -> bool {
        self.cut_off.iter().any(|(from, to)| *from <= event.t && called <= *to)
    }
}

/// One file as a member holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) length: u64,
    pub(crate) sha256: String,
    pub(crate) metadata: Vec<(String, String)>,
}

/// Member → file id → copy.
pub(crate) type Members = BTreeMap<String, BTreeMap<String, Held>>;

/// A change of an appender.
#[derive(Clone, Copy, Debug)]
struct Edit {
    kind: Kind,
    content: Content,
    done: Option<u64>,
    called: u64,
}

impl Edit {
    /// What it makes of `base`.
    fn of(self, base: &Vec<u8>) -> Vec<u8> {
        match self.kind {
            Kind::Modify => {
                let at = self.content.place_in(base.len());
                let mut bytes = base.clone();
                bytes.splice(at..base.len().min(at + self.content.len), self.content.bytes());
                bytes
            }
            Kind::Truncate => base[..self.content.place_in(base.len())].to_vec(),
            _ => [base.as_slice(), &self.content.bytes()].concat(),
        }
    }
}

/// One file's story.
#[derive(Debug, Default)]
struct Story {
    content: Option<Content>,
    /// In the order of the calls.
    edits: Vec<Edit>,
    /// Called at, acknowledged at, member asked.
    deletes: Vec<(u64, Option<u64>, String)>,
    /// Seed and count of pairs as `content`; acknowledged or not, in the order of the calls.
    metadata: Vec<(Content, bool)>,
}

impl Story {
    /// May the file be absent for an observer who asked between `called` and `ended`?
    fn may_be_absent(&self, ended: u64) -> bool {
        self.deletes.iter().any(|(call, ..)| *call <= ended)
    }

    /// Digests the file may have for one who asked between `called` and `ended`; if `stale` also
    /// those it had before, at a member that has not heard of its changes yet.
    fn versions(&self, called: u64, ended: u64, stale: bool) -> BTreeSet<(u64, String)> {
        let mut versions = vec![self.content.map(Content::bytes).unwrap_or_default()];
        let (mut older, mut open) = (Vec::new(), 0);
        for edit in self.edits.iter().filter(|edit| edit.called <= ended) {
            let edited: Vec<Vec<u8>> = versions.iter().map(|base| edit.of(base)).collect();
            if edit.done.is_some_and(|at| at <= called) {
                older.append(&mut versions);
            } else {
                open += 1;
                assert!(open <= UNKNOWN_EDITS_MAX, "too many unknown changes of one file");
            }
            versions.extend(edited);
        }
        if stale {
            versions.append(&mut older);
        }
        let digest = |v: &Vec<u8>| (u64::try_from(v.len()).expect("it fits"), sha256(v));
        versions.iter().map(digest).collect()
    }
}

/// A history, sorted into files.
#[derive(Debug, Default)]
struct Stories {
    files: BTreeMap<String, Story>,
    /// Contents of uploads that were called and never acknowledged: they may exist, then whole.
    unknown: Vec<Content>,
}

impl Stories {
    fn of(events: &[Event]) -> Self {
        let mut stories = Self::default();
        let mut ends: BTreeMap<u64, &Event> = BTreeMap::new();
        for event in events.iter().filter(|e| e.phase != Phase::Call) {
            let twice = ends.insert(event.op, event);
            assert!(twice.is_none(), "operation {} ended twice", event.op);
        }
        for call in events.iter().filter(|e| e.phase == Phase::Call) {
            let end = ends.get(&call.op).copied();
            stories.take(call, end);
        }
        stories
    }

    fn take(&mut self, call: &Event, end: Option<&Event>) {
        let phase = end.map_or(Phase::Unknown, |e| e.phase);
        let at = end.filter(|e| e.phase == Phase::Ok).map(|e| e.t);
        if phase == Phase::Fail {
            return; // a refusal changes nothing
        }
        match call.kind {
            Kind::Upload => {
                let content = call.content.expect("an upload has a content");
                match end.and_then(|e| e.outcome.file_id.clone()).filter(|_| at.is_some()) {
                    Some(id) => {
                        let story = self.files.entry(id.clone()).or_default();
                        let known = story.content.replace(content);
                        assert!(known.is_none(), "{id} was given out twice: P4");
                    }
                    None => self.unknown.push(content),
                }
            }
            Kind::Append | Kind::Modify | Kind::Truncate => {
                let content = call.content.expect("a change is a function of a seed");
                let edit = Edit { kind: call.kind, content, done: at, called: call.t };
                self.story(call).edits.push(edit);
            }
            Kind::SetMetadata => {
                let content = call.content.expect("metadata are a function of a seed");
                self.story(call).metadata.push((content, at.is_some()));
            }
            Kind::Delete => {
                let via = call.via.clone();
                self.story(call).deletes.push((call.t, at, via));
            }
            Kind::Read | Kind::Stat | Kind::List => {}
        }
    }

    fn story(&mut self, call: &Event) -> &mut Story {
        self.files.entry(call.target.clone()).or_default()
    }

    fn explains(&self, length: u64, digest: &str) -> bool {
        self.unknown.iter().any(|content| {
            u64::try_from(content.len) == Ok(length) && sha256(&content.bytes()) == digest
        })
    }
}

/// Judges every answer of a run. Returns the violations, each with its promise.
pub(crate) fn seen(events: &[Event], facts: &Facts) -> Vec<String> {
    let stories = Stories::of(events);
    let calls: BTreeMap<u64, u64> =
        events.iter().filter(|e| e.phase == Phase::Call).map(|e| (e.op, e.t)).collect();
    let mut found = Vec::new();
    for event in events.iter().filter(|e| matches!(e.phase, Phase::Ok | Phase::Fail)) {
        let called = calls.get(&event.op).copied().expect("an end has a call");
        let verdict = match (event.phase, event.kind) {
            (Phase::Ok, Kind::Read | Kind::Stat) => judge_read(&stories, event, called, facts),
            (Phase::Ok, Kind::List) => judge_list(&stories, event),
            (Phase::Fail, _) => judge_refusal(&stories, event, called, facts),
            _ => None,
        };
        found.extend(verdict.map(|what| format!("op {}: {what}", event.op)));
    }
    found
}

fn judge_read(stories: &Stories, event: &Event, called: u64, facts: &Facts) -> Option<String> {
    let id = &event.target;
    let Some(story) = stories.files.get(id).filter(|story| story.content.is_some()) else {
        return Some(format!("P6: {id} was never uploaded and can be read"));
    };
    let deleted = story
        .deletes
        .iter()
        .any(|(_, done, via)| done.is_some_and(|done| done < called) && *via == event.via);
    if deleted {
        return Some(format!("P8: {id} was deleted at {} and can be read there", event.via));
    }
    let length = event.outcome.length?;
    let versions = story.versions(called, event.t, facts.is_cut_off(event, called));
    let right = match &event.outcome.sha256 {
        Some(digest) => versions.contains(&(length, digest.clone())),
        None => versions.iter().any(|(len, _)| *len == length),
    };
    (!right).then(|| format!("P4: {id} read at {} is not what was stored", event.via))
}

fn judge_list(stories: &Stories, event: &Event) -> Option<String> {
    let stranger = event.outcome.listed.iter().find(|(id, length, digest)| {
        let known = stories.files.get(id).is_some_and(|story| story.content.is_some());
        !known && !stories.explains(*length, digest)
    });
    stranger.map(|(id, ..)| format!("P6: {id} is listed and was never uploaded"))
}

fn judge_refusal(stories: &Stories, event: &Event, called: u64, facts: &Facts) -> Option<String> {
    let status = event.outcome.status?;
    let reads = matches!(event.kind, Kind::Read | Kind::Stat);
    if status != NOT_FOUND || !reads {
        let known = facts.allowed.contains(&(event.kind, status));
        return (!known).then(|| format!("status {status} is not one for {:?}", event.kind));
    }
    let id = &event.target;
    let story = stories.files.get(id)?;
    if story.content.is_none() || story.may_be_absent(event.t) {
        return None;
    }
    let cut_off = facts.is_cut_off(event, called);
    if event.via == "tracker" {
        return (!cut_off).then(|| format!("P9: {id} was acknowledged and is not found"));
    }
    let converged = facts.converged_at.is_some_and(|at| at <= called);
    converged.then(|| format!("P7: {id} is not found at {} after convergence", event.via))
}

/// Judges every file on every member, once the world is quiet.
pub(crate) fn held(events: &[Event], members: &Members) -> Vec<String> {
    let stories = Stories::of(events);
    let mut found = Vec::new();
    for (id, story) in stories.files.iter().filter(|(_, story)| story.content.is_some()) {
        judge_file(id, story, members, &mut found);
    }
    let mut strangers: BTreeMap<&String, BTreeMap<&String, &Held>> = BTreeMap::new();
    for (member, files) in members {
        for (id, copy) in files.iter().filter(|(id, _)| !stories.files.contains_key(*id)) {
            strangers.entry(id).or_default().insert(member, copy);
        }
    }
    for (id, copies) in strangers {
        if !copies.values().all(|copy| stories.explains(copy.length, &copy.sha256)) {
            found.push(format!("P6: {id} is not whole, or no upload explains it"));
        } else if copies.len() != members.len() {
            found.push(format!("P7: {id} of an unanswered upload is not on every member"));
        }
    }
    found
}

fn judge_file(id: &str, story: &Story, members: &Members, found: &mut Vec<String>) {
    let copies: Vec<(&String, &Held)> =
        members.iter().filter_map(|(m, files)| files.get(id).map(|copy| (m, copy))).collect();
    let acknowledged = story.deletes.iter().any(|(_, done, _)| done.is_some());
    if acknowledged {
        let alive = copies.iter().map(|(m, _)| format!("P8: deleted {id} is alive at {m}"));
        return found.extend(alive);
    }
    if story.deletes.is_empty() || !copies.is_empty() {
        let lacking = members.iter().filter(|(_, files)| !files.contains_key(id));
        let promise = if copies.is_empty() { "P1" } else { "P7" };
        found.extend(lacking.map(|(m, _)| format!("{promise}: {id} is missing at {m}")));
    }
    let versions = story.versions(u64::MAX, u64::MAX, false);
    for (member, copy) in &copies {
        if !versions.contains(&(copy.length, copy.sha256.clone())) {
            found.push(format!("P4: {id} at {member} is not what was stored"));
        }
    }
    let Some((_, first)) = copies.first() else { return };
    if copies.iter().any(|(_, copy)| copy != first) {
        found.push(format!("P7: {id} differs between members"));
    }
    // A change without an answer may happen at any time after its call: the request may lie with
    // a server that hangs, and be done when that goes on, behind what others acknowledged since.
    let settled = story.metadata.iter().rposition(|(_, done)| *done).unwrap_or(0);
    let possible =
        story.metadata.iter().enumerate().filter(|(at, (_, done))| settled <= *at || !done);
    let mut allowed: Vec<_> = possible.map(|(_, (content, _))| pairs(*content)).collect();
    if !story.metadata.iter().any(|(_, done)| *done) {
        allowed.push(Vec::new());
    }
    if !allowed.contains(&first.metadata) {
        found.push(format!("P1: metadata of {id} are not the last acknowledged"));
    }
}

/// Metadata as a function of a seed: `len` pairs, sorted by name.
pub(crate) fn pairs(content: Content) -> Vec<(String, String)> {
    let mut rng = super::seed::Seed(content.seed).rng();
    (0..content.len).map(|i| (format!("key{i:03}"), format!("{:x}", rng.next()))).collect()
}

/// Lines of level error, and panics, that the run did not ask for.
pub(crate) fn logs(text: &str, expected: &[&str]) -> Vec<String> {
    let bad = |line: &&str| {
        let level = ["ERROR", " error:", "panicked at"].iter().any(|word| line.contains(word));
        level && !expected.iter().any(|words| line.contains(words))
    };
    text.lines().filter(bad).map(str::to_owned).collect()
}
