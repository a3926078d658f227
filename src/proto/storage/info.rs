//! Query file info, 22 (storage.md 3.11). The request is [`super::delete::FileName`], with
//! flags in the status byte of its header.

use alloc::{string::String, vec::Vec};

use crate::wire::{DecodeError, Put, Reader};

/// Request flags, carried in the header's status byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InfoFlags(pub u8);

impl InfoFlags {
    /// Whether the file is there, how long it is and of when: without a sum, and without a
    /// complaint if it is not.
    pub const PROBE: Self = Self(3);

    /// Report 0 instead of computing the checksum of an appender or slave.
    pub fn no_crc(self) -> bool {
        self.0 & 1 != 0
    }

    /// "Not found" is expected and not worth a log line.
    pub fn silent(self) -> bool {
        self.0 & 2 != 0
    }
}

/// Answer to 22.
///
/// ```text
/// 0      8       16      24                        40 or 70
/// | size | mtime | CRC32 | address of the creator |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    pub size: u64,
    /// Unix seconds.
    pub mtime: i64,
    pub crc32: u32,
    /// Empty when unknown.
    pub source: String,
}

impl FileInfo {
    /// Widths of the address field: IPv4 and IPv6 class (wire.md 4.1).
    pub const ADDRESS_LENS: [usize; 2] = [16, 46];

    const FIXED_LEN: usize = 24;

    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let size = reader.size()?;
        let mtime = reader.i64()?;
        // Only the low half means anything: servers extend the sign (storage.md 12.2).
        let crc32 = reader.low32()?;
        let width = reader.remaining();
        if !Self::ADDRESS_LENS.contains(&width) {
            let min = Self::FIXED_LEN.saturating_add(16);
            return Err(DecodeError::TooShort { got: body.len(), min });
        }
        Ok(Self { size, mtime, crc32, source: reader.text(width, "address")?.into() })
    }

    /// `address_len` is one of [`FileInfo::ADDRESS_LENS`], as the tracker prescribes.
    pub fn encode(&self, address_len: usize, out: &mut Vec<u8>) {
        out.put_u64(self.size);
        out.put_i64(self.mtime);
        out.put_i64(i64::from(self.crc32.cast_signed()));
        out.put_text(&self.source, address_len);
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{answer, request};
    use super::*;

    #[test]
    fn bytes_are_those_of_the_reference() {
        for (name, size, crc32) in [
            ("query_file_info", 42, 0x797c_0a33),
            ("query_file_info_appender", 100, 0x9597_bc8d),
            ("query_file_info_appender_nocrc", 100, 0),
        ] {
            let (_, body) = answer(name);
            let info = FileInfo::decode(&body).unwrap();
            assert_eq!((info.size, info.crc32), (size, crc32), "{name}");
            assert_eq!(info.source, "10.77.0.11");
            let mut out = Vec::new();
            info.encode(16, &mut out);
            assert_eq!(out, body, "{name}");
            for cut in 0..body.len() {
                assert!(FileInfo::decode(&body[..cut]).is_err(), "{name} {cut}");
            }
        }
    }

    #[test]
    fn flags_travel_in_the_status_byte() {
        let flags = |name| InfoFlags(request(name).0.status.0);
        assert!(flags("query_file_info_silence").silent());
        assert!(flags("query_file_info_appender_nocrc").no_crc());
        assert!(!flags("query_file_info").no_crc());
    }
}
