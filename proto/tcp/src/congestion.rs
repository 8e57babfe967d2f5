//! The congestion window: slow start, then the law the operator chose.
//!
//! ```text
//!             ACK                         ACK
//!         ┌────────┐   cwnd ≥ ssthresh  ┌──────┐
//!  start ►│ slow   │  or HyStart++ saw  │ avoid│   loss: ssthresh = β · flight, PRR steers cwnd down to it
//!         │ start  ├───────────────────►│ ance │   RTO:  the same, and cwnd = 1 segment, slow start again
//!         └────────┘  the queue build   └──────┘
//! ```
//!
//! cwnd and ssthresh are in bytes. The window grows only while it was what held the sender back (RFC 9293 leaves that
//! open, RFC 7661 and 9438 §5.8 ask for it).

mod cubic;
mod hystart;
mod newreno;

#[cfg(test)]
mod tests;

use crate::config::{Algorithm, Config};
use crate::num::clamp_u32;
use clock::Instant;
use core::time::Duration;
use cubic::Cubic;
use hystart::HyStart;
use newreno::NewReno;

/// An acknowledgment as the laws see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) now: Instant,
    /// Bytes newly acknowledged, cumulatively or selectively.
    pub(crate) acked: u32,
    /// SND.UNA and SND.NXT after it, as stream offsets: HyStart++ counts rounds by them.
    pub(crate) una: u64,
    pub(crate) nxt: u64,
    /// The round trip this ACK measured, if it did.
    pub(crate) rtt: Option<Duration>,
    pub(crate) srtt: Duration,
    pub(crate) mss: u32,
    /// Whether cwnd held the sender back.
    pub(crate) limited: bool,
    /// Whether credit is paced, so that growth makes no bursts.
    pub(crate) paced: bool,
}

/// What an undo restores.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    cwnd: u32,
    ssthresh: u32,
    w_max: u32,
}

/// Only one of them is needed at a time.
#[derive(Clone, Copy, Debug)]
enum Phase {
    SlowStart(HyStart),
    Avoidance,
}

#[derive(Clone, Copy, Debug)]
enum Law {
    Cubic(Cubic),
    NewReno(NewReno),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    cwnd: u32,
    ssthresh: u32,
    /// The operator's bound of cwnd.
    max: u32,
    phase: Phase,
    law: Law,
}

impl Congestion {
    pub(crate) fn new(config: &Config, mss: u32) -> Self {
        let law = match config.congestion {
            Algorithm::Cubic => Law::Cubic(Cubic::new()),
            Algorithm::NewReno => Law::NewReno(NewReno::new()),
        };
        let max = config.send_window_max;
        let cwnd = initial_window(config.initial_window_segments, mss).min(max);
        Self { cwnd, ssthresh: u32::MAX, max, phase: Phase::SlowStart(HyStart::new()), law }
    }

    pub(crate) fn cwnd(&self) -> u32 {
        self.cwnd
    }

    pub(crate) fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    /// Something was lost, or the path filled up: the window is no longer being searched for.
    pub(crate) fn has_lost(&self) -> bool {
        self.ssthresh != u32::MAX
    }

    pub(crate) fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Data was acknowledged outside of recovery: the window grows.
    pub(crate) fn on_ack(&mut self, ack: &Ack) {
        if self.in_slow_start() {
            let growth = match &mut self.phase {
                Phase::SlowStart(hystart) => {
                    let growth = hystart.on_ack(ack);
                    if hystart.is_over() {
                        self.ssthresh = self.cwnd;
                    }
                    growth
                }
                Phase::Avoidance => ack.acked,
            };
            if ack.limited {
                // What overshoots ssthresh belongs to avoidance, which starts with the next ACK.
                self.cwnd = self.cwnd.saturating_add(growth).min(self.ssthresh.max(self.cwnd)).min(self.max);
            }
        } else {
            self.phase = Phase::Avoidance;
            let cwnd = match &mut self.law {
                Law::Cubic(cubic) => cubic.on_ack(self.cwnd, ack),
                Law::NewReno(newreno) => newreno.on_ack(self.cwnd, ack),
            };
            self.cwnd = cwnd.clamp(self.cwnd, self.max.max(self.cwnd));
        }
    }

    /// Loss in a window of which `flight` bytes were out: ssthresh falls, and cwnd follows it as recovery decides.
    pub(crate) fn on_loss(&mut self, flight: u32, mss: u32) {
        let flight = flight.min(self.cwnd);
        let reduced = match &mut self.law {
            Law::Cubic(cubic) => cubic.on_loss(self.cwnd, flight),
            Law::NewReno(newreno) => newreno.on_loss(flight),
        };
        //= RFC 5681 §3.1 eq. 4: "ssthresh = max (FlightSize / 2, 2*SMSS)"
        self.ssthresh = reduced.max(2 * mss);
        self.phase = Phase::Avoidance;
    }

    /// RTO: nothing is known to be in the network any more.
    ///
    /// `again` when the same data timed out before: ssthresh stays (RFC 5681 §3.1).
    pub(crate) fn on_timeout(&mut self, flight: u32, mss: u32, again: bool) {
        if !again {
            self.on_loss(flight, mss);
        }
        if let Law::Cubic(cubic) = &mut self.law {
            cubic.on_timeout();
        }
        //= RFC 5681 §3.1: "upon a timeout cwnd MUST be set to no more than the loss window, LW, which equals 1 full-sized segment"
        self.cwnd = mss;
    }

    /// Recovery steers the window itself (RFC 9937 §6.2).
    pub(crate) fn steer(&mut self, cwnd: u32, mss: u32) {
        self.cwnd = cwnd.clamp(mss, self.max.max(mss));
    }

    /// Recovery is over.
    pub(crate) fn on_recovered(&mut self, mss: u32) {
        self.steer(self.ssthresh.min(self.max), mss);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let w_max = match &self.law {
            Law::Cubic(cubic) => cubic.w_max(),
            Law::NewReno(_) => 0,
        };
        Snapshot { cwnd: self.cwnd, ssthresh: self.ssthresh, w_max }
    }

    /// The reduction since `before` was a mistake.
    pub(crate) fn undo(&mut self, before: Snapshot) {
        let Snapshot { cwnd, ssthresh, w_max } = before;
        self.cwnd = self.cwnd.max(cwnd);
        self.ssthresh = ssthresh;
        if let Law::Cubic(cubic) = &mut self.law {
            cubic.undo(w_max);
        }
    }

    /// cwnd after `idle` without sending: halved for each RTO of silence, down to the restart window
    /// (RFC 5681 §4.1 goes there at once; RFC 2861 and 7661 show why not).
    pub(crate) fn after_idle(&self, idle: Duration, rto: Duration, segments: u8, mss: u32) -> u32 {
        let restart = initial_window(segments, mss).min(self.cwnd);
        let halvings = idle.as_nanos() / rto.as_nanos().max(1);
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        self.cwnd.checked_shr(halvings).unwrap_or(0).max(restart)
    }

    /// Makes [`Self::after_idle`] real before new data is sent.
    pub(crate) fn restart(&mut self, cwnd: u32) {
        if cwnd < self.cwnd {
            // What the path once carried is remembered (RFC 7661 §4.3: ssthresh keeps three quarters of it).
            self.ssthresh = self.ssthresh.max(clamp_u32(u64::from(self.cwnd) * 3 / 4));
            self.cwnd = cwnd;
            if let Law::Cubic(cubic) = &mut self.law {
                cubic.on_pause();
            }
        }
    }

    /// cwnd stays worth sending when segments change their size.
    pub(crate) fn on_mss(&mut self, mss: u32) {
        self.cwnd = self.cwnd.max(2 * mss);
    }
}

/// RFC 6928 §2, with the number of segments free to choose.
fn initial_window(segments: u8, mss: u32) -> u32 {
    u32::from(segments) * mss
}
