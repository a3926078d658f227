//! fdfs_delete_file: deletes a file, silently (tools.md 2.3).

use net::ports::World;

use crate::{Doing as _, Failure, connect, file_id};

pub(crate) async fn run(world: &World, args: &[&str]) -> Result<(), Failure> {
    let [conf, id] = args else {
        return Err(Failure::Usage("<config_file> <file_id>".to_owned()));
    };
    let id = file_id(id, "delete file")?;
    connect(world, conf).await?.delete(&id).await.doing("delete file")
}
