//! The two ends of a ring, as arithmetic on indices.

use crate::Indices;

/// How many slots a ring has: a power of two, at most 2³¹.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize(u32);

impl RingSize {
    /// The smallest ring of at least `slots` slots.
    ///
    /// # Panics
    /// More than 2³¹ slots.
    #[must_use]
    pub const fn at_least(slots: u32) -> Self {
        assert!(slots <= 1 << 31, "a ring has at most 2^31 slots");
        Self(slots.next_power_of_two())
    }

    /// How many slots.
    #[must_use]
    pub const fn slots(self) -> u32 {
        self.0
    }

    const fn slot_of(self, index: u32) -> usize {
        (index & (self.0 - 1)) as usize
    }

    /// How far `ahead` is before `behind` on the circle.
    ///
    /// # Panics
    /// Further than the ring is long: whoever keeps the other end has broken it, and no slot can be trusted.
    fn distance(self, ahead: u32, behind: u32) -> u32 {
        let distance = ahead.wrapping_sub(behind);
        assert!(distance <= self.0, "ring indices {behind}..{ahead} span more than {} slots", self.0);
        distance
    }
}

/// The end that fills slots.
#[derive(Debug)]
pub struct Producer<I> {
    indices: I,
    size: RingSize,
    /// One past the last slot staged.
    tail: u32,
    /// One past the last slot published.
    published: u32,
    /// The consumer's index as last seen.
    consumed: u32,
}

impl<I: Indices> Producer<I> {
    /// The producing end of a ring whose indices stand wherever they stand. Only one may exist per ring.
    pub fn new(indices: I, size: RingSize) -> Self {
        let (published, consumed) = (indices.produced(), indices.consumed());
        size.distance(published, consumed);
        Self { indices, size, tail: published, published, consumed }
    }

    /// The next slot to fill; `None` when every slot is staged, published or not yet
    /// [`reclaim`](Self::reclaim)ed.
    #[must_use]
    pub fn stage(&mut self) -> Option<usize> {
        if self.in_flight() == self.size.slots() {
            return None;
        }
        let slot = self.size.slot_of(self.tail);
        self.tail = self.tail.wrapping_add(1);
        Some(slot)
    }

    /// Shows everything staged to the consumer, in one store. Returns how many slots that were.
    pub fn publish(&mut self) -> u32 {
        let count = self.staged();
        if count > 0 {
            self.published = self.tail;
            self.indices.publish(self.tail);
        }
        count
    }

    /// Looks at what the consumer has released since the last look. Returns how many slots that were.
    pub fn reclaim(&mut self) -> u32 {
        let consumed = self.indices.consumed();
        let count = self.size.distance(consumed, self.consumed);
        self.size.distance(self.published, consumed);
        self.consumed = consumed;
        count
    }

    /// Slots staged and not yet published.
    #[must_use]
    pub fn staged(&self) -> u32 {
        self.tail.wrapping_sub(self.published)
    }

    /// Slots staged, published or not yet reclaimed.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.tail.wrapping_sub(self.consumed)
    }

    /// Slots that can be staged without looking at the consumer again.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.size.slots() - self.in_flight()
    }
}

/// The end that empties slots.
#[derive(Debug)]
pub struct Consumer<I> {
    indices: I,
    size: RingSize,
    /// One past the last slot taken.
    head: u32,
    /// One past the last slot released.
    released: u32,
    /// The producer's index as last seen.
    produced: u32,
}

impl<I: Indices> Consumer<I> {
    /// The consuming end of a ring whose indices stand wherever they stand. Only one may exist per ring.
    pub fn new(indices: I, size: RingSize) -> Self {
        let (produced, released) = (indices.produced(), indices.consumed());
        size.distance(produced, released);
        Self { indices, size, head: released, released, produced }
    }

    /// The next filled slot; `None` when there is none now. It stays the consumer's until
    /// [`release`](Self::release).
    #[must_use]
    pub fn take(&mut self) -> Option<usize> {
        if self.head == self.produced {
            self.produced = self.indices.produced();
            self.size.distance(self.produced, self.released);
            if self.head == self.produced {
                return None;
            }
        }
        let slot = self.size.slot_of(self.head);
        self.head = self.head.wrapping_add(1);
        Some(slot)
    }

    /// Gives everything taken back to the producer, in one store. Returns how many slots that were.
    pub fn release(&mut self) -> u32 {
        let count = self.head.wrapping_sub(self.released);
        if count > 0 {
            self.released = self.head;
            self.indices.release(self.head);
        }
        count
    }

    /// Filled slots not yet taken, looking at the producer's index now.
    pub fn available(&mut self) -> u32 {
        self.produced = self.indices.produced();
        self.size.distance(self.produced, self.released);
        self.produced.wrapping_sub(self.head)
    }
}
