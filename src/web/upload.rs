//! `PUT /api/upload/{name}`: one file, the body is the file. `POST /api/upload`: a form with any
//! number of files.
//!
//! The store must know a file's length before its first byte. A PUT says it. A part of a form
//! usually does not: short ones are read first, and a longer one is taken to be the last, whose
//! length follows from that of the request. A long one that is not the last is refused.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::app::{App, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Node, User};
use crate::error::WebError;
use crate::intake::{Destination, Source, receive};
use crate::multipart::{Multipart, MultipartLimits, Part};
use crate::name::{NAME_RULE, Name};
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
        (["api", "upload", _], _) => Err(WebError::WrongMethod("PUT")),
        (["api", "upload"], _) => Err(WebError::WrongMethod("POST")),
        _ => Err(WebError::NoRoute),
    }
}

async fn put(app: &Arc<App>, mut request: Request, name: &str) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let name = Name::parse(name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let query = request.query()?;
    let rename = rename(&query)?;
    let parent = query.get("parent").unwrap_or("root");
    let grant = authorize(&app.db, &user, Action::AddTo, Target::parse(parent)?).await?;
    let size = request.content_length().ok_or(WebError::LengthRequired)?;
    let to = Destination {
        owner: user.id,
        parent: grant.node_id(),
        name,
        rename,
        address: client(&request).to_string(),
    };
    let node = receive(app, to, size, Source::Body(request.take_body())).await?;
    json(201, &node)
}

async fn post(app: &Arc<App>, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let query = request.query()?;
    let rename = rename(&query)?;
    let mut form = Form {
        app,
        user: &user,
        parent: query.get("parent").unwrap_or("root").to_owned(),
        rename,
        address: client(&request).to_string(),
    };
    let limits = MultipartLimits {
        parts_max: usize::try_from(app.config.limits.multipart_parts_max).unwrap_or(usize::MAX),
        head_bytes_max: usize::try_from(app.config.limits.multipart_header_bytes_max)
            .unwrap_or(usize::MAX),
    };
    let mut parts = Multipart::new(&mut request, limits)?;
    let mut nodes = Vec::new();
    while let Some(part) = parts.next_part().await? {
        match (part.name(), part.file_name()) {
            ("parent", None) => form.parent = part.text(FIELD_BYTES_MAX).await?,
            ("file", Some(_)) => nodes.push(form.file(part).await?),
            _ => return Err(WebError::Invalid("form", "use the fields parent and file")),
        }
    }
    if nodes.is_empty() {
        return Err(WebError::Invalid("file", "send at least one file"));
    }
    json(201, &serde_json::json!({ "nodes": nodes }))
}

/// What holds for all files of a form.
struct Form<'a> {
    app: &'a Arc<App>,
    user: &'a User,
    parent: String,
    rename: bool,
    address: String,
}

impl Form<'_> {
    async fn file(&self, mut part: Part<'_>) -> Result<Node, WebError> {
        let refused = WebError::InvalidName("file", NAME_RULE);
        let name = part.file_name().and_then(Name::parse).ok_or(refused)?;
        let target = Target::parse(&self.parent)?;
        let grant = authorize(&self.app.db, self.user, Action::AddTo, target).await?;
        let (first, ended) = look_ahead(&mut part).await?;
        let size = if ended { Some(first.len() as u64) } else { part.length() };
        let size = size.ok_or(WebError::LengthRequired)?;
        let to = Destination {
            owner: self.user.id,
            parent: grant.node_id(),
            name,
            rename: self.rename,
            address: self.address.clone(),
        };
        receive(self.app, to, size, Source::Part(Some(first), part)).await
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

/// `conflict=rename` or `conflict=fail`, which is the default.
fn rename(query: &Fields) -> Result<bool, WebError> {
    match query.get("conflict") {
        None | Some("fail") => Ok(false),
        Some("rename") => Ok(true),
        Some(_) => Err(WebError::Invalid("conflict", "use fail or rename")),
    }
}
