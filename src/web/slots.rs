//! How many uploads, or archives, one user has under way, over all workers.
//!
//! ```text
//! up:<user id>              sorted set   one member an upload, its score the time its slot lapses
//! zip:<user id or address>  sorted set   the same for archives; a visitor is an address
//! ```
//!
//! Called by every route that reads a file's bytes, before it reads the first of them: a body
//! that trickles in counts from its beginning, whether or not space is reserved for it yet. And
//! by those that send archives, which the store is read for. A worker that dies leaves its slots
//! to lapse.

use std::sync::Arc;
use std::time::Duration;

use net::ports::{Clock, Random};
use redis::Script;

use crate::cache::Cache;
use crate::error::WebError;
use crate::hex::hex;
use crate::ids::UnixMs;

/// A slot lapses so long after its last renewal.
const SLOT_MS: u64 = 120_000;
const RENEW_EVERY: Duration = Duration::from_secs(40);

/// KEYS set; ARGV now, member, most, ms. 1 if there was room. Run again it finds its own member,
/// which is no other upload.
const TAKE: &str = "
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
if not redis.call('ZSCORE', KEYS[1], ARGV[2])
        and tonumber(ARGV[3]) <= redis.call('ZCARD', KEYS[1]) then
    return 0
end
redis.call('ZADD', KEYS[1], tonumber(ARGV[1]) + tonumber(ARGV[4]), ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1";

/// KEYS set; ARGV now, member, ms.
const RENEW: &str = "
redis.call('ZADD', KEYS[1], 'XX', tonumber(ARGV[1]) + tonumber(ARGV[3]), ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1";

/// KEYS set; ARGV member.
const LEAVE: &str = "return redis.call('ZREM', KEYS[1], ARGV[1])";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Uploads,
    Archives,
}

impl What {
    fn prefix(self) -> &'static str {
        match self {
            Self::Uploads => "up",
            Self::Archives => "zip",
        }
    }

    fn too_many(self) -> WebError {
        match self {
            Self::Uploads => WebError::TooManyUploads,
            Self::Archives => WebError::TooManyArchives,
        }
    }
}

/// Counts uploads, or archives.
#[derive(Clone)]
pub(crate) struct Slots {
    cache: Cache,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    what: What,
    most: u64,
    take: Script,
    renew: Script,
    leave: Script,
}

/// One of them under way; leaving is dropping it.
pub(crate) struct Slot {
    renewing: tokio::task::JoinHandle<()>,
    slots: Slots,
    keys: [String; 1],
    member: String,
}

impl Slots {
    pub(crate) fn new(
        cache: Cache,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        (what, most): (What, u64),
    ) -> Self {
        let [take, renew, leave] = [TAKE, RENEW, LEAVE].map(Script::new);
        Self { cache, clock, random, what, most, take, renew, leave }
    }

    /// Counts one more of `whose`, or refuses it.
    pub(crate) async fn take(&self, whose: &str, now: UnixMs) -> Result<Slot, WebError> {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        let (keys, member) = ([format!("{}:{whose}", self.what.prefix())], hex(&bytes));
        let args = [now.0.to_string(), member.clone(), self.most.to_string(), SLOT_MS.to_string()];
        let taken: u64 = self.cache.run(&self.take, &keys, &args).await?;
        if taken == 0 {
            return Err(self.what.too_many());
        }
        let renewing = tokio::spawn(renew(self.clone(), keys.clone(), member.clone()));
        Ok(Slot { renewing, slots: self.clone(), keys, member })
    }
}

async fn renew(slots: Slots, keys: [String; 1], member: String) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let now = slots.clock.now().millis();
        let args = [now.to_string(), member.clone(), SLOT_MS.to_string()];
        let renewed: Result<u64, _> = slots.cache.run(&slots.renew, &keys, &args).await;
        if let Err(error) = renewed {
            log::debug!("renew a slot: {error}");
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.renewing.abort();
        // Without a runtime the worker is at its end, and the slot lapses.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (slots, keys) = (self.slots.clone(), self.keys.clone());
        let member = std::mem::take(&mut self.member);
        runtime.spawn(async move {
            let left: Result<u64, _> = slots.cache.run(&slots.leave, &keys, &[member]).await;
            if let Err(error) = left {
                log::debug!("leave a slot: {error}");
            }
        });
    }
}
