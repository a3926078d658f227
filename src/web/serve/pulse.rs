//! The pulse of a worker: one clock and one flag that all its connections feel.
//!
//! Made by `serve`, felt by each connection. It exists because a timer for each connection is
//! dear: the first one armed while the runtime has none costs two system calls, and a connection
//! that carries one request has no use for it. It decides nothing.

use std::convert::Infallible;
use std::time::Duration;

use net::shutdown::Stop;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// What a connection feels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beat {
    /// Counts the ticks of the clock, and wraps.
    pub(super) ticks: u32,
    /// The worker stops.
    pub(super) stopping: bool,
}

/// Where the pulse comes from.
#[derive(Debug)]
pub(super) struct Heart {
    beat: watch::Sender<Beat>,
}

/// A connection's finger on it.
#[derive(Debug)]
pub(super) struct Pulse {
    beat: watch::Receiver<Beat>,
    felt: Beat,
}

impl Heart {
    pub(super) fn new() -> Self {
        Self { beat: watch::Sender::default() }
    }

    pub(super) fn pulse(&self) -> Pulse {
        let beat = self.beat.subscribe();
        let felt = Beat { stopping: false, ..*beat.borrow() };
        Pulse { beat, felt }
    }

    /// Ticks every `period`, also after `stop` was raised, for as long as it is polled.
    pub(super) async fn beat(&self, period: Duration, mut stop: Stop) -> Infallible {
        let mut clock = interval(period);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock.reset(); // the first tick of an interval is at once
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                () = stop.raised(), if !stopping => stopping = true,
                _ = clock.tick() => {}
            }
            self.beat.send_modify(|beat| match stopping && !beat.stopping {
                true => beat.stopping = true,
                false => beat.ticks = beat.ticks.wrapping_add(1),
            });
        }
    }
}

impl Pulse {
    /// Waits for the next change, and returns whether a tick was among what happened, and
    /// whether the worker stops. Cancel-safe. A heart that is gone has stopped.
    pub(super) async fn next(&mut self) -> (bool, bool) {
        loop {
            let now = *self.beat.borrow_and_update();
            let before = std::mem::replace(&mut self.felt, now);
            if now != before {
                return (now.ticks != before.ticks, now.stopping);
            }
            if self.beat.changed().await.is_ok() {
                continue;
            }
            if !self.felt.stopping {
                self.felt.stopping = true;
                return (false, true);
            }
            std::future::pending::<Infallible>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn ticks_and_the_stop_are_felt_and_ticks_go_on() {
        let heart = Heart::new();
        let (stopper, stop) = Stop::pair();
        let mut pulse = heart.pulse();
        let feel = async {
            let soon = PERIOD - Duration::from_millis(1);
            assert!(tokio::time::timeout(soon, pulse.next()).await.is_err(), "no tick yet");
            assert_eq!(pulse.next().await, (true, false));
            stopper.raise();
            assert_eq!(pulse.next().await, (false, true));
            assert_eq!(heart.pulse().next().await, (false, true), "one that comes late");
            assert!(tokio::time::timeout(soon, pulse.next()).await.is_err(), "no tick yet");
            assert_eq!(pulse.next().await, (true, true));
        };
        tokio::select! {
            () = feel => {}
            never = heart.beat(PERIOD, stop) => match never {},
        }
        drop(heart);
        // It was told that the worker stops; there is nothing more to tell.
        let more = tokio::time::timeout(PERIOD, pulse.next()).await;
        assert!(more.is_err());
    }

    #[tokio::test]
    async fn a_heart_that_is_gone_stops_its_connections() {
        let heart = Heart::new();
        let mut pulse = heart.pulse();
        drop(heart);
        assert_eq!(pulse.next().await, (false, true));
    }
}
