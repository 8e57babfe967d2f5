//! Connections in TIME-WAIT, after their TCBs are gone (RFC 9293 §3.6.1): what the last ACK, or a new SYN, still needs.
//!
//! A server that closes first has a minute's worth of them, many more than connections; so they are small, and when there
//! are too many the oldest goes, whose peer has most likely heard everything.

use crate::bounded::AgedMap;
use crate::table::HashedTuple;
use crate::tuple::TupleKey;
use clock::Instant;
use tcp::{Header, TimeWait, TimeWaitAction};

#[cfg(test)]
mod tests;

const _: () = assert!(size_of::<TimeWait>() <= 32, "a minute's worth of these is kept");

/// The table: bounded, allocated once.
#[derive(Debug)]
pub struct TimeWaitTable {
    entries: AgedMap<TupleKey, TimeWait>,
    evicted: u64,
}

impl TimeWaitTable {
    /// A table for `capacity` connections.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self { entries: AgedMap::new(capacity), evicted: 0 }
    }

    /// Keeps what is left of a connection. A full table forgets its oldest entry.
    pub fn insert(&mut self, tuple: &HashedTuple, entry: TimeWait) {
        let evicted = self.entries.insert(tuple.hash, tuple.key, entry);
        self.evicted += u64::from(evicted.is_some());
    }

    /// A segment came that belongs to no living connection; `None` when it belongs to no dead one either.
    ///
    /// After [`TimeWaitAction::Reuse`] the entry is still there: [`TimeWaitTable::remove`] it once the new connection is
    /// accepted.
    pub fn on_segment(
        &mut self,
        config: &tcp::Config,
        now: Instant,
        tuple: &HashedTuple,
        header: &Header,
        payload_bytes: u32,
    ) -> Option<TimeWaitAction> {
        let HashedTuple { key, hash } = tuple;
        let entry = self.entries.get_mut(*hash, key).filter(|entry| now < entry.expires())?;
        let expired_at = entry.expires();
        let action = entry.on_segment(config, now, header, payload_bytes);
        if entry.expires() != expired_at {
            // The entries stand in the order in which they expire.
            self.entries.refresh(*hash, key);
        }
        Some(action)
    }

    /// Forgets a connection.
    pub fn remove(&mut self, tuple: &HashedTuple) -> Option<TimeWait> {
        self.entries.remove(tuple.hash, &tuple.key)
    }

    /// Forgets the connections whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while self.entries.oldest().is_some_and(|(_, entry)| entry.expires() <= now) {
            self.entries.pop_oldest();
        }
    }

    /// When the next connection's time is over. There is no need to wake up for it: an expired entry is not found.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.entries.oldest().map(|(_, entry)| entry.expires())
    }

    /// How many connections are remembered.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// How many had to go before their time since the beginning.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}
