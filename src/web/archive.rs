//! The bytes around the members of a Zip archive that is made while it is sent (APPNOTE 6.3.10).
//!
//! ```text
//! for each member:  local header | deflate blocks that are stored | sums and sizes
//! at the end:       central directory | Zip64 end and its locator, if needed | end
//! ```
//!
//! Called by `pack`. Pure: bytes in, bytes out. Contents are not compressed, but framed as stored
//! blocks of deflate: a stored member whose sum comes behind it cannot be read by programs that
//! read from the front. What is kept is the central directory, about 90 bytes a member.

use crc32fast::Hasher;

use crate::date::civil;

/// Bytes of one stored block of deflate, and of what stands before it.
const BLOCK_BYTES_MAX: usize = 0xffff;
/// From this size on a member is written in the form of Zip64: its framing would not fit.
const ZIP64_BYTES_MIN: u64 = 0xf000_0000;
/// Names are UTF-8; sums and sizes follow the content.
const FLAGS_FILE: u16 = 1 << 11 | 1 << 3;
const FLAGS_FOLDER: u16 = 1 << 11;
const DEFLATED: u16 = 8;
const STORED: u16 = 0;
const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// Made by Unix, so that names and modes are taken as they are.
const MADE_BY: u16 = 3 << 8 | VERSION_ZIP64;

/// An archive under way.
pub(crate) struct Archive {
    offset: u64,
    central: Vec<u8>,
    members: u64,
}

/// A member whose content is being written.
pub(crate) struct Open {
    name: String,
    time: [u8; 4],
    offset: u64,
    zip64: bool,
    sum: Hasher,
    size: u64,
    framed: u64,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self { offset: 0, central: Vec::new(), members: 0 }
    }

    /// A folder: its header is all there is.
    pub(crate) fn folder(&mut self, path: &str, modified_ms: u64, out: &mut Vec<u8>) {
        let name = format!("{path}/");
        let time = dos_time(modified_ms);
        let entry = Entry {
            name: &name,
            time,
            offset: self.offset,
            zip64: false,
            flags: FLAGS_FOLDER,
            method: STORED,
            crc: 0,
            size: 0,
            framed: 0,
            mode: 0o40_755 << 16 | 0x10,
        };
        let before = out.len();
        entry.local(out);
        self.passed(out.len().saturating_sub(before));
        entry.central(&mut self.central);
        self.members = self.members.saturating_add(1);
    }

    /// Begins a file of `size` bytes.
    pub(crate) fn begin(
        &mut self,
        path: &str,
        modified_ms: u64,
        size: u64,
        out: &mut Vec<u8>,
    ) -> Open {
        let open = Open {
            name: path.to_owned(),
            time: dos_time(modified_ms),
            offset: self.offset,
            zip64: ZIP64_BYTES_MIN <= size,
            sum: Hasher::new(),
            size: 0,
            framed: 0,
        };
        let before = out.len();
        open.entry(0).local(out);
        self.passed(out.len().saturating_sub(before));
        open
    }

    /// A piece of the content.
    pub(crate) fn content(&mut self, open: &mut Open, bytes: &[u8], out: &mut Vec<u8>) {
        open.sum.update(bytes);
        open.size = open.size.saturating_add(bytes.len() as u64);
        for block in bytes.chunks(BLOCK_BYTES_MAX) {
            let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
            out.push(0);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&(!len).to_le_bytes());
            out.extend_from_slice(block);
            let framed = block.len().saturating_add(5);
            open.framed = open.framed.saturating_add(framed as u64);
            self.passed(framed);
        }
    }

    /// Ends a file.
    pub(crate) fn end(&mut self, mut open: Open, out: &mut Vec<u8>) {
        const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];
        let before = out.len();
        out.extend_from_slice(&LAST_BLOCK);
        open.framed = open.framed.saturating_add(5);
        let crc = open.sum.clone().finalize();
        out.extend_from_slice(b"PK\x07\x08");
        out.extend_from_slice(&crc.to_le_bytes());
        for size in [open.framed, open.size] {
            if open.zip64 {
                out.extend_from_slice(&size.to_le_bytes());
            } else {
                out.extend_from_slice(&low32(size).to_le_bytes());
            }
        }
        self.passed(out.len().saturating_sub(before));
        let crc = open.sum.clone().finalize();
        open.entry(crc).central(&mut self.central);
        self.members = self.members.saturating_add(1);
    }

    /// What stands behind the last member.
    pub(crate) fn finish(self) -> Vec<u8> {
        let Self { offset, central: mut out, members } = self;
        let size = out.len() as u64;
        let count = u16::try_from(members).unwrap_or(u16::MAX);
        if count == u16::MAX || offset.saturating_add(size) >= u64::from(u32::MAX) {
            let end = offset.saturating_add(size);
            out.extend_from_slice(b"PK\x06\x06");
            out.extend_from_slice(&44u64.to_le_bytes()); // what follows of this record
            out.extend_from_slice(&MADE_BY.to_le_bytes());
            out.extend_from_slice(&VERSION_ZIP64.to_le_bytes());
            out.extend_from_slice(&[0; 8]); // the only disk, twice
            for number in [members, members, size, offset] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(b"PK\x06\x07");
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&end.to_le_bytes());
            out.extend_from_slice(&1u32.to_le_bytes());
        }
        out.extend_from_slice(b"PK\x05\x06");
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&low32(size).to_le_bytes());
        out.extend_from_slice(&low32(offset).to_le_bytes());
        out.extend_from_slice(&[0; 2]); // no comment
        out
    }

    fn passed(&mut self, bytes: usize) {
        self.offset = self.offset.saturating_add(bytes as u64);
    }
}

impl Open {
    /// Bytes of the content so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn entry(&self, crc: u32) -> Entry<'_> {
        Entry {
            name: &self.name,
            time: self.time,
            offset: self.offset,
            zip64: self.zip64,
            flags: FLAGS_FILE,
            method: DEFLATED,
            crc,
            size: self.size,
            framed: self.framed,
            mode: 0o100_644 << 16,
        }
    }
}

struct Entry<'a> {
    name: &'a str,
    time: [u8; 4],
    offset: u64,
    zip64: bool,
    flags: u16,
    method: u16,
    crc: u32,
    size: u64,
    framed: u64,
    mode: u32,
}

impl Entry<'_> {
    fn version(&self) -> u16 {
        if self.zip64 { VERSION_ZIP64 } else { VERSION }
    }

    fn name_len(&self) -> u16 {
        u16::try_from(self.name.len()).unwrap_or(u16::MAX)
    }

    /// The header before the content, when neither sum nor sizes are known.
    fn local(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&self.version().to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.method.to_le_bytes());
        out.extend_from_slice(&self.time);
        out.extend_from_slice(&[0; 4]);
        let size = if self.zip64 { u32::MAX } else { 0 };
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&self.name_len().to_le_bytes());
        let extra: u16 = if self.zip64 { 20 } else { 0 };
        out.extend_from_slice(&extra.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        if self.zip64 {
            out.extend_from_slice(&1u16.to_le_bytes());
            out.extend_from_slice(&16u16.to_le_bytes());
            out.extend_from_slice(&[0; 16]);
        }
    }

    fn central(&self, out: &mut Vec<u8>) {
        let mut extra = Vec::new();
        let full = |number: u64| u64::from(u32::MAX) <= number;
        for number in [self.size, self.framed, self.offset] {
            if full(number) {
                extra.extend_from_slice(&number.to_le_bytes());
            }
        }
        let version = if extra.is_empty() { self.version() } else { VERSION_ZIP64 };
        out.extend_from_slice(b"PK\x01\x02");
        out.extend_from_slice(&MADE_BY.to_le_bytes());
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.method.to_le_bytes());
        out.extend_from_slice(&self.time);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&low32(self.framed).to_le_bytes());
        out.extend_from_slice(&low32(self.size).to_le_bytes());
        out.extend_from_slice(&self.name_len().to_le_bytes());
        let extra_len = u16::try_from(extra.len()).unwrap_or_default();
        let with_head = if extra.is_empty() { 0 } else { extra_len.saturating_add(4) };
        out.extend_from_slice(&with_head.to_le_bytes());
        out.extend_from_slice(&[0; 6]); // no comment, first disk, no attributes of its own
        out.extend_from_slice(&self.mode.to_le_bytes());
        out.extend_from_slice(&low32(self.offset).to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        if !extra.is_empty() {
            out.extend_from_slice(&1u16.to_le_bytes());
            out.extend_from_slice(&extra_len.to_le_bytes());
            out.extend_from_slice(&extra);
        }
    }
}

/// A number for a field of 32 bits; all ones: the Zip64 field has it.
fn low32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Time and date as DOS counts them, from 1980 to 2107, in UTC.
fn dos_time(unix_ms: u64) -> [u8; 4] {
    let seconds = (unix_ms / 1000).clamp(315_532_800, 4_354_819_198);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let date = ((year - 1980) << 9) | (month << 5) | day;
    let time = ((second / 3600) << 11) | (((second / 60) % 60) << 5) | ((second % 60) / 2);
    let [a, b] = u16::try_from(time).unwrap_or_default().to_le_bytes();
    let [c, d] = u16::try_from(date).unwrap_or_default().to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_dos() {
        let fields = |ms| {
            let [a, b, c, d] = dos_time(ms);
            let (time, date) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            let date = ((date >> 9) + 1980, date >> 5 & 15, date & 31);
            (date, (time >> 11, time >> 5 & 63, (time & 31) * 2))
        };
        assert_eq!(fields(0), ((1980, 1, 1), (0, 0, 0)));
        assert_eq!(fields(1_709_210_096_000), ((2024, 2, 29), (12, 34, 56)));
        assert_eq!(fields(u64::MAX), ((2107, 12, 31), (23, 59, 58)));
    }

    #[test]
    fn a_small_archive_is_as_the_standard_says() {
        let (mut archive, mut out) = (Archive::new(), Vec::new());
        archive.folder("照", 0, &mut out);
        let mut open = archive.begin("照/a", 0, 3, &mut out);
        archive.content(&mut open, b"abc", &mut out);
        assert_eq!(open.size(), 3);
        archive.end(open, &mut out);
        assert_eq!(archive.offset, out.len() as u64);
        let central_at = out.len();
        out.extend(archive.finish());
        // The content stands in one stored block, and an empty last one ends it.
        let block = b"\0\x03\0\xfc\xffabc\x01\0\0\xff\xffPK\x07\x08\xc2\x41\x24\x35";
        assert!(out.windows(block.len()).any(|part| part == block));
        assert!(out[central_at..].starts_with(b"PK\x01\x02"));
        let end = &out[out.len() - 22..];
        assert!(end.starts_with(b"PK\x05\x06\0\0\0\0\x02\0\x02\0"));
        assert_eq!(end[16..20], (central_at as u32).to_le_bytes());
    }

    #[test]
    fn what_does_not_fit_goes_into_zip64() {
        let mut archive = Archive::new();
        archive.offset = 1 << 40;
        let mut out = Vec::new();
        let mut open = archive.begin("big", 0, 1 << 33, &mut out);
        open.size = 1 << 33;
        open.framed = (1 << 33) + 5;
        archive.end(open, &mut out);
        let after = archive.offset;
        let tail = archive.finish();
        let fields: Vec<u8> = [(1u64 << 33), (1 << 33) + 10, 1 << 40]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        assert!(tail.windows(24).any(|part| part == fields));
        let zip64 = tail.windows(4).position(|part| part == b"PK\x06\x06").unwrap();
        assert_eq!(tail[zip64 + 48..zip64 + 56], after.to_le_bytes());
        assert!(tail.windows(4).any(|part| part == b"PK\x06\x07"));
        let many = Archive { offset: 0, central: Vec::new(), members: 70_000 }.finish();
        assert!(many.starts_with(b"PK\x06\x06"));
    }
}
