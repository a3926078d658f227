//! The table `link_key`: what signed links are signed with. The newest signs for a month; the older
//! ones still verify for a day.

use net::ports::Random;

use super::{Db, DbError};
use crate::ids::UnixMs;

/// How long a key signs.
const SIGNS_MS: u64 = 30 * 24 * 3600 * 1000;

const ALL: &str = "SELECT id, secret FROM link_key ORDER BY id DESC LIMIT 8";
const NEWEST: &str =
    "SELECT id, secret FROM link_key WHERE ? < created_ms ORDER BY id DESC LIMIT 1";
const INSERT: &str = "INSERT INTO link_key (secret, created_ms) VALUES (?, ?)";

/// A key and the number that links mention.
pub(crate) struct LinkKey {
    pub(crate) id: u32,
    pub(crate) secret: Vec<u8>,
}

impl Db {
    /// The key that signs now; a new one if the newest is old.
    pub(crate) async fn link_key(
        &self,
        random: &dyn Random,
        now: UnixMs,
    ) -> Result<LinkKey, DbError> {
        if let Some(key) = self.newest_link_key(now).await? {
            return Ok(key);
        }
        let mut secret = [0; 32];
        random.fill(&mut secret);
        // Two workers at once make two keys; both verify.
        self.change_once(INSERT, (&secret[..], now.0)).await?;
        let made = self.newest_link_key(now).await?;
        made.ok_or_else(|| DbError::Schema("the key of links has gone".to_owned()))
    }

    async fn newest_link_key(&self, now: UnixMs) -> Result<Option<LinkKey>, DbError> {
        let since = now.0.saturating_sub(SIGNS_MS);
        let row: Option<(u32, Vec<u8>)> = self.first(NEWEST, (since,)).await?;
        Ok(row.map(|(id, secret)| LinkKey { id, secret }))
    }

    /// Every key that verifies.
    pub(crate) async fn link_keys(&self) -> Result<Vec<LinkKey>, DbError> {
        let rows: Vec<(u32, Vec<u8>)> = self.all(ALL, ()).await?;
        Ok(rows.into_iter().map(|(id, secret)| LinkKey { id, secret }).collect())
    }
}
