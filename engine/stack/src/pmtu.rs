//! Path MTU cache (RFC 1191 §6.3, RFC 8201 §5.2): what ICMP said about a peer, believed for ten minutes.
//!
//! The owner asks before a connection chooses its MSS, and tells when a TCB has found an ICMP message plausible. Nobody
//! else is told anything: a message for one connection does not change the others under their feet.

use crate::bounded::BoundedMap;
use crate::hash::HashKey;
use clock::Instant;
use core::net::IpAddr;
use core::time::Duration;

#[cfg(test)]
mod tests;

/// How long a path MTU is believed (RFC 1191 §6.3: the recommended ten minutes).
pub const LIFETIME: Duration = Duration::from_secs(600);

/// The least MTU that IPv4 routers are believed, in bytes. The standard's 68 would let a forger make us send crumbs;
/// Linux draws the same line.
pub const MTU_MIN_V4: u16 = 552;

/// The least MTU of an IPv6 link, in bytes (RFC 8200 §5).
pub const MTU_MIN_V6: u16 = 1280;

#[derive(Clone, Copy, Debug)]
struct Entry {
    mtu: u16,
    until: Instant,
}

/// Path MTUs of at most so many peers; the one learnt longest ago makes room.
#[derive(Debug)]
pub struct PathMtuCache {
    entries: BoundedMap<IpAddr, Entry>,
}

impl PathMtuCache {
    /// An empty cache.
    #[must_use]
    pub fn new(capacity: u32, hash_key: HashKey) -> Self {
        Self { entries: BoundedMap::new(capacity, hash_key) }
    }

    /// The MTU towards `peer`, in bytes; `None` when nothing smaller than the link's is known.
    #[must_use]
    pub fn mtu(&self, now: Instant, peer: IpAddr) -> Option<u16> {
        self.entries.get(&peer).filter(|entry| now < entry.until).map(|entry| entry.mtu)
    }

    /// A router that a TCB believes has said `mtu`; returns what is known from now on, which never grows but by forgetting.
    pub fn on_too_big(&mut self, now: Instant, peer: IpAddr, mtu: u16) -> u16 {
        let least = if peer.is_ipv4() { MTU_MIN_V4 } else { MTU_MIN_V6 };
        let mtu = mtu.max(least).min(self.mtu(now, peer).unwrap_or(u16::MAX));
        self.entries.insert(peer, Entry { mtu, until: now + LIFETIME });
        mtu
    }

    /// How many peers are remembered, forgotten ones included that nobody asked for since.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// Forgets what is too old to be believed.
    pub fn expire(&mut self, now: Instant) {
        while self.entries.oldest().is_some_and(|(_, entry)| entry.until <= now) {
            self.entries.pop_oldest();
        }
    }
}
