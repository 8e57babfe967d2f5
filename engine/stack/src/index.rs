//! From a hash to a place in an array: open addressing with linear probing.
//!
//! Deletion moves what follows back into the hole, so there are no tombstones, and nothing is ever rehashed: a table
//! made for a million entries costs the same in its first hour and its hundredth, and allocates once.

use alloc::vec::Vec;

/// A bucket: the place, plus one, in the upper half; the hash in the lower. Zero is empty, so that a fresh table is fresh pages.
type Bucket = u64;

const EMPTY: Bucket = 0;

/// Buckets at half load or less: runs stay short (2.5 buckets for a miss).
const BUCKETS_PER_ENTRY: usize = 2;

/// An index of places `0..capacity`.
#[derive(Debug)]
pub(crate) struct HashIndex {
    buckets: Vec<Bucket>,
    mask: usize,
}

fn pack(hash: u64, place: u32) -> Bucket {
    ((u64::from(place) + 1) << 32) | (hash & 0xffff_ffff)
}

fn place_of(bucket: Bucket) -> u32 {
    (bucket >> 32) as u32 - 1
}

impl HashIndex {
    /// An index for `capacity` places, below 2³⁰.
    pub(crate) fn new(capacity: u32) -> Self {
        assert!(capacity < 1 << 30, "{capacity} entries");
        let count = (capacity as usize * BUCKETS_PER_ENTRY).next_power_of_two().max(8);
        Self { buckets: alloc::vec![EMPTY; count], mask: count - 1 }
    }

    fn home(&self, hash: u64) -> usize {
        (hash & 0xffff_ffff) as usize & self.mask
    }

    /// The place that was inserted under `hash` and for which `is_it` holds.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let bucket = self.buckets[at];
            if bucket == EMPTY {
                return None;
            }
            if (bucket ^ hash) & 0xffff_ffff == 0 && is_it(place_of(bucket)) {
                return Some(place_of(bucket));
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds a place that is not there yet. The caller keeps places below the capacity, so there is always an empty bucket.
    pub(crate) fn insert(&mut self, hash: u64, place: u32) {
        let mut at = self.home(hash);
        while self.buckets[at] != EMPTY {
            at = (at + 1) & self.mask;
        }
        self.buckets[at] = pack(hash, place);
    }

    /// Removes a place that was inserted under `hash`.
    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        let wanted = pack(hash, place);
        let mut hole = self.home(hash);
        while self.buckets[hole] != wanted {
            assert!(self.buckets[hole] != EMPTY, "place {place} was never inserted under this hash");
            hole = (hole + 1) & self.mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let bucket = self.buckets[at];
            if bucket == EMPTY {
                break;
            }
            // It may move back unless its home lies behind the hole.
            let from_home = at.wrapping_sub(self.home(bucket)) & self.mask;
            let from_hole = at.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.buckets[hole] = bucket;
                hole = at;
            }
        }
        self.buckets[hole] = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        /// Few distinct hashes in a small table, so that runs collide, merge and wrap around its end.
        #[test]
        fn an_index_agrees_with_a_map(steps in proptest::collection::vec((any::<bool>(), 0_u32..16, 0_u64..24), 0..200)) {
            let mut index = HashIndex::new(16);
            let mut model = BTreeMap::new();
            for (is_insertion, place, hash) in steps {
                if is_insertion {
                    model.entry(place).or_insert_with(|| {
                        index.insert(hash, place);
                        hash
                    });
                } else if let Some(hash) = model.remove(&place) {
                    index.remove(hash, place);
                }
                for place in 0..16 {
                    let found = (0..24).find(|&hash| index.find(hash, |found| found == place).is_some());
                    prop_assert_eq!(found, model.get(&place).copied());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "was never inserted")]
    fn removing_what_is_not_there_is_a_bug_of_ours() {
        HashIndex::new(4).remove(7, 0);
    }
}
