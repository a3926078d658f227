//! The small files on disk: what a daemon reads at its start, whoever wrote it.
//!
//! Sections of the input are separated by a line of `--`.

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut sections = text.split("--\n");
    let mut next = || sections.next().map(str::to_owned);
    let (groups, storages, times) = (next(), next(), next());
    let _ = tracker::fuzzing::restore(groups, storages, times, next().unwrap_or_default());
    storage::fuzzing::state(text);
}
