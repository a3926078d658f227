//! What must hold between the tables whatever was done (testing.md 11), asked from MariaDB
//! itself.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};

use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// Each finds rows that must not exist.
const VIOLATIONS: &[(&str, &str)] = &[
    (
        "refcount differs from the nodes that use the content",
        "SELECT b.id FROM `blob` b WHERE b.state = 'live' AND b.refcount <>
            (SELECT COUNT(*) FROM node n WHERE n.blob_id = b.id)",
    ),
    (
        "used_bytes differs from the sum of the user's files",
        "SELECT u.id FROM user u WHERE u.used_bytes <>
            (SELECT COALESCE(SUM(n.size), 0) FROM node n WHERE n.owner = u.id)",
    ),
    (
        "a file whose content is not live, or has another size",
        "SELECT n.id FROM node n LEFT JOIN `blob` b ON b.id = n.blob_id
            WHERE n.kind = 1 AND (b.state IS NULL OR b.state <> 'live' OR b.size <> n.size)",
    ),
    (
        "two live nodes with one owner, parent and name",
        "SELECT MIN(id) FROM node WHERE trashed_ms IS NULL
            GROUP BY owner, parent, name HAVING 1 < COUNT(*)",
    ),
    (
        "a live content without a stored file or a hash",
        "SELECT id FROM `blob` WHERE state = 'live'
            AND (file_id IS NULL OR sha256 IS NULL OR md5 IS NULL)",
    ),
    (
        "the totals of a category differ from the live files",
        "WITH RECURSIVE live (id, owner, kind, category, size) AS (
            SELECT id, owner, kind, category, size FROM node
                WHERE parent IS NULL AND trashed_ms IS NULL
            UNION ALL
            SELECT n.id, n.owner, n.kind, n.category, n.size FROM live l
                JOIN node n ON n.parent = l.id AND n.trashed_ms IS NULL)
        SELECT COALESCE(t.owner, 0) FROM category_total t LEFT JOIN
            (SELECT owner, category, COUNT(*) AS files, SUM(size) AS bytes FROM live
            WHERE kind = 1 GROUP BY owner, category) l
            ON l.owner = t.owner AND l.category = t.category
            WHERE t.files <> COALESCE(l.files, 0) OR t.bytes <> COALESCE(l.bytes, 0)
        UNION ALL
        SELECT l.owner FROM live l WHERE l.kind = 1 AND NOT EXISTS
            (SELECT 1 FROM category_total t
            WHERE t.owner = l.owner AND t.category = l.category)",
    ),
    (
        "a node that no root leads to: a cycle",
        "WITH RECURSIVE found (id) AS (
            SELECT id FROM node WHERE parent IS NULL
            UNION ALL
            SELECT n.id FROM found f JOIN node n ON n.parent = f.id)
        SELECT id FROM node WHERE id NOT IN (SELECT id FROM found)",
    ),
    (
        "a node in the trash without its entry, or an entry of a live node",
        "SELECT n.id FROM node n LEFT JOIN trash t ON t.node = n.id
            WHERE (n.trashed_ms IS NULL) <> (t.node IS NULL)",
    ),
    (
        "a live name that the search does not know, or one it knows of nobody",
        "SELECT n.id FROM node n WHERE NOT EXISTS
            (SELECT 1 FROM name_gram g WHERE g.owner = n.owner AND g.node = n.id)
        UNION ALL
        SELECT g.node FROM name_gram g LEFT JOIN node n ON n.id = g.node AND n.owner = g.owner
            WHERE n.id IS NULL",
    ),
    (
        "a live content that nothing uses",
        "SELECT id FROM `blob` WHERE state = 'live' AND refcount = 0",
    ),
    (
        "a stored file that is in use and garbage at once",
        "SELECT g.id FROM garbage g JOIN `blob` b ON b.file_id = g.file_id",
    ),
];

pub(crate) fn query<T: FromRow + Send + 'static>(drive: &Stack, sql: &str) -> Vec<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let socket = drive.run.join("mysql.sock");
    let options = OptsBuilder::default()
        .socket(Some(socket.to_string_lossy()))
        .user(Some("fastdisk"))
        .db_name(Some("fastdisk"));
    runtime.block_on(async {
        let mut conn = Conn::new(options).await.expect("the database answers");
        let rows = conn.query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        conn.disconnect().await.expect("the database answers");
        rows
    })
}

/// Panics if one does not hold; waits for uploads of other tests that are in their middle.
pub(crate) fn check(drive: &Stack) {
    for (what, sql) in VIOLATIONS {
        let limit = Duration::from_secs(10);
        eventually(what, limit, || query::<u64>(drive, sql).is_empty().then_some(()));
    }
}

#[test]
fn the_database_keeps_what_it_has_acknowledged() {
    let drive = crate::drive();
    let flush: Vec<(String, String)> =
        query(drive, "SHOW VARIABLES LIKE 'innodb_flush_log_at_trx_commit'");
    assert_eq!(flush, [("innodb_flush_log_at_trx_commit".to_owned(), "1".to_owned())]);
}
