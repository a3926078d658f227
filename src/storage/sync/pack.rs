//! Old files of the log are compressed, once a day (sync.md 2.5).
//!
//! One task, beside the senders. A file is old when no member is to be sent anything of it any
//! more; a new member that is filled from the first file on, or a mark that goes back, reads it
//! all the same. Never removes a record.

use std::{io, ops::Range, path::Path, sync::Arc, time::Duration};

use net::shutdown::Stop;
use proto::binlog::Mark;

use super::Shared;
use crate::{
    binlog::packed::Packing,
    disk::{port::Disk, write::read_whole},
};

const DAY_SECS: u64 = 24 * 3600;
/// Longest wait between two looks at the clock, which may be set.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Largest mark file that makes sense.
const MARK_BYTES_MAX: usize = 4096;

/// Compresses what is old at the time of day that is configured, until the program ends.
pub(super) async fn run(shared: Arc<Shared>, mut stop: Stop) {
    let Some(at) = shared.config.compress_at else { return };
    let now = || shared.world.clock.now().secs();
    let mut due = next(now(), at);
    loop {
        // A clock that was set back a day must not keep us waiting for more than one.
        due = due.min(next(now(), at));
        let wait = Duration::from_secs(due.saturating_sub(now())).min(LOOK_EVERY);
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
        }
        if now() < due {
            continue;
        }
        due = next(now(), at);
        if let Err(error) = pack_old(&shared, &stop).await {
            log::error!("compress old files of the binlog, again tomorrow: {error}");
        }
    }
}

/// The next time of day `at` after `now`, Unix seconds.
fn next(now: u64, at: u32) -> u64 {
    let today = (now - now % DAY_SECS).saturating_add(u64::from(at));
    if now < today { today } else { today.saturating_add(DAY_SECS) }
}

async fn pack_old(shared: &Arc<Shared>, stop: &Stop) -> io::Result<()> {
    let store = &shared.store;
    let (disk, dir) = (Arc::clone(&store.disk), shared.dir());
    let marks = store.gate.run(move || marked(&*disk, &dir)).await?;
    let current = store.log.end().borrow().file;
    for index in old(store.log.compressed(), current, &marks) {
        if stop.is_raised() || !pack(shared, index, stop).await? {
            return Ok(());
        }
        store.log.set_compressed(index.saturating_add(1)).await?;
    }
    Ok(())
}

/// Compresses one file, a piece at a time, so that nobody waits long for the disk; false if
/// the program ends before.
async fn pack(shared: &Arc<Shared>, index: u32, stop: &Stop) -> io::Result<bool> {
    let gate = &shared.store.gate;
    let (disk, dir) = (Arc::clone(&shared.store.disk), shared.dir());
    let begun = gate.run(move || Packing::begin(&disk, &dir, index)).await?;
    let Some(mut packing) = begun else { return Ok(true) };
    loop {
        let (back, done) = gate
            .run(move || {
                let done = packing.step();
                (packing, done)
            })
            .await;
        packing = back;
        if done? {
            break;
        }
        if stop.is_raised() {
            return Ok(false);
        }
    }
    let (plain, packed) = gate.run(move || packing.finish()).await?;
    log::info!("binlog {index} is compressed: {plain} bytes are {packed} now");
    Ok(true)
}

/// The files that may be compressed: below the one that is written, and below all that a mark
/// stands in.
fn old(compressed: u32, current: u32, marks: &[u32]) -> Range<u32> {
    let end = marks.iter().copied().min().map_or(current, |least| least.min(current));
    compressed..end.max(compressed)
}

/// In which files the marks stand; one that cannot be read stands in the first. Blocks.
fn marked(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<u32>> {
    let mut files = Vec::new();
    for name in disk.list(dir)? {
        let name = name.to_string_lossy();
        // Of the reference while it served a recovery.
        if !name.ends_with(".mark") || name.starts_with("0.0.0.0") {
            continue;
        }
        if let Some(text) = read_whole(disk, &dir.join(&*name), MARK_BYTES_MAX)? {
            let mark = Mark::parse(&String::from_utf8_lossy(&text));
            files.push(mark.map_or(0, |mark| mark.binlog_index));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    #[test]
    fn only_files_that_nobody_needs_are_old() {
        for (compressed, current, marks, want) in [
            (0, 0, &[][..], 0..0),
            (0, 3, &[], 0..3),
            (0, 3, &[3, 2], 0..2),
            (1, 3, &[3, 2], 1..2),
            (2, 3, &[3, 0], 2..2),
            (5, 3, &[3], 5..5),
        ] {
            assert_eq!(old(compressed, current, marks), want, "{compressed} {current} {marks:?}");
        }
    }

    #[test]
    fn marks_are_found_and_what_is_put_aside_is_none() {
        let disk = SimulatedDisk::with_dirs(&["/sync"]);
        let text = |file| Mark { binlog_index: file, ..Mark::default() }.text();
        for (name, content) in [
            ("10.0.0.2_23000.mark", text(4)),
            ("100002.mark", text(3)),
            ("100003.mark", "rubbish".to_owned()),
            ("100004.mark.1795385437", text(1)),
            ("100005.aside", String::new()),
            ("0.0.0.0.mark", text(1)),
            ("0.0.0.0_23000.mark", text(1)),
        ] {
            let file = disk.create(&Path::new("/sync").join(name)).unwrap();
            file.write_at(0, content.as_bytes()).unwrap();
        }
        let mut files = marked(&disk, Path::new("/sync")).unwrap();
        files.sort_unstable();
        assert_eq!(files, [0, 3, 4]);
    }

    #[test]
    fn the_time_of_day_comes_once_a_day() {
        let (midnight, at) = (1_795_392_000, 5400);
        assert_eq!(midnight % DAY_SECS, 0);
        for (now, want) in [
            (midnight, midnight + 5400),
            (midnight + 5399, midnight + 5400),
            (midnight + 5400, midnight + DAY_SECS + 5400),
        ] {
            assert_eq!(next(now, at), want);
        }
    }
}
