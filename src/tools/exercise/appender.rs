//! fdfs_appender_test and fdfs_appender_test1: an appender from its first byte to a change in
//! it, with its size looked at after each step (tools.md 5).

use std::net::SocketAddr;

use net::client::storage::{head, upload_appender};
use net::client::{Client, change};
use net::ports::World;
use proto::fileid::FileId;
use proto::ids::Extension;
use proto::status::Status;

use super::{Way, at, banner, info, refuse, set_sample, tell};
use crate::{Doing as _, Failure, connect, say};

const USAGE: &str = "<config_file> <local_filename> [FILE | BUFF | CALLBACK]";

/// The programs; the one of ids cuts to nothing, the other to the half.
pub(crate) async fn run(world: &World, name: &str, args: &[&str]) -> Result<(), Failure> {
    banner();
    let [conf, local, mode @ ..] = args else { return Err(Failure::Usage(USAGE.to_owned())) };
    let (way, by_id) = (Way::of(mode.first().copied()), name == "fdfs_appender_test1");
    let client = connect(world, conf).await?;
    let target = client.trackers().query_store(None).await.doing("tracker_query_storage")?;
    let (group, server) = (target.group, at(target.server));
    say(&format!("group_name={group}, ip_addr={}, port={}", server.ip(), server.port()));
    let one = if by_id { "1" } else { "" };
    say(&format!("storage_upload_appender_by_{}{one}", way.call()));
    let (mut content, size) = way.content(local).await?;
    let fixed = head(Some(target.path), size, Extension::of_file(local));
    let conn = client.pool().take(server).await.doing("upload file")?;
    let id = upload_appender(conn, &fixed, &mut *content).await.doing("upload file")?;
    set_sample(&client, server, &id).await;
    if by_id {
        say(&format!("fild_id={id}")); // the misspelling is what scripts look for
    } else {
        say(&format!("group_name={}, remote_filename={}", id.group, id.name));
    }
    let test = Test { client, server, id };
    test.look(size, true).await?;
    test.show_url()?;

    let kept = if by_id { 0 } else { size / 2 };
    let pool = test.client.pool();
    change::truncate(pool, server, &test.id, kept).await.doing("truncate file")?;
    test.look(kept, true).await?;
    test.show_url()?;

    // The call by name has no number of its own, in the reference's words.
    let one = if way == Way::File { "" } else { one };
    say(&format!("storage_append_by_{}{one}", way.call()));
    let (mut content, size) = way.content(local).await?;
    let conn = pool.take(server).await.doing("append file")?;
    change::append(conn, &test.id, size, &mut *content).await.doing("append file")?;
    say("append file successfully.");
    test.look(kept + size, false).await?;

    say(&format!("storage_modify_by_{}{one}", way.call()));
    let (mut content, _) = way.content(local).await?;
    let conn = pool.take(server).await.doing("modify file")?;
    let end = kept + size;
    change::modify(conn, &test.id, end, size, &mut *content).await.doing("modify file")?;
    say("modify file successfully.");
    test.look(end + size, false).await
}

struct Test {
    client: Client,
    server: SocketAddr,
    id: FileId,
}

impl Test {
    /// Tells what the storage says of the file, and fails if it is not `size` bytes long.
    async fn look(&self, size: u64, with_sum: bool) -> Result<(), Failure> {
        let info = info(&self.client, self.server, &self.id).await.doing("query file info")?;
        tell(&info, with_sum);
        if info.size == size {
            return Ok(());
        }
        Err(refuse(&format!("file size: {} != {size}", info.size), Status::EINVAL))
    }

    /// These programs name the tracker's host.
    fn show_url(&self) -> Result<(), Failure> {
        let (_, tracker) = self.client.trackers().current().doing("choose a tracker")?;
        say(&format!("file url: http://{}/{}", tracker.ip(), self.id));
        Ok(())
    }
}
