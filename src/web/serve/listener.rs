//! The listening socket of a worker and the web servers that may connect to it.
//!
//! Called by `serve` and by `run`. Binds nothing: `spawn-fcgi` made the socket and left it on
//! file descriptor 0, so that several processes can share it.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::net::sockopt::{set_tcp_nodelay, socket_acceptconn, socket_domain};
use rustix::net::{AddressFamily, SocketFlags, accept_with, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::socket::Socket;

/// A listening socket for web servers.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<ListeningSocket>,
    /// Web servers that may connect over TCP (FCGI_WEB_SERVER_ADDRS, specification section
    /// 3.2). Empty: all, because the address a worker listens on is already chosen for that.
    allowed: Vec<IpAddr>,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for ListeningSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A connection from a web server.
#[derive(Debug)]
pub(super) enum Accepted {
    Socket(Socket),
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
        match socket_domain(&socket)? {
            AddressFamily::UNIX => Self::over(ListeningSocket::Unix(socket.into()), allowed),
            AddressFamily::INET | AddressFamily::INET6 => {
                Self::over(ListeningSocket::Tcp(socket.into()), allowed)
            }
            other => {
                let why = format!("file descriptor 0 is a socket of family {}", other.as_raw());
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
        }
    }

    /// A socket that the caller has bound. To be called inside the runtime, as all of these.
    pub fn tcp(socket: TcpListener) -> io::Result<Self> {
        Self::over(ListeningSocket::Tcp(socket), Vec::new())
    }

    /// The same for a unix socket.
    pub fn unix(socket: UnixListener) -> io::Result<Self> {
        Self::over(ListeningSocket::Unix(socket), Vec::new())
    }

    fn over(socket: ListeningSocket, allowed: Vec<IpAddr>) -> io::Result<Self> {
        match &socket {
            ListeningSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                // An answer leaves in one write; the next must not wait for its acknowledgement.
                // What is accepted inherits this, which saves a system call for each connection.
                set_tcp_nodelay(socket, true)?;
            }
            ListeningSocket::Unix(socket) => socket.set_nonblocking(true)?,
        }
        #[expect(
            deprecated,
            reason = "sound for what owns its descriptor; its successor is unsafe"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket, allowed })
    }

    /// Where it listens, for the log.
    pub fn describe(&self) -> String {
        match self.socket.get_ref() {
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
        self.socket.async_io(Interest::READABLE, |socket| self.try_accept(socket)).await
    }

    fn try_accept(&self, socket: &ListeningSocket) -> io::Result<Accepted> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if self.allowed.is_empty() || matches!(socket, ListeningSocket::Unix(_)) {
            return Ok(Accepted::Socket(Socket::new(accept_with(socket, flags)?)));
        }
        let (fd, peer) = acceptfrom_with(socket, flags)?;
        let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
        let peer = SocketAddr::try_from(peer)?;
        let allowed = self.is_allowed(peer);
        Ok(if allowed { Accepted::Socket(Socket::new(fd)) } else { Accepted::Refused(peer.ip()) })
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
    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::net::sockopt::tcp_nodelay;

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
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        for allowed in ["", "127.0.0.1"] {
            let socket = socket.try_clone().unwrap().into();
            let listener = Listener::from_fd(socket, Some(allowed)).unwrap();
            let _client = std::net::TcpStream::connect(address).unwrap();
            let Accepted::Socket(socket) = listener.accept().await.unwrap() else { panic!() };
            assert!(tcp_nodelay(socket.fd().unwrap()).unwrap());
            assert!(fcntl_getfl(socket.fd().unwrap()).unwrap().contains(OFlags::NONBLOCK));
        }
        let listener = Listener::from_fd(socket.into(), Some("10.0.0.1")).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        assert!(matches!(listener.accept().await.unwrap(), Accepted::Refused(_)));
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
