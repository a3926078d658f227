//! Download, 14 (storage.md 3.8). The answer is the bytes of the file, without any field.

use alloc::vec::Vec;

use super::name_text;
use crate::ids::GroupName;
use crate::wire::{DecodeError, Put, Reader};

/// Body of 14.
///
/// ```text
/// 0        8       16      32
/// | offset | bytes | group | name
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Download<'a> {
    pub offset: u64,
    /// How many bytes; 0 means to the end of the file.
    pub bytes: u64,
    pub group: GroupName,
    pub name: &'a str,
}

impl<'a> Download<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let offset = reader.size()?;
        let bytes = reader.size()?;
        let group = GroupName::decode(&mut reader)?;
        Ok(Self { offset, bytes, group, name: name_text(&mut reader)? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.offset);
        out.put_u64(self.bytes);
        self.group.encode(out);
        out.put(self.name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::request;
    use super::*;

    #[test]
    fn bytes_are_those_of_the_reference() {
        let (_, body) = request("download_range");
        let download = Download::decode(&body).unwrap();
        assert_eq!((download.offset, download.bytes), (6, 7));
        let mut out = Vec::new();
        download.encode(&mut out);
        assert_eq!(out, body);
        for cut in 0..=32 {
            assert!(Download::decode(&body[..cut]).is_err(), "{cut}");
        }
        for name in ["download_neg_offset", "download_neg_bytes", "download_short"] {
            assert!(Download::decode(&request(name).1).is_err(), "{name}");
        }
    }
}
