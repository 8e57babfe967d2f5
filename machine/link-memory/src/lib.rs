//! Two rings in one process as a link.
//!
//! ```text
//!   MemoryLink ── stage ─▶ [ring] ─ receive / receive_packet ─▶ MemoryLink
//!   (the engine) ◀─ receive ─ [ring] ◀─ stage, inject ────────── (a peer: simulator, bench, test)
//! ```
//!
//! A staged packet is moved, not copied: its frames stay held until the other end takes the packet, and the
//! link itself touches no payload. The other end chooses what it pays for: [`MemoryLink::receive_packet`]
//! hands over the packet in its parts, [`Link::receive`](platform::Link::receive) lends it as contiguous
//! bytes.
//!
//! With [`MemoryLinkConfig::slots`] the link is like a packet socket's TX ring: payload has to lie in one of a few slots
//! of its own, into which parts are copied. That is how an engine that seals into slots is proved without a device.
//!
//! [`segment`] does in software what a device does with a superframe: it is how the simulator turns one into
//! the packets that a client sees.

#![forbid(unsafe_code)]

mod link;
mod segment;

pub use link::{Delivery, Gather, MemoryLink, MemoryLinkConfig, SlotBytes, pair};
pub use segment::{SegmentError, Segments, segment, segment_datagrams, split};
