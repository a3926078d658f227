//! The whole database as lines of JSON, and back: for `fastdisk backup` and `restore`.
//!
//! ```text
//! {"fastdisk":1,"schema":[[1,"<checksum>"],...]}
//! {"table":"user","columns":["id","name",...]}
//! [1,"x'616e6e61'",...]                          a row: numbers, null, or bytes in hexadecimal
//! ...
//! {"end":<rows>}                                 without it the file is cut
//! ```
//!
//! Read in one transaction, so that the lines belong together; generated columns are left out.
//! Restores into a database without accounts only, of the same schema, in one transaction.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, TxOpts, Value};
use serde_json::{Value as Json, json};

use super::{Db, DbError};
use crate::hex::{hex, unhex};

const TABLES: &str = "\
SELECT TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME <> 'schema_version' ORDER BY TABLE_NAME";
const COLUMNS: &str = "\
SELECT COLUMN_NAME FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND EXTRA NOT LIKE '%GENERATED%'
ORDER BY ORDINAL_POSITION";
const SCHEMA: &str = "SELECT version, checksum FROM schema_version ORDER BY version";
const ACCOUNTS: &str = "SELECT COUNT(*) FROM user";

/// Rows read or written together.
const BATCH: u64 = 1000;

fn broken(what: impl Into<String>) -> DbError {
    DbError::Schema(what.into())
}

/// A name of the schema, quoted; ours have no back-tick, and a file cannot bring one.
fn quoted(name: &str) -> Result<String, DbError> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain {
        Ok(format!("`{name}`"))
    } else {
        Err(broken(format!("{name:?} is no name of ours")))
    }
}

impl Db {
    /// Hands every line of a backup to `out`; how many rows there were.
    pub(crate) async fn back_up(
        &self,
        out: &mut (dyn FnMut(&str) -> std::io::Result<()> + Send),
    ) -> Result<u64, DbError> {
        let mut conn = self.conn().await?;
        let mut options = TxOpts::new();
        options.with_consistent_snapshot(true).with_readonly(Some(true));
        options.with_isolation_level(Some(mysql_async::IsolationLevel::RepeatableRead));
        let mut tx = conn.start_transaction(options).await?;
        let mut say = |line: Json| {
            let written = out(&line.to_string());
            written.map_err(|error| broken(format!("write the backup: {error}")))
        };
        let schema: Vec<(u32, String)> = tx.query(SCHEMA).await?;
        say(json!({"fastdisk": 1, "schema": schema}))?;
        let mut rows = 0u64;
        let tables: Vec<String> = tx.query(TABLES).await?;
        for table in tables {
            let columns: Vec<String> = tx.exec(COLUMNS, (&table,)).await?;
            say(json!({"table": table, "columns": columns}))?;
            let names: Vec<String> = columns.iter().map(|c| quoted(c)).collect::<Result<_, _>>()?;
            let select = format!("SELECT {} FROM {}", names.join(", "), quoted(&table)?);
            let mut found = tx.exec_iter(select, ()).await?;
            while let Some(row) = found.next().await? {
                say(row_to_json(row)?)?;
                rows = rows.saturating_add(1);
            }
        }
        say(json!({ "end": rows }))?;
        tx.rollback().await?;
        Ok(rows)
    }

    /// Puts the lines of a backup into a database without accounts; how many rows there were.
    pub(crate) async fn read_back(
        &self,
        lines: &mut (dyn Iterator<Item = std::io::Result<String>> + Send),
    ) -> Result<u64, DbError> {
        let mut conn = self.conn().await?;
        let accounts: Option<u64> = conn.query_first(ACCOUNTS).await?;
        if accounts != Some(0) {
            return Err(broken("the database holds accounts: restore into an empty one"));
        }
        conn.query_drop("SET SESSION foreign_key_checks = 0").await?;
        let restored = restore_in(&mut conn, lines).await;
        // The connection must not go back to the pool with its checks off.
        conn.disconnect().await?;
        restored
    }
}

async fn restore_in(
    conn: &mut Conn,
    lines: &mut (dyn Iterator<Item = std::io::Result<String>> + Send),
) -> Result<u64, DbError> {
    let mut next = || -> Result<Option<Json>, DbError> {
        let Some(line) = lines.next() else { return Ok(None) };
        let line = line.map_err(|error| broken(format!("read the backup: {error}")))?;
        serde_json::from_str(&line).map(Some).map_err(|_| broken("a line is not of a backup"))
    };
    let schema: Vec<(u32, String)> = conn.query(SCHEMA).await?;
    let first = next()?.unwrap_or_default();
    if first.get("fastdisk") != Some(&json!(1)) || first.get("schema") != Some(&json!(schema)) {
        return Err(broken("the backup is of another version: restore it with the one it is of"));
    }
    let mut tx = conn.start_transaction(TxOpts::new()).await?;
    let (mut rows, mut insert) = (0u64, String::new());
    let mut batch: Vec<Vec<Value>> = Vec::new();
    loop {
        let line = next()?.ok_or_else(|| broken("the backup is cut: it has no end"))?;
        let full = u64::try_from(batch.len()).is_ok_and(|count| BATCH <= count);
        if (full || line.is_object()) && !batch.is_empty() {
            tx.exec_batch(insert.as_str(), std::mem::take(&mut batch)).await?;
        }
        if let Json::Array(values) = line {
            rows = rows.saturating_add(1);
            batch.push(
                values
                    .iter()
                    .map(json_to_value)
                    .collect::<Option<_>>()
                    .ok_or_else(|| broken("a row holds what no backup holds"))?,
            );
            continue;
        }
        if line.get("end") == Some(&json!(rows)) {
            tx.commit().await?;
            return Ok(rows);
        }
        insert = insert_of(&line)?;
    }
}

/// The statement for the rows behind a line that names a table.
fn insert_of(line: &Json) -> Result<String, DbError> {
    let missing = || broken("a line is not of a backup");
    let table = line.get("table").and_then(Json::as_str).ok_or_else(missing)?;
    let columns = line.get("columns").and_then(Json::as_array).ok_or_else(missing)?;
    let names: Vec<String> = columns
        .iter()
        .map(|name| quoted(name.as_str().unwrap_or_default()))
        .collect::<Result<_, _>>()?;
    let marks = vec!["?"; names.len()].join(", ");
    Ok(format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(table)?, names.join(", ")))
}

fn row_to_json(row: Row) -> Result<Json, DbError> {
    let one = |value: Value| match value {
        Value::NULL => Ok(Json::Null),
        Value::Int(n) => Ok(json!(n)),
        Value::UInt(n) => Ok(json!(n)),
        Value::Bytes(bytes) => Ok(json!(format!("x'{}'", hex(&bytes)))),
        other => Err(broken(format!("a column of a kind that is not backed up: {other:?}"))),
    };
    row.unwrap().into_iter().map(one).collect()
}

fn json_to_value(json: &Json) -> Option<Value> {
    match json {
        Json::Null => Some(Value::NULL),
        Json::Number(n) => n.as_u64().map(Value::UInt).or(n.as_i64().map(Value::Int)),
        Json::String(text) => {
            let digits = text.strip_prefix("x'")?.strip_suffix('\'')?;
            unhex(digits).map(Value::Bytes)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_and_names_cannot_become_statements() {
        for value in [
            Value::NULL,
            Value::UInt(u64::MAX),
            Value::Int(-1),
            Value::Bytes(vec![0, 255, b'\'']),
            Value::Bytes(Vec::new()),
        ] {
            let json = match &value {
                Value::NULL => Json::Null,
                Value::UInt(n) => json!(n),
                Value::Int(n) => json!(n),
                Value::Bytes(bytes) => json!(format!("x'{}'", hex(bytes))),
                other => panic!("{other:?}"),
            };
            assert_eq!(json_to_value(&json), Some(value));
        }
        for wrong in [json!("plain"), json!("x'0'"), json!(1.5), json!([1]), json!(true)] {
            assert_eq!(json_to_value(&wrong), None, "{wrong}");
        }
        let line = json!({"table": "user", "columns": ["id", "name"]});
        assert_eq!(insert_of(&line).unwrap(), "INSERT INTO `user` (`id`, `name`) VALUES (?, ?)");
        for wrong in ["a`b", "", "a b", "x;y"] {
            assert!(insert_of(&json!({"table": wrong, "columns": []})).is_err(), "{wrong}");
        }
    }
}
