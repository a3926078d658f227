//! Serves FastCGI on a listening socket: connections, requests, answers.
//!
//! Called by `run` with the handler of a worker. Knows limits and time, routes nothing but the
//! health check, and has no idea what a handler does. Tests bring their own listener, handler
//! and limits.

mod connection; // the task of one connection
mod exchange; // one request on it
mod listener; // where connections come from
mod pulse; // one clock and one flag for all connections
mod socket; // with few system calls

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use fcgi::{ParamLimits, Params};
use log::{debug, info, warn};
use net::shutdown::{Stop, drain};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use self::connection::{Connection, ConnectionError};
use self::listener::Accepted;
use self::pulse::{Heart, Pulse};
use crate::request::Request;
use crate::response::IntoResponse;

pub use listener::Listener;

/// Parameters of one request. Nginx takes 32 KiB of headers at most by default; the variables
/// it adds repeat the target a few times.
const PARAM_LIMITS: ParamLimits = ParamLimits {
    pairs_max: 256,
    bytes_max: 96 * 1024,
    name_bytes_max: 1024,
    value_bytes_max: 64 * 1024,
};

/// How long accepting rests after an error, usually: out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much one worker takes on, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections from web servers; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Requests under way in the worker; more are answered with OVERLOADED.
    pub requests_max: usize,
    /// The same for one connection.
    pub requests_per_connection_max: usize,
    /// Body bytes read from one connection and not yet taken by handlers.
    pub body_buffer_bytes: usize,
    /// The longest the web server may neither send nor take what a request waits for.
    pub silence_max: Duration,
    /// The longest a connection may stay without a request.
    pub idle_max: Duration,
    /// From the stop signal to the moment the remaining connections are cut.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            requests_max: 4096,
            requests_per_connection_max: 32,
            body_buffer_bytes: 256 * 1024,
            silence_max: Duration::from_secs(60),
            // Longer than a web server keeps an idle connection (nginx: 60 s): were we the first
            // to close, a request could be on its way already and be lost.
            idle_max: Duration::from_secs(300),
            grace: Duration::from_secs(30),
        }
    }
}

/// What all connections of a worker share.
struct Service<H> {
    /// The path of the health check.
    health: String,
    handler: H,
    limits: Limits,
    /// Requests under way.
    requests: Arc<AtomicUsize>,
}

/// One request counted; leaving is dropping it.
struct Turnstile(Arc<AtomicUsize>);

impl Drop for Turnstile {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<H> Service<H> {
    /// Counts one more request, or None if there are too many.
    fn enter(&self) -> Option<Turnstile> {
        let counted = Turnstile(self.requests.clone());
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        (before < self.limits.requests_max).then_some(counted)
    }

    fn is_health_check(&self, params: &Params) -> bool {
        let path = params.get(b"REQUEST_URI").and_then(|uri| uri.split(|b| *b == b'?').next());
        let method = params.get(b"REQUEST_METHOD");
        path == Some(self.health.as_bytes()) && matches!(method, Some(b"GET" | b"HEAD"))
    }

    /// How often connections look whether they are awaited too long.
    fn tick(&self) -> Duration {
        let shorter = self.limits.silence_max.min(self.limits.idle_max);
        (shorter / connection::TICKS).max(Duration::from_millis(1))
    }
}

/// Serves until `stop` is raised, then finishes what is under way within `limits.grace`.
/// Returns how many connections had to be cut.
///
/// `GET /api/<name>/health` is answered here; everything else by `handler`.
pub async fn serve<H, F>(
    name: &str,
    listener: Listener,
    handler: H,
    limits: Limits,
    stop: Stop,
) -> usize
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoResponse,
{
    let service = Arc::new(Service {
        health: format!("/api/{name}/health"),
        handler,
        limits,
        requests: Arc::new(AtomicUsize::new(0)),
    });
    info!("{name} serves on {}", listener.describe());
    // A task of its own: to wake what the runtime blocks on costs system calls.
    let mut whole = JoinSet::new();
    whole.spawn(async move {
        let (heart, tick) = (Heart::new(), service.tick());
        tokio::select! {
            biased;
            cut = accept(listener, service, &heart, stop.clone()) => cut,
            never = heart.beat(tick, stop) => match never {},
        }
    });
    whole.join_all().await.into_iter().sum()
}

/// The accept loop, and the end of what it began.
async fn accept<H, F>(
    listener: Listener,
    service: Arc<Service<H>>,
    heart: &Heart,
    mut stop: Stop,
) -> usize
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoResponse,
{
    let limits = service.limits;
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let mut tasks = JoinSet::new();
    while let Some(permit) = next_permit(&permits, &mut tasks, &mut stop).await {
        let accepted = tokio::select! {
            biased;
            () = stop.raised() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(Accepted::Socket(socket)) => {
                tasks.spawn(converse(socket, service.clone(), heart.pulse(), permit));
                give_way().await;
            }
            Ok(Accepted::Refused(address)) => warn!("refused a connection from {address}"),
            Err(error) => rest(&error).await,
        }
    }
    drop(listener);
    info!("stops with {} connections open", tasks.len());
    drain(&mut tasks, limits.grace).await
}

/// Room for one more connection; None when the worker stops. Tasks that ended are let go here,
/// so that their number stays bounded.
async fn next_permit(
    permits: &Arc<Semaphore>,
    tasks: &mut JoinSet<()>,
    stop: &mut Stop,
) -> Option<OwnedSemaphorePermit> {
    while tasks.try_join_next().is_some() {}
    tokio::select! {
        biased;
        () = stop.raised() => None,
        permit = permits.clone().acquire_owned() => {
            Some(permit.expect("the semaphore is never closed"))
        }
    }
}

/// Lets the new connection have its turn first. Meanwhile another process may take the next one:
/// else the first to wake takes all that wait, and serves them alone for as long as they are kept.
async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Pauses after an accept error. One that concerns a single connection is not worth it.
async fn rest(error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    warn!("accept: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The task of one connection. Its error stops here.
async fn converse<S, H, F>(
    socket: S,
    service: Arc<Service<H>>,
    pulse: Pulse,
    permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request) -> F,
    F: Future + Send,
    F::Output: IntoResponse,
{
    match Connection::new(socket, service).run(pulse).await {
        Ok(()) => {}
        Err(error @ ConnectionError::Socket(_)) => debug!("connection: {error}"),
        Err(error) => warn!("closed a connection: {error}"),
    }
    drop(permit);
}

#[cfg(test)]
mod tests;
