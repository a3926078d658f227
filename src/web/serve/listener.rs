//! The listening socket of a worker and the web servers that may connect to it.
//!
//! Called by `serve` and by `run`. Binds nothing: `spawn-fcgi` made the socket and left it on
//! file descriptor 0, so that several processes can share it.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::AddressFamily;
use rustix::net::sockopt::{set_tcp_nodelay, socket_acceptconn, socket_domain};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket for web servers.
#[derive(Debug)]
pub struct Listener {
    socket: ListeningSocket,
    /// Web servers that may connect over TCP (FCGI_WEB_SERVER_ADDRS, specification section
    /// 3.2). Empty: all, because the address a worker listens on is already chosen for that.
    allowed: Vec<IpAddr>,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection from a web server.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Somebody else: already closed again.
    Refused(IpAddr),
}

impl Listener {
    /// The socket that `spawn-fcgi` left on file descriptor 0, which is /dev/null afterwards:
    /// when a worker stops accepting, nothing of its own keeps the socket open. To be called
    /// inside the runtime.
    pub fn from_stdin() -> io::Result<Self> {
        let web_servers = std::env::var("FCGI_WEB_SERVER_ADDRS").ok();
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let listener = Self::from_fd(socket, web_servers.as_deref())?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(listener)
    }

    fn from_fd(socket: OwnedFd, web_servers: Option<&str>) -> io::Result<Self> {
        if !socket_acceptconn(&socket).unwrap_or(false) {
            let why = "file descriptor 0 is not a listening socket: start with spawn-fcgi";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let allowed = parse_addresses(web_servers.unwrap_or_default())?;
        let socket = match socket_domain(&socket)? {
            AddressFamily::UNIX => {
                let listener = std::os::unix::net::UnixListener::from(socket);
                listener.set_nonblocking(true)?;
                ListeningSocket::Unix(UnixListener::from_std(listener)?)
            }
            AddressFamily::INET | AddressFamily::INET6 => {
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                return Ok(Self { allowed, ..Self::tcp(TcpListener::from_std(listener)?)? });
            }
            other => {
                let why = format!("file descriptor 0 is a socket of family {}", other.as_raw());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        };
        Ok(Self { socket, allowed })
    }

    /// A socket that the caller has bound.
    pub fn tcp(socket: TcpListener) -> io::Result<Self> {
        // An answer leaves in one write; the next must not wait for its acknowledgement. What
        // is accepted inherits this, which saves a system call for each connection.
        set_tcp_nodelay(&socket, true)?;
        Ok(Self { socket: ListeningSocket::Tcp(socket), allowed: Vec::new() })
    }

    /// The same for a unix socket.
    pub fn unix(socket: UnixListener) -> Self {
        Self { socket: ListeningSocket::Unix(socket), allowed: Vec::new() }
    }

    /// Where it listens, for the log.
    pub fn describe(&self) -> String {
        match &self.socket {
            ListeningSocket::Tcp(socket) => match socket.local_addr() {
                Ok(address) => address.to_string(),
                Err(error) => format!("an unknown address ({error})"),
            },
            ListeningSocket::Unix(socket) => match socket.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => format!("unix:{}", path.display()),
                    None => "a unix socket without a path".to_owned(),
                },
                Err(error) => format!("an unknown unix socket ({error})"),
            },
        }
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            ListeningSocket::Unix(socket) => {
                socket.accept().await.map(|(stream, _)| Accepted::Unix(stream))
            }
            ListeningSocket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                if !self.is_allowed(peer) {
                    return Ok(Accepted::Refused(peer.ip()));
                }
                Ok(Accepted::Tcp(stream))
            }
        }
    }

    fn is_allowed(&self, peer: SocketAddr) -> bool {
        self.allowed.is_empty() || self.allowed.contains(&peer.ip().to_canonical())
    }
}

/// Addresses between commas. A typing mistake stops the worker: to ignore it would shut out, or
/// let in, the wrong host.
fn parse_addresses(list: &str) -> io::Result<Vec<IpAddr>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parse = |part: &str| {
        let why = || format!("FCGI_WEB_SERVER_ADDRS: {part:?} is not an address");
        part.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, why()))
    };
    parts.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kind_of_a_socket_is_found_out() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = Listener::from_fd(tcp.into(), None).unwrap();
        assert_eq!(listener.describe(), address.to_string());

        let dir = std::env::temp_dir().join(format!("fastdisk-listener-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("socket");
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = Listener::from_fd(unix.into(), None).unwrap();
        assert_eq!(listener.describe(), format!("unix:{}", path.display()));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn accepted_connections_do_not_wait_for_acknowledgements() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::tcp(socket).unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        assert!(matches!(accepted, Accepted::Tcp(stream) if stream.nodelay().unwrap()));
    }

    #[tokio::test]
    async fn what_does_not_listen_is_refused() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        for fd in [OwnedFd::from(one), OwnedFd::from(file)] {
            let error = Listener::from_fd(fd, None).unwrap_err();
            assert!(error.to_string().contains("spawn-fcgi"), "{error}");
        }
    }

    #[tokio::test]
    async fn only_named_web_servers_are_let_in() {
        let check = |list: &str, peer: &str, want: bool| {
            let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let listener = Listener::from_fd(tcp.into(), Some(list)).unwrap();
            let peer = SocketAddr::new(peer.parse().unwrap(), 1);
            assert_eq!(listener.is_allowed(peer), want, "{list} {peer}");
        };
        check("", "10.0.0.1", true);
        check("127.0.0.1, 10.0.0.1", "10.0.0.1", true);
        check("127.0.0.1,10.0.0.1", "10.0.0.2", false);
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("::1", "::1", true);
        assert!(parse_addresses("127.0.0.1,localhost").is_err());
    }
}
