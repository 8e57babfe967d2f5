//! libFuzzer's entry point for `corpus::dns_query`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::dns_query(bytes));
