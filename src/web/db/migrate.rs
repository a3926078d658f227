//! Brings the schema forward: the files of `conf/schema`, each once, in order.
//!
//! Called by the pool before its first use and by `fastdisk migrate`. Many processes may start at
//! once: a named lock lets one work while the others wait. Never goes backward, and refuses a
//! database that a newer version has changed or whose history is not ours.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sha2::{Digest, Sha256};

use super::DbError;

/// Each migration's text; its number is its place, from 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../conf/schema/0001_accounts_and_files.sql"),
    include_str!("../../../conf/schema/0002_second_factors_tokens_uploads.sql"),
    include_str!("../../../conf/schema/0003_drive.sql"),
];

/// Seconds to wait for another process that migrates.
const LOCK_WAIT_S: u32 = 60;

const LOCK: &str = "SELECT GET_LOCK(CONCAT('fastdisk schema ', DATABASE()), ?)";
const UNLOCK: &str = "DO RELEASE_LOCK(CONCAT('fastdisk schema ', DATABASE()))";
const CREATE: &str = "\
CREATE TABLE IF NOT EXISTS schema_version (
    version INT UNSIGNED NOT NULL PRIMARY KEY,
    checksum CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB";
const APPLIED: &str = "SELECT version, checksum FROM schema_version ORDER BY version";
const RECORD: &str = "INSERT INTO schema_version (version, checksum) VALUES (?, ?)";

/// Applies what is missing.
pub(super) async fn run(conn: &mut Conn) -> Result<(), DbError> {
    let locked: Option<i64> = conn.exec_first(LOCK, (LOCK_WAIT_S,)).await?.flatten();
    if locked != Some(1) {
        return Err(DbError::Schema("another process has held the lock for a minute".to_owned()));
    }
    let done = apply_missing(conn).await;
    conn.query_drop(UNLOCK).await?;
    done
}

async fn apply_missing(conn: &mut Conn) -> Result<(), DbError> {
    conn.query_drop(CREATE).await?;
    let applied: Vec<(u32, String)> = conn.query(APPLIED).await?;
    for (version, text) in (1u32..).zip(pending(&applied)?) {
        let version = version.saturating_add(u32::try_from(applied.len()).unwrap_or(u32::MAX));
        for statement in statements(text) {
            conn.query_drop(statement).await?;
        }
        conn.exec_drop(RECORD, (version, checksum(text))).await?;
        log::info!("database schema is now at version {version}");
    }
    Ok(())
}

/// The migrations that `applied` lacks, if what it has is the beginning of ours.
fn pending(applied: &[(u32, String)]) -> Result<&'static [&'static str], DbError> {
    for (index, (version, sum)) in (1u32..).zip(applied) {
        let Some(text) = usize::try_from(index - 1).ok().and_then(|i| MIGRATIONS.get(i)) else {
            let text = format!("schema version {version} is newer than this program");
            return Err(DbError::Schema(text));
        };
        if *version != index || *sum != checksum(text) {
            let text = format!("schema version {version} was made by other statements than ours");
            return Err(DbError::Schema(text));
        }
    }
    Ok(MIGRATIONS.get(applied.len()..).unwrap_or_default())
}

fn checksum(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Splits a file where a line ends with a semicolon; comment lines are dropped.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = format!("{}\n", code.join("\n"));
    code.split(";\n").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_split_into_statements_that_begin_with_a_verb() {
        let all: Vec<Vec<String>> = MIGRATIONS.iter().map(|text| statements(text)).collect();
        assert_eq!((all[0].len(), all[1].len(), all[2].len()), (5, 5, 13));
        // Each is harmless when repeated.
        let harmless =
            ["CREATE TABLE IF NOT EXISTS ", "ALTER TABLE ", "REPLACE INTO ", "INSERT IGNORE INTO "];
        for statement in all.iter().flatten() {
            assert!(harmless.iter().any(|verb| statement.starts_with(verb)), "{statement}");
            let adds = statement.matches("ADD ").count();
            assert!(adds <= statement.matches("IF NOT EXISTS ").count(), "{statement}");
            assert!(!statement.contains("--") && !statement.contains(';'), "{statement}");
        }
    }

    #[test]
    fn only_our_own_beginning_is_continued() {
        let ours = |n: u32| (n, checksum(MIGRATIONS[n as usize - 1]));
        let all: Vec<_> = (1..=MIGRATIONS.len() as u32).map(ours).collect();
        assert_eq!(pending(&[]).unwrap().len(), MIGRATIONS.len());
        assert_eq!(pending(&all).unwrap().len(), 0);
        let newer = [all.clone(), vec![(MIGRATIONS.len() as u32 + 1, String::new())]].concat();
        assert!(pending(&newer).unwrap_err().to_string().contains("newer"));
        let changed = [(1, "0".repeat(64))];
        assert!(pending(&changed).unwrap_err().to_string().contains("other statements"));
    }
}
