//! What the characters of a file name encode: the record, the trunk slot, the extension field.
//!
//! Only `fileid` uses this file; it re-exports what others need. Nothing here knows where in a
//! name these characters stand.

use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr};

use crate::base64;
use crate::ids::{Extension, STORAGE_NUMBER_MAX};

/// The first four bytes of a record: which storage made the file (storage.md 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub [u8; 4]);

/// What a [`SourceId`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The number of a storage id. Also how an IPv4 address that ends in `.0` is misread.
    Server(u32),
    /// An IPv4 address, or four bytes out of an IPv6 address: the two look the same.
    Address(Ipv4Addr),
}

impl SourceId {
    /// For `id_type_in_filename = id`; `number` is that of the storage id.
    pub fn of_number(number: u32) -> Self {
        Self(number.to_le_bytes())
    }

    /// For `id_type_in_filename = ip`; the inner address.
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self(v4.octets()),
            IpAddr::V6(v6) => {
                let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = v6.octets();
                Self([a, b, c, d])
            }
        }
    }

    pub fn source(self) -> Source {
        match u32::from_le_bytes(self.0) {
            number @ 1..=STORAGE_NUMBER_MAX => Source::Server(number),
            _ => Source::Address(Ipv4Addr::from(self.0)),
        }
    }
}

/// The size field of a record, with its flags and random bits (storage.md 2.4).
///
/// ```text
/// 63     59    58       32..54      0..31
/// packed trunk appender 23 random  size mod 2^32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SizeField(pub u64);

impl SizeField {
    const PACKED: u64 = 1 << 63;
    const TRUNK: u64 = 1 << 59;
    const APPENDER: u64 = 1 << 58;

    fn packed(size: u32, random: u32) -> u64 {
        Self::PACKED | u64::from(random & 0x007f_ffff) << 32 | u64::from(size)
    }

    /// A normal file or a link. 4 GiB and more leave no room for random bits.
    pub fn normal(size: u64, random: u32) -> Self {
        Self(u32::try_from(size).map_or(size, |small| Self::packed(small, random)))
    }

    /// An appender file, whose size changes and so is not in the name.
    pub fn appender(random: u32) -> Self {
        Self(Self::packed(0, random) | Self::APPENDER)
    }

    /// A file in a trunk container.
    pub fn trunk(size: u32, random: u32) -> Self {
        Self(Self::packed(size, random) | Self::TRUNK)
    }

    pub fn is_appender(self) -> bool {
        self.0 & Self::APPENDER != 0
    }

    pub fn is_trunk(self) -> bool {
        self.0 & Self::TRUNK != 0
    }

    /// The size; meaningless for appenders.
    pub fn size(self) -> u64 {
        if self.0 & (Self::PACKED | Self::TRUNK) != 0 { self.0 & 0xffff_ffff } else { self.0 }
    }
}

/// The 20 bytes behind the 27 characters (storage.md 2.3).
///
/// ```text
/// 0    4           8      16    20
/// | id | timestamp | size | crc |   id: see SourceId; the others big-endian
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub source: SourceId,
    /// Unix seconds.
    pub timestamp: u32,
    pub size: SizeField,
    pub crc32: u32,
}

impl Record {
    /// The 27 characters.
    pub fn encode(&self) -> String {
        let time = self.timestamp.to_be_bytes();
        let [size, crc] = [&self.size.0.to_be_bytes()[..], &self.crc32.to_be_bytes()];
        base64::encode(&[&self.source.0, &time[..], size, crc].concat())
    }

    /// The record of 27 characters, if they are one.
    pub fn decode(text: &[u8]) -> Option<Self> {
        let bytes: [u8; 20] = base64::decode(text)?;
        let [a, b, c, d, t0, t1, t2, t3, s0, s1, s2, s3, s4, s5, s6, s7, crc @ ..] = bytes;
        Some(Self {
            source: SourceId([a, b, c, d]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            size: SizeField(u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7])),
            crc32: u32::from_be_bytes(crc),
        })
    }
}

/// Where in a trunk container a file lies (storage.md 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrunkSlot {
    /// Number of the container, which lies in the directory of the name.
    pub container: u32,
    /// Where the slot's header of 24 bytes begins.
    pub offset: u32,
    /// Allocated size, header included.
    pub size: u32,
}

impl TrunkSlot {
    /// The 16 characters.
    pub fn encode(&self) -> String {
        let fields = [self.container, self.offset, self.size];
        base64::encode(fields.map(u32::to_be_bytes).as_flattened())
    }

    /// The slot of 16 characters, if they are one.
    pub fn decode(text: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, size @ ..] = base64::decode::<12>(text)?;
        Some(Self {
            container: u32::from_be_bytes([a, b, c, d]),
            offset: u32::from_be_bytes([e, f, g, h]),
            size: u32::from_be_bytes(size),
        })
    }
}

/// The last seven characters of a generated name: random digits, then dot and extension
/// (storage.md 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtField(pub(super) [u8; Self::LEN]);

impl ExtField {
    pub(super) const LEN: usize = 7;

    /// Fills up with the last decimal digits of `random`: seven without an extension, else
    /// as many as the extension leaves free before its dot.
    pub fn new(extension: &Extension, random: u32) -> Self {
        let digits = format!("{:07}", random.checked_rem(10_000_000).unwrap_or(0));
        let text = match extension.as_str() {
            "" => digits,
            some => format!("{digits}.{some}"),
        };
        let mut field = [b'0'; Self::LEN];
        for (slot, byte) in field.iter_mut().rev().zip(text.bytes().rev()) {
            *slot = byte;
        }
        Self(field)
    }
}
