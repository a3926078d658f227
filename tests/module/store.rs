//! Stored files, made as a storage would make them.
//!
//! Used by the tests beside it; names come from `proto`, contents from a counter.

use std::fs::File;
use std::time::{Duration, SystemTime};

use proto::fileid::{ExtField, FileName, NewName, Record, SizeField, SourceId, SubDir, TrunkSlot};
use proto::ids::{Extension, Prefix, StorePath};

use crate::server::Scratch;

/// 2026-11-22 21:55:52 UTC, as in the worked example of http.md 4.
pub(crate) const CREATED: u32 = 1_795_384_552;
pub(crate) const CREATED_TEXT: &str = "Sun, 22 Nov 2026 21:55:52 GMT";
/// When the files of the tests were last changed: 2001-09-09 01:46:40 UTC.
pub(crate) const CHANGED: u64 = 1_000_000_000;
pub(crate) const CHANGED_TEXT: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const CRC: u32 = 0xb70b_4c26;

/// Bytes that differ from place to place, so that a shifted range shows.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 251).expect("it is below 251")).collect()
}

/// CRC32, a bit at a time: an implementation of its own, to check the module's.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let shift = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| shift(sum)))
}

/// The name of a normal file in M00 with the sum of its content, as a storage of this address
/// would have made it at `created`.
pub(crate) fn made_by(source: [u8; 4], created: u32, bytes: &[u8], ext: &str) -> FileName {
    let ext = ExtField::new(&Extension::parse(ext).expect("the tests use good ones"), 514);
    let size = SizeField::normal(bytes.len() as u64, 7);
    let source = SourceId(source);
    let record = Record { source, timestamp: created, size, crc32: crc32(bytes) };
    let dir = SubDir { high: 0, low: 0 };
    NewName { store_path: StorePath(0), dir, record, slot: None, ext }.print()
}

/// The same, made by somebody somewhere.
pub(crate) fn summed(bytes: &[u8], ext: &str) -> FileName {
    made_by([10, 77, 0, 1], CREATED, bytes, ext)
}

/// A file in the trunk container 1 of M00: its name, and the slot as it lies there.
pub(crate) fn slot(bytes: &[u8], ext: &str, offset: u32, kind: u8) -> (FileName, Vec<u8>) {
    let size = u32::try_from(bytes.len()).expect("slots are small");
    let slot = TrunkSlot { container: 1, offset, size: size + 24 };
    let ext = ExtField::new(&Extension::parse(ext).expect("the tests use good ones"), 514);
    let source = SourceId([10, 77, 0, 1]);
    let size = SizeField::trunk(size, 3);
    let record = Record { source, timestamp: CREATED, size, crc32: crc32(bytes) };
    let dir = SubDir { high: 0, low: 0 };
    let name = NewName { store_path: StorePath(0), dir, record, slot: Some(slot), ext }.print();
    let numbers = [slot.size, slot.size - 24, record.crc32, CREATED].map(u32::to_be_bytes);
    let tail = &name.as_str().as_bytes()[name.as_str().len() - 7..];
    (name.clone(), [&[kind], numbers.as_flattened(), tail, bytes].concat())
}

fn name(path: u8, size: SizeField, slot: Option<TrunkSlot>, ext: &str) -> FileName {
    let dir = if path == 0 { SubDir { high: 0, low: 0 } } else { SubDir { high: 10, low: 255 } };
    let source = SourceId([10, 77, 0, 1]);
    let record = Record { source, timestamp: CREATED, size, crc32: CRC };
    let ext = ExtField::new(&Extension::parse(ext).expect("the tests use good ones"), 514);
    NewName { store_path: StorePath(path), dir, record, slot, ext }.print()
}

/// The name of a normal file in M00.
pub(crate) fn normal(size: u64, ext: &str) -> FileName {
    name(0, SizeField::normal(size, 0x49_59d9), None, ext)
}

/// The name of a normal file in M01, directory 0A/FF.
pub(crate) fn in_second_path(size: u64, ext: &str) -> FileName {
    name(1, SizeField::normal(size, 1), None, ext)
}

pub(crate) fn appender(ext: &str) -> FileName {
    name(0, SizeField::appender(2), None, ext)
}

pub(crate) fn slave(of: &FileName, prefix: &str, ext: &str) -> FileName {
    let prefix = Prefix::parse(prefix).expect("the tests use good ones");
    let ext = Extension::parse(ext).expect("the tests use good ones");
    of.slave(&prefix, &ext).expect("a generated name can be a master")
}

pub(crate) fn trunk(size: u32, ext: &str) -> FileName {
    let slot = TrunkSlot { container: 1, offset: 64, size: 2048 };
    name(0, SizeField::trunk(size, 3), Some(slot), ext)
}

/// The address of a file in group1.
pub(crate) fn url(name: &FileName) -> String {
    format!("/group1/{name}")
}

/// Where a file lies below the directory of the tests.
pub(crate) fn place(name: &FileName) -> String {
    format!("store{}/data/{}", name.store_path().0, name.true_name())
}

/// Puts a file where a storage would, and dates it [`CHANGED`].
pub(crate) fn put(dir: &Scratch, name: &FileName, content: &[u8]) {
    dir.write(&place(name), content);
    let file = File::options().append(true).open(dir.path(&place(name))).expect("it was written");
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(CHANGED);
    file.set_modified(changed).expect("the file is ours");
}
