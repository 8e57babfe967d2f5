//! Loss, and the way back.
//!
//! ```text
//!              RACK or three duplicates               recovery_end acknowledged
//!   ┌──────┐ ───────────────────────────► ┌──────────┐ ───────────┐
//!   │ Open │                              │ Recovery │            │
//!   │      │ ◄──── undo: nothing was lost │   PRR    │            ▼
//!   │      │          (Eifel, DSACK,      └────┬─────┘          Open
//!   │      │ ◄──────── F-RTO)                  │ RTO              ▲
//!   └──┬───┘                              ┌────▼─────┐            │
//!      └───────── RTO ──────────────────► │   Loss   │ ───────────┘
//!                                         └──────────┘
//! ```
//!
//! F-RTO is the evidence half of RFC 5682 §3: what was never sent again and still arrives proves a timeout wrong. Its
//! other half, sending new data instead of the second retransmission, would wait for a disk; timestamps (Eifel) tell
//! the same one ACK earlier.

mod prr;
mod rack;
mod undo;

pub(crate) use prr::{Prr, PrrAck};
pub(crate) use rack::{Rack, Reordering};
pub(crate) use undo::Undo;

use crate::config::Config;
use crate::events::Events;
use crate::num::clamp_u32;
use crate::scoreboard::Delivered;
use crate::sender::{Flight, Sender};
use crate::timers::Kind;
use clock::Instant;

/// Timeouts in a row after which full segments are suspected to vanish in a black hole (RFC 8899 §4.3).
const BLACK_HOLE_TIMEOUTS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is lost.
    Open,
    /// Losses are repaired in step with ACKs.
    Recovery,
    /// The clock of ACKs was lost: slow start from one segment.
    Loss,
}

impl Sender {
    /// Ends an episode whose end was acknowledged.
    pub(crate) fn leave_recovery(&mut self, flight: &mut Flight) {
        if flight.phase == Phase::Open || self.una < flight.recovery_end {
            return;
        }
        if flight.phase == Phase::Recovery {
            self.congestion.on_recovered(self.mss());
            self.reordering.on_recovered();
        }
        flight.phase = Phase::Open;
    }

    /// Enters recovery when something is lost, and lets PRR steer cwnd while in it.
    pub(crate) fn steer(
        &mut self,
        flight: &mut Flight,
        delivered: &Delivered,
        acked: u32,
        lost: u32,
        advanced: bool,
    ) {
        if flight.phase == Phase::Open && flight.board.lost() > 0 {
            // RFC 9937 §6.1: bytes reported before will not be delivered again, those of this ACK count.
            let reported_before = flight.board.sacked().saturating_sub(delivered.sacked);
            let recover_fs =
                clamp_u32(self.nxt - self.una).saturating_sub(reported_before).saturating_add(acked);
            let out = clamp_u32(self.nxt - self.una).saturating_add(acked);
            self.enter_recovery(flight, recover_fs, out);
        }
        if flight.phase == Phase::Recovery {
            let ack = PrrAck {
                delivered: delivered.fresh,
                pipe: flight.pipe(self.mss()),
                ssthresh: self.congestion.ssthresh(),
                mss: self.mss(),
                safe: advanced && lost == 0,
            };
            if let Some(cwnd) = flight.prr.on_ack(&ack) {
                self.congestion.steer(cwnd, self.mss());
            }
        }
    }

    /// `out` is FlightSize before the ACK that tells of the loss.
    fn enter_recovery(&mut self, flight: &mut Flight, recover_fs: u32, out: u32) {
        flight.undo = Undo::arm(self.congestion.snapshot(), self.una);
        flight.phase = Phase::Recovery;
        flight.recovery_end = self.nxt;
        flight.probe_end = 0;
        flight.prr = Prr::begin(recover_fs);
        self.congestion.on_loss(self.flight_size(out), self.mss());
        self.counters.recoveries = self.counters.recoveries.wrapping_add(1);
    }

    /// Nothing had been lost: everything is as before.
    pub(crate) fn undo(&mut self, flight: &mut Flight) {
        self.congestion.undo(flight.undo.take());
        flight.board.find_lost();
        flight.phase = Phase::Open;
        flight.dupacks = 0;
        self.rtt.answered();
        self.counters.undone = self.counters.undone.wrapping_add(1);
    }

    /// The path lets no segment of the former size through: what is in flight is sent again, in smaller ones. That is
    /// no sign of congestion (RFC 8899 §4.6).
    pub(crate) fn resegment(&mut self, now: Instant) {
        if let Some(flight) = &mut self.flight {
            flight.board.lose_all();
            flight.undo = Undo::default();
            flight.probe_end = 0;
            flight.phase = Phase::Loss;
            flight.recovery_end = self.nxt;
        }
        self.rtt.answered();
        self.arm_rto(now);
    }

    /// The retransmission timer fired. `heard_at` is when the peer last said anything.
    pub(crate) fn on_retransmit_timer(
        &mut self,
        config: &Config,
        now: Instant,
        heard_at: Instant,
        timestamps: bool,
    ) -> Events {
        self.seen = now;
        match self.timer.kind {
            Kind::Off => Events::empty(),
            Kind::Reorder => self.on_reorder_timer(now),
            Kind::Probe => self.on_probe_timer(now),
            Kind::Rto => self.on_rto(config, now, heard_at, timestamps),
            Kind::Persist => self.on_persist_timer(config, now, heard_at),
        }
    }

    /// RFC 8985 §6.3: what was only late so far is lost.
    fn on_reorder_timer(&mut self, now: Instant) -> Events {
        let Some(mut flight) = self.flight.take() else { return Events::empty() };
        let in_recovery = flight.phase != Phase::Open;
        let reo_wnd =
            Rack::reo_wnd(self.reordering, &self.rtt, in_recovery, flight.board.sacked(), self.mss());
        let (lost, look_again) = flight.rack.detect(now, &mut flight.board, reo_wnd);
        self.steer(&mut flight, &Delivered::default(), 0, lost, false);
        let pto = self.pto(&flight);
        self.flight = Some(flight);
        match look_again {
            Some(at) => self.arm_reorder(at),
            None => self.rearm_with(now, pto),
        }
        if lost > 0 { Events::WANTED | Events::CREDIT } else { Events::empty() }
    }

    /// RFC 8985 §7.3: the tail may be lost, and no ACK would tell: ask with the last segment.
    fn on_probe_timer(&mut self, now: Instant) -> Events {
        let (nxt, mss) = (self.nxt, self.mss());
        let covered = nxt <= self.edge();
        let Some(flight) = &mut self.flight else { return Events::empty() };
        // A tail that the peer's window no longer covers may not be sent.
        let marked = if covered { flight.board.mark_probe(nxt, mss) } else { None };
        if let Some(fin) = marked {
            flight.probe_end = nxt;
            self.fin_probe = fin;
            self.counters.probes = self.counters.probes.wrapping_add(1);
        }
        self.arm_rto(now);
        if marked == Some(false) { Events::WANTED } else { Events::empty() }
    }

    /// RFC 6298 §5.4 to 5.6.
    fn on_rto(&mut self, config: &Config, now: Instant, heard_at: Instant, timestamps: bool) -> Events {
        //= RFC 9293 §3.8.6.1 (MUST-37): a peer that took its window back and still answers is no dead peer
        let answers = self.wnd == 0 && self.has_answered(now, heard_at);
        let shut_too_long = self.wnd == 0 && self.is_shut_too_long(config, now);
        if now.since(self.progress_at) >= config.user_timeout && !answers || shut_too_long {
            return Events::TIMED_OUT;
        }
        let mss = self.mss();
        let Some(flight) = &mut self.flight else { return Events::empty() };
        if flight.board.waits_for_owner() {
            // The disk is slow, not the network.
            self.arm_rto(now);
            return Events::WANTED;
        }
        let again = self.rtt.backoff() > 0;
        let flight_bytes = clamp_u32(self.nxt - self.una);
        if flight.phase != Phase::Loss || !flight.undo.is_armed() {
            flight.undo =
                if again { Undo::default() } else { Undo::arm(self.congestion.snapshot(), self.una) };
        }
        flight.board.lose_all();
        flight.phase = Phase::Loss;
        flight.recovery_end = self.nxt;
        flight.probe_end = 0;
        flight.dupacks = 0;
        self.congestion.on_timeout(flight_bytes, mss, again);
        self.rtt.back_off();
        self.counters.timeouts = self.counters.timeouts.wrapping_add(1);
        if self.rtt.backoff() == BLACK_HOLE_TIMEOUTS
            && let Some(smaller) = config.black_hole_mss
            && u32::from(smaller) < mss
        {
            self.shrink_mss(smaller, timestamps);
        }
        self.arm_rto(now);
        Events::WANTED
    }

    /// Whether the operator's patience with a window is over in which nothing has moved.
    fn is_shut_too_long(&self, config: &Config, now: Instant) -> bool {
        config.zero_window_timeout.is_some_and(|limit| now.since(self.progress_at) >= limit)
    }

    /// Whether the peer spoke since we last asked: the timer that fires now was set then.
    fn has_answered(&self, now: Instant, heard_at: Instant) -> bool {
        now.since(heard_at) <= self.rtt.rto()
    }

    /// RFC 9293 §3.8.6.1 and §3.8.6.2.1.
    fn on_persist_timer(&mut self, config: &Config, now: Instant, heard_at: Instant) -> Events {
        let waits = self.reserved > self.nxt || (self.finishing && !self.is_fin_sent());
        let silent = now.since(heard_at.max(self.progress_at)) >= config.user_timeout
            && !self.has_answered(now, heard_at);
        // A peer that answers no probe is gone, whether or not its owner could reserve anything: without credit it
        // cannot. A window that is only small is not probed, and an idle peer may be silent about it.
        if (waits || self.wnd == 0) && (silent || self.is_shut_too_long(config, now)) {
            return Events::TIMED_OUT;
        }
        self.back_off_persist(now, config.zero_window_timeout);
        // Where the owner could not use a window this small last time, because a record needs more, it is asked about
        // too: the update may have got lost.
        self.window_probe = self.wnd == 0 || self.sws_override;
        if self.wnd == 0 {
            return Events::empty();
        }
        self.sws_override = true;
        Events::CREDIT | Events::WANTED
    }
}
