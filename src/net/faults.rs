//! Effects on the disk, one after the other: counted, failed, cut short, or the last thing that
//! this process does, because a test says so. And the planted bugs that prove the tests.
//!
//! [`effect`] stands around each system call that changes or reads what must last. Without the
//! feature `faults`, which no release has, it is the call itself and nothing else. With it,
//! variables of the environment decide:
//!
//! ```text
//! FASTDISK_FAULTS   count | kill:N:before | kill:N:after | fail:N:ERRNO | fail-from:N:ERRNO |
//!                   short:N
//! FASTDISK_TRACE    a file; effects count from the moment that it is there, one line each
//! FASTDISK_SCOPE    only the effects of this work count, as [`scope`] names it; without it all
//! FASTDISK_PLANT    the name of the planted bug that is on
//! FASTDISK_MARKS    a file; the names of rare branches that were taken, one line each
//! ```

use std::io;
use std::path::Path;

/// What an effect does; the names stand in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Create,
    Open,
    Rename,
    Link,
    ReadLink,
    SyncDir,
    MakeDir,
    Remove,
    List,
    Stat,
    Space,
    Write,
    Read,
    SyncData,
    Truncate,
    SetTimes,
    Reserve,
}

/// Performs one effect on `path`, unless a test wants something else.
#[inline]
pub fn effect<T>(kind: Effect, path: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    #[cfg(feature = "faults")]
    return active::effect(kind, path, act);
    #[cfg(not(feature = "faults"))]
    {
        let _ = (kind, path);
        act()
    }
}

/// The part of `len` bytes that the next call may move: all, unless the effect under way is to
/// be cut short, or to fail after a part of it.
#[inline]
pub fn piece(len: usize) -> io::Result<usize> {
    #[cfg(feature = "faults")]
    return active::piece(len);
    #[cfg(not(feature = "faults"))]
    Ok(len)
}

/// Runs `work`, whose effects are counted as those of `name`. Several kinds of work go on beside
/// each other, each at its own time; only the effects of one kind come in the same number again.
///
/// Not an `async fn`: that would keep room for `work` twice, for every connection.
#[inline]
pub fn scope<F: Future>(name: &'static str, work: F) -> impl Future<Output = F::Output> {
    #[cfg(feature = "faults")]
    return active::scope(name, work);
    #[cfg(not(feature = "faults"))]
    {
        let _ = name;
        work
    }
}

/// The same for all that this thread does from now on.
#[inline]
pub fn enter(name: &'static str) {
    #[cfg(feature = "faults")]
    active::enter(Some(name));
    #[cfg(not(feature = "faults"))]
    let _ = name;
}

/// `job` as a part of the work that hands it to another thread.
#[inline]
pub fn carried<T>(job: impl FnOnce() -> T) -> impl FnOnce() -> T {
    #[cfg(feature = "faults")]
    return active::carried(job);
    #[cfg(not(feature = "faults"))]
    job
}

/// Whether the planted bug of this name is on: never in a release.
#[macro_export]
macro_rules! plant {
    ($name:literal) => {{
        #[cfg(feature = "faults")]
        let on = $crate::faults::is_planted($name);
        #[cfg(not(feature = "faults"))]
        let on = false;
        on
    }};
}

/// Notes that a rare branch was taken: nothing in a release.
#[macro_export]
macro_rules! mark {
    ($name:literal) => {{
        #[cfg(feature = "faults")]
        $crate::faults::mark($name);
    }};
}

#[cfg(feature = "faults")]
pub use active::{is_planted, mark};

#[cfg(feature = "faults")]
mod active {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::io::{self, Write as _};
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock};

    use super::Effect;

    /// What goes wrong at the n-th effect, counted from 1.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Plan {
        Count,
        KillBefore(u64),
        KillAfter(u64),
        Fail(u64, i32),
        FailFrom(u64, i32),
        Short(u64),
    }

    impl Plan {
        fn parse(text: &str) -> Option<Self> {
            let words: Vec<&str> = text.split(':').collect();
            let nth = words.get(1).and_then(|n| n.parse().ok());
            let errno = words.get(2).and_then(|n| n.parse().ok());
            Some(match *words.first()? {
                "count" => Plan::Count,
                "kill" if words.get(2) == Some(&"before") => Plan::KillBefore(nth?),
                "kill" if words.get(2) == Some(&"after") => Plan::KillAfter(nth?),
                "fail" => Plan::Fail(nth?, errno?),
                "fail-from" => Plan::FailFrom(nth?, errno?),
                "short" => Plan::Short(nth?),
                _ => return None,
            })
        }
    }

    #[derive(Debug)]
    struct Script {
        plan: Plan,
        trace: Option<PathBuf>,
        scope: Option<String>,
        counted: Mutex<(u64, Option<File>)>,
    }

    fn script() -> Option<&'static Script> {
        static SCRIPT: OnceLock<Option<Script>> = OnceLock::new();
        let read = || {
            let text = std::env::var("FASTDISK_FAULTS").ok()?;
            let plan = Plan::parse(&text).expect("FASTDISK_FAULTS is a plan");
            let trace = std::env::var_os("FASTDISK_TRACE").map(PathBuf::from);
            let scope = std::env::var("FASTDISK_SCOPE").ok();
            Some(Script { plan, trace, scope, counted: Mutex::new((0, None)) })
        };
        SCRIPT.get_or_init(read).as_ref()
    }

    impl Script {
        /// The number of this effect, if they are counted already.
        fn number(&self, kind: Effect, path: &Path) -> Option<u64> {
            if self.scope.is_some() && self.scope.as_deref() != current() {
                return None;
            }
            let mut counted = self.counted.lock().expect("no code panics while holding this lock");
            let (number, file) = &mut *counted;
            if let (None, Some(trace)) = (&file, &self.trace) {
                *file = Some(File::options().append(true).open(trace).ok()?);
            }
            *number += 1;
            if let Some(file) = file {
                let line = format!("{number} {kind:?} {}\n", path.display());
                file.write_all(line.as_bytes()).expect("the trace can be written");
            }
            Some(*number)
        }
    }

    /// How the effect that runs on this thread is disturbed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Cut {
        Not,
        Once,
        /// Half of it, then this error: a disk that fills up.
        ThenFail(i32),
        FailNow(i32),
    }

    thread_local! {
        static CUT: Cell<Cut> = const { Cell::new(Cut::Not) };
    }

    tokio::task_local! {
        static OF_TASK: &'static str;
    }

    thread_local! {
        static OF_THREAD: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// The work that runs here.
    fn current() -> Option<&'static str> {
        OF_THREAD.get().or_else(|| OF_TASK.try_with(|name| *name).ok())
    }

    pub(super) fn scope<F: Future>(name: &'static str, work: F) -> impl Future<Output = F::Output> {
        OF_TASK.scope(name, work)
    }

    pub(super) fn enter(name: Option<&'static str>) {
        OF_THREAD.set(name);
    }

    pub(super) fn carried<T>(job: impl FnOnce() -> T) -> impl FnOnce() -> T {
        let name = current();
        move || {
            let before = OF_THREAD.replace(name);
            let outcome = job();
            OF_THREAD.set(before);
            outcome
        }
    }

    fn die() -> ! {
        let own = rustix::process::getpid();
        // Nothing may run after this instant: no destructor, no other thread.
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        loop {
            std::hint::spin_loop();
        }
    }

    pub(super) fn effect<T>(
        kind: Effect,
        path: &Path,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let script = script();
        let numbered = script.and_then(|s| Some((s.plan, s.number(kind, path)?)));
        let Some((plan, number)) = numbered else { return act() };
        let failed = |errno| Err(io::Error::from_raw_os_error(errno));
        match plan {
            Plan::KillBefore(at) if at == number => die(),
            Plan::KillAfter(at) if at == number => {
                // Whether it succeeds does not matter any more.
                let _ = act();
                die()
            }
            Plan::Fail(at, errno) if at == number && kind == Effect::Write => {
                CUT.set(Cut::ThenFail(errno));
                let outcome = act();
                CUT.set(Cut::Not);
                outcome.and(failed(errno))
            }
            Plan::Fail(at, errno) if at == number => failed(errno),
            Plan::FailFrom(at, errno) if at <= number => failed(errno),
            Plan::Short(at) if at == number => {
                CUT.set(Cut::Once);
                let outcome = act();
                CUT.set(Cut::Not);
                outcome
            }
            _ => act(),
        }
    }

    pub(super) fn piece(len: usize) -> io::Result<usize> {
        let half = (len / 2).max(1).min(len);
        match CUT.replace(Cut::Not) {
            Cut::Not => Ok(len),
            Cut::Once => Ok(half),
            Cut::ThenFail(errno) => {
                CUT.set(Cut::FailNow(errno));
                Ok(half)
            }
            Cut::FailNow(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Whether the planted bug `name` is on.
    pub fn is_planted(name: &str) -> bool {
        static PLANT: OnceLock<Option<String>> = OnceLock::new();
        let on = PLANT.get_or_init(|| std::env::var("FASTDISK_PLANT").ok());
        on.as_deref() == Some(name)
    }

    /// Notes that the branch `name` was taken.
    pub fn mark(name: &'static str) {
        static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let path = FILE.get_or_init(|| std::env::var_os("FASTDISK_MARKS").map(PathBuf::from));
        let Some(path) = path else { return };
        let mut seen = SEEN.lock().expect("no code panics while holding this lock");
        if seen.insert(name) {
            let file = File::options().append(true).create(true).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{name}"));
            written.expect("the marks can be written");
        }
    }
}
