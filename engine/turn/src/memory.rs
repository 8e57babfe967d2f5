//! Memory as a source: bytes at hand in frames, which do not change while they are sent.
//!
//! ```text
//!                    ┌─ plain ───▶ chunk without a frame ─▶ parts and their sum, looked up when a packet is made
//!   item ─ credit ───┤
//!                    └─ sealed ──▶ gathered and sealed into a fresh frame ─▶ chunk;  the entry keeps the tag
//! ```
//!
//! Nothing is read and nothing is kept: an entry names the memory until it is acknowledged, and a lost range is looked up
//! in it again. A packet names the frames themselves, so that they outlive the memory, and the connection, for as long as
//! the link still sends from them.

use alloc::rc::Rc;
use clock::Instant;
use core::fmt;
use core::ops::Range;
use dma::{Frame, Pool};
use platform::Part;
use stack::FlowId;
use tls::{ExpandedKeys, SealError};
use wire::checksum::Sum;

use crate::counters::Counters;
use crate::flow::{Flow, Records, Security};
use crate::outbound::{Chunk, Entry, Held, Item, Seal, Source};
use crate::pull::{FRAMES_FOR_LOST, Lack, Pulled, record_credit};
use crate::read::record_bytes;
use crate::seal::{Place, seal_record, wire};
use crate::service::{End, Service};
use crate::worker::Core;

/// Bytes in frames of the worker's own arena. While anybody holds it, they do not change.
pub trait Memory: fmt::Debug {
    /// Tells the parts that hold `range`, in order. The range is not empty and lies within the memory. Of several parts
    /// all but the first and the last are at least [`dma::SMALL_BYTES`] long.
    fn parts(&self, range: Range<u64>, tell: &mut dyn FnMut(Part));

    /// The sum of `range`, without a pass over it.
    fn sum(&self, range: Range<u64>) -> Sum;

    /// `before` and then `range`, in one piece of a frame that nobody else sends from now. Asked for where packets are
    /// [`Pre`](crate::MemoryVariant::Pre): the range is a segment's, the same as often as the segment is, and what stands
    /// before it is another each time. `None`: it is sent from where it lies, as by default.
    fn replica(&self, range: Range<u64>, before: &[&[u8]]) -> Option<Part> {
        let _ = (range, before);
        None
    }
}

/// How much of `range` lies in the first `parts_max` parts, and in how many of them at most.
pub(crate) fn reach(memory: &dyn Memory, range: Range<u64>, parts_max: usize) -> (usize, u64) {
    let len = range.end - range.start;
    // Short ranges, which are most, need not be looked up to be counted.
    let most = usize::try_from(len / dma::SMALL_BYTES as u64).map_or(usize::MAX, |whole| whole + 2);
    if most <= parts_max {
        return (most, len);
    }
    let (mut count, mut bytes) = (0, 0);
    memory.parts(range, &mut |part| {
        if count < parts_max {
            count += 1;
            bytes += u64::from(part.len);
        }
    });
    debug_assert!(count > 0, "memory without parts");
    (count, bytes)
}

/// Copies `range` to the beginning of `out`.
pub(crate) fn copy_to(memory: &dyn Memory, range: Range<u64>, out: &mut [u8]) {
    let mut at = 0;
    memory.parts(range, &mut |part| {
        let bytes = part.bytes();
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    });
}

/// Why memory that was sent before is not at hand again.
pub(crate) enum NotAgain {
    /// No frame is free to seal it into.
    Starved,
    /// It cannot be sealed as it was.
    Unsealable(SealError),
}

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// Reserves the next of the memory in front, as far as credit goes. `None`: go on with what is behind it.
    pub(crate) fn reserve_memory(&mut self, id: FlowId, now: Instant) -> Option<Pulled> {
        let is_sealed = matches!(self.flows.get(id)?.security, Security::Established(_));
        if is_sealed { self.reserve_records(id, now) } else { self.reserve_plain(id, now) }
    }

    /// A piece of a plain stream: nothing is touched but the map.
    fn reserve_plain(&mut self, id: FlowId, now: Instant) -> Option<Pulled> {
        let share = self.config.read_bytes_max;
        let merges = self.egress.merges();
        let Flow { tcp, outbound, .. } = self.flows.get_mut(id)?;
        let outbound = outbound.as_mut()?;
        let Some(Item::Memory { memory, range }) = outbound.queue.front_mut() else { return None };
        let left = range.end - range.start;
        let credit = tcp.credit(now);
        // A superframe costs what it costs, however long it is. Segments that leave one by one have nothing to wait for.
        let worthwhile = tcp.read_threshold(left);
        let worthwhile = if merges { worthwhile } else { worthwhile.min(u32::from(tcp.mss())) };
        if credit < worthwhile {
            return Some(Pulled::Done);
        }
        let take = whole_segments(tcp, credit.min(share), left);
        let (memory, offset) = (Rc::clone(memory), range.start);
        range.start += u64::from(take);
        let is_all = range.is_empty();
        if is_all {
            outbound.queue.pop_front();
        }
        let stream = tcp.reserve(take);
        outbound.lend(now, &stream, memory, offset);
        self.touch(id);
        if is_all { None } else { Some(if credit > take { Pulled::More } else { Pulled::Done }) }
    }

    /// Records, each gathered and sealed into a frame at once, since its plaintext is at hand.
    fn reserve_records(&mut self, id: FlowId, now: Instant) -> Option<Pulled> {
        let share = self.config.read_bytes_max;
        let Self { flows, pool, keys, counters, .. } = self;
        let flow = flows.get_mut(id)?;
        let overhead = flow.overhead();
        let Flow { tcp, outbound, security, .. } = flow;
        let Security::Established(records) = security else { return None };
        let outbound = outbound.as_mut()?;
        let Some(Item::Memory { memory, range }) = outbound.queue.front() else { return None };
        let (memory, mut range) = (Rc::clone(memory), range.clone());
        let left = range.end - range.start;
        let credit = record_credit(tcp, now, overhead);
        let left_sealed = left + left.div_ceil(dma::PAYLOAD_BYTES as u64) * u64::from(overhead);
        if credit < tcp.read_threshold(left_sealed) {
            return Some(Pulled::Done);
        }
        let mut budget = credit.min(share + (share >> 14) * overhead);
        let is_share = budget < credit;
        let (mut end, mut worn_out) = (None, false);
        while !range.is_empty() {
            let bytes = record_bytes(range.start, range.end - range.start, budget.saturating_sub(overhead));
            if bytes == 0 {
                end = Some(if is_share { Pulled::More } else { Pulled::Done });
                break;
            }
            let Some(frame) = frame_for(pool, bytes + overhead) else {
                counters.frame_waits += 1;
                end = Some(Pulled::Starved(Lack::Frame));
                break;
            };
            // At the end of its key what was reserved is still sent, and the rest is not.
            let Ok(unsealed) = records.sealer.bind() else {
                (end, worn_out) = (Some(Pulled::Done), true);
                break;
            };
            let mut seal = Seal::Bound(unsealed);
            let plaintext = (&*memory, range.start..range.start + u64::from(bytes));
            let Ok((held, len)) = seal_from(plaintext, frame, records, keys, &mut seal, counters) else {
                self.abort(id, End::Shed);
                return Some(Pulled::Done);
            };
            let stream = tcp.reserve(len);
            let source = Source::Memory { memory: Rc::clone(&memory), offset: range.start, bytes };
            outbound.push(now, Entry { start: stream.start, len, seal, source });
            outbound.insert(Chunk { start: stream.start, len, held });
            range.start += u64::from(bytes);
            budget = budget.saturating_sub(len);
        }
        let sealed_none = range.end - range.start == left;
        match outbound.queue.front_mut() {
            Some(Item::Memory { range: rest, .. }) if !range.is_empty() => *rest = range,
            _ => drop(outbound.queue.pop_front()),
        }
        if sealed_none && worn_out {
            // There is no way on from here.
            self.abort(id, End::Shed);
        } else if !sealed_none {
            self.touch(id);
        }
        end
    }
}

/// Of `credit`, what is best reserved of `left` bytes: all of it, or so much that segments are full.
fn whole_segments(tcp: &tcp::Connection, credit: u32, left: u64) -> u32 {
    let (mss, unsent) = (u64::from(tcp.mss()), tcp.unsent());
    let whole = (unsent + u64::from(credit)) / mss * mss;
    match u32::try_from(left) {
        Ok(left) if left <= credit => left,
        // Less than a segment, of which TCP said that it is worth it.
        _ if whole <= unsent => credit,
        #[expect(clippy::cast_possible_truncation, reason = "no more than the credit")]
        _ => (whole - unsent) as u32,
    }
}

/// A frame for a record of so many bytes; the last few large ones are for what was lost.
fn frame_for(pool: &Pool, bytes: u32) -> Option<Frame> {
    let small = || if bytes as usize <= dma::SMALL_BYTES { pool.acquire_small() } else { None };
    let large = || if pool.large_free() > FRAMES_FOR_LOST { pool.acquire_large() } else { None };
    small().or_else(large)
}

/// Seals a record of memory into `frame`: what is then at hand of it, and how long it is.
fn seal_from<A: tls::Aead>(
    (memory, range): (&dyn Memory, Range<u64>),
    mut frame: Frame,
    records: &mut Records,
    keys: &mut ExpandedKeys<A>,
    seal: &mut Seal,
    counters: &mut Counters,
) -> Result<(Held, u32), SealError> {
    let head_bytes = records.sealer.layout().head_bytes;
    let begin = frame.payload_start().saturating_sub(head_bytes);
    let out = &mut frame.bytes_mut()[begin..];
    let record = seal_memory((memory, range), records, keys, seal, counters, out)?;
    #[expect(clippy::cast_possible_truncation, reason = "inside one frame")]
    let len = record.len() as u32;
    Ok((wire(frame, (begin + record.start) as u64), len))
}

/// Seals a record of memory at the beginning of `out`: in one pass where its plaintext lies in one part. Where it lies
/// then.
fn seal_memory<A: tls::Aead>(
    (memory, range): (&dyn Memory, Range<u64>),
    records: &mut Records,
    keys: &mut ExpandedKeys<A>,
    seal: &mut Seal,
    counters: &mut Counters,
    out: &mut [u8],
) -> Result<Range<usize>, SealError> {
    let bytes = range.end - range.start;
    let mut whole = None;
    memory.parts(range.clone(), &mut |part| {
        if u64::from(part.len) == bytes {
            whole = Some(part);
        }
    });
    if let Some(part) = whole {
        return seal_record(records, keys, seal, counters, Place::Into(part.bytes(), out));
    }
    let begin = records.sealer.layout().head_bytes;
    let payload = begin..begin + usize::try_from(bytes).map_err(|_| SealError::Layout)?;
    copy_to(memory, range, out.get_mut(payload.clone()).ok_or(SealError::Layout)?);
    seal_record(records, keys, seal, counters, Place::Here(out, payload))
}

/// Brings `want` of a lent piece to hand again: looked up, or sealed as it was. The entry's source is memory.
pub(crate) fn lend_again<A: tls::Aead>(
    entry: &mut Entry,
    want: &Range<u64>,
    pool: &Pool,
    security: &mut Security,
    keys: &mut ExpandedKeys<A>,
    counters: &mut Counters,
) -> Result<Chunk, NotAgain> {
    let Source::Memory { memory, offset, bytes } = &entry.source else {
        unreachable!("what is lent again was lent before")
    };
    let skip = want.start - entry.start;
    #[expect(clippy::cast_possible_truncation, reason = "inside one entry")]
    let (len, skip_bytes) = ((want.end - want.start) as u32, skip as u32);
    let mut held = match security {
        Security::Established(records) => {
            let frame = pool.acquire_small().filter(|_| entry.len as usize <= dma::SMALL_BYTES);
            let frame = frame.or_else(|| pool.acquire_large()).ok_or(NotAgain::Starved)?;
            let plaintext = (&**memory, *offset..*offset + u64::from(*bytes));
            let sealed = seal_from(plaintext, frame, records, keys, &mut entry.seal, counters);
            sealed.map_err(NotAgain::Unsealable)?.0
        }
        Security::Plain | Security::Handshaking(_) => {
            Held::Memory { memory: Rc::clone(memory), offset: *offset }
        }
    };
    held.skip(skip_bytes);
    Ok(Chunk { start: want.start, len, held })
}
