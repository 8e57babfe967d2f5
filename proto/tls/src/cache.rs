//! Expanded keys, few and warm: one small cache per worker.
//!
//! An expanded AEAD context is about 0.6 KiB of C heap, and a connection has two directions. A hundred thousand
//! idle connections would hold 120 MiB of them, and a sweep to drop them would need to know who is idle. A cache
//! of a fixed size needs to know nothing: whoever seals is warm, whoever does not is pushed out. Making a key
//! again takes about a tenth of the time of sealing one 16 KiB record.
//!
//! ```text
//!            set = id mod sets                 one cache line of ids, then their stamps
//!   KeyId ──────────────────────► [ id id id id id id id id ]  ──►  ways × Expanded key
//! ```
//!
//! Ids are drawn here, one after the other, at first use, so they spread over the sets by themselves. An entry also
//! keeps the raw key and compares it: even keys brought from another worker's cache cannot be mistaken.

use alloc::boxed::Box;
use core::fmt;
use core::num::NonZeroU64;

use zeroize::Zeroize;

use crate::aead::Aead;
use crate::keys::TrafficKeys;
use crate::suite::Suite;

const WAYS: usize = 8;
const RAW_KEY_BYTES_MAX: usize = 32;

/// The name of one direction's keys in one epoch, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId(NonZeroU64);

/// A worker's expanded keys: at most so many, least recently used out (among the eight that share a set).
pub struct ExpandedKeys<A: Aead> {
    sets: Box<[Set<A>]>,
    last_id: u64,
    clock: u32,
    expansions: u64,
}

struct Set<A: Aead> {
    /// 0 where the way is empty.
    ids: [u64; WAYS],
    used: [u32; WAYS],
    entries: [Option<Expanded<A>>; WAYS],
}

struct Expanded<A: Aead> {
    suite: Suite,
    raw: [u8; RAW_KEY_BYTES_MAX],
    key: A::Key,
}

impl<A: Aead> ExpandedKeys<A> {
    /// A cache of at least `capacity` keys: twice the number of connections that are busy at a time.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).max(1).next_power_of_two();
        Self { sets: (0..sets).map(|_| Set::new()).collect(), last_id: 0, clock: 0, expansions: 0 }
    }

    /// How many keys fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// How many times a key was expanded: beside the records sealed, this says whether the capacity is enough.
    #[must_use]
    pub fn expansions(&self) -> u64 {
        self.expansions
    }

    /// Forgets a key at once, so that no context outlives its connection. Without it the key goes when its way is
    /// needed.
    pub fn forget(&mut self, keys: &TrafficKeys) {
        if let Some(id) = keys.id {
            let set = self.set_of(id);
            self.sets[set].empty(id.0.get());
        }
    }

    /// The expanded form of these keys.
    pub(crate) fn expanded(&mut self, keys: &mut TrafficKeys) -> &A::Key {
        let id = match keys.id {
            Some(id) => id,
            None => {
                let id = self.draw_id();
                keys.id = Some(id);
                id
            }
        };
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let set = self.set_of(id);
        let set = &mut self.sets[set];

        let way = set.ids.iter().position(|&other| other == id.0.get()).unwrap_or_else(|| set.coldest(clock));
        set.ids[way] = id.0.get();
        set.used[way] = clock;
        let entry = &mut set.entries[way];
        if !entry.as_ref().is_some_and(|entry| entry.holds(keys)) {
            *entry = None;
        }
        let expansions = &mut self.expansions;
        let entry = entry.get_or_insert_with(|| {
            *expansions += 1;
            Expanded::new(keys)
        });
        &entry.key
    }

    fn draw_id(&mut self) -> KeyId {
        self.last_id += 1;
        // A count from 0, raised just before, does not come to 0 within the life of a machine.
        KeyId(NonZeroU64::new(self.last_id).unwrap_or(NonZeroU64::MAX))
    }

    fn set_of(&self, id: KeyId) -> usize {
        // The number of sets is a power of two, so the mask keeps the index within them whatever the width.
        usize::try_from(id.0.get() & u64::try_from(self.sets.len() - 1).unwrap_or(u64::MAX)).unwrap_or(0)
    }
}

impl<A: Aead> Set<A> {
    const fn new() -> Self {
        Self { ids: [0; WAYS], used: [0; WAYS], entries: [const { None }; WAYS] }
    }

    /// An empty way, or the one that has not been used for longest.
    fn coldest(&self, clock: u32) -> usize {
        (0..WAYS)
            .max_by_key(|&way| if self.ids[way] == 0 { u32::MAX } else { clock.wrapping_sub(self.used[way]) })
            .unwrap_or(0)
    }

    fn empty(&mut self, id: u64) {
        if let Some(way) = self.ids.iter().position(|&other| other == id) {
            self.ids[way] = 0;
            self.entries[way] = None;
        }
    }
}

impl<A: Aead> Expanded<A> {
    fn new(keys: &TrafficKeys) -> Self {
        let mut raw = [0; RAW_KEY_BYTES_MAX];
        raw[..keys.key().len()].copy_from_slice(keys.key());
        Self { suite: keys.suite(), raw, key: A::key(keys.suite(), keys.key()) }
    }

    fn holds(&self, keys: &TrafficKeys) -> bool {
        let raw = &self.raw[..keys.key().len()];
        self.suite == keys.suite()
            && raw.iter().zip(keys.key()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl<A: Aead> Drop for Expanded<A> {
    fn drop(&mut self) {
        self.raw.zeroize();
    }
}

impl<A: Aead> fmt::Debug for ExpandedKeys<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpandedKeys")
            .field("capacity", &self.capacity())
            .field("expansions", &self.expansions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
