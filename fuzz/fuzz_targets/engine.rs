//! libFuzzer's entry point for `corpus::engine`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::engine(bytes));
