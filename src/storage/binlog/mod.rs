//! The sync binlog: the record of every change, which replication follows.

pub mod group; // pure: which waiting operations one sync covers

pub mod log; // the files: repair, append, rotate

pub mod writer; // the thread that owns the log, and the handle to it

pub mod reader; // follow from a position, whatever the lines hold

pub mod packed; // old files, compressed

pub mod mark; // how far each peer has got

/// A place in the log, between two records: a file and an offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub file: u32,
    pub offset: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}
