//! Which segments may touch a connection: acceptability (RFC 9293 §3.10.7.4), PAWS (RFC 7323 §5), and the defences
//! against the blind of RFC 5961.

use crate::connection::Connection;
use crate::events::Events;
use crate::receiver::{AckDue, Receiver};
use clock::Instant;
use core::time::Duration;
use wire::tcp::{Flags, Header, SeqNum};

/// RFC 5961 §7: no more than so many ACKs that nobody's data asked for …
const CHALLENGES_MAX: u8 = 10;
/// … in so long.
const CHALLENGE_WINDOW: Duration = Duration::from_secs(5);

/// RFC 5961 §7 for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throttle {
    since: Instant,
    count: u8,
}

impl Throttle {
    pub(crate) const NEW: Self = Self { since: Instant::EPOCH, count: 0 };

    /// Whether one more may be sent now.
    fn admits(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= CHALLENGE_WINDOW {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= CHALLENGES_MAX
    }
}

impl Receiver {
    /// Whether any part of a segment of `len` numbers lies in the receive window (RFC 9293 §3.10.7.4).
    ///
    /// The right edge itself counts: a peer that filled the window sends its ACKs from there, and what lies beyond is
    /// trimmed later anyway.
    pub(crate) fn is_acceptable(&self, seq: SeqNum, len: u32) -> bool {
        let window = self.window();
        if seq.distance_from(self.nxt) <= window {
            return true;
        }
        // Begins before RCV.NXT and reaches beyond it.
        seq.before(self.nxt) && (seq + len).after(self.nxt) && len < 1 << 31
    }
}

impl Connection {
    /// An ACK that tells an honest peer where we are and a blind attacker nothing (RFC 5961 §3.2).
    pub(crate) fn challenge(&mut self, now: Instant) {
        if self.throttle.admits(now) {
            self.rcv.ack_due = AckDue::Now;
        }
    }

    /// The checks that come before anything of a segment is used; `None` when it may be used.
    ///
    /// In RFC 9293's order: timestamps, sequence number, RST, SYN, ACK bit.
    pub(crate) fn refuse(&mut self, now: Instant, header: &Header, payload_bytes: u32) -> Option<Events> {
        let flags = header.flags;
        let len = header.segment_len(payload_bytes);
        if self.clock.enabled && !flags.contains(Flags::RST) {
            match header.options.timestamps {
                //= RFC 7323 §3.2: "If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop the segment"
                None => return Some(Events::DROPPED),
                //= RFC 7323 §5.3 R1: "If SEG.TSval < TS.Recent ... then treat the arriving segment as not acceptable:
                //= Send an acknowledgment in reply ... and drop the segment"
                Some(timestamps) if self.clock.is_old(now, timestamps.value) => {
                    self.answer_unacceptable(now, header, payload_bytes);
                    return Some(Events::DROPPED);
                }
                Some(_) => {}
            }
        }
        if !self.rcv.is_acceptable(header.seq, len) {
            if !flags.contains(Flags::RST) {
                self.answer_unacceptable(now, header, payload_bytes);
            }
            return Some(Events::DROPPED);
        }
        if flags.contains(Flags::RST) {
            //= RFC 5961 §3.2: "If the RST bit is set and the sequence number exactly matches the next expected sequence
            //= number (RCV.NXT), then TCP MUST reset the connection"
            if header.seq == self.rcv.nxt {
                return Some(self.on_reset());
            }
            //= RFC 5961 §3.2: "If the RST bit is set and the sequence number does not exactly match the next expected
            //= sequence value, yet is within the current receive window, TCP MUST send an acknowledgment (challenge ACK)"
            self.challenge(now);
            return Some(Events::DROPPED);
        }
        if flags.contains(Flags::SYN) {
            //= RFC 5961 §4.2: "If the SYN bit is set, irrespective of the sequence number, TCP MUST send an ACK (also
            //= referred to as challenge ACK) to the remote peer"
            self.challenge(now);
            return Some(Events::DROPPED);
        }
        if !flags.contains(Flags::ACK) {
            return Some(Events::DROPPED);
        }
        None
    }

    /// RFC 9293 §3.10.7.4: "an acknowledgment should be sent in reply". One without data may be half of a loop of two
    /// confused ends, so only data is always answered.
    fn answer_unacceptable(&mut self, now: Instant, header: &Header, payload_bytes: u32) {
        if payload_bytes > 0 {
            self.rcv.on_duplicate(header.seq, payload_bytes);
        } else {
            self.challenge(now);
        }
    }

    /// RFC 5961 §5.2: the range in which SEG.ACK is believed, as a stream offset; answers what is outside.
    pub(crate) fn believe_ack(&mut self, now: Instant, ack: SeqNum) -> Option<u64> {
        let una = self.snd.seq(self.snd.una);
        let behind = una.distance_from(ack);
        //= RFC 5961 §5.2: "((SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT)"
        if ack.before(una) && behind <= self.snd.wnd_max {
            return Some(self.snd.una);
        }
        match self.snd.offset(ack) {
            Some(offset) if offset >= self.snd.una && offset <= self.snd.nxt => Some(offset),
            _ => {
                self.challenge(now);
                None
            }
        }
    }
}
