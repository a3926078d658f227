//! Entrances for fuzzing: the parsers and the service, behind bytes that come from outside.
//!
//! Only in builds with the feature `faults`. Decides nothing and touches no disk.

use std::sync::Arc;
use std::time::Duration;

use net::conn::{Conn, Limits};
use net::ports::{Clock, Fut, Jobs, SystemClock};
use net::shutdown::Stop;
use proto::status::Status;
use proto::tracker::UnixTime;
use proto::tracker::join::Join;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cluster::{Cluster, Policy, Saved, Session};
use crate::config::{self, Settings};
use crate::effects;
use crate::saved::StateDir;
use crate::service::{BeforeJoin, Service};

const IDS: &str = "100001 group1 10.0.0.11\n100002 group1 [10.0.0.12,2001:db8::12] rw=read\n";
/// Bytes of one request.
const PACKAGE_LEN_MAX: usize = 8 * 1024;

/// Reads `tracker.conf`.
pub fn settings(text: &str) -> bool {
    Settings::of_text(text, &|_| Ok(IDS.to_owned())).is_ok()
}

/// Reads `storage_ids.conf`.
pub fn storage_ids(text: &str) -> bool {
    config::ids_are_good(text)
}

/// Starts from these state files.
pub fn restore(
    groups: Option<String>,
    storages: Option<String>,
    sync_times: Option<String>,
    changelog: String,
) -> bool {
    let saved = Saved { groups, storages, sync_times, changelog, last_check: None };
    Cluster::restore(policy(false), UnixTime(1_700_000_000), &saved).is_ok()
}

fn policy(uses_ids: bool) -> Policy {
    let uses_ids = if uses_ids { "use_storage_id = 1\nstorage_ids_filename = ids\n" } else { "" };
    let text = format!("base_path = /x\nreserved_storage_space = 0\n{uses_ids}");
    let settings = Settings::of_text(&text, &|_| Ok(IDS.to_owned()));
    settings.expect("the text is legal").policy
}

/// A tracker without others: nobody has to agree.
#[derive(Debug)]
struct Alone;

impl BeforeJoin for Alone {
    fn settle<'a>(&'a self, _: &'a Session, _: &'a Join) -> Fut<'a, Result<(), Status>> {
        Box::pin(async { Ok(()) })
    }
}

/// Serves one connection that sends `pieces`, one after the other; returns all that is answered.
pub async fn serve(uses_ids: bool, pieces: &[&[u8]]) -> Vec<u8> {
    let cluster = Cluster::new(policy(uses_ids), UnixTime(1_700_000_000));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let dir = StateDir::nowhere();
    let (shared, performer) = effects::share(cluster, dir, Arc::clone(&clock), Jobs::Threads, 16);
    let performer = tokio::spawn(performer.run_without_disk());
    let service = Service::new(shared, Arc::new(Alone), PACKAGE_LEN_MAX, 16);
    let (client, server) = tokio::io::duplex(4096);
    let peer = "10.0.0.11:23000".parse().expect("an address");
    let conn = Conn::new(Box::new(server), peer, clock, Limits::new(Duration::from_secs(30)));
    let (_stopper, stop) = Stop::pair();
    let (mut reader, mut writer) = tokio::io::split(client);
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
    let mut answers = Vec::new();
    let read = reader.read_to_end(&mut answers);
    let ((), (), read) = tokio::join!(service.serve(conn, stop), write, read);
    read.expect("a pipe in memory does not fail");
    performer.abort();
    answers
}
