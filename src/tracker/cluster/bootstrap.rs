//! What a storage asks before it joins: who it is, and what is configured (60, 69, 70, 109).
//!
//! Answered from the configuration alone; the groups are not looked at.

use proto::ids::StorageId;
use proto::status::RwMode;
use proto::tracker::bootstrap::{FetchIds, GetGroupName, GetMyIp, IdLines, ServerQuery};

use super::policy::{ConfiguredStorage, IdTable};
use super::{Answer, Cluster, Effect, Refusal, Session};

/// Bytes of one answer with storage ids, as the reference fills its buffer of 8 KB: a reader
/// makes at most 32 round trips.
const ID_LINES_LEN_MAX: usize = 8192 - 128;

impl Cluster {
    /// 60: the addresses of the storage that asks.
    pub(super) fn my_ip(
        &self,
        session: &Session,
        query: &GetMyIp,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let peer = session.peer;
        let Some(ids) = &self.policy.ids else {
            return Ok(Answer::Text(peer.to_string()));
        };
        let found = ids.at(peer, query.port).filter(|(_, s)| s.group == query.group);
        let Some((_, storage)) = found else {
            effects.push(Effect::Warn(format!(
                "storage {peer}:{} of {} asks for its address, but is not in storage_ids.conf",
                query.port, query.group
            )));
            return Ok(Answer::Text(peer.to_string()));
        };
        Ok(Answer::Text(storage.addresses.to_string()))
    }

    /// 69: the table of storages, a part at a time.
    pub(super) fn storage_ids(&self, query: FetchIds) -> Result<Answer, Refusal> {
        let Some(ids) = &self.policy.ids else {
            let empty = Answer::Ids(IdLines::default());
            return if query.allow_empty { Ok(empty) } else { Err(Refusal::Unsupported) };
        };
        let start = usize::try_from(query.start).map_err(|_| Refusal::Invalid)?;
        let total = ids.iter().len();
        if total <= start {
            return Err(Refusal::Invalid);
        }
        let mut lines = String::new();
        let mut sent = 0u32;
        for (id, storage) in ids.iter().skip(start) {
            lines.push_str(&id_line(id, storage));
            sent += 1;
            if ID_LINES_LEN_MAX < lines.len() {
                break;
            }
        }
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        Ok(Answer::Ids(IdLines { total, count: sent, lines }))
    }

    /// 70: the id of a storage, whether it has joined or not.
    pub(super) fn server_id(&self, query: &ServerQuery) -> Result<Answer, Refusal> {
        let id = match &self.policy.ids {
            None => StorageId::from_ip(query.address),
            Some(ids) => ids.in_group(&query.group, query.address, query.port).copied(),
        };
        id.map(|id| Answer::Text(id.as_str().to_owned())).ok_or(Refusal::NotFound)
    }

    /// 109: the group of a storage.
    pub(super) fn group_name(
        &self,
        session: &Session,
        query: GetGroupName,
    ) -> Result<Answer, Refusal> {
        let table: &IdTable = self.policy.ids.as_ref().ok_or(Refusal::Unsupported)?;
        let address = query.address.unwrap_or(session.peer);
        let found = table.at(address, query.port).ok_or(Refusal::NotFound)?;
        Ok(Answer::Group(found.1.group))
    }
}

/// `<id> <group> <hosts>:<port>[ rw=<mode>]`.
fn id_line(id: &StorageId, storage: &ConfiguredStorage) -> String {
    let ConfiguredStorage { group, addresses, port, mode } = storage;
    let mode = match mode {
        RwMode::Both => "",
        RwMode::None => " rw=none",
        RwMode::Read => " rw=read",
        RwMode::Write => " rw=write",
    };
    format!("{id} {group} {}{mode}\n", addresses.with_port(*port))
}
