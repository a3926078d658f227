//! Hashes what passes through: SHA-256, MD5 and CRC32 of a stream, and its first bytes.
//!
//! Used by `intake`. Large chunks are hashed on the blocking pool, SHA-256 beside the other two,
//! a few at a time over the whole process; no thread waits for a slow client.

use std::sync::Arc;

use bytes::Bytes;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::db::Hashes;
use crate::media::HEAD_BYTES;

/// Chunks up to this size are hashed where they are: it takes less than 50 µs, about as long as
/// handing them to another thread.
const INLINE_BYTES_MAX: usize = 8 * 1024;

/// The hashes of what has passed so far.
pub(crate) struct Digest {
    gate: Arc<Semaphore>,
    // None only while a job has it.
    sha256: Option<Sha256>,
    others: Option<(Md5, crc32fast::Hasher)>,
    head: Vec<u8>,
    bytes: u64,
}

impl Digest {
    pub(crate) fn new(gate: Arc<Semaphore>) -> Self {
        Self {
            gate,
            sha256: Some(Sha256::new()),
            others: Some((Md5::new(), crc32fast::Hasher::new())),
            head: Vec::new(),
            bytes: 0,
        }
    }

    /// How many bytes have passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first bytes, for guessing what they are.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Adds the next bytes. Not cancel-safe: a digest whose update was dropped is of no use.
    pub(crate) async fn update(&mut self, chunk: &Bytes) -> anyhow::Result<()> {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(chunk.get(..missing).unwrap_or_default());

        let lost = || anyhow::anyhow!("a digest was used after its update was dropped");
        let mut sha256 = self.sha256.take().ok_or_else(lost)?;
        let (mut md5, mut crc32) = self.others.take().ok_or_else(lost)?;
        let (first, second) = (chunk.clone(), chunk.clone());
        let strong = move || {
            sha256.update(&first);
            sha256
        };
        let hints = move || {
            md5.update(&second);
            crc32.update(&second);
            (md5, crc32)
        };
        let (sha256, others) = if chunk.len() <= INLINE_BYTES_MAX {
            (strong(), hints())
        } else {
            let permit = self.gate.acquire().await;
            let _slot = permit.expect("the semaphore is never closed");
            let strong = tokio::task::spawn_blocking(strong);
            let hints = tokio::task::spawn_blocking(hints);
            tokio::try_join!(strong, hints)?
        };
        (self.sha256, self.others) = (Some(sha256), Some(others));
        Ok(())
    }

    /// The hashes of everything.
    pub(crate) fn finish(self) -> anyhow::Result<Hashes> {
        let lost = || anyhow::anyhow!("a digest was used after its update was dropped");
        let (md5, crc32) = self.others.ok_or_else(lost)?;
        Ok(Hashes {
            sha256: self.sha256.ok_or_else(lost)?.finalize().into(),
            md5: md5.finalize().into(),
            crc32: crc32.finalize(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::hex;

    #[tokio::test]
    async fn chunks_of_any_size_give_the_hashes_of_the_whole() {
        let whole: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect();
        let mut seen = Vec::new();
        for size in [1000, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 70_000, 100_000] {
            let mut digest = Digest::new(Arc::new(Semaphore::new(1)));
            for chunk in whole.chunks(size) {
                digest.update(&Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            assert_eq!(digest.bytes(), 100_000);
            assert_eq!(digest.head(), &whole[..HEAD_BYTES]);
            seen.push(digest.finish().unwrap());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1);
    }

    #[tokio::test]
    async fn the_hashes_are_the_standard_ones() {
        let mut digest = Digest::new(Arc::new(Semaphore::new(1)));
        digest.update(&Bytes::from_static(b"abc")).await.unwrap();
        let hashes = digest.finish().unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&hashes.sha256), sha256);
        assert_eq!(hex(&hashes.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hashes.crc32, 0x3524_41c2);
    }
}
