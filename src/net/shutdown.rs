//! Signals, one flag, a grace period, then an end by force (anchors 18).
//!
//! Every task of a program watches one [`Stop`]. Programs raise it by signal, tests by hand.

use std::time::Duration;

use log::{info, warn};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Whether this program is to end. Cheap to clone; each task has its own.
#[derive(Clone, Debug)]
pub struct Stop {
    flag: watch::Receiver<bool>,
}

impl Stop {
    /// A flag and the hand that raises it.
    pub fn pair() -> (Stopper, Stop) {
        let (hand, flag) = watch::channel(false);
        (Stopper { hand }, Stop { flag })
    }

    /// Whether the flag is up.
    pub fn is_raised(&self) -> bool {
        *self.flag.borrow()
    }

    /// Waits for the flag. Cancel-safe. Also returns when nobody is left who could raise it.
    pub async fn raised(&mut self) {
        // An error means that the hand is gone, which ends the program just the same.
        let _ = self.flag.wait_for(|raised| *raised).await;
    }
}

/// Raises the flag of all [`Stop`]s that belong to it.
#[derive(Debug)]
pub struct Stopper {
    hand: watch::Sender<bool>,
}

impl Stopper {
    pub fn raise(&self) {
        self.hand.send_replace(true);
    }
}

/// What signals of this program do besides ending it.
type OnHangUp = Box<dyn Fn() + Send>;

/// Turns signals into the flag, for the life of the program: TERM, INT and QUIT raise it, HUP
/// calls `on_hang_up` (logs are opened anew), USR1 and USR2 are logged (storage.md 9.2).
///
/// The handlers stand when this returns, before the future is polled: a signal that comes as soon
/// as a daemon says that it listens must not find the system's, which end it on the spot.
pub fn watch_signals(
    stopper: Stopper,
    on_hang_up: OnHangUp,
) -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut usr1 = signal(SignalKind::user_defined1())?;
    let mut usr2 = signal(SignalKind::user_defined2())?;
    Ok(async move {
        loop {
            let name = tokio::select! {
                biased;
                _ = term.recv() => "TERM",
                _ = int.recv() => "INT",
                _ = quit.recv() => "QUIT",
                _ = hang_up.recv() => {
                    on_hang_up();
                    continue;
                }
                _ = usr1.recv() => {
                    info!("signal USR1 has no effect");
                    continue;
                }
                _ = usr2.recv() => {
                    info!("signal USR2 has no effect");
                    continue;
                }
            };
            info!("stopping on signal {name}");
            stopper.raise();
        }
    })
}

/// Waits for `tasks`, which watch the flag; those that are not done within `grace` are ended.
/// Returns how many were cut off.
pub async fn drain(tasks: &mut JoinSet<()>, grace: Duration) -> usize {
    let all_done = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_done).await.is_ok() {
        return 0;
    }
    let open = tasks.len();
    warn!("grace period over, closing {open} connections");
    tasks.shutdown().await;
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_that_watch_the_flag_end_and_others_are_cut() {
        let (stopper, stop) = Stop::pair();
        let mut tasks = JoinSet::new();
        let mut watching = stop.clone();
        tasks.spawn(async move { watching.raised().await });
        tasks.spawn(std::future::pending());
        assert!(!stop.is_raised());
        stopper.raise();
        assert_eq!(drain(&mut tasks, Duration::from_secs(5)).await, 1);
        assert!(stop.is_raised() && tasks.is_empty());
    }

    #[tokio::test]
    async fn a_lost_hand_ends_the_program() {
        let (stopper, mut stop) = Stop::pair();
        drop(stopper);
        stop.raised().await;
    }

    #[tokio::test]
    async fn a_signal_is_caught_before_anybody_waits_for_it() {
        let (stopper, mut stop) = Stop::pair();
        let signals = watch_signals(stopper, Box::new(|| {})).unwrap();
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
        tokio::select! {
            () = stop.raised() => {}
            () = signals => unreachable!("it has no end"),
        }
    }
}
