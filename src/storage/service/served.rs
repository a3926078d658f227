//! For tests and fuzzing: a store on a simulated disk with a client connected to it.
//!
//! Everything is the real thing from the connection down to the disk's port; only the disk, the
//! socket and chance are not. Never in a release.
#![allow(clippy::unwrap_used, reason = "only in builds for tests")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use net::{
    client::pool::{Pool, PoolSettings},
    conn::{Conn, Limits},
    ports::{Jobs, Net, Random, SystemClock, TcpNet, World},
    shutdown::{Stop, Stopper},
};
use proto::{address::Addresses, fileid::SourceId, ids::GroupName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{connection, copies::Copies};
use crate::{
    binlog::{
        log::{Log, ROTATE_BYTES},
        writer::{Ending, Writer},
    },
    commit::Durability,
    disk::{
        Gate,
        layout::{Place, Places},
        port::Disk,
        simulated::SimulatedDisk,
    },
    parameters::Parameters,
    start,
    state::counters::Counters,
    store::{Distribution, Facts, Parts, Store},
    sums::{Sums, VerifyReads},
    tomb::Tombs,
};

/// The status after which a storage closes the connection.
const EINVAL: u8 = 22;
/// In place of a status: the connection ended without an answer.
pub(crate) const UNANSWERED: u8 = 255;
/// Where the binlog is.
pub(crate) const SYNC: &str = "/base/data/sync";

/// Numbers in a row: different names without chance.
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, n)| *byte = *n);
    }
}

/// The connections to other members.
fn members(net: Arc<dyn Net>, settings: PoolSettings) -> Pool {
    let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(Counting(AtomicU64::new(0))));
    Pool::new(World { clock, random, net, jobs: Jobs::Threads }, settings)
}

/// A store on `disk`, with a client connected to it.
pub(crate) struct Served {
    pub(crate) client: DuplexStream,
    pub(crate) store: Arc<Store>,
    log: Ending,
    task: tokio::task::JoinHandle<()>,
    _stopper: Stopper,
}

/// A new connection: its client's end, the task that serves it, and what ends that.
fn connect(store: &Arc<Store>) -> (DuplexStream, tokio::task::JoinHandle<()>, Stopper) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let limits = Limits::new(Duration::from_secs(30));
    let peer = "127.0.0.1:1".parse().unwrap();
    let conn = Conn::new(Box::new(server), peer, Arc::clone(&store.clock), limits);
    let (stopper, stop) = Stop::pair();
    let task = tokio::spawn(connection(Arc::clone(store), conn, stop));
    (client, task, stopper)
}

impl Served {
    /// A start up to where the port opens.
    pub(crate) fn finish(disk: &SimulatedDisk) -> anyhow::Result<(Places, Sums, Log)> {
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let place = Place::open(Arc::clone(&dyn_disk), Path::new("/base"), 1)?.0;
        let mut log = Log::open(Arc::clone(&dyn_disk), Path::new(SYNC), ROTATE_BYTES)?.0;
        let places = Places::new(vec![place]);
        let sums = Sums::new(dyn_disk, &places, VerifyReads::Always);
        start::finish_edits(disk, &places, &sums, &mut log)?;
        Ok((places, sums, log))
    }

    pub(crate) fn open(disk: &SimulatedDisk) -> Self {
        Self::open_in(disk, Arc::new(TcpNet), PoolSettings::default())
    }

    /// With other members to be found in `net`.
    pub(crate) fn open_in(disk: &SimulatedDisk, net: Arc<dyn Net>, settings: PoolSettings) -> Self {
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (places, sums, log) = Self::finish(disk).unwrap();
        let (writer, log) = Writer::start(log, Durability::Full, Jobs::Threads).unwrap();
        let ip = "10.0.0.1".parse().unwrap();
        // Names of the next life differ from those of this one.
        let seed = disk.files().len() as u64 * 1000;
        let store = Arc::new(Store::new(Parts {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(Counting(AtomicU64::new(seed))),
            disk: dyn_disk,
            gate: Gate::new(4, Jobs::Threads),
            jobs_per_path: 4,
            places,
            sums,
            log: writer,
            counters: Counters::default(),
            facts: Facts {
                group: GroupName::parse("group1").unwrap(),
                addresses: Addresses::one(ip),
                source: SourceId::of_ip(ip),
                parameters: Parameters::parse("").unwrap(),
                ids: Vec::new(),
            },
            durability: Durability::Full,
            distribution: Distribution::RoundRobin { files_per_dir: 100 },
            network_timeout: Duration::from_secs(30),
            access_log: None,
            read_only: vec![false],
            pool: members(net, settings),
            tombs: Tombs::default(),
            copies: Copies::new(None),
        }));
        let (client, task, stopper) = connect(&store);
        Self { client, store, log, task, _stopper: stopper }
    }

    /// Status and body of the answer.
    pub(crate) async fn ask(&mut self, command: u8, body: &[u8]) -> (u8, Vec<u8>) {
        let mut out = (body.len() as u64).to_be_bytes().to_vec();
        out.extend([command, 0]);
        out.extend(body);
        let (mut reader, mut writer) = tokio::io::split(&mut self.client);
        // An early refusal may come while the content is still on its way.
        let write = async {
            let _ = writer.write_all(&out).await;
        };
        let read = async {
            let mut header = [0; 10];
            if reader.read_exact(&mut header).await.is_err() {
                return (UNANSWERED, Vec::new());
            }
            let len = u64::from_be_bytes(header[..8].try_into().unwrap());
            let mut body = vec![0; len as usize];
            reader.read_exact(&mut body).await.unwrap();
            (header[9], body)
        };
        let answer = tokio::join!(write, read).1;
        if [EINVAL, UNANSWERED].contains(&answer.0) {
            // It closes the connection.
            (self.client, self.task, self._stopper) = connect(&self.store);
        }
        answer
    }

    #[cfg(test)]
    pub(crate) async fn upload(&mut self, content: &[u8]) -> Result<String, u8> {
        self.upload_as(11, content).await
    }

    pub(crate) async fn upload_as(&mut self, command: u8, content: &[u8]) -> Result<String, u8> {
        let mut body = vec![0xff];
        body.extend((content.len() as u64).to_be_bytes());
        body.extend([b"bin\0\0\0", content].concat());
        stored(self.ask(command, &body).await)
    }

    pub(crate) async fn delete(&mut self, name: &str) -> Result<(), u8> {
        status(self.ask(12, &named(name)).await.0)
    }

    pub(crate) async fn set_metadata(&mut self, name: &str, pairs: &str) -> Result<(), u8> {
        let mut body = (name.len() as u64).to_be_bytes().to_vec();
        body.extend((pairs.len() as u64).to_be_bytes());
        body.extend([b"O", &named(name)[..], pairs.as_bytes()].concat());
        status(self.ask(13, &body).await.0)
    }

    /// Appends, or modifies at an offset.
    pub(crate) async fn edit(
        &mut self,
        name: &str,
        at: Option<u64>,
        bytes: &[u8],
    ) -> Result<(), u8> {
        let mut body = (name.len() as u64).to_be_bytes().to_vec();
        body.extend(at.map(u64::to_be_bytes).iter().flatten());
        body.extend((bytes.len() as u64).to_be_bytes());
        body.extend([name.as_bytes(), bytes].concat());
        status(self.ask(if at.is_none() { 24 } else { 34 }, &body).await.0)
    }

    pub(crate) async fn truncate(&mut self, name: &str, size: u64) -> Result<(), u8> {
        let mut body = (name.len() as u64).to_be_bytes().to_vec();
        body.extend(size.to_be_bytes());
        body.extend(name.as_bytes());
        status(self.ask(36, &body).await.0)
    }

    /// Ends everything that belongs to this store.
    pub(crate) async fn close(self) {
        let Self { client, store, log, task, _stopper } = self;
        drop(client);
        task.await.unwrap();
        drop(store);
        log.wait().await.unwrap();
    }
}

impl Served {
    /// Uploads a slave of `master`.
    pub(crate) async fn slave(&mut self, master: &str, bytes: &[u8]) -> Result<String, u8> {
        let mut body = (master.len() as u64).to_be_bytes().to_vec();
        body.extend((bytes.len() as u64).to_be_bytes());
        body.extend(b"_s\0\0\0\0\0\0\0\0\0\0\0\0\0\0bin\0\0\0");
        body.extend([master.as_bytes(), bytes].concat());
        stored(self.ask(21, &body).await)
    }

    pub(crate) async fn regenerate(&mut self, name: &str) -> Result<String, u8> {
        stored(self.ask(38, name.as_bytes()).await)
    }
}

/// What only the fuzzer asks for.
#[cfg(feature = "faults")]
impl Served {
    pub(crate) async fn download(&mut self, name: &str) -> Result<Vec<u8>, u8> {
        let (code, body) = self.ask(14, &[&[0; 16][..], &named(name)].concat()).await;
        status(code).map(|()| body)
    }
}

/// The name in the answer to an upload.
fn stored((code, body): (u8, Vec<u8>)) -> Result<String, u8> {
    status(code).map(|()| String::from_utf8(body[16..].to_vec()).unwrap())
}

pub(crate) fn status(status: u8) -> Result<(), u8> {
    if status == 0 { Ok(()) } else { Err(status) }
}

pub(crate) fn named(name: &str) -> Vec<u8> {
    [b"group1\0\0\0\0\0\0\0\0\0\0", name.as_bytes()].concat()
}
