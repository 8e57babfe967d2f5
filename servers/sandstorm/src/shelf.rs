//! A worker's objects, in frames of its arena: what was used last stays, what was not makes room.
//!
//! ```text
//!   object of 37,000 bytes   | large 16,384 | large 16,384 | small 2,048 | small 2,048 | small 136 |
//!                              frozen frames: a packet names parts of them, as many packets as like
//! ```
//!
//! What makes room is what would: an object that some connection is being sent stays, since taking it off frees nothing,
//! and counts as used. Either there is enough to take off, or nothing is: readers who are slow on purpose keep what they
//! read, and cost the others nothing but that. An object that was taken off because its file changed lives until the last
//! connection that it is being sent on lets go. Until then its frames count. Packets that have not left hold the frames themselves: those of
//! a connection that was reset may come back to the pool a moment after they ceased to count, and who wants them then is
//! told [`PutError::Busy`]. Replicas of segments, where the engine asks for them, take what room there is and give it up
//! before any object does (`replicas.rs`).

use core::cell::Cell;
use core::fmt;
use core::ops::Range;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use dma::{Frame, PAYLOAD_BYTES, Pool, PoolLayout, SMALL_BYTES, SharedFrame};
use platform::Part;
use turn::Memory;
use wire::checksum::Sum;

use crate::load::Key;
use crate::replicas::Replicas;
use crate::sums::{Marks, PrefixSums, STRIDE};

const _: () = assert!(PAYLOAD_BYTES.is_multiple_of(STRIDE) && SMALL_BYTES.is_multiple_of(STRIDE));

/// Objects that are being sent and are passed over in search of room, in one search: the next one goes on behind them.
const PASSED_OVER_MAX: usize = 1_024;

/// A rest of at most so many bytes lies in small frames; a longer one wastes less in a large one.
const SMALL_REST_BYTES: usize = 4 * SMALL_BYTES;

/// Bytes of a file, frozen, with their sums.
#[derive(Debug)]
pub struct Object {
    large: Box<[SharedFrame]>,
    small: Box<[SharedFrame]>,
    len: usize,
    sums: PrefixSums,
    replicas: Replicas,
    /// Dropped last: only then are the frames back.
    held: Held,
}

/// The frames that a shelf may take of its pool, and what has them.
#[derive(Debug)]
pub(crate) struct Budget {
    pool: Pool,
    max: PoolLayout,
    /// By objects, on the shelf or off it.
    held: Cell<Need>,
    /// By replicas of their segments.
    replicated: Cell<Need>,
}

impl Budget {
    /// There is room for so many more.
    fn has(&self, need: Need) -> bool {
        self.held.get().plus(self.replicated.get()).plus(need).fits(self.max)
    }

    /// A frame for a replica, while there is room that nothing else wants.
    pub(crate) fn replicate(&self, need: Need) -> Option<Frame> {
        if !self.has(need) {
            return None;
        }
        let frame = if need.large > 0 { self.pool.acquire_large() } else { self.pool.acquire_small() }?;
        self.replicated.set(self.replicated.get().plus(need));
        Some(frame)
    }

    /// A replica is given up.
    pub(crate) fn give_back(&self, need: Need) {
        self.replicated.set(self.replicated.get().minus(need));
    }
}

/// Frames that an object holds.
#[derive(Debug)]
struct Held {
    budget: Rc<Budget>,
    own: Need,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.set(self.budget.held.get().minus(self.own));
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

    fn replica(&self, range: Range<u64>, before: &[&[u8]]) -> Option<Part> {
        let len = u32::try_from(range.end - range.start).ok()?;
        self.replicas.take((range.start, len), before, |room| {
            let mut at = 0;
            for slice in self.slices(within(range)) {
                room[at..at + slice.bytes().len()].copy_from_slice(slice.bytes());
                at += slice.bytes().len();
            }
        })
    }
}

/// A range of an object, which is no longer than memory is.
fn within(range: Range<u64>) -> Range<usize> {
    let narrow = |at| usize::try_from(at).expect("a range within an object");
    narrow(range.start)..narrow(range.end)
}

/// How many frames of each kind something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) large: u32,
    pub(crate) small: u32,
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

    fn bytes(self) -> u64 {
        u64::from(self.large) * dma::LARGE_BYTES as u64 + u64::from(self.small) * SMALL_BYTES as u64
    }

    const fn plus(self, other: Self) -> Self {
        Self { large: self.large.saturating_add(other.large), small: self.small.saturating_add(other.small) }
    }

    const fn minus(self, other: Self) -> Self {
        Self { large: self.large - other.large, small: self.small - other.small }
    }

    const fn saturating_minus(self, other: Self) -> Self {
        Self { large: self.large.saturating_sub(other.large), small: self.small.saturating_sub(other.small) }
    }

    /// By how much it is more than `max`.
    const fn beyond(self, max: PoolLayout) -> Self {
        self.saturating_minus(Self { large: max.large_count, small: max.small_count })
    }

    /// Whether having this back makes `short` any shorter.
    const fn helps(self, short: Self) -> bool {
        (self.large > 0 && short.large > 0) || (self.small > 0 && short.small > 0)
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
    budget: Rc<Budget>,
    objects: HashMap<Key, (Rc<Object>, u64)>,
    uses: Uses,
    now: u64,
    /// Which uses are still to be looked at for objects that no site has, and where those end that were before it came.
    sweep: Option<Range<u64>>,
    counters: Counters,
}

/// Objects by when they were used last.
#[derive(Debug, Default)]
struct Uses {
    /// Those that have large frames: whoever needs one looks at no others.
    large: BTreeMap<u64, Key>,
    /// Those that have only small ones.
    small: BTreeMap<u64, Key>,
}

impl Uses {
    fn of(&mut self, object: &Object) -> &mut BTreeMap<u64, Key> {
        if object.large.is_empty() { &mut self.small } else { &mut self.large }
    }

    /// From the one that was not used for longest.
    fn by_age(&self, with_small: bool) -> impl Iterator<Item = (u64, Key)> {
        self.since(0, with_small)
    }

    fn since(&self, used: u64, with_small: bool) -> impl Iterator<Item = (u64, Key)> {
        let mut large = self.large.range(used..).peekable();
        let mut small = self.small.range(used..).take(if with_small { usize::MAX } else { 0 }).peekable();
        core::iter::from_fn(move || {
            let older = match (large.peek(), small.peek()) {
                (Some((one, _)), Some((other, _))) if one < other => large.next(),
                (Some(_), None) => large.next(),
                _ => small.next(),
            };
            older.map(|(used, key)| (*used, *key))
        })
    }
}

impl Shelf {
    /// An empty shelf that takes at most `max` frames of `pool`.
    #[must_use]
    pub fn new(pool: Pool, max: PoolLayout) -> Self {
        let (held, replicated) = (Cell::default(), Cell::default());
        Self {
            budget: Rc::new(Budget { pool, max, held, replicated }),
            objects: HashMap::new(),
            uses: Uses::default(),
            now: 0,
            sweep: None,
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
            let uses = self.uses.of(object);
            uses.remove(used);
            self.now += 1;
            *used = self.now;
            uses.insert(self.now, key);
        }
        Some(Rc::clone(object))
    }

    /// Takes `bytes` in, in the place of what has that key, and of what was not used for longest.
    ///
    /// # Errors
    /// There is no room, and none can be made.
    pub fn put(&mut self, key: Key, bytes: &[u8]) -> Result<Rc<Object>, PutError> {
        self.remove(key);
        let mut filling = self.begin(bytes.len() as u64)?;
        filling.push(&self.budget.pool, bytes)?;
        Ok(self.finish(key, filling))
    }

    /// Makes room for an object of `len` bytes that comes piece by piece, in the place of what was not used for longest.
    ///
    /// # Errors
    /// There is no room, and none can be made.
    pub fn begin(&mut self, len: u64) -> Result<Filling, PutError> {
        let bytes = usize::try_from(len).map_err(|_| PutError::TooLarge { len })?;
        let need = Need::of(bytes).filter(|need| need.fits(self.budget.max));
        let need = need.ok_or(PutError::TooLarge { len })?;
        self.make_room(need)?;
        self.budget.held.set(self.budget.held.get().plus(need));
        Ok(Filling {
            large: Vec::with_capacity(need.large as usize),
            small: Vec::with_capacity(need.small as usize),
            open: None,
            len: 0,
            expected: bytes,
            sums: Marks::default(),
            held: Held { budget: Rc::clone(&self.budget), own: need },
        })
    }

    /// The pool that pieces are written into.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.budget.pool
    }

    /// Takes in an object that is whole.
    ///
    /// # Panics
    /// It is not.
    pub fn finish(&mut self, key: Key, filling: Filling) -> Rc<Object> {
        self.remove(key);
        let object = Rc::new(filling.into_object());
        self.now += 1;
        self.uses.of(&object).insert(self.now, key);
        self.objects.insert(key, (Rc::clone(&object), self.now));
        object
    }

    /// Makes room in the place of what was not used for longest and is not being sent; takes nothing off if that is too
    /// little.
    fn make_room(&mut self, need: Need) -> Result<(), PutError> {
        // Replicas go anyway, if they have to.
        let mut short = self.budget.held.get().plus(need).beyond(self.budget.max);
        let (mut goes, mut is_sent) = (Vec::new(), Vec::new());
        for (used, key) in self.uses.by_age(short.small > 0) {
            if short == Need::default() || is_sent.len() >= PASSED_OVER_MAX {
                break;
            }
            let Some((object, _)) = self.objects.get(&key) else { continue };
            if Rc::strong_count(object) > 1 {
                is_sent.push((used, key));
            } else if object.held.own.helps(short) {
                short = short.saturating_minus(object.held.own);
                goes.push(key);
            }
        }
        for (used, key) in is_sent {
            let Some((object, last)) = self.objects.get_mut(&key) else { continue };
            let uses = self.uses.of(object);
            uses.remove(&used);
            self.now += 1;
            *last = self.now;
            uses.insert(self.now, key);
        }
        if short != Need::default() {
            return Err(PutError::Busy);
        }
        for key in goes {
            self.remove(key);
            self.counters.evicted += 1;
        }
        self.give_up_replicas(need);
        if self.budget.has(need) { Ok(()) } else { Err(PutError::Busy) }
    }

    /// Whether objects of these lengths would fit without anything making room for them.
    #[must_use]
    pub fn has_room(&self, lens: impl IntoIterator<Item = u64>) -> bool {
        let need = |len: u64| usize::try_from(len).ok().and_then(Need::of);
        let all = lens.into_iter().try_fold(self.budget.held.get(), |all, len| Some(all.plus(need(len)?)));
        all.is_some_and(|all| all.fits(self.budget.max))
    }

    /// Whether an object of `len` bytes would fit if it were alone.
    #[must_use]
    pub fn could_hold(&self, len: u64) -> bool {
        could_hold(self.budget.max, len)
    }

    /// The bytes of frames that objects hold, on the shelf or off it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.budget.held.get().bytes()
    }

    /// Takes the object off the shelf: its file is gone, or another.
    pub fn remove(&mut self, key: Key) {
        if let Some((object, used)) = self.objects.remove(&key) {
            object.replicas.stop();
            self.uses.of(&object).remove(&used);
        }
    }

    /// Replicas go before any object does: those of the object that was not used for longest first.
    fn give_up_replicas(&self, need: Need) {
        for (_, key) in self.uses.by_age(true) {
            if self.budget.has(need) || self.budget.replicated.get() == Need::default() {
                return;
            }
            if let Some((object, _)) = self.objects.get(&key) {
                object.replicas.clear();
            }
        }
    }

    /// A new site has come: [`Self::sweep`] has everything to look at that is here.
    pub fn begin_sweep(&mut self) {
        self.sweep = Some(0..self.now + 1);
    }

    /// Looks at the next `count` objects that were here when the site came, and takes off those that do not stay: they
    /// are asked for by nobody, and only take room. Returns whether there are more to look at.
    pub fn sweep(&mut self, count: usize, stays: impl Fn(Key) -> bool) -> bool {
        let Some(left) = self.sweep.take() else { return false };
        let looked: Vec<_> = self
            .uses
            .since(left.start, true)
            .take_while(|(used, _)| left.contains(used))
            .take(count)
            .collect();
        let Some((last, _)) = looked.last() else { return false };
        // What is used meanwhile is of the new site, or is seen here once more.
        self.sweep = Some(last + 1..left.end);
        for (_, key) in looked {
            if !stays(key) {
                self.remove(key);
            }
        }
        true
    }

    /// Whether an object of that key is here; does not count as a use.
    #[must_use]
    pub fn has(&self, key: Key) -> bool {
        self.objects.contains_key(&key)
    }

    /// How many objects there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.objects.len()
    }

    /// Frames of each kind that replicas have: what may be had back at any time.
    #[must_use]
    pub fn replicated(&self) -> PoolLayout {
        let Need { large, small } = self.budget.replicated.get();
        PoolLayout { large_count: large, small_count: small }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}

/// An object whose bytes are still coming. Dropped, it gives its frames back.
#[derive(Debug)]
pub struct Filling {
    large: Vec<SharedFrame>,
    small: Vec<SharedFrame>,
    /// The frame that is being filled, and how many bytes it has.
    open: Option<(Frame, usize)>,
    len: usize,
    expected: usize,
    sums: Marks,
    /// Dropped last: only then are the frames back.
    held: Held,
}

impl Filling {
    /// Takes the next bytes of it.
    ///
    /// # Errors
    /// The pool, which others use too, has no frame now.
    ///
    /// # Panics
    /// There are more bytes than were promised.
    pub fn push(&mut self, pool: &Pool, mut bytes: &[u8]) -> Result<(), PutError> {
        assert!(self.len + bytes.len() <= self.expected, "more than the object's {} bytes", self.expected);
        self.sums.push(bytes);
        self.len += bytes.len();
        while !bytes.is_empty() {
            let is_large = self.large.len() < self.held.own.large as usize;
            let (mut frame, filled) = match self.open.take() {
                Some(open) => open,
                None => {
                    let frame = if is_large { pool.acquire_large() } else { pool.acquire_small() };
                    (frame.ok_or(PutError::Busy)?, 0)
                }
            };
            let room = frame.payload_bytes_max() - filled;
            let (piece, behind) = bytes.split_at(bytes.len().min(room));
            let start = frame.payload_start() + filled;
            frame.bytes_mut()[start..start + piece.len()].copy_from_slice(piece);
            if piece.len() == room {
                if is_large { &mut self.large } else { &mut self.small }.push(frame.share());
            } else {
                self.open = Some((frame, filled + piece.len()));
            }
            bytes = behind;
        }
        Ok(())
    }

    fn into_object(mut self) -> Object {
        assert_eq!(self.len, self.expected, "an object that is not whole");
        if let Some((frame, _)) = self.open.take() {
            let is_large = self.large.len() < self.held.own.large as usize;
            if is_large { &mut self.large } else { &mut self.small }.push(frame.share());
        }
        let Self { large, small, open: _, len, expected: _, sums, held } = self;
        let replicas = Replicas::new(Rc::clone(&held.budget), len);
        Object { large: large.into(), small: small.into(), len, sums: sums.done(), replicas, held }
    }
}

/// Whether an empty shelf of at most `max` frames has room for an object of `len` bytes.
#[must_use]
pub fn could_hold(max: PoolLayout, len: u64) -> bool {
    let need = usize::try_from(len).ok().and_then(Need::of);
    need.is_some_and(|need| need.fits(max))
}

/// What objects of these lengths take together, in bytes of large frames and of small ones.
#[must_use]
pub fn demand(lens: impl Iterator<Item = u64>) -> (u64, u64) {
    let needs = lens.filter_map(|len| usize::try_from(len).ok().and_then(Need::of));
    needs.fold((0_u64, 0_u64), |(large, small), need| {
        (
            large.saturating_add(u64::from(need.large) * dma::LARGE_BYTES as u64),
            small.saturating_add(u64::from(need.small) * SMALL_BYTES as u64),
        )
    })
}

#[cfg(test)]
mod tests;
