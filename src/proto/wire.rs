//! A cursor over bytes: fixed fields, padded text, big-endian numbers, bounds.
//!
//! Every codec of this crate reads through [`Reader`] and writes through [`Put`]. Nothing here
//! reserves memory for an announced length; a reader only lends what has arrived.

use alloc::vec::Vec;

use crate::status::Status;

/// Width of a group name on the wire (wire.md 3).
pub const GROUP_LEN: usize = 16;
/// Width of a storage id; the last byte is always zero (wire.md 3).
pub const STORAGE_ID_LEN: usize = 16;
/// Width of a version text such as `6.16.1` (wire.md 3).
pub const VERSION_LEN: usize = 8;
/// Width of a file extension without its dot (wire.md 3).
pub const EXTENSION_LEN: usize = 6;
/// Width of the prefix of a slave name (storage.md 2.1).
pub const PREFIX_LEN: usize = 16;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ended inside a fixed part.
    #[error("body of {got} bytes is shorter than {min}")]
    TooShort { got: usize, min: usize },
    /// Bytes are left over, or a limit is passed.
    #[error("body of {got} bytes is longer than {max}")]
    TooLong { got: usize, max: usize },
    /// A length or count below zero.
    #[error("negative length")]
    NegativeLength,
    /// A text field that is not printable ASCII, or not what the field may hold.
    #[error("bad text in {0}")]
    BadText(&'static str),
    /// A number outside what the field may hold.
    #[error("bad value in {0}")]
    BadValue(&'static str),
}

impl DecodeError {
    /// The answer to a request that could not be decoded: always EINVAL (wire.md 1.3).
    pub fn status(self) -> Status {
        Status::EINVAL
    }
}

/// A cursor over one body. Every method either returns a field and moves behind it, or returns
/// [`DecodeError::TooShort`]; after an error the reader is of no further use.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body, whole: body.len() }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let min = self.position().saturating_add(count);
            return Err(DecodeError::TooShort { got: self.whole, min });
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// One signed byte; the store path of an upload is one.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    /// A boolean byte: anything but zero is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Four bytes, two's complement.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Eight bytes, unsigned: for figures where the sign bit is data.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Eight bytes, two's complement.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Eight bytes that hold a size, an offset or a count, which is never negative.
    pub fn size(&mut self) -> Result<u64, DecodeError> {
        u64::try_from(self.i64()?).map_err(|_| DecodeError::NegativeLength)
    }

    /// Eight bytes that hold something of 32 bits (a port, a count): the high half is cut off,
    /// as every receiver does (wire.md 2).
    pub fn low32(&mut self) -> Result<u32, DecodeError> {
        Ok(self.u64()? as u32)
    }

    /// A text field of `width` bytes, read as a C string bounded by the width: it ends at the
    /// first zero or at the end of the field. Whatever stands behind the zero is ignored.
    /// `field` names it in the error.
    pub fn text(&mut self, width: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.take(width)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        printable(bytes.get(..end).unwrap_or(bytes), field)
    }

    /// Everything that is left, as text without a terminator: a name at the end of a body.
    pub fn rest_text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        printable(self.rest(), field)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// How many bytes have been taken.
    pub fn position(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    /// Ends a body that must hold nothing more.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::TooLong { got: self.whole, max: self.position() })
    }
}

/// `bytes` as text, if each is a printable ASCII character (wire.md 3: text is ASCII).
pub fn printable<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str, DecodeError> {
    let clean = bytes.iter().all(|b| (0x20..0x7f).contains(b));
    match core::str::from_utf8(bytes) {
        Ok(text) if clean => Ok(text),
        _ => Err(DecodeError::BadText(field)),
    }
}

/// Writes fields to the end of a body. Implemented by `Vec<u8>` and by nothing else.
pub trait Put {
    /// Bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// A text field of `width` bytes, zero filled. The types of [`crate::ids`] never exceed
    /// their field; other text is cut, because a wider field would shift all that follow.
    fn put_text(&mut self, text: &str, width: usize) {
        let bytes = text.as_bytes();
        let kept = bytes.get(..width).unwrap_or(bytes);
        self.put(kept);
        self.put_zeros(width.saturating_sub(kept.len()));
    }

    /// `count` zero bytes.
    fn put_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.put(&[0]);
        }
    }

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    fn put_bool(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn put_i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    /// A length of something in memory, in eight bytes.
    fn put_len(&mut self, len: usize) {
        // No target has a usize wider than 64 bits.
        self.put_u64(u64::try_from(len).unwrap_or(u64::MAX));
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order_and_bounds_are_kept() {
        let bytes = b"\xff\x00\x00\x00\x02group1\0\0\0\0\0\0\0junk";
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.i8(), Ok(-1));
        assert_eq!(reader.u32(), Ok(2));
        assert_eq!(reader.text(13, "group"), Ok("group1"));
        assert_eq!(reader.clone().finish(), Err(DecodeError::TooLong { got: 22, max: 18 }));
        assert_eq!(reader.clone().rest(), b"junk");
        assert_eq!(reader.u64(), Err(DecodeError::TooShort { got: 22, min: 26 }));
    }

    #[test]
    fn stray_bytes_behind_the_terminator_are_ignored_and_control_characters_refused() {
        assert_eq!(Reader::new(b"ab\0zz").text(5, "x"), Ok("ab"));
        assert_eq!(Reader::new(b"abcde").text(5, "x"), Ok("abcde"));
        assert_eq!(Reader::new(b"a\nb").text(3, "x"), Err(DecodeError::BadText("x")));
        assert_eq!(Reader::new(b"\xc3\xa4").rest_text("x"), Err(DecodeError::BadText("x")));
    }

    #[test]
    fn negative_lengths_are_refused_and_wide_numbers_cut() {
        let negative = (-1i64).to_be_bytes();
        assert_eq!(Reader::new(&negative).size(), Err(DecodeError::NegativeLength));
        assert_eq!(Reader::new(&negative).low32(), Ok(u32::MAX));
        assert_eq!(Reader::new(&i64::MAX.to_be_bytes()).size(), Ok(i64::MAX as u64));
    }

    #[test]
    fn text_is_padded_and_never_wider_than_its_field() {
        let mut out = Vec::new();
        out.put_text("ab", 4);
        out.put_text("abcdef", 3);
        out.put_len(7);
        assert_eq!(out, b"ab\0\0abc\0\0\0\0\0\0\0\x07");
    }
}
