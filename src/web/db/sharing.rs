//! The tables `share`, `share_node` and `share_report`: what was shared, with whom it may be seen,
//! how often it was. Counters change by themselves, in one statement; a limit is part of its
//! `WHERE`.

use std::collections::HashMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};
use serde::Serialize;

use super::node::{Row, Stored, columns};
use super::tree::settle;
use super::{Actor, Audit, Db, DbError, Node, Order, Page, Refusal, Sort, retry, within};
use crate::ids::{NodeId, ShareId, UnixMs, UserId};

const INSERT: &str = "\
INSERT INTO share (id, owner, title, code, picture, public, created_ms, expires_ms, download_limit)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const INSERT_NODES: &str = "\
INSERT INTO share_node (share, node) SELECT ?, n.id
FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j
    STRAIGHT_JOIN node n ON n.id = j.id WHERE n.owner = ? AND n.trashed_ms IS NULL";
/// What a [`ShareRow`] is read from.
macro_rules! share_columns {
    ($rest:literal) => {
        concat!(
            "SELECT s.seq, s.id, s.owner, u.nickname, s.title, \
             CAST(CONCAT_WS(',', s.picture, s.public, s.created_ms, s.downloads, s.views, \
             s.saves, s.code_version) AS CHAR), s.code, s.expires_ms, s.download_limit, \
             s.stopped_ms, u.disabled_ms IS NOT NULL, \
             (SELECT COUNT(*) FROM share_node x WHERE x.share = s.id) \
             FROM share s STRAIGHT_JOIN user u ON u.id = s.owner ",
            $rest
        )
    };
}
const BY_ID: &str = share_columns!("WHERE s.id = ?");
const MINE: &str = share_columns!("WHERE s.owner = ? AND s.seq < ? ORDER BY s.seq DESC LIMIT ?");
const PUBLIC: &str = share_columns!(
    "WHERE s.public = 1 AND s.seq < ? AND u.disabled_ms IS NULL AND s.stopped_ms IS NULL
    AND (s.expires_ms IS NULL OR ? < s.expires_ms)
    AND (s.download_limit IS NULL OR s.downloads < s.download_limit)
    ORDER BY s.seq DESC LIMIT ?"
);
const TOP: &str = "\
SELECT s.id, s.downloads FROM share s FORCE INDEX (share_top) JOIN user u ON u.id = s.owner
WHERE s.public = 1 AND u.disabled_ms IS NULL AND s.stopped_ms IS NULL
    AND (s.expires_ms IS NULL OR ? < s.expires_ms)
ORDER BY s.downloads DESC, s.seq DESC LIMIT ?";
const MANY: &str = share_columns!(
    "WHERE s.id IN (SELECT UNHEX(j.hex)
        FROM JSON_TABLE(?, '$[*]' COLUMNS (hex CHAR(32) PATH '$')) j)"
);
const NODES_OF_MANY: &str = "\
SELECT x.share, x.node FROM JSON_TABLE(?, '$[*]' COLUMNS (hex CHAR(32) PATH '$')) j
    STRAIGHT_JOIN share_node x ON x.share = UNHEX(j.hex)";
const NODES_BY_ID: &str = columns!(
    "FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) j
    STRAIGHT_JOIN node n ON n.id = j.id LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE n.owner = ? AND n.trashed_ms IS NULL"
);
const NODES: &str = "SELECT node FROM share_node WHERE share = ? ORDER BY node";
const NODE_ROWS: &str = columns!(
    "FROM share_node x STRAIGHT_JOIN node n ON n.id = x.node
    LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE x.share = ? AND n.owner = ? AND n.trashed_ms IS NULL"
);
const UPDATE: &str = "\
UPDATE share SET title = ?, code = ?, code_version = code_version + ?, expires_ms = ?,
    download_limit = ?, public = ?
WHERE id = ? AND owner = ? AND stopped_ms IS NULL";
const STOP: &str =
    "UPDATE share SET stopped_ms = COALESCE(stopped_ms, ?), public = 0 WHERE id = ? AND owner = ?";
const TAKE: &str = "\
UPDATE share s JOIN user u ON u.id = s.owner SET s.downloads = s.downloads + 1
WHERE s.id = ? AND s.stopped_ms IS NULL AND u.disabled_ms IS NULL
    AND (s.expires_ms IS NULL OR ? < s.expires_ms)
    AND (s.download_limit IS NULL OR s.downloads < s.download_limit)";
const GIVE_BACK: &str = "UPDATE share SET downloads = downloads - 1 WHERE id = ? AND 0 < downloads";
const VIEWED: &str = "UPDATE share SET views = views + 1 WHERE id = ?";
const SAVED: &str = "UPDATE share SET saves = saves + 1 WHERE id = ?";
const REPORT: &str =
    "INSERT INTO share_report (share, at_ms, address, reason, detail) VALUES (?, ?, ?, ?, ?)";

/// A share as it stands in the database.
#[derive(Clone, Debug)]
pub(crate) struct ShareRow {
    /// Orders shares by when they were made.
    pub(crate) seq: u64,
    pub(crate) id: ShareId,
    pub(crate) owner: UserId,
    pub(crate) nickname: String,
    pub(crate) title: String,
    pub(crate) picture: bool,
    pub(crate) public: bool,
    pub(crate) created_ms: UnixMs,
    pub(crate) downloads: u64,
    pub(crate) views: u64,
    pub(crate) saves: u64,
    /// Grows with each change of the code.
    pub(crate) code_version: u64,
    /// Argon2id, in PHC form.
    pub(crate) code: Option<String>,
    pub(crate) expires_ms: Option<UnixMs>,
    pub(crate) download_limit: Option<u64>,
    pub(crate) stopped_ms: Option<UnixMs>,
    pub(crate) owner_disabled: bool,
    /// How many files and folders were shared and still exist.
    pub(crate) entries: u64,
}

/// Whether a share may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShareState {
    Live,
    Expired,
    UsedUp,
    Stopped,
}

impl ShareRow {
    pub(crate) fn state(&self, now: UnixMs) -> ShareState {
        if self.stopped_ms.is_some() {
            ShareState::Stopped
        } else if self.expires_ms.is_some_and(|expires| expires <= now) {
            ShareState::Expired
        } else if self.download_limit.is_some_and(|limit| limit <= self.downloads) {
            ShareState::UsedUp
        } else {
            ShareState::Live
        }
    }
}

type Raw = (
    u64,
    Vec<u8>,
    u64,
    String,
    String,
    String,
    Option<String>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    bool,
    u64,
);

impl TryFrom<Raw> for ShareRow {
    type Error = DbError;

    fn try_from(row: Raw) -> Result<Self, DbError> {
        let (seq, id, owner, nickname, title, numbers, code, expires, limit, stopped, off, all) =
            row;
        let odd = || DbError::Schema("a share's row cannot be read".to_owned());
        let numbers: Vec<u64> = numbers.split(',').filter_map(|n| n.parse().ok()).collect();
        let [picture, public, created, downloads, views, saves, code_version] =
            <[u64; 7]>::try_from(numbers).map_err(|_| odd())?;
        Ok(Self {
            seq,
            id: ShareId::from_bytes(&id).ok_or_else(odd)?,
            owner: UserId(owner),
            nickname,
            title,
            picture: picture == 1,
            public: public == 1,
            created_ms: UnixMs(created),
            downloads,
            views,
            saves,
            code_version,
            code,
            expires_ms: expires.map(UnixMs),
            download_limit: limit,
            stopped_ms: stopped.map(UnixMs),
            owner_disabled: off,
            entries: all,
        })
    }
}

/// A share to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewShare {
    pub(crate) id: ShareId,
    pub(crate) title: String,
    pub(crate) code: Option<String>,
    pub(crate) picture: bool,
    pub(crate) public: bool,
    pub(crate) expires_ms: Option<UnixMs>,
    pub(crate) download_limit: Option<u64>,
    pub(crate) nodes: Vec<NodeId>,
}

/// What an owner may change about a share: all of it as it is to be.
#[derive(Clone, Debug)]
pub(crate) struct ShareChange {
    pub(crate) title: String,
    pub(crate) code: Option<String>,
    pub(crate) code_changed: bool,
    pub(crate) expires_ms: Option<UnixMs>,
    pub(crate) download_limit: Option<u64>,
    pub(crate) public: bool,
}

impl Db {
    /// Makes a share; refused if one of the nodes has gone.
    pub(crate) async fn create_share(
        &self,
        who: Actor<'_>,
        new: &NewShare,
    ) -> Result<Result<(), Refusal>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(async {
                    let row = (
                        new.id.bytes(),
                        who.user.0,
                        &new.title,
                        &new.code,
                        new.picture,
                        new.public,
                        who.at.0,
                        new.expires_ms.map(|at| at.0),
                        new.download_limit,
                    );
                    tx.exec_drop(INSERT, row).await?;
                    let ids: Vec<u64> = new.nodes.iter().map(|id| id.0).collect();
                    let list = serde_json::to_string(&ids).unwrap_or_default();
                    let key = (new.id.bytes(), list, who.user.0);
                    let made = tx.exec_iter(INSERT_NODES, key).await?.affected_rows();
                    if made != ids.len() as u64 {
                        return Ok(Err(Refusal::NotThere));
                    }
                    let deed = Audit {
                        at: who.at,
                        actor: Some(who.user),
                        action: "share",
                        node: new.nodes.first().copied(),
                        address: who.address,
                        detail: &new.title,
                    };
                    deed.insert(&mut tx).await.map(Ok)
                })
                .await?;
                settle(tx, done).await
            })
        })
        .await
    }

    pub(crate) async fn share(&self, id: ShareId) -> Result<Option<ShareRow>, DbError> {
        let row: Option<Raw> = self.first(BY_ID, (id.bytes(),)).await?;
        row.map(ShareRow::try_from).transpose()
    }

    /// A page of a user's own shares, the newest first.
    pub(crate) async fn shares_of(
        &self,
        owner: UserId,
        limit: u64,
        before: u64,
    ) -> Result<Vec<ShareRow>, DbError> {
        let rows: Vec<Raw> = self.all(MINE, (owner.0, before, limit)).await?;
        rows.into_iter().map(ShareRow::try_from).collect()
    }

    /// A page of the live shares that everybody may find, the newest first.
    pub(crate) async fn public_shares(
        &self,
        limit: u64,
        before: u64,
        now: UnixMs,
    ) -> Result<Vec<ShareRow>, DbError> {
        let rows: Vec<Raw> = self.all(PUBLIC, (before, now.0, limit)).await?;
        rows.into_iter().map(ShareRow::try_from).collect()
    }

    /// Public shares by their downloads: what the ranking is made of.
    pub(crate) async fn top_shares(
        &self,
        limit: u64,
        now: UnixMs,
    ) -> Result<Vec<(ShareId, u64)>, DbError> {
        let rows: Vec<(Vec<u8>, u64)> = self.all(TOP, (now.0, limit)).await?;
        let parse = |(id, downloads): (Vec<u8>, u64)| Some((ShareId::from_bytes(&id)?, downloads));
        Ok(rows.into_iter().filter_map(parse).collect())
    }

    /// What was shared, whether or not it is still live.
    pub(crate) async fn share_nodes(&self, id: ShareId) -> Result<Vec<NodeId>, DbError> {
        let rows: Vec<u64> = self.all(NODES, (id.bytes(),)).await?;
        Ok(rows.into_iter().map(NodeId).collect())
    }

    /// The live files and folders of a share, by name, folders first.
    pub(crate) async fn shared(&self, id: ShareId, owner: UserId) -> Result<Vec<Node>, DbError> {
        let rows: Vec<Row> = self.all(NODE_ROWS, (id.bytes(), owner.0)).await?;
        let nodes = rows.into_iter().map(|row| Stored::from(row).node).collect();
        let mut nodes = self.without_dead(owner, nodes).await?;
        nodes.sort_by(|a, b| (a.kind as u8, &a.name).cmp(&(b.kind as u8, &b.name)));
        Ok(nodes)
    }

    /// The shares with these ids, in any order.
    pub(crate) async fn shares(&self, ids: &[ShareId]) -> Result<Vec<ShareRow>, DbError> {
        let list = serde_json::to_string(ids).unwrap_or_default();
        let rows: Vec<Raw> = self.all(MANY, (list,)).await?;
        rows.into_iter().map(ShareRow::try_from).collect()
    }

    /// The live files and folders of many shares of one user.
    pub(crate) async fn shared_many(
        &self,
        owner: UserId,
        ids: &[ShareId],
    ) -> Result<HashMap<ShareId, Vec<Node>>, DbError> {
        let list = serde_json::to_string(ids).unwrap_or_default();
        let pairs: Vec<(Vec<u8>, u64)> = self.all(NODES_OF_MANY, (list,)).await?;
        let mut nodes: Vec<u64> = pairs.iter().map(|(_, node)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let list = serde_json::to_string(&nodes).unwrap_or_default();
        let rows: Vec<Row> = self.all(NODES_BY_ID, (list, owner.0)).await?;
        let nodes = rows.into_iter().map(|row| Stored::from(row).node).collect();
        let nodes = self.without_dead(owner, nodes).await?;
        let nodes: HashMap<u64, Node> = nodes.into_iter().map(|node| (node.id.0, node)).collect();
        let mut all: HashMap<ShareId, Vec<Node>> = HashMap::new();
        for (share, node) in pairs {
            if let (Some(share), Some(node)) = (ShareId::from_bytes(&share), nodes.get(&node)) {
                all.entry(share).or_default().push(node.clone());
            }
        }
        Ok(all)
    }

    /// False: there is no such live share of this user.
    pub(crate) async fn change_share(
        &self,
        owner: UserId,
        id: ShareId,
        change: &ShareChange,
    ) -> Result<bool, DbError> {
        let values: Vec<Value> = vec![
            (&change.title).into(),
            (&change.code).into(),
            u8::from(change.code_changed).into(),
            change.expires_ms.map(|at| at.0).into(),
            change.download_limit.into(),
            change.public.into(),
            id.bytes().into(),
            owner.0.into(),
        ];
        self.change(UPDATE, Params::Positional(values)).await?;
        let row = self.share(id).await?;
        Ok(row.is_some_and(|row| row.owner == owner && row.stopped_ms.is_none()))
    }

    /// Ends a share; false if it is not this user's.
    pub(crate) async fn stop_share(
        &self,
        owner: UserId,
        id: ShareId,
        now: UnixMs,
    ) -> Result<bool, DbError> {
        self.change(STOP, (now.0, id.bytes(), owner.0)).await?;
        Ok(self.share(id).await?.is_some_and(|row| row.owner == owner))
    }

    /// Takes one download from a share; false if it has none left, or has ended.
    pub(crate) async fn take_download(&self, id: ShareId, now: UnixMs) -> Result<bool, DbError> {
        Ok(self.change_once(TAKE, (id.bytes(), now.0)).await? == 1)
    }

    /// Gives a download back that was taken for nothing.
    pub(crate) async fn give_download_back(&self, id: ShareId) -> Result<(), DbError> {
        self.change_once(GIVE_BACK, (id.bytes(),)).await.map(drop)
    }

    pub(crate) async fn share_viewed(&self, id: ShareId) -> Result<(), DbError> {
        self.change(VIEWED, (id.bytes(),)).await.map(drop)
    }

    pub(crate) async fn share_saved(&self, id: ShareId) -> Result<(), DbError> {
        self.change(SAVED, (id.bytes(),)).await.map(drop)
    }

    /// Records what a visitor objects to.
    pub(crate) async fn report_share(
        &self,
        id: ShareId,
        at: UnixMs,
        address: &str,
        reason: &'static str,
        detail: &str,
    ) -> Result<(), DbError> {
        self.change(REPORT, (id.bytes(), at.0, address, reason, detail)).await.map(drop)
    }
}

/// Sorts a handful of nodes as a folder is sorted: they come from many.
pub(crate) fn sort_nodes(nodes: &mut [Node], page: &Page) {
    nodes.sort_by(|a, b| {
        let by_key = match page.sort {
            Sort::Name => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
            Sort::Size => a.size.cmp(&b.size),
            Sort::Modified => a.modified_ms.cmp(&b.modified_ms),
            Sort::Type => a.category.map(|c| c as u8).cmp(&b.category.map(|c| c as u8)),
        };
        let ordered = match page.order {
            Order::Asc => by_key.then(a.id.cmp(&b.id)),
            Order::Desc => by_key.then(a.id.cmp(&b.id)).reverse(),
        };
        (a.kind as u8).cmp(&(b.kind as u8)).then(ordered)
    });
}
