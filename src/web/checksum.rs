//! The checksum of one chunk, in the algorithm that the client chose (tus: Upload-Checksum).
//!
//! Used by resumable uploads against damage on the way; decides nothing about a content.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// What `Tus-Checksum-Algorithm` says.
pub(crate) const ALGORITHMS: &str = "sha1,sha256,md5,crc32";

enum Sum {
    Sha1(Sha1),
    Sha256(Sha256),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

/// A sum under way, and what it must become.
pub(crate) struct Checksum {
    sum: Sum,
    want: Vec<u8>,
}

impl Checksum {
    /// `sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=`. None: malformed, or an algorithm we do not know.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, want) = text.trim().split_once(' ')?;
        let want = STANDARD.decode(want.trim()).ok()?;
        let (sum, len) = match name {
            "sha1" => (Sum::Sha1(Sha1::new()), 20),
            "sha256" => (Sum::Sha256(Sha256::new()), 32),
            "md5" => (Sum::Md5(Md5::new()), 16),
            "crc32" => (Sum::Crc32(crc32fast::Hasher::new()), 4),
            _ => return None,
        };
        (want.len() == len).then_some(Self { sum, want })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.sum {
            Sum::Sha1(sum) => sum.update(bytes),
            Sum::Sha256(sum) => sum.update(bytes),
            Sum::Md5(sum) => sum.update(bytes),
            Sum::Crc32(sum) => sum.update(bytes),
        }
    }

    /// Whether the bytes so far are the announced ones.
    pub(crate) fn fits(&self) -> bool {
        match &self.sum {
            Sum::Sha1(sum) => sum.clone().finalize()[..] == self.want[..],
            Sum::Sha256(sum) => sum.clone().finalize()[..] == self.want[..],
            Sum::Md5(sum) => sum.clone().finalize()[..] == self.want[..],
            Sum::Crc32(sum) => sum.clone().finalize().to_be_bytes()[..] == self.want[..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_the_standard_ones() {
        let cases = [
            ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", true),
            ("sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", true),
            ("md5 kAFQmDzST7DWlj99KOF/cg==", true),
            ("crc32 NSRBwg==", true),
            ("crc32 NSRBww==", false),
        ];
        for (text, want) in cases {
            let mut sum = Checksum::parse(text).unwrap();
            sum.update(b"a");
            sum.update(b"bc");
            assert_eq!(sum.fits(), want, "{text}");
        }
        for wrong in ["", "sha1", "sha1 ", "sha1 x", "crc32 AA==", "sha512 AAAA", "SHA1 AAAA"] {
            assert!(Checksum::parse(wrong).is_none(), "{wrong}");
        }
    }
}
