//! Neighbours, for active opens only: which MAC address the next hop has (RFC 826, RFC 4861 §7.2).
//!
//! ```text
//!             resolve                      reply, or advertisement
//! (unknown) ──────────▶ Incomplete ──────────────────────────────────▶ Reachable ── 60 s unused ──▶ (unknown)
//!                        │  ▲ solicit again after 1 s, thrice
//!                        └──┘──▶ Failed ── 3 s ──▶ (unknown)
//! ```
//!
//! Nothing that a stranger says creates an entry: only a question of ours does, so the cache cannot be flooded.

use crate::bounded::BoundedMap;
use crate::hash::HashKey;
use clock::Instant;
use core::net::IpAddr;
use core::time::Duration;
use wire::MacAddr;

#[cfg(test)]
mod tests;

/// Between two solicitations (RFC 4861 §10: RETRANS_TIMER).
pub const RETRANSMIT: Duration = Duration::from_secs(1);

/// Solicitations before a neighbour counts as absent (RFC 4861 §10: MAX_MULTICAST_SOLICIT).
pub const SOLICITATIONS_MAX: u8 = 3;

/// How long an answer is believed. Without upper-layer hints a stale one costs a SYN and a second.
pub const REACHABLE: Duration = Duration::from_secs(60);

/// How long an absent neighbour is not asked for again.
pub const FAILED: Duration = Duration::from_secs(3);

/// What is known about a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Its MAC address.
    Known(MacAddr),
    /// It was asked; come back when [`Interface::poll_resolved`](crate::Interface::poll_resolved) names it.
    Pending,
    /// It does not answer.
    Unreachable,
    /// No prefix contains the destination, and there is no gateway.
    NoRoute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked `solicitations` times; ask again, or give up, at `at`.
    Incomplete {
        solicitations: u8,
        at: Instant,
    },
    Reachable {
        mac: MacAddr,
        until: Instant,
    },
    Failed {
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    /// The owner was told [`Resolution::Pending`] and not yet how it ended.
    is_awaited: bool,
}

/// The cache: bounded; the entry asked for longest ago makes room.
#[derive(Debug)]
pub(crate) struct Neighbours {
    entries: BoundedMap<IpAddr, Entry>,
}

impl Neighbours {
    pub(crate) fn new(capacity: u32, hash_key: HashKey) -> Self {
        Self { entries: BoundedMap::new(capacity, hash_key) }
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        while self.entries.pop_oldest().is_some() {}
    }

    /// Looks a next hop up; the flag says that a solicitation is to be sent now.
    pub(crate) fn resolve(&mut self, now: Instant, next_hop: IpAddr) -> (Resolution, bool) {
        match self.entries.get_mut(&next_hop) {
            Some(Entry { state: State::Reachable { mac, until }, .. }) if now < *until => {
                (Resolution::Known(*mac), false)
            }
            Some(Entry { state: State::Failed { until }, .. }) if now < *until => {
                (Resolution::Unreachable, false)
            }
            Some(entry @ Entry { state: State::Incomplete { .. }, .. }) => {
                entry.is_awaited = true;
                (Resolution::Pending, false)
            }
            _ => {
                let state = State::Incomplete { solicitations: 1, at: now + RETRANSMIT };
                self.entries.insert(next_hop, Entry { state, is_awaited: true });
                (Resolution::Pending, true)
            }
        }
    }

    /// A neighbour told its MAC address: believed if we asked for it, or if `overrides` and we knew another.
    pub(crate) fn on_told(&mut self, now: Instant, neighbour: IpAddr, mac: MacAddr, overrides: bool) {
        let Some(entry) = self.entries.get_mut(&neighbour) else { return };
        let is_news = match entry.state {
            State::Incomplete { .. } | State::Failed { .. } => true,
            State::Reachable { mac: known, .. } => overrides || known == mac,
        };
        if is_news && mac.is_unicast() {
            entry.state = State::Reachable { mac, until: now + REACHABLE };
        }
    }

    /// The next neighbour that is to be solicited again; call until `None`. Gives up those that were asked often enough.
    pub(crate) fn poll_solicit(&mut self, now: Instant) -> Option<IpAddr> {
        let is_due = |entry: &Entry| matches!(entry.state, State::Incomplete { at, .. } if at <= now);
        loop {
            let neighbour =
                self.entries.iter().find(|(_, entry)| is_due(entry)).map(|(neighbour, _)| *neighbour)?;
            let entry = self.entries.get_mut(&neighbour)?;
            let State::Incomplete { solicitations, .. } = entry.state else { return None };
            if solicitations < SOLICITATIONS_MAX {
                entry.state = State::Incomplete { solicitations: solicitations + 1, at: now + RETRANSMIT };
                return Some(neighbour);
            }
            entry.state = State::Failed { until: now + FAILED };
        }
    }

    /// How the wait for a neighbour ended; call until `None`.
    pub(crate) fn poll_resolved(&mut self) -> Option<(IpAddr, Option<MacAddr>)> {
        let is_over = |entry: &Entry| entry.is_awaited && !matches!(entry.state, State::Incomplete { .. });
        let neighbour =
            self.entries.iter().find(|(_, entry)| is_over(entry)).map(|(neighbour, _)| *neighbour)?;
        let entry = self.entries.get_mut(&neighbour)?;
        entry.is_awaited = false;
        match entry.state {
            State::Reachable { mac, .. } => Some((neighbour, Some(mac))),
            State::Incomplete { .. } | State::Failed { .. } => Some((neighbour, None)),
        }
    }

    /// When [`Neighbours::poll_solicit`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.entries
            .iter()
            .filter_map(|(_, entry)| match entry.state {
                State::Incomplete { at, .. } => Some(at),
                State::Reachable { .. } | State::Failed { .. } => None,
            })
            .min()
    }
}
