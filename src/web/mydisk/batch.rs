//! Many folders and files at once: each is done or refused by itself, in the order of the
//! request, and the answer says what became of each.

use serde::{Deserialize, Serialize};

use crate::app::{App, actor, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Change, Copy, Node, User};
use crate::error::WebError;
use crate::ids::{NodeId, UnixMs};
use crate::name::{NAME_RULE, Name};
use crate::request::Request;
use crate::response::Response;

/// What became of one; the shape of `Result` in the API.
#[derive(Serialize)]
pub(super) struct Outcome {
    id: String,
    node: Option<Node>,
    error: Option<Problem>,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameForm {
    items: Vec<RenameItem>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameItem {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceForm {
    ids: Vec<String>,
    parent: String,
    conflict: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdsForm {
    pub(super) ids: Vec<String>,
}

pub(super) async fn rename(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: RenameForm = request.json(app.json_bytes_max()).await?;
    some(app, form.items.len())?;
    let address = client(&request).to_string();
    let mut outcomes = Vec::new();
    for RenameItem { id, name } in form.items {
        let done = rename_one(app, &user, &address, &id, &name).await;
        outcomes.push(outcome(id, done.map(Some))?);
    }
    results(&outcomes)
}

async fn rename_one(
    app: &App,
    user: &User,
    address: &str,
    id: &str,
    name: &str,
) -> Result<Node, WebError> {
    let name = Name::parse(name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let node = own(app, user, Action::Change, id).await?;
    let change = Change { node, name: Some(name), parent: None, rename: false };
    Ok(app.db.change_node(actor(app, user, address), &change).await??)
}

pub(super) async fn move_all(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: PlaceForm = request.json(app.json_bytes_max()).await?;
    some(app, form.ids.len())?;
    let rename = renames(form.conflict.as_deref(), false)?;
    let parent = Some(folder(app, &user, &form.parent).await?);
    let address = client(&request).to_string();
    let mut outcomes = Vec::new();
    for id in form.ids {
        let done = async {
            let node = own(app, &user, Action::Change, &id).await?;
            let change = Change { node, name: None, parent, rename };
            let who = actor(app, &user, &address);
            Ok(Some(app.db.change_node(who, &change).await??))
        };
        let done = done.await;
        outcomes.push(outcome(id, done)?);
    }
    results(&outcomes)
}

pub(super) async fn copy(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: PlaceForm = request.json(app.json_bytes_max()).await?;
    some(app, form.ids.len())?;
    let rename = renames(form.conflict.as_deref(), false)?;
    let parent = folder(app, &user, &form.parent).await?;
    let address = client(&request).to_string();
    let mut outcomes = Vec::new();
    for id in form.ids {
        let done = async {
            let node = own(app, &user, Action::Look, &id).await?;
            let nodes_max = app.config.limits.copy_nodes_max;
            let copy = Copy { node, from: user.id, parent, rename, nodes_max };
            Ok(Some(app.db.copy(actor(app, &user, &address), copy).await??))
        };
        let done = done.await;
        outcomes.push(outcome(id, done)?);
    }
    results(&outcomes)
}

pub(super) async fn throw_away(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: IdsForm = request.json(app.json_bytes_max()).await?;
    some(app, form.ids.len())?;
    let address = client(&request).to_string();
    let mut outcomes = Vec::new();
    for id in form.ids {
        let done = throw(app, &user, &address, &id).await;
        outcomes.push(outcome(id, done.map(|()| None))?);
    }
    results(&outcomes)
}

pub(super) async fn throw_one(
    app: &App,
    request: &Request,
    id: &str,
) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    throw(app, &user, &client(request).to_string(), id).await?;
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}

async fn throw(app: &App, user: &User, address: &str, id: &str) -> Result<(), WebError> {
    let node = own(app, user, Action::Change, id).await?;
    let stays_ms = app.config.limits.trash_retention_s.saturating_mul(1000);
    let due = UnixMs(app.now().0.saturating_add(stays_ms));
    Ok(app.db.throw_away(actor(app, user, address), node, due).await??)
}

/// A node of this user that `what` may be done to.
async fn own(app: &App, user: &User, what: Action, id: &str) -> Result<NodeId, WebError> {
    let grant = authorize(&app.db, user, what, Target::parse(id)?).await?;
    grant.node_id().ok_or(WebError::NotFound)
}

/// A folder of this user that something is put into.
pub(super) async fn folder(app: &App, user: &User, id: &str) -> Result<Option<NodeId>, WebError> {
    Ok(authorize(&app.db, user, Action::AddTo, Target::parse(id)?).await?.node_id())
}

/// `rename` or `fail`.
pub(super) fn renames(conflict: Option<&str>, default: bool) -> Result<bool, WebError> {
    match conflict {
        None => Ok(default),
        Some("fail") => Ok(false),
        Some("rename") => Ok(true),
        Some(_) => Err(WebError::Invalid("conflict", "use fail or rename")),
    }
}

/// Whether a request holds a number of items that one request may have.
pub(super) fn some(app: &App, count: usize) -> Result<(), WebError> {
    let fits = 0 < count && count as u64 <= app.config.limits.batch_items_max;
    if fits { Ok(()) } else { Err(WebError::Invalid("ids", "send some, within the limit")) }
}

/// A server that is away ends the whole request: what comes after would fare no better.
pub(super) fn outcome(
    id: String,
    done: Result<Option<Node>, WebError>,
) -> Result<Outcome, WebError> {
    match done {
        Ok(node) => Ok(Outcome { id, node, error: None }),
        Err(error @ (WebError::Db(_) | WebError::Cache(_) | WebError::Internal(_))) => Err(error),
        Err(error) => {
            let (code, message) = error.item();
            Ok(Outcome { id, node: None, error: Some(Problem { code, message }) })
        }
    }
}

pub(super) fn results(outcomes: &[Outcome]) -> Result<Response, WebError> {
    json(200, &serde_json::json!({ "results": outcomes }))
}
