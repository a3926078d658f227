//! Bodies of storage messages, one file a family.
//!
//! Used by the storage (requests in, answers out) and the client (the reverse). The content of
//! a file is never part of a body here: only the fixed fields and names before it.

pub mod append;
pub mod delete;
pub mod download;
pub mod fetch;
pub mod info;
pub mod inventory;
pub mod metadata;
pub mod replicate;
pub mod upload;

#[cfg(test)]
mod golden;

use crate::wire::{DecodeError, Reader, printable};

/// Set in the status byte of a request by a storage that passes it on, or wants to know what lies
/// at the one it asks: it is not passed on again. The reference ignores the byte of 14 and 15, and
/// the bits above the lowest two of 22.
pub const PASSED_ON: u8 = 0x80;

/// Names of this many bytes and more are refused everywhere (storage.md 2.11).
pub const NAME_MAX: usize = 128;
/// Names up to this length are too short to name a file.
const NAME_MIN: usize = 10;

/// The name that fills the rest of a body. Its form is judged by [`crate::fileid`]; here only
/// its length and its characters.
fn name_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let bytes = reader.rest();
    if bytes.is_empty() || NAME_MAX <= bytes.len() {
        return Err(DecodeError::BadValue("name length"));
    }
    printable(bytes, "file name")
}

/// Length of a head that starts with the length of a name: its fixed part and the name.
fn head_len(fixed: &[u8], fixed_len: usize, name_min: usize) -> Result<usize, DecodeError> {
    let name_len = usize::try_from(Reader::new(fixed).size()?).unwrap_or(usize::MAX);
    if name_len < name_min.max(NAME_MIN) || NAME_MAX <= name_len {
        return Err(DecodeError::BadValue("name length"));
    }
    Ok(fixed_len.saturating_add(name_len))
}

/// Checks that a head with a name and the content after it are exactly the announced body.
fn lengths_agree(
    name_len: u64,
    name: &str,
    fixed_len: usize,
    content: u64,
    body_len: u64,
) -> Result<(), DecodeError> {
    let head = u64::try_from(fixed_len.saturating_add(name.len())).unwrap_or(u64::MAX);
    if u64::try_from(name.len()) != Ok(name_len) || head.checked_add(content) != Some(body_len) {
        return Err(DecodeError::BadValue("content length"));
    }
    Ok(())
}
