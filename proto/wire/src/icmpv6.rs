//! ICMPv6 (RFC 4443): echo, the errors that concern a host's own packets, and the envelope of NDP.
//!
//! ```text
//! ├ type ┼ code ┼ checksum over the pseudo header too ┼ rest of header (4) ┼ data …
//! 0      1      2                                     4                    8
//! ```

use crate::checksum::Sum;
use crate::{Malformed, Protocol, ndp};
use core::net::Ipv6Addr;

#[cfg(test)]
mod tests;

/// The header, in bytes.
pub const HEADER_BYTES: usize = 8;

mod kind {
    pub(super) const DESTINATION_UNREACHABLE: u8 = 1;
    pub(super) const PACKET_TOO_BIG: u8 = 2;
    pub(super) const TIME_EXCEEDED: u8 = 3;
    pub(super) const ECHO_REQUEST: u8 = 128;
    pub(super) const ECHO_REPLY: u8 = 129;
}

/// Codes of [`Message::DestinationUnreachable`] (RFC 4443 §3.1).
pub mod unreachable {
    /// No route to the destination.
    pub const NO_ROUTE: u8 = 0;
    /// Forbidden by policy.
    pub const PROHIBITED: u8 = 1;
    /// Beyond the scope of the source address.
    pub const BEYOND_SCOPE: u8 = 2;
    /// The address cannot be reached.
    pub const ADDRESS: u8 = 3;
    /// Nobody listens on the port.
    pub const PORT: u8 = 4;
}

/// An ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Are you there?
    EchoRequest {
        /// Who asks.
        identifier: u16,
        /// Which question.
        sequence: u16,
        /// To be sent back.
        data: &'a [u8],
    },
    /// Yes.
    EchoReply {
        /// Who asked.
        identifier: u16,
        /// Which question.
        sequence: u16,
        /// As it was asked.
        data: &'a [u8],
    },
    /// A packet of ours did not arrive.
    DestinationUnreachable {
        /// Why: [`mod@unreachable`].
        code: u8,
        /// The packet: [`crate::icmp::Quote::parse_v6`].
        quote: &'a [u8],
    },
    /// A packet of ours was too large for a link on its way.
    PacketTooBig {
        /// That link's MTU, in bytes.
        mtu: u32,
        /// The packet.
        quote: &'a [u8],
    },
    /// A packet of ours lived too long.
    TimeExceeded {
        /// In transit (0) or in reassembly (1).
        code: u8,
        /// The packet.
        quote: &'a [u8],
    },
    /// Neighbour discovery.
    Ndp(ndp::Message<'a>),
    /// Anything else.
    Other {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

impl<'a> Message<'a> {
    /// Reads a message. The checksum is not looked at: [`crate::checksum::verify_v6`] does that. Nor is the hop limit,
    /// which NDP wants to be 255: [`crate::parse_frame`] does that.
    ///
    /// # Errors
    /// [`Malformed::Truncated`]; those of [`ndp::Message::parse`].
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&[kind, code, _, _, r0, r1, r2, r3], data)) = message.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(Malformed::Truncated);
        };
        let (first, second) = (u16::from_be_bytes([r0, r1]), u16::from_be_bytes([r2, r3]));
        Ok(match (kind, code) {
            (kind::ECHO_REQUEST, 0) => Self::EchoRequest { identifier: first, sequence: second, data },
            (kind::ECHO_REPLY, 0) => Self::EchoReply { identifier: first, sequence: second, data },
            (kind::DESTINATION_UNREACHABLE, code) => Self::DestinationUnreachable { code, quote: data },
            // Originators send zero, receivers ignore it (RFC 4443 §3.2).
            (kind::PACKET_TOO_BIG, _) => {
                Self::PacketTooBig { mtu: u32::from_be_bytes([r0, r1, r2, r3]), quote: data }
            }
            (kind::TIME_EXCEEDED, code) => Self::TimeExceeded { code, quote: data },
            (kind, 0) if ndp::is_ndp(kind) => Self::Ndp(ndp::Message::parse(message)?),
            (kind, code) => Self::Other { kind, code },
        })
    }

    /// Writes the message, checksum included, to the start of `buffer`; returns [`Message::len`].
    ///
    /// # Panics
    /// When `buffer` is shorter than [`Message::len`].
    pub fn emit(&self, source: Ipv6Addr, destination: Ipv6Addr, buffer: &mut [u8]) -> usize {
        let (kind, code, rest, data) = match *self {
            Self::EchoRequest { identifier, sequence, data } => {
                (kind::ECHO_REQUEST, 0, (u32::from(identifier) << 16) | u32::from(sequence), data)
            }
            Self::EchoReply { identifier, sequence, data } => {
                (kind::ECHO_REPLY, 0, (u32::from(identifier) << 16) | u32::from(sequence), data)
            }
            Self::DestinationUnreachable { code, quote } => (kind::DESTINATION_UNREACHABLE, code, 0, quote),
            Self::PacketTooBig { mtu, quote } => (kind::PACKET_TOO_BIG, 0, mtu, quote),
            Self::TimeExceeded { code, quote } => (kind::TIME_EXCEEDED, code, 0, quote),
            Self::Ndp(ref message) => {
                let len = message.emit(buffer);
                return seal(source, destination, &mut buffer[..len]);
            }
            Self::Other { kind, code } => (kind, code, 0, [].as_slice()),
        };
        let buffer = &mut buffer[..HEADER_BYTES + data.len()];
        buffer[0..4].copy_from_slice(&[kind, code, 0, 0]);
        buffer[4..8].copy_from_slice(&rest.to_be_bytes());
        buffer[HEADER_BYTES..].copy_from_slice(data);
        seal(source, destination, buffer)
    }

    /// The message's length, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::EchoRequest { data, .. } | Self::EchoReply { data, .. } => HEADER_BYTES + data.len(),
            Self::DestinationUnreachable { quote, .. }
            | Self::PacketTooBig { quote, .. }
            | Self::TimeExceeded { quote, .. } => HEADER_BYTES + quote.len(),
            Self::Ndp(message) => message.len(),
            Self::Other { .. } => HEADER_BYTES,
        }
    }
}

/// Writes the checksum of a message whose checksum field is zero; returns the message's length.
fn seal(source: Ipv6Addr, destination: Ipv6Addr, message: &mut [u8]) -> usize {
    let bytes = u32::try_from(message.len()).expect("an ICMPv6 message fits a packet");
    let checksum = Sum::pseudo_v6(source, destination, Protocol::ICMPV6, bytes).then(message).finish();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message.len()
}
