//! The receiving half: reassembly, what is told about it, and when.
//!
//! ```text
//!            nxt        block         block              edge
//!   ─────────┼─────────▐█████▌────────▐███▌───────────────┤
//!    read    │ missing  SACKed         SACKed   may come  │ may not come
//! ```

use alloc::collections::BTreeMap;
use arrayvec::ArrayVec;
use clock::Instant;
use core::time::Duration;

use super::Violation;
use super::manners::{Manners, WindowPlan};
use crate::random::{Dice, PPM};

/// An acknowledgment to be sent.
#[derive(Debug)]
pub(super) struct Acknowledgment {
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) sack: ArrayVec<(u32, u32), 4>,
}

/// What we receive.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) manners: Manners,
    dice: Dice,
    began: Instant,
    /// The peer's initial sequence number. Stream offset 0 follows it.
    irs: u32,
    /// Next offset expected.
    nxt: u64,
    /// In order and not yet read.
    ready: Vec<u8>,
    /// What came too early: offset → bytes, neither touching nor overlapping.
    early: BTreeMap<u64, Vec<u8>>,
    /// Offsets of early blocks, the latest to grow last.
    recent: Vec<u64>,
    /// What came twice, to be told once.
    twice: Option<(u64, u64)>,
    /// Where the stream ends.
    fin: Option<u64>,
    shift: u8,
    sack: bool,
    /// The right edge advertised last, and the furthest ever.
    edge: u64,
    edge_max: u64,
    /// The last offset acknowledged.
    acked: u64,
    /// Segments since then.
    unacked: u32,
    /// Offsets still to be acknowledged now.
    pieces: Vec<u64>,
    now_due: bool,
    due: Option<Instant>,
    /// When the doors that are shut open.
    opens: Instant,
}

impl Receiving {
    pub(super) fn new(now: Instant, manners: Manners, dice: Dice) -> Self {
        Self {
            manners,
            dice,
            began: now,
            irs: 0,
            nxt: 0,
            ready: Vec::new(),
            early: BTreeMap::new(),
            recent: Vec::new(),
            twice: None,
            fin: None,
            shift: 0,
            sack: false,
            edge: 0,
            edge_max: 0,
            acked: 0,
            unacked: 0,
            pieces: Vec::new(),
            now_due: false,
            due: None,
            opens: Instant::NEVER,
        }
    }

    pub(super) fn behave(&mut self) {
        self.manners.behave();
        self.acknowledge_now();
    }

    pub(super) fn established(&mut self, irs: u32, scaled: bool, sack: bool) {
        self.irs = irs;
        self.shift = if scaled { self.manners.window_scale.unwrap_or(0).min(14) } else { 0 };
        self.sack = sack;
        self.edge = u64::from(self.window_of_syn());
        self.edge_max = self.edge;
        self.now_due = true;
    }

    pub(super) fn window_of_syn(&self) -> u16 {
        let allowed = match self.manners.window {
            WindowPlan::Tiny(bytes) => bytes.min(self.manners.receive_buffer),
            _ => self.manners.receive_buffer,
        };
        u16::try_from(allowed).unwrap_or(u16::MAX)
    }

    /// The FIN has come, and everything before it.
    pub(super) fn finished(&self) -> bool {
        self.fin.is_some_and(|fin| self.nxt > fin)
    }

    fn seq(&self, offset: u64) -> u32 {
        self.irs.wrapping_add(1).wrapping_add(u32::try_from(offset & 0xFFFF_FFFF).expect("masked"))
    }

    /// RCV.NXT.
    pub(super) fn next_seq(&self) -> u32 {
        self.seq(self.nxt)
    }

    pub(super) fn is_ahead(&self, seq: u32) -> bool {
        seq.wrapping_sub(self.seq(self.acked)).cast_signed() > 0
    }

    pub(super) fn acknowledge_now(&mut self) {
        self.now_due = true;
    }

    /// Data carried our acknowledgment.
    pub(super) fn acknowledged(&mut self) {
        self.acked = self.nxt;
        self.unacked = 0;
        self.due = None;
    }

    pub(super) fn read(&mut self, now: Instant, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let count = self.ready.len().min(bytes_max);
        out.extend(self.ready.drain(..count));
        // Tell of a window that had become small and is large again (RFC 9293 §3.8.6.2.2).
        let told = self.edge.saturating_sub(self.nxt);
        let worth = u64::from(self.manners.receive_buffer / 2).min(u64::from(self.manners.mss));
        if count > 0
            && self.manners.window_updates
            && told < worth
            && self.allowed(now).saturating_sub(told) >= worth
        {
            self.now_due = true;
        }
        count
    }

    pub(super) fn on_data(
        &mut self,
        now: Instant,
        seq: u32,
        payload: &[u8],
        fin: bool,
        violations: &mut Vec<Violation>,
    ) {
        let distance = i64::from(seq.wrapping_sub(self.next_seq()).cast_signed());
        let Some(start) = self.nxt.checked_add_signed(distance) else {
            // Before the first byte: a keepalive just after the handshake.
            self.now_due = true;
            return;
        };
        let end = start + payload.len() as u64;
        if end > self.edge_max && !payload.is_empty() {
            violations.push(Violation::BeyondWindow { bytes: end - self.edge_max });
        }
        if fin && self.fin.is_some_and(|known| known != end)
            || self.fin.is_some_and(|known| end > known && !payload.is_empty())
        {
            violations.push(Violation::BeyondFin);
            return;
        }
        if fin {
            self.fin = Some(end);
        }
        if payload.is_empty() && !fin {
            // A probe or a keepalive asks for an answer; an acknowledgment does not.
            self.now_due |= start != self.nxt;
            return;
        }
        self.unacked += 1;
        let before = self.nxt;
        let had_gap = !self.early.is_empty();
        if end < self.nxt || end == self.nxt && !payload.is_empty() {
            // All of it came before, or is a FIN that did.
            if !payload.is_empty() {
                self.twice = Some((start, end));
            }
            self.now_due = true;
        } else if start <= self.nxt {
            let skip = usize::try_from(self.nxt - start).expect("less than the payload");
            self.take(&payload[skip..]);
            self.absorb(violations);
        } else {
            self.keep(start, payload, violations);
        }
        if self.fin == Some(self.nxt) {
            self.nxt += 1;
            self.now_due = true;
        }
        if had_gap || self.nxt == before || self.unacked >= self.manners.acks.every {
            self.now_due = true;
        } else {
            self.due.get_or_insert(now + self.manners.acks.delay);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.ready.extend_from_slice(bytes);
        self.nxt += bytes.len() as u64;
    }

    /// Takes what came early and is in order now.
    fn absorb(&mut self, violations: &mut Vec<Violation>) {
        while let Some(entry) = self.early.first_entry()
            && *entry.key() <= self.nxt
        {
            let (start, bytes) = entry.remove_entry();
            // It began behind what was expected, so what overtook it has just been taken and is not read yet.
            let behind = usize::try_from(self.nxt - start).expect("bounded by the window");
            let overlap = behind.min(bytes.len());
            let taken = &self.ready[self.ready.len() - behind..][..overlap];
            if let Some(at) = taken.iter().zip(&bytes).position(|(a, b)| a != b) {
                violations.push(Violation::Rewritten { offset: start + at as u64 });
            }
            self.take(&bytes[overlap..]);
        }
    }

    /// Keeps what came early.
    fn keep(&mut self, start: u64, payload: &[u8], violations: &mut Vec<Violation>) {
        let mut start = start;
        let mut bytes = payload.to_vec();
        let touching: Vec<u64> = self
            .early
            .range(..=start + bytes.len() as u64)
            .filter(|(at, block)| *at + block.len() as u64 >= start)
            .map(|(&at, _)| at)
            .collect();
        for at in touching {
            let block = self.early.remove(&at).expect("just found");
            let (low, high) = (start.max(at), (start + bytes.len() as u64).min(at + block.len() as u64));
            if low < high {
                let index =
                    |offset: u64, base: u64| usize::try_from(offset - base).expect("bounded by the window");
                let ours = &bytes[index(low, start)..index(high, start)];
                let theirs = &block[index(low, at)..index(high, at)];
                if let Some(first) = ours.iter().zip(theirs).position(|(a, b)| a != b) {
                    violations.push(Violation::Rewritten { offset: low + first as u64 });
                }
                if low == start && high == start + bytes.len() as u64 {
                    self.twice = Some((low, high));
                }
            }
            let (first_at, mut joined, second_at, second) =
                if at <= start { (at, block, start, bytes) } else { (start, bytes, at, block) };
            let known = usize::try_from(first_at + joined.len() as u64 - second_at).expect("they touch");
            joined.extend_from_slice(second.get(known..).unwrap_or(&[]));
            (start, bytes) = (first_at, joined);
        }
        self.early.insert(start, bytes);
        self.recent.retain(|&at| at != start);
        self.recent.push(start);
    }

    fn allowed(&mut self, now: Instant) -> u64 {
        let buffer = u64::from(self.manners.receive_buffer);
        let free = buffer.saturating_sub(self.ready.len() as u64);
        match self.manners.window {
            WindowPlan::Steady => free,
            WindowPlan::Tiny(bytes) => free.min(u64::from(bytes)),
            WindowPlan::Doors { .. } | WindowPlan::Pause { .. } => {
                let shut_until = self.shut_until(now);
                self.opens = shut_until.unwrap_or(Instant::NEVER);
                if shut_until.is_some() { 0 } else { free }
            }
            WindowPlan::Shrinking(bytes) if self.dice.chance(PPM / 4) => free.min(u64::from(bytes)),
            WindowPlan::Shrinking(_) => free,
        }
    }

    /// When the doors open again, if they are shut.
    fn shut_until(&self, now: Instant) -> Option<Instant> {
        let (open, shut) = match self.manners.window {
            WindowPlan::Doors { open, shut } => (open, shut),
            WindowPlan::Pause { after, length } => {
                let (begins, ends) = (self.began + after, self.began + after + length);
                return (begins <= now && now < ends).then_some(ends);
            }
            WindowPlan::Steady | WindowPlan::Tiny(_) | WindowPlan::Shrinking(_) => return None,
        };
        let period = (open + shut).as_nanos().max(1);
        let into = u64::try_from(now.since(self.began).as_nanos() % period).expect("less than a period");
        let into = Duration::from_nanos(into);
        (into >= open).then(|| now + ((open + shut) - into))
    }

    /// The window field, and with it a new right edge.
    pub(super) fn window(&mut self, now: Instant) -> u16 {
        let allowed = self.nxt + self.allowed(now);
        let edge = match self.manners.window {
            WindowPlan::Shrinking(_) => allowed,
            _ => allowed.max(self.edge),
        };
        let field = u16::try_from(edge.saturating_sub(self.nxt) >> self.shift).unwrap_or(u16::MAX);
        self.edge = self.nxt + (u64::from(field) << self.shift);
        self.edge_max = self.edge_max.max(self.edge);
        field
    }

    /// The next acknowledgment that is due.
    pub(super) fn next_ack(&mut self, now: Instant, blocks_max: usize) -> Option<Acknowledgment> {
        if self.due.is_some_and(|due| due <= now) {
            self.now_due = true;
        }
        if let WindowPlan::Doors { .. } | WindowPlan::Pause { .. } = self.manners.window
            && self.manners.window_updates
            && self.edge <= self.nxt
            && self.shut_until(now).is_none()
            // What is too little to be told would be told for ever.
            && self.allowed(now) >> self.shift > 0
        {
            self.now_due = true;
        }
        if self.now_due {
            self.now_due = false;
            let span = self.nxt.saturating_sub(self.acked);
            let pieces = u64::from(self.manners.acks.pieces).min(span).max(1);
            // The last piece is the whole; they are sent from the end of the list.
            self.pieces = (1..=pieces).rev().map(|piece| self.acked + span * piece / pieces).collect();
            self.acknowledged();
        }
        let piece = self.pieces.pop()?;
        let window = self.window(now);
        let ahead = u64::from(self.manners.acks.ahead);
        Some(Acknowledgment { ack: self.seq(piece + ahead), window, sack: self.blocks(blocks_max) })
    }

    fn blocks(&mut self, blocks_max: usize) -> ArrayVec<(u32, u32), 4> {
        let mut blocks: ArrayVec<(u64, u64), 4> = ArrayVec::new();
        let blocks_max = blocks_max.min(self.manners.sack_blocks_max);
        let twice = self.twice.take();
        if !self.sack {
            return ArrayVec::new();
        }
        if let Some(twice) = twice.filter(|_| self.manners.dsack) {
            blocks.push(twice);
        }
        self.recent.retain(|at| self.early.contains_key(at));
        for at in self.recent.iter().rev() {
            if blocks.len() >= blocks_max {
                break;
            }
            blocks.push((*at, at + self.early[at].len() as u64));
        }
        blocks.iter().map(|&(left, right)| (self.seq(left), self.seq(right))).collect()
    }

    pub(super) fn deadline(&self) -> Instant {
        let mut deadline = self.due.unwrap_or(Instant::NEVER);
        if self.manners.window_updates && self.edge <= self.nxt {
            // The doors are shut and nothing more may come: tell when they open.
            if let WindowPlan::Doors { .. } | WindowPlan::Pause { .. } = self.manners.window {
                deadline = deadline.min(self.opens);
            }
        }
        deadline
    }
}
