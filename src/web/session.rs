//! Sessions: opaque tokens, kept hashed, that end when idle, when old, or when told to.
//!
//! ```text
//! sess:<sha-256 of the token, hex>   hash   user, created, used, address, agent    expires
//! user_sess:<user id>                set    those hashes     expires with the last of them
//! ```
//!
//! Called by `app` for every request and by `register` and `login`. A token is 256 random bits
//! and is never stored or logged; what is stored cannot be used as a token.

use net::ports::Random;
use redis::Script;
use sha2::{Digest, Sha256};

use crate::app::client;
use crate::cache::Cache;
use crate::config::Limits;
use crate::error::WebError;
use crate::hex::hex;
use crate::ids::{UnixMs, UserId};
use crate::request::Request;

const TOKEN_BYTES: usize = 32;
/// Digits of a session's hash that name it.
const ID_CHARS: usize = 32;
/// Of what a browser calls itself.
const AGENT_CHARS_MAX: usize = 200;

/// KEYS session, user's set; ARGV hash, user, now, idle, absolute, most sessions of a user.
/// Forgets ended sessions of the user, and the oldest if there are too many.
const OPEN: &str = "
local live, oldest, oldest_at = 0, nil, nil
for _, hash in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    local created = redis.call('HGET', 'sess:' .. hash, 'created')
    if not created then
        redis.call('SREM', KEYS[2], hash)
    else
        live = live + 1
        if not oldest_at or tonumber(created) < oldest_at then
            oldest, oldest_at = hash, tonumber(created)
        end
    end
end
if oldest and tonumber(ARGV[6]) <= live then
    redis.call('DEL', 'sess:' .. oldest)
    redis.call('SREM', KEYS[2], oldest)
end
redis.call('HSET', KEYS[1], 'user', ARGV[2], 'created', ARGV[3], 'used', ARGV[3],
    'address', ARGV[7], 'agent', ARGV[8])
redis.call('PEXPIRE', KEYS[1], math.min(tonumber(ARGV[4]), tonumber(ARGV[5])))
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1";

/// KEYS session; ARGV now, idle, absolute. The user, and the session lives on; or false.
const FIND: &str = "
local found = redis.call('HMGET', KEYS[1], 'user', 'created')
if not found[1] or not found[2] then return false end
local left = tonumber(found[2]) + tonumber(ARGV[3]) - tonumber(ARGV[1])
if left <= 0 then
    redis.call('DEL', KEYS[1])
    return false
end
redis.call('PEXPIRE', KEYS[1], math.min(tonumber(ARGV[2]), left))
redis.call('HSET', KEYS[1], 'used', ARGV[1])
return found[1]";

/// KEYS session; ARGV now, absolute. The user, and nothing changes; or false.
const PEEK: &str = "
local found = redis.call('HMGET', KEYS[1], 'user', 'created')
if not found[1] or not found[2] then return false end
if tonumber(found[2]) + tonumber(ARGV[2]) <= tonumber(ARGV[1]) then return false end
return found[1]";

/// KEYS user's set. Hash, created, used, address and agent of each session, one after another.
const LIST: &str = "
local all = {}
for _, hash in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local found = redis.call('HMGET', 'sess:' .. hash, 'created', 'used', 'address', 'agent')
    if found[1] then
        table.insert(all, hash)
        for at = 1, 4 do table.insert(all, found[at] or '') end
    end
end
return all";

/// KEYS user's set; ARGV the hash that stays, or nothing.
const END_OTHERS: &str = "
for _, hash in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if hash ~= ARGV[1] then
        redis.call('DEL', 'sess:' .. hash)
        redis.call('SREM', KEYS[1], hash)
    end
end
return 1";

/// KEYS session; ARGV hash.
const END: &str = "
local user = redis.call('HGET', KEYS[1], 'user')
redis.call('DEL', KEYS[1])
if user then redis.call('SREM', 'user_sess:' .. user, ARGV[1]) end
return 1";

/// The secret a browser holds, in hexadecimal.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        random.fill(&mut bytes);
        Self(hex(&bytes))
    }

    /// None: cannot be one of ours, so nobody need be asked.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let fits = text.len() == TOKEN_BYTES * 2 && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
    }

    /// For the cookie and nothing else.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> String {
        hex(&Sha256::digest(&self.0))
    }
}

/// Where a session was opened from.
pub(crate) struct Origin {
    pub(crate) address: String,
    /// What the browser calls itself.
    pub(crate) agent: String,
}

impl Origin {
    pub(crate) fn of(request: &Request) -> Self {
        let agent = request.header("user-agent").unwrap_or_default();
        let agent: String = String::from_utf8_lossy(agent).chars().take(AGENT_CHARS_MAX).collect();
        Self { address: client(request).to_string(), agent }
    }
}

/// A session as its user sees it; the shape of `Session` in the API.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Shown {
    /// Half of the hash: names the session, and opens nothing.
    pub(crate) id: String,
    pub(crate) created_ms: u64,
    pub(crate) used_ms: u64,
    pub(crate) address: String,
    pub(crate) agent: String,
    pub(crate) current: bool,
    #[serde(skip)]
    hash: String,
}

/// Opens, finds and ends sessions.
pub(crate) struct Sessions {
    cache: Cache,
    idle_ms: u64,
    absolute_ms: u64,
    per_user_max: u64,
    open: Script,
    find: Script,
    peek: Script,
    end: Script,
    list: Script,
    end_others: Script,
}

impl Sessions {
    pub(crate) fn new(cache: Cache, limits: &Limits) -> Self {
        Self {
            cache,
            idle_ms: limits.session_idle_s.saturating_mul(1000),
            absolute_ms: limits.session_absolute_s.saturating_mul(1000),
            per_user_max: limits.sessions_per_user_max,
            open: Script::new(OPEN),
            find: Script::new(FIND),
            peek: Script::new(PEEK),
            end: Script::new(END),
            list: Script::new(LIST),
            end_others: Script::new(END_OTHERS),
        }
    }

    /// How long a browser may keep the cookie.
    pub(crate) fn cookie_seconds(&self) -> u64 {
        self.absolute_ms / 1000
    }

    /// A new session; always a new token, whatever the browser brought along.
    pub(crate) async fn open(
        &self,
        user: UserId,
        from: Origin,
        now: UnixMs,
        random: &dyn Random,
    ) -> Result<Token, WebError> {
        let token = Token::new(random);
        let hash = token.hash();
        let keys = [format!("sess:{hash}"), format!("user_sess:{user}")];
        let args = [
            hash,
            user.to_string(),
            now.0.to_string(),
            self.idle_ms.to_string(),
            self.absolute_ms.to_string(),
            self.per_user_max.to_string(),
            from.address,
            from.agent,
        ];
        let _: i64 = self.cache.run(&self.open, &keys, &args).await?;
        Ok(token)
    }

    /// Whose session it is, if it has not ended; it then lives on.
    pub(crate) async fn find(
        &self,
        token: &Token,
        now: UnixMs,
    ) -> Result<Option<UserId>, WebError> {
        let keys = [format!("sess:{}", token.hash())];
        let args = [now.0, self.idle_ms, self.absolute_ms];
        let found: Option<String> = self.cache.run(&self.find, &keys, &args).await?;
        Ok(found.as_deref().and_then(UserId::parse))
    }

    /// The same, but the session does not live on for it: nobody did anything.
    pub(crate) async fn peek(
        &self,
        token: &Token,
        now: UnixMs,
    ) -> Result<Option<UserId>, WebError> {
        let keys = [format!("sess:{}", token.hash())];
        let args = [now.0, self.absolute_ms];
        let found: Option<String> = self.cache.run(&self.peek, &keys, &args).await?;
        Ok(found.as_deref().and_then(UserId::parse))
    }

    /// The sessions of a user, the newest first.
    pub(crate) async fn list(
        &self,
        user: UserId,
        current: Option<&Token>,
    ) -> Result<Vec<Shown>, WebError> {
        let no_args: [u64; 0] = [];
        let keys = [format!("user_sess:{user}")];
        let flat: Vec<String> = self.cache.run(&self.list, &keys, &no_args).await?;
        let current = current.map(Token::hash);
        let mut all: Vec<Shown> = flat
            .as_chunks::<5>()
            .0
            .iter()
            .map(|one| {
                let [hash, created, used, address, agent] = one;
                Shown {
                    id: hash.get(..ID_CHARS).unwrap_or_default().to_owned(),
                    created_ms: created.parse().unwrap_or_default(),
                    used_ms: used.parse().unwrap_or_default(),
                    address: address.clone(),
                    agent: agent.clone(),
                    current: current.as_deref() == Some(hash),
                    hash: hash.clone(),
                }
            })
            .collect();
        all.sort_by(|a, b| (b.created_ms, &b.id).cmp(&(a.created_ms, &a.id)));
        Ok(all)
    }

    /// Ends the session that [`Shown::id`] names; false if the user has none like it.
    pub(crate) async fn end_by_id(&self, user: UserId, id: &str) -> Result<bool, WebError> {
        let all = self.list(user, None).await?;
        let Some(found) = all.into_iter().find(|shown| shown.id == id) else { return Ok(false) };
        let keys = [format!("sess:{}", found.hash)];
        let _: i64 = self.cache.run(&self.end, &keys, &[found.hash]).await?;
        Ok(true)
    }

    /// Ends all sessions of a user but `kept`.
    pub(crate) async fn end_others(
        &self,
        user: UserId,
        kept: Option<&Token>,
    ) -> Result<(), WebError> {
        let keys = [format!("user_sess:{user}")];
        let kept = kept.map(Token::hash).unwrap_or_default();
        let _: i64 = self.cache.run(&self.end_others, &keys, &[kept]).await?;
        Ok(())
    }

    /// Ends a session; harmless if it has ended.
    pub(crate) async fn end(&self, token: &Token) -> Result<(), WebError> {
        let hash = token.hash();
        let keys = [format!("sess:{hash}")];
        let _: i64 = self.cache.run(&self.end, &keys, &[hash]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, value) in bytes.iter_mut().zip(0..) {
                *byte = value;
            }
        }
    }

    #[test]
    fn a_token_is_32_bytes_and_its_hash_is_no_token_of_it() {
        let token = Token::new(&Counting);
        assert!(token.secret().starts_with("000102030405") && token.secret().len() == 64);
        assert_eq!(Token::parse(token.secret()).map(|t| t.hash()), Some(token.hash()));
        assert_ne!(token.hash(), token.secret());
        let upper = "A".repeat(64);
        for wrong in ["", "00", &token.secret()[1..], &upper, &"g".repeat(64), &"*".repeat(64)] {
            assert!(Token::parse(wrong).is_none(), "{wrong}");
        }
    }
}
