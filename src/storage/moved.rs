//! Our own address has changed: which trackers still know us under one that we had before.
//!
//! ```text
//! data/moved:  <tracker> <the address under which it knows us>
//! ```
//!
//! Without ids the address is what a storage is known by. Each tracker is told of the new one
//! (78) before it is joined, or it would take us for a new member; one that is away now is told
//! when it is back, also after another start: hence the file, which is gone when all have heard
//! (storage.md 6.1). Found by `start`, told by `report`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Context as _;
use net::ports::Moment;
use proto::address::Addresses;

use crate::disk::{
    port::Disk,
    write::{read_whole, replace_whole},
};

/// Where it lies below the base path.
const FILE: &str = "data/moved";
/// Largest file that makes sense.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// How long a tracker may go on to see us in service under the old address: it notices a machine
/// that went silent after two of its `check_active_interval`, 100 s unless set.
const BUSY_MAX: Duration = Duration::from_secs(600);

/// The address under which each tracker knows us that was not told of the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Moves(BTreeMap<SocketAddr, IpAddr>);

impl Moves {
    /// Lines that are none are ignored: such a tracker takes us for a new member.
    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (tracker, known) = line.split_once(' ')?;
            Some((tracker.parse().ok()?, known.parse().ok()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (tracker, known)| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{tracker} {known}");
            text
        })
    }

    /// We were at `before` when we ran last, and are at `now`.
    fn moved(&mut self, trackers: &[SocketAddr], before: Option<IpAddr>, now: IpAddr) {
        for tracker in trackers {
            if let Some(before) = before {
                // One that has not heard of an earlier move knows us under an older address.
                self.0.entry(*tracker).or_insert(before);
            }
        }
        self.0.retain(|tracker, known| *known != now && trackers.contains(tracker));
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Moved {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Where we are now.
    now: IpAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    moves: Moves,
    /// Since when a tracker has said that the old address is in service.
    busy_since: BTreeMap<SocketAddr, Moment>,
}

impl Moved {
    /// Compares where we are with where we were, and notes whom to tell; `last` is how the
    /// identity of the last run says it. To be called before that changes. Blocks.
    pub(crate) fn notice(
        disk: &Arc<dyn Disk>,
        base: &Path,
        last: &str,
        trackers: &[SocketAddr],
        now: IpAddr,
        follows: bool,
    ) -> anyhow::Result<Self> {
        let path = base.join(FILE);
        let read = read_whole(&**disk, &path, FILE_BYTES_MAX);
        let text = read.with_context(|| format!("read {}", path.display()))?;
        let saved = text.map(|text| Moves::parse(&String::from_utf8_lossy(&text)));
        let before = Addresses::parse(last).map(|addresses| addresses.first());
        if let Some(before) = before.filter(|before| *before != now) {
            match follows {
                true => log::info!("this storage was at {before} and is at {now} now"),
                false => log::warn!(
                    "this storage was at {before} and is at {now} now: to the trackers it is a \
                     new one (storage_ip_changed_auto_adjust in tracker.conf is off)"
                ),
            }
        }
        let mut moves = saved.clone().unwrap_or_default();
        if follows {
            moves.moved(trackers, before, now);
        } else {
            moves = Moves::default();
        }
        let state = Mutex::new(State { moves, ..State::default() });
        let moved = Self { disk: Arc::clone(disk), path, now, state };
        if saved.unwrap_or_default() != moved.lock().moves {
            moved.save().with_context(|| format!("save {}", moved.path.display()))?;
        }
        Ok(moved)
    }

    /// Where we are now.
    pub(crate) fn now(&self) -> IpAddr {
        self.now
    }

    /// The address under which this tracker knows us, if it has to be told of the present one.
    pub(crate) fn known_as(&self, tracker: SocketAddr) -> Option<IpAddr> {
        self.lock().moves.0.get(&tracker).copied()
    }

    /// The tracker says that the old address is in service: whether to ask it again later. It
    /// may not have noticed yet that nobody is there any more.
    pub(crate) fn may_be_noticed(&self, tracker: SocketAddr, now: Moment) -> bool {
        let mut state = self.lock();
        now.since(*state.busy_since.entry(tracker).or_insert(now)) < BUSY_MAX
    }

    /// The tracker has been told. Blocks.
    pub(crate) fn told(&self, tracker: SocketAddr) -> io::Result<()> {
        let mut state = self.lock();
        state.busy_since.remove(&tracker);
        state.moves.0.remove(&tracker);
        drop(state);
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        // Held while saving, so that the file never goes back to an older state.
        let state = self.lock();
        if !state.moves.0.is_empty() {
            return replace_whole(&*self.disk, &self.path, state.moves.text().as_bytes());
        }
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::{Chance, Plan, SimulatedDisk};

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn trackers() -> [SocketAddr; 2] {
        [1, 2].map(|last| SocketAddr::new(ip(last), 22122))
    }

    fn started(disk: &SimulatedDisk, before: &str, now: u8, follows: bool) -> Moved {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let base = Path::new("/base");
        Moved::notice(&disk, base, before, &trackers(), ip(now), follows).unwrap()
    }

    fn disk() -> SimulatedDisk {
        SimulatedDisk::with_dirs(&["/base", "/base/data"])
    }

    #[test]
    fn each_tracker_is_told_once_from_where_it_knows_us() {
        let disk = disk();
        let known = |moved: &Moved| trackers().map(|tracker| moved.known_as(tracker));
        let [first, second] = trackers();
        assert_eq!(known(&started(&disk, "", 11, true)), [None, None], "a new one");
        assert_eq!(known(&started(&disk, "10.0.0.11", 11, true)), [None, None]);
        assert!(disk.files().is_empty());
        let moved = started(&disk, "10.0.0.11,2001:db8::1", 21, true);
        assert_eq!(known(&moved), [Some(ip(11)), Some(ip(11))]);
        moved.told(first).unwrap();
        // Another start, which has been here before: the second has still to be told.
        assert_eq!(known(&started(&disk, "10.0.0.21", 21, true)), [None, Some(ip(11))]);
        // And another move.
        let moved = started(&disk, "10.0.0.21", 31, true);
        assert_eq!(known(&moved), [Some(ip(21)), Some(ip(11))]);
        // And back to where the second one thinks that we are.
        let moved = started(&disk, "10.0.0.31", 11, true);
        assert_eq!(known(&moved), [Some(ip(21)), None]);
        moved.told(second).unwrap();
        moved.told(first).unwrap();
        assert!(disk.files().is_empty());
    }

    #[test]
    fn nobody_is_told_where_moves_are_not_followed() {
        let disk = disk();
        started(&disk, "10.0.0.11", 21, true);
        let moved = started(&disk, "10.0.0.11", 31, false);
        assert_eq!(trackers().map(|tracker| moved.known_as(tracker)), [None, None]);
        assert!(disk.files().is_empty());
    }

    #[test]
    fn what_stands_there_may_be_anything() {
        assert_eq!(Moves::parse("\n10.0.0.1 10.0.0.2\n10.0.0.1:1 x\n\0\n"), Moves::default());
        let text = "10.0.0.1:22122 10.0.0.11\n[2001:db8::1]:22122 10.0.0.11\n";
        assert_eq!(Moves::parse(text).text(), text);
    }

    #[test]
    fn a_tracker_may_notice_late_but_not_never() {
        let moved = started(&disk(), "10.0.0.11", 21, true);
        let [first, second] = trackers();
        let at = |secs| Moment(Duration::from_secs(secs));
        assert!(moved.may_be_noticed(first, at(10)) && moved.may_be_noticed(first, at(600)));
        assert!(!moved.may_be_noticed(first, at(610)));
        assert!(moved.may_be_noticed(second, at(610)));
    }

    #[test]
    fn a_start_that_ends_anywhere_notices_again() {
        for nth in 1.. {
            let disk = disk();
            disk.plan(Plan::Die(nth));
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let (base, at) = (Path::new("/base"), trackers());
            let begun = Moved::notice(&shared, base, "10.0.0.11", &at, ip(21), true).is_ok();
            for seed in 0..8 {
                let left = disk.after_power_loss(&mut Chance(seed));
                // Once the note is safe the new address may be in the identity.
                let before = if begun { "10.0.0.21" } else { "10.0.0.11" };
                let moved = started(&left, before, 21, true);
                assert_eq!(moved.known_as(at[1]), Some(ip(11)), "effect {nth} seed {seed}");
            }
            if begun {
                break;
            }
        }
    }
}
