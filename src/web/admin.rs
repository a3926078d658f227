//! `/api/admin`, `/metrics`: accounts, the audit log, the cluster, figures. For administrators
//! who are signed in; figures also for a token of theirs.

mod accounts; // /api/admin/users
mod cluster; // /api/admin/cluster

use std::sync::Arc;

use crate::app::{App, json};
use crate::db::{EntryFilter, Role};
use crate::error::WebError;
use crate::ids::UserId;
use crate::paging::{cut, limit_of};
use crate::request::{Fields, Method, Request};
use crate::response::Response;

/// Entries of a page when the request does not say, and at most.
const PAGE_ENTRIES: u64 = 100;
const PAGE_ENTRIES_MAX: u64 = 1000;

pub(crate) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["metrics"], Method::Get | Method::Head) => metrics(app, &request).await,
        (["api", "admin", "users", ..], _) => accounts::handle(app, request).await,
        (["api", "admin", "audit"], Method::Get) => audit(app, &request).await,
        (["api", "admin", "cluster"], Method::Get) => {
            app.administrator(&request).await?;
            json(200, &serde_json::json!({ "groups": cluster::groups(app).await? }))
        }
        (["api", "admin", "stats"], Method::Get) => {
            app.administrator(&request).await?;
            json(200, &app.db.stats().await?)
        }
        (["metrics"] | ["api", "admin", "audit" | "cluster" | "stats"], _) => {
            Err(WebError::WrongMethod("GET"))
        }
        _ => Err(WebError::NoRoute),
    }
}

async fn audit(app: &App, request: &Request) -> Result<Response, WebError> {
    app.administrator(request).await?;
    let query = request.query()?;
    let actor = match query.get("actor") {
        None => None,
        Some(text) => {
            Some(UserId::parse(text).ok_or(WebError::Invalid("actor", "use the id of a user"))?)
        }
    };
    let limit = limit(&query)?;
    let filter = EntryFilter {
        before: number(&query, "cursor")?.unwrap_or(i64::MAX.unsigned_abs()),
        actor,
        action: query.get("action").unwrap_or_default().to_owned(),
        since: number(&query, "since_ms")?.unwrap_or(0),
        until: number(&query, "until_ms")?.unwrap_or(i64::MAX.unsigned_abs()),
        limit: limit.saturating_add(1),
    };
    let (entries, next) = cut(app.db.audit(&filter).await?, limit, |entry| entry.id.clone());
    json(200, &serde_json::json!({ "entries": entries, "next": next }))
}

/// Figures of all workers, of the drive and of the store.
async fn metrics(app: &App, request: &Request) -> Result<Response, WebError> {
    if app.user(request).await?.role != Role::Admin {
        return Err(WebError::Forbidden);
    }
    let counts = app.counted.get(&*app.world.clock, app.db.stats()).await?;
    let mut text = crate::metrics::workers(&app.cache, app.now()).await?;
    text.push_str(&crate::metrics::drive(&counts));
    match cluster::groups(app).await {
        Ok(groups) => text.push_str(&cluster::metrics(&groups)),
        // The other figures are wanted most when the store is away.
        Err(error) => {
            log::warn!("figures of the store: {error}");
            text.push_str(cluster::AWAY);
        }
    }
    let response = Response::bytes("text/plain; version=0.0.4; charset=utf-8", text);
    Ok(response.with_header("cache-control", "no-store")?)
}

fn limit(query: &Fields) -> Result<u64, WebError> {
    limit_of(query, PAGE_ENTRIES, PAGE_ENTRIES_MAX)
}

/// A number of the query that the database can compare.
fn number(query: &Fields, name: &'static str) -> Result<Option<u64>, WebError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = text.parse::<u64>().ok().filter(|value| digits && i64::try_from(*value).is_ok());
    value.map(Some).ok_or(WebError::Invalid(name, "use decimal digits"))
}
