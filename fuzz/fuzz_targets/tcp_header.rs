//! libFuzzer's entry point for `corpus::tcp_header`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::tcp_header(bytes));
