//! NewReno's congestion avoidance (RFC 5681 §3.1): a segment more for each window acknowledged; half on loss.

use super::Ack;

#[derive(Clone, Copy, Debug)]
pub(super) struct NewReno {
    /// Bytes acknowledged since the window last grew.
    acked: u32,
}

impl NewReno {
    pub(super) fn new() -> Self {
        Self { acked: 0 }
    }

    pub(super) fn on_ack(&mut self, cwnd: u32, ack: &Ack) -> u32 {
        if !ack.limited {
            return cwnd;
        }
        //= RFC 5681 §3.1: "the number of bytes that have been acknowledged ... reaches cwnd, then cwnd can be
        //= incremented by up to SMSS bytes"
        self.acked = self.acked.saturating_add(ack.acked);
        if self.acked < cwnd {
            return cwnd;
        }
        // One step an ACK at most, so that a stretched ACK makes no burst.
        self.acked = (self.acked - cwnd).min(cwnd);
        cwnd.saturating_add(ack.mss)
    }

    pub(super) fn on_loss(&mut self, flight: u32) -> u32 {
        self.acked = 0;
        flight / 2
    }
}
