//! The round trip: SRTT, RTTVAR and RTO of RFC 6298, and the windowed minimum that RACK wants.
//!
//! Everything is kept in microseconds in 32 bits (71 minutes), SRTT times 8 and RTTVAR times 4 as Jacobson did, so that
//! the gains of 1/8 and 1/4 are shifts and nothing is lost to rounding.

use crate::config::{RTO_INITIAL, RTO_MAX};
use clock::Instant;
use core::time::Duration;

/// Half the window of the minimum filter, in seconds.
const MIN_HALF_WINDOW_S: u32 = 5;

/// Doublings of RTO beyond this change nothing: 1 ms × 2¹⁶ exceeds [`RTO_MAX`].
const BACKOFF_MAX: u8 = 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct RttEstimator {
    /// SRTT × 8 in µs; 0 before the first sample.
    srtt_8: u32,
    /// RTTVAR × 4 in µs.
    rttvar_4: u32,
    /// The floor under 4·RTTVAR, in µs.
    floor: u32,
    min: WindowedMin,
    /// Timeouts in a row: RTO is doubled so often (RFC 6298 §5.5).
    backoff: u8,
}

impl RttEstimator {
    pub(crate) fn new(rto_min: Duration) -> Self {
        let floor = u32::try_from(rto_min.as_micros()).unwrap_or(u32::MAX);
        Self { srtt_8: 0, rttvar_4: 0, floor, min: WindowedMin::NONE, backoff: 0 }
    }

    /// Takes a sample into SRTT and RTTVAR. Wants about one a round trip: more would make RTTVAR forget too fast
    /// (RFC 7323 appendix G).
    pub(crate) fn sample(&mut self, rtt: Duration) {
        // Longer than RTO may ever be says nothing more.
        let rtt = micros(rtt).min(u32::MAX / 64);
        if self.srtt_8 == 0 {
            //= RFC 6298 §2.2: "SRTT <- R, RTTVAR <- R/2"
            self.srtt_8 = rtt * 8;
            self.rttvar_4 = rtt * 2;
            return;
        }
        //= RFC 6298 §2.3: "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|", beta = 1/4, before SRTT
        let error = (self.srtt_8 / 8).abs_diff(rtt);
        self.rttvar_4 = self.rttvar_4 - self.rttvar_4 / 4 + error;
        //= RFC 6298 §2.3: "SRTT <- (1 - alpha) * SRTT + alpha * R'", alpha = 1/8
        self.srtt_8 = (self.srtt_8 - self.srtt_8 / 8 + rtt).max(1);
    }

    /// Notes every measurement for the minimum, even those [`Self::sample`] need not see.
    pub(crate) fn observe(&mut self, now: Instant, rtt: Duration) {
        self.min.update(now, micros(rtt).max(1));
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        (self.srtt_8 != 0).then(|| Duration::from_micros(u64::from(self.srtt_8 / 8)))
    }

    pub(crate) fn rttvar(&self) -> Duration {
        Duration::from_micros(u64::from(self.rttvar_4 / 4))
    }

    /// The least round trip of the last five to ten seconds; none before any.
    pub(crate) fn min(&self) -> Option<Duration> {
        self.min.get().map(|us| Duration::from_micros(u64::from(us)))
    }

    /// RTO with its backoff.
    ///
    /// RFC 6298 §2.4 puts a floor of 1 s under RTO. Here, as in the big stacks, the floor is lower and stands under
    /// 4·RTTVAR, so that a peer's delayed ACK on a path of little variance never looks like a loss.
    pub(crate) fn rto(&self) -> Duration {
        Duration::from_nanos(self.rto_nanos())
    }

    /// The same in nanoseconds: it is needed for every segment.
    pub(crate) fn rto_nanos(&self) -> u64 {
        const INITIAL: u64 = RTO_INITIAL.as_secs() * 1_000_000_000;
        const MAX: u64 = RTO_MAX.as_secs() * 1_000_000_000;
        let base = if self.srtt_8 == 0 {
            INITIAL
        } else {
            u64::from(self.srtt_8 / 8 + self.rttvar_4.max(self.floor)) * 1000
        };
        // Below 2⁴³ before it is shifted by at most 16.
        (base << self.backoff.min(BACKOFF_MAX)).min(MAX)
    }

    /// SRTT in nanoseconds; none before the first sample.
    pub(crate) fn srtt_nanos(&self) -> Option<u64> {
        (self.srtt_8 != 0).then(|| u64::from(self.srtt_8 / 8) * 1000)
    }

    /// One more timeout without an answer.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// The path answered: RTO is what was measured again.
    pub(crate) fn answered(&mut self) {
        self.backoff = 0;
    }

    pub(crate) fn backoff(&self) -> u8 {
        self.backoff
    }

    /// RFC 6298 §5.7: after a SYN was lost and nothing was measured, RTO starts data at 3 s. Two doublings of 1 s are
    /// the nearest that [`Self::rto`] can say; the first sample ends it.
    pub(crate) fn distrust_initial(&mut self) {
        if self.srtt_8 == 0 {
            self.backoff = 2;
        }
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// The minimum of two half windows that take turns: as good as a deque of candidates for what RACK needs.
#[derive(Clone, Copy, Debug)]
struct WindowedMin {
    current: u32,
    previous: u32,
    /// When the current half began, in seconds of the worker's clock.
    since_s: u32,
}

impl WindowedMin {
    const NONE: Self = Self { current: u32::MAX, previous: u32::MAX, since_s: 0 };

    fn update(&mut self, now: Instant, rtt: u32) {
        let now_s = u32::try_from(now.as_millis() / 1000).unwrap_or(u32::MAX);
        let age = now_s.saturating_sub(self.since_s);
        if age >= MIN_HALF_WINDOW_S {
            self.previous = if age < 2 * MIN_HALF_WINDOW_S { self.current } else { u32::MAX };
            self.current = u32::MAX;
            self.since_s = now_s;
        }
        self.current = self.current.min(rtt);
    }

    fn get(&self) -> Option<u32> {
        let min = self.current.min(self.previous);
        (min != u32::MAX).then_some(min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn estimator() -> RttEstimator {
        RttEstimator::new(200 * MS)
    }

    //= RFC 6298 §2.1: "Until a round-trip time (RTT) measurement has been made ... set RTO <- 1 second"
    #[test]
    fn before_a_sample_the_rto_is_one_second() {
        assert_eq!(estimator().rto(), Duration::from_secs(1));
    }

    //= RFC 6298 §2.2
    #[test]
    fn the_first_sample_is_srtt_and_half_of_it_rttvar() {
        let mut rtt = estimator();
        rtt.sample(400 * MS);
        assert_eq!((rtt.srtt(), rtt.rttvar()), (Some(400 * MS), 200 * MS));
        assert_eq!(rtt.rto(), 1200 * MS);
    }

    //= RFC 6298 §2.3
    #[test]
    fn later_samples_move_srtt_by_an_eighth_and_rttvar_by_a_quarter() {
        let mut rtt = estimator();
        rtt.sample(400 * MS);
        rtt.sample(800 * MS);
        assert_eq!((rtt.srtt(), rtt.rttvar()), (Some(450 * MS), 250 * MS));
    }

    //= RFC 6298 §5.5: "The host MUST set RTO <- RTO * 2"
    #[test]
    fn every_timeout_doubles_the_rto_up_to_a_minute() {
        let mut rtt = estimator();
        rtt.sample(10 * MS);
        let mut rto = rtt.rto();
        for _ in 0..40 {
            rtt.back_off();
            assert_eq!(rtt.rto(), (rto * 2).min(RTO_MAX));
            rto = rtt.rto();
        }
        rtt.answered();
        assert_eq!(rtt.rto(), 210 * MS);
    }

    #[test]
    fn the_minimum_forgets_what_is_older_than_ten_seconds() {
        let mut rtt = estimator();
        let at = |s: u64| Instant::from_nanos(s * 1_000_000_000);
        rtt.observe(at(100), 5 * MS);
        rtt.observe(at(101), 50 * MS);
        assert_eq!(rtt.min(), Some(5 * MS));
        rtt.observe(at(106), 50 * MS);
        assert_eq!(rtt.min(), Some(5 * MS));
        rtt.observe(at(112), 40 * MS);
        assert_eq!(rtt.min(), Some(40 * MS));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn srtt_stays_between_the_least_and_the_largest_sample(samples in prop::collection::vec(1_u64..60_000_000, 1..200)) {
            let mut rtt = estimator();
            for &us in &samples {
                rtt.sample(Duration::from_micros(us));
            }
            let srtt = u64::try_from(rtt.srtt().unwrap().as_micros()).unwrap();
            prop_assert!(srtt + 8 >= *samples.iter().min().unwrap());
            prop_assert!(srtt <= *samples.iter().max().unwrap());
            prop_assert!(rtt.rto() <= RTO_MAX);
        }
    }
}
