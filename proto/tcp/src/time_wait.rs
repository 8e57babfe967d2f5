//! TIME-WAIT without a TCB: what an old connection must still answer (RFC 9293 §3.6.1, RFC 1337, RFC 6191).

use crate::config::Config;
use crate::timestamps::{TimestampClock, precedes};
use clock::Instant;
use wire::tcp::{Flags, Header, Options, SeqNum, Timestamps};

/// A connection in TIME-WAIT: 32 bytes. The table that holds it knows the addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWait {
    expires: Instant,
    snd_nxt: SeqNum,
    rcv_nxt: SeqNum,
    /// TS.Recent, and what turns the worker's milliseconds into TSval.
    ts_recent: u32,
    ts_offset: u32,
    window: u16,
    timestamps: bool,
}

const _: () = assert!(size_of::<TimeWait>() <= 32);

/// What to do about a segment in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeWaitAction {
    /// Send this ACK.
    Ack(Header),
    /// The peer begins a new connection: treat the SYN as for a listener, with an ISS at or after `iss_min`.
    Reuse {
        /// Beyond everything the old connection sent.
        iss_min: SeqNum,
    },
    /// Do nothing.
    Ignore,
}

impl TimeWait {
    pub(crate) fn new(
        expires: Instant,
        snd_nxt: SeqNum,
        rcv_nxt: SeqNum,
        clock: TimestampClock,
        window: u32,
    ) -> Self {
        Self {
            expires,
            snd_nxt,
            rcv_nxt,
            ts_recent: clock.recent,
            ts_offset: clock.offset(),
            window: u16::try_from(window).unwrap_or(u16::MAX),
            timestamps: clock.enabled,
        }
    }

    /// When it may be forgotten. A retransmitted FIN moves it.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// A segment for the old connection came.
    #[must_use]
    pub fn on_segment(
        &mut self,
        config: &Config,
        now: Instant,
        header: &Header,
        payload_bytes: u32,
    ) -> TimeWaitAction {
        let flags = header.flags;
        //= RFC 1337 §3 (F1): "Ignore RST segments in TIME-WAIT state"
        if flags.contains(Flags::RST) {
            return TimeWaitAction::Ignore;
        }
        if flags.contains(Flags::SYN) && !flags.contains(Flags::ACK) {
            if self.is_newer(header) {
                return TimeWaitAction::Reuse { iss_min: self.snd_nxt + (u32::from(u16::MAX) + 2) };
            }
            return TimeWaitAction::Ack(self.ack(now, header));
        }
        let len = header.segment_len(payload_bytes);
        if len == 0 && header.seq == self.rcv_nxt {
            // A last ACK of ours: nothing to say.
            return TimeWaitAction::Ignore;
        }
        //= RFC 9293 §3.10.7.4: in TIME-WAIT the only thing that can arrive is the FIN again: "Acknowledge it, and
        //= restart the 2 MSL timeout"
        if flags.contains(Flags::FIN) && header.seq + len == self.rcv_nxt {
            self.expires = now + config.time_wait;
        }
        TimeWaitAction::Ack(self.ack(now, header))
    }

    /// Whether a SYN certainly belongs to a new connection (RFC 6191 §2, RFC 9293 §3.6.1 and MAY-2).
    fn is_newer(&self, syn: &Header) -> bool {
        match syn.options.timestamps {
            Some(Timestamps { value, .. }) if self.timestamps && value != self.ts_recent => {
                precedes(self.ts_recent, value)
            }
            _ => syn.seq.after(self.rcv_nxt),
        }
    }

    fn ack(&self, now: Instant, header: &Header) -> Header {
        let timestamps = self.timestamps.then(|| Timestamps {
            value: crate::timestamps::ticks(now).wrapping_add(self.ts_offset),
            echo: self.ts_recent,
        });
        Header {
            source_port: header.destination_port,
            destination_port: header.source_port,
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            window: self.window,
            urgent: 0,
            options: Options { timestamps, ..Options::NONE },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn old(timestamps: bool) -> TimeWait {
        TimeWait {
            expires: Instant::EPOCH + Duration::from_secs(60),
            snd_nxt: SeqNum(u32::MAX),
            rcv_nxt: SeqNum(500),
            ts_recent: 100,
            ts_offset: 7,
            window: 1000,
            timestamps,
        }
    }

    fn segment(flags: Flags, seq: u32, ts: Option<u32>) -> Header {
        Header {
            source_port: 50_000,
            destination_port: 443,
            seq: SeqNum(seq),
            ack: SeqNum(0),
            flags,
            window: 1,
            urgent: 0,
            options: Options { timestamps: ts.map(|value| Timestamps { value, echo: 0 }), ..Options::NONE },
        }
    }

    fn on(old: &mut TimeWait, header: &Header) -> TimeWaitAction {
        old.on_segment(&Config::default(), Instant::EPOCH + Duration::from_secs(30), header, 0)
    }

    //= RFC 1337 §3 (F1)
    #[test]
    fn a_reset_does_not_end_it() {
        assert_eq!(on(&mut old(true), &segment(Flags::RST, 500, None)), TimeWaitAction::Ignore);
    }

    #[test]
    fn the_fin_again_is_acknowledged_and_restarts_it() {
        let mut old = old(true);
        let before = old.expires();
        let TimeWaitAction::Ack(ack) = on(&mut old, &segment(Flags::FIN | Flags::ACK, 499, Some(100))) else {
            panic!("an ACK is wanted");
        };
        assert_eq!((ack.seq, ack.ack, ack.flags), (SeqNum(u32::MAX), SeqNum(500), Flags::ACK));
        assert_eq!(ack.options.timestamps, Some(Timestamps { value: 30_007, echo: 100 }));
        assert_eq!((ack.source_port, ack.destination_port), (443, 50_000));
        assert!(old.expires() > before);
    }

    //= RFC 6191 §2: a SYN with a greater timestamp begins a new connection
    #[test]
    fn a_syn_with_a_newer_timestamp_reuses_it_beyond_the_old_numbers() {
        let action = on(&mut old(true), &segment(Flags::SYN, 3, Some(101)));
        assert_eq!(action, TimeWaitAction::Reuse { iss_min: SeqNum(65_536) });
    }

    #[test]
    fn a_syn_with_an_older_timestamp_is_an_old_duplicate() {
        let action = on(&mut old(true), &segment(Flags::SYN, 10_000, Some(99)));
        assert!(matches!(action, TimeWaitAction::Ack(_)));
    }

    //= RFC 6191 §2: without timestamps, or with equal ones, the sequence number decides
    #[test]
    fn without_timestamps_the_sequence_number_decides() {
        assert!(matches!(on(&mut old(false), &segment(Flags::SYN, 501, None)), TimeWaitAction::Reuse { .. }));
        assert!(matches!(on(&mut old(false), &segment(Flags::SYN, 500, None)), TimeWaitAction::Ack(_)));
        assert!(matches!(
            on(&mut old(true), &segment(Flags::SYN, 501, Some(100))),
            TimeWaitAction::Reuse { .. }
        ));
    }

    #[test]
    fn a_bare_ack_in_order_needs_no_answer() {
        assert_eq!(on(&mut old(false), &segment(Flags::ACK, 500, None)), TimeWaitAction::Ignore);
    }
}
