//! Disks in memory that write down what happens to them: a FUSE file system of two files, each
//! behind a loop device, with one list of writes and flushes in their order.
//!
//! Between two flushes of a disk the order of its writes means nothing: a power loss may keep any
//! of their sectors. What a loss may leave is built by `images`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, Session, WriteFlags,
};

/// Large enough for the smallest xfs.
pub(crate) const DISK_BYTES: u64 = 320 << 20;
pub(crate) const SECTOR: usize = 512;
const CHUNK: u64 = 4096;
/// The disks: of the base path, and of the store path.
pub(crate) const DISKS: [&str; 2] = ["base", "store"];

/// What happened, in order.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write {
        disk: usize,
        at: u64,
        bytes: Vec<u8>,
    },
    Flush {
        disk: usize,
    },
    /// The client is about to send operation n.
    Called(usize),
    /// The client has read the success answer of operation n.
    Acknowledged(usize),
}

/// The content of a disk; chunks that are not there are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content(BTreeMap<u64, Arc<Vec<u8>>>);

impl Content {
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let position = at + done as u64;
            let inside = usize::try_from(position % CHUNK).unwrap();
            let count = (bytes.len() - done).min(CHUNK as usize - inside);
            let part = &bytes[done..done + count];
            done += count;
            let key = position / CHUNK;
            if !self.0.contains_key(&key) && part.iter().all(|byte| *byte == 0) {
                continue;
            }
            let chunk = self.0.entry(key).or_insert_with(|| Arc::new(vec![0; CHUNK as usize]));
            Arc::make_mut(chunk)[inside..inside + count].copy_from_slice(part);
        }
    }

    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        let mut done = 0;
        while done < len {
            let position = at + done as u64;
            let inside = usize::try_from(position % CHUNK).unwrap();
            let count = (len - done).min(CHUNK as usize - inside);
            if let Some(chunk) = self.0.get(&(position / CHUNK)) {
                out[done..done + count].copy_from_slice(&chunk[inside..inside + count]);
            }
            done += count;
        }
        out
    }

    /// A sparse file of this content.
    pub(crate) fn store(&self, path: &Path) {
        let file = fs::File::create(path).unwrap();
        file.set_len(DISK_BYTES).unwrap();
        for (key, chunk) in &self.0 {
            file.write_all_at(chunk, key * CHUNK).unwrap();
        }
    }
}

/// What the file system shares with the test.
#[derive(Debug, Default)]
struct State {
    disks: [Content; 2],
    events: Vec<Event>,
    recording: bool,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }
}

struct Files(Shared);

const TTL: Duration = Duration::from_secs(60);

fn attributes(ino: INodeNo, kind: FileType) -> FileAttr {
    FileAttr {
        ino,
        size: if kind == FileType::RegularFile { DISK_BYTES } else { 0 },
        blocks: DISK_BYTES / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o700,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: 4096,
    }
}

/// The disk that an inode stands for.
fn disk(ino: INodeNo) -> Option<usize> {
    let index = usize::try_from(u64::from(ino)).ok()?.checked_sub(2)?;
    (index < DISKS.len()).then_some(index)
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match DISKS.iter().position(|known| name == *known) {
            Some(index) => {
                let ino = INodeNo(index as u64 + 2);
                reply.entry(&TTL, &attributes(ino, FileType::RegularFile), Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let kind = if disk(ino).is_some() { FileType::RegularFile } else { FileType::Directory };
        reply.attr(&TTL, &attributes(ino, kind));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No page cache between the loop device and us: what it writes is seen at once.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(disk) = disk(ino) else { return reply.error(Errno::EISDIR) };
        let len = u64::from(size).min(DISK_BYTES.saturating_sub(offset));
        let bytes = self.0.with(|state| state.disks[disk].read(offset, len as usize));
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some(disk) = disk(ino) else { return reply.error(Errno::EISDIR) };
        self.0.with(|state| {
            state.disks[disk].write(offset, data);
            if state.recording {
                state.events.push(Event::Write { disk, at: offset, bytes: data.to_vec() });
            }
        });
        reply.written(u32::try_from(data.len()).unwrap());
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let Some(disk) = disk(ino) else { return reply.error(Errno::EISDIR) };
        self.0.with(|state| {
            if state.recording {
                state.events.push(Event::Flush { disk });
            }
        });
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// The mounted recorder.
pub(crate) struct Recorder {
    shared: Shared,
    session: Option<BackgroundSession>,
    at: PathBuf,
}

impl Recorder {
    /// Mounts it at `at`, which is made.
    pub(crate) fn mount(at: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(at)?;
        let shared = Shared::default();
        let session = Session::new(Files(shared.clone()), at, &Config::default())?.spawn()?;
        Ok(Self { shared, session: Some(session), at: at.to_owned() })
    }

    pub(crate) fn file(&self, disk: usize) -> PathBuf {
        self.at.join(DISKS[disk])
    }

    /// Begins to record; the content as it is now.
    pub(crate) fn record(&self) -> [Content; 2] {
        self.shared.with(|state| {
            state.recording = true;
            state.disks.clone()
        })
    }

    pub(crate) fn note(&self, event: Event) {
        self.shared.with(|state| state.events.push(event));
    }

    /// Stops recording; all that happened.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.with(|state| {
            state.recording = false;
            std::mem::take(&mut state.events)
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ended = session.umount_and_join();
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if out.status.success() {
        return Ok(text);
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

/// A mounted file system on a loop device; both go away with it.
pub(crate) struct Mounted {
    device: String,
    at: PathBuf,
}

impl Mounted {
    /// A loop device over `file`.
    fn attach(file: &Path, direct: bool) -> Result<String, String> {
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        run("losetup", &["-f", "--show", direct, &file.display().to_string()])
    }

    /// Makes a file system on `file` and mounts it at `at`.
    pub(crate) fn make(kind: &str, file: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let device = Self::attach(file, true)?;
        let made = match kind {
            "ext4" => run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard", "-J", "size=8", &device]),
            _ => run("mkfs.xfs", &["-q", "-f", "-K", &device]),
        };
        let mounted = Self { device, at: at.to_owned() };
        made?;
        run("mount", &[&mounted.device, &at.display().to_string()])?;
        Ok(mounted)
    }

    /// Mounts what is in `file`; its journal is recovered.
    pub(crate) fn open(kind: &str, file: &Path, at: &Path) -> Result<Self, String> {
        let device = Self::attach(file, false)?;
        let mounted = Self { device, at: at.to_owned() };
        // Images of one xfs all have its identity.
        let options = if kind == "xfs" { "nouuid" } else { "defaults" };
        run("mount", &["-o", options, &mounted.device, &at.display().to_string()])?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Not mounted where making or mounting it has failed.
        let _unmounted = run("umount", &[&self.at.display().to_string()]);
        if let Err(error) = run("losetup", &["-d", &self.device]) {
            println!("crash: {error}");
        }
    }
}
