//! Answers that depend on who asks, and on who is well: the data of one moment, immutable as a zone is.
//!
//! ```text
//! A or AAAA of a name in the table ─▶ map: longest prefix of ECS or source ─▶ route ─▶ pool with a living target
//!                                                                                        │ bucket of the client
//!                    answer, with the zone's rcode and flags ◀── body, ready as a node's ┘ (rendezvous)
//! ```
//!
//! The zone stays the truth about which names there are: a steered name is a name of an unsigned zone of ours, and only its
//! addresses come from here. Every other type is the zone's, and so are the addresses of a family that no target of the
//! route's pools has. What cannot be steered (a name that its zone does not have, a signed zone) is answered from the zone,
//! and said.
//!
//! [`Steerer`] is control's: it knows the state of every target, and makes another [`Steering`] when one changes.

pub mod answers;
mod flap;
pub mod health;
pub mod prefixes;
pub mod share;
mod steerer;
pub mod table;

pub use steerer::{Forced, Steerer, TargetState};

use crate::hash::Suffixes;
use crate::zone::Variant;
use answers::Answers;
use core::net::IpAddr;
use dns::edns::ClientSubnet;
use dns::{Name, Rtype};
use share::{bucket, client_bits};
use std::sync::Arc;
use table::{Heed, Map};

/// Who is answered, as far as steering knows.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: IpAddr,
    /// How much of the address is known.
    prefix: u8,
    /// The resolver's word for it.
    told: bool,
}

/// An answer that depends on who asked.
#[derive(Clone, Copy, Debug)]
pub struct Steered<'s> {
    /// The answer; nothing when this client gets the zone's.
    pub variant: Option<Variant<'s>>,
    /// SCOPE PREFIX-LENGTH (RFC 7871 §7.2.1): every client of this network would have got it. Never more than the query
    /// told of: nobody could keep it by more.
    pub scope: u8,
}

/// Everything that steers, at one moment.
#[derive(Debug)]
pub struct Steering {
    heed: Heed,
    maps: Vec<Arc<Map>>,
    names: Vec<Entry>,
    /// Open addressing by the name's hash: its upper half, and the entry's index plus one.
    slots: Box<[u64]>,
}

/// A steered name.
#[derive(Debug)]
struct Entry {
    name: Box<[u8]>,
    map: u32,
    /// By route: for A, and for AAAA. Nothing where the zone answers.
    routes: Arc<Routes>,
}

/// By family and route. Names of one map, TTL and number of answers share it.
type Routes = [Box<[Option<Arc<Answers>>]>; 2];

impl Steering {
    fn new(heed: Heed, maps: Vec<Arc<Map>>, names: Vec<(u64, Entry)>) -> Self {
        let mut slots = vec![0_u64; (names.len() * 2).next_power_of_two().max(2)].into_boxed_slice();
        let mut entries = Vec::with_capacity(names.len());
        for (hash, entry) in names {
            entries.push(entry);
            let mut slot = slot_of(hash, slots.len());
            while slots[slot] != 0 {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = hash >> 32 << 32 | entries.len() as u64;
        }
        Self { heed, maps, names: entries, slots }
    }

    /// Who asks: the network that a resolver whose word counts has named, or the source of the question.
    #[must_use]
    pub fn client(&self, source: IpAddr, subnet: Option<&ClientSubnet>) -> Client {
        match subnet {
            // RFC 7871 §7.1.2: a prefix of 0 asks for no more than the source tells.
            Some(subnet) if subnet.source_prefix > 0 && self.heed.heeds(source) => {
                Client { address: subnet.address, prefix: subnet.source_prefix, told: true }
            }
            _ => Client { address: source, prefix: if source.is_ipv4() { 32 } else { 128 }, told: false },
        }
    }

    /// Whether this resolver is told that answers depend on networks: the option is for those who are heeded only
    /// (RFC 7871 §7.2.1: who has not enabled it does not send it).
    #[must_use]
    pub fn heeds(&self, source: IpAddr) -> bool {
        self.heed.heeds(source)
    }

    /// The addresses of a name for a client; nothing when it is not steered.
    #[inline]
    #[must_use]
    pub fn answer(
        &self,
        name: &Name,
        hashes: &Suffixes,
        qtype: Rtype,
        client: Client,
    ) -> Option<Steered<'_>> {
        self.answer_to(hashes.suffix(0), [name.wire(), &[]], qtype, client)
    }

    /// The same for a folded name in two parts, with this hash.
    #[inline]
    pub(crate) fn answer_to(
        &self,
        hash: u64,
        name: [&[u8]; 2],
        qtype: Rtype,
        client: Client,
    ) -> Option<Steered<'_>> {
        let family = match qtype {
            Rtype::A => 0,
            Rtype::AAAA => 1,
            _ => return None,
        };
        let entry = self.entry(hash, name)?;
        let map = &self.maps[entry.map as usize];
        let (route, decided) = map.prefixes[usize::from(!client.address.is_ipv4())].find(client.address);
        // The first route is that of networks that are not in the table.
        let answers = entry.routes[family][route.unwrap_or(0) as usize].as_deref();
        let differ = answers.is_some_and(Answers::differ);
        let bits = if differ { client_bits(client.address) } else { 0 };
        let bucket = if differ { bucket(client.address, client.prefix) } else { 0 };
        let variant = answers.map(|answers| answers.of(bucket));
        let scope = if client.told { decided.max(bits).min(client.prefix) } else { 0 };
        Some(Steered { variant, scope })
    }

    /// Whether a name with this hash is steered, most likely; never false when it is.
    #[inline]
    #[must_use]
    pub(crate) fn may_steer(&self, hash: u64) -> bool {
        let mut slot = slot_of(hash, self.slots.len());
        loop {
            match self.slots[slot] {
                0 => return false,
                entry if entry >> 32 == hash >> 32 => return true,
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
    }

    #[inline]
    fn entry(&self, hash: u64, [first, rest]: [&[u8]; 2]) -> Option<&Entry> {
        let mut slot = slot_of(hash, self.slots.len());
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            if entry >> 32 == hash >> 32 {
                #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
                let found = &self.names[entry as u32 as usize - 1];
                if found.name.strip_prefix(first) == Some(rest) {
                    return Some(found);
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// How many names are steered.
    #[must_use]
    pub fn names(&self) -> usize {
        self.names.len()
    }
}

#[inline]
fn slot_of(hash: u64, slots: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    {
        hash as usize & (slots - 1)
    }
}

#[cfg(test)]
mod tests;
