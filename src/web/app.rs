//! What all requests of a worker share, and what every one of them goes through first.
//!
//! Made once by `run`. Keeps no state between requests but pools and counters: who is asking is
//! found anew each time, from the session cookie alone.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use net::ports::World;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use crate::cache::Cache;
use crate::challenge::Challenges;
use crate::config::Config;
use crate::db::{Actor, Db, Role, User};
use crate::error::WebError;
use crate::events::Hub;
use crate::files::Files;
use crate::ids::{UnixMs, UserId};
use crate::intake::Queues;
use crate::making::Making;
use crate::metrics::{Counted, Metrics};
use crate::notify::Notify;
use crate::origin;
use crate::password::{Password, Passwords};
use crate::ranking::Ranking;
use crate::request::Request;
use crate::response::Response;
use crate::scope::{Scopes, needed};
use crate::seal::Seal;
use crate::session::{Origin, Sessions, Token};
use crate::slots::{Slots, What};
use crate::throttle::Throttle;

/// The cookie over plain HTTP, and over HTTPS, where browsers bind it to the host and to TLS.
const COOKIE: &str = "session";
const COOKIE_SECURE: &str = "__Host-session";

/// Proofs of instant uploads that one process compares at once: each reads 32 places of a stored
/// file, one after another, and whoever has an account may ask for it.
const PROOFS_MAX: usize = 4;

/// Hashing jobs per processor: enough to keep each busy while others wait for bytes.
const HASH_JOBS_PER_CPU: usize = 2;

/// Everything a handler may use.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) db: Db,
    pub(crate) cache: Cache,
    pub(crate) sessions: Sessions,
    pub(crate) ranking: Ranking,
    pub(crate) throttle: Throttle,
    pub(crate) passwords: Passwords,
    pub(crate) files: Files,
    pub(crate) notify: Notify,
    pub(crate) challenges: Challenges,
    pub(crate) hub: Hub,
    pub(crate) seal: Seal,
    pub(crate) metrics: Metrics,
    pub(crate) counted: Counted,
    pub(crate) slots: Slots,
    /// Small files that wait to become visible.
    pub(crate) small: Queues,
    pub(crate) zip_slots: Slots,
    /// Lets pictures be made, a few at a time.
    pub(crate) pictures: Arc<Semaphore>,
    /// The pictures that are being made.
    pub(crate) making: Making,
    /// Whether a process may be given a network of its own; found out when first needed.
    pub(crate) can_unshare: OnceCell<bool>,
    /// Lets chunks of uploads be hashed, a few at a time.
    pub(crate) hashing: Arc<Semaphore>,
    /// Lets proofs of instant uploads be compared, a few at a time.
    pub(crate) proofs: Semaphore,
}

impl App {
    /// Connects to nothing yet. Call inside the runtime.
    pub(crate) fn new(config: Config, world: World) -> anyhow::Result<Self> {
        let cache = Cache::new(&config.redis_url)?;
        let limits = &config.limits;
        let slots = |what, most| {
            let World { clock, random, .. } = world.clone();
            Slots::new(cache.clone(), clock, random, (what, most))
        };
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            db: Db::new(&config.database),
            sessions: Sessions::new(cache.clone(), limits),
            ranking: Ranking::new(cache.clone()),
            throttle: Throttle::new(cache.clone(), world.random.clone(), limits),
            slots: slots(What::Uploads, limits.uploads_per_user_max),
            zip_slots: slots(What::Archives, limits.zips_per_user_max),
            notify: Notify::new(cache.clone()),
            challenges: Challenges::new(cache.clone()),
            hub: Hub::default(),
            seal: Seal::new(config.secret_file.clone()),
            metrics: Metrics::default(),
            counted: Counted::default(),
            cache,
            small: Queues::default(),
            passwords: Passwords::new(limits.password_jobs_max, limits.password_queue_max)?,
            files: Files::new(&config.store, world.clone()),
            pictures: Arc::new(Semaphore::new(
                usize::try_from(limits.thumb_jobs_max).unwrap_or(1).min(Semaphore::MAX_PERMITS),
            )),
            making: Making::default(),
            can_unshare: OnceCell::new(),
            hashing: Arc::new(Semaphore::new(cpus.saturating_mul(HASH_JOBS_PER_CPU))),
            proofs: Semaphore::new(PROOFS_MAX),
            config,
            world,
        })
    }

    pub(crate) fn now(&self) -> UnixMs {
        UnixMs(self.world.clock.now().millis())
    }

    /// When a resumable upload is given up that nobody goes on with from now on.
    pub(crate) fn upload_expiry(&self) -> UnixMs {
        let ms = self.config.limits.upload_expires_s.saturating_mul(1000);
        UnixMs(self.now().0.saturating_add(ms))
    }

    pub(crate) fn json_bytes_max(&self) -> usize {
        usize::try_from(self.config.limits.json_bytes_max).unwrap_or(usize::MAX)
    }

    /// What holds for every route, before the handler sees the request.
    pub(crate) fn admit(&self, request: &Request) -> Result<(), WebError> {
        origin::check(request, self.config.public_url.as_deref())
    }

    /// Who asks, by session or by a token that permits this request; never a disabled account.
    pub(crate) async fn user(&self, request: &Request) -> Result<User, WebError> {
        match bearer(request) {
            Some(secret) => self.bearer(request, secret).await,
            None => Ok(self.owner(request).await?.0),
        }
    }

    /// The signed-in user and their session; a token is not enough.
    pub(crate) async fn owner(&self, request: &Request) -> Result<(User, Token), WebError> {
        if bearer(request).is_some() {
            return Err(WebError::Scope);
        }
        let token = self.token(request).ok_or(WebError::Unauthenticated)?;
        let id = self.sessions.find(&token, self.now()).await?;
        let user = self.db.user(id.ok_or(WebError::Unauthenticated)?).await?;
        Ok((user.ok_or(WebError::Unauthenticated)?, token))
    }

    /// The signed-in administrator.
    pub(crate) async fn administrator(&self, request: &Request) -> Result<User, WebError> {
        let (user, _) = self.owner(request).await?;
        if user.role == Role::Admin { Ok(user) } else { Err(WebError::Forbidden) }
    }

    async fn bearer(&self, request: &Request, secret: &str) -> Result<User, WebError> {
        let attempt = self.throttle.token(client(request)).await?;
        let (user, scopes) = self.throttle.settle(attempt, self.holder(secret).await).await?;
        match needed(&request.segments(), request.method()) {
            Some(scope) if Scopes(scopes).holds(scope) => Ok(user),
            _ => Err(WebError::Scope),
        }
    }

    /// Whether whoever was [`App::user`] when a request began still is. Prolongs no session.
    pub(crate) async fn still(&self, request: &Request) -> Result<(), WebError> {
        if let Some(secret) = bearer(request) {
            return self.holder(secret).await.map(drop);
        }
        let token = self.token(request).ok_or(WebError::Unauthenticated)?;
        let id = self.sessions.peek(&token, self.now()).await?;
        let user = self.db.user(id.ok_or(WebError::Unauthenticated)?).await?;
        user.map(drop).ok_or(WebError::Unauthenticated)
    }

    /// Whose token it is, and what it permits.
    async fn holder(&self, secret: &str) -> Result<(User, u8), WebError> {
        let known = self.db.token_owner(&Sha256::digest(secret), self.now()).await?;
        let (id, scopes) = known.ok_or(WebError::Unauthenticated)?;
        Ok((self.db.user(id).await?.ok_or(WebError::Unauthenticated)?, scopes))
    }

    /// A new session for `user`, where the request comes from.
    pub(crate) async fn open_session(
        &self,
        user: UserId,
        request: &Request,
    ) -> Result<Token, WebError> {
        self.sessions.open(user, Origin::of(request), self.now(), &*self.world.random).await
    }

    /// Lets somebody who is signed in prove with their password that they still are who they say.
    pub(crate) async fn prove(&self, user: UserId, typed: &str) -> Result<(), WebError> {
        let attempt = self.throttle.proof(user).await?;
        let done = async {
            let password = Password::typed(typed).ok_or(WebError::BadCredentials)?;
            let known = self.db.own_credentials(user).await?.map(|known| known.password);
            let fits = self.passwords.verify(password, known).await?;
            if fits { Ok(()) } else { Err(WebError::BadCredentials) }
        };
        self.throttle.settle(attempt, done.await).await
    }

    /// The token a request brings, whether or not it is good.
    pub(crate) fn token(&self, request: &Request) -> Option<Token> {
        request.cookie(self.cookie_name(request)).and_then(Token::parse)
    }

    /// Adds the cookie that holds a new session.
    pub(crate) fn with_session(
        &self,
        response: Response,
        request: &Request,
        token: &Token,
    ) -> Result<Response, WebError> {
        self.with_cookie(response, request, token.secret(), self.sessions.cookie_seconds())
    }

    /// Takes the cookie away.
    pub(crate) fn without_session(
        &self,
        response: Response,
        request: &Request,
    ) -> Result<Response, WebError> {
        self.with_cookie(response, request, "", 0)
    }

    fn with_cookie(
        &self,
        response: Response,
        request: &Request,
        value: &str,
        seconds: u64,
    ) -> Result<Response, WebError> {
        let name = self.cookie_name(request);
        let secure = if name == COOKIE_SECURE { "; Secure" } else { "" };
        let cookie =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        Ok(response.with_header("set-cookie", cookie)?)
    }

    fn cookie_name(&self, request: &Request) -> &'static str {
        if self.is_secure(request) { COOKIE_SECURE } else { COOKIE }
    }

    /// Whether the client's browser speaks HTTPS, with us or with what is in front of us.
    pub(crate) fn is_secure(&self, request: &Request) -> bool {
        let public = self.config.public_url.as_deref().unwrap_or_default();
        request.is_https() || public.starts_with("https://")
    }
}

/// The API token a request brings, whether or not it is good.
fn bearer(request: &Request) -> Option<&str> {
    let (scheme, secret) = request.header_text("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

/// The client's address as nginx saw it; all that have none count as one.
pub(crate) fn client(request: &Request) -> IpAddr {
    request.remote_address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Who does it, from where, when: for the audit.
pub(crate) fn actor<'a>(app: &App, user: &User, address: &'a str) -> Actor<'a> {
    Actor { user: user.id, at: app.now(), address }
}

/// An answer for this user, now: JSON that nobody may keep.
pub(crate) fn json<T: Serialize>(status: u16, value: &T) -> Result<Response, WebError> {
    let response = Response::json(value)?.with_status(status);
    Ok(response.with_header("cache-control", "no-store")?)
}
