//! The binlog as the rest of the daemon sees it: hand over a record, wait until it is safe.
//!
//! One thread owns the log; everybody else sends it records through a bounded queue. What
//! stands in the queue when a sync begins shares that sync, as `binlog::group` decides.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, thread};

use net::ports::Jobs;
use proto::binlog::Record;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Position,
    group::{Effect, Group, Input, Ticket},
    log::Log,
};
use crate::commit::Durability;

/// Operations that may wait for the log; more wait for a place in the queue.
const WAITING_MAX: usize = 4096;

/// Why a record is not in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// It was not written; later ones may succeed.
    #[error("append to the binlog")]
    Refused(#[source] Arc<io::Error>),
    /// A sync failed: no record can be made any more before a restart.
    #[error("the binlog is lost until a restart")]
    Lost,
    /// The name cannot be recorded in the reference's format.
    #[error("record in the binlog")]
    Record(#[from] proto::binlog::BadRecord),
}

struct Waiting {
    lines: String,
    done: oneshot::Sender<Result<Position, LogError>>,
}

/// What the owner of the log is asked for.
enum Order {
    Append(Waiting),
    /// To note below which number all files are compressed.
    Compressed(u32, oneshot::Sender<io::Result<()>>),
}

/// A handle to the log; clones share it. The log ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Order>,
    end: watch::Receiver<Position>,
    compressed: watch::Receiver<u32>,
    dir: Arc<Path>,
}

impl Writer {
    /// Starts the thread that owns `log`; a task, where work is done in place.
    pub fn start(log: Log, durability: Durability, jobs: Jobs) -> io::Result<(Self, Ending)> {
        let (queue, inbox) = mpsc::channel(WAITING_MAX);
        let (told, end) = watch::channel(log.position());
        let (noted, compressed) = watch::channel(log.compressed());
        let dir = Arc::from(log.dir());
        let owner = Owner::new(log, durability, told, noted);
        let ending = match jobs {
            Jobs::Threads => {
                let thread = thread::Builder::new().name("binlog".into());
                Ending::Thread(thread.spawn(move || owner.run(inbox))?)
            }
            Jobs::InPlace => Ending::Task(tokio::spawn(owner.run_in_place(inbox))),
        };
        Ok((Self { queue, end, compressed, dir }, ending))
    }

    /// The end of the log as far as readers may go: behind the last record that is as safe as
    /// the setting asks. Changes with every batch.
    pub fn end(&self) -> watch::Receiver<Position> {
        self.end.clone()
    }

    /// Returns when `records` are in the log, together, as safely as the setting asks; says a
    /// position behind them.
    ///
    /// Not cancel-safe in one respect: a dropped call may still record. That is harmless, since
    /// what it records has happened.
    pub async fn append(&self, records: &[Record]) -> Result<Position, LogError> {
        let mut lines = String::new();
        for record in records {
            lines.push_str(&record.line()?);
        }
        let (done, outcome) = oneshot::channel();
        let sent = self.queue.send(Order::Append(Waiting { lines, done })).await;
        sent.map_err(|_| LogError::Lost)?;
        outcome.await.unwrap_or(Err(LogError::Lost))
    }

    /// Where the files of the log are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All files below this number are compressed, or are not there.
    pub fn compressed(&self) -> u32 {
        *self.compressed.borrow()
    }

    /// Notes that all files below this number are compressed now.
    pub async fn set_compressed(&self, below: u32) -> io::Result<()> {
        const ENDED: &str = "nobody writes the binlog any more";
        let (done, outcome) = oneshot::channel();
        let sent = self.queue.send(Order::Compressed(below, done)).await;
        sent.map_err(|_| io::Error::other(ENDED))?;
        outcome.await.unwrap_or_else(|_| Err(io::Error::other(ENDED)))
    }
}

/// The end of what owns the log.
#[derive(Debug)]
pub enum Ending {
    Thread(thread::JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl Ending {
    /// Waits for it: everything that was handed over is then in the log.
    pub async fn wait(self) -> io::Result<()> {
        const PANICKED: &str = "the thread that writes the binlog panicked";
        match self {
            Ending::Task(task) => task.await.map_err(io::Error::other),
            Ending::Thread(thread) => {
                let ended = tokio::task::spawn_blocking(move || thread.join());
                ended.await?.map_err(|_| io::Error::other(PANICKED))
            }
        }
    }
}

/// What the thread owns.
struct Owner {
    log: Log,
    group: Group,
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<Position, LogError>>>,
    end: watch::Sender<Position>,
    compressed: watch::Sender<u32>,
    next: u64,
    /// Why the last append failed.
    error: Option<Arc<io::Error>>,
}

impl Owner {
    fn new(
        log: Log,
        durability: Durability,
        end: watch::Sender<Position>,
        compressed: watch::Sender<u32>,
    ) -> Self {
        let group = Group::new(durability);
        Self { log, group, waiting: BTreeMap::new(), end, compressed, next: 0, error: None }
    }

    fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        net::faults::enter("operation");
        while let Some(first) = inbox.blocking_recv() {
            self.round(first, &mut inbox);
        }
    }

    async fn run_in_place(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(first) = inbox.recv().await {
            self.round(first, &mut inbox);
        }
    }

    /// One that waits, and all who have come meanwhile.
    fn round(&mut self, first: Order, inbox: &mut mpsc::Receiver<Order>) {
        self.take(first);
        while let Ok(more) = inbox.try_recv() {
            self.take(more);
        }
        loop {
            let effects = self.group.start();
            if effects.is_empty() {
                break;
            }
            self.perform(effects);
        }
    }

    fn take(&mut self, order: Order) {
        let waiting = match order {
            Order::Append(waiting) => waiting,
            Order::Compressed(below, done) => {
                let noted = self.log.set_compressed(below);
                self.compressed.send_replace(below);
                // Whoever asked may be gone; what was noted stays true.
                let _ = done.send(noted);
                return;
            }
        };
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, waiting.done);
        let effects = self.group.step(Input::Arrived(ticket, waiting.lines));
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut todo = std::collections::VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            let input = match effect {
                Effect::Append(lines) => match self.log.append(&lines) {
                    Ok(()) => Some(Input::Appended),
                    Err(error) => {
                        log::error!("append to the binlog: {error}");
                        self.error = Some(Arc::new(error));
                        Some(Input::AppendFailed)
                    }
                },
                Effect::CutBack => Some(self.or_broken(Log::cut_back, Input::CutBack)),
                Effect::Sync if net::plant!("answer before log sync") => Some(Input::Synced),
                Effect::Sync => Some(self.or_broken(Log::sync, Input::Synced)),
                Effect::Release(tickets) => {
                    let end = self.log.position();
                    // Before the answers: whoever waits for a second copy finds it under way.
                    self.end.send_replace(end);
                    self.answer(tickets, || Ok(end))
                }
                Effect::Refuse(tickets) => {
                    let error = self.error.take();
                    let error = error.unwrap_or_else(|| Arc::new(io::ErrorKind::Other.into()));
                    self.answer(tickets, || Err(LogError::Refused(Arc::clone(&error))))
                }
                Effect::Abandon(tickets) => self.answer(tickets, || Err(LogError::Lost)),
            };
            if let Some(input) = input {
                todo.extend(self.group.step(input));
            }
        }
    }

    fn or_broken(&mut self, call: fn(&mut Log) -> io::Result<()>, done: Input) -> Input {
        match call(&mut self.log) {
            Ok(()) => done,
            Err(error) => {
                log::error!("sync the binlog, no changes are taken until a restart: {error}");
                Input::Broken
            }
        }
    }

    fn answer(
        &mut self,
        tickets: Vec<Ticket>,
        outcome: impl Fn() -> Result<Position, LogError>,
    ) -> Option<Input> {
        for ticket in tickets {
            if let Some(done) = self.waiting.remove(&ticket) {
                // The operation may have been given up meanwhile; its record stands.
                let _ = done.send(outcome());
            }
        }
        None
    }
}
