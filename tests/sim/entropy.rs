//! What the process takes for chance of the kernel's, from the seed.
//!
//! The standard library keys its maps with it, and tokio takes from those keys the order in which
//! it wakes those who wait for one thing: each run of a seed would be another. The only place of
//! this package with `unsafe`: it stands in for a function of the C library.
#![allow(unsafe_code, reason = "the C library's name for it, and its caller's memory")]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::seed::Seed;

static STATE: AtomicU64 = AtomicU64::new(0);

/// From now on chance comes from `seed`. Threads that already run keep the keys of their maps.
pub(crate) fn begin(seed: Seed) {
    STATE.store(seed.0, Ordering::SeqCst);
}

fn fill(out: &mut [u8]) {
    let seed = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
    Seed(seed).rng().fill(out);
}

/// The function of the C library, for this program.
// SAFETY: no other crate of this program defines the symbol, and its type is that of getrandom(2).
#[unsafe(no_mangle)]
extern "C" fn getrandom(out: *mut u8, len: usize, _flags: u32) -> isize {
    // SAFETY: the caller of getrandom(2) hands over `len` bytes at `out` that it may write.
    let bytes = unsafe { std::slice::from_raw_parts_mut(out, len) };
    fill(bytes);
    isize::try_from(len).unwrap_or(isize::MAX)
}
