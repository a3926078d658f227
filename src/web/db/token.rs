//! The table `api_token`: what programs sign in with. Hashes only.

use mysql_async::prelude::Queryable;

use super::{Audit, Db, DbError, commit, retry, within};
use crate::ids::{TokenId, UnixMs, UserId};

const INSERT: &str = "\
INSERT INTO api_token (user, name, hash, scopes, created_ms, expires_ms)
VALUES (?, ?, ?, ?, ?, ?)";
const COUNT: &str = "SELECT COUNT(*) FROM api_token WHERE user = ?";
const LOCK: &str = "SELECT id FROM user WHERE id = ? FOR UPDATE";
const LIST: &str = "\
SELECT id, name, scopes, created_ms, expires_ms, used_ms FROM api_token
WHERE user = ? ORDER BY id DESC LIMIT 1000";
const FIND: &str = "\
SELECT id, user, scopes, COALESCE(used_ms, 0) FROM api_token
WHERE hash = ? AND (expires_ms IS NULL OR ? < expires_ms)";
const USED: &str = "UPDATE api_token SET used_ms = ? WHERE id = ?";
const REMOVE: &str = "DELETE FROM api_token WHERE id = ? AND user = ?";

/// How old the time of last use may be: it is for people, and a write on every request is not.
const USED_MS: u64 = 60_000;

/// A token as its owner sees it.
#[derive(Clone, Debug)]
pub(crate) struct ApiToken {
    pub(crate) id: TokenId,
    pub(crate) name: String,
    /// Bits of [`crate::scope::Scopes`].
    pub(crate) scopes: u8,
    pub(crate) created: UnixMs,
    pub(crate) expires: Option<UnixMs>,
    pub(crate) used: Option<UnixMs>,
}

/// A token to be made.
pub(crate) struct NewToken<'a> {
    pub(crate) user: UserId,
    pub(crate) name: &'a str,
    pub(crate) hash: &'a [u8],
    pub(crate) scopes: u8,
    pub(crate) at: UnixMs,
    pub(crate) expires: Option<UnixMs>,
    pub(crate) address: &'a str,
}

impl Db {
    /// Makes a token; None if the user has `most` already.
    pub(crate) async fn make_token(
        &self,
        new: &NewToken<'_>,
        most: u64,
    ) -> Result<Option<TokenId>, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(async {
                    let _locked: Option<u64> = tx.exec_first(LOCK, (new.user.0,)).await?;
                    let count: Option<u64> = tx.exec_first(COUNT, (new.user.0,)).await?;
                    if most <= count.unwrap_or_default() {
                        return Ok(None);
                    }
                    let expires = new.expires.map(|at| at.0);
                    let row = (new.user.0, new.name, new.hash, new.scopes, new.at.0, expires);
                    tx.exec_drop(INSERT, row).await?;
                    let id = TokenId(tx.last_insert_id().unwrap_or_default());
                    let deed = Audit {
                        at: new.at,
                        actor: Some(new.user),
                        action: "token_made",
                        node: None,
                        address: new.address,
                        detail: new.name,
                    };
                    deed.insert(&mut tx).await.map(|()| Some(id))
                })
                .await?;
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }

    pub(crate) async fn tokens(&self, user: UserId) -> Result<Vec<ApiToken>, DbError> {
        type Row = (u64, String, u8, u64, Option<u64>, Option<u64>);
        let rows: Vec<Row> = self.all(LIST, (user.0,)).await?;
        let token = |(id, name, scopes, created, expires, used): Row| ApiToken {
            id: TokenId(id),
            name,
            scopes,
            created: UnixMs(created),
            expires: expires.map(UnixMs),
            used: used.map(UnixMs),
        };
        Ok(rows.into_iter().map(token).collect())
    }

    /// Whose token has this hash, and its scopes, unless it has expired.
    pub(crate) async fn token_owner(
        &self,
        hash: &[u8],
        now: UnixMs,
    ) -> Result<Option<(UserId, u8)>, DbError> {
        let row: Option<(u64, u64, u8, u64)> = self.first(FIND, (hash, now.0)).await?;
        let Some((id, user, scopes, used)) = row else { return Ok(None) };
        if USED_MS < now.0.saturating_sub(used) {
            self.change(USED, (now.0, id)).await?;
        }
        Ok(Some((UserId(user), scopes)))
    }

    /// Ends a token; false if it is not there, or not this user's.
    pub(crate) async fn end_token(&self, user: UserId, id: TokenId) -> Result<bool, DbError> {
        Ok(self.change(REMOVE, (id.0, user.0)).await? == 1)
    }
}
