//! One request: the checks in their order, then the headers, then nginx sends the file.
//!
//! Called by `ffi` for each request in a location with `ngx_fastdfs_module`. Ranges,
//! conditions and HEAD are nginx's own filters' work; this only says what they need to know.
//! What is not here goes to `elsewhere`, what has to be read first to `verify`.

use proto::fileid::{FileName, Kind, NORMAL_LEN, Record, STORE_PATHS_MAX};
use proto::ids::GroupName;
use proto::query::Query;

use crate::access::{Denied, Fail, Grant};
use crate::conf::Conf;
use crate::etag::ETag;
use crate::ffi::{Level, Method, Request, Span, Status};
use crate::locate::Found;
use crate::site::Group;
use crate::verify::{self, Pending, Verdict};
use crate::{elsewhere, flv, locate, range};

/// How long a file that never changes may be kept: a year, which is what caches take for ever.
const CACHE_SECS_MAX: u64 = 31_536_000;
/// What nearly every answer says is written here once, not formatted for each.
const CACHE_PUBLIC: &str = "public, max-age=31536000, immutable";
const CACHE_PRIVATE: &str = "private, max-age=31536000, immutable";

/// Why a request is not answered with a file.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    Method,
    /// The address is not one of a stored file.
    Form(&'static str),
    Denied(Denied),
    /// The address is right and the file is not on this server.
    NotHere(&'static str),
    /// The file is there but its size is not the one in its name.
    Damaged {
        size: u64,
    },
    /// The file is there but its content is not what was stored.
    Sum {
        found: u32,
        named: u32,
    },
    /// nginx could not open the file: the error number, the call and the path.
    Open {
        errno: i32,
        what: String,
    },
    /// Another server has sent the client here, and the file is not here either.
    Circle,
    /// A range of an empty file.
    Range,
    /// A part of a film that is none.
    Window,
    /// nginx has refused and logged it.
    Nginx(Status),
}

/// A file id and what is decoded from it, once for each request.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) group: GroupName,
    pub(crate) name: FileName,
    pub(crate) record: Record,
    pub(crate) kind: Kind,
    pub(crate) grant: Grant,
}

/// Answers one request.
pub(crate) fn answer(request: &mut Request<'_>, conf: &Conf) -> Status {
    serve(request, conf).unwrap_or_else(|refusal| refuse(request, conf, &refusal))
}

/// Goes on with a request whose file has been read.
pub(crate) fn resume(request: &mut Request<'_>, conf: &Conf, pending: Pending) -> Status {
    let Pending { wanted, found, check } = pending;
    let outcome = match check.verdict {
        Some(Verdict::Right) => {
            verify::remember(&found.file);
            deliver(request, conf, &wanted, found)
        }
        Some(Verdict::Wrong { found: sum, named }) => {
            elsewhere::next(request, conf, &wanted, Refusal::Sum { found: sum, named })
        }
        Some(Verdict::Unread(errno)) => {
            let what = "read for verification failed".to_owned();
            elsewhere::next(request, conf, &wanted, Refusal::Open { errno, what })
        }
        None => Err(Refusal::Nginx(Status::UNAVAILABLE)),
    };
    outcome.unwrap_or_else(|refusal| refuse(request, conf, &refusal))
}

/// The checks in the order of http.md 6. Existence comes before conditions: a deleted file is
/// 404, whatever the client still has.
fn serve(request: &mut Request<'_>, conf: &Conf) -> Result<Status, Refusal> {
    if request.method() == Method::Other {
        return Err(Refusal::Method);
    }
    let wanted = wanted(request, conf)?;
    request.discard_body()?;
    let group = conf.site().and_then(|site| site.find(wanted.group));
    let group = group.ok_or(Refusal::NotHere("a group of other servers"))?;
    let opened = if group.data_dirs.is_empty() {
        Err(Refusal::NotHere("a group without files here"))
    } else {
        locate::open(request, group, &wanted)
    };
    match opened {
        Ok(found) if verify::is_needed(conf, &wanted, &found) => {
            verify::begin(request, conf, wanted, found)
        }
        Ok(found) => deliver(request, conf, &wanted, found),
        Err(why) => elsewhere::next(request, conf, &wanted, why),
    }
}

/// The file that the address names: `/group1/M00/...`, or `/M00/...` if so configured, never
/// both (http.md 3). Whether the link permits it is judged before its name is looked at.
fn wanted(request: &mut Request<'_>, conf: &Conf) -> Result<Wanted, Refusal> {
    let path = request.path();
    let path = path.strip_prefix(b"/").ok_or(Refusal::Form("not an absolute path"))?;
    let (group, text) = if conf.url_has_group() {
        let slash = path.iter().position(|byte| *byte == b'/');
        let parts = slash.and_then(|slash| Some((path.get(..slash)?, path.get(slash + 1..)?)));
        let (group, text) = parts.ok_or(Refusal::Form("no group"))?;
        (group_name(group, conf.group), text)
    } else {
        (conf.group, path)
    };
    let group = group.ok_or(Refusal::Form("no group"))?;
    let grant = conf.rules.judge(request, group, text).map_err(Refusal::Denied)?;
    let known = conf.site().and_then(|site| site.find(group));
    // A name without its group can look like one of a group called M00.
    if known.is_none() && FileName::parse(path, STORE_PATHS_MAX).is_ok() {
        return Err(Refusal::Form("no group"));
    }
    let store_paths = known.map_or(STORE_PATHS_MAX, Group::store_paths);
    let name = FileName::parse(text, store_paths).map_err(|_| Refusal::Form("not a file id"))?;
    let record = name.record().ok_or(Refusal::Form("not the name of a stored file"))?;
    if name.as_str().len() < NORMAL_LEN {
        return Err(Refusal::Form("the name of a stored file is longer"));
    }
    let kind = name.kind_with(&record);
    Ok(Wanted { group, name, record, kind, grant })
}

/// Most requests are for the group of this host, whose name was read with the settings.
fn group_name(text: &[u8], own: Option<GroupName>) -> Option<GroupName> {
    let is_own = own.filter(|own| own.as_bytes() == text);
    is_own.or_else(|| std::str::from_utf8(text).ok().and_then(GroupName::parse))
}

/// Says what the file is, and has nginx send it.
fn deliver(
    request: &mut Request<'_>,
    conf: &Conf,
    wanted: &Wanted,
    found: Found,
) -> Result<Status, Refusal> {
    if let Some(status) = media(request, conf, wanted, &found) {
        return Ok(status);
    }
    let whole = Span { prefix: b"", from: found.start, len: found.size };
    let span = part(request, conf, wanted, &found)?.unwrap_or(whole);
    let len = span.len.saturating_add(span.prefix.len() as u64);
    let is_whole = len == found.size && span.prefix.is_empty();
    if is_whole {
        check_range(request, len)?;
    }
    describe(request, conf, wanted, &found)?;
    request.set_length(len, is_whole)?;
    request.send(found.file, span)
}

/// Hands a film to nginx's own module for it, if one stands in the location and the client asks
/// for a part: it finds the file by the path that `ffi` gives it.
fn media(request: &mut Request<'_>, conf: &Conf, wanted: &Wanted, found: &Found) -> Option<Status> {
    let handler = conf.media.filter(|_| found.whole)?;
    let query = Query::new(request.args());
    query.raw("start").or_else(|| query.raw("end"))?;
    let group = conf.site()?.find(wanted.group)?;
    let dir = group.data_dir(wanted.name.store_path())?;
    let name = ["/", wanted.name.true_name()].concat();
    Some(request.hand_to(handler, dir.strip_suffix(b"/").unwrap_or(dir), &name))
}

/// The part of an FLV file that the query asks for.
fn part(
    request: &Request<'_>,
    conf: &Conf,
    wanted: &Wanted,
    found: &Found,
) -> Result<Option<Span>, Refusal> {
    let extension = wanted.name.as_str().rsplit_once('.').map_or("", |(_, ext)| ext);
    if conf.flv.as_deref() != Some(extension) || request.range().is_some() {
        return Ok(None);
    }
    let window = flv::window(Query::new(request.args()), found.size);
    let window = window.transpose().map_err(|()| Refusal::Window)?;
    Ok(window.map(|window| Span {
        prefix: if window.header { flv::HEADER } else { b"" },
        from: found.start.saturating_add(window.from),
        len: window.to.saturating_sub(window.from),
    }))
}

/// Puts right what nginx's range filter would answer otherwise than http.md 9 has it.
fn check_range(request: &mut Request<'_>, size: u64) -> Result<(), Refusal> {
    let Some(header) = request.range() else { return Ok(()) };
    if range::is_backward(header) {
        request.forget_range();
    } else if size == 0 && header.starts_with(b"bytes=") && !request.is_conditional() {
        return Err(Refusal::Range);
    }
    Ok(())
}

/// The headers that say which content this is. The bytes behind a normal file's name never
/// change, so its time, sum and size are those in the name, on every server alike; appenders
/// grow and slaves can be made again, so theirs are those of the file.
fn describe(
    request: &mut Request<'_>,
    conf: &Conf,
    wanted: &Wanted,
    found: &Found,
) -> Result<(), Refusal> {
    let (record, mtime) = (&wanted.record, found.file.mtime());
    let (modified, tag) = match wanted.kind {
        Kind::Normal => (i64::from(record.timestamp), i64::from(record.crc32)),
        Kind::Appender | Kind::Slave => (mtime, mtime),
    };
    request.set_etag(&ETag::of(tag, found.size))?;
    if wanted.kind == Kind::Normal && conf.caches() && !request.has_cache_control() {
        let grant = &wanted.grant;
        // No longer than the link itself works.
        let left = grant.until.map(|until| until.saturating_sub(request.now()));
        match left.filter(|secs| *secs < CACHE_SECS_MAX) {
            None if grant.private => request.set_cache_control(CACHE_PRIVATE)?,
            None => request.set_cache_control(CACHE_PUBLIC)?,
            Some(secs) => {
                let who = if grant.private { "private" } else { "public" };
                request.set_cache_control_of(&format!("{who}, max-age={secs}, immutable"))?;
            }
        }
    }
    if let Some(media_type) = &wanted.grant.link.media_type {
        request.set_media_type(media_type)?;
    }
    let disposition = wanted.grant.link.disposition();
    // What a worker has said stands.
    if let Some(value) = disposition.filter(|_| !request.has_header(b"Content-Disposition")) {
        request.set_header(b"Content-Disposition", &value)?;
    }
    request.set_modified(modified);
    Ok(())
}

/// The one table from refusal to status, and the one place that logs it.
fn refuse(request: &mut Request<'_>, conf: &Conf, refusal: &Refusal) -> Status {
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
        Refusal::Denied(denied) => deny(request, conf, *denied),
        Refusal::NotHere(why) => {
            request.log_not_found(0, why);
            Status::NOT_FOUND
        }
        Refusal::Damaged { size } => {
            let what = format!("the file has {size} bytes, its name says otherwise: damaged");
            request.log(Level::Critical, 0, &what);
            Status::BAD_GATEWAY
        }
        Refusal::Sum { found, named } => {
            request.log(Level::Critical, 0, &verify::complaint(*found, *named));
            Status::BAD_GATEWAY
        }
        Refusal::Open { errno, what } => open_failed(request, *errno, what),
        Refusal::Circle => {
            request.log(Level::Info, 0, "sent here by another server, and not here");
            Status::BAD_REQUEST
        }
        Refusal::Range => {
            request.set_range_of_nothing();
            Status::RANGE_NOT_SATISFIABLE
        }
        Refusal::Window => {
            request.log(Level::Info, 0, "no such part of the film");
            Status::BAD_REQUEST
        }
        Refusal::Nginx(status) => *status,
    }
}

/// The answer to a bad link (http.md 14.2): a missing token is 400, whatever is configured.
fn deny(request: &mut Request<'_>, conf: &Conf, denied: Denied) -> Status {
    request.log(Level::Info, 0, &denied.why.to_string());
    let missing = denied.why == proto::token::Refusal::Missing && !denied.strong;
    match &conf.rules.fail {
        _ if missing => Status::BAD_REQUEST,
        Some(Fail::Status(status)) => Status::of(*status),
        Some(Fail::File(path)) => instead(request, path).unwrap_or(Status::FORBIDDEN),
        None if denied.strong => Status::FORBIDDEN,
        None => Status::BAD_REQUEST,
    }
}

/// Sends the file that stands for what a bad link asked for. Not a part of it, and not to be
/// kept: the same address may be good for somebody else.
fn instead(request: &mut Request<'_>, path: &[u8]) -> Result<Status, Refusal> {
    request.discard_body()?;
    let file = request.open(b"", path, true)?;
    request.forget_range();
    request.set_cache_control("no-store")?;
    request.set_extension_of(path);
    request.set_modified(0);
    let span = Span { prefix: b"", from: 0, len: file.size() };
    request.set_length(span.len, false)?;
    request.send(file, span)
}

fn open_failed(request: &mut Request<'_>, errno: i32, what: &str) -> Status {
    if elsewhere::is_absent(errno) {
        request.log_not_found(errno, what);
        return Status::NOT_FOUND;
    }
    request.log(Level::Critical, errno, what);
    Status::UNAVAILABLE
}
