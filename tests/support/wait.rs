//! Waiting for a condition, with a deadline: the only place of the tests that sleeps.

use std::time::{Duration, Instant};

/// Asks again and again until `condition` gives a value; panics with `what` after `limit`.
pub(crate) fn eventually<T>(what: &str, limit: Duration, condition: impl Fn() -> Option<T>) -> T {
    eventually_or(limit, condition, || what.to_owned())
}

/// The same, with words for what is wrong that are found only when they are needed.
#[allow(clippy::disallowed_methods, reason = "the one place that waits for something outside")]
pub(crate) fn eventually_or<T>(
    limit: Duration,
    condition: impl Fn() -> Option<T>,
    what: impl FnOnce() -> String,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < limit, "{}: not within {limit:?}", what());
        std::thread::sleep(Duration::from_millis(10));
    }
}
