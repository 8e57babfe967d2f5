//! What is fuzzed, as functions, and every input that was ever interesting.
//!
//! ```text
//! fuzz/fuzz_targets/X.rs ──▶ corpus::X(bytes) ◀── replay: fuzz/corpus/X/*, and near misses of each
//!       libFuzzer                 │                           cargo test
//!                                 ▼
//!                      panics when a law is broken
//! ```
//!
//! A target takes any bytes and states laws: what is read is within bounds, what is written is read back, what comes in
//! pieces means what it means whole. A panic is a finding; it becomes a file in the corpus.

#![forbid(unsafe_code)]

mod dns;
mod engine;
mod http;
mod stack;
mod tcp;
mod tls;
mod wire;

#[cfg(test)]
mod replay;

pub use crate::dns::{dns_query, dns_zone};
pub use crate::engine::engine;
pub use crate::http::{http_date, http_range, http_request, http_target};
pub use crate::stack::stack_frame;
pub use crate::tcp::tcp_connection;
pub use crate::tls::{tls_handshake, tls_records};
pub use crate::wire::{tcp_header, wire_frame};

/// A function that states laws about any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its corpus and of its program in `fuzz`.
pub const TARGETS: &[(&str, Target)] = &[
    ("dns_query", dns_query),
    ("dns_zone", dns_zone),
    ("engine", engine),
    ("http_date", http_date),
    ("http_range", http_range),
    ("http_request", http_request),
    ("http_target", http_target),
    ("stack_frame", stack_frame),
    ("tcp_connection", tcp_connection),
    ("tcp_header", tcp_header),
    ("tls_handshake", tls_handshake),
    ("tls_records", tls_records),
    ("wire_frame", wire_frame),
];

/// Splits off the first byte, which decides something; 0 when there is none.
fn decision(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest))
}

/// Cuts `bytes` into pieces whose lengths `seed` decides, from single bytes to everything at once.
fn pieces(seed: u8, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut state = u32::from(seed);
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let wanted = 1 + usize::from(state.to_be_bytes()[0]) * usize::from(seed);
        let (piece, behind) = rest.split_at(wanted.min(rest.len()));
        rest = behind;
        Some(piece)
    })
}
