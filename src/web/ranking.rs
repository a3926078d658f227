//! The public shares by their downloads, as a sorted set in Redis.
//!
//! ```text
//! rank:downloads   sorted set   share -> downloads   expires: counts cannot drift for long
//! ```
//!
//! Filled from the database when it is not there, under another name and then renamed, so nobody
//! sees half of it. Used by `share`; when Redis is away the database answers.

use redis::Script;

use crate::cache::Cache;
use crate::db::Db;
use crate::error::WebError;
use crate::ids::{ShareId, UnixMs};

const KEY: &str = "rank:downloads";
/// Shares that are ranked.
const RANKED_MAX: u64 = 1000;
/// How long a ranking is used before it is made anew.
const LIVES_MS: u64 = 10 * 60 * 1000;

/// KEYS ranking; ARGV how many. False if there is none; the empty one holds a mark.
const TOP: &str = "
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', 0, 'LIMIT', 0, ARGV[1])";

/// KEYS ranking, a name of its own; ARGV ms it lives, then pairs of downloads and share.
const REBUILD: &str = "
redis.call('DEL', KEYS[2])
redis.call('ZADD', KEYS[2], -1, '')
for at = 2, #ARGV, 2 do redis.call('ZADD', KEYS[2], ARGV[at], ARGV[at + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('RENAME', KEYS[2], KEYS[1])
return 1";

/// KEYS ranking; ARGV downloads, share. A count never falls.
const COUNT: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('ZADD', KEYS[1], 'GT', ARGV[1], ARGV[2])
end
return 1";

/// Keeps and reads the ranking.
pub(crate) struct Ranking {
    cache: Cache,
    top: Script,
    rebuild: Script,
    count: Script,
}

impl Ranking {
    pub(crate) fn new(cache: Cache) -> Self {
        let (top, rebuild, count) = (Script::new(TOP), Script::new(REBUILD), Script::new(COUNT));
        Self { cache, top, rebuild, count }
    }

    /// The shares with the most downloads.
    pub(crate) async fn top(
        &self,
        db: &Db,
        limit: u64,
        now: UnixMs,
    ) -> Result<Vec<ShareId>, WebError> {
        match self.read(limit).await {
            Ok(Some(ids)) => return Ok(ids),
            Ok(None) => {}
            Err(error) => {
                log::warn!("read the ranking: {error}");
                let rows = db.top_shares(limit, now).await?;
                return Ok(rows.into_iter().map(|(id, _)| id).collect());
            }
        }
        let rows = db.top_shares(RANKED_MAX, now).await?;
        let mut args = vec![LIVES_MS.to_string()];
        args.extend(rows.iter().flat_map(|(id, count)| [count.to_string(), id.to_string()]));
        let keys = [KEY.to_owned(), format!("{KEY}:new:{}", now.0)];
        let done: Result<i64, _> = self.cache.run(&self.rebuild, &keys, &args).await;
        if let Err(error) = done {
            log::warn!("rebuild the ranking: {error}");
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(rows.into_iter().take(limit).map(|(id, _)| id).collect())
    }

    async fn read(&self, limit: u64) -> redis::RedisResult<Option<Vec<ShareId>>> {
        let found: Option<Vec<String>> =
            self.cache.run(&self.top, &[KEY.to_owned()], &[limit]).await?;
        Ok(found.map(|ids| ids.iter().filter_map(|id| ShareId::parse(id)).collect()))
    }

    /// A public share was downloaded, so often by now. If this is lost the next ranking has it.
    pub(crate) async fn count(&self, id: ShareId, downloads: u64) {
        let args = [downloads.to_string(), id.to_string()];
        let done: Result<i64, _> = self.cache.run(&self.count, &[KEY.to_owned()], &args).await;
        if let Err(error) = done {
            log::warn!("count in the ranking: {error}");
        }
    }
}
