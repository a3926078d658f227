//! The tables `second_factor` and `recovery_code`.
//!
//! Secrets arrive sealed and codes hashed; nothing here can open or make one. A code is good
//! once: the statement that takes it is the one that asks whether it was there.

use mysql_async::prelude::Queryable;

use super::{Audit, Db, DbError, commit, retry, within};
use crate::ids::{UnixMs, UserId};

const FOUND: &str =
    "SELECT sealed, confirmed_ms IS NOT NULL, step FROM second_factor WHERE user = ?";
const ENROL: &str = "\
INSERT INTO second_factor (user, sealed, confirmed_ms, step) VALUES (?, ?, NULL, 0)
ON DUPLICATE KEY UPDATE sealed = IF(confirmed_ms IS NULL, VALUES(sealed), sealed)";
const CONFIRM: &str = "\
UPDATE second_factor SET confirmed_ms = ?, step = ? WHERE user = ? AND confirmed_ms IS NULL";
const TAKE_STEP: &str = "UPDATE second_factor SET step = ? WHERE user = ? AND step < ?";
const TAKE_CODE: &str = "DELETE FROM recovery_code WHERE user = ? AND hash = ?";
const ADD_CODE: &str = "INSERT INTO recovery_code (user, hash) VALUES (?, ?)";
const REMOVE_CODES: &str = "DELETE FROM recovery_code WHERE user = ?";
const REMOVE: &str = "DELETE FROM second_factor WHERE user = ?";

/// What a user signs in with beside the password.
#[derive(Clone, Debug)]
pub(crate) struct SecondFactor {
    pub(crate) sealed: Vec<u8>,
    pub(crate) confirmed: bool,
    /// The last time step whose code was taken.
    pub(crate) step: u64,
}

impl Db {
    pub(crate) async fn second_factor(
        &self,
        user: UserId,
    ) -> Result<Option<SecondFactor>, DbError> {
        let row: Option<(Vec<u8>, bool, u64)> = self.first(FOUND, (user.0,)).await?;
        Ok(row.map(|(sealed, confirmed, step)| SecondFactor { sealed, confirmed, step }))
    }

    /// Keeps a secret that is not in force yet, in place of an earlier one of that kind.
    pub(crate) async fn enrol(&self, user: UserId, sealed: &[u8]) -> Result<(), DbError> {
        self.change(ENROL, (user.0, sealed)).await.map(drop)
    }

    /// Puts the secret in force, with recovery codes; false if it was already.
    pub(crate) async fn confirm_second_factor(
        &self,
        user: UserId,
        step: u64,
        codes: &[[u8; 32]],
        at: UnixMs,
        address: &str,
    ) -> Result<bool, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(async {
                    let row = (at.0, step, user.0);
                    if tx.exec_iter(CONFIRM, row).await?.affected_rows() == 0 {
                        return Ok(false);
                    }
                    tx.exec_drop(REMOVE_CODES, (user.0,)).await?;
                    for code in codes {
                        tx.exec_drop(ADD_CODE, (user.0, &code[..])).await?;
                    }
                    let actor = Some(user);
                    let deed =
                        Audit { at, actor, action: "totp_on", node: None, address, detail: "" };
                    deed.insert(&mut tx).await.map(|()| true)
                })
                .await?;
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }

    /// Takes the code of a time step; false if it, or a later one, was taken before. Once: to a
    /// repetition the code that the first try took would look like a wrong guess.
    pub(crate) async fn take_step(&self, user: UserId, step: u64) -> Result<bool, DbError> {
        Ok(self.change_once(TAKE_STEP, (step, user.0, step)).await? == 1)
    }

    /// Takes a recovery code, once as well; false if there is none like it.
    pub(crate) async fn take_recovery_code(
        &self,
        user: UserId,
        hash: &[u8; 32],
    ) -> Result<bool, DbError> {
        Ok(self.change_once(TAKE_CODE, (user.0, &hash[..])).await? == 1)
    }

    /// Ends the second factor and its recovery codes, and notes who did it; false if there was
    /// none, in force or not.
    pub(crate) async fn end_second_factor(
        &self,
        user: UserId,
        deed: Audit<'_>,
    ) -> Result<bool, DbError> {
        let deed = &deed;
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let done = within(async {
                    tx.exec_drop(REMOVE_CODES, (user.0,)).await?;
                    if tx.exec_iter(REMOVE, (user.0,)).await?.affected_rows() == 0 {
                        return Ok(false);
                    }
                    deed.insert(&mut tx).await.map(|()| true)
                })
                .await?;
                commit(tx).await.map(|()| done)
            })
        })
        .await
    }
}
