//! A tracker without data takes over what another one knows, before the first storage joins
//! (tracker.md 11).
//!
//! Decides whether that is due, whom to ask and whose files to take; `peers` fetches them. Once
//! a join was let through, it is never due again.

use core::net::IpAddr;

use proto::tracker::UnixTime;
use proto::tracker::join::{Join, TrackerHost};
use proto::tracker::leader::TrackerStatus;

use super::leader::Rank;
use super::{Cluster, Effect, Peer, RestoreError, Saved, Session, StateFile};

/// A tracker that was down for longer than this may have missed too much.
const DOWN_SECS_MAX: i64 = 600;
/// How long joins are turned away because no other tracker answers. The reference does so for
/// ever, so the storages of a cluster whose other trackers are lost could never join a new one;
/// but they report all that counts for uploads and downloads themselves.
const PATIENCE_SECS: i64 = 30;

/// How another tracker answered 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Status(TrackerStatus),
    /// It knows no group either.
    Empty,
    /// It could not be asked, or failed.
    Failed,
}

/// What comes of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody knows more than we do.
    Nobody,
    /// The files of this one are to be fetched.
    From(Peer),
    /// The storage is to join again later.
    Later,
}

/// How far the question has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TakeOver {
    settled: bool,
    /// When it was first asked.
    since: Option<UnixTime>,
}

impl TakeOver {
    /// What is a reading of our clock.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut UnixTime> {
        self.since.iter_mut()
    }
}

impl Cluster {
    /// Whom to ask before this join may be let through; `None`: nobody.
    pub fn take_over_due(
        &mut self,
        now: UnixTime,
        session: &Session,
        join: &Join,
    ) -> Option<Vec<Peer>> {
        if self.take_over.settled {
            return None;
        }
        if !self.groups.is_empty() && !self.was_down_long() {
            self.take_over.settled = true;
            return None;
        }
        self.take_over.since.get_or_insert(now);
        if join.trackers.len() == 1 {
            // Whoever wrote the list has reached us, so the only tracker in it is this one.
            self.take_over.settled = true;
            return None;
        }
        let own = [Some(session.local), join.tracker];
        let is_own = |host: &TrackerHost| {
            let here = |ip: &Option<IpAddr>| ip.is_some_and(|ip| host.addresses.contains(ip));
            host.port == self.policy.port && own.iter().any(here)
        };
        let peers = join.trackers.iter().enumerate().filter(|(_, host)| !is_own(host));
        Some(peers.map(|(place, host)| Peer { place, host: *host }).collect())
    }

    fn was_down_long(&self) -> bool {
        self.last_check.is_some_and(|last| DOWN_SECS_MAX < self.started.since(last))
    }

    /// Whose files are to be taken, by what the others answered.
    pub fn take_over_from(
        &mut self,
        now: UnixTime,
        answers: &[(Peer, Answered)],
        effects: &mut Vec<Effect>,
    ) -> Source {
        let ranked = answers.iter().filter_map(|(peer, answer)| match answer {
            Answered::Status(status) => Some((Rank::of(status, &peer.host).without_name(), *peer)),
            Answered::Empty | Answered::Failed => None,
        });
        let best = ranked.max_by_key(|(rank, _)| *rank);
        let source = match best {
            Some((rank, peer)) if self.groups.is_empty() || self.own_rank(now) < rank => {
                return Source::From(peer);
            }
            Some(_) => Source::Nobody,
            None if answers.iter().all(|(_, answer)| *answer == Answered::Empty) => Source::Nobody,
            None => {
                let since = self.take_over.since.unwrap_or(now);
                if now.since(since) < PATIENCE_SECS {
                    return Source::Later;
                }
                effects.push(Effect::Warn(format!(
                    "no other tracker has answered for {PATIENCE_SECS} s: beginning without what \
                     they know; storages that were deleted or renamed may show up again"
                )));
                Source::Nobody
            }
        };
        self.take_over.settled = true;
        source
    }

    /// Replaces all that is known of groups by the files of another tracker.
    pub fn take_over(&mut self, saved: &Saved) -> Result<Vec<Effect>, RestoreError> {
        let mut fresh = Self::restore(self.policy.clone(), self.started, saved)?;
        core::mem::swap(&mut fresh.trackers, &mut self.trackers);
        core::mem::swap(&mut fresh.election, &mut self.election);
        fresh.last_check = self.last_check;
        fresh.clocks = self.clocks;
        fresh.take_over.settled = true;
        *self = fresh;
        let files =
            [StateFile::Groups, StateFile::Storages, StateFile::SyncTimes, StateFile::ChangeLog];
        let mut effects = Vec::from(files.map(Effect::Save));
        effects.push(Effect::Info(format!(
            "took over {} groups that another tracker knows",
            self.groups.len()
        )));
        Ok(effects)
    }
}
