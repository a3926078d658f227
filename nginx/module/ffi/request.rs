//! A request while its handler runs: what the client asked, and the open file.
//!
//! [`on_request`] is what nginx calls; `handler` and those it calls get a [`Request`]. `reply`,
//! `proxy` and `task` add the ways to answer. No method waits or keeps anything beyond the
//! request.

use core::ffi::{CStr, c_void};
use core::mem::ManuallyDrop;
use core::ptr;
use std::ffi::OsStr;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::FromRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use nginx_sys::{
    NGX_LOG_CRIT, NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_WARN, NGX_OK, ngx_cached_time,
    ngx_connection_local_sockaddr, ngx_http_core_loc_conf_t, ngx_http_core_module,
    ngx_http_discard_request_body, ngx_http_request_t, ngx_http_set_disable_symlinks,
    ngx_inet_get_port, ngx_int_t, ngx_list_t, ngx_log_error_core, ngx_open_cached_file,
    ngx_open_file_info_t, ngx_pcalloc, ngx_pool_cleanup_add, ngx_str_t, ngx_table_elt_t,
};

use crate::conf::Conf;
use crate::elsewhere::Hop;
use crate::handler::{self, Refusal};
use crate::verify::Pending;

/// An HTTP status or one of nginx's own codes, as a handler returns it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Status(pub(super) ngx_int_t);

impl Status {
    pub(crate) const BAD_REQUEST: Self = Self(400);
    pub(crate) const FORBIDDEN: Self = Self(403);
    pub(crate) const NOT_FOUND: Self = Self(404);
    pub(crate) const NOT_ALLOWED: Self = Self(405);
    pub(crate) const RANGE_NOT_SATISFIABLE: Self = Self(416);
    pub(super) const INTERNAL: Self = Self(500);
    pub(crate) const BAD_GATEWAY: Self = Self(502);
    pub(crate) const UNAVAILABLE: Self = Self(503);

    pub(crate) fn of(status: u16) -> Self {
        Self(ngx_int_t::from(status as i16))
    }

    pub(super) fn check(code: ngx_int_t, otherwise: Self) -> Result<(), Refusal> {
        if code == NGX_OK as ngx_int_t { Ok(()) } else { Err(Refusal::Nginx(otherwise)) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

/// How loud a line of the error log is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Critical = NGX_LOG_CRIT as isize,
    Error = NGX_LOG_ERR as isize,
    Warn = NGX_LOG_WARN as isize,
    Info = NGX_LOG_INFO as isize,
}

/// An open file of nginx's cache; nginx closes it with the request or later.
pub(crate) struct OpenFile {
    pub(super) info: ngx_open_file_info_t,
    /// Ends with a NUL that is not counted, in memory of the request.
    pub(super) path: ngx_str_t,
}

impl core::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "OpenFile({:?})", self.path())
    }
}

impl OpenFile {
    pub(crate) fn is_regular(&self) -> bool {
        self.info.is_file() == 1
    }

    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.info.size).unwrap_or(0)
    }

    /// Unix seconds.
    pub(crate) fn mtime(&self) -> i64 {
        self.info.mtime
    }

    pub(crate) fn inode(&self) -> u64 {
        self.info.uniq
    }

    pub(crate) fn path_bytes(&self) -> &[u8] {
        bytes(&self.path)
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(self.path_bytes()))
    }

    /// Fills `buffer` from the bytes at `offset`; false if there are not as many.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        // SAFETY: nginx keeps the descriptor open as long as the request, and closes it: this
        // handle is never dropped.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(self.info.fd) });
        file.read_exact_at(buffer, offset).is_ok()
    }
}

/// What is kept with a request until nginx is done with it.
#[derive(Default)]
pub(super) struct Context {
    pub(super) hop: Option<Hop>,
    pub(super) pending: Option<Pending>,
    /// The proxy's own reader of a head, which ours calls.
    pub(super) process_header: Option<super::Handler>,
    /// The proxy's own preparation for the next member, which ours calls.
    pub(super) reinit: Option<super::Handler>,
}

/// Handles one request of a location that serves.
pub(super) extern "C" fn on_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a valid request, and leaves it to us until we return.
    let raw = unsafe { &mut *r };
    let conf = conf_of(raw);
    handler::answer(&mut Request { raw }, conf).0
}

/// The settings of the location that a request is in.
pub(super) fn conf_of<'r>(raw: &ngx_http_request_t) -> &'r Conf {
    // SAFETY: there is one entry for each module of `http`.
    let conf = unsafe { *raw.loc_conf.wrapping_add(index()) };
    // SAFETY: the entry is ours, by `on_create_conf`, and the cycle outlives its requests.
    unsafe { &*conf.cast::<Conf>() }
}

/// The number of our module among those of `http`.
pub(super) fn index() -> usize {
    // SAFETY: nginx has numbered our module when it read its configuration, and it stays so.
    unsafe { (*crate::MODULE.get()).ctx_index }
}

/// A request while its handler runs.
pub(crate) struct Request<'r> {
    pub(super) raw: &'r mut ngx_http_request_t,
}

impl<'r> Request<'r> {
    pub(crate) fn method(&self) -> Method {
        match self.raw.method as u32 {
            nginx_sys::NGX_HTTP_GET => Method::Get,
            nginx_sys::NGX_HTTP_HEAD => Method::Head,
            _ => Method::Other,
        }
    }

    /// The decoded path, without the query.
    pub(crate) fn path(&self) -> &'r [u8] {
        bytes(&self.raw.uri)
    }

    /// The query, as it was sent.
    pub(crate) fn args(&self) -> &'r [u8] {
        bytes(&self.raw.args)
    }

    /// Path and query as the client sent them, and the query alone.
    pub(crate) fn target(&self) -> (&'r [u8], &'r [u8]) {
        (bytes(&self.raw.unparsed_uri), self.args())
    }

    /// The `Range` header.
    pub(crate) fn range(&self) -> Option<&'r [u8]> {
        // SAFETY: null, or a header that lives as long as the request.
        let header = unsafe { self.raw.headers_in.range.as_ref() };
        header.map(|header| bytes(&header.value))
    }

    /// Makes nginx's range filter answer as if there were no `Range` header.
    pub(crate) fn forget_range(&mut self) {
        self.raw.headers_in.range = ptr::null_mut();
    }

    /// Whether there is any `If-` header.
    pub(crate) fn is_conditional(&self) -> bool {
        let headers = &self.raw.headers_in;
        let all = [
            headers.if_match,
            headers.if_none_match,
            headers.if_modified_since,
            headers.if_unmodified_since,
            headers.if_range,
        ];
        all.iter().any(|header| !header.is_null())
    }

    /// The first header of this name, which is given in lower case.
    pub(crate) fn header(&self, name: &[u8]) -> Option<&'r [u8]> {
        find(&self.raw.headers_in.headers, name)
    }

    /// The client's address, as `realip` has it; none behind a unix socket.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        // SAFETY: the connection of a request is valid as long as the request.
        let connection = unsafe { &*self.raw.connection };
        core::str::from_utf8(bytes(&connection.addr_text)).ok()?.parse().ok()
    }

    pub(crate) fn is_tls(&self) -> bool {
        // SAFETY: the connection of a request is valid as long as the request.
        unsafe { !(*self.raw.connection).ssl.is_null() }
    }

    /// The port that took the request; none behind a unix socket.
    pub(crate) fn local_port(&self) -> Option<u16> {
        let connection = self.raw.connection;
        // SAFETY: the connection is valid, and without room for text only its address is set.
        let code = unsafe { ngx_connection_local_sockaddr(connection, ptr::null_mut(), 0) };
        if code != NGX_OK as ngx_int_t {
            return None;
        }
        // SAFETY: the connection of a request is valid as long as the request.
        let address = unsafe { (*connection).local_sockaddr };
        // SAFETY: the address has just been set.
        let port = unsafe { ngx_inet_get_port(address) };
        (port != 0).then_some(port)
    }

    /// Unix seconds, as nginx last looked.
    pub(crate) fn now(&self) -> u64 {
        // SAFETY: nginx keeps this pointer valid, and only this thread changes it.
        let time = unsafe { ngx_cached_time };
        // SAFETY: as above.
        u64::try_from(unsafe { (*time).sec }).unwrap_or(0)
    }

    /// Lets nginx read and drop a body, now or after the answer.
    pub(crate) fn discard_body(&mut self) -> Result<(), Refusal> {
        // SAFETY: the request is valid.
        let code = unsafe { ngx_http_discard_request_body(self.raw) };
        Status::check(code, Status(code))
    }

    /// Opens `dir` + `name` through nginx's cache of open files, as the location's
    /// `open_file_cache`, `directio`, `read_ahead` and `disable_symlinks` say; `direct` false
    /// leaves out `directio`.
    pub(crate) fn open(
        &mut self,
        dir: &[u8],
        name: &[u8],
        direct: bool,
    ) -> Result<OpenFile, Refusal> {
        let mut path = self.join(dir, name)?;
        let core = self.core();
        // SAFETY: the structure consists of numbers and a pointer that may be null.
        let mut info: ngx_open_file_info_t = unsafe { core::mem::zeroed() };
        info.read_ahead = core.read_ahead;
        info.directio = if direct { core.directio } else { i64::MAX };
        info.valid = core.open_file_cache_valid;
        info.min_uses = core.open_file_cache_min_uses;
        info.set_errors(u32::from(core.open_file_cache_errors != 0));
        info.set_events(u32::from(core.open_file_cache_events != 0));
        let (cache, core) = (core.open_file_cache, ptr::from_mut(core));
        let (at, of) = (&raw mut path, &raw mut info);
        // SAFETY: request and settings are valid, path and file information are ours.
        let code = unsafe { ngx_http_set_disable_symlinks(self.raw, core, at, of) };
        Status::check(code, Status::INTERNAL)?;
        // SAFETY: the cache is null or valid, the path ends with a NUL, the pool is the
        // request's.
        let code = unsafe { ngx_open_cached_file(cache, at, of, self.raw.pool) };
        if code == NGX_OK as ngx_int_t {
            return Ok(OpenFile { info, path });
        }
        if info.err == 0 {
            return Err(Refusal::Nginx(Status::INTERNAL));
        }
        let what = format!("{} \"{path}\" failed", failed_call(&info));
        Err(Refusal::Open { errno: info.err, what })
    }

    /// Writes to the error log; `errno` 0 means none.
    pub(crate) fn log(&self, level: Level, errno: i32, what: &str) {
        let log = self.log_target();
        // SAFETY: the log of a connection is valid as long as the connection.
        let loudest = unsafe { (*log).log_level };
        if (level as usize) <= loudest {
            let (level, format) = (level as usize, c"fastdfs: %*s".as_ptr());
            // SAFETY: the format takes a length and that many bytes.
            unsafe { ngx_log_error_core(level, log, errno, format, what.len(), what.as_ptr()) };
        }
    }

    /// The same, unless the location says `log_not_found off`.
    pub(crate) fn log_not_found(&mut self, errno: i32, what: &str) {
        if self.core().log_not_found != 0 {
            self.log(Level::Error, errno, what);
        }
    }

    pub(super) fn log_target(&self) -> *mut nginx_sys::ngx_log_t {
        // SAFETY: the connection of a request is valid as long as the request.
        unsafe { (*self.raw.connection).log }
    }

    /// The core module's settings of the location.
    pub(super) fn core(&mut self) -> &'r mut ngx_http_core_loc_conf_t {
        // SAFETY: the core module is always there, and numbered before any request.
        let index = unsafe { ngx_http_core_module.ctx_index };
        // SAFETY: there is one entry for each module of `http`.
        let conf = unsafe { *self.raw.loc_conf.wrapping_add(index) };
        // SAFETY: the entry is the core module's; a worker has one thread, and nobody else
        // holds it while our handler runs.
        unsafe { &mut *conf.cast::<ngx_http_core_loc_conf_t>() }
    }

    /// What we keep with the request; made when first needed.
    pub(super) fn context(&mut self) -> Option<&'r mut Context> {
        let slot = self.raw.ctx.wrapping_add(index());
        // SAFETY: there is one entry for each module of `http`.
        let mut context = unsafe { *slot }.cast::<Context>();
        if context.is_null() {
            // SAFETY: the pool of a request is valid.
            let cleanup = unsafe { ngx_pool_cleanup_add(self.raw.pool, 0) };
            // SAFETY: null, or a new entry that only we know.
            let cleanup = unsafe { cleanup.as_mut() }?;
            context = Box::into_raw(Box::default());
            cleanup.data = context.cast();
            cleanup.handler = Some(on_drop_context);
            // SAFETY: as above; the entry of our module is ours to set.
            unsafe { *slot = context.cast() };
        }
        // SAFETY: only we set the entry, to a box that lives as long as the request's pool; a
        // worker has one thread, and no other reference is held across calls of nginx.
        Some(unsafe { &mut *context })
    }

    /// The two texts in one, in memory of the request, with a NUL behind that is not counted.
    pub(super) fn join(&mut self, first: &[u8], second: &[u8]) -> Result<ngx_str_t, Refusal> {
        let len = first.len() + second.len();
        let data = self.zeroed(len + 1).cast::<u8>();
        if data.is_null() {
            return Err(Refusal::Nginx(Status::INTERNAL));
        }
        // SAFETY: as many zeroed bytes have just been taken from the pool.
        let room = unsafe { core::slice::from_raw_parts_mut(data, len) };
        let (front, back) = room.split_at_mut(first.len());
        front.copy_from_slice(first);
        back.copy_from_slice(second);
        Ok(ngx_str_t { len, data })
    }

    /// Zeroed memory that lives as long as the request; null if there is none.
    pub(super) fn zeroed(&mut self, len: usize) -> *mut c_void {
        // SAFETY: the pool of a request is valid.
        unsafe { ngx_pcalloc(self.raw.pool, len) }
    }
}

extern "C" fn on_drop_context(context: *mut c_void) {
    // SAFETY: the pool calls this once, with the box of `context`, when nginx is done with the
    // request; a thread that works for it would have kept the request alive.
    drop(unsafe { Box::from_raw(context.cast::<Context>()) });
}

/// The first header of a list that has this name, given in lower case, and is not taken back.
pub(super) fn find<'r>(list: &ngx_list_t, name: &[u8]) -> Option<&'r [u8]> {
    let mut part = &raw const list.part;
    // SAFETY: the parts of a list are linked, each valid, and the last links to null.
    while let Some(here) = unsafe { part.as_ref() } {
        part = here.next;
        if here.nelts == 0 {
            continue;
        }
        let (first, count) = (here.elts.cast::<ngx_table_elt_t>(), here.nelts);
        // SAFETY: a part has as many elements as it says, and those of a list of headers are
        // headers.
        let headers = unsafe { core::slice::from_raw_parts(first, count) };
        let matches = |header: &&ngx_table_elt_t| {
            header.hash != 0 && bytes(&header.key).eq_ignore_ascii_case(name)
        };
        if let Some(header) = headers.iter().find(matches) {
            return Some(bytes(&header.value));
        }
    }
    None
}

/// The bytes of a string in the memory of a request.
pub(super) fn bytes<'r>(text: &ngx_str_t) -> &'r [u8] {
    if text.len == 0 {
        return b"";
    }
    // SAFETY: only called for strings of the request, which nginx keeps and does not change
    // while its handler runs, the only time for which `'r` stands.
    unsafe { core::slice::from_raw_parts(text.data, text.len) }
}

/// The system call that nginx names as the one that failed.
fn failed_call(info: &ngx_open_file_info_t) -> &'static str {
    if info.failed.is_null() {
        return "open()";
    }
    // SAFETY: nginx sets this to one of its literals.
    let name = unsafe { CStr::from_ptr(info.failed) };
    name.to_str().unwrap_or("open()")
}
