//! `GET /api/category`: how much a user has of each. `GET /api/category/{category}`: its files.

use crate::app::{App, json};
use crate::db::{Feed, Order, TimeCursor};
use crate::error::WebError;
use crate::media::Category;
use crate::paging;
use crate::request::{Method, Request};
use crate::response::Response;

pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "category"], Method::Get | Method::Head) => totals(app, &request).await,
        (["api", "category", word], Method::Get | Method::Head) => {
            let category = Category::parse(word).ok_or(WebError::NoRoute)?;
            list(app, &request, category).await
        }
        (["api", "category"] | ["api", "category", _], _) => {
            Err(WebError::WrongMethod("GET, HEAD"))
        }
        _ => Err(WebError::NoRoute),
    }
}

async fn totals(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    json(200, &serde_json::json!({ "categories": app.db.category_totals(user.id).await? }))
}

async fn list(app: &App, request: &Request, category: Category) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let query = request.query()?;
    let feed = Feed {
        category: Some(category),
        order: paging::order(&query, Order::Desc)?,
        limit: paging::limit(&query, app.config.limits.page_entries_max)?,
        after: paging::time_cursor(&query)?,
    };
    let (nodes, next) = app.db.feed(user.id, &feed).await?;
    let next = next.as_ref().map(TimeCursor::print);
    json(200, &serde_json::json!({ "nodes": nodes, "next": next }))
}
