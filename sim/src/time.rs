//! The world's time: one number, which only the event loop moves.

use alloc::sync::Arc;
use clock::Instant;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use platform::Clock;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

/// When every world begins: 2026-01-01T00:00:00Z. The dates in responses and tickets are counted from here.
pub const UNIX_START: Duration = Duration::from_secs(1_767_225_600);

/// The world's clock. Clones tell the same time; the engine, the clients and rustls each hold one.
#[derive(Clone, Debug, Default)]
pub struct SimClock {
    // Atomic because rustls asks for `Sync`, not because threads meet here.
    nanos: Arc<AtomicU64>,
}

impl SimClock {
    /// A clock at its epoch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What time it is.
    #[must_use]
    pub fn instant(&self) -> Instant {
        Instant::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// Moves time forward.
    ///
    /// # Panics
    /// `to` is in the past: the event loop has lost its order.
    pub fn advance(&self, to: Instant) {
        let before = self.nanos.swap(to.as_nanos(), Ordering::Relaxed);
        assert!(before <= to.as_nanos(), "time went back from {before} to {to:?}");
    }

    fn unix(&self) -> Duration {
        UNIX_START + self.instant().since(Instant::EPOCH)
    }
}

impl Clock for SimClock {
    fn now(&mut self) -> Instant {
        self.instant()
    }

    fn unix_time(&mut self) -> Duration {
        self.unix()
    }
}

impl TimeProvider for SimClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.unix()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_tell_the_same_time() {
        let clock = SimClock::new();
        let mut other = clock.clone();
        clock.advance(Instant::from_nanos(5));
        assert_eq!(Clock::now(&mut other), Instant::from_nanos(5));
        assert_eq!(other.unix_time(), UNIX_START + Duration::from_nanos(5));
    }

    #[test]
    #[should_panic(expected = "time went back")]
    fn time_does_not_go_back() {
        let clock = SimClock::new();
        clock.advance(Instant::from_nanos(5));
        clock.advance(Instant::from_nanos(4));
    }
}
