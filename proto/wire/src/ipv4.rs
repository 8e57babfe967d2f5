//! IPv4 (RFC 791): the header without its options, fragments recognised but never put together.
//!
//! ```text
//! ├ 4 │ ihl ┼ DSCP, ECN ┼ total length ┼ identification ┼ 0 DF MF │ offset ┤   0
//! ├ TTL ┼ protocol ┼ header checksum ┼ source ┼ destination ┤ [options …]       8
//! ```

use crate::checksum::{Sum, verify};
use crate::{Fragment, Malformed, Protocol};
use core::net::Ipv4Addr;

#[cfg(test)]
mod tests;

/// A header without options, in bytes.
pub const HEADER_BYTES_MIN: usize = 20;

/// The longest packet that the total length can tell, header included, in bytes.
pub const PACKET_BYTES_MAX: usize = 65_535;

/// The don't-fragment bit, beside the fragment offset.
pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
/// The more-fragments bit.
const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset, in units of eight bytes.
const OFFSET_MASK: u16 = 0x1fff;
/// What is set of these in a piece of a datagram, and only there.
pub(crate) const FRAGMENT: u16 = MORE_FRAGMENTS | OFFSET_MASK;

/// An IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// From whom.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// What the payload is.
    pub protocol: Protocol,
    /// Time to live, in hops.
    pub ttl: u8,
    /// DSCP and, in the lowest two bits, ECN.
    pub traffic_class: u8,
    /// Which datagram the fragments belong to; any number when [`Header::dont_fragment`] (RFC 6864 §4.1).
    pub identification: u16,
    /// Routers must not fragment.
    pub dont_fragment: bool,
}

/// A packet as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    /// Which piece of a datagram it is, when it is not a whole one.
    pub fragment: Option<Fragment>,
    /// Its payload: exactly as long as the total length says.
    pub payload: &'a [u8],
}

impl Header {
    /// Reads a packet; what stands behind its total length (Ethernet's padding) is ignored. Options are skipped.
    ///
    /// The header's checksum is always verified: it is short, and no link vouches for it.
    ///
    /// # Errors
    /// [`Malformed::Version`], [`Malformed::Length`] when a length has no room for the header,
    /// [`Malformed::Truncated`], [`Malformed::Checksum`].
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
        Self::parse_with(packet, false)
    }

    /// As [`Header::parse`], but a total length of zero stands for all of `packet`: what a link leaves that merges
    /// segments to more than IPv4 can tell (Linux's BIG TCP).
    ///
    /// # Errors
    /// As [`Header::parse`].
    #[inline]
    pub fn parse_merged(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
        Self::parse_with(packet, true)
    }

    #[inline]
    fn parse_with(packet: &[u8], merged: bool) -> Result<Packet<'_>, Malformed> {
        let Some(fixed) = packet.first_chunk::<HEADER_BYTES_MIN>() else {
            return Err(Malformed::Truncated);
        };
        if fixed[0] >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header_bytes = usize::from(fixed[0] & 0x0f) * 4;
        let total = match u16::from_be_bytes([fixed[2], fixed[3]]) {
            0 if merged => packet.len(),
            total => usize::from(total),
        };
        if header_bytes < HEADER_BYTES_MIN || total < header_bytes {
            return Err(Malformed::Length);
        }
        let packet = packet.get(..total).ok_or(Malformed::Truncated)?;
        let (head, payload) = packet.split_at(header_bytes);
        // Nearly every header has no options, and then its length is known when this is compiled.
        let intact = if header_bytes == HEADER_BYTES_MIN { verify(fixed) } else { verify(head) };
        if !intact {
            return Err(Malformed::Checksum);
        }
        let (header, fragment) = Self::read(fixed);
        Ok(Packet { header, fragment, payload })
    }

    /// Reads a header that an ICMP message quotes: without its checksum, and with as much payload as there is.
    pub(crate) fn parse_quoted(quote: &[u8]) -> Option<Packet<'_>> {
        let fixed = quote.first_chunk::<HEADER_BYTES_MIN>()?;
        let header_bytes = usize::from(fixed[0] & 0x0f) * 4;
        if fixed[0] >> 4 != 4 || header_bytes < HEADER_BYTES_MIN {
            return None;
        }
        let (header, fragment) = Self::read(fixed);
        Some(Packet { header, fragment, payload: quote.get(header_bytes..)? })
    }

    fn read(fixed: &[u8; HEADER_BYTES_MIN]) -> (Self, Option<Fragment>) {
        let flags = u16::from_be_bytes([fixed[6], fixed[7]]);
        let offset = (flags & OFFSET_MASK) << 3;
        let more = flags & MORE_FRAGMENTS != 0;
        let header = Self {
            source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]),
            protocol: Protocol(fixed[9]),
            ttl: fixed[8],
            traffic_class: fixed[1],
            identification: u16::from_be_bytes([fixed[4], fixed[5]]),
            dont_fragment: flags & DONT_FRAGMENT != 0,
        };
        (header, (more || offset != 0).then_some(Fragment { offset, more }))
    }

    /// Writes the header, checksum included, to the start of `buffer`; returns [`HEADER_BYTES_MIN`].
    ///
    /// A packet above [`PACKET_BYTES_MAX`] gets a total length of zero, which only a link that cuts superframes understands.
    ///
    /// # Panics
    /// When `buffer` is shorter than the header.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8], payload_bytes: usize) -> usize {
        let Self { source, destination, protocol, ttl, traffic_class, identification, dont_fragment } = self;
        let total = u16::try_from(payload_bytes.saturating_add(HEADER_BYTES_MIN)).unwrap_or(0);
        let flags = if *dont_fragment { DONT_FRAGMENT } else { 0 };
        let buffer = buffer.first_chunk_mut::<HEADER_BYTES_MIN>().expect("room for an IPv4 header");
        buffer[0] = 0x45;
        buffer[1] = *traffic_class;
        buffer[2..4].copy_from_slice(&total.to_be_bytes());
        buffer[4..6].copy_from_slice(&identification.to_be_bytes());
        buffer[6..8].copy_from_slice(&flags.to_be_bytes());
        buffer[8] = *ttl;
        buffer[9] = protocol.0;
        buffer[10..12].copy_from_slice(&[0, 0]);
        buffer[12..16].copy_from_slice(&source.octets());
        buffer[16..20].copy_from_slice(&destination.octets());
        let checksum = Sum::of(buffer).finish();
        buffer[10..12].copy_from_slice(&checksum.to_be_bytes());
        HEADER_BYTES_MIN
    }
}
