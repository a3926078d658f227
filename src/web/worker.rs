//! What every worker does: configuration, pools, the socket, requests until told to stop.
//!
//! Called by the programs in `src/bin`, each with its name. A server that is away does not stop a
//! worker from starting: requests are answered 503 until it is back.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use net::ports::World;
use net::shutdown::Stop;

use crate::app::App;
use crate::config::Config;
use crate::db::DbError;
use crate::error::WebError;
use crate::request::Request;
use crate::response::{IntoResponse, Response};
use crate::serve::{Limits, Listener, serve};
use crate::{
    admin, category, download, events, instant, login, metrics, mydisk, register, share, sweep,
    thumb, upload,
};

/// Which use case a worker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    Register,
    Login,
    Upload,
    Mydisk,
    Category,
    Download,
    Instant,
    Events,
    Admin,
    Share,
    Thumb,
}

impl Worker {
    fn named(name: &str) -> Option<Self> {
        match name {
            "register" => Some(Self::Register),
            "login" => Some(Self::Login),
            "upload" => Some(Self::Upload),
            "mydisk" => Some(Self::Mydisk),
            "category" => Some(Self::Category),
            "download" => Some(Self::Download),
            "instant" => Some(Self::Instant),
            "events" => Some(Self::Events),
            "admin" => Some(Self::Admin),
            "share" => Some(Self::Share),
            "thumb" => Some(Self::Thumb),
            _ => None,
        }
    }

    async fn handle(self, app: &Arc<App>, request: Request) -> Result<Response, WebError> {
        app.admit(&request)?;
        let at_health = matches!(request.segments().as_slice(), ["api", _, "health"]);
        let done = match self {
            Self::Register => register::handle(app, request).await,
            Self::Login => login::handle(app, request).await,
            Self::Upload => upload::handle(app, request).await,
            Self::Mydisk => mydisk::handle(app, request).await,
            Self::Category => category::handle(app, request).await,
            Self::Download => download::handle(app, request).await,
            Self::Instant => instant::handle(app, request).await,
            Self::Events => events::handle(app, request).await,
            Self::Admin => admin::handle(app, request).await,
            Self::Share => share::handle(app, request).await,
            Self::Thumb => thumb::handle(app, request).await,
        };
        match done {
            // The check itself is answered before any of these is asked.
            Err(WebError::NoRoute | WebError::WrongMethod(_)) if at_health => {
                Err(WebError::WrongMethod("GET, HEAD"))
            }
            done => done,
        }
    }
}

/// The program of the worker `name`: serves FastCGI on file descriptor 0, where spawn-fcgi left
/// the socket. The configuration is `$FASTDISK_CONF`, or `conf/fastdisk.toml`.
pub fn run(name: &'static str, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let extra = args.into_iter().nth(1);
    net::program::run_worker(name, |world, stop| async move {
        if let Some(extra) = extra {
            anyhow::bail!("{name} takes no arguments; it was given {extra:?}");
        }
        work(name, world, stop).await
    })
}

async fn work(name: &'static str, world: World, mut stop: Stop) -> anyhow::Result<()> {
    let worker = Worker::named(name).with_context(|| format!("{name:?} names no worker"))?;
    let path = std::env::var_os("FASTDISK_CONF").map(PathBuf::from);
    let path = path.unwrap_or_else(|| PathBuf::from("conf/fastdisk.toml"));
    let run_dir = std::env::var_os("FASTDISK_RUN").map(std::path::absolute).transpose()?;
    let config = Config::load(&path, run_dir)?;
    let listener = Listener::from_stdin().context("take the socket on file descriptor 0")?;
    let app = Arc::new(App::new(config, world)?);

    let migrated = tokio::select! {
        biased;
        // A database that does not answer, or another that migrates, may take a minute.
        () = stop.raised() => return Ok(()),
        migrated = app.db.migrate() => migrated,
    };
    match migrated {
        Ok(()) => {}
        // A newer or foreign schema will not mend itself.
        Err(error @ DbError::Schema(_)) => return Err(error.into()),
        Err(error) => log::warn!("begin without the database: {error}"),
    }
    if worker == Worker::Upload {
        tokio::spawn(sweep::run(app.clone(), stop.clone()));
    }
    if worker == Worker::Events {
        tokio::spawn(events::run(app.clone(), stop.clone()));
    }
    tokio::spawn(metrics::run(app.clone(), name, stop.clone()));
    let limits = limits(&app.config);
    let handler = move |request: Request| {
        let app = app.clone();
        async move { answer(worker, &app, request).await }
    };
    serve(name, listener, handler, limits, stop).await;
    Ok(())
}

/// Every answer forbids guessing its type.
async fn answer(worker: Worker, app: &Arc<App>, request: Request) -> Response {
    let begun = app.world.clock.moment();
    let timed = app.metrics.begin();
    let response = worker.handle(app, request).await.into_response();
    app.metrics.answered(response.status(), app.world.clock.moment().since(begun));
    drop(timed);
    let guarded = response.with_header("x-content-type-options", "nosniff");
    guarded.unwrap_or_else(|_| Response::empty(500))
}

fn limits(config: &Config) -> Limits {
    let requests = usize::try_from(config.limits.requests_max).unwrap_or(usize::MAX);
    Limits { requests_max: requests, ..Limits::default() }
}
