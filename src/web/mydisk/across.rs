//! What goes across all folders of a user: the trash, search, recent files, favourites, usage.

use super::trash;
use crate::app::{App, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Kind, Search, TimeCursor};
use crate::error::WebError;
use crate::ids::NodeId;
use crate::media::Category;
use crate::name::label;
use crate::notify::Event;
use crate::paging;
use crate::request::{Method, Request};
use crate::response::Response;

/// Files in the list of recent ones, unless the request says otherwise, and at most.
const RECENT: u64 = 50;
const RECENT_MAX: u64 = 200;

pub(super) async fn handle(
    app: &App,
    request: Request,
    rest: &[&str],
) -> Result<Response, WebError> {
    match (rest, request.method()) {
        (["trash", rest @ ..], _) => trash::handle(app, request, rest).await,
        (["search"], Method::Get | Method::Head) => search(app, &request).await,
        (["recent"], Method::Get | Method::Head) => recent(app, &request).await,
        (["favourites"], Method::Get | Method::Head) => favourites(app, &request).await,
        (["favourites", node], Method::Put) => mark(app, &request, node, true).await,
        (["favourites", node], Method::Delete) => mark(app, &request, node, false).await,
        (["usage"], Method::Get | Method::Head) => usage(app, &request).await,
        (["favourites", _], _) => Err(WebError::WrongMethod("PUT, DELETE")),
        (["search" | "recent" | "favourites" | "usage"], _) => {
            Err(WebError::WrongMethod("GET, HEAD"))
        }
        _ => Err(WebError::NoRoute),
    }
}

async fn search(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let query = request.query()?;
    let text = query.get("q").and_then(label);
    let text = text.ok_or(WebError::Invalid("q", "use 1 to 255 bytes of text"))?;
    let kind = match query.get("kind") {
        None => None,
        Some("file") => Some(Kind::File),
        Some("folder") => Some(Kind::Folder),
        Some(_) => return Err(WebError::Invalid("kind", "use file or folder")),
    };
    let category = match query.get("category") {
        None => None,
        Some(word) => {
            let known = Category::parse(word);
            Some(known.ok_or(WebError::Invalid("category", "use a category"))?)
        }
    };
    let before = match query.get("cursor") {
        None => None,
        Some(text) => Some(NodeId::parse(text).ok_or(paging::BAD_CURSOR)?),
    };
    let limit = paging::limit(&query, app.config.limits.page_entries_max)?;
    let search = Search { text, kind, category, before, limit };
    let (nodes, next) = app.db.search(user.id, &search).await?;
    json(200, &serde_json::json!({ "nodes": nodes, "next": next }))
}

async fn recent(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let limit = paging::limit_of(&request.query()?, RECENT, RECENT_MAX)?;
    json(200, &serde_json::json!({ "nodes": app.db.recent(user.id, limit).await? }))
}

async fn favourites(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let query = request.query()?;
    let limit = paging::limit(&query, app.config.limits.page_entries_max)?;
    let after = paging::time_cursor(&query)?;
    let (nodes, next) = app.db.favourites(user.id, limit, after).await?;
    let next = next.as_ref().map(TimeCursor::print);
    json(200, &serde_json::json!({ "nodes": nodes, "next": next }))
}

async fn mark(
    app: &App,
    request: &Request,
    node: &str,
    marked: bool,
) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let grant = authorize(&app.db, &user, Action::Change, Target::parse(node)?).await?;
    let node = grant.node_id().ok_or(WebError::NotFound)?;
    if marked {
        app.db.mark(user.id, node, app.now()).await?;
    } else {
        app.db.unmark(user.id, node).await?;
    }
    app.notify.tell(user.id, &Event::files(grant.node().map(|node| node.parent)));
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}

async fn usage(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    json(
        200,
        &serde_json::json!({
            "quota_bytes": user.quota_bytes,
            "used_bytes": user.used_bytes,
            "trash_bytes": app.db.trash_bytes(user.id).await?,
            "categories": app.db.category_totals(user.id).await?,
        }),
    )
}
