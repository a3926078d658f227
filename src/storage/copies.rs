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

use net::ports::Moment;

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
        // One set aside behind the change was another.
        let gap = at.offset.checked_sub(aside.offset);
        aside.file == at.file && gap.is_some_and(|gap| gap < ASIDE_BYTES)
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
    alone: Option<Left>,
}

/// What no second member had in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    /// The last change that was answered, or refused, without a second copy.
    last: Position,
    /// A place that a member has to pass, and since when.
    asked: (Position, Moment),
}

impl Company {
    /// A change is about to be answered, or, with [`Alone::Refuse`], to be made, at `now` with
    /// the log as far as `end`; `passed` says whether some member has answered everything up to
    /// a position. True besides if company is back.
    ///
    /// It is when a member has all that was left behind. Where changes go on meanwhile there may
    /// always be some: then it is when a member needs no longer than [`WAIT_MAX`] to pass a place.
    pub fn next(
        &mut self,
        alone: Alone,
        (now, end): (Moment, Position),
        passed: impl Fn(Position) -> bool,
    ) -> (Answer, bool) {
        let Some(left) = &mut self.alone else { return (Answer::Wait, false) };
        let (place, since) = left.asked;
        let in_time = now.since(since) <= WAIT_MAX;
        if passed(left.last) || (passed(place) && in_time) {
            self.alone = None;
            return (Answer::Wait, true);
        }
        if passed(place) {
            // Late: perhaps it was away. How long does it need for what is there now?
            left.asked = (end, now);
        }
        (if alone == Alone::Degrade { Answer::Now } else { Answer::Refuse }, false)
    }

    /// No member had in time what ends at `at`; true if that is new.
    pub fn left(&mut self, at: Position, now: Moment) -> bool {
        match &mut self.alone {
            None => {
                self.alone = Some(Left { last: at, asked: (at, now) });
                true
            }
            Some(left) => {
                left.last = left.last.max(at);
                false
            }
        }
    }

    pub fn is_alone(&self) -> bool {
        self.alone.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { file: 0, offset }
    }

    fn secs(secs: u64) -> Moment {
        Moment(Duration::from_secs(secs))
    }

    #[test]
    fn alone_lasts_until_a_member_has_what_it_missed() {
        for (alone, meanwhile) in [(Alone::Degrade, Answer::Now), (Alone::Refuse, Answer::Refuse)] {
            let mut company = Company::default();
            let next = |company: &mut Company, upto: u64| {
                company.next(alone, (secs(100), at(60)), |want| want <= at(upto))
            };
            assert_eq!(next(&mut company, 0), (Answer::Wait, false));
            assert!(company.left(at(50), secs(0)));
            assert!(!company.left(at(40), secs(1)), "known already");
            assert_eq!(next(&mut company, 49), (meanwhile, false));
            assert!(company.is_alone());
            assert_eq!(next(&mut company, 50), (Answer::Wait, true));
            assert!(!company.is_alone());
            assert_eq!(next(&mut company, 0), (Answer::Wait, false));
        }
    }

    #[test]
    fn a_busy_store_has_company_again_when_a_member_is_fast_enough() {
        for (delay, back) in [(1, true), (2, true), (3, false), (60, false)] {
            let mut company = Company::default();
            company.left(at(0), secs(0));
            // A change each second, which a member has after `delay` seconds, once it is there.
            let mut all = (1..1000u64).map(|second| {
                let (now, end) = (secs(second), at(second * 10));
                let upto = if second < 300 { 0 } else { (second - delay) * 10 };
                let passed = |want: Position| 300 <= second && want <= at(upto);
                let answer = company.next(Alone::Degrade, (now, end), passed);
                company.left(end, now);
                answer.1
            });
            assert_eq!(all.any(|back| back), back, "{delay}");
        }
    }

    #[test]
    fn a_record_that_was_set_aside_is_no_copy() {
        assert!(has(at(100), None, at(100)) && !has(at(99), None, at(100)));
        assert!(!has(at(100), Some(at(100)), at(100)));
        assert!(!has(at(9000), Some(at(5000)), at(8000)));
        assert!(has(at(9000), Some(at(8001)), at(8000)), "a later one");
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
