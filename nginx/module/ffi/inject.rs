//! Gives a location that serves a proxy of nginx's own, set up to ask other members, without
//! a word in the configuration: nginx reads directives of ours as if they stood there.
//!
//! Used by `ffi` while the configuration is read. What an operator writes about the proxy in
//! the same place (time limits, buffers, caches, headers) holds; a few directives are ours.

use core::ffi::{CStr, c_char};
use core::ptr;

use nginx_sys::{
    NGX_CONF_BITMASK_SET, NGX_HTTP_MAIN_CONF, NGX_HTTP_UPSTREAM_FT_ERROR,
    NGX_HTTP_UPSTREAM_FT_HTTP_404, NGX_HTTP_UPSTREAM_FT_HTTP_429, NGX_HTTP_UPSTREAM_FT_HTTP_500,
    NGX_HTTP_UPSTREAM_FT_HTTP_502, NGX_HTTP_UPSTREAM_FT_HTTP_503, NGX_HTTP_UPSTREAM_FT_HTTP_504,
    NGX_HTTP_UPSTREAM_FT_INVALID_HEADER, NGX_HTTP_UPSTREAM_FT_TIMEOUT, ngx_array_create, ngx_buf_t,
    ngx_command_t, ngx_conf_file_t, ngx_conf_parse, ngx_conf_t, ngx_http_conf_ctx_t,
    ngx_http_upstream_conf_t, ngx_http_upstream_main_conf_t, ngx_http_upstream_module,
    ngx_http_upstream_srv_conf_t, ngx_module_t, ngx_str_t, ngx_uint_t,
};

use super::{Handler, core_conf, text};

/// The upstream whose servers are the members. An operator may write the block, to say how many
/// connections are kept; otherwise it is made.
const UPSTREAM: &[u8] = b"fastdfs_replicas";
const UPSTREAM_BODY: &[u8] = b"server 127.0.0.1:9 down; fastdfs_replicas; keepalive 32; ";

/// Cookies and passwords of clients are not for other servers, and neither are bodies. What a
/// member says to nginx itself (`X-Accel-`) is not obeyed.
const LOCATION: &[u8] = b"
    proxy_pass http://fastdfs_replicas;
    proxy_http_version 1.1;
    proxy_pass_request_body off;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering
        X-Accel-Charset;
    proxy_set_header Host $host;
    proxy_set_header Connection '';
    proxy_set_header Content-Length '';
    proxy_set_header Transfer-Encoding '';
    proxy_set_header Cookie '';
    proxy_set_header Authorization '';
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-FastDFS-Hop $fastdfs_hop;
";

/// What nginx itself takes if nothing is said, and what we take: a member that does not answer
/// must not cost a client a minute, and nothing is put aside on disk.
const CONNECT_MS: (usize, usize) = (60_000, 3_000);
const TEMPORARY: (usize, usize) = (1 << 30, 0);
const ASK_NEXT_IF: (u32, u32) = (
    NGX_CONF_BITMASK_SET | NGX_HTTP_UPSTREAM_FT_ERROR | NGX_HTTP_UPSTREAM_FT_TIMEOUT,
    NGX_CONF_BITMASK_SET
        | NGX_HTTP_UPSTREAM_FT_ERROR
        | NGX_HTTP_UPSTREAM_FT_TIMEOUT
        | NGX_HTTP_UPSTREAM_FT_INVALID_HEADER
        | NGX_HTTP_UPSTREAM_FT_HTTP_404
        | NGX_HTTP_UPSTREAM_FT_HTTP_429
        | NGX_HTTP_UPSTREAM_FT_HTTP_500
        | NGX_HTTP_UPSTREAM_FT_HTTP_502
        | NGX_HTTP_UPSTREAM_FT_HTTP_503
        | NGX_HTTP_UPSTREAM_FT_HTTP_504,
);

/// Sets the proxy up in the location that `cf` is at. Its handler and that of another module
/// that stood there come back; the location has none afterwards.
pub(super) fn proxy(cf: *mut ngx_conf_t) -> Result<(Option<Handler>, Option<Handler>), String> {
    let core = core_conf(cf);
    let (before, auto_redirect) = (core.handler.take(), core.auto_redirect());
    let proxy = if module(cf, c"ngx_http_proxy_module").is_some() {
        if !has_upstream(cf) && !make_upstream(cf) || !parse(cf, LOCATION) {
            // nginx has said why.
            return Err("the proxy of \"ngx_fastdfs_module\" cannot be set up here".to_owned());
        }
        core_conf(cf).handler.take()
    } else {
        None // built without it: files that are not here are 404
    };
    core_conf(cf).set_auto_redirect(auto_redirect);
    let wrap = |handler: nginx_sys::ngx_http_handler_pt| handler.map(|_| Handler(handler));
    Ok((wrap(proxy), wrap(before)))
}

/// Chooses our defaults over nginx's where the operator has said nothing. Called when the
/// proxy's settings of the location have been merged, since before that nothing tells what was
/// said from what was not.
pub(super) fn tune(cf: *mut ngx_conf_t) {
    let Some(proxy) = module(cf, c"ngx_http_proxy_module") else { return };
    // SAFETY: inside `http` the context holds the settings of all levels.
    let confs = unsafe { (*levels(cf)).loc_conf };
    // SAFETY: there is one entry for each module of `http`.
    let conf = unsafe { *confs.wrapping_add(proxy.ctx_index) };
    // SAFETY: the proxy's settings begin with these, as those of every module that asks other
    // servers; nobody else holds them while nginx waits for us.
    let conf = unsafe { &mut *conf.cast::<ngx_http_upstream_conf_t>() };
    if conf.connect_timeout == CONNECT_MS.0 {
        conf.connect_timeout = CONNECT_MS.1;
    }
    if conf.max_temp_file_size == TEMPORARY.0 {
        conf.max_temp_file_size = TEMPORARY.1;
    }
    if conf.next_upstream == ASK_NEXT_IF.0 as ngx_uint_t {
        conf.next_upstream = ASK_NEXT_IF.1 as ngx_uint_t;
    }
}

fn has_upstream(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: inside `http` the context holds the settings of all levels.
    let confs = unsafe { (*levels(cf)).main_conf };
    // SAFETY: the upstream module is always there, and numbered before any configuration.
    let index = unsafe { ngx_http_upstream_module.ctx_index };
    // SAFETY: there is one entry for each module of `http`.
    let conf = unsafe { *confs.wrapping_add(index) };
    // SAFETY: the entry is the upstream module's, made when `http` was begun.
    let conf = unsafe { &*conf.cast::<ngx_http_upstream_main_conf_t>() };
    // SAFETY: the elements of that array are pointers to such records.
    let all = unsafe { conf.upstreams.as_slice::<*mut ngx_http_upstream_srv_conf_t>() };
    all.iter().any(|upstream| {
        // SAFETY: the records live as long as the cycle.
        let upstream = unsafe { &**upstream };
        !upstream.srv_conf.is_null() && upstream.host.as_bytes() == UPSTREAM
    })
}

fn make_upstream(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the upstream module is always there.
    let commands = unsafe { ngx_http_upstream_module.commands };
    let Some(command) = command(commands, b"upstream") else { return false };
    let Some(set) = command.set else { return false };
    reading(cf, UPSTREAM_BODY, |cf| {
        // SAFETY: `reading` has given the context an empty array of words.
        let words = unsafe { &mut *cf.args };
        for word in [b"upstream", UPSTREAM] {
            // SAFETY: the array is valid and holds strings.
            let slot = unsafe { nginx_sys::ngx_array_push(words).cast::<ngx_str_t>() };
            if slot.is_null() {
                return false;
            }
            // SAFETY: the new element is ours to fill.
            unsafe { slot.write(text(word)) };
        }
        cf.cmd_type = NGX_HTTP_MAIN_CONF as ngx_uint_t;
        let command = ptr::from_ref(command).cast_mut();
        // SAFETY: this is how nginx calls for a block, whose body it then reads from the
        // context; the settings of the level are not used for this one.
        unsafe { set(cf, command, ptr::null_mut()) }.is_null()
    })
}

/// Has nginx read directives as if they stood where `cf` is.
fn parse(cf: *mut ngx_conf_t, directives: &'static [u8]) -> bool {
    reading(cf, directives, |cf| {
        // SAFETY: the context is valid and reads from memory, as for `nginx -g`.
        let done: *mut c_char = unsafe { ngx_conf_parse(cf, ptr::null_mut()) };
        done.is_null()
    })
}

/// Runs `job` with a context that reads from `source`, and puts the context back.
fn reading(
    cf: *mut ngx_conf_t,
    source: &'static [u8],
    job: impl FnOnce(&mut ngx_conf_t) -> bool,
) -> bool {
    // SAFETY: nginx passes a valid context, and does nothing to it until we return.
    let cf = unsafe { &mut *cf };
    // SAFETY: both consist of numbers and of pointers that may be null.
    let mut buffer: ngx_buf_t = unsafe { core::mem::zeroed() };
    // SAFETY: as above.
    let mut file: ngx_conf_file_t = unsafe { core::mem::zeroed() };
    let range = source.as_ptr_range();
    (buffer.start, buffer.end) = (range.start.cast_mut(), range.end.cast_mut());
    (buffer.pos, buffer.last) = (buffer.start, buffer.end);
    file.file.fd = -1; // NGX_INVALID_FILE: there is nothing to read more from
    file.file.name = text(b"defaults of ngx_fastdfs_module\0");
    file.buffer = &raw mut buffer;
    // SAFETY: the pool of a context is valid.
    let words = unsafe { ngx_array_create(cf.temp_pool, 8, size_of::<ngx_str_t>()) };
    if words.is_null() {
        return false;
    }
    let (old_file, old_words, old_type) = (cf.conf_file, cf.args, cf.cmd_type);
    (cf.conf_file, cf.args) = (&raw mut file, words);
    let done = job(cf);
    (cf.conf_file, cf.args, cf.cmd_type) = (old_file, old_words, old_type);
    done
}

fn levels(cf: *mut ngx_conf_t) -> *mut ngx_http_conf_ctx_t {
    // SAFETY: nginx passes a valid configuration context for the duration of the call.
    unsafe { (*cf).ctx.cast() }
}

/// The module of this name, if nginx has it.
fn module(cf: *mut ngx_conf_t, name: &CStr) -> Option<&'static ngx_module_t> {
    // SAFETY: nginx passes a valid configuration context for the duration of the call.
    let cycle = unsafe { (*cf).cycle };
    // SAFETY: the cycle of a context is valid.
    let cycle = unsafe { &*cycle };
    // SAFETY: the cycle has as many modules as it says.
    let modules = unsafe { core::slice::from_raw_parts(cycle.modules, cycle.modules_n) };
    modules.iter().find_map(|module| {
        // SAFETY: modules are static records.
        let module: &'static ngx_module_t = unsafe { &**module };
        // SAFETY: each has a name, which ends with a NUL.
        let other = unsafe { CStr::from_ptr(module.name) };
        (other == name).then_some(module)
    })
}

/// A row of a table of directives, which ends with one that has no name.
fn command(mut row: *mut ngx_command_t, name: &[u8]) -> Option<&'static ngx_command_t> {
    loop {
        // SAFETY: null, or a row of a static table that has not ended yet.
        let command: &'static ngx_command_t = unsafe { row.as_ref() }?;
        if command.name.len == 0 {
            return None;
        }
        if command.name.as_bytes() == name {
            return Some(command);
        }
        row = row.wrapping_add(1);
    }
}
