//! `copies = 2`: whether an answer waits for a second member, for how long, and what becomes of
//! it when none has the change by then.
//!
//! Pure: `service::copies` waits and `sync` tells how far the members are; here is what the two
//! settings mean. Asks for no time and knows nothing of connections.
//!
//! ```text
//!            no member in time                    one has caught up
//! together ---------------------> alone ------------------------------> together
//! answers wait                    degrade: answered at once, counted
//!                                 refuse:  refused before anything is stored
//! ```

use core::time::Duration;

use crate::binlog::Position;

/// What is done when no second member has a change in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// It is answered all the same, with an alarm.
    Degrade,
    /// It is refused.
    Refuse,
}

/// How long an answer waits at least.
pub const WAIT_MAX: Duration = Duration::from_secs(2);
/// And a second more for so many bytes: slower than this no network of ours may be.
const BYTES_PER_SEC_MIN: u64 = 16 << 20;
/// A member that set a record aside so shortly before a change may have meant that very change.
const ASIDE_BYTES: u64 = 4096;

/// How long to wait until a second member has a change that was sent with `bytes` bytes.
pub fn wait_of(bytes: u64) -> Duration {
    WAIT_MAX.saturating_add(Duration::from_secs(bytes / BYTES_PER_SEC_MIN))
}

/// Whether a member that has answered everything up to `passed`, and set the record before
/// `aside` aside, has what ends at `at` in the log.
pub fn has(passed: Position, aside: Option<Position>, at: Position) -> bool {
    let doubt = aside.is_some_and(|aside| {
        aside.file == at.file && at.offset.saturating_sub(aside.offset) < ASIDE_BYTES
    });
    at <= passed && !doubt
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Wait for a second member.
    Wait,
    /// Do not wait: nobody has caught up yet.
    Now,
    Refuse,
}

/// Whether the members keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Company {
    /// The change for which no second member was in time.
    alone_since: Option<Position>,
}

impl Company {
    /// A change is about to be answered, or, with [`Alone::Refuse`], to be made; `caught_up` says
    /// whether some member has what ends at a position. True besides if company is back.
    pub fn next(&mut self, alone: Alone, caught_up: impl Fn(Position) -> bool) -> (Answer, bool) {
        match self.alone_since {
            None => (Answer::Wait, false),
            Some(since) if caught_up(since) => {
                self.alone_since = None;
                (Answer::Wait, true)
            }
            Some(_) if alone == Alone::Degrade => (Answer::Now, false),
            Some(_) => (Answer::Refuse, false),
        }
    }

    /// No member had in time what ends at `at`; true if that is new.
    pub fn left(&mut self, at: Position) -> bool {
        let new = self.alone_since.is_none();
        self.alone_since = Some(self.alone_since.map_or(at, |since| since.max(at)));
        new
    }

    pub fn is_alone(&self) -> bool {
        self.alone_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { file: 0, offset }
    }

    #[test]
    fn alone_lasts_until_a_member_has_what_it_missed() {
        for (alone, meanwhile) in [(Alone::Degrade, Answer::Now), (Alone::Refuse, Answer::Refuse)] {
            let mut company = Company::default();
            assert_eq!(company.next(alone, |_| false), (Answer::Wait, false));
            assert!(company.left(at(50)));
            assert!(!company.left(at(40)), "known already");
            assert_eq!(company.next(alone, |want| want < at(50)), (meanwhile, false));
            assert!(company.is_alone());
            assert_eq!(company.next(alone, |want| want <= at(50)), (Answer::Wait, true));
            assert!(!company.is_alone());
            assert_eq!(company.next(alone, |_| false), (Answer::Wait, false));
        }
    }

    #[test]
    fn a_record_that_was_set_aside_is_no_copy() {
        assert!(has(at(100), None, at(100)) && !has(at(99), None, at(100)));
        assert!(!has(at(100), Some(at(100)), at(100)));
        assert!(!has(at(9000), Some(at(5000)), at(8000)));
        assert!(has(at(9000), Some(at(4000)), at(9000)));
        let later = Position { file: 1, offset: 10 };
        assert!(has(later, Some(at(5)), later));
    }

    #[test]
    fn large_changes_have_their_time() {
        assert_eq!(wait_of(0), WAIT_MAX);
        assert_eq!(wait_of(160 << 20), WAIT_MAX + Duration::from_secs(10));
        assert!(WAIT_MAX < wait_of(u64::MAX));
    }
}
