//! `PUT /api/upload/{name}`: one file, the body is the file. `POST /api/upload`: a form with any
//! number of files.
//!
//! The store must know a file's length before its first byte. A PUT says it. A part of a form
//! usually does not: short ones are read first, and a longer one is taken to be the last, whose
//! length follows from that of the request. A long one that is not the last is refused. Files
//! that come before the folder is named are held in the store until the form is at its end.

mod tus; // `/api/uploads`: files that come in pieces

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::app::{App, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Conflict, Node, User};
use crate::error::WebError;
use crate::ids::NodeId;
use crate::intake::{Destination, Held, Source, drop_held, hold, place, receive};
use crate::multipart::{Multipart, MultipartLimits, Part};
use crate::name::{NAME_RULE, Name, folders_of};
use crate::request::{Fields, Method, Request};
use crate::response::Response;

/// Bytes of a part that are read to find its end; each upload may hold as many.
const LOOKAHEAD_BYTES: usize = 256 * 1024;
/// Bytes of a text field of the form.
const FIELD_BYTES_MAX: usize = 64;

pub(crate) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "upload", name], Method::Put) => {
            let name = (*name).to_owned();
            put(app, request, &name).await
        }
        (["api", "upload"], Method::Post) => post(app, request).await,
        (["api", "uploads"] | ["api", "uploads", _], _) => tus::handle(app, request).await,
        (["api", "upload", _], _) => Err(WebError::WrongMethod("PUT")),
        (["api", "upload"], _) => Err(WebError::WrongMethod("POST")),
        _ => Err(WebError::NoRoute),
    }
}

async fn put(app: &Arc<App>, mut request: Request, name: &str) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let name = Name::parse(name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let query = request.query()?;
    let conflict = conflict(&query)?.unwrap_or_default();
    let folders = match query.get("path") {
        None | Some("") => Vec::new(),
        Some(path) => folders_of(path).ok_or(WebError::InvalidName("path", NAME_RULE))?,
    };
    let parent = query.get("parent").unwrap_or("root");
    let grant = authorize(&app.db, &user, Action::AddTo, Target::parse(parent)?).await?;
    let size = request.content_length().ok_or(WebError::LengthRequired)?;
    let _slot = app.slots.take(&user.id.to_string(), app.now()).await?;
    let to = Destination {
        owner: user.id,
        parent: grant.node_id(),
        folders,
        name,
        conflict,
        address: client(&request).to_string(),
    };
    let node = receive(app, to, size, Source::Body(request.take_body())).await?;
    json(201, &node)
}

async fn post(app: &Arc<App>, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let query = request.query()?;
    let conflict = conflict(&query)?.unwrap_or_default();
    let mut form = Form {
        app,
        user: &user,
        parent: query.get("parent").map(str::to_owned),
        conflict,
        address: client(&request).to_string(),
        held: Vec::new(),
        nodes: Vec::new(),
    };
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limits = MultipartLimits {
        parts_max: count(app.config.limits.multipart_parts_max),
        head_bytes_max: count(app.config.limits.multipart_header_bytes_max),
    };
    // Before the first byte is read: a body that trickles in counts from its beginning.
    let _slot = app.slots.take(&user.id.to_string(), app.now()).await?;
    let read = form.read(Multipart::new(&mut request, limits)?).await;
    match read {
        Ok(()) => {}
        Err(error) => {
            let held = form.held.into_iter().map(|(_, _, held)| held).collect();
            drop_held(app, held).await;
            return Err(error);
        }
    }
    form.finish().await?;
    if form.nodes.is_empty() {
        return Err(WebError::Invalid("file", "send at least one file"));
    }
    json(201, &serde_json::json!({ "nodes": form.nodes }))
}

/// What holds for all files of a form, and what has become of them.
struct Form<'a> {
    app: &'a Arc<App>,
    user: &'a User,
    /// None: not said yet, so it may still come.
    parent: Option<String>,
    conflict: Conflict,
    address: String,
    /// In the store, waiting for the folder to be named.
    held: Vec<(Vec<Name>, Name, Held)>,
    nodes: Vec<Node>,
}

impl Form<'_> {
    async fn read(&mut self, mut parts: Multipart) -> Result<(), WebError> {
        while let Some(part) = parts.next_part().await? {
            match (part.name(), part.file_name()) {
                ("parent", None) => {
                    self.parent = Some(part.text(FIELD_BYTES_MAX).await?);
                    self.finish().await?;
                }
                ("file", Some(_)) => self.file(part).await?,
                _ => return Err(WebError::Invalid("form", "use the fields parent and file")),
            }
        }
        Ok(())
    }

    async fn file(&mut self, mut part: Part<'_>) -> Result<(), WebError> {
        let refused = WebError::InvalidName("file", NAME_RULE);
        let mut folders = part.file_name().and_then(folders_of).ok_or(refused)?;
        let name = folders.pop().ok_or(WebError::InvalidName("file", NAME_RULE))?;
        let parent = match &self.parent {
            Some(parent) => Some(self.folder(parent).await?),
            None => None,
        };
        let (first, ended) = look_ahead(&mut part).await?;
        let size = if ended { Some(first.len() as u64) } else { part.length() };
        let size = size.ok_or(WebError::LengthRequired)?;
        let source = Source::Part(Some(first), part);
        if let Some(parent) = parent {
            let to = self.destination(parent, folders, name);
            self.nodes.push(receive(self.app, to, size, source).await?);
            return Ok(());
        }
        let others: Vec<&Held> = self.held.iter().map(|(_, _, held)| held).collect();
        let held = hold(self.app, self.user.id, &name, size, source, &others).await?;
        self.held.push((folders, name, held));
        Ok(())
    }

    /// Makes visible what waits; the folder is the root if nobody has said otherwise.
    async fn finish(&mut self) -> Result<(), WebError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let parent = self.folder(self.parent.as_deref().unwrap_or("root")).await;
        let mut waiting = std::mem::take(&mut self.held).into_iter();
        let parent = match parent {
            Ok(parent) => parent,
            Err(error) => {
                drop_held(self.app, waiting.map(|(_, _, held)| held).collect()).await;
                return Err(error);
            }
        };
        while let Some((folders, name, held)) = waiting.next() {
            let to = self.destination(parent, folders, name);
            match place(self.app, to, held).await {
                Ok(node) => self.nodes.push(node),
                Err(error) => {
                    drop_held(self.app, waiting.map(|(_, _, held)| held).collect()).await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn folder(&self, parent: &str) -> Result<Option<NodeId>, WebError> {
        let target = Target::parse(parent)?;
        let grant = authorize(&self.app.db, self.user, Action::AddTo, target).await?;
        Ok(grant.node_id())
    }

    fn destination(&self, parent: Option<NodeId>, folders: Vec<Name>, name: Name) -> Destination {
        Destination {
            owner: self.user.id,
            parent,
            folders,
            name,
            conflict: self.conflict,
            address: self.address.clone(),
        }
    }
}

/// The beginning of a part, and whether that is all of it.
async fn look_ahead(part: &mut Part<'_>) -> Result<(Bytes, bool), WebError> {
    let mut first = BytesMut::new();
    while first.len() < LOOKAHEAD_BYTES {
        match part.chunk().await? {
            Some(chunk) => first.extend_from_slice(&chunk),
            None => return Ok((first.freeze(), true)),
        }
    }
    Ok((first.freeze(), false))
}

/// `conflict=rename`, `replace` or `fail`, if it says so.
fn conflict(query: &Fields) -> Result<Option<Conflict>, WebError> {
    let rule = WebError::Invalid("conflict", "use fail, rename or replace");
    query.get("conflict").map(|text| Conflict::parse(text).ok_or(rule)).transpose()
}
