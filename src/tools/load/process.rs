//! CPU time and memory of a server, as `/proc` tells them. A process that has gone, or is
//! another user's, has none; that is told, and no failure.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// Ticks of `/proc/PID/stat` in a second; Linux has had no other number for decades.
const TICKS_PER_SEC: u64 = 100;

/// A process with the name that reports give it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pid: u32,
}

/// `NAME=PID`.
pub(super) fn named(text: &str) -> Result<Named, String> {
    let (name, pid) = text.split_once('=').ok_or("a process is NAME=PID")?;
    let pid = pid.parse().map_err(|_| format!("{pid} is no process number"))?;
    Ok(Named { name: name.to_owned(), pid })
}

/// What a process used while it was watched.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Used {
    pub(super) name: String,
    pub(super) cpu_secs: Option<f64>,
    /// Bytes of memory, the most that were seen.
    pub(super) rss_max: Option<u64>,
}

/// Looks at processes from time to time.
#[derive(Debug)]
pub(super) struct Watch {
    begun: Vec<(Named, Option<Duration>, Option<u64>)>,
}

impl Watch {
    pub(super) fn begin(processes: &[Named]) -> Self {
        let begun = processes
            .iter()
            .map(|process| (process.clone(), cpu_of(process.pid), memory_of(process.pid)));
        Self { begun: begun.collect() }
    }

    /// To be called now and then: memory comes and goes.
    pub(super) fn look(&mut self) {
        for (process, _, most) in &mut self.begun {
            *most = (*most).max(memory_of(process.pid));
        }
    }

    pub(super) fn end(mut self) -> Vec<Used> {
        self.look();
        let used = self.begun.into_iter().map(|(process, before, rss_max)| {
            let spent = cpu_of(process.pid).zip(before);
            let cpu_secs = spent.map(|(now, before)| now.saturating_sub(before).as_secs_f64());
            Used { name: process.name, cpu_secs, rss_max }
        });
        used.collect()
    }
}

/// User and system time of a process and all its threads.
fn cpu_of(pid: u32) -> Option<Duration> {
    cpu_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name may hold anything, also blanks and parentheses: fields count from behind it.
fn cpu_in(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()?.checked_add(ticks()?)?;
    Some(Duration::from_millis(ticks.checked_mul(1000 / TICKS_PER_SEC)?))
}

fn memory_of(pid: u32) -> Option<u64> {
    memory_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn memory_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 150 50 13 14";
        assert_eq!(cpu_in(stat), Some(Duration::from_secs(2)));
        assert_eq!(memory_in("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!((cpu_in("x"), memory_in("")), (None, None));
    }

    #[test]
    fn this_process_can_be_watched_and_an_absent_one_has_nothing() {
        let own = Named { name: "own".to_owned(), pid: std::process::id() };
        let absent = Named { name: "absent".to_owned(), pid: u32::MAX };
        let used = Watch::begin(&[own, absent]).end();
        assert!(used[0].rss_max.is_some_and(|bytes| 0 < bytes) && used[0].cpu_secs.is_some());
        assert!(used[1].rss_max.is_none() && used[1].cpu_secs.is_none());
        assert!(named("a=1").is_ok() && named("a").is_err() && named("a=x").is_err());
    }
}
