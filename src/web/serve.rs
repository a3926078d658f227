//! Serves FastCGI on a listening socket: connections, requests, answers.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::watch;

use crate::request::Request;
use crate::response::IntoResponse;

/// How much one worker takes on, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections from web servers; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Requests under way on one connection; more are answered with OVERLOADED.
    pub requests_per_connection_max: usize,
    /// Body bytes read from one connection and not yet taken by handlers.
    pub body_buffer_bytes: usize,
    /// The longest a request under way may go without a byte from or to the web server.
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

/// A listening socket for web servers.
#[derive(Debug)]
pub enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listener {
    /// The socket that `spawn-fcgi` left on file descriptor 0. Call once, inside the runtime.
    pub fn from_stdin() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Serves until `stop` becomes true, then finishes what is under way within `limits.grace`.
///
/// `GET /api/<name>/health` is answered here; everything else by `handler`.
pub async fn serve<H, F>(
    name: &str,
    listener: Listener,
    handler: H,
    limits: Limits,
    stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoResponse,
{
    let _ = (name, listener, handler, limits, stop);
    Err(io::ErrorKind::Unsupported.into())
}
