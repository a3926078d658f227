//! Connections per address: bounded in number; idle ones also in age, and looked at before they
//! are used.
//!
//! A connection belongs to one caller at a time: it is taken out, and only whoever has read a
//! whole successful answer puts it back. One that is dropped is closed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use proto::command::Command;
use proto::header::Header;
use proto::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{AtServer as _, ClientError};
use crate::conn::{Conn, Limits};
use crate::ports::{Moment, World};

/// Idle connections kept for one address; the work of a moment rarely needs more.
const IDLE_PER_ADDRESS_MAX: usize = 16;
/// Addresses with idle connections; a cluster has fewer servers.
const ADDRESSES_MAX: usize = 1024;

/// How connections are made, and how long they are kept.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    pub connect_timeout: Duration,
    pub network_timeout: Duration,
    /// The address to connect from: `client_bind`.
    pub from: Option<IpAddr>,
    /// `connection_pool_max_idle_time`; zero keeps none.
    pub idle_max: Duration,
    /// Connections in use to one address; whoever wants more waits for one, as long as for
    /// connecting.
    pub connections_max: usize,
}

impl Default for PoolSettings {
    /// The defaults of client.conf (tools.md 8), but idle connections for a minute only: one
    /// that a firewall forgot is found out late.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            network_timeout: Duration::from_secs(30),
            from: None,
            idle_max: Duration::from_secs(60),
            // What a default storage has for all its clients.
            connections_max: 256,
        }
    }
}

/// The connections of a client. Cheap to clone; all clones share them.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    world: World,
    settings: PoolSettings,
    idle: Mutex<BTreeMap<SocketAddr, Vec<Idle>>>,
    /// How many more connections may be used, per address.
    free: Mutex<BTreeMap<SocketAddr, Arc<Semaphore>>>,
}

#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Moment,
}

impl Pool {
    pub fn new(world: World, settings: PoolSettings) -> Self {
        let (idle, free) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { world, settings, idle, free }) }
    }

    pub fn settings(&self) -> &PoolSettings {
        &self.inner.settings
    }

    /// A connection to `server`: the most recently used idle one that is alive, or a new one.
    pub async fn take(&self, server: SocketAddr) -> Result<Taken, ClientError> {
        let permit = self.permit(server).await?;
        while let Some(mut idle) = self.pop(server) {
            let age = self.inner.world.clock.moment().since(idle.since);
            if age < self.inner.settings.idle_max && !idle.conn.has_arrived() {
                let (pool, conn) = (self.clone(), idle.conn);
                return Ok(Taken { pool, server, conn, is_fresh: false, _permit: permit });
            }
        }
        self.connect_with(server, permit).await
    }

    /// A new connection to `server`.
    pub async fn connect(&self, server: SocketAddr) -> Result<Taken, ClientError> {
        self.connect_with(server, self.permit(server).await?).await
    }

    async fn connect_with(
        &self,
        server: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> Result<Taken, ClientError> {
        let PoolSettings { connect_timeout, network_timeout, from, .. } = self.inner.settings;
        let limits = Limits::new(network_timeout);
        let conn = Conn::connect(&self.inner.world, server, from, connect_timeout, limits);
        let conn = conn.await.at(server)?;
        Ok(Taken { pool: self.clone(), server, conn, is_fresh: true, _permit: permit })
    }

    /// Sends a request that may be repeated without harm and returns the body of the answer.
    /// An idle connection that breaks under it is replaced once by a new one.
    pub async fn ask(
        &self,
        server: SocketAddr,
        request: Header,
        body: &[u8],
        answer_max: usize,
    ) -> Result<Bytes, ClientError> {
        self.ask_twice(server, request, body, answer_max).await.map_err(|(_, error)| error)
    }

    /// The same of a change. Where its repetition is refused the first one may have happened all
    /// the same: a refusal would say that nothing has.
    pub async fn ask_to_change(
        &self,
        server: SocketAddr,
        request: Header,
        body: &[u8],
    ) -> Result<(), ClientError> {
        match self.ask_twice(server, request, body, 0).await {
            Ok(_) => Ok(()),
            Err((Some(first), ClientError::Refused { .. })) => Err(first),
            Err((_, error)) => Err(error),
        }
    }

    /// An error comes behind that of the first try, if there were two.
    async fn ask_twice(
        &self,
        server: SocketAddr,
        request: Header,
        body: &[u8],
        answer_max: usize,
    ) -> Result<Bytes, (Option<ClientError>, ClientError)> {
        let taken = self.take(server).await.map_err(|error| (None, error))?;
        let is_fresh = taken.is_fresh;
        let first = match taken.call(request, body, answer_max).await {
            Err(error) if !is_fresh && error.is_of_network() => error,
            other => return other.map_err(|error| (None, error)),
        };
        let again = match self.connect(server).await {
            Ok(taken) => taken.call(request, body, answer_max).await,
            Err(error) => Err(error),
        };
        again.map_err(|error| (Some(first), error))
    }

    /// The right to use one more connection to `server`.
    async fn permit(&self, server: SocketAddr) -> Result<OwnedSemaphorePermit, ClientError> {
        let PoolSettings { connect_timeout, connections_max, .. } = self.inner.settings;
        let free = {
            let mut all = self.inner.free.lock().unwrap_or_else(PoisonError::into_inner);
            if ADDRESSES_MAX <= all.len() {
                all.retain(|_, free| free.available_permits() < connections_max);
            }
            let new = || Arc::new(Semaphore::new(connections_max));
            Arc::clone(all.entry(server).or_insert_with(new))
        };
        match timeout(connect_timeout, free.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(ClientError::Busy { server, connections: connections_max }),
        }
    }

    fn pop(&self, server: SocketAddr) -> Option<Idle> {
        self.lock().get_mut(&server)?.pop()
    }

    fn put(&self, server: SocketAddr, conn: Conn) {
        let since = self.inner.world.clock.moment();
        let idle_max = self.inner.settings.idle_max;
        let mut idle = self.lock();
        // Those nobody came back for are closed by whoever comes next.
        idle.retain(|_, list| {
            list.retain(|idle| since.since(idle.since) < idle_max);
            !list.is_empty()
        });
        if idle_max.is_zero() || (ADDRESSES_MAX <= idle.len() && !idle.contains_key(&server)) {
            return;
        }
        let list = idle.entry(server).or_default();
        if list.len() < IDLE_PER_ADDRESS_MAX {
            list.push(Idle { conn, since });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Vec<Idle>>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was taken out of the pool. Dropping it closes it.
#[derive(Debug)]
pub struct Taken {
    pool: Pool,
    pub server: SocketAddr,
    pub conn: Conn,
    /// Whether it was made for this caller, and so cannot have gone stale.
    pub is_fresh: bool,
    _permit: OwnedSemaphorePermit,
}

impl Taken {
    /// Gives the connection back. Only right when nothing of an answer is left to be read.
    pub fn keep(self) {
        self.pool.put(self.server, self.conn);
    }

    /// One request with a small answer; the connection goes back to the pool after a success.
    pub async fn call(
        mut self,
        request: Header,
        body: &[u8],
        answer_max: usize,
    ) -> Result<Bytes, ClientError> {
        self.conn.send_message(request, body).await.at(self.server)?;
        let header = self.conn.header().await.at(self.server)?;
        let body = self.answer(header, answer_max).await?;
        self.keep();
        Ok(body)
    }

    /// The body of an answer whose header has been read.
    pub(super) async fn answer(
        &mut self,
        header: Header,
        answer_max: usize,
    ) -> Result<Bytes, ClientError> {
        accept(header, self.server)?;
        self.conn.body(header.body_len, answer_max).await.at(self.server)
    }
}

/// Refuses a header that is no answer, or a bad one.
pub(super) fn accept(header: Header, server: SocketAddr) -> Result<(), ClientError> {
    if header.cmd != Command::Resp as u8 {
        return Err(proto::wire::DecodeError::BadValue("command of an answer")).at(server);
    }
    match header.status {
        Status::OK => Ok(()),
        status => Err(ClientError::Refused { server, status }),
    }
}
