//! A timing wheel (Varghese and Lauck, SOSP 1987): things that wait, in buckets of a tick each.
//!
//! ```text
//!              elapsed
//!                 ▼
//!   │ 0 │ 1 │ 2 │ 3 │ 4 │ … │ n-1 │        n ticks reach as far as anything may be put
//!                       ▼
//!                      a ▶ b ▶ c           first in, first out
//!
//!   tick:  the bucket is hung behind what is ready, as a whole
//! ```
//!
//! Putting, advancing by any time and taking are O(1): a tree of bitmaps, four levels at most, tells the next bucket
//! that is not empty. Of two things of which the second was put later and for no earlier time, the first comes out
//! first: this is what keeps a flow in order.
//!
//! Things lie beside those that become ready with them. After tens of milliseconds they have left the nearer caches, and
//! are fetched back in sequence, which the processor sees coming; hung one behind the other in a list, each would be a
//! miss that waits for the one before it.

use core::time::Duration;

use clock::Instant;

/// Nanoseconds per tick at least, as a power of two: 16,384 ns.
const TICK_BITS_MIN: u32 = 14;
/// The most buckets; ticks grow until they suffice.
const BUCKETS_MAX: u64 = 1 << 20;
/// Ticks that roundings may add to a wait.
const SLACK: u64 = 4;

const NONE: u32 = u32::MAX;

/// Things in a chunk. At a million a second, as many as a tick brings.
const CHUNK_LEN: usize = 16;

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

#[derive(Debug)]
struct Chunk<T> {
    items: [Option<T>; CHUNK_LEN],
    /// How many were put, counted from the first.
    len: usize,
    next: u32,
}

impl<T> Chunk<T> {
    const EMPTY: Self = Self { items: [const { None }; CHUNK_LEN], len: 0, next: NONE };
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel<T> {
    /// `None` where one was given up.
    chunks: Vec<Option<Box<Chunk<T>>>>,
    /// Chunks without things, the one used last on top; and numbers without a chunk.
    free: Vec<u32>,
    vacant: Vec<u32>,
    buckets: Vec<List>,
    occupied: Bitmap,
    ready: List,
    /// Things already taken from the first chunk that is ready.
    taken: usize,
    tick_bits: u32,
    /// Everything of this tick and before is ready.
    elapsed: u64,
    len: usize,
}

impl<T> Wheel<T> {
    /// Bytes of memory that the things of a tick come in.
    pub(crate) const CHUNK_BYTES: usize = size_of::<Chunk<T>>();

    /// A wheel that begins at `now`, for waits of up to `horizon`.
    #[must_use]
    pub fn new(horizon: Duration, now: Instant) -> Self {
        let nanos = u64::try_from(horizon.as_nanos()).unwrap_or(u64::MAX);
        let mut tick_bits = TICK_BITS_MIN;
        while (nanos >> tick_bits) + SLACK > BUCKETS_MAX {
            tick_bits += 1;
        }
        let count = ((nanos >> tick_bits) + SLACK).next_power_of_two();
        let count = usize::try_from(count).expect("at most 2^20 buckets");
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            vacant: Vec::new(),
            buckets: vec![List::EMPTY; count],
            occupied: Bitmap::new(count),
            ready: List::EMPTY,
            taken: 0,
            tick_bits,
            elapsed: now.as_nanos() >> tick_bits,
            len: 0,
        }
    }

    /// How long a tick is.
    #[must_use]
    pub const fn tick(&self) -> Duration {
        Duration::from_nanos(1 << self.tick_bits)
    }

    /// How many things wait or are ready.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Nothing waits and nothing is ready.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a thing behind what is ready.
    pub fn put_ready(&mut self, value: T) {
        self.ready = self.push(self.ready, value);
    }

    /// Puts a thing that becomes ready at `at`, or less than a tick later; with the next tick when that has passed.
    ///
    /// # Panics
    /// `at` is farther from the last [`advance`](Self::advance) than the horizon.
    pub fn put(&mut self, at: Instant, value: T) {
        let tick = (at.as_nanos().div_ceil(1 << self.tick_bits)).max(self.elapsed + 1);
        assert!(tick - self.elapsed < self.buckets.len() as u64, "beyond the horizon");
        let bucket = self.bucket_of(tick);
        self.buckets[bucket] = self.push(self.buckets[bucket], value);
        self.occupied.set(bucket);
    }

    /// Makes ready what was to be by `now`.
    pub fn advance(&mut self, now: Instant) {
        let now = now.as_nanos() >> self.tick_bits;
        while let Some(tick) = self.next_tick().filter(|tick| *tick <= now) {
            let bucket = self.bucket_of(tick);
            let list = core::mem::replace(&mut self.buckets[bucket], List::EMPTY);
            self.ready = self.join(self.ready, list);
            self.occupied.clear(bucket);
            self.elapsed = tick;
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// Takes the first of what is ready.
    pub fn take(&mut self) -> Option<T> {
        let first = self.ready.first;
        let chunk = self.chunks.get_mut(usize::try_from(first).ok()?)?.as_mut()?;
        let value = chunk.items[self.taken].take();
        self.taken += 1;
        self.len -= 1;
        if self.taken == chunk.len {
            chunk.len = 0;
            self.ready.first = core::mem::replace(&mut chunk.next, NONE);
            if self.ready.first == NONE {
                self.ready.last = NONE;
            }
            self.taken = 0;
            self.free.push(first);
        }
        value
    }

    /// Something can be taken.
    pub(crate) const fn has_ready(&self) -> bool {
        self.ready.first != NONE
    }

    /// When to advance next: the last time advanced to when something is ready, `None` when nothing waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let tick = if self.ready.first == NONE { self.next_tick()? } else { self.elapsed };
        Some(Instant::from_nanos(tick.saturating_mul(1 << self.tick_bits)))
    }

    /// Chunks in which nothing is.
    pub(crate) fn spare(&self) -> usize {
        self.free.len()
    }

    /// Chunks in which something is.
    pub(crate) fn used(&self) -> usize {
        self.chunks.len() - self.free.len() - self.vacant.len()
    }

    /// Makes one more chunk. While one is spare, no `put` makes any.
    ///
    /// # Panics
    /// There are four thousand million.
    pub(crate) fn grow(&mut self) {
        let chunk = Some(Box::new(Chunk::EMPTY));
        let number = match self.vacant.pop() {
            Some(number) => {
                self.chunks[number as usize] = chunk;
                number
            }
            None => {
                self.chunks.push(chunk);
                u32::try_from(self.chunks.len() - 1)
                    .ok()
                    .filter(|number| *number != NONE)
                    .expect("fewer chunks")
            }
        };
        self.free.push(number);
    }

    /// Gives the memory of a spare chunk back, if there is one.
    pub(crate) fn shrink(&mut self) -> bool {
        let Some(number) = self.free.pop() else { return false };
        self.chunks[number as usize] = None;
        self.vacant.push(number);
        true
    }

    /// The next tick whose bucket is not empty.
    fn next_tick(&self) -> Option<u64> {
        let start = self.bucket_of(self.elapsed + 1);
        let bucket = self.occupied.next(start).or_else(|| self.occupied.next(0))?;
        let ahead = bucket.wrapping_sub(start) & (self.buckets.len() - 1);
        Some(self.elapsed + 1 + ahead as u64)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves 20 bits at most")]
    fn bucket_of(&self, tick: u64) -> usize {
        (tick & (self.buckets.len() as u64 - 1)) as usize
    }

    /// The list with one thing more.
    fn push(&mut self, mut list: List, value: T) -> List {
        self.len += 1;
        let has_place = self.chunk_mut(list.last).is_some_and(|chunk| chunk.len < CHUNK_LEN);
        if !has_place {
            if self.free.is_empty() {
                self.grow();
            }
            let chunk = self.free.pop().expect("it has grown");
            list = self.join(list, List { first: chunk, last: chunk });
        }
        let chunk = self.chunk_mut(list.last).expect("it was just found");
        chunk.items[chunk.len] = Some(value);
        chunk.len += 1;
        list
    }

    /// One list behind the other; the second is not empty.
    fn join(&mut self, list: List, behind: List) -> List {
        match self.chunk_mut(list.last) {
            Some(last) => {
                last.next = behind.first;
                List { first: list.first, last: behind.last }
            }
            None => behind,
        }
    }

    fn chunk_mut(&mut self, number: u32) -> Option<&mut Chunk<T>> {
        self.chunks.get_mut(usize::try_from(number).ok()?)?.as_deref_mut()
    }
}

/// A set of small numbers that answers "which is the next": a bit of an upper level stands for a word below it.
#[derive(Debug)]
struct Bitmap {
    levels: Vec<Vec<u64>>,
}

impl Bitmap {
    fn new(count: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = count;
        loop {
            words = words.div_ceil(64);
            levels.push(vec![0; words]);
            if words == 1 {
                return Self { levels };
            }
        }
    }

    fn set(&mut self, mut index: usize) {
        for level in &mut self.levels {
            let word = &mut level[index / 64];
            let known = *word != 0;
            *word |= 1 << (index % 64);
            if known {
                return;
            }
            index /= 64;
        }
    }

    fn clear(&mut self, mut index: usize) {
        for level in &mut self.levels {
            let word = &mut level[index / 64];
            *word &= !(1 << (index % 64));
            if *word != 0 {
                return;
            }
            index /= 64;
        }
    }

    /// The smallest member that is `from` or more.
    fn next(&self, from: usize) -> Option<usize> {
        let mut index = from;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(index / 64).map_or(0, |word| word & (u64::MAX << (index % 64)));
            if word != 0 {
                let mut found = index / 64 * 64 + word.trailing_zeros() as usize;
                for below in self.levels[..height].iter().rev() {
                    found = found * 64 + below[found].trailing_zeros() as usize;
                }
                return Some(found);
            }
            index = index / 64 + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests;
