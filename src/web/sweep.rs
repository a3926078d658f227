//! Removes what uploads and deletes left behind: reservations that nobody touches, stored files
//! that nothing needs.
//!
//! One task in every `upload` worker. Each step may be repeated and may meet another worker doing
//! the same. Never looks for files that no row names.

use std::sync::Arc;
use std::time::Duration;

use net::shutdown::Stop;

use crate::app::App;
use crate::db::DbError;

/// Between two sweeps; what is left over meanwhile only takes space.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Sweeps until `stop`.
pub(crate) async fn run(app: Arc<App>, mut stop: Stop) {
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        if let Err(error) = sweep(&app).await {
            log::warn!("sweep: {error}");
        }
    }
}

/// One sweep; stops at the first batch that is not full of success.
pub(crate) async fn sweep(app: &App) -> Result<(), DbError> {
    let swept = app.db.sweep_reservations(app.now()).await?;
    if 0 < swept {
        log::info!("gave up {swept} uploads that died");
    }
    for garbage in app.db.claim_garbage(app.now()).await? {
        match app.files.remove(&garbage.file_id).await {
            Ok(()) => app.db.removed(&garbage).await?,
            Err(error) => log::warn!("remove {} later: {error}", garbage.file_id),
        }
    }
    Ok(())
}
