//! Pace the reads, not the sends.
//!
//! Pacing decides when credit opens; what was read leaves at once. The pacer is a token bucket told as a time: `ready`
//! is when everything reserved so far would have left at the pacing rate. Credit is what the rate lets through between
//! `ready` and now, and one quantum more:
//!
//! ```text
//!          ready          now
//! ───────────┼─────────────┼──────────► t        tokens = (now − ready) · rate + quantum
//!            └── earned ───┘                     reserve(n): ready += n / rate
//! ```

use crate::num::clamp_u32;
use clock::Instant;
use core::time::Duration;

/// A quantum is what leaves in so long: enough for superframes on a fast path.
const QUANTUM: Duration = Duration::from_millis(1);

/// And never less than so many segments, which every path must take at once anyway (RFC 6928).
const QUANTUM_SEGMENTS: u32 = 10;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    ready: Instant,
    /// When to tell the owner that credit opened; [`Instant::NEVER`] when nobody waits.
    pub(crate) wake: Instant,
    /// Bytes a second; 0 as long as the path is not known or pacing is off.
    rate: u64,
}

impl Pacer {
    pub(crate) const OFF: Self = Self { ready: Instant::EPOCH, wake: Instant::NEVER, rate: 0 };

    pub(crate) fn rate(&self) -> u64 {
        self.rate
    }

    /// The rate follows the window: twice a window per round trip in slow start, so that it can double, 1.2 windows
    /// after it, so that it never starves.
    pub(crate) fn on_window(&mut self, cwnd: u32, slow_start: bool, srtt: Option<Duration>) {
        let percent = if slow_start { 200 } else { 120 };
        self.rate = match srtt {
            None => 0,
            Some(srtt) => {
                let micros = u64::try_from(srtt.as_micros()).unwrap_or(u64::MAX).max(1);
                // 2³² × 200 × 10⁴ = 8.6 × 10¹⁵.
                u64::from(cwnd) * percent * 10_000 / micros
            }
        };
    }

    fn quantum(&self, mss: u32) -> u64 {
        (self.rate / 1000 * u64::try_from(QUANTUM.as_millis()).unwrap_or(1))
            .max(u64::from(mss * QUANTUM_SEGMENTS))
    }

    /// Whether fewer than `bytes`, which are no more than a quantum, may be reserved now.
    pub(crate) fn holds_back(&self, now: Instant, bytes: u32, mss: u32) -> bool {
        self.rate != 0 && self.ready > now && self.tokens(now, mss) < bytes
    }

    /// How many bytes may be reserved now.
    pub(crate) fn tokens(&self, now: Instant, mss: u32) -> u32 {
        if self.rate == 0 {
            return u32::MAX;
        }
        let quantum = self.quantum(mss);
        if self.ready <= now {
            return clamp_u32(quantum);
        }
        clamp_u32(quantum.saturating_sub(self.bytes_in(self.ready.as_nanos() - now.as_nanos())))
    }

    /// `bytes` were reserved.
    pub(crate) fn on_reserve(&mut self, now: Instant, bytes: u32) {
        if self.rate != 0 {
            // Time not used is not saved up: a quantum is all that may leave at once.
            let ready = self.ready.max(now).as_nanos();
            self.ready = Instant::from_nanos(ready.saturating_add(self.time_for(u64::from(bytes))));
        }
    }

    /// When [`Self::tokens`] will reach `bytes` (at most a quantum).
    pub(crate) fn ready_for(&self, bytes: u32, mss: u32) -> Instant {
        let quantum = self.quantum(mss);
        let spare = quantum.saturating_sub(u64::from(bytes));
        Instant::from_nanos(self.ready.as_nanos().saturating_sub(self.time_for(spare)))
    }

    /// In nanoseconds.
    fn time_for(&self, bytes: u64) -> u64 {
        // bytes < 2³³, so the product stays below 2⁶³.
        bytes.saturating_mul(1_000_000_000).div_ceil(self.rate.max(1))
    }

    fn bytes_in(&self, nanos: u64) -> u64 {
        if let Some(product) = self.rate.checked_mul(nanos) {
            return product / 1_000_000_000;
        }
        u64::try_from(u128::from(self.rate) * u128::from(nanos) / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;
    const MS: Duration = Duration::from_millis(1);

    /// 100 kB in 100 ms, out of slow start: 1.2 MB/s, so a quantum is ten segments, 8.33 ms.
    fn paced() -> Pacer {
        let mut pacer = Pacer::OFF;
        pacer.on_window(100_000, false, Some(100 * MS));
        pacer
    }

    fn at(ms: u32) -> Instant {
        Instant::EPOCH + MS * 1000 + MS * ms
    }

    #[test]
    fn without_a_round_trip_nothing_is_paced() {
        let mut pacer = Pacer::OFF;
        pacer.on_window(100_000, true, None);
        pacer.on_reserve(at(0), 1 << 30);
        assert_eq!(pacer.tokens(at(0), MSS), u32::MAX);
    }

    #[test]
    fn the_rate_is_two_windows_a_round_trip_in_slow_start_and_1_2_after() {
        let mut pacer = paced();
        assert_eq!(pacer.rate(), 1_200_000);
        pacer.on_window(100_000, true, Some(100 * MS));
        assert_eq!(pacer.rate(), 2_000_000);
    }

    #[test]
    fn a_quantum_may_leave_at_once_and_the_next_only_in_its_time() {
        let mut pacer = paced();
        assert_eq!(pacer.tokens(at(0), MSS), 10_000);
        pacer.on_reserve(at(0), 10_000);
        assert_eq!(pacer.tokens(at(0), MSS), 0);
        assert_eq!(pacer.tokens(at(5), MSS), 6_000);
        assert_eq!(pacer.tokens(at(9), MSS), 10_000);
    }

    #[test]
    fn time_not_used_is_not_saved_up() {
        let mut pacer = paced();
        pacer.on_reserve(at(0), 10_000);
        assert_eq!(pacer.tokens(at(60_000), MSS), 10_000);
        pacer.on_reserve(at(60_000), 10_000);
        assert_eq!(pacer.tokens(at(60_000), MSS), 0);
    }

    #[test]
    fn it_tells_exactly_when_enough_will_be_there() {
        let mut pacer = paced();
        pacer.on_reserve(at(0), 20_000);
        let ready = pacer.ready_for(6_000, MSS);
        assert!(pacer.tokens(ready, MSS) >= 5_999);
        assert!(pacer.tokens(ready - MS, MSS) < 6_000);
    }
}
