//! ARP for IPv4 over Ethernet (RFC 826): who has an address, and where.
//!
//! ```text
//! ├ htype 1 ┼ ptype 0x0800 ┼ 6 ┼ 4 ┼ operation ┼ sender MAC ┼ sender IP ┼ target MAC ┼ target IP ┤
//! 0         2              4   5   6           8           14          18          24         28
//! ```

use crate::{MacAddr, Malformed};
use core::net::Ipv4Addr;

#[cfg(test)]
mod tests;

/// A packet, in bytes.
pub const PACKET_BYTES: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Who has the target's address?
    Request,
    /// The sender has.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Question or answer.
    pub operation: Operation,
    /// The sender's MAC address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; unspecified in a probe (RFC 5227 §2.1.1).
    pub sender_ip: Ipv4Addr,
    /// The target's MAC address; means nothing in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Reads a packet; what follows it is padding.
    ///
    /// # Errors
    /// [`Malformed::Truncated`]; [`Malformed::Version`] for other hardware, another protocol or another operation;
    /// [`Malformed::Address`] when the sender claims a group's address.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(bytes) = bytes.first_chunk::<PACKET_BYTES>() else {
            return Err(Malformed::Truncated);
        };
        if bytes[..6] != ETHERNET_IPV4 {
            return Err(Malformed::Version);
        }
        let operation = match [bytes[6], bytes[7]] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Err(Malformed::Version),
        };
        let mac = |at: usize| MacAddr(core::array::from_fn(|index| bytes[at + index]));
        let ip = |at: usize| Ipv4Addr::from_octets(core::array::from_fn(|index| bytes[at + index]));
        let packet =
            Self { operation, sender_mac: mac(8), sender_ip: ip(14), target_mac: mac(18), target_ip: ip(24) };
        let Self { sender_mac, sender_ip, .. } = packet;
        if !sender_mac.is_unicast() || sender_ip.is_multicast() || sender_ip.is_broadcast() {
            return Err(Malformed::Address);
        }
        Ok(packet)
    }

    /// Writes the packet to the start of `buffer`; returns its length.
    ///
    /// # Panics
    /// When `buffer` is shorter than [`PACKET_BYTES`].
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let Self { operation, sender_mac, sender_ip, target_mac, target_ip } = self;
        buffer[0..6].copy_from_slice(&ETHERNET_IPV4);
        buffer[6..8].copy_from_slice(match operation {
            Operation::Request => &[0, 1],
            Operation::Reply => &[0, 2],
        });
        buffer[8..14].copy_from_slice(&sender_mac.0);
        buffer[14..18].copy_from_slice(&sender_ip.octets());
        buffer[18..24].copy_from_slice(&target_mac.0);
        buffer[24..28].copy_from_slice(&target_ip.octets());
        PACKET_BYTES
    }
}
