//! Tombstones on disk: their own log, written behind the binlog, and when they end.
//!
//! ```text
//! data/sync/tombs.log:  + <time> <name>    deleted
//!                       - <name>           in use again, or ended
//!                       = <file> <offset>  everything before this place of the binlog is here
//! ```
//!
//! A deletion is in the binlog before it is answered, so what this log lacks is found there at
//! the next start. A tombstone ends when every member of the group says that it has no such file
//! (22): then nobody can send it any more. No clock of another machine is asked.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use net::{client::replicate::Link, shutdown::Stop};
use proto::{status::Status, storage::info::InfoFlags};

use super::Shared;
use crate::{
    binlog::{
        Position,
        reader::{Reader, What},
    },
    disk::{
        port::{Disk, Open},
        write::{read_whole, replace_whole},
    },
    tomb::{Change, Tombs, change},
};

/// Largest log that is read; one of this size holds twenty million names.
const LOG_BYTES_MAX: usize = 1 << 30;
/// A log with more than this and mostly of what has ended is written anew at the start.
const COMPACT_BYTES_MIN: usize = 1 << 20;
/// Records taken over from the binlog at once.
const BATCH: usize = 4096;
/// Between two looks at the binlog.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Between two rounds of asking the members.
const END_EVERY: Duration = Duration::from_secs(3600);
/// A tombstone is younger than this while a transfer that began before it may be under way.
const AGE_MIN_SECS: u32 = 24 * 3600;
/// Names asked about in one round, so that a round is short.
const ASKED_MAX: usize = 10_000;
/// Ask without a sum and without a complaint.
const PROBE: InfoFlags = InfoFlags(3);

/// The log beside the binlog in `dir`.
fn path_in(dir: &Path) -> PathBuf {
    dir.join("tombs.log")
}

/// Reads the tombstones and what the binlog, which ends at `end`, has beyond them. Blocks.
pub(crate) fn load(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    end: Position,
) -> io::Result<(Tombs, Position)> {
    let path = path_in(dir);
    let bytes = read_whole(&**disk, &path, LOG_BYTES_MAX)?.unwrap_or_default();
    let (mut tombs, covered) = read(&String::from_utf8_lossy(&bytes));
    // A place beyond the end is of a binlog that is no more.
    let covered = if end < covered { Position::default() } else { covered };
    let mut reader = Reader::new(Arc::clone(disk), dir, covered);
    loop {
        let items = reader.batch(end, BATCH)?;
        if items.is_empty() {
            break;
        }
        for item in items {
            if let What::Record(record) = item.what {
                tombs.follow(&record);
            }
        }
    }
    let text = text(&tombs, end);
    if COMPACT_BYTES_MIN < bytes.len() && text.len() < bytes.len() / 2 {
        replace_whole(&**disk, &path, text.as_bytes())?;
        return Ok((tombs, end));
    }
    Ok((tombs, covered))
}

/// The tombstones of a log, and the place in the binlog up to which they go.
fn read(text: &str) -> (Tombs, Position) {
    let (mut tombs, mut covered) = (Tombs::default(), Position::default());
    for line in text.split_inclusive('\n') {
        // A line without its end was not complete when the machine stopped.
        let Some(line) = line.strip_suffix('\n') else { break };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["+", at, name] => {
                if let Ok(at) = at.parse() {
                    tombs.apply(&Change::Bury { name, at });
                }
            }
            ["-", name] => tombs.apply(&Change::Raise { name }),
            ["=", file, offset] => {
                if let (Ok(file), Ok(offset)) = (file.parse(), offset.parse()) {
                    covered = Position { file, offset };
                }
            }
            _ => {}
        }
    }
    (tombs, covered)
}

fn line(change: &Change<'_>) -> String {
    match change {
        Change::Bury { name, at } => format!("+ {at} {name}\n"),
        Change::Raise { name } => format!("- {name}\n"),
    }
}

fn text(tombs: &Tombs, covered: Position) -> String {
    let mut text: String =
        tombs.iter().map(|(name, at)| line(&Change::Bury { name, at })).collect();
    text.push_str(&place(covered));
    text
}

fn place(covered: Position) -> String {
    format!("= {} {}\n", covered.file, covered.offset)
}

/// Adds lines to the log, for good. Blocks.
fn add(disk: &dyn Disk, dir: &Path, lines: &str) -> io::Result<()> {
    let file = disk.open(&path_in(dir), Open::WriteOrCreate)?;
    let mut len = file.stat()?.len;
    let mut last = [b'\n'];
    if let Some(at) = len.checked_sub(1) {
        file.read_at(at, &mut last)?;
    }
    if last != *b"\n" {
        // What a power loss left of a line: closed so that it means nothing.
        file.write_at(len, b" ?\n")?;
        len = len.saturating_add(3);
    }
    file.write_at(len, lines.as_bytes())?;
    file.sync_data()?;
    if len == 0 { disk.sync_dir(dir) } else { Ok(()) }
}

/// Keeps the log up to date and ends tombstones, until the program ends.
pub(super) async fn keep(shared: Arc<Shared>, mut covered: Position, mut stop: Stop) {
    let clock = &shared.world.clock;
    let mut asked = clock.moment();
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
        }
        match follow(&shared, covered).await {
            Ok(now) => covered = now,
            Err(error) => log::error!("write the log of deleted files: {error}"),
        }
        if END_EVERY <= clock.moment().since(asked) {
            asked = clock.moment();
            let ending = end_some(&shared);
            tokio::select! {
                biased;
                () = stop.raised() => return,
                ended = ending => match ended {
                    Ok(0) => {}
                    Ok(count) => log::info!("{count} deleted files are gone from every member"),
                    Err(error) => log::debug!("deleted files are remembered on: {error}"),
                },
            }
        }
    }
}

/// Takes over what the binlog has beyond `covered`.
async fn follow(shared: &Arc<Shared>, covered: Position) -> io::Result<Position> {
    let end = *shared.store.log.end().borrow();
    if end <= covered {
        return Ok(covered);
    }
    let (disk, dir) = (Arc::clone(&shared.store.disk), shared.dir());
    let job = move || {
        let mut reader = Reader::new(Arc::clone(&disk), &dir, covered);
        let mut lines = String::new();
        loop {
            let items = reader.batch(end, BATCH)?;
            if items.is_empty() {
                break;
            }
            for item in &items {
                if let What::Record(record) = &item.what {
                    lines.extend(change(record).map(|change| line(&change)));
                }
            }
        }
        if !lines.is_empty() {
            lines.push_str(&place(end));
            add(&*disk, &dir, &lines)?;
        }
        Ok(end)
    };
    shared.store.gate.run(job).await
}

/// Asks every other member about the oldest tombstones and ends those of which all say that
/// they have no such file.
async fn end_some(shared: &Arc<Shared>) -> Result<usize, String> {
    let now = shared.store.now();
    let old = |at: u32| AGE_MIN_SECS < now.saturating_sub(at);
    let mut names: Vec<String> = shared.store.with_tombs(|tombs| {
        let aged = tombs.iter().filter(|(_, at)| old(*at)).take(ASKED_MAX);
        aged.map(|(name, _)| name.to_owned()).collect()
    });
    let table = shared.peers.watch().borrow().clone();
    for (id, peer) in table.into_iter().filter(|(id, _)| Some(*id) != shared.peers.own()) {
        let gone = super::plan::stance(peer.state, true) == super::plan::Stance::End;
        if gone || names.is_empty() {
            continue;
        }
        let mut link = super::sender::connect(shared, id, peer)
            .await
            .map_err(|error| format!("ask {id}: {error}"))?;
        names =
            without_file(&mut link, names).await.map_err(|error| format!("ask {id}: {error}"))?;
    }
    if names.is_empty() {
        return Ok(0);
    }
    let lines: String = names.iter().map(|name| line(&Change::Raise { name })).collect();
    shared.store.with_tombs(|tombs| {
        names.iter().for_each(|name| tombs.apply(&Change::Raise { name }));
    });
    let (disk, dir) = (Arc::clone(&shared.store.disk), shared.dir());
    let added = shared.store.gate.run(move || add(&*disk, &dir, &lines)).await;
    added.map_err(|error| error.to_string())?;
    Ok(names.len())
}

async fn without_file(
    link: &mut Link,
    names: Vec<String>,
) -> Result<Vec<String>, net::client::ClientError> {
    let mut without = Vec::new();
    for name in names {
        if link.info(&name, PROBE).await? == Err(Status::ENOENT) {
            without.push(name);
        }
    }
    Ok(without)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    const DIR: &str = "/sync";
    const A: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
    const B: &str = "M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";

    fn load_from(disk: &SimulatedDisk, len: usize) -> (Tombs, Position) {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        load(&disk, Path::new(DIR), Position { file: 0, offset: len as u64 }).unwrap()
    }

    #[test]
    fn what_the_log_lacks_is_found_in_the_binlog() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let records = format!("7 D {A}\n8 d {B}\n");
        disk.create(&Path::new(DIR).join("binlog.000"))
            .unwrap()
            .write_at(0, records.as_bytes())
            .unwrap();
        let (tombs, covered) = load_from(&disk, records.len());
        assert_eq!((tombs.len(), covered), (2, Position::default()));
        let half = format!("7 D {A}\n").len() as u64;
        let lines = format!("+ 7 {A}\n{}", place(Position { file: 0, offset: half }));
        add(&disk, Path::new(DIR), &lines).unwrap();
        add(&disk, Path::new(DIR), &format!("- {A}\n")).unwrap();
        let (tombs, covered) = load_from(&disk, records.len());
        assert_eq!(tombs.iter().collect::<Vec<_>>(), [(B, 8)], "the first one has ended");
        assert_eq!(covered.offset, half);
    }

    #[test]
    fn a_torn_line_is_no_line_and_a_binlog_that_is_gone_is_read_anew() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        add(&disk, Path::new(DIR), &format!("+ 7 {A}\n= 5 99\n+ 8 M00")).unwrap();
        let (tombs, covered) = load_from(&disk, 0);
        assert_eq!((tombs.len(), covered), (1, Position::default()));
        add(&disk, Path::new(DIR), &format!("+ 9 {B}\n")).unwrap();
        assert_eq!(load_from(&disk, 0).0.len(), 2);
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let mut tombs = Tombs::default();
        tombs.apply(&Change::Bury { name: A, at: 7 });
        let covered = Position { file: 3, offset: 99 };
        assert_eq!(read(&text(&tombs, covered)), (tombs, covered));
    }
}
