//! The ring of bytes between a worker and the writer.
//!
//! ```text
//!   time (8)  length (4)  kept (4)  dropped before (4)  direction (4)  the packet's first bytes …
//! ```
//!
//! A packet is there as a whole or not at all: it becomes visible with one store when all of it is written.

use core::sync::atomic::{AtomicU64, Ordering};
use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;

use super::{CaptureFilter, Totals};
use crate::Wake;

/// What may wait for the writer, of one worker. It looks fifty times a second, and when half of this is full.
const RING_BYTES: usize = 4 << 20;
const HEAD_BYTES: usize = 24;

/// What one worker's link has seen since the capture began.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) seen: AtomicU64,
    pub(super) fitting: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// A worker's end: takes packets, and never waits.
#[derive(Debug)]
pub struct CaptureSink {
    filter: CaptureFilter,
    snap: usize,
    ring: Producer<u8>,
    tally: Arc<Tally>,
    totals: Arc<Totals>,
    bell: Wake,
    /// Since the last packet that was taken.
    dropped: u32,
    /// The bell was rung, and the ring has not been seen less than half full since.
    has_rung: bool,
}

/// The two ends of a ring, and what is counted at it.
pub(super) fn pair(
    filter: CaptureFilter,
    snap: u32,
    totals: &Arc<Totals>,
    bell: Wake,
) -> (CaptureSink, Consumer<u8>, Arc<Tally>) {
    let (producer, consumer) = RingBuffer::new(RING_BYTES);
    let tally = Arc::new(Tally::default());
    let sink = CaptureSink {
        filter,
        snap: snap as usize,
        ring: producer,
        tally: Arc::clone(&tally),
        totals: Arc::clone(totals),
        bell,
        dropped: 0,
        has_rung: false,
    };
    (sink, consumer, tally)
}

impl CaptureSink {
    /// A packet of `bytes` in all passes, at `nanos` of the monotonic clock: `headers`, then `parts`. Kept as far as
    /// the snap length goes, if it fits the filter and there is room.
    pub fn offer<'a>(
        &mut self,
        nanos: u64,
        is_outgoing: bool,
        bytes: usize,
        headers: &'a [u8],
        parts: impl Iterator<Item = &'a [u8]>,
    ) {
        self.tally.seen.fetch_add(1, Ordering::Relaxed);
        if !self.filter.fits(headers) {
            return;
        }
        self.tally.fitting.fetch_add(1, Ordering::Relaxed);
        let kept = bytes.min(self.snap);
        let is_full =
            self.ring.is_abandoned() || !self.write(nanos, is_outgoing, bytes, kept, headers, parts);
        if is_full {
            self.dropped = self.dropped.saturating_add(1);
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            self.totals.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let is_half_full = self.ring.slots() < RING_BYTES / 2;
        if is_half_full && !self.has_rung {
            self.bell.ring();
        }
        self.has_rung = is_half_full;
    }

    fn write<'a>(
        &mut self,
        nanos: u64,
        is_outgoing: bool,
        bytes: usize,
        kept: usize,
        headers: &'a [u8],
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        let Ok(mut chunk) = self.ring.write_chunk(HEAD_BYTES + kept) else { return false };
        let mut head = [0; HEAD_BYTES];
        let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        head[..8].copy_from_slice(&nanos.to_le_bytes());
        head[8..12].copy_from_slice(&word(bytes));
        head[12..16].copy_from_slice(&word(kept));
        head[16..20].copy_from_slice(&self.dropped.to_le_bytes());
        head[20..].copy_from_slice(&word(usize::from(is_outgoing)));
        let (first, second) = chunk.as_mut_slices();
        let mut pen = Pen { first, second };
        pen.write(&head);
        pen.write(headers);
        parts.take_while(|part| pen.write(part)).for_each(drop);
        debug_assert!(pen.is_done(), "a packet is as long as it says");
        chunk.commit_all();
        self.dropped = 0;
        true
    }
}

/// Writes into the two pieces that the ring's end makes of a packet, as far as there is room.
struct Pen<'a> {
    first: &'a mut [u8],
    second: &'a mut [u8],
}

impl Pen<'_> {
    /// Whether there is room for more.
    fn write(&mut self, mut bytes: &[u8]) -> bool {
        for place in [&mut self.first, &mut self.second] {
            let count = place.len().min(bytes.len());
            let (now, left) = core::mem::take(place).split_at_mut(count);
            now.copy_from_slice(&bytes[..count]);
            *place = left;
            bytes = &bytes[count..];
        }
        !self.is_done()
    }

    const fn is_done(&self) -> bool {
        self.first.is_empty() && self.second.is_empty()
    }
}

/// A packet in the ring, but for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) nanos: u64,
    pub(super) original_bytes: u32,
    pub(super) dropped: u32,
    pub(super) is_outgoing: bool,
}

/// Takes the oldest packet off the ring; its bytes lie in two pieces. `false` when there is none.
pub(super) fn take(ring: &mut Consumer<u8>, on_packet: &mut dyn FnMut(&Head, [&[u8]; 2])) -> bool {
    let Ok(chunk) = ring.read_chunk(HEAD_BYTES) else { return false };
    let mut head = [0; HEAD_BYTES];
    let (first, second) = chunk.as_slices();
    head[..first.len()].copy_from_slice(first);
    head[first.len()..].copy_from_slice(second);
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let kept = word(12) as usize;
    let (low, high) = (word(0), word(4));
    let told = Head {
        nanos: u64::from(high) << 32 | u64::from(low),
        original_bytes: word(8),
        dropped: word(16),
        is_outgoing: word(20) != 0,
    };
    match ring.read_chunk(HEAD_BYTES + kept) {
        Ok(chunk) => {
            let (first, second) = chunk.as_slices();
            let pieces = match first.get(HEAD_BYTES..) {
                Some(first) => [first, second],
                None => [&second[HEAD_BYTES - first.len()..], &[]],
            };
            on_packet(&told, pieces);
            chunk.commit_all();
            true
        }
        Err(ChunkError::TooFewSlots(_)) => unreachable!("a packet is there as a whole"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(snap: u32) -> (CaptureSink, Consumer<u8>, Arc<Tally>, Arc<Totals>) {
        let totals = Arc::new(Totals::default());
        let (sink, ring, tally) = pair(CaptureFilter::default(), snap, &totals, Wake::new().unwrap());
        (sink, ring, tally, totals)
    }

    fn next(ring: &mut Consumer<u8>) -> Option<(Head, Vec<u8>)> {
        let mut taken = None;
        take(ring, &mut |head, pieces| taken = Some((*head, pieces.concat())));
        taken
    }

    #[test]
    fn packets_come_out_as_they_went_in_wherever_the_ring_wraps() {
        let (mut sink, mut ring, tally, _) = ends(100_000);
        for round in 0_u32..300 {
            let length = 30_000 + round as usize * 37;
            let packet: Vec<u8> =
                (0..length).map(|at| u8::try_from((at + round as usize) % 251).unwrap()).collect();
            let (headers, rest) = packet.split_at(54);
            let parts = rest.chunks(10_000);
            sink.offer(u64::from(round) << 33, round % 2 == 1, length, headers, parts);
            let (head, bytes) = next(&mut ring).unwrap();
            assert!(bytes == packet, "round {round}");
            let expected = Head {
                nanos: u64::from(round) << 33,
                original_bytes: u32::try_from(length).unwrap(),
                dropped: 0,
                is_outgoing: round % 2 == 1,
            };
            assert_eq!(head, expected);
        }
        assert_eq!(next(&mut ring), None);
        assert_eq!(tally.seen.load(Ordering::Relaxed), 300);
    }

    #[test]
    fn of_a_long_packet_the_beginning_is_kept_and_its_length() {
        let (mut sink, mut ring, ..) = ends(100);
        sink.offer(1, true, 1_054, &[1; 54], [&[2; 500][..], &[3; 500]].into_iter());
        let (head, bytes) = next(&mut ring).unwrap();
        assert_eq!(head.original_bytes, 1_054);
        assert_eq!(bytes, [&[1; 54][..], &[2; 46]].concat());
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_with_the_next_packet() {
        let (mut sink, mut ring, tally, totals) = ends(super::super::CAPTURE_SNAP_MAX);
        let packet = vec![7; 200_000];
        for _ in 0..30 {
            sink.offer(1, false, packet.len(), &packet, core::iter::empty());
        }
        let dropped = tally.dropped.load(Ordering::Relaxed);
        assert_eq!(dropped, 30 - (RING_BYTES / (packet.len() + HEAD_BYTES)) as u64);
        assert_eq!(totals.dropped.load(Ordering::Relaxed), dropped);
        assert!(sink.bell.silence(), "the writer is woken");
        while next(&mut ring).is_some() {}
        sink.offer(2, false, 60, &[0; 60], core::iter::empty());
        assert_eq!(u64::from(next(&mut ring).unwrap().0.dropped), dropped);
        sink.offer(3, false, 60, &[0; 60], core::iter::empty());
        assert_eq!(next(&mut ring).unwrap().0.dropped, 0);
    }

    #[test]
    fn only_what_fits_the_filter_is_kept() {
        let totals = Arc::new(Totals::default());
        let filter = "port 443".parse().unwrap();
        let (mut sink, mut ring, tally) = pair(filter, 100, &totals, Wake::new().unwrap());
        sink.offer(1, false, 60, &[0; 60], core::iter::empty());
        assert_eq!(next(&mut ring), None);
        let counts = [&tally.seen, &tally.fitting, &tally.dropped].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 0, 0]);
    }

    #[test]
    fn a_writer_that_is_gone_costs_packets_and_nothing_else() {
        let (mut sink, ring, tally, _) = ends(100);
        drop(ring);
        sink.offer(1, false, 60, &[0; 60], core::iter::empty());
        assert_eq!(tally.dropped.load(Ordering::Relaxed), 1);
    }
}
