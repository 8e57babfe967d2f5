//! What a connection is sending: asked for, reserved, at hand.
//!
//! ```text
//!              Actions            credit                     read, sealed              ACK
//!   service ───────────▶ queue ───────────▶ map + fetch ─────────────────▶ chunks ─▶ wire ─────▶ forgotten
//!                        items              entries                        frames
//! ```
//!
//! There is no send buffer. The *queue* says what is to be sent and holds no byte of a file. The *map* says where
//! each reserved piece of the stream comes from: one entry a record, {stream range, object range, record number, key
//! epoch, tag}, until it is acknowledged. *Chunks* are frames with bytes that may leave at once. A byte that is lost
//! is looked up in the map, read and sealed again.
//!
//! Where the link has slots, a record is sealed on its way into one: its chunk is plaintext until then.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use clock::Instant;
use core::ops::Range;
use dma::{Frame, SharedFrame};

use crate::files::FileRef;
use crate::memory::{Memory, reach};

/// A lent piece of a plain stream that is longer does not become longer still.
const LENT_BYTES_MAX: u32 = 1 << 20;

/// Something asked for and not yet reserved in the stream.
#[derive(Debug)]
pub(crate) enum Item {
    /// Bytes of our own; `done` of them are reserved.
    Bytes { bytes: Vec<u8>, done: usize, content: Content },
    /// What is left of a file's range.
    File { file: FileRef, range: Range<u64> },
    /// What is left of a range of memory.
    Memory { memory: Rc<dyn Memory>, range: Range<u64> },
}

impl Item {
    /// Bytes of our own that are not reserved yet.
    fn bytes_left(&self) -> usize {
        match self {
            Self::Bytes { bytes, done, content: _ } => bytes.len() - done,
            Self::File { .. } | Self::Memory { .. } => 0,
        }
    }
}

/// What is done to our own bytes before they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes of the service: sealed, when the connection is.
    Data,
    /// Already as they go on the wire: handshake flights, alerts.
    Wire,
}

/// Where the bytes of an entry come from when they are needed again.
#[derive(Debug)]
pub(crate) enum Source {
    /// From a file: `bytes` from `offset` on.
    File { file: FileRef, offset: u64, bytes: u32 },
    /// From memory at hand, `bytes` from `offset` on; held until acknowledged.
    Memory { memory: Rc<dyn Memory>, offset: u64, bytes: u32 },
    /// From a frame that is kept until acknowledged, as they go on the wire.
    Kept { frame: SharedFrame, start: u32 },
}

/// How far the sealing of an entry has come.
#[derive(Debug)]
pub(crate) enum Seal {
    /// A piece of a plain stream, or bytes that are kept as they go on the wire.
    None,
    /// Its number is bound, and nothing has been sealed under it.
    Bound(tls::Unsealed),
    /// Sealed once: from now on only bytes that give the same tag may leave under this number.
    Sealed { id: tls::RecordId, tag: tls::Tag },
}

impl Seal {
    /// The record's place, when it has one.
    pub(crate) fn id(&self) -> Option<tls::RecordId> {
        match self {
            Self::None => None,
            Self::Bound(unsealed) => Some(unsealed.id()),
            Self::Sealed { id, tag: _ } => Some(*id),
        }
    }
}

/// One record, or one piece of a plain stream, reserved and not yet acknowledged.
#[derive(Debug)]
pub(crate) struct Entry {
    /// First byte in the stream.
    pub(crate) start: u64,
    /// Length in the stream: for a sealed record its head and tag included.
    pub(crate) len: u32,
    pub(crate) seal: Seal,
    pub(crate) source: Source,
}

impl Entry {
    pub(crate) fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }
}

/// Bytes at hand, and where in the stream they belong.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) start: u64,
    pub(crate) len: u32,
    pub(crate) held: Held,
}

/// What a chunk's frame holds.
#[derive(Debug)]
pub(crate) enum Held {
    /// The bytes themselves, as they go on the wire, from `offset` on.
    Wire { frame: SharedFrame, offset: u32 },
    /// The whole plaintext, `bytes` from `offset` on, of the record that the chunk is all or a part of: to be sealed
    /// when it leaves.
    Plain { frame: Frame, offset: u32, bytes: u32 },
    /// Memory, as it goes on the wire, from `offset` on: no frame yet.
    Memory { memory: Rc<dyn Memory>, offset: u64 },
}

impl Chunk {
    pub(crate) fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }

    /// What lies before `at`, which is within it.
    fn cut_at(mut self, at: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "inside one chunk")]
        let len = (at - self.start) as u32;
        self.len = len;
        self
    }

    /// What lies from `at` on, which is within it.
    fn cut_from(mut self, at: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "inside one chunk")]
        let gone = (at - self.start) as u32;
        self.start = at;
        self.len -= gone;
        self.held.skip(gone);
        self
    }

    /// The same bytes under another name; `None` when they are not as on the wire.
    fn duplicate(&self) -> Option<Self> {
        match &self.held {
            Held::Wire { frame, offset } => {
                let held = Held::Wire { frame: frame.clone(), offset: *offset };
                Some(Self { start: self.start, len: self.len, held })
            }
            Held::Memory { memory, offset } => {
                let held = Held::Memory { memory: Rc::clone(memory), offset: *offset };
                Some(Self { start: self.start, len: self.len, held })
            }
            Held::Plain { .. } => None,
        }
    }
}

impl Held {
    /// The chunk begins `count` bytes later. A record's plaintext stays whole.
    pub(crate) fn skip(&mut self, count: u32) {
        match self {
            Self::Wire { offset, .. } => *offset += count,
            Self::Memory { offset, .. } => *offset += u64::from(count),
            Self::Plain { .. } => {}
        }
    }
}

/// The sending half of a connection while it has something to send.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    pub(crate) queue: VecDeque<Item>,
    pub(crate) map: VecDeque<Entry>,
    /// Sorted by stream offset, without overlap.
    pub(crate) chunks: VecDeque<Chunk>,
    /// Plain bytes in `queue` that are ours: what `Actions::send` promised to bound.
    pub(crate) queued_bytes: usize,
    /// Reads on their way.
    pub(crate) fetches: u32,
    /// Of those, reads of what was sent before.
    pub(crate) refetches: u32,
    /// When something was last acknowledged, or began to wait for that.
    pub(crate) progress_at: Instant,
}

impl Outbound {
    /// Nothing is asked for, unacknowledged or on its way: the state may be dropped.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.map.is_empty() && self.chunks.is_empty() && self.fetches == 0
    }

    /// Queues what is sent behind everything asked for before.
    pub(crate) fn ask(&mut self, item: Item) {
        self.queued_bytes += item.bytes_left();
        self.queue.push_back(item);
    }

    /// Empties the state for another connection, keeping its memory.
    pub(crate) fn clear(&mut self) {
        let Self { queue, map, chunks, queued_bytes, fetches, refetches, progress_at: _ } = self;
        queue.clear();
        map.clear();
        chunks.clear();
        *queued_bytes = 0;
        *fetches = 0;
        *refetches = 0;
    }

    /// Puts a sealed record behind those that were sealed before, and before everything that is sealed when it leaves.
    pub(crate) fn insert_sealed(&mut self, bytes: Vec<u8>) {
        let is_sealed = |item: &Item| matches!(item, Item::Bytes { content: Content::Wire, .. });
        let index = self.queue.iter().position(|item| !is_sealed(item)).unwrap_or(self.queue.len());
        self.queued_bytes += bytes.len();
        self.queue.insert(index, Item::Bytes { bytes, done: 0, content: Content::Wire });
    }

    /// Forgets what was asked for, but for what is sealed already: the peer must see every number.
    pub(crate) fn drop_unsealed(&mut self) {
        self.queue.retain(|item| matches!(item, Item::Bytes { content: Content::Wire, .. }));
        self.queued_bytes = self.queue.iter().map(Item::bytes_left).sum();
    }

    /// The index of the entry that holds stream offset `at`.
    pub(crate) fn entry_at(&self, at: u64) -> Option<usize> {
        entry_at(&self.map, at)
    }

    /// Some of `range` is at hand.
    pub(crate) fn has_some_of(&self, range: &Range<u64>) -> bool {
        let index = self.chunks.partition_point(|chunk| chunk.end() <= range.start);
        self.chunks.get(index).is_some_and(|chunk| chunk.start < range.end)
    }

    /// Remembers where a reserved piece of the stream comes from.
    pub(crate) fn push(&mut self, now: Instant, entry: Entry) {
        if self.map.is_empty() {
            self.progress_at = now;
        }
        self.map.push_back(entry);
    }

    /// Forgets what lies below `acknowledged`. A record stays whole until its last byte is acknowledged.
    pub(crate) fn forget(&mut self, now: Instant, acknowledged: u64) {
        self.progress_at = now;
        while self.map.front().is_some_and(|entry| entry.end() <= acknowledged) {
            self.map.pop_front();
        }
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= acknowledged) {
            self.chunks.pop_front();
        }
    }

    /// The stream goes on at `stream` with memory from `offset` on. What goes on where the last piece ended is one with
    /// it, in the map and at hand.
    pub(crate) fn lend(&mut self, now: Instant, stream: &Range<u64>, memory: Rc<dyn Memory>, offset: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "as much as was reserved at once")]
        let len = (stream.end - stream.start) as u32;
        let is_at_hand = self.chunks.back_mut().is_some_and(|chunk| {
            let goes_on = matches!(&chunk.held, Held::Memory { memory: other, offset: from }
                if Rc::ptr_eq(other, &memory) && from + u64::from(chunk.len) == offset)
                && chunk.end() == stream.start
                && chunk.len <= LENT_BYTES_MAX;
            chunk.len += if goes_on { len } else { 0 };
            goes_on
        });
        if !is_at_hand {
            let held = Held::Memory { memory: Rc::clone(&memory), offset };
            self.insert(Chunk { start: stream.start, len, held });
        }
        if let Some(entry) = self.map.back_mut()
            && entry.end() == stream.start
            && entry.len <= LENT_BYTES_MAX
            && let Source::Memory { memory: other, offset: from, bytes } = &mut entry.source
            && matches!(entry.seal, Seal::None)
            && Rc::ptr_eq(other, &memory)
            && *from + u64::from(*bytes) == offset
        {
            *bytes += len;
            entry.len += len;
            return;
        }
        let source = Source::Memory { memory, offset, bytes: len };
        self.push(now, Entry { start: stream.start, len, seal: Seal::None, source });
    }

    /// Something that is not acknowledged can be sent again without the disk.
    pub(crate) fn keeps_anything(&self) -> bool {
        self.map.iter().any(|entry| !matches!(entry.source, Source::File { .. }))
    }

    /// Frames are kept until the peer acknowledges what is in them.
    pub(crate) fn keeps_frames(&self) -> bool {
        self.map.iter().any(|entry| matches!(entry.source, Source::Kept { .. }))
    }

    /// The oldest record that may have to be sealed again.
    pub(crate) fn oldest_record(&self) -> Option<tls::RecordId> {
        self.map.iter().find_map(|entry| entry.seal.id())
    }

    /// Puts a chunk in its place; what is already at hand is not put twice.
    pub(crate) fn insert(&mut self, chunk: Chunk) {
        insert(&mut self.chunks, chunk);
    }

    /// Lets go of what lies below `upto`, from chunk `from` on.
    pub(crate) fn release(&mut self, from: usize, upto: u64) {
        while self.chunks.get(from).is_some_and(|chunk| chunk.end() <= upto) {
            drop(if from == 0 { self.chunks.pop_front() } else { self.chunks.remove(from) });
        }
        if let Some(chunk) = self.chunks.get_mut(from)
            && chunk.start < upto
        {
            #[expect(clippy::cast_possible_truncation, reason = "inside one chunk")]
            let gone = (upto - chunk.start) as u32;
            chunk.start = upto;
            chunk.len -= gone;
            chunk.held.skip(gone);
        }
    }

    /// The byte at `at` came from a file, not from kept bytes of our own.
    pub(crate) fn is_read_at(&self, at: u64) -> bool {
        self.entry_at(at).is_some_and(|index| matches!(self.map[index].source, Source::File { .. }))
    }

    /// The first run of consecutive chunks that lies in at most `parts_max` parts: of how many chunks, and the stream
    /// range it covers. Within memory it ends where it is longer than `bytes_max`, or has parts enough.
    pub(crate) fn run(&self, from: usize, parts_max: usize, bytes_max: u64) -> Option<(usize, Range<u64>)> {
        let start = self.chunks.get(from)?.start;
        let (mut count, mut parts, mut end) = (0, 0, start);
        for chunk in self.chunks.range(from..) {
            if chunk.start != end || parts >= parts_max {
                break;
            }
            let Held::Memory { memory, offset } = &chunk.held else {
                (count, parts, end) = (count + 1, parts + 1, chunk.end());
                continue;
            };
            let len = u64::from(chunk.len).min(bytes_max.saturating_sub(end - start));
            if len == 0 {
                break;
            }
            let (taken, bytes) = reach(&**memory, *offset..offset + len, parts_max - parts);
            (count, parts, end) = (count + 1, parts + taken, end + bytes);
            if end < chunk.end() {
                break;
            }
        }
        Some((count, start..end))
    }

    /// How many pieces of at most `bytes_max` come of the run of `count` chunks, if none of them is cut that fits.
    pub(crate) fn whole_pieces(&self, from: usize, count: usize, bytes_max: u64) -> u64 {
        let (mut pieces, mut filled) = (0, u64::MAX);
        for chunk in self.chunks.iter().skip(from).take(count) {
            let len = u64::from(chunk.len);
            filled = filled.saturating_add(len);
            if filled > bytes_max {
                pieces += len.div_ceil(bytes_max);
                filled = if len > bytes_max { u64::MAX } else { len };
            }
        }
        pieces
    }

    /// The first run, cut behind the last chunk that ends within `bytes_max`; never within a chunk, so that the first may be
    /// longer.
    pub(crate) fn run_within(
        &self,
        from: usize,
        parts_max: usize,
        bytes_max: u64,
    ) -> Option<(usize, Range<u64>)> {
        let (mut count, mut run) = self.run(from, parts_max, bytes_max)?;
        while count > 1 && run.end - run.start > bytes_max {
            count -= 1;
            run.end = self.chunks[from + count].start;
        }
        Some((count, run))
    }
}

/// [`Outbound::entry_at`], where the rest of the state is borrowed.
pub(crate) fn entry_at(map: &VecDeque<Entry>, at: u64) -> Option<usize> {
    let index = map.partition_point(|entry| entry.end() <= at);
    (map.get(index)?.start <= at).then_some(index)
}

/// [`Outbound::insert`], where the rest of the state is borrowed.
///
/// Two reads may bring the same bytes, when a loss was taken back and then came true: of the later one what is missing
/// stays, for TCP thinks that we hold all of it and will not ask again. What is not sealed yet must not meet anything.
pub(crate) fn insert(chunks: &mut VecDeque<Chunk>, mut chunk: Chunk) {
    // New bytes come behind all others.
    if chunks.back().is_none_or(|last| last.end() <= chunk.start) {
        return chunks.push_back(chunk);
    }
    let mut index = chunks.partition_point(|other| other.end() <= chunk.start);
    while let Some(other) = chunks.get(index)
        && other.start < chunk.end()
    {
        let (start, end) = (other.start, other.end());
        if chunk.start < start {
            let before = chunk.duplicate();
            debug_assert!(before.is_some(), "plaintext that is partly at hand");
            if let Some(before) = before {
                chunks.insert(index, before.cut_at(start));
                index += 1;
            }
        }
        if end >= chunk.end() {
            return;
        }
        chunk = chunk.cut_from(end);
        index += 1;
    }
    chunks.insert(index, chunk);
}

#[cfg(test)]
mod tests {
    use super::*;
    use dma::{Pool, PoolLayout};

    fn chunk(pool: &Pool, start: u64, len: u32) -> Chunk {
        let held = Held::Wire { frame: pool.acquire_small().unwrap().share(), offset: 0 };
        Chunk { start, len, held }
    }

    fn offset(chunk: &Chunk) -> u32 {
        match chunk.held {
            Held::Wire { offset, .. } => offset,
            Held::Plain { .. } | Held::Memory { .. } => panic!("not in a frame as on the wire"),
        }
    }

    fn entry(pool: &Pool, start: u64, len: u32) -> Entry {
        let frame = pool.acquire_small().unwrap().share();
        Entry { start, len, seal: Seal::None, source: Source::Kept { frame, start: 0 } }
    }

    fn pool() -> Pool {
        Pool::new(PoolLayout { large_count: 1, small_count: 16 }).unwrap()
    }

    #[test]
    fn an_entry_is_found_by_any_of_its_bytes_and_by_no_other() {
        let pool = pool();
        let mut outbound = Outbound::default();
        outbound.map.push_back(entry(&pool, 10, 5));
        outbound.map.push_back(entry(&pool, 15, 1));
        assert_eq!(outbound.entry_at(9), None);
        assert_eq!(outbound.entry_at(10), Some(0));
        assert_eq!(outbound.entry_at(14), Some(0));
        assert_eq!(outbound.entry_at(15), Some(1));
        assert_eq!(outbound.entry_at(16), None);
    }

    #[test]
    fn a_record_is_remembered_until_its_last_byte_is_acknowledged() {
        let pool = pool();
        let mut outbound = Outbound::default();
        outbound.map.push_back(entry(&pool, 0, 5));
        outbound.forget(Instant::EPOCH, 4);
        assert_eq!(outbound.map.len(), 1);
        outbound.forget(Instant::EPOCH, 5);
        assert!(outbound.map.is_empty());
        assert_eq!(pool.in_use().small, 0);
    }

    #[test]
    fn chunks_are_kept_in_stream_order_whatever_order_they_come_in() {
        let pool = pool();
        let mut outbound = Outbound::default();
        for start in [20, 0, 10] {
            outbound.insert(chunk(&pool, start, 10));
        }
        assert_eq!(outbound.run(0, 12, u64::MAX), Some((3, 0..30)));
        assert_eq!(outbound.run(0, 2, u64::MAX), Some((2, 0..20)));
    }

    #[test]
    fn a_run_ends_at_a_gap() {
        let pool = pool();
        let mut outbound = Outbound::default();
        outbound.insert(chunk(&pool, 0, 10));
        outbound.insert(chunk(&pool, 11, 10));
        assert_eq!(outbound.run(0, 12, u64::MAX), Some((1, 0..10)));
        assert_eq!(outbound.run(1, 12, u64::MAX), Some((1, 11..21)));
    }

    #[test]
    fn a_run_within_a_size_ends_between_chunks() {
        let pool = pool();
        let mut outbound = Outbound::default();
        for start in [0, 10, 20] {
            outbound.insert(chunk(&pool, start, 10));
        }
        assert_eq!(outbound.run_within(0, 12, 30), Some((3, 0..30)));
        assert_eq!(outbound.run_within(0, 12, 29), Some((2, 0..20)));
        assert_eq!(outbound.run_within(0, 12, 5), Some((1, 0..10)));
        let pieces = |bytes_max| outbound.whole_pieces(0, 3, bytes_max);
        assert_eq!([pieces(30), pieces(29), pieces(19), pieces(10), pieces(5)], [1, 2, 3, 3, 6]);
    }

    #[test]
    fn plaintext_stays_whole_when_the_front_of_its_record_is_let_go() {
        let pool = pool();
        let mut outbound = Outbound::default();
        let held = Held::Plain { frame: pool.acquire_small().unwrap(), offset: 5, bytes: 8 };
        outbound.insert(Chunk { start: 0, len: 30, held });
        assert!(outbound.has_some_of(&(29..40)) && !outbound.has_some_of(&(30..40)));
        outbound.release(0, 13);
        let left = &outbound.chunks[0];
        assert_eq!((left.start, left.len), (13, 17));
        assert!(matches!(left.held, Held::Plain { offset: 5, bytes: 8, .. }));
        outbound.release(0, 30);
        assert_eq!(pool.in_use().small, 0);
    }

    #[test]
    fn what_was_sent_is_let_go_to_the_byte() {
        let pool = pool();
        let mut outbound = Outbound::default();
        outbound.insert(chunk(&pool, 0, 10));
        outbound.insert(chunk(&pool, 10, 10));
        outbound.release(0, 13);
        assert_eq!(outbound.chunks.len(), 1);
        let left = &outbound.chunks[0];
        assert_eq!((left.start, left.len, offset(left)), (13, 7, 3));
        assert_eq!(pool.in_use().small, 1);
    }

    #[test]
    fn bytes_already_at_hand_are_not_put_twice() {
        let pool = pool();
        let mut outbound = Outbound::default();
        outbound.insert(chunk(&pool, 0, 10));
        outbound.insert(chunk(&pool, 2, 8));
        assert_eq!(outbound.chunks.len(), 1);
        assert_eq!(pool.in_use().small, 1);
    }

    #[test]
    fn what_is_missing_between_and_behind_what_is_at_hand_is_put_there() {
        let pool = pool();
        let mut outbound = Outbound::default();
        for start in [10, 30] {
            outbound.insert(chunk(&pool, start, 10));
        }
        outbound.insert(chunk(&pool, 5, 50));
        let places: Vec<_> =
            outbound.chunks.iter().map(|chunk| (chunk.start, chunk.len, offset(chunk))).collect();
        assert_eq!(places, [(5, 5, 0), (10, 10, 0), (20, 10, 15), (30, 10, 0), (40, 15, 35)]);
    }
}
