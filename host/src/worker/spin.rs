//! How long to look again before sleeping.
//!
//! Sleeping and waking costs some microseconds and, on an idle core, the time to leave a power state. It is not worth
//! it when the next packet is already on its way, and it is when nobody comes. So the worker learns from its sleeps: one
//! that was short would have been better spun through.
//!
//! ```text
//!   a sleep shorter than 50 µs: spin twice as long next time, from 5 µs up to 50 µs
//!   a longer one:               half as long; below 5 µs not at all
//! ```
//!
//! An idle worker's sleeps are long, so it never spins; at most 50 µs are wasted for each sleep.

use clock::Instant;
use core::time::Duration;

const MOST: Duration = Duration::from_micros(50);
const LEAST: Duration = Duration::from_micros(5);

#[derive(Debug)]
pub(super) struct Spin {
    budget: Duration,
    /// When work was last there, or the last sleep ended.
    since: Instant,
}

impl Spin {
    pub(super) const fn new() -> Self {
        Self { budget: Duration::ZERO, since: Instant::EPOCH }
    }

    /// There was something to do.
    pub(super) const fn on_work(&mut self, now: Instant) {
        self.since = now;
    }

    /// Whether to look again rather than to sleep.
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        now.since(self.since) < self.budget
    }

    /// A sleep of `slept` is over.
    pub(super) fn on_sleep(&mut self, slept: Duration, now: Instant) {
        self.since = now;
        self.budget = if slept < MOST {
            (self.budget * 2).clamp(LEAST, MOST)
        } else if self.budget < LEAST * 2 {
            Duration::ZERO
        } else {
            self.budget / 2
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(8);
    const LONG: Duration = Duration::from_millis(2);

    fn at(micros: u64) -> Instant {
        Instant::EPOCH + Duration::from_micros(micros)
    }

    #[test]
    fn an_idle_worker_never_spins() {
        let mut spin = Spin::new();
        for _ in 0..3 {
            spin.on_sleep(LONG, at(0));
            assert!(!spin.goes_on(at(0)));
        }
    }

    #[test]
    fn short_sleeps_teach_it_to_spin_and_long_ones_to_stop() {
        let mut spin = Spin::new();
        spin.on_sleep(SHORT, at(100));
        assert!(spin.goes_on(at(104)) && !spin.goes_on(at(105)));
        (0..10).for_each(|_| spin.on_sleep(SHORT, at(200)));
        assert!(spin.goes_on(at(249)) && !spin.goes_on(at(250)), "at most 50 µs");
        (0..5).for_each(|_| spin.on_sleep(LONG, at(300)));
        assert!(!spin.goes_on(at(300)));
    }

    #[test]
    fn work_begins_the_budget_again() {
        let mut spin = Spin::new();
        spin.on_sleep(SHORT, at(100));
        spin.on_work(at(110));
        assert!(spin.goes_on(at(114)));
    }
}
