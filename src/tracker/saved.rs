//! The state files: read at start, replaced whole afterwards.
//!
//! Their text is made and understood by `cluster`; here are only names and the disk. All calls
//! block, so `effects` runs them aside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use log::warn;
use net::durable;
use proto::ini::Ini;
use proto::tracker::UnixTime;

use crate::cluster::{Saved, StateFile};

/// Largest state file that is read: some hundred times a large cluster's.
const FILE_LEN_MAX: u64 = 64 << 20;
const CHANGELOG: &str = "storage_changelog.dat";
const STATUS: &str = ".tracker_status";
/// Before this release the files had other names and columns.
const LEGACY: [&str; 2] = ["storage_groups.dat", "storage_servers.dat"];

fn name_of(file: StateFile) -> &'static str {
    match file {
        StateFile::Groups => "storage_groups_new.dat",
        StateFile::Storages => "storage_servers_new.dat",
        StateFile::SyncTimes => "storage_sync_timestamp.dat",
        StateFile::ChangeLog => CHANGELOG,
    }
}

/// The directory `data` below the base path.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the directory if it is not there.
    pub(crate) fn open(base_path: &Path) -> anyhow::Result<Self> {
        let path = base_path.join("data");
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    /// A directory that nothing is read from or written to, for fuzzing.
    #[cfg(feature = "faults")]
    pub(crate) fn nowhere() -> Self {
        Self { path: PathBuf::new() }
    }

    /// What was saved. Files that are not there are `None`; any other trouble ends the start.
    pub(crate) fn read(&self) -> anyhow::Result<Saved> {
        let groups = self.read_file(name_of(StateFile::Groups))?;
        if groups.is_none() && LEGACY.iter().any(|name| self.path.join(name).exists()) {
            bail!(
                "{} holds state files of FastDFS before 5.0 ({}); start a reference tracker once \
                 to convert them",
                self.path.display(),
                LEGACY.join(", ")
            );
        }
        let status = self.read_file(STATUS)?;
        Ok(Saved {
            groups,
            storages: self.read_file(name_of(StateFile::Storages))?,
            sync_times: self.read_file(name_of(StateFile::SyncTimes))?,
            changelog: self.read_changelog()?,
            last_check: status.as_deref().and_then(last_check),
        })
    }

    /// Reads the change log, and cuts off a line that the end of the process has left
    /// unfinished: the next one would be appended to it.
    fn read_changelog(&self) -> anyhow::Result<String> {
        let mut text = self.read_file(CHANGELOG)?.unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            let path = self.path.join(CHANGELOG);
            warn!("{} ends in an unfinished line: cut", path.display());
            text.truncate(whole);
            let cut = || {
                let file = fs::File::options().write(true).open(&path)?;
                file.set_len(u64::try_from(whole).map_err(io::Error::other)?)?;
                file.sync_all()
            };
            cut().with_context(|| format!("cut {}", path.display()))?;
        }
        Ok(text)
    }

    fn read_file(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.path.join(name);
        let len = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("look at {}", path.display())),
        };
        if FILE_LEN_MAX < len {
            bail!("{} has {len} bytes; at most {FILE_LEN_MAX} are read", path.display());
        }
        let text = fs::read_to_string(&path);
        text.map(Some).with_context(|| format!("read {}", path.display()))
    }

    /// Replaces files together, each wholly or not at all. The rows of the sync times must fit
    /// the storages, so while both change there are no times: storages report them again, but a
    /// file that does not fit would end the next start.
    pub(crate) fn replace_all(&self, texts: &[(StateFile, String)]) -> anyhow::Result<()> {
        let changes = |file| texts.iter().any(|(other, _)| *other == file);
        if changes(StateFile::Storages) && changes(StateFile::SyncTimes) {
            let times = self.path.join(name_of(StateFile::SyncTimes));
            durable::remove_if_present(&times)?;
            durable::sync_dir_of(&times)?;
        }
        texts.iter().try_for_each(|(file, text)| self.replace(*file, text))
    }

    /// Replaces a file: after a crash there is the old content or the new.
    fn replace(&self, file: StateFile, text: &str) -> anyhow::Result<()> {
        Ok(durable::replace(&self.path.join(name_of(file)), text.as_bytes())?)
    }

    /// Adds lines to the change log, and returns when they are on disk.
    pub(crate) fn append_changelog(&self, lines: &str) -> anyhow::Result<()> {
        let path = self.path.join(CHANGELOG);
        let mut file = durable::open_append(&path)?;
        let len = file.metadata().with_context(|| format!("look at {}", path.display()))?.len();
        let written = durable::write_all(&mut file, &path, lines.as_bytes())
            .and_then(|()| durable::sync(&file, &path));
        if written.is_err() {
            // The lines will be appended again, so no part of them may stay.
            file.set_len(len).with_context(|| format!("cut {} back", path.display()))?;
        }
        written.with_context(|| format!("append to {}", path.display()))
    }

    /// Says that the tracker runs. The next start finds out how long it was down.
    pub(crate) fn write_status(&self, started: UnixTime, now: UnixTime) -> anyhow::Result<()> {
        let text = format!("up_time={}\nlast_check_time={}\n", started.0, now.0);
        Ok(durable::replace(&self.path.join(STATUS), text.as_bytes())?)
    }
}

/// An unreadable status file only means that the time of the last run is unknown.
fn last_check(text: &str) -> Option<UnixTime> {
    let ini = Ini::parse(text).ok()?;
    ini.get("last_check_time")?.int().ok().map(UnixTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A base path of this test's own, removed at the end.
    struct Base(PathBuf);

    impl Base {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tracker-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Base {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_unfinished_line_of_the_change_log_is_cut_off() {
        let base = Base::new("torn");
        let dir = StateDir::open(&base.0).unwrap();
        for (torn, kept) in [("one \ntwo", "one \n"), ("one", ""), ("one \n", "one \n")] {
            durable::replace(&dir.path.join(CHANGELOG), torn.as_bytes()).unwrap();
            assert_eq!(dir.read().unwrap().changelog, kept);
            dir.append_changelog("three \n").unwrap();
            let now = fs::read_to_string(dir.path.join(CHANGELOG)).unwrap();
            assert_eq!(now, format!("{kept}three \n"));
        }
    }

    #[test]
    fn sync_times_never_stand_beside_storages_that_they_do_not_fit() {
        let base = Base::new("times");
        let dir = StateDir::open(&base.0).unwrap();
        let texts = |text: &str| {
            [StateFile::Storages, StateFile::SyncTimes].map(|file| (file, text.to_owned()))
        };
        dir.replace_all(&texts("old")).unwrap();
        assert_eq!(dir.read().unwrap().sync_times.as_deref(), Some("old"));
        // A directory in the place of the temporary file: it ends between the two.
        fs::create_dir(dir.path.join("storage_sync_timestamp.dat.tmp")).unwrap();
        dir.replace_all(&texts("new")).unwrap_err();
        let saved = dir.read().unwrap();
        assert_eq!((saved.storages.as_deref(), saved.sync_times), (Some("new"), None));
    }
}
