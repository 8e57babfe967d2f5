//! libFuzzer's entry point for `corpus::stack_frame`, where the laws are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corpus::stack_frame(bytes));
