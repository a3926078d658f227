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
    /// When each may be asked again, and for how long it is left alone then.
    members: BTreeMap<SocketAddr, (Moment, Duration)>,
}

impl Away {
    /// Whether to ask `member` at `now`. When the rest of one that was late is over, one asker
    /// is told to, and the others have to wait for another rest.
    pub(crate) fn may_ask(&mut self, member: SocketAddr, now: Moment) -> bool {
        let Some((due, rest)) = self.members.get_mut(&member) else { return true };
        if now < *due {
            return false;
        }
        *due = now.after(*rest);
        true
    }

    /// It did not answer in time.
    pub(crate) fn late(&mut self, member: SocketAddr, now: Moment) {
        let known = self.members.get(&member).map(|(_, rest)| *rest);
        let rest = known.map_or(REST_FIRST, |rest| rest.saturating_mul(2).min(REST_MOST));
        self.members.insert(member, (now.after(rest), rest));
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
        away.late(member, at(0));
        for second in 0..60 {
            if away.may_ask(member, at(second)) {
                asked.push(second);
                assert!(!away.may_ask(member, at(second)), "one is enough");
                away.late(member, at(second));
            }
        }
        assert_eq!(asked, [1, 3, 7, 15, 31, 47]);
        away.is_here(member);
        assert!(away.may_ask(member, at(60)) && away.may_ask(member, at(60)));
        away.late(member, at(60));
        away.keep(|_| false);
        assert!(away.may_ask(member, at(60)));
    }
}
