//! Which waiting operations one sync of the binlog covers.
//!
//! Pure: `binlog::writer` feeds what arrives and what the disk answered, and performs the
//! effects in their order. Decides never about content. A released ticket is a promise: its
//! record was appended and, with full durability, synced after that.

use std::collections::VecDeque;

use crate::commit::Durability;

/// Records written together at most: bounds the memory of a batch and the time until its sync.
pub const BATCH_MAX: usize = 1024;

/// One waiting operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// An operation handed over the line it wants recorded.
    Arrived(Ticket, String),
    /// The last [`Effect::Append`] is complete.
    Appended,
    /// The last [`Effect::Append`] failed; what it left in the file is unknown.
    AppendFailed,
    /// [`Effect::CutBack`] is complete: the file ends where it did before the append.
    CutBack,
    /// The last [`Effect::Sync`] is complete.
    Synced,
    /// A sync or the cut back failed: the file is not to be touched again.
    Broken,
}

/// What the writer must do now, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append these lines at the end of the log.
    Append(String),
    Sync,
    /// Remove what a failed append may have left.
    CutBack,
    /// These operations may be answered.
    Release(Vec<Ticket>),
    /// These operations are not recorded; the log stays usable.
    Refuse(Vec<Ticket>),
    /// These operations may or may not be recorded; the log is not usable any more.
    Abandon(Vec<Ticket>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Appending,
    CuttingBack,
    Syncing,
    Broken,
}

/// The queue of operations before the log.
#[derive(Debug)]
pub struct Group {
    durability: Durability,
    state: State,
    waiting: VecDeque<(Ticket, String)>,
    /// The operations of the batch under way.
    batch: Vec<Ticket>,
}

impl Group {
    pub fn new(durability: Durability) -> Self {
        Self { durability, state: State::Idle, waiting: VecDeque::new(), batch: Vec::new() }
    }

    /// Applies one input. An input that does not fit the state changes nothing but is a fault
    /// of the writer, so it stops the process.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        match (self.state, input) {
            (State::Broken, Input::Arrived(ticket, _)) => vec![Effect::Abandon(vec![ticket])],
            // A batch under way is complete as it is: its sync may have begun.
            (_, Input::Arrived(ticket, line)) => {
                self.waiting.push_back((ticket, line));
                Vec::new()
            }
            (State::Appending, Input::Appended) if self.durability == Durability::Full => {
                self.state = State::Syncing;
                vec![Effect::Sync]
            }
            (State::Appending, Input::Appended) | (State::Syncing, Input::Synced) => {
                self.state = State::Idle;
                vec![Effect::Release(std::mem::take(&mut self.batch))]
            }
            (State::Appending, Input::AppendFailed) => {
                self.state = State::CuttingBack;
                vec![Effect::CutBack]
            }
            (State::CuttingBack, Input::CutBack) => {
                self.state = State::Idle;
                vec![Effect::Refuse(std::mem::take(&mut self.batch))]
            }
            (State::CuttingBack | State::Syncing, Input::Broken) => self.broken(),
            (state, input) => panic!("{input:?} does not happen while {state:?}"),
        }
    }

    /// Begins the next batch, if none is under way and something waits.
    pub fn start(&mut self) -> Vec<Effect> {
        if self.state != State::Idle || self.waiting.is_empty() {
            return Vec::new();
        }
        let count = self.waiting.len().min(BATCH_MAX);
        let mut lines = String::new();
        for (ticket, line) in self.waiting.drain(..count) {
            self.batch.push(ticket);
            lines.push_str(&line);
        }
        self.state = State::Appending;
        vec![Effect::Append(lines)]
    }

    fn broken(&mut self) -> Vec<Effect> {
        self.state = State::Broken;
        let mut all = std::mem::take(&mut self.batch);
        all.extend(self.waiting.drain(..).map(|(ticket, _)| ticket));
        vec![Effect::Abandon(all)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(group: &mut Group, number: u64) {
        assert_eq!(group.step(Input::Arrived(Ticket(number), format!("{number}\n"))), []);
    }

    #[test]
    fn one_sync_covers_all_that_waited_before_it_and_none_after() {
        let mut group = Group::new(Durability::Full);
        assert_eq!(group.start(), []);
        arrive(&mut group, 1);
        arrive(&mut group, 2);
        assert_eq!(group.start(), [Effect::Append("1\n2\n".into())]);
        arrive(&mut group, 3); // while the append is under way
        assert_eq!(group.step(Input::Appended), [Effect::Sync]);
        arrive(&mut group, 4); // while the sync is under way
        assert_eq!(group.start(), []);
        assert_eq!(group.step(Input::Synced), [Effect::Release(vec![Ticket(1), Ticket(2)])]);
        assert_eq!(group.start(), [Effect::Append("3\n4\n".into())]);
        assert_eq!(group.step(Input::Appended), [Effect::Sync]);
        assert_eq!(group.step(Input::Synced), [Effect::Release(vec![Ticket(3), Ticket(4)])]);
        assert_eq!(group.start(), []);
    }

    #[test]
    fn without_full_durability_the_append_is_enough() {
        let mut group = Group::new(Durability::Os);
        arrive(&mut group, 1);
        group.start();
        assert_eq!(group.step(Input::Appended), [Effect::Release(vec![Ticket(1)])]);
    }

    #[test]
    fn a_failed_append_refuses_its_batch_and_goes_on() {
        let mut group = Group::new(Durability::Full);
        arrive(&mut group, 1);
        group.start();
        arrive(&mut group, 2);
        assert_eq!(group.step(Input::AppendFailed), [Effect::CutBack]);
        assert_eq!(group.step(Input::CutBack), [Effect::Refuse(vec![Ticket(1)])]);
        assert_eq!(group.start(), [Effect::Append("2\n".into())]);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_ever_released() {
        let mut group = Group::new(Durability::Full);
        arrive(&mut group, 1);
        group.start();
        group.step(Input::Appended);
        arrive(&mut group, 2);
        assert_eq!(group.step(Input::Broken), [Effect::Abandon(vec![Ticket(1), Ticket(2)])]);
        let late = group.step(Input::Arrived(Ticket(3), String::new()));
        assert_eq!(late, [Effect::Abandon(vec![Ticket(3)])]);
        assert_eq!(group.start(), []);
    }

    #[test]
    fn a_batch_has_a_limit() {
        let mut group = Group::new(Durability::Full);
        for number in 0..=BATCH_MAX as u64 {
            arrive(&mut group, number);
        }
        let [Effect::Append(lines)] = &group.start()[..] else { panic!("a batch begins") };
        assert_eq!(lines.lines().count(), BATCH_MAX);
        group.step(Input::Appended);
        group.step(Input::Synced);
        let last = format!("{BATCH_MAX}\n");
        assert_eq!(group.start(), [Effect::Append(last)]);
    }
}
