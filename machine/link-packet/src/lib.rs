//! A packet socket as a link: any interface, beside the kernel's own stack.
//!
//! ```text
//!              ┌───────────────── TX ring: slots of 64 KiB ──────────────────┐
//!   engine ──▶ │ headers, records │ headers, records │ headers, records │ …  │ ──▶ kernel ──▶ NIC
//!    seals     └──────────────────┴──────────────────┴──────────────────┴────┘  copies headers, reads payload where
//!                                                                               it lies; the NIC cuts and sums
//!   engine ◀── RX ring (the kernel copies) ◀── sockets of a fanout group, one per worker ◀── kernel ◀── NIC
//! ```
//!
//! We have a hardware address of our own beside the interface's, and take what is sent to it. The kernel sees that such
//! packets are not for it, so its stack does not answer them. Packets leave past the queueing discipline.
//!
//! The TX ring is emptied strictly in order, so a slot is for one packet and the next slot for the next one: that is why the
//! payload of a packet is written, or sealed, into the slot ([`platform::Link::slot`]) and does not lie in a frame. Few slots
//! stay in the cache. A device whose kernel driver cannot read out of the ring has it copied by the kernel (veth does).
//!
//! [`sockets`] opens the same without rings, which copies both ways.

#![deny(unsafe_code)]

mod error;
mod link;
mod rx;
mod socket;
mod sys;
mod tx;

pub use error::PacketError;
pub use link::{PacketConfig, PacketLink, PacketQueue, Rings, open, open_as, open_with};
pub use socket::{PacketSocket, sockets};
pub use tx::RingCounters;
