//! What a test's clients were told: one JSON line per event, append-only.
//!
//! Written by clients before the first byte of a request is sent and after the answer, never by
//! the system under test. At the end `checker` compares it with what the members hold. Contents
//! are not stored: they are a function of a seed and a length.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::seed::Seed;

/// Bytes that are a function of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) len: usize,
}

impl Content {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        Seed(self.seed).rng().fill(&mut bytes);
        bytes
    }

    /// Where in a file of `len` bytes a change is made that is a function of the same seed.
    pub(crate) fn place_in(self, len: usize) -> usize {
        usize::try_from(self.seed % (len as u64 + 1)).expect("at most its length")
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a String takes any text");
    }
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Upload,
    Append,
    /// Overwrites from a place on that follows from the seed of the content.
    Modify,
    /// Cuts off at such a place.
    Truncate,
    SetMetadata,
    Delete,
    Read,
    Stat,
    List,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Append => "append",
            Self::Modify => "modify",
            Self::Truncate => "truncate",
            Self::SetMetadata => "set-metadata",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Stat => "stat",
            Self::List => "list",
        }
    }
}

/// `Call` before the first byte is sent, then exactly one of the others. `Unknown` is a time-out,
/// a reset, or the end of the stream before the full answer: a client never guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Call,
    Ok,
    Fail,
    Unknown,
}

/// What a client learned from an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) file_id: Option<String>,
    /// The status byte of a refusal.
    pub(crate) status: Option<u8>,
    pub(crate) length: Option<u64>,
    pub(crate) sha256: Option<String>,
    /// Of a listing: id, length, SHA-256.
    pub(crate) listed: Vec<(String, u64, String)>,
}

impl Outcome {
    pub(crate) fn id(file_id: &str) -> Self {
        Self { file_id: Some(file_id.to_owned()), ..Self::default() }
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        let length = Some(u64::try_from(bytes.len()).expect("it fits"));
        Self { length, sha256: Some(sha256(bytes)), ..Self::default() }
    }

    pub(crate) fn refused(status: u8) -> Self {
        Self { status: Some(status), ..Self::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) t: u64,
    pub(crate) client: u32,
    pub(crate) op: u64,
    pub(crate) phase: Phase,
    pub(crate) kind: Kind,
    /// The file id that the operation is about; empty for an upload or a listing.
    pub(crate) target: String,
    /// The member asked, or `tracker` when routed.
    pub(crate) via: String,
    pub(crate) content: Option<Content>,
    pub(crate) outcome: Outcome,
}

impl Event {
    fn line(&self) -> Value {
        let phase = format!("{:?}", self.phase).to_lowercase();
        let content =
            self.content.map(|c| json!({ "seed": format!("{:#x}", c.seed), "len": c.len }));
        let listed: Vec<&String> = self.outcome.listed.iter().map(|(id, ..)| id).collect();
        json!({
            "t": self.t, "client": self.client, "op": self.op, "phase": phase,
            "kind": self.kind.name(), "target": self.target, "via": self.via, "content": content,
            "result": {
                "file_id": self.outcome.file_id, "status": self.outcome.status,
                "length": self.outcome.length, "sha256": self.outcome.sha256, "listed": listed,
            },
        })
    }
}

/// A call whose end has not been written down yet.
#[derive(Debug)]
#[must_use = "every call has an end"]
pub(crate) struct Call(Event);

/// The record itself; shared by all clients of a run.
#[derive(Debug)]
pub(crate) struct History {
    inner: Mutex<(Vec<Event>, std::fs::File)>,
    /// Milliseconds, as the test counts time.
    clock: fn() -> u64,
}

impl History {
    /// A new record in `path`.
    pub(crate) fn create(path: &Path) -> Self {
        Self::create_at(path, now_ms)
    }

    /// The same where time is not that of the machine.
    pub(crate) fn create_at(path: &Path, clock: fn() -> u64) -> Self {
        let file = std::fs::File::create(path).expect("the history can be created");
        Self { inner: Mutex::new((Vec::new(), file)), clock }
    }

    /// Writes down that `client` is about to ask `via`.
    pub(crate) fn call(
        &self,
        client: u32,
        kind: Kind,
        target: &str,
        via: &str,
        content: Option<Content>,
    ) -> Call {
        let mut event = Event {
            t: (self.clock)(),
            client,
            op: 0,
            phase: Phase::Call,
            kind,
            target: target.to_owned(),
            via: via.to_owned(),
            content,
            outcome: Outcome::default(),
        };
        let mut inner = self.inner.lock().expect("no client panics while it writes");
        event.op = u64::try_from(inner.0.len()).expect("it fits");
        Self::push(&mut inner, event.clone());
        Call(event)
    }

    /// Writes down how the call ended.
    pub(crate) fn end(&self, call: Call, phase: Phase, outcome: Outcome) {
        let event = Event { t: (self.clock)(), phase, outcome, ..call.0 };
        let mut inner = self.inner.lock().expect("no client panics while it writes");
        Self::push(&mut inner, event);
    }

    fn push(inner: &mut (Vec<Event>, std::fs::File), event: Event) {
        let (events, file) = inner;
        writeln!(file, "{}", event.line()).expect("the history can be written");
        events.push(event);
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().expect("no client panics while it writes").0.len()
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.count(|event| event.phase == Phase::Call)
    }

    /// How many of them changed something and were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        let reads = [Kind::Read, Kind::Stat, Kind::List];
        self.count(|event| event.phase == Phase::Ok && !reads.contains(&event.kind))
    }

    /// Whether a client still waits for an answer.
    pub(crate) fn has_open_calls(&self) -> bool {
        self.calls() != self.count(|event| event.phase != Phase::Call)
    }

    fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        let inner = self.inner.lock().expect("no client panics while it writes");
        inner.0.iter().filter(|event| what(event)).count()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.inner.lock().expect("no client panics while it writes").0.clone()
    }
}

/// Milliseconds since the first call: the clock of the test's own records.
#[allow(clippy::disallowed_methods, reason = "the clock of the test, not of the code under test")]
pub(crate) fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
