//! Segments on their way out, and the RST that answers a segment nobody owns.

use core::ops::Range;
use wire::tcp::{Flags, Header, Options, SeqNum};

/// A segment, or a superframe that the link will cut into segments, ready to emit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Complete: ports, numbers, flags, window, options.
    pub header: Header,
    /// The payload, as stream offsets; empty for a control segment.
    pub range: Range<u64>,
    /// Whether any of it was sent before.
    pub retransmission: bool,
    /// Payload per segment, in bytes, for segmentation offload.
    pub mss: u16,
}

impl Outgoing {
    /// Bytes of payload.
    #[must_use]
    pub fn payload_bytes(&self) -> u32 {
        crate::num::clamp_u32(self.range.end.saturating_sub(self.range.start))
    }
}

/// The RST that answers a segment which belongs to no connection (RFC 9293 §3.10.7.1); none answers an RST.
#[must_use]
pub fn reset_for(header: &Header, payload_bytes: u32) -> Option<Header> {
    if header.flags.contains(Flags::RST) {
        return None;
    }
    let (seq, ack, flags) = if header.flags.contains(Flags::ACK) {
        (header.ack, SeqNum(0), Flags::RST)
    } else {
        (SeqNum(0), header.seq + header.segment_len(payload_bytes), Flags::RST | Flags::ACK)
    };
    Some(Header {
        source_port: header.destination_port,
        destination_port: header.source_port,
        seq,
        ack,
        flags,
        window: 0,
        urgent: 0,
        options: Options::NONE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: Flags) -> Header {
        Header {
            source_port: 50_000,
            destination_port: 443,
            seq: SeqNum(u32::MAX),
            ack: SeqNum(77),
            flags,
            window: 1000,
            urgent: 0,
            options: Options::NONE,
        }
    }

    //= RFC 9293 §3.10.7.1: "An incoming segment containing a RST is discarded."
    #[test]
    fn a_reset_is_never_answered_with_a_reset() {
        assert_eq!(reset_for(&segment(Flags::RST), 0), None);
        assert_eq!(reset_for(&segment(Flags::RST | Flags::ACK), 10), None);
    }

    //= RFC 9293 §3.10.7.1: "If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>"
    #[test]
    fn an_ack_is_answered_at_the_number_it_acknowledged() {
        let reset = reset_for(&segment(Flags::ACK), 10).unwrap();
        assert_eq!((reset.seq, reset.flags), (SeqNum(77), Flags::RST));
        assert_eq!((reset.source_port, reset.destination_port), (443, 50_000));
    }

    //= RFC 9293 §3.10.7.1: "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>"
    #[test]
    fn a_syn_is_answered_with_an_acknowledgment_of_everything_in_it() {
        let reset = reset_for(&segment(Flags::SYN), 10).unwrap();
        assert_eq!((reset.seq, reset.ack, reset.flags), (SeqNum(0), SeqNum(10), Flags::RST | Flags::ACK));
    }
}
