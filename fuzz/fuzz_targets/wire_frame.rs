//! libFuzzer's entry point for `corpus::wire_frame`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::wire_frame(bytes));
