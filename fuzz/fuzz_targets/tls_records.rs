//! libFuzzer's entry point for `corpus::tls_records`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::tls_records(bytes));
