//! libFuzzer's entry point for `corpus::http_target`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::http_target(bytes));
