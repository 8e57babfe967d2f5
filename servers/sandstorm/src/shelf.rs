//! A worker's objects, in frames of its arena: what was used last stays, what was not makes room.
//!
//! ```text
//!   object of 37,000 bytes   | large 16,384 | large 16,384 | small 2,048 | small 2,048 | small 136 |
//!                              frozen frames: a packet names parts of them, as many packets as like
//! ```
//!
//! An object that was taken off the shelf, for room or because its file changed, lives until the last connection that it
//! is being sent on lets go. Until then its frames count. Packets that have not left hold the frames themselves: those of
//! a connection that was reset may come back to the pool a moment after they ceased to count, and who wants them then is
//! told [`PutError::Busy`].

use core::cell::Cell;
use core::fmt;
use core::ops::Range;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use dma::{PAYLOAD_BYTES, Pool, PoolLayout, SMALL_BYTES, SharedFrame};
use platform::Part;
use turn::Memory;
use wire::checksum::Sum;

use crate::load::Key;
use crate::sums::{PrefixSums, STRIDE};

const _: () = assert!(PAYLOAD_BYTES.is_multiple_of(STRIDE) && SMALL_BYTES.is_multiple_of(STRIDE));

/// A rest of at most so many bytes lies in small frames; a longer one wastes less in a large one.
const SMALL_REST_BYTES: usize = 4 * SMALL_BYTES;

/// Bytes of a file, frozen, with their sums.
#[derive(Debug)]
pub struct Object {
    large: Box<[SharedFrame]>,
    small: Box<[SharedFrame]>,
    len: usize,
    sums: PrefixSums,
    /// Dropped last: only then are the frames back.
    _held: Held,
}

/// Frames that objects hold, on the shelf or off it.
#[derive(Debug)]
struct Held {
    total: Rc<Cell<Need>>,
    own: Need,
}

impl Drop for Held {
    fn drop(&mut self) {
        let Need { large, small } = self.total.get();
        self.total.set(Need { large: large - self.own.large, small: small - self.own.small });
    }
}

/// Some bytes of one frame of an object.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The frame, to be cloned into a packet.
    pub frame: &'a SharedFrame,
    /// The first byte, counted from the frame's beginning, headroom included.
    pub start: u32,
    /// How many.
    pub len: u32,
}

impl<'a> Slice<'a> {
    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.frame.bytes()[self.start as usize..][..self.len as usize]
    }
}

impl Object {
    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len as u64
    }

    /// Where `range` lies, in order.
    ///
    /// # Panics
    /// It reaches beyond the object.
    pub fn slices(&self, range: Range<usize>) -> impl Iterator<Item = Slice<'_>> {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} bytes", self.len);
        let mut at = range.start;
        core::iter::from_fn(move || {
            if at == range.end {
                return None;
            }
            let in_large = self.large.len() * PAYLOAD_BYTES;
            let (frame, within, room) = if at < in_large {
                (&self.large[at / PAYLOAD_BYTES], at % PAYLOAD_BYTES, PAYLOAD_BYTES)
            } else {
                (&self.small[(at - in_large) / SMALL_BYTES], (at - in_large) % SMALL_BYTES, SMALL_BYTES)
            };
            let headroom = if at < in_large { dma::HEADROOM_BYTES } else { 0 };
            let len = (room - within).min(range.end - at);
            at += len;
            #[expect(clippy::cast_possible_truncation, reason = "within a frame")]
            Some(Slice { frame, start: (headroom + within) as u32, len: len as u32 })
        })
    }

    /// The sum of `range`, without a pass over it.
    #[must_use]
    pub fn sum(&self, range: Range<usize>) -> Sum {
        self.sums.sum(range, |edge| Sum::of_parts(self.slices(edge).map(|slice| slice.bytes())))
    }
}

impl Memory for Object {
    fn parts(&self, range: Range<u64>, tell: &mut dyn FnMut(Part)) {
        for Slice { frame, start, len } in self.slices(within(range)) {
            tell(Part { frame: frame.clone(), start, len });
        }
    }

    fn sum(&self, range: Range<u64>) -> Sum {
        Self::sum(self, within(range))
    }
}

/// A range of an object, which is no longer than memory is.
fn within(range: Range<u64>) -> Range<usize> {
    let narrow = |at| usize::try_from(at).expect("a range within an object");
    narrow(range.start)..narrow(range.end)
}

/// How many frames of each kind something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Need {
    large: u32,
    small: u32,
}

impl Need {
    /// What `len` bytes take; `None` when no arena is that large.
    fn of(len: usize) -> Option<Self> {
        let (mut large, mut rest) = (len / PAYLOAD_BYTES, len % PAYLOAD_BYTES);
        if rest > SMALL_REST_BYTES {
            (large, rest) = (large + 1, 0);
        }
        Some(Self {
            large: u32::try_from(large).ok()?,
            small: u32::try_from(rest.div_ceil(SMALL_BYTES)).ok()?,
        })
    }

    const fn fits(self, max: PoolLayout) -> bool {
        self.large <= max.large_count && self.small <= max.small_count
    }

    const fn plus(self, other: Self) -> Self {
        Self { large: self.large + other.large, small: self.small + other.small }
    }
}

/// Why an object is not on the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError {
    /// It would not fit an empty shelf: the operator's budget is too small for it.
    TooLarge {
        /// How long it is.
        len: u64,
    },
    /// Everything that could make room is being sent: later there may be room.
    Busy,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len } => {
                write!(f, "{len} bytes are more than the memory for objects holds: raise --memory")
            }
            Self::Busy => f.write_str("all memory for objects is being sent"),
        }
    }
}

impl core::error::Error for PutError {}

/// What a shelf counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Objects asked for that were there.
    pub hits: u64,
    /// Objects asked for that were not.
    pub misses: u64,
    /// Objects taken off to make room.
    pub evicted: u64,
}

/// The objects of one worker.
#[derive(Debug)]
pub struct Shelf {
    pool: Pool,
    max: PoolLayout,
    held: Rc<Cell<Need>>,
    objects: HashMap<Key, (Rc<Object>, u64)>,
    /// By when they were used last.
    uses: BTreeMap<u64, Key>,
    now: u64,
    counters: Counters,
}

impl Shelf {
    /// An empty shelf that takes at most `max` frames of `pool`.
    #[must_use]
    pub fn new(pool: Pool, max: PoolLayout) -> Self {
        Self {
            pool,
            max,
            held: Rc::default(),
            objects: HashMap::new(),
            uses: BTreeMap::new(),
            now: 0,
            counters: Counters::default(),
        }
    }

    /// The object of that key, which counts as used.
    pub fn get(&mut self, key: Key) -> Option<Rc<Object>> {
        let Some((object, used)) = self.objects.get_mut(&key) else {
            self.counters.misses += 1;
            return None;
        };
        self.counters.hits += 1;
        // What was used last already stays where it is: the common case on a busy object.
        if *used != self.now {
            self.uses.remove(used);
            self.now += 1;
            *used = self.now;
            self.uses.insert(self.now, key);
        }
        Some(Rc::clone(object))
    }

    /// Takes `bytes` in, in the place of what has that key, and of what was not used for longest.
    ///
    /// # Errors
    /// There is no room, and none can be made.
    pub fn put(&mut self, key: Key, bytes: &[u8]) -> Result<Rc<Object>, PutError> {
        let need = Need::of(bytes.len()).filter(|need| need.fits(self.max));
        let need = need.ok_or(PutError::TooLarge { len: bytes.len() as u64 })?;
        self.remove(key);
        while !self.held.get().plus(need).fits(self.max) {
            let Some((_, oldest)) = self.uses.pop_first() else { return Err(PutError::Busy) };
            self.objects.remove(&oldest);
            self.counters.evicted += 1;
        }
        let object = Rc::new(self.fill(need, bytes).ok_or(PutError::Busy)?);
        self.now += 1;
        self.uses.insert(self.now, key);
        self.objects.insert(key, (Rc::clone(&object), self.now));
        Ok(object)
    }

    /// Takes the object off the shelf: its file is gone, or another.
    pub fn remove(&mut self, key: Key) {
        if let Some((_, used)) = self.objects.remove(&key) {
            self.uses.remove(&used);
        }
    }

    /// Keeps only objects that `stays`: a new site has come.
    pub fn retain(&mut self, stays: impl Fn(Key) -> bool) {
        self.objects.retain(|key, (_, used)| {
            let stays = stays(*key);
            if !stays {
                self.uses.remove(used);
            }
            stays
        });
    }

    /// How many objects there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.objects.len()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// `None` when the pool, which others use too, has no frames now; those acquired go back.
    fn fill(&self, need: Need, bytes: &[u8]) -> Option<Object> {
        let (mut large, mut small) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        while !rest.is_empty() {
            let is_large = large.len() < need.large as usize;
            let mut frame = if is_large { self.pool.acquire_large() } else { self.pool.acquire_small() }?;
            let (piece, behind) = rest.split_at(rest.len().min(frame.payload_bytes_max()));
            let start = frame.payload_start();
            frame.bytes_mut()[start..start + piece.len()].copy_from_slice(piece);
            if is_large { &mut large } else { &mut small }.push(frame.share());
            rest = behind;
        }
        let total = self.held.get().plus(need);
        self.held.set(total);
        let sums = PrefixSums::of([bytes]);
        let held = Held { total: Rc::clone(&self.held), own: need };
        Some(Object { large: large.into(), small: small.into(), len: bytes.len(), sums, _held: held })
    }
}

#[cfg(test)]
mod tests;
