//! libFuzzer's entry point for `corpus::http_range`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::http_range(bytes));
