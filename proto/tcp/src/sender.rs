//! The send half of the TCB: SND.* of RFC 9293 §3.3.1, credit, and what leaves.
//!
//! ```text
//!        acknowledged      in flight        being read        credit
//!  0 ──────────────────┼───────────────┼──────────────────┼──────────────┤ min(SND.UNA + SND.WND, cwnd)
//!                   SND.UNA         SND.NXT           reserved
//! ```
//!
//! Numbers are stream offsets; our FIN is the offset `reserved`, and so SND.UNA and SND.NXT exceed `reserved` by one
//! when it was acknowledged or sent. What only a transfer needs is in [`Flight`], which an idle connection gives back.

use crate::config::{Config, MSS_DEFAULT, MSS_MIN};
use crate::congestion::Congestion;
use crate::info::Counters;
use crate::num::{clamp_u32, whole_segments};
use crate::pacing::Pacer;
use crate::recovery::{Phase, Prr, Rack, Reordering, Undo};
use crate::rtt::RttEstimator;
use crate::scoreboard::{Again, Scoreboard};
use crate::timers::{Kind, RetransmitTimer};
use crate::timestamps::TimestampClock;
use alloc::boxed::Box;
use alloc::vec::Vec;
use clock::Instant;
use core::ops::Range;
use wire::tcp::SeqNum;

/// What timestamps take of every segment, in bytes (RFC 7323 appendix A).
pub(crate) const TIMESTAMPS_BYTES: u16 = 12;

/// The state of a transfer. Idle connections have none.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) board: Scoreboard,
    pub(crate) rack: Rack,
    pub(crate) prr: Prr,
    pub(crate) undo: Undo,
    pub(crate) pacer: Pacer,
    /// RecoveryPoint: the episode ends when this is acknowledged.
    pub(crate) recovery_end: u64,
    /// TLP.end_seq (RFC 8985 §7.1); 0 when no probe is outstanding.
    pub(crate) probe_end: u64,
    /// The next sample of SRTT is taken when this is acknowledged.
    pub(crate) rtt_mark: u64,
    pub(crate) phase: Phase,
    /// Duplicate ACKs of a peer without SACK.
    pub(crate) dupacks: u8,
}

impl Flight {
    fn new() -> Self {
        Self {
            board: Scoreboard::new(),
            rack: Rack::NEW,
            prr: Prr::default(),
            undo: Undo::default(),
            pacer: Pacer::OFF,
            recovery_end: 0,
            probe_end: 0,
            rtt_mark: 0,
            phase: Phase::Open,
            dupacks: 0,
        }
    }

    /// For another transfer, in the same memory.
    fn reset(&mut self) {
        let mut board = core::mem::replace(&mut self.board, Scoreboard::new());
        board.clear();
        *self = Self { board, ..Self::new() };
    }

    /// Bytes in the network; without SACK each duplicate ACK means that a segment left it (RFC 3042, RFC 6582 §3.2).
    pub(crate) fn pipe(&self, mss: u32) -> u32 {
        self.board.pipe().saturating_sub(u32::from(self.dupacks) * mss)
    }
}

/// What the state of a transfer was kept in: memory for the next connection's, from
/// [`Connection::give_back`](crate::Connection::give_back).
#[derive(Clone, Debug)]
pub struct Spare(Box<Flight>);

/// Memory of a long transfer is not kept for a short one.
const SPARE_HEAP_BYTES_MAX: usize = 4 << 10;

/// What [`Sender::transmit`] lets leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) range: Range<u64>,
    pub(crate) retransmission: bool,
    pub(crate) fin: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// ISS.
    pub(crate) iss: SeqNum,
    /// SND.UNA, SND.NXT.
    pub(crate) una: u64,
    pub(crate) nxt: u64,
    /// The end of what the owner promised to send.
    pub(crate) reserved: u64,
    /// SND.WND, and the largest it ever was.
    pub(crate) wnd: u32,
    pub(crate) wnd_max: u32,
    /// SND.WL1, SND.WL2.
    pub(crate) wl1: SeqNum,
    pub(crate) wl2: SeqNum,
    pub(crate) rtt: RttEstimator,
    pub(crate) congestion: Congestion,
    pub(crate) flight: Option<Box<Flight>>,
    pub(crate) timer: RetransmitTimer,
    /// The latest time we were told.
    pub(crate) seen: Instant,
    /// When data last left.
    pub(crate) sent_at: Instant,
    /// Since when what is outstanding waits without progress (RFC 9293 §3.8.3).
    pub(crate) progress_at: Instant,
    pub(crate) counters: Counters,
    /// Payload per segment now, and at most, in bytes.
    pub(crate) mss: u16,
    mss_limit: u16,
    /// Snd.Wind.Shift.
    pub(crate) scale: u8,
    pub(crate) reordering: Reordering,
    /// Whether the peer understands SACK.
    pub(crate) sack: bool,
    pub(crate) paced: bool,
    /// The owner closed the stream at `reserved`.
    pub(crate) finishing: bool,
    /// Our FIN should leave again although it is not thought lost: a probe.
    pub(crate) fin_probe: bool,
    /// The peer should be asked for its window, or whether it is there: a probe.
    pub(crate) window_probe: bool,
    /// A window too small for a segment may be used now (RFC 9293 §3.8.6.2.1: the override timeout).
    pub(crate) sws_override: bool,
    initial_segments: u8,
}

impl Sender {
    pub(crate) fn new(config: &Config, now: Instant, iss: SeqNum) -> Self {
        let mss = config.mss_max.min(MSS_DEFAULT);
        Self {
            iss,
            una: 0,
            nxt: 0,
            reserved: 0,
            wnd: 0,
            wnd_max: 0,
            wl1: SeqNum(0),
            wl2: SeqNum(0),
            rtt: RttEstimator::new(config.rto_min),
            congestion: Congestion::new(config, u32::from(mss)),
            flight: None,
            timer: RetransmitTimer::OFF,
            seen: now,
            sent_at: now,
            progress_at: now,
            counters: Counters::default(),
            mss,
            mss_limit: mss,
            scale: 0,
            reordering: Reordering::NONE,
            sack: false,
            paced: config.pacing,
            finishing: false,
            fin_probe: false,
            window_probe: false,
            sws_override: false,
            initial_segments: config.initial_window_segments,
        }
    }

    /// The handshake agreed on segments of `mss` bytes with their options.
    pub(crate) fn agree_mss(&mut self, config: &Config, mss: u16, timestamps: bool) {
        let mss = payload_mss(mss.min(config.mss_max), timestamps);
        self.mss = mss;
        self.mss_limit = mss;
        self.congestion = Congestion::new(config, u32::from(mss));
    }

    /// The number of the byte at `offset`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sequence numbers are stream offsets on a circle of 2³²"
    )]
    pub(crate) fn seq(&self, offset: u64) -> SeqNum {
        self.iss + 1 + offset as u32
    }

    /// The offset of `seq`, taken as near SND.UNA; none before the stream began.
    pub(crate) fn offset(&self, seq: SeqNum) -> Option<u64> {
        self.una.checked_add_signed(i64::from(seq - self.seq(self.una)))
    }

    pub(crate) fn mss(&self) -> u32 {
        u32::from(self.mss)
    }

    fn phase(&self) -> Phase {
        self.flight.as_ref().map_or(Phase::Open, |flight| flight.phase)
    }

    pub(crate) fn is_outstanding(&self) -> bool {
        self.nxt > self.una
    }

    pub(crate) fn is_fin_sent(&self) -> bool {
        self.nxt > self.reserved
    }

    pub(crate) fn is_fin_acknowledged(&self) -> bool {
        self.una > self.reserved
    }

    /// The right edge of the peer's window.
    pub(crate) fn edge(&self) -> u64 {
        self.una + u64::from(self.wnd)
    }

    /// cwnd, less what a pause took from it.
    fn cwnd(&self, now: Instant) -> u32 {
        if self.is_outstanding() {
            return self.congestion.cwnd();
        }
        if now.as_nanos().saturating_sub(self.sent_at.as_nanos()) < self.rtt.rto_nanos() {
            return self.congestion.cwnd();
        }
        let (idle, rto) = (now.since(self.sent_at), self.rtt.rto());
        self.congestion.after_idle(idle, rto, self.initial_segments, self.mss())
    }

    /// What congestion control lets leave for the first time, were nothing reserved. Repairs go first.
    fn congestion_allows(&self, now: Instant) -> u32 {
        let used = self
            .flight
            .as_ref()
            .map_or(0, |flight| flight.pipe(self.mss()).saturating_add(flight.board.lost()));
        self.cwnd(now).saturating_sub(used)
    }

    /// Credit but for pacing.
    fn unpaced_credit(&self, now: Instant) -> u32 {
        let unsent = clamp_u32(self.reserved.saturating_sub(self.nxt));
        let by_peer = clamp_u32(self.edge().saturating_sub(self.reserved));
        self.congestion_allows(now).saturating_sub(unsent).min(by_peer)
    }

    /// Bytes of new data that may be read now.
    pub(crate) fn credit(&self, now: Instant) -> u32 {
        if self.finishing {
            return 0;
        }
        let tokens = self.flight.as_ref().map_or(u32::MAX, |flight| flight.pacer.tokens(now, self.mss()));
        self.unpaced_credit(now).min(tokens)
    }

    pub(crate) fn window(&self) -> u32 {
        self.congestion.cwnd().min(self.wnd)
    }

    /// How much credit makes a read worthwhile when `left` bytes are to be sent.
    pub(crate) fn read_threshold(&self, left: u64) -> u32 {
        // While losses are repaired credit comes in small change, and a pipe that runs dry costs a round trip.
        let share = match self.phase() {
            Phase::Recovery => self.congestion.ssthresh() / 8,
            _ => self.untaken_share(),
        };
        let worthwhile = (10 * self.mss()).min(self.mss().max(share));
        let worthwhile = if self.may_send_runt() { worthwhile.min(self.wnd) } else { worthwhile };
        clamp_u32(left).min(worthwhile).max(1)
    }

    /// How much of a window credit may come to before it is taken: where packets are lost windows stay small, and what is
    /// not taken of them is missing from the path.
    fn untaken_share(&self) -> u32 {
        self.window() / if self.congestion.has_lost() { 8 } else { 4 }
    }

    /// The window is what limits the connection, of which `out` bytes are in the network. Credit below the owner's read
    /// threshold is not taken, and in slow start pacing holds some back, so a window that full is full.
    pub(crate) fn is_limited(&self, out: u32) -> bool {
        let unsent = clamp_u32(self.reserved.saturating_sub(self.nxt));
        let (used, cwnd) = (out.saturating_add(unsent), self.congestion.cwnd());
        if self.congestion.in_slow_start() {
            used >= cwnd / 2
        } else {
            used.saturating_add(10 * self.mss()) >= cwnd
        }
    }

    /// FlightSize, for halving it, when `out` bytes are in the network: what was full enough to grow is halved as a whole.
    pub(crate) fn flight_size(&self, out: u32) -> u32 {
        if self.is_limited(out) { self.congestion.cwnd().max(out) } else { out }
    }

    /// Whether the peer's window, though smaller than a segment, may be used (RFC 9293 §3.8.6.2.1).
    fn may_send_runt(&self) -> bool {
        self.wnd < self.mss() && self.wnd > 0 && (self.wnd >= self.wnd_max / 2 || self.sws_override)
    }

    pub(crate) fn flight_mut(&mut self) -> &mut Flight {
        self.flight.get_or_insert_with(|| Box::new(Flight::new()))
    }

    pub(crate) fn reserve(&mut self, bytes: u32) -> Range<u64> {
        let start = self.reserved;
        if self.finishing {
            return start..start;
        }
        self.reserved += u64::from(bytes);
        let (now, mss) = (self.seen, self.mss());
        let flight = self.flight.get_or_insert_with(|| Box::new(Flight::new()));
        flight.board.reserve(start, bytes);
        if self.paced {
            let slow_start = self.congestion.in_slow_start();
            flight.pacer.on_window(self.congestion.cwnd(), slow_start, self.rtt.srtt());
            flight.pacer.on_reserve(now, bytes);
            self.wake_for_credit(now, mss);
        }
        start..self.reserved
    }

    /// Asks to be woken when pacing, and nothing else, holds back a read.
    pub(crate) fn wake_for_credit(&mut self, now: Instant, mss: u32) {
        let Some(flight) = &mut self.flight else { return };
        // No read waits for more than ten segments.
        if !flight.pacer.holds_back(now, 10 * mss, mss) {
            flight.pacer.wake = Instant::NEVER;
            return;
        }
        let worthwhile = self.unpaced_credit(now).min(self.read_threshold(u64::MAX));
        let repairs = self.flight.as_ref().map_or(0, |flight| flight.board.lost() - flight.board.held_lost());
        let waits = worthwhile.max(repairs.min(mss));
        let finishing = self.finishing;
        let Some(flight) = &mut self.flight else { return };
        let blocked = waits > 0 && flight.pacer.tokens(now, mss) < waits && !(finishing && repairs == 0);
        flight.pacer.wake = if blocked { flight.pacer.ready_for(waits, mss) } else { Instant::NEVER };
    }

    /// The pacing rate follows cwnd and SRTT.
    pub(crate) fn follow_window(&mut self) {
        let (cwnd, slow_start, srtt) =
            (self.congestion.cwnd(), self.congestion.in_slow_start(), self.rtt.srtt());
        if let Some(flight) = &mut self.flight {
            flight.pacer.on_window(cwnd, slow_start, srtt);
        }
    }

    pub(crate) fn surrender(&mut self, range: Range<u64>) {
        let range = range.start.max(self.una)..range.end.min(self.reserved);
        if let Some(flight) = &mut self.flight
            && range.start < range.end
        {
            flight.board.surrender(range);
        }
    }

    /// Whether [`Self::wanted`] may have something.
    pub(crate) fn has_wanted(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| {
            let board = &flight.board;
            board.lost() > board.held_lost() || board.surrendered() > 0 || flight.probe_end != 0
        })
    }

    pub(crate) fn wanted(&mut self, now: Instant, bytes_max: u32) -> Option<Range<u64>> {
        self.seen = now;
        if !self.has_wanted() {
            return None;
        }
        let mss = self.mss();
        let cwnd = self.congestion.cwnd();
        let edge = self.edge();
        let runt = self.may_send_runt();
        let new_limit = edge.min(self.nxt + u64::from(self.congestion_allows(now)));
        let (una, nxt) = (self.una, self.nxt);
        let flight = self.flight.as_mut()?;
        if flight.probe_end != 0
            && let Some(probe) = flight.board.hold_probe(nxt)
        {
            return Some(probe);
        }
        let tokens = flight.pacer.tokens(now, mss);
        if flight.board.lost() > flight.board.held_lost() {
            let used = flight.pipe(mss).saturating_add(flight.board.held_lost());
            // With an empty pipe one segment may always leave: there is no ACK to wait for.
            let allowed = if used == 0 { cwnd.max(mss) } else { cwnd.saturating_sub(used) };
            let bytes = allowed.min(tokens).min(bytes_max.max(mss));
            // The first byte outstanding is repaired even when the peer took its window back (RFC 9293 §3.8.6).
            let limit = edge.max(una + 1);
            if let Some(range) = flight.board.hold_lost(limit, bytes, mss) {
                flight.pacer.on_reserve(now, clamp_u32(range.end - range.start));
                self.wake_for_credit(now, mss);
                return Some(range);
            }
            self.wake_for_credit(now, mss);
        }
        // What was paid for when it was reserved is not paced again.
        let grain = if runt { 1 } else { mss };
        self.flight.as_mut()?.board.hold_surrendered(nxt, new_limit, bytes_max.max(mss), grain)
    }

    /// The bytes of `range` are ready: what of them leaves now. Moves `range.start` past it and past what is not needed.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        range: &mut Range<u64>,
        bytes_max: u32,
        clock: &TimestampClock,
    ) -> Option<Burst> {
        self.seen = now;
        loop {
            range.start = range.start.max(self.una).min(range.end);
            if range.is_empty() || range.end > self.reserved || bytes_max == 0 {
                return None;
            }
            if range.start > self.nxt {
                return None;
            }
            if range.start == self.nxt {
                return self.transmit_new(now, range, bytes_max);
            }
            if range.start >= self.edge() && range.start > self.una {
                return None;
            }
            let mss = self.mss();
            let within = clamp_u32(self.edge().saturating_sub(range.start)).max(mss);
            let bytes = clamp_u32(range.end.min(self.nxt) - range.start).min(bytes_max).min(within);
            match self.flight.as_mut()?.board.again(now, range.start, bytes, mss) {
                Again::New => return None,
                Again::Skip(next) if next > range.start => range.start = next.min(range.end),
                Again::Skip(_) => return None,
                Again::Sent(sent) => {
                    range.start = sent.end;
                    self.on_retransmit(now, &sent, clock);
                    let fin = self.finishing && sent.end == self.reserved && self.is_fin_sent();
                    return Some(Burst { range: sent, retransmission: true, fin });
                }
            }
        }
    }

    fn on_retransmit(&mut self, now: Instant, sent: &Range<u64>, clock: &TimestampClock) {
        let bytes = clamp_u32(sent.end - sent.start);
        self.count_retransmission(bytes);
        let head = sent.start == self.una;
        if let Some(flight) = &mut self.flight {
            flight.prr.on_send(bytes);
            flight.undo.on_retransmit(bytes, clock.value(now));
        }
        self.sent_at = now;
        self.arm_on_retransmit(now, head);
    }

    fn count_retransmission(&mut self, bytes: u32) {
        self.counters.retransmitted_bytes = self.counters.retransmitted_bytes.wrapping_add(u64::from(bytes));
        let segments = bytes.div_ceil(self.mss());
        self.counters.retransmitted_segments = self.counters.retransmitted_segments.wrapping_add(segments);
    }

    fn transmit_new(&mut self, now: Instant, range: &mut Range<u64>, bytes_max: u32) -> Option<Burst> {
        let mss = self.mss();
        let by_peer = clamp_u32(self.edge().saturating_sub(self.nxt));
        let by_congestion = self.congestion_allows(now);
        let runt = self.may_send_runt() && by_peer <= by_congestion;
        let flight = self.flight.as_mut()?;
        if !flight.board.has_room() {
            return None;
        }
        let ready = clamp_u32(range.end - range.start).min(flight.board.held_from(self.nxt));
        let allowed = by_peer.min(by_congestion).min(bytes_max);
        let bytes = if ready <= allowed {
            ready
        } else if allowed >= mss {
            whole_segments(allowed, mss)
        } else if runt || allowed == bytes_max {
            allowed
        } else {
            0
        };
        if bytes == 0 {
            self.arm_persist(now);
            return None;
        }
        if !self.is_outstanding() {
            self.congestion.restart(self.cwnd(now));
            self.progress_at = now;
        }
        let start = self.nxt;
        let flight = self.flight.as_mut()?;
        flight.board.send_new(now, start, bytes, mss);
        flight.prr.on_send(bytes);
        self.nxt += u64::from(bytes);
        range.start = self.nxt;
        self.sent_at = now;
        self.sws_override = false;
        let fin = self.finishing && self.nxt == self.reserved && self.edge() > self.nxt;
        if fin {
            self.send_fin(now);
        }
        self.arm_on_new(now);
        Some(Burst { range: start..start + u64::from(bytes), retransmission: false, fin })
    }

    /// Whether our FIN should leave by itself: all bytes have left, or it is to leave again.
    pub(crate) fn is_fin_due(&self) -> bool {
        if self.is_fin_sent() {
            let lost = self.flight.as_ref().is_some_and(|flight| flight.board.is_fin_lost());
            return !self.is_fin_acknowledged() && (lost || self.fin_probe);
        }
        self.finishing && self.nxt == self.reserved && self.edge() > self.nxt
    }

    /// Our FIN leaves by itself; whether it had been sent before.
    pub(crate) fn transmit_fin(&mut self, now: Instant, clock: &TimestampClock) -> bool {
        self.seen = now;
        self.fin_probe = false;
        let again = self.is_fin_sent();
        if again {
            if let Some(flight) = &mut self.flight {
                flight.board.send_fin_again(now);
            }
            self.on_retransmit(now, &(self.reserved..self.reserved + 1), clock);
        } else {
            if !self.is_outstanding() {
                self.progress_at = now;
            }
            self.send_fin(now);
            self.arm_on_new(now);
        }
        again
    }

    fn send_fin(&mut self, now: Instant) {
        let start = self.reserved;
        self.flight_mut().board.send_fin(now, start);
        self.nxt = self.reserved + 1;
        self.sent_at = now;
    }

    /// The path takes segments of `mss` bytes (options not deducted).
    pub(crate) fn on_mss(&mut self, now: Instant, mss: u16, timestamps: bool) {
        let mss = payload_mss(mss, timestamps).min(self.mss_limit);
        let shrinks = mss < self.mss;
        self.mss = mss;
        self.congestion.on_mss(u32::from(mss));
        if shrinks && self.is_outstanding() {
            self.resegment(now);
        }
    }

    /// What is in flight reached nobody.
    pub(crate) fn on_path_changed(&mut self, now: Instant) {
        if self.is_outstanding() {
            self.resegment(now);
        }
    }

    /// The link carried nothing and carries again. RFC 6069's idea: timeouts that the link explains back nothing off.
    pub(crate) fn on_link_back(&mut self, now: Instant) {
        if self.is_outstanding() {
            if self.rtt.backoff() > 0 {
                self.resegment(now);
            }
        } else if self.timer.kind == Kind::Persist {
            self.ask_about_window(now);
        }
    }

    /// Smaller segments from now on, on suspicion: what is in flight is thought lost already.
    pub(crate) fn shrink_mss(&mut self, mss: u16, timestamps: bool) {
        self.mss = payload_mss(mss, timestamps).min(self.mss);
    }

    /// Gives back what only a transfer needs.
    pub(crate) fn lend(&mut self, spares: &mut Vec<Spare>) {
        if self.flight.is_none() {
            self.flight = spares.pop().map(|Spare(flight)| flight);
        }
    }

    pub(crate) fn give_back(&mut self, spares: &mut Vec<Spare>) {
        if let Some(mut flight) = self.flight.take()
            && spares.len() < spares.capacity()
            && flight.board.heap_bytes() <= SPARE_HEAP_BYTES_MAX
        {
            flight.reset();
            spares.push(Spare(flight));
        }
    }

    pub(crate) fn trim(&mut self) {
        if self.una == self.nxt && self.reserved <= self.nxt {
            self.flight = None;
        }
    }
}

fn payload_mss(mss: u16, timestamps: bool) -> u16 {
    let mss = mss.max(MSS_MIN);
    if timestamps { mss - TIMESTAMPS_BYTES } else { mss }
}
