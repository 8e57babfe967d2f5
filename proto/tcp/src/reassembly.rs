//! Out-of-order payload, until the gap before it is filled.
//!
//! ```text
//!   RCV.NXT                                            right edge
//!      ├──────────┬───────┬────────────┬─────────┬──────────┤
//!      │   gap    │ block │    gap     │  block  │          │     SACK: the block touched last comes first
//!      └──────────┴───────┴────────────┴─────────┴──────────┘
//! ```
//!
//! Bounded in bytes and in blocks; what exceeds the bounds is dropped and never reported, so the peer sends it again.
//! Where segments overlap, the bytes that came first stay: a later copy cannot rewrite them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;
use wire::tcp::{SackBlocks, SeqNum};

/// More holes than an honest path makes in so few bytes: so many, or one for each so many bytes, up to a limit.
const BLOCKS_MIN: usize = 64;
const BYTES_PER_BLOCK: usize = 256;
const BLOCKS_MAX: usize = 4096;

#[derive(Clone, Debug)]
struct Block {
    start: SeqNum,
    bytes: Vec<u8>,
    /// When it last grew.
    stamp: u32,
}

impl Block {
    /// Where it lies, in bytes from `base`.
    fn range(&self, base: SeqNum) -> Range<usize> {
        let start = distance(self.start, base);
        start..start + self.bytes.len()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reassembly {
    /// In order, without overlap.
    blocks: VecDeque<Block>,
    bytes: usize,
    stamp: u32,
    /// The number of the peer's FIN, if it came too early.
    pub(crate) fin: Option<SeqNum>,
}

impl Reassembly {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.fin.is_none()
    }

    /// Bytes of heap, as far as they are ours to know.
    pub(crate) fn heap_bytes(&self) -> usize {
        let held: usize = self.blocks.iter().map(|block| block.bytes.capacity()).sum();
        self.blocks.capacity() * size_of::<Block>() + held
    }

    /// Keeps `payload`, which begins at `start` behind RCV.NXT (`base`); returns how much of it was new and is kept.
    pub(crate) fn insert(&mut self, base: SeqNum, start: SeqNum, payload: &[u8], bytes_max: usize) -> usize {
        let mut at = distance(start, base);
        let mut rest = payload;
        let mut index = self.blocks.partition_point(|block| block.range(base).end <= at);
        let mut kept = 0;
        self.stamp = self.stamp.wrapping_add(1);
        while !rest.is_empty() {
            let next = self.blocks.get(index).map(|block| block.range(base));
            if let Some(held) = &next
                && held.start <= at
            {
                let known = (held.end - at).min(rest.len());
                rest = &rest[known..];
                at += known;
                self.blocks[index].stamp = self.stamp;
                index += 1;
                continue;
            }
            let gap = next.map_or(rest.len(), |held| (held.start - at).min(rest.len()));
            let (new, behind) = rest.split_at(gap.min(bytes_max.saturating_sub(self.bytes)));
            let blocks_max = (bytes_max / BYTES_PER_BLOCK).clamp(BLOCKS_MIN, BLOCKS_MAX);
            if new.is_empty() || !self.keep(base, &mut index, at, new, blocks_max) {
                break;
            }
            kept += new.len();
            at += new.len();
            rest = behind;
        }
        kept
    }

    /// Puts `new` at `at` before the block `index`; `false` when there are too many blocks.
    fn keep(&mut self, base: SeqNum, index: &mut usize, at: usize, new: &[u8], blocks_max: usize) -> bool {
        if let Some(before) = index.checked_sub(1)
            && self.blocks[before].range(base).end == at
        {
            self.blocks[before].bytes.extend_from_slice(new);
            self.blocks[before].stamp = self.stamp;
        } else if self.blocks.len() < blocks_max {
            let Ok(offset) = u32::try_from(at) else { return false };
            self.blocks
                .insert(*index, Block { start: base + offset, bytes: new.to_vec(), stamp: self.stamp });
            *index += 1;
        } else {
            return false;
        }
        self.bytes += new.len();
        true
    }

    /// Delivers what now follows `nxt` without a gap; returns the new RCV.NXT.
    pub(crate) fn deliver(&mut self, mut nxt: SeqNum, deliver: &mut dyn FnMut(&[u8])) -> SeqNum {
        while let Some(front) = self.blocks.front()
            && !front.start.after(nxt)
        {
            let known = distance(nxt, front.start);
            if let Some(new) = front.bytes.get(known..)
                && !new.is_empty()
            {
                deliver(new);
                nxt += u32::try_from(new.len()).unwrap_or(0);
            }
            self.bytes -= front.bytes.len();
            self.blocks.pop_front();
        }
        nxt
    }

    /// Adds blocks to a SACK option as far as `room` reaches, the latest touched first (RFC 2018 §4).
    pub(crate) fn report(&self, sack: &mut SackBlocks, room: usize) {
        let mut latest: Option<u32> = None;
        while sack.len() < room {
            // The next older block: few blocks, and fewer reports, need no sorted copy.
            let age = |stamp: u32| self.stamp.wrapping_sub(stamp);
            let next = self
                .runs()
                .filter(|(_, _, stamp)| latest.is_none_or(|latest| age(*stamp) > age(latest)))
                .min_by_key(|(_, _, stamp)| age(*stamp));
            let Some((start, end, stamp)) = next else { return };
            if !sack.push(start, end) {
                return;
            }
            latest = Some(stamp);
        }
    }

    /// Blocks that touch each other are one to the peer.
    fn runs(&self) -> impl Iterator<Item = (SeqNum, SeqNum, u32)> + '_ {
        let mut index = 0;
        core::iter::from_fn(move || {
            let first = self.blocks.get(index)?;
            let mut end = end_of(first);
            let mut stamp = first.stamp;
            index += 1;
            while let Some(next) = self.blocks.get(index)
                && next.start == end
            {
                end = end_of(next);
                if self.stamp.wrapping_sub(next.stamp) < self.stamp.wrapping_sub(stamp) {
                    stamp = next.stamp;
                }
                index += 1;
            }
            Some((first.start, end, stamp))
        })
    }
}

fn end_of(block: &Block) -> SeqNum {
    // A block is never longer than the receive window, 2³⁰ bytes.
    block.start + u32::try_from(block.bytes.len()).unwrap_or(0)
}

fn distance(seq: SeqNum, base: SeqNum) -> usize {
    usize::try_from(seq.distance_from(base)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: SeqNum = SeqNum(u32::MAX - 20);

    fn delivered(reassembly: &mut Reassembly, nxt: SeqNum) -> (Vec<u8>, SeqNum) {
        let mut all = Vec::new();
        let nxt = reassembly.deliver(nxt, &mut |bytes| all.extend_from_slice(bytes));
        (all, nxt)
    }

    fn reported(reassembly: &Reassembly, room: usize) -> Vec<(u32, u32)> {
        let mut sack = SackBlocks::EMPTY;
        reassembly.report(&mut sack, room);
        sack.iter().map(|&(l, r)| (l.distance_from(BASE), r.distance_from(BASE))).collect()
    }

    #[test]
    fn what_came_early_is_delivered_when_the_gap_is_filled() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.insert(BASE, BASE + 10, b"world", 100), 5);
        assert_eq!(delivered(&mut reassembly, BASE), (Vec::new(), BASE));
        assert_eq!(delivered(&mut reassembly, BASE + 12), (b"rld".to_vec(), BASE + 15));
        assert!(reassembly.is_empty() && reassembly.bytes() == 0);
    }

    #[test]
    fn the_bytes_that_came_first_stay() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(BASE, BASE + 2, b"bb", 100);
        assert_eq!(reassembly.insert(BASE, BASE, b"xxxxxx", 100), 4);
        assert_eq!(delivered(&mut reassembly, BASE).0, b"xxbbxx");
    }

    //= RFC 2018 §4: "The first SACK block ... MUST specify the contiguous block of data containing the segment which
    //= triggered this ACK"
    #[test]
    fn the_block_touched_last_is_reported_first() {
        let mut reassembly = Reassembly::default();
        for start in [10, 30, 50, 70] {
            reassembly.insert(BASE, BASE + start, b"12345", 1000);
        }
        assert_eq!(reported(&reassembly, 3), [(70, 75), (50, 55), (30, 35)]);
        reassembly.insert(BASE, BASE + 15, b"1", 1000);
        assert_eq!(reported(&reassembly, 4), [(10, 16), (70, 75), (50, 55), (30, 35)]);
    }

    #[test]
    fn blocks_that_touch_are_reported_as_one() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(BASE, BASE + 15, b"12345", 1000);
        reassembly.insert(BASE, BASE + 10, b"12345", 1000);
        assert_eq!(reported(&reassembly, 3), [(10, 20)]);
    }

    #[test]
    fn a_peer_that_sends_every_other_byte_fills_only_so_many_blocks() {
        let mut reassembly = Reassembly::default();
        for start in 0..10_000 {
            reassembly.insert(BASE, BASE + 2 * start + 1, b"1", 64 << 10);
        }
        assert_eq!(reassembly.blocks.len(), 256);
        assert!(reassembly.heap_bytes() < 64 << 10);
    }

    #[test]
    fn no_more_bytes_are_kept_than_allowed() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.insert(BASE, BASE + 1, &[0; 100], 64), 64);
        assert_eq!(reassembly.insert(BASE, BASE + 500, &[0; 100], 64), 0);
        assert_eq!(reassembly.bytes(), 64);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Model: a map from offset to the byte that came first.
        #[test]
        fn any_order_and_overlap_yields_the_bytes_that_came_first(
            pieces in prop::collection::vec((0_u32..200, 1_usize..40, any::<u8>()), 1..40),
        ) {
            let mut reassembly = Reassembly::default();
            let mut model = [None; 256];
            for (start, len, byte) in pieces {
                let kept = reassembly.insert(BASE, BASE + start, &vec![byte; len], 1 << 20);
                let start = usize::try_from(start).unwrap();
                let free = model[start..start + len].iter_mut().filter(|slot| slot.is_none());
                prop_assert_eq!(free.map(|slot| *slot = Some(byte)).count(), kept);
            }
            let expected: Vec<u8> = model.iter().map_while(|slot| *slot).collect();
            prop_assert_eq!(delivered(&mut reassembly, BASE).0, expected);
        }
    }
}
