//! The scrubber: reads everything that is stored, slowly, again and again, and repairs from
//! another member what is not what was stored.
//!
//! `plan` decides, `worker` reads one store path, `repair` mends what `worker` and all readers
//! find damaged. Started once by `program`, beside the connections. Never answers a request,
//! never deletes a damaged file before a good one is in its place.

pub mod plan; // start here: what next, how fast, when again; pure

mod repair; // a good copy from another member

mod worker; // one pass after the other over one store path

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use net::shutdown::Stop;
use proto::ids::StorePath;
use tokio::task::JoinSet;

use crate::store::Store;

/// The keys `scrub…` of storage.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) enabled: bool,
    /// For each store path; at least 1.
    pub(crate) bytes_per_sec: u64,
    /// From the begin of one pass to that of the next.
    pub(crate) every: Duration,
    /// From the start of the daemon to that of reading.
    pub(crate) start_after: Duration,
}

/// What the scrubber has done, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    files: AtomicU64,
    bytes: AtomicU64,
    /// Directories that could not be read.
    pub(crate) unreadable: AtomicU64,
    /// When the last whole pass over each store path ended, in Unix seconds.
    ended: Mutex<BTreeMap<StorePath, u64>>,
}

impl Numbers {
    fn looked_at(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Files and bytes since the start.
    pub(crate) fn done(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// When the last whole pass over each store path ended.
    pub(crate) fn ended(&self) -> BTreeMap<StorePath, u64> {
        self.lock().clone()
    }

    fn has_ended(&self, path: StorePath, at: u64) {
        self.lock().insert(path, at);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StorePath, u64>> {
        self.ended.lock().expect("no code panics while holding this lock")
    }
}

/// Starts a reader for each store path, and the one task that repairs; what readers of clients
/// find damaged is repaired also when nothing else is read.
pub(crate) fn start(
    store: &Arc<Store>,
    settings: Settings,
    state: PathBuf,
    tasks: &mut JoinSet<()>,
    stop: &Stop,
) {
    tasks.spawn(repair::keep(Arc::clone(store), stop.clone()));
    if !settings.enabled {
        log::warn!("scrub = off: damage is found when somebody reads it, not before");
        return;
    }
    for path in (0..=u8::MAX).map(StorePath).take(store.places.iter().count()) {
        let file = state.join(format!("scrub.{path}"));
        let worker = worker::Worker::new(Arc::clone(store), path, settings, file);
        tasks.spawn(worker.run(stop.clone()));
    }
}
