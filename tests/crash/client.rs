//! A client of a storage, by the text of the specification and not by our own code.
//!
//! A time-out, a reset, or the end of the stream before the whole answer is `Unknown`: a client
//! never guesses.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How an operation ended, as far as the client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the body of the answer.
    Done(Vec<u8>),
    Refused(u8),
    Unknown,
}

impl Outcome {
    /// The file name in the answer to an upload.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Done(body) => Some(String::from_utf8(body.get(16..)?.to_vec()).ok()?),
            _ => None,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// One request over a connection of its own.
pub(crate) fn ask(to: SocketAddr, command: u8, body: &[u8]) -> Outcome {
    let exchange = || -> std::io::Result<Outcome> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        let mut out = (body.len() as u64).to_be_bytes().to_vec();
        out.extend([command, 0]);
        out.extend(body);
        // An early refusal may come while the content is still on its way.
        let _sent = stream.write_all(&out);
        let mut header = [0; 10];
        stream.read_exact(&mut header)?;
        let len = u64::from_be_bytes(header[..8].try_into().unwrap());
        let mut answer = vec![0; usize::try_from(len).unwrap()];
        stream.read_exact(&mut answer)?;
        Ok(if header[9] == 0 { Outcome::Done(answer) } else { Outcome::Refused(header[9]) })
    };
    exchange().unwrap_or(Outcome::Unknown)
}

pub(crate) fn upload(to: SocketAddr, appender: bool, content: &[u8]) -> Outcome {
    let mut body = vec![0xff];
    body.extend((content.len() as u64).to_be_bytes());
    body.extend([b"bin\0\0\0", content].concat());
    ask(to, if appender { 23 } else { 11 }, &body)
}

pub(crate) fn slave(to: SocketAddr, master: &str, content: &[u8]) -> Outcome {
    let mut body = (master.len() as u64).to_be_bytes().to_vec();
    body.extend((content.len() as u64).to_be_bytes());
    body.extend([&b"_s"[..], &[0; 14], b"bin\0\0\0", master.as_bytes(), content].concat());
    ask(to, 21, &body)
}

/// Appends, or modifies at an offset.
pub(crate) fn edit(to: SocketAddr, name: &str, at: Option<u64>, bytes: &[u8]) -> Outcome {
    let mut body = (name.len() as u64).to_be_bytes().to_vec();
    body.extend(at.map(u64::to_be_bytes).iter().flatten());
    body.extend((bytes.len() as u64).to_be_bytes());
    body.extend([name.as_bytes(), bytes].concat());
    ask(to, if at.is_none() { 24 } else { 34 }, &body)
}

pub(crate) fn truncate(to: SocketAddr, name: &str, size: u64) -> Outcome {
    let mut body = (name.len() as u64).to_be_bytes().to_vec();
    body.extend(size.to_be_bytes());
    body.extend(name.as_bytes());
    ask(to, 36, &body)
}

pub(crate) fn regenerate(to: SocketAddr, name: &str) -> Outcome {
    ask(to, 38, name.as_bytes())
}

pub(crate) fn set_metadata(to: SocketAddr, name: &str, flag: u8, pairs: &str) -> Outcome {
    let mut body = (name.len() as u64).to_be_bytes().to_vec();
    body.extend((pairs.len() as u64).to_be_bytes());
    body.push(flag);
    body.extend([&named(name)[..], pairs.as_bytes()].concat());
    ask(to, 13, &body)
}

pub(crate) fn delete(to: SocketAddr, name: &str) -> Outcome {
    ask(to, 12, &named(name))
}

pub(crate) fn download(to: SocketAddr, name: &str) -> Outcome {
    ask(to, 14, &[&[0; 16][..], &named(name)].concat())
}

fn named(name: &str) -> Vec<u8> {
    [b"group1\0\0\0\0\0\0\0\0\0\0", name.as_bytes()].concat()
}
