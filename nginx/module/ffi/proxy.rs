//! Asks other members through nginx's own proxy: we only say whom, and look at the head of what
//! they answer. Connections, their keeping, time limits and buffers are nginx's.
//!
//! `elsewhere` makes the [`Hop`]; nginx calls the functions here while the proxy works for a
//! request of a location that serves, in the order init, get, header, free.

use core::ffi::{c_char, c_void};
use core::ptr;
use std::net::SocketAddr;

use nginx_sys::{
    NGX_BUSY, NGX_ERROR, NGX_OK, NGX_PEER_FAILED, ngx_addr_t, ngx_command_t, ngx_conf_t,
    ngx_http_conf_ctx_t, ngx_http_request_t, ngx_http_upstream_module,
    ngx_http_upstream_srv_conf_t, ngx_http_upstream_t, ngx_int_t, ngx_parse_addr_port,
    ngx_peer_connection_t, ngx_str_t, ngx_uint_t, ngx_variable_value_t,
};

use super::Handler;
use super::request::{Context, Level, Request, Status};
use crate::elsewhere::{Hop, Judgement};

/// NGX_HTTP_UPSTREAM_INVALID_HEADER: the proxy asks the next member, or answers 502.
const INVALID_HEADER: ngx_int_t = 40;

impl Request<'_> {
    /// Has the proxy ask the members of `hop` in their order.
    pub(crate) fn proxy(&mut self, proxy: Handler, hop: Hop) -> Status {
        let Some(context) = self.context() else { return Status::INTERNAL };
        context.hop = Some(hop);
        self.call(proxy)
    }
}

/// `fastdfs_replicas;` in an `upstream`: its servers are the members that each request has.
pub(super) extern "C" fn on_balance(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    _conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes a valid configuration context for the duration of the call.
    let levels = unsafe { (*cf).ctx.cast::<ngx_http_conf_ctx_t>() };
    // SAFETY: inside `upstream` the context holds the settings of that block.
    let confs = unsafe { (*levels).srv_conf };
    // SAFETY: the upstream module is always there, and numbered before any configuration.
    let index = unsafe { ngx_http_upstream_module.ctx_index };
    // SAFETY: there is one entry for each module of `http`.
    let upstream = unsafe { *confs.wrapping_add(index) };
    // SAFETY: that entry is the upstream's own record, which nginx has just made.
    let upstream = unsafe { &mut *upstream.cast::<ngx_http_upstream_srv_conf_t>() };
    upstream.peer.init_upstream = Some(on_init_upstream);
    ptr::null_mut()
}

extern "C" fn on_init_upstream(
    _cf: *mut ngx_conf_t,
    upstream: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid record, once, when all is read.
    unsafe { (*upstream).peer.init = Some(on_init) };
    NGX_OK as ngx_int_t
}

/// What we keep with a request on its way to members.
fn context<'r>(r: *mut ngx_http_request_t) -> Option<&'r mut Context> {
    // SAFETY: nginx calls with a valid request, and does nothing to it until we return.
    let raw = unsafe { &mut *r };
    Request { raw }.context()
}

extern "C" fn on_init(
    r: *mut ngx_http_request_t,
    _upstream: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    let Some(context) = context(r) else { return NGX_ERROR as ngx_int_t };
    // Without members: somebody else uses our upstream.
    let Some(hop) = &context.hop else { return NGX_ERROR as ngx_int_t };
    // SAFETY: nginx passes a valid request, whose upstream the proxy has made.
    let upstream = unsafe { (*r).upstream };
    // SAFETY: as above; nobody else holds it during the call.
    let upstream = unsafe { &mut *upstream };
    upstream.peer.get = Some(on_get);
    upstream.peer.free = Some(on_free);
    upstream.peer.data = r.cast();
    upstream.peer.tries = hop.tries();
    context.reinit = Some(Handler(upstream.reinit_request));
    upstream.reinit_request = Some(on_reinit);
    wrap(upstream, context);
    NGX_OK as ngx_int_t
}

/// Puts [`on_header`] before the proxy's reader of heads. The proxy changes its reader when it
/// has the first line, and again before it asks the next member.
fn wrap(upstream: &mut ngx_http_upstream_t, context: &mut Context) {
    context.process_header = Some(Handler(upstream.process_header));
    upstream.process_header = Some(on_header);
}

extern "C" fn on_reinit(r: *mut ngx_http_request_t) -> ngx_int_t {
    let Some(context) = context(r) else { return NGX_ERROR as ngx_int_t };
    let Some(original) = context.reinit else { return NGX_ERROR as ngx_int_t };
    // SAFETY: nginx passes a valid request.
    let raw = unsafe { &mut *r };
    let mut request = Request { raw };
    let code = request.call(original).0;
    // SAFETY: the upstream of a request that is being proxied is valid.
    let upstream = unsafe { &mut *request.raw.upstream };
    wrap(upstream, context);
    code
}

extern "C" fn on_get(peer: *mut ngx_peer_connection_t, r: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx passes a valid peer, and nobody else holds it during the call.
    let peer = unsafe { &mut *peer };
    let r = r.cast::<ngx_http_request_t>();
    let next = context(r).and_then(|context| context.hop.as_mut()?.ask_next());
    let Some(next) = next else { return NGX_BUSY as ngx_int_t };
    // SAFETY: the request is the one that `on_init` put there, and lives as long as the peer.
    let raw = unsafe { &mut *r };
    let Some(address) = address(&mut Request { raw }, next) else {
        return NGX_ERROR as ngx_int_t;
    };
    peer.set_cached(0);
    peer.connection = ptr::null_mut();
    (peer.sockaddr, peer.socklen) = (address.sockaddr, address.socklen);
    peer.name = &raw mut address.name;
    NGX_OK as ngx_int_t
}

/// An address as nginx has them, in memory of the request.
fn address<'r>(request: &mut Request<'r>, at: SocketAddr) -> Option<&'r mut ngx_addr_t> {
    let name = request.join(at.to_string().as_bytes(), b"").ok()?;
    let room = request.zeroed(size_of::<ngx_addr_t>()).cast::<ngx_addr_t>();
    // SAFETY: null, or zeroed memory of the request's pool, in which all fields may be zero.
    let address = unsafe { room.as_mut() }?;
    let pool = request.raw.pool;
    // SAFETY: pool, address and text are valid; nginx takes the memory it needs from the pool.
    let code = unsafe { ngx_parse_addr_port(pool, address, name.data, name.len) };
    address.name = name;
    (code == NGX_OK as ngx_int_t).then_some(address)
}

extern "C" fn on_free(peer: *mut ngx_peer_connection_t, r: *mut c_void, state: ngx_uint_t) {
    // SAFETY: nginx passes a valid peer, and nobody else holds it during the call.
    let peer = unsafe { &mut *peer };
    peer.tries = peer.tries.saturating_sub(1);
    let r = r.cast::<ngx_http_request_t>();
    // SAFETY: the request is the one that `on_init` put there, and lives as long as the peer.
    let raw = unsafe { &mut *r };
    let now = Request { raw }.now();
    if let Some(hop) = context(r).and_then(|context| context.hop.as_mut()) {
        hop.ended(state & NGX_PEER_FAILED as ngx_uint_t != 0, now);
    }
}

/// Reads the head of an answer as the proxy does, then says whether the client may have it.
extern "C" fn on_header(r: *mut ngx_http_request_t) -> ngx_int_t {
    let Some(context) = context(r) else { return NGX_ERROR as ngx_int_t };
    let Some(original) = context.process_header else { return NGX_ERROR as ngx_int_t };
    // SAFETY: nginx passes a valid request.
    let raw = unsafe { &mut *r };
    let mut request = Request { raw };
    // SAFETY: the upstream of a request that is being proxied is valid.
    let upstream = unsafe { &mut *request.raw.upstream };
    upstream.process_header = original.0;
    let code = request.call(original).0;
    // SAFETY: as above; the call may have changed it.
    let upstream = unsafe { &mut *request.raw.upstream };
    if code != NGX_OK as ngx_int_t {
        wrap(upstream, context);
        return code;
    }
    let Some(hop) = context.hop.as_mut() else { return NGX_ERROR as ngx_int_t };
    let status = u32::try_from(upstream.headers_in.status_n).unwrap_or(0);
    let len = u64::try_from(upstream.headers_in.content_length_n).ok();
    let why = match hop.judge(status, len, upstream.peer.tries.saturating_sub(1)) {
        Judgement::Pass => return code,
        Judgement::WrongSize => "a member sends another size than the name says: not passed on",
        Judgement::NotFinal => "not all members could be asked: the file may be there",
    };
    request.log(Level::Error, 0, why);
    INVALID_HEADER
}

/// `$fastdfs_hop`, which the proxy sends as a header.
pub(super) extern "C" fn on_hop_variable(
    r: *mut ngx_http_request_t,
    value: *mut ngx_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid value to fill.
    let value = unsafe { &mut *value };
    let pass = context(r).and_then(|context| context.hop.as_ref()).map(|hop| hop.pass.as_str());
    // SAFETY: nginx passes a valid request.
    let raw = unsafe { &mut *r };
    let text: Option<ngx_str_t> =
        pass.and_then(|pass| Request { raw }.join(pass.as_bytes(), b"").ok());
    let Some(text) = text else {
        value.set_not_found(1);
        return NGX_OK as ngx_int_t;
    };
    value.set_len(u32::try_from(text.len).unwrap_or(0));
    value.data = text.data;
    value.set_valid(1);
    value.set_no_cacheable(1);
    value.set_not_found(0);
    NGX_OK as ngx_int_t
}
