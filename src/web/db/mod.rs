//! The only SQL: the pool, what can go wrong, and one file per table.
//!
//! Called by the handlers, `session` users and `administer`. Every statement is prepared and every
//! value is bound. Never decides who may do what beyond the ownership test in each `WHERE`, and
//! knows neither Redis nor the store.
//!
//! Lock order inside a transaction: user, node (the parent), blob, node (the new row). Whoever
//! changes a user's tree holds the user's row first.

mod account; // settings and administration of accounts
mod audit;
mod backup; // the whole database as text
mod blob; // contents: reserve, attach
mod copy; // files and folders again, with the same contents
mod feeds; // lists that are not one folder
mod garbage; // stored files to be removed
mod grams; // what names are found by
mod inventory; // what the store must have
mod known; // contents a hint may mean
mod link_key; // what signed links are signed with
mod listing; // pages of a folder
mod migrate;
mod node; // folders and files: what a row is
mod place; // how a file comes into a folder
mod resumable; // uploads that can be continued
mod second_factor;
mod sharing; // shares, their nodes and counters
mod together; // small files that arrive together
mod token;
mod totals; // live files per category
mod trash; // thrown away, restored, purged
mod tree; // folders in folders: moving, and what is above and below
mod user;

pub(crate) use account::{Account, AccountChange, Settings, Stats};
pub(crate) use audit::{Audit, EntryFilter};
pub(crate) use blob::{Hashes, Reserve};
pub(crate) use copy::Copy;
pub(crate) use feeds::{Feed, TimeCursor};
pub(crate) use garbage::BATCH as GARBAGE_BATCH;
pub(crate) use grams::Search;
pub(crate) use inventory::LiveBlob;
pub(crate) use known::Candidate;
pub(crate) use link_key::LinkKey;
pub(crate) use listing::{Cursor, Order, Page, Sort};
pub(crate) use node::{Kind, Node, Published, Stored};
pub(crate) use place::{Bytes, Conflict, NewFile, Outlook};
pub(crate) use resumable::{Leased, NewUpload, Noted, Progress, Upload};
pub(crate) use second_factor::SecondFactor;
pub(crate) use sharing::{NewShare, ShareChange, ShareRow, ShareState, sort_nodes};
pub(crate) use together::TOGETHER_MAX;
pub(crate) use token::{ApiToken, NewToken};
pub(crate) use trash::Back;
pub(crate) use tree::{Actor, Change, Crumb, Refusal};
pub(crate) use user::{NewUser, Role, Theme, User};

use std::time::Duration;

use futures_util::future::BoxFuture;
use mysql_async::prelude::{FromRow, FromValue, Queryable};
use mysql_async::{Conn, Error, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row};
use mysql_async::{Transaction, TxOpts};
use tokio::sync::OnceCell;

use crate::config::{Address, Database};

/// Longest wait for a connection and for one operation on it: nginx and the browser are waiting.
const OPERATION_MAX: Duration = Duration::from_secs(15);
/// How often an operation is begun again after a deadlock or a connection that had gone stale.
const TRIES_MAX: u32 = 4;
/// Seconds after which the server gives up waiting for a lock, well inside `OPERATION_MAX`.
const LOCK_WAIT_S: u32 = 5;
/// Prepared statements kept per connection: more than there are statements.
const STATEMENTS_MAX: usize = 128;

/// What a caller treats differently when the database says no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    /// A unique key refused the row.
    #[error("a row with this key exists")]
    Taken,
    /// Lost a deadlock or a race; trying again from the start is right.
    #[error("try again: {0}")]
    Transient(#[source] Error),
    /// No connection, or it broke before the commit: nothing has changed.
    #[error("database is away: {0}")]
    Away(#[source] Error),
    /// No answer in time; inside a commit this means either.
    #[error("database did not answer in {OPERATION_MAX:?}")]
    Slow,
    /// It broke during the commit: the change may have happened.
    #[error("commit without an answer: {0}")]
    Uncertain(#[source] Error),
    #[error("schema: {0}")]
    Schema(String),
    /// A statement the server does not accept: our mistake.
    #[error("statement: {0}")]
    Statement(#[source] Error),
}

impl DbError {
    fn again(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::Away(_))
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        let Error::Server(server) = &error else { return Self::Away(error) };
        match server.code {
            1062 => Self::Taken,
            1205 | 1213 | 1020 => Self::Transient(error),
            // Too many connections, shutting down, killed, no such account yet.
            1040 | 1044 | 1045 | 1049 | 1053 | 1203 | 1317 | 1927 => Self::Away(error),
            _ => Self::Statement(error),
        }
    }
}

/// The database: a bounded pool that brings the schema up to date before its first use.
#[derive(Debug)]
pub(crate) struct Db {
    pool: Pool,
    migrated: OnceCell<()>,
}

impl Db {
    /// Opens no connection yet, so a worker starts while the database is away.
    pub(crate) fn new(config: &Database) -> Self {
        Self { pool: Pool::new(options(config)), migrated: OnceCell::new() }
    }

    /// Brings the schema up to date, once per process; a failure is tried again next time.
    pub(crate) async fn migrate(&self) -> Result<(), DbError> {
        let migrate = || async { migrate::run(&mut self.checkout().await?).await };
        self.migrated.get_or_try_init(migrate).await.copied()
    }

    async fn conn(&self) -> Result<Conn, DbError> {
        self.migrate().await?;
        self.checkout().await
    }

    async fn checkout(&self) -> Result<Conn, DbError> {
        within(async { Ok(self.pool.get_conn().await?) }).await
    }

    async fn begin(&self) -> Result<Transaction<'static>, DbError> {
        self.migrate().await?;
        within(async { Ok(self.pool.start_transaction(TxOpts::new()).await?) }).await
    }

    /// The first row of a reading statement.
    async fn first<T>(&self, sql: &str, params: impl Into<Params>) -> Result<Option<T>, DbError>
    where
        T: FromRow + Send + 'static,
    {
        Ok(self.all(sql, params).await?.into_iter().next())
    }

    /// All rows of a reading statement that bounds their number itself.
    async fn all<T>(&self, sql: &str, params: impl Into<Params>) -> Result<Vec<T>, DbError>
    where
        T: FromRow + Send + 'static,
    {
        let params = params.into();
        retry(move || {
            let params = params.clone();
            Box::pin(async move {
                let mut conn = self.conn().await?;
                within(async { Ok(conn.exec(sql, params).await?) }).await
            })
        })
        .await
    }

    /// One changing statement that must not happen twice: it is begun again only if it cannot
    /// have happened; how many rows it changed.
    async fn change_once(&self, sql: &str, params: impl Into<Params>) -> Result<u64, DbError> {
        let params = params.into();
        retry(move || {
            let params = params.clone();
            Box::pin(async move {
                let mut tx = self.begin().await?;
                let changed =
                    within(async { Ok(tx.exec_iter(sql, params).await?.affected_rows()) }).await?;
                commit(tx).await.map(|()| changed)
            })
        })
        .await
    }

    /// One changing statement that may be repeated; how many rows it found.
    async fn change(&self, sql: &str, params: impl Into<Params>) -> Result<u64, DbError> {
        let params = params.into();
        retry(move || {
            let params = params.clone();
            Box::pin(async move {
                let mut conn = self.conn().await?;
                within(async { Ok(conn.exec_drop(sql, params).await?) }).await?;
                Ok(conn.affected_rows())
            })
        })
        .await
    }
}

/// A column of a row that has more of them than a tuple may; None if it holds something else.
fn column<T: FromValue>(row: &Row, at: usize) -> Option<T> {
    row.get_opt(at)?.ok()
}

/// Begins `job` again after a deadlock or a lost connection, `TRIES_MAX` times in all.
async fn retry<'a, T>(
    mut job: impl FnMut() -> BoxFuture<'a, Result<T, DbError>>,
) -> Result<T, DbError> {
    for _ in 1..TRIES_MAX {
        match job().await {
            Err(error) if error.again() => log::debug!("again: {error}"),
            done => return done,
        }
    }
    job().await
}

async fn within<T>(job: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    tokio::time::timeout(OPERATION_MAX, job).await.unwrap_or(Err(DbError::Slow))
}

/// Commits, and tells a commit that may have happened from one that cannot have.
async fn commit(transaction: Transaction<'static>) -> Result<(), DbError> {
    within(async { transaction.commit().await.map_err(failed_commit) }).await
}

/// A lost deadlock was rolled back. A server that was stopped or killed the connection may have
/// committed before it said so: to begin again could do everything twice.
fn failed_commit(error: Error) -> DbError {
    match DbError::from(error) {
        DbError::Away(error) => DbError::Uncertain(error),
        other => other,
    }
}

fn options(config: &Database) -> Opts {
    let pool = PoolOpts::new()
        .with_constraints(
            PoolConstraints::new(0, config.connections_max)
                .expect("the configuration allows at least one connection"),
        )
        // A reset would forget the prepared statements; nothing here changes session state.
        .with_reset_connection(false);
    let builder = OptsBuilder::default()
        .user(Some(config.user.clone()))
        .pass(Some(config.password.clone()).filter(|p| !p.is_empty()))
        .db_name(Some(config.name.clone()))
        .stmt_cache_size(STATEMENTS_MAX)
        // Rows that were found, also if they had these values already: a statement that is
        // repeated because its answer was lost is answered as the first time.
        .client_found_rows(true)
        .pool_opts(pool)
        .setup(vec![
            // Locks on gaps would make strangers' inserts wait for each other.
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'".to_owned(),
            format!("SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S}"),
        ]);
    match &config.server {
        Address::Unix(path) => builder.socket(Some(path.to_string_lossy())),
        Address::Tcp { host, port } => {
            builder.ip_or_hostname(host).tcp_port(*port).prefer_socket(false)
        }
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_async::ServerError;

    #[test]
    fn a_commit_is_begun_again_only_if_it_cannot_have_happened() {
        let refused = |code| {
            let (message, state) = (String::new(), String::new());
            Error::Server(ServerError { code, message, state })
        };
        assert!(failed_commit(refused(1213)).again());
        for code in [1053, 1317, 1927] {
            assert!(DbError::from(refused(code)).again(), "{code}");
            assert!(matches!(failed_commit(refused(code)), DbError::Uncertain(_)), "{code}");
        }
        let broken = Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(matches!(failed_commit(broken), DbError::Uncertain(_)));
    }
}
