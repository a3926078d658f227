//! Block sums of a stored file: how it is cut, what is kept for each block, the head of the
//! file that keeps them.
//!
//! ```text
//! <store path>/sums/HH/HH/<name>
//! 0       8         10      11      12  16       24     32        40         48  56      64
//! | magic | version | shift | flags | 0 | length | root | earlier: length, root | 0 | check |
//! | entry of block 0 (8 bytes, LE) | entry of block 1 | …
//! ```
//!
//! An entry is the sum of the block's bytes mixed with the file's name and the block's number,
//! so that a block of another place or of another file fails. `root` is the sum of all entries
//! and `check` covers the head: when one of the three is damaged the other two still prove the
//! content. `earlier` is what a file being replaced may still hold. Pure: `storage::sums` and
//! the nginx module read and write the files. Numbers are little-endian.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const MAGIC: &[u8; 8] = b"fd-sums\n";
const VERSION: u16 = 1;
/// The file may have blocks of zeros whose entry is zero: it was made longer without writing.
const FLAG_HOLES: u8 = 1;
const FLAG_EARLIER: u8 = 2;

/// How a file is cut into blocks: all are of one size, the last one may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    shift: u8,
}

impl Blocks {
    /// 64 KiB: what is read and checked for one byte, at 8 bytes of sums for each.
    pub const STANDARD: Self = Self { shift: 16 };

    /// Blocks of 2^`shift` bytes, 16 bytes to 16 MiB.
    pub fn new(shift: u8) -> Option<Self> {
        (4..=24).contains(&shift).then_some(Self { shift })
    }

    /// Bytes of a full block.
    pub const fn size(self) -> u64 {
        1 << self.shift
    }

    /// Blocks of a file of `len` bytes.
    pub fn count(self, len: u64) -> u64 {
        len.div_ceil(self.size())
    }

    /// The block that holds the byte at `offset`.
    pub fn index(self, offset: u64) -> u64 {
        offset.checked_shr(u32::from(self.shift)).unwrap_or(0)
    }

    /// Where a block begins.
    pub fn start(self, index: u64) -> u64 {
        index.saturating_mul(self.size())
    }

    /// Bytes of block `index` in a file of `len` bytes; zero behind its end.
    pub fn len_of(self, index: u64, len: u64) -> u64 {
        len.saturating_sub(self.start(index)).min(self.size())
    }
}

/// The sum of a block's bytes, wherever it stands.
pub fn content_sum(block: &[u8]) -> u64 {
    xxh3_64(block)
}

/// A sum over a sequence of pieces that gives what [`content_sum`] gives for all of them.
#[derive(Clone, Default)]
pub struct Summer(xxhash_rust::xxh3::Xxh3);

impl Summer {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum so far; afterwards a new one begins.
    pub fn take(&mut self) -> u64 {
        let sum = self.0.digest();
        self.0.reset();
        sum
    }
}

impl core::fmt::Debug for Summer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Summer")
    }
}

/// What binds sums to the name of their file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// `name` is the logic name, `M00/HH/HH/…`.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }

    /// The entry of block `index` whose bytes have this sum; never zero.
    pub fn entry(self, index: u64, sum: u64) -> u64 {
        (sum ^ xxh3_64_with_seed(&self.0.to_le_bytes(), index)).max(1)
    }

    /// Whether `block` is what `entry` was made from. `holes` as in [`Header::holes`].
    pub fn matches(self, index: u64, block: &[u8], entry: u64, holes: bool) -> bool {
        if entry == 0 {
            return holes && block.iter().all(|byte| *byte == 0);
        }
        self.entry(index, content_sum(block)) == entry
    }
}

/// Length and root of one state of a file: enough to recognise it as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    pub len: u64,
    /// Sum of all entries, wrapping.
    pub root: u64,
}

/// The head of a file of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub blocks: Blocks,
    pub whole: Whole,
    /// Blocks of zeros may have a zero for an entry.
    pub holes: bool,
    /// What the file held before the replacement that is under way, or that a crash cut short.
    pub earlier: Option<Whole>,
}

/// Why bytes are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    #[error("the head of the sums is damaged")]
    Damaged,
    #[error("sums of format {0}, which this release does not know")]
    Version(u16),
}

impl Header {
    pub const LEN: usize = 64;
    const CHECKED: usize = 56;

    /// Where the entry of block `index` stands in the file.
    pub fn entry_at(index: u64) -> u64 {
        index.saturating_mul(8).saturating_add(Self::LEN as u64)
    }

    /// Bytes of the whole file of sums.
    pub fn file_len(&self) -> u64 {
        Self::entry_at(self.blocks.count(self.whole.len))
    }

    pub fn encode(&self, seed: Seed) -> [u8; Self::LEN] {
        let earlier = self.earlier.unwrap_or_default();
        let holes = if self.holes { FLAG_HOLES } else { 0 };
        let flags = if self.earlier.is_some() { holes | FLAG_EARLIER } else { holes };
        let numbers = [self.whole.len, self.whole.root, earlier.len, earlier.root, 0];
        let small = [self.blocks.shift, flags, 0, 0, 0, 0];
        let bytes = MAGIC.iter().copied().chain(VERSION.to_le_bytes()).chain(small);
        let mut out = [0; Self::LEN];
        for (slot, byte) in out.iter_mut().zip(bytes.chain(numbers.map(u64::to_le_bytes).concat()))
        {
            *slot = byte;
        }
        let (checked, check) = out.split_at_mut(Self::CHECKED);
        check.copy_from_slice(&xxh3_64_with_seed(checked, seed.0).to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8], seed: Seed) -> Result<Self, BadHeader> {
        let (checked, check) = bytes.split_at_checked(Self::CHECKED).ok_or(BadHeader::Damaged)?;
        if xxh3_64_with_seed(checked, seed.0).to_le_bytes() != check {
            return Err(BadHeader::Damaged);
        }
        let number = |at: usize| {
            let bytes = checked.get(at..at.saturating_add(8)).unwrap_or_default();
            u64::from_le_bytes(bytes.try_into().unwrap_or_default())
        };
        let [_, _, _, _, _, _, _, _, low, high, shift, flags, ..] = *checked else {
            return Err(BadHeader::Damaged);
        };
        let version = u16::from_le_bytes([low, high]);
        if !checked.starts_with(MAGIC) {
            return Err(BadHeader::Damaged);
        }
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let earlier = Whole { len: number(32), root: number(40) };
        Ok(Self {
            blocks: Blocks::new(shift).ok_or(BadHeader::Damaged)?,
            whole: Whole { len: number(16), root: number(24) },
            holes: flags & FLAG_HOLES != 0,
            earlier: (flags & FLAG_EARLIER != 0).then_some(earlier),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const NAME: &str = "M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";

    fn table(name: &str, content: &[u8], blocks: Blocks) -> Vec<u64> {
        let cut = content.chunks(blocks.size() as usize);
        cut.zip(0..).map(|(block, i)| Seed::of(name).entry(i, content_sum(block))).collect()
    }

    fn is_good(name: &str, content: &[u8], entries: &[u64], blocks: Blocks) -> bool {
        let cut: Vec<_> = content.chunks(blocks.size() as usize).collect();
        let all = cut.iter().zip(entries).zip(0..);
        cut.len() == entries.len()
            && all.into_iter().all(|((b, e), i)| Seed::of(name).matches(i, b, *e, false))
    }

    #[test]
    fn header_bytes_are_frozen() {
        let header = Header {
            blocks: Blocks::STANDARD,
            whole: Whole { len: 0x0102, root: 3 },
            holes: true,
            earlier: Some(Whole { len: 4, root: 5 }),
        };
        let bytes = header.encode(Seed::of(NAME));
        let mut wanted = Vec::from(*b"fd-sums\n\x01\0\x10\x03\0\0\0\0");
        for number in [0x0102u64, 3, 4, 5, 0, 0x1384_7668_7ee6_5052] {
            wanted.extend(number.to_le_bytes());
        }
        assert_eq!(bytes[..], wanted, "{:#x}", u64::from_le_bytes(*bytes.last_chunk().unwrap()));
        assert_eq!(Header::decode(&bytes, Seed::of(NAME)), Ok(header));
        assert_eq!(Header::decode(&bytes, Seed::of("M00/x")), Err(BadHeader::Damaged));
        assert_eq!(Seed::of(NAME).entry(7, content_sum(b"block")), 0xcecf_9984_d95d_34bc);
    }

    #[test]
    fn every_change_of_a_header_is_noticed() {
        let whole = Whole { len: 70_000, root: 9 };
        let header = Header { blocks: Blocks::STANDARD, whole, holes: false, earlier: None };
        let good = header.encode(Seed::of(NAME));
        for at in 0..Header::LEN {
            for change in 1..=255 {
                let mut bad = good;
                bad[at] ^= change;
                assert!(Header::decode(&bad, Seed::of(NAME)).is_err(), "{at} {change}");
            }
            assert!(Header::decode(&good[..at], Seed::of(NAME)).is_err());
        }
    }

    /// Every single-bit and single-byte change, every swap of two blocks, every truncation and
    /// extension of files up to three blocks (testing.md 7).
    #[test]
    fn every_change_of_small_files_is_noticed() {
        let blocks = Blocks::new(5).unwrap();
        let mut tried = 0;
        for len in 0..=96usize {
            let good: Vec<u8> = (0..len).map(|i| (i * 37 % 251) as u8).collect();
            let entries = table(NAME, &good, blocks);
            assert!(is_good(NAME, &good, &entries, blocks), "{len}");
            let mut check = |bad: &[u8]| {
                tried += 1;
                assert!(!is_good(NAME, bad, &entries, blocks), "{len}: {bad:?}");
            };
            for at in 0..len {
                for change in 1..=255 {
                    let mut bad = good.clone();
                    bad[at] ^= change;
                    check(&bad);
                }
                check(&good[..at]);
            }
            for more in 1..=33 {
                check(&[&good[..], &[0; 33][..more]].concat());
            }
            let mut cut: Vec<&[u8]> = good.chunks(32).collect();
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                if a.max(b) < cut.len() {
                    cut.swap(a, b);
                    check(&cut.concat());
                    cut.swap(a, b);
                }
            }
            if len != 0 {
                assert!(!is_good("M00/00/00/another", &good, &entries, blocks), "{len}");
            }
        }
        std::println!("{tried} changes of small files, all noticed");
        assert!(1_180_000 < tried);
    }

    #[test]
    fn holes_are_zeros_and_only_where_they_are_allowed() {
        let seed = Seed::of(NAME);
        assert!(seed.matches(3, &[0; 16], 0, true));
        assert!(!seed.matches(3, &[0; 16], 0, false));
        assert!(!seed.matches(3, &[0, 1], 0, true));
    }

    #[test]
    fn a_file_is_cut_without_gaps() {
        let blocks = Blocks::STANDARD;
        for (len, count) in [(0, 0), (1, 1), (65_536, 1), (65_537, 2), (u64::MAX, 1 << 48)] {
            assert_eq!(blocks.count(len), count, "{len}");
            let last = count.saturating_sub(1);
            assert_eq!(blocks.start(last) + blocks.len_of(last, len), len);
        }
        assert_eq!(blocks.index(65_535), 0);
        assert_eq!(blocks.index(65_536), 1);
        assert_eq!((Blocks::new(3), Blocks::new(25)), (None, None));
    }
}
