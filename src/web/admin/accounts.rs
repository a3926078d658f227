//! `/api/admin/users`: accounts are listed, made, changed, disabled, and let in again.

use serde::Deserialize;

use super::{limit, number};
use crate::app::{App, client, json};
use crate::db::{Account, AccountChange, Audit, DbError, NewUser, Role, User};
use crate::error::WebError;
use crate::ids::UserId;
use crate::name::{UserName, label};
use crate::notify::Event;
use crate::paging::cut;
use crate::password::{Password, generate};
use crate::request::{Method, Request};
use crate::response::Response;

const NAME_RULE: &str = "use 2 to 32 letters, digits, dots, hyphens or underscores";
/// More than there are bytes; the database keeps sizes in signed columns.
const QUOTA_MAX: u64 = i64::MAX.unsigned_abs();

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    name: String,
    password: Option<String>,
    nickname: Option<String>,
    role: Option<Role>,
    quota_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    quota_bytes: Option<u64>,
    role: Option<Role>,
    disabled: Option<bool>,
    totp: Option<bool>,
}

pub(super) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    let admin = app.administrator(&request).await?;
    match (request.segments().as_slice(), request.method()) {
        (["api", "admin", "users"], Method::Get) => list(app, &request).await,
        (["api", "admin", "users"], Method::Post) => make(app, &admin, request).await,
        (["api", "admin", "users"], _) => Err(WebError::WrongMethod("GET, POST")),
        (["api", "admin", "users", id], Method::Patch) => {
            let id = UserId::parse(id).ok_or(WebError::NotFound)?;
            change(app, &admin, request, id).await
        }
        (["api", "admin", "users", _], _) => Err(WebError::WrongMethod("PATCH")),
        (["api", "admin", "users", id, "password"], Method::Post) => {
            let id = UserId::parse(id).ok_or(WebError::NotFound)?;
            reset(app, &admin, &request, id).await
        }
        (["api", "admin", "users", _, "password"], _) => Err(WebError::WrongMethod("POST")),
        _ => Err(WebError::NoRoute),
    }
}

async fn list(app: &App, request: &Request) -> Result<Response, WebError> {
    let query = request.query()?;
    let (after, most) = (number(&query, "cursor")?.unwrap_or(0), limit(&query)?);
    let part = query.get("q").unwrap_or_default();
    let users = app.db.accounts(after, part, most.saturating_add(1)).await?;
    let (users, next) = cut(users, most, |account| account.user.id.to_string());
    json(200, &serde_json::json!({ "users": users, "next": next }))
}

async fn make(app: &App, admin: &User, mut request: Request) -> Result<Response, WebError> {
    let form: Made = request.json(app.json_bytes_max()).await?;
    let name = UserName::parse(&form.name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let rule = WebError::Invalid("nickname", "use 1 to 255 bytes without control characters");
    let nickname = match &form.nickname {
        Some(typed) => label(typed).ok_or(rule)?,
        None => name.shown.clone(),
    };
    let made = form.password.is_none().then(|| generate(&*app.world.random));
    let typed = form.password.as_deref().or(made.as_deref()).unwrap_or_default();
    let password = Password::choose(typed, &name.shown)?;
    let new = NewUser {
        name: name.shown,
        name_key: name.key,
        nickname,
        password: app.passwords.hash(password).await?,
        email: None,
        role: form.role.unwrap_or(Role::User),
        quota_bytes: quota(form.quota_bytes)?.unwrap_or(app.config.limits.quota_default_bytes),
        locale: "zh".to_owned(),
        created: app.now(),
    };
    let address = client(&request).to_string();
    let id = match app.db.create_user(&new, Some(admin.id), &address).await {
        Err(DbError::Taken) => return Err(WebError::NameTaken),
        done => done?,
    };
    json(201, &serde_json::json!({ "user": account(app, id).await?, "password": made }))
}

async fn change(
    app: &App,
    admin: &User,
    mut request: Request,
    id: UserId,
) -> Result<Response, WebError> {
    let form: Changed = request.json(app.json_bytes_max()).await?;
    let known = account(app, id).await?;
    let own = id == admin.id;
    if own && (form.disabled == Some(true) || form.role == Some(Role::User)) {
        return Err(WebError::OwnAccount);
    }
    if form.totp == Some(true) {
        return Err(WebError::Invalid("totp", "only its owner can enrol a second factor"));
    }
    let quota_bytes = quota(form.quota_bytes)?;
    let change = AccountChange { quota_bytes, role: form.role, disabled: form.disabled };
    let address = client(&request).to_string();
    let detail = format!(
        "{}: quota {:?}, role {:?}, disabled {:?}, totp {:?}",
        known.user.name, form.quota_bytes, form.role, form.disabled, form.totp
    );
    let deed = deed_of(app, admin, "admin_changed_user", &address, &detail);
    app.db.change_account(id, change, deed).await?;
    if form.totp == Some(false) {
        let deed = deed_of(app, admin, "totp_off", &address, &known.user.name);
        app.db.end_second_factor(id, deed).await?;
    }
    if form.disabled == Some(true) {
        app.sessions.end_others(id, None).await?;
    }
    app.notify.tell(id, &Event::account());
    json(200, &serde_json::json!({ "user": account(app, id).await? }))
}

async fn reset(
    app: &App,
    admin: &User,
    request: &Request,
    id: UserId,
) -> Result<Response, WebError> {
    let known = account(app, id).await?;
    let made = generate(&*app.world.random);
    let password = Password::choose(&made, &known.user.name)?;
    let hash = app.passwords.hash(password).await?;
    let address = client(request).to_string();
    let deed = deed_of(app, admin, "admin_reset_password", &address, &known.user.name);
    app.db.set_password(id, &hash, deed).await?;
    app.sessions.end_others(id, None).await?;
    json(200, &serde_json::json!({ "password": made }))
}

async fn account(app: &App, id: UserId) -> Result<Account, WebError> {
    app.db.account(id).await?.ok_or(WebError::NotFound)
}

fn quota(bytes: Option<u64>) -> Result<Option<u64>, WebError> {
    match bytes {
        Some(bytes) if QUOTA_MAX < bytes => {
            Err(WebError::Invalid("quota_bytes", "use a number below 2^63"))
        }
        bytes => Ok(bytes),
    }
}

fn deed_of<'a>(
    app: &App,
    admin: &User,
    action: &'static str,
    address: &'a str,
    detail: &'a str,
) -> Audit<'a> {
    Audit { at: app.now(), actor: Some(admin.id), action, node: None, address, detail }
}
