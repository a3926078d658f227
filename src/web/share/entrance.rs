//! Whether a visitor may enter a share, and what a right code is turned into.
//!
//! A pass is a cookie for the addresses of one share; Redis knows its hash. Changing the code ends
//! all passes, and so does losing Redis: the code is asked for again.

use serde::Deserialize;

use crate::app::{App, client};
use crate::db::{ShareRow, ShareState};
use crate::error::WebError;
use crate::ids::ShareId;
use crate::notify::Event;
use crate::password::Password;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::sending;
use crate::session::Token;
use crate::visit::Visit;

/// How long a code need not be typed again.
const PASS_MS: u64 = 12 * 3600 * 1000;
/// How long a download that was counted may be gone on with.
const RESUME_MS: u64 = 6 * 3600 * 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeForm {
    code: String,
}

/// A share that has not ended, whoever asks.
pub(super) async fn alive(app: &App, id: &str) -> Result<ShareRow, WebError> {
    let id = ShareId::parse(id).ok_or(WebError::NotFound)?;
    let row = app.db.share(id).await?.ok_or(WebError::NotFound)?;
    if row.owner_disabled {
        return Err(WebError::NotFound);
    }
    check(&row, row.state(app.now()))?;
    Ok(row)
}

fn check(row: &ShareRow, state: ShareState) -> Result<(), WebError> {
    match state {
        _ if row.owner_disabled || row.entries == 0 => Err(WebError::NotFound),
        ShareState::Live => Ok(()),
        ShareState::Expired => Err(WebError::Ended("share_expired", "this share has expired")),
        ShareState::Stopped => Err(WebError::Ended("share_stopped", "this share was stopped")),
        ShareState::UsedUp => {
            Err(WebError::Ended("share_used_up", "this share has no downloads left"))
        }
    }
}

/// The same, entered: its code was given, if it has one.
pub(super) async fn enter(
    app: &App,
    request: &Request,
    id: &str,
) -> Result<(ShareRow, Visit), WebError> {
    let row = alive(app, id).await?;
    let visit = inside(app, request, &row).await?;
    Ok((row, visit))
}

async fn inside(app: &App, request: &Request, row: &ShareRow) -> Result<Visit, WebError> {
    if row.code.is_some() && !has_pass(app, request, row).await? {
        return Err(WebError::ShareCode);
    }
    Ok(Visit::new(row.owner, app.db.share_nodes(row.id).await?))
}

/// Entered to download `what`. To go on with a download that was counted is possible also when the
/// share is used up, but not when it was stopped or has expired.
pub(super) async fn enter_to_download(
    app: &App,
    request: &Request,
    id: &str,
    what: &str,
) -> Result<(ShareRow, Visit), WebError> {
    let parsed = ShareId::parse(id).ok_or(WebError::NotFound)?;
    let row = app.db.share(parsed).await?.ok_or(WebError::NotFound)?;
    let state = row.state(app.now());
    let mark = format!("shdl:{}:{}:{what}", row.id, visitor(app, request, row.id));
    let goes_on = request.method() == Method::Get
        && !sending::is_start(request)
        && sending::seen(app, &mark).await?;
    match state {
        ShareState::UsedUp if goes_on && !row.owner_disabled => {}
        state => check(&row, state)?,
    }
    let visit = inside(app, request, &row).await?;
    Ok((row, visit))
}

/// Takes one download from the share, just before the bytes leave.
pub(super) async fn take_download(
    app: &App,
    request: &Request,
    row: &ShareRow,
    what: &str,
) -> Result<(), WebError> {
    if request.method() == Method::Head {
        return Ok(());
    }
    let mark = format!("shdl:{}:{}:{what}", row.id, visitor(app, request, row.id));
    if request.method() == Method::Get
        && !sending::is_start(request)
        && sending::seen(app, &mark).await?
    {
        return Ok(());
    }
    if !app.db.take_download(row.id, app.now()).await? {
        // It ended between the two looks.
        let row = app.db.share(row.id).await?.ok_or(WebError::NotFound)?;
        check(&row, row.state(app.now()))?;
        return Err(WebError::NotFound);
    }
    // The owner's list of shares shows how many are left.
    app.notify.tell(row.owner, &Event::shares());
    sending::first(app, &mark, RESUME_MS).await?;
    if row.public {
        app.ranking.count(row.id, row.downloads.saturating_add(1)).await;
    }
    Ok(())
}

/// `POST /api/share/{id}/open`: the code, for a pass.
pub(super) async fn open(app: &App, mut request: Request, id: &str) -> Result<Response, WebError> {
    let row = alive(app, id).await?;
    let form: CodeForm = request.json(app.json_bytes_max()).await?;
    let Some(code) = &row.code else { return Ok(Response::empty(204)) };
    let typed = Password::typed(&form.code).ok_or(WebError::WrongCode)?;
    let attempt = app.throttle.share_code(&row.id.to_string(), client(&request)).await?;
    let done = match app.passwords.verify(typed, Some(code.clone())).await {
        Ok(false) => Err(WebError::WrongCode),
        done => done.map(drop),
    };
    app.throttle.settle(attempt, done).await?;
    let token = Token::new(&*app.world.random);
    sending::put(app, &pass_key(&token), &pass_of(&row), PASS_MS).await?;
    let secure = if app.is_secure(&request) { "; Secure" } else { "" };
    let cookie = format!(
        "{}={}; Path=/api/share/{}; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        cookie_name(row.id),
        token.secret(),
        row.id,
        PASS_MS / 1000
    );
    let response = Response::empty(204).with_header("cache-control", "no-store")?;
    Ok(response.with_header("set-cookie", cookie)?)
}

/// Whether the visitor has given the code that the share has now.
pub(super) async fn has_pass(
    app: &App,
    request: &Request,
    row: &ShareRow,
) -> Result<bool, WebError> {
    let token = request.cookie(&cookie_name(row.id)).and_then(Token::parse);
    let Some(token) = token else { return Ok(false) };
    let pass = sending::get(app, &pass_key(&token)).await?;
    Ok(pass.as_deref() == Some(&*pass_of(row)))
}

/// Who a visitor is, as far as we can tell: the pass, or else the address.
pub(super) fn visitor(app: &App, request: &Request, id: ShareId) -> String {
    let token = request.cookie(&cookie_name(id)).and_then(Token::parse);
    let token = token.or_else(|| app.token(request));
    token.map_or_else(|| client(request).to_string(), |token| token.hash())
}

fn cookie_name(id: ShareId) -> String {
    format!("share-{id}")
}

fn pass_key(token: &Token) -> String {
    format!("shpass:{}", token.hash())
}

fn pass_of(row: &ShareRow) -> String {
    format!("{}:{}", row.id, row.code_version)
}
