//! The sending half: go-back-N with a timer. Requests are short; what is tested is the server.

use clock::Instant;
use core::ops::Range;
use core::time::Duration;

use super::{RTO_FIRST, RTO_MAX, Violation};

/// What we send.
#[derive(Debug)]
pub(super) struct Sending {
    /// The initial sequence number. Stream offset 0 follows it.
    pub(super) iss: u32,
    /// The peer's maximum segment size.
    pub(super) mss: u16,
    /// Everything ever written: a few kilobytes.
    stream: Vec<u8>,
    /// First offset not acknowledged; one behind the stream when the FIN is.
    una: u64,
    /// Next offset to be sent; one behind the stream when the FIN was.
    nxt: u64,
    /// The furthest `nxt` ever was.
    nxt_max: u64,
    fin: bool,
    window: u64,
    shift: u8,
    rto: Duration,
    timer: Option<Instant>,
    attempts: u32,
}

impl Sending {
    pub(super) fn new(now: Instant, iss: u32) -> Self {
        Self {
            iss,
            mss: 536,
            stream: Vec::new(),
            una: 0,
            nxt: 0,
            nxt_max: 0,
            fin: false,
            window: 0,
            shift: 0,
            rto: RTO_FIRST / 2,
            timer: Some(now),
            attempts: 0,
        }
    }

    pub(super) fn established(&mut self, now: Instant, shift: u8, window: u16, mss: u16) {
        self.shift = shift.min(14);
        // The window of a SYN is not scaled.
        self.window = u64::from(window);
        self.mss = mss.max(64);
        self.progress(now);
    }

    /// Takes everything: the stream is short.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        if self.fin {
            return 0;
        }
        self.stream.extend_from_slice(bytes);
        bytes.len()
    }

    pub(super) fn finish(&mut self) {
        self.fin = true;
    }

    pub(super) fn stream(&self) -> &[u8] {
        &self.stream
    }

    pub(super) fn fin_acknowledged(&self) -> bool {
        self.fin && self.una == self.end()
    }

    /// One behind the last offset, the FIN's included.
    fn end(&self) -> u64 {
        self.stream.len() as u64 + u64::from(self.fin)
    }

    fn seq(&self, offset: u64) -> u32 {
        let low = u32::try_from(offset & 0xFFFF_FFFF).expect("masked");
        self.iss.wrapping_add(1).wrapping_add(low)
    }

    /// SND.NXT.
    pub(super) fn next_seq(&self) -> u32 {
        self.seq(self.nxt_max)
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn on_ack(&mut self, now: Instant, ack: u32, window: u16, violations: &mut Vec<Violation>) {
        let advance = i64::from(ack.wrapping_sub(self.seq(self.una)).cast_signed());
        let Some(acked) = self.una.checked_add_signed(advance) else { return };
        if acked > self.nxt_max {
            violations.push(Violation::AckOfUnsent);
            return;
        }
        if advance < 0 {
            return;
        }
        self.window = u64::from(window) << self.shift;
        if advance > 0 {
            self.una = acked;
            self.nxt = self.nxt.max(acked);
            self.progress(now);
        }
    }

    fn progress(&mut self, now: Instant) {
        self.attempts = 0;
        self.rto = RTO_FIRST;
        self.timer = if self.una < self.nxt { Some(now + self.rto) } else { None };
    }

    /// Whether the timer expired; then everything from SND.UNA on is to be sent again.
    pub(super) fn on_timer(&mut self, now: Instant) -> bool {
        if self.timer.is_none_or(|timer| timer > now) {
            return false;
        }
        self.nxt = self.una;
        self.attempts += 1;
        self.rto = (self.rto * 2).min(RTO_MAX);
        self.timer = Some(now + self.rto);
        // A closed window is probed with one byte.
        self.window = self.window.max(1);
        true
    }

    /// The next segment: its sequence number, the part of the stream, and whether FIN rides on it.
    pub(super) fn next_segment(&mut self, now: Instant, room: usize) -> Option<(u32, Range<usize>, bool)> {
        let limit = self.end().min(self.una + self.window);
        if self.nxt >= limit {
            if self.una < self.end() && self.timer.is_none() {
                self.timer = Some(now + self.rto);
            }
            return None;
        }
        let start = usize::try_from(self.nxt).expect("short").min(self.stream.len());
        let stop = self.stream.len().min(start + room).min(usize::try_from(limit).expect("short"));
        let sent = self.nxt + (stop - start) as u64;
        let fin = self.fin && stop == self.stream.len() && sent < limit;
        let seq = self.seq(self.nxt);
        self.nxt = sent + u64::from(fin);
        self.nxt_max = self.nxt_max.max(self.nxt);
        if self.timer.is_none() {
            self.timer = Some(now + self.rto);
        }
        Some((seq, start..stop, fin))
    }

    pub(super) fn deadline(&self) -> Instant {
        self.timer.unwrap_or(Instant::NEVER)
    }
}
