//! Members that did not answer in time: clients are not kept waiting for them again and again.
//!
//! Pure: `service::elsewhere` asks and tells what came of it. One asker at a time finds out
//! whether such a member is there again, ever more rarely; who has no answer yet is not spared.

use core::{net::SocketAddr, time::Duration};
use std::collections::BTreeMap;

use net::ports::Moment;

/// First and longest time for which a member is not asked again.
const REST_FIRST: Duration = Duration::from_secs(1);
const REST_MOST: Duration = Duration::from_secs(16);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Away {
    members: BTreeMap<SocketAddr, Rest>,
}

/// A member that is left alone.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// When it may be asked again, and for how long it is left alone then.
    due: Moment,
    span: Duration,
    /// When its silence was counted last: whoever asked before that heard the same silence.
    counted: Moment,
}

impl Away {
    /// Whether to ask `member` at `now`. When the rest of one that was late is over, one asker
    /// is told to, and the others have to wait for another rest.
    pub(crate) fn may_ask(&mut self, member: SocketAddr, now: Moment) -> bool {
        let Some(rest) = self.members.get_mut(&member) else { return true };
        if now < rest.due {
            return false;
        }
        rest.due = now.after(rest.span);
        true
    }

    /// It did not answer in time what it was `asked` then. Of many who were waiting for it at
    /// once only the first makes its rest longer.
    pub(crate) fn late(&mut self, member: SocketAddr, asked: Moment, now: Moment) {
        let span = match self.members.get(&member) {
            // Not told by `due`: that was moved when the present asker was sent.
            Some(rest) if asked < rest.counted => return,
            Some(rest) => rest.span.saturating_mul(2).min(REST_MOST),
            None => REST_FIRST,
        };
        self.members.insert(member, Rest { due: now.after(span), span, counted: now });
    }

    /// It has answered.
    pub(crate) fn is_here(&mut self, member: SocketAddr) {
        self.members.remove(&member);
    }

    /// These are all members.
    pub(crate) fn keep(&mut self, is_member: impl Fn(&SocketAddr) -> bool) {
        self.members.retain(|member, _| is_member(member));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment(Duration::from_secs(secs))
    }

    #[test]
    fn a_late_member_is_asked_ever_more_rarely_and_by_one_at_a_time() {
        let (mut away, member) = (Away::default(), "10.0.0.1:23000".parse().unwrap());
        assert!(away.may_ask(member, at(0)) && away.may_ask(member, at(0)));
        let mut asked = Vec::new();
        away.late(member, at(0), at(0));
        for second in 0..60 {
            if away.may_ask(member, at(second)) {
                asked.push(second);
                assert!(!away.may_ask(member, at(second)), "one is enough");
                away.late(member, at(second), at(second));
            }
        }
        assert_eq!(asked, [1, 3, 7, 15, 31, 47]);
        away.is_here(member);
        assert!(away.may_ask(member, at(60)) && away.may_ask(member, at(60)));
        away.late(member, at(60), at(60));
        away.keep(|_| false);
        assert!(away.may_ask(member, at(60)));
    }

    #[test]
    fn one_silence_counts_once_however_many_heard_it() {
        let (mut away, member) = (Away::default(), "10.0.0.1:23000".parse().unwrap());
        for _ in 0..10 {
            away.late(member, at(0), at(3));
        }
        assert!(!away.may_ask(member, at(3)) && away.may_ask(member, at(4)), "one second");
        // The one that was sent now, and two who had begun to wait before.
        away.late(member, at(2), at(5));
        away.late(member, at(4), at(7));
        away.late(member, at(2), at(8));
        assert!(!away.may_ask(member, at(8)) && away.may_ask(member, at(9)), "two seconds");
    }
}
