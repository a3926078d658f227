//! The wall clock was set: what is counted from earlier moments is counted on.
//!
//! Pure. How long a storage or a tracker has been silent is a difference of two readings of the
//! wall clock, kept in the form that peers are told. When the clock is set between the two, the
//! earlier one is moved along with it, so that nobody is taken for dead who is not, nor for alive.

use core::time::Duration;

use proto::tracker::UnixTime;

use super::Cluster;

/// By how much the two clocks may drift apart before the earlier readings are moved.
const DRIFT_SECS_MAX: i64 = 1;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    wall: UnixTime,
    /// Of the clock that nobody sets.
    steady: Duration,
}

impl Cluster {
    /// To be called with both clocks before each event: `steady` is time since any fixed moment.
    /// Returns by how many seconds the wall clock was set since it was last called.
    pub fn tell_time(&mut self, wall: UnixTime, steady: Duration) -> i64 {
        let told = self.clocks.get_or_insert(Clocks { wall, steady });
        let passed = steady.saturating_sub(told.steady).as_secs();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let set_by = wall.since(told.wall).saturating_sub(passed);
        if set_by.saturating_abs() <= DRIFT_SECS_MAX {
            return 0;
        }
        *told = Clocks { wall, steady };
        self.move_times(set_by);
        set_by
    }

    fn move_times(&mut self, by: i64) {
        let along = |time: &mut UnixTime| {
            // Zero is "never".
            if time.0 != 0 {
                time.0 = time.0.saturating_add(by).max(1);
            }
        };
        along(&mut self.started);
        self.last_check.iter_mut().for_each(along);
        self.take_over.times().for_each(along);
        self.trackers.times().for_each(along);
        for group in self.groups.values_mut() {
            group.members_mut().for_each(|member| along(&mut member.statistics.last_heartbeat));
        }
    }
}
