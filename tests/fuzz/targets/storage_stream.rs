//! See `fuzz::storage_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::storage_stream::run(data));
