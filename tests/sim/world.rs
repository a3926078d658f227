//! The ports of a daemon over a simulated network: its clock, chance, and sockets.
//!
//! Time is that of the simulation plus what is wrong with the clock of the node. Chance comes
//! from the seed, anew for each life of a node. Blocking work is done in place.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use net::ports::{
    Clock, Duplex, Fut, Jobs, Listener, Moment, Net, Random, Stream, UnixTime, World,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::support::seed::{Rng, Seed};
use crate::trace;

/// When simulations begin: 2026-09-13.
const EPOCH_MILLIS: i64 = 1_789_000_000_000;

/// The world as one life of a node sees it; its clock is wrong by so many milliseconds.
pub(crate) fn world(seed: Seed, clock_off_millis: i64) -> World {
    World {
        clock: Arc::new(SimClock { off: clock_off_millis }),
        random: Arc::new(SimRandom(Mutex::new(seed.rng()))),
        net: Arc::new(SimNet),
        jobs: Jobs::InPlace,
    }
}

/// Milliseconds since the simulation began.
pub(crate) fn elapsed_millis() -> u64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

struct SimClock {
    off: i64,
}

impl Clock for SimClock {
    fn now(&self) -> UnixTime {
        let since = i64::try_from(elapsed_millis()).unwrap_or(i64::MAX);
        UnixTime::from_millis(u64::try_from(EPOCH_MILLIS + self.off + since).unwrap_or(0))
    }

    fn moment(&self) -> Moment {
        Moment(turmoil::sim_elapsed().unwrap_or_default())
    }
}

struct SimRandom(Mutex<Rng>);

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("nobody panics while drawing").fill(bytes);
    }
}

struct SimNet;

impl Net for SimNet {
    fn connect(&self, to: SocketAddr, _from: Option<IpAddr>) -> Fut<'_, io::Result<Stream>> {
        Box::pin(async move { Ok(Box::new(SimStream(TcpStream::connect(to).await?)) as Stream) })
    }

    fn listen(&self, at: SocketAddr, _timeout: Duration) -> io::Result<Box<dyn Listener>> {
        // Nodes have one address each, and the simulated network binds to all of a node's.
        let bind = TcpListener::bind(SocketAddr::new(IpAddr::from([0; 4]), at.port()));
        match pin!(bind).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(listener) => Ok(Box::new(SimListener(listener?))),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

struct SimListener(TcpListener);

impl Listener for SimListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn accept(&mut self) -> Fut<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            Ok((Box::new(SimStream(stream)) as Stream, peer))
        })
    }
}

struct SimStream(TcpStream);

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimStream")
    }
}

impl Duplex for SimStream {}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, out)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            let hash = trace::fnv(trace::BEGIN, &bytes[..*count]);
            if let (Ok(from), Ok(to)) = (self.0.local_addr(), self.0.peer_addr()) {
                trace::event(format_args!("{from} > {to} {count} bytes {hash:016x}"));
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
