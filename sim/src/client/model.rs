//! A TCP of our own that can misbehave: the client that real stacks cannot be made to be.
//!
//! ```text
//!   Manners ──▶ Receiving: reassembly, SACK and DSACK, windows, when to acknowledge
//!          └──▶ Sending:   go-back-N with a timer; requests are short
//! ```
//!
//! It shares no code with `proto/tcp`. It also watches: what the server does that no window, no option and no RFC
//! allows becomes a [`Violation`].

use alloc::collections::VecDeque;
use clock::Instant;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::{Ended, Phase, Transport};
use crate::network::Frame;
use crate::packet::{ACK, FIN, Mac, PSH, RST, SYN, Segment};
use crate::random::Dice;

mod manners;
mod receiving;
mod sending;

#[cfg(test)]
mod tests;

pub use manners::{AckPlan, Manners, WindowPlan};
use receiving::Receiving;
use sending::Sending;

/// A connection ends without an answer to this many retransmissions.
const ATTEMPTS_MAX: u32 = 14;

/// Closed connections that still acknowledge a FIN sent again.
const LINGERING_MAX: usize = 4;

/// What the server may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Data behind the right edge of every window we ever advertised (RFC 9293 §3.8.6).
    BeyondWindow {
        /// How far behind, in bytes.
        bytes: u64,
    },
    /// A segment larger than the MSS we sent (RFC 9293 §3.7.1).
    BeyondMss {
        /// Its payload and options, in bytes.
        bytes: usize,
    },
    /// An acknowledgment of bytes that we never sent.
    AckOfUnsent,
    /// A byte that was sent again with another value.
    Rewritten {
        /// Where in the stream.
        offset: u64,
    },
    /// Bytes behind the FIN, or a FIN that moved (RFC 9293 §3.4).
    BeyondFin,
    /// Timestamps were agreed on and are missing (RFC 7323 §3.2).
    TimestampsMissing,
    /// The timestamp clock went backwards in a segment that was not reordered.
    TimestampEchoUnknown,
    /// An option that we did not offer.
    OptionNotOffered,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondWindow { bytes } => write!(f, "data {bytes} bytes behind every advertised window"),
            Self::BeyondMss { bytes } => write!(f, "a segment of {bytes} bytes above our MSS"),
            Self::AckOfUnsent => f.write_str("an acknowledgment of what was never sent"),
            Self::Rewritten { offset } => write!(f, "stream byte {offset} sent again with another value"),
            Self::BeyondFin => f.write_str("data behind the FIN"),
            Self::TimestampsMissing => f.write_str("timestamps were agreed on and are missing"),
            Self::TimestampEchoUnknown => f.write_str("an echo of a timestamp that we never sent"),
            Self::OptionNotOffered => f.write_str("an option that we did not offer"),
        }
    }
}

/// The model client's TCP: one connection at a time, and the few before it that linger.
#[derive(Debug)]
pub struct ModelTcp {
    local: (Mac, SocketAddr),
    server: (Mac, SocketAddr),
    manners: Manners,
    dice: Dice,
    connection: Option<Connection>,
    lingering: VecDeque<Connection>,
    /// Answers to segments that belong to nobody.
    strays: Vec<Frame>,
    violations: Vec<Violation>,
    silent: bool,
}

impl ModelTcp {
    /// A TCP at `local`, whose port is the first to be used, for a server at `server`, whose port does not matter.
    #[must_use]
    pub fn new(local: (Mac, SocketAddr), server: (Mac, SocketAddr), manners: Manners, dice: Dice) -> Self {
        Self {
            local,
            server,
            manners,
            dice,
            connection: None,
            lingering: VecDeque::new(),
            strays: Vec::new(),
            violations: Vec::new(),
            silent: false,
        }
    }

    /// The manners in force.
    #[must_use]
    pub fn manners(&self) -> &Manners {
        &self.manners
    }
}

impl Transport for ModelTcp {
    fn open(&mut self, now: Instant, port: u16) {
        if let Some(old) = self.connection.take()
            && matches!(old.phase(), Phase::Ended(Ended::Finished) | Phase::PeerFinished)
        {
            if self.lingering.len() == LINGERING_MAX {
                self.lingering.pop_front();
            }
            self.lingering.push_back(old);
        }
        let next = self.local.1.port().checked_add(1).unwrap_or(1_024);
        let local = (self.local.0, self.local.1);
        self.local.1.set_port(next);
        let mut remote = self.server;
        remote.1.set_port(port);
        let iss = if self.manners.iss_near_wrap {
            u32::MAX - u32::try_from(self.dice.within(0..20_000)).expect("small")
        } else {
            u32::try_from(self.dice.number() >> 32).expect("32 bits")
        };
        self.connection = Some(Connection::new(now, local, remote, iss, &self.manners, self.dice.fork()));
        self.silent = false;
    }

    fn phase(&self) -> Phase {
        self.connection.as_ref().map_or(Phase::Ended(Ended::Aborted), Connection::phase)
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.connection.as_mut().map_or(0, |connection| connection.snd.write(bytes))
    }

    fn receive(&mut self, now: Instant, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        self.connection.as_mut().map_or(0, |connection| connection.rcv.read(now, bytes_max, out))
    }

    fn finish(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.snd.finish();
        }
    }

    fn abort(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.abort(now);
        }
    }

    fn vanish(&mut self) {
        self.silent = true;
    }

    fn forget(&mut self) {
        self.connection = None;
        self.lingering.clear();
    }

    fn behave(&mut self) {
        self.manners.behave();
        if let Some(connection) = &mut self.connection {
            connection.rcv.behave();
        }
    }

    fn on_frame(&mut self, now: Instant, frame: &[u8]) {
        if self.silent {
            return;
        }
        let Ok((segment, payload)) = Segment::parse(frame) else { return };
        if segment.destination.ip() != self.local.1.ip() || segment.destination_mac != self.local.0 {
            return;
        }
        let payload = &frame[payload];
        let ours = |connection: &&mut Connection| {
            connection.local.1 == segment.destination && connection.remote.1 == segment.source
        };
        if let Some(connection) = self.connection.as_mut().filter(ours) {
            connection.on_segment(now, &segment, payload, &mut self.violations);
        } else if let Some(connection) = self.lingering.iter_mut().find(|connection| ours(connection)) {
            connection.on_segment(now, &segment, payload, &mut self.violations);
        } else if !segment.has(RST) {
            self.strays.push(reset_for(&segment, payload.len()));
        }
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        let before = out.len();
        for connection in self.lingering.iter_mut().chain(&mut self.connection) {
            connection.poll(now, out);
        }
        out.append(&mut self.strays);
        if self.silent {
            out.truncate(before);
        }
    }

    fn deadline(&self) -> Instant {
        if self.silent {
            return Instant::NEVER;
        }
        self.connection.as_ref().map_or(Instant::NEVER, Connection::deadline)
    }

    fn take_violations(&mut self) -> Vec<Violation> {
        core::mem::take(&mut self.violations)
    }
}

/// RFC 9293 §3.10.7.1: what a segment gets that belongs to no connection.
fn reset_for(segment: &Segment, payload_bytes: usize) -> Frame {
    let mut reset = Segment::between(
        (segment.destination_mac, segment.destination),
        (segment.source_mac, segment.source),
    );
    if segment.has(ACK) {
        reset.seq = segment.ack;
        reset.flags = RST;
    } else {
        let len = u32::try_from(payload_bytes).unwrap_or(u32::MAX)
            + u32::from(segment.has(SYN))
            + u32::from(segment.has(FIN));
        reset.ack = segment.seq.wrapping_add(len);
        reset.flags = RST | ACK;
    }
    reset.emit(&[])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SynSent,
    Open,
    Ended(Ended),
}

/// One connection.
#[derive(Debug)]
struct Connection {
    local: (Mac, SocketAddr),
    remote: (Mac, SocketAddr),
    state: State,
    snd: Sending,
    rcv: Receiving,
    timestamps: Option<Timestamps>,
    offers_timestamps: bool,
    offers_sack: bool,
    half_open: bool,
    mss: u16,
    reset: Option<Frame>,
    /// When to ask whether the server is still there.
    keepalive: Instant,
}

/// RFC 7323's state.
#[derive(Clone, Copy, Debug)]
struct Timestamps {
    recent: u32,
}

impl Connection {
    fn new(
        now: Instant,
        local: (Mac, SocketAddr),
        remote: (Mac, SocketAddr),
        iss: u32,
        manners: &Manners,
        dice: Dice,
    ) -> Self {
        Self {
            local,
            remote,
            state: State::SynSent,
            snd: Sending::new(now, iss),
            rcv: Receiving::new(now, manners.clone(), dice),
            timestamps: None,
            offers_timestamps: manners.timestamps,
            offers_sack: manners.sack,
            half_open: manners.half_open,
            mss: manners.mss,
            reset: None,
            keepalive: now + KEEPALIVE,
        }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Ended(how) => Phase::Ended(how),
            State::SynSent => Phase::Opening,
            State::Open if self.rcv.finished() && self.snd.fin_acknowledged() => {
                Phase::Ended(Ended::Finished)
            }
            State::Open if self.rcv.finished() => Phase::PeerFinished,
            State::Open => Phase::Open,
        }
    }

    fn abort(&mut self, now: Instant) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        let mut reset = self.segment(now);
        reset.flags = if self.state == State::SynSent { RST } else { RST | ACK };
        reset.seq = self.snd.next_seq();
        self.reset = Some(reset.emit(&[]));
        self.state = State::Ended(Ended::Aborted);
    }

    fn on_segment(
        &mut self,
        now: Instant,
        segment: &Segment,
        payload: &[u8],
        violations: &mut Vec<Violation>,
    ) {
        match self.state {
            State::SynSent => self.on_segment_in_syn_sent(now, segment, violations),
            State::Open => self.on_segment_in_open(now, segment, payload, violations),
            State::Ended(_) => {}
        }
    }

    fn on_segment_in_syn_sent(&mut self, now: Instant, segment: &Segment, violations: &mut Vec<Violation>) {
        if !segment.has(ACK) || segment.ack != self.snd.iss.wrapping_add(1) {
            return;
        }
        if segment.has(RST) {
            self.state = State::Ended(Ended::Reset);
            return;
        }
        if !segment.has(SYN) || self.half_open {
            return;
        }
        let scale_offered = self.rcv.manners.window_scale.is_some();
        if segment.window_scale.is_some() && !scale_offered
            || segment.sack_permitted && !self.offers_sack
            || segment.timestamps.is_some() && !self.offers_timestamps
        {
            violations.push(Violation::OptionNotOffered);
        }
        if let Some((value, _)) = segment.timestamps.filter(|_| self.offers_timestamps) {
            self.timestamps = Some(Timestamps { recent: value });
        }
        let scaled = scale_offered && segment.window_scale.is_some();
        self.rcv.established(segment.seq, scaled, self.offers_sack && segment.sack_permitted);
        let shift = if scaled { segment.window_scale.unwrap_or(0) } else { 0 };
        self.snd.established(now, shift, segment.window, segment.mss.unwrap_or(536));
        self.state = State::Open;
    }

    fn on_segment_in_open(
        &mut self,
        now: Instant,
        segment: &Segment,
        payload: &[u8],
        violations: &mut Vec<Violation>,
    ) {
        if segment.has(RST) {
            // Only a reset at exactly the expected byte counts (RFC 5961 §3.2).
            if segment.seq == self.rcv.next_seq() {
                self.state = State::Ended(Ended::Reset);
            } else {
                self.rcv.acknowledge_now();
            }
            return;
        }
        if segment.has(SYN) {
            // The server sends its SYN-ACK again: our acknowledgment was lost.
            self.rcv.acknowledge_now();
            return;
        }
        self.keepalive = now + KEEPALIVE;
        self.check_options(segment, payload.len(), violations);
        if let (Some(timestamps), Some((value, _))) = (&mut self.timestamps, segment.timestamps)
            && !self.rcv.is_ahead(segment.seq)
            && value.wrapping_sub(timestamps.recent).cast_signed() > 0
        {
            timestamps.recent = value;
        }
        if segment.has(ACK) {
            self.snd.on_ack(now, segment.ack, segment.window, violations);
        }
        self.rcv.on_data(now, segment.seq, payload, segment.has(FIN), violations);
    }

    fn check_options(&self, segment: &Segment, payload_bytes: usize, violations: &mut Vec<Violation>) {
        if self.timestamps.is_some() && segment.timestamps.is_none() {
            violations.push(Violation::TimestampsMissing);
        }
        if segment.timestamps.is_some() && self.timestamps.is_none()
            || !segment.sack.is_empty() && !self.offers_sack
        {
            violations.push(Violation::OptionNotOffered);
        }
        // RFC 6691 §2: the MSS does not count options, the sender must.
        let options = if segment.timestamps.is_some() { 12 } else { 0 }
            + if segment.sack.is_empty() { 0 } else { 4 + 8 * segment.sack.len() };
        let bytes = payload_bytes + options;
        // Nobody need send less than 64 bytes at a time (Linux: TCP_MIN_SND_MSS is 48).
        if bytes > usize::from(self.mss) && payload_bytes > 64 {
            violations.push(Violation::BeyondMss { bytes: bytes - usize::from(self.mss) });
        }
    }

    /// A segment with everything that every segment has.
    fn segment(&self, now: Instant) -> Segment {
        let mut segment = Segment::between(self.local, self.remote);
        segment.timestamps = self.timestamps.map(|timestamps| (Self::timestamp(now), timestamps.recent));
        if self.state != State::SynSent {
            segment.flags = ACK;
            segment.ack = self.rcv.next_seq();
        }
        segment
    }

    /// RFC 7323 §5.4: a millisecond each, from anywhere.
    fn timestamp(now: Instant) -> u32 {
        u32::try_from((now.as_millis() + 0xFFFF_0000) & 0xFFFF_FFFF).expect("masked")
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        out.extend(self.reset.take());
        match self.state {
            State::SynSent => self.poll_syn(now, out),
            State::Open => self.poll_open(now, out),
            State::Ended(_) => {}
        }
    }

    fn poll_syn(&mut self, now: Instant, out: &mut Vec<Frame>) {
        if !self.snd.on_timer(now) {
            return;
        }
        if self.snd.attempts() > ATTEMPTS_MAX {
            self.state = State::Ended(Ended::TimedOut);
            return;
        }
        let mut syn = self.segment(now);
        syn.flags = SYN;
        syn.seq = self.snd.iss;
        syn.window = self.rcv.window_of_syn();
        syn.mss = Some(self.mss);
        syn.window_scale = self.rcv.manners.window_scale;
        syn.sack_permitted = self.offers_sack;
        if self.offers_timestamps {
            syn.timestamps = Some((Self::timestamp(now), 0));
        }
        out.push(syn.emit(&[]));
    }

    fn poll_open(&mut self, now: Instant, out: &mut Vec<Frame>) {
        self.snd.on_timer(now);
        if self.snd.attempts() > ATTEMPTS_MAX {
            self.state = State::Ended(Ended::TimedOut);
            return;
        }
        // Options take room from the MSS that the server sent.
        let room = usize::from(self.snd.mss) - if self.timestamps.is_some() { 12 } else { 0 };
        while let Some((seq, range, fin)) = self.snd.next_segment(now, room) {
            let mut segment = self.segment(now);
            segment.seq = seq;
            segment.flags = ACK | PSH | if fin { FIN } else { 0 };
            segment.window = self.rcv.window(now);
            let frame = segment.emit(&self.snd.stream()[range]);
            self.rcv.acknowledged();
            out.push(frame);
        }
        if self.keepalive <= now {
            self.keepalive = now + KEEPALIVE;
            let mut segment = self.segment(now);
            segment.seq = self.snd.next_seq().wrapping_sub(1);
            segment.window = self.rcv.window(now);
            out.push(segment.emit(&[]));
        }
        let blocks_max = if self.timestamps.is_some() { 3 } else { 4 };
        while let Some(ack) = self.rcv.next_ack(now, blocks_max) {
            let mut segment = self.segment(now);
            segment.seq = self.snd.next_seq();
            segment.ack = ack.ack;
            segment.window = ack.window;
            segment.sack = ack.sack;
            out.push(segment.emit(&[]));
        }
    }

    fn deadline(&self) -> Instant {
        match self.state {
            State::SynSent => self.snd.deadline(),
            State::Open => self.snd.deadline().min(self.rcv.deadline()).min(self.keepalive),
            State::Ended(_) => Instant::NEVER,
        }
    }
}

/// After this long without a word the server is asked whether it is still there: a reset may get lost, and who only
/// waits would wait for ever.
const KEEPALIVE: Duration = Duration::from_secs(8);
/// How long the first retransmission waits, and the SYN's.
const RTO_FIRST: Duration = Duration::from_millis(400);
/// Later ones wait no longer than this.
const RTO_MAX: Duration = Duration::from_secs(6);
