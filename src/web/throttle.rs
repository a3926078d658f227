//! How often something may be tried: counters in Redis that all workers share.
//!
//! Called by `login` and `register`. An attempt is counted before it is made and given back when
//! it succeeds, so that many at once cannot slip past together. A stranger who guesses at an
//! account must not lock its owner out: an address that has signed in to the account before
//! only counts against itself.

use std::net::IpAddr;

use redis::Script;
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::config::Limits;
use crate::error::WebError;
use crate::hex::hex;
use crate::ids::UserId;

/// KEYS counters; ARGV window in ms, then the most of each. 0, or the ms until it may be tried.
const TAKE: &str = "
for at, key in ipairs(KEYS) do
    if tonumber(ARGV[at + 1]) <= tonumber(redis.call('GET', key) or '0') then
        return math.max(redis.call('PTTL', key), 1)
    end
end
for _, key in ipairs(KEYS) do
    if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[1]) end
end
return 0";

/// KEYS counters, then the mark of a known address; ARGV ms the mark lives, or 0 for no mark.
const GIVE_BACK: &str = "
for at = 1, #KEYS - 1 do
    if 0 < tonumber(redis.call('GET', KEYS[at]) or '0') then redis.call('DECR', KEYS[at]) end
end
if 0 < tonumber(ARGV[1]) then redis.call('SET', KEYS[#KEYS], '1', 'PX', ARGV[1]) end
return 1";

/// KEYS the mark.
const KNOWN: &str = "return redis.call('EXISTS', KEYS[1])";

/// How long an address counts as known to an account after it signed in.
const KNOWN_MS: u64 = 30 * 24 * 3600 * 1000;
/// The window in which registrations are counted.
const REGISTRATION_WINDOW_MS: u64 = 3600 * 1000;

/// The window in which instant uploads are counted.
const INSTANT_WINDOW_MS: u64 = 3600 * 1000;
/// Objections to shares from one address in an hour.
const REPORTS_MAX: u64 = 50;

/// An attempt that was counted; given back with [`Throttle::succeeded`] or
/// [`Throttle::not_made`].
pub(crate) struct Attempt {
    counters: Vec<String>,
    known: String,
}

/// Counts attempts.
pub(crate) struct Throttle {
    cache: Cache,
    limits: Limits,
    take: Script,
    give_back: Script,
    known: Script,
}

impl Throttle {
    pub(crate) fn new(cache: Cache, limits: &Limits) -> Self {
        Self {
            cache,
            limits: limits.clone(),
            take: Script::new(TAKE),
            give_back: Script::new(GIVE_BACK),
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
                format!("lim:login:pair:{account}:{from}"),
                limits.login_failures_per_account_and_address_max,
            ),
            (format!("lim:login:addr:{from}"), limits.login_failures_per_address_max),
        ];
        let no_args: [u64; 0] = [];
        let is_known: u64 =
            self.cache.run(&self.known, std::slice::from_ref(&known), &no_args).await?;
        if is_known == 0 {
            let account = format!("lim:login:acct:{account}");
            counted.push((account, limits.login_failures_per_account_max));
            counted.push(("lim:login:all".to_owned(), limits.login_failures_total_max));
        }
        let window_ms = limits.login_window_s.saturating_mul(1000);
        let counters = self.take(counted, window_ms).await?;
        Ok(Attempt { counters, known })
    }

    /// The attempt was right: it no longer counts, and its address is known from now on.
    pub(crate) async fn succeeded(&self, attempt: Attempt) -> Result<(), WebError> {
        self.give_back(attempt, KNOWN_MS).await
    }

    /// Nothing was compared, because a server was away or busy: that is no guess. Whoever tries
    /// again until it works must not find the account closed.
    pub(crate) async fn not_made(&self, attempt: Attempt) -> Result<(), WebError> {
        self.give_back(attempt, 0).await
    }

    async fn give_back(&self, attempt: Attempt, known_ms: u64) -> Result<(), WebError> {
        let mut keys = attempt.counters;
        keys.push(attempt.known);
        let _: i64 = self.cache.run(&self.give_back, &keys, &[known_ms]).await?;
        Ok(())
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
        self.take(counted, REGISTRATION_WINDOW_MS).await.map(drop)
    }

    /// Counts one request for an instant upload.
    pub(crate) async fn instant(&self, user: UserId) -> Result<(), WebError> {
        let counted = vec![(format!("lim:instant:{user}"), self.limits.instant_per_user_max)];
        self.take(counted, INSTANT_WINDOW_MS).await.map(drop)
    }

    /// Counts one try at what proves that somebody who is signed in, or nearly, is who they say:
    /// a password or the code of a second factor.
    pub(crate) async fn proof(&self, user: UserId) -> Result<Attempt, WebError> {
        let counter = format!("lim:proof:{user}");
        let most = self.limits.second_factors_per_user_max;
        let window_ms = self.limits.login_window_s.saturating_mul(1000);
        let counters = self.take(vec![(counter, most)], window_ms).await?;
        Ok(Attempt { counters, known: format!("lim:proved:{user}") })
    }

    /// Counts one try at an API token.
    pub(crate) async fn token(&self, from: IpAddr) -> Result<Attempt, WebError> {
        let from = network(from);
        let counter = format!("lim:token:addr:{from}");
        let most = self.limits.token_failures_per_address_max;
        let window_ms = self.limits.login_window_s.saturating_mul(1000);
        let counters = self.take(vec![(counter, most)], window_ms).await?;
        Ok(Attempt { counters, known: format!("lim:token:known:{from}") })
    }

    /// Counts one code typed for a share, right or wrong; a right one is given back.
    pub(crate) async fn share_code(&self, share: &str, from: IpAddr) -> Result<Attempt, WebError> {
        let from = network(from);
        let limits = &self.limits;
        let counted = vec![
            (
                format!("lim:code:pair:{share}:{from}"),
                limits.login_failures_per_account_and_address_max,
            ),
            (format!("lim:code:share:{share}"), limits.login_failures_total_max),
            (format!("lim:code:addr:{from}"), limits.login_failures_per_address_max),
        ];
        let window_ms = limits.login_window_s.saturating_mul(1000);
        let counters = self.take(counted, window_ms).await?;
        Ok(Attempt { counters, known: format!("lim:code:known:{share}:{from}") })
    }

    /// Counts one objection to a share.
    pub(crate) async fn share_report(&self, from: IpAddr) -> Result<(), WebError> {
        let counted = vec![(format!("lim:report:addr:{}", network(from)), REPORTS_MAX)];
        self.take(counted, REGISTRATION_WINDOW_MS).await.map(drop)
    }

    async fn take(
        &self,
        counted: Vec<(String, u64)>,
        window_ms: u64,
    ) -> Result<Vec<String>, WebError> {
        let (keys, most): (Vec<String>, Vec<u64>) = counted.into_iter().unzip();
        let args = [vec![window_ms], most].concat();
        let wait_ms: u64 = self.cache.run(&self.take, &keys, &args).await?;
        match wait_ms {
            0 => Ok(keys),
            ms => Err(WebError::TooManyAttempts(ms.div_ceil(1000))),
        }
    }
}

/// Whoever has one IPv6 address has the 2^64 around it too.
fn network(address: IpAddr) -> String {
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
