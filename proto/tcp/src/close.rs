//! Closing: our FIN, the peer's, one before the other, and neither (RFC 9293 §3.6).
//!
//! ```text
//!                    our FIN                              peer's FIN
//!  ESTABLISHED ───────────────► FIN-WAIT-1      ESTABLISHED ───────► CLOSE-WAIT
//!  FIN-WAIT-1 ── its ACK ─────► FIN-WAIT-2      FIN-WAIT-1 ────────► CLOSING ── ACK of ours ─► TIME-WAIT
//!  CLOSE-WAIT ────────────────► LAST-ACK        FIN-WAIT-2 ────────► TIME-WAIT
//!  LAST-ACK ── its ACK ───────► CLOSED
//! ```
//!
//! Either half may stay open as long as its owner likes. TIME-WAIT needs no TCB: the owner keeps a [`TimeWait`] instead.

use crate::connection::{Connection, Pending, State};
use crate::events::Events;
use crate::receiver::AckDue;
use crate::segment::Outgoing;
use crate::time_wait::TimeWait;
use crate::timers::RetransmitTimer;
use clock::Instant;
use wire::tcp::{Flags, Options};

impl Connection {
    /// FIN follows the last reserved byte. Nothing can be reserved any more.
    pub fn finish(&mut self) {
        self.snd.finishing = true;
    }

    /// Ends the connection now: [`Connection::poll_control`] has an RST for the peer, if it knows of us, and then the
    /// owner may forget it. Says nothing about a connection that is already closed.
    pub fn abort(&mut self) {
        match self.state {
            State::Closed | State::TimeWait | State::SynSent => {}
            State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => self.pending.insert(Pending::RST),
        }
        self.enter_closed();
    }

    pub(crate) fn enter_closed(&mut self) {
        self.state = State::Closed;
        self.pending &= Pending::RST;
        self.snd.timer = RetransmitTimer::OFF;
        self.rcv.ack_due = AckDue::No;
        self.rcv.ack_at = Instant::NEVER;
        self.idle_at = Instant::NEVER;
    }

    /// The peer reset the connection, believably.
    pub(crate) fn on_reset(&mut self) -> Events {
        self.enter_closed();
        Events::RESET | Events::CLOSED
    }

    /// The peer is gone: tell it, in case it is not.
    pub(crate) fn on_timed_out(&mut self) -> Events {
        self.abort();
        Events::TIMED_OUT | Events::CLOSED
    }

    /// Our FIN left.
    pub(crate) fn on_fin_sent(&mut self) {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        };
    }

    /// Our FIN was acknowledged.
    pub(crate) fn on_fin_acknowledged(&mut self) -> Events {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                Events::FINISH_ACKNOWLEDGED
            }
            State::Closing => Events::FINISH_ACKNOWLEDGED | self.enter_time_wait(),
            State::LastAck => {
                self.enter_closed();
                Events::FINISH_ACKNOWLEDGED | Events::CLOSED
            }
            _ => Events::empty(),
        }
    }

    /// The peer's FIN was reached.
    pub(crate) fn on_peer_finished(&mut self) -> Events {
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                Events::PEER_FINISHED
            }
            State::FinWait1 => {
                self.state = State::Closing;
                Events::PEER_FINISHED
            }
            State::FinWait2 => Events::PEER_FINISHED | self.enter_time_wait(),
            _ => Events::empty(),
        }
    }

    fn enter_time_wait(&mut self) -> Events {
        self.state = State::TimeWait;
        self.snd.timer = RetransmitTimer::OFF;
        self.rcv.ack_at = Instant::NEVER;
        self.idle_at = Instant::NEVER;
        Events::CLOSED
    }

    /// What to keep instead of this connection in TIME-WAIT; none in any other state.
    #[must_use]
    pub fn time_wait(&self, config: &crate::Config, now: Instant) -> Option<TimeWait> {
        (self.state == State::TimeWait).then(|| {
            TimeWait::new(
                now + config.time_wait,
                self.snd.seq(self.snd.nxt),
                self.rcv.nxt,
                self.clock,
                self.rcv.window() >> self.rcv.scale,
            )
        })
    }

    /// The RST of an abort, when one is due.
    pub(crate) fn poll_reset(&mut self, now: Instant) -> Option<Outgoing> {
        if !self.pending.contains(Pending::RST) {
            return None;
        }
        self.pending.remove(Pending::RST);
        let mut header = self.bare_header(now, self.snd.seq(self.snd.nxt), Flags::RST | Flags::ACK);
        header.window = 0;
        if !self.clock.enabled {
            header.options = Options::NONE;
        }
        Some(Outgoing { header, range: 0..0, retransmission: false, mss: self.snd.mss })
    }
}
