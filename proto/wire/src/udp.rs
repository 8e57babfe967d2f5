//! UDP (RFC 768).
//!
//! ```text
//! ├ source port ┼ destination port ┼ length ┼ checksum ┼ payload …
//! 0             2                  4        6          8
//! ```

use crate::Malformed;

#[cfg(test)]
mod tests;

/// A header, in bytes.
pub const HEADER_BYTES: usize = 8;

/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 6;

/// A UDP header. Length and checksum are the payload's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The sender's port; zero when no reply is expected.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
}

/// A datagram as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its ports.
    pub header: Header,
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether the sender computed a checksum: zero stands for none, which IPv4 allows and IPv6 forbids (RFC 8200 §8.1).
    pub has_checksum: bool,
    /// Header and payload, what the checksum covers.
    pub bytes: &'a [u8],
}

impl Header {
    /// Reads a datagram from an IP payload; what stands behind its length is ignored.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when the bytes end before the length says; [`Malformed::Length`] when the length has no
    /// room for the header.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
        let Some((&[s0, s1, d0, d1, l0, l1, c0, c1], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed::Truncated);
        };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if len < HEADER_BYTES {
            return Err(Malformed::Length);
        }
        let bytes = bytes.get(..len).ok_or(Malformed::Truncated)?;
        Ok(Datagram {
            header: Self {
                source_port: u16::from_be_bytes([s0, s1]),
                destination_port: u16::from_be_bytes([d0, d1]),
            },
            payload: &bytes[HEADER_BYTES..],
            has_checksum: [c0, c1] != [0, 0],
            bytes,
        })
    }

    /// Writes the header to the start of `buffer` with a zero checksum; returns [`HEADER_BYTES`].
    ///
    /// # Panics
    /// When `buffer` is shorter than that, or the payload longer than UDP can say (65,527 bytes).
    #[inline]
    pub fn emit(&self, buffer: &mut [u8], payload_bytes: usize) -> usize {
        let Self { source_port, destination_port } = self;
        let len = u16::try_from(HEADER_BYTES + payload_bytes).expect("a datagram has at most 65,535 bytes");
        buffer[0..2].copy_from_slice(&source_port.to_be_bytes());
        buffer[2..4].copy_from_slice(&destination_port.to_be_bytes());
        buffer[4..6].copy_from_slice(&len.to_be_bytes());
        buffer[CHECKSUM_OFFSET..8].copy_from_slice(&[0, 0]);
        HEADER_BYTES
    }
}

/// The checksum as UDP sends it: a sum that comes out as zero is sent as 0xffff, since zero means none (RFC 768).
#[must_use]
pub const fn checksum_on_the_wire(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}
