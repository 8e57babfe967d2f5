//! The TCB, its states, and the order in which a segment goes through it (RFC 9293 §3.10.7).
//!
//! ```text
//!   on_segment ─► refuse? (PAWS, window, RST, SYN) ─► ACK (ack.rs) ─► payload, FIN (receiver.rs) ─► Events
//!   on_deadline ─► delayed ACK · retransmission · idle ───────────────────────────────────────────► Events
//!   poll_control, transmit ─► Outgoing
//! ```

use crate::ack::AckSegment;
use crate::config::Config;
use crate::events::Events;
use crate::info::Info;
use crate::num::clamp_u32;
use crate::receiver::{AckDue, Receiver};
use crate::segment::Outgoing;
use crate::sender::{Flight, Sender, Spare};
use crate::timers::Kind;
use crate::timestamps::{TimestampClock, precedes};
use crate::validate::Throttle;
use alloc::vec::Vec;
use clock::Instant;
use core::ops::Range;
use core::time::Duration;
use wire::tcp::{Flags, Header, Options, SACK_BLOCKS_MAX, SeqNum, Timestamps};

#[cfg(test)]
mod tests;

/// So long after the last word an idle connection gives back what only a transfer needs.
const TRIM_AFTER: Duration = Duration::from_secs(1);

/// The states of RFC 9293 §3.3.2, LISTEN excepted, which needs no TCB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is left: the owner may forget it once [`Connection::poll_control`] is dry.
    Closed,
    /// We asked.
    SynSent,
    /// We were asked, and answered.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// We finished; not acknowledged yet.
    FinWait1,
    /// We finished and the peer knows; it may still send.
    FinWait2,
    /// The peer finished; we may still send.
    CloseWait,
    /// Both finished at once; ours is not acknowledged yet.
    Closing,
    /// The peer finished, then we did; ours is not acknowledged yet.
    LastAck,
    /// All is said: keep [`Connection::time_wait`] instead of the connection.
    TimeWait,
}

impl State {
    /// Whether our SYN was acknowledged and the connection still lives.
    const fn is_synchronized(self) -> bool {
        !matches!(self, Self::Closed | Self::SynSent | Self::SynReceived | Self::TimeWait)
    }

    /// Whether new data may be sent.
    const fn may_send(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }
}

bitflags::bitflags! {
    /// Control segments that [`Connection::poll_control`] owes the peer besides ACK, FIN and probes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Pending: u8 {
        const SYN = 1 << 0;
        const RST = 1 << 1;
    }
}

/// The TCB of RFC 9293 §3.3.1: one connection, as a value.
///
/// **Kinds of methods.** `on_*` tells what happened: a segment came, a deadline passed, the path changed. `poll_control`
/// and `transmit` give segments to send; `wanted` gives ranges to fetch. The rest asks or orders, and does nothing by
/// itself.
///
/// **Order.** After any `on_*`, `reserve`, `finish`, `abort` or `set_receive_window`: fetch what [`Self::wanted`] says
/// until it is `None`; read [`Self::credit`] bytes if that is [`Self::read_threshold`] or more; `transmit` what is
/// ready; then [`Self::poll_control`] until it is `None` (last, so that ACKs ride on data); then ask for the new
/// [`Self::deadline`].
///
/// **Law of time.** `now` never goes back. Timers fire only through [`Self::on_deadline`].
///
/// **Ranges.** A range given by `reserve` or `wanted` is *held* by the owner until all of it went through `transmit`
/// or `surrender`. Ranges of new data leave in order: `transmit` of a later one waits for the earlier.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(crate) snd: Sender,
    pub(crate) rcv: Receiver,
    pub(crate) clock: TimestampClock,
    pub(crate) throttle: Throttle,
    /// When the peer last said something acceptable.
    pub(crate) heard_at: Instant,
    /// The timer of an idle connection: keepalive, FIN-WAIT-2, giving memory back.
    pub(crate) idle_at: Instant,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) state: State,
    pub(crate) pending: Pending,
    /// SYNs, SYN-ACKs or keepalive probes sent without an answer.
    pub(crate) attempts: u8,
}

/// An idle connection has no heap, so this is all it takes.
const _: () = assert!(size_of::<Connection>() <= 400);

impl Connection {
    /// A segment for this connection came. Payload that is in order goes to `deliver` at once, straight from `payload`
    /// when nothing was missing before it.
    pub fn on_segment(
        &mut self,
        config: &Config,
        now: Instant,
        header: &Header,
        payload: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Events {
        let opening = match self.state {
            State::Closed | State::TimeWait => return Events::CLOSED | Events::DROPPED,
            State::SynSent => Some(self.on_segment_in_syn_sent(config, now, header)),
            State::SynReceived => self.on_segment_in_syn_received(now, header),
            _ => None,
        };
        let events = match opening {
            Some(events) => events,
            None => self.on_segment_synchronized(config, now, header, payload, deliver),
        };
        self.arm_idle(config);
        events
    }

    #[inline]
    fn on_segment_synchronized(
        &mut self,
        config: &Config,
        now: Instant,
        header: &Header,
        payload: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Events {
        let Ok(payload_bytes) = u32::try_from(payload.len()) else { return Events::DROPPED };
        if let Some(refused) = self.refuse(now, header, payload_bytes) {
            return refused;
        }
        let mut events = Events::empty();
        if self.state == State::SynReceived {
            events |= self.on_ack_in_syn_received(now, header.ack);
            if events.contains(Events::DROPPED) {
                return events;
            }
        }
        let Some(ack) = self.believe_ack(now, header.ack) else { return Events::DROPPED };
        self.heard_at = now;
        self.attempts = 0;
        let echo = self.take_timestamps(now, header);
        events |= self.on_ack(now, header, ack, payload_bytes, echo);
        if self.state == State::Closed {
            return events;
        }
        let fin = header.flags.contains(Flags::FIN);
        if payload_bytes > 0 || fin {
            let received = self.rcv.on_payload(config, now, header.seq, payload, fin, deliver);
            events.set(Events::DELIVERED, received.delivered);
            if received.finished {
                events |= self.on_peer_finished();
            }
        }
        events
    }

    /// TS.Recent follows what we acknowledged (RFC 7323 §4.3); returns TSecr.
    fn take_timestamps(&mut self, now: Instant, header: &Header) -> Option<u32> {
        if !self.clock.enabled {
            return None;
        }
        let Timestamps { value, echo } = header.options.timestamps?;
        if !precedes(value, self.clock.recent) && !header.seq.after(self.rcv.acked) {
            self.clock.refresh(now, value);
        }
        Some(echo)
    }

    fn on_ack(
        &mut self,
        now: Instant,
        header: &Header,
        offset: u64,
        payload_bytes: u32,
        echo: Option<u32>,
    ) -> Events {
        let was_fin_acknowledged = self.snd.is_fin_acknowledged();
        let ack = AckSegment {
            seq: header.seq,
            number: header.ack,
            offset,
            window: u32::from(header.window) << self.snd.scale,
            sack: &header.options.sack,
            echo,
            bare: payload_bytes == 0 && !header.flags.intersects(Flags::FIN | Flags::SYN),
        };
        let mut events = self.snd.on_ack(now, &ack, &self.clock);
        if self.snd.is_fin_acknowledged() && !was_fin_acknowledged {
            events |= self.on_fin_acknowledged();
        }
        events
    }

    /// [`Self::deadline`] has passed. Harmless when it has not.
    pub fn on_deadline(&mut self, config: &Config, now: Instant) -> Events {
        if matches!(self.state, State::Closed | State::TimeWait) {
            return Events::CLOSED;
        }
        self.rcv.on_ack_timer(now);
        let mut events = Events::empty();
        if self.snd.timer.at <= now {
            events |= match self.state {
                State::SynSent | State::SynReceived => self.on_syn_timer(config, now),
                _ => self.snd.on_retransmit_timer(config, now, self.heard_at, self.clock.enabled),
            };
            if self.state != State::Closed && events.contains(Events::TIMED_OUT) {
                return self.on_timed_out();
            }
        }
        if let Some(flight) = &mut self.snd.flight
            && flight.pacer.wake <= now
        {
            flight.pacer.wake = Instant::NEVER;
            self.snd.seen = now;
            events |= Events::CREDIT;
            if self.snd.has_wanted() {
                events |= Events::WANTED;
            }
        }
        if self.idle_at <= now {
            events |= self.on_idle_timer(config, now);
        }
        events
    }

    /// The earliest time at which [`Self::on_deadline`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let wake = self.snd.flight.as_ref().map_or(Instant::NEVER, |flight| flight.pacer.wake);
        let earliest = self.snd.timer.at.min(self.rcv.ack_at).min(self.idle_at).min(wake);
        (earliest != Instant::NEVER).then_some(earliest)
    }

    // ── New data: the owner takes credit ─────────────────────────────────────────────────────────────────────────────

    /// Bytes of new data that may be read now: min(cwnd, peer's window) less what is in flight and what is being read,
    /// as far as pacing lets through.
    #[must_use]
    pub fn credit(&self, now: Instant) -> u32 {
        if self.state.may_send() { self.snd.credit(now) } else { 0 }
    }

    /// min(cwnd, peer's window), in bytes.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.snd.window()
    }

    /// How much [`Self::credit`] makes a read worthwhile when `left` bytes are still to be read:
    /// min(10·MSS, max(MSS, window/4), left), window/8 once something was lost, less while losses are repaired, and less
    /// when the peer's window will never be that large. At least 1.
    ///
    /// What is not taken of a small window is missing from the path. With half a window instead of a quarter the harness of
    /// `tests/two_ends.rs` measures 0.42 MB/s instead of 0.61 at 1 % loss and 20 ms. An eighth after the first loss, and a
    /// full window halved as such and not as what was in flight, bring 512 KB at 1 % and 25 ms in 471 ms instead of 562
    /// (CUBIC) and 593 instead of 681 (NewReno). Large windows read 10·MSS at a time in any case.
    #[must_use]
    pub fn read_threshold(&self, left: u64) -> u32 {
        self.snd.read_threshold(left)
    }

    /// The next `bytes` of the stream exist from now on and are being fetched: their place. May exceed the credit by
    /// what a record needs; the tail then waits. Empty after [`Self::finish`].
    pub fn reserve(&mut self, bytes: u32) -> Range<u64> {
        self.snd.reserve(bytes)
    }

    // ── Old data: TCP asks ───────────────────────────────────────────────────────────────────────────────────────────

    /// The next range, reserved before, that should be fetched (again) now: it was lost, it probes the tail, or it was
    /// surrendered unsent and may leave now. At most about `bytes_max`; held from now.
    pub fn wanted(&mut self, now: Instant, bytes_max: u32) -> Option<Range<u64>> {
        if self.state.is_synchronized() { self.snd.wanted(now, bytes_max) } else { None }
    }

    /// Whether [`Self::wanted`] may have something: for an owner without room, who will ask later.
    #[must_use]
    pub fn has_wanted(&self) -> bool {
        self.state.is_synchronized() && self.snd.has_wanted()
    }

    /// The held bytes of `range` were dropped (no frame, a closed window, a failed read): they will be
    /// [`Self::wanted`] again.
    pub fn surrender(&mut self, range: Range<u64>) {
        self.snd.surrender(range);
    }

    /// The bytes of `range`, which the owner holds, are ready: what of them leaves now, at most `bytes_max`.
    ///
    /// Moves `range.start` past what leaves and past what is not needed any more. `None`: no more may leave now; of a
    /// range that is not empty then the owner keeps the bytes, or surrenders them.
    pub fn transmit(&mut self, now: Instant, range: &mut Range<u64>, bytes_max: u32) -> Option<Outgoing> {
        if !self.state.is_synchronized() {
            if matches!(self.state, State::Closed | State::TimeWait) {
                range.start = range.end;
            }
            return None;
        }
        let burst = self.snd.transmit(now, range, bytes_max, &self.clock)?;
        let mut flags = Flags::ACK;
        flags.set(Flags::FIN, burst.fin);
        flags.set(Flags::PSH, burst.range.end == self.snd.reserved);
        let header = self.bare_header(now, self.snd.seq(burst.range.start), flags);
        if self.rcv.has_reports() {
            // SACK blocks would not fit beside a full segment's payload: a bare ACK tells them.
            self.rcv.ack_due = AckDue::Now;
        } else {
            self.rcv.on_ack_sent();
        }
        if burst.fin {
            self.on_fin_sent();
        }
        Some(Outgoing { header, range: burst.range, retransmission: burst.retransmission, mss: self.snd.mss })
    }

    // ── Control segments ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Whether [`Self::poll_control`] may have something, without which it has nothing.
    #[must_use]
    pub fn owes_control(&self) -> bool {
        !self.pending.is_empty()
            || self.rcv.ack_due == AckDue::Now
            || self.snd.window_probe
            || self.snd.is_fin_due()
    }

    /// The next control segment that is due: RST, SYN, SYN-ACK, bare FIN, probe, ACK. Ask until `None`.
    pub fn poll_control(&mut self, config: &Config, now: Instant) -> Option<Outgoing> {
        if !self.pending.is_empty() {
            return self.poll_reset(now).or_else(|| self.poll_syn(config, now));
        }
        if self.state.is_synchronized() {
            if self.snd.is_fin_due() {
                let again = self.snd.transmit_fin(now, &self.clock);
                self.on_fin_sent();
                let mut outgoing = self.acknowledge(now, self.snd.reserved, Flags::FIN | Flags::ACK);
                outgoing.retransmission = again;
                return Some(outgoing);
            }
            if self.snd.window_probe {
                self.snd.window_probe = false;
                // An old number provokes an ACK and is in nobody's way (RFC 9293 §3.8.4).
                let mut outgoing = self.acknowledge(now, self.snd.una, Flags::ACK);
                outgoing.header.seq -= 1;
                return Some(outgoing);
            }
        }
        // Before the handshake is complete SYNs say it all.
        let speaks = self.state.is_synchronized() || self.state == State::TimeWait;
        if self.rcv.ack_due != AckDue::Now || !speaks {
            return None;
        }
        Some(self.acknowledge(now, self.snd.nxt, Flags::ACK))
    }

    /// A segment without payload that acknowledges all there is and reports all that came early.
    fn acknowledge(&mut self, now: Instant, offset: u64, flags: Flags) -> Outgoing {
        let mut header = self.bare_header(now, self.snd.seq(offset), flags);
        let room = if self.clock.enabled { SACK_BLOCKS_MAX - 1 } else { SACK_BLOCKS_MAX };
        header.options.sack = self.rcv.report(room);
        self.rcv.on_ack_sent();
        Outgoing { header, range: 0..0, retransmission: false, mss: self.snd.mss }
    }

    pub(crate) fn bare_header(&mut self, now: Instant, seq: SeqNum, flags: Flags) -> Header {
        let timestamps =
            self.clock.enabled.then(|| Timestamps { value: self.clock.value(now), echo: self.clock.recent });
        Header {
            source_port: self.local_port,
            destination_port: self.remote_port,
            seq,
            ack: if flags.contains(Flags::ACK) { self.rcv.nxt } else { SeqNum(0) },
            flags,
            window: self.rcv.advertise(),
            urgent: 0,
            options: Options { timestamps, ..Options::NONE },
        }
    }

    // ── Idle ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// When the idle timer should look, at the latest.
    fn idle_deadline(&self, config: &Config) -> Instant {
        if !self.state.is_synchronized() {
            return Instant::NEVER;
        }
        let mut at = Instant::NEVER;
        if self.snd.flight.is_some() && !self.snd.is_outstanding() {
            // What was said counts, not what was asked: this very timer makes the owner ask.
            at = self.heard_at.max(self.snd.sent_at) + TRIM_AFTER;
        }
        if let Some(keepalive) = config.keepalive {
            at = at.min(self.heard_at + keepalive.idle + keepalive.interval * u32::from(self.attempts));
        }
        if self.state == State::FinWait2 {
            at = at.min(self.heard_at + config.fin_wait_2);
        }
        at
    }

    fn arm_idle(&mut self, config: &Config) {
        self.idle_at = self.idle_at.min(self.idle_deadline(config));
    }

    fn on_idle_timer(&mut self, config: &Config, now: Instant) -> Events {
        self.idle_at = Instant::NEVER;
        if self.state == State::FinWait2 && now.since(self.heard_at) >= config.fin_wait_2 {
            // The peer never finished its half; ours is complete.
            self.enter_closed();
            return Events::TIMED_OUT | Events::CLOSED;
        }
        if now.since(self.heard_at.max(self.snd.sent_at)) >= TRIM_AFTER {
            self.snd.trim();
        }
        if let Some(keepalive) = config.keepalive
            && self.state.is_synchronized()
            && !self.snd.is_outstanding()
        {
            let next = self.heard_at + keepalive.idle + keepalive.interval * u32::from(self.attempts);
            if next <= now {
                if self.attempts >= keepalive.probes {
                    return self.on_timed_out();
                }
                self.attempts += 1;
                self.snd.window_probe = true;
            }
        }
        let next = self.idle_deadline(config);
        // Data outstanding has its own timers: look again when they may be done.
        self.idle_at = if next <= now { now + TRIM_AFTER } else { next };
        Events::empty()
    }

    // ── The rest ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Everything below this offset was acknowledged: the owner may forget it.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.snd.una.min(self.snd.reserved)
    }

    /// Everything below this offset was sent at least once.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.snd.nxt.min(self.snd.reserved)
    }

    /// Everything below this offset was reserved.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.snd.reserved
    }

    /// Bytes reserved and never sent.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.snd.reserved.saturating_sub(self.snd.nxt)
    }

    /// Where in RFC 9293's diagram it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Our port and the peer's.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        (self.local_port, self.remote_port)
    }

    /// Whether [`Self::finish`] was called.
    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.snd.finishing
    }

    /// The owner has room for `bytes` more of the peer's stream. What was promised before stays promised: the window's
    /// right edge never moves back.
    pub fn set_receive_window(&mut self, bytes: u32) {
        self.rcv.set_free(bytes);
    }

    /// The path takes segments of `mss` bytes (its MTU less 40 or 60, options not deducted). What is in flight in larger
    /// ones is sent again.
    pub fn on_mss(&mut self, now: Instant, mss: u16) {
        if self.state.is_synchronized() {
            self.snd.on_mss(now, mss, self.clock.enabled);
        }
    }

    /// Packets went to where nobody takes them, and go elsewhere from now on: what is in flight is sent again, now and not when
    /// a timer that was backed off fires. That is no sign of congestion.
    pub fn on_path_changed(&mut self, now: Instant) {
        if self.state.is_synchronized() {
            self.snd.on_path_changed(now);
        }
    }

    /// The link carried nothing for a while and carries again. Timeouts meanwhile were the link's: what had timed out is sent
    /// again now, a shut window is asked about now, and no timer stays backed off, for whoever is at the other end of the
    /// cable may need another moment.
    pub fn on_link_back(&mut self, now: Instant) {
        if self.state.is_synchronized() {
            self.snd.on_link_back(now);
        }
    }

    /// Payload per segment, in bytes.
    #[must_use]
    pub fn mss(&self) -> u16 {
        self.snd.mss
    }

    /// Whether an ICMP message that quotes `seq` can be about what we sent (RFC 5927 §4.1).
    #[must_use]
    pub fn is_plausible(&self, seq: SeqNum) -> bool {
        match self.state {
            State::Closed | State::TimeWait => false,
            State::SynSent | State::SynReceived => seq == self.snd.iss,
            _ => self.snd.offset(seq).is_some_and(|offset| (self.snd.una..self.snd.nxt).contains(&offset)),
        }
    }

    /// Bytes of heap that the connection holds; none when it is idle.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let flight =
            self.snd.flight.as_ref().map_or(0, |flight| size_of::<Flight>() + flight.board.heap_bytes());
        flight + self.rcv.heap_bytes()
    }

    /// Keeps the state of the transfer that is about to begin in memory that another connection gave back, if there is any.
    /// It costs what an allocation saves, so only a connection that is about to [`reserve`](Self::reserve) is lent any.
    pub fn lend(&mut self, spares: &mut Vec<Spare>) {
        self.snd.lend(spares);
    }

    /// At the end: the memory of its transfer is for another connection, if `spares` has the capacity for it.
    pub fn give_back(&mut self, spares: &mut Vec<Spare>) {
        self.snd.give_back(spares);
    }

    /// The smoothed round-trip time, once there is one.
    #[must_use]
    pub fn srtt(&self) -> Option<Duration> {
        self.snd.rtt.srtt()
    }

    /// What there is to know, for statistics.
    #[must_use]
    pub fn info(&self) -> Info {
        let snd = &self.snd;
        let board = snd.flight.as_ref().map(|flight| &flight.board);
        Info {
            state: self.state,
            cwnd: snd.congestion.cwnd(),
            ssthresh: snd.congestion.ssthresh(),
            snd_wnd: snd.wnd,
            srtt: snd.rtt.srtt(),
            rttvar: snd.rtt.rttvar(),
            rtt_min: snd.rtt.min(),
            rto: snd.rtt.rto(),
            mss: snd.mss,
            in_flight: snd.flight.as_ref().map_or(0, |flight| flight.pipe(u32::from(snd.mss))),
            lost: board.map_or(0, |board| board.lost()),
            sacked: board.map_or(0, |board| board.sacked()),
            unsent: self.unsent(),
            pacing_rate: snd.flight.as_ref().map_or(0, |flight| flight.pacer.rate()),
            reordering: snd.reordering.seen,
            sent_map_entries: board.map_or(0, |board| board.len()),
            reassembly_bytes: clamp_u32(u64::try_from(self.rcv.reassembly_bytes()).unwrap_or(u64::MAX)),
            counters: snd.counters,
        }
    }

    /// The shift count of the peer's window (RFC 7323 §2.2); 0 when not agreed.
    #[must_use]
    pub fn peer_window_scale(&self) -> u8 {
        self.snd.scale
    }

    /// Whether the sender waits for the peer's window to open.
    #[must_use]
    pub fn is_window_shut(&self) -> bool {
        self.snd.timer.kind == Kind::Persist
    }
}
