//! The pause between batches of records to one peer (`sync_interval`, storage.md 8.1).
//!
//! Pure: `sync::pump` tells when records were begun and when all of them are answered, and asks
//! whether another one may begin. Without a pause there are no batches: records follow one
//! another as answers come in.

use core::time::Duration;

use net::ports::Moment;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    /// Records in one batch.
    most: usize,
    begun: usize,
    /// Nothing is begun before.
    until: Option<Moment>,
}

impl Pace {
    pub(super) fn new(pause: Duration, most: usize) -> Self {
        Self { pause, most: most.max(1), begun: 0, until: None }
    }

    /// Whether a record may begin at `now`.
    pub(super) fn may_begin(&self, now: Moment) -> bool {
        let rests = self.until.is_some_and(|until| now < until);
        self.pause.is_zero() || (self.begun < self.most && !rests)
    }

    /// A record was begun.
    pub(super) fn begin(&mut self) {
        self.begun = self.begun.saturating_add(1);
    }

    /// All that was begun is answered: the pause begins.
    pub(super) fn answered(&mut self, now: Moment) {
        if !self.pause.is_zero() && self.begun != 0 {
            self.begun = 0;
            self.until = Some(Moment(now.0.saturating_add(self.pause)));
        }
    }

    /// How much of the pause is left at `now`.
    pub(super) fn rest(&self, now: Moment) -> Option<Duration> {
        self.until.filter(|until| now < *until).map(|until| until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn a_pause_follows_each_batch_and_nothing_else() {
        let mut pace = Pace::new(Duration::from_millis(50), 2);
        assert!(pace.may_begin(at(0)) && pace.rest(at(0)).is_none());
        pace.answered(at(0));
        assert!(pace.may_begin(at(0)), "nothing was sent");
        pace.begin();
        assert!(pace.may_begin(at(0)));
        pace.begin();
        assert!(!pace.may_begin(at(1000)), "the batch is full, whatever the time");
        pace.answered(at(1000));
        assert!(!pace.may_begin(at(1049)));
        assert_eq!(pace.rest(at(1020)), Some(Duration::from_millis(30)));
        assert!(pace.may_begin(at(1050)) && pace.rest(at(1050)).is_none());
        pace.begin();
        pace.answered(at(1060));
        assert!(!pace.may_begin(at(1109)), "after a batch that was not full, too");
    }

    #[test]
    fn without_a_pause_there_are_no_batches() {
        let mut pace = Pace::new(Duration::ZERO, 1);
        for _ in 0..5 {
            pace.begin();
            assert!(pace.may_begin(at(0)));
        }
        pace.answered(at(0));
        assert!(pace.may_begin(at(0)) && pace.rest(at(0)).is_none());
    }
}
