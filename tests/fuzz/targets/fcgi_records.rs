//! See `fuzz::fcgi_records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::fcgi_records::run(data));
