//! tus 1.0 (<https://tus.io/protocols/resumable-upload>): creation, creation-with-upload,
//! expiration, checksum, termination.
//!
//! Reads headers and writes headers; what an upload is stands in `resumable`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::conflict;
use crate::app::{App, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::checksum::{ALGORITHMS, Checksum};
use crate::date::http_date;
use crate::db::{Conflict, NewUpload, Reserve, Upload};
use crate::digest::Digest;
use crate::error::WebError;
use crate::hex::unhex;
use crate::ids::{UnixMs, UploadId};
use crate::name::{NAME_RULE, Name, folders_of};
use crate::notify::Event;
use crate::request::{Method, Request};
use crate::response::{IntoResponse, Response};
use crate::resumable::{Outcome, Sent, write};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,expiration,checksum,termination";
/// Bytes of Upload-Metadata.
const METADATA_BYTES_MAX: usize = 8192;
const CHUNK_TYPE: &str = "application/offset+octet-stream";

/// Everything at /api/uploads. Every answer says which version is spoken.
pub(super) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    let segments: Vec<String> = request.segments().into_iter().map(str::to_owned).collect();
    let id = segments.get(2).map(String::as_str);
    let done = match (id, request.method()) {
        (None, Method::Get) => return list(app, &request).await,
        (None, Method::Options) => options(app),
        (None, Method::Post) => create(app, request).await,
        (None, _) => Err(WebError::WrongMethod("GET, OPTIONS, POST")),
        (Some(id), Method::Head) => offset(app, &request, id).await,
        (Some(id), Method::Patch) => patch(app, request, id).await,
        (Some(id), Method::Delete) => end(app, &request, id).await,
        (Some(_), _) => Err(WebError::WrongMethod("DELETE, HEAD, PATCH")),
    };
    let response = match done {
        Err(error @ WebError::TusVersion) => {
            error.into_response().with_header("tus-version", VERSION)?
        }
        done => done.into_response(),
    };
    Ok(response.with_header("tus-resumable", VERSION)?)
}

fn options(app: &App) -> Result<Response, WebError> {
    Ok(Response::empty(204)
        .with_header("tus-version", VERSION)?
        .with_header("tus-extension", EXTENSIONS)?
        .with_header("tus-max-size", app.config.limits.upload_bytes_max.to_string())?
        .with_header("tus-checksum-algorithm", ALGORITHMS)?)
}

async fn list(app: &App, request: &Request) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let uploads = app.db.uploads(user.id).await?;
    let shown: Vec<_> = uploads.iter().map(shape).collect();
    json(200, &serde_json::json!({ "uploads": shown }))
}

/// The shape of `Upload` in the API.
fn shape(upload: &Upload) -> serde_json::Value {
    serde_json::json!({
        "id": upload.id,
        "name": upload.name,
        "parent": upload.parent,
        "path": upload.path,
        "conflict": upload.conflict,
        "size": upload.size,
        "offset": upload.received,
        "created_ms": upload.created,
        "expires_ms": upload.expires,
        "node": upload.node,
    })
}

async fn create(app: &Arc<App>, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    check_version(&request)?;
    let size = number(&request, "upload-length")?.ok_or(WebError::LengthRequired)?;
    let limit = app.config.limits.upload_bytes_max;
    if limit < size {
        return Err(WebError::TooLarge(limit));
    }
    let len = chunk_length(&request, false)?;
    let checksum = checksum(&request)?;
    let given = request.header_text("upload-metadata").unwrap_or_default().to_owned();
    let meta = Metadata::parse(&given)?;
    let grant = authorize(&app.db, &user, Action::AddTo, Target::parse(&meta.parent)?).await?;
    let plain = meta.conflict == Conflict::Fail && meta.path.is_empty();
    if plain && app.db.name_taken(user.id, grant.node_id(), &meta.name).await? {
        return Err(WebError::NameTaken);
    }
    let mut id = [0; 16];
    app.world.random.fill(&mut id);
    let id = UploadId(id);
    let hashes = Digest::new(app.hashing.clone()).save().await.map_err(WebError::Internal)?;
    let new = NewUpload {
        id,
        owner: user.id,
        parent: grant.node_id(),
        path: &meta.path,
        name: &meta.name,
        conflict: meta.conflict,
        size,
        metadata: &given,
        want_sha256: meta.sha256.as_deref(),
        hashes: &hashes,
        at: app.now(),
        expires: app.upload_expiry(),
    };
    let expires = new.expires;
    match app.db.begin_upload(&new, app.config.limits.resumable_uploads_per_user_max).await? {
        Reserve::Done(_) => {}
        Reserve::Full => return Err(WebError::QuotaExceeded),
        Reserve::TooMany => return Err(WebError::TooManyUploads),
        Reserve::NoUser => return Err(WebError::Unauthenticated),
    }
    app.notify.tell(user.id, &Event::uploads());
    let mut outcome = Outcome { offset: 0, expires, node: None };
    // Of an empty file the beginning is the end.
    if 0 < len || size == 0 {
        let _slot = app.slots.take(&user.id.to_string(), app.now()).await?;
        let address = client(&request).to_string();
        let body = request.take_body();
        let sent = Sent { offset: 0, len, body, checksum, conflict: None, address };
        outcome = write(app, user.id, id, sent).await?;
    }
    let response = Response::empty(201).with_header("location", format!("/api/uploads/{id}"))?;
    progress(response, &outcome)
}

async fn offset(app: &App, request: &Request, id: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    check_version(request)?;
    let id = UploadId::parse(id).ok_or(WebError::NotFound)?;
    let upload = app.db.upload(user.id, id).await?.ok_or(WebError::NotFound)?;
    let outcome = Outcome { offset: upload.received, expires: upload.expires, node: upload.node };
    let response = Response::empty(200)
        .with_header("upload-length", upload.size.to_string())?
        .with_header("upload-metadata", upload.metadata)?;
    progress(response, &outcome)
}

async fn patch(app: &Arc<App>, mut request: Request, id: &str) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    check_version(&request)?;
    let id = UploadId::parse(id).ok_or(WebError::NotFound)?;
    let conflict = conflict(&request.query()?)?;
    let len = chunk_length(&request, true)?;
    let offset = number(&request, "upload-offset")?;
    let offset = offset.ok_or(WebError::Invalid("Upload-Offset", "send the offset"))?;
    let checksum = checksum(&request)?;
    let _slot = app.slots.take(&user.id.to_string(), app.now()).await?;
    let address = client(&request).to_string();
    let body = request.take_body();
    let sent = Sent { offset, len, body, checksum, conflict, address };
    progress(Response::empty(204), &write(app, user.id, id, sent).await?)
}

async fn end(app: &App, request: &Request, id: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    check_version(request)?;
    let id = UploadId::parse(id).ok_or(WebError::NotFound)?;
    if !app.db.end_upload(user.id, id, app.now()).await? {
        return Err(WebError::NotFound);
    }
    app.notify.tell(user.id, &Event::uploads());
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}

fn progress(response: Response, outcome: &Outcome) -> Result<Response, WebError> {
    let UnixMs(expires) = outcome.expires;
    let response = response
        .with_header("upload-offset", outcome.offset.to_string())?
        .with_header("upload-expires", http_date(expires / 1000))?
        .with_header("cache-control", "no-store")?;
    match outcome.node {
        Some(node) => Ok(response.with_header("upload-node", node.to_string())?),
        None => Ok(response),
    }
}

fn check_version(request: &Request) -> Result<(), WebError> {
    match request.header("tus-resumable") {
        Some(version) if version == VERSION.as_bytes() => Ok(()),
        _ => Err(WebError::TusVersion),
    }
}

/// A header that is a number; decimal digits alone.
fn number(request: &Request, name: &'static str) -> Result<Option<u64>, WebError> {
    let Some(text) = request.header(name) else { return Ok(None) };
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let value = str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    // The database keeps sizes in signed columns.
    let value = value.filter(|value| i64::try_from(*value).is_ok());
    value.map(Some).ok_or(WebError::Invalid(name, "use decimal digits"))
}

/// How many bytes the body brings; it must be a chunk if there are any, or if `always`.
fn chunk_length(request: &Request, always: bool) -> Result<u64, WebError> {
    let len = match request.content_length() {
        Some(len) => len,
        None if always => return Err(WebError::LengthRequired),
        None => 0,
    };
    let given = request.header_text("content-type").unwrap_or_default();
    if (always || 0 < len) && given != CHUNK_TYPE {
        return Err(crate::request::BadRequest::WrongType { want: CHUNK_TYPE }.into());
    }
    Ok(len)
}

fn checksum(request: &Request) -> Result<Option<Checksum>, WebError> {
    let Some(text) = request.header("upload-checksum") else { return Ok(None) };
    let parsed = str::from_utf8(text).ok().and_then(Checksum::parse);
    let wanted = WebError::Invalid("Upload-Checksum", "use an algorithm of Tus-Checksum-Algorithm");
    parsed.map(Some).ok_or(wanted)
}

/// What Upload-Metadata says.
#[derive(Debug)]
struct Metadata {
    name: Name,
    parent: String,
    path: String,
    conflict: Conflict,
    sha256: Option<Vec<u8>>,
}

impl Metadata {
    fn parse(given: &str) -> Result<Self, WebError> {
        let refused = || {
            WebError::Invalid(
                "Upload-Metadata",
                "use pairs of a key and a Base64 value, with commas",
            )
        };
        if METADATA_BYTES_MAX < given.len() {
            return Err(refused());
        }
        let (mut name, mut parent, mut path) = (None, "root".to_owned(), String::new());
        let (mut conflict, mut sha256) = (Conflict::Fail, None);
        for pair in given.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let bytes = STANDARD.decode(value.trim()).map_err(|_| refused())?;
            let text = String::from_utf8(bytes).map_err(|_| refused())?;
            match key {
                "filename" => name = Some(text),
                "parent" => parent = text,
                "path" => path = text,
                "conflict" => {
                    conflict = Conflict::parse(&text)
                        .ok_or(WebError::Invalid("conflict", "use fail, rename or replace"))?;
                }
                "sha256" => {
                    let hash = unhex(&text).filter(|hash| hash.len() == 32);
                    let want = "use 64 lower-case hexadecimal digits";
                    sha256 = Some(hash.ok_or(WebError::Invalid("sha256", want))?);
                }
                _ => {} // such as the media type a client believes in
            }
        }
        let name = name.as_deref().and_then(Name::parse);
        let name = name.ok_or(WebError::InvalidName("filename", NAME_RULE))?;
        let fits = path.is_empty() || folders_of(&path).is_some();
        if !fits || 4096 < path.len() {
            return Err(WebError::InvalidName("path", NAME_RULE));
        }
        Ok(Self { name, parent, path, conflict, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_or_refused() {
        let meta =
            Metadata::parse("filename YS50eHQ=,parent Nw==,conflict cmVwbGFjZQ==,x").unwrap();
        assert_eq!((meta.name.as_str(), meta.parent.as_str()), ("a.txt", "7"));
        assert_eq!(meta.conflict, Conflict::Replace);
        let folder = Metadata::parse("filename YQ==, path YS9i").unwrap();
        assert_eq!(folder.path, "a/b");
        let long = format!("filename YQ==,x {}", "A".repeat(METADATA_BYTES_MAX));
        for wrong in [
            "",
            "filename",
            "filename !",
            "filename Li4=",
            "filename YQ==,path Li4=",
            "filename YQ==,conflict eA==",
            "filename YQ==,sha256 YQ==",
            "filename /w==",
            &long,
        ] {
            assert!(Metadata::parse(wrong).is_err(), "{wrong}");
        }
    }
}
