//! See `fuzz::tracker_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tracker_stream::run(data));
