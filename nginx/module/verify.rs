//! Reads a file once before it is sent first, and compares its CRC32 with the one in its name.
//!
//! Called by `handler` where `fastdfs_verify once` holds. The reading is done by a thread of
//! nginx's pool, which is given a path and nothing of nginx's; a worker process goes on serving
//! others meanwhile. What was right is remembered by each worker until the file changes; what
//! was wrong is not, so that a repaired file is served at once.

use std::cell::RefCell;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use proto::fileid::{FileName, Kind, STORE_PATHS_MAX};

use crate::conf::Conf;
use crate::ffi::{OpenFile, Request, Status};
use crate::handler::{Refusal, Wanted};
use crate::locate::Found;

/// Bytes read at a time.
const BUFFER_LEN: usize = 256 * 1024;
/// The error number for errors that carry none.
const EIO: i32 = 5;
/// Files remembered as right, per worker: 512 KiB, whatever is served.
const REMEMBERED: usize = 1 << 16;

/// Everything needed to go on when the file has been read.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) wanted: Wanted,
    pub(crate) found: Found,
    pub(crate) check: Check,
}

/// The work of a thread.
#[derive(Debug)]
pub(crate) struct Check {
    path: PathBuf,
    inode: u64,
    named: u32,
    pub(crate) verdict: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong {
        found: u32,
        named: u32,
    },
    /// The error number of the read, or of an open that met another file.
    Unread(i32),
}

thread_local! {
    /// A table of fingerprints, each in the one place that it leads to. Empty until it is used.
    static RIGHT: RefCell<(std::hash::RandomState, Vec<u64>)> = RefCell::default();
}

/// Whether the file has to be read before it is sent.
pub(crate) fn is_needed(conf: &Conf, wanted: &Wanted, found: &Found) -> bool {
    let summed = wanted.kind == Kind::Normal && found.whole;
    summed && conf.threads.is_some() && !is_remembered(&found.file)
}

/// Has a thread read the file; `handler::resume` goes on afterwards.
pub(crate) fn begin(
    request: &mut Request<'_>,
    conf: &Conf,
    wanted: Wanted,
    found: Found,
) -> Result<Status, Refusal> {
    let Some(threads) = conf.threads else { return Err(Refusal::Nginx(Status::UNAVAILABLE)) };
    let check = Check {
        path: found.file.path(),
        inode: found.file.inode(),
        named: wanted.record.crc32,
        verdict: None,
    };
    request.run_aside(threads, Pending { wanted, found, check })
}

impl Check {
    /// Reads the file. Blocks, so only a thread of the pool calls it.
    pub(crate) fn run(&mut self) {
        let outcome = self.read();
        self.verdict = Some(
            outcome.unwrap_or_else(|error| Verdict::Unread(error.raw_os_error().unwrap_or(EIO))),
        );
    }

    fn read(&self) -> std::io::Result<Verdict> {
        let named = self.expected()?;
        // Opened anew: a descriptor with direct I/O would need aligned buffers.
        let mut file = File::open(&self.path)?;
        if file.metadata()?.ino() != self.inode {
            return Err(std::io::ErrorKind::StaleNetworkFileHandle.into());
        }
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => hasher.update(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let found = hasher.finalize();
        let is_right = named.is_none_or(|named| named == found);
        let named = named.unwrap_or(found);
        Ok(if is_right { Verdict::Right } else { Verdict::Wrong { found, named } })
    }

    /// The sum in the name; that of the target for a link, whose own is random (storage.md 3.12).
    fn expected(&self) -> std::io::Result<Option<u32>> {
        if !self.path.symlink_metadata()?.is_symlink() {
            return Ok(Some(self.named));
        }
        Ok(sum_of_target(&std::fs::read_link(&self.path)?))
    }
}

/// The sum in the name of a stored file that is given as a path; none if the name has none.
fn sum_of_target(path: &Path) -> Option<u32> {
    let text = path.to_str()?;
    let (_, name) = text.rsplit_once("/data/")?;
    let name = FileName::parse(name, STORE_PATHS_MAX).ok()?;
    let record = name.record()?;
    (name.kind_with(&record) == Kind::Normal).then_some(record.crc32)
}

/// Remembers that a file is right, until it changes or its place is needed.
pub(crate) fn remember(file: &OpenFile) {
    RIGHT.with_borrow_mut(|(state, table)| {
        if table.is_empty() {
            table.resize(REMEMBERED, 0);
        }
        let print = fingerprint(state, file);
        if let Some(slot) = table.get_mut(place(print)) {
            *slot = print;
        }
    });
}

fn is_remembered(file: &OpenFile) -> bool {
    RIGHT.with_borrow(|(state, table)| {
        let print = fingerprint(state, file);
        table.get(place(print)) == Some(&print)
    })
}

fn fingerprint(state: &std::hash::RandomState, file: &OpenFile) -> u64 {
    // Never 0, which stands for an empty place.
    state.hash_one((file.path_bytes(), file.inode(), file.mtime(), file.size())) | 1
}

fn place(print: u64) -> usize {
    usize::try_from(print >> 1).unwrap_or(0) % REMEMBERED
}

/// The line for the error log.
pub(crate) fn complaint(found: u32, named: u32) -> String {
    format!("the CRC32 of the file is {found:08x}, its name says {named:08x}: damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_compared_with_its_target() {
        for (path, sum) in [
            ("/s/data/66/D1/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt", Some(0xc458_1f24)),
            ("/s/data/x/data/66/D1/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt", Some(0xc458_1f24)),
            ("/s/data/66/D1/wKgBaWVT8QCAEjRWAAAADcRYHyQ482_big.txt", None), // a slave
            ("/s/data/66/D1/wKgBaWVT8QCEK83vAAAAAMRYHyQ482.txt", None),     // an appender
            ("/etc/passwd", None),
            ("relative", None),
        ] {
            assert_eq!(sum_of_target(Path::new(path)), sum, "{path}");
        }
    }
}
