//! fdfs_upload_file: stores a local file and prints its id (tools.md 2.1).

use std::net::SocketAddr;
use std::path::Path;

use net::client::storage::{Reading, head, upload};
use net::ports::World;
use proto::address::parse_endpoint;
use proto::ids::{Extension, StorePath};
use tokio::fs::File;

use crate::{Doing as _, Failure, connect, say};

const USAGE: &str = "<config_file> <local_filename> [storage_ip:port] [store_path_index]";

pub(crate) async fn run(world: &World, args: &[&str]) -> Result<(), Failure> {
    let [conf, local, rest @ ..] = args else { return Err(Failure::Usage(USAGE.to_owned())) };
    let target = target(rest)?;
    let client = connect(world, conf).await?;
    let (file, size) = open(local, "upload file").await?;
    let extension = Extension::of_file(local);
    let mut content = Reading(file);
    let id = match target {
        None => client.upload(None, extension, size, &mut content).await,
        Some((server, path)) => match client.pool().take(server).await {
            Ok(conn) => upload(conn, &head(path, size, extension), &mut content).await,
            Err(error) => Err(error),
        },
    };
    say(&id.doing("upload file")?.to_string());
    Ok(())
}

/// A local file to be sent, and its size; `what` is what shall be done with it.
pub(crate) async fn open(local: impl AsRef<Path>, what: &str) -> Result<(File, u64), Failure> {
    let path = local.as_ref();
    let refuse = |source| Failure::Local { what: what.to_owned(), source };
    let file = File::open(path).await.map_err(refuse)?;
    let about = file.metadata().await.map_err(refuse)?;
    if !about.is_file() {
        return Err(Failure::Argument(format!("{} is not a file", path.display())));
    }
    Ok((file, about.len()))
}

/// A storage to go to without asking a tracker; the path is the server's choice if not given.
fn target(args: &[&str]) -> Result<Option<(SocketAddr, Option<StorePath>)>, Failure> {
    let (server, index) = match args {
        [] => return Ok(None),
        [server] => (server, None),
        [server, index] => (server, Some(index)),
        _ => return Err(Failure::Usage(USAGE.to_owned())),
    };
    let at = parse_endpoint(server)
        .ok_or_else(|| Failure::Argument(format!("{server} is not an address with a port")))?;
    let path = match index.map(|index| index.parse::<u8>()) {
        None | Some(Ok(u8::MAX)) => None,
        Some(Ok(index @ ..128)) => Some(StorePath(index)),
        _ => return Err(Failure::Argument("the store path index is 0 to 127".to_owned())),
    };
    Ok(Some((at, path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_and_a_store_path_may_be_named() {
        let at = "10.0.0.1:23000".parse().unwrap();
        for (args, want) in [
            (&[][..], Some(None)),
            (&["10.0.0.1:23000"], Some(Some((at, None)))),
            (&["10.0.0.1:23000", "2"], Some(Some((at, Some(StorePath(2)))))),
            (&["10.0.0.1:23000", "255"], Some(Some((at, None)))),
            (&["10.0.0.1:23000", "128"], None),
            (&["10.0.0.1"], None),
            (&["10.0.0.1:23000", "0", "0"], None),
        ] {
            assert_eq!(target(args).ok(), want, "{args:?}");
        }
    }
}
