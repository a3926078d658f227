//! A request while its handler runs: what the client asked, the open file, the answer.
//!
//! [`on_request`] is what nginx calls; `handler` and `locate` get a [`Request`]. No method waits
//! or keeps anything beyond the request.

use core::ffi::{CStr, c_void};
use core::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_LOG_CRIT, NGX_LOG_ERR, NGX_LOG_INFO, NGX_OK, ngx_buf_t, ngx_chain_t, ngx_file_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_discard_request_body,
    ngx_http_output_filter, ngx_http_request_t, ngx_http_send_header, ngx_http_set_content_type,
    ngx_http_set_disable_symlinks, ngx_int_t, ngx_list_push, ngx_log_error_core,
    ngx_open_cached_file, ngx_open_file_info_t, ngx_pcalloc, ngx_str_t, ngx_table_elt_t,
};

use super::text;
use crate::conf::Conf;
use crate::handler::{self, Refusal};

/// An HTTP status or one of nginx's own codes, as a handler returns it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Status(ngx_int_t);

impl Status {
    pub(crate) const BAD_REQUEST: Self = Self(400);
    pub(crate) const NOT_FOUND: Self = Self(404);
    pub(crate) const NOT_ALLOWED: Self = Self(405);
    pub(crate) const RANGE_NOT_SATISFIABLE: Self = Self(416);
    const INTERNAL: Self = Self(500);
    pub(crate) const UNAVAILABLE: Self = Self(503);

    fn check(code: ngx_int_t, otherwise: Self) -> Result<(), Refusal> {
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
    Info = NGX_LOG_INFO as isize,
}

/// An open file of nginx's cache; nginx closes it with the request or later.
pub(crate) struct OpenFile {
    info: ngx_open_file_info_t,
    /// Ends with a NUL that is not counted, in memory of the request.
    path: ngx_str_t,
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
}

/// Handles one request of a location that serves.
pub(super) extern "C" fn on_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a valid request, and leaves it to us until we return.
    let raw = unsafe { &mut *r };
    // SAFETY: nginx has numbered our module when it read its configuration, and it stays so.
    let index = unsafe { (*crate::MODULE.get()).ctx_index };
    // SAFETY: there is one entry for each module of `http`.
    let conf = unsafe { *raw.loc_conf.wrapping_add(index) };
    // SAFETY: the entry is ours, by `on_create_conf`, and the cycle outlives its requests.
    let conf = unsafe { &*conf.cast::<Conf>() };
    handler::answer(&mut Request { raw }, conf).0
}

/// A request while its handler runs.
pub(crate) struct Request<'r> {
    raw: &'r mut ngx_http_request_t,
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

    /// Lets nginx read and drop a body, now or after the answer.
    pub(crate) fn discard_body(&mut self) -> Result<(), Refusal> {
        // SAFETY: the request is valid.
        let code = unsafe { ngx_http_discard_request_body(self.raw) };
        Status::check(code, Status(code))
    }

    /// Opens `dir` + `name` through nginx's cache of open files, as the location's
    /// `open_file_cache`, `directio`, `read_ahead` and `disable_symlinks` say.
    pub(crate) fn open(&mut self, dir: &[u8], name: &[u8]) -> Result<OpenFile, Refusal> {
        let mut path = self.join(dir, name)?;
        let core = self.core();
        // SAFETY: the structure consists of numbers and a pointer that may be null.
        let mut info: ngx_open_file_info_t = unsafe { core::mem::zeroed() };
        info.read_ahead = core.read_ahead;
        info.directio = core.directio;
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

    /// Adds an `ETag`, unless the location says `etag off`.
    pub(crate) fn set_etag(&mut self, tag: &str) -> Result<(), Refusal> {
        if self.core().etag == 0 {
            return Ok(());
        }
        let value = self.join(tag.as_bytes(), b"")?;
        self.raw.headers_out.etag = self.add_header(b"ETag", value)?;
        Ok(())
    }

    /// Status 200, length, `Last-Modified` in Unix seconds, and the media type, unless the
    /// worker that sent the request here has set one.
    pub(crate) fn set_file_headers(&mut self, modified: i64, size: u64) -> Result<(), Refusal> {
        self.raw.headers_out.status = 200;
        self.raw.headers_out.content_length_n = i64::try_from(size).unwrap_or(0);
        self.raw.headers_out.last_modified_time = modified;
        self.raw.set_allow_ranges(1);
        // SAFETY: the request is valid.
        let code = unsafe { ngx_http_set_content_type(self.raw) };
        Status::check(code, Status::INTERNAL)
    }

    /// `Allow`, for an answer of 405.
    pub(crate) fn allow_get(&mut self) {
        // Without memory for the header nginx cannot send the answer either.
        let _ = self.add_header(b"Allow", text(b"GET, HEAD"));
    }

    /// `Content-Range`, for a range of an empty file.
    pub(crate) fn set_range_of_nothing(&mut self) {
        if let Ok(header) = self.add_header(b"Content-Range", text(b"bytes */0")) {
            self.raw.headers_out.content_range = header;
        }
    }

    /// Sends the headers and, unless they are all, has nginx send the file.
    pub(crate) fn send(&mut self, file: OpenFile) -> Result<Status, Refusal> {
        let is_main = ptr::eq(self.raw, self.raw.main);
        let size = file.info.size;
        // SAFETY: zeroed memory of the request's pool, or null.
        let buf = unsafe { self.zeroed(size_of::<ngx_buf_t>()).cast::<ngx_buf_t>().as_mut() };
        let buf = buf.ok_or(Refusal::Nginx(Status::INTERNAL))?;
        // SAFETY: as above.
        let out = unsafe { self.zeroed(size_of::<ngx_file_t>()).cast::<ngx_file_t>().as_mut() };
        let out = out.ok_or(Refusal::Nginx(Status::INTERNAL))?;
        // SAFETY: the request is valid.
        let code = unsafe { ngx_http_send_header(self.raw) };
        // A subrequest must not pass on a buffer that is empty and not the last.
        let done = self.raw.header_only() == 1 || (!is_main && size == 0);
        if code == NGX_ERROR as ngx_int_t || code > NGX_OK as ngx_int_t || done {
            return Ok(Status(code));
        }
        out.fd = file.info.fd;
        out.name = file.path;
        out.log = self.log_target();
        out.set_directio(file.info.is_directio());
        buf.file_last = size;
        buf.set_in_file(u32::from(size != 0));
        buf.set_last_buf(u32::from(is_main));
        buf.set_last_in_chain(1);
        buf.file = out;
        let mut chain = ngx_chain_t { buf, next: ptr::null_mut() };
        // SAFETY: request and buffer are valid; nginx copies the link of the chain.
        Ok(Status(unsafe { ngx_http_output_filter(self.raw, &raw mut chain) }))
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

    fn log_target(&self) -> *mut nginx_sys::ngx_log_t {
        // SAFETY: the connection of a request is valid as long as the request.
        unsafe { (*self.raw.connection).log }
    }

    /// The core module's settings of the location.
    fn core(&mut self) -> &'r mut ngx_http_core_loc_conf_t {
        // SAFETY: the core module is always there, and numbered before any request.
        let index = unsafe { ngx_http_core_module.ctx_index };
        // SAFETY: there is one entry for each module of `http`.
        let conf = unsafe { *self.raw.loc_conf.wrapping_add(index) };
        // SAFETY: the entry is the core module's; a worker has one thread, and nobody else
        // holds it while our handler runs.
        unsafe { &mut *conf.cast::<ngx_http_core_loc_conf_t>() }
    }

    /// The two texts in one, in memory of the request, with a NUL behind that is not counted.
    fn join(&mut self, first: &[u8], second: &[u8]) -> Result<ngx_str_t, Refusal> {
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
    fn zeroed(&mut self, len: usize) -> *mut c_void {
        // SAFETY: the pool of a request is valid.
        unsafe { ngx_pcalloc(self.raw.pool, len) }
    }

    fn add_header(
        &mut self,
        name: &'static [u8],
        value: ngx_str_t,
    ) -> Result<*mut ngx_table_elt_t, Refusal> {
        let headers = &raw mut self.raw.headers_out.headers;
        // SAFETY: the list of headers is valid and holds elements of this type.
        let header = unsafe { ngx_list_push(headers).cast::<ngx_table_elt_t>() };
        if header.is_null() {
            return Err(Refusal::Nginx(Status::INTERNAL));
        }
        // SAFETY: the new element is ours to fill; all its fields may be zero.
        unsafe { header.write_bytes(0, 1) };
        // SAFETY: and now it is valid.
        let filled = unsafe { &mut *header };
        filled.hash = 1;
        filled.key = text(name);
        filled.value = value;
        Ok(header)
    }
}

/// The bytes of a string in the memory of a request.
fn bytes<'r>(text: &ngx_str_t) -> &'r [u8] {
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
