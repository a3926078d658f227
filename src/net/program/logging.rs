//! Where log lines go: the error stream, or a file that can be opened anew. Only `program`
//! uses it; everybody else calls the macros of `log`.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use env_logger::{Builder, Target};
use log::{LevelFilter, info, warn};

/// The level that a `log_level` key means: `emerg` to `debug`, by prefix, in any case
/// (tracker.md 13.2).
pub fn level_of(text: &str) -> Option<LevelFilter> {
    let text = text.to_ascii_lowercase();
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
    match () {
        () if is(&["emerg", "alert", "crit", "error"]) => Some(LevelFilter::Error),
        () if is(&["warn"]) => Some(LevelFilter::Warn),
        () if is(&["notice", "info"]) => Some(LevelFilter::Info),
        () if is(&["debug"]) => Some(LevelFilter::Debug),
        () => None,
    }
}

pub(super) fn to_stderr(level: LevelFilter) -> anyhow::Result<()> {
    start(Target::Stderr, level)
}

pub(super) fn to_file(file: &Arc<LogFile>, level: LevelFilter) -> anyhow::Result<()> {
    start(Target::Pipe(Box::new(Pipe(Arc::clone(file)))), level)
}

fn start(target: Target, level: LevelFilter) -> anyhow::Result<()> {
    Builder::new()
        .filter_level(level)
        .target(target)
        .format(|out, record| {
            let time = out.timestamp_millis();
            writeln!(out, "[{time}] {} - {}", record.level(), record.args())
        })
        .try_init()
        .context("start the log")
}

/// A log file, which another program may move away before it asks for a new one by HUP.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Arc<Self>> {
        let file = append_to(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Arc::new(Self { path, file: Mutex::new(file) }))
    }

    /// Opens the path anew; if that fails, the old file goes on.
    pub(super) fn reopen(&self) {
        match append_to(&self.path) {
            Ok(fresh) => {
                *self.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                info!("log opened anew");
            }
            Err(error) => warn!("kept the old log, open {}: {error}", self.path.display()),
        }
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// What the logger writes to.
struct Pipe(Arc<LogFile>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_names_of_the_reference() {
        for (text, level) in [
            ("emerg", Some(LevelFilter::Error)),
            ("WARNING", Some(LevelFilter::Warn)),
            ("Notice", Some(LevelFilter::Info)),
            ("info", Some(LevelFilter::Info)),
            ("debug", Some(LevelFilter::Debug)),
            ("loud", None),
            ("", None),
        ] {
            assert_eq!(level_of(text), level, "{text}");
        }
    }

    #[test]
    fn a_log_that_was_moved_away_is_made_anew() {
        let path = std::env::temp_dir().join(format!("net-log-{}", std::process::id()));
        let moved = path.with_extension("old");
        let log = LogFile::open(path.clone()).unwrap();
        let mut pipe = Pipe(Arc::clone(&log));
        pipe.write_all(b"one").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.reopen();
        pipe.write_all(b"two").unwrap();
        assert_eq!(std::fs::read(&moved).unwrap(), b"one");
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        for path in [path, moved] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
