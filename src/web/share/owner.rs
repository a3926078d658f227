//! What owners do with their shares: make, list, edit, stop.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::app::{App, actor, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Kind, NewShare, Node, ShareChange, ShareRow, ShareState};
use crate::error::WebError;
use crate::ids::{ShareId, UnixMs};
use crate::media::Category;
use crate::name::label;
use crate::notify::Event;
use crate::paging;
use crate::password::Password;
use crate::request::{Fields, Request};
use crate::response::Response;

/// Files and folders of one share.
const NODES_MAX: usize = 100;
/// Characters of a code.
const CODE_CHARS: std::ops::RangeInclusive<usize> = 4..=32;
const CODE_RULE: WebError = WebError::Invalid("code", "use 4 to 32 letters and digits");
const TITLE_RULE: WebError = WebError::Invalid("title", "use 1 to 255 bytes of text");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    nodes: Vec<String>,
    title: Option<String>,
    code: Option<String>,
    expires_ms: Option<u64>,
    download_limit: Option<u64>,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    picture: bool,
}

/// Not there: stays. Null: taken away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeForm {
    title: Option<String>,
    #[serde(default, deserialize_with = "given")]
    code: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    expires_ms: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    download_limit: Option<Option<u64>>,
    public: Option<bool>,
}

fn given<'de, T, D>(value: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Option::deserialize(value).map(Some)
}

/// A share as its owner sees it; the shape of `Share` in the API.
#[derive(Serialize)]
struct Share {
    id: ShareId,
    title: String,
    nodes: Vec<Node>,
    has_code: bool,
    picture: bool,
    public: bool,
    created_ms: UnixMs,
    expires_ms: Option<UnixMs>,
    download_limit: Option<u64>,
    downloads: u64,
    views: u64,
    saves: u64,
    stopped_ms: Option<UnixMs>,
    state: ShareState,
}

impl Share {
    fn new(row: ShareRow, nodes: Vec<Node>, now: UnixMs) -> Self {
        let state = row.state(now);
        Self {
            id: row.id,
            title: row.title,
            nodes,
            has_code: row.code.is_some(),
            picture: row.picture,
            public: row.public,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            download_limit: row.download_limit,
            downloads: row.downloads,
            views: row.views,
            saves: row.saves,
            stopped_ms: row.stopped_ms,
            state,
        }
    }
}

pub(super) async fn create(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: Form = request.json(app.json_bytes_max()).await?;
    if form.nodes.is_empty() || NODES_MAX < form.nodes.len() {
        return Err(WebError::Invalid("nodes", "send 1 to 100 files and folders"));
    }
    let mut nodes: Vec<Node> = Vec::new();
    for id in &form.nodes {
        let grant = authorize(&app.db, &user, Action::Change, Target::parse(id)?).await?;
        let node = grant.node().cloned().ok_or(WebError::NotFound)?;
        if nodes.iter().all(|known| known.id != node.id) {
            nodes.push(node);
        }
    }
    let first = nodes.first().ok_or(WebError::NotFound)?;
    let is_picture = first.kind == Kind::File && first.category == Some(Category::Image);
    if form.picture && !(is_picture && nodes.len() == 1) {
        return Err(WebError::Invalid("picture", "share one picture"));
    }
    let title = match form.title {
        Some(typed) => label(&typed).ok_or(TITLE_RULE)?,
        None => first.name.clone(),
    };
    limits(app, form.expires_ms, form.download_limit)?;
    let new = NewShare {
        id: ShareId::new(&*app.world.random),
        title,
        code: hashed(app, form.code.as_deref()).await?,
        picture: form.picture,
        public: form.public,
        expires_ms: form.expires_ms.map(UnixMs),
        download_limit: form.download_limit,
        nodes: nodes.iter().map(|node| node.id).collect(),
    };
    let address = client(&request).to_string();
    app.db.create_share(actor(app, &user, &address), &new).await??;
    app.notify.tell(user.id, &Event::shares());
    let row = app.db.share(new.id).await?.ok_or(WebError::NotFound)?;
    json(201, &Share::new(row, nodes, app.now()))
}

pub(super) async fn list(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let query = request.query()?;
    let limit = paging::limit(&query, app.config.limits.page_entries_max)?;
    let rows = app.db.shares_of(user.id, limit.saturating_add(1), before(&query)?).await?;
    let (rows, next) = paging::cut(rows, limit, |row| row.seq.to_string());
    let ids: Vec<ShareId> = rows.iter().map(|row| row.id).collect();
    let mut nodes: HashMap<ShareId, Vec<Node>> = app.db.shared_many(user.id, &ids).await?;
    let now = app.now();
    let shares: Vec<Share> = rows
        .into_iter()
        .map(|row| {
            let nodes = nodes.remove(&row.id).unwrap_or_default();
            Share::new(row, nodes, now)
        })
        .collect();
    json(200, &serde_json::json!({ "shares": shares, "next": next }))
}

/// Only shares older than this one.
pub(super) fn before(query: &Fields) -> Result<u64, WebError> {
    match query.get("cursor") {
        None => Ok(i64::MAX as u64),
        Some(text) => {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| plain).ok_or(paging::BAD_CURSOR)
        }
    }
}

pub(super) async fn show(app: &App, request: &Request, id: &str) -> Result<Response, WebError> {
    let (row, now) = (mine(app, request, id).await?, app.now());
    let nodes = app.db.shared(row.id, row.owner).await?;
    json(200, &Share::new(row, nodes, now))
}

pub(super) async fn change(
    app: &App,
    mut request: Request,
    id: &str,
) -> Result<Response, WebError> {
    let row = mine(app, &request, id).await?;
    let form: ChangeForm = request.json(app.json_bytes_max()).await?;
    if row.stopped_ms.is_some() {
        return Err(WebError::Ended("share_stopped", "this share was stopped; make another"));
    }
    let title = match form.title {
        Some(typed) => label(&typed).ok_or(TITLE_RULE)?,
        None => row.title.clone(),
    };
    // What stays as it is may be past; what is set anew may not.
    limits(app, form.expires_ms.flatten(), form.download_limit.flatten())?;
    let code_changed = form.code.is_some();
    let code = match form.code {
        Some(typed) => hashed(app, typed.as_deref()).await?,
        None => row.code.clone(),
    };
    let change = ShareChange {
        title,
        code,
        code_changed,
        expires_ms: form.expires_ms.unwrap_or(row.expires_ms.map(|at| at.0)).map(UnixMs),
        download_limit: form.download_limit.unwrap_or(row.download_limit),
        public: form.public.unwrap_or(row.public),
    };
    if !app.db.change_share(row.owner, row.id, &change).await? {
        return Err(WebError::NotFound);
    }
    app.notify.tell(row.owner, &Event::shares());
    show(app, &request, id).await
}

pub(super) async fn stop(app: &App, request: &Request, id: &str) -> Result<Response, WebError> {
    let row = mine(app, request, id).await?;
    app.db.stop_share(row.owner, row.id, app.now()).await?;
    app.notify.tell(row.owner, &Event::shares());
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}

async fn mine(app: &App, request: &Request, id: &str) -> Result<ShareRow, WebError> {
    let user = app.user(request).await?;
    let id = ShareId::parse(id).ok_or(WebError::NotFound)?;
    let row = app.db.share(id).await?.filter(|row| row.owner == user.id);
    row.ok_or(WebError::NotFound)
}

fn limits(app: &App, expires_ms: Option<u64>, downloads: Option<u64>) -> Result<(), WebError> {
    let now = app.now().0;
    if expires_ms.is_some_and(|at| at <= now || i64::try_from(at).is_err()) {
        return Err(WebError::Invalid("expires_ms", "use a time that is still to come"));
    }
    if downloads.is_some_and(|limit| limit == 0 || i64::try_from(limit).is_err()) {
        return Err(WebError::Invalid("download_limit", "use a number from 1 on"));
    }
    Ok(())
}

/// A code as it is kept.
async fn hashed(app: &App, typed: Option<&str>) -> Result<Option<String>, WebError> {
    let Some(typed) = typed else { return Ok(None) };
    let fits = CODE_CHARS.contains(&typed.len());
    if !fits || !typed.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(CODE_RULE);
    }
    let code = Password::typed(typed).ok_or(CODE_RULE)?;
    app.passwords.hash(code).await.map(Some)
}
