//! Start-up: opens what lies on the disks and checks that it is ours (storage.md 5 and 6.1).
//!
//! Called once by `run`, before the port is open. Everything here may block. Never talks to
//! the network: what the trackers said is an argument.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, bail};
use proto::{address::Addresses, binlog::Act, fileid::FileName, ids::StorePath};

use crate::{
    binlog::{
        log::{Log, ROTATE_BYTES},
        mark, packed,
    },
    config::Config,
    disk::{
        edit::{EditKind, Note},
        layout::{Place, Places},
        port::{Disk, DiskFile, Open},
        write::{read_whole, replace_whole},
    },
    moved::Moved,
    owed,
    parameters::Parameters,
    state::{
        counters::Numbers,
        identity::Identity,
        path_mark::{self, Verdict},
    },
    store::{own, replica},
    sums::{Changing, Kept, Sums},
};

/// Largest of the small state files.
const STATE_BYTES_MAX: usize = 64 * 1024;

/// `.data_init_flag`, which several tasks change.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    identity: Mutex<Identity>,
}

impl IdentityFile {
    /// Reads the file, or begins a new life at `now`.
    pub(crate) fn open(disk: Arc<dyn Disk>, base: &Path, now: i64) -> anyhow::Result<Self> {
        let path = base.join("data/.data_init_flag");
        let identity = match text(&*disk, &path)? {
            Some(text) => Identity::parse(&text).with_context(|| path.display().to_string())?,
            None => Identity::newborn(now),
        };
        Ok(Self { disk, path, identity: Mutex::new(identity) })
    }

    pub(crate) fn get(&self) -> Identity {
        self.identity.lock().expect("no code panics while holding this lock").clone()
    }

    /// Changes the identity and saves it if that made a difference. Blocks.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Identity)) -> io::Result<()> {
        // Held while saving, so that the file never goes back to an older state.
        let mut identity = self.identity.lock().expect("no code panics while holding this lock");
        let before = identity.clone();
        change(&mut identity);
        if *identity == before && self.disk.stat(&self.path).is_ok() {
            return Ok(());
        }
        replace_whole(&*self.disk, &self.path, identity.text().as_bytes())
    }
}

/// The file of the counters.
pub(crate) fn numbers_path(base: &Path) -> PathBuf {
    base.join("data/storage_stat.dat")
}

/// Reads the counters; a damaged or missing file counts from zero.
pub(crate) fn numbers(disk: &dyn Disk, base: &Path) -> anyhow::Result<Numbers> {
    Ok(text(disk, &numbers_path(base))?.map_or(Numbers::default(), |text| Numbers::parse(&text)))
}

/// Opens all store paths and checks their marks.
pub(crate) fn places(
    disk: &Arc<dyn Disk>,
    config: &Config,
    identity: &IdentityFile,
    address: IpAddr,
    port: u16,
    now: u32,
) -> anyhow::Result<(Places, Vec<bool>)> {
    let (mut places, mut fresh) = (Vec::new(), Vec::new());
    for (index, path) in (0..=u8::MAX).map(StorePath).zip(&config.store_paths) {
        let root = path.root.display();
        let opened = Place::open(Arc::clone(disk), &path.root, config.dirs_per_level);
        let (place, found) = opened.with_context(|| format!("open store path {root}"))?;
        if 0 < found.swept {
            log::warn!("removed {} unfinished uploads from {root}", found.swept);
        }
        if config.check_marks {
            let mark = path_mark::new_mark(address, port, index, now);
            check_mark(&**disk, identity, index, &place, found.fresh, mark)
                .with_context(|| format!("check the mark of store path {root}"))?;
        }
        places.push(place);
        fresh.push(found.fresh);
    }
    Ok((Places::new(places), fresh))
}

fn check_mark(
    disk: &dyn Disk,
    identity: &IdentityFile,
    index: StorePath,
    place: &Place,
    fresh: bool,
    new_mark: String,
) -> anyhow::Result<()> {
    let path = place.data().join(".fastdfs_vars");
    let on_disk = text(disk, &path)?;
    let on_disk = on_disk.as_deref().and_then(path_mark::read);
    let number = u16::from(index.0);
    let remembered = identity.get().marks.get(&number).cloned();
    let mut emptied = false;
    match path_mark::judge(remembered.as_deref(), on_disk) {
        Verdict::Ours => return Ok(()),
        Verdict::Foreign => bail!(
            "{} does not carry the mark that this storage remembers: it may belong to another \
             storage, or store paths have changed places",
            path.display()
        ),
        Verdict::MarkAgain if !fresh => log::warn!("{} was missing", path.display()),
        Verdict::MarkAgain => emptied = identity.get().sync_old_done,
        Verdict::Mark => {}
    }
    // Remembered first: after a crash between the two the mark is missing and made again, while
    // a mark that nobody remembers would look like another storage's.
    let text = path_mark::file_text(&new_mark);
    identity.update(|identity| {
        identity.marks.insert(number, new_mark);
        if emptied {
            identity.begin_anew();
        }
    })?;
    if emptied {
        log::warn!(
            "{} is empty although it was in use: its files are fetched from another member",
            place.data().display()
        );
    }
    Ok(replace_whole(disk, &path, text.as_bytes())?)
}

/// Opens the binlog, making its directory if needed.
pub(crate) fn log(disk: &Arc<dyn Disk>, base: &Path) -> anyhow::Result<Log> {
    let data = base.join("data");
    let dir = data.join("sync");
    match disk.make_dir(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("create {}", dir.display()));
        }
        _ => {}
    }
    // Both, for the pid file is there before us and makes `data` without syncing.
    for dir in [&data, base] {
        disk.sync_dir(dir).with_context(|| format!("sync {}", dir.display()))?;
    }
    let opened = Log::open(Arc::clone(disk), &dir, ROTATE_BYTES);
    let (log, tail) = opened.with_context(|| format!("open the binlog in {}", dir.display()))?;
    if 0 < tail.cut {
        log::warn!("the binlog ended in an unfinished record: cut {} bytes", tail.cut);
    }
    if 0 < tail.damaged {
        log::error!("{} damaged lines near the end of the binlog", tail.damaged);
    }
    let settled = packed::settle(disk, &dir, log.position().file);
    settled.with_context(|| format!("tidy up compressed files in {}", dir.display()))?;
    log::info!("binlog continues at {}", log.position());
    Ok(log)
}

/// Takes note of the address and the port that we have now, and of what follows from another one
/// than last time: whom to tell, and how the marks of the peers are called. To be called when
/// the binlog is open, so that its directory is there.
pub(crate) fn settle_in(
    disk: &Arc<dyn Disk>,
    config: &Config,
    identity: &IdentityFile,
    addresses: Addresses,
    port: u16,
    parameters: &Parameters,
) -> anyhow::Result<Moved> {
    let (base, known) = (&config.base_path, identity.get());
    let by_address = !parameters.use_storage_id;
    // With ids there is nothing to tell: a storage is the same wherever it is.
    let trackers = if by_address { &config.trackers[..] } else { &[] };
    let follows = parameters.follow_moves || !by_address;
    let moved = Moved::notice(disk, base, &known.last_ip, trackers, addresses.first(), follows)?;
    if by_address && known.last_port != 0 && known.last_port != port {
        let moved = mark::move_port(&**disk, &base.join("data/sync"), known.last_port, port);
        let moved = moved.context("rename the marks of the peers for the new port")?;
        log::info!("the port was {} and is {port} now: {moved} marks renamed", known.last_port);
    }
    // Last: until all this is done, the next start has to find the old ones.
    let save = identity.update(|identity| {
        identity.last_ip = addresses.to_string();
        identity.last_port = port;
    });
    save.context("save .data_init_flag")?;
    Ok(moved)
}

/// Completes the edits that an earlier process had begun: what was noted is applied, recorded
/// and forgotten; then records what else it had done. To be called before the port is open.
pub(crate) fn finish_edits(
    disk: &dyn Disk,
    places: &Places,
    sums: &Sums,
    log: &mut Log,
) -> anyhow::Result<()> {
    for place in places.iter() {
        for path in place.notes()? {
            finish_edit(disk, (place, sums), log, &path, places.count())
                .with_context(|| format!("complete the edit {}", path.display()))?;
        }
    }
    owed::settle(disk, places, sums, log)
}

fn finish_edit(
    disk: &dyn Disk,
    (place, sums): (&Place, &Sums),
    log: &mut Log,
    path: &Path,
    paths: u16,
) -> anyhow::Result<()> {
    let note = match Note::open(disk, path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            // Not whole, so it never got as far as touching its file.
            log::warn!("removed {}: {error}", path.display());
            disk.remove(path)?;
            return Ok(disk.sync_dir(&place.temporary_dir())?);
        }
        other => other?,
    };
    let name = FileName::parse(&note.edit.name, paths)?;
    if !note.is_whole()? {
        // Its file is left as it is. Where the edit had begun, its sums say so.
        log::error!("{} is damaged: an unfinished edit of {name} is lost", path.display());
        return Ok(note.forget(disk, true)?);
    }
    match disk.open(&place.file(&name), Open::Write) {
        // Deleted after the edit was answered and before the note was gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => {
            let file = other?;
            let before = file.stat()?.len;
            note.apply(&*file, true)?;
            finish_sums(sums, &name, &note, &*file)?;
            if let Some(at) = note.edit.replica {
                file.set_mtime(i64::from(at))?;
            }
            let at = u32::try_from(file.stat()?.mtime).unwrap_or(0);
            let (act, first) = match note.edit.kind {
                EditKind::Append => (Act::Append, note.edit.offset),
                EditKind::Modify => (Act::Modify, note.edit.offset),
                EditKind::Truncate => {
                    (Act::Truncate, note.edit.proof.map_or(before, |proof| proof.old_len))
                }
            };
            let second = if act == Act::Truncate { note.edit.offset } else { note.edit.len };
            let mut line = match note.edit.replica {
                Some(at) => replica(at, act, &name),
                None => own(at, act, &name),
            };
            line.extra = Some(format!("{first} {second}"));
            log.append(&line.line()?)?;
            log.sync()?;
            log::info!("completed an edit of {name}");
        }
    }
    Ok(note.forget(disk, true)?)
}

/// Completes the sums of an edit that was completed.
fn finish_sums(
    sums: &Sums,
    name: &FileName,
    note: &Note,
    file: &dyn DiskFile,
) -> anyhow::Result<()> {
    let Some(proof) = note.edit.proof else { return Ok(()) };
    let [head, tail] = proof.kept;
    let kept = Kept { old_len: proof.old_len, head, tail };
    let edit = &note.edit;
    let Changing { span, new_len, .. } =
        Changing::new(edit.kind, edit.offset, edit.len, proof.old_len);
    let whole = sums.after_edit(name, file, (span, kept, new_len), true, true);
    if !whole.with_context(|| format!("complete the sums of {name}"))? {
        log::error!("{name} is damaged beside an edit that a crash had interrupted");
    }
    Ok(())
}

fn text(disk: &dyn Disk, path: &Path) -> anyhow::Result<Option<String>> {
    let bytes = read_whole(disk, path, STATE_BYTES_MAX);
    let bytes = bytes.with_context(|| format!("read {}", path.display()))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::{Chance, Plan, SimulatedDisk};

    const BASE: &str = "/base";

    /// What a start does about the mark of its first store path.
    fn mark(disk: &SimulatedDisk) -> anyhow::Result<()> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (place, found) = Place::open(Arc::clone(&shared), Path::new(BASE), 1)?;
        let identity = IdentityFile::open(shared, Path::new(BASE), 1)?;
        check_mark(disk, &identity, StorePath(0), &place, found.fresh, "mark".to_owned())
    }

    #[test]
    fn a_first_start_that_ended_anywhere_can_be_repeated() {
        for nth in 1.. {
            let disk = SimulatedDisk::with_dirs(&[BASE]);
            disk.plan(Plan::Die(nth));
            let first = mark(&disk);
            mark(&disk.after_kill()).unwrap();
            for seed in 0..8 {
                mark(&disk.after_power_loss(&mut Chance(seed))).unwrap();
            }
            if first.is_ok() {
                break;
            }
        }
    }

    #[test]
    fn the_binlog_lasts_though_its_directory_was_made_without_syncing() {
        let disk = SimulatedDisk::with_dirs(&[BASE]);
        disk.make_dir(Path::new("/base/data")).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let line = "1700000000 C M00/00/00/name\n";
        let mut opened = log(&shared, Path::new(BASE)).unwrap();
        opened.append(line).and_then(|()| opened.sync()).unwrap();
        for seed in 0..20 {
            let files = disk.after_power_loss(&mut Chance(seed)).files();
            let found = files.get(Path::new("/base/data/sync/binlog.000"));
            assert_eq!(found.map(Vec::as_slice), Some(line.as_bytes()), "seed {seed}");
        }
    }
}
