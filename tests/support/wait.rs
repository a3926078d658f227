//! Waiting for a condition, with a deadline: the only place of the tests that sleeps.

use std::time::{Duration, Instant};

/// Asks again and again until `condition` gives a value; panics with `what` after `limit`.
#[allow(clippy::disallowed_methods, reason = "the one place that waits for something outside")]
pub(crate) fn eventually<T>(what: &str, limit: Duration, condition: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Milliseconds since the first call: the clock of the test's own records.
#[allow(clippy::disallowed_methods, reason = "the clock of the test, not of the code under test")]
pub(crate) fn now_ms() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
