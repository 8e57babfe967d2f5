//! A map that never grows: keyed hash, fixed capacity, and an order of age in which the oldest entry makes room.
//!
//! [`AgedMap`] is told the hash of each key, [`BoundedMap`] makes it.

use crate::hash::HashKey;
use crate::index::HashIndex;
use alloc::vec::Vec;
use core::hash::Hash;

#[cfg(test)]
mod tests;

/// No place.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    hash: u32,
    /// The next older entry.
    older: u32,
    /// The next newer entry; in a free place the next free place.
    newer: u32,
}

/// A map of at most `capacity` entries, allocated once. Hashes are the caller's, the same for equal keys.
#[derive(Debug)]
pub(crate) struct AgedMap<K, V> {
    index: HashIndex,
    entries: Vec<Entry<K, V>>,
    capacity: u32,
    len: u32,
    free: u32,
    oldest: u32,
    newest: u32,
}

impl<K: Copy + Eq, V: Copy> AgedMap<K, V> {
    /// An empty map for at least one entry.
    pub(crate) fn new(capacity: u32) -> Self {
        let capacity = capacity.max(1);
        Self {
            index: HashIndex::new(capacity),
            entries: Vec::with_capacity(capacity as usize),
            capacity,
            len: 0,
            free: NONE,
            oldest: NONE,
            newest: NONE,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    fn place(&self, hash: u32, key: &K) -> Option<u32> {
        self.index.find(u64::from(hash), |place| self.entries[place as usize].key == *key)
    }

    pub(crate) fn get(&self, hash: u32, key: &K) -> Option<&V> {
        self.place(hash, key).map(|place| &self.entries[place as usize].value)
    }

    pub(crate) fn get_mut(&mut self, hash: u32, key: &K) -> Option<&mut V> {
        self.place(hash, key).map(|place| &mut self.entries[place as usize].value)
    }

    /// Makes `value` the newest entry, in the place of an entry with the same key; returns the oldest if it had to go.
    pub(crate) fn insert(&mut self, hash: u32, key: K, value: V) -> Option<(K, V)> {
        if let Some(place) = self.place(hash, &key) {
            self.entries[place as usize].value = value;
            self.unlink(place);
            self.link_newest(place);
            return None;
        }
        let evicted = if self.is_full() { self.pop_oldest() } else { None };
        let place = self.take_place(hash, key, value);
        self.index.insert(u64::from(hash), place);
        self.link_newest(place);
        self.len += 1;
        evicted
    }

    fn take_place(&mut self, hash: u32, key: K, value: V) -> u32 {
        let entry = Entry { key, value, hash, older: NONE, newer: NONE };
        if self.free != NONE {
            let place = self.free;
            self.free = self.entries[place as usize].newer;
            self.entries[place as usize] = entry;
            place
        } else {
            // Within the capacity reserved at the beginning.
            let place = u32::try_from(self.entries.len()).expect("capacity is 32 bits");
            self.entries.push(entry);
            place
        }
    }

    /// Makes an entry the newest.
    pub(crate) fn refresh(&mut self, hash: u32, key: &K) {
        if let Some(place) = self.place(hash, key) {
            self.unlink(place);
            self.link_newest(place);
        }
    }

    pub(crate) fn remove(&mut self, hash: u32, key: &K) -> Option<V> {
        let place = self.place(hash, key)?;
        Some(self.remove_place(place).1)
    }

    /// The entry that was inserted or refreshed longest ago.
    pub(crate) fn oldest(&self) -> Option<(&K, &V)> {
        let entry = self.entries.get(self.oldest as usize)?;
        Some((&entry.key, &entry.value))
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<(K, V)> {
        (self.oldest != NONE).then(|| self.remove_place(self.oldest))
    }

    /// Entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut place = self.oldest;
        core::iter::from_fn(move || {
            let entry = self.entries.get(place as usize)?;
            place = entry.newer;
            Some((&entry.key, &entry.value))
        })
    }

    fn remove_place(&mut self, place: u32) -> (K, V) {
        self.unlink(place);
        let entry = &mut self.entries[place as usize];
        entry.newer = self.free;
        self.free = place;
        let (key, value, hash) = (entry.key, entry.value, entry.hash);
        self.index.remove(u64::from(hash), place);
        self.len -= 1;
        (key, value)
    }

    fn link_newest(&mut self, place: u32) {
        let newest = core::mem::replace(&mut self.newest, place);
        let entry = &mut self.entries[place as usize];
        entry.older = newest;
        entry.newer = NONE;
        match newest {
            NONE => self.oldest = place,
            newest => self.entries[newest as usize].newer = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Entry { older, newer, .. } = self.entries[place as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
    }
}

/// The same with a hash of its own, keyed.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    hash_key: HashKey,
    map: AgedMap<K, V>,
}

impl<K: Copy + Eq + Hash, V: Copy> BoundedMap<K, V> {
    /// An empty map for at least one entry.
    pub(crate) fn new(capacity: u32, hash_key: HashKey) -> Self {
        Self { hash_key, map: AgedMap::new(capacity) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of it serves")]
    fn hash(&self, key: &K) -> u32 {
        self.hash_key.hash(key) as u32
    }

    pub(crate) fn len(&self) -> u32 {
        self.map.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(self.hash(key), key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(self.hash(key), key)
    }

    /// Makes `value` the newest entry, in the place of an entry with the same key; returns the oldest if it had to go.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.map.insert(self.hash(&key), key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(self.hash(key), key)
    }

    /// The entry that was inserted or refreshed longest ago.
    pub(crate) fn oldest(&self) -> Option<(&K, &V)> {
        self.map.oldest()
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<(K, V)> {
        self.map.pop_oldest()
    }

    /// Entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }
}
