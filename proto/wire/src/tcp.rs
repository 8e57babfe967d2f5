//! The TCP header (RFC 9293 §3.1), its options, and the circle its sequence numbers live on.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! ├───────────────────────────────┼───────────────────────────────┤
//! │          source port          │       destination port        │  0
//! ├───────────────────────────────┴───────────────────────────────┤
//! │                        sequence number                        │  4
//! ├───────────────────────────────────────────────────────────────┤
//! │                     acknowledgment number                     │  8
//! ├───────┬───────┬───────────────┬───────────────────────────────┤
//! │ offset│ rsrvd │C E U A P R S F│            window             │ 12
//! ├───────┴───────┴───────────────┼───────────────────────────────┤
//! │           checksum            │        urgent pointer         │ 16
//! ├───────────────────────────────┴───────────────────────────────┤
//! │                     options, 0 to 40 bytes                    │ 20
//! └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! Parsing copies the header into a small value; the payload stays where it is. The checksum is not the header's
//! business: it covers addresses and payload too, so [`crate::checksum`] verifies it and [`crate::emit_tcp`] writes it.

use crate::Malformed;
use core::fmt;

mod options;
mod seq;

#[cfg(test)]
mod tests;

pub use options::{OPTIONS_BYTES_MAX, Options, SACK_BLOCKS_MAX, SackBlocks, Timestamps};
pub use seq::SeqNum;

/// A header without options, in bytes.
pub const HEADER_BYTES_MIN: usize = 20;

/// The longest header the four-bit data offset can tell, in bytes.
pub const HEADER_BYTES_MAX: usize = 60;

/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 16;

bitflags::bitflags! {
    /// The control bits of RFC 9293 §3.1.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronize sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Push function.
        const PSH = 0x08;
        /// The acknowledgment field is significant.
        const ACK = 0x10;
        /// The urgent pointer is significant.
        const URG = 0x20;
        /// ECN-echo (RFC 3168).
        const ECE = 0x40;
        /// Congestion window reduced (RFC 3168).
        const CWR = 0x80;
    }
}

/// A TCP header as a value. The reserved bits and the checksum are not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// SEG.SEQ: the first byte of the payload, or the SYN itself.
    pub seq: SeqNum,
    /// SEG.ACK: the next byte the sender of this segment expects; means something only with [`Flags::ACK`].
    pub ack: SeqNum,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as it stands on the wire: not scaled.
    pub window: u16,
    /// SEG.UP; means something only with [`Flags::URG`].
    pub urgent: u16,
    /// The options that we know.
    pub options: Options,
}

impl Header {
    /// Reads a header from the start of `segment`; returns it with the offset at which the payload begins.
    ///
    /// Options are read as the big stacks do: an unknown one is skipped, one with a wrong length for its kind is
    /// ignored, and one with an impossible length ends the list, the segment itself being kept (RFC 9293 MUST-6, MUST-7).
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when the header does not fit, [`Malformed::Length`] when the data offset is below five.
    #[inline]
    pub fn parse(segment: &[u8]) -> Result<(Self, usize), Malformed> {
        let Some((fixed, _)) = segment.split_first_chunk::<HEADER_BYTES_MIN>() else {
            return Err(Malformed::Truncated);
        };
        let offset = usize::from(fixed[12] >> 4) * 4;
        if offset < HEADER_BYTES_MIN {
            return Err(Malformed::Length);
        }
        let Some(options) = segment.get(HEADER_BYTES_MIN..offset) else {
            return Err(Malformed::Truncated);
        };
        let header = Self {
            source_port: u16::from_be_bytes([fixed[0], fixed[1]]),
            destination_port: u16::from_be_bytes([fixed[2], fixed[3]]),
            seq: SeqNum(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
            ack: SeqNum(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            flags: Flags::from_bits_retain(fixed[13]),
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
            urgent: u16::from_be_bytes([fixed[18], fixed[19]]),
            options: Options::parse(options),
        };
        Ok((header, offset))
    }

    /// Writes the header to the start of `buffer` with a zero checksum; returns [`Header::len`].
    ///
    /// # Panics
    /// When `buffer` is shorter than [`Header::len`]; [`HEADER_BYTES_MAX`] bytes always suffice.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let Self { source_port, destination_port, seq, ack, flags, window, urgent, options } = self;
        let len = self.len();
        let (fixed, rest) =
            buffer[..len].split_first_chunk_mut::<HEADER_BYTES_MIN>().expect("a header has 20 bytes");
        fixed[0..2].copy_from_slice(&source_port.to_be_bytes());
        fixed[2..4].copy_from_slice(&destination_port.to_be_bytes());
        fixed[4..8].copy_from_slice(&seq.0.to_be_bytes());
        fixed[8..12].copy_from_slice(&ack.0.to_be_bytes());
        // `len` is a multiple of four and at most 60, so the offset in words stands in the upper nibble as len / 4 × 16.
        fixed[12] = u8::try_from(len * 4).expect("a header has at most 60 bytes");
        fixed[13] = flags.bits();
        fixed[14..16].copy_from_slice(&window.to_be_bytes());
        fixed[CHECKSUM_OFFSET..18].copy_from_slice(&[0, 0]);
        fixed[18..20].copy_from_slice(&urgent.to_be_bytes());
        options.emit(rest);
        len
    }

    /// The header's length on the wire with its options and their padding, in bytes: a multiple of four, 20 to 60.
    #[must_use]
    pub fn len(&self) -> usize {
        HEADER_BYTES_MIN + self.options.len()
    }

    /// SEG.LEN of RFC 9293 §3.3.1: the payload, and one each for SYN and FIN.
    #[must_use]
    pub fn segment_len(&self, payload_bytes: u32) -> u32 {
        payload_bytes
            .wrapping_add(u32::from(self.flags.contains(Flags::SYN)))
            .wrapping_add(u32::from(self.flags.contains(Flags::FIN)))
    }
}

impl fmt::Debug for Header {
    /// One line, as a packet dump shows it: `443 → 50000 SYN|ACK seq 17 ack 4 win 65535 mss 1460`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source_port, destination_port, seq, ack, flags, window, urgent, options } = self;
        write!(f, "{source_port} → {destination_port} ")?;
        bitflags::parser::to_writer(flags, &mut *f)?;
        write!(f, " seq {seq} ack {ack} win {window}")?;
        if *urgent != 0 {
            write!(f, " urg {urgent}")?;
        }
        write!(f, "{options:?}")
    }
}
