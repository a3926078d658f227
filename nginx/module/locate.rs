//! From the name of a file to the open file: the plain file of its store path, if it is there
//! and is what its name says.
//!
//! Called by `handler`. Reads no content and follows symbolic links, as links between stored
//! files need. Names that point into a trunk container are recognised and not served.

use proto::fileid::FileName;

use crate::conf::Conf;
use crate::ffi::{OpenFile, Request};
use crate::handler::Refusal;

/// Opens the file that `name` stands for.
pub(crate) fn open(
    request: &mut Request<'_>,
    conf: &Conf,
    name: &FileName,
) -> Result<OpenFile, Refusal> {
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
    if name.size().is_some_and(|size| size != file.size()) {
        return Err(Refusal::Damaged { size: file.size() });
    }
    Ok(file)
}
