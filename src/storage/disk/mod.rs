//! The only code that touches stored files; see `port` for what may be done to them.
//!
//! Everything that may block runs behind [`Gate`]. Nothing here knows commands, trackers or
//! the binlog.

pub mod port; // start here: the disk as a set of effects

pub mod layout; // store paths, sub-directories, names, free space

pub mod write; // temporary file -> durable file

pub mod read; // ranges of stored files

pub mod edit; // changes of existing files, wholly or not at all

pub mod real; // each effect is one system call

#[cfg(any(test, feature = "faults"))]
pub mod simulated; // loses power, fails on purpose

use std::sync::Arc;

use net::ports::Jobs;
use tokio::sync::Semaphore;

/// Keeps blocking work off the runtime's threads, and bounds how much of it there is: as many
/// jobs as the disks can use, not as many as there are clients.
#[derive(Clone, Debug)]
pub struct Gate {
    slots: Arc<Semaphore>,
    jobs: Jobs,
}

impl Gate {
    /// `places` calls may block at the same time.
    pub fn new(places: usize, jobs: Jobs) -> Self {
        Self { slots: Arc::new(Semaphore::new(places)), jobs }
    }

    /// Another gate for the same kind of jobs.
    #[must_use]
    pub fn of_its_kind(&self, places: usize) -> Self {
        Self::new(places, self.jobs)
    }

    /// Runs `job` where it may block and returns what it returns.
    ///
    /// Once begun the job runs to its end even if the caller is dropped; what it returns is then
    /// dropped too, so a job that leaves something behind returns its guard.
    pub async fn run<T, F>(&self, job: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let slots = Arc::clone(&self.slots);
        let slot = slots.acquire_owned().await.expect("the semaphore is never closed");
        let job = net::faults::carried(job);
        let job = move || {
            let _slot = slot;
            job()
        };
        self.jobs.run(job).await
    }
}
