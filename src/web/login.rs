//! `POST /api/login`, `POST /api/logout`, `GET /api/session`: opens, ends and shows sessions.

use serde::Deserialize;

use crate::app::{App, client, json};
use crate::db::Audit;
use crate::error::WebError;
use crate::ids::UserId;
use crate::name::UserName;
use crate::password::Password;
use crate::request::{Method, Request};
use crate::response::Response;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    password: String,
}

pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "login"], Method::Post) => login(app, request).await,
        (["api", "logout"], Method::Post) => logout(app, request).await,
        (["api", "session"], Method::Get | Method::Head) => {
            json(200, &serde_json::json!({ "user": app.user(&request).await? }))
        }
        (["api", "login" | "logout"], _) => Err(WebError::WrongMethod("POST")),
        (["api", "session"], _) => Err(WebError::WrongMethod("GET, HEAD")),
        _ => Err(WebError::NoRoute),
    }
}

async fn login(app: &App, mut request: Request) -> Result<Response, WebError> {
    let form: Form = request.json(app.json_bytes_max()).await?;
    let name = UserName::parse(&form.name).ok_or(WebError::BadCredentials)?;
    let password = Password::typed(&form.password).ok_or(WebError::BadCredentials)?;
    let from = client(&request);
    let attempt = app.throttle.login(&name.key, from).await?;

    let (id, fits) = match compare(app, &name, password).await {
        Ok(compared) => compared,
        Err(error) => {
            app.throttle.not_made(attempt).await?;
            return Err(error);
        }
    };
    let address = from.to_string();
    let deed = Audit {
        at: app.now(),
        actor: id,
        action: if fits { "login" } else { "login_refused" },
        node: None,
        address: &address,
        detail: &name.key,
    };
    app.db.note(deed).await?;
    let Some(id) = id.filter(|_| fits) else { return Err(WebError::BadCredentials) };
    app.throttle.succeeded(attempt).await?;

    // The session this browser had is over; nobody else's is.
    if let Some(old) = app.token(&request) {
        app.sessions.end(&old).await?;
    }
    let user = app.db.user(id).await?.ok_or(WebError::BadCredentials)?;
    let token = app.sessions.open(id, app.now(), &*app.world.random).await?;
    let response = json(200, &serde_json::json!({ "user": user }))?;
    app.with_session(response, &request, &token)
}

/// Whose name it is, and whether the password is theirs. Unknown names cost the same work, so
/// the time tells nothing.
async fn compare(
    app: &App,
    name: &UserName,
    password: Password,
) -> Result<(Option<UserId>, bool), WebError> {
    let known = app.db.credentials(&name.key).await?;
    let (id, stored) = known.map(|known| (known.id, known.password)).unzip();
    Ok((id, app.passwords.verify(password, stored).await?))
}

async fn logout(app: &App, request: Request) -> Result<Response, WebError> {
    if let Some(token) = app.token(&request) {
        app.sessions.end(&token).await?;
    }
    let response = Response::empty(204).with_header("cache-control", "no-store")?;
    app.without_session(response, &request)
}
