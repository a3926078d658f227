//! All that happens in a run, line by line, with the virtual time and the node: what the daemons
//! say, what goes over the network, which faults are thrown. Two runs of a seed have the same.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};
use tokio::runtime::{Handle, Id};

use crate::world::elapsed_millis;

/// FNV-1a, from its beginning.
pub(crate) const BEGIN: u64 = 0xcbf2_9ce4_8422_2325;

struct Trace {
    hash: u64,
    file: Option<BufWriter<File>>,
    /// Directories are of this run only.
    dir: String,
    nodes: BTreeMap<String, String>,
    /// Lines of level error, for which someone must look.
    errors: Vec<String>,
}

static TRACE: Mutex<Option<Trace>> = Mutex::new(None);

struct Logs;

impl Log for Logs {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        event(format_args!("{line}"));
        if record.level() == Level::Error
            && let Some(trace) = &mut *TRACE.lock().expect("nobody panics in it")
        {
            let at = elapsed_millis();
            trace.errors.push(format!("{at} {}", line.replace(&trace.dir, "DIR")));
        }
    }

    fn flush(&self) {}
}

/// Begins the trace of a run in `dir`; it is written to `file` if there is one.
pub(crate) fn begin(dir: &Path, file: Option<&Path>) {
    let open = |path| BufWriter::new(File::create(path).expect("the trace can be written"));
    let trace = Trace {
        hash: BEGIN,
        file: file.map(open),
        dir: dir.display().to_string(),
        nodes: BTreeMap::new(),
        errors: Vec::new(),
    };
    *TRACE.lock().expect("nobody panics in it") = Some(trace);
    log::set_logger(&Logs).expect("nobody else has set one");
    log::set_max_level(LevelFilter::Debug);
}

/// From now on lines from the runtime that this is called in are those of `name`.
pub(crate) fn name_node(name: &str) {
    if let Some(trace) = &mut *TRACE.lock().expect("nobody panics in it") {
        trace.nodes.insert(id_text(Handle::current().id()), name.to_owned());
    }
}

fn id_text(id: Id) -> String {
    id.to_string()
}

/// One line.
pub(crate) fn event(what: fmt::Arguments<'_>) {
    let at = elapsed_millis();
    let mut trace = TRACE.lock().expect("nobody panics in it");
    let Some(trace) = &mut *trace else { return };
    let runtime = Handle::try_current().map(|handle| id_text(handle.id()));
    let node = runtime.ok().and_then(|id| trace.nodes.get(&id)).map_or("world", String::as_str);
    let line = format!("{at:>7} {node:<9} {what}\n").replace(&trace.dir, "DIR");
    trace.hash = fnv(trace.hash, line.as_bytes());
    if let Some(file) = &mut trace.file {
        file.write_all(line.as_bytes()).expect("the trace can be written");
    }
}

/// Ends the trace: what tells it from others, and the lines of level error.
pub(crate) fn end() -> (u64, Vec<String>) {
    let ended = TRACE.lock().expect("nobody panics in it").take();
    let Some(mut trace) = ended else { return (BEGIN, Vec::new()) };
    if let Some(file) = &mut trace.file {
        file.flush().expect("the trace can be written");
    }
    (trace.hash, trace.errors)
}

pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
