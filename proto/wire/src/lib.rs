//! Ethernet, ARP, IPv4, IPv6, ICMP, NDP, TCP and UDP on the wire: parse, emit, checksum.
//!
//! ```text
//! in    &[u8] ── parse_frame ──▶ Parsed { ethernet, packet: Tcp { header, payload: &[u8] }, … }
//! out   Path + tcp::Header ── emit_tcp ──▶ headers in a buffer + HeaderLayout; the payload stays where it is
//! ```
//!
//! A header is a small value: parsing copies it out of the packet, emitting writes it back. Payloads are slices and are
//! never copied. No input makes a parser panic; what is wrong with it is a [`Malformed`], which is made for counting.
//! Emitting panics when the buffer is too short, and each emitter says how much always suffices.
//!
//! Deliberately absent: putting IP fragments together, IP options and routing, stacked VLAN tags, anything that
//! remembers. Whether a packet is for us, and what to answer, is `stack`'s business.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod icmpv4;
pub mod icmpv6;
mod ip;
pub mod ipv4;
pub mod ipv6;
mod malformed;
pub mod ndp;
mod outgoing;
mod packet;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod udp;

pub use ethernet::{EtherType, MacAddr, NotAMacAddr};
pub use ip::{Fragment, Protocol};
pub use malformed::Malformed;
pub use outgoing::{Checksum, HEADERS_BYTES_MAX, HeaderLayout, Path, emit_tcp};
pub use packet::{Packet, Parsed, Tcp, Udp, UsualTcp, parse_frame, parse_tcp_frame, parse_udp_frame};
