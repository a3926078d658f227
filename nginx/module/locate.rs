//! From the name of a file to the open file: the plain file of its store path, if it is there
//! and is what its name says.
//!
//! Called by `handler`. Reads no content and follows symbolic links, as links between stored
//! files need. Names that point into a trunk container are recognised and not served.

use proto::fileid::Kind;

use crate::conf::Conf;
use crate::ffi::{OpenFile, Request};
use crate::handler::{Refusal, Wanted};

/// Opens the file that `wanted` stands for.
pub(crate) fn open(
    request: &mut Request<'_>,
    conf: &Conf,
    wanted: &Wanted,
) -> Result<OpenFile, Refusal> {
    let name = &wanted.name;
    if name.slot().is_some() {
        return Err(Refusal::NotHere("files in trunk containers are not served yet"));
    }
    let dir = conf.data_dir(name.store_path()).ok_or(Refusal::Form("no such store path"))?;
    let file = request.open(dir, name.true_name().as_bytes())?;
    if !file.is_regular() {
        return Err(Refusal::NotHere("not a regular file"));
    }
    // The name is the first witness of what was stored. A file that disagrees was cut short or
    // replaced, and half a file with status 200 would be taken for the whole.
    if wanted.kind == Kind::Normal && wanted.record.size.size() != file.size() {
        return Err(Refusal::Damaged { size: file.size() });
    }
    Ok(file)
}
