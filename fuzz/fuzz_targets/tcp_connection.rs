//! libFuzzer's entry point for `corpus::tcp_connection`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::tcp_connection(bytes));
