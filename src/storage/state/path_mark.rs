//! The mark of a store path, `.fastdfs_vars`: whether this disk is the one we think it is
//! (storage.md 5.5).
//!
//! Pure: the caller reads and writes the files. Only the text is compared; a mark that the
//! reference wrote is as good as our own.

use std::net::IpAddr;

use proto::{base64, ids::StorePath};

/// What to do with a store path at start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ours,
    /// Write a new mark in both places.
    Mark,
    /// As `Mark`, but the path was ours and lost its mark: worth a warning.
    MarkAgain,
    /// The disk carries a mark that we do not know: it may belong to another storage.
    Foreign,
}

/// Compares the mark we remember with the one on the disk.
pub fn judge(remembered: Option<&str>, on_disk: Option<&str>) -> Verdict {
    match (remembered, on_disk) {
        (None, None) => Verdict::Mark,
        (Some(_), None) => Verdict::MarkAgain,
        (Some(ours), Some(found)) if ours == found => Verdict::Ours,
        (_, Some(_)) => Verdict::Foreign,
    }
}

/// A new mark.
///
/// ```text
/// 0              46         48     49      52            56
/// | address text | port, LE | path | zeros | created, LE |   in base64, 75 characters
/// ```
pub fn new_mark(address: IpAddr, port: u16, path: StorePath, now: u32) -> String {
    let mut bytes = [0u8; 56];
    let text = address.to_string();
    let [p0, p1] = port.to_le_bytes();
    let [t0, t1, t2, t3] = now.to_le_bytes();
    let tail = [p0, p1, path.0, 0, 0, 0, t0, t1, t2, t3];
    for (slot, byte) in bytes.iter_mut().take(46).zip(text.bytes()) {
        *slot = byte;
    }
    for (slot, byte) in bytes.iter_mut().skip(46).zip(tail) {
        *slot = byte;
    }
    base64::encode(&bytes)
}

/// The text of the mark file.
pub fn file_text(mark: &str) -> String {
    format!("store_path_mark={mark}\n")
}

/// The mark in the text of a mark file.
pub fn read(text: &str) -> Option<&str> {
    super::value(text, "store_path_mark")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_specification() {
        assert_eq!(judge(None, None), Verdict::Mark);
        assert_eq!(judge(None, Some("a")), Verdict::Foreign);
        assert_eq!(judge(Some("a"), Some("a")), Verdict::Ours);
        assert_eq!(judge(Some("a"), Some("b")), Verdict::Foreign);
        assert_eq!(judge(Some("a"), None), Verdict::MarkAgain);
    }

    #[test]
    fn a_mark_looks_like_the_reference_s() {
        let mark = new_mark("192.0.2.2".parse().unwrap(), 33001, StorePath(0), 1_795_385_437);
        assert_eq!(mark.len(), 75);
        assert!(mark.starts_with("MTkyLjAuMi4yAAAA"), "{mark}");
        let bytes: [u8; 56] = base64::decode(mark.as_bytes()).unwrap();
        assert_eq!(&bytes[46..], [0xe9, 0x80, 0, 0, 0, 0, 0x5d, 0x68, 0x03, 0x6b]);
        assert_eq!(read(&file_text(&mark)), Some(&mark[..]));
    }
}
