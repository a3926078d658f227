//! `GET /api/download/{node}`: decides whether and how, then hands over to nginx, which sends
//! the bytes through the storage module. No byte of a file passes here. `GET /api/list`: a user's
//! newest files.

use crate::app::{App, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Feed, Order, TimeCursor};
use crate::error::WebError;
use crate::paging;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::sending;

pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "download", node], Method::Get | Method::Head) => {
            download(app, &request, node).await
        }
        (["api", "list"], Method::Get | Method::Head) => newest(app, &request).await,
        (["api", "download", _] | ["api", "list"], _) => Err(WebError::WrongMethod("GET, HEAD")),
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
