//! The download module for nginx: serves the files of a FastDFS storage by their file ids.
//!
//! nginx loads the library and reads [`MODULE`]; from there it calls back into [`ffi`], which
//! turns its pointers into safe types and calls [`conf`] while it reads its configuration and
//! [`handler`] for each request. Nothing here opens a connection or waits, and no content passes
//! through Rust: nginx sends it, and asks other servers with its own proxy. A panic cannot unwind
//! into nginx: it ends the worker process at the border (`extern "C"`), and nginx starts another.

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE2, NGX_CONF_TAKE12,
    NGX_HTTP_LOC_CONF, NGX_HTTP_MAIN_CONF, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF, NGX_HTTP_UPS_CONF,
    ngx_command_t, ngx_http_module_t, ngx_module_t,
};

mod access; // tokens and links: who may have a file
mod conf; // the directives
mod elsewhere; // not here: which members to ask
mod etag; // two numbers in hexadecimal, without the formatter
mod flv; // parts of films as the C module has them
mod handler; // one request: the checks in their order, then the answer
mod legacy; // mod_fastdfs.conf
mod locate; // file id -> open file, or slot of a container
mod range; // what nginx's own range filter gets wrong
mod site; // groups, their store paths here, their members
mod verify; // content against the sum in its name

mod ffi; // the border: every unsafe line

/// Everywhere: what is said further out holds further in.
const ANYWHERE: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

static COMMANDS: ffi::Shared<[ngx_command_t; 18]> = ffi::Shared::new([
    ffi::command(conf::SERVE, NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS),
    ffi::command(conf::FILE, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::GROUP, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::STORE_PATH, ANYWHERE | NGX_CONF_TAKE12),
    ffi::command(conf::MEMBERS, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::MEMBER, ANYWHERE | NGX_CONF_1MORE),
    ffi::command(conf::URL_GROUP, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::MODE, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::PORT, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::LINK_KEY, ANYWHERE | NGX_CONF_TAKE2),
    ffi::command(conf::MD5_SECRET, ANYWHERE | NGX_CONF_TAKE12),
    ffi::command(conf::TOKEN, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::TOKEN_FAIL, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::BYPASS, ANYWHERE | NGX_CONF_TAKE2),
    ffi::command(conf::VERIFY, ANYWHERE | NGX_CONF_TAKE1),
    ffi::command(conf::CACHE_CONTROL, ANYWHERE | NGX_CONF_TAKE1),
    ffi::balancer(c"fastdfs_replicas", NGX_HTTP_UPS_CONF | NGX_CONF_NOARGS),
    ngx_command_t::empty(),
]);

static CONTEXT: ffi::Shared<ngx_http_module_t> = ffi::Shared::new(ngx_http_module_t {
    preconfiguration: Some(ffi::on_preconfiguration),
    postconfiguration: None,
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(ffi::on_create_conf),
    merge_loc_conf: Some(ffi::on_merge_conf),
});

/// The record that nginx finds through the symbols exported by [`ffi`].
static MODULE: ffi::Shared<ngx_module_t> = ffi::Shared::new(ngx_module_t {
    ctx: CONTEXT.get().cast(),
    commands: COMMANDS.get().cast(),
    type_: NGX_HTTP_MODULE as usize,
    ..ngx_module_t::default()
});
