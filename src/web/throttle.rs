//! How often something may be tried: marks in Redis that all workers share.
//!
//! ```text
//! lim:<what>:<whose>              counter      everything counts, in a window
//! try:<what>:<whose>              sorted set   attempts that may be wrong, until when each counts
//! lim:known:<account>:<address>   mark         the address has signed in to the account
//! ```
//!
//! Called by whoever compares what was typed. An attempt counts before it is made, so that many
//! at once cannot slip past together, and is settled with what came of it: a wrong guess goes on
//! counting, everything else does not. One that was never settled, because a server went away
//! meanwhile, lapses soon. A stranger who guesses at an account must not lock its owner out: an
//! address that has signed in to the account before only counts against itself.

use std::net::IpAddr;
use std::sync::Arc;

use net::ports::Random;
use redis::Script;
use sha2::{Digest, Sha256};

use crate::cache::{CALL_MARK_MS, Cache, call_mark};
use crate::config::Limits;
use crate::error::WebError;
use crate::hex::hex;
use crate::ids::UserId;

/// KEYS mark of this call, then counters; ARGV window in ms, ms the mark lives, then the most of
/// each. 0, or the ms until it may be tried. Counts once, also when it is run again.
const TAKE: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for at = 2, #KEYS do
    if tonumber(ARGV[at + 1]) <= tonumber(redis.call('GET', KEYS[at]) or '0') then
        return math.max(redis.call('PTTL', KEYS[at]), 1)
    end
end
for at = 2, #KEYS do
    if redis.call('INCR', KEYS[at]) == 1 then redis.call('PEXPIRE', KEYS[at], ARGV[1]) end
end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
return 0";

/// KEYS sets; ARGV attempt, ms it counts for, then the most of each. 0, or the ms until one of
/// them lapses. Counts an attempt once, also when it is run again.
const TRY: &str = "
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for at, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if not redis.call('ZSCORE', key, ARGV[1])
            and tonumber(ARGV[at + 2]) <= redis.call('ZCARD', key) then
        local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
        return math.max(tonumber(first[2] or now) - now, 1)
    end
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + tonumber(ARGV[2]), ARGV[1])
    if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('PEXPIRE', key, ARGV[2]) end
end
return 0";

/// KEYS sets, then the mark of a known address; ARGV attempt, ms it counts for from now on or 0,
/// ms the mark lives or 0 for no mark.
const SETTLE: &str = "
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for at = 1, #KEYS - 1 do
    if ARGV[2] == '0' then
        redis.call('ZREM', KEYS[at], ARGV[1])
    else
        redis.call('ZADD', KEYS[at], now + tonumber(ARGV[2]), ARGV[1])
        redis.call('PEXPIRE', KEYS[at], ARGV[2])
    end
end
if ARGV[3] ~= '0' then redis.call('SET', KEYS[#KEYS], '1', 'PX', ARGV[3]) end
return 1";

/// KEYS the mark.
const KNOWN: &str = "return redis.call('EXISTS', KEYS[1])";

/// An attempt counts for so long before anybody says what came of it; longer than it may take.
const UNSETTLED_MS: u64 = 60_000;
/// How long an address counts as known to an account after it signed in.
const KNOWN_MS: u64 = 30 * 24 * 3600 * 1000;
/// The window in which registrations are counted.
const REGISTRATION_WINDOW_MS: u64 = 3600 * 1000;

/// The window in which instant uploads are counted.
const INSTANT_WINDOW_MS: u64 = 3600 * 1000;
/// Objections to shares from one address in an hour.
const REPORTS_MAX: u64 = 50;

/// An attempt that counts until [`Throttle::settle`] is told what came of it.
pub(crate) struct Attempt {
    name: String,
    sets: Vec<String>,
    /// The mark of the address, for what makes one known.
    known: Option<String>,
}

/// Counts attempts.
pub(crate) struct Throttle {
    cache: Cache,
    random: Arc<dyn Random>,
    limits: Limits,
    take: Script,
    begin: Script,
    settle: Script,
    known: Script,
}

impl Throttle {
    pub(crate) fn new(cache: Cache, random: Arc<dyn Random>, limits: &Limits) -> Self {
        Self {
            cache,
            random,
            limits: limits.clone(),
            take: Script::new(TAKE),
            begin: Script::new(TRY),
            settle: Script::new(SETTLE),
            known: Script::new(KNOWN),
        }
    }

    /// Counts one log-in to the account with the folded name `key`, whether it exists or not.
    pub(crate) async fn login(&self, key: &str, from: IpAddr) -> Result<Attempt, WebError> {
        // A hash: the name is the user's, and a key must not grow with what was typed.
        let account = hex(Sha256::digest(key).get(..16).unwrap_or_default());
        let from = network(from);
        let known = format!("lim:known:{account}:{from}");
        let limits = &self.limits;
        let mut counted = vec![
            (
                format!("try:login:pair:{account}:{from}"),
                limits.login_failures_per_account_and_address_max,
            ),
            (format!("try:login:addr:{from}"), limits.login_failures_per_address_max),
        ];
        let no_args: [u64; 0] = [];
        let is_known: u64 =
            self.cache.run(&self.known, std::slice::from_ref(&known), &no_args).await?;
        if is_known == 0 {
            let account = format!("try:login:acct:{account}");
            counted.push((account, limits.login_failures_per_account_max));
            counted.push(("try:login:all".to_owned(), limits.login_failures_total_max));
        }
        self.begin(counted, Some(known)).await
    }

    /// Ends an attempt with what came of it, which it hands on. A wrong guess counts from now on
    /// for the whole window. What was not compared, because a server was away or busy, was no
    /// guess: whoever tries again until it works must not find the account closed.
    pub(crate) async fn settle<T>(
        &self,
        attempt: Attempt,
        done: Result<T, WebError>,
    ) -> Result<T, WebError> {
        let wrong = done.as_ref().is_err_and(is_wrong_guess);
        let counts_ms = if wrong { self.window_ms() } else { 0 };
        let known_ms = if done.is_ok() && attempt.known.is_some() { KNOWN_MS } else { 0 };
        let mut keys = attempt.sets;
        keys.push(attempt.known.unwrap_or_else(|| "lim:known".to_owned()));
        let args = [attempt.name, counts_ms.to_string(), known_ms.to_string()];
        let settled: Result<i64, _> = self.cache.run(&self.settle, &keys, &args).await;
        match settled {
            // Nobody shall guess on while guesses cannot be counted.
            Err(error) if wrong => Err(error.into()),
            Err(error) => {
                log::warn!("settle an attempt, which lapses by itself: {error}");
                done
            }
            Ok(_) => done,
        }
    }

    fn window_ms(&self) -> u64 {
        self.limits.login_window_s.saturating_mul(1000)
    }

    /// Counts one new account.
    pub(crate) async fn registration(&self, from: IpAddr) -> Result<(), WebError> {
        let counted = vec![
            (
                format!("lim:register:addr:{}", network(from)),
                self.limits.registrations_per_address_max,
            ),
            ("lim:register:all".to_owned(), self.limits.registrations_total_max),
        ];
        self.take(counted, REGISTRATION_WINDOW_MS).await
    }

    /// Counts one request for an instant upload.
    pub(crate) async fn instant(&self, user: UserId) -> Result<(), WebError> {
        let counted = vec![(format!("lim:instant:{user}"), self.limits.instant_per_user_max)];
        self.take(counted, INSTANT_WINDOW_MS).await
    }

    /// Counts one try at what proves that somebody who is signed in, or nearly, is who they say:
    /// a password or the code of a second factor.
    pub(crate) async fn proof(&self, user: UserId) -> Result<Attempt, WebError> {
        let set = format!("try:proof:{user}");
        self.begin(vec![(set, self.limits.second_factors_per_user_max)], None).await
    }

    /// Counts one try at an API token.
    pub(crate) async fn token(&self, from: IpAddr) -> Result<Attempt, WebError> {
        let set = format!("try:token:addr:{}", network(from));
        self.begin(vec![(set, self.limits.token_failures_per_address_max)], None).await
    }

    /// Counts one code typed for a share.
    pub(crate) async fn share_code(&self, share: &str, from: IpAddr) -> Result<Attempt, WebError> {
        let from = network(from);
        let limits = &self.limits;
        let counted = vec![
            (
                format!("try:code:pair:{share}:{from}"),
                limits.login_failures_per_account_and_address_max,
            ),
            (format!("try:code:share:{share}"), limits.login_failures_total_max),
            (format!("try:code:addr:{from}"), limits.login_failures_per_address_max),
        ];
        self.begin(counted, None).await
    }

    /// Counts one objection to a share.
    pub(crate) async fn share_report(&self, from: IpAddr) -> Result<(), WebError> {
        let counted = vec![(format!("lim:report:addr:{}", network(from)), REPORTS_MAX)];
        self.take(counted, REGISTRATION_WINDOW_MS).await
    }

    async fn begin(
        &self,
        counted: Vec<(String, u64)>,
        known: Option<String>,
    ) -> Result<Attempt, WebError> {
        let mut bytes = [0; 12];
        self.random.fill(&mut bytes);
        let (sets, most): (Vec<String>, Vec<u64>) = counted.into_iter().unzip();
        let attempt = Attempt { name: hex(&bytes), sets, known };
        let mut args = vec![attempt.name.clone(), UNSETTLED_MS.to_string()];
        args.extend(most.iter().map(u64::to_string));
        allowed(self.cache.run(&self.begin, &attempt.sets, &args).await?)?;
        Ok(attempt)
    }

    async fn take(&self, counted: Vec<(String, u64)>, window_ms: u64) -> Result<(), WebError> {
        let (counters, most): (Vec<String>, Vec<u64>) = counted.into_iter().unzip();
        let keys = [vec![call_mark(&*self.random)], counters].concat();
        let args = [vec![window_ms, CALL_MARK_MS], most].concat();
        allowed(self.cache.run(&self.take, &keys, &args).await?)
    }
}

fn allowed(wait_ms: u64) -> Result<(), WebError> {
    if wait_ms == 0 { Ok(()) } else { Err(WebError::TooManyAttempts(wait_ms.div_ceil(1000))) }
}

/// Whether what was typed was compared and is not right.
fn is_wrong_guess(error: &WebError) -> bool {
    matches!(
        error,
        WebError::BadCredentials
            | WebError::BadCode
            | WebError::WrongCode
            | WebError::Unauthenticated
    )
}

/// Whoever has one IPv6 address has the 2^64 around it too.
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_counts_as_one() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff::2"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
    }
}
