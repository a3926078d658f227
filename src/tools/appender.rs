//! The programs of appender files: fdfs_upload_appender, fdfs_append_file and
//! fdfs_regenerate_filename (tools.md 2.5).

use std::io::{self, Write as _};

use net::client::storage::Reading;
use net::ports::World;
use proto::ids::Extension;

use crate::upload::open;
use crate::{Doing as _, Failure, connect, file_id, say};

/// Stands above the usage of fdfs_regenerate_filename.
const REGENERATE: &str = "regenerate filename for the appender file.\n\
    NOTE: the regenerated file will be a normal file!";

/// Stores a local file as an appender and prints its id.
pub(crate) async fn upload(world: &World, args: &[&str]) -> Result<(), Failure> {
    let [conf, local] = args else {
        return Err(Failure::Usage("<config_file> <local_filename>".to_owned()));
    };
    let client = connect(world, conf).await?;
    let (file, size) = open(local, "upload file").await?;
    let extension = Extension::of_file(local);
    let id = client.upload_appender(None, extension, size, &mut Reading(file)).await;
    say(&id.doing("upload file")?.to_string());
    Ok(())
}

/// Puts a local file behind the end of an appender, silently.
pub(crate) async fn append(world: &World, args: &[&str]) -> Result<(), Failure> {
    let [conf, id, local] = args else {
        let usage = "<config_file> <appender_file_id> <local_filename>";
        return Err(Failure::Usage(usage.to_owned()));
    };
    let id = file_id(id, "append file")?;
    let client = connect(world, conf).await?;
    let (file, size) = open(local, "append file").await?;
    client.append(&id, size, &mut Reading(file)).await.doing("append file")
}

/// Makes a normal file of an appender and prints its new id.
pub(crate) async fn regenerate(world: &World, args: &[&str]) -> Result<(), Failure> {
    let [conf, id] = args else {
        let _ = writeln!(io::stderr(), "{REGENERATE}");
        return Err(Failure::Usage("<config_file> <appender_file_id>".to_owned()));
    };
    let what = format!("regenerate file {id}");
    let id = file_id(id, &what)?;
    let made = connect(world, conf).await?.regenerate(&id).await;
    say(&made.doing(what)?.to_string());
    Ok(())
}
