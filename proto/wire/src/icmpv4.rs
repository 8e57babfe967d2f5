//! ICMP for IPv4 (RFC 792), as much of it as a host needs: echo, and the errors that concern its own packets.
//!
//! ```text
//! ├ type ┼ code ┼ checksum ┼ rest of header (4) ┼ data …
//! 0      1      2          4                    8
//! ```

use crate::Malformed;
use crate::checksum::Sum;

#[cfg(test)]
mod tests;

/// The header, in bytes.
pub const HEADER_BYTES: usize = 8;

mod kind {
    pub(super) const ECHO_REPLY: u8 = 0;
    pub(super) const DESTINATION_UNREACHABLE: u8 = 3;
    pub(super) const ECHO_REQUEST: u8 = 8;
    pub(super) const TIME_EXCEEDED: u8 = 11;
}

/// Codes of [`Message::DestinationUnreachable`] (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
pub mod unreachable {
    /// No route to the network.
    pub const NET: u8 = 0;
    /// No route to the host.
    pub const HOST: u8 = 1;
    /// The host does not speak the protocol.
    pub const PROTOCOL: u8 = 2;
    /// Nobody listens on the port.
    pub const PORT: u8 = 3;
    /// The packet is too large and must not be fragmented; carries the next hop's MTU (RFC 1191 §4).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}

/// An ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        /// The MTU that was exceeded, in bytes; zero unless the code is [`unreachable::FRAGMENTATION_NEEDED`], and even
        /// then from routers older than RFC 1191.
        next_hop_mtu: u16,
        /// The packet: [`crate::icmp::Quote::parse_v4`].
        quote: &'a [u8],
    },
    /// A packet of ours lived too long.
    TimeExceeded {
        /// In transit (0) or in reassembly (1).
        code: u8,
        /// The packet.
        quote: &'a [u8],
    },
    /// Anything else.
    Other {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

impl<'a> Message<'a> {
    /// Reads a message. The checksum is not looked at: [`crate::checksum::verify`] does that.
    ///
    /// # Errors
    /// [`Malformed::Truncated`].
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&[kind, code, _, _, r0, r1, r2, r3], data)) = message.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(Malformed::Truncated);
        };
        let (first, second) = (u16::from_be_bytes([r0, r1]), u16::from_be_bytes([r2, r3]));
        Ok(match (kind, code) {
            (kind::ECHO_REQUEST, 0) => Self::EchoRequest { identifier: first, sequence: second, data },
            (kind::ECHO_REPLY, 0) => Self::EchoReply { identifier: first, sequence: second, data },
            (kind::DESTINATION_UNREACHABLE, code) => {
                let next_hop_mtu = if code == unreachable::FRAGMENTATION_NEEDED { second } else { 0 };
                Self::DestinationUnreachable { code, next_hop_mtu, quote: data }
            }
            (kind::TIME_EXCEEDED, code) => Self::TimeExceeded { code, quote: data },
            (kind, code) => Self::Other { kind, code },
        })
    }

    /// Writes the message, checksum included, to the start of `buffer`; returns [`Message::len`].
    ///
    /// # Panics
    /// When `buffer` is shorter than [`Message::len`].
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let (kind, code, first, second, data) = match *self {
            Self::EchoRequest { identifier, sequence, data } => {
                (kind::ECHO_REQUEST, 0, identifier, sequence, data)
            }
            Self::EchoReply { identifier, sequence, data } => {
                (kind::ECHO_REPLY, 0, identifier, sequence, data)
            }
            Self::DestinationUnreachable { code, next_hop_mtu, quote } => {
                (kind::DESTINATION_UNREACHABLE, code, 0, next_hop_mtu, quote)
            }
            Self::TimeExceeded { code, quote } => (kind::TIME_EXCEEDED, code, 0, 0, quote),
            Self::Other { kind, code } => (kind, code, 0, 0, [].as_slice()),
        };
        let buffer = &mut buffer[..HEADER_BYTES + data.len()];
        buffer[0..4].copy_from_slice(&[kind, code, 0, 0]);
        buffer[4..6].copy_from_slice(&first.to_be_bytes());
        buffer[6..8].copy_from_slice(&second.to_be_bytes());
        buffer[HEADER_BYTES..].copy_from_slice(data);
        let checksum = Sum::of(buffer).finish();
        buffer[2..4].copy_from_slice(&checksum.to_be_bytes());
        buffer.len()
    }

    /// The message's length, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        HEADER_BYTES
            + match self {
                Self::EchoRequest { data, .. } | Self::EchoReply { data, .. } => data.len(),
                Self::DestinationUnreachable { quote, .. } | Self::TimeExceeded { quote, .. } => quote.len(),
                Self::Other { .. } => 0,
            }
    }
}
