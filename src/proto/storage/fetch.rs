//! What a storage asks another one for when it has lost a disk: 26 (sync.md 10.3).
//!
//! The answer has no usable length: a header that announces [`PSEUDO_LEN`] bytes, lines of a
//! binlog, and [`TRAILER_LEN`] bytes with the length of the lines before the connection closes.

use alloc::vec::Vec;

use crate::ids::{GroupName, StorePath};
use crate::wire::{DecodeError, Put, Reader};

/// The body length in the header of an answer to 26.
pub const PSEUDO_LEN: u64 = 1 << 58;
/// The length of the lines, big-endian, behind the last of them.
pub const TRAILER_LEN: usize = 8;

/// Body of 26: whose store path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPathBinlog {
    pub group: GroupName,
    pub path: StorePath,
}

impl FetchPathBinlog {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let path = reader.i8()?;
        reader.finish()?;
        let path = u8::try_from(path).map_err(|_| DecodeError::BadValue("store path"))?;
        Ok(Self { group, path: StorePath(path) })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        out.put_u8(self.path.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_a_group_and_a_signed_index() {
        let group = GroupName::parse("group1").unwrap();
        let mut body = Vec::new();
        FetchPathBinlog { group, path: StorePath(1) }.encode(&mut body);
        assert_eq!(body, b"group1\0\0\0\0\0\0\0\0\0\0\x01");
        assert_eq!(FetchPathBinlog::decode(&body).unwrap().path, StorePath(1));
        assert!(FetchPathBinlog::decode(b"group1\0\0\0\0\0\0\0\0\0\0\xff").is_err());
        for cut in 0..body.len() {
            assert!(FetchPathBinlog::decode(&body[..cut]).is_err(), "{cut}");
        }
    }
}
