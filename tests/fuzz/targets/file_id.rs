//! See `fuzz::file_id`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::file_id::run(data));
