//! `fastdisk reconcile`: compares the database with the store, both ways.
//!
//! From the database: every content's file is asked for over the network, in any cluster. From
//! the store: every file in the store paths on this machine must be named by a row. A file that
//! no row names is garbage once it is older than an hour; younger ones may belong to an upload
//! whose row is on its way. Never deletes a file itself: `--repair` puts it into the queue.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::fileid::FileId;

use crate::config::Config;
use crate::db::{Db, LiveBlob};
use crate::files::Files;
use crate::ids::UnixMs;

/// A file no row names may be in the middle of its upload for so long.
const GRACE: Duration = Duration::from_secs(3600);
/// Levels of directories in a store path, each of two hexadecimal digits.
const LEVELS: usize = 2;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reconcile {
    pub(super) repair: bool,
    /// Compare the sums of contents as well, which reads all of them.
    pub(super) sums: bool,
    /// In the order M00, M01, ...; empty: the private store's.
    pub(super) store_paths: Vec<PathBuf>,
}

/// The report, and whether everything is in order now.
pub(super) async fn run(
    config: &Config,
    (db, files): (&Db, &Files),
    what: &Reconcile,
    now: UnixMs,
) -> anyhow::Result<(String, bool)> {
    let mut report = String::new();
    let lost = check_contents(db, files, what.sums, &mut report).await?;
    let orphans = check_store(config, db, what, now, &mut report).await?;
    let (blobs, users) = db.wrong_counters().await?;
    let wrong = blobs.saturating_add(users);
    let _ = writeln!(report, "counters: {blobs} contents and {users} users are counted wrongly");
    if what.repair && 0 < wrong {
        db.repair_counters(now).await?;
        let _ = writeln!(report, "counters: counted anew");
    }
    let mended = what.repair || orphans.saturating_add(wrong) == 0;
    Ok((report, lost == 0 && mended))
}

/// How many contents the store does not have as it should.
async fn check_contents(
    db: &Db,
    files: &Files,
    sums: bool,
    report: &mut String,
) -> anyhow::Result<u64> {
    let (mut seen, mut lost, mut after) = (0u64, 0u64, 0u64);
    loop {
        let page = db.live_blobs(after).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for blob in &page {
            seen = seen.saturating_add(1);
            let Some(why) = fault(files, blob, sums).await? else { continue };
            lost = lost.saturating_add(1);
            let _ = writeln!(report, "content {}: {} {why}", blob.id, blob.file_id);
            for (user, name) in db.owners_of(blob.id).await? {
                let _ = writeln!(report, "    {:?} of {user:?}", name);
            }
        }
    }
    let _ = writeln!(report, "database: {seen} contents, {lost} of them not right in the store");
    Ok(lost)
}

/// What is wrong with a content; an error if the store cannot be asked.
async fn fault(files: &Files, blob: &LiveBlob, sums: bool) -> anyhow::Result<Option<String>> {
    Ok(match files.inspect(&blob.file_id, sums).await? {
        None => Some("is not there".to_owned()),
        Some(found) if found.size != blob.size => {
            Some(format!("has {} instead of {} bytes", found.size, blob.size))
        }
        Some(found) if found.damaged => {
            Some("is damaged: its bytes have another sum, or cannot be read".to_owned())
        }
        Some(_) => None,
    })
}

/// How many files of this machine's store paths no row names.
async fn check_store(
    config: &Config,
    db: &Db,
    what: &Reconcile,
    now: UnixMs,
    report: &mut String,
) -> anyhow::Result<u64> {
    let mut paths = what.store_paths.clone();
    if paths.is_empty() && config.store.private {
        paths.push(config.run_dir.join("data/store0"));
    }
    if paths.is_empty() {
        let _ = writeln!(report, "store: no store path is named; its inventory was not compared");
        return Ok(0);
    }
    let group = config.store.group.as_deref().unwrap_or("group1");
    // The store first: a file that comes meanwhile must not look like one that nobody named.
    let mut found = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        walk(&path.join("data"), &mut Vec::new(), &mut |names, file, modified_ms| {
            let id = format!("{group}/M{index:02X}/{}/{file}", names.join("/"));
            let old = modified_ms.saturating_add(millis(GRACE)) < now.0;
            if old && FileId::parse(&id).is_ok() {
                found.push(id);
            }
        })?;
    }
    let named = db.named_files().await?;
    let orphans: Vec<&String> = found.iter().filter(|id| !named.contains(*id)).collect();
    for id in &orphans {
        let _ = writeln!(report, "store: {id} belongs to nothing");
        if what.repair {
            db.discard(id, now).await?;
        }
    }
    let done = if what.repair { "; they will be removed" } else { "" };
    let (files, count) = (found.len(), orphans.len());
    let _ = writeln!(report, "store: {files} files, {count} of them belong to nothing{done}");
    Ok(count as u64)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Calls `each` for every plain file with its directories, its name and when it was modified.
fn walk(
    dir: &Path,
    names: &mut Vec<String>,
    each: &mut dyn FnMut(&[String], &str, u64),
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // Removed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if names.len() < LEVELS {
            let digits = name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit());
            if meta.is_dir() && digits {
                names.push(name);
                walk(&entry.path(), names, each)?;
                names.pop();
            }
        } else if meta.is_file() {
            let since = meta.modified()?.duration_since(std::time::UNIX_EPOCH);
            each(names, &name, millis(since.unwrap_or_default()));
        }
    }
    Ok(())
}
