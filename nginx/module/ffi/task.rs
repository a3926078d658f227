//! Work that would keep a worker process from serving others, done by a thread of nginx's pool.
//!
//! The thread gets a [`Check`] and touches nothing of nginx's. Until it is done nginx keeps the
//! request, even if the client goes away (`blocked`); then [`on_resume`] goes on with it.

use core::ffi::c_void;
use core::ptr;

use nginx_sys::{
    NGX_DONE, NGX_OK, ngx_event_t, ngx_http_finalize_request, ngx_http_request_t,
    ngx_http_run_posted_requests, ngx_int_t, ngx_log_t, ngx_thread_pool_t, ngx_thread_task_alloc,
    ngx_thread_task_post,
};

use super::request::{Request, Status, conf_of};
use crate::handler::{self, Refusal};
use crate::verify::{Check, Pending};

/// A pool of nginx's, which lives as long as the cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadPool(pub(super) *mut ngx_thread_pool_t);

impl Request<'_> {
    /// Has a thread do the work of `pending`; `handler::resume` is called afterwards.
    pub(crate) fn run_aside(
        &mut self,
        pool: ThreadPool,
        pending: Pending,
    ) -> Result<Status, Refusal> {
        const NO_MEMORY: Refusal = Refusal::Nginx(Status::INTERNAL);

        // SAFETY: the pool of a request is valid.
        let task = unsafe { ngx_thread_task_alloc(self.raw.pool, 0) };
        // SAFETY: null, or a new task that only we know.
        let task = unsafe { task.as_mut() }.ok_or(NO_MEMORY)?;
        let context = self.context().ok_or(NO_MEMORY)?;
        // The box of the context does not move, so neither does what is in it.
        let check = &raw mut context.pending.insert(pending).check;
        task.ctx = check.cast();
        task.handler = Some(on_thread);
        task.event.data = ptr::from_mut(self.raw).cast();
        task.event.handler = Some(on_done);
        // SAFETY: pool and task are valid, and nobody touches the check until it is done.
        let posted = unsafe { ngx_thread_task_post(pool.0, task) };
        if posted != NGX_OK as ngx_int_t {
            context.pending = None;
            return Err(Refusal::Nginx(Status::UNAVAILABLE));
        }
        self.raw.set_aio(1);
        self.raw.write_event_handler = Some(on_resume);
        let main = self.main();
        main.set_blocked(main.blocked() + 1);
        main.set_count(main.count() + 1);
        Ok(Status(NGX_DONE as ngx_int_t))
    }

    /// The request that the client sent, of which this one may be a part.
    fn main(&mut self) -> &mut ngx_http_request_t {
        if ptr::eq(self.raw, self.raw.main) {
            return self.raw;
        }
        // SAFETY: the main request lives as long as its parts, and is another record.
        unsafe { &mut *self.raw.main }
    }
}

/// In the thread.
extern "C" fn on_thread(check: *mut c_void, _log: *mut ngx_log_t) {
    // SAFETY: `run_aside` put it there, it lives until `on_resume`, and meanwhile it is ours.
    let check = unsafe { &mut *check.cast::<Check>() };
    check.run();
}

/// In the worker process, when the thread is done.
extern "C" fn on_done(event: *mut ngx_event_t) {
    // SAFETY: nginx passes the event of the task.
    let r = unsafe { (*event).data.cast::<ngx_http_request_t>() };
    // SAFETY: nginx has kept the request, because it was blocked.
    let raw = unsafe { &mut *r };
    let (connection, resume) = (raw.connection, raw.write_event_handler);
    let mut request = Request { raw };
    let main = request.main();
    main.set_blocked(main.blocked().saturating_sub(1));
    request.raw.set_aio(0);
    if let Some(resume) = resume {
        // SAFETY: the request is valid: ours, or nginx's own to end it if the client is gone.
        unsafe { resume(r) };
    }
    // SAFETY: nginx frees a connection only from its event loop.
    unsafe { ngx_http_run_posted_requests(connection) };
}

/// Goes on with the request; does nothing while the thread works.
extern "C" fn on_resume(r: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a valid request, and leaves it to us until we return.
    let raw = unsafe { &mut *r };
    if raw.aio() == 1 {
        return;
    }
    let conf = conf_of(raw);
    let mut request = Request { raw };
    let pending = request.context().and_then(|context| context.pending.take());
    let Some(pending) = pending else { return };
    let status = handler::resume(&mut request, conf, pending);
    // SAFETY: the request is valid, and counted once for the time that the thread has worked.
    unsafe { ngx_http_finalize_request(r, status.0) };
}
