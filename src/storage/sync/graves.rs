//! Tombstones on disk: their own log, written behind the binlog, and when they end.
//!
//! ```text
//! data/sync/tombs.log:  + <time> <name>    deleted
//!                       - <name>           in use again, or ended
//!                       = <file> <offset>  everything before this place of the binlog is here
//! ```
//!
//! Written anew, without what has ended, when it has become twice as long as that.
//!
//! A deletion is in the binlog before it is answered, so what this log lacks is found there at
//! the next start. A tombstone ends when every member of the group says that it has no such file
//! (22): then nobody can send it any more. No clock of another machine is asked.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use net::{client::replicate::Link, shutdown::Stop};
use proto::{binlog::Record, status::Status, storage::info::InfoFlags};

use super::Shared;
use crate::{
    binlog::{
        Position,
        reader::{Bytes, Item, Reader, What},
    },
    disk::port::{Disk, Open},
    tomb::{Change, Tombs, change, is_reusable},
};

/// The log, beside the binlog.
const LOG: &str = "tombs.log";
/// The log while it is written anew.
const TEMPORARY: &str = "tombs.log.tmp";
/// A log with more than this and mostly of what has ended is written anew.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// The covered place is written alone when so much of the binlog has no tombstone: that much is
/// read again at a start.
const PLACE_EVERY_BYTES: u64 = 1 << 20;
/// At a start, when much may be taken over at once, it is written after so much of the binlog,
/// together with what was found there: each time waits for the disk. Not more than this is read
/// again after a kill, and the lines, which are shorter than the records, take no more memory.
const PLACE_EVERY_START_BYTES: u64 = 64 << 20;
/// One read or write of the whole log.
const PIECE_BYTES: usize = 256 * 1024;
/// Records taken over from the binlog at once.
const BATCH: usize = 4096;
/// Between two looks at the binlog.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Between two walks over all names, to ask the members.
const END_EVERY: Duration = Duration::from_secs(3600);
/// A tombstone is younger than this while a transfer that began before it may be under way.
const AGE_MIN_SECS: u32 = 24 * 3600;
/// Names looked at in one round, so that a round is short; a walk has as many as it takes.
const ASKED_MAX: usize = 10_000;

/// The log of the tombstones, and how far it goes.
#[derive(Debug)]
pub(crate) struct GraveLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Everything before this place of the binlog is in the log.
    covered: Position,
    /// The place that the log itself names last.
    written: Position,
    /// Bytes that the log had or would have had without what has ended, when that was counted
    /// last; all that it had when it could not be written anew.
    compact: u64,
    /// Hashes of the names that can be used again and may be in the log: of other names nothing
    /// has to be written when they are. One too many costs a line.
    logged: HashSet<u64>,
    hasher: RandomState,
}

/// Reads the tombstones and what the binlog, which ends at `end`, has beyond them. Blocks.
pub(crate) fn load(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    end: Position,
) -> io::Result<(Tombs, GraveLog)> {
    let mut log = GraveLog {
        disk: Arc::clone(disk),
        dir: dir.to_owned(),
        covered: Position::default(),
        written: Position::default(),
        compact: 0,
        logged: HashSet::new(),
        hasher: RandomState::new(),
    };
    let (mut tombs, covered) = log.read()?;
    // A place beyond the end is of a binlog that is no more.
    log.covered = if end < covered { Position::default() } else { covered };
    log.written = log.covered;
    log.count(&tombs);
    let mut reader = Reader::new(Arc::clone(disk), dir, log.covered);
    // What cannot be written now is written while running: a full disk hinders no start.
    let mut writes = true;
    let mut lines = String::new();
    loop {
        let items = reader.batch(end, BATCH)?;
        let at_end = items.is_empty();
        records(&items).for_each(|record| tombs.follow(record));
        if writes {
            log.gather(&items, &mut lines);
            let next = if at_end { end } else { reader.position() };
            if at_end || log.is_beyond(next, PLACE_EVERY_START_BYTES) {
                let written = log.write(std::mem::take(&mut lines), next);
                writes = written.inspect_err(cannot_write).is_ok();
            }
        }
        if at_end {
            break;
        }
    }
    if writes {
        log.keep_short(Some(&tombs));
    }
    Ok((tombs, log))
}

fn cannot_write(error: &io::Error) {
    log::error!("write the log of deleted files: {error}");
}

fn records(items: &[Item]) -> impl Iterator<Item = &Record> {
    items.iter().filter_map(|item| match &item.what {
        What::Record(record) => Some(record),
        _ => None,
    })
}

impl GraveLog {
    fn path(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// What is in the log: the tombstones, and the place in the binlog up to which they go.
    fn read(&self) -> io::Result<(Tombs, Position)> {
        match self.disk.open(&self.path(), Open::Read) {
            Ok(file) => parse(BufReader::with_capacity(PIECE_BYTES, Bytes { file, offset: 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Default::default()),
            Err(error) => Err(error),
        }
    }

    /// Takes note of what the log holds.
    fn count(&mut self, tombs: &Tombs) {
        self.logged = tombs
            .iter()
            .filter(|(name, _)| is_reusable(name))
            .map(|(name, _)| self.hasher.hash_one(name))
            .collect();
        let lens = tombs.iter().map(|(name, at)| line(&Change::Bury { name, at }).len() as u64);
        self.compact = lens.sum();
    }

    /// Takes over what the binlog has up to `end`. Blocks.
    fn follow(&mut self, end: Position) -> io::Result<()> {
        let mut reader = Reader::new(Arc::clone(&self.disk), &self.dir, self.covered);
        loop {
            let items = reader.batch(end, BATCH)?;
            if items.is_empty() {
                break;
            }
            let mut lines = String::new();
            self.gather(&items, &mut lines);
            self.write(lines, reader.position())?;
        }
        self.write(String::new(), end)?;
        self.keep_short(None);
        Ok(())
    }

    /// Adds to `lines` what records of the binlog change.
    fn gather(&mut self, items: &[Item], lines: &mut String) {
        for change in records(items).filter_map(change) {
            match &change {
                Change::Bury { name, .. } if is_reusable(name) => {
                    self.logged.insert(self.hasher.hash_one(name));
                }
                Change::Bury { .. } => {}
                // Most of what is made or changed had no tombstone.
                Change::Raise { name } if self.logged.contains(&self.hasher.hash_one(name)) => {}
                Change::Raise { .. } => continue,
            }
            lines.push_str(&line(&change));
        }
    }

    /// Whether a place is in another file of the binlog than the one written last, or so many
    /// bytes behind it.
    fn is_beyond(&self, place: Position, bytes: u64) -> bool {
        let written = self.written;
        written.file != place.file || bytes <= place.offset.saturating_sub(written.offset)
    }

    /// Writes the log anew if it is mostly of what has ended; `known` is what it holds, if the
    /// caller has that. Blocks.
    fn keep_short(&mut self, known: Option<&Tombs>) {
        let len = self.disk.stat(&self.path()).map_or(0, |found| found.len);
        if len <= COMPACT_BYTES_MIN || len <= self.compact.saturating_mul(2) {
            return;
        }
        if let Err(error) = self.compact(known) {
            log::warn!("write {} anew, it stays long: {error}", self.path().display());
            // Not again before it has become twice as long: that reads all of it.
            self.compact = len;
            // A full disk gets back what this has taken.
            match self.disk.remove(&self.dir.join(TEMPORARY)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::warn!("remove {TEMPORARY}: {error}");
                }
                _ => {}
            }
        }
    }

    /// Writes lines, with the place up to which the log goes then. Blocks.
    fn write(&mut self, mut lines: String, covered: Position) -> io::Result<()> {
        if self.is_beyond(covered, PLACE_EVERY_BYTES) || !lines.is_empty() {
            lines.push_str(&place(covered));
            add(&*self.disk, &self.dir, &lines)?;
            self.written = covered;
        }
        self.covered = covered;
        Ok(())
    }

    /// Writes the log anew, without what has ended. Blocks.
    fn compact(&mut self, known: Option<&Tombs>) -> io::Result<()> {
        let path = self.path();
        let temporary = self.dir.join(TEMPORARY);
        match self.disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Before the log is read: where nothing can be written that would be in vain.
        let file = self.disk.create(&temporary)?;
        let read;
        let (tombs, covered) = match known {
            Some(tombs) => (tombs, self.covered),
            None => {
                read = self.read()?;
                (&read.0, read.1)
            }
        };
        let mut at = 0u64;
        let mut put = |piece: &mut String| {
            file.write_at(at, piece.as_bytes())?;
            at = at.saturating_add(piece.len() as u64);
            piece.clear();
            io::Result::Ok(())
        };
        let mut piece = String::new();
        for (name, at) in tombs.iter() {
            piece.push_str(&line(&Change::Bury { name, at }));
            if PIECE_BYTES <= piece.len() {
                put(&mut piece)?;
            }
        }
        piece.push_str(&place(covered));
        put(&mut piece)?;
        file.sync_data()?;
        self.disk.rename_over(&temporary, &path)?;
        self.disk.sync_dir(&self.dir)?;
        self.count(tombs);
        Ok(())
    }
}

/// The tombstones of a log, and the place in the binlog up to which they go.
fn parse(mut text: impl io::BufRead) -> io::Result<(Tombs, Position)> {
    let (mut tombs, mut covered) = (Tombs::default(), Position::default());
    let mut bytes = Vec::new();
    while text.read_until(b'\n', &mut bytes)? != 0 {
        // A line without its end was not complete when the machine stopped.
        let Some(line) = bytes.strip_suffix(b"\n") else { break };
        let line = String::from_utf8_lossy(line);
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
        bytes.clear();
    }
    Ok((tombs, covered))
}

fn line(change: &Change<'_>) -> String {
    match change {
        Change::Bury { name, at } => format!("+ {at} {name}\n"),
        Change::Raise { name } => format!("- {name}\n"),
    }
}

fn place(covered: Position) -> String {
    format!("= {} {}\n", covered.file, covered.offset)
}

/// Adds lines to the log, for good. Blocks.
fn add(disk: &dyn Disk, dir: &Path, lines: &str) -> io::Result<()> {
    let file = disk.open(&dir.join(LOG), Open::WriteOrCreate)?;
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

/// A walk over all names that may end.
#[derive(Debug, Default)]
struct Walk {
    under_way: bool,
    /// The name that was asked about last; after an error the next walk goes on there.
    after: String,
}

/// Keeps the log up to date and ends tombstones, until the program ends.
pub(super) async fn keep(shared: Arc<Shared>, mut log: GraveLog, mut stop: Stop) {
    let clock = &shared.world.clock;
    let mut asked = clock.moment();
    let mut walk = Walk::default();
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
        }
        let end = *shared.store.log.end().borrow();
        if log.covered < end {
            let followed;
            let job = move || {
                let followed = log.follow(end);
                (log, followed)
            };
            (log, followed) = shared.store.gate.run(job).await;
            if let Err(error) = followed {
                cannot_write(&error);
            }
        }
        if END_EVERY <= clock.moment().since(asked) {
            asked = clock.moment();
            walk.under_way = true;
        }
        if walk.under_way {
            let ending = end_some(&shared, &mut walk);
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

/// Of the next `max` names in `walk` those whose tombstones are old enough, with their times;
/// moves it behind them. So many at most, since the tombstones are locked meanwhile.
fn next_names(tombs: &Tombs, walk: &mut Walk, now: u32, max: usize) -> Vec<(String, u32)> {
    let old = |at: u32| AGE_MIN_SECS < now.saturating_sub(at);
    let (mut names, mut seen, mut last) = (Vec::new(), 0, "");
    for (name, at) in tombs.after(&walk.after).take(max) {
        (seen, last) = (seen + 1, name);
        if old(at) {
            names.push((name.to_owned(), at));
        }
    }
    walk.under_way = max <= seen;
    walk.after = if walk.under_way { last.to_owned() } else { String::new() };
    names
}

/// Asks every other member about the next tombstones and ends those of which all say that they
/// have no such file.
async fn end_some(shared: &Arc<Shared>, walk: &mut Walk) -> Result<usize, String> {
    let now = shared.store.now();
    let names = shared.store.with_tombs(|tombs| next_names(tombs, walk, now, ASKED_MAX));
    let gone = everywhere_gone(shared, names).await.inspect_err(|_| walk.under_way = false)?;
    // One that was deleted once more meanwhile stays.
    let ended = shared.store.with_tombs(|tombs| raise_unchanged(tombs, gone));
    if ended.is_empty() {
        return Ok(0);
    }
    let lines: String = ended.iter().map(|name| line(&Change::Raise { name })).collect();
    let (disk, dir) = (Arc::clone(&shared.store.disk), shared.dir());
    let added = shared.store.gate.run(move || add(&*disk, &dir, &lines)).await;
    added.map_err(|error| error.to_string())?;
    Ok(ended.len())
}

/// Ends the tombstones that still have their times; which names those are.
fn raise_unchanged(tombs: &mut Tombs, names: Vec<(String, u32)>) -> Vec<String> {
    let mut ended = Vec::new();
    for (name, at) in names {
        if tombs.free_after(&name) == Some(at) {
            tombs.apply(&Change::Raise { name: &name });
            ended.push(name);
        }
    }
    ended
}

/// Those of the names that no other member has.
async fn everywhere_gone(
    shared: &Arc<Shared>,
    mut names: Vec<(String, u32)>,
) -> Result<Vec<(String, u32)>, String> {
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
    Ok(names)
}

async fn without_file(
    link: &mut Link,
    names: Vec<(String, u32)>,
) -> Result<Vec<(String, u32)>, net::client::ClientError> {
    let mut without = Vec::new();
    for (name, at) in names {
        if link.info(&name, InfoFlags::PROBE).await? == Err(Status::ENOENT) {
            without.push((name, at));
        }
    }
    Ok(without)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::{Plan, SimulatedDisk};

    const DIR: &str = "/sync";
    const A: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
    const B: &str = "M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";

    fn load_from(disk: &SimulatedDisk, len: usize) -> (Tombs, GraveLog) {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        load(&disk, Path::new(DIR), at(len)).unwrap()
    }

    fn at(offset: usize) -> Position {
        Position { file: 0, offset: offset as u64 }
    }

    /// Adds to the binlog; its length then.
    fn record(disk: &SimulatedDisk, records: &str) -> usize {
        let file = disk.open(&Path::new(DIR).join("binlog.000"), Open::WriteOrCreate).unwrap();
        let len = file.stat().unwrap().len;
        file.write_at(len, records.as_bytes()).unwrap();
        len as usize + records.len()
    }

    fn logged(disk: &SimulatedDisk) -> String {
        let log = disk.files().remove(&Path::new(DIR).join(LOG)).unwrap_or_default();
        String::from_utf8(log).unwrap()
    }

    #[test]
    fn what_the_log_lacks_is_found_in_the_binlog() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let records = format!("7 D {A}\n8 d {B}\n");
        record(&disk, &records);
        let (tombs, log) = load_from(&disk, records.len());
        assert_eq!((tombs.len(), log.covered), (2, at(records.len())));
        let half = format!("7 D {A}\n").len();
        let lines = format!("+ 7 {A}\n{}", place(at(half)));
        add(&disk, Path::new(DIR), &lines).unwrap();
        add(&disk, Path::new(DIR), &format!("- {A}\n")).unwrap();
        let (tombs, log) = load_from(&disk, records.len());
        assert_eq!(tombs.iter().collect::<Vec<_>>(), [(B, 8)], "the first one has ended");
        assert_eq!(log.covered, at(records.len()));
    }

    #[test]
    fn a_torn_line_is_no_line_and_a_binlog_that_is_gone_is_read_anew() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        add(&disk, Path::new(DIR), &format!("+ 7 {A}\n= 5 99\n+ 8 M00")).unwrap();
        let (tombs, log) = load_from(&disk, 0);
        assert_eq!((tombs.len(), log.covered), (1, Position::default()));
        add(&disk, Path::new(DIR), &format!("+ 9 {B}\n")).unwrap();
        assert_eq!(load_from(&disk, 0).0.len(), 2);
    }

    #[test]
    fn names_without_a_tombstone_leave_no_line() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let (_, mut log) = load_from(&disk, 0);
        log.follow(at(record(&disk, &format!("7 C {A}-m\n8 U {A}-m\n")))).unwrap();
        assert_eq!(logged(&disk), "");
        let len = record(&disk, &format!("9 D {A}-m\n10 C {A}-m\n"));
        log.follow(at(len)).unwrap();
        let text = format!("+ 9 {A}-m\n- {A}-m\n{}", place(at(len)));
        assert_eq!(logged(&disk), text);
        // As a later start finds it: the tombstone is known from the log.
        add(&disk, Path::new(DIR), &format!("+ 11 {B}-m\n")).unwrap();
        let (_, mut log) = load_from(&disk, len);
        log.follow(at(record(&disk, &format!("12 U {B}-m\n13 U {A}-m\n")))).unwrap();
        assert!(logged(&disk).contains(&format!("- {B}-m\n")));
        assert_eq!(load_from(&disk, len).0.len(), 0);
    }

    #[test]
    fn a_long_binlog_without_deletions_is_read_once() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let creation = format!("7 C {A}\n");
        let count = PLACE_EVERY_BYTES as usize / creation.len() + 1;
        let len = record(&disk, &creation.repeat(count));
        assert_eq!(load_from(&disk, len).1.covered, at(len));
        let said = logged(&disk);
        let (_, reached) = parse(said.as_bytes()).unwrap();
        assert!(reached <= at(len) && at(len - creation.len() * BATCH) <= reached, "{said}");
        let (_, mut log) = load_from(&disk, len);
        let more = record(&disk, &creation.repeat(count));
        log.follow(at(more)).unwrap();
        assert!(at(len) < parse(logged(&disk).as_bytes()).unwrap().1);
    }

    #[test]
    fn a_log_mostly_of_what_has_ended_is_written_anew_while_running() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        record(&disk, &format!("7 D {A}\n"));
        let (_, mut log) = load_from(&disk, 0);
        let both = format!("8 D {B}-m\n9 C {B}-m\n");
        let rounds = 2 * COMPACT_BYTES_MIN as usize / both.len();
        let end = at(record(&disk, &both.repeat(rounds)));
        log.follow(end).unwrap();
        assert!(logged(&disk) == format!("+ 7 {A}\n{}", place(end)), "{}", logged(&disk).len());
        // And again, from what it knows then.
        let end = at(record(&disk, &both.repeat(rounds)));
        log.follow(end).unwrap();
        assert!(logged(&disk) == format!("+ 7 {A}\n{}", place(end)), "{}", logged(&disk).len());
    }

    /// Records that need a long log and leave nothing in it.
    fn passing(bytes: u64) -> String {
        let both = format!("8 D {B}-m\n9 C {B}-m\n");
        both.repeat(bytes as usize / both.len() + 1)
    }

    #[test]
    fn a_long_log_is_written_anew_at_a_start_from_what_was_just_read() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let end = record(&disk, &format!("7 D {A}\n{}", passing(2 * COMPACT_BYTES_MIN)));
        let before = disk.bytes_read();
        load_from(&disk, end);
        assert!(logged(&disk) == format!("+ 7 {A}\n{}", place(at(end))));
        assert!(disk.bytes_read() - before < end as u64 * 3 / 2, "the binlog, once");
        // Not as many times as there are batches: each write waits for the disk.
        let again = SimulatedDisk::with_dirs(&[DIR]);
        let end = record(&again, &format!("7 D {A}\n").repeat(4 * BATCH));
        load_from(&again, end);
        assert_eq!(logged(&again).matches("= ").count(), 1);
    }

    #[test]
    fn a_log_that_cannot_be_written_anew_is_not_read_again_and_again() {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let (_, mut log) = load_from(&disk, 0);
        // The log itself is there.
        log.follow(at(record(&disk, &format!("7 D {A}\n")))).unwrap();
        let end = record(&disk, &passing(2 * COMPACT_BYTES_MIN));
        disk.plan(Plan::NoInode);
        let before = disk.bytes_read();
        log.follow(at(end)).unwrap();
        let len = logged(&disk).len() as u64;
        assert!(COMPACT_BYTES_MIN < len && disk.bytes_read() - before < end as u64 + len / 2);
        disk.plan(Plan::Nothing);
        let end = record(&disk, &format!("8 D {A}\n"));
        log.follow(at(end)).unwrap();
        assert!(len < logged(&disk).len() as u64, "not before it has grown");
        let end = record(&disk, &passing(2 * len));
        log.follow(at(end)).unwrap();
        assert!(logged(&disk) == format!("+ 8 {A}\n{}", place(at(end))));
    }

    #[test]
    fn a_walk_reaches_all_names_and_spares_what_was_deleted_again() {
        const NOW: u32 = 2 * AGE_MIN_SECS;
        let mut tombs = Tombs::default();
        let names = ["a", "b", "c", "d", "e"];
        for name in names {
            tombs.apply(&Change::Bury { name, at: 7 });
        }
        tombs.apply(&Change::Bury { name: "c", at: NOW });
        let (mut walk, mut seen) = (Walk { under_way: true, ..Walk::default() }, Vec::new());
        while walk.under_way {
            seen.extend(next_names(&tombs, &mut walk, NOW, 2));
        }
        let aged = ["a", "b", "d", "e"].map(|name| (name.to_owned(), 7));
        assert_eq!((&seen[..], walk.after.as_str()), (&aged[..], ""));
        tombs.apply(&Change::Bury { name: "b", at: 8 });
        assert_eq!(raise_unchanged(&mut tombs, seen), ["a", "d", "e"]);
        assert_eq!(tombs.iter().collect::<Vec<_>>(), [("b", 8), ("c", NOW)]);
    }
}
