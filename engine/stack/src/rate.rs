//! A token bucket: how often something may be done that a stranger asks for.

use clock::Instant;

#[cfg(test)]
mod tests;

/// Permits an average of `per_second`, and `burst` at once after a pause.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Nanoseconds that one token takes to grow; zero: no limit.
    interval_nanos: u64,
    /// How far the bucket may run ahead, in nanoseconds of growth.
    depth_nanos: u64,
    /// When the bucket would be full if nothing more were taken: the arrival time of GCRA (ITU-T I.371), virtual.
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket. A rate of zero permits nothing.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let (interval_nanos, depth_nanos) = if per_second == 0 || burst == 0 {
            (u64::MAX, 0)
        } else {
            let interval = 1_000_000_000_u64 / per_second as u64;
            (interval, interval.saturating_mul(burst as u64))
        };
        Self { interval_nanos, depth_nanos, full_at: Instant::EPOCH }
    }

    /// Takes a token; `false` when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let start = self.full_at.max(now).as_nanos();
        let Some(full_at) = start.checked_add(self.interval_nanos) else { return false };
        let is_permitted = full_at - now.as_nanos() <= self.depth_nanos;
        if is_permitted {
            self.full_at = Instant::from_nanos(full_at);
        }
        is_permitted
    }
}
