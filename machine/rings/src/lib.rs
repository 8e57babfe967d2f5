//! The cursor of a shared-memory ring: one producer, one consumer, two counters.
//!
//! ```text
//!   slots       | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |          size = 8, a power of two
//!                     ▲           ▲       ▲
//!   consumer index ───┘           │       └─── the producer's own tail: staged, not yet published
//!                                 └─────────── producer index: published, readable by the consumer
//! ```
//!
//! Both indices count up for ever and wrap at 2³²; a slot is its index modulo the size. A producer stages any
//! number of slots and publishes them with one store; a consumer takes any number and releases them with one
//! store. The store is a *release* and the other side's load an *acquire*, so that what was written to a slot
//! is seen by whoever learns of the slot. Each side loads the other's index only when its cached copy has run
//! out.
//!
//! [`Producer`] and [`Consumer`] know indices and nothing of what lies in the slots: the AF_XDP rings keep
//! descriptors there and the kernel at the other end ([`MappedIndices`]); [`queue`] keeps values of one
//! process.

#![expect(unsafe_code, reason = "reads indices that live in memory shared with the kernel")]

mod cursor;
mod indices;
mod queue;

pub use cursor::{Consumer, Producer, RingSize};
pub use indices::{Indices, LocalIndices, MappedIndices};
pub use queue::{Reader, Writer, queue};

#[cfg(test)]
mod tests;
