//! The bottleneck and the policer, in whole numbers: nothing is rounded away, however long it runs.
//!
//! Both count in bit-nanoseconds per second: a byte costs 8 × 10⁹, and a nanosecond yields the rate.

use clock::Instant;

use crate::config::{Police, Rate};

/// What a byte costs.
const PER_BYTE: u128 = 8_000_000_000;

/// A line of a certain rate with a queue before it.
///
/// The queue is not walked: packets leave in the order in which they came, so that the moment at which the line falls
/// idle says both when the next one leaves and how much waits.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    rate: u128,
    queue: u128,
    /// When the last packet accepted has left, and the part of a nanosecond that the line owes besides.
    idle_at: u64,
    owed: u128,
}

impl Bottleneck {
    pub(crate) fn new(rate: Rate) -> Self {
        let Rate { bits_per_second, queue_bytes } = rate;
        Self { rate: bits_per_second.into(), queue: u128::from(queue_bytes) * PER_BYTE, idle_at: 0, owed: 0 }
    }

    /// When the last bit of a packet that arrives now has left; `None` when the queue has no room for it. The packet
    /// on the line counts as waiting by the part of it that has not left.
    pub(crate) fn offer(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let now = now.as_nanos();
        if self.idle_at < now {
            self.idle_at = now;
            self.owed = 0;
        }
        let cost = u128::try_from(bytes).ok()? * PER_BYTE;
        let waiting = u128::from(self.idle_at - now) * self.rate + self.owed;
        // An idle line takes any packet: it need not wait.
        if waiting > 0 && waiting + cost > self.queue {
            return None;
        }
        let work = cost + self.owed;
        self.owed = work % self.rate;
        self.idle_at = self.idle_at.saturating_add(u64::try_from(work / self.rate).unwrap_or(u64::MAX));
        Some(Instant::from_nanos(self.idle_at.saturating_add(u64::from(self.owed > 0))))
    }
}

/// A token bucket, full at first.
#[derive(Clone, Debug)]
pub(crate) struct Policer {
    rate: u128,
    depth: u128,
    tokens: u128,
    filled_at: u64,
}

impl Policer {
    pub(crate) fn new(police: Police, now: Instant) -> Self {
        let Police { bits_per_second, burst_bytes } = police;
        let depth = u128::from(burst_bytes) * PER_BYTE;
        Self { rate: bits_per_second.into(), depth, tokens: depth, filled_at: now.as_nanos() }
    }

    /// Whether a packet that arrives now conforms.
    pub(crate) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        let now = now.as_nanos().max(self.filled_at);
        self.tokens = (self.tokens + u128::from(now - self.filled_at) * self.rate).min(self.depth);
        self.filled_at = now;
        let cost = u128::try_from(bytes).map_or(u128::MAX, |bytes| bytes * PER_BYTE);
        let admitted = cost <= self.tokens;
        if admitted {
            self.tokens -= cost;
        }
        admitted
    }
}

#[cfg(test)]
mod tests;
