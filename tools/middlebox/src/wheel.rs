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

use core::time::Duration;

use clock::Instant;

/// Nanoseconds per tick at least, as a power of two: 16,384 ns.
const TICK_BITS_MIN: u32 = 14;
/// The most buckets; ticks grow until they suffice.
const BUCKETS_MAX: u64 = 1 << 20;
/// Ticks that roundings may add to a wait.
const SLACK: u64 = 4;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

#[derive(Debug)]
struct Entry<T> {
    /// `None` while it is free.
    value: Option<T>,
    next: u32,
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel<T> {
    entries: Vec<Entry<T>>,
    /// The first of the free entries, the one used last in front.
    free: u32,
    buckets: Vec<List>,
    occupied: Bitmap,
    ready: List,
    tick_bits: u32,
    /// Everything of this tick and before is ready.
    elapsed: u64,
    len: usize,
}

impl<T> Wheel<T> {
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
            entries: Vec::new(),
            free: NONE,
            buckets: vec![List::EMPTY; count],
            occupied: Bitmap::new(count),
            ready: List::EMPTY,
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
    ///
    /// # Panics
    /// Four thousand million things wait.
    pub fn put_ready(&mut self, value: T) {
        let entry = self.entry(value);
        append(&mut self.entries, &mut self.ready, List { first: entry, last: entry });
    }

    /// Puts a thing that becomes ready at `at`, or less than a tick later; with the next tick when that has passed.
    ///
    /// # Panics
    /// `at` is farther from the last [`advance`](Self::advance) than the horizon, or four thousand million things
    /// wait.
    pub fn put(&mut self, at: Instant, value: T) {
        let tick = (at.as_nanos().div_ceil(1 << self.tick_bits)).max(self.elapsed + 1);
        assert!(tick - self.elapsed < self.buckets.len() as u64, "beyond the horizon");
        let bucket = self.bucket_of(tick);
        let entry = self.entry(value);
        append(&mut self.entries, &mut self.buckets[bucket], List { first: entry, last: entry });
        self.occupied.set(bucket);
    }

    /// Makes ready what was to be by `now`.
    pub fn advance(&mut self, now: Instant) {
        let now = now.as_nanos() >> self.tick_bits;
        while let Some(tick) = self.next_tick().filter(|tick| *tick <= now) {
            let bucket = self.bucket_of(tick);
            let list = core::mem::replace(&mut self.buckets[bucket], List::EMPTY);
            append(&mut self.entries, &mut self.ready, list);
            self.occupied.clear(bucket);
            self.elapsed = tick;
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// Takes the first of what is ready.
    pub fn take(&mut self) -> Option<T> {
        let first = self.ready.first;
        let entry = self.entries.get_mut(usize::try_from(first).ok()?)?;
        let value = entry.value.take();
        self.ready.first = core::mem::replace(&mut entry.next, self.free);
        if self.ready.first == NONE {
            self.ready.last = NONE;
        }
        self.free = first;
        self.len -= 1;
        value
    }

    /// When to advance next: the last time advanced to when something is ready, `None` when nothing waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let tick = if self.ready.first == NONE { self.next_tick()? } else { self.elapsed };
        Some(Instant::from_nanos(tick.saturating_mul(1 << self.tick_bits)))
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

    fn entry(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(entry) = usize::try_from(self.free).ok().and_then(|free| self.entries.get_mut(free)) {
            entry.value = Some(value);
            return core::mem::replace(&mut self.free, core::mem::replace(&mut entry.next, NONE));
        }
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 things wait");
        assert!(index != NONE, "fewer than 2^32 things wait");
        self.entries.push(Entry { value: Some(value), next: NONE });
        index
    }
}

/// Hangs `list`, which is not empty, behind `to`.
fn append<T>(entries: &mut [Entry<T>], to: &mut List, list: List) {
    match usize::try_from(to.last).ok().and_then(|last| entries.get_mut(last)) {
        Some(last) => last.next = list.first,
        None => to.first = list.first,
    }
    to.last = list.last;
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
