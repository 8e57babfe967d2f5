//! A packet socket as a link: any interface, beside the kernel's own stack.
//!
//! ```text
//!              ┌───────────────── TX ring: slots of 64 KiB ──────────────────┐
//!   engine ──▶ │ headers, records │ headers, records │ headers, records │ …  │ ──▶ kernel ──▶ NIC
//!    seals     └──────────────────┴──────────────────┴──────────────────┴────┘  copies headers, reads payload where
//!                                                                               it lies; the NIC cuts and sums
//!   engine ◀── AF_XDP socket, one per queue ◀── steering program ◀── NIC
//!          ◀── RX ring (the kernel copies) ◀── sockets of a fanout group, one per worker ◀── kernel ◀── NIC
//! ```
//!
//! Received is through AF_XDP ([`open_through_xdp`]), where a steering program takes what is ours before the kernel sees
//! it, be the address ours alone or shared. Where that is missing, an RX ring ([`open`]) serves for an address of our own:
//! we have a hardware address beside the interface's, and take what is sent to it; the kernel sees that such packets are
//! not for it, so its stack does not answer them. Packets leave past the queueing discipline if the device cuts and sums.
//!
//! On a veth pair a native XDP program at our end has the peer's superframes cut before they come to us, which costs a
//! peer that sends much; our own superframes leave whole. One at the peer's end has ours refused past the queueing discipline: they
//! then leave through it, cut in software.
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
mod rx_xdp;
mod socket;
mod sys;
mod tx;

pub use error::PacketError;
pub use link::{
    PacketConfig, PacketFacts, PacketLink, PacketQueue, Rings, open, open_as, open_through_xdp, open_with,
};
pub use socket::{PacketSocket, sockets};
pub use tx::RingCounters;
