//! The answer to a request: its headers, and the file that nginx sends.
//!
//! Adds to [`Request`] what `handler` needs to answer. Nothing is decided here.

use core::mem;
use core::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_array_t, ngx_buf_t, ngx_chain_t, ngx_file_t, ngx_http_output_filter,
    ngx_http_send_header, ngx_http_set_content_type, ngx_int_t, ngx_list_push, ngx_str_t,
    ngx_table_elt_t,
};

use super::request::{OpenFile, Request, Status, find};
use super::{Handler, text};
use crate::etag::ETag;
use crate::handler::Refusal;

/// A part of a file, and what goes before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) prefix: &'static [u8],
    pub(crate) from: u64,
    pub(crate) len: u64,
}

/// Where nginx keeps the `Cache-Control` of an answer, so that `expires` can replace it: an
/// array of headers before 1.23, then a linked one. Compiled for the one that is built against.
trait CacheControl {
    fn is_set(&self) -> bool;
    /// `room` is zeroed memory for one pointer.
    fn keep(&mut self, header: *mut ngx_table_elt_t, room: *mut *mut ngx_table_elt_t);
}

impl CacheControl for ngx_array_t {
    fn is_set(&self) -> bool {
        self.nelts != 0
    }

    fn keep(&mut self, header: *mut ngx_table_elt_t, room: *mut *mut ngx_table_elt_t) {
        // SAFETY: the caller has just taken the room, aligned for a pointer, from the pool.
        unsafe { room.write(header) };
        (self.elts, self.nelts, self.nalloc) = (room.cast(), 1, 1);
        self.size = size_of::<*mut ngx_table_elt_t>();
    }
}

impl CacheControl for *mut ngx_table_elt_t {
    fn is_set(&self) -> bool {
        !self.is_null()
    }

    fn keep(&mut self, header: *mut ngx_table_elt_t, _room: *mut *mut ngx_table_elt_t) {
        *self = header;
    }
}

impl Request<'_> {
    /// Adds an `ETag`, unless the location says `etag off`.
    pub(crate) fn set_etag(&mut self, tag: &ETag) -> Result<(), Refusal> {
        if self.core().etag == 0 {
            return Ok(());
        }
        let value = self.join(tag.as_bytes(), b"")?;
        self.raw.headers_out.etag = self.add_header(b"ETag", value)?;
        Ok(())
    }

    /// `Last-Modified`, in Unix seconds.
    pub(crate) fn set_modified(&mut self, modified: i64) {
        self.raw.headers_out.last_modified_time = modified;
    }

    /// Status 200, the length, whether parts may be asked for, and the media type, unless the
    /// worker that sent the request here has set one.
    pub(crate) fn set_length(&mut self, len: u64, ranges: bool) -> Result<(), Refusal> {
        self.raw.headers_out.status = 200;
        self.raw.headers_out.content_length_n = i64::try_from(len).unwrap_or(0);
        self.raw.set_allow_ranges(u32::from(ranges));
        // SAFETY: the request is valid.
        let code = unsafe { ngx_http_set_content_type(self.raw) };
        Status::check(code, Status::INTERNAL)
    }

    /// The media type of the answer, whatever the extension stands for.
    pub(crate) fn set_media_type(&mut self, media_type: &str) -> Result<(), Refusal> {
        let value = self.join(media_type.as_bytes(), b"")?;
        let headers = &mut self.raw.headers_out;
        headers.content_type_len = value.len;
        headers.content_type = value;
        headers.content_type_lowcase = ptr::null_mut();
        Ok(())
    }

    /// Has nginx choose the media type by the extension of this path.
    pub(crate) fn set_extension_of(&mut self, path: &[u8]) {
        let dot = path.iter().rposition(|byte| *byte == b'.');
        let extension = dot.and_then(|dot| path.get(dot + 1..)).unwrap_or_default();
        if let Ok(extension) = self.join(extension, b"") {
            self.raw.exten = extension;
        }
    }

    /// Whether the answer has a header of this name already.
    pub(crate) fn has_header(&self, name: &[u8]) -> bool {
        find(&self.raw.headers_out.headers, name).is_some()
    }

    pub(crate) fn has_cache_control(&self) -> bool {
        self.raw.headers_out.cache_control.is_set()
    }

    pub(crate) fn set_cache_control(&mut self, value: &'static str) -> Result<(), Refusal> {
        self.add_cache_control(text(value.as_bytes()))
    }

    pub(crate) fn set_cache_control_of(&mut self, value: &str) -> Result<(), Refusal> {
        let value = self.join(value.as_bytes(), b"")?;
        self.add_cache_control(value)
    }

    fn add_cache_control(&mut self, value: ngx_str_t) -> Result<(), Refusal> {
        let header = self.add_header(b"Cache-Control", value)?;
        let room = self.zeroed(size_of::<*mut ngx_table_elt_t>());
        if room.is_null() {
            return Err(Refusal::Nginx(Status::INTERNAL));
        }
        self.raw.headers_out.cache_control.keep(header, room.cast());
        Ok(())
    }

    /// Adds a header that nginx does not look at.
    pub(crate) fn set_header(&mut self, name: &'static [u8], value: &str) -> Result<(), Refusal> {
        let value = self.join(value.as_bytes(), b"")?;
        self.add_header(name, value).map(|_| ())
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

    /// Sends the client to another address.
    pub(crate) fn redirect(&mut self, to: &str) -> Result<Status, Refusal> {
        let value = self.join(to.as_bytes(), b"")?;
        self.raw.headers_out.location = self.add_header(b"Location", value)?;
        Ok(Status(302))
    }

    /// Has another module's handler answer, which looks for the file `root` + `uri`.
    pub(crate) fn hand_to(&mut self, handler: Handler, root: &[u8], uri: &str) -> Status {
        let (Ok(root), Ok(uri)) = (self.join(root, b""), self.join(uri.as_bytes(), b"")) else {
            return Status::INTERNAL;
        };
        // The handler asks nginx once, while it runs, where the file is; then all is put back.
        let core = self.core();
        let (alias, lengths) = (core.alias, core.root_lengths);
        let old_root = mem::replace(&mut core.root, root);
        (core.alias, core.root_lengths) = (0, ptr::null_mut());
        let old_uri = mem::replace(&mut self.raw.uri, uri);
        let status = self.call(handler);
        self.raw.uri = old_uri;
        let core = self.core();
        (core.root, core.alias, core.root_lengths) = (old_root, alias, lengths);
        status
    }

    /// Calls the handler of another module.
    pub(super) fn call(&mut self, handler: Handler) -> Status {
        let Some(handler) = handler.0 else { return Status::INTERNAL };
        // SAFETY: nginx's modules have given this handler for requests of this location.
        Status(unsafe { handler(self.raw) })
    }

    /// Sends the headers and, unless they are all, has nginx send that part of the file.
    pub(crate) fn send(&mut self, file: OpenFile, span: Span) -> Result<Status, Refusal> {
        let is_main = ptr::eq(self.raw, self.raw.main);
        let prefix = self.prefix(span.prefix)?;
        // SAFETY: zeroed memory of the request's pool, or null.
        let buf = unsafe { self.zeroed(size_of::<ngx_buf_t>()).cast::<ngx_buf_t>().as_mut() };
        let buf = buf.ok_or(Refusal::Nginx(Status::INTERNAL))?;
        // SAFETY: as above.
        let out = unsafe { self.zeroed(size_of::<ngx_file_t>()).cast::<ngx_file_t>().as_mut() };
        let out = out.ok_or(Refusal::Nginx(Status::INTERNAL))?;
        // SAFETY: the request is valid.
        let code = unsafe { ngx_http_send_header(self.raw) };
        // A subrequest must not pass on a buffer that is empty and not the last.
        let done = self.raw.header_only() == 1 || (!is_main && span.len == 0);
        if code == NGX_ERROR as ngx_int_t || code > NGX_OK as ngx_int_t || done {
            return Ok(Status(code));
        }
        out.fd = file.info.fd;
        out.name = file.path;
        out.log = self.log_target();
        out.set_directio(file.info.is_directio());
        buf.file_pos = i64::try_from(span.from).unwrap_or(i64::MAX);
        buf.file_last = i64::try_from(span.from.saturating_add(span.len)).unwrap_or(i64::MAX);
        buf.set_in_file(u32::from(span.len != 0));
        buf.set_last_buf(u32::from(is_main));
        buf.set_last_in_chain(1);
        buf.file = out;
        let mut chain = ngx_chain_t { buf, next: ptr::null_mut() };
        let mut before = ngx_chain_t { buf: prefix, next: &raw mut chain };
        let first = if prefix.is_null() { &raw mut chain } else { &raw mut before };
        // SAFETY: request and buffers are valid; nginx copies the links of the chain.
        Ok(Status(unsafe { ngx_http_output_filter(self.raw, first) }))
    }

    /// A buffer over bytes that stay as they are; null for none.
    fn prefix(&mut self, bytes: &'static [u8]) -> Result<*mut ngx_buf_t, Refusal> {
        if bytes.is_empty() {
            return Ok(ptr::null_mut());
        }
        // SAFETY: zeroed memory of the request's pool, or null.
        let buf = unsafe { self.zeroed(size_of::<ngx_buf_t>()).cast::<ngx_buf_t>().as_mut() };
        let buf = buf.ok_or(Refusal::Nginx(Status::INTERNAL))?;
        let range = bytes.as_ptr_range();
        (buf.pos, buf.last) = (range.start.cast_mut(), range.end.cast_mut());
        (buf.start, buf.end) = (buf.pos, buf.last);
        buf.set_memory(1); // nginx only reads it
        Ok(buf)
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
