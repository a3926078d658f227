//! See `fuzz::answer_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::answer_body::run(data));
