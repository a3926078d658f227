//! Small files: no reservation, and those of one user that arrive together become visible
//! together.
//!
//! ```text
//! file --> store --> queue of its folder --> one transaction for all that wait --> answers
//!                      ^ while one transaction is under way, the next files wait here
//! ```
//!
//! A transaction holds the user's row, so the files of one user can only follow each other; what
//! it costs is statements and a sync of the database's log, and one for many files is hardly more
//! than one for a single file. A file that is alone waits for nobody. When a transaction of many
//! does not fit, because a name is taken or the quota is full, each of them gets its own, and its
//! own answer.
//!
//! Called by `intake`. Reserves nothing: whether there is room is asked before, and decided in the
//! transaction. So until then a user may have as many small files in the store beyond the quota as
//! uploads at once (`slots`), and never a visible one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    Destination, Held, Source, Stored, Where, announce, give_up, new_file, settle, stream,
};
use crate::app::App;
use crate::db::{Conflict, DbError, NewFile, Node, Outlook, TOGETHER_MAX};
use crate::error::WebError;
use crate::ids::{NodeId, UserId};

/// Files up to this size are small, bytes.
pub(super) const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// A folder of a user.
type Key = (UserId, Option<NodeId>);

/// The files that wait for a transaction to end. A folder that has one under way has an entry.
#[derive(Default)]
pub(crate) struct Queues(Mutex<HashMap<Key, Vec<Waiting>>>);

/// A stored file that is to become visible.
struct Waiting {
    to: Destination,
    stored: Arc<Stored>,
    answer: oneshot::Sender<Result<Node, WebError>>,
}

/// Takes a small file of exactly `size` bytes.
pub(super) async fn receive(
    app: &Arc<App>,
    to: Destination,
    size: u64,
    source: Source<'_>,
) -> Result<Node, WebError> {
    // Only to spare the bytes: what decides are the unique key and the transaction.
    let name = plain(&to).then_some(&to.name);
    match app.db.outlook(to.owner, to.parent, name, size, app.now()).await? {
        Outlook::Clear => {}
        Outlook::NameTaken => return Err(WebError::NameTaken),
        Outlook::Full => return Err(WebError::QuotaExceeded),
        Outlook::NoUser => return Err(WebError::Unauthenticated),
    }
    let stored = Arc::new(stream(app, &to.name, &[], size, source).await?);
    if !plain(&to) {
        return super::place(app, to, Held { blob: None, stored }).await;
    }
    // The transaction runs on a task of its own: once the store has the bytes, a client that
    // leaves must not stop us between the two.
    let (answer, told) = oneshot::channel();
    enqueue(app, Waiting { to, stored, answer });
    told.await.map_err(|error| WebError::Internal(error.into()))?
}

/// Whether it can become visible together with others: it makes no folders, takes no other name
/// and nobody's place.
pub(super) fn plain(to: &Destination) -> bool {
    to.conflict == Conflict::Fail && to.folders.is_empty()
}

fn enqueue(app: &Arc<App>, file: Waiting) {
    let key = (file.to.owner, file.to.parent);
    match app.small.lock().entry(key) {
        Entry::Occupied(mut queue) => queue.get_mut().push(file),
        Entry::Vacant(none) => {
            none.insert(vec![file]);
            tokio::spawn(run(Running { app: app.clone(), key, queued: true }));
        }
    }
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files of the next transaction; when there are none the folder's entry goes. A power of
    /// two of them, so that few different statements are prepared.
    fn next(&self, key: Key) -> Vec<Waiting> {
        let mut queues = self.lock();
        let Entry::Occupied(mut queue) = queues.entry(key) else { return Vec::new() };
        let waiting = queue.get().len().min(TOGETHER_MAX);
        let Some(doublings) = waiting.checked_ilog2() else {
            queue.remove();
            return Vec::new();
        };
        queue.get_mut().drain(..1 << doublings).collect()
    }
}

/// The transactions of a folder, one after another. However they end, the folder's entry goes,
/// and whoever waits in it learns that nobody answers.
struct Running {
    app: Arc<App>,
    key: Key,
    /// Whether the entry is there; without it another one may be, of other transactions.
    queued: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.queued {
            self.app.small.lock().remove(&self.key);
        }
    }
}

async fn run(mut running: Running) {
    loop {
        let files = running.app.small.next(running.key);
        if files.is_empty() {
            running.queued = false;
            return;
        }
        let done = publish(&running.app, &files).await;
        for (file, done) in files.into_iter().zip(done) {
            // Nobody may wait any more: the client has left.
            let _ = file.answer.send(done);
        }
    }
}

/// What becomes of each; a file that does not become visible is given up.
async fn publish(app: &App, files: &[Waiting]) -> Vec<Result<Node, WebError>> {
    let new: Vec<NewFile<'_>> = files.iter().map(|file| described(app, file)).collect();
    if let [_, _, ..] = files {
        match app.db.publish_together(&new).await {
            Ok(Some(nodes)) => {
                for (node, file) in nodes.iter().zip(files) {
                    announce(app, &file.to, node);
                }
                return nodes.into_iter().map(Ok).collect();
            }
            Ok(None) => {}
            Err(DbError::Uncertain(_) | DbError::Slow) => {
                let one = |(file, new)| async move {
                    let done = settle(app, new, None).await;
                    ended(app, file, done).await
                };
                return join_all(files.iter().zip(&new).map(one)).await;
            }
            // Each tells its own client.
            Err(error) => log::debug!("files together: {error}"),
        }
    }
    join_all(files.iter().map(|file| alone(app, file))).await
}

async fn alone(app: &App, file: &Waiting) -> Result<Node, WebError> {
    let done = super::publish(app, &file.to, None, &file.stored, None).await;
    ended(app, file, done).await
}

async fn ended(app: &App, file: &Waiting, done: Result<Node, WebError>) -> Result<Node, WebError> {
    if done.as_ref().is_err_and(|error| !matches!(error, WebError::Settled(_))) {
        give_up(app, &Held { blob: None, stored: file.stored.clone() }).await;
    }
    done
}

fn described<'a>(app: &App, file: &'a Waiting) -> NewFile<'a> {
    let Waiting { to, stored, .. } = file;
    let bytes = Where::Arrived {
        blob: None,
        hashes: &stored.hashes,
        file_id: &stored.file_id,
        media_type: stored.media_type,
    };
    new_file(app, to, bytes, stored.size, stored.category, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Hashes;
    use crate::media::Category;
    use crate::name::Name;

    fn waiting(name: &str) -> Waiting {
        let to = Destination {
            owner: UserId(1),
            parent: None,
            folders: Vec::new(),
            name: Name::parse(name).unwrap(),
            conflict: Conflict::Fail,
            address: String::new(),
        };
        let stored = Stored {
            file_id: name.to_owned(),
            hashes: Hashes { sha256: [0; 32], md5: [0; 16], crc32: 0 },
            media_type: "text/plain",
            category: Category::Document,
            size: 1,
        };
        let (answer, _) = oneshot::channel();
        Waiting { to, stored: Arc::new(stored), answer }
    }

    #[test]
    fn files_go_in_the_order_they_came_and_a_folder_without_any_is_forgotten() {
        let (queues, key) = (Queues::default(), (UserId(1), None));
        let names: Vec<String> = (0..77).map(|n| n.to_string()).collect();
        queues.lock().insert(key, names.iter().map(|name| waiting(name)).collect());
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        loop {
            let files = queues.next(key);
            if files.is_empty() {
                break;
            }
            sizes.push(files.len());
            seen.extend(files.iter().map(|file| file.stored.file_id.clone()));
        }
        assert_eq!(sizes, [32, 32, 8, 4, 1]);
        assert_eq!(seen, names);
        assert!(queues.lock().is_empty());
    }
}
