//! What to send a peer: which records, in which order, as which command, and what its answer
//! means (sync.md 4.3, 5.4 to 5.8).
//!
//! Pure: `sync::sender` reads records, looks at files and speaks to the peer; here it is decided.
//! No clock but the time of day that is handed in, no file, no socket. Never decides by comparing
//! the clocks of two machines.

use std::collections::VecDeque;

use core::{cmp::Ordering, time::Duration};
use proto::{
    binlog::{Act, Record},
    fileid::FileName,
    status::{Status, StorageState},
};

use crate::binlog::Position;

/// What a peer's state asks of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It is not to be sent anything now.
    Wait,
    /// It waits for its initial copy, and we are the ones to bring it: say so, then send.
    Begin,
    Send,
    /// It is no member any more.
    End,
}

/// The stance towards a peer in `state`; `fills` if we bring its initial copy.
pub fn stance(state: StorageState, fills: bool) -> Stance {
    use StorageState as S;
    match state {
        S::Init | S::Offline | S::Online | S::Recovery => Stance::Wait,
        S::WaitSync if fills => Stance::Begin,
        S::Syncing if fills => Stance::Send,
        S::WaitSync | S::Syncing => Stance::Wait,
        S::Active => Stance::Send,
        S::Deleted | S::IpChanged | S::None => Stance::End,
    }
}

/// Our part in a peer's initial copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// We are the source of its initial copy.
    pub fills: bool,
    /// It has the initial copy.
    pub filled: bool,
}

/// Whether a record is to be sent at all (sync.md 5.5). A record of a change that a peer made
/// goes only to a new member that we fill; its content is brought by the record of the creation.
///
/// All that there are, whatever their time: what the new member made itself before it lost its
/// disk nobody else sends, and the clocks of members may be wrong. The others send it what they
/// made from the time on that the tracker named; to get a change from both does no harm.
pub fn is_wanted(record: &Record, role: &Role) -> bool {
    if !record.op.replica {
        return true;
    }
    let carried = matches!(record.op.act, Act::Append | Act::Modify | Act::Truncate);
    !carried && role.fills && !role.filled
}

/// Names that a record is about: two records with a common one must not overtake each other.
pub fn names(record: &Record) -> [Option<&str>; 2] {
    let other = match record.op.act {
        Act::Link | Act::Rename => record.extra.as_deref(),
        _ => None,
    };
    [Some(&record.name), other]
}

/// Records under way to one peer. It is fed in the order of the log and says up to where
/// everything was answered: only that may be saved.
#[derive(Debug)]
pub struct Window {
    most: usize,
    under_way: VecDeque<Flight>,
    next: u64,
}

/// A record under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Flight {
    ticket: u64,
    names: [Option<String>; 2],
    behind: Position,
    answered: bool,
}

impl Window {
    /// At most `most` records at one time.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), under_way: VecDeque::new(), next: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether this record may be sent now.
    pub fn has_room(&self, record: &Record) -> bool {
        let wanted = names(record);
        let clash = |flight: &Flight| {
            let theirs = flight.names.iter().flatten();
            theirs.clone().any(|theirs| wanted.iter().flatten().any(|ours| theirs == ours))
        };
        let open = self.under_way.iter().filter(|flight| !flight.answered);
        self.under_way.len() < self.most && !open.into_iter().any(clash)
    }

    /// The record is being sent; `behind` is the position after it.
    pub fn start(&mut self, record: &Record, behind: Position) -> Ticket {
        let ticket = self.next;
        self.next = self.next.wrapping_add(1);
        let names = names(record).map(|name| name.map(str::to_owned));
        self.under_way.push_back(Flight { ticket, names, behind, answered: false });
        Ticket(ticket)
    }

    /// A record that needs no sending: it is passed as soon as all before it are.
    pub fn skip(&mut self, behind: Position) {
        if let Some(last) = self.under_way.back_mut() {
            // Passing the one before it passes this, too.
            last.behind = behind;
        } else {
            let (ticket, names) = (self.next, [None, None]);
            self.next = self.next.wrapping_add(1);
            self.under_way.push_back(Flight { ticket, names, behind, answered: true });
        }
    }

    /// The peer has answered, and there is nothing more to do about the record.
    pub fn answered(&mut self, ticket: Ticket) {
        let flight = self.under_way.iter_mut().find(|flight| flight.ticket == ticket.0);
        if let Some(flight) = flight {
            flight.answered = true;
        }
    }

    /// The position behind which everything is answered, if it has moved.
    pub fn passed(&mut self) -> Option<Position> {
        let mut passed = None;
        while self.under_way.front().is_some_and(|flight| flight.answered) {
            passed = self.under_way.pop_front().map(|flight| flight.behind);
        }
        passed
    }
}

/// What lies here under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    Missing,
    /// A regular file, or a link to one.
    Plain {
        len: u64,
        is_link: bool,
    },
    /// A link, to this logic name, that leads nowhere.
    Dangling,
    /// A directory or the like.
    Other,
}

/// What to do about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing: what it tells is no longer so.
    Skip,
    /// The whole file: 16, or 18 in place of what the peer has.
    Whole {
        len: u64,
        over: bool,
    },
    /// A part: 25 or 35.
    Part {
        append: bool,
        offset: u64,
        len: u64,
    },
    Truncate {
        old: u64,
        new: u64,
    },
    Delete,
    /// The linked name, if the record says it.
    Link(Option<String>),
    /// The name before.
    Rename(String),
}

/// Why a record can never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison(pub &'static str);

/// The names that a record holds, checked. What does not parse can never be sent.
pub fn checked(record: &Record, paths: u16) -> Result<(FileName, Option<FileName>), Poison> {
    let name = FileName::parse(&record.name, paths).map_err(|_| Poison("the name is no name"))?;
    let other = match (record.op.act, &record.extra) {
        (Act::Link | Act::Rename, Some(other)) => {
            Some(FileName::parse(other, paths).map_err(|_| Poison("the second name is no name"))?)
        }
        (Act::Rename, None) => return Err(Poison("a renaming without the name before")),
        _ => None,
    };
    Ok((name, other))
}

/// What to send for `record`, given what lies here under its name (sync.md 5.6).
pub fn task(record: &Record, local: &Local) -> Result<Task, Poison> {
    let numbers = || {
        let text = record.extra.as_deref()?;
        let (a, b) = text.split_once(' ')?;
        Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?))
    };
    let numbers = || numbers().ok_or(Poison("the two numbers are missing"));
    let len = match local {
        Local::Plain { len, .. } => Some(*len),
        _ => None,
    };
    Ok(match (record.op.act, len) {
        (Act::Create, Some(len)) => Task::Whole { len, over: false },
        (Act::Update, Some(len)) => Task::Whole { len, over: true },
        (Act::Append | Act::Modify, len) => {
            let (offset, count) = numbers()?;
            // What is not there any more was cut off later; that has its own record.
            let left = len.map_or(0, |len| len.saturating_sub(offset).min(count));
            let append = record.op.act == Act::Append;
            match left {
                0 => Task::Skip,
                len => Task::Part { append, offset, len },
            }
        }
        (Act::Truncate, len) => {
            let (old, new) = numbers()?;
            if len.is_some() { Task::Truncate { old, new } } else { Task::Skip }
        }
        (Act::Delete, _) if *local == Local::Missing => Task::Delete,
        (Act::Link, _) => match local {
            Local::Plain { is_link: true, .. } | Local::Dangling => {
                Task::Link(record.extra.clone())
            }
            _ => Task::Skip,
        },
        // The name before is of no use to a member that never had it.
        (Act::Rename, Some(len)) if record.op.replica => Task::Whole { len, over: false },
        (Act::Rename, Some(_)) => Task::Rename(record.extra.clone().unwrap_or_default()),
        (Act::Create | Act::Update | Act::Delete | Act::Rename, _) => Task::Skip,
    })
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer has it.
    Done,
    /// The peer had it already: the next ones may be there, too.
    Already,
    /// It needs the whole file instead.
    SendWhole { over: bool },
    /// Its copy is not as long as ours was before it was cut: how long is it?
    AskLength,
    /// Its copy is to be cut from this length.
    CutFrom(u64),
    /// The peer cannot now: later again, from this record on.
    Later,
    /// It will never take this: put the record aside and go on.
    Aside,
}

/// How often a record is tried that the peer refuses for a reason of its own.
const TRIES_MAX: u32 = 10;
/// How often one is tried that the peer calls malformed: it may have been cut on the way.
const MALFORMED_TRIES_MAX: u32 = 2;

/// What `status` means as the answer to `task`, given for the `tries`th time.
pub fn verdict(task: &Task, status: Status, tries: u32) -> Verdict {
    match (task, status) {
        (_, Status::OK) => Verdict::Done,
        (Task::Whole { .. }, Status::EEXIST) => Verdict::Already,
        (Task::Delete | Task::Link(_), Status::ENOENT) => Verdict::Done,
        (Task::Part { .. } | Task::Rename(_), Status::EEXIST) => Verdict::Done,
        (Task::Truncate { .. }, Status::EEXIST) => Verdict::AskLength,
        (Task::Part { .. } | Task::Truncate { .. }, Status::ENOENT) => {
            Verdict::SendWhole { over: true }
        }
        (Task::Rename(_), Status::ENOENT) => Verdict::SendWhole { over: false },
        // Its disk is full, read-only or slow: that ends, and is the same for the next record.
        (_, Status::ENOSPC | Status::EROFS | Status::EAGAIN | Status::ENOMEM) => Verdict::Later,
        (_, Status::EINVAL | Status::ENAMETOOLONG) if tries < MALFORMED_TRIES_MAX => Verdict::Later,
        (_, Status::EINVAL | Status::ENAMETOOLONG | Status::EISDIR) => Verdict::Aside,
        _ if tries < TRIES_MAX => Verdict::Later,
        _ => Verdict::Aside,
    }
}

/// What to do about a copy of `found` bytes that is to be cut to `new`. What it has behind that
/// may be older than ours: what came there later has records of its own, and is sent again.
pub fn cut(new: u64, found: u64) -> Verdict {
    match found.cmp(&new) {
        Ordering::Less => Verdict::SendWhole { over: true },
        Ordering::Equal => Verdict::Done,
        Ordering::Greater => Verdict::CutFrom(found),
    }
}

/// The time of day in which records are sent (sync.md 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyWindow {
    /// Minutes of the day.
    pub from: u16,
    pub to: u16,
}

impl DailyWindow {
    /// The whole day.
    pub const ALWAYS: Self = Self { from: 0, to: 23 * 60 + 59 };

    /// Whether it is open at this minute of the day. One that ends before it begins crosses
    /// midnight. The last minute belongs to it.
    pub fn is_open(self, minute: u16) -> bool {
        if self.from <= self.to {
            self.from <= minute && minute <= self.to
        } else {
            self.from <= minute || minute <= self.to
        }
    }
}

/// The wait before the next attempt, after `failures` in a row: twice as long each time.
pub fn back_off(failures: u32, first: Duration, most: Duration) -> Duration {
    let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor.max(1)).min(most)
}

#[cfg(test)]
mod tests;
