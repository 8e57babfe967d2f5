//! IPv6 (RFC 8200): the header, and the walk past the extension headers to what the packet carries.
//!
//! ```text
//! ├ 6 │ traffic class │ flow label ┼ payload length ┼ next header ┼ hop limit ┤   0
//! ├ source (16) ┼ destination (16) ┤                                             8
//! [hop-by-hop] [destination options] [routing] [fragment] [destination options] upper layer
//! ```
//!
//! The walk is bounded: at most [`EXTENSION_HEADERS_MAX`] headers. Fragments are recognised but never put together; an
//! atomic fragment is a whole datagram (RFC 6946).

use crate::{Fragment, Malformed, Protocol};
use core::net::Ipv6Addr;

#[cfg(test)]
mod tests;

/// The header without extension headers, in bytes.
pub const HEADER_BYTES: usize = 40;

/// The hop-by-hop header with nothing but the jumbo payload option (RFC 2675 §2), in bytes.
pub const JUMBO_BYTES: usize = 8;

/// The longest payload that the payload length can tell, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 65_535;

/// The most extension headers that are walked; honest packets have one or two.
pub const EXTENSION_HEADERS_MAX: usize = 6;

/// Options of the hop-by-hop and destination options headers.
mod option {
    pub(super) const PAD1: u8 = 0x00;
    pub(super) const PAD_N: u8 = 0x01;
    pub(super) const JUMBO: u8 = 0xc2;
    /// These bits say what to do with an option that one does not know; zero is: skip it (RFC 8200 §4.2).
    pub(super) const ACTION_MASK: u8 = 0xc0;
}

/// An IPv6 header, extension headers walked past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// From whom.
    pub source: Ipv6Addr,
    /// To whom.
    pub destination: Ipv6Addr,
    /// What the payload is, behind all extension headers that are known.
    pub protocol: Protocol,
    /// Hop limit.
    pub hop_limit: u8,
    /// DSCP and, in the lowest two bits, ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits (RFC 6437).
    pub flow_label: u32,
}

/// A packet as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    /// Which piece of a datagram it is, when it is not a whole one.
    pub fragment: Option<Fragment>,
    /// What follows the extension headers.
    pub payload: &'a [u8],
}

impl Header {
    /// Reads a packet; what stands behind its payload length is ignored.
    ///
    /// # Errors
    /// [`Malformed::Version`], [`Malformed::Truncated`]; [`Malformed::HeaderChain`] for too many extension headers,
    /// hop-by-hop options that are not the first, a route that does not end here, or an option that may not be skipped.
    pub fn parse(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
        Self::parse_with(packet, false)
    }

    /// As [`Header::parse`], but a payload length of zero stands for all of `packet`, with a jumbo payload option or
    /// without: what a link leaves that merges segments to more than IPv6 can tell (Linux's BIG TCP).
    ///
    /// # Errors
    /// As [`Header::parse`].
    pub fn parse_merged(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
        Self::parse_with(packet, true)
    }

    fn parse_with(packet: &[u8], merged: bool) -> Result<Packet<'_>, Malformed> {
        let (header, payload_bytes, rest) = Self::read(packet)?;
        let jumbo = merged && payload_bytes == 0;
        let payload = if jumbo { rest } else { rest.get(..payload_bytes).ok_or(Malformed::Truncated)? };
        let Walked { protocol, fragment, payload } = walk(header.protocol, payload, jumbo)?;
        Ok(Packet { header: Self { protocol, ..header }, fragment, payload })
    }

    /// Reads a header that an ICMP message quotes, with as much payload as there is.
    pub(crate) fn parse_quoted(quote: &[u8]) -> Option<Packet<'_>> {
        let (header, _, rest) = Self::read(quote).ok()?;
        let Walked { protocol, fragment, payload } = walk(header.protocol, rest, true).ok()?;
        Some(Packet { header: Self { protocol, ..header }, fragment, payload })
    }

    /// The fixed header, its payload length, and everything behind it.
    fn read(packet: &[u8]) -> Result<(Self, usize, &[u8]), Malformed> {
        let Some((fixed, rest)) = packet.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed::Truncated);
        };
        let first = u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
        if first >> 28 != 6 {
            return Err(Malformed::Version);
        }
        let header = Self {
            source: Ipv6Addr::from_octets(core::array::from_fn(|index| fixed[8 + index])),
            destination: Ipv6Addr::from_octets(core::array::from_fn(|index| fixed[24 + index])),
            protocol: Protocol(fixed[6]),
            hop_limit: fixed[7],
            traffic_class: (fixed[0] << 4) | (fixed[1] >> 4),
            flow_label: first & 0x000f_ffff,
        };
        Ok((header, usize::from(u16::from_be_bytes([fixed[4], fixed[5]])), rest))
    }

    /// Writes the header to the start of `buffer`; returns its length: [`HEADER_BYTES`], and [`JUMBO_BYTES`] more for a
    /// payload above [`PAYLOAD_BYTES_MAX`], whose length then stands in a jumbo payload option.
    ///
    /// # Panics
    /// When `buffer` is shorter than that, or the payload exceeds 2³² − 9 bytes.
    pub fn emit(&self, buffer: &mut [u8], payload_bytes: usize) -> usize {
        let Self { source, destination, protocol, hop_limit, traffic_class, flow_label } = self;
        let first = 0x6000_0000 | (u32::from(*traffic_class) << 20) | (flow_label & 0x000f_ffff);
        let told = u16::try_from(payload_bytes);
        let next_header = if told.is_ok() { *protocol } else { Protocol::HOP_BY_HOP };
        let fixed = buffer.first_chunk_mut::<HEADER_BYTES>().expect("room for an IPv6 header");
        fixed[0..4].copy_from_slice(&first.to_be_bytes());
        fixed[4..6].copy_from_slice(&told.unwrap_or(0).to_be_bytes());
        fixed[6] = next_header.0;
        fixed[7] = *hop_limit;
        fixed[8..24].copy_from_slice(&source.octets());
        fixed[24..40].copy_from_slice(&destination.octets());
        if told.is_ok() {
            return HEADER_BYTES;
        }
        let jumbo = u32::try_from(payload_bytes + JUMBO_BYTES).expect("a jumbogram has less than 4 GiB");
        let [j0, j1, j2, j3] = jumbo.to_be_bytes();
        buffer[HEADER_BYTES..HEADER_BYTES + JUMBO_BYTES].copy_from_slice(&[
            protocol.0,
            0,
            option::JUMBO,
            4,
            j0,
            j1,
            j2,
            j3,
        ]);
        HEADER_BYTES + JUMBO_BYTES
    }
}

/// Where the walk ended.
struct Walked<'a> {
    protocol: Protocol,
    fragment: Option<Fragment>,
    payload: &'a [u8],
}

/// Walks from the first next-header number to the first that is not an extension header, or to a fragment.
fn walk(first: Protocol, payload: &[u8], jumbo: bool) -> Result<Walked<'_>, Malformed> {
    let mut protocol = first;
    let mut rest = payload;
    for position in 0..=EXTENSION_HEADERS_MAX {
        match protocol {
            Protocol::HOP_BY_HOP if position == 0 => {
                let (next, options, behind) = options_header(rest)?;
                skip_options(options, jumbo)?;
                (protocol, rest) = (next, behind);
            }
            Protocol::HOP_BY_HOP => return Err(Malformed::HeaderChain),
            Protocol::DESTINATION_OPTIONS => {
                let (next, options, behind) = options_header(rest)?;
                skip_options(options, false)?;
                (protocol, rest) = (next, behind);
            }
            Protocol::ROUTING => {
                let (next, route, behind) = options_header(rest)?;
                // We are nobody's router: a route must end here (RFC 8200 §4.4, RFC 5095 for type 0).
                if route.get(1) != Some(&0) {
                    return Err(Malformed::HeaderChain);
                }
                (protocol, rest) = (next, behind);
            }
            Protocol::FRAGMENT => {
                let Some((&[next, _, o0, o1, ..], behind)) = rest.split_first_chunk::<8>() else {
                    return Err(Malformed::Truncated);
                };
                let place = u16::from_be_bytes([o0, o1]);
                let fragment = Fragment { offset: place & 0xfff8, more: place & 1 == 1 };
                (protocol, rest) = (Protocol(next), behind);
                if fragment.more || fragment.offset != 0 {
                    return Ok(Walked { protocol, fragment: Some(fragment), payload: rest });
                }
            }
            _ => return Ok(Walked { protocol, fragment: None, payload: rest }),
        }
    }
    Err(Malformed::HeaderChain)
}

/// Splits a header of the common shape {next header, length in 8 bytes less one, value} from what follows.
fn options_header(bytes: &[u8]) -> Result<(Protocol, &[u8], &[u8]), Malformed> {
    let &[next, len, ..] = bytes else { return Err(Malformed::Truncated) };
    let (header, behind) = bytes.split_at_checked(8 + usize::from(len) * 8).ok_or(Malformed::Truncated)?;
    Ok((Protocol(next), &header[2..], behind))
}

/// Checks that every option may be skipped by one who does not know it.
fn skip_options(options: &[u8], jumbo: bool) -> Result<(), Malformed> {
    let mut rest = options;
    loop {
        rest = match rest {
            [] => return Ok(()),
            [option::PAD1, rest @ ..] => rest,
            [kind, len, rest @ ..] => {
                let is_known = matches!(*kind, option::PAD_N) || (jumbo && *kind == option::JUMBO);
                if !is_known && kind & option::ACTION_MASK != 0 {
                    return Err(Malformed::HeaderChain);
                }
                rest.get(usize::from(*len)..).ok_or(Malformed::Length)?
            }
            [_] => return Err(Malformed::Length),
        };
    }
}
