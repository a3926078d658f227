//! How far each peer is behind our binlog: in changes, bytes and seconds, for the log and the
//! metrics.
//!
//! Looks at the marks and the binlog every few seconds, also while a peer is away and nobody
//! sends. Only reads, and never decides what is sent.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use net::{ports::Moment, shutdown::Stop};
use proto::{binlog::Mark, ids::StorageId};

use super::{
    Shared,
    mark::mark_file,
    peers::Peer,
    plan::{Role, Stance, is_wanted, stance},
};
use crate::{
    binlog::{
        Position,
        log::ROTATE_BYTES,
        reader::{Reader, What},
    },
    disk::port::Disk,
    progress::Lag,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Lines of the binlog counted in one look; what is beyond them is estimated.
const LINES_MAX: usize = 16_384;
/// A look that took some time comes again after so many times as long: a place in a compressed
/// file is found by reading all before it.
const REST_FACTOR: u32 = 20;
/// A peer whose oldest change has waited this long is worth a line in the log,
const BEHIND_SECS: u64 = 30;
/// but not more often than this.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What is remembered of a peer between two looks.
#[derive(Debug, Default)]
struct Seen {
    /// Nothing before this place is for the peer, or it has it.
    clear: Position,
    said: Option<Moment>,
    /// Not looked at before.
    due: Option<Moment>,
}

/// Looks again and again until the program ends.
pub(super) async fn watch(shared: Arc<Shared>, mut stop: Stop) {
    let mut seen: BTreeMap<StorageId, Seen> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let mut table = shared.peers.watch().borrow().clone();
        table.retain(|id, peer| {
            Some(*id) != shared.peers.own() && stance(peer.state, true) != Stance::End
        });
        seen.retain(|id, _| table.contains_key(id));
        for (id, peer) in table {
            let seen = seen.entry(id).or_default();
            let began = shared.world.clock.moment();
            if seen.due.is_some_and(|due| began < due) {
                continue;
            }
            match look(&shared, id, peer, seen.clear).await {
                Ok((lag, clear)) => {
                    seen.clear = clear;
                    say(&shared, id, lag, seen);
                }
                Err(error) => log::warn!("look how far storage {id} is behind: {error}"),
            }
            let now = shared.world.clock.moment();
            let rest = now.since(began).saturating_mul(REST_FACTOR);
            seen.due = Some(Moment(now.0.saturating_add(rest)));
        }
    }
}

/// Measures one peer and tells it to whoever asks.
async fn look(
    shared: &Arc<Shared>,
    id: StorageId,
    peer: Peer,
    clear: Position,
) -> io::Result<(Lag, Position)> {
    let file = mark_file(shared, id, &peer.address.to_string())?;
    let mark = shared.store.gate.run(move || file.load()).await?.unwrap_or_default();
    let Mark { binlog_index, binlog_offset, need_sync_old, sync_old_done, .. } = mark;
    let role = Role { fills: need_sync_old, filled: sync_old_done };
    let marked = Position { file: binlog_index, offset: binlog_offset };
    let known = shared.store.progress.peers().get(&id).cloned().unwrap_or_default();
    // A sender at work is ahead of its mark; without one the mark is all that counts.
    let passed = if known.connected { known.passed.max(marked) } else { marked };
    // A mark that went back begins anew.
    let from = if clear < passed || !known.connected { passed } else { clear };
    let end = *shared.store.log.end().borrow();
    let (disk, dir, now) = (Arc::clone(&shared.store.disk), shared.dir(), shared.store.now());
    let job = move || measure(disk, &dir, from, end, &role, now);
    let (lag, clear) = shared.store.gate.run(job).await?;
    shared.store.progress.update(id, |progress| {
        progress.lag = lag;
        if !progress.connected {
            progress.passed = passed;
        }
    });
    Ok((lag, clear))
}

/// What between `from` and `end` is for a peer to which we are `role`, and the place before the
/// first such change. Blocks.
fn measure(
    disk: Arc<dyn Disk>,
    dir: &Path,
    from: Position,
    end: Position,
    role: &Role,
    now: u32,
) -> io::Result<(Lag, Position)> {
    let mut reader = Reader::new(disk, dir, from);
    let (mut lag, mut scanned) = (Lag::default(), 0u64);
    let (mut at, mut first) = (from, None);
    for _ in 0..LINES_MAX {
        let Some(item) = reader.next(end)? else { break };
        let len = match item.next.file == at.file {
            true => item.next.offset.saturating_sub(at.offset),
            false => item.next.offset,
        };
        scanned = scanned.saturating_add(len);
        if let What::Record(record) = &item.what
            && is_wanted(record, role)
        {
            lag.records = lag.records.saturating_add(1);
            lag.bytes = lag.bytes.saturating_add(len);
            first.get_or_insert((at, record.at));
        }
        at = item.next;
    }
    let files = u64::from(end.file.saturating_sub(at.file));
    let rest = files.saturating_mul(ROTATE_BYTES).saturating_add(end.offset);
    let rest = rest.saturating_sub(at.offset);
    // What was not looked at is taken for more of the same.
    let scaled = |part: u64| {
        let more = u128::from(part) * u128::from(rest) / u128::from(scanned.max(1));
        part.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
    };
    lag.records = scaled(lag.records);
    lag.bytes = scaled(lag.bytes);
    lag.secs = first.map_or(0, |(_, recorded)| u64::from(now.saturating_sub(recorded)));
    Ok((lag, first.map_or(at, |(place, _)| place)))
}

/// A line in the log for a peer that is far behind, and one when it is not any more.
fn say(shared: &Shared, id: StorageId, lag: Lag, seen: &mut Seen) {
    let now = shared.world.clock.moment();
    if lag.records == 0 {
        if seen.said.take().is_some() {
            log::info!("storage {id} has all our changes again");
        }
        return;
    }
    let due = seen.said.is_none_or(|said| SAY_EVERY <= now.since(said));
    if BEHIND_SECS <= lag.secs && due {
        seen.said = Some(now);
        let error = shared.store.progress.peers().get(&id).and_then(|p| p.last_error.clone());
        let Lag { records, bytes, secs } = lag;
        log::warn!(
            "storage {id} is behind by {records} changes, {bytes} bytes of binlog, {secs} s: {}",
            error.as_deref().unwrap_or("no attempt has failed")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    const DIR: &str = "/sync";

    fn lag_of(lines: &[String], from: u64, role: Role) -> (Lag, Position) {
        let disk = SimulatedDisk::with_dirs(&[DIR]);
        let text = lines.concat();
        let file = disk.create(&Path::new(DIR).join("binlog.000")).unwrap();
        file.write_at(0, text.as_bytes()).unwrap();
        let end = Position { file: 0, offset: text.len() as u64 };
        let from = Position { file: 0, offset: from };
        measure(Arc::new(disk), Path::new(DIR), from, end, &role, 100).unwrap()
    }

    fn line(at: u32, op: char) -> String {
        format!("{at} {op} M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt\n")
    }

    #[test]
    fn what_a_peer_lacks_is_counted_from_its_first_change() {
        let len = line(10, 'C').len() as u64;
        let lines = [line(10, 'c'), line(20, 'C'), line(15, 'c'), line(30, 'D')];
        let (lag, clear) = lag_of(&lines, 0, Role::default());
        assert_eq!(lag, Lag { records: 2, bytes: 2 * len, secs: 80 });
        assert_eq!(clear.offset, len, "what others made is not for it");
        let all = Role { fills: true, filled: false };
        assert_eq!(lag_of(&lines, 0, all).0, Lag { records: 4, bytes: 4 * len, secs: 90 });
        assert_eq!(lag_of(&lines, 2 * len, Role::default()).0.records, 1);
        let (none, clear) = lag_of(&lines, 4 * len, Role::default());
        assert_eq!((none, clear.offset), (Lag::default(), 4 * len));
    }

    #[test]
    fn of_a_long_log_the_rest_is_estimated() {
        let count = 2 * LINES_MAX;
        let lines: Vec<String> = (0..count).map(|_| line(10, 'C')).collect();
        let (lag, _) = lag_of(&lines, 0, Role::default());
        let bytes = lines.concat().len() as u64;
        assert_eq!(lag, Lag { records: count as u64, bytes, secs: 90 });
    }

    #[test]
    fn a_clock_that_went_back_makes_no_lag_of_ages() {
        assert_eq!(lag_of(&[line(500, 'C')], 0, Role::default()).0.secs, 0);
    }
}
