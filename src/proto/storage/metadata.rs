//! Set metadata, 13 (storage.md 3.9). Get metadata, 15, asks with
//! [`super::delete::FileName`] and is answered with the text as it is stored.

use alloc::vec::Vec;

use super::NAME_MAX;
use crate::ids::GroupName;
use crate::wire::{DecodeError, Put, Reader, printable};

/// What happens to metadata that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SetMode {
    Overwrite = b'O',
    Merge = b'M',
}

/// Body of 13.
///
/// ```text
/// 0             8                 16     17      33
/// | name length | metadata length | flag | group | name | metadata
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetMetadata<'a> {
    pub mode: SetMode,
    pub group: GroupName,
    pub name: &'a str,
    /// Packed pairs; see [`crate::metadata`].
    pub pairs: &'a [u8],
}

impl<'a> SetMetadata<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let name_len = reader.size()?;
        let pairs_len = reader.size()?;
        let mode = match reader.u8()? {
            b'O' => SetMode::Overwrite,
            b'M' => SetMode::Merge,
            _ => return Err(DecodeError::BadValue("metadata flag")),
        };
        let group = GroupName::decode(&mut reader)?;
        let name_len = usize::try_from(name_len).unwrap_or(usize::MAX);
        if name_len == 0 || NAME_MAX <= name_len {
            return Err(DecodeError::BadValue("name length"));
        }
        let name = printable(reader.take(name_len)?, "file name")?;
        let pairs = reader.rest();
        if u64::try_from(pairs.len()) != Ok(pairs_len) {
            return Err(DecodeError::BadValue("metadata length"));
        }
        Ok(Self { mode, group, name, pairs })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.name.len());
        out.put_len(self.pairs.len());
        out.put_u8(self.mode as u8);
        self.group.encode(out);
        out.put(self.name.as_bytes());
        out.put(self.pairs);
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::request;
    use super::*;

    #[test]
    fn bytes_are_those_of_the_reference() {
        for (name, mode) in [
            ("set_metadata_overwrite", SetMode::Overwrite),
            ("set_metadata_merge", SetMode::Merge),
            ("set_metadata_merge_empty", SetMode::Merge),
            ("set_metadata_no_field_sep", SetMode::Overwrite),
        ] {
            let (_, body) = request(name);
            let set = SetMetadata::decode(&body).unwrap();
            assert_eq!(set.mode, mode, "{name}");
            let mut out = Vec::new();
            set.encode(&mut out);
            assert_eq!(out, body, "{name}");
            for cut in 0..body.len() {
                assert!(SetMetadata::decode(&body[..cut]).is_err(), "{name} {cut}");
            }
        }
        assert!(SetMetadata::decode(&request("set_metadata_bad_flag").1).is_err());
    }
}
