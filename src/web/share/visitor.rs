//! What a visitor does in a share: look, list, download, take it as an archive, object to it.

use std::sync::Arc;

use serde::Deserialize;

use super::entrance::{alive, enter, enter_to_download, pass, visitor};
use super::entrance::{count_download, take_download};
use super::public::SharedPage;
use crate::app::{App, client, json};
use crate::authorize::{Action, Grant, Target, authorize};
use crate::db::{Node, sort_nodes};
use crate::error::WebError;
use crate::ids::NodeId;
use crate::name::Name;
use crate::notify::Event;
use crate::pack;
use crate::paging;
use crate::picture::{self, Size};
use crate::request::Request;
use crate::response::Response;
use crate::sending;
use crate::throttle::network;
use crate::visit::Visit;

/// For so long a second look of one visitor does not count.
const VIEW_MS: u64 = 10 * 60 * 1000;
/// Bytes of what a visitor objects with.
const REPORT_BYTES_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportForm {
    reason: String,
    text: Option<String>,
}

pub(super) async fn look(app: &App, request: &Request, id: &str) -> Result<Response, WebError> {
    let mut row = alive(app, id).await?;
    if app.db.shared(row.id, row.owner).await?.is_empty() {
        return Err(WebError::NotFound);
    }
    let pass = pass(app, request, &row).await?;
    let open = row.code.is_none() || pass.is_some();
    let mark = format!("view:{}:{}", row.id, visitor(pass, request));
    if sending::first(app, &mark, VIEW_MS).await? {
        app.db.share_viewed(row.id).await?;
        app.notify.tell(row.owner, &Event::shares());
        row.views = row.views.saturating_add(1);
    }
    json(200, &SharedPage::new(&row, !open))
}

pub(super) async fn list(
    app: &App,
    request: &Request,
    id: &str,
    folder: Option<&str>,
) -> Result<Response, WebError> {
    let (row, visit) = enter(app, request, id).await?;
    let page = paging::folder(&request.query()?, app.config.limits.page_entries_max)?;
    let Some(folder) = folder else {
        let mut nodes = app.db.shared(row.id, row.owner).await?;
        if nodes.is_empty() {
            return Err(WebError::NotFound);
        }
        sort_nodes(&mut nodes, &page);
        nodes.iter_mut().for_each(hide_top);
        let none: [&str; 0] = [];
        let shown =
            serde_json::json!({ "folder": null, "path": none, "nodes": nodes, "next": null });
        return json(200, &shown);
    };
    let target = NodeId::parse(folder).map(Target::Node).ok_or(WebError::NotFound)?;
    let grant = authorize(&app.db, &visit, Action::List, target).await?;
    let (mut nodes, next) = app.db.list(row.owner, grant.node_id(), &page).await?;
    nodes.iter_mut().for_each(|node| node.favourite = false);
    let next = next.map(|cursor| cursor.print());
    json(
        200,
        &serde_json::json!({
            "folder": grant.node(),
            "path": grant.path(),
            "nodes": nodes,
            "next": next,
        }),
    )
}

/// Where the owner keeps it, and what the owner marked, is nobody's business.
fn hide_top(node: &mut Node) {
    node.parent = None;
    node.favourite = false;
}

pub(super) async fn download(
    app: &App,
    request: &Request,
    id: &str,
    node: &str,
) -> Result<Response, WebError> {
    let inline = sending::inline(&request.query()?)?;
    let (row, visit, who) = enter_to_download(app, request, id).await?;
    let target = NodeId::parse(node).map(Target::Node).ok_or(WebError::NotFound)?;
    let grant = authorize(&app.db, &visit, Action::Read, target).await?;
    let (file, file_id) = grant.file().ok_or(WebError::NotFound)?;
    let response = sending::file(file, file_id, inline)?;
    count_download(app, request, &row, (file, &who)).await?;
    if sending::is_start(request) {
        sending::count(app, &format!("share:{who}"), file).await;
    }
    Ok(response)
}

pub(super) async fn thumb(
    app: &App,
    request: &Request,
    id: &str,
    node: &str,
) -> Result<Response, WebError> {
    let size = Size::asked(&request.query()?)?;
    let (_, visit) = enter(app, request, id).await?;
    let target = NodeId::parse(node).map(Target::Node).ok_or(WebError::NotFound)?;
    let grant = authorize(&app.db, &visit, Action::Read, target).await?;
    picture::answer(&grant, size)
}

pub(super) async fn zip(app: &Arc<App>, request: &Request, id: &str) -> Result<Response, WebError> {
    let query = request.query()?;
    let (row, visit) = enter(app, request, id).await?;
    let ids = match query.get("ids") {
        Some(list) => paging::ids(list, app.config.limits.batch_items_max)?,
        None => visit.nodes().to_vec(),
    };
    let grants = granted(app, &visit, &ids, query.get("ids").is_some()).await?;
    let name = Name::parse(&format!("{}.zip", row.title));
    let name = name.unwrap_or_else(|| Name::stored("share.zip"));
    let by = format!("visitor:{}", network(client(request)));
    let slot = app.zip_slots.take(&by, app.now()).await?;
    let archive = pack::begin(app, row.owner, grants, slot).await?;
    // The first of it is there: it does not count for nothing. An archive is never gone on with.
    let response = archive.answer(&name)?;
    take_download(app, &row).await?;
    Ok(response)
}

/// What may be read of `ids`. Of the whole share what has gone is left out; what was asked for by
/// name must be there.
pub(super) async fn granted(
    app: &App,
    visit: &Visit,
    ids: &[NodeId],
    strict: bool,
) -> Result<Vec<Grant>, WebError> {
    let mut grants = Vec::new();
    for id in ids {
        match authorize(&app.db, visit, Action::Take, Target::Node(*id)).await {
            Ok(grant) => grants.push(grant),
            Err(WebError::NotFound) if !strict => {}
            Err(error) => return Err(error),
        }
    }
    if grants.is_empty() { Err(WebError::NotFound) } else { Ok(grants) }
}

pub(super) async fn report(
    app: &App,
    mut request: Request,
    id: &str,
) -> Result<Response, WebError> {
    let row = alive(app, id).await?;
    let form: ReportForm = request.json(app.json_bytes_max()).await?;
    let known = ["copyright", "illegal", "malware", "other"];
    let reason = known.into_iter().find(|known| *known == form.reason);
    let reason = reason.ok_or(WebError::Invalid("reason", "use one of the reasons"))?;
    let text = form.text.unwrap_or_default();
    if REPORT_BYTES_MAX < text.len() || text.contains('\0') {
        return Err(WebError::Invalid("text", "use at most 1000 bytes of text"));
    }
    let from = client(&request);
    app.throttle.share_report(from).await?;
    app.db.report_share(row.id, app.now(), &from.to_string(), reason, &text).await?;
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}
