//! `/api/tokens`: what programs sign in with. Only a session makes, shows and ends them.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::app::{App, client, json};
use crate::db::{ApiToken, NewToken};
use crate::error::WebError;
use crate::hex::hex;
use crate::ids::{TokenId, UnixMs};
use crate::name::label;
use crate::notify::Event;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::scope::{Scope, Scopes};

/// Tells scanners of leaked secrets what they have found.
const PREFIX: &str = "fdt_";
const SECRET_BYTES: usize = 32;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Ten years; who wants longer leaves it out.
const EXPIRES_DAYS_MAX: u64 = 3650;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    scopes: Vec<Scope>,
    expires_days: Option<u64>,
    password: String,
}

pub(super) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "tokens"], Method::Get) => list(app, &request).await,
        (["api", "tokens"], Method::Post) => make(app, request).await,
        (["api", "tokens"], _) => Err(WebError::WrongMethod("GET, POST")),
        (["api", "tokens", id], Method::Delete) => end(app, &request, id).await,
        (["api", "tokens", _], _) => Err(WebError::WrongMethod("DELETE")),
        _ => Err(WebError::NoRoute),
    }
}

async fn list(app: &App, request: &Request) -> Result<Response, WebError> {
    let (user, _) = app.owner(request).await?;
    let tokens = app.db.tokens(user.id).await?;
    let shown: Vec<_> = tokens.iter().map(shape).collect();
    json(200, &serde_json::json!({ "tokens": shown }))
}

/// The shape of `Token` in the API.
fn shape(token: &ApiToken) -> serde_json::Value {
    serde_json::json!({
        "id": token.id,
        "name": token.name,
        "scopes": Scopes(token.scopes).list(),
        "created_ms": token.created,
        "expires_ms": token.expires,
        "used_ms": token.used,
    })
}

async fn make(app: &App, mut request: Request) -> Result<Response, WebError> {
    let (user, _) = app.owner(&request).await?;
    let form: Form = request.json(app.json_bytes_max()).await?;
    let rule = WebError::Invalid("name", "use 1 to 255 bytes without control characters");
    let name = label(&form.name).ok_or(rule)?;
    if form.scopes.is_empty() {
        return Err(WebError::Invalid("scopes", "use at least one"));
    }
    let days = form.expires_days;
    if days.is_some_and(|days| !(1..=EXPIRES_DAYS_MAX).contains(&days)) {
        return Err(WebError::Invalid("expires_days", "use 1 to 3650"));
    }
    app.prove(user.id, &form.password).await?;
    let mut bytes = [0; SECRET_BYTES];
    app.world.random.fill(&mut bytes);
    let secret = format!("{PREFIX}{}", hex(&bytes));
    let at = app.now();
    let expires = days.map(|days| UnixMs(at.0.saturating_add(days.saturating_mul(DAY_MS))));
    let scopes = Scopes::of(&form.scopes);
    let new = NewToken {
        user: user.id,
        name: &name,
        hash: &Sha256::digest(&secret),
        scopes: scopes.0,
        at,
        expires,
        address: &client(&request).to_string(),
    };
    let id = app.db.make_token(&new, app.config.limits.tokens_per_user_max).await?;
    let id = id.ok_or(WebError::Invalid("name", "end a token first: there are too many"))?;
    app.notify.tell(user.id, &Event::account());
    let (created, used) = (at, None);
    let token = ApiToken { id, name: name.clone(), scopes: scopes.0, created, expires, used };
    json(201, &serde_json::json!({ "token": shape(&token), "secret": secret }))
}

async fn end(app: &App, request: &Request, id: &str) -> Result<Response, WebError> {
    let (user, _) = app.owner(request).await?;
    let id = TokenId::parse(id).ok_or(WebError::NotFound)?;
    if !app.db.end_token(user.id, id).await? {
        return Err(WebError::NotFound);
    }
    app.notify.tell(user.id, &Event::account());
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}
