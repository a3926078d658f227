//! The trash of a user: shown, restored from, purged, emptied.

use serde::Deserialize;

use super::many::{IdsForm, folder};
use crate::app::{App, actor, client, json};
use crate::batch::{outcome, renames, results, some};
use crate::db::{Back, TimeCursor, User};
use crate::error::WebError;
use crate::ids::NodeId;
use crate::paging;
use crate::request::{Method, Request};
use crate::response::Response;

/// Steps of a purge that a request waits for; the rest is done in the background.
const PURGE_STEPS_MAX: usize = 40;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreForm {
    ids: Vec<String>,
    parent: Option<String>,
    conflict: Option<String>,
}

pub(super) async fn handle(
    app: &App,
    request: Request,
    rest: &[&str],
) -> Result<Response, WebError> {
    match (rest, request.method()) {
        ([], Method::Get | Method::Head) => list(app, &request).await,
        ([], Method::Delete) => empty(app, &request).await,
        (["restore"], Method::Post) => restore(app, request).await,
        (["purge"], Method::Post) => purge(app, request).await,
        ([], _) => Err(WebError::WrongMethod("GET, HEAD, DELETE")),
        (["restore" | "purge"], _) => Err(WebError::WrongMethod("POST")),
        _ => Err(WebError::NoRoute),
    }
}

async fn list(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let query = request.query()?;
    let limit = paging::limit(&query, app.config.limits.page_entries_max)?;
    let after = paging::time_cursor(&query)?;
    let (entries, next) = app.db.trash(user.id, limit, after).await?;
    let next = next.as_ref().map(TimeCursor::print);
    json(200, &serde_json::json!({ "entries": entries, "next": next }))
}

async fn restore(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: RestoreForm = request.json(app.json_bytes_max()).await?;
    some(app, form.ids.len())?;
    let rename = renames(form.conflict.as_deref(), true)?;
    let back = match form.parent {
        Some(parent) => Back::To(folder(app, &user, &parent).await?),
        None => Back::Origin,
    };
    let address = client(&request).to_string();
    let mut outcomes = Vec::new();
    let mut changes = app.notify.changes(user.id);
    for id in form.ids {
        let done = async {
            // Nothing in the trash passes the gate; the statement itself tests whose it is.
            let node = NodeId::parse(&id).ok_or(WebError::NotFound)?;
            let who = actor(app, &user, &address);
            let node = app.db.restore(who, node, back, rename).await??;
            changes.place(&node);
            changes.trash();
            Ok(Some(node))
        };
        let done = done.await;
        outcomes.push(outcome(id, done)?);
    }
    results(&outcomes)
}

async fn purge(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: IdsForm = request.json(app.json_bytes_max()).await?;
    some(app, form.ids.len())?;
    let address = client(&request).to_string();
    let mut outcomes = Vec::new();
    let mut changes = app.notify.changes(user.id);
    for id in form.ids {
        let done = async {
            let node = NodeId::parse(&id).ok_or(WebError::NotFound)?;
            let who = actor(app, &user, &address);
            app.db.condemn(who, node).await??;
            changes.trash();
            changes.account();
            Ok(None)
        };
        let done = done.await;
        outcomes.push(outcome(id, done)?);
    }
    give_space_back(app, &user).await?;
    results(&outcomes)
}

async fn empty(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let entries = app.db.condemn_all(user.id).await?;
    let mut changes = app.notify.changes(user.id);
    changes.trash();
    changes.account();
    give_space_back(app, &user).await?;
    json(200, &serde_json::json!({ "entries": entries }))
}

/// Purges what is due, as far as a request may last.
async fn give_space_back(app: &App, user: &User) -> Result<(), WebError> {
    for _ in 0..PURGE_STEPS_MAX {
        if !app.db.purge_step(user.id, app.now()).await? {
            break;
        }
    }
    Ok(())
}
