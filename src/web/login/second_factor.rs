//! `/api/totp`: a second factor is enrolled, confirmed with a first code, and ended.

use serde::Deserialize;

use crate::app::{App, client, json};
use crate::db::{Audit, SecondFactor};
use crate::error::WebError;
use crate::ids::UserId;
use crate::notify::Event;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::totp::{
    RECOVERY_BYTES, RECOVERY_CODES, SECRET_BYTES, base32, matching_step, recovery_code,
    recovery_hash, uri,
};

/// What an authenticator shows beside the account.
const ISSUER: &str = "fastdisk";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrol {
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirm {
    code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disable {
    password: String,
    code: String,
}

pub(super) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "totp"], Method::Post) => enrol(app, request).await,
        (["api", "totp", "confirm"], Method::Post) => confirm(app, request).await,
        (["api", "totp", "disable"], Method::Post) => disable(app, request).await,
        (["api", "totp"] | ["api", "totp", "confirm" | "disable"], _) => {
            Err(WebError::WrongMethod("POST"))
        }
        _ => Err(WebError::NoRoute),
    }
}

async fn enrol(app: &App, mut request: Request) -> Result<Response, WebError> {
    let (user, _) = app.owner(&request).await?;
    let form: Enrol = request.json(app.json_bytes_max()).await?;
    app.prove(user.id, &form.password).await?;
    if user.totp {
        return Err(WebError::TotpOn);
    }
    let random = &*app.world.random;
    let mut secret = [0; SECRET_BYTES];
    random.fill(&mut secret);
    let sealed = app.seal.close(&secret, user.id.0, random).map_err(WebError::Internal)?;
    app.db.enrol(user.id, &sealed).await?;
    let shown = serde_json::json!({
        "secret": base32(&secret),
        "uri": uri(ISSUER, &user.name, &secret),
    });
    json(201, &shown)
}

async fn confirm(app: &App, mut request: Request) -> Result<Response, WebError> {
    let (user, _) = app.owner(&request).await?;
    let form: Confirm = request.json(app.json_bytes_max()).await?;
    let factor = app.db.second_factor(user.id).await?.ok_or(WebError::TotpOff)?;
    if factor.confirmed {
        return Err(WebError::TotpOn);
    }
    let attempt = app.throttle.proof(user.id).await?;
    let step = step_of(app, user.id, &factor, &form.code);
    let step = step.and_then(|step| step.ok_or(WebError::BadCode));
    let step = app.throttle.settle(attempt, step).await?;
    let codes: Vec<String> = (0..RECOVERY_CODES)
        .map(|_| {
            let mut random = [0; RECOVERY_BYTES];
            app.world.random.fill(&mut random);
            recovery_code(&random)
        })
        .collect();
    let hashes: Vec<[u8; 32]> = codes.iter().map(|code| recovery_hash(user.id.0, code)).collect();
    let address = client(&request).to_string();
    let done = app.db.confirm_second_factor(user.id, step, &hashes, app.now(), &address).await?;
    if !done {
        return Err(WebError::TotpOn);
    }
    app.notify.tell(user.id, &Event::account());
    json(200, &serde_json::json!({ "recovery_codes": codes }))
}

async fn disable(app: &App, mut request: Request) -> Result<Response, WebError> {
    let (user, _) = app.owner(&request).await?;
    let form: Disable = request.json(app.json_bytes_max()).await?;
    app.prove(user.id, &form.password).await?;
    let factor = app.db.second_factor(user.id).await?.filter(|factor| factor.confirmed);
    check(app, user.id, &factor.ok_or(WebError::TotpOff)?, &form.code).await?;
    let address = client(&request).to_string();
    let (actor, action, address) = (Some(user.id), "totp_off", &*address);
    let deed = Audit { at: app.now(), actor, action, node: None, address, detail: "" };
    app.db.end_second_factor(user.id, deed).await?;
    app.notify.tell(user.id, &Event::account());
    Ok(Response::empty(204).with_header("cache-control", "no-store")?)
}

/// Whether `typed` is the code of now, or a recovery code; either is good once.
pub(super) async fn check(
    app: &App,
    user: UserId,
    factor: &SecondFactor,
    typed: &str,
) -> Result<(), WebError> {
    let attempt = app.throttle.proof(user).await?;
    let done = async {
        let taken = match step_of(app, user, factor, typed)? {
            Some(step) => app.db.take_step(user, step).await?,
            None => app.db.take_recovery_code(user, &recovery_hash(user.0, typed)).await?,
        };
        if taken { Ok(()) } else { Err(WebError::BadCode) }
    };
    app.throttle.settle(attempt, done.await).await
}

fn step_of(
    app: &App,
    user: UserId,
    factor: &SecondFactor,
    typed: &str,
) -> Result<Option<u64>, WebError> {
    let secret = app.seal.open(&factor.sealed, user.0).map_err(WebError::Internal)?;
    Ok(matching_step(&secret, typed, app.now().0 / 1000, factor.step))
}
