//! Many folders and files at once: each is done or refused by itself, in the order of the
//! request, and the answer says what became of each.

use serde::Deserialize;

use crate::app::{App, actor, client};
use crate::authorize::{Action, Target, authorize};
use crate::batch::{outcome, renames, results, some};
use crate::db::{Change, Copy, Node, User};
use crate::error::WebError;
use crate::ids::{NodeId, UnixMs};
use crate::name::{NAME_RULE, Name};
use crate::notify::Changes;
use crate::request::Request;
use crate::response::Response;

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
    let mut changes = app.notify.changes(user.id);
    for RenameItem { id, name } in form.items {
        let done = rename_one(app, &user, &address, &id, &name).await;
        done.iter().for_each(|node| changes.place(node));
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
    let change = Change { node: node.id, name: Some(name), parent: None, rename: false };
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
    let mut changes = app.notify.changes(user.id);
    for id in form.ids {
        let done = async {
            let node = own(app, &user, Action::Change, &id).await?;
            let change = Change { node: node.id, name: None, parent, rename };
            let who = actor(app, &user, &address);
            let moved = app.db.change_node(who, &change).await??;
            changes.place(&node);
            changes.place(&moved);
            Ok(Some(moved))
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
    let mut changes = app.notify.changes(user.id);
    for id in form.ids {
        let done = async {
            let node = own(app, &user, Action::Look, &id).await?;
            let nodes_max = app.config.limits.copy_nodes_max;
            let copy = Copy { node: node.id, from: user.id, parent, rename, nodes_max };
            let copied = app.db.copy(actor(app, &user, &address), copy).await??;
            changes.files([copied.parent]);
            Ok(Some(copied))
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
    let mut changes = app.notify.changes(user.id);
    for id in form.ids {
        let done = throw(app, &user, &address, &id, &mut changes).await;
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
    let mut changes = app.notify.changes(user.id);
    throw(app, &user, &client(request).to_string(), id, &mut changes).await?;
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}

async fn throw(
    app: &App,
    user: &User,
    address: &str,
    id: &str,
    changes: &mut Changes,
) -> Result<(), WebError> {
    let node = own(app, user, Action::Change, id).await?;
    let stays_ms = app.config.limits.trash_retention_s.saturating_mul(1000);
    let due = UnixMs(app.now().0.saturating_add(stays_ms));
    app.db.throw_away(actor(app, user, address), node.id, due).await??;
    changes.place(&node);
    changes.trash();
    Ok(())
}

/// A node of this user that `what` may be done to.
async fn own(app: &App, user: &User, what: Action, id: &str) -> Result<Node, WebError> {
    let grant = authorize(&app.db, user, what, Target::parse(id)?).await?;
    grant.node().cloned().ok_or(WebError::NotFound)
}

/// A folder of this user that something is put into.
pub(super) async fn folder(app: &App, user: &User, id: &str) -> Result<Option<NodeId>, WebError> {
    Ok(authorize(&app.db, user, Action::AddTo, Target::parse(id)?).await?.node_id())
}
