//! The clients of a cluster: they do what their seed says, and write down what they were told.
//!
//! They know the trackers, and where the members are; what becomes of their files is looked at by
//! others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use net::client::ClientError;
use net::client::pool::{Pool, PoolSettings};
use net::client::tracker::Trackers;
use proto::fileid::FileId;
use proto::ids::{GroupName, StorageId};
use proto::status::StorageState;

use crate::cluster::{STORAGES, storage_address, tracker_addresses};
use crate::support::history::{Content, History, Kind};
use crate::support::recorder::Recorder;
use crate::support::seed::{Rng, Seed};
use crate::world::world;

/// Operations of one client in a storm.
const OPERATIONS: usize = 40;

/// What each tracker said last of the storages.
pub(crate) type Views = BTreeMap<usize, Vec<(StorageId, StorageState)>>;

/// Asks each tracker again and again in which states it has the storages.
pub(crate) async fn watch(seed: Seed, views: &Mutex<Views>) {
    let group = GroupName::parse("group1").expect("a group name");
    let pool = Pool::new(world(seed, 0), settings());
    loop {
        for (number, tracker) in tracker_addresses().into_iter().enumerate() {
            let asked = Trackers::new(pool.clone(), vec![tracker]);
            let view = asked.list_storages(group, None).await.unwrap_or_default();
            let view = view.iter().map(|storage| (storage.id, storage.state)).collect();
            views.lock().expect("one thread").insert(number, view);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn settings() -> PoolSettings {
    PoolSettings {
        connect_timeout: Duration::from_secs(1),
        network_timeout: Duration::from_secs(3),
        from: None,
        idle_max: Duration::from_secs(1),
        ..PoolSettings::default()
    }
}

fn recorder(number: u32, seed: Seed, history: &Arc<History>) -> Recorder {
    let world = world(seed.child("world"), 0);
    Recorder::over(history, number, world, settings(), tracker_addresses())
}

/// Uploads so many small files, one after the other, and tries again what was not answered.
pub(crate) async fn upload(count: usize, seed: Seed, history: &Arc<History>) {
    let mut rng = seed.rng();
    let recorder = recorder(0, seed, history);
    let mut stored = 0;
    while stored < count {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let content = Content { seed: rng.next(), len: 1000 };
        stored += usize::from(recorder.upload(content).await.is_ok());
    }
}

/// Makes an appender at storage 0 and, after a wait, these changes of it.
pub(crate) async fn change_in_turn(
    first: Content,
    wait: Duration,
    changes: &[(Kind, Content)],
    history: &Arc<History>,
) {
    let (recorder, at) = (recorder(1, Seed(first.seed), history), storage_address(0));
    let id = recorder.upload_appender(first, at).await.expect("the storage is there");
    let mut file = Appender { id, len: first.len, at };
    tokio::time::sleep(wait).await;
    for (kind, content) in changes {
        file.edit(&recorder, *kind, *content).await.expect("the storage is there");
    }
}

/// A file that one client changes, and where.
struct Appender {
    id: FileId,
    len: usize,
    at: SocketAddr,
}

impl Appender {
    async fn edit(
        &mut self,
        recorder: &Recorder,
        kind: Kind,
        content: Content,
    ) -> Result<(), ClientError> {
        recorder.edit(kind, (&self.id, self.len), content, self.at).await?;
        let place = content.place_in(self.len);
        self.len = match kind {
            Kind::Modify => self.len.max(place + content.len),
            Kind::Truncate => place,
            _ => self.len + content.len,
        };
        Ok(())
    }
}

/// One client: uploads, reads, changes, deletes, metadata; it waits a little between operations.
pub(crate) async fn client(
    number: u32,
    seed: Seed,
    history: &Arc<History>,
    files: &Mutex<Vec<FileId>>,
) {
    let mut rng = seed.rng();
    let recorder = recorder(number, seed, history);
    let mut own = Vec::new();
    tokio::time::sleep(Duration::from_secs(5)).await;
    for _ in 0..OPERATIONS {
        tokio::time::sleep(Duration::from_millis(rng.below(900))).await;
        let known = {
            let files = files.lock().expect("one thread");
            let place = usize::try_from(rng.below(files.len().max(1) as u64)).expect("small");
            files.get(place).cloned()
        };
        match (rng.below(12), known) {
            (0..=4, _) | (_, None) => {
                let len = usize::try_from(rng.below(9_000)).expect("small");
                let content = Content { seed: rng.next(), len };
                if let Ok(id) = recorder.upload(content).await {
                    files.lock().expect("one thread").push(id);
                }
            }
            (5 | 6, Some(id)) => drop(recorder.read(&id, None).await),
            (7, Some(id)) => {
                let content = Content { seed: rng.next(), len: 3 };
                drop(recorder.set_metadata(&id, content).await);
            }
            (8 | 9, Some(id)) => {
                let at = usize::try_from(rng.below(STORAGES as u64)).expect("small");
                if recorder.delete(&id, storage_address(at)).await.is_ok() {
                    files.lock().expect("one thread").retain(|known| *known != id);
                }
            }
            _ => change(&recorder, &mut rng, &mut own, files).await,
        }
    }
}

/// Makes an appender, or changes one that this client has made. One whose change was not answered
/// is left as it is: what would come of a later one is not known.
async fn change(
    recorder: &Recorder,
    rng: &mut Rng,
    own: &mut Vec<Appender>,
    files: &Mutex<Vec<FileId>>,
) {
    let small = |below: u64| usize::try_from(below).expect("small");
    let content = Content { seed: rng.next(), len: small(rng.below(3_000)) };
    if own.is_empty() || rng.below(4) == 0 {
        let at = storage_address(small(rng.below(STORAGES as u64)));
        if let Ok(id) = recorder.upload_appender(content, at).await {
            files.lock().expect("one thread").push(id.clone());
            own.push(Appender { id, len: content.len, at });
        }
        return;
    }
    let which = small(rng.below(own.len() as u64));
    let mut file = own.swap_remove(which);
    let kind = [Kind::Append, Kind::Append, Kind::Modify, Kind::Truncate][small(rng.below(4))];
    if let Ok(()) | Err(ClientError::Refused { .. }) = file.edit(recorder, kind, content).await {
        own.push(file);
    }
}
