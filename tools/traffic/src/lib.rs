//! Memory traffic without counters: what a server's DMA and CPU touch, replayed through a last-level cache.
//!
//! ```text
//!   pipeline (a generator)  ┐                                       ┌── memory reads: by the CPU, by devices
//!                           ├─▶ touches of addresses ─▶ cache ──────┤
//!   any other trace         ┘   disk in, seal, copy,    (DDIO ways) └── memory writes: evictions, streaming stores
//!                               NIC out, freed
//! ```
//!
//! A cache knows no time: a delay matters by the bytes that pass through the cache in it. So the [`pipeline`]'s clock
//! counts bytes on the wire, and delays become bytes at a rate ([`bytes_in`]).
//!
//! What the model is held to, and what it leaves out, is in `docs/design/traffic.md`; the dissertation's machine and
//! stacks are in [`dissertation`].

#![forbid(unsafe_code)]

extern crate alloc;

pub mod cache;
pub mod dissertation;
pub mod pipeline;
mod random;
pub mod touch;

pub use cache::{Cache, Geometry, Index, Traffic};
pub use pipeline::{Pipeline, Recycling, Seal};
pub use touch::{Ratio, Replay, Sink, Touch};

use core::time::Duration;

/// The bytes that pass in `delay` at `bits_per_second`.
#[must_use]
pub fn bytes_in(delay: Duration, bits_per_second: u64) -> u64 {
    let bytes = u128::from(bits_per_second) / 8 * delay.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
