//! fdfs_trackerd: keeps the map of groups and storages and answers "where to".
//!
//! Read in this order: `config` (the settings), [`cluster`] (the decisions, pure), `service`
//! (requests to events and answers to bytes), `effects` (what must happen outside, in order),
//! `saved` (the state files), `peers` (the other trackers: elections, and their state files for
//! a tracker that has none).

mod config; // start here: the configuration as written and as meant

pub mod cluster; // the state machine

mod effects; // the one task that acts
mod metrics; // the page of metrics
mod peers; // the other trackers
mod saved; // the state files
mod service; // connections, requests, answers

#[cfg(feature = "faults")]
pub mod fuzzing; // entrances for fuzzing

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use log::{error, info, warn};
use net::metrics::Page;
use net::ports::{Jobs, Listener, World};
use net::program::{Basics, Daemon, Ready, run_daemon};
use net::serve::{Admission, serve};
use net::shutdown::Stop;
use proto::tracker::UnixTime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use cluster::Cluster;
use config::Settings;
use effects::Shared;
use peers::Peers;
use saved::StateDir;
use service::Service;

/// How often it says on disk that it runs.
const STATUS_INTERVAL: Duration = Duration::from_secs(300);
/// How long connections may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the program with its command line.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let daemon = Daemon {
        name: "fdfs_trackerd",
        log_file: "trackerd.log",
        load: Settings::load,
        basics: |settings: &Settings| Basics {
            base_path: settings.base_path.clone(),
            log_level: settings.log_level,
            log_rotation: settings.log_rotation,
            run_by: settings.run_by.clone(),
        },
        verify: None,
    };
    run_daemon(&daemon, args, start)
}

/// The whole daemon in another world, until `stop` is raised or it fails. Its state files are
/// real ones.
#[cfg(feature = "faults")]
pub async fn simulate(conf: &std::path::Path, world: World, stop: Stop) -> anyhow::Result<()> {
    start(Settings::load(conf)?, world, stop, Ready::silent()).await
}

/// Starts and runs until `stop` is raised.
async fn start(
    mut settings: Settings,
    world: World,
    stop: Stop,
    ready: Ready,
) -> anyhow::Result<()> {
    settings.remarks.iter().for_each(|remark| warn!("{remark}"));
    let dir = StateDir::open(&settings.base_path)?;
    let saved = dir.read()?;
    let listeners = listen(&settings, &world)?;
    let first = listeners.first().map(|l| l.local_addr()).transpose()?;
    let first = first.context("listen")?;
    settings.policy.port = first.port();
    let started = UnixTime(i64::try_from(world.clock.now().secs()).unwrap_or(i64::MAX));
    let cluster = Cluster::restore(settings.policy.clone(), started, &saved)?;
    let connections_max = settings.max_connections;
    let clock = Arc::clone(&world.clock);
    let (shared, performer) =
        effects::share(cluster, dir.clone(), clock, world.jobs, connections_max);
    let (connect, network) = (settings.connect_timeout, settings.network_timeout);
    let peers = Arc::new(Peers::new(world.clone(), Arc::clone(&shared), connect, network));
    let service = Service::new(
        Arc::clone(&shared),
        Arc::<Peers>::clone(&peers),
        settings.package_len_max,
        connections_max,
    );
    let service = Arc::new(service);

    // The performer outlives the connections: they wait for what it does.
    let (performer_stopper, performer_stop) = Stop::pair();
    let performer = tokio::spawn(performer.run(performer_stop));
    let mut tasks = JoinSet::new();
    let (figures, ended) = (Arc::clone(&service), stop.clone());
    tasks.spawn(async move { peers.elect(|| figures.connections(), ended).await });
    let status = Status { dir, started, jobs: world.jobs };
    tasks.spawn(timers(Arc::clone(&shared), status, settings.check_active, stop.clone()));
    let figures = Arc::clone(&service);
    let gather = Arc::new(move |page: &mut Page| figures.metrics(page));
    let (at, timeout) = (settings.metrics, settings.network_timeout);
    net::metrics::start(at, timeout, &world, gather, &mut tasks, &stop)?;
    let share = connections_max.div_ceil(listeners.len().max(1));
    for listener in listeners {
        let allowed = settings.allowed.clone();
        let admission = Admission {
            connections_max: share,
            is_allowed: Arc::new(move |peer| allowed.admits(peer)),
            limits: net::conn::Limits::new(settings.network_timeout),
            grace: GRACE,
        };
        let service = Arc::clone(&service);
        let handler = move |conn, stop| {
            let service = Arc::clone(&service);
            async move { service.serve(conn, stop).await }
        };
        let serving = serve(listener, admission, Arc::clone(&world.clock), stop.clone(), handler);
        tasks.spawn(async move {
            serving.await;
        });
    }
    ready.announce(first).context("announce the address")?;
    while tasks.join_next().await.is_some() {}
    performer_stopper.raise();
    performer.await.context("save the state")?;
    info!("state saved");
    Ok(())
}

/// Opens all sockets. With port 0 all of them get the port that the first was given.
fn listen(settings: &Settings, world: &World) -> anyhow::Result<Vec<Box<dyn Listener>>> {
    let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
    let mut port = None;
    for address in &settings.listen {
        let address = SocketAddr::new(address.ip(), port.unwrap_or(address.port()));
        let listener = world.net.listen(address, settings.network_timeout);
        let listener = listener.with_context(|| {
            format!("listen on {address} (bind_addr and port in the configuration)")
        })?;
        port = Some(listener.local_addr()?.port());
        listeners.push(listener);
    }
    Ok(listeners)
}

/// All that happens by itself.
async fn timers(shared: Arc<Shared>, status_file: Status, check_active: Duration, mut stop: Stop) {
    let [mut check, mut status] = [check_active, STATUS_INTERVAL].map(|span| {
        let mut ticks = interval(span);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    check.reset(); // the first check is one interval after the start
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            _ = check.tick() => shared.change(Cluster::check).await,
            _ = status.tick() => status_file.write(shared.now()).await,
        }
    }
}

/// The file that says when we last ran.
struct Status {
    dir: StateDir,
    started: UnixTime,
    jobs: Jobs,
}

impl Status {
    async fn write(&self, now: UnixTime) {
        let (dir, started) = (self.dir.clone(), self.started);
        if let Err(cause) = self.jobs.run(move || dir.write_status(started, now)).await {
            error!("write the status file: {cause:#}");
        }
    }
}
