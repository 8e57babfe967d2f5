//! Ethernet, ARP, IPv4, IPv6, ICMP, NDP, TCP and UDP on the wire: parse, emit, checksum.
#![no_std]
#![forbid(unsafe_code)]

mod malformed;
pub mod tcp;

pub use malformed::Malformed;
