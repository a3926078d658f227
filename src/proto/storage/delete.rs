//! Delete, 12 (storage.md 3.7), and the body that 12, 15 and 22 share. The answer is empty.

use alloc::vec::Vec;

use super::name_text;
use crate::ids::GroupName;
use crate::wire::{DecodeError, Put, Reader};

/// Body of 12, 15 and 22: a group (16 bytes) and a file name up to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    pub group: GroupName,
    pub name: &'a str,
}

impl<'a> FileName<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        Ok(Self { group, name: name_text(&mut reader)? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
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
        for name in ["delete", "query_file_info", "get_metadata"] {
            let (_, body) = request(name);
            let mut out = Vec::new();
            FileName::decode(&body).unwrap().encode(&mut out);
            assert_eq!(out, body, "{name}");
            for cut in 0..=16 {
                assert!(FileName::decode(&body[..cut]).is_err(), "{name} {cut}");
            }
        }
        assert!(FileName::decode(&request("delete_short").1).is_err());
    }
}
