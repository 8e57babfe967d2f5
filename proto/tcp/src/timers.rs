//! What fires when: one timer for retransmission, whose meaning changes, and those of an idle connection.
//!
//! ```text
//!             data leaves                 probed in vain
//!   Off ─────────────────► Probe (TLP) ───────────────────► Rto ──► Rto, doubled …
//!    ▲                        │  ▲ ACK                       │
//!    └── all acknowledged ────┘  └──── ACK ──────────────────┘
//!   Reorder (RACK waits for what may only be late) and Persist (the window is shut) take the same place.
//! ```

use core::time::Duration;

use crate::recovery::Phase;
use crate::sender::{Flight, Sender};
use clock::Instant;

/// A millisecond, in nanoseconds as all times of this file.
const MS: u64 = 1_000_000;

/// The most a peer delays an ACK of a lone segment (RFC 8985 §7.2, TLP.max_ack_delay).
const MAX_ACK_DELAY: u64 = 200 * MS;

/// No probe sooner than this, whatever SRTT says: a client that waits for its processor is not a lost segment, and a probe
/// costs a read. Linux waits two jiffies, which are 8 ms at the usual 250 Hz.
const PTO_MIN: u64 = 8 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Off,
    /// RFC 6298.
    Rto,
    /// RFC 8985 §7: tail loss probe.
    Probe,
    /// RFC 8985 §6.3: the reordering window.
    Reorder,
    /// RFC 9293 §3.8.6.1: the window is shut.
    Persist,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RetransmitTimer {
    pub(crate) at: Instant,
    pub(crate) kind: Kind,
}

impl RetransmitTimer {
    pub(crate) const OFF: Self = Self { at: Instant::NEVER, kind: Kind::Off };
}

/// `nanos` after `now`.
fn later(now: Instant, nanos: u64) -> Instant {
    Instant::from_nanos(now.as_nanos().saturating_add(nanos))
}

impl Sender {
    fn arm(&mut self, kind: Kind, at: Instant) {
        self.timer = RetransmitTimer { at, kind };
    }

    pub(crate) fn arm_rto(&mut self, now: Instant) {
        self.arm(Kind::Rto, later(now, self.rtt.rto_nanos()));
    }

    pub(crate) fn arm_reorder(&mut self, at: Instant) {
        self.arm(Kind::Reorder, at);
    }

    /// New data left.
    pub(crate) fn arm_on_new(&mut self, now: Instant) {
        match self.timer.kind {
            // RFC 8985 §7.2: new data restarts the probe; RFC 6298 §5.1: it does not restart the RTO.
            Kind::Off | Kind::Persist | Kind::Probe => self.rearm(now),
            Kind::Rto | Kind::Reorder => {}
        }
    }

    /// Something left again; `head` when it was the first outstanding.
    pub(crate) fn arm_on_retransmit(&mut self, now: Instant, head: bool) {
        match self.timer.kind {
            Kind::Reorder => {}
            Kind::Rto if !head => {}
            _ => self.arm_rto(now),
        }
    }

    /// An ACK came, or a timer has fired: what to wait for now.
    pub(crate) fn rearm(&mut self, now: Instant) {
        let pto = self.flight.as_ref().and_then(|flight| self.pto(flight));
        self.rearm_with(now, pto);
    }

    /// [`Sender::rearm`] where the caller holds the flight and asked it for [`Sender::pto`].
    pub(crate) fn rearm_with(&mut self, now: Instant, pto: Option<u64>) {
        if self.is_outstanding() {
            let rto = self.rtt.rto_nanos();
            match pto {
                //= RFC 8985 §7.2: "If (TCP_RTO_expiration() < now + PTO), PTO = TCP_RTO_expiration() - now": the tail is
                //= probed once before a timeout is believed
                Some(pto) => self.arm(Kind::Probe, later(now, pto.min(rto))),
                None => self.arm(Kind::Rto, later(now, rto)),
            }
        } else {
            if self.timer.kind != Kind::Persist {
                self.timer = RetransmitTimer::OFF;
            }
            self.arm_persist(now);
        }
    }

    /// The probe timeout in nanoseconds, if a tail may be probed (RFC 8985 §7.2).
    pub(crate) fn pto(&self, flight: &Flight) -> Option<u64> {
        let probes = self.sack
            && flight.phase == Phase::Open
            && flight.board.sacked() == 0
            && flight.probe_end == 0
            && self.rtt.backoff() == 0;
        let srtt = if probes { self.rtt.srtt_nanos()? } else { return None };
        let alone = self.nxt - self.una <= u64::from(self.mss);
        Some((2 * srtt + if alone { MAX_ACK_DELAY } else { 0 }).max(PTO_MIN))
    }

    /// Waits for the window to open if nothing else would tell: everything is acknowledged, and the window is too small.
    ///
    /// Armed whether or not bytes were reserved: without credit an owner reserves none.
    pub(crate) fn arm_persist(&mut self, now: Instant) {
        let shut = self.wnd == 0 || (self.wnd < self.mss() && self.wnd < self.wnd_max / 2);
        if self.is_outstanding() || self.is_fin_sent() {
            return;
        }
        match (shut, self.timer.kind) {
            (true, Kind::Persist) => {}
            (true, _) => {
                self.progress_at = now;
                self.arm(Kind::Persist, later(now, self.rtt.rto_nanos()));
            }
            (false, Kind::Persist) => {
                self.rtt.answered();
                self.sws_override = false;
                self.timer = RetransmitTimer::OFF;
            }
            (false, _) => {}
        }
    }

    /// The window stayed shut: ask again, later each time (RFC 9293 §3.8.6.1), and look whether it has been shut for
    /// `limit`.
    pub(crate) fn back_off_persist(&mut self, now: Instant, limit: Option<Duration>) {
        self.rtt.back_off();
        let ask = later(now, self.rtt.rto_nanos());
        // A limit that is over and ended nothing (a window that is only small, of a peer who is sent nothing) is no time to
        // wake up at: it would be so again and again.
        let over = limit.map(|limit| self.progress_at + limit).filter(|over| *over > now);
        self.arm(Kind::Persist, over.map_or(ask, |over| ask.min(over)));
    }

    /// The window may have opened without our hearing of it: ask now, and then as after the first time.
    pub(crate) fn ask_about_window(&mut self, now: Instant) {
        self.rtt.answered();
        self.arm(Kind::Persist, now);
    }
}
