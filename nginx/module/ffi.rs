//! The border with nginx: raw pointers in, safe types out. Every unsafe line of the project is
//! here and in the files below it.
//!
//! nginx calls the `on_` functions; `lib.rs` builds the module's record from [`Shared`] and
//! [`command`]; `conf`, `handler` and those it calls use [`Directive`] and [`Request`]. Each
//! unsafe block is one expression under the reason why it is allowed. Nothing is decided here.

#![allow(unsafe_code, reason = "only the border may: the others see safe types")]

mod inject; // a proxy for every location that serves, without a word in the configuration
mod proxy; // members are asked
mod reply; // the answer
mod request; // a request while its handler runs
mod task; // work for a thread

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_SRV_CONF_OFFSET, NGX_HTTP_VAR_NOCACHEABLE,
    NGX_LOG_EMERG, NGX_OK, ngx_array_t, ngx_command_t, ngx_conf_full_name, ngx_conf_log_error,
    ngx_conf_t, ngx_http_add_variable, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t,
    ngx_http_core_module, ngx_http_handler_pt, ngx_int_t, ngx_module_t, ngx_pool_cleanup_add,
    ngx_str_t, ngx_thread_pool_add, ngx_uint_t,
};

use crate::conf::Conf;
use request::on_request;

pub(crate) use reply::Span;
pub(crate) use request::{Level, Method, OpenFile, Request, Status};
pub(crate) use task::ThreadPool;

/// A handler of another module's.
#[derive(Clone, Copy)]
pub(crate) struct Handler(ngx_http_handler_pt);

impl core::fmt::Debug for Handler {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Handler")
    }
}

/// A static that nginx reads and writes through pointers, before it starts any thread.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

// SAFETY: only nginx's single thread of configuration writes to these records, and from Rust
// they are reached through `get` alone, which hands out a pointer and no reference.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}

// SAFETY: nginx looks this name up in the library; no other library defines it for it.
#[unsafe(no_mangle)]
static ngx_modules: Shared<[*const ngx_module_t; 2]> =
    Shared::new([crate::MODULE.get(), ptr::null()]);

// SAFETY: as above.
#[unsafe(no_mangle)]
static ngx_module_names: Shared<[*const c_char; 2]> =
    Shared::new([c"ngx_fastdfs_module".as_ptr(), ptr::null()]);

// No filter is added, so that the place among the other modules does not matter.
// SAFETY: as above.
#[unsafe(no_mangle)]
static ngx_module_order: Shared<[*const c_char; 1]> = Shared::new([ptr::null()]);

/// A row of the table of directives; all go to [`on_directive`].
pub(crate) const fn command(name: &'static CStr, kind: u32) -> ngx_command_t {
    ngx_command_t {
        name: text(name.to_bytes()),
        type_: kind as usize,
        set: Some(on_directive),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    }
}

/// The row of `fastdfs_replicas`, which stands in an `upstream` and has no settings of ours.
pub(crate) const fn balancer(name: &'static CStr, kind: u32) -> ngx_command_t {
    ngx_command_t {
        set: Some(proxy::on_balance),
        conf: NGX_HTTP_SRV_CONF_OFFSET,
        ..command(name, kind)
    }
}

/// Tells nginx of the variable that the proxy's headers use.
pub(crate) extern "C" fn on_preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    let mut name = text(b"fastdfs_hop");
    let flags = NGX_HTTP_VAR_NOCACHEABLE as ngx_uint_t;
    // SAFETY: the context is valid; nginx copies the name.
    let variable = unsafe { ngx_http_add_variable(cf, &raw mut name, flags) };
    // SAFETY: null, or the variable that nginx has made.
    let Some(variable) = (unsafe { variable.as_mut() }) else { return NGX_ERROR as ngx_int_t };
    variable.get_handler = Some(proxy::on_hop_variable);
    NGX_OK as ngx_int_t
}

/// A string of nginx's over bytes that it only reads.
const fn text(bytes: &'static [u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}

/// Makes the settings of one level (http, server, location); they live as long as the cycle.
pub(crate) extern "C" fn on_create_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes a valid configuration context for the duration of the call.
    let pool = unsafe { (*cf).pool };
    // SAFETY: the pool of the context is valid.
    let cleanup = unsafe { ngx_pool_cleanup_add(pool, 0) };
    // SAFETY: what nginx returns is null or a valid new entry that only we know.
    let Some(cleanup) = (unsafe { cleanup.as_mut() }) else { return ptr::null_mut() };
    let conf = Box::into_raw(Box::new(Conf::default()));
    cleanup.data = conf.cast();
    cleanup.handler = Some(on_drop_conf);
    conf.cast()
}

extern "C" fn on_drop_conf(conf: *mut c_void) {
    // SAFETY: the pool calls this once, with the box of `on_create_conf`, when it is destroyed
    // and no request that could look at it is left.
    drop(unsafe { Box::from_raw(conf.cast::<Conf>()) });
}

extern "C" fn on_directive(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes what `on_create_conf` made for this level, and nobody else holds it.
    let conf = unsafe { &mut *conf.cast::<Conf>() };
    let mut directive = Directive { cf, borrowed: PhantomData };
    report(cf, conf.set(&mut directive))
}

pub(crate) extern "C" fn on_merge_conf(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: both were made by `on_create_conf`; nginx passes two different levels.
    let outer = unsafe { &*outer.cast::<Conf>() };
    // SAFETY: as above, and nobody else holds this one.
    let conf = unsafe { &mut *conf.cast::<Conf>() };
    let core = core_conf(cf);
    // The block of a `limit_except` is a location of its own, and serves as the one around it;
    // the proxy of that one has put itself there.
    if outer.serves() && core.lmt_excpt() == 1 {
        core.handler = Some(on_request);
    }
    // A module for media that stands behind ours is called by ours.
    if conf.serves() && !is_ours(core.handler) {
        conf.media = Some(Handler(core.handler));
        core.handler = Some(on_request);
    }
    let merged = conf.merge(outer, core.name.as_bytes());
    if conf.serves() {
        inject::tune(cf);
        if conf.single_range {
            core.max_ranges = 1;
        }
    }
    report(cf, merged)
}

/// Whether a handler is [`on_request`], or none.
fn is_ours(handler: ngx_http_handler_pt) -> bool {
    let address = |handler: ngx_http_handler_pt| handler.map(|handler| handler as usize);
    handler.is_none() || address(handler) == address(Some(on_request))
}

/// Logs why the configuration is refused, with file and line, and says so to nginx.
fn report(cf: *mut ngx_conf_t, outcome: Result<(), String>) -> *mut c_char {
    let Err(why) = outcome else { return ptr::null_mut() };
    let (level, len) = (NGX_LOG_EMERG as usize, why.len());
    // SAFETY: the context is valid, and the format takes a length and that many bytes.
    unsafe { ngx_conf_log_error(level, cf, 0, c"%*s".as_ptr(), len, why.as_ptr()) };
    // NGX_CONF_ERROR, which is a macro with a cast.
    ptr::without_provenance_mut(usize::MAX)
}

/// The core module's settings of the level that `cf` is at.
fn core_conf<'c>(cf: *mut ngx_conf_t) -> &'c mut ngx_http_core_loc_conf_t {
    // SAFETY: nginx passes a valid configuration context for the duration of the call.
    let levels = unsafe { (*cf).ctx.cast::<ngx_http_conf_ctx_t>() };
    // SAFETY: inside `http` the context holds the settings of all levels.
    let confs = unsafe { (*levels).loc_conf };
    // SAFETY: the core module is always there, and numbered before any configuration is read.
    let index = unsafe { ngx_http_core_module.ctx_index };
    // SAFETY: there is one entry for each module of `http`.
    let conf = unsafe { *confs.wrapping_add(index) };
    // SAFETY: the entry is the core module's, made when the level was begun; it is used for a
    // statement or two, while nginx itself waits for us.
    unsafe { &mut *conf.cast::<ngx_http_core_loc_conf_t>() }
}

/// One directive as written: its name and, where it takes one, its value.
pub(crate) struct Directive<'d> {
    cf: *mut ngx_conf_t,
    borrowed: PhantomData<&'d ngx_conf_t>,
}

impl<'d> Directive<'d> {
    pub(crate) fn name(&self) -> &'d [u8] {
        self.words().first().map_or(b"", ngx_str_t::as_bytes)
    }

    /// A word behind the name, counted from 1; empty if there is none.
    pub(crate) fn word(&self, at: usize) -> &'d [u8] {
        self.words().get(at).map_or(b"", ngx_str_t::as_bytes)
    }

    /// The first word as an absolute path; relative ones count from nginx's prefix.
    pub(crate) fn full_path(&mut self) -> Option<&'d [u8]> {
        let mut path = ngx_str_t { ..*self.words().get(1)? };
        // SAFETY: nginx passes a valid configuration context for the duration of the call.
        let cycle = unsafe { (*self.cf).cycle };
        // SAFETY: the cycle is valid; nginx replaces our copy by a string of the cycle's pool.
        let done = unsafe { ngx_conf_full_name(cycle, &raw mut path, 0) };
        if done != NGX_OK as ngx_int_t {
            return None;
        }
        // SAFETY: the string is the word itself or in the cycle's pool; both outlive the call.
        Some(unsafe { core::slice::from_raw_parts(path.data, path.len) })
    }

    /// Makes the location hand its requests to [`on_request`], and gives it a proxy. Returns
    /// the handlers of the proxy and of another module that stood there.
    pub(crate) fn install_handler(&mut self) -> Result<(Option<Handler>, Option<Handler>), String> {
        let handlers = inject::proxy(self.cf)?;
        core_conf(self.cf).handler = Some(on_request);
        Ok(handlers)
    }

    /// nginx's pool of threads called `default`.
    pub(crate) fn thread_pool(&mut self) -> Result<ThreadPool, String> {
        // SAFETY: the context is valid; without a name nginx makes or finds the default pool.
        let pool = unsafe { ngx_thread_pool_add(self.cf, ptr::null_mut()) };
        if pool.is_null() {
            return Err("no memory for a pool of threads".to_owned());
        }
        Ok(ThreadPool(pool))
    }

    fn words(&self) -> &'d [ngx_str_t] {
        // SAFETY: nginx passes a valid configuration context for the duration of the call.
        let words: *mut ngx_array_t = unsafe { (*self.cf).args };
        // SAFETY: while it calls for a directive, nginx keeps the array of its words.
        let words = unsafe { &*words };
        // SAFETY: the elements of that array are strings.
        unsafe { words.as_slice() }
    }
}
