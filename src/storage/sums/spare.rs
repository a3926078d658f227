//! Buffers for pieces of content, which are used again: a fresh one costs zeroing and a page
//! fault for each 4 KiB, together more than reading and comparing what goes into it.
//!
//! Bounded: what does not fit in here is freed. Content that is still there when a buffer is
//! used again is never seen: its owner fills what it shows.

use std::sync::{Arc, Mutex};

/// Buffers that are kept: with pieces of 256 KiB and the blocks around them 4 MiB at most.
const SPARES_MAX: usize = 12;
/// Others are not worth a lock, or too much to be kept.
const KEPT_BYTES: std::ops::RangeInclusive<usize> = 32 * 1024..=384 * 1024;

#[derive(Debug, Default)]
pub(super) struct Spare {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Spare {
    /// A buffer of `len` bytes, of which nothing is promised but that they can be written.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let mut bytes = Vec::new();
        if KEPT_BYTES.contains(&len) {
            let mut free = self.free.lock().expect("no code panics while holding this lock");
            bytes = free.pop().unwrap_or_default();
        }
        if bytes.len() < len {
            // Not `resize`: it would copy what nobody needs.
            bytes = vec![0; len];
        }
        Buffer { bytes, len, home: Some(Arc::clone(self)) }
    }
}

/// Bytes in memory that goes back when they are dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Option<Arc<Spare>>,
}

impl Buffer {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The first `len` bytes, for good: this memory does not come back.
    pub(super) fn into_bytes(mut self, len: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(len);
        bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len(), bytes, home: None }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.take().filter(|_| KEPT_BYTES.contains(&self.bytes.len())) else {
            return;
        };
        let mut free = home.free.lock().expect("no code panics while holding this lock");
        if free.len() < SPARES_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_again_and_only_so_many_are_kept() {
        let spare = Arc::new(Spare::default());
        let mut first = spare.take(64 * 1024);
        let at = first.bytes().as_ptr();
        first.bytes_mut().fill(7);
        drop(first);
        let again = spare.take(40_000);
        assert_eq!((again.bytes().as_ptr(), again.bytes().len()), (at, 40_000));
        drop(again);
        assert_eq!(spare.take(64 * 1024).bytes().as_ptr(), at, "none of it was cut off");
        let many: Vec<_> = (0..SPARES_MAX + 5).map(|_| spare.take(64 * 1024)).collect();
        drop(many);
        assert_eq!(spare.free.lock().unwrap().len(), SPARES_MAX);
        for other in [0, KEPT_BYTES.start() - 1, KEPT_BYTES.end() + 1] {
            assert_eq!(spare.take(other).bytes().len(), other);
        }
        assert_eq!(spare.free.lock().unwrap().len(), SPARES_MAX);
        drop(Buffer::from(vec![0; 64 * 1024]));
        assert_eq!(spare.free.lock().unwrap().len(), SPARES_MAX);
    }
}
