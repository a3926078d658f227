//! What a program may ask of the world: the time, chance, the network (testing.md R2).
//!
//! Everything at the edge takes these as arguments; the simulation brings its own. The real
//! ones stand here, and only `program.rs` and tests name them. Waiting is tokio's business,
//! since its clock can be paused and driven in tests; reading the time is not.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proto::address::parse_ip;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What an asynchronous method of a port returns.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A wall clock time: what file names, logs and the wire carry. Never compared with the clock
/// of another machine to decide anything (testing.md R11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime {
    millis: u64,
}

impl UnixTime {
    pub const fn from_secs(secs: u64) -> Self {
        Self { millis: secs.saturating_mul(1000) }
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    pub const fn millis(self) -> u64 {
        self.millis
    }

    pub const fn secs(self) -> u64 {
        self.millis / 1000
    }

    /// Seconds as file names carry them; the field ends in the year 2106.
    pub fn secs32(self) -> u32 {
        u32::try_from(self.secs()).unwrap_or(u32::MAX)
    }
}

/// A moment of the monotonic clock, counted from an arbitrary start of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long ago `earlier` was; zero if it was not.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `span` later.
    pub fn after(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

/// The time.
pub trait Clock: Send + Sync + 'static {
    /// What the wall clock shows. It may jump, in both directions.
    fn now(&self) -> UnixTime;

    /// What never goes back: for time-outs and ages.
    fn moment(&self) -> Moment;
}

/// Chance.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes` with unpredictable ones.
    fn fill(&self, bytes: &mut [u8]);

    fn u32(&self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_ne_bytes(bytes)
    }
}

/// A connected stream of bytes.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    /// The socket behind it, for calls that only a real one has: waiting without a buffer,
    /// sending a file without copying. None in simulations.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Duplex for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Duplex for tokio::io::DuplexStream {}

/// Streams as [`Net`] hands them out.
pub type Stream = Box<dyn Duplex>;

/// A socket that accepts connections.
pub trait Listener: Send + 'static {
    /// Where it listens; the port is the real one where port 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next connection and who made it. Cancel-safe.
    fn accept(&mut self) -> Fut<'_, io::Result<(Stream, SocketAddr)>>;
}

/// The network. Time-outs belong to the caller.
pub trait Net: Send + Sync + 'static {
    /// Connects to `to`, from the address `from` if there is one.
    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<'_, io::Result<Stream>>;

    /// The addresses of a host, which may be a name. Without a resolver only numbers are known.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Fut<'a, io::Result<Vec<SocketAddr>>> {
        let known = parse_ip(host).map(|ip| vec![SocketAddr::new(ip, port)]);
        Box::pin(async move { known.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }

    /// Listens. `network_timeout` sets when silent peers are probed (wire.md 7).
    fn listen(&self, at: SocketAddr, network_timeout: Duration) -> io::Result<Box<dyn Listener>>;
}

/// Where work runs that may block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jobs {
    /// On threads beside the runtime, so that nobody else waits for a disk.
    #[default]
    Threads,
    /// In place. For simulations: their disks never block, and each run of a seed is the same.
    InPlace,
}

impl Jobs {
    /// Runs `job`, to its end even if the caller is dropped, and returns what it returns.
    pub async fn run<T, F>(self, job: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match self {
            Jobs::InPlace => job(),
            Jobs::Threads => {
                let job = tokio::task::spawn_blocking(job);
                job.await.expect("a panic has already ended the process")
            }
        }
    }
}

/// All ports together, cheap to clone.
#[derive(Clone)]
pub struct World {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub net: Arc<dyn Net>,
    pub jobs: Jobs,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn now(&self) -> UnixTime {
        // A clock set before 1970 counts as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn moment(&self) -> Moment {
        Moment(self.start.elapsed())
    }
}

/// The random source of the operating system.
#[derive(Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // It fails only where the system has no source at all; then no name and no token of
        // ours would be safe to give out.
        getrandom::fill(bytes).expect("the system has a random source");
    }
}

/// TCP.
#[derive(Debug, Default)]
pub struct TcpNet;

/// Connections the kernel queues before they are accepted (wire.md 7).
const BACKLOG: i32 = 1024;
/// Seconds between the probes of a silent peer, and how many may stay unanswered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Probing begins after twice the time-out and a second (wire.md 7).
fn keepalive(network_timeout: Duration) -> TcpKeepalive {
    let idle = network_timeout.saturating_mul(2).saturating_add(Duration::from_secs(1));
    TcpKeepalive::new()
        .with_time(idle)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES)
}

impl Net for TcpNet {
    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<'_, io::Result<Stream>> {
        Box::pin(async move {
            let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4()) {
                socket.bind(SocketAddr::new(from, 0))?;
            }
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            SockRef::from(&stream).set_tcp_keepalive(&keepalive(Duration::from_secs(30)))?;
            Ok(Box::new(stream) as Stream)
        })
    }

    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Fut<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }

    fn listen(&self, at: SocketAddr, network_timeout: Duration) -> io::Result<Box<dyn Listener>> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if at.is_ipv6() {
            // Each family has a socket of its own, so that addresses keep their form.
            socket.set_only_v6(true)?;
        }
        socket.set_tcp_nodelay(true)?; // accepted sockets inherit this and the next
        socket.set_tcp_keepalive(&keepalive(network_timeout))?;
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        Ok(Box::new(TcpListener::from_std(socket.into())?))
    }
}

impl Listener for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    fn accept(&mut self) -> Fut<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = TcpListener::accept(self).await?;
            Ok((Box::new(stream) as Stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_never_count_backwards() {
        let early = Moment(Duration::from_secs(1));
        let late = early.after(Duration::from_secs(2));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(UnixTime::from_secs(7).millis(), 7000);
        assert_eq!(UnixTime::from_secs(u64::MAX).secs32(), u32::MAX);
    }

    #[tokio::test]
    async fn a_listener_on_port_zero_says_where_it_is() {
        let at = "127.0.0.1:0".parse().unwrap();
        let mut listener = TcpNet.listen(at, Duration::from_secs(1)).unwrap();
        let to = listener.local_addr().unwrap();
        assert_ne!(to.port(), 0);
        let from = "127.0.0.2".parse().unwrap();
        let (near, far) = tokio::join!(TcpNet.connect(to, Some(from)), listener.accept());
        assert!(near.unwrap().tcp().is_some_and(|tcp| tcp.nodelay().unwrap()));
        assert_eq!(far.unwrap().1.ip(), from);
    }
}
