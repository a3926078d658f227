//! `resync`: makes storages of a group equal without their binlogs.
//!
//! Talks to both as another storage does: asks what they hold, piece by piece, reads files from
//! one and sends them to the other as replication would, with the time that they have there. So
//! the receiver checks, sums, records and refuses them as always, and what is changed meanwhile
//! is safe. `plan` decides. No storage has to be stopped, and to do it twice is harmless.

mod plan; // what to do about one directory

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use clap::Args;
use net::client::replicate::{Body, Link};
use net::client::storage::{Content, Download, download_flagged};
use net::client::{Client, ClientError};
use net::ports::{Fut, World};
use proto::command::Command;
use proto::fileid::{FileId, FileName};
use proto::header::Header;
use proto::ids::{GroupName, StorePath};
use proto::status::Status;
use proto::storage::PASSED_ON;
use proto::storage::inventory::{Digest, Entries, Entry, Inventory, Part};
use proto::tracker::list::StorageStat;
use serde::Serialize;

use self::plan::{Side, Step, steps};
use super::output::Output;
use crate::{Doing as _, Failure};

/// Longest piece of an inventory.
const ANSWER_BYTES_MAX: usize = 128 * 1024;

#[derive(Debug, Args)]
pub(super) struct Resync {
    /// The storage with which others are compared
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    from: String,
    /// Only these; all others of its group unless named
    #[arg(value_name = "ADDRESS[:PORT]")]
    storages: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What was done for one pair of storages, as `--json` shows it.
#[derive(Debug, Default, Serialize)]
struct Done {
    from: String,
    storage: String,
    directories: u64,
    different: u64,
    /// Files that went to `storage`, and from there.
    sent: u64,
    fetched: u64,
    deleted: u64,
    failed: u64,
    dry_run: bool,
    /// Not everything was compared.
    broken_off: bool,
}

/// One step, as `--json` shows it with `--dry-run`.
#[derive(Debug, Serialize)]
struct Planned<'a> {
    step: &'a str,
    id: String,
    to: String,
}

impl Resync {
    pub(super) async fn run(
        &self,
        world: &World,
        client: &Client,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let (group, members) = self.members(client).await?;
        let this = find(&members, &self.from)?;
        let others = match self.storages.as_slice() {
            [] => members.iter().filter(|other| other.id != this.id).collect(),
            named => {
                let found: Result<Vec<_>, _> =
                    named.iter().map(|text| find(&members, text)).collect();
                found?
            }
        };
        if others.is_empty() {
            let text = format!("{group} has no other storage than {}", address(this));
            return Err(Failure::Argument(text));
        }
        for other in others {
            let at = [address(this), address(other)];
            let mut pair = Pair { world, client, group, at, links: [None, None] };
            let counts = [this.path_count, other.path_count];
            pair.settle(counts, self.dry_run, output).await;
        }
        Ok(())
    }

    /// The group of the storage that was named, and its members.
    async fn members(&self, client: &Client) -> Result<(GroupName, Vec<StorageStat>), Failure> {
        for group in client.trackers().list_groups().await.doing("list groups")? {
            let list = client.trackers().list_storages(group.group, None).await;
            let list = list.doing(format!("list storages of {}", group.group))?;
            if find(&list, &self.from).is_ok() {
                return Ok((group.group, list));
            }
        }
        Err(unknown(&self.from))
    }
}

fn unknown(text: &str) -> Failure {
    Failure::Argument(format!("no tracker knows a storage at {text}: see `fdfs ls-storages`"))
}

fn find<'a>(members: &'a [StorageStat], text: &str) -> Result<&'a StorageStat, Failure> {
    let named = |stat: &&StorageStat| match text.parse::<SocketAddr>() {
        Ok(wanted) => wanted == address(stat),
        Err(_) => {
            let id = stat.id.to_string() == text;
            id || text.parse::<IpAddr>().is_ok_and(|ip| ip == stat.address)
        }
    };
    members.iter().find(named).ok_or_else(|| unknown(text))
}

fn address(stat: &StorageStat) -> SocketAddr {
    SocketAddr::new(stat.address, stat.port)
}

/// Two storages that are to become equal.
struct Pair<'a> {
    world: &'a World,
    client: &'a Client,
    group: GroupName,
    at: [SocketAddr; 2],
    /// Connections for what storages send each other.
    links: [Option<Link>; 2],
}

impl Pair<'_> {
    fn server(&self, side: Side) -> SocketAddr {
        let [this, other] = self.at;
        if side == Side::This { this } else { other }
    }

    /// Makes the two equal and tells what was done. What goes wrong is told, too, and is not the
    /// end: other pairs may have all they need.
    async fn settle(&mut self, path_counts: [i64; 2], dry_run: bool, output: &mut Output) {
        let [a, b] = self.at;
        let [from, storage] = self.at.map(|at| at.to_string());
        let mut done = Done { from, storage, dry_run, ..Done::default() };
        if let Err(failure) = self.equalise(path_counts, &mut done, output).await {
            done.broken_off = true;
            output.fail(&failure);
        }
        let Done { directories, different, sent, fetched, deleted, failed, .. } = &done;
        let text = format!(
            "{a} and {b}: {different} of {directories} directories differ, {sent} files sent \
             to {b}, {fetched} to {a}, {deleted} deleted, {failed} failed{}{}",
            if dry_run { " (dry run: nothing was done)" } else { "" },
            if done.broken_off { " (broken off: not everything was compared)" } else { "" }
        );
        output.tell(&text, &done);
    }

    async fn equalise(
        &mut self,
        [this, other]: [i64; 2],
        done: &mut Done,
        output: &mut Output,
    ) -> Result<(), Failure> {
        if this != other {
            let [a, b] = self.at;
            return Err(Failure::Argument(format!(
                "{a} has {this} store paths and {b} {other}: both must have the same"
            )));
        }
        let paths = u8::try_from(this.clamp(0, 255)).unwrap_or(u8::MAX);
        for path in (0..paths).map(StorePath) {
            let (mut high, mut count) = (0u16, 1usize);
            while let Ok(upper) = u8::try_from(high)
                && usize::from(upper) < count
            {
                let this = self.digests(Side::This, path, upper).await?;
                let other = self.digests(Side::Other, path, upper).await?;
                if this.len() != other.len() {
                    let text = "the two have another subdir_count_per_path: not comparable";
                    return Err(Failure::Argument(text.to_owned()));
                }
                count = this.len();
                for (low, (this, other)) in (0..=u8::MAX).zip(this.iter().zip(&other)) {
                    done.directories += 1;
                    if this != other {
                        done.different += 1;
                        self.directory(path, (upper, low), done, output).await?;
                    }
                }
                high += 1;
            }
        }
        Ok(())
    }

    /// Makes one directory equal.
    async fn directory(
        &mut self,
        path: StorePath,
        (high, low): (u8, u8),
        done: &mut Done,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let this = self.entries(Side::This, path, (high, low)).await?;
        let other = self.entries(Side::Other, path, (high, low)).await?;
        for step in steps(&format!("{path}/{high:02X}/{low:02X}/"), this, other) {
            let outcome = if done.dry_run {
                self.tell(&step, output);
                Ok(true)
            } else {
                self.perform(&step).await
            };
            match (outcome, &step) {
                (Ok(false), _) => {} // gone meanwhile
                (Ok(true), Step::Copy { from: Side::This, .. }) => done.sent += 1,
                (Ok(true), Step::Copy { .. }) => done.fetched += 1,
                (Ok(true), Step::Delete { .. }) => done.deleted += 1,
                (Err(failure), _) => {
                    done.failed += 1;
                    output.fail(&failure);
                }
            }
        }
        Ok(())
    }

    fn tell(&self, step: &Step, output: &Output) {
        let (step, name, to) = match step {
            Step::Copy { from, name, over, .. } => {
                (if *over { "replace" } else { "copy" }, name, from.opposite())
            }
            Step::Delete { on, name, .. } => ("delete", name, *on),
        };
        let (id, to) = (self.id(name).to_string(), self.server(to).to_string());
        output.tell(&format!("{step} {id} at {to}"), &Planned { step, id, to });
    }

    fn id(&self, name: &FileName) -> FileId {
        FileId { group: self.group, name: name.clone() }
    }

    /// Does one step; false if what it was about is gone.
    async fn perform(&mut self, step: &Step) -> Result<bool, Failure> {
        match step {
            Step::Copy { from, name, at, over } => {
                let (source, to) = (self.server(*from), from.opposite());
                let what = format!("copy {} from {source} to {}", self.id(name), self.server(to));
                self.copy((*from, to), name, *at, *over).await.doing(what)
            }
            Step::Delete { on, name, at } => {
                let server = self.server(*on);
                let told = match self.link(*on).await {
                    Ok(mut link) => {
                        let status = link.delete(*at, name.as_str()).await;
                        self.keep(*on, link);
                        status
                    }
                    Err(error) => Err(error),
                };
                let told = told.and_then(|status| match status {
                    Status::OK => Ok(true),
                    Status::ENOENT => Ok(false),
                    status => Err(ClientError::Refused { server, status }),
                });
                told.doing(format!("delete {} at {server}", self.id(name)))
            }
        }
    }

    async fn copy(
        &mut self,
        (from, to): (Side, Side),
        name: &FileName,
        at: u32,
        over: bool,
    ) -> Result<bool, ClientError> {
        let (pool, id) = (self.client.pool(), self.id(name));
        let flags = Status(PASSED_ON);
        let begun = download_flagged(pool, self.server(from), &id, (0, 0), flags).await;
        let download = match begun {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        };
        let len = download.len();
        let (mut link, mut content) = (self.link(to).await?, Fetched(download));
        let body = Body::Stream(&mut content);
        let status = link.file(over, at, name.as_str(), len, body).await?;
        self.keep(to, link);
        match status {
            Status::OK | Status::EEXIST => Ok(true),
            status => Err(ClientError::Refused { server: self.server(to), status }),
        }
    }

    fn slot(&mut self, side: Side) -> &mut Option<Link> {
        let [this, other] = &mut self.links;
        if side == Side::This { this } else { other }
    }

    async fn link(&mut self, side: Side) -> Result<Link, ClientError> {
        if let Some(mut link) = self.slot(side).take()
            && link.is_usable()
        {
            return Ok(link);
        }
        let settings = self.client.pool().settings();
        let (connect, network) = (settings.connect_timeout, settings.network_timeout);
        let (server, from) = (self.server(side), settings.from);
        Link::connect(self.world, server, from, connect, network, self.group).await
    }

    fn keep(&mut self, side: Side, link: Link) {
        *self.slot(side) = Some(link);
    }

    async fn digests(&self, side: Side, path: StorePath, high: u8) -> Result<Vec<Digest>, Failure> {
        let body = self.ask(side, path, Part::Digests { high }).await?;
        let server = self.server(side);
        let decoded = Digest::decode_all(&body);
        decoded.map_err(|source| ClientError::Answer { server, source }).doing("compare")
    }

    async fn entries(
        &self,
        side: Side,
        path: StorePath,
        (high, low): (u8, u8),
    ) -> Result<Vec<Entry>, Failure> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let body = self.ask(side, path, Part::Entries { high, low, after: &after }).await?;
            let server = self.server(side);
            let page = Entries::decode(&body).and_then(|page| Ok((page.next(&after)?, page.all)));
            let (next, entries) =
                page.map_err(|source| ClientError::Answer { server, source }).doing("compare")?;
            all.extend(entries);
            match next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    async fn ask(&self, side: Side, path: StorePath, part: Part<'_>) -> Result<Bytes, Failure> {
        let mut body = Vec::new();
        Inventory { group: self.group, path, part }.encode(&mut body);
        let request = Header::request(Command::Inventory, body.len() as u64);
        let server = self.server(side);
        let answer = self.client.pool().ask(server, request, &body, ANSWER_BYTES_MAX).await;
        let refused = matches!(&answer, Err(ClientError::Refused { status: Status::EINVAL, .. }));
        let hint = if refused { " (one of FastDFS does not tell)" } else { "" };
        answer.doing(format!("ask {server} what it holds{hint}"))
    }
}

/// A file on its way from one storage to the other.
struct Fetched(Download);

impl Content for Fetched {
    fn next(&mut self) -> Fut<'_, std::io::Result<Option<Bytes>>> {
        Box::pin(async { self.0.chunk().await.map_err(std::io::Error::other) })
    }
}
