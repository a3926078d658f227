//! A worker that can do nothing but say that it is well: the FastCGI layer alone, without a
//! database behind it. `tests/bench/fcgi.sh` measures it; nothing else runs it.
//!
//! `THREADS=1` (the default) serves on the thread of `main`, more on so many of the runtime.

use std::process::ExitCode;

use net::shutdown::{Stop, watch_signals};
use web::response::Response;
use web::serve::{Limits, Listener, serve};

fn main() -> ExitCode {
    let threads = std::env::var("THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().expect("a machine has room for a runtime");
    runtime.block_on(async {
        let Ok(listener) = Listener::from_stdin() else { return ExitCode::from(2) };
        let (stopper, stop) = Stop::pair();
        let Ok(signals) = watch_signals(stopper, Box::new(|| {})) else {
            return ExitCode::from(2);
        };
        let signals = tokio::spawn(signals);
        let handler = |_| async { Response::empty(404) };
        serve("login", listener, handler, Limits::default(), stop).await;
        signals.abort();
        ExitCode::SUCCESS
    })
}
