//! fdfs: one program for people, where the `fdfs_*` programs are for existing scripts.
//!
//! Here is its command line, as clap reads it, and which subcommand is which function. Results
//! go to standard output, as text or as one JSON object a line; everything else goes to standard
//! error. The exit code is the errno of the first failure, and 1 for wrong usage. Another
//! subcommand is a line in [`Order`], a line in `perform` and a file beside the others.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use net::client::Client;
use net::ports::World;
use net::program::run_tool;

use crate::{DEFAULT_CONFIG, Failure, config};

mod output; // text or JSON, progress bars

mod put; // put

mod get; // get

mod files; // rm, stat, meta, decode

mod cluster; // ls-groups, ls-storages, and the records that monitor shows too

mod watch; // monitor

mod resync; // resync

use output::Output;

const WRONG_USAGE: u8 = 1;

const AFTER_HELP: &str = "\
Exit code: 0 done; 1 wrong usage; otherwise the errno of the first failure: 2 no such file,
22 invalid, 28 disk full, 110 timeout, 111 no server reached.

Examples:
  fdfs put holiday.jpg                     store a file, print its id
  tar c docs | fdfs put --ext tar -        store a stream of unknown length
  fdfs get -o copy.jpg group1/M00/…        fetch it again
  fdfs --json ls-storages | jq .state
  fdfs completions bash >/etc/bash_completion.d/fdfs";

/// Stores, fetches and inspects files in a FastDFS cluster.
#[derive(Debug, Parser)]
#[command(name = "fdfs", version, about, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    order: Order,
}

/// What every subcommand takes.
#[derive(Debug, Args)]
struct Common {
    /// Configuration of the cluster
    #[arg(short, long, global = true, env = "FDFS_CONF", value_name = "FILE")]
    #[arg(default_value = DEFAULT_CONFIG)]
    conf: PathBuf,
    /// Ask this tracker in place of those in the configuration; may be repeated
    #[arg(short, long = "tracker", global = true, value_name = "HOST[:PORT]")]
    trackers: Vec<String>,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// No progress bars
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Store files; prints the id of each
    Put(put::Put),
    /// Fetch files
    Get(get::Get),
    /// Delete files
    Rm(files::Rm),
    /// Show what the cluster knows about files
    Stat(files::Stat),
    /// Show or change the name/value pairs of a file
    Meta(files::Meta),
    /// Show what a file id says, without asking anybody
    Decode(files::Decode),
    /// List groups with their space
    LsGroups,
    /// List storages with their state
    LsStorages(cluster::LsStorages),
    /// Show the cluster: space, states, rates and delays
    Monitor(watch::Monitor),
    /// Make storages of a group equal, without their binlogs
    Resync(resync::Resync),
    /// Print the completions of a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// Runs the program; `args` begins with the name it was called by.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version go to standard output and are no failure; a closed pipe neither.
            let _ = told.print();
            return if told.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    run_tool("fdfs", |world| async move {
        let Cli { common, order } = cli;
        let mut output = Output::new(common.json, common.quiet);
        if let Err(failure) = perform(&world, &common, order, &mut output).await {
            output.fail(&failure);
        }
        output.exit_code()
    })
}

async fn perform(
    world: &World,
    common: &Common,
    order: Order,
    output: &mut Output,
) -> Result<(), Failure> {
    match order {
        Order::Completions { shell } => return completions(shell),
        Order::Decode(order) => return order.run(output),
        _ => {}
    }
    let client = connect(world, common).await?;
    match order {
        Order::Put(order) => order.run(&client, output).await,
        Order::Get(order) => order.run(&client, output).await,
        Order::Rm(order) => order.run(&client, output).await,
        Order::Stat(order) => order.run(&client, output).await,
        Order::Meta(order) => order.run(&client, output).await,
        Order::LsGroups => cluster::list_groups(&client, output).await,
        Order::LsStorages(order) => order.run(&client, output).await,
        Order::Monitor(order) => order.run(world, &client, output).await,
        Order::Resync(order) => order.run(world, &client, output).await,
        Order::Completions { .. } | Order::Decode(_) => Ok(()), // done above, without a cluster
    }
}

async fn connect(world: &World, common: &Common) -> Result<Client, Failure> {
    let config = match common.trackers.as_slice() {
        [] => config::load(&common.conf)?,
        named => config::of_trackers(named)?,
    };
    let trackers = config.trackers(world).await?;
    Ok(Client::new(world.clone(), config.pool, trackers))
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fdfs", &mut text);
    let _ = io::stdout().write_all(&text); // a closed pipe is not an error
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_and_behind_the_subcommand() {
        for line in [
            "fdfs --json -t a:1 -t b put x",
            "fdfs put --json -t a:1 x -t b",
            "fdfs -t a:1 put --tracker b --json x",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.common.json, "{line}");
            assert!(!cli.common.trackers.is_empty(), "{line}");
        }
        assert!(Cli::try_parse_from(["fdfs"]).is_err());
        assert!(Cli::try_parse_from(["fdfs", "frobnicate"]).is_err());
    }
}
