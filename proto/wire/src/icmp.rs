//! What ICMP errors of both families quote: the beginning of the packet of ours that brought them about.
//!
//! Anybody can forge an ICMP error, so the quote is the only credential it has: the TCB compares ports and sequence
//! number with what it has in flight (RFC 5927 §4).

use crate::tcp::SeqNum;
use crate::{Protocol, ipv4, ipv6};
use core::net::IpAddr;

#[cfg(test)]
mod tests;

/// A quoted packet, as far as it goes: often only eight bytes of the transport header (RFC 792).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Who sent the quoted packet: us, if the error is honest.
    pub source: IpAddr,
    /// To whom the quoted packet went.
    pub destination: IpAddr,
    /// What it carried.
    pub protocol: Protocol,
    /// The beginning of what it carried; empty for a fragment that is not the first.
    pub transport: &'a [u8],
}

impl<'a> Quote<'a> {
    /// Reads the quote of an ICMPv4 error; `None` when it is no IPv4 packet.
    #[must_use]
    pub fn parse_v4(quote: &'a [u8]) -> Option<Self> {
        let ipv4::Packet { header, fragment, payload } = ipv4::Header::parse_quoted(quote)?;
        let is_first = fragment.is_none_or(|fragment| fragment.offset == 0);
        Some(Self {
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: header.protocol,
            transport: if is_first { payload } else { &[] },
        })
    }

    /// Reads the quote of an ICMPv6 error; `None` when it is no IPv6 packet, or ends within its extension headers.
    #[must_use]
    pub fn parse_v6(quote: &'a [u8]) -> Option<Self> {
        let ipv6::Packet { header, fragment, payload } = ipv6::Header::parse_quoted(quote)?;
        let is_first = fragment.is_none_or(|fragment| fragment.offset == 0);
        Some(Self {
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: header.protocol,
            transport: if is_first { payload } else { &[] },
        })
    }

    /// Source and destination port of the quoted TCP segment and its sequence number; `None` when it is not TCP or too short.
    #[must_use]
    pub fn tcp(&self) -> Option<(u16, u16, SeqNum)> {
        if self.protocol != Protocol::TCP {
            return None;
        }
        let &[s0, s1, d0, d1, q0, q1, q2, q3] = self.transport.first_chunk::<8>()?;
        Some((
            u16::from_be_bytes([s0, s1]),
            u16::from_be_bytes([d0, d1]),
            SeqNum(u32::from_be_bytes([q0, q1, q2, q3])),
        ))
    }
}
