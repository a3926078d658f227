//! Puts the daemon together: configuration, listeners, the trackers' answers, the disks, the
//! tasks beside the connections; and takes it apart at the end.
//!
//! The only place where the real disk is named. Decides nothing about requests.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use net::{
    client::pool::{Pool, PoolSettings},
    conn::Limits,
    faults::scope,
    metrics::Page,
    ports::{Listener, World},
    program::{Basics, Daemon, Ready, run_daemon},
    serve::{Admission, serve},
    shutdown::Stop,
};
use proto::ids::{StorageId, StorePath};
use tokio::task::JoinSet;

use crate::{
    access_log::AccessLog,
    ask, binlog,
    binlog::{
        Position,
        writer::{Ending, Writer},
    },
    config::{self, Config},
    disk,
    disk::{Gate, port::Disk, real::RealDisk, write::replace_whole},
    members,
    moved::Moved,
    parameters,
    report::Reporter,
    scrub, service, start,
    start::IdentityFile,
    state::counters::{Counters, Numbers},
    store::{Parts, Store},
    sums::Sums,
    sync::{self, peers::Peers},
    tomb::Tombs,
    verify,
};

/// How long connections may go on after a stop was ordered.
const GRACE: Duration = Duration::from_secs(10);
/// How old the figures may be by which uploads are refused for want of room.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How long a member may take to accept a connection that a client waits for.
const MEMBER_CONNECT_MAX: Duration = Duration::from_secs(2);

/// Runs `fdfs_storaged`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let daemon = Daemon {
        name: "fdfs_storaged",
        log_file: "storaged.log",
        load: config::load,
        basics: |config: &Config| Basics {
            base_path: config.base_path.clone(),
            log_level: config.log_level,
            log_rotation: config.log_rotation,
            run_by: config.run_by.clone(),
        },
        verify: Some(|config, out| {
            let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
            verify::run(&disk, config, out)
        }),
    };
    run_daemon(&daemon, args, storage)
}

async fn storage(config: Config, world: World, stop: Stop, ready: Ready) -> anyhow::Result<()> {
    on_disk(Arc::new(RealDisk::default()), config, world, stop, ready).await
}

/// The whole daemon over another disk and another world, until `stop` is raised or it fails.
///
/// `conf` is a real file; the paths in it are those of `disk`.
#[cfg(feature = "faults")]
pub async fn simulate(
    conf: &std::path::Path,
    disk: Arc<dyn Disk>,
    world: World,
    stop: Stop,
) -> anyhow::Result<()> {
    on_disk(disk, config::load(conf)?, world, stop, Ready::silent()).await
}

async fn on_disk(
    disk: Arc<dyn Disk>,
    config: Config,
    world: World,
    stop: Stop,
    ready: Ready,
) -> anyhow::Result<()> {
    for remark in &config.remarks {
        log::warn!("{remark}");
    }
    let config = Arc::new(config);
    let listeners = listen(&config, &world)?;
    let at = first_address(&listeners)?;
    let asked = ask::facts(&world, &config, at.port(), stop.clone()).await?;
    let Some((facts, id)) = asked else { return Ok(()) };
    log::info!("storage of {} at {}, port {}", facts.group, facts.addresses, at.port());
    check_supported(&facts.parameters)?;

    let gate = Gate::new(config.disk_jobs, world.jobs);
    let opening = {
        let (disk, config, clock) = (Arc::clone(&disk), Arc::clone(&config), world.clock.now());
        let (addresses, parameters) = (facts.addresses, facts.parameters);
        move || open(&disk, &config, addresses, &parameters, at.port(), clock)
    };
    let opened = scope("start", gate.run(opening)).await?;
    let (tombs, buried) = tombs(&gate, &disk, &config, opened.log.position()).await?;
    let (log, log_ended) =
        Writer::start(opened.log, config.durability, world.jobs).context("start the log")?;
    let access_log = access_log(&config, &world, &ready)?;
    let store = Arc::new(Store::new(Parts {
        clock: Arc::clone(&world.clock),
        random: Arc::clone(&world.random),
        disk,
        gate,
        jobs_per_path: config.disk_jobs,
        places: opened.places,
        sums: opened.sums,
        log,
        counters: Counters::new(opened.numbers),
        facts,
        durability: config.durability,
        distribution: config.distribution,
        network_timeout: config.network_timeout,
        access_log: access_log.clone(),
        pool: member_pool(&config, &world),
        tombs,
        copies: service::copies::Copies::new(config.copies),
        read_only: config.store_paths.iter().map(|path| path.read_only).collect(),
    }));
    store.space_was_measured();

    let from = (opened.identity, opened.moved, buried);
    let mut tasks = background(&config, &world, &store, from, at.port(), id, &stop);
    fill(&store, &opened.fresh, &mut tasks, &stop);
    scrub::start(&store, config.scrub, config.base_path.join("data"), &mut tasks, &stop);
    measure(&store, MEASURE_EVERY.min(config.stat_report_interval), &mut tasks, &stop);
    let (figures, timeout) = (Arc::clone(&store), config.network_timeout);
    let gather = Arc::new(move |page: &mut Page| crate::metrics::gather(&figures, page));
    net::metrics::start(config.metrics, timeout, &world, gather, &mut tasks, &stop)?;
    tasks.spawn(scope("late", service::late::run(Arc::clone(&store), stop.clone())));
    if let Some(log) = &access_log {
        tasks.spawn(Arc::clone(log).run(stop.clone()));
    }
    ready.announce(at)?;
    serve_all(listeners, &config, &world, &store, &stop).await;

    net::shutdown::drain(&mut tasks, GRACE).await;
    end(store, access_log, &config, log_ended).await
}

/// Writes down what is only in memory, when nobody works any more.
async fn end(
    store: Arc<Store>,
    access_log: Option<Arc<AccessLog>>,
    config: &Config,
    log_ended: Ending,
) -> anyhow::Result<()> {
    scope("stop", save_numbers(&store, start::numbers_path(&config.base_path))).await;
    if let Some(log) = access_log {
        tokio::task::spawn_blocking(move || log.write()).await?;
    }
    drop(store);
    // The last handle of the log is gone with the store, so what writes it ends.
    log_ended.wait().await.context("end the log")
}

/// Opens the access log, if there is to be one.
fn access_log(
    config: &Config,
    world: &World,
    ready: &Ready,
) -> anyhow::Result<Option<Arc<AccessLog>>> {
    let Some(settings) = config.access_log else { return Ok(None) };
    let path = config.base_path.join("logs/storage_access.log");
    let (clock, hang_ups) = (Arc::clone(&world.clock), ready.hang_ups());
    let log = AccessLog::open(path.clone(), settings, clock, hang_ups);
    Ok(Some(Arc::new(log.with_context(|| format!("open {}", path.display()))?)))
}

/// Reads which files were deleted; the binlog ends at `end`. A work of its own for those who
/// count faults: their log is also written while the daemon runs.
async fn tombs(
    gate: &Gate,
    disk: &Arc<dyn Disk>,
    config: &Config,
    end: Position,
) -> anyhow::Result<(Tombs, sync::GraveLog)> {
    let (disk, dir) = (Arc::clone(disk), config.base_path.join("data/sync"));
    let loading = move || sync::load_tombs(&disk, &dir, end);
    scope("tombs", gate.run(loading)).await.context("read which files were deleted")
}

/// What was found on the disks.
struct Opened {
    identity: Arc<IdentityFile>,
    moved: Arc<Moved>,
    places: disk::layout::Places,
    sums: Sums,
    fresh: Vec<bool>,
    numbers: Numbers,
    log: binlog::log::Log,
}

/// Opens everything that lies on the disks. Blocks.
fn open(
    disk: &Arc<dyn Disk>,
    config: &Config,
    addresses: proto::address::Addresses,
    parameters: &parameters::Parameters,
    port: u16,
    now: net::ports::UnixTime,
) -> anyhow::Result<Opened> {
    let base = &config.base_path;
    let secs = i64::try_from(now.secs()).unwrap_or(i64::MAX);
    let identity = IdentityFile::open(Arc::clone(disk), base, secs)?;
    let ip = addresses.first();
    let (places, fresh) = start::places(disk, config, &identity, ip, port, now.secs32())?;
    let numbers = start::numbers(&**disk, base)?;
    let mut log = start::log(disk, base)?;
    let moved = start::settle_in(disk, config, &identity, addresses, port, parameters)?;
    let sums = Sums::new(Arc::clone(disk), &places, config.verify_reads);
    start::finish_edits(&**disk, &places, &sums, &mut log)?;
    let (identity, moved) = (Arc::new(identity), Arc::new(moved));
    Ok(Opened { identity, moved, places, sums, fresh, numbers, log })
}

/// Connections to other members, for what is not here: those who wait for it must not wait long
/// for a member that is away.
fn member_pool(config: &Config, world: &World) -> Pool {
    let settings = PoolSettings {
        connect_timeout: config.connect_timeout.min(MEMBER_CONNECT_MAX),
        network_timeout: config.network_timeout,
        from: config.client_bind,
        ..PoolSettings::default()
    };
    Pool::new(world.clone(), settings)
}

/// Refuses what would be stored in another form than the trackers ask for.
fn check_supported(parameters: &parameters::Parameters) -> anyhow::Result<()> {
    anyhow::ensure!(
        !parameters.use_trunk_file,
        "the trackers ask for trunk files (use_trunk_file in tracker.conf), which this storage \
         cannot make or read: switch them off there, or leave this group to other storages"
    );
    if parameters.slaves_as_links {
        log::warn!("the trackers ask for slaves as links, not supported yet: plain files");
    }
    Ok(())
}

fn listen(config: &Config, world: &World) -> anyhow::Result<Vec<Box<dyn Listener>>> {
    let mut port = config.port;
    let mut all = Vec::new();
    for ip in &config.bind {
        let at = SocketAddr::new(*ip, port);
        let listener = world.net.listen(at, config.network_timeout);
        let listener = listener.with_context(|| format!("listen on {at}, key port"))?;
        // With port 0 all addresses get the port that the first one was given.
        port = listener.local_addr()?.port();
        all.push(listener);
    }
    Ok(all)
}

fn first_address(listeners: &[Box<dyn Listener>]) -> anyhow::Result<SocketAddr> {
    Ok(listeners.first().context("no address to listen on")?.local_addr()?)
}

/// Starts what runs beside the connections.
fn background(
    config: &Arc<Config>,
    world: &World,
    store: &Arc<Store>,
    (identity, moved, buried): (Arc<IdentityFile>, Arc<Moved>, sync::GraveLog),
    port: u16,
    id: Option<StorageId>,
    stop: &Stop,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (config, store) = (Arc::clone(config), Arc::clone(store));
    let path = start::numbers_path(&config.base_path);
    let interval = config.stat_file_interval;
    let own = id.or_else(|| StorageId::from_ip(store.facts.addresses.first()));
    let peers = Arc::new(Peers::new(own));
    let sharing = sync::Shared {
        world: world.clone(),
        config: Arc::clone(&config),
        store: Arc::clone(&store),
        identity: Arc::clone(&identity),
        peers: Arc::clone(&peers),
        port,
    };
    let sharing = Arc::new(sharing);
    tasks.spawn(scope("tombs", sync::keep_tombs(Arc::clone(&sharing), buried, stop.clone())));
    tasks.spawn(sync::watch_lag(Arc::clone(&sharing), stop.clone()));
    tasks.spawn(scope("pack", sync::pack_log(Arc::clone(&sharing), stop.clone())));
    tasks.spawn(sync::supervise(sharing, stop.clone()));
    let (settings, kept) = (Arc::clone(&config), Arc::clone(&store));
    let keeping = members::keep(settings, kept, Arc::clone(&peers), stop.clone());
    tasks.spawn(scope("members", keeping));
    let (shared, kept) = (Arc::clone(&config), Arc::clone(&store));
    let own = (identity, moved);
    let reporter = Reporter::new(world.clone(), shared, kept, own, peers, port, id);
    let reporter = Arc::new(reporter);
    for tracker in &config.trackers {
        tasks.spawn(Arc::clone(&reporter).run(*tracker, stop.clone()));
    }
    let mut stopped = stop.clone();
    tasks.spawn(async move {
        let mut saved = store.counters.snapshot();
        loop {
            tokio::select! {
                biased;
                () = stopped.raised() => return,
                () = tokio::time::sleep(interval) => {}
            }
            let now = store.counters.snapshot();
            if now != saved {
                save_numbers(&store, path.clone()).await;
                saved = now;
            }
        }
    });
    tasks
}

/// Measures the room of every store path again and again, each on its own: a disk that hangs
/// keeps its last figures, and nobody waits for it.
fn measure(store: &Arc<Store>, every: Duration, tasks: &mut JoinSet<()>, stop: &Stop) {
    for path in (0..=u8::MAX).map(StorePath).take(store.places.iter().count()) {
        let (store, mut stop) = (Arc::clone(store), stop.clone());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = stop.raised() => return,
                    () = tokio::time::sleep(every) => {}
                }
                let shared = Arc::clone(&store);
                let job = move || shared.places.get(path).map(|place| place.measure().map(|_| ()));
                if let Some(Err(error)) = store.on(path).run(job).await {
                    log::error!("measure store path {path}: {error}");
                }
                store.space_was_measured();
            }
        });
    }
}

/// Makes the directories of fresh store paths, without keeping the start waiting.
fn fill(store: &Arc<Store>, fresh: &[bool], tasks: &mut JoinSet<()>, stop: &Stop) {
    let indexes = (0..=u8::MAX).zip(fresh).filter(|(_, fresh)| **fresh).map(|(index, _)| index);
    for index in indexes {
        let (store, stop) = (Arc::clone(store), stop.clone());
        let path = StorePath(index);
        tasks.spawn(async move {
            let dirs = store.places.get(path).map_or(0, disk::layout::Place::dirs);
            for high in (0..dirs).filter_map(|high| u8::try_from(high).ok()) {
                if stop.is_raised() {
                    return;
                }
                let shared = Arc::clone(&store);
                let job = move || shared.places.get(path).map_or(Ok(()), |place| place.fill(high));
                if let Err(error) = store.on(path).run(job).await {
                    log::error!("make the directories of store path {path}: {error}");
                    return;
                }
            }
            log::info!("store path {path} has all its directories");
        });
    }
}

async fn serve_all(
    listeners: Vec<Box<dyn Listener>>,
    config: &Config,
    world: &World,
    store: &Arc<Store>,
    stop: &Stop,
) {
    let share = (config.max_connections / listeners.len().max(1)).max(1);
    let mut admission = Admission::open(share, Limits::new(config.network_timeout), GRACE);
    let allowed = config.allowed.clone();
    admission.is_allowed = Arc::new(move |ip| allowed.admits(ip));
    let open = Arc::new(AtomicU32::new(0));
    let most = u32::try_from(config.max_connections).unwrap_or(u32::MAX);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let (store, open) = (Arc::clone(store), Arc::clone(&open));
        let handler = move |conn, stop| {
            let (store, open) = (Arc::clone(&store), Arc::clone(&open));
            async move {
                store.counters.connections(open.fetch_add(1, Ordering::Relaxed) + 1, most);
                scope("operation", service::connection(Arc::clone(&store), conn, stop)).await;
                store.counters.connections(open.fetch_sub(1, Ordering::Relaxed) - 1, most);
            }
        };
        let (admission, clock) = (admission.clone(), Arc::clone(&world.clock));
        let stop = stop.clone();
        accepting.spawn(async move {
            serve(listener, admission, clock, stop, handler).await;
        });
    }
    while accepting.join_next().await.is_some() {}
}

/// Saves the counters; they matter for the next directory and for statistics, not for files.
async fn save_numbers(store: &Arc<Store>, path: PathBuf) {
    let text = store.counters.snapshot().text();
    let disk = Arc::clone(&store.disk);
    let save = move || {
        let saved = replace_whole(&*disk, &path, text.as_bytes());
        saved.map_err(|error| (path, error))
    };
    if let Err((path, error)) = store.gate.run(save).await {
        log::error!("save {}: {error}", path.display());
    }
}
