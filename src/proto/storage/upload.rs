//! Uploads: 11, 23 (appender) and 21 (slave), and their common answer (storage.md 3.1, 3.2).
//!
//! Only the fields before the content are coded here; the content follows on the wire and is
//! streamed by whoever owns the connection.

use alloc::{string::String, vec::Vec};

use super::{NAME_MAX, name_text};
use crate::ids::{Extension, GroupName, Prefix, StorePath};
use crate::wire::{DecodeError, Put, Reader};

/// Head of 11 and 23; `size` bytes of content follow.
///
/// ```text
/// 0            1       9            15
/// | store path | size  | extension  | content…
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// `None`: the server chooses (0xFF on the wire).
    pub store_path: Option<StorePath>,
    pub size: u64,
    pub extension: Extension,
}

impl Upload {
    pub const HEAD_LEN: usize = 15;

    /// Reads the head; `body_len` is what the header announced.
    pub fn decode(head: &[u8], body_len: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        let store_path = match reader.i8()? {
            -1 => None,
            index => {
                let index = u8::try_from(index);
                Some(StorePath(index.map_err(|_| DecodeError::BadValue("store path"))?))
            }
        };
        let size = reader.size()?;
        let extension = Extension::decode(&mut reader)?;
        reader.finish()?;
        let upload = Self { store_path, size, extension };
        if upload.body_len() != body_len {
            return Err(DecodeError::BadValue("file size"));
        }
        Ok(upload)
    }

    /// Head and content together.
    pub fn body_len(&self) -> u64 {
        self.size.saturating_add(Self::HEAD_LEN as u64)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        // Paths above 127 cannot be asked for: the field is signed (storage.md 12.1).
        let index = self.store_path.and_then(|path| i8::try_from(path.0).ok());
        out.put_i8(index.unwrap_or(-1));
        out.put_u64(self.size);
        self.extension.encode(out);
    }
}

/// Head of 21; `size` bytes of content follow.
///
/// ```text
/// 0               8      16       32          38
/// | master length | size | prefix | extension | master | content…
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadSlave<'a> {
    pub size: u64,
    pub prefix: Prefix,
    pub extension: Extension,
    pub master: &'a str,
}

impl<'a> UploadSlave<'a> {
    pub const FIXED_LEN: usize = 38;

    /// Length of the whole head, from its fixed part.
    pub fn head_len(fixed: &[u8]) -> Result<usize, DecodeError> {
        super::head_len(fixed, Self::FIXED_LEN, 11)
    }

    /// Reads a head of [`UploadSlave::head_len`] bytes.
    pub fn decode(head: &'a [u8], body_len: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        let name_len = reader.size()?;
        let size = reader.size()?;
        let prefix = Prefix::decode(&mut reader)?;
        let extension = Extension::decode(&mut reader)?;
        let master = name_text(&mut reader)?;
        if prefix.is_empty() {
            return Err(DecodeError::BadValue("slave prefix"));
        }
        super::lengths_agree(name_len, master, Self::FIXED_LEN, size, body_len)?;
        Ok(Self { size, prefix, extension, master })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.master.len());
        out.put_u64(self.size);
        self.prefix.encode(out);
        self.extension.encode(out);
        out.put(self.master.as_bytes());
    }
}

/// Answer to 11, 21, 23 and 38: where the file is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub group: GroupName,
    /// Logic file name, `M00/HH/HH/…`.
    pub name: String,
}

impl Stored {
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupName::decode(&mut reader)?;
        let name = name_text(&mut reader)?;
        Ok(Self { group, name: name.into() })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.group.encode(out);
        debug_assert!(self.name.len() < NAME_MAX);
        out.put(self.name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{answer, request};
    use super::*;

    #[test]
    fn upload_bytes_are_those_of_the_reference() {
        for name in ["upload_small", "upload_noext", "upload_ext6", "upload_path_255"] {
            let (header, body) = request(name);
            let upload = Upload::decode(&body[..Upload::HEAD_LEN], header.body_len).unwrap();
            let mut out = Vec::new();
            upload.encode(&mut out);
            assert_eq!(out, body[..Upload::HEAD_LEN], "{name}");
            assert_eq!(upload.size as usize, body.len() - Upload::HEAD_LEN);
        }
    }

    #[test]
    fn refused_uploads_of_the_reference_are_refused() {
        for name in [
            "upload_ext_slash",
            "upload_ext_ctrl",
            "upload_size_mismatch_less",
            "upload_size_mismatch_more",
            "upload_neg_size",
            "upload_short_body",
        ] {
            let (header, body) = request(name);
            let head = &body[..body.len().min(Upload::HEAD_LEN)];
            assert!(Upload::decode(head, header.body_len).is_err(), "{name}");
        }
    }

    #[test]
    fn slave_bytes_are_those_of_the_reference() {
        let (header, body) = request("upload_slave");
        let len = UploadSlave::head_len(&body[..UploadSlave::FIXED_LEN]).unwrap();
        let slave = UploadSlave::decode(&body[..len], header.body_len).unwrap();
        assert_eq!((slave.size, slave.prefix.as_str()), (10, "_thumb"));
        let mut out = Vec::new();
        slave.encode(&mut out);
        assert_eq!(out, body[..len]);
        for cut in 0..len {
            assert!(UploadSlave::decode(&body[..cut], header.body_len).is_err(), "{cut}");
        }
        let (header, body) = request("upload_slave_empty_prefix_other_ext");
        let len = UploadSlave::head_len(&body[..UploadSlave::FIXED_LEN]).unwrap();
        assert!(UploadSlave::decode(&body[..len], header.body_len).is_err());
    }

    #[test]
    fn the_answer_is_group_and_name() {
        for name in ["upload_small", "upload_slave", "upload_appender", "regenerate_appender"] {
            let (header, body) = answer(name);
            let stored = Stored::decode(&body).unwrap();
            assert_eq!(stored.group.as_str(), "group1");
            let mut out = Vec::new();
            stored.encode(&mut out);
            assert_eq!((out.len() as u64, out), (header.body_len, body), "{name}");
        }
        assert!(Stored::decode(b"group1\0\0\0\0\0\0\0\0\0\0").is_err());
    }
}
