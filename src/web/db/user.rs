//! The table `user`: accounts, their space, what they prove themselves with.

use mysql_async::prelude::Queryable;

use super::{Audit, Db, DbError, commit, retry, within};
use crate::ids::{UnixMs, UserId};

const INSERT: &str = "\
INSERT INTO user (name, name_key, nickname, password, email, role, quota_bytes, used_bytes,
    locale, created_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)";
const ENABLED: &str = "\
SELECT u.id, u.name, u.nickname, u.role, u.quota_bytes, u.used_bytes, u.locale, u.email,
    COALESCE(s.theme, 0), f.confirmed_ms IS NOT NULL, u.created_ms
FROM user u LEFT JOIN user_setting s ON s.user = u.id LEFT JOIN second_factor f ON f.user = u.id
WHERE u.id = ? AND u.disabled_ms IS NULL";
const CREDENTIALS: &str =
    "SELECT id, password FROM user WHERE name_key = ? AND disabled_ms IS NULL";
const OWN_CREDENTIALS: &str = "SELECT id, password FROM user WHERE id = ? AND disabled_ms IS NULL";
const ADMIN_LOCK: &str = "SELECT GET_LOCK(CONCAT('fastdisk admin ', DATABASE()), 10)";
const ADMIN_UNLOCK: &str = "DO RELEASE_LOCK(CONCAT('fastdisk admin ', DATABASE()))";
const ADMINS: &str = "SELECT id FROM user WHERE role = 1 LIMIT 1";

/// What an account may do beyond its own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User = 0,
    Admin = 1,
}

/// An account as its owner sees it; the shape of `User` in the API.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) name: String,
    pub(crate) nickname: String,
    pub(crate) role: Role,
    pub(crate) quota_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) locale: String,
    pub(crate) email: Option<String>,
    pub(crate) theme: Theme,
    /// Whether signing in asks for a second factor.
    pub(crate) totp: bool,
    pub(crate) created_ms: UnixMs,
}

/// How the pages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    System = 0,
    Light = 1,
    Dark = 2,
}

impl Theme {
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Light,
            2 => Self::Dark,
            _ => Self::System,
        }
    }
}

/// The columns of [`User`], in the order of the statements here.
pub(super) type UserRow =
    (u64, String, String, u8, u64, u64, String, Option<String>, u8, bool, u64);

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        let (id, name, nickname, role, quota_bytes, used_bytes, locale, email, theme, totp, at) =
            row;
        User {
            id: UserId(id),
            name,
            nickname,
            role: if role == Role::Admin as u8 { Role::Admin } else { Role::User },
            quota_bytes,
            used_bytes,
            locale,
            email,
            theme: Theme::from_number(theme),
            totp,
            created_ms: UnixMs(at),
        }
    }
}

/// An account to be made.
pub(crate) struct NewUser {
    pub(crate) name: String,
    /// The folded name, unique.
    pub(crate) name_key: String,
    pub(crate) nickname: String,
    /// Argon2id, in PHC form.
    pub(crate) password: String,
    pub(crate) email: Option<String>,
    pub(crate) role: Role,
    pub(crate) quota_bytes: u64,
    pub(crate) locale: String,
    pub(crate) created: UnixMs,
}

/// What a log-in is checked against.
pub(crate) struct Credentials {
    pub(crate) id: UserId,
    /// Argon2id, in PHC form.
    pub(crate) password: String,
}

impl NewUser {
    async fn insert(&self, on: &mut impl Queryable) -> Result<(), DbError> {
        let row = (
            &self.name,
            &self.name_key,
            &self.nickname,
            &self.password,
            &self.email,
            self.role as u8,
            self.quota_bytes,
            &self.locale,
            self.created.0,
        );
        Ok(on.exec_drop(INSERT, row).await?)
    }
}

impl Db {
    /// Makes an account, for oneself or `by` an administrator; [`DbError::Taken`] if the name is.
    pub(crate) async fn create_user(
        &self,
        new: &NewUser,
        by: Option<UserId>,
        from: &str,
    ) -> Result<UserId, DbError> {
        retry(move || {
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let id = within(async {
                    new.insert(&mut tx).await?;
                    let id = UserId(tx.last_insert_id().unwrap_or_default());
                    let deed = Audit {
                        at: new.created,
                        actor: by.or(Some(id)),
                        action: by.map_or("register", |_| "admin_made_user"),
                        node: None,
                        address: from,
                        detail: &new.name,
                    };
                    deed.insert(&mut tx).await.map(|()| id)
                })
                .await?;
                commit(tx).await.map(|()| id)
            })
        })
        .await
    }

    /// Makes the first administrator; false if there is one already.
    pub(crate) async fn create_first_admin(&self, new: &NewUser) -> Result<bool, DbError> {
        let mut conn = self.conn().await?;
        let locked: Option<i64> = conn.query_first(ADMIN_LOCK).await?.flatten();
        if locked != Some(1) {
            return Err(DbError::Slow);
        }
        let exists: Option<u64> = conn.query_first(ADMINS).await?;
        if exists.is_none() {
            new.insert(&mut conn).await?;
        }
        conn.query_drop(ADMIN_UNLOCK).await?;
        Ok(exists.is_none())
    }

    /// The account, unless it is disabled or gone.
    pub(crate) async fn user(&self, id: UserId) -> Result<Option<User>, DbError> {
        let row: Option<UserRow> = self.first(ENABLED, (id.0,)).await?;
        Ok(row.map(User::from))
    }

    /// What somebody who is signed in proves once more that they are who they say.
    pub(crate) async fn own_credentials(&self, id: UserId) -> Result<Option<Credentials>, DbError> {
        let row: Option<(u64, String)> = self.first(OWN_CREDENTIALS, (id.0,)).await?;
        Ok(row.map(|(id, password)| Credentials { id: UserId(id), password }))
    }

    /// What `name_key` signs in with, unless it is disabled or unknown.
    pub(crate) async fn credentials(&self, key: &str) -> Result<Option<Credentials>, DbError> {
        let row: Option<(u64, String)> = self.first(CREDENTIALS, (key,)).await?;
        Ok(row.map(|(id, password)| Credentials { id: UserId(id), password }))
    }
}
