//! See `fuzz::binlog`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::binlog::run(data));
