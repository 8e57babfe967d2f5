//! A packet socket as a link: any interface, beside the kernel's own stack.
//!
//! ```text
//!   NIC or veth ──▶ kernel ──▶ AF_PACKET, virtio-net headers ──▶ us        (sockets of a fanout group: one per worker)
//!               ◀─────────────── past the queueing discipline ◀──
//! ```
//!
//! We have a hardware address of our own beside the interface's, and ask for what is sent to it. The kernel
//! sees that such packets are not for it, so its stack does not answer them.
//!
//! This is the copying form; a ring that the NIC reads payload from belongs beside it.

#![deny(unsafe_code)]

mod error;
mod socket;
mod sys;

pub use error::PacketError;
pub use socket::{PacketLink, PacketQueue, open};
