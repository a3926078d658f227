//! `POST /api/instant`, `POST /api/instant/{challenge}`: stores a file without its bytes, for
//! somebody who proves to have them (秒传).
//!
//! From outside it cannot be told whether a content is known: the challenge looks the same, and
//! every refusal is the same answer after the same work, in steps of time that hide the rest. The
//! client's MD5 only finds candidates; what is linked is what the proof fits, whose bytes this
//! server has hashed itself.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

use crate::app::{App, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::challenge::{LIVES_MS, RANGE_BYTES, Wanted, is_name, offsets};
use crate::db::{Audit, Bytes as Where, Candidate, Conflict, DbError, User};
use crate::error::WebError;
use crate::hex::unhex;
use crate::ids::{NodeId, UserId};
use crate::intake::{Destination, new_file, told};
use crate::media::{HEAD_BYTES, sniff};
use crate::name::{NAME_RULE, Name, folders_of};
use crate::notify::Event;
use crate::request::{Method, Request};
use crate::response::Response;

/// Smaller files are simply uploaded: to prove them would take as long.
const SIZE_MIN: u64 = 64 * 1024;
/// A refusal comes a multiple of this after the request: longer than a proof takes to be checked
/// by a store that is not busy.
const REFUSAL_STEP: Duration = Duration::from_millis(250);

/// Places where a content is looked for that is read in place of an unknown one: where most files
/// are small, one look finds none that is large enough.
const DECOY_DRAWS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    md5: String,
    size: u64,
    name: String,
    parent: Option<String>,
    path: Option<String>,
    conflict: Option<Conflict>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    proof: String,
}

pub(crate) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "instant"], Method::Post) => challenge(app, request).await,
        (["api", "instant", id], Method::Post) => {
            let id = (*id).to_owned();
            prove(app, request, &id).await
        }
        (["api", "instant"] | ["api", "instant", _], _) => Err(WebError::WrongMethod("POST")),
        _ => Err(WebError::NoRoute),
    }
}

async fn challenge(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let ask: Ask = request.json(app.json_bytes_max()).await?;
    let md5 = unhex(&ask.md5).and_then(|bytes| bytes.try_into().ok());
    let md5 = md5.ok_or(WebError::Invalid("md5", "use 32 lower-case hexadecimal digits"))?;
    let name = Name::parse(&ask.name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let path = ask.path.unwrap_or_default();
    if !path.is_empty() && folders_of(&path).is_none() {
        return Err(WebError::InvalidName("path", NAME_RULE));
    }
    if ask.size < SIZE_MIN {
        return Err(WebError::Invalid("size", "upload files under 64 KiB as they are"));
    }
    if app.config.limits.upload_bytes_max < ask.size {
        return Err(WebError::TooLarge(app.config.limits.upload_bytes_max));
    }
    let target = Target::parse(ask.parent.as_deref().unwrap_or("root"))?;
    let grant = authorize(&app.db, &user, Action::AddTo, target).await?;
    let conflict = ask.conflict.unwrap_or_default();
    let plain = conflict == Conflict::Fail && path.is_empty();
    if plain && app.db.name_taken(user.id, grant.node_id(), &name).await? {
        return Err(WebError::NameTaken);
    }
    app.throttle.instant(user.id).await?;
    let random = &*app.world.random;
    let mut nonce = [0; 32];
    random.fill(&mut nonce);
    let wanted = Wanted {
        user: user.id.0,
        md5,
        size: ask.size,
        name: name.as_str().to_owned(),
        parent: grant.node_id().map(|id| id.0),
        path,
        conflict,
        nonce,
        offsets: offsets(ask.size, random),
    };
    let id = app.challenges.put(&wanted, random).await?;
    let length = wanted.range_bytes();
    let range = |offset: &u64| serde_json::json!({ "offset": offset, "length": length });
    json(
        200,
        &serde_json::json!({
            "challenge": id,
            "nonce": crate::hex::hex(&nonce),
            "ranges": wanted.offsets.iter().map(range).collect::<Vec<_>>(),
            "expires_ms": app.now().0.saturating_add(LIVES_MS),
        }),
    )
}

async fn prove(app: &Arc<App>, mut request: Request, id: &str) -> Result<Response, WebError> {
    let begun = app.world.clock.moment();
    let user = app.user(&request).await?;
    let form: Proof = request.json(app.json_bytes_max()).await?;
    let address = client(&request).to_string();
    // What is malformed is refused without asking anybody.
    let proof = unhex(&form.proof).filter(|proof| proof.len() == 32 && is_name(id));
    let found = match proof {
        Some(proof) => proved(app, &user, (id, &proof), &address).await?,
        None => None,
    };
    let Some((wanted, candidate)) = found else {
        let spent = app.world.clock.moment().since(begun);
        tokio::time::sleep(until_step(spent)).await;
        return Err(WebError::NotFound);
    };
    // As with every upload: a client that leaves must not stop us in the middle.
    let app = app.clone();
    let linked = tokio::spawn(async move { link(&app, user.id, wanted, candidate, address).await });
    linked.await.map_err(|error| WebError::Internal(error.into()))?
}

/// Takes the challenge; what it is about, and the content that the proof fits.
async fn proved(
    app: &Arc<App>,
    user: &User,
    (id, proof): (&str, &[u8]),
    address: &str,
) -> Result<Option<(Wanted, Candidate)>, WebError> {
    // Before the challenge is taken, and whatever it is about: nothing could be proved now.
    app.files.reach().await?;
    let wanted = app.challenges.take(id).await?.filter(|wanted| wanted.user == user.id.0);
    let Some(wanted) = wanted else { return Ok(None) };
    let found = matching(app, user, &wanted, proof, address).await?;
    Ok(found.map(|found| (wanted, found)))
}

/// How long a refusal waits that took `spent` so far.
fn until_step(spent: Duration) -> Duration {
    let step = REFUSAL_STEP.as_nanos();
    let over = spent.as_nanos().checked_rem(step).unwrap_or_default();
    let left = if over == 0 && !spent.is_zero() { 0 } else { step.saturating_sub(over) };
    Duration::from_nanos(u64::try_from(left).unwrap_or_default())
}

/// The content that the proof fits. One that the store does not give is the same as one that is
/// not known, and for one that is not known another is read: the work must not tell.
async fn matching(
    app: &Arc<App>,
    user: &User,
    wanted: &Wanted,
    proof: &[u8],
    address: &str,
) -> Result<Option<Candidate>, WebError> {
    let candidates = app.db.candidates(&wanted.md5, wanted.size).await?;
    if candidates.is_empty() {
        if let Err(error) = decoy(app, wanted, proof).await {
            log::debug!("read a content in place of none: {error}");
        }
        return Ok(None);
    }
    for candidate in candidates {
        match fits(app, wanted, &candidate, proof).await {
            Ok(true) => return Ok(Some(candidate)),
            Ok(false) => {}
            Err(error) => log::warn!("check a proof: {error}"),
        }
    }
    let (app, actor) = (app.clone(), Some(user.id));
    let (address, detail) = (address.to_owned(), wanted.name.clone());
    // On a task of its own: a refusal of what is not known writes nothing.
    tokio::spawn(async move {
        let (at, action, node) = (app.now(), "instant_refused", None);
        let deed = Audit { at, actor, action, node, address: &address, detail: &detail };
        if let Err(error) = app.db.note(deed).await {
            log::warn!("note a wrong proof: {error}");
        }
    });
    Ok(None)
}

/// Compares the proof with some content that it is not about, as it would be with the right one.
async fn decoy(app: &App, wanted: &Wanted, proof: &[u8]) -> Result<(), WebError> {
    let mut from = [[0; 32]; DECOY_DRAWS];
    from.iter_mut().for_each(|from| app.world.random.fill(from));
    let Some((other, size)) = app.db.any_content(&from, SIZE_MIN).await? else { return Ok(()) };
    let most = size.saturating_sub(RANGE_BYTES).max(1);
    let offsets = wanted.offsets.iter().map(|at| at.checked_rem(most).unwrap_or_default());
    let wanted = Wanted { offsets: offsets.collect(), ..wanted.clone() };
    fits(app, &wanted, &other, proof).await.map(drop)
}

async fn fits(
    app: &App,
    wanted: &Wanted,
    candidate: &Candidate,
    proof: &[u8],
) -> Result<bool, WebError> {
    let mac = Hmac::<Sha256>::new_from_slice(&wanted.nonce);
    let mut mac = mac.map_err(|error| WebError::Internal(error.into()))?;
    let len = usize::try_from(wanted.range_bytes()).unwrap_or_default();
    // A decoy waits as the right content would.
    let turn = app.proofs.acquire().await;
    let _turn = turn.map_err(|error| WebError::Internal(error.into()))?;
    for offset in &wanted.offsets {
        mac.update(&app.files.read(&candidate.file_id, *offset, len).await?);
    }
    Ok(mac.verify_slice(proof).is_ok())
}

async fn link(
    app: &App,
    owner: UserId,
    wanted: Wanted,
    candidate: Candidate,
    address: String,
) -> Result<Response, WebError> {
    let lost = |what| WebError::Internal(anyhow::anyhow!("a challenge has no {what}"));
    let name = Name::parse(&wanted.name).ok_or_else(|| lost("name"))?;
    let folders = match wanted.path.as_str() {
        "" => Vec::new(),
        path => folders_of(path).ok_or_else(|| lost("path"))?,
    };
    // The category follows the name as well, and names differ.
    let head = app.files.read(&candidate.file_id, 0, HEAD_BYTES).await?;
    let (_, category) = sniff(&head, name.as_str());
    let parent = wanted.parent.map(NodeId);
    let conflict = wanted.conflict;
    let to = Destination { owner, parent, folders, name, conflict, address };
    let bytes = Where::Known { blob: candidate.blob, hashes: &candidate.hashes };
    let new = new_file(app, &to, bytes, wanted.size, category, None);
    let node = match app.db.publish(&new).await {
        Err(DbError::Uncertain(_) | DbError::Slow) => {
            // Nothing was reserved, so there is nothing to undo: it happened or it did not.
            let node = app.db.published(&new).await?;
            node.ok_or(WebError::Busy("an instant upload did not reach the database"))?
        }
        done => told(done?)?,
    };
    app.notify.tell(owner, &Event::files([node.parent, to.parent]));
    json(201, &node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_in_steps() {
        let ms = Duration::from_millis;
        for (spent, want) in [(0, 250), (1, 249), (249, 1), (250, 0), (251, 249), (700, 50)] {
            assert_eq!(until_step(ms(spent)), ms(want), "{spent}");
        }
    }
}
