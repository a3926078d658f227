//! `/api/session`, `/api/sessions`, `/api/password`: who is signed in and where, settings, and
//! the password.

use serde::Deserialize;

use crate::app::{App, client, json};
use crate::db::{Audit, Settings, Theme};
use crate::error::WebError;
use crate::name::{email_address, label};
use crate::notify::Event;
use crate::password::Password;
use crate::request::{Method, Request};
use crate::response::Response;

const LABEL_RULE: &str = "use 1 to 255 bytes without control characters";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    nickname: Option<String>,
    #[serde(default, with = "double")]
    email: Option<Option<String>>,
    locale: Option<String>,
    theme: Option<Theme>,
}

/// Tells `null` from what is left out.
mod double {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Deserialize::deserialize(from).map(Some)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: String,
    new_password: String,
}

pub(super) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "session"], Method::Get | Method::Head) => {
            json(200, &serde_json::json!({ "user": app.user(&request).await? }))
        }
        (["api", "session"], Method::Patch) => settings(app, request).await,
        (["api", "session"], _) => Err(WebError::WrongMethod("GET, HEAD, PATCH")),
        (["api", "sessions"], Method::Get) => list(app, &request).await,
        (["api", "sessions"], Method::Delete) => end_others(app, &request).await,
        (["api", "sessions"], _) => Err(WebError::WrongMethod("DELETE, GET")),
        (["api", "sessions", id], Method::Delete) => end(app, &request, id).await,
        (["api", "sessions", _], _) => Err(WebError::WrongMethod("DELETE")),
        (["api", "password"], Method::Post) => password(app, request).await,
        (["api", "password"], _) => Err(WebError::WrongMethod("POST")),
        _ => Err(WebError::NoRoute),
    }
}

async fn settings(app: &App, mut request: Request) -> Result<Response, WebError> {
    let (user, _) = app.owner(&request).await?;
    let form: Change = request.json(app.json_bytes_max()).await?;
    let nickname = match &form.nickname {
        Some(typed) => Some(label(typed).ok_or(WebError::Invalid("nickname", LABEL_RULE))?),
        None => None,
    };
    let email = match form.email {
        Some(Some(typed)) if !typed.trim().is_empty() => Some(Some(
            email_address(&typed)
                .ok_or(WebError::Invalid("email", "use an address such as name@example.com"))?,
        )),
        Some(_) => Some(None),
        None => None,
    };
    let locale = match form.locale.as_deref() {
        Some(known @ ("zh" | "en")) => Some(known.to_owned()),
        Some(_) => return Err(WebError::Invalid("locale", "use zh or en")),
        None => None,
    };
    let change = Settings { nickname, email, locale, theme: form.theme };
    app.db.change_settings(user.id, &change).await?;
    app.notify.tell(user.id, &Event::account());
    let user = app.db.user(user.id).await?.ok_or(WebError::Unauthenticated)?;
    json(200, &serde_json::json!({ "user": user }))
}

async fn list(app: &App, request: &Request) -> Result<Response, WebError> {
    let (user, token) = app.owner(request).await?;
    let sessions = app.sessions.list(user.id, Some(&token)).await?;
    json(200, &serde_json::json!({ "sessions": sessions }))
}

async fn end(app: &App, request: &Request, id: &str) -> Result<Response, WebError> {
    let (user, _) = app.owner(request).await?;
    if !app.sessions.end_by_id(user.id, id).await? {
        return Err(WebError::NotFound);
    }
    app.notify.tell(user.id, &Event::account());
    done()
}

async fn end_others(app: &App, request: &Request) -> Result<Response, WebError> {
    let (user, token) = app.owner(request).await?;
    app.sessions.end_others(user.id, Some(&token)).await?;
    app.notify.tell(user.id, &Event::account());
    done()
}

async fn password(app: &App, mut request: Request) -> Result<Response, WebError> {
    let (user, token) = app.owner(&request).await?;
    let form: NewPassword = request.json(app.json_bytes_max()).await?;
    let chosen = Password::choose(&form.new_password, &user.name)?;
    app.prove(user.id, &form.password).await?;
    let hash = app.passwords.hash(chosen).await?;
    let address = client(&request).to_string();
    let deed = Audit {
        at: app.now(),
        actor: Some(user.id),
        action: "password",
        node: None,
        address: &address,
        detail: "",
    };
    app.db.set_password(user.id, &hash, deed).await?;
    // After the commit: whoever knew the old one is out.
    app.sessions.end_others(user.id, Some(&token)).await?;
    app.notify.tell(user.id, &Event::account());
    done()
}

fn done() -> Result<Response, WebError> {
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}
