//! See `fuzz::tracker_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tracker_body::run(data));
