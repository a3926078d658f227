//! See `fuzz::multipart_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::multipart_body::run(data));
