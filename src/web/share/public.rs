//! Shares that everybody may find: the newest, and those downloaded most.

use serde::Serialize;

use super::owner::before;
use crate::app::{App, json};
use crate::db::{ShareRow, ShareState};
use crate::error::WebError;
use crate::ids::{ShareId, UnixMs};
use crate::paging;
use crate::request::Request;
use crate::response::Response;

/// Places of the ranking, unless the request says otherwise, and at most.
const PLACES: u64 = 20;
const PLACES_MAX: u64 = 100;

/// A share as everybody sees it; the shape of `SharedPage` in the API.
#[derive(Serialize)]
pub(super) struct SharedPage {
    id: ShareId,
    title: String,
    owner: String,
    created_ms: UnixMs,
    expires_ms: Option<UnixMs>,
    needs_code: bool,
    picture: bool,
    views: u64,
    downloads: u64,
    saves: u64,
    entries: u64,
}

impl SharedPage {
    pub(super) fn new(row: &ShareRow, needs_code: bool) -> Self {
        Self {
            id: row.id,
            title: row.title.clone(),
            owner: row.nickname.clone(),
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            needs_code,
            picture: row.picture,
            views: row.views,
            downloads: row.downloads,
            saves: row.saves,
            entries: row.entries,
        }
    }
}

fn shown(rows: &[ShareRow]) -> Vec<SharedPage> {
    rows.iter().map(|row| SharedPage::new(row, row.code.is_some())).collect()
}

pub(super) async fn newest(app: &App, request: &Request) -> Result<Response, WebError> {
    let query = request.query()?;
    let limit = paging::limit(&query, app.config.limits.page_entries_max)?;
    let more = limit.saturating_add(1);
    let rows = app.db.public_shares(more, before(&query)?, app.now()).await?;
    let (rows, next) = paging::cut(rows, limit, |row| row.seq.to_string());
    json(200, &serde_json::json!({ "shares": shown(&rows), "next": next }))
}

pub(super) async fn ranking(app: &App, request: &Request) -> Result<Response, WebError> {
    let limit = paging::limit_of(&request.query()?, PLACES, PLACES_MAX)?;
    let now = app.now();
    // Some may have ended since: twice as many are asked for.
    let ids = app.ranking.top(&app.db, limit.saturating_mul(2), now).await?;
    let mut rows = app.db.shares(&ids).await?;
    rows.retain(|row| row.public && !row.owner_disabled && row.state(now) == ShareState::Live);
    rows.sort_by_key(|row| (std::cmp::Reverse(row.downloads), std::cmp::Reverse(row.seq)));
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    json(200, &serde_json::json!({ "shares": shown(&rows) }))
}
