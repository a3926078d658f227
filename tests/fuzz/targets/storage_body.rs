//! See `fuzz::storage_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::storage_body::run(data));
