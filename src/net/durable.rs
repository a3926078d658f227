//! Files that must last: the only recipe for replacing one (anchors 25).
//!
//! State files use [`replace`] whole; the storage's own writer ends with the same last steps,
//! [`publish`]. Nothing here retries: a failed sync is final, what follows is the caller's
//! decision (testing.md R6). All calls block, so asynchronous code runs them aside.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::faults::{Effect, effect, piece};

/// A step that went wrong, and on which file.
#[derive(Debug, thiserror::Error)]
#[error("{step} {}", path.display())]
pub struct DurableError {
    pub step: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// Says which step failed on which path.
trait At<T> {
    fn at(self, step: &'static str, path: &Path) -> Result<T, DurableError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: &'static str, path: &Path) -> Result<T, DurableError> {
        self.map_err(|source| DurableError { step, path: path.to_owned(), source })
    }
}

/// Replaces `path` by a file of `content`: after a crash there is the old content or the new,
/// never a mixture. Goes through `path` with `.tmp` behind it, so one caller at a time.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), DurableError> {
    let mut temporary = OsString::from(path.as_os_str());
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    // What a crash left behind is of no use to anybody.
    remove_if_present(&temporary)?;
    let create = || File::options().write(true).create_new(true).open(&temporary);
    let mut file = effect(Effect::Create, &temporary, create).at("create", &temporary)?;
    let written = write_all(&mut file, &temporary, content).at("write", &temporary);
    let done = written.and_then(|()| publish(&file, &temporary, path));
    if done.is_err() {
        // The first error is the one that matters; a leftover is removed next time.
        let _ = effect(Effect::Remove, &temporary, || fs::remove_file(&temporary));
    }
    done
}

/// The last steps of every durable file: sync `file`, rename it from `temporary` to `path`,
/// sync the directory. When this returns, the file outlives a loss of power.
pub fn publish(file: &File, temporary: &Path, path: &Path) -> Result<(), DurableError> {
    sync(file, temporary).at("sync", temporary)?;
    effect(Effect::Rename, path, || fs::rename(temporary, path)).at("rename", path)?;
    sync_dir_of(path)
}

/// Makes the directory entry of `path` durable: after creating, renaming or removing it.
pub fn sync_dir_of(path: &Path) -> Result<(), DurableError> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let sync = || File::open(dir).and_then(|dir| dir.sync_all());
    effect(Effect::SyncDir, dir, sync).at("sync directory", dir)
}

/// Writes all of `content` where `file`, which is `path`, stands.
pub fn write_all(file: &mut File, path: &Path, content: &[u8]) -> io::Result<()> {
    effect(Effect::Write, path, || {
        let mut rest = content;
        while !rest.is_empty() {
            let part = rest.get(..piece(rest.len())?).unwrap_or(rest);
            match file.write(part) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}

/// Makes the content of `file`, which is `path`, survive power loss. Never to be called again
/// after an error.
pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    effect(Effect::SyncData, path, || file.sync_all())
}

/// Opens `path` for appending, creating it durably if it is not there: what is appended and
/// synced later cannot be lost together with its name.
pub fn open_append(path: &Path) -> Result<File, DurableError> {
    let existed = path.try_exists().at("look for", path)?;
    let open = || File::options().append(true).create(true).open(path);
    let file = effect(Effect::Open, path, open).at("open", path)?;
    if !existed {
        sync_dir_of(path)?;
    }
    Ok(file)
}

/// Removes a file; one that is not there is as good as removed.
pub fn remove_if_present(path: &Path) -> Result<(), DurableError> {
    match effect(Effect::Remove, path, || fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, removed at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("net-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_over() {
        let dir = Dir::new("replace");
        let path = dir.0.join("state.dat");
        File::create(dir.0.join("state.dat.tmp")).unwrap(); // as a crash leaves it
        for content in [&b"first"[..], b"", b"second, longer"] {
            replace(&path, content).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_step_and_path_and_keeps_the_old_file() {
        let dir = Dir::new("failure");
        let path = dir.0.join("taken");
        fs::create_dir_all(path.join("full")).unwrap(); // rename cannot replace a directory
        let error = replace(&path, b"x").unwrap_err();
        assert_eq!(error.step, "rename");
        assert!(error.to_string().ends_with("/taken"));
        assert!(path.join("full").exists() && !dir.0.join("taken.tmp").exists());
        assert_eq!(replace(&dir.0.join("no/dir"), b"x").unwrap_err().step, "create");
    }

    #[test]
    fn appending_creates_once_and_then_continues() {
        let dir = Dir::new("append");
        let path = dir.0.join("log");
        for line in ["one\n", "two\n"] {
            open_append(&path).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        remove_if_present(&path).unwrap();
        remove_if_present(&path).unwrap();
    }
}
