//! The conversation with the other trackers: does what the election says, and fetches the state
//! files of another tracker before the first storage joins (tracker.md 10 and 11).
//!
//! Decides nothing: whom to ask, and what an answer means, stands in `cluster`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use log::{Level, debug, info, log};
use net::conn::{Conn, ConnError, Limits};
use net::ports::{Fut, World};
use net::shutdown::Stop;
use proto::command::Command;
use proto::header::Header;
use proto::status::Status;
use proto::tracker::beat::Connections;
use proto::tracker::join::Join;
use proto::tracker::leader::{JoinLeader, PingLeader, SysFilePiece, TrackerStatus, TrunkServer};
use proto::wire::{DecodeError, Reader};

use crate::cluster::{Answered, Effect, Heard, Peer, Saved, Session, Source, Task, Told};
use crate::effects::Shared;
use crate::service::BeforeJoin;

/// Longest answer of a tracker that is read: a piece of a file.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Largest state file that is fetched, the same as is read from disk.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("connect: {0}")]
    Unreachable(#[source] ConnError),
    #[error(transparent)]
    Conn(#[from] ConnError),
    #[error("it answers {0}")]
    Refused(Status),
    #[error("its answer is malformed: {0}")]
    Malformed(#[from] DecodeError),
}

impl PeerError {
    /// Whether it could not be reached, or went.
    fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Conn(_))
    }
}

/// What the tasks that talk to other trackers share.
#[derive(Debug)]
pub(crate) struct Peers {
    world: World,
    shared: Arc<Shared>,
    connect_timeout: Duration,
    network_timeout: Duration,
    // Held over a question: storages that join together ask once, one after the other.
    taking_over: tokio::sync::Mutex<()>,
}

impl Peers {
    pub(crate) fn new(
        world: World,
        shared: Arc<Shared>,
        connect_timeout: Duration,
        network_timeout: Duration,
    ) -> Self {
        let taking_over = tokio::sync::Mutex::new(());
        Self { world, shared, connect_timeout, network_timeout, taking_over }
    }

    /// Takes part in elections until `stop` is raised. `figures` are ours, for the leader.
    pub(crate) async fn elect(&self, figures: impl Fn() -> Connections, mut stop: Stop) {
        let mut heard = Heard::Nothing;
        let mut leader = None;
        loop {
            let dice = self.world.random.u32();
            let heard_now = std::mem::replace(&mut heard, Heard::Nothing);
            let task = self
                .shared
                .step(|cluster, now| cluster.election(now, heard_now.clone(), dice))
                .await;
            heard = tokio::select! {
                biased;
                // A question that is dropped here is repeated by nobody: the process ends.
                () = stop.raised() => return,
                heard = self.perform(task, &mut leader, &figures) => heard,
            };
        }
    }

    async fn perform(
        &self,
        task: Task,
        leader: &mut Option<(Peer, Conn)>,
        figures: &impl Fn() -> Connections,
    ) -> Heard {
        match task {
            Task::Rest { millis } => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Heard::Nothing
            }
            Task::AskStatus(peers) => {
                let mut statuses = Vec::new();
                for peer in peers {
                    let status = self.status(&peer).await;
                    statuses.push(status.ok());
                }
                Heard::Statuses(statuses)
            }
            Task::Notify(peers, host) => {
                Heard::Notified(self.tell(Command::TrackerNotifyNextLeader, &peers, &host).await)
            }
            Task::Commit(peers, host) => {
                Heard::Committed(self.tell(Command::TrackerCommitNextLeader, &peers, &host).await)
            }
            Task::Ping(peer, hello) => {
                let pinged = self.ping(&peer, &hello, leader, figures()).await;
                if let Err(error) = &pinged {
                    debug!("ping the leader: {error}");
                    *leader = None;
                }
                Heard::Pinged(pinged.is_ok())
            }
        }
    }

    async fn status(&self, peer: &Peer) -> Result<TrackerStatus, PeerError> {
        let mut conn = self.connect(peer).await?;
        let body = exchange(&mut conn, Command::TrackerGetStatus, &[]).await?;
        Ok(TrackerStatus::decode(&body)?)
    }

    /// Tells one after the other; who refuses is the last.
    async fn tell(&self, command: Command, peers: &[Peer], host: &str) -> Vec<Told> {
        let mut all = Vec::new();
        for peer in peers {
            let told = async {
                let mut conn = self.connect(peer).await?;
                exchange(&mut conn, command, host.as_bytes()).await
            };
            let told = match told.await {
                Ok(_) => Told::Accepted,
                Err(PeerError::Unreachable(_)) => Told::Unreachable,
                Err(error) => {
                    info!("tracker {} as leader: {}: {error}", host, name(peer));
                    Told::Refused
                }
            };
            all.push(told);
            if told == Told::Refused {
                break;
            }
        }
        all
    }

    async fn ping(
        &self,
        peer: &Peer,
        hello: &JoinLeader,
        leader: &mut Option<(Peer, Conn)>,
        figures: Connections,
    ) -> Result<(), PeerError> {
        if leader.as_ref().is_none_or(|(known, _)| known != peer) {
            let mut conn = self.connect(peer).await?;
            let mut body = Vec::new();
            hello.encode(&mut body);
            exchange(&mut conn, Command::TrackerJoinLeader, &body).await?;
            *leader = Some((*peer, conn));
        }
        let Some((_, conn)) = leader else { return Ok(()) };
        let mut body = Vec::new();
        PingLeader(figures).encode(&mut body);
        let answer = exchange(conn, Command::TrackerPingLeader, &body).await?;
        // Who hands out slots concerns nobody while trunk files are off.
        TrunkServer::decode_all(&answer)?;
        Ok(())
    }

    /// Connects to whichever of its addresses answers first, from the one of ours that is in
    /// the list: by that it knows us.
    async fn connect(&self, peer: &Peer) -> Result<Conn, PeerError> {
        let own = self.shared.look(|cluster| cluster.own_addresses());
        let mut failure = None;
        for address in peer.host.addresses.iter() {
            let to = SocketAddr::new(address, peer.host.port);
            let from = own.and_then(|own| own.iter().find(|ip| ip.is_ipv4() == address.is_ipv4()));
            match self.connect_to(to, from).await {
                Ok(conn) => return Ok(conn),
                Err(error) => failure = Some(error),
            }
        }
        Err(PeerError::Unreachable(failure.unwrap_or(ConnError::Closed)))
    }

    async fn connect_to(&self, to: SocketAddr, from: Option<IpAddr>) -> Result<Conn, ConnError> {
        let limits = Limits::new(self.network_timeout);
        let wait = self.connect_timeout;
        match Conn::connect(&self.world, to, from, wait, limits).await {
            // Our address in the list is one that a router translates.
            Err(ConnError::Io(error)) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                Conn::connect(&self.world, to, None, wait, limits).await
            }
            outcome => outcome,
        }
    }

    /// Takes over what another tracker knows, if that is due.
    async fn before_join(&self, session: &Session, join: &Join) -> Result<(), Status> {
        let _one_at_a_time = self.taking_over.lock().await;
        let due = self
            .shared
            .step(|cluster, now| (cluster.take_over_due(now, session, join), Vec::new()))
            .await;
        let Some(peers) = due else { return Ok(()) };
        let mut answers = Vec::new();
        for peer in peers {
            let answer = match self.status(&peer).await {
                Ok(status) => Answered::Status(status),
                Err(PeerError::Refused(Status::ENOENT)) => Answered::Empty,
                Err(error) => {
                    debug!("ask tracker {} for its status: {error}", name(&peer));
                    Answered::Failed
                }
            };
            answers.push((peer, answer));
        }
        let source = self
            .shared
            .step(|cluster, now| {
                let mut effects = Vec::new();
                (cluster.take_over_from(now, &answers, &mut effects), effects)
            })
            .await;
        match source {
            Source::Nobody => Ok(()),
            Source::Later => Err(Status::EAGAIN),
            Source::From(peer) => self.take_over(&peer).await.map_err(|cause| {
                // One that dies meanwhile is asked at the next join again.
                let away = cause.downcast_ref().is_some_and(PeerError::is_away);
                let level = if away { Level::Warn } else { Level::Error };
                log!(level, "take over the state of tracker {}: {cause:#}", name(&peer));
                Status::EAGAIN
            }),
        }
    }

    async fn take_over(&self, peer: &Peer) -> anyhow::Result<()> {
        let saved = self.fetch(peer).await?;
        let outcome = self
            .shared
            .step(|cluster, _| match cluster.take_over(&saved) {
                Ok(effects) => (Ok(()), effects),
                Err(error) => (Err(error), Vec::<Effect>::new()),
            })
            .await;
        outcome.context("read its files")
    }

    /// Fetches the four files, as they are at one moment.
    async fn fetch(&self, peer: &Peer) -> anyhow::Result<Saved> {
        let mut conn = self.connect(peer).await?;
        exchange(&mut conn, Command::TrackerGetSysFilesStart, &[]).await.context("begin")?;
        let mut texts = [const { String::new() }; 4];
        for (index, text) in (0..).zip(&mut texts) {
            *text = fetch_file(&mut conn, index).await.with_context(|| format!("file {index}"))?;
        }
        exchange(&mut conn, Command::TrackerGetSysFilesEnd, &[]).await.context("end")?;
        let [groups, storages, sync_times, changelog] = texts;
        let (groups, storages) = (Some(groups), Some(storages));
        let sync_times = Some(sync_times).filter(|text| !text.is_empty());
        Ok(Saved { groups, storages, sync_times, changelog, last_check: None })
    }
}

impl BeforeJoin for Peers {
    fn settle<'a>(&'a self, session: &'a Session, join: &'a Join) -> Fut<'a, Result<(), Status>> {
        Box::pin(self.before_join(session, join))
    }
}

async fn fetch_file(conn: &mut Conn, index: u8) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let offset = u64::try_from(bytes.len()).context("length")?;
        let mut body = Vec::new();
        SysFilePiece { index, offset }.encode(&mut body);
        let answer = exchange(conn, Command::TrackerGetOneSysFile, &body).await?;
        let mut reader = Reader::new(&answer);
        let size = reader.size()?;
        if FILE_BYTES_MAX < size {
            bail!("it has {size} bytes; at most {FILE_BYTES_MAX} are taken");
        }
        let piece = reader.rest();
        bytes.extend_from_slice(piece);
        let len = u64::try_from(bytes.len()).context("length")?;
        if size <= len {
            break;
        }
        if piece.is_empty() {
            bail!("it ends after {len} of {size} bytes");
        }
    }
    String::from_utf8(bytes).context("it is not text")
}

async fn exchange(conn: &mut Conn, command: Command, body: &[u8]) -> Result<Vec<u8>, PeerError> {
    conn.send_message(Header::request(command, body.len() as u64), body).await?;
    let header = conn.header().await?;
    if header.status != Status::OK {
        return Err(PeerError::Refused(header.status));
    }
    Ok(conn.body(header.body_len, ANSWER_BYTES_MAX).await?.to_vec())
}

fn name(peer: &Peer) -> String {
    peer.host.addresses.with_port(peer.host.port)
}
