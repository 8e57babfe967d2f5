//! libFuzzer's entry point for `corpus::dns_zone`, where the laws are.
#![no_main]

use std::panic::PanicHookInfo;

// The parser panics on some broken entries, which our loader takes for an error: only panics of our own are findings.
fn hook(of_libfuzzer: &(dyn Fn(&PanicHookInfo<'_>) + Send + Sync), panic: &PanicHookInfo<'_>) {
    if !panic.location().is_some_and(|location| location.file().contains("/registry/")) {
        of_libfuzzer(panic);
    }
}

static HOOKED: std::sync::Once = std::sync::Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    HOOKED.call_once(|| {
        let of_libfuzzer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| hook(&*of_libfuzzer, panic)));
    });
    corpus::dns_zone(bytes);
});
