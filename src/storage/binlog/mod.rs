//! The sync binlog: the record of every change, which replication follows.

pub mod group; // pure: which waiting operations one sync covers

pub mod log; // the files: repair, append, rotate

pub mod writer; // the thread that owns the log, and the handle to it
