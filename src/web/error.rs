//! What can go wrong in a request, and the one table from there to the HTTP status and text.
//!
//! Every handler returns a [`WebError`]; it is logged here, where it stops, if somebody must
//! look. What a client is told never contains a path, an address or a statement.

use crate::db::{DbError, Refusal};
use crate::files::FilesError;
use crate::multipart::MultipartError;
use crate::request::BadRequest;
use crate::response::{BadHeader, IntoResponse, Response};

/// Seconds after which a client may try again when a server behind us is away.
const RETRY_AFTER_S: u64 = 5;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("nobody is signed in")]
    Unauthenticated,
    /// Not there, or not this user's: the same from outside.
    #[error("no such file or folder")]
    NotFound,
    #[error("no such route")]
    NoRoute,
    #[error("the route has no such method; it has {0}")]
    WrongMethod(&'static str),
    #[error("a request from another site")]
    CrossSite,
    #[error("wrong name or password")]
    BadCredentials,
    /// Seconds until it may be tried again.
    #[error("too many attempts")]
    TooManyAttempts(u64),
    #[error("too many uploads at once")]
    TooManyUploads,
    #[error("too many archives at once")]
    TooManyArchives,
    #[error("the name is taken")]
    NameTaken,
    /// A change of folders and files that is not possible, for another reason than its name.
    #[error("{1}")]
    Conflict(&'static str, &'static str),
    /// A share that is over; why, and in words.
    #[error("{1}")]
    Ended(&'static str, &'static str),
    #[error("the share has a code that was not given")]
    ShareCode,
    #[error("wrong code")]
    WrongCode,
    /// No picture can be made of this file.
    #[error("there is no picture of this file")]
    NoThumbnail,
    /// A signed link that is wrong or over.
    #[error("the link is wrong or has expired")]
    BadLink,
    #[error("{0}: {1}")]
    InvalidName(&'static str, &'static str),
    #[error("{0}")]
    WeakPassword(&'static str),
    /// Which field, and what it should be.
    #[error("{0}: {1}")]
    Invalid(&'static str, &'static str),
    #[error("the quota is used up")]
    QuotaExceeded,
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    #[error("a part whose length is not known before its end")]
    LengthRequired,
    #[error("the offset is not the upload's")]
    WrongOffset,
    #[error("the checksum of a chunk is another")]
    WrongChecksum,
    #[error("the declared hash is another")]
    WrongHash,
    /// Seconds until the lease lapses without a sign of life.
    #[error("another request of this upload is under way")]
    UploadLocked(u64),
    #[error("another version of tus")]
    TusVersion,
    #[error("not for this account")]
    Forbidden,
    #[error("not with this token")]
    Scope,
    #[error("the second factor is missing")]
    CodeRequired,
    #[error("the second factor is wrong")]
    BadCode,
    #[error("there is a second factor already")]
    TotpOn,
    #[error("there is no second factor")]
    TotpOff,
    #[error("one's own account")]
    OwnAccount,
    #[error(transparent)]
    Request(#[from] BadRequest),
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    #[error("database: {0}")]
    Db(#[from] DbError),
    #[error("redis: {0}")]
    Cache(#[from] redis::RedisError),
    #[error("store: {0}")]
    Files(#[from] FilesError),
    /// More work is waiting than this worker takes on.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// The same, and what was begun is already undone, or must be left alone.
    #[error("busy: {0}")]
    Settled(&'static str),
    /// A mistake of ours.
    #[error("internal: {0}")]
    Internal(#[source] anyhow::Error),
}

impl From<serde_json::Error> for WebError {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<Refusal> for WebError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotThere => Self::NotFound,
            Refusal::NameTaken => Self::NameTaken,
            Refusal::WouldCycle => {
                Self::Conflict("would_cycle", "a folder cannot be put into itself")
            }
            Refusal::TooDeep => Self::Conflict("too_deep", "there may be 64 folders in folders"),
            Refusal::TooMany => {
                Self::Conflict("too_many_nodes", "these are too many files; take some at a time")
            }
            Refusal::Full => Self::QuotaExceeded,
            Refusal::NoUser => Self::Unauthenticated,
        }
    }
}

impl From<BadHeader> for WebError {
    fn from(error: BadHeader) -> Self {
        Self::Internal(error.into())
    }
}

/// The public face of an error.
struct Public {
    status: u16,
    code: &'static str,
    message: String,
    field: Option<&'static str>,
    retry_after_s: Option<u64>,
}

fn public(status: u16, code: &'static str, message: impl ToString) -> Public {
    Public { status, code, message: message.to_string(), field: None, retry_after_s: None }
}

impl WebError {
    fn public(&self) -> Public {
        match self {
            Self::Unauthenticated => public(401, "unauthenticated", "sign in first"),
            Self::NotFound => public(404, "not_found", "there is no such file or folder"),
            Self::NoRoute => public(404, "no_route", "there is nothing at this address"),
            Self::WrongMethod(_) => public(405, "method_not_allowed", self),
            Self::CrossSite => public(403, "cross_site", "requests from other sites are refused"),
            Self::BadCredentials => public(401, "bad_credentials", self),
            Self::TooManyAttempts(after_s) => Public {
                retry_after_s: Some(*after_s),
                ..public(429, "too_many_attempts", "too many attempts; wait before trying again")
            },
            Self::NameTaken => Public {
                field: Some("name"),
                ..public(409, "name_taken", "this name is taken; choose another")
            },
            Self::Ended(code, message) => public(410, code, message),
            Self::ShareCode => public(403, "code_required", "enter the code of this share"),
            Self::WrongCode => public(403, "wrong_code", "this is not the code of this share"),
            Self::NoThumbnail => public(404, "no_thumbnail", self),
            Self::BadLink => public(403, "bad_link", "the link is wrong or has expired"),
            Self::Conflict(code, message) => public(409, code, message),
            Self::InvalidName(field, want) => {
                Public { field: Some(field), ..public(400, "invalid_name", want) }
            }
            Self::WeakPassword(want) => {
                Public { field: Some("password"), ..public(400, "weak_password", want) }
            }
            Self::Invalid(field, want) => {
                Public { field: Some(field), ..public(400, "invalid_value", want) }
            }
            Self::QuotaExceeded => {
                public(413, "quota_exceeded", "not enough space left; delete something first")
            }
            Self::TooLarge(max) => public(413, "too_large", format!("the limit is {max} bytes")),
            Self::LengthRequired => public(
                411,
                "length_required",
                "send a large file alone or last, give its part a Content-Length, or use PUT",
            ),
            Self::WrongOffset
            | Self::TooManyUploads
            | Self::TooManyArchives
            | Self::WrongChecksum
            | Self::WrongHash
            | Self::UploadLocked(_)
            | Self::TusVersion => self.public_of_uploads(),
            Self::Forbidden
            | Self::Scope
            | Self::CodeRequired
            | Self::BadCode
            | Self::TotpOn
            | Self::TotpOff
            | Self::OwnAccount => self.public_of_accounts(),
            Self::Request(error) => {
                let (status, code) = error.public();
                public(status, code, error)
            }
            Self::Multipart(error) => {
                let (status, code) = error.public();
                public(status, code, error)
            }
            _ => self.public_of_servers(),
        }
    }

    /// What is not the client's doing.
    fn public_of_servers(&self) -> Public {
        let away = |what: &str| Public {
            retry_after_s: Some(RETRY_AFTER_S),
            ..public(503, "unavailable", format!("{what} does not answer; try again soon"))
        };
        match self {
            Self::Db(DbError::Statement(_) | DbError::Schema(_)) | Self::Internal(_) => {
                public(500, "internal", "something went wrong here; it was recorded")
            }
            Self::Db(_) => away("the database"),
            Self::Cache(_) => away("the session store"),
            Self::Files(error) if error.is_full() => {
                public(507, "storage_full", "the file store is full; tell the administrator")
            }
            Self::Files(_) => away("the file store"),
            _ => away("this service"),
        }
    }

    /// The code and message of one item of many; logs what must be.
    pub(crate) fn item(&self) -> (&'static str, String) {
        let face = self.public();
        self.log(face.status);
        (face.code, face.message)
    }

    /// What only uploads and archives have.
    fn public_of_uploads(&self) -> Public {
        match self {
            Self::WrongChecksum => {
                public(460, "checksum_mismatch", "this chunk was damaged on its way; send it again")
            }
            Self::WrongHash => public(
                422,
                "hash_mismatch",
                "the file is not the one that was announced; nothing was kept",
            ),
            Self::UploadLocked(after_s) => Public {
                retry_after_s: Some(*after_s),
                ..public(423, "upload_locked", "another request of this upload is under way")
            },
            Self::TooManyUploads => Public {
                retry_after_s: Some(RETRY_AFTER_S),
                ..public(429, "too_many_uploads", "wait until some of your uploads are done")
            },
            Self::TooManyArchives => Public {
                retry_after_s: Some(RETRY_AFTER_S),
                ..public(429, "too_many_archives", "wait until one of your archives has arrived")
            },
            Self::TusVersion => public(412, "tus_version", "send Tus-Resumable: 1.0.0"),
            _ => public(409, "wrong_offset", "ask for the offset with HEAD and go on from there"),
        }
    }

    /// What only accounts have.
    fn public_of_accounts(&self) -> Public {
        match self {
            Self::Scope => {
                public(403, "scope", "this token does not permit it; sign in, or use another token")
            }
            Self::CodeRequired => {
                public(401, "code_required", "send the code of your authenticator as well")
            }
            Self::BadCode => public(401, "bad_code", "this code is wrong, or was used already"),
            Self::TotpOn => public(409, "totp_on", "there is a second factor already"),
            Self::TotpOff => public(409, "totp_off", "there is no second factor"),
            Self::OwnAccount => public(
                409,
                "own_account",
                "nobody may disable themselves or give up their own administration",
            ),
            _ => public(403, "forbidden", "only administrators may do this"),
        }
    }

    /// Whether somebody must look, or at least may want to know.
    fn log(&self, status: u16) {
        match status {
            500 => log::error!("{}", OneLine(self)),
            501..=599 => log::warn!("{}", OneLine(self)),
            _ => log::debug!("{status}: {}", OneLine(self)),
        }
    }
}

/// Text on one line: what a user typed cannot begin a log line of its own.
struct OneLine<'a, T>(&'a T);

impl<T: std::fmt::Display> std::fmt::Display for OneLine<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.to_string().chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let face = self.public();
        self.log(face.status);
        let mut error = serde_json::json!({"code": face.code, "message": face.message});
        if let (Some(field), Some(map)) = (face.field, error.as_object_mut()) {
            map.insert("field".to_owned(), field.into());
        }
        let made = Response::json(&serde_json::json!({ "error": error }));
        let mut response = made.unwrap_or_else(|_| Response::empty(500)).with_status(face.status);
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        headers.extend(face.retry_after_s.map(|s| ("retry-after", s.to_string())));
        if let Self::WrongMethod(allow) = self {
            headers.push(("allow", allow.to_owned()));
        }
        for (name, value) in headers {
            response = match response.with_header(name, value) {
                Ok(response) => response,
                Err(_) => return Response::empty(500),
            };
        }
        response
    }
}
