//! Memory that devices read and write: an arena of huge pages, cut into frames, handed out last-in first-out.
//!
//! ```text
//! arena   | large | large | … | small | small | … | chunk | …     one mapping, registered once with link and disk
//!
//! large   | headroom 512 | payload 16,384, page-aligned | tail 512 |      one TLS record and its packet headers
//! small   | payload 2,048 |                                              bytes kept until acknowledged
//! chunk   | 4,096, page-aligned |                                        packets received, headers to be sent (AF_XDP)
//! ```
//!
//! A [`Frame`] is the only name of its bytes, so it may be written, or lent to a disk by moving it. Sharing one
//! ([`Frame::share`]) freezes it: a [`SharedFrame`] may be read and cloned, once per packet that carries a part of
//! it, and the last one dropped puts the frame back on top of the pool. No frame is lost or held twice, by
//! construction. An arena belongs to one worker: nothing here is `Send`.
//!
//! The free list is a stack because the frame that was sent last is the one still in the last-level cache
//! (dissertation §4.3: the working set must not exceed what DDIO may occupy).

#![expect(unsafe_code, reason = "owns DMA memory")]

mod frame;
mod pool;
mod region;

pub use frame::{Frame, SharedFrame};
pub use pool::{FramesInUse, Pool, PoolLayout};
pub use region::{Pages, Region, RegionError};

/// Bytes before a large frame's payload: packet headers and the record head.
pub const HEADROOM_BYTES: usize = 512;
/// One TLS record's plaintext, the sweet spot of dissertation §4.3.1.3.
pub const PAYLOAD_BYTES: usize = 16_384;
/// Bytes after a large frame's payload: the inner content type and the tag.
pub const TAIL_BYTES: usize = 512;
/// The whole of a large frame.
pub const LARGE_BYTES: usize = HEADROOM_BYTES + PAYLOAD_BYTES + TAIL_BYTES;
/// The whole of a small frame.
pub const SMALL_BYTES: usize = 2_048;
/// The whole of a chunk: the largest that AF_XDP knows, and the most that one of its descriptors names.
pub const CHUNK_BYTES: usize = 4_096;
/// Payloads begin on this boundary, the strictest that O_DIRECT asks of memory.
pub const PAYLOAD_ALIGN: usize = 4_096;

#[cfg(test)]
mod tests;
