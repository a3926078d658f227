//! The accept loop: permits, allowed hosts, back-off, a task per connection.
//!
//! Used by both daemons, which bring a handler for one connection. It never reads from a
//! connection itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use log::{debug, warn};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::conn::{Conn, Limits};
use crate::ports::{Clock, Listener, Moment};
use crate::shutdown::{Stop, drain};

/// How long to wait after a failed accept, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections are counted and logged once in this time, so that a flood of them does
/// not become a flood of lines.
const REFUSALS_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Who is served, and how.
#[derive(Clone)]
pub struct Admission {
    /// Connections at one time. Further ones are accepted and closed at once, as clients of
    /// the reference expect: they turn to another server instead of waiting (wire.md 1.3).
    pub connections_max: usize,
    /// Whether this address may connect: `allow_hosts`.
    pub is_allowed: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    pub limits: Limits,
    /// How long connections may go on after the flag was raised.
    pub grace: Duration,
}

impl Admission {
    /// Everybody is allowed.
    pub fn open(connections_max: usize, limits: Limits, grace: Duration) -> Self {
        Self { connections_max, is_allowed: Arc::new(|_| true), limits, grace }
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Accepts until `stop` is raised, runs `handler` for each connection on a task of its own,
/// then waits for them. Returns how many had to be cut off.
///
/// With several listeners (IPv4 and IPv6) call this once for each, with half the connections.
pub async fn serve<H, F>(
    mut listener: Box<dyn Listener>,
    admission: Admission,
    clock: Arc<dyn Clock>,
    mut stop: Stop,
    handler: H,
) -> usize
where
    H: Fn(Conn, Stop) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(admission.connections_max));
    let mut tasks = JoinSet::new();
    let mut refusals = Refusals::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.raised() => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !(admission.is_allowed)(peer.ip()) {
            refusals.count(peer, "not an allowed host", clock.moment());
            continue;
        }
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            refusals.count(peer, "all connections are taken", clock.moment());
            continue;
        };
        let conn = Conn::new(stream, peer, Arc::clone(&clock), admission.limits);
        let served = handler(conn, stop.clone());
        tasks.spawn(async move {
            served.await;
            drop(permit);
        });
    }
    drop(listener); // nobody can queue any more
    drain(&mut tasks, admission.grace).await
}

/// Connections closed at once, since the last log line about them.
#[derive(Default)]
struct Refusals {
    count: u64,
    logged: Option<Moment>,
}

impl Refusals {
    fn count(&mut self, peer: SocketAddr, why: &str, now: Moment) {
        debug!("closed a connection of {peer}: {why}");
        self.count = self.count.saturating_add(1);
        if self.logged.is_some_and(|then| now.since(then) < REFUSALS_LOG_INTERVAL) {
            return;
        }
        warn!("closed {} connections, the last of {peer}: {why}", self.count);
        *self = Self { count: 0, logged: Some(now) };
    }
}

#[cfg(test)]
mod tests {
    use proto::command::Command;
    use proto::header::Header;
    use proto::status::Status;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;

    use super::*;
    use crate::ports::{Net as _, SystemClock, TcpNet};

    const LIMIT: Duration = Duration::from_secs(10);

    /// Answers every request with an empty success.
    async fn echo(mut conn: Conn, mut stop: Stop) {
        while let Ok(Some(header)) = conn.next_request(&mut stop).await {
            conn.discard(header.body_len).await.unwrap();
            conn.refuse(Status::OK).await.unwrap();
        }
    }

    /// Whether a server answers on this connection, or closes it.
    async fn is_answered(at: SocketAddr) -> Option<Conn> {
        let stream = Box::new(TcpStream::connect(at).await.unwrap());
        let mut conn = Conn::new(stream, at, Arc::new(SystemClock::new()), Limits::new(LIMIT));
        let sent = conn.send(&Header::request(Command::ActiveTest, 0).to_bytes()).await;
        let answer = conn.header().await;
        (sent.is_ok() && answer.is_ok()).then_some(conn)
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_room_returns() {
        let listener = TcpNet.listen("127.0.0.1:0".parse().unwrap(), LIMIT).unwrap();
        let at = listener.local_addr().unwrap();
        let (hand, stop) = Stop::pair();
        let admission = Admission::open(1, Limits::new(LIMIT), LIMIT);
        let server = tokio::spawn(serve(
            listener,
            admission,
            Arc::new(SystemClock::new()) as Arc<dyn Clock>,
            stop,
            echo,
        ));
        let first = is_answered(at).await.unwrap();
        assert!(is_answered(at).await.is_none());
        drop(first);
        let again = async {
            while is_answered(at).await.is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, again).await.unwrap();
        hand.raise();
        assert_eq!(server.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_host_that_is_not_allowed_sees_the_end_of_the_stream() {
        let listener = TcpNet.listen("127.0.0.1:0".parse().unwrap(), LIMIT).unwrap();
        let at = listener.local_addr().unwrap();
        let (hand, stop) = Stop::pair();
        let mut admission = Admission::open(1, Limits::new(LIMIT), LIMIT);
        admission.is_allowed = Arc::new(|_| false);
        let clock = Arc::new(SystemClock::new()) as Arc<dyn Clock>;
        let server = tokio::spawn(serve(listener, admission, clock, stop, echo));
        let mut stream = TcpStream::connect(at).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        hand.raise();
        assert_eq!(server.await.unwrap(), 0);
    }
}
