//! Ethernet II frames, with at most one VLAN tag (IEEE 802.3, 802.1Q).
//!
//! ```text
//! ├ destination ┼ source ┼ [0x8100 ┼ tag] ┼ type ┼ payload …
//! 0             6       12                12 or 16
//! ```

use crate::Malformed;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

#[cfg(test)]
mod tests;

/// A header without a tag, in bytes.
pub const HEADER_BYTES: usize = 14;

/// A VLAN tag, in bytes.
pub const VLAN_TAG_BYTES: usize = 4;

/// The highest VLAN identifier that 802.1Q lets a frame carry; 0xfff is reserved.
pub const VLAN_ID_MAX: u16 = 0xffe;

/// The bits of a VLAN tag that are the identifier; the others are priority and drop eligibility.
const VLAN_ID_MASK: u16 = 0x0fff;

/// A MAC address (EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// Nobody; ARP's unknown target.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it names a group, the broadcast address included: the lowest bit of the first byte.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it may name one station: not a group, not zero.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && self != Self::ZERO
    }

    /// Where an IPv6 multicast packet goes: 33:33 and the last four bytes of the group (RFC 2464 §7).
    #[must_use]
    pub const fn of_ipv6_multicast(group: Ipv6Addr) -> Self {
        let octets = group.octets();
        Self([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
    }

    /// Where an IPv4 multicast packet goes: 01:00:5e and the last 23 bits of the group (RFC 1112 §6.4).
    #[must_use]
    pub const fn of_ipv4_multicast(group: Ipv4Addr) -> Self {
        let octets = group.octets();
        Self([0x01, 0x00, 0x5e, octets[1] & 0x7f, octets[2], octets[3]])
    }

    /// The link-local IPv6 address of the interface with this address: fe80::/64 and the modified EUI-64 (RFC 4291 appendix A).
    #[must_use]
    pub const fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The operator wrote something that is not a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMacAddr;

impl fmt::Display for NotAMacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MAC address has six bytes in hexadecimal, with colons between: 02:00:5e:10:00:01")
    }
}

impl core::error::Error for NotAMacAddr {}

impl FromStr for MacAddr {
    type Err = NotAMacAddr;

    fn from_str(text: &str) -> Result<Self, NotAMacAddr> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(NotAMacAddr)?;
            // `from_str_radix` would also take a sign.
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAMacAddr);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotAMacAddr)?;
        }
        if parts.next().is_some() { Err(NotAMacAddr) } else { Ok(Self(bytes)) }
    }
}

/// What an Ethernet frame carries, as IANA and IEEE number it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// An Ethernet header, tag included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// To whom.
    pub destination: MacAddr,
    /// From whom.
    pub source: MacAddr,
    /// The VLAN identifier, 0 to 0xfff, when the frame has a tag. Its priority bits are not kept, and sent as zero.
    pub vlan: Option<u16>,
    /// What the payload is; behind the tag.
    pub ether_type: EtherType,
}

impl Header {
    /// Reads a header; returns it with the payload, which may end with padding.
    ///
    /// Of several tags the first is read, and the next is the payload's type.
    ///
    /// # Errors
    /// [`Malformed::Truncated`].
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let Some((fixed, rest)) = frame.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed::Truncated);
        };
        let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = fixed;
        let untagged = Self {
            destination: MacAddr([d0, d1, d2, d3, d4, d5]),
            source: MacAddr([s0, s1, s2, s3, s4, s5]),
            vlan: None,
            ether_type: EtherType(u16::from_be_bytes([t0, t1])),
        };
        if untagged.ether_type != EtherType::VLAN {
            return Ok((untagged, rest));
        }
        let Some((&[v0, v1, t0, t1], rest)) = rest.split_first_chunk::<VLAN_TAG_BYTES>() else {
            return Err(Malformed::Truncated);
        };
        let tagged = Self {
            vlan: Some(u16::from_be_bytes([v0, v1]) & VLAN_ID_MASK),
            ether_type: EtherType(u16::from_be_bytes([t0, t1])),
            ..untagged
        };
        Ok((tagged, rest))
    }

    /// Writes the header to the start of `buffer`; returns [`Header::len`].
    ///
    /// # Panics
    /// When `buffer` is shorter than [`Header::len`].
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let Self { destination, source, vlan, ether_type } = self;
        let (fixed, rest) =
            buffer.split_first_chunk_mut::<HEADER_BYTES>().expect("room for an Ethernet header");
        fixed[0..6].copy_from_slice(&destination.0);
        fixed[6..12].copy_from_slice(&source.0);
        let Some(vlan) = vlan else {
            fixed[12..14].copy_from_slice(&ether_type.0.to_be_bytes());
            return HEADER_BYTES;
        };
        fixed[12..14].copy_from_slice(&EtherType::VLAN.0.to_be_bytes());
        let tag = rest.first_chunk_mut::<VLAN_TAG_BYTES>().expect("room for a VLAN tag");
        tag[0..2].copy_from_slice(&(vlan & VLAN_ID_MASK).to_be_bytes());
        tag[2..4].copy_from_slice(&ether_type.0.to_be_bytes());
        HEADER_BYTES + VLAN_TAG_BYTES
    }

    /// The header's length, in bytes: 14, or 18 with a tag.
    #[must_use]
    pub const fn len(&self) -> usize {
        if self.vlan.is_some() { HEADER_BYTES + VLAN_TAG_BYTES } else { HEADER_BYTES }
    }
}
