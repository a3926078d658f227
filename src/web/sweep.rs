//! Removes what uploads and deletes left behind: reservations that nobody touches, what is in the
//! trash and due, stored files that nothing needs.
//!
//! One task in every `upload` worker. Each step may be repeated and may meet another worker doing
//! the same. Never looks for files that no row names.

use std::sync::Arc;
use std::time::Duration;

use net::shutdown::Stop;

use crate::app::App;
use crate::db::{DbError, GARBAGE_BATCH};
use crate::notify::Event;

/// Between two sweeps; what is left over meanwhile only takes space.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Batches of stored files in one sweep, which a stop of the worker does not wait for.
const BATCHES_MAX: usize = 1000;

/// Sweeps until `stop`.
pub(crate) async fn run(app: Arc<App>, mut stop: Stop) {
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        let swept = tokio::select! {
            biased;
            () = stop.raised() => return,
            swept = sweep(&app) => swept,
        };
        if let Err(error) = swept {
            log::warn!("sweep: {error}");
        }
    }
}

/// One sweep; stops at the first batch that is not full of success. Every upload of a known
/// content leaves a file here, so a single batch would fall behind for good.
pub(crate) async fn sweep(app: &App) -> Result<(), DbError> {
    let swept = app.db.sweep_reservations(app.now()).await?;
    if 0 < swept {
        log::info!("gave up {swept} uploads that died");
    }
    purge(app).await?;
    let expired = app.db.sweep_uploads(app.now()).await?;
    if !expired.is_empty() {
        log::info!("gave up {} resumable uploads that nobody went on with", expired.len());
    }
    for owner in expired {
        app.notify.tell(owner, &Event::uploads());
    }
    for _ in 0..BATCHES_MAX {
        if sweep_batch(app).await? < GARBAGE_BATCH {
            break;
        }
    }
    Ok(())
}

/// Removes what is due in the trash of some users. One whose turn fails does not hold up the rest.
async fn purge(app: &App) -> Result<(), DbError> {
    for owner in app.db.purge_owners(app.now()).await? {
        let mut changes = app.notify.changes(owner);
        changes.trash();
        changes.account();
        for _ in 0..BATCHES_MAX {
            match app.db.purge_step(owner, app.now()).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    log::error!("purge the trash of user {owner}: {error}");
                    break;
                }
            }
        }
    }
    Ok(())
}

/// How many stored files are gone.
async fn sweep_batch(app: &App) -> Result<usize, DbError> {
    let mut removed = 0usize;
    for garbage in app.db.claim_garbage(app.now()).await? {
        match app.files.remove(&garbage.file_id).await {
            Ok(()) => {
                app.db.removed(&garbage).await?;
                removed = removed.saturating_add(1);
            }
            Err(error) => log::warn!("remove {} later: {error}", garbage.file_id),
        }
    }
    Ok(removed)
}
