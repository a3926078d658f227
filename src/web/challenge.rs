//! Challenges of instant uploads: kept in Redis for two minutes, taken once.
//!
//! ```text
//! inst:<challenge>   string   what was asked for, as JSON
//! ```
//!
//! Called by `instant`. Whether a content is known plays no part here, so that a challenge for
//! one that is looks like any other.

use net::ports::Random;
use redis::Script;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::db::Conflict;
use crate::error::WebError;
use crate::hex::{hex, unhex};

/// How long a proof may take.
pub(crate) const LIVES_MS: u64 = 120_000;
/// Somebody who has nine tenths of a file passes one range in ten less often, and all of these
/// once in thirty tries.
const RANGES: usize = 32;
/// Bytes of a range; together two pages of the store's disk each.
pub(crate) const RANGE_BYTES: u64 = 4096;

/// KEYS challenge; ARGV value, ms.
const PUT: &str = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";
/// KEYS challenge.
const TAKE: &str = "return redis.call('GETDEL', KEYS[1])";

/// What somebody wants to store without sending it, and what they must prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) user: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) size: u64,
    pub(crate) name: String,
    pub(crate) parent: Option<u64>,
    pub(crate) path: String,
    pub(crate) conflict: Conflict,
    pub(crate) nonce: [u8; 32],
    pub(crate) offsets: Vec<u64>,
}

impl Wanted {
    /// Bytes of each range: less than a whole one in no file that may be asked for.
    pub(crate) fn range_bytes(&self) -> u64 {
        RANGE_BYTES.min(self.size)
    }
}

/// Where the ranges begin: anywhere, and the last bytes always, where files differ that were cut
/// or appended to.
pub(crate) fn offsets(size: u64, random: &dyn Random) -> Vec<u64> {
    let last = size.saturating_sub(RANGE_BYTES);
    let draw = |_| match last.checked_add(1) {
        Some(places) => random.u64().checked_rem(places).unwrap_or_default(),
        None => last,
    };
    let mut offsets: Vec<u64> = (1..RANGES).map(draw).collect();
    offsets.push(last);
    offsets
}

/// Whether `id` looks like the name of a challenge.
pub(crate) fn is_name(id: &str) -> bool {
    unhex(id).is_some_and(|bytes| bytes.len() == 16)
}

/// Keeps challenges.
pub(crate) struct Challenges {
    cache: Cache,
    put: Script,
    take: Script,
}

impl Challenges {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, put: Script::new(PUT), take: Script::new(TAKE) }
    }

    /// Keeps what is wanted; the name of the challenge.
    pub(crate) async fn put(
        &self,
        wanted: &Wanted,
        random: &dyn Random,
    ) -> Result<String, WebError> {
        let mut id = [0; 16];
        random.fill(&mut id);
        let id = hex(&id);
        let args = [serde_json::to_string(wanted)?, LIVES_MS.to_string()];
        let _: i64 = self.cache.run(&self.put, &[format!("inst:{id}")], &args).await?;
        Ok(id)
    }

    /// Takes a challenge: nobody can take it again.
    pub(crate) async fn take(&self, id: &str) -> Result<Option<Wanted>, WebError> {
        if !is_name(id) {
            return Ok(None);
        }
        let no_args: [u64; 0] = [];
        let found: Option<String> =
            self.cache.run(&self.take, &[format!("inst:{id}")], &no_args).await?;
        Ok(found.as_deref().map(serde_json::from_str).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU64);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                let next = self.0.fetch_add(0x9e37_79b9, std::sync::atomic::Ordering::Relaxed);
                *byte = (next >> 13) as u8;
            }
        }
    }

    #[test]
    fn ranges_lie_within_the_file_and_reach_its_end() {
        let random = Counting(7.into());
        for size in [65_536, 65_537, 1 << 40, i64::MAX as u64] {
            let offsets = offsets(size, &random);
            assert_eq!(offsets.len(), RANGES);
            assert!(offsets.iter().all(|at| at + RANGE_BYTES <= size), "{size}");
            assert_eq!(offsets.last(), Some(&(size - RANGE_BYTES)));
        }
    }
}
