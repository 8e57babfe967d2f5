//! The connection table: from a four-tuple to a flow.
//!
//! ```text
//! FourTuple ─ hashed, once a packet ─▶ HashIndex ─▶ slot ┬ generation ┬ tuple ┐
//!                                                        └── FlowId ──┘       └ the owner's arrays have the same slots
//! ```
//!
//! A [`FlowId`] is a slot and the generation in which the slot was handed out: an id that outlived its connection (in a
//! timer, in a disk read) is known to be stale. Everything is allocated at the beginning.

use crate::hash::{HashKey, TupleHash};
use crate::index::HashIndex;
use crate::input::TcpInput;
use crate::tuple::{FourTuple, TupleKey};
use alloc::vec::Vec;
use core::fmt;

#[cfg(test)]
mod tests;

/// Names a flow in this worker: an index into arrays of its owner's, and how often that index was used before.
///
/// One number, which is looked at many times a packet: the generation in its upper half, the slot in its lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u64);

impl FlowId {
    const fn new(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }

    /// The slot: below the table's capacity.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// The slot, as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.slot() as usize
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The id as one number, for queues that carry 64 bits with each request (io_uring's user data).
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`FlowId::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot(), self.generation())
    }
}

/// Why a flow was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// The operator's limit is reached.
    Full,
    /// There is such a flow already.
    Exists(FlowId),
    /// Our fault: the two ends of the tuple are of two families.
    MixedFamilies,
}

impl fmt::Display for InsertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the connection table is as full as the operator allows"),
            Self::Exists(flow) => write!(f, "the peer's connection exists already as {flow:?}"),
            Self::MixedFamilies => f.write_str("we named a connection between IPv4 and IPv6"),
        }
    }
}

impl core::error::Error for InsertError {}

/// A four-tuple as tables look it up: hashed, by [`ConnectionTable::hashed`], for that table and the others of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedTuple {
    pub(crate) key: TupleKey,
    pub(crate) hash: u32,
}

impl HashedTuple {
    /// The tuple.
    #[must_use]
    pub fn tuple(&self) -> FourTuple {
        self.key.tuple()
    }
}

/// What a slot is now.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// A flow.
    Flow(TupleKey),
    /// Nothing; the next slot that is nothing, too.
    Free { next: Option<u32> },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    content: Content,
    generation: u32,
    /// Of the flow's tuple.
    hash: u32,
}

/// The connection table.
#[derive(Debug)]
pub struct ConnectionTable {
    hash: TupleHash,
    index: HashIndex,
    /// As many as were ever in use at once; reserved for all.
    slots: Vec<Slot>,
    /// The slot that was freed last: its arrays are still in the cache.
    free: Option<u32>,
    capacity: u32,
    len: u32,
    /// Whose segment came last: often the next is of the same.
    recent: Option<(TupleKey, FlowId)>,
}

impl ConnectionTable {
    /// A table for `capacity` flows, below 2³⁰, hashed under `hash_key`.
    ///
    /// # Panics
    /// A larger capacity.
    #[must_use]
    pub fn new(capacity: u32, hash_key: HashKey) -> Self {
        Self {
            hash: TupleHash::new(hash_key),
            index: HashIndex::new(capacity),
            slots: Vec::with_capacity(capacity as usize),
            free: None,
            capacity,
            len: 0,
            recent: None,
        }
    }

    /// How many flows there are.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// How many flows there may be.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// A tuple with its hash; `None` when its ends are of two families, as no packet's are.
    #[must_use]
    #[inline]
    pub fn hashed(&self, tuple: &FourTuple) -> Option<HashedTuple> {
        let key = TupleKey::new(tuple)?;
        Some(HashedTuple { key, hash: self.hash.hash(&key) })
    }

    /// A segment's tuple with its hash.
    #[must_use]
    #[inline]
    pub fn hashed_input(&self, input: &TcpInput<'_>) -> HashedTuple {
        HashedTuple { key: input.key, hash: self.hash.hash(&input.key) }
    }

    /// The flow of a segment, or else its tuple, hashed.
    ///
    /// # Errors
    /// There is no such flow.
    #[inline]
    pub fn find_input(&mut self, input: &TcpInput<'_>) -> Result<FlowId, HashedTuple> {
        if let Some((key, flow)) = &self.recent
            && *key == input.key
            && self.slots[flow.index()].generation == flow.generation()
        {
            return Ok(*flow);
        }
        let tuple = self.hashed_input(input);
        let flow = self.find_hashed(&tuple).ok_or(tuple)?;
        self.recent = Some((input.key, flow));
        Ok(flow)
    }

    /// The flow of a tuple.
    #[must_use]
    pub fn find(&self, tuple: &FourTuple) -> Option<FlowId> {
        self.find_hashed(&self.hashed(tuple)?)
    }

    /// The flow of a tuple that is hashed already.
    #[must_use]
    #[inline]
    pub fn find_hashed(&self, tuple: &HashedTuple) -> Option<FlowId> {
        let HashedTuple { key, hash } = tuple;
        let is_it =
            |slot: u32| matches!(&self.slots[slot as usize].content, Content::Flow(found) if found == key);
        let slot = self.index.find(u64::from(*hash), is_it)?;
        Some(FlowId::new(slot, self.slots[slot as usize].generation))
    }

    /// Adds a flow.
    ///
    /// # Errors
    /// The table is full, or has the tuple already.
    pub fn insert(&mut self, tuple: &FourTuple) -> Result<FlowId, InsertError> {
        self.insert_hashed(&self.hashed(tuple).ok_or(InsertError::MixedFamilies)?)
    }

    /// Adds a flow whose tuple is hashed already.
    ///
    /// # Errors
    /// The table is full, or has the tuple already.
    pub fn insert_hashed(&mut self, tuple: &HashedTuple) -> Result<FlowId, InsertError> {
        match self.find_hashed(tuple) {
            Some(flow) => Err(InsertError::Exists(flow)),
            None => self.insert_absent(tuple),
        }
    }

    /// Adds a flow whose tuple was looked for and not found.
    ///
    /// # Errors
    /// The table is full.
    pub fn insert_absent(&mut self, tuple: &HashedTuple) -> Result<FlowId, InsertError> {
        debug_assert!(self.find_hashed(tuple).is_none(), "looked for and not found");
        let HashedTuple { key, hash } = *tuple;
        let slot = if let Some(slot) = self.free {
            let Content::Free { next } = self.slots[slot as usize].content else {
                unreachable!("the free list holds free slots")
            };
            self.free = next;
            let free = &mut self.slots[slot as usize];
            (free.content, free.hash) = (Content::Flow(key), hash);
            slot
        } else if self.len < self.capacity {
            // None is free, so all slots so far are in use.
            self.slots.push(Slot { content: Content::Flow(key), generation: 0, hash });
            self.len
        } else {
            return Err(InsertError::Full);
        };
        self.index.insert(u64::from(hash), slot);
        self.len += 1;
        Ok(FlowId::new(slot, self.slots[slot as usize].generation))
    }

    /// Takes a flow out and makes its id stale; returns its tuple, or `None` when the id was stale before.
    pub fn remove(&mut self, flow: FlowId) -> Option<HashedTuple> {
        let slot = self.slots.get_mut(flow.index()).filter(|slot| slot.generation == flow.generation())?;
        let Content::Flow(key) = slot.content else { return None };
        slot.content = Content::Free { next: self.free };
        slot.generation = slot.generation.wrapping_add(1);
        self.free = Some(flow.slot());
        let hash = slot.hash;
        self.index.remove(u64::from(hash), flow.slot());
        self.len -= 1;
        Some(HashedTuple { key, hash })
    }

    /// The tuple of a flow; `None` for a stale id.
    #[must_use]
    pub fn tuple(&self, flow: FlowId) -> Option<FourTuple> {
        let slot = self.slots.get(flow.index()).filter(|slot| slot.generation == flow.generation())?;
        match &slot.content {
            Content::Flow(key) => Some(key.tuple()),
            Content::Free { .. } => None,
        }
    }

    /// Whether an id is not stale.
    #[must_use]
    pub fn contains(&self, flow: FlowId) -> bool {
        self.flow_at(flow.slot()) == Some(flow)
    }

    /// The flow that a slot belongs to now.
    #[must_use]
    pub fn flow_at(&self, slot: u32) -> Option<FlowId> {
        let Slot { content, generation, .. } = self.slots.get(slot as usize)?;
        matches!(content, Content::Flow(_)).then_some(FlowId::new(slot, *generation))
    }

    /// All flows, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, FourTuple)> {
        (0..).zip(&self.slots).filter_map(|(slot, &Slot { content, generation, .. })| match content {
            Content::Flow(key) => Some((FlowId::new(slot, generation), key.tuple())),
            Content::Free { .. } => None,
        })
    }
}
