//! libFuzzer's entry point for `corpus::tls_handshake`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::tls_handshake(bytes));
