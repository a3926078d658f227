//! The 24 bytes before a file in a trunk container, and what a name says they are (sync.md 11.3).
//!
//! ```text
//! 0      1           5              9       13      17          24
//! | type | allocated | content size | CRC32 | mtime | extension |   integers big-endian
//! ```
//!
//! A container is named by [`container_name`] in the directory of the file's name. Which slots
//! are free is not known here.

use alloc::format;
use alloc::string::String;

use crate::fileid::FileName;

/// Bytes of the header; the content follows.
pub const HEADER_LEN: usize = 24;

/// What lies in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotType {
    /// The content of the file itself.
    Content,
    /// The content is the logic name of another file.
    Link,
}

/// The header of a slot that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotHeader {
    pub slot_type: SlotType,
    /// Of the slot, this header included.
    pub allocated: u32,
    pub size: u32,
    pub crc32: u32,
    /// Unix seconds.
    pub mtime: u32,
    /// The last seven characters of the name.
    pub ext: [u8; 7],
}

impl SlotHeader {
    /// The header that the file called `name` must have; none unless it lies in a container.
    pub fn of(name: &FileName, slot_type: SlotType) -> Option<Self> {
        let (slot, record) = (name.slot()?, name.record()?);
        let ext = name.as_str().as_bytes().last_chunk::<7>()?;
        Some(Self {
            slot_type,
            allocated: slot.size,
            size: u32::try_from(record.size.size()).ok()?,
            crc32: record.crc32,
            mtime: record.timestamp,
            ext: *ext,
        })
    }

    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let slot_type = match self.slot_type {
            SlotType::Content => b'F',
            SlotType::Link => b'L',
        };
        let numbers = [self.allocated, self.size, self.crc32, self.mtime].map(u32::to_be_bytes);
        let bytes = [slot_type].into_iter().chain(numbers.into_iter().flatten()).chain(self.ext);
        for (to, from) in out.iter_mut().zip(bytes) {
            *to = from;
        }
        out
    }

    /// The header in `bytes`; none if the slot is free or this is no header.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let [t, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ext @ ..] = *bytes;
        let slot_type = match t {
            b'F' => SlotType::Content,
            b'L' => SlotType::Link,
            _ => return None,
        };
        Some(Self {
            slot_type,
            allocated: u32::from_be_bytes([a, b, c, d]),
            size: u32::from_be_bytes([e, f, g, h]),
            crc32: u32::from_be_bytes([i, j, k, l]),
            mtime: u32::from_be_bytes([m, n, o, p]),
            ext,
        })
    }
}

/// The file name of a container: its number, padded to six digits.
pub fn container_name(number: u32) -> String {
    format!("{number:06}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fileid::STORE_PATHS_MAX;

    fn name() -> FileName {
        // storage.md 2.13, name F, with slot 37 at 1024 of 512 bytes.
        let slot = crate::fileid::TrunkSlot { container: 37, offset: 1024, size: 512 };
        let text = format!("M00/09/EA/wKgBaWVT8QCID-3LAAAADcRYHyQ{}482.txt", slot.encode());
        FileName::parse(text, STORE_PATHS_MAX).unwrap()
    }

    #[test]
    fn a_name_says_what_its_header_is() {
        let header = SlotHeader::of(&name(), SlotType::Content).unwrap();
        let mut bytes = *b"F\0\0\x02\0\0\0\0\x0d\xc4\x58\x1f\x24\x65\x53\xf1\x00482.txt";
        assert_eq!(header.encode(), bytes);
        assert_eq!(SlotHeader::decode(&bytes), Some(header));
        bytes[0] = b'L';
        assert_eq!(SlotHeader::decode(&bytes), SlotHeader::of(&name(), SlotType::Link));
        assert_eq!(SlotHeader::decode(&[0; HEADER_LEN]), None);
        let plain = FileName::parse("M00/66/D1/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt", 1).unwrap();
        assert_eq!(SlotHeader::of(&plain, SlotType::Content), None);
    }

    #[test]
    fn containers_have_six_digits_or_more() {
        assert_eq!((&*container_name(1), &*container_name(1_234_567)), ("000001", "1234567"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_decoded_is_encoded(bytes: [u8; HEADER_LEN]) {
            if let Some(header) = SlotHeader::decode(&bytes) {
                assert_eq!(header.encode(), bytes);
            }
        }
    }
}
