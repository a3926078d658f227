//! One request: the checks in their order, then the headers, then nginx sends the file.
//!
//! Called by `ffi` for each request in a location with `ngx_fastdfs_module`. Ranges,
//! conditions and HEAD are nginx's own filters' work; this only says what they need to know.

use std::fmt::Write as _;

use proto::fileid::{FileName, Kind, NORMAL_LEN, Record, STORE_PATHS_MAX};
use proto::ids::GroupName;

use crate::conf::Conf;
use crate::ffi::{Level, Method, OpenFile, Request, Status};
use crate::{locate, range};

/// Two numbers of 16 hexadecimal digits, a dash, two quotes.
const ETAG_LEN_MAX: usize = 35;

/// Why a request is not answered with a file.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    Method,
    /// The address is not one of a stored file.
    Form(&'static str),
    /// The address is right and the file is not on this server.
    NotHere(&'static str),
    /// The file is there but its size is not the one in its name.
    Damaged {
        size: u64,
    },
    /// nginx could not open the file: the error number, the call and the path.
    Open {
        errno: i32,
        what: String,
    },
    /// A range of an empty file.
    Range,
    /// nginx has refused and logged it.
    Nginx(Status),
}

/// A file id and what is decoded from it, once for each request.
pub(crate) struct Wanted {
    pub(crate) name: FileName,
    pub(crate) record: Record,
    pub(crate) kind: Kind,
}

/// Answers one request.
pub(crate) fn answer(request: &mut Request<'_>, conf: &Conf) -> Status {
    serve(request, conf).unwrap_or_else(|refusal| refuse(request, &refusal))
}

/// The checks in the order of http.md 6. Existence comes before conditions: a deleted file is
/// 404, whatever the client still has.
fn serve(request: &mut Request<'_>, conf: &Conf) -> Result<Status, Refusal> {
    if request.method() == Method::Other {
        return Err(Refusal::Method);
    }
    let wanted = wanted(request.path(), conf)?;
    request.discard_body()?;
    let file = locate::open(request, conf, &wanted)?;
    check_range(request, &file)?;
    describe(request, &wanted, &file)?;
    request.send(file)
}

/// The file that the address names: `/group1/M00/...`, or `/M00/...` if so configured, never
/// both (http.md 3).
fn wanted(path: &[u8], conf: &Conf) -> Result<Wanted, Refusal> {
    let path = path.strip_prefix(b"/").ok_or(Refusal::Form("not an absolute path"))?;
    let (group, text) = if conf.url_has_group() {
        let slash = path.iter().position(|byte| *byte == b'/');
        let parts = slash.and_then(|slash| Some((path.get(..slash)?, path.get(slash + 1..)?)));
        let (group, text) = parts.ok_or(Refusal::Form("no group"))?;
        (group_name(group), text)
    } else {
        (conf.group(), path)
    };
    let here = group.is_some() && group == conf.group();
    // A name without its group can look like one of a group called M00.
    if group.is_none() || !here && FileName::parse(path, STORE_PATHS_MAX).is_ok() {
        return Err(Refusal::Form("no group"));
    }
    let store_paths = if here { conf.store_paths() } else { STORE_PATHS_MAX };
    let name = FileName::parse(text, store_paths).map_err(|_| Refusal::Form("not a file id"))?;
    let record = name.record().ok_or(Refusal::Form("not the name of a stored file"))?;
    if name.as_str().len() < NORMAL_LEN {
        return Err(Refusal::Form("the name of a stored file is longer"));
    }
    let kind = name.kind_with(&record);
    let wanted = Wanted { name, record, kind };
    if here { Ok(wanted) } else { Err(Refusal::NotHere("a group of other servers")) }
}

fn group_name(text: &[u8]) -> Option<GroupName> {
    std::str::from_utf8(text).ok().and_then(GroupName::parse)
}

/// Puts right what nginx's range filter would answer otherwise than http.md 9 has it.
fn check_range(request: &mut Request<'_>, file: &OpenFile) -> Result<(), Refusal> {
    let Some(header) = request.range() else { return Ok(()) };
    if range::is_backward(header) {
        request.forget_range();
    } else if file.size() == 0 && header.starts_with(b"bytes=") && !request.is_conditional() {
        return Err(Refusal::Range);
    }
    Ok(())
}

/// The headers that say which content this is. The bytes behind a normal file's name never
/// change, so its time, sum and size are those in the name, on every server alike; appenders
/// grow and slaves can be made again, so theirs are those of the file.
fn describe(request: &mut Request<'_>, wanted: &Wanted, file: &OpenFile) -> Result<(), Refusal> {
    let record = &wanted.record;
    let (modified, tag) = match wanted.kind {
        Kind::Normal => (i64::from(record.timestamp), i64::from(record.crc32)),
        Kind::Appender | Kind::Slave => (file.mtime(), file.mtime()),
    };
    let mut etag = String::with_capacity(ETAG_LEN_MAX);
    // Writing to a string cannot fail.
    let _ = write!(etag, "\"{tag:x}-{:x}\"", file.size());
    request.set_etag(&etag)?;
    request.set_file_headers(modified, file.size())
}

/// The one table from refusal to status, and the one place that logs it.
fn refuse(request: &mut Request<'_>, refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Method => {
            request.log(Level::Info, 0, "only GET and HEAD are served");
            request.allow_get();
            Status::NOT_ALLOWED
        }
        Refusal::Form(why) => {
            request.log(Level::Info, 0, why);
            Status::BAD_REQUEST
        }
        Refusal::NotHere(why) => {
            request.log_not_found(0, why);
            Status::NOT_FOUND
        }
        Refusal::Damaged { size } => {
            let what = format!("the file has {size} bytes, its name says otherwise: damaged");
            request.log(Level::Critical, 0, &what);
            Status::NOT_FOUND
        }
        Refusal::Open { errno, what } => open_failed(request, *errno, what),
        Refusal::Range => {
            request.set_range_of_nothing();
            Status::RANGE_NOT_SATISFIABLE
        }
        Refusal::Nginx(status) => *status,
    }
}

fn open_failed(request: &mut Request<'_>, errno: i32, what: &str) -> Status {
    use std::io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};

    match std::io::Error::from_raw_os_error(errno).kind() {
        NotFound | NotADirectory | InvalidFilename => {
            request.log_not_found(errno, what);
            Status::NOT_FOUND
        }
        _ => {
            request.log(Level::Critical, errno, what);
            Status::UNAVAILABLE
        }
    }
}
