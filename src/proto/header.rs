//! The ten bytes before every message, in both directions (wire.md 1.1).
//!
//! Whoever owns the connection compares the length with its own limit before it reads on; the
//! header only refuses what no message can have.

use alloc::vec::Vec;

use crate::command::Command;
use crate::status::Status;
use crate::wire::DecodeError;

/// The ten bytes before every message.
///
/// ```text
/// 0                    8     9        10
/// | body length, BE i64 | cmd | status |
/// ```
///
/// The command is a bare byte, since unknown ones must be answered. The status of a request is
/// kept: commands 16, 18, 22 and 28 carry a value in it (storage.md 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that follow the header.
    pub body_len: u64,
    pub cmd: u8,
    pub status: Status,
}

impl Header {
    pub const LEN: usize = 10;

    /// The header of a request.
    pub fn request(cmd: Command, body_len: u64) -> Self {
        Self { body_len, cmd: cmd as u8, status: Status::OK }
    }

    /// The header of an answer. Errors never have a body (wire.md 1.4), so theirs is built by
    /// [`Header::refusal`].
    pub fn answer(body_len: u64) -> Self {
        Self { body_len, cmd: Command::Resp as u8, status: Status::OK }
    }

    /// The whole answer to a request that is refused: a status and no body.
    pub fn refusal(status: Status) -> Self {
        Self { body_len: 0, cmd: Command::Resp as u8, status }
    }

    /// Reads a header; a negative length is the only thing it can refuse.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, DecodeError> {
        let [len @ .., cmd, status] = *bytes;
        let body_len = i64::from_be_bytes(len);
        let body_len = u64::try_from(body_len).map_err(|_| DecodeError::NegativeLength)?;
        Ok(Self { body_len, cmd, status: Status(status) })
    }

    /// The bytes of this header.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d, e, f, g, h] = self.body_len.to_be_bytes();
        [a, b, c, d, e, f, g, h, self.cmd, self.status.0]
    }

    /// Appends this header to `out`.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_bytes_are_frozen() {
        let header = Header { body_len: 258, cmd: 11, status: Status(0) };
        assert_eq!(header.to_bytes(), [0, 0, 0, 0, 0, 0, 1, 2, 11, 0]);
        assert_eq!(Header::decode(&header.to_bytes()), Ok(header));
        assert_eq!(Header::refusal(Status::EINVAL).to_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 100, 22]);
    }

    #[test]
    fn a_negative_length_is_refused() {
        let bytes = [0x80, 0, 0, 0, 0, 0, 0, 0, 11, 0];
        assert_eq!(Header::decode(&bytes), Err(DecodeError::NegativeLength));
    }
}
