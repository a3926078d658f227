//! Changes of appender files: 24 append, 34 modify, 36 truncate, 38 regenerate
//! (storage.md 3.3 to 3.6).
//!
//! Answers of 24, 34 and 36 are empty; that of 38 is [`super::upload::Stored`]. Content is not
//! coded here.

use alloc::vec::Vec;

use super::name_text;
use crate::wire::{DecodeError, Put, Reader};

/// Shortest name that these commands take.
const APPENDER_NAME_MIN: usize = 44;

/// Head of 24: name length, number of bytes, name; the bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append<'a> {
    pub len: u64,
    pub name: &'a str,
}

impl<'a> Append<'a> {
    pub const FIXED_LEN: usize = 16;

    pub fn head_len(fixed: &[u8]) -> Result<usize, DecodeError> {
        super::head_len(fixed, Self::FIXED_LEN, APPENDER_NAME_MIN)
    }

    pub fn decode(head: &'a [u8], body_len: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        let name_len = reader.size()?;
        let len = reader.size()?;
        let name = name_text(&mut reader)?;
        super::lengths_agree(name_len, name, Self::FIXED_LEN, len, body_len)?;
        Ok(Self { len, name })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.name.len());
        out.put_u64(self.len);
        out.put(self.name.as_bytes());
    }
}

/// Head of 34: name length, offset, number of bytes, name; the bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modify<'a> {
    pub offset: u64,
    pub len: u64,
    pub name: &'a str,
}

impl<'a> Modify<'a> {
    pub const FIXED_LEN: usize = 24;

    pub fn head_len(fixed: &[u8]) -> Result<usize, DecodeError> {
        super::head_len(fixed, Self::FIXED_LEN, APPENDER_NAME_MIN)
    }

    pub fn decode(head: &'a [u8], body_len: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        let name_len = reader.size()?;
        let offset = reader.size()?;
        let len = reader.size()?;
        let name = name_text(&mut reader)?;
        super::lengths_agree(name_len, name, Self::FIXED_LEN, len, body_len)?;
        Ok(Self { offset, len, name })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.name.len());
        out.put_u64(self.offset);
        out.put_u64(self.len);
        out.put(self.name.as_bytes());
    }
}

/// Body of 36: name length, new size, name. What follows the name is ignored (storage.md 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate<'a> {
    pub size: u64,
    pub name: &'a str,
}

impl<'a> Truncate<'a> {
    const FIXED_LEN: usize = 16;

    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let head_len = super::head_len(body, Self::FIXED_LEN, APPENDER_NAME_MIN)?;
        let mut reader = Reader::new(Reader::new(body).take(head_len)?);
        reader.size()?;
        Ok(Self { size: reader.size()?, name: name_text(&mut reader)? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_len(self.name.len());
        out.put_u64(self.size);
        out.put(self.name.as_bytes());
    }
}

/// Body of 38: the appender's name and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regenerate<'a> {
    pub name: &'a str,
}

impl<'a> Regenerate<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        if body.len() < APPENDER_NAME_MIN {
            return Err(DecodeError::TooShort { got: body.len(), min: APPENDER_NAME_MIN });
        }
        Ok(Self { name: name_text(&mut Reader::new(body))? })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::request;
    use super::*;

    #[test]
    fn bytes_are_those_of_the_reference() {
        let (header, body) = request("append");
        let len = Append::head_len(&body).unwrap();
        let append = Append::decode(&body[..len], header.body_len).unwrap();
        let mut out = Vec::new();
        append.encode(&mut out);
        assert_eq!(out, body[..len]);
        assert_eq!(append.len as usize, body.len() - len);

        let (header, body) = request("modify");
        let len = Modify::head_len(&body).unwrap();
        let modify = Modify::decode(&body[..len], header.body_len).unwrap();
        out.clear();
        modify.encode(&mut out);
        assert_eq!(out, body[..len]);

        let (_, body) = request("truncate");
        let truncate = Truncate::decode(&body).unwrap();
        out.clear();
        truncate.encode(&mut out);
        assert_eq!(out, body);
        for cut in 0..body.len() {
            assert!(Truncate::decode(&body[..cut]).is_err(), "{cut}");
        }

        let (_, body) = request("regenerate_appender");
        assert_eq!(Regenerate::decode(&body).unwrap().name.as_bytes(), body);
    }

    #[test]
    fn lengths_that_disagree_are_refused() {
        let (header, body) = request("append_len_mismatch");
        let len = Append::head_len(&body).unwrap();
        assert!(Append::decode(&body[..len], header.body_len).is_err());
        let (header, body) = request("modify_neg");
        let len = Modify::head_len(&body).unwrap();
        assert!(Modify::decode(&body[..len], header.body_len).is_err());
        assert!(Truncate::decode(&request("truncate_neg").1).is_err());
        assert!(Append::head_len(&[0xff; 16]).is_err());
    }
}
