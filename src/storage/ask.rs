//! What a storage asks the trackers before it can serve: its group, its own addresses, the
//! common settings, its id (storage.md 6.1).
//!
//! Called once by `run`. Each question goes to one tracker after the other until one answers,
//! again and again until there is an answer or the program is to end.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use net::{
    conn::{Conn, ConnError, Limits},
    ports::World,
    shutdown::Stop,
};
use proto::{
    address::Addresses,
    command::Command,
    fileid::SourceId,
    header::Header,
    ids::{GroupName, StorageId},
    status::Status,
    tracker::bootstrap::{FetchIds, GetGroupName, GetMyIp, IdLines, ServerQuery, decode_id},
    wire::{DecodeError, Reader},
};

use crate::{config::Config, parameters::Parameters, store::Facts};

/// Longest answer that is accepted: a full table of storage ids comes in pieces.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Pieces of the table of ids (wire.md 8.3).
const ID_ROUNDS_MAX: usize = 32;
/// Between two rounds of asking all trackers.
const ROUND_WAIT: Duration = Duration::from_secs(1);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Conn(#[from] ConnError),
    /// The tracker has answered with this status.
    #[error("the tracker refuses: {0}")]
    Refused(Status),
    #[error("the tracker's answer is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// It believes that we still need an initial copy.
    #[error("the tracker takes this storage for a new one")]
    TakenForNew,
    /// Who was to send our files is no member any more.
    #[error("the source of our files was removed from the group")]
    SourceRemoved,
    /// It has not noticed yet that we are not at this address any more.
    #[error("the tracker believes that we are still at {0}")]
    StillThere(std::net::IpAddr),
    /// It lost what it knew, or nobody is left.
    #[error("the tracker knows no other member that could fill this storage")]
    KnowsNobody,
}

/// One request and its answer on an open connection.
pub(crate) async fn exchange(
    conn: &mut Conn,
    command: Command,
    body: &[u8],
) -> Result<bytes::Bytes, AskError> {
    conn.send_message(Header::request(command, body.len() as u64), body).await?;
    let header = conn.header().await?;
    if header.status != Status::OK {
        return Err(AskError::Refused(header.status));
    }
    Ok(conn.body(header.body_len, ANSWER_BYTES_MAX).await?)
}

/// Connects to a tracker.
pub(crate) async fn connect(
    world: &World,
    config: &Config,
    tracker: SocketAddr,
) -> Result<Conn, AskError> {
    let limits = Limits::new(config.network_timeout);
    let (from, wait) = (config.client_bind, config.connect_timeout);
    Ok(Conn::connect(world, tracker, from, wait, limits).await?)
}

/// Who asks, and whom.
struct Asker<'a> {
    world: &'a World,
    config: &'a Config,
    stop: Stop,
}

/// Asks everything. `port` is the one that we listen on. `None` when the program is to end.
pub(crate) async fn facts(
    world: &World,
    config: &Config,
    port: u16,
    stop: Stop,
) -> anyhow::Result<Option<(Facts, Option<StorageId>)>> {
    let mut asker = Asker { world, config, stop };
    let group = match config.group {
        Some(group) => group,
        None => match asker.group(port).await? {
            Some(group) => group,
            None => return Ok(None),
        },
    };
    let Some(addresses) = asker.addresses(group, port).await? else { return Ok(None) };
    let Some(body) = asker.any(Command::StorageParameterReq, &[]).await else { return Ok(None) };
    let text = String::from_utf8_lossy(&body);
    let parameters = Parameters::parse(&text).context("read the tracker's settings")?;
    let mut ids = Vec::new();
    let mut id = None;
    if parameters.use_storage_id {
        let Some(lines) = asker.ids().await? else { return Ok(None) };
        ids = lines;
        let Some(own) = asker.own_id(group, addresses, port, &parameters, &ids).await? else {
            return Ok(None);
        };
        id = Some(own);
    }
    let by_number = id.filter(|_| parameters.id_in_names).and_then(|id| id.number());
    let source = by_number.map_or_else(|| SourceId::of_ip(addresses.first()), SourceId::of_number);
    let ids = ids.into_iter().map(|entry| (entry.id, entry.addresses)).collect();
    Ok(Some((Facts { group, addresses, source, parameters, ids }, id)))
}

impl Asker<'_> {
    /// The first answer that any tracker gives; `None` when the program is to end.
    async fn any(&mut self, command: Command, body: &[u8]) -> Option<bytes::Bytes> {
        let mut complained = false;
        loop {
            for tracker in &self.config.trackers {
                match self.one(*tracker, command, body).await {
                    Ok(answer) => return Some(answer),
                    Err(error) if complained => log::debug!("tracker {tracker}: {error}"),
                    Err(error) => log::warn!("ask tracker {tracker}, will ask again: {error}"),
                }
            }
            complained = true;
            tokio::select! {
                biased;
                () = self.stop.raised() => return None,
                () = tokio::time::sleep(ROUND_WAIT.min(self.config.heart_beat_interval)) => {}
            }
        }
    }

    async fn one(
        &self,
        tracker: SocketAddr,
        command: Command,
        body: &[u8],
    ) -> Result<bytes::Bytes, AskError> {
        let mut stop = self.stop.clone();
        let asked = async {
            let mut conn = connect(self.world, self.config, tracker).await?;
            exchange(&mut conn, command, body).await
        };
        // Dropping the connection in the middle is how a question is given up.
        tokio::select! {
            biased;
            () = stop.raised() => Err(AskError::Conn(ConnError::Closed)),
            answer = asked => answer,
        }
    }

    async fn group(&mut self, port: u16) -> anyhow::Result<Option<GroupName>> {
        let mut body = Vec::new();
        GetGroupName { address: None, port }.encode(&mut body);
        let Some(answer) = self.any(Command::StorageGetGroupName, &body).await else {
            return Ok(None);
        };
        let group = GroupName::decode(&mut Reader::new(&answer));
        Ok(Some(group.context("read the group that the tracker names")?))
    }

    /// Our own addresses. Every tracker that can be reached must name the same.
    async fn addresses(
        &mut self,
        group: GroupName,
        port: u16,
    ) -> anyhow::Result<Option<Addresses>> {
        let mut body = Vec::new();
        GetMyIp { group, port }.encode(&mut body);
        let Some(answer) = self.any(Command::StorageGetMyIp, &body).await else {
            return Ok(None);
        };
        let addresses = own_addresses(&answer)?;
        for tracker in &self.config.trackers {
            // One that cannot be reached now is asked when it joins the conversation.
            if let Ok(other) = self.one(*tracker, Command::StorageGetMyIp, &body).await {
                let other = own_addresses(&other)?;
                if other != addresses {
                    bail!("the trackers see this storage as {addresses} and as {other}");
                }
            }
        }
        Ok(Some(addresses))
    }

    /// The whole table of storage ids.
    async fn ids(&mut self) -> anyhow::Result<Option<Vec<IdEntry>>> {
        let mut all = Vec::new();
        for _ in 0..ID_ROUNDS_MAX {
            let mut body = Vec::new();
            let start = i32::try_from(all.len()).unwrap_or(i32::MAX);
            FetchIds { start, allow_empty: true }.encode(&mut body);
            let Some(answer) = self.any(Command::StorageFetchStorageIds, &body).await else {
                return Ok(None);
            };
            let piece = IdLines::decode(&answer).context("read the storage ids")?;
            for line in piece.lines.lines() {
                let entry = IdEntry::parse(line);
                all.push(entry.with_context(|| format!("read the storage ids: {line}"))?);
            }
            if piece.count == 0 || usize::try_from(piece.total).is_ok_and(|n| n <= all.len()) {
                break;
            }
        }
        Ok(Some(all))
    }

    async fn own_id(
        &mut self,
        group: GroupName,
        addresses: Addresses,
        port: u16,
        parameters: &Parameters,
        ids: &[IdEntry],
    ) -> anyhow::Result<Option<StorageId>> {
        let id = if !parameters.trust_server_id {
            let mut body = Vec::new();
            ServerQuery { group, address: addresses.first(), port }.encode(&mut body);
            let Some(answer) = self.any(Command::StorageGetServerId, &body).await else {
                return Ok(None);
            };
            decode_id(&answer).context("read our own id")?
        } else if let Some(text) = &self.config.server_id {
            StorageId::parse(text).with_context(|| format!("server_id = {text} is no id"))?
        } else {
            let ours = |e: &&IdEntry| {
                let here = addresses.iter().any(|ip| e.addresses.contains(ip));
                here && e.group == group && e.port == port
            };
            let found = ids.iter().find(ours);
            found.context("the trackers' storage_ids.conf does not name this storage")?.id
        };
        if !ids.iter().any(|entry| entry.id == id) {
            bail!("server id {id} is not in the trackers' storage_ids.conf");
        }
        Ok(Some(id))
    }
}

fn own_addresses(answer: &[u8]) -> anyhow::Result<Addresses> {
    let text = String::from_utf8_lossy(answer);
    Addresses::parse(&text).with_context(|| format!("the tracker says we are {text:?}"))
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct IdEntry {
    id: StorageId,
    group: GroupName,
    addresses: Addresses,
    port: u16,
}

impl IdEntry {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let id = StorageId::parse(words.next()?)?;
        let group = GroupName::parse(words.next()?)?;
        let hosts = words.next()?;
        let (hosts, port) = match hosts.strip_prefix('[') {
            Some(inner) => inner.split_once("]:")?,
            None => hosts.rsplit_once(':')?,
        };
        Some(Self { id, group, addresses: Addresses::parse(hosts)?, port: port.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_table_are_read() {
        let entry = IdEntry::parse("100001 group1 10.0.0.11:23000").unwrap();
        assert_eq!((entry.id.number(), entry.port), (Some(100_001), 23000));
        let dual = IdEntry::parse("100002 group1 [10.0.0.11,2001:db8::1]:23000 rw=read").unwrap();
        assert_eq!(dual.addresses.iter().count(), 2);
        for bad in ["", "100001", "100001 group1", "100001 group1 10.0.0.11", "x y z:1"] {
            assert!(IdEntry::parse(bad).is_none(), "{bad}");
        }
    }
}
