//! fdfs_load: puts a load on a FastDFS cluster, ours or any other, and tells how it bore it.
//!
//! Workers, one connection each, do one operation after the other, as fast as answers come or
//! at a given rate; with a rate, latency counts from when an operation was due, so that a server
//! that stalls cannot hide the operations it kept waiting. With `--limit` the same workers then
//! do the same against a bare server that only moves the bytes, and the file system and the
//! loopback device are measured alone: what this machine can do at all, in the same minutes.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use net::client::Client;
use net::ports::World;
use net::program::run_tool;

use crate::{DEFAULT_CONFIG, Failure, config, say};

mod size; // how large files are

mod tally; // what happened, and how long it took

mod process; // CPU and memory of the servers

mod work; // one operation after the other

mod run; // all workers, begun and ended together

mod bare; // a server that only moves bytes

mod limits; // what the machine can do

mod report; // text and JSON

use run::Plan;
use size::Sizes;
use work::Mix;

/// Connections of one run; each is a descriptor here and on the server.
const CONNECTIONS_MAX: i64 = 20_000;

/// Puts a load on a FastDFS cluster and measures it.
#[derive(Debug, Parser)]
#[command(name = "fdfs_load", version, about, max_term_width = 100)]
struct Cli {
    /// What to do
    operation: Operation,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    amount: Amount,
    /// Size of files: 4K, a range 1K-1M (any size in it, small ones more often), or shares
    /// 4K:70,64K:25,1M:5
    #[arg(short, long, default_value = "4K", value_parser = Sizes::parse)]
    size: Sizes,
    /// Shares of `mix`, such as upload:20,download:75,delete:5
    #[arg(long, default_value = "upload:20,download:75,delete:5", value_parser = Mix::parse)]
    shares: Mix,
    /// How many files to store beforehand for operations on existing ones
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// Ask the tracker once, then only the storage that it named
    #[arg(long)]
    direct: bool,
    /// Process of a server, to tell its CPU time and memory; may be repeated
    #[arg(long = "pid", value_name = "NAME=PID", value_parser = process::named)]
    pids: Vec<process::Named>,
    /// Also measure what this machine can do: the same messages with a bare server, files of
    /// these sizes, the loopback device
    #[arg(long)]
    limit: bool,
    /// Where to measure the file system: best where the storage has its files
    #[arg(long, value_name = "DIR", default_value = "/tmp")]
    limit_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Repeat the choices of a run
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct Cluster {
    /// Configuration of the cluster
    #[arg(short, long, env = "FDFS_CONF", value_name = "FILE", default_value = DEFAULT_CONFIG)]
    conf: PathBuf,
    /// Ask this tracker in place of those in the configuration; may be repeated
    #[arg(short, long = "tracker", value_name = "HOST[:PORT]")]
    trackers: Vec<String>,
}

#[derive(Debug, Args)]
struct Amount {
    /// Connections, and so operations at a time
    #[arg(short = 'n', long, default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    connections: u32,
    /// Threads of this program
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Begin so many operations a second, whether or not earlier ones have ended in time
    #[arg(short, long, value_name = "OPS")]
    rate: Option<f64>,
    /// End after so many operations
    #[arg(long, conflicts_with = "duration")]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0)]
    duration: f64,
    /// Seconds before it counts
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warmup: f64,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Operation {
    /// Ask a tracker where to store
    QueryStore,
    /// Ask a tracker who has a file
    QueryFetch,
    /// Store files
    Upload,
    /// Fetch files
    Download,
    /// Make appenders grow
    Append,
    /// Delete files; storing them first does not count
    Delete,
    /// All of `--shares`
    Mix,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::QueryStore => "query-store",
            Operation::QueryFetch => "query-fetch",
            Operation::Upload => "upload",
            Operation::Download => "download",
            Operation::Append => "append",
            Operation::Delete => "delete",
            Operation::Mix => "mix",
        }
    }
}

/// Runs the program; `args` begins with the name it was called by. It exits with 0 if all went
/// well, with the errno of what made it impossible, and with 5 (EIO) if operations failed.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(told) => {
            let _ = told.print(); // a closed pipe is not an error
            return if told.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    };
    run_tool("fdfs_load", |world| async move {
        match perform(&world, &cli).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let told = failure.tell("fdfs_load");
                let _ = writeln!(io::stderr(), "{told}");
                ExitCode::from(failure.status().0)
            }
        }
    })
}

async fn perform(world: &World, cli: &Cli) -> Result<(), Failure> {
    let config = match cli.cluster.trackers.as_slice() {
        [] => config::load(&cli.cluster.conf)?,
        named => config::of_trackers(named)?,
    };
    let trackers = config.trackers(world).await?;
    let client = {
        let (world, pool) = (world.clone(), config.pool);
        move |trackers: &[std::net::SocketAddr]| Client::new(world.clone(), pool, trackers.to_vec())
    };
    let plan = plan(world, cli)?;
    let outcome = run::run(world, &plan, &client, &trackers, &cli.pids).await?;
    let limits = match cli.limit {
        true => Some(limits::measure(world, &plan, &client, &cli.limit_dir).await?),
        false => None,
    };
    let report = report::Report::of(&plan, &outcome, limits);
    if cli.json {
        say(&serde_json::to_string(&report).unwrap_or_else(|error| error.to_string()));
    } else {
        say(&report.to_string());
    }
    match outcome.tally.errors() {
        0 => Ok(()),
        errors => Err(Failure::Corrupt(format!("{errors} operations failed"))),
    }
}

fn plan(world: &World, cli: &Cli) -> Result<Plan, Failure> {
    let secs = |secs: f64, what: &str| {
        let span = Duration::try_from_secs_f64(secs);
        span.map_err(|_| Failure::Argument(format!("{what} must be a number of seconds")))
    };
    let rate = cli.amount.rate;
    if rate.is_some_and(|rate| !(rate.is_finite() && 0.0 < rate)) {
        return Err(Failure::Argument("--rate must be positive".to_owned()));
    }
    Ok(Plan {
        operation: cli.operation,
        mix: match cli.operation {
            Operation::Mix => cli.shares.clone(),
            one => Mix::only(one),
        },
        sizes: cli.size.clone(),
        connections: cli.amount.connections,
        threads: cli.amount.threads.min(cli.amount.connections),
        rate,
        count: cli.amount.count,
        duration: secs(cli.amount.duration, "--duration")?,
        warmup: secs(if cli.amount.count.is_some() { 0.0 } else { cli.amount.warmup }, "--warmup")?,
        files: cli.files,
        direct: cli.direct,
        seed: cli.seed.unwrap_or_else(|| world.random.u64()),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        for line in [
            "fdfs_load upload -t a --size 4K:1,1M:1 -n 4 --rate 100 --duration 1 --json",
            "fdfs_load mix --shares upload:1,download:9 --count 100 --pid storage=1",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap();
        }
        for line in ["fdfs_load", "fdfs_load upload --size x", "fdfs_load upload -n 0"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
