//! What every main does: arguments, pid file, log, panic hook, runtime, signals.
//!
//! [`run_daemon`] is for `fdfs_trackerd` and `fdfs_storaged`, [`run_worker`] for the FastCGI
//! workers, [`run_tool`] for the command-line tools. This is the only place where the real
//! clock, random source and network are named; everybody else gets a [`World`].
//!
//! A daemon goes to the background by starting itself again, detached: forking needs `unsafe`.
//! The first process waits until the second listens, so that a failed start shows its reason
//! and its exit code where it was ordered.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use log::{LevelFilter, error, info};

use crate::durable;
use crate::ports::{Jobs, OsRandom, SystemClock, TcpNet, World};
use crate::rotate::{RotatingFile, Rotation};
use crate::shutdown::{Stop, watch_signals};

mod args; // the command line of a daemon
mod logging; // where log lines go
mod pidfile; // who runs already, and how to stop it

mod run_by; // going on as another user

use args::{Action, Args, Parsed};
pub use logging::level_of;
use pidfile::PidFile;
pub use run_by::RunBy;

/// The release of the reference whose protocol, files and options we have.
const COMPATIBLE_WITH: &str = "6.16.1";

/// Exit codes are errno values, as scripts around the reference expect (storage.md 9.1).
const EXIT_FAILED: u8 = 1;
const EXIT_NOT_RUNNING: u8 = 2;
const EXIT_STALE: u8 = 3;
const EXIT_RUNS_ALREADY: u8 = 17;
const EXIT_INVALID: u8 = 22;

/// What a daemon tells about itself. `S` is its checked configuration.
#[derive(Debug)]
pub struct Daemon<S> {
    /// Name of the program: `fdfs_trackerd`.
    pub name: &'static str,
    /// Name of its log in `base_path/logs`: `trackerd.log`.
    pub log_file: &'static str,
    /// Reads and checks the configuration file.
    pub load: fn(&Path) -> anyhow::Result<S>,
    /// What the program itself needs of it.
    pub basics: fn(&S) -> Basics,
    /// `--verify`: looks at everything that is stored and writes what it finds; false if
    /// something is damaged. Only while no daemon runs on this configuration.
    pub verify: Option<Verify<S>>,
}

/// A pass over everything that is stored; see [`Daemon::verify`].
pub type Verify<S> = fn(&S, &mut dyn io::Write) -> anyhow::Result<bool>;

/// What every daemon's configuration has.
#[derive(Clone, Debug)]
pub struct Basics {
    /// `data` and `logs` are made in it.
    pub base_path: PathBuf,
    pub log_level: LevelFilter,
    pub log_rotation: Rotation,
    pub run_by: RunBy,
}

/// Says once that the daemon listens.
#[derive(Debug)]
pub struct Ready {
    detached: bool,
    silent: bool,
    hang_ups: Arc<AtomicU64>,
}

impl Ready {
    /// Says it to nobody: for daemons inside a test.
    pub fn silent() -> Self {
        Self { detached: false, silent: true, hang_ups: Arc::default() }
    }

    /// Counts the HUP signals: a daemon with log files of its own begins them anew.
    pub fn hang_ups(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.hang_ups)
    }

    /// Prints `listening on ADDRESS`, which tests and the starting process wait for. A
    /// detached daemon then lets go of the terminal.
    pub fn announce(self, at: SocketAddr) -> io::Result<()> {
        info!("listening on {at}");
        if self.silent {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "listening on {at}")?;
        out.flush()?;
        if self.detached {
            let null = File::options().read(true).write(true).open("/dev/null")?;
            rustix::stdio::dup2_stdout(&null)?;
            rustix::stdio::dup2_stderr(&null)?;
        }
        Ok(())
    }
}

/// Runs a daemon: does what the command line says, and for a start calls `serve` inside the
/// runtime. `serve` returns when its [`Stop`] is raised, or with what made it impossible.
pub fn run_daemon<S, F>(
    daemon: &Daemon<S>,
    args: impl IntoIterator<Item = OsString>,
    serve: impl FnOnce(S, World, Stop, Ready) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let args = match args::parse(args) {
        Parsed::Run(args) => args,
        Parsed::Version => {
            say(&mut io::stdout(), &format!("\n{} V{COMPATIBLE_WITH}\n", daemon.name));
            return ExitCode::SUCCESS;
        }
        Parsed::Help => {
            say(&mut io::stderr(), &args::usage(daemon.name, daemon.verify.is_some()));
            return ExitCode::SUCCESS;
        }
        Parsed::Wrong { message, code } => {
            say(
                &mut io::stderr(),
                &format!("{message}\n{}", args::usage(daemon.name, daemon.verify.is_some())),
            );
            return ExitCode::from(code);
        }
    };
    let settings = match (daemon.load)(&args.conf) {
        Ok(settings) => settings,
        Err(error) => {
            let conf = args.conf.display();
            say(&mut io::stderr(), &format!("{}: {conf}: {error:#}", daemon.name));
            return ExitCode::from(EXIT_INVALID);
        }
    };
    if args.check_config {
        say(&mut io::stdout(), &format!("{}: the configuration is good", args.conf.display()));
        return ExitCode::SUCCESS;
    }
    let basics = (daemon.basics)(&settings);
    let pid_path = basics.base_path.join("data").join(format!("{}.pid", daemon.name));
    match args.action {
        Action::Status => return status(&pid_path, daemon.name),
        Action::Stop => return stop(&pid_path, daemon.name),
        Action::Restart => {
            stop(&pid_path, daemon.name); // one that does not run is fine
        }
        Action::Start | Action::Verify => {}
    }
    if let Some(pid) = pidfile::running(&pid_path, daemon.name) {
        say(&mut io::stderr(), &format!("{} is already running, pid: {pid}", daemon.name));
        return ExitCode::from(EXIT_RUNS_ALREADY);
    }
    if args.action == Action::Verify {
        return verify(daemon, &settings);
    }
    let become_user = || run_by::become_user(&basics.run_by);
    let outcome = if let Err(error) = become_user() {
        Err(error)
    } else if args.foreground || args.detached {
        start(daemon, &args, settings, &basics, &pid_path, serve)
    } else {
        start_detached(&args.conf)
    };
    outcome.unwrap_or_else(|error| {
        say(&mut io::stderr(), &format!("{}: {error:#}", daemon.name));
        ExitCode::from(exit_code_of(&error))
    })
}

/// Runs the pass of `--verify`.
fn verify<S>(daemon: &Daemon<S>, settings: &S) -> ExitCode {
    let Some(pass) = daemon.verify else {
        let message = format!("{} stores no files: --verify is not for it", daemon.name);
        say(&mut io::stderr(), &message);
        return ExitCode::from(EXIT_INVALID);
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match pass(settings, &mut out).and_then(|good| Ok(out.flush().map(|()| good)?)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            say(&mut io::stderr(), &format!("{}: {error:#}", daemon.name));
            ExitCode::from(exit_code_of(&error))
        }
    }
}

/// Starts in this process.
fn start<S, F>(
    daemon: &Daemon<S>,
    args: &Args,
    settings: S,
    basics: &Basics,
    pid_path: &Path,
    serve: impl FnOnce(S, World, Stop, Ready) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<()>>,
{
    for dir in ["data", "logs"] {
        let dir = basics.base_path.join(dir);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        // All that is durable in there hangs on this name.
        durable::sync_dir_of(&dir)?;
    }
    let hang_ups = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&hang_ups);
    let count = move || counted.fetch_add(1, Ordering::Relaxed);
    let on_hang_up: Box<dyn Fn() + Send> = if args.detached {
        rustix::process::setsid().context("leave the terminal")?;
        let path = basics.base_path.join("logs").join(daemon.log_file);
        let clock = Arc::new(SystemClock::new());
        let log = RotatingFile::open(path.clone(), basics.log_rotation, clock, String::new())
            .with_context(|| format!("open {}", path.display()))?;
        logging::to_file(&log, basics.log_level)?;
        Box::new(move || {
            count();
            logging::renew(&log);
        })
    } else {
        logging::to_stderr(basics.log_level)?;
        Box::new(move || {
            count();
        })
    };
    abort_on_panic();
    let pid_file = PidFile::claim(pid_path)?;
    raise_descriptors();
    info!("{} starts, configuration {}", daemon.name, args.conf.display());
    let ready = Ready { detached: args.detached, silent: false, hang_ups };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build().context("start the runtime")?;
    let outcome =
        in_runtime(&runtime, on_hang_up, |world, stop| serve(settings, world, stop, ready));
    drop(runtime); // waits for what is being written
    drop(pid_file);
    match outcome {
        Ok(()) => {
            info!("{} has stopped", daemon.name);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            error!("{} ends: {error:#}", daemon.name);
            // In the foreground the log is on the screen; a detached start shows it there.
            if args.detached { Err(error) } else { Ok(ExitCode::from(exit_code_of(&error))) }
        }
    }
}

/// Takes as many descriptors as this process may have: each connection needs one.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        log::warn!("keep the limit of {:?} open files: {error}", limit.current);
    }
}

/// Starts this program again, detached, and waits until it listens or has failed.
fn start_detached(conf: &Path) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("find this program")?;
    let mut child = Command::new(program)
        .arg(conf)
        .args(["start", args::DETACHED])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start in the background")?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).context("wait for the start")?;
    }
    if line.starts_with("listening on ") {
        return Ok(ExitCode::SUCCESS);
    }
    // It has said why on the error stream, which is ours too.
    let code = child.wait().context("wait for the start")?.code();
    Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_FAILED)))
}

fn status(pid_path: &Path, name: &str) -> ExitCode {
    match pidfile::running(pid_path, name) {
        Some(pid) => {
            say(&mut io::stdout(), &format!("Running, pid: {pid}"));
            ExitCode::SUCCESS
        }
        None => {
            say(&mut io::stdout(), "NOT running");
            ExitCode::from(EXIT_NOT_RUNNING)
        }
    }
}

fn stop(pid_path: &Path, name: &str) -> ExitCode {
    let Some(pid) = pidfile::running(pid_path, name) else {
        let stale = pid_path.exists();
        say(&mut io::stderr(), &format!("{name} is not running"));
        return ExitCode::from(if stale { EXIT_STALE } else { EXIT_NOT_RUNNING });
    };
    match pidfile::end(pid) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut io::stderr(), &format!("{name}: end process {pid}: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Runs a FastCGI worker: logs to the error stream, which spawn-fcgi leaves open, and ends
/// when its [`Stop`] is raised. The listening socket is the worker's own business.
///
/// A worker has one thread for its connections, so that none has to wake another; spawn-fcgi
/// starts as many processes as there shall be. What takes long runs on threads beside it, and
/// whoever awaits that is a request: when `serve` has returned, it is not waited for.
pub fn run_worker<F>(name: &str, serve: impl FnOnce(World, Stop) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    abort_on_panic();
    let run = || {
        logging::to_stderr(LevelFilter::Info)?;
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().context("start the runtime")?;
        let outcome = in_runtime(&runtime, Box::new(|| {}), serve);
        runtime.shutdown_background();
        outcome
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{name} ends: {error:#}");
            ExitCode::from(exit_code_of(&error))
        }
    }
}

/// Runs a command-line tool, which decides itself what to print and how to exit.
pub fn run_tool<F>(name: &str, run: impl FnOnce(World) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match logging::to_stderr(LevelFilter::Warn).and_then(|()| Ok(runtime?)) {
        Ok(runtime) => runtime.block_on(run(world())),
        Err(error) => {
            say(&mut io::stderr(), &format!("{name}: {error:#}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The real ports.
fn world() -> World {
    World {
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(OsRandom),
        net: Arc::new(TcpNet),
        jobs: Jobs::Threads,
    }
}

/// Runs `serve` while signals raise the flag that it watches.
fn in_runtime<F>(
    runtime: &tokio::runtime::Runtime,
    on_hang_up: Box<dyn Fn() + Send>,
    serve: impl FnOnce(World, Stop) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    runtime.block_on(async {
        let (stopper, stop) = Stop::pair();
        let signals = watch_signals(stopper, on_hang_up).context("watch signals")?;
        tokio::spawn(signals);
        serve(world(), stop).await
    })
}

/// A panic is logged and ends the process: restarting clean beats serving from a broken state.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        error!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        log::logger().flush();
        std::process::abort();
    }));
}

/// The errno of the first system error behind `error`, as the reference exits.
fn exit_code_of(error: &anyhow::Error) -> u8 {
    let of_system = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    let errno = of_system.and_then(io::Error::raw_os_error);
    errno.and_then(|errno| u8::try_from(errno).ok()).filter(|e| *e != 0).unwrap_or(EXIT_FAILED)
}

/// Prints a line; a closed pipe is not an error.
fn say(to: &mut dyn io::Write, text: &str) {
    let _ = writeln!(to, "{text}");
}
