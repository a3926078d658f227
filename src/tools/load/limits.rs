//! What this machine can do at all, measured in the same run as the load it is compared with:
//! the same operations against a bare server, the loopback device alone, files alone.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use net::ports::{Clock, World};
use proto::address::IpWidth;
use proto::command::Command;
use proto::header::Header;
use proto::ids::{GroupName, StorePath};
use proto::tracker::query::{Endpoint, FetchTarget, StoreTarget};
use serde::Serialize;

use super::bare::{Answers, Bare, Canned};
use super::run::{Connect, Plan, run};
use super::work::PIECE_BYTES;
use crate::Failure;

/// How long each part is measured.
const SPAN: Duration = Duration::from_secs(1);
/// The bare server is loaded for at most this long, and not longer than the real one was.
const BARE_SPAN_MAX: Duration = Duration::from_secs(3);
const BARE_WARMUP: Duration = Duration::from_millis(300);
/// Bytes that one part may write to the file system.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Threads that make files: as many as the reference machines have cores.
const FILE_THREADS: u32 = 2;
/// What a real storage answers to an upload: group and name.
const STORED: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ4829999";

#[derive(Clone, Debug, Serialize)]
pub(super) struct Limits {
    /// The same operations against servers that only move the bytes.
    pub(super) bare_ops_per_sec: f64,
    pub(super) bare_bytes_per_sec: f64,
    /// One stream over the loopback device, written from memory.
    pub(super) loopback_bytes_per_sec: f64,
    /// The same, sent from a file by the kernel.
    pub(super) loopback_sendfile_bytes_per_sec: f64,
    pub(super) files: Files,
}

/// Files a second, of one size, by several threads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Files {
    pub(super) size: u64,
    pub(super) threads: u32,
    pub(super) create_per_sec: f64,
    /// Created under one name and renamed to another.
    pub(super) rename_per_sec: f64,
    /// The same, with data synced before the renaming.
    pub(super) sync_per_sec: f64,
}

/// Measures all of it; `dir` is where files are made.
pub(super) async fn measure(
    world: &World,
    plan: &Plan,
    connect: Connect<'_>,
    dir: &Path,
) -> Result<Limits, Failure> {
    let local = |source| Failure::Local { what: format!("measure in {}", dir.display()), source };
    let size = plan.sizes.typical();
    let own = Scratch::create(dir).map_err(local)?;
    let content = own.content(size).map_err(local)?;
    let storage = Bare::start(storage_answers(size), content.try_clone().map_err(local)?);
    let storage = storage.map_err(local)?;
    let tracker = Bare::start(tracker_answers(storage.at), content.try_clone().map_err(local)?);
    let tracker = tracker.map_err(local)?;
    let plan = Plan {
        files: 1,
        rate: None,
        count: None,
        duration: plan.duration.min(BARE_SPAN_MAX),
        warmup: BARE_WARMUP,
        ..plan.clone()
    };
    let bare = run(world, &plan, connect, &[tracker.at], &[]).await?;
    let secs = bare.elapsed.as_secs_f64().max(f64::EPSILON);
    drop((tracker, storage));
    let clock = &world.clock;
    let stream = own.content(64 << 20).map_err(local)?;
    Ok(Limits {
        bare_ops_per_sec: bare.tally.operations() as f64 / secs,
        bare_bytes_per_sec: bare.tally.bytes as f64 / secs,
        loopback_bytes_per_sec: loopback(clock, None).map_err(local)?,
        loopback_sendfile_bytes_per_sec: loopback(clock, Some(&stream)).map_err(local)?,
        files: Files {
            size,
            threads: FILE_THREADS,
            create_per_sec: own.files(clock, size, Way::Create).map_err(local)?,
            rename_per_sec: own.files(clock, size, Way::Rename).map_err(local)?,
            sync_per_sec: own.files(clock, size, Way::Sync).map_err(local)?,
        },
    })
}

fn answer(body: &[u8], content: u64) -> Canned {
    let header = Header::answer(content + body.len() as u64);
    Canned { bytes: [&header.to_bytes()[..], body].concat(), content }
}

fn group() -> GroupName {
    GroupName::parse("group1").expect("this is a group name")
}

fn storage_answers(size: u64) -> Answers {
    let mut stored = Vec::new();
    group().encode(&mut stored);
    stored.extend_from_slice(STORED.as_bytes());
    [
        (Command::UploadFile as u8, answer(&stored, 0)),
        (Command::UploadAppenderFile as u8, answer(&stored, 0)),
        (Command::DownloadFile as u8, answer(&[], size)),
        (Command::AppendFile as u8, answer(&[], 0)),
        (Command::DeleteFile as u8, answer(&[], 0)),
    ]
    .into()
}

fn tracker_answers(storage: SocketAddr) -> Answers {
    let servers = vec![Endpoint { address: storage.ip(), port: storage.port() }];
    let (mut store, mut fetch) = (Vec::new(), Vec::new());
    StoreTarget { group: group(), servers: servers.clone(), path: StorePath(0) }
        .encode(IpWidth::V4, &mut store);
    FetchTarget { group: group(), servers }.encode(IpWidth::V4, &mut fetch);
    [
        (Command::QueryStoreWithoutGroupOne as u8, answer(&store, 0)),
        (Command::QueryFetchOne as u8, answer(&fetch, 0)),
        (Command::QueryUpdate as u8, answer(&fetch, 0)),
    ]
    .into()
}

/// Bytes a second from one thread to another.
fn loopback(clock: &Arc<dyn Clock>, file: Option<&File>) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;
    let reading = std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut got = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(got),
                Ok(count) => got += count as u64,
                Err(error) => return Err(error),
            }
        }
    });
    let piece = vec![7; PIECE_BYTES];
    let begun = clock.moment();
    while clock.moment().since(begun) < SPAN {
        match file {
            None => writer.write_all(&piece)?,
            Some(file) => {
                let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
                let mut offset = 0;
                while usize::try_from(offset).is_ok_and(|offset| offset < len) {
                    rustix::fs::sendfile(&writer, file, Some(&mut offset), len)?;
                }
            }
        }
    }
    drop(writer);
    let got: io::Result<u64> =
        reading.join().map_err(|_| io::Error::other("the reader ended by a panic"))?;
    Ok(got? as f64 / clock.moment().since(begun).as_secs_f64())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Create,
    Rename,
    Sync,
}

/// A directory of our own, removed with all in it when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("fdfs-load-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// A file of so many bytes that nobody else can name.
    fn content(&self, size: u64) -> io::Result<File> {
        let path = self.0.join("content");
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        fs::remove_file(&path)?;
        let piece = vec![7; PIECE_BYTES];
        let mut at = 0;
        while at < size {
            let len = usize::try_from(size - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            file.write_all_at(piece.get(..len).unwrap_or_default(), at)?;
            at += len as u64;
        }
        Ok(file)
    }

    /// How many files of `size` bytes are made in a second.
    fn files(&self, clock: &Arc<dyn Clock>, size: u64, way: Way) -> io::Result<f64> {
        let made = Arc::new(AtomicU64::new(0));
        let max = FILE_BYTES_MAX.checked_div(size.max(1)).unwrap_or(1).max(4);
        let begun = clock.moment();
        let threads = (0..FILE_THREADS).map(|number| {
            let dir = self.0.join(format!("{way:?}-{number}"));
            let (clock, made) = (Arc::clone(clock), Arc::clone(&made));
            std::thread::spawn(move || {
                fs::create_dir(&dir)?;
                let content = vec![7; PIECE_BYTES];
                while clock.moment().since(begun) < SPAN {
                    let index = made.fetch_add(1, Ordering::Relaxed);
                    if max <= index {
                        made.fetch_sub(1, Ordering::Relaxed);
                        break;
                    }
                    make(&dir, index, size, &content, way)?;
                }
                Ok(())
            })
        });
        let threads: Vec<std::thread::JoinHandle<io::Result<()>>> = threads.collect();
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a thread ended by a panic"))??;
        }
        let secs = clock.moment().since(begun).as_secs_f64();
        Ok(made.load(Ordering::Relaxed) as f64 / secs)
    }
}

fn make(dir: &Path, index: u64, size: u64, content: &[u8], way: Way) -> io::Result<()> {
    let path = dir.join(format!("{index}.tmp"));
    let mut file = File::options().create_new(true).write(true).open(&path)?;
    let mut left = size;
    while left != 0 {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(content.len());
        file.write_all(content.get(..len).unwrap_or_default())?;
        left -= len as u64;
    }
    if way == Way::Sync {
        file.sync_data()?;
    }
    drop(file);
    if way != Way::Create {
        fs::rename(&path, dir.join(index.to_string()))?;
    }
    Ok(())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is seen by whoever looks there; the figures stand.
        let _left = fs::remove_dir_all(&self.0);
    }
}
