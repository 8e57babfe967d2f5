//! A connection seen from outside, for statistics and for people.

use crate::State;
use core::time::Duration;

/// A connection at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Where in RFC 9293's diagram it stands.
    pub state: State,
    /// The congestion window, in bytes.
    pub cwnd: u32,
    /// Above this cwnd grows slowly, in bytes; [`u32::MAX`] before the first loss.
    pub ssthresh: u32,
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// The smoothed round trip; none before it was measured.
    pub srtt: Option<Duration>,
    /// Its variation.
    pub rttvar: Duration,
    /// The least round trip of the last seconds.
    pub rtt_min: Option<Duration>,
    /// The retransmission timeout with its backoff.
    pub rto: Duration,
    /// Payload per segment, in bytes.
    pub mss: u16,
    /// Bytes sent and thought to be in the network (RFC 6675's pipe).
    pub in_flight: u32,
    /// Bytes thought lost and not yet sent again.
    pub lost: u32,
    /// Bytes the peer reported as received out of order.
    pub sacked: u32,
    /// Bytes reserved and never sent.
    pub unsent: u64,
    /// Pacing, in bytes a second; 0 when nothing is paced.
    pub pacing_rate: u64,
    /// Whether the path was seen to reorder.
    pub reordering: bool,
    /// Entries in the map of what was sent.
    pub sent_map_entries: usize,
    /// Out-of-order bytes held for the peer's stream.
    pub reassembly_bytes: u32,
    /// What was counted since the connection began.
    pub counters: Counters,
}

/// Counted since the connection began. Wraps around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent again.
    pub retransmitted_bytes: u64,
    /// Segments sent again.
    pub retransmitted_segments: u32,
    /// Times that loss was noticed by acknowledgments.
    pub recoveries: u16,
    /// Retransmission timeouts.
    pub timeouts: u16,
    /// Tail loss probes.
    pub probes: u16,
    /// Reductions of cwnd taken back because nothing had been lost.
    pub undone: u16,
}
