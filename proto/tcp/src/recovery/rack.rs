//! RACK (RFC 8985 §6): what was sent long enough before something that arrived is lost.

use crate::rtt::RttEstimator;
use crate::scoreboard::{Delivered, InFlight, Scoreboard, Sent, Verdict};
use crate::timestamps::{TimestampClock, precedes};
use clock::Instant;
use core::time::Duration;

/// RFC 8985 §5.1, as RFC 5681's three duplicate ACKs.
const DUP_THRESH: u32 = 3;
/// Recoveries for which a widened window is kept (RFC 8985 §6.2 step 4).
const PERSIST: u8 = 16;

/// What is remembered about a path that reorders. Outlives the flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reordering {
    pub(crate) seen: bool,
    /// RACK.reo_wnd_mult.
    mult: u8,
    /// RACK.reo_wnd_persist.
    persist: u8,
}

impl Reordering {
    pub(crate) const NONE: Self = Self { seen: false, mult: 1, persist: PERSIST };

    /// A recovery ended: a window that was not widened for long narrows again.
    pub(crate) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.mult = 1;
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rack {
    /// RACK.segment: the latest sent of what was delivered.
    latest: Sent,
    /// RACK.fack: the highest offset delivered.
    pub(crate) fack: u64,
    /// RACK.dsack_round: SND.NXT when DSACK last widened the window; 0 for none.
    dsack_round: u64,
    /// RACK.rtt, in µs.
    rtt_us: u32,
}

impl Rack {
    pub(crate) const NEW: Self =
        Self { latest: Sent { at: Instant::EPOCH, end: 0 }, fack: 0, dsack_round: 0, rtt_us: 0 };

    /// RFC 8985 §6.2 steps 1 to 3. `echo` is the ACK's TSecr.
    pub(crate) fn on_delivered(
        &mut self,
        now: Instant,
        delivered: &Delivered,
        echo: Option<u32>,
        clock: &TimestampClock,
        rtt: &RttEstimator,
        reordering: &mut Reordering,
    ) {
        if let Some(sent) = delivered.original {
            self.advance(now, sent);
        }
        if let Some(sent) = delivered.again {
            //= RFC 8985 §6.2: a retransmission is ignored "if Segment.xmit_ts > ACK.ts_option.echo_reply" or "if
            //= RACK.rtt < minimum RTT of the connection": the ACK is then of the original
            let spurious = echo.is_some_and(|echo| precedes(echo, clock.value(sent.at)))
                || rtt.min().is_some_and(|min| now.since(sent.at) < min);
            if !spurious {
                self.advance(now, sent);
            }
        }
        self.fack = self.fack.max(delivered.fack);
        reordering.seen |= delivered.reordered;
    }

    fn advance(&mut self, now: Instant, sent: Sent) {
        if sent > self.latest {
            self.latest = sent;
            self.rtt_us = u32::try_from(now.since(sent.at).as_micros()).unwrap_or(u32::MAX);
        }
    }

    /// RFC 8985 §6.2 step 4, the DSACK half: what was sent again needlessly widens the window once a round trip.
    pub(crate) fn on_dsack(&mut self, nxt: u64, reordering: &mut Reordering) {
        if self.dsack_round == 0 {
            self.dsack_round = nxt;
            reordering.mult = reordering.mult.saturating_add(1);
            reordering.persist = PERSIST;
        }
    }

    pub(crate) fn on_una(&mut self, una: u64) {
        if una >= self.dsack_round {
            self.dsack_round = 0;
        }
    }

    /// RACK_update_reo_wnd (RFC 8985 §6.2 step 4).
    pub(crate) fn reo_wnd(
        reordering: Reordering,
        rtt: &RttEstimator,
        in_recovery: bool,
        sacked: u32,
        mss: u32,
    ) -> Duration {
        if !reordering.seen && (in_recovery || sacked >= DUP_THRESH * mss) {
            return Duration::ZERO;
        }
        let quarter = rtt.min().unwrap_or_default() / 4;
        (quarter * u32::from(reordering.mult)).min(rtt.srtt().unwrap_or_default())
    }

    /// RACK_detect_loss (RFC 8985 §6.2 step 5): marks what is lost; returns its bytes, and when to look again for what
    /// may only be late.
    pub(crate) fn detect(
        &self,
        now: Instant,
        board: &mut Scoreboard,
        reo_wnd: Duration,
    ) -> (u32, Option<Instant>) {
        let patience = Duration::from_micros(u64::from(self.rtt_us)) + reo_wnd;
        let mut look_again = None;
        let lost = board.detect_lost(|InFlight { sent, again }| {
            if sent < self.latest {
                let deadline = sent.at + patience;
                if deadline <= now {
                    return Verdict::Lost;
                }
                look_again = look_again.max(Some(deadline));
                Verdict::InFlight
            } else if again {
                Verdict::InFlight
            } else {
                // Originals behind this one were sent no earlier, and so was whatever was sent again behind it.
                Verdict::Enough
            }
        });
        (lost, look_again)
    }
}
