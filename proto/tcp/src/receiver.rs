//! The receive half of the TCB: RCV.* of RFC 9293 §3.3.1, what is delivered, and when an ACK is due.
//!
//! Payload in order goes to the owner straight from the packet. The window is what the owner says it has room for; its
//! right edge never moves back (RFC 9293 §3.8.6).

use crate::config::{Config, MSS_DEFAULT};
use crate::reassembly::Reassembly;
use alloc::boxed::Box;
use clock::Instant;
use wire::tcp::{SackBlocks, SeqNum};

/// ACKs of large segments sent at once when a stream begins, so that the peer's slow start is not slowed by ours. Small
/// ones are requests: their ACK rides on the answer.
const QUICK_ACKS: u8 = 8;

/// Whether an ACK is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AckDue {
    No,
    /// With the next segment, or at this time at the latest.
    Delayed,
    Now,
}

/// What a segment's payload did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    pub(crate) delivered: bool,
    /// The peer's FIN was reached.
    pub(crate) finished: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// IRS.
    pub(crate) irs: SeqNum,
    /// RCV.NXT.
    pub(crate) nxt: SeqNum,
    /// The furthest right edge we ever promised: RCV.NXT + RCV.WND.
    edge: SeqNum,
    /// Last.ACK.sent (RFC 7323 §4.3).
    pub(crate) acked: SeqNum,
    /// What the owner has room for, and the most it may have, in bytes.
    free: u32,
    capacity: u32,
    /// When a delayed ACK is due; [`Instant::NEVER`] for none.
    pub(crate) ack_at: Instant,
    /// A duplicate to be reported once (RFC 2883).
    dsack: Option<(SeqNum, SeqNum)>,
    reassembly: Option<Box<Reassembly>>,
    /// The largest segment the peer sent, in bytes.
    mss_seen: u16,
    pub(crate) ack_due: AckDue,
    quick: u8,
    /// Rcv.Wind.Shift.
    pub(crate) scale: u8,
    /// Whether the peer understands our SACK.
    pub(crate) sack: bool,
    /// Whether the peer's FIN was reached.
    pub(crate) finished: bool,
}

impl Receiver {
    pub(crate) fn new(config: &Config) -> Self {
        let zero = SeqNum(0);
        Self {
            irs: zero,
            nxt: zero,
            edge: zero,
            acked: zero,
            free: config.receive_window,
            capacity: config.receive_window,
            ack_at: Instant::NEVER,
            dsack: None,
            reassembly: None,
            mss_seen: 0,
            ack_due: AckDue::No,
            quick: QUICK_ACKS,
            scale: 0,
            sack: false,
            finished: false,
        }
    }

    /// The peer's SYN has this number. In a SYN the window is not scaled (RFC 7323 §2.2).
    pub(crate) fn begin(&mut self, irs: SeqNum) {
        self.irs = irs;
        self.nxt = irs + 1;
        self.acked = self.nxt;
        self.edge = self.nxt + self.free.min(u32::from(u16::MAX));
    }

    /// RCV.WND: bytes that may come.
    pub(crate) fn window(&self) -> u32 {
        self.edge.distance_from(self.nxt)
    }

    pub(crate) fn reassembly_bytes(&self) -> usize {
        self.reassembly.as_ref().map_or(0, |reassembly| reassembly.bytes())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.reassembly.as_ref().map_or(0, |reassembly| size_of::<Reassembly>() + reassembly.heap_bytes())
    }

    /// SEG.WND for a segment without SYN. Moves the right edge, if by enough to be worth it (RFC 9293 §3.8.6.2.2).
    pub(crate) fn advertise(&mut self) -> u16 {
        let edge = self.nxt + self.free;
        if edge - self.edge >= self.worthwhile() {
            self.edge = edge;
        }
        u16::try_from(self.window() >> self.scale).unwrap_or(u16::MAX)
    }

    /// SEG.WND for a segment with SYN.
    pub(crate) fn advertise_unscaled(&self) -> u16 {
        u16::try_from(self.free).unwrap_or(u16::MAX)
    }

    /// min(Fr · RCV.BUFF, Eff.snd.MSS) of RFC 9293 §3.8.6.2.2.
    fn worthwhile(&self) -> i32 {
        let mss = u32::from(self.mss_seen).max(1);
        mss.min(self.capacity / 2).cast_signed()
    }

    /// The owner has room for `bytes`. An ACK tells the peer when that opens a window that was nearly shut.
    pub(crate) fn set_free(&mut self, bytes: u32) {
        self.free = bytes.min(self.capacity);
        let gain = (self.nxt + self.free) - self.edge;
        let doubles = self.free / 2 >= self.window();
        if doubles && gain >= self.worthwhile() && !self.finished {
            self.ack_due = AckDue::Now;
        }
    }

    /// Takes an acceptable segment's payload and FIN.
    pub(crate) fn on_payload(
        &mut self,
        config: &Config,
        now: Instant,
        seq: SeqNum,
        payload: &[u8],
        fin: bool,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Received {
        let mut received = Received::default();
        if self.finished || (payload.is_empty() && !fin) {
            return received;
        }
        // Longer than 2³² − 1 is no segment.
        let Ok(bytes) = u32::try_from(payload.len()) else { return received };
        self.mss_seen =
            self.mss_seen.max(u16::try_from(bytes.min(u32::from(config.mss_max))).unwrap_or(u16::MAX));
        let end = seq + bytes;
        let known = if seq.before(self.nxt) { self.nxt.distance_from(seq).min(bytes) } else { 0 };
        if known > 0 {
            self.dsack = Some((seq, seq + known));
            self.ack_due = AckDue::Now;
        }
        let start = seq + known;
        let beyond = end - self.edge;
        let beyond = u32::try_from(beyond).unwrap_or(0).min(bytes - known);
        if beyond > 0 {
            self.ack_due = AckDue::Now;
        }
        let range = index(known)..index(bytes - beyond);
        let new = payload.get(range).unwrap_or_default();
        let fin = (fin && beyond == 0 && !end.before(self.nxt)).then_some(end);
        if start == self.nxt {
            received.delivered = self.take_in_order(config, now, new, deliver);
        } else if !new.is_empty() || fin.is_some() {
            self.take_early(config, start, new);
        }
        self.take_fin(fin, &mut received);
        received
    }

    fn take_in_order(
        &mut self,
        config: &Config,
        now: Instant,
        new: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) -> bool {
        if new.is_empty() {
            return false;
        }
        deliver(new);
        self.nxt += u32::try_from(new.len()).unwrap_or(0);
        if let Some(reassembly) = &mut self.reassembly {
            //= RFC 5681 §4.2: "an immediate ACK [SHOULD be sent] when it receives a data segment that fills in all or
            //= part of a gap"
            self.ack_due = AckDue::Now;
            self.nxt = reassembly.deliver(self.nxt, deliver);
        }
        //= RFC 5681 §4.2: "an ACK SHOULD be generated for at least every second full-sized segment"
        let two = u32::from(self.mss_seen) * 2;
        let bulk = new.len() >= usize::from(MSS_DEFAULT) && self.quick > 0;
        if bulk || self.nxt.distance_from(self.acked) >= two {
            self.quick = self.quick.saturating_sub(1);
            self.ack_due = AckDue::Now;
        } else if self.ack_due == AckDue::No {
            self.ack_due = AckDue::Delayed;
            self.ack_at = now + config.delayed_ack;
        }
        true
    }

    /// RFC 5681 §4.2: "Out-of-order data segments SHOULD be acknowledged immediately".
    fn take_early(&mut self, config: &Config, start: SeqNum, new: &[u8]) {
        self.ack_due = AckDue::Now;
        if new.is_empty() {
            return;
        }
        let bytes_max = index(config.reassembly_bytes_max);
        let reassembly = self.reassembly.get_or_insert_default();
        let held = reassembly.bytes();
        let kept = reassembly.insert(self.nxt, start, new, bytes_max);
        if kept == 0 && held < bytes_max && !reassembly.is_empty() {
            // All of it was there already, or there was no place: only the first is a duplicate.
            let mut sack = SackBlocks::EMPTY;
            reassembly.report(&mut sack, 1);
            let end = start + u32::try_from(new.len()).unwrap_or(0);
            if sack.first().is_some_and(|&(left, right)| !left.after(start) && !right.before(end)) {
                self.dsack = Some((start, end));
            }
        }
    }

    fn take_fin(&mut self, fin: Option<SeqNum>, received: &mut Received) {
        if let Some(fin) = fin
            && fin != self.nxt
        {
            // Its place in the stream is fixed by the first that came.
            self.reassembly.get_or_insert_default().fin.get_or_insert(fin);
        }
        let reached = fin == Some(self.nxt)
            || self.reassembly.as_ref().is_some_and(|reassembly| reassembly.fin == Some(self.nxt));
        if reached {
            self.nxt += 1;
            self.finished = true;
            self.ack_due = AckDue::Now;
            received.finished = true;
            self.reassembly = None;
        }
        if self.reassembly.as_ref().is_some_and(|reassembly| reassembly.is_empty()) {
            self.reassembly = None;
        }
    }

    /// A segment came that was received before: the peer wants an ACK, and to know why (RFC 2883 §4).
    pub(crate) fn on_duplicate(&mut self, seq: SeqNum, bytes: u32) {
        if bytes > 0 && !(seq + bytes).after(self.nxt) {
            self.dsack = Some((seq, seq + bytes));
        }
        self.ack_due = AckDue::Now;
    }

    /// Whether an ACK has more to tell than its number.
    pub(crate) fn has_reports(&self) -> bool {
        self.sack && (self.dsack.is_some() || self.reassembly.is_some())
    }

    /// The SACK option of the next ACK: DSACK first, then what came early.
    pub(crate) fn report(&mut self, room: usize) -> SackBlocks {
        let mut sack = SackBlocks::EMPTY;
        let duplicate = self.dsack.take();
        if self.sack {
            if let Some((left, right)) = duplicate {
                let _first = sack.push(left, right);
            }
            if let Some(reassembly) = &self.reassembly {
                reassembly.report(&mut sack, room);
            }
        }
        sack
    }

    /// An ACK of everything up to RCV.NXT leaves.
    pub(crate) fn on_ack_sent(&mut self) {
        self.acked = self.nxt;
        self.ack_due = AckDue::No;
        self.ack_at = Instant::NEVER;
    }

    /// A delayed ACK waited long enough.
    pub(crate) fn on_ack_timer(&mut self, now: Instant) {
        if self.ack_at <= now {
            self.ack_at = Instant::NEVER;
            if self.ack_due == AckDue::Delayed {
                self.ack_due = AckDue::Now;
            }
        }
    }
}

fn index(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
