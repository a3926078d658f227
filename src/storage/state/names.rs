//! Names given out a moment ago: what keeps two identical uploads of one second apart
//! (storage.md 2.7).
//!
//! Asked before a file becomes visible. Knows nothing of the disk, which has the last word
//! because a rename never replaces a file. Bounded by what can be uploaded in four seconds.

use std::collections::{BTreeSet, VecDeque};

/// A name's timestamp counts seconds, so a name cannot come back once its second is over; the
/// rest is for clocks that are set back a little.
const KEEP_SECS: u64 = 4;

/// The recent names, oldest first.
#[derive(Debug, Default)]
pub struct RecentNames {
    by_age: VecDeque<(u64, String)>,
    all: BTreeSet<String>,
}

impl RecentNames {
    /// Takes `name` if it was not taken recently. `now` is in seconds of a clock that never
    /// goes back.
    pub fn take(&mut self, now: u64, name: &str) -> bool {
        while self.by_age.front().is_some_and(|(at, _)| at.saturating_add(KEEP_SECS) < now) {
            if let Some((_, old)) = self.by_age.pop_front() {
                self.all.remove(&old);
            }
        }
        let new = self.all.insert(name.to_owned());
        if new {
            self.by_age.push_back((now, name.to_owned()));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_and_forgotten_later() {
        let mut names = RecentNames::default();
        assert!(names.take(100, "a"));
        assert!(!names.take(100, "a"));
        assert!(!names.take(104, "a"));
        assert!(names.take(105, "a"));
        assert_eq!(names.by_age.len(), names.all.len());
    }
}
