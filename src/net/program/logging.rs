//! Where log lines go: the error stream, or a file that can be opened anew. Only `program`
//! uses it; everybody else calls the macros of `log`.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Context as _;
use env_logger::{Builder, Target};
use log::{LevelFilter, info, warn};

use crate::rotate::RotatingFile;

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

pub(super) fn to_file(file: &Arc<RotatingFile>, level: LevelFilter) -> anyhow::Result<()> {
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

/// Begins the file anew; if that fails, the old one goes on.
pub(super) fn renew(file: &RotatingFile) {
    match file.renew() {
        Ok(()) => info!("log opened anew"),
        Err(error) => warn!("kept the old log: {error}"),
    }
}

/// What the logger writes to.
struct Pipe(Arc<RotatingFile>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
}
