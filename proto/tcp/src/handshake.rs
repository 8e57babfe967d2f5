//! Opening a connection, actively, passively, and from a SYN cookie: RFC 9293 §3.5, with the options of RFC 7323 and 2018.

use crate::config::{Config, MSS_DEFAULT, RTO_INITIAL};
use crate::connection::{Connection, Pending, State};
use crate::cookies::CookieParams;
use crate::events::Events;
use crate::receiver::{AckDue, Receiver};
use crate::segment::Outgoing;
use crate::sender::Sender;
use crate::timers::{Kind, RetransmitTimer};
use crate::timestamps::TimestampClock;
use crate::validate::Throttle;
use clock::Instant;
use wire::tcp::{Flags, Header, Options, SeqNum, Timestamps};

/// The largest shift count (RFC 7323 §2.3): a larger one is taken as this.
const WINDOW_SCALE_MAX: u8 = 14;

impl Connection {
    /// A passive open: `syn` arrived, and a SYN-ACK is wanted from [`Connection::poll_control`].
    ///
    /// `iss` is unpredictable (RFC 6528); where it comes from is the caller's business.
    #[must_use]
    pub fn accept(config: &Config, now: Instant, syn: &Header, iss: SeqNum) -> Self {
        let (local, remote) = (syn.destination_port, syn.source_port);
        let mut connection = Self::closed(config, now, local, remote, iss);
        connection.state = State::SynReceived;
        connection.pending = Pending::SYN;
        connection.take_syn(config, now, syn);
        connection
    }

    /// A connection from the ACK that returned a SYN cookie: ESTABLISHED. Pass the same ACK to
    /// [`Connection::on_segment`] next: it may carry data.
    #[must_use]
    pub fn accept_cookie(config: &Config, now: Instant, ack: &Header, cookie: &CookieParams) -> Self {
        let (local, remote) = (ack.destination_port, ack.source_port);
        let mut connection = Self::closed(config, now, local, remote, ack.ack - 1);
        let mut syn = *ack;
        syn.seq = ack.seq - 1;
        syn.options = Options {
            mss: Some(cookie.mss),
            window_scale: cookie.window_scale,
            sack_permitted: cookie.sack_permitted,
            timestamps: ack.options.timestamps,
            ..Options::NONE
        };
        connection.take_syn(config, now, &syn);
        connection.enter_established(now);
        connection.snd.wl1 = syn.seq;
        connection
    }

    /// An active open: a SYN is wanted from [`Connection::poll_control`].
    #[must_use]
    pub fn connect(config: &Config, now: Instant, local_port: u16, remote_port: u16, iss: SeqNum) -> Self {
        let mut connection = Self::closed(config, now, local_port, remote_port, iss);
        connection.state = State::SynSent;
        connection.pending = Pending::SYN;
        connection.rcv.scale = config.window_scale();
        connection
    }

    fn closed(config: &Config, now: Instant, local_port: u16, remote_port: u16, iss: SeqNum) -> Self {
        Self {
            local_port,
            remote_port,
            state: State::Closed,
            pending: Pending::empty(),
            attempts: 0,
            snd: Sender::new(config, now, iss),
            rcv: Receiver::new(config),
            clock: TimestampClock::new(TimestampClock::offset_for(iss, config.timestamp_key)),
            throttle: Throttle::NEW,
            heard_at: now,
            idle_at: Instant::NEVER,
        }
    }

    /// What the peer's SYN says: its number, its window, and what its options agree to.
    fn take_syn(&mut self, config: &Config, now: Instant, syn: &Header) {
        let Options { mss, window_scale, sack_permitted, sack: _, timestamps } = syn.options;
        self.rcv.begin(syn.seq);
        match window_scale {
            Some(shift) => {
                self.snd.scale = shift.min(WINDOW_SCALE_MAX);
                self.rcv.scale = config.window_scale();
            }
            None => {
                self.snd.scale = 0;
                self.rcv.scale = 0;
            }
        }
        let sack = sack_permitted && config.sack;
        self.snd.sack = sack;
        self.rcv.sack = sack;
        self.clock.enabled = config.timestamps && timestamps.is_some();
        if let Some(Timestamps { value, echo: _ }) = timestamps {
            self.clock.refresh(now, value);
        }
        self.snd.agree_mss(config, mss.unwrap_or(MSS_DEFAULT), self.clock.enabled);
        self.snd.wnd = u32::from(syn.window);
        self.snd.wnd_max = self.snd.wnd;
        self.snd.wl1 = syn.seq;
        self.snd.wl2 = self.snd.iss;
    }

    fn enter_established(&mut self, now: Instant) {
        self.state = State::Established;
        self.pending.remove(Pending::SYN);
        self.attempts = 0;
        self.snd.timer = RetransmitTimer::OFF;
        self.snd.progress_at = now;
        self.snd.arm_persist(now);
    }

    /// Our SYN was acknowledged. The round trip is measured unless it was sent more than once (Karn).
    fn on_syn_acknowledged(&mut self, now: Instant) {
        if self.attempts <= 1 {
            let rtt = now.since(self.snd.progress_at);
            self.snd.rtt.observe(now, rtt);
            self.snd.rtt.sample(rtt);
            self.snd.rtt.answered();
        } else {
            self.snd.rtt.answered();
            self.snd.rtt.distrust_initial();
        }
        self.enter_established(now);
    }

    /// RFC 9293 §3.10.7.3.
    pub(crate) fn on_segment_in_syn_sent(
        &mut self,
        config: &Config,
        now: Instant,
        header: &Header,
    ) -> Events {
        let flags = header.flags;
        let acknowledges = flags.contains(Flags::ACK);
        if acknowledges && header.ack != self.snd.iss + 1 {
            //= RFC 9293 §3.10.7.3: "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set)"
            return if flags.contains(Flags::RST) {
                Events::DROPPED
            } else {
                Events::UNEXPECTED | Events::DROPPED
            };
        }
        if flags.contains(Flags::RST) {
            //= RFC 9293 §3.10.7.3: "If the ACK was acceptable, signal to the user 'error: connection reset'"
            return if acknowledges { self.on_reset() } else { Events::DROPPED };
        }
        if !flags.contains(Flags::SYN) {
            return Events::DROPPED;
        }
        self.take_syn(config, now, header);
        self.heard_at = now;
        if acknowledges {
            self.on_syn_acknowledged(now);
            self.rcv.ack_due = AckDue::Now;
            return Events::ESTABLISHED | Events::CREDIT;
        }
        // Both ends opened at once (RFC 9293 §3.5): answer with SYN, ACK.
        self.state = State::SynReceived;
        self.pending.insert(Pending::SYN);
        Events::empty()
    }

    /// What is special about SYN-RECEIVED (RFC 9293 §3.10.7.4); `None` when the segment is to be treated as any other.
    pub(crate) fn on_segment_in_syn_received(&mut self, now: Instant, header: &Header) -> Option<Events> {
        let flags = header.flags;
        let repeated =
            flags.contains(Flags::SYN) && !flags.contains(Flags::RST) && header.seq == self.rcv.irs;
        if repeated && !flags.contains(Flags::ACK) {
            // Our SYN-ACK was lost, or is on its way.
            self.pending.insert(Pending::SYN);
            return Some(Events::empty());
        }
        if repeated {
            // The SYN-ACK of a simultaneous open.
            if header.ack != self.snd.iss + 1 {
                return Some(Events::UNEXPECTED | Events::DROPPED);
            }
            self.on_syn_acknowledged(now);
            self.rcv.ack_due = AckDue::Now;
            return Some(Events::ESTABLISHED | Events::CREDIT);
        }
        None
    }

    /// The ACK of an otherwise acceptable segment in SYN-RECEIVED.
    pub(crate) fn on_ack_in_syn_received(&mut self, now: Instant, ack: SeqNum) -> Events {
        //= RFC 9293 §3.10.7.4: "If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED state", else "form a reset
        //= segment <SEQ=SEG.ACK><CTL=RST>"
        if ack == self.snd.iss + 1 {
            self.on_syn_acknowledged(now);
            Events::ESTABLISHED | Events::CREDIT
        } else {
            Events::UNEXPECTED | Events::DROPPED
        }
    }

    /// Our SYN or SYN-ACK, when one is due.
    pub(crate) fn poll_syn(&mut self, config: &Config, now: Instant) -> Option<Outgoing> {
        if !self.pending.contains(Pending::SYN) {
            return None;
        }
        self.pending.remove(Pending::SYN);
        let active = self.state == State::SynSent;
        if self.attempts == 0 {
            self.snd.progress_at = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.snd.timer.kind == Kind::Off {
            self.snd.timer = RetransmitTimer { at: now + RTO_INITIAL, kind: Kind::Rto };
        }
        let flags = if active { Flags::SYN } else { Flags::SYN | Flags::ACK };
        let mut header = self.bare_header(now, self.snd.iss, flags);
        header.window = self.rcv.advertise_unscaled();
        header.options = Options {
            mss: Some(config.mss_max),
            window_scale: (active || self.rcv.scale > 0 || self.snd.scale > 0).then_some(self.rcv.scale),
            sack_permitted: if active { config.sack } else { self.snd.sack },
            timestamps: (if active { config.timestamps } else { self.clock.enabled })
                .then(|| Timestamps { value: self.clock.value(now), echo: self.clock.recent }),
            ..Options::NONE
        };
        Some(Outgoing { header, range: 0..0, retransmission: self.attempts > 1, mss: self.snd.mss })
    }

    /// Nobody answered our SYN or SYN-ACK.
    pub(crate) fn on_syn_timer(&mut self, config: &Config, now: Instant) -> Events {
        let retries = if self.state == State::SynSent { config.syn_retries } else { config.syn_ack_retries };
        if self.attempts > retries {
            self.state = State::Closed;
            self.snd.timer = RetransmitTimer::OFF;
            return Events::TIMED_OUT | Events::CLOSED;
        }
        self.snd.rtt.back_off();
        self.snd.timer = RetransmitTimer { at: now + self.snd.rtt.rto(), kind: Kind::Rto };
        self.pending.insert(Pending::SYN);
        Events::empty()
    }
}
