//! `POST /api/login`, `POST /api/logout`: opens and ends sessions. What an account does with
//! itself once it is signed in stands in the files below.

mod second_factor; // /api/totp
mod sessions; // /api/session, /api/sessions, /api/password
mod tokens; // /api/tokens

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
    code: Option<String>,
}

pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "login"], Method::Post) => login(app, request).await,
        (["api", "logout"], Method::Post) => logout(app, request).await,
        (["api", "login" | "logout"], _) => Err(WebError::WrongMethod("POST")),
        (["api", "session" | "sessions" | "password", ..], _) => {
            sessions::handle(app, request).await
        }
        (["api", "totp", ..], _) => second_factor::handle(app, request).await,
        (["api", "tokens", ..], _) => tokens::handle(app, request).await,
        _ => Err(WebError::NoRoute),
    }
}

async fn login(app: &App, mut request: Request) -> Result<Response, WebError> {
    let form: Form = request.json(app.json_bytes_max()).await?;
    let name = UserName::parse(&form.name).ok_or(WebError::BadCredentials)?;
    let password = Password::typed(&form.password).ok_or(WebError::BadCredentials)?;
    let attempt = app.throttle.login(&name.key, client(&request)).await?;
    let done = prove(app, &request, &name, password, form.code.as_deref()).await;
    let known = app.throttle.settle(attempt, done).await?;

    // The session this browser had is over; nobody else's is.
    if let Some(old) = app.token(&request) {
        app.sessions.end(&old).await?;
    }
    let user = app.db.user(known).await?.ok_or(WebError::BadCredentials)?;
    let token = app.open_session(known, &request).await?;
    let response = json(200, &serde_json::json!({ "user": user }))?;
    app.with_session(response, &request, &token)
}

/// Whose name it is, if the password and the second factor are theirs. A missing code is no
/// guess.
async fn prove(
    app: &App,
    request: &Request,
    name: &UserName,
    password: Password,
    code: Option<&str>,
) -> Result<UserId, WebError> {
    let (id, fits) = compare(app, name, password).await?;
    let Some(user) = id.filter(|_| fits) else {
        return Err(refuse(app, request, "login_refused", name, WebError::BadCredentials).await);
    };
    let factor = app.db.second_factor(user).await?.filter(|factor| factor.confirmed);
    if let Some(factor) = factor {
        let code = code.filter(|code| !code.is_empty()).ok_or(WebError::CodeRequired)?;
        match second_factor::check(app, user, &factor, code).await {
            Err(WebError::BadCode) => {
                let (action, why) = ("login_code_refused", WebError::BadCode);
                return Err(refuse(app, request, action, name, why).await);
            }
            done => done?,
        }
    }
    note(app, request, Some(user), "login", name).await?;
    Ok(user)
}

/// Notes a wrong guess, of nobody we know: the name is what was typed. It stays a wrong guess,
/// also when it cannot be noted.
async fn refuse(
    app: &App,
    request: &Request,
    action: &'static str,
    name: &UserName,
    why: WebError,
) -> WebError {
    if let Err(error) = note(app, request, None, action, name).await {
        log::error!("{action} is not in the audit: {error}");
    }
    why
}

async fn note(
    app: &App,
    request: &Request,
    actor: Option<UserId>,
    action: &'static str,
    name: &UserName,
) -> Result<(), WebError> {
    let address = client(request).to_string();
    let address = &*address;
    let deed = Audit { at: app.now(), actor, action, node: None, address, detail: &name.key };
    Ok(app.db.note(deed).await?)
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
