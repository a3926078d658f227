//! Entrances for fuzzing: the parsers, the service, and a store in memory that loses power.
//!
//! Only in builds with the feature `faults`. What must hold is said by the targets in
//! `tests/fuzz`; nothing here decides.

use std::{collections::BTreeMap, path::PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub use crate::disk::simulated::{Chance, Plan};
use crate::{
    config,
    disk::simulated::SimulatedDisk,
    parameters::Parameters,
    service::served::{SYNC, Served},
    state::{counters::Numbers, identity::Identity, path_mark},
};

/// Reads `storage.conf`.
pub fn config(text: &str) -> bool {
    config::of_text(text).is_ok()
}

/// Reads the small files of a storage, and what the trackers prescribe.
pub fn state(text: &str) {
    let numbers = Numbers::parse(text);
    assert_eq!(Numbers::parse(&numbers.text()), numbers);
    if let Ok(identity) = Identity::parse(text) {
        assert_eq!(Identity::parse(&identity.text()).as_ref(), Ok(&identity));
    }
    if let Some(mark) = path_mark::read(text) {
        assert_eq!(path_mark::read(&path_mark::file_text(mark)), Some(mark));
    }
    let _ = Parameters::parse(text);
}

/// A store in memory and one client of it.
pub struct World {
    disk: SimulatedDisk,
    served: Option<Served>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    /// An empty store, open. To be called inside a runtime.
    pub fn new() -> Self {
        let disk = SimulatedDisk::with_dirs(&["/base", "/base/data", SYNC]);
        let served = Some(Served::open(&disk));
        Self { disk, served }
    }

    /// What goes wrong from now on.
    pub fn plan(&self, plan: Plan) {
        self.disk.plan(plan);
    }

    /// Uploads a file, or an appender; its name.
    pub async fn upload(&mut self, appender: bool, content: &[u8]) -> Result<String, u8> {
        let command = if appender { 23 } else { 11 };
        self.served().upload_as(command, content).await
    }

    pub async fn slave(&mut self, master: &str, content: &[u8]) -> Result<String, u8> {
        self.served().slave(master, content).await
    }

    /// Appends, or modifies at an offset.
    pub async fn edit(&mut self, name: &str, at: Option<u64>, bytes: &[u8]) -> Result<(), u8> {
        self.served().edit(name, at, bytes).await
    }

    pub async fn truncate(&mut self, name: &str, size: u64) -> Result<(), u8> {
        self.served().truncate(name, size).await
    }

    /// The new name.
    pub async fn regenerate(&mut self, name: &str) -> Result<String, u8> {
        self.served().regenerate(name).await
    }

    pub async fn set_metadata(&mut self, name: &str, pairs: &str) -> Result<(), u8> {
        self.served().set_metadata(name, pairs).await
    }

    pub async fn delete(&mut self, name: &str) -> Result<(), u8> {
        self.served().delete(name).await
    }

    pub async fn download(&mut self, name: &str) -> Result<Vec<u8>, u8> {
        self.served().download(name).await
    }

    fn served(&mut self) -> &mut Served {
        self.served.as_mut().expect("the store is open between calls")
    }

    /// Ends the process as it stands, with the power or without, and starts it again.
    pub async fn restart(&mut self, power: Option<&mut Chance>) {
        if let Some(served) = self.served.take() {
            served.close().await;
        }
        self.disk = match power {
            Some(chance) => self.disk.after_power_loss(chance),
            None => self.disk.after_kill(),
        };
        self.served = Some(Served::open(&self.disk));
    }

    /// All files below the store path, with their content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.disk.files()
    }

    /// Sends `pieces` over the connection, one after the other, closes it, and returns all that
    /// was answered.
    pub async fn stream(mut self, pieces: &[&[u8]]) -> Vec<u8> {
        let mut answers = Vec::new();
        let Some(mut served) = self.served.take() else { return answers };
        {
            let (mut reader, mut writer) = tokio::io::split(&mut served.client);
            let write = async {
                for piece in pieces {
                    if writer.write_all(piece).await.is_err() {
                        break; // the service has closed
                    }
                    tokio::task::yield_now().await;
                }
                // An end that the service has closed already is an end as well.
                let _ = writer.shutdown().await;
            };
            let ((), read) = tokio::join!(write, reader.read_to_end(&mut answers));
            read.expect("a pipe in memory does not fail");
        }
        served.close().await;
        answers
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
