//! `GET /api/download/{node}`: decides whether and how, then hands over to nginx, which sends
//! the bytes through the storage module. No byte of a file passes here. `GET /api/list`: a user's
//! newest files. `/api/zip`: a selection as one archive. `/api/link`: links that work for a while
//! without a session.

use std::sync::Arc;

use crate::app::{App, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Feed, Order, TimeCursor};
use crate::error::WebError;
use crate::ids::{NodeId, UserId};
use crate::links;
use crate::name::{NAME_RULE, Name};
use crate::pack;
use crate::paging;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::sending;

pub(crate) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "download", node], Method::Get | Method::Head) => {
            download(app, &request, node).await
        }
        (["api", "list"], Method::Get | Method::Head) => newest(app, &request).await,
        (["api", "zip"], Method::Get | Method::Post) => zip(app, request).await,
        (["api", "link", node], Method::Get | Method::Head) => link(app, &request, node).await,
        (["api", "link", user, node, _], Method::Get | Method::Head) => {
            follow(app, &request, user, node).await
        }
        (["api", "zip"], _) => Err(WebError::WrongMethod("GET, POST")),
        (["api", "download" | "link", _] | ["api", "list"] | ["api", "link", _, _, _], _) => {
            Err(WebError::WrongMethod("GET, HEAD"))
        }
        _ => Err(WebError::NoRoute),
    }
}

async fn download(app: &App, request: &Request, node: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let inline = sending::inline(&request.query()?)?;
    let grant = authorize(&app.db, &user, Action::Read, Target::parse(node)?).await?;
    let (node, file_id) = grant.file().ok_or(WebError::NotFound)?;
    if sending::is_start(request) {
        let by = format!("user:{}", user.id);
        sending::count(app, &by, node).await;
        if let Err(error) = app.db.opened(user.id, node.id, app.now()).await {
            log::warn!("remember an opened file: {error}");
        }
    }
    sending::file(node, file_id, inline)
}

async fn newest(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let query = request.query()?;
    let feed = Feed {
        category: None,
        order: Order::Desc,
        limit: paging::limit(&query, app.config.limits.page_entries_max)?,
        after: paging::time_cursor(&query)?,
    };
    let (nodes, next) = app.db.feed(user.id, &feed).await?;
    let next = next.as_ref().map(TimeCursor::print);
    json(200, &serde_json::json!({ "nodes": nodes, "next": next }))
}

async fn zip(app: &Arc<App>, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    // A plain form of a page may say what does not fit into an address.
    let fields = match request.method() {
        Method::Post => request.form(app.json_bytes_max()).await?,
        _ => request.query()?,
    };
    let list = fields.get("ids").ok_or(WebError::Invalid("ids", "use ids with commas"))?;
    let ids = paging::ids(list, app.config.limits.batch_items_max)?;
    let name = match fields.get("name") {
        Some(typed) => Name::parse(typed).ok_or(WebError::InvalidName("name", NAME_RULE))?,
        None => Name::stored("files.zip"),
    };
    let mut grants = Vec::new();
    for id in ids {
        grants.push(authorize(&app.db, &user, Action::Take, Target::Node(id)).await?);
    }
    let slot = app.zip_slots.take(&user.id.to_string(), app.now()).await?;
    pack::begin(app, user.id, grants, slot).await?.answer(&name)
}

async fn link(app: &App, request: &Request, node: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let inline = sending::inline(&request.query()?)?;
    let grant = authorize(&app.db, &user, Action::Read, Target::parse(node)?).await?;
    let (node, _) = grant.file().ok_or(WebError::NotFound)?;
    let now = app.now();
    let key = app.db.link_key(&*app.world.random, now).await?;
    let (url, expires_ms) = links::make(&key, user.id, node, inline, now);
    json(200, &serde_json::json!({ "url": url, "expires_ms": expires_ms }))
}

/// A signed link: what its maker may read, whoever comes with it. The gate is asked anew, so a
/// link to something thrown away, or of somebody disabled, is over.
async fn follow(
    app: &App,
    request: &Request,
    user: &str,
    node: &str,
) -> Result<Response, WebError> {
    let user = UserId::parse(user).ok_or(WebError::BadLink)?;
    let id = NodeId::parse(node).ok_or(WebError::BadLink)?;
    let query = request.variable("QUERY_STRING").unwrap_or_default();
    let keys = app.db.link_keys().await?;
    let inline = links::check(&keys, user, id, query, app.now())?;
    let user = app.db.user(user).await?.ok_or(WebError::NotFound)?;
    let grant = authorize(&app.db, &user, Action::Read, Target::Node(id)).await?;
    let (node, file_id) = grant.file().ok_or(WebError::NotFound)?;
    if sending::is_start(request) {
        sending::count(app, &format!("link:{}", client(request)), node).await;
    }
    sending::file(node, file_id, inline)
}
