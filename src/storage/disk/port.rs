//! The disk as a set of effects: everything the store may do to its files, and nothing else.
//!
//! Used by all of `storage`; the real adapter is `disk::real`, tests bring a simulated disk and
//! one that fails on purpose. No code of this crate changes a stored file except through here,
//! so that "fail the n-th call" and "lose power at the n-th call" cover every instruction.
//! There are no writable memory maps and no writes without an offset.

use std::{
    ffi::OsString,
    fmt, io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

/// What an entry of a directory is; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    Link,
    Other,
}

/// Facts about one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    pub len: u64,
    /// Last change of the content, Unix seconds.
    pub mtime: i64,
}

/// Room of a file system, in bytes; `free` is what an unprivileged process may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

/// How an existing file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    Read,
    Write,
    /// For logs: created when absent.
    WriteOrCreate,
}

/// The effects on names. Each call is one numbered effect; every call may block.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a file that must not exist yet (mode 0644).
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file. A link as the last part of the path is followed only for reading.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;
    /// Gives `from` the name `to`, atomically; fails with `AlreadyExists` instead of replacing.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives `from` the name `to`, atomically, replacing what was there.
    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in `dir` survive power loss.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates one directory (mode 0755); `AlreadyExists` when it is there.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the symbolic link `at`, which leads to `target`; `AlreadyExists` when it is taken.
    fn make_link(&self, target: &Path, at: &Path) -> io::Result<()>;
    /// Where a symbolic link leads.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// The names in `dir`, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Facts about `path` itself: a link is reported as a link.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Facts about what `path` leads to: links are followed.
    fn stat_target(&self, path: &Path) -> io::Result<Stat>;
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// The effects on the content of an open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes all of `bytes`, or fails; what a failed call left behind is unknown.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads up to `out.len()` bytes; 0 only at the end of the file.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Makes content and length survive power loss. After an error it must not be called again:
    /// the kernel may have dropped the pages that it could not write.
    fn sync_data(&self) -> io::Result<()>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Sets the times of access and change, in Unix seconds: a replica has those of its source.
    fn set_mtime(&self, secs: i64) -> io::Result<()>;
    /// Asks for room for `len` bytes at `offset` without changing the length. `Unsupported` is
    /// harmless. What is there already costs time all the same, page by page.
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()>;
    fn stat(&self) -> io::Result<Stat>;
    /// Hint: this part will be read soon. Never waits.
    fn will_read(&self, _offset: u64, _len: u64) {}
    /// The descriptor, for `sendfile`; a simulated file has none.
    fn raw(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
