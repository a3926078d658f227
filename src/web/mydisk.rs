//! Folders and files of the signed-in user: listing, making, renaming, moving, copying, the trash,
//! searching, favourites. Moves no byte of a file.
//!
//! `/api/disk` is one tree, `/api/mydisk` is what goes across it.

mod across; // search, recent, favourites, usage
mod many; // many at once, each with its own result
mod trash; // what was thrown away

use serde::Deserialize;

use crate::app::{App, actor, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::Change;
use crate::error::WebError;
use crate::name::{NAME_RULE, Name};
use crate::notify::Event;
use crate::paging;
use crate::request::{Method, Request};
use crate::response::Response;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    parent: Option<String>,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeForm {
    name: Option<String>,
    parent: Option<String>,
}

pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    let segments: Vec<String> = request.segments().into_iter().map(str::to_owned).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.split_at_checked(2) {
        Some((["api", "disk"], rest)) => disk(app, request, rest).await,
        Some((["api", "mydisk"], rest)) => across::handle(app, request, rest).await,
        _ => Err(WebError::NoRoute),
    }
}

async fn disk(app: &App, request: Request, rest: &[&str]) -> Result<Response, WebError> {
    match (rest, request.method()) {
        ([], Method::Post) => make_folder(app, request).await,
        ([], _) => Err(WebError::WrongMethod("POST")),
        (["rename"], Method::Post) => many::rename(app, request).await,
        (["move"], Method::Post) => many::move_all(app, request).await,
        (["copy"], Method::Post) => many::copy(app, request).await,
        (["trash"], Method::Post) => many::throw_away(app, request).await,
        (["rename" | "move" | "copy" | "trash"], _) => Err(WebError::WrongMethod("POST")),
        ([folder], Method::Get | Method::Head) => list(app, &request, folder).await,
        ([node], Method::Patch) => change(app, request, node).await,
        ([node], Method::Delete) => many::throw_one(app, &request, node).await,
        ([_], _) => Err(WebError::WrongMethod("GET, HEAD, PATCH, DELETE")),
        ([node, "info"], Method::Get | Method::Head) => info(app, &request, node).await,
        ([folder, "size"], Method::Get | Method::Head) => size(app, &request, folder).await,
        ([_, "info" | "size"], _) => Err(WebError::WrongMethod("GET, HEAD")),
        _ => Err(WebError::NoRoute),
    }
}

async fn list(app: &App, request: &Request, folder: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let page = paging::folder(&request.query()?, app.config.limits.page_entries_max)?;
    let grant = authorize(&app.db, &user, Action::List, Target::parse(folder)?).await?;
    let (nodes, next) = app.db.list(user.id, grant.node_id(), &page).await?;
    json(
        200,
        &serde_json::json!({
            "folder": grant.node(),
            "path": grant.path(),
            "nodes": nodes,
            "next": next.map(|cursor| cursor.print()),
        }),
    )
}

async fn info(app: &App, request: &Request, node: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let grant = authorize(&app.db, &user, Action::Look, Target::parse(node)?).await?;
    let above = grant.path().split_last().map(|(_, above)| above).unwrap_or_default();
    json(200, &serde_json::json!({ "node": grant.node(), "path": above }))
}

async fn size(app: &App, request: &Request, folder: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let grant = authorize(&app.db, &user, Action::List, Target::parse(folder)?).await?;
    json(200, &app.db.folder_size(user.id, grant.node_id()).await?)
}

async fn make_folder(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: Form = request.json(app.json_bytes_max()).await?;
    let name = Name::parse(&form.name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let target = Target::parse(form.parent.as_deref().unwrap_or("root"))?;
    let grant = authorize(&app.db, &user, Action::AddTo, target).await?;
    let address = client(&request).to_string();
    let who = actor(app, &user, &address);
    let node = app.db.make_folder(who, grant.node_id(), &name).await??;
    app.notify.tell(user.id, &Event::files([node.parent]));
    json(201, &node)
}

async fn change(app: &App, mut request: Request, node: &str) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: ChangeForm = request.json(app.json_bytes_max()).await?;
    let grant = authorize(&app.db, &user, Action::Change, Target::parse(node)?).await?;
    let name = form.name.map(|typed| Name::parse(&typed));
    let name = match name {
        Some(None) => return Err(WebError::InvalidName("name", NAME_RULE)),
        Some(name) => name,
        None => None,
    };
    let parent = match form.parent {
        Some(parent) => Some(many::folder(app, &user, &parent).await?),
        None => None,
    };
    if name.is_none() && parent.is_none() {
        return Err(WebError::Invalid("name", "send a name, a parent, or both"));
    }
    let node = grant.node_id().ok_or(WebError::NotFound)?;
    let address = client(&request).to_string();
    let change = Change { node, name, parent, rename: false };
    let node = app.db.change_node(actor(app, &user, &address), &change).await??;
    let mut changes = app.notify.changes(user.id);
    grant.node().iter().for_each(|from| changes.place(from));
    changes.place(&node);
    json(200, &node)
}
