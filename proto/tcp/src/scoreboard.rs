//! The map of what was sent: the sender's only memory, and the scoreboard of RFC 8985.
//!
//! ```text
//!   SND.UNA                                   SND.NXT           reserved
//!      ├─────────┬────────┬─────────┬────────────┼────────┬────────┤
//!      │  sent   │ SACKED │  LOST   │    sent    │  held  │surrend.│
//!      └─────────┴────────┴─────────┴────────────┴────────┴────────┘
//!        pipe      sacked    lost       pipe         the owner's bytes on their way
//! ```
//!
//! One entry for each range that was sent at one time and has one fate: a superframe of 64 KiB is one entry, and so are
//! all superframes of one turn. SACKs and losses cut entries at segment boundaries; neighbours of the same fate become
//! one again. A peer that reports every other byte can therefore not make the map grow: cuts off segment boundaries
//! are made only while the map is small, and none at all once it is full. A SACK is advice and may be ignored (RFC 2018 §8).

use crate::num::{clamp_u32, whole_segments};
use alloc::collections::VecDeque;
use clock::Instant;
use core::ops::Range;

#[cfg(test)]
mod tests;

/// No more entries than this, whatever the peer reports: about 100 KB.
pub(crate) const ENTRIES_MAX: usize = 4096;

/// Cuts that are not on a segment boundary are made only below so many entries.
const ENTRIES_MAX_FOR_ODD_CUTS: usize = 256;

/// An entry longer than this is not extended, so that lengths never come near 2³².
const ENTRY_BYTES_MAX: u32 = 1 << 30;

bitflags::bitflags! {
    /// The fate of an entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Fate: u8 {
        /// Sent at least once.
        const SENT = 1 << 0;
        /// The peer holds it, out of order.
        const SACKED = 1 << 1;
        /// Thought lost and not sent again since.
        const LOST = 1 << 2;
        /// The owner is fetching it or holds it.
        const HELD = 1 << 3;
        /// The next to probe the tail with.
        const PROBE = 1 << 4;
        /// Not a byte but our FIN.
        const FIN = 1 << 5;
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    sent_at: Instant,
    bytes: u32,
    fate: Fate,
    /// How often it was sent; stays at 255.
    sends: u8,
}

impl Entry {
    fn end(&self) -> u64 {
        self.start + u64::from(self.bytes)
    }
}

const _: () = assert!(size_of::<Entry>() == 24);

/// When and up to where something was sent: RACK's order (RFC 8985 §6.2 `RACK_sent_after`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) end: u64,
}

/// What one acknowledgment delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    /// Bytes that were not known to be delivered before.
    pub(crate) fresh: u32,
    /// Of these, reported by SACK.
    pub(crate) sacked: u32,
    /// The latest sent of those sent once.
    pub(crate) original: Option<Sent>,
    /// The latest sent of those sent again.
    pub(crate) again: Option<Sent>,
    /// Something we thought lost, and had not sent again, was delivered.
    pub(crate) lost_original: bool,
    /// Something sent once was delivered after what was sent later.
    pub(crate) reordered: bool,
    /// The highest offset delivered so far (RACK.fack).
    pub(crate) fack: u64,
}

impl Delivered {
    pub(crate) fn since(fack: u64) -> Self {
        Self { fack, ..Self::default() }
    }

    /// Whether anything that had been sent again was delivered.
    pub(crate) fn retransmitted(&self) -> bool {
        self.again.is_some()
    }

    /// Notes the first `bytes` of `entry`, delivered now and not before.
    fn note(&mut self, entry: &Entry, bytes: u32) {
        let end = entry.start + u64::from(bytes);
        let sent = Some(Sent { at: entry.sent_at, end });
        self.fresh = self.fresh.saturating_add(bytes);
        if entry.sends > 1 {
            self.again = self.again.max(sent);
        } else {
            self.original = self.original.max(sent);
            self.lost_original |= entry.fate.contains(Fate::LOST);
            self.reordered |= end <= self.fack;
        }
        self.fack = self.fack.max(end);
    }
}

/// What a loss detector says about a range in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Lost,
    InFlight,
    /// In flight, and so is everything after it.
    Enough,
}

/// A range in flight, for a loss detector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) sent: Sent,
    pub(crate) again: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Scoreboard {
    entries: VecDeque<Entry>,
    pipe: u32,
    sacked: u32,
    lost: u32,
    /// Of the lost, what the owner is fetching.
    held_lost: u32,
    /// Reserved, never sent, and not with the owner.
    surrendered: u32,
    /// Nothing before this is lost and not held.
    lost_from: u64,
}

impl Scoreboard {
    pub(crate) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            pipe: 0,
            sacked: 0,
            lost: 0,
            held_lost: 0,
            surrendered: 0,
            lost_from: 0,
        }
    }

    /// Forgets everything but its memory.
    pub(crate) fn clear(&mut self) {
        let mut entries = core::mem::take(&mut self.entries);
        entries.clear();
        *self = Self { entries, ..Self::new() };
    }

    /// Bytes in the network as far as we know (RFC 6675 `pipe`).
    pub(crate) fn pipe(&self) -> u32 {
        self.pipe
    }

    pub(crate) fn sacked(&self) -> u32 {
        self.sacked
    }

    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }

    pub(crate) fn held_lost(&self) -> u32 {
        self.held_lost
    }

    pub(crate) fn surrendered(&self) -> u32 {
        self.surrendered
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether new data may be added: the map keeps room for cuts.
    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < ENTRIES_MAX
    }

    /// Bytes of heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    // ── The owner ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The bytes from `start` on exist now and are the owner's to fetch.
    pub(crate) fn reserve(&mut self, start: u64, bytes: u32) {
        if let Some(back) = self.entries.back_mut()
            && back.fate == Fate::HELD
            && back.bytes <= ENTRY_BYTES_MAX
            && bytes <= ENTRY_BYTES_MAX
        {
            back.bytes += bytes;
        } else if bytes > 0 {
            self.entries.push_back(Entry {
                start,
                sent_at: Instant::EPOCH,
                bytes,
                fate: Fate::HELD,
                sends: 0,
            });
        }
    }

    /// The owner no longer has the bytes of `range`.
    pub(crate) fn surrender(&mut self, range: Range<u64>) {
        let mut index = self.find(range.start);
        while let Some(entry) = self.entries.get(index).copied()
            && entry.start < range.end
        {
            if entry.fate.contains(Fate::HELD) {
                index = self.cut(index, range.start.max(entry.start));
                self.cut(index, range.end.min(self.entries[index].end()));
                self.change(index, |entry| entry.fate.remove(Fate::HELD));
                if self.entries[index].fate.contains(Fate::LOST) {
                    self.lost_from = self.lost_from.min(self.entries[index].start);
                }
                index = self.join(index);
            }
            index += 1;
        }
    }

    /// The first lost range that nobody fetches and that begins before `limit`, and to that limit or one segment: at most
    /// `bytes`, whole segments unless the range ends, and held from now.
    pub(crate) fn hold_lost(&mut self, limit: u64, bytes: u32, mss: u32) -> Option<Range<u64>> {
        if self.lost == self.held_lost {
            return None;
        }
        let is_free = |fate: Fate| fate & (Fate::LOST | Fate::HELD | Fate::FIN) == Fate::LOST;
        let mut index = self.find(self.lost_from);
        while !is_free(self.entries.get(index)?.fate) {
            index += 1;
        }
        let start = self.entries[index].start;
        self.lost_from = start;
        if start >= limit {
            return None;
        }
        let mut end = start;
        let mut left = bytes.min(clamp_u32(limit - start).max(mss));
        while left > 0
            && let Some(entry) = self.entries.get(index).copied()
            && is_free(entry.fate)
        {
            let taken = if entry.bytes <= left { entry.bytes } else { whole_segments(left, mss) };
            if taken == 0 {
                break;
            }
            self.cut(index, entry.start + u64::from(taken));
            self.change(index, |entry| entry.fate.insert(Fate::HELD));
            end += u64::from(taken);
            left -= taken;
            index += 1;
        }
        self.lost_from = end;
        (end > start).then_some(start..end)
    }

    /// The first surrendered range from `nxt` on that begins before `limit`: at most `bytes` of it, held from now.
    pub(crate) fn hold_surrendered(
        &mut self,
        nxt: u64,
        limit: u64,
        bytes: u32,
        mss: u32,
    ) -> Option<Range<u64>> {
        if self.surrendered == 0 {
            return None;
        }
        let mut index = self.find(nxt);
        while self.entries.get(index)?.fate.contains(Fate::HELD) {
            index += 1;
        }
        let entry = self.entries[index];
        let allowed = clamp_u32(limit.saturating_sub(entry.start)).min(bytes);
        let taken = if entry.bytes <= allowed { entry.bytes } else { whole_segments(allowed, mss) };
        if taken == 0 {
            return None;
        }
        let end = entry.start + u64::from(taken);
        self.cut(index, end);
        self.change(index, |entry| entry.fate.insert(Fate::HELD));
        self.join(index);
        Some(entry.start..end)
    }

    /// Marks the last segment in flight as the probe of the tail. `true` when that is the bare FIN.
    pub(crate) fn mark_probe(&mut self, nxt: u64, mss: u32) -> Option<bool> {
        let index = self.tail(nxt)?;
        let entry = *self.entries.get(index)?;
        if entry.fate.intersects(Fate::SACKED | Fate::LOST) || !entry.fate.contains(Fate::SENT) {
            return None;
        }
        if entry.fate.contains(Fate::FIN) {
            return Some(true);
        }
        let odd = entry.bytes % mss;
        let tail = if odd == 0 { mss.min(entry.bytes) } else { odd };
        let index = self.cut(index, entry.end() - u64::from(tail));
        self.change(index, |entry| entry.fate.insert(Fate::PROBE));
        Some(false)
    }

    /// The probe, held from now; none when nobody marked one or the owner has it already.
    pub(crate) fn hold_probe(&mut self, nxt: u64) -> Option<Range<u64>> {
        let index = self.tail(nxt)?;
        let entry = self.entries.get(index)?;
        if entry.fate & (Fate::PROBE | Fate::HELD) != Fate::PROBE {
            return None;
        }
        let range = entry.start..entry.end();
        self.change(index, |entry| entry.fate.insert(Fate::HELD));
        Some(range)
    }

    /// The entry that ends at `nxt`; of a FIN the one before it, which carries it when it is sent again, if that is
    /// outstanding still.
    fn tail(&self, nxt: u64) -> Option<usize> {
        let last = self.find(nxt.checked_sub(1)?);
        let before = last.checked_sub(1);
        Some(match (self.entries.get(last), before) {
            (Some(entry), Some(before))
                if entry.fate.contains(Fate::FIN) && !self.entries[before].fate.contains(Fate::SACKED) =>
            {
                before
            }
            _ => last,
        })
    }

    /// How many of the bytes from `nxt` on the owner holds and has never sent.
    pub(crate) fn held_from(&self, nxt: u64) -> u32 {
        match self.entries.get(self.find(nxt)) {
            Some(entry) if entry.fate == Fate::HELD && entry.start == nxt => entry.bytes,
            _ => 0,
        }
    }

    // ── Sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The bytes from `start` (SND.NXT) on, `bytes` of them, leave for the first time.
    pub(crate) fn send_new(&mut self, now: Instant, start: u64, bytes: u32, mss: u32) {
        let mut index = self.find(start);
        debug_assert!(
            self.entries.get(index).is_some_and(|entry| entry.start == start),
            "SND.NXT begins an entry"
        );
        self.cut(index, start + u64::from(bytes));
        self.change(index, |entry| {
            entry.fate = Fate::SENT;
            entry.sent_at = now;
            entry.sends = 1;
        });
        if index > 0 {
            index -= 1;
            self.join_next(index, mss);
        }
    }

    /// Our FIN leaves for the first time, behind all bytes.
    pub(crate) fn send_fin(&mut self, now: Instant, start: u64) {
        let fate = Fate::SENT | Fate::FIN;
        self.entries.push_back(Entry { start, sent_at: now, bytes: 1, fate, sends: 1 });
        self.pipe += 1;
    }

    /// How what stands at `offset` should be treated by a sender that has its bytes.
    pub(crate) fn again(&mut self, now: Instant, offset: u64, bytes: u32, mss: u32) -> Again {
        let mut index = self.find(offset);
        let Some(entry) = self.entries.get(index).copied() else { return Again::Skip(offset) };
        let is_due = |fate: Fate| {
            fate.contains(Fate::SENT | Fate::HELD)
                && fate.intersects(Fate::LOST | Fate::PROBE)
                && !fate.intersects(Fate::FIN | Fate::SACKED)
        };
        if !entry.fate.contains(Fate::SENT) {
            return Again::New;
        }
        if !is_due(entry.fate) || bytes == 0 {
            self.change(index, |entry| entry.fate.remove(Fate::HELD | Fate::PROBE));
            return Again::Skip(entry.end());
        }
        index = self.cut(index, offset.max(entry.start));
        let start = self.entries[index].start;
        let mut end = start;
        let mut left = bytes;
        while left > 0
            && let Some(entry) = self.entries.get(index).copied()
            && is_due(entry.fate)
        {
            // The owner's bytes or the superframe may end within the entry: the rest stays due.
            let taken =
                if entry.bytes <= left { entry.bytes } else { whole_segments(left, mss).max(left.min(mss)) };
            self.cut(index, entry.start + u64::from(taken));
            self.change(index, |entry| {
                entry.fate = Fate::SENT;
                entry.sent_at = now;
                entry.sends = entry.sends.saturating_add(1);
            });
            end += u64::from(taken);
            left -= taken;
            index += 1;
            if taken < entry.bytes {
                break;
            }
        }
        // What left together has one fate from now on.
        let mut index = self.find(start);
        while self.entries[index].end() < end && self.join_next(index, mss) {}
        if index > 0 {
            index -= 1;
            self.join_next(index, mss);
        }
        Again::Sent(start..end)
    }

    /// Whether our FIN is thought lost.
    pub(crate) fn is_fin_lost(&self) -> bool {
        self.entries.back().is_some_and(|entry| entry.fate.contains(Fate::FIN | Fate::LOST))
    }

    /// Our FIN, sent before, leaves again.
    pub(crate) fn send_fin_again(&mut self, now: Instant) {
        if let Some(index) = self.entries.len().checked_sub(1)
            && self.entries[index].fate.contains(Fate::FIN)
            && !self.entries[index].fate.contains(Fate::SACKED)
        {
            self.change(index, |entry| {
                entry.fate = Fate::SENT | Fate::FIN;
                entry.sent_at = now;
                entry.sends = entry.sends.saturating_add(1);
            });
        }
    }

    // ── Acknowledgments ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Everything below `ack` was delivered.
    pub(crate) fn acknowledge(&mut self, ack: u64, delivered: &mut Delivered) {
        while let Some(entry) = self.entries.front().copied()
            && entry.start < ack
        {
            let bytes = clamp_u32(ack - entry.start).min(entry.bytes);
            if !entry.fate.contains(Fate::SACKED) {
                delivered.note(&entry, bytes);
            }
            if bytes == entry.bytes {
                self.uncount(entry);
                self.entries.pop_front();
            } else {
                self.change(0, |entry| {
                    entry.start += u64::from(bytes);
                    entry.bytes -= bytes;
                });
            }
        }
    }

    /// The peer holds `range`, which lies between SND.UNA and SND.NXT.
    pub(crate) fn sack(&mut self, range: Range<u64>, mss: u32, delivered: &mut Delivered) {
        let mut index = self.find(range.start);
        while let Some(entry) = self.entries.get(index).copied()
            && entry.start < range.end
            && entry.fate.contains(Fate::SENT)
        {
            if !entry.fate.contains(Fate::SACKED)
                && let Some(piece) = self.piece(&entry, &range, mss)
            {
                index = self.cut(index, piece.start);
                self.cut(index, piece.end);
                let entry = self.entries[index];
                delivered.note(&entry, entry.bytes);
                delivered.sacked = delivered.sacked.saturating_add(entry.bytes);
                self.change(index, |entry| {
                    entry.fate.insert(Fate::SACKED);
                    entry.fate.remove(Fate::LOST | Fate::HELD | Fate::PROBE);
                });
                index = self.join(index);
            }
            index += 1;
        }
    }

    /// The part of `entry` in `range` that the map can afford to tell apart.
    fn piece(&self, entry: &Entry, range: &Range<u64>, mss: u32) -> Option<Range<u64>> {
        let start = range.start.max(entry.start);
        let end = range.end.min(entry.end());
        if (start, end) == (entry.start, entry.end()) {
            return Some(start..end);
        }
        if self.entries.len() + 2 > ENTRIES_MAX {
            return None;
        }
        if self.entries.len() < ENTRIES_MAX_FOR_ODD_CUTS {
            return (start < end).then_some(start..end);
        }
        let mss = u64::from(mss);
        let start = entry.start + (start - entry.start).div_ceil(mss) * mss;
        let end = if end == entry.end() { end } else { end - (end - entry.start) % mss };
        (start < end).then_some(start..end)
    }

    // ── Loss ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Asks `verdict` about every range in flight, in stream order; returns the bytes that became lost.
    pub(crate) fn detect_lost(&mut self, mut verdict: impl FnMut(InFlight) -> Verdict) -> u32 {
        let before = self.lost;
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if !entry.fate.contains(Fate::SENT) {
                break;
            }
            if entry.fate.intersects(Fate::SACKED | Fate::LOST) {
                continue;
            }
            let sent = Sent { at: entry.sent_at, end: entry.end() };
            match verdict(InFlight { sent, again: entry.sends > 1 }) {
                Verdict::Lost => self.lose(index),
                Verdict::InFlight => {}
                Verdict::Enough => break,
            }
        }
        self.lost - before
    }

    /// Everything in flight is lost (RTO). A peer that dropped what it had reported (the front would not be
    /// outstanding if it had not) is believed no more: RFC 2018 §8.
    pub(crate) fn lose_all(&mut self) {
        let reneged = self.entries.front().is_some_and(|entry| entry.fate.contains(Fate::SACKED));
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if !entry.fate.contains(Fate::SENT) {
                break;
            }
            if reneged {
                self.change(index, |entry| entry.fate.remove(Fate::SACKED));
            }
            if !self.entries[index].fate.intersects(Fate::SACKED | Fate::LOST) {
                self.lose(index);
            }
        }
    }

    /// The first segment outstanding is lost: what NewReno can tell without SACK.
    pub(crate) fn lose_front(&mut self, mss: u32) {
        if let Some(entry) = self.entries.front().copied()
            && entry.fate.contains(Fate::SENT)
            && !entry.fate.intersects(Fate::SACKED | Fate::LOST)
        {
            self.cut(0, entry.start + u64::from(mss.min(entry.bytes)));
            self.lose(0);
        }
    }

    /// Nothing was lost after all: what was marked and not yet sent again is in flight.
    pub(crate) fn find_lost(&mut self) {
        for index in 0..self.entries.len() {
            if self.entries[index].fate.contains(Fate::LOST) {
                self.change(index, |entry| entry.fate.remove(Fate::LOST | Fate::HELD));
            }
        }
    }

    /// Whether all that is outstanding waits for the owner: no timer of the network's may run for it.
    pub(crate) fn waits_for_owner(&self) -> bool {
        self.pipe == 0
            && self.entries.front().is_some_and(|entry| entry.fate.contains(Fate::LOST | Fate::HELD))
    }

    fn lose(&mut self, index: usize) {
        self.change(index, |entry| {
            entry.fate.insert(Fate::LOST);
            // Bytes fetched for a probe serve as well for what is now a retransmission: HELD stays.
            entry.fate.remove(Fate::PROBE);
        });
        self.lost_from = self.lost_from.min(self.entries[index].start);
    }

    // ── Entries ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The entry that holds `offset`, or the first behind it.
    fn find(&self, offset: u64) -> usize {
        // Nearly always it is the first (ACKs) or the last (new data).
        match (self.entries.front(), self.entries.back()) {
            (Some(front), _) if offset < front.end() => 0,
            (_, Some(back)) if offset >= back.start => self.entries.len() - usize::from(offset < back.end()),
            _ => self.entries.partition_point(|entry| entry.end() <= offset),
        }
    }

    /// Makes `at` a boundary within or at the edge of the entry; returns the index of what begins at `at`.
    fn cut(&mut self, index: usize, at: u64) -> usize {
        let entry = &mut self.entries[index];
        if at <= entry.start {
            return index;
        }
        if at >= entry.end() {
            return index + 1;
        }
        let first = clamp_u32(at - entry.start);
        let rest = Entry { start: at, bytes: entry.bytes - first, ..*entry };
        entry.bytes = first;
        self.entries.insert(index + 1, rest);
        index + 1
    }

    /// Joins an entry of which nobody will ask when it was sent (SACKED, or never sent) with its like; returns its index.
    fn join(&mut self, mut index: usize) -> usize {
        self.join_next(index, 1);
        if index > 0 && self.join_next(index - 1, 1) {
            index -= 1;
        }
        index
    }

    /// Joins an entry with the next if both have one fate and segment boundaries stay where they are.
    fn join_next(&mut self, index: usize, mss: u32) -> bool {
        let (Some(first), Some(next)) = (self.entries.get(index), self.entries.get(index + 1)) else {
            return false;
        };
        let timeless = first.fate.contains(Fate::SACKED) || !first.fate.contains(Fate::SENT);
        let alike = first.fate == next.fate
            && !first.fate.intersects(Fate::FIN | Fate::PROBE)
            && (timeless
                || (first.sent_at == next.sent_at && first.sends == next.sends && first.bytes % mss == 0))
            && first.bytes <= ENTRY_BYTES_MAX
            && next.bytes <= ENTRY_BYTES_MAX;
        if alike {
            let bytes = next.bytes;
            self.entries.remove(index + 1);
            self.entries[index].bytes += bytes;
        }
        alike
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Entry)) {
        self.uncount(self.entries[index]);
        change(&mut self.entries[index]);
        self.count(self.entries[index]);
    }

    fn count(&mut self, entry: Entry) {
        let (share, held) = self.shares(entry.fate);
        if let Some(share) = share {
            *share += entry.bytes;
        }
        if held {
            self.held_lost += entry.bytes;
        }
    }

    fn uncount(&mut self, entry: Entry) {
        let (share, held) = self.shares(entry.fate);
        if let Some(share) = share {
            *share -= entry.bytes;
        }
        if held {
            self.held_lost -= entry.bytes;
        }
    }

    /// The sum of which bytes of this fate are part, and whether they are part of `held_lost` besides.
    fn shares(&mut self, fate: Fate) -> (Option<&mut u32>, bool) {
        if !fate.contains(Fate::SENT) {
            ((!fate.contains(Fate::HELD)).then_some(&mut self.surrendered), false)
        } else if fate.contains(Fate::SACKED) {
            (Some(&mut self.sacked), false)
        } else if fate.contains(Fate::LOST) {
            (Some(&mut self.lost), fate.contains(Fate::HELD))
        } else {
            (Some(&mut self.pipe), false)
        }
    }
}

/// What [`Scoreboard::again`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Never sent: not the map's decision.
    New,
    /// Not needed; go on at this offset.
    Skip(u64),
    /// Leaves again now.
    Sent(Range<u64>),
}
