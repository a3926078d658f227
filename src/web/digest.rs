//! Hashes what passes through: SHA-256, MD5 and CRC32 of a stream, and its first bytes.
//!
//! Used by `intake`. Large chunks are hashed on the blocking pool, SHA-256 beside the other two,
//! a few at a time over the whole process; no thread waits for a slow client.

use std::sync::Arc;

use bytes::Bytes;
use md5::Md5;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::db::Hashes;
use crate::media::HEAD_BYTES;

/// Chunks up to this size are hashed where they are: it takes less than 50 µs, about as long as
/// handing them to another thread.
const INLINE_BYTES_MAX: usize = 8 * 1024;

/// The form that [`Digest::save`] writes.
const SAVED_VERSION: u8 = 1;

/// The hashes of what has passed so far.
pub(crate) struct Digest {
    gate: Arc<Semaphore>,
    state: State,
    head: Vec<u8>,
    bytes: u64,
}

/// What each of the two halves is made of.
type Hints = (Md5, crc32fast::Hasher);

enum State {
    Here(Box<(Sha256, Hints)>),
    /// The last chunk is being hashed.
    Away(JoinHandle<Sha256>, JoinHandle<Hints>),
    /// Only inside a method, or after one failed.
    Lost,
}

impl Digest {
    pub(crate) fn new(gate: Arc<Semaphore>) -> Self {
        let hints = (Md5::new(), crc32fast::Hasher::new());
        let state = State::Here(Box::new((Sha256::new(), hints)));
        Self { gate, state, head: Vec::new(), bytes: 0 }
    }

    /// Goes on from what [`Digest::save`] wrote. None: it did not write that.
    ///
    /// Saved state, and not hashing anew what the store has: after the death of a worker a
    /// resumable upload goes on at once, however much of it is there.
    pub(crate) fn resume(gate: Arc<Semaphore>, saved: &[u8], head: Vec<u8>) -> Option<Self> {
        let (version, rest) = saved.split_first()?;
        let (sha256, rest) = rest.split_at_checked(SerializedState::<Sha256>::default().len())?;
        let (md5, rest) = rest.split_at_checked(SerializedState::<Md5>::default().len())?;
        let (crc32, bytes) = rest.split_first_chunk::<4>()?;
        let bytes = u64::from_le_bytes(bytes.try_into().ok()?);
        if *version != SAVED_VERSION {
            return None;
        }
        let sha256 =
            Sha256::deserialize(&SerializedState::<Sha256>::try_from(sha256).ok()?).ok()?;
        let md5 = Md5::deserialize(&SerializedState::<Md5>::try_from(md5).ok()?).ok()?;
        let crc32 = crc32fast::Hasher::new_with_initial_len(u32::from_le_bytes(*crc32), bytes);
        Some(Self { gate, state: State::Here(Box::new((sha256, (md5, crc32)))), head, bytes })
    }

    /// The state as bytes:
    ///
    /// ```text
    /// | 1 | SHA-256 | MD5 | CRC32, LE 4 | bytes so far, LE 8 |
    /// ```
    pub(crate) async fn save(&mut self) -> anyhow::Result<Vec<u8>> {
        let (sha256, (md5, crc32)) = self.settle().await?;
        let mut saved = vec![SAVED_VERSION];
        saved.extend_from_slice(&sha256.serialize());
        saved.extend_from_slice(&md5.serialize());
        saved.extend_from_slice(&crc32.clone().finalize().to_le_bytes());
        saved.extend_from_slice(&self.bytes.to_le_bytes());
        self.state = State::Here(Box::new((sha256, (md5, crc32))));
        Ok(saved)
    }

    /// How many bytes have passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first bytes, for guessing what they are.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Adds the next bytes. A large chunk is still being hashed when this returns, so that it can
    /// be sent meanwhile; the next call waits for it, which keeps one chunk in memory.
    pub(crate) async fn update(&mut self, chunk: &Bytes) -> anyhow::Result<()> {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(chunk.get(..missing).unwrap_or_default());

        let (mut sha256, (mut md5, mut crc32)) = self.settle().await?;
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
        self.state = if chunk.len() <= INLINE_BYTES_MAX {
            State::Here(Box::new((strong(), hints())))
        } else {
            let permit = self.gate.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let strong = tokio::task::spawn_blocking(move || {
                let _slot = permit;
                strong()
            });
            State::Away(strong, tokio::task::spawn_blocking(hints))
        };
        Ok(())
    }

    /// The hashes of everything.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Hashes> {
        let (sha256, (md5, crc32)) = self.settle().await?;
        Ok(Hashes {
            sha256: sha256.finalize().into(),
            md5: md5.finalize().into(),
            crc32: crc32.finalize(),
        })
    }

    /// Waits until the last chunk is hashed.
    async fn settle(&mut self) -> anyhow::Result<(Sha256, Hints)> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Here(both) => Ok(*both),
            State::Away(strong, hints) => Ok(tokio::try_join!(strong, hints)?),
            State::Lost => anyhow::bail!("a digest was used after it failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

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
            seen.push(digest.finish().await.unwrap());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1);
    }

    #[tokio::test]
    async fn a_saved_state_goes_on_as_if_nothing_had_happened() {
        let gate = Arc::new(Semaphore::new(1));
        let whole: Vec<u8> = (0..50_000u32).map(|n| (n.wrapping_mul(n) >> 5) as u8).collect();
        let mut at_once = Digest::new(gate.clone());
        at_once.update(&Bytes::copy_from_slice(&whole)).await.unwrap();
        let want = at_once.finish().await.unwrap();
        for cut in [0, 1, 63, 64, 65, 4096, 49_999, 50_000] {
            let (first, second) = whole.split_at(cut);
            let mut digest = Digest::new(gate.clone());
            digest.update(&Bytes::copy_from_slice(first)).await.unwrap();
            let saved = digest.save().await.unwrap();
            assert!(saved.len() <= 512, "the column holds no more: {}", saved.len());
            let head = digest.head().to_vec();
            let mut digest = Digest::resume(gate.clone(), &saved, head).unwrap();
            assert_eq!(digest.bytes(), cut as u64);
            digest.update(&Bytes::copy_from_slice(second)).await.unwrap();
            assert_eq!(digest.head(), &whole[..HEAD_BYTES]);
            assert_eq!(digest.finish().await.unwrap(), want, "{cut}");
            for wrong in [&saved[1..], &saved[..saved.len() - 1], b"", &[9; 200]] {
                assert!(Digest::resume(gate.clone(), wrong, Vec::new()).is_none());
            }
        }
    }

    #[tokio::test]
    async fn the_hashes_are_the_standard_ones() {
        let mut digest = Digest::new(Arc::new(Semaphore::new(1)));
        digest.update(&Bytes::from_static(b"abc")).await.unwrap();
        let hashes = digest.finish().await.unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&hashes.sha256), sha256);
        assert_eq!(hex(&hashes.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hashes.crc32, 0x3524_41c2);
    }
}
