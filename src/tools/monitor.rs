//! fdfs_monitor: the state of the cluster, and its administration (tools.md 3).
//!
//! `list` is read by scripts: labels, order and blank lines are fixed.

use std::net::SocketAddr;

use net::client::Client;
use net::ports::World;
use proto::address::{parse_ip, split_host_port};
use proto::command::Command;
use proto::header::Header;
use proto::ids::{GroupName, StorageId};
use proto::status::Status;
use proto::tracker::admin::DeleteStorage;
use proto::tracker::list::ListStorage;
use proto::tracker::query::GroupQuery;

use crate::zone::Zone;
use crate::{DEFAULT_CONFIG, Doing as _, Failure, config, say};

pub(crate) mod report; // the text of `list`

const USAGE: &str = "<client_cfg_file> [-h <tracker_server>]\n  \
    [list|delete|set_trunk_server <group_name> [storage_id]]";
const TRACKER_PORT: u16 = 22122;
/// Longest answer to an administrative command: a storage id.
const ANSWER_BYTES_MAX: usize = 64;

pub(crate) async fn run(world: &World, args: &[&str]) -> Result<(), Failure> {
    if args == ["-h"] {
        say(&usage());
        return Ok(());
    }
    let (plain, wanted) = split_args(args)?;
    let (conf, order) = plain.split_first().map_or((DEFAULT_CONFIG, &[][..]), |(c, o)| (*c, o));
    let config = config::load(conf.as_ref())?;
    let mut trackers = config.trackers(world).await?;
    let count = trackers.len();
    if let Some(name) = wanted {
        let at = tracker_at(world, name).await.filter(|at| trackers.contains(at));
        let Some(at) = at else {
            say(&format!("tracker server: {name} not exists!"));
            return Err(Failure::Told(Status::ENOENT));
        };
        trackers = vec![at];
    }
    let client = Client::new(world.clone(), config.pool, trackers);
    if !matches!(*order, [] | ["list"]) {
        head(&client, count)?;
    }
    match *order {
        [] | ["list"] => list(&client, count).await,
        ["delete", group] => delete_group(&client, group_name(group)?).await,
        ["delete", group, id] => delete_storage(&client, group_name(group)?, storage_id(id)?).await,
        ["set_trunk_server", group] => set_trunk(&client, group_name(group)?, None).await,
        ["set_trunk_server", group, id] => {
            set_trunk(&client, group_name(group)?, Some(storage_id(id)?)).await
        }
        [command, ..] => {
            say(&format!("Invalid command {command}\n\n{}", usage()));
            Err(Failure::Told(Status::EPERM))
        }
    }
}

fn usage() -> String {
    format!(
        "\nUsage:\n  fdfs_monitor {}\n\n\
         Note:\n  the tracker server format: host[:port], the tracker default port is 22122\n  \
         fdfs_monitor without parameter equals: fdfs_monitor {DEFAULT_CONFIG}\n",
        USAGE
    )
}

/// What stands above every report: which tracker tells.
fn head(client: &Client, count: usize) -> Result<(), Failure> {
    let (index, server) = client.trackers().current().doing("choose a tracker")?;
    say(&format!("tracker server count={count}, current server index={index}\n"));
    say(&format!("tracker server is {server}\n"));
    Ok(())
}

/// The plain arguments, and the tracker of `-h host` or `-hhost`.
fn split_args<'a>(args: &[&'a str]) -> Result<(Vec<&'a str>, Option<&'a str>), Failure> {
    let mut plain = Vec::new();
    let mut tracker = None;
    let mut rest = args.iter().copied();
    while let Some(arg) = rest.next() {
        match arg.strip_prefix("-h") {
            Some("") => tracker = rest.next(),
            Some(host) => tracker = Some(host),
            None if arg.starts_with('-') => return Err(Failure::Usage(USAGE.to_owned())),
            None => plain.push(arg),
        }
    }
    Ok((plain, tracker))
}

/// The address of a tracker given by name or number, with or without its port.
async fn tracker_at(world: &World, text: &str) -> Option<SocketAddr> {
    let (host, port) = split_host_port(text)?;
    let port = port.unwrap_or(TRACKER_PORT);
    match parse_ip(host) {
        Some(ip) => Some(SocketAddr::new(ip, port)),
        None => world.net.resolve(host, port).await.ok()?.first().copied(),
    }
}

async fn list(client: &Client, tracker_count: usize) -> Result<(), Failure> {
    let trackers = client.trackers();
    let groups = trackers.list_groups().await.doing("list groups")?;
    head(client, tracker_count)?;
    say(&format!("group count: {}", groups.len()));
    let zone = Zone::of_system();
    for (number, group) in (1..).zip(&groups) {
        let storages =
            trackers.list_storages(group.group, None).await.doing("list storages of group")?;
        say("");
        say(&report::group(number, group, &storages));
        for (number, storage) in (1..).zip(&storages) {
            say(report::storage(number, storage, &storages, &zone).trim_end_matches('\n'));
        }
    }
    Ok(())
}

/// Sends an administrative command to every tracker; the answer of the last one that did it.
async fn tell_all(client: &Client, command: Command, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut done = None;
    let mut failure = None;
    for server in client.trackers().servers() {
        let request = Header::request(command, body.len() as u64);
        match client.pool().ask(*server, request, body, ANSWER_BYTES_MAX).await {
            Ok(answer) => done = Some(answer.to_vec()),
            Err(source) => {
                failure = Some(Failure::Client { what: "tell the tracker".to_owned(), source })
            }
        }
    }
    match (done, failure) {
        (Some(answer), None) => Ok(answer),
        (_, Some(failure)) => Err(failure),
        (None, None) => Err(Failure::Argument("no tracker is configured".to_owned())),
    }
}

/// Prints how an administrative command went, as the reference words it.
fn report_outcome<T>(what: &str, outcome: Result<T, Failure>) -> Result<T, Failure> {
    match &outcome {
        Ok(_) => say(&format!("{what} success")),
        Err(failure) => {
            let number = failure.status().0;
            let words = crate::strerror(number);
            say(&format!("{what} fail, error no: {number}, error info: {words}"));
        }
    }
    outcome
}

async fn delete_group(client: &Client, group: GroupName) -> Result<(), Failure> {
    let mut body = Vec::new();
    GroupQuery { group }.encode(&mut body);
    let outcome = tell_all(client, Command::ServerDeleteGroup, &body).await;
    report_outcome(&format!("delete group: {group}"), outcome).map(drop)
}

async fn delete_storage(client: &Client, group: GroupName, id: StorageId) -> Result<(), Failure> {
    let mut body = Vec::new();
    DeleteStorage { group, id }.encode(&mut body);
    let outcome = tell_all(client, Command::ServerDeleteStorage, &body).await;
    report_outcome(&format!("delete storage server {group}::{id}"), outcome).map(drop)
}

async fn set_trunk(
    client: &Client,
    group: GroupName,
    id: Option<StorageId>,
) -> Result<(), Failure> {
    let mut body = Vec::new();
    ListStorage { group, id }.encode(&mut body);
    let named = id.map(|id| id.to_string()).unwrap_or_default();
    let what = format!("set trunk server {group}::{named}");
    match tell_all(client, Command::ServerSetTrunkServer, &body).await {
        Ok(answer) => {
            // The answer ends with a zero byte.
            let text = String::from_utf8_lossy(&answer);
            say(&format!("{what} success, new trunk server: {}", text.trim_end_matches('\0')));
            Ok(())
        }
        failed => report_outcome(&what, failed).map(drop),
    }
}

fn group_name(text: &str) -> Result<GroupName, Failure> {
    GroupName::parse(text).ok_or_else(|| Failure::Argument(format!("{text} is no group name")))
}

fn storage_id(text: &str) -> Result<StorageId, Failure> {
    StorageId::parse(text).ok_or_else(|| Failure::Argument(format!("{text} is no storage id")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracker_may_stand_anywhere_and_in_two_forms() {
        for (line, plain, tracker) in [
            ("a.conf list", "a.conf list", None),
            ("-h 10.0.0.1:1 a.conf", "a.conf", Some("10.0.0.1:1")),
            ("a.conf -h10.0.0.1 delete group1", "a.conf delete group1", Some("10.0.0.1")),
            ("", "", None),
        ] {
            let args: Vec<&str> = line.split_whitespace().collect();
            let got = split_args(&args).unwrap();
            assert_eq!((got.0.join(" ").as_str(), got.1), (plain, tracker), "{line}");
        }
        assert!(split_args(&["-x"]).is_err());
    }
}
