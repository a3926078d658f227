//! Which store paths may be written to, and whether the binlog can still be trusted.
//!
//! Pure: `service` asks before each changing operation, and reports what `commit` says must be
//! retired. A retired path stays readable; only a restart, which looks at the disk afresh,
//! makes it writable again. Knows nothing of free space.

use proto::ids::StorePath;

use crate::commit::Retire;

/// Why a path takes no new content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    Writable,
    /// By configuration: no new uploads, but slaves, metadata and deletes (storage.md 3.2).
    ReadOnly,
    /// A sync failed: nothing is written any more.
    Retired,
}

/// The state of the store.
#[derive(Clone, Debug)]
pub struct Health {
    paths: Vec<PathState>,
    log_lost: bool,
}

impl Health {
    /// `read_only` holds one flag per store path, in order.
    pub fn new(read_only: &[bool]) -> Self {
        let state = |flag: &bool| if *flag { PathState::ReadOnly } else { PathState::Writable };
        Self { paths: read_only.iter().map(state).collect(), log_lost: false }
    }

    /// May new files be uploaded here?
    pub fn takes_uploads(&self, path: StorePath) -> bool {
        !self.log_lost && self.state(path) == PathState::Writable
    }

    /// May existing files be changed or deleted here, and slaves be added?
    pub fn takes_changes(&self, path: StorePath) -> bool {
        !self.log_lost && self.state(path) != PathState::Retired
    }

    /// Notes what a failed operation took with it; true if that is news.
    pub fn retire(&mut self, path: StorePath, what: Retire) -> bool {
        match what {
            Retire::Nobody => false,
            Retire::Log => !std::mem::replace(&mut self.log_lost, true),
            Retire::Path => match self.paths.get_mut(usize::from(path.0)) {
                Some(state) => std::mem::replace(state, PathState::Retired) != PathState::Retired,
                None => false,
            },
        }
    }

    fn state(&self, path: StorePath) -> PathState {
        self.paths.get(usize::from(path.0)).copied().unwrap_or(PathState::Retired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StorePath = StorePath(0);
    const B: StorePath = StorePath(1);

    #[test]
    fn a_retired_path_leaves_the_others_alone() {
        let mut health = Health::new(&[false, false]);
        assert!(health.retire(A, Retire::Path));
        assert!(!health.retire(A, Retire::Path), "reported once");
        assert!(!health.takes_uploads(A) && !health.takes_changes(A));
        assert!(health.takes_uploads(B) && health.takes_changes(B));
    }

    #[test]
    fn without_a_log_nothing_changes_any_more() {
        let mut health = Health::new(&[false, false]);
        assert!(!health.retire(A, Retire::Nobody));
        assert!(health.takes_uploads(A));
        assert!(health.retire(A, Retire::Log));
        assert!(!health.takes_changes(A) && !health.takes_changes(B));
    }

    #[test]
    fn read_only_stops_uploads_only() {
        let health = Health::new(&[true]);
        assert!(!health.takes_uploads(A) && health.takes_changes(A));
        assert!(!health.takes_changes(B), "a path that does not exist takes nothing");
    }
}
