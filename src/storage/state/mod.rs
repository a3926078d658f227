//! Small files about ourselves, in the reference's formats, so that either implementation can
//! take a data directory over (storage.md 5).

pub mod counters; // storage_stat.dat: what was done, and the next directory

pub mod identity; // .data_init_flag: who we are and how the initial copy stands

pub mod path_mark; // .fastdfs_vars: does this disk belong to us

pub mod names; // names given out a moment ago

/// The value of `key` in a text of `key=value` lines.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    pairs(text).find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The `key=value` lines of a text; other lines are ignored.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(key, value)| (key.trim(), value.trim()))
}
