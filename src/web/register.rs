//! `POST /api/register`: makes an account and signs it in.

use serde::Deserialize;

use crate::app::{App, client, json};
use crate::db::{DbError, NewUser, Role};
use crate::error::WebError;
use crate::name::{UserName, email_address, label};
use crate::password::Password;
use crate::request::{Method, Request};
use crate::response::Response;

const NAME_RULE: &str = "use 2 to 32 letters, digits, dots, hyphens or underscores";
const LABEL_RULE: &str = "use 1 to 255 bytes without control characters";
const EMAIL_RULE: &str = "use an address such as name@example.com";
const LOCALE: &str = "zh";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    password: String,
    nickname: Option<String>,
    email: Option<String>,
}

pub(crate) async fn handle(app: &App, mut request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "register"], Method::Post) => {}
        (["api", "register"], _) => return Err(WebError::WrongMethod("POST")),
        _ => return Err(WebError::NoRoute),
    }
    let form: Form = request.json(app.json_bytes_max()).await?;
    let name = UserName::parse(&form.name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let nickname = form.nickname.filter(|typed| !typed.trim().is_empty());
    let nickname = match nickname {
        Some(typed) => label(&typed).ok_or(WebError::Invalid("nickname", LABEL_RULE))?,
        None => name.shown.clone(),
    };
    let email = form.email.filter(|typed| !typed.trim().is_empty());
    let email = match email {
        Some(typed) => Some(email_address(&typed).ok_or(WebError::Invalid("email", EMAIL_RULE))?),
        None => None,
    };
    let password = Password::choose(&form.password, &name.shown)?;
    app.throttle.registration(client(&request)).await?;

    let new = NewUser {
        name: name.shown,
        name_key: name.key,
        nickname,
        password: app.passwords.hash(password).await?,
        email,
        role: Role::User,
        quota_bytes: app.config.limits.quota_default_bytes,
        locale: LOCALE.to_owned(),
        created: app.now(),
    };
    let id = match app.db.create_user(&new, None, &client(&request).to_string()).await {
        Err(DbError::Taken) => return Err(WebError::NameTaken),
        done => done?,
    };
    let user = app.db.user(id).await?.ok_or(WebError::Unauthenticated)?;
    let token = app.open_session(id, &request).await?;
    let response = json(201, &serde_json::json!({ "user": user }))?;
    app.with_session(response, &request, &token)
}
