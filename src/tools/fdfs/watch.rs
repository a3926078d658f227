//! `fdfs monitor`: the whole cluster on one screen, once or again and again.
//!
//! Asks one tracker for everything, works out the rates since the last report of each storage,
//! and draws. On a terminal `--watch` uses the alternate screen and gives it back at the end;
//! elsewhere each round is printed below the last one. A tracker that does not answer ends a
//! single look; a watch shows the failure and goes on.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use net::client::Client;
use net::ports::World;
use proto::tracker::list::{GroupStat, StorageStat};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::cluster::{Group, Storage};
use super::output::{Output, print};
use crate::zone::Zone;
use crate::{Doing as _, Failure};

mod rates; // what happened between two reports

mod screen; // the picture

use rates::Rates;
use screen::Look;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
/// Erases the rest of a line, and of the screen: no flicker, as clearing first would.
const REST_OF_LINE: &str = "\x1b[K\n";
const REST_OF_SCREEN: &str = "\x1b[J";

#[derive(Debug, Args)]
pub(super) struct Monitor {
    /// Look again every so many seconds, until interrupted
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86400))]
    watch: Option<u64>,
}

/// The cluster at one moment, as one tracker sees it.
#[derive(Debug)]
struct Snapshot {
    tracker: SocketAddr,
    /// Unix seconds, of our clock.
    time: i64,
    groups: Vec<(GroupStat, Vec<StorageStat>)>,
}

/// The same for `--json`.
#[derive(Debug, Serialize)]
struct Record {
    time: i64,
    tracker: String,
    groups: Vec<Members>,
}

#[derive(Debug, Serialize)]
struct Members {
    #[serde(flatten)]
    group: Group,
    members: Vec<Storage>,
}

impl Monitor {
    pub(super) async fn run(
        &self,
        world: &World,
        client: &Client,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let mut rates = Rates::default();
        let Some(every) = self.watch else {
            let snapshot = look(world, client).await?;
            show(&snapshot, &rates, output);
            return Ok(());
        };
        let full = io::stdout().is_terminal() && !output.is_json();
        if full {
            draw(ENTER);
        }
        let ended = self.watch(every, world, client, &mut rates, output, full).await;
        if full {
            draw(LEAVE);
        }
        ended
    }

    async fn watch(
        &self,
        every: u64,
        world: &World,
        client: &Client,
        rates: &mut Rates,
        output: &mut Output,
        full: bool,
    ) -> Result<(), Failure> {
        let signals = |kind| {
            let found = signal(kind);
            found.map_err(|source| Failure::Local { what: "watch signals".to_owned(), source })
        };
        let mut interrupt = signals(SignalKind::interrupt())?;
        let mut terminate = signals(SignalKind::terminate())?;
        let mut ticks = tokio::time::interval(Duration::from_secs(every));
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
            }
            let outcome = tokio::select! {
                outcome = look(world, client) => outcome,
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
            };
            match outcome {
                Ok(snapshot) => {
                    rates.learn(&snapshot.groups);
                    if full {
                        draw(&frame(&screen::draw(&snapshot, rates, &look_of_terminal())));
                    } else {
                        show(&snapshot, rates, output);
                    }
                }
                Err(failure) if full => draw(&frame(&failure.tell("fdfs"))),
                Err(failure) => output.fail(&failure),
            }
            if io::stdout().flush().is_err() {
                return Ok(()); // the reader has gone
            }
        }
    }
}

/// Asks for everything.
async fn look(world: &World, client: &Client) -> Result<Snapshot, Failure> {
    let trackers = client.trackers();
    let mut groups = Vec::new();
    for group in trackers.list_groups().await.doing("list groups")? {
        let storages = trackers.list_storages(group.group, None).await;
        groups.push((group, storages.doing("list storages of group")?));
    }
    let (_, tracker) = trackers.current().doing("choose a tracker")?;
    let time = i64::try_from(world.clock.now().secs()).unwrap_or(i64::MAX);
    Ok(Snapshot { tracker, time, groups })
}

fn show(snapshot: &Snapshot, rates: &Rates, output: &Output) {
    if output.is_json() {
        let groups = snapshot.groups.iter().map(|(group, storages)| Members {
            group: Group::of(group),
            members: storages.iter().map(|storage| Storage::of(group.group, storage)).collect(),
        });
        let record = Record {
            time: snapshot.time,
            tracker: snapshot.tracker.to_string(),
            groups: groups.collect(),
        };
        output.tell(&"", &record);
    } else {
        print(&screen::draw(snapshot, rates, &look_of_terminal()));
    }
}

fn look_of_terminal() -> Look {
    let terminal = console::Term::stdout();
    let width = terminal.size_checked().map_or(usize::MAX, |(_, columns)| usize::from(columns));
    Look { width, colours: console::colors_enabled(), zone: Zone::of_system() }
}

/// A picture over the last one.
fn frame(text: &str) -> String {
    let lines = text.trim_end_matches('\n').replace('\n', REST_OF_LINE);
    format!("{HOME}{lines}{REST_OF_LINE}{REST_OF_SCREEN}")
}

fn draw(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush()); // it may have gone
}
