//! What an acknowledgment does, in order.
//!
//! ```text
//!  window ─► cumulative ─► SACK, DSACK ─► round trip ─► RACK, TLP ─► undo? ─► losses ─► cwnd (law or PRR) ─► timer
//! ```

use crate::congestion;
use crate::events::Events;
use crate::num::clamp_u32;
use crate::recovery::{Phase, Rack};
use crate::scoreboard::Delivered;
use crate::sender::{Flight, Sender};
use crate::timestamps::{TimestampClock, ticks};
use alloc::boxed::Box;
use clock::Instant;
use core::ops::Range;
use core::time::Duration;
use wire::tcp::{SackBlocks, SeqNum};

/// NewReno's threshold (RFC 5681 §3.2).
const DUP_THRESH: u8 = 3;

/// An acceptable acknowledgment: SND.UNA =< SEG.ACK =< SND.NXT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckSegment<'a> {
    pub(crate) seq: SeqNum,
    /// SEG.ACK as it came, and as a stream offset.
    pub(crate) number: SeqNum,
    pub(crate) offset: u64,
    /// SEG.WND, scaled.
    pub(crate) window: u32,
    pub(crate) sack: &'a SackBlocks,
    /// TSecr.
    pub(crate) echo: Option<u32>,
    /// Whether the segment is nothing but an ACK.
    pub(crate) bare: bool,
}

/// A DSACK, as stream offsets.
#[derive(Clone, Copy, Debug)]
struct Duplicate {
    start: u64,
    end: u64,
}

impl Sender {
    pub(crate) fn on_ack(&mut self, now: Instant, ack: &AckSegment<'_>, clock: &TimestampClock) -> Events {
        self.seen = now;
        let mut events = Events::empty();
        let window_changed = ack.window != self.wnd;
        if self.update_window(ack) {
            events |= Events::CREDIT;
        }
        let Some(mut flight) = self.flight.take() else {
            self.arm_persist(now);
            return events;
        };
        let advanced = ack.offset > self.una;
        if advanced || !ack.sack.is_empty() || (ack.bare && !window_changed && self.is_outstanding()) {
            events |= self.on_news(now, ack, &mut flight, clock, advanced, window_changed);
        }
        self.flight = Some(flight);
        if self.is_outstanding() {
            if events.contains(Events::ACKNOWLEDGED) && self.paced {
                self.follow_window();
            }
        } else {
            self.rearm(now);
        }
        if self.has_wanted() {
            events |= Events::WANTED;
        }
        if events.intersects(Events::CREDIT | Events::WANTED) && self.paced {
            self.wake_for_credit(now, self.mss());
        }
        events
    }

    /// The window of the newest segment counts (RFC 9293 §3.10.7.4).
    ///
    /// The RFC asks only WL1 and WL2, and would let a retransmission of the peer, with an old number and a new
    /// acknowledgment, move SND.UNA but not the window: the right edge would be one that nobody promised. What
    /// acknowledges more was sent later, and so tells the window too. What differs in nothing but a smaller window may
    /// be an older copy and does not.
    fn update_window(&mut self, ack: &AckSegment<'_>) -> bool {
        let newer = ack.offset > self.una
            || self.wl1.before(ack.seq)
            || (self.wl1 == ack.seq
                && (ack.number.after(self.wl2) || ack.window > self.wnd || ack.window == 0));
        if !newer || ack.number.before(self.wl2) {
            return false;
        }
        self.wl1 = ack.seq;
        self.wl2 = ack.number;
        let changed = self.wnd != ack.window;
        self.wnd = ack.window;
        self.wnd_max = self.wnd_max.max(ack.window);
        changed
    }

    fn on_news(
        &mut self,
        now: Instant,
        ack: &AckSegment<'_>,
        flight: &mut Box<Flight>,
        clock: &TimestampClock,
        advanced: bool,
        window_changed: bool,
    ) -> Events {
        let mss = self.mss();
        let pipe_before = flight.pipe(mss);
        let acked = clamp_u32(ack.offset - self.una);
        let mut delivered = Delivered::since(flight.rack.fack);
        if advanced {
            flight.board.acknowledge(ack.offset, &mut delivered);
            self.una = ack.offset;
            self.progress_at = now;
            flight.rack.on_una(self.una);
        }
        let duplicate =
            if ack.sack.is_empty() { None } else { self.take_sacks(ack, &mut flight.board, &mut delivered) };
        let phase_before = flight.phase;
        let rtt = self.measure(now, &delivered, ack.echo, clock, flight, advanced);
        flight.rack.on_delivered(now, &delivered, ack.echo, clock, &self.rtt, &mut self.reordering);
        if let Some(duplicate) = duplicate {
            flight.rack.on_dsack(self.nxt, &mut self.reordering);
            self.on_duplicate(flight, duplicate);
        }
        self.on_probe_answer(flight, ack, duplicate, advanced);
        self.undo_if_spurious(flight, ack, &delivered, duplicate, advanced);

        if self.sack {
            self.leave_recovery(flight);
            let (lost, look_again) = self.detect(now, flight, &delivered);
            self.steer(flight, &delivered, acked, lost, advanced);
            if phase_before != Phase::Recovery && (advanced || self.reordering.seen) {
                self.grow(now, flight, &delivered, rtt, pipe_before);
            }
            match look_again {
                Some(at) => self.arm_reorder(at),
                None if delivered.fresh > 0 || advanced => self.rearm_with(now, self.pto(flight)),
                None => {}
            }
        } else {
            self.on_reno_ack(flight, ack, acked, window_changed);
            self.leave_recovery(flight);
            let fresh = if advanced { acked } else { mss };
            self.steer(flight, &Delivered { fresh, ..delivered }, acked, 0, advanced);
            if phase_before != Phase::Recovery && (advanced || self.reordering.seen) {
                self.grow(now, flight, &delivered, rtt, pipe_before);
            }
            if advanced {
                self.rearm_with(now, self.pto(flight));
            }
        }
        let mut events = Events::empty();
        if advanced {
            events |= Events::ACKNOWLEDGED;
        }
        if advanced || delivered.fresh > 0 || flight.dupacks > 0 {
            events |= Events::CREDIT;
        }
        events
    }

    /// Marks what the blocks report; returns the DSACK if the first block is one (RFC 2883 §4).
    fn take_sacks(
        &self,
        ack: &AckSegment<'_>,
        board: &mut crate::scoreboard::Scoreboard,
        delivered: &mut Delivered,
    ) -> Option<Duplicate> {
        if !self.sack {
            return None;
        }
        let mut blocks: [Range<u64>; wire::tcp::SACK_BLOCKS_MAX] = core::array::from_fn(|_| 0..0);
        let mut duplicate = None;
        for (index, &(left, right)) in ack.sack.iter().enumerate() {
            let (Some(start), Some(end)) = (self.offset(left), self.offset(right)) else { continue };
            if start >= end || end > self.nxt {
                continue;
            }
            if index == 0 {
                let within_second = ack.sack.get(1).is_some_and(|&(l, r)| !left.before(l) && !right.after(r));
                if end <= self.una || within_second {
                    duplicate = Some(Duplicate { start, end });
                    continue;
                }
            }
            blocks[index] = start.max(self.una)..end;
        }
        // In stream order: reordering is what arrives below what had arrived before.
        blocks.sort_unstable_by_key(|block| block.start);
        for block in blocks {
            if block.start < block.end {
                board.sack(block, self.mss(), delivered);
            }
        }
        duplicate
    }

    /// Takes the round trip that this ACK measured, if it did.
    fn measure(
        &mut self,
        now: Instant,
        delivered: &Delivered,
        echo: Option<u32>,
        clock: &TimestampClock,
        flight: &mut Flight,
        advanced: bool,
    ) -> Option<Duration> {
        //= RFC 6298 §3: "RTT samples MUST NOT be made using segments that were retransmitted" (Karn), unless
        //= timestamps tell which one is answered. What a retransmission uncovered arrived long ago.
        let original = delivered.original.filter(|_| !delivered.retransmitted());
        let rtt = match (original, echo) {
            (Some(sent), _) => now.since(sent.at),
            (None, Some(echo)) if advanced && clock.enabled => {
                let elapsed = ticks(now).wrapping_add(clock.offset()).wrapping_sub(echo);
                // An echo from the future, or from weeks ago, measures nothing.
                if elapsed > 1 << 24 {
                    return None;
                }
                Duration::from_millis(u64::from(elapsed).max(1))
            }
            _ => return None,
        };
        self.rtt.observe(now, rtt);
        if self.una >= flight.rtt_mark {
            self.rtt.sample(rtt);
            flight.rtt_mark = self.nxt;
        }
        if advanced {
            self.rtt.answered();
        }
        Some(rtt)
    }

    fn on_duplicate(&mut self, flight: &mut Flight, duplicate: Duplicate) {
        let bytes = clamp_u32(duplicate.end - duplicate.start);
        if flight.undo.on_dsack(duplicate.start, bytes) {
            self.undo(flight);
        }
    }

    /// RFC 8985 §7.4.2: what the answer to a tail loss probe says.
    fn on_probe_answer(
        &mut self,
        flight: &mut Flight,
        ack: &AckSegment<'_>,
        duplicate: Option<Duplicate>,
        advanced: bool,
    ) {
        if flight.probe_end == 0 || self.una < flight.probe_end {
            return;
        }
        if duplicate.is_some_and(|duplicate| duplicate.end == flight.probe_end) {
            // The original had arrived: nothing was lost.
            flight.probe_end = 0;
        } else if self.una > flight.probe_end {
            // The probe repaired a loss: congestion control must know.
            flight.probe_end = 0;
            if flight.phase == Phase::Open {
                let bytes = clamp_u32(self.nxt - self.una).max(self.congestion.cwnd());
                self.congestion.on_loss(bytes, self.mss());
                self.congestion.on_recovered(self.mss());
            }
        } else if !advanced && ack.bare && ack.sack.is_empty() {
            // A duplicate ACK without SACK: both arrived.
            flight.probe_end = 0;
        }
    }

    fn undo_if_spurious(
        &mut self,
        flight: &mut Flight,
        ack: &AckSegment<'_>,
        delivered: &Delivered,
        duplicate: Option<Duplicate>,
        advanced: bool,
    ) {
        let eifel =
            advanced && delivered.retransmitted() && duplicate.is_none() && flight.undo.is_eifel(ack.echo);
        // F-RTO with SACK (RFC 5682 §3): never sent again, and yet it arrives after the timeout.
        let frto = flight.phase == Phase::Loss
            && flight.undo.is_armed()
            && delivered.lost_original
            && self.una < flight.recovery_end;
        if eifel || frto {
            self.undo(flight);
        }
    }

    /// RACK, where anything can be lost.
    fn detect(&self, now: Instant, flight: &mut Flight, delivered: &Delivered) -> (u32, Option<Instant>) {
        let quiet = flight.phase == Phase::Open
            && flight.board.sacked() == 0
            && flight.probe_end == 0
            && !delivered.retransmitted();
        if quiet {
            // Whatever is outstanding was sent after what this ACK acknowledged.
            return (0, None);
        }
        let in_recovery = flight.phase != Phase::Open;
        let reo_wnd =
            Rack::reo_wnd(self.reordering, &self.rtt, in_recovery, flight.board.sacked(), self.mss());
        flight.rack.detect(now, &mut flight.board, reo_wnd)
    }

    /// NewReno for a peer without SACK (RFC 5681 §3.2, RFC 6582).
    fn on_reno_ack(&self, flight: &mut Flight, ack: &AckSegment<'_>, acked: u32, window_changed: bool) {
        let mss = self.mss();
        if acked > 0 {
            // Each duplicate ACK stood for a segment that is now acknowledged; the repaired one caused none.
            let segments = u8::try_from(acked.div_ceil(mss).saturating_sub(1)).unwrap_or(u8::MAX);
            flight.dupacks = flight.dupacks.saturating_sub(segments);
            if flight.phase == Phase::Recovery && self.una < flight.recovery_end {
                //= RFC 6582 §3.2 step 3: a partial acknowledgment: "retransmit the first unacknowledged segment"
                flight.board.lose_front(mss);
            }
        } else if ack.bare && !window_changed && self.is_outstanding() {
            flight.dupacks = flight.dupacks.saturating_add(1);
            //= RFC 6582 §3.2 step 1: a timeout's own retransmissions cause duplicates that mean nothing
            if flight.dupacks == DUP_THRESH && flight.phase == Phase::Open && self.una >= flight.recovery_end
            {
                flight.board.lose_front(mss);
            }
        }
        if self.una >= flight.recovery_end && flight.phase != Phase::Open {
            flight.dupacks = 0;
        }
    }

    /// cwnd grows, where no recovery steers it, for what is acknowledged; for what is only reported if the path is known
    /// to reorder, since otherwise that is the beginning of a loss.
    fn grow(
        &mut self,
        now: Instant,
        flight: &Flight,
        delivered: &Delivered,
        rtt: Option<Duration>,
        pipe_before: u32,
    ) {
        if delivered.fresh == 0 || flight.phase == Phase::Recovery {
            return;
        }
        let mss = self.mss();
        let limited = self.is_limited(pipe_before);
        let ack = congestion::Ack {
            now,
            acked: delivered.fresh,
            una: self.una,
            nxt: self.nxt,
            rtt,
            srtt: self.rtt.srtt().unwrap_or_default(),
            mss,
            limited,
            paced: self.paced,
        };
        self.congestion.on_ack(&ack);
    }
}
