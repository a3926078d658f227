//! See `fuzz::fcgi_params`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::fcgi_params::run(data));
