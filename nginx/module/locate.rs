//! From the name of a file to its open content: the plain file of its store path, or the slot in
//! a trunk container, if it is there and is what its name says.
//!
//! Called by `handler`. Of plain files it reads no content, and it follows symbolic links, as
//! links between stored files need; of a container it reads the 24 bytes before the slot.

use proto::fileid::{FileName, Kind, TrunkSlot};
use proto::trunk::{HEADER_LEN, SlotHeader, SlotType, container_name};

use crate::ffi::{OpenFile, Request};
use crate::handler::{Refusal, Wanted};
use crate::site::Group;

/// Bytes of the name in a link's slot.
const LINK_LEN_MAX: usize = proto::fileid::NAME_LEN_MAX;

/// Content that nginx can send.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: OpenFile,
    /// Where in the file it begins.
    pub(crate) start: u64,
    pub(crate) size: u64,
    /// A file of its own, and not a part of one.
    pub(crate) whole: bool,
}

/// Opens the file that `wanted` stands for.
pub(crate) fn open(
    request: &mut Request<'_>,
    group: &Group,
    wanted: &Wanted,
) -> Result<Found, Refusal> {
    if let Some(slot) = wanted.name.slot() {
        return in_container(request, group, &wanted.name, slot, true);
    }
    let found = plain(request, group, &wanted.name)?;
    // The name is the first witness of what was stored. A file that disagrees was cut short or
    // replaced, and half a file with status 200 would be taken for the whole.
    if wanted.kind == Kind::Normal && wanted.record.size.size() != found.size {
        return Err(Refusal::Damaged { size: found.size });
    }
    Ok(found)
}

fn plain(request: &mut Request<'_>, group: &Group, name: &FileName) -> Result<Found, Refusal> {
    let dir = group.data_dir(name.store_path()).ok_or(Refusal::Form("no such store path"))?;
    let file = request.open(dir, name.true_name().as_bytes(), true)?;
    if !file.is_regular() {
        return Err(Refusal::NotHere("not a regular file"));
    }
    let size = file.size();
    Ok(Found { file, start: 0, size, whole: true })
}

/// A slot counts only if its header is the one that the name describes: it may have been freed
/// and given to another file.
fn in_container(
    request: &mut Request<'_>,
    group: &Group,
    name: &FileName,
    slot: TrunkSlot,
    follow: bool,
) -> Result<Found, Refusal> {
    const OTHER: Refusal = Refusal::NotHere("the slot holds no file of this name");

    let dir = group.data_dir(name.store_path()).ok_or(Refusal::Form("no such store path"))?;
    let container = format!("{}/{}", name.dir(), container_name(slot.container));
    let file = request.open(dir, container.as_bytes(), false)?;
    if !file.is_regular() {
        return Err(Refusal::NotHere("the trunk container is not a regular file"));
    }
    let at = u64::from(slot.offset);
    let mut header = [0; HEADER_LEN];
    if !file.read_exact_at(&mut header, at) {
        return Err(OTHER);
    }
    let header = SlotHeader::decode(&header).ok_or(OTHER)?;
    if SlotHeader::of(name, header.slot_type) != Some(header) {
        return Err(OTHER);
    }
    let (start, size) = (at + HEADER_LEN as u64, u64::from(header.size));
    if file.size() < start + size {
        return Err(OTHER);
    }
    if header.slot_type == SlotType::Content {
        return Ok(Found { file, start, size, whole: false });
    }
    let mut text = [0; LINK_LEN_MAX];
    let text = usize::try_from(size).ok().and_then(|len| text.get_mut(..len)).ok_or(OTHER)?;
    if !follow || !file.read_exact_at(text, start) {
        return Err(Refusal::NotHere("the link cannot be followed"));
    }
    let target = FileName::parse(&*text, group.store_paths());
    let target = target.map_err(|_| Refusal::NotHere("the link leads to no file name"))?;
    match target.slot() {
        Some(slot) => in_container(request, group, &target, slot, false),
        None => plain(request, group, &target),
    }
}
