//! Whether a visitor may enter a share, and what a right code is turned into.
//!
//! A pass is a cookie for the addresses of one share; Redis knows its hash. Changing the code ends
//! all passes, and so does losing Redis: the code is asked for again.

use serde::Deserialize;

use crate::app::{App, client};
use crate::db::{Node, ShareRow, ShareState};
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
/// And so many times its bytes may be asked for: a connection that breaks is answered with the
/// rest each time, of which nobody here knows how much arrived. So a limit of one download lets
/// a visitor who was counted have the bytes five times at most: once, and these again in pieces.
const RESUMED_TIMES_MAX: u64 = 4;

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
    let (visit, _) = inside(app, request, &row).await?;
    Ok((row, visit))
}

/// With the pass, if the share has a code.
async fn inside(
    app: &App,
    request: &Request,
    row: &ShareRow,
) -> Result<(Visit, Option<String>), WebError> {
    let pass = pass(app, request, row).await?;
    if row.code.is_some() && pass.is_none() {
        return Err(WebError::ShareCode);
    }
    Ok((Visit::new(row.owner, app.db.share_nodes(row.id).await?), pass))
}

/// Entered to download a file. Also when the share is used up, but not when it was stopped or has
/// expired: whoever was counted may go on, which [`count_download`] finds out. With who it is.
pub(super) async fn enter_to_download(
    app: &App,
    request: &Request,
    id: &str,
) -> Result<(ShareRow, Visit, String), WebError> {
    let id = ShareId::parse(id).ok_or(WebError::NotFound)?;
    let row = app.db.share(id).await?.ok_or(WebError::NotFound)?;
    match row.state(app.now()) {
        ShareState::UsedUp => check(&row, ShareState::Live)?,
        state => check(&row, state)?,
    }
    let (visit, pass) = inside(app, request, &row).await?;
    Ok((row, visit, visitor(pass, request)))
}

/// Counts one visitor's download of one file, unless it goes on with one that was counted or only
/// the header is asked for: then nothing is taken. The last step before the answer, which then
/// must be given.
pub(super) async fn count_download(
    app: &App,
    request: &Request,
    row: &ShareRow,
    (file, visitor): (&Node, &str),
) -> Result<(), WebError> {
    let mark = format!("shdl:{}:{visitor}:{}", row.id, file.id);
    if let Some(bytes) = sending::rest_bytes(request, file.size)
        && sending::spend(app, &mark, bytes).await?
    {
        return Ok(());
    }
    check(row, row.state(app.now()))?;
    if request.method() == Method::Head {
        return Ok(());
    }
    take_download(app, row).await?;
    let rest = file.size.saturating_mul(RESUMED_TIMES_MAX).min(i64::MAX as u64).to_string();
    if let Err(error) = sending::put(app, &mark, &rest, RESUME_MS).await {
        log::warn!("a download that was counted cannot be gone on with: {error}");
    }
    Ok(())
}

/// Takes one download from the share; the last step before what it is taken for.
pub(super) async fn take_download(app: &App, row: &ShareRow) -> Result<(), WebError> {
    if !app.db.take_download(row.id, app.now()).await? {
        // It ended between the two looks.
        let row = app.db.share(row.id).await?.ok_or(WebError::NotFound)?;
        check(&row, row.state(app.now()))?;
        return Err(WebError::NotFound);
    }
    // The owner's list of shares shows how many are left.
    app.notify.tell(row.owner, &Event::shares());
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

/// The hash of the visitor's pass, if it is one of this share and the code is still the same.
pub(super) async fn pass(
    app: &App,
    request: &Request,
    row: &ShareRow,
) -> Result<Option<String>, WebError> {
    let token = request.cookie(&cookie_name(row.id)).and_then(Token::parse);
    let Some(token) = token.filter(|_| row.code.is_some()) else { return Ok(None) };
    let pass = sending::get(app, &pass_key(&token)).await?;
    Ok((pass.as_deref() == Some(&*pass_of(row))).then(|| token.hash()))
}

/// Who a visitor is, as far as we can tell: a pass that we gave out, or else the address. What a
/// visitor merely says is nobody.
pub(super) fn visitor(pass: Option<String>, request: &Request) -> String {
    pass.unwrap_or_else(|| client(request).to_string())
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
