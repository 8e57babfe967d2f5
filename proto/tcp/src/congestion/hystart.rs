//! HyStart++ (RFC 9406): leaves slow start when the round trip grows, before the queue overflows.

use super::Ack;
use core::time::Duration;

/// RFC 9406 §4.3.
const RTT_THRESH_MIN_US: u32 = 4_000;
const RTT_THRESH_MAX_US: u32 = 16_000;
const RTT_DIVISOR: u32 = 8;
const SAMPLES_MIN: u8 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;
/// L when nothing is paced.
const SEGMENTS_PER_ACK: u32 = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// The round ends when this offset is acknowledged; only its low half is kept.
    window_end: u32,
    /// Least round trips of the last and this round, in µs; [`u32::MAX`] for none.
    last_us: u32,
    current_us: u32,
    /// The baseline of conservative slow start; [`u32::MAX`] outside of it.
    baseline_us: u32,
    samples: u8,
    css_rounds: u8,
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self {
            window_end: 0,
            last_us: u32::MAX,
            current_us: u32::MAX,
            baseline_us: u32::MAX,
            samples: 0,
            css_rounds: 0,
        }
    }

    fn is_conservative(&self) -> bool {
        self.baseline_us != u32::MAX
    }

    /// Whether conservative slow start lasted as long as it may (§4.2: "ssthresh = cwnd").
    pub(super) fn is_over(&self) -> bool {
        self.css_rounds >= CSS_ROUNDS
    }

    /// How many bytes the window grows by, were it the limit.
    pub(super) fn on_ack(&mut self, ack: &Ack) -> u32 {
        if low(ack.una).wrapping_sub(self.window_end).cast_signed() > 0 {
            self.next_round(low(ack.nxt));
        }
        if let Some(rtt) = ack.rtt {
            self.observe(rtt);
        }
        //= RFC 9406 §4.2: "cwnd = cwnd + min(N, L * SMSS)"; "L=infinity if paced, L=8 if non-paced"
        let growth = if ack.paced { ack.acked } else { ack.acked.min(SEGMENTS_PER_ACK * ack.mss) };
        if self.is_conservative() { growth / CSS_GROWTH_DIVISOR } else { growth }
    }

    fn next_round(&mut self, nxt: u32) {
        self.window_end = nxt;
        self.last_us = self.current_us;
        self.current_us = u32::MAX;
        self.samples = 0;
        if self.is_conservative() {
            self.css_rounds += 1;
        }
    }

    fn observe(&mut self, rtt: Duration) {
        let rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX - 1);
        self.current_us = self.current_us.min(rtt_us);
        self.samples = self.samples.saturating_add(1);
        if self.samples < SAMPLES_MIN {
            return;
        }
        if self.is_conservative() {
            //= RFC 9406 §4.2: "if currentRoundMinRTT is less than cssBaselineMinRtt ... resume slow start"
            if self.current_us < self.baseline_us {
                self.baseline_us = u32::MAX;
                self.css_rounds = 0;
            }
        } else if self.last_us != u32::MAX {
            let thresh = (self.last_us / RTT_DIVISOR).clamp(RTT_THRESH_MIN_US, RTT_THRESH_MAX_US);
            if self.current_us >= self.last_us.saturating_add(thresh) {
                self.baseline_us = self.current_us;
            }
        }
    }
}

/// The low half of a stream offset: rounds are far shorter than 2³¹ bytes.
#[expect(clippy::cast_possible_truncation, reason = "the circle of 2³² is meant")]
fn low(offset: u64) -> u32 {
    offset as u32
}
