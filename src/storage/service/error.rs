//! Why a request is refused, and the one table from there to the status byte.

use std::io;

use net::conn::ConnError;
use proto::{
    fileid::{BadName, FileName},
    status::Status,
    wire::DecodeError,
};

use crate::{binlog::writer::LogError, disk::write::WriteError, sums::ReadError};

/// A request that does not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("malformed request")]
    Malformed(#[from] DecodeError),
    #[error("file name")]
    Name(#[from] BadName),
    /// What the request says does not fit this server or this file.
    #[error("{0}")]
    Invalid(&'static str),
    #[error("{0} is not there")]
    NotFound(&'static str),
    /// What was to be deleted is gone; a file that is later than that has its name now.
    #[error("the file of that time is not there")]
    GivenAgain,
    #[error("the name is taken")]
    Exists,
    #[error("not a regular file")]
    NotRegular,
    #[error("no store path has room")]
    NoSpace,
    #[error("the store path is read-only")]
    ReadOnly,
    #[error("write")]
    Write(#[from] WriteError),
    #[error("read")]
    Read(#[source] io::Error),
    /// The content is not what was stored; it is not given to anybody.
    #[error("{name} is damaged at byte {offset}")]
    Damaged { name: String, offset: u64 },
    #[error("the file was replaced while it was read")]
    Replaced,
    #[error("no second member has it")]
    NoSecondCopy,
    /// Of a peer: it has given this connection up and goes on over another one.
    #[error("its sender has begun anew since")]
    Overtaken,
    #[error("record")]
    Log(#[from] LogError),
    /// The change has been made, or a restart makes it, and cannot be taken back; but it is not
    /// recorded. A status would say that nothing has happened: there is no answer.
    #[error("changed, but not finished")]
    Uncertain(#[source] Box<ServiceError>),
    /// The peer is gone or too slow: there is nobody to answer.
    #[error("connection")]
    Conn(#[from] ConnError),
}

impl ServiceError {
    /// The same, of a change that cannot be taken back.
    pub(crate) fn uncertain(self) -> Self {
        match self {
            Self::Uncertain(_) => self,
            other => Self::Uncertain(Box::new(other)),
        }
    }

    /// What a read of the file called `name` ended with.
    pub(crate) fn of_read(name: &FileName, error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Read(error),
            ReadError::Replaced => Self::Replaced,
            ReadError::Doubt { offset } | ReadError::Damaged { offset } => {
                Self::Damaged { name: name.as_str().to_owned(), offset }
            }
        }
    }

    /// The status byte of the answer; `None` if there is to be none, and the connection ends.
    pub(crate) fn status(&self) -> Option<Status> {
        let os = |error: &io::Error| match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => Status::ENOENT,
            (io::ErrorKind::AlreadyExists, _) => Status::EEXIST,
            (_, Some(errno)) => Status::from_errno(errno),
            (_, None) => Status::EIO,
        };
        Some(match self {
            Self::Malformed(error) => error.status(),
            Self::Name(error) => error.status(),
            Self::Invalid(_) => Status::EINVAL,
            Self::NotFound(_) | Self::GivenAgain => Status::ENOENT,
            Self::Exists => Status::EEXIST,
            Self::NotRegular => Status::EISDIR,
            Self::NoSpace => Status::ENOSPC,
            Self::ReadOnly => Status::EROFS,
            Self::Write(error) => os(error.io()),
            Self::Read(error) => os(error),
            Self::Damaged { .. } => Status::EIO,
            Self::Replaced => Status::EAGAIN,
            Self::NoSecondCopy | Self::Overtaken => Status::EAGAIN,
            Self::Log(LogError::Refused(error)) => os(error),
            Self::Log(LogError::Lost) => Status::EIO,
            Self::Log(LogError::Record(_)) => Status::EINVAL,
            Self::Uncertain(_) | Self::Conn(_) => return None,
        })
    }

    /// Whether somebody has to look: the disk or the log did not do what they should.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::Write(_)
            | Self::Damaged { .. }
            | Self::Log(LogError::Refused(_) | LogError::Lost) => true,
            Self::Uncertain(error) => error.is_ours(),
            Self::Read(error) => error.kind() != io::ErrorKind::NotFound,
            _ => false,
        }
    }
}
