//! The socket of one connection, with as few system calls as a request needs.
//!
//! Made by `listener`, owned by `connection`. A runtime's own socket is announced to the
//! kernel's event queue for reading and writing as soon as it exists. This one
//!
//! * is not announced before a read finds nothing: a connection that brings its request with it
//!   and carries no second one never is;
//! * is announced for reading alone until a write finds no room: a unix socket reports room
//!   whenever the other side has read, and that would wake the worker once more per request.
//!
//! Reads and writes must come from one task, and a read that waits must be polled again after
//! each write, as `connection` does: a write may replace the announcement.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::task::coop;

#[derive(Debug)]
enum State {
    /// Unknown to the event queue; nothing was read yet.
    New(OwnedFd),
    /// The same after one read. There must be no second: only what the event queue knows shares
    /// the thread fairly with other connections.
    ReadOnce(OwnedFd),
    /// Announced for reading.
    Reading(AsyncFd<OwnedFd>),
    /// Announced for reading and writing.
    Both(AsyncFd<OwnedFd>),
    /// An announcement has failed.
    Gone,
}

/// A connected stream socket that does not block.
#[derive(Debug)]
pub(super) struct Socket {
    state: State,
}

impl Socket {
    /// Takes a connected socket, which must be set not to block.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { state: State::New(fd) }
    }

    pub(super) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.state {
            State::New(fd) | State::ReadOnce(fd) => Ok(fd.as_fd()),
            State::Reading(fd) | State::Both(fd) => Ok(fd.get_ref().as_fd()),
            State::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn announce(&mut self, interest: Interest) -> io::Result<()> {
        let fd = match std::mem::replace(&mut self.state, State::Gone) {
            State::New(fd) | State::ReadOnce(fd) => fd,
            State::Reading(fd) | State::Both(fd) => fd.into_inner(),
            State::Gone => return Err(io::ErrorKind::NotConnected.into()),
        };
        #[expect(
            deprecated,
            reason = "sound for what owns its descriptor; its successor is unsafe"
        )]
        let fd = AsyncFd::with_interest(fd, interest)?;
        self.state = if interest.is_writable() { State::Both(fd) } else { State::Reading(fd) };
        Ok(())
    }
}

fn receive(fd: impl AsFd, buffer: &mut ReadBuf<'_>) -> Result<usize, Errno> {
    let (_, len) = recv(fd, &mut *buffer.initialize_unfilled(), RecvFlags::empty())?;
    buffer.advance(len);
    Ok(len)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = buffer.remaining();
        loop {
            let fd = match &self.state {
                State::Reading(fd) | State::Both(fd) => fd,
                State::New(fd) => match receive(fd, buffer) {
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => {
                        self.announce(Interest::READABLE)?;
                        continue;
                    }
                    done => {
                        if let State::New(fd) = std::mem::replace(&mut self.state, State::Gone) {
                            self.state = State::ReadOnce(fd);
                        }
                        return Poll::Ready(done.map(|_| ()).map_err(io::Error::from));
                    }
                },
                State::ReadOnce(_) => {
                    self.announce(Interest::READABLE)?;
                    continue;
                }
                State::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            };
            let mut guard = ready!(fd.poll_read_ready(cx))?;
            match receive(fd.get_ref(), buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
                Ok(len) => {
                    // Less than there was room for: the rest is yet to come, and will be told.
                    if 0 < len && len < wanted {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let turn = ready!(coop::poll_proceed(cx));
            let guard = match &self.state {
                State::Both(fd) => Some(ready!(fd.poll_write_ready(cx))?),
                _ => None,
            };
            match send(self.fd()?, bytes, SendFlags::NOSIGNAL) {
                Ok(len) => {
                    turn.made_progress();
                    return Poll::Ready(Ok(len));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match guard {
                    Some(mut guard) => guard.clear_ready(),
                    None => self.announce(Interest::READABLE | Interest::WRITABLE)?,
                },
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(self.fd()?, Shutdown::Write).map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    fn pair() -> (Socket, UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        for one in [&ours, &theirs] {
            one.set_nonblocking(true).unwrap();
        }
        (Socket::new(ours.into()), UnixStream::from_std(theirs).unwrap())
    }

    #[tokio::test]
    async fn it_is_announced_only_for_what_it_waits_for() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"request").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 7);
        ours.write_all(b"answer").await.unwrap();
        assert!(matches!(ours.state, State::ReadOnce(_)));

        let (read, sent) = tokio::join!(ours.read(&mut buffer), theirs.write_all(b"next"));
        sent.unwrap();
        assert_eq!(read.unwrap(), 4);
        assert!(matches!(ours.state, State::Reading(_)));
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 6);

        // More than the kernel holds, while the other side takes it.
        let much = vec![b'x'; 4 << 20];
        let mut taken = vec![0; much.len()];
        let (sent, read) = tokio::join!(ours.write_all(&much), theirs.read_exact(&mut taken));
        sent.unwrap();
        read.unwrap();
        assert!(taken == much && matches!(ours.state, State::Both(_)));

        // Reading goes on with the new announcement, up to the end.
        theirs.write_all(b"last").await.unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 4);
        theirs.shutdown().await.unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
        ours.shutdown().await.unwrap();
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_read_that_finds_nothing_waits() {
        let (mut ours, mut theirs) = pair();
        let mut buffer = [0; 64];
        let (read, sent) = tokio::join!(ours.read(&mut buffer), theirs.write_all(b"late"));
        sent.unwrap();
        assert_eq!(read.unwrap(), 4);
        drop(theirs);
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
