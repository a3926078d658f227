//! See `fuzz::web_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::web_request::run(data));
