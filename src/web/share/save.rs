//! `POST /api/share/{id}/save`: what was shared, copied into the visitor's own disk. No byte moves.

use std::sync::Arc;

use serde::Deserialize;

use super::entrance::{enter, take_download};
use super::visitor::granted;
use crate::app::{App, actor, client};
use crate::authorize::{Action, Target, authorize};
use crate::batch::{Outcome, outcome, renames, results};
use crate::db::Copy;
use crate::error::WebError;
use crate::ids::NodeId;
use crate::notify::Event;
use crate::request::Request;
use crate::response::Response;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveForm {
    ids: Option<Vec<String>>,
    parent: Option<String>,
    conflict: Option<String>,
}

pub(super) async fn save(
    app: &Arc<App>,
    mut request: Request,
    id: &str,
) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: SaveForm = request.json(app.json_bytes_max()).await?;
    let rename = renames(form.conflict.as_deref(), true)?;
    let target = Target::parse(form.parent.as_deref().unwrap_or("root"))?;
    let parent = authorize(&app.db, &user, Action::AddTo, target).await?.node_id();
    let (row, visit) = enter(app, &request, id).await?;
    let strict = form.ids.is_some();
    let ids: Vec<NodeId> = match form.ids {
        Some(ids) if ids.len() as u64 <= app.config.limits.batch_items_max => {
            let parsed: Option<Vec<NodeId>> = ids.iter().map(|id| NodeId::parse(id)).collect();
            parsed.ok_or(WebError::NotFound)?
        }
        Some(_) => return Err(WebError::Invalid("ids", "send some, within the limit")),
        None => visit.nodes().to_vec(),
    };
    let grants = granted(app, &visit, &ids, strict).await?;
    // Whoever has a copy has the bytes: it counts like a download.
    take_download(app, &row).await?;
    let address = client(&request).to_string();
    let mut outcomes = Vec::new();
    let mut changes = app.notify.changes(user.id);
    let mut failure = None;
    for grant in grants {
        let Some(node) = grant.node_id() else { continue };
        let nodes_max = app.config.limits.copy_nodes_max;
        let copy = Copy { node, from: row.owner, parent, rename, nodes_max };
        let done = async {
            let copied = app.db.copy(actor(app, &user, &address), copy).await??;
            changes.files([copied.parent]);
            Ok(Some(copied))
        };
        match outcome(node.to_string(), done.await) {
            Ok(one) => outcomes.push(one),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    if outcomes.iter().any(Outcome::is_done) {
        // The copies are there: only the counter misses one.
        if let Err(error) = app.db.share_saved(row.id).await {
            log::error!("share {} was saved and does not count it: {error}", row.id);
        }
    } else if let Err(error) = app.db.give_download_back(row.id).await {
        log::error!("share {} lost a download for nothing: {error}", row.id);
    }
    app.notify.tell(row.owner, &Event::shares());
    failure.map_or_else(|| results(&outcomes), Err)
}
