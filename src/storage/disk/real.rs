//! The real disk: each effect of the port is one system call, which tests can count and fail.
//!
//! Made once by `run`. Never follows a link when it writes, never retries a failed sync, and
//! keeps no cache: what it reports is what the kernel says now.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStringExt, fs::FileExt},
    },
    path::{Path, PathBuf},
};

use net::faults::{Effect, effect, piece};
use rustix::fs::{
    Advice, AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, StatVfsMountFlags,
    Timespec, Timestamps,
};

use super::port::{Disk, DiskFile, Kind, Open, Space, Stat};

/// Files are readable for everyone: nginx serves them as another user.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const DIR_MODE: Mode = Mode::from_raw_mode(0o755);

/// The adapter.
#[derive(Debug, Default)]
pub struct RealDisk {}

fn wrap(file: File, path: &Path) -> Box<dyn DiskFile> {
    #[cfg(not(feature = "faults"))]
    let _ = path;
    Box::new(RealFile {
        file,
        #[cfg(feature = "faults")]
        path: path.to_owned(),
    })
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        effect(Effect::Create, path, || {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::open(path, flags | OFlags::NOFOLLOW, FILE_MODE)?;
            Ok(wrap(file.into(), path))
        })
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        effect(Effect::Open, path, || {
            let flags = match how {
                // A pipe or device that somebody put here must not stop us: NONBLOCK.
                Open::Read => OFlags::RDONLY | OFlags::NONBLOCK,
                Open::Write => OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK,
                Open::WriteOrCreate => OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CREATE,
            };
            let file = rustix::fs::open(path, flags | OFlags::CLOEXEC, FILE_MODE)?;
            Ok(wrap(file.into(), path))
        })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        effect(Effect::Rename, to, || {
            match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    // File systems without the flag have hard links, which refuse likewise.
                    rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
                    Ok(rustix::fs::unlinkat(CWD, from, AtFlags::empty())?)
                }
                other => Ok(other?),
            }
        })
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        effect(Effect::Rename, to, || Ok(rustix::fs::rename(from, to)?))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if net::plant!("no directory sync") {
            return Ok(());
        }
        effect(Effect::SyncDir, dir, || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(dir, flags, Mode::empty())?;
            Ok(rustix::fs::fsync(dir)?)
        })
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        effect(Effect::MakeDir, dir, || Ok(rustix::fs::mkdir(dir, DIR_MODE)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        effect(Effect::Remove, path, || Ok(rustix::fs::unlink(path)?))
    }

    fn make_link(&self, target: &Path, at: &Path) -> io::Result<()> {
        effect(Effect::Link, at, || Ok(rustix::fs::symlink(target, at)?))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        effect(Effect::ReadLink, path, || {
            let target = rustix::fs::readlink(path, Vec::new())?;
            Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        effect(Effect::List, dir, || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(dir, flags, Mode::empty())?;
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(dir)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.push(OsString::from_vec(name));
                }
            }
            Ok(names)
        })
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        effect(Effect::Stat, path, || Ok(facts(&rustix::fs::lstat(path)?)))
    }

    fn stat_target(&self, path: &Path) -> io::Result<Stat> {
        effect(Effect::Stat, path, || Ok(facts(&rustix::fs::stat(path)?)))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        effect(Effect::Space, path, || {
            let vfs = rustix::fs::statvfs(path)?;
            let usable = !vfs.f_flag.contains(StatVfsMountFlags::RDONLY);
            let free = if usable { vfs.f_bavail.saturating_mul(vfs.f_frsize) } else { 0 };
            Ok(Space { total: vfs.f_blocks.saturating_mul(vfs.f_frsize), free })
        })
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// For the trace of effects.
    #[cfg(feature = "faults")]
    path: PathBuf,
}

impl RealFile {
    fn effect<T>(&self, kind: Effect, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        #[cfg(feature = "faults")]
        let path = &*self.path;
        #[cfg(not(feature = "faults"))]
        let path = Path::new("");
        effect(kind, path, act)
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.effect(Effect::Write, || {
            let (mut rest, mut at) = (bytes, offset);
            while !rest.is_empty() {
                let piece = rest.get(..piece(rest.len())?).unwrap_or(rest);
                match self.file.write_at(piece, at) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        rest = rest.get(count..).unwrap_or_default();
                        at = at.saturating_add(count as u64);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.effect(Effect::Read, || {
            let most = piece(out.len())?;
            let out = out.get_mut(..most).unwrap_or_default();
            loop {
                match self.file.read_at(out, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => return other,
                }
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        if net::plant!("no file sync") {
            return Ok(());
        }
        // fdatasync includes the length, which is all of the metadata that a reader needs.
        let synced = self.effect(Effect::SyncData, || self.file.sync_data());
        if synced.is_err() && net::plant!("sync retried after error") {
            return self.effect(Effect::SyncData, || self.file.sync_data());
        }
        synced
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.effect(Effect::Truncate, || self.file.set_len(len))
    }

    fn set_mtime(&self, secs: i64) -> io::Result<()> {
        self.effect(Effect::SetTimes, || {
            let time = Timespec { tv_sec: secs, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            Ok(rustix::fs::futimens(&self.file, &times)?)
        })
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.effect(Effect::Reserve, || {
            Ok(rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, len)?)
        })
    }

    fn stat(&self) -> io::Result<Stat> {
        self.effect(Effect::Stat, || Ok(facts(&rustix::fs::fstat(&self.file)?)))
    }

    fn will_read(&self, offset: u64, len: u64) {
        let len = std::num::NonZeroU64::new(len);
        // A hint that is refused changes nothing.
        let _ = rustix::fs::fadvise(&self.file, offset, len, Advice::WillNeed);
    }

    fn raw(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

fn facts(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    Stat { kind, len: u64::try_from(stat.st_size).unwrap_or(0), mtime: stat.st_mtime }
}
