//! The table `user` as its owner and as administrators change it.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Row};

use super::user::UserRow;
use super::{Audit, Db, DbError, Role, Theme, User, column, commit, retry, within};
use crate::ids::{UnixMs, UserId};

const SETTINGS: &str = "\
UPDATE user SET nickname = COALESCE(?, nickname), email = IF(?, ?, email),
    locale = COALESCE(?, locale)
WHERE id = ? AND disabled_ms IS NULL";
const THEME: &str = "\
INSERT INTO user_setting (user, theme) VALUES (?, ?) ON DUPLICATE KEY UPDATE theme = VALUES(theme)";
const PASSWORD: &str = "UPDATE user SET password = ? WHERE id = ?";
const LIST: &str = "\
SELECT u.id, u.name, u.nickname, u.role, u.quota_bytes, u.used_bytes, u.locale, u.email,
    COALESCE(s.theme, 0), f.confirmed_ms IS NOT NULL, u.created_ms, u.disabled_ms
FROM user u LEFT JOIN user_setting s ON s.user = u.id LEFT JOIN second_factor f ON f.user = u.id
WHERE ? < u.id AND (? IS NULL OR u.id = ?)
    AND (? = '' OR LOCATE(?, u.name_key) OR LOCATE(?, CONVERT(u.nickname USING utf8mb4)))
ORDER BY u.id LIMIT ?";
const CHANGE: &str = "\
UPDATE user SET quota_bytes = COALESCE(?, quota_bytes), role = COALESCE(?, role),
    disabled_ms = CASE WHEN ? IS NULL THEN disabled_ms WHEN ? THEN COALESCE(disabled_ms, ?) END
WHERE id = ?";
const BY_KEY: &str = "SELECT id FROM user WHERE name_key = ?";
const STATS: &str = "\
SELECT
    (SELECT COUNT(*) FROM user),
    (SELECT COUNT(*) FROM user WHERE disabled_ms IS NOT NULL),
    (SELECT COUNT(*) FROM node WHERE kind = 1),
    (SELECT COUNT(*) FROM node WHERE kind = 0),
    (SELECT CAST(COALESCE(SUM(used_bytes), 0) AS UNSIGNED) FROM user),
    (SELECT COUNT(*) FROM `blob` WHERE state = 'live'),
    (SELECT CAST(COALESCE(SUM(size), 0) AS UNSIGNED) FROM `blob` WHERE state = 'live'),
    (SELECT COUNT(*) FROM upload WHERE node IS NULL),
    (SELECT COUNT(*) FROM garbage)";

/// What its owner may change of an account; None leaves a thing as it is.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) nickname: Option<String>,
    pub(crate) email: Option<Option<String>>,
    pub(crate) locale: Option<String>,
    pub(crate) theme: Option<Theme>,
}

/// What an administrator may change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AccountChange {
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) role: Option<Role>,
    pub(crate) disabled: Option<bool>,
}

/// An account as administrators see it; the shape of `Account` in the API.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Account {
    #[serde(flatten)]
    pub(crate) user: User,
    pub(crate) disabled_ms: Option<UnixMs>,
}

/// Counts of the whole drive; the shape of /api/admin/stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Stats {
    pub(crate) users: u64,
    pub(crate) users_disabled: u64,
    pub(crate) files: u64,
    pub(crate) folders: u64,
    pub(crate) file_bytes: u64,
    pub(crate) blobs: u64,
    pub(crate) blob_bytes: u64,
    pub(crate) uploads: u64,
    pub(crate) garbage: u64,
}

impl FromRow for Account {
    fn from_row_opt(row: Row) -> Result<Self, FromRowError> {
        Self::read(&row).ok_or(FromRowError(row))
    }
}

impl Account {
    fn read(row: &Row) -> Option<Self> {
        let user: UserRow = (
            column(row, 0)?,
            column(row, 1)?,
            column(row, 2)?,
            column(row, 3)?,
            column(row, 4)?,
            column(row, 5)?,
            column(row, 6)?,
            column(row, 7)?,
            column(row, 8)?,
            column(row, 9)?,
            column(row, 10)?,
        );
        let disabled: Option<u64> = column(row, 11)?;
        Some(Self { user: User::from(user), disabled_ms: disabled.map(UnixMs) })
    }
}

impl Db {
    pub(crate) async fn change_settings(
        &self,
        id: UserId,
        change: &Settings,
    ) -> Result<(), DbError> {
        let email = change.email.clone();
        let row = (
            change.nickname.clone(),
            email.is_some(),
            email.flatten(),
            change.locale.clone(),
            id.0,
        );
        self.change(SETTINGS, row).await?;
        match change.theme {
            Some(theme) => self.change(THEME, (id.0, theme as u8)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Sets a password and notes who did it.
    pub(crate) async fn set_password(
        &self,
        id: UserId,
        hash: &str,
        deed: Audit<'_>,
    ) -> Result<(), DbError> {
        let deed = &deed;
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                within(async {
                    tx.exec_drop(PASSWORD, (hash, id.0)).await?;
                    deed.insert(&mut tx).await
                })
                .await?;
                commit(tx).await
            })
        })
        .await
    }

    /// Up to `limit` accounts behind `after` that hold `part` in a name, in the order of ids.
    pub(crate) async fn accounts(
        &self,
        after: u64,
        part: &str,
        limit: u64,
    ) -> Result<Vec<Account>, DbError> {
        let none: Option<u64> = None;
        let folded = part.to_lowercase();
        self.all(LIST, (after, none, none, part, folded, part, limit)).await
    }

    pub(crate) async fn account(&self, id: UserId) -> Result<Option<Account>, DbError> {
        self.first(LIST, (0u64, Some(id.0), Some(id.0), "", "", "", 1u64)).await
    }

    pub(crate) async fn user_named(&self, key: &str) -> Result<Option<UserId>, DbError> {
        let id: Option<u64> = self.first(BY_KEY, (key,)).await?;
        Ok(id.map(UserId))
    }

    /// Changes an account and notes it.
    pub(crate) async fn change_account(
        &self,
        id: UserId,
        change: AccountChange,
        deed: Audit<'_>,
    ) -> Result<(), DbError> {
        let deed = &deed;
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                within(async {
                    let disabled = change.disabled;
                    let row = (
                        change.quota_bytes,
                        change.role.map(|role| role as u8),
                        disabled,
                        disabled,
                        deed.at.0,
                        id.0,
                    );
                    tx.exec_drop(CHANGE, row).await?;
                    deed.insert(&mut tx).await
                })
                .await?;
                commit(tx).await
            })
        })
        .await
    }

    pub(crate) async fn stats(&self) -> Result<Stats, DbError> {
        type Row = (u64, u64, u64, u64, u64, u64, u64, u64, u64);
        let row: Option<Row> = self.first(STATS, ()).await?;
        let (
            users,
            users_disabled,
            files,
            folders,
            file_bytes,
            blobs,
            blob_bytes,
            uploads,
            garbage,
        ) = row.unwrap_or_default();
        Ok(Stats {
            users,
            users_disabled,
            files,
            folders,
            file_bytes,
            blobs,
            blob_bytes,
            uploads,
            garbage,
        })
    }
}
