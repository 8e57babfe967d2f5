//! A histogram of durations that fits into a counters snapshot: copied, subtracted, merged.
//!
//! Buckets are logarithmic with four linear steps per octave, so a quantile is at most a quarter too high:
//!
//! ```text
//! bucket   0        1 2 3 4    5 6 7 8     …
//! nanos    < 256    256 …      512 …       …  2³³ (8.6 s) and above
//! ```

use core::fmt;
use core::time::Duration;

/// Durations below this share the first bucket: nobody tunes them.
const FLOOR_NANOS: u64 = 256;
const STEPS: usize = 4;
const OCTAVES: usize = 25;
const BUCKETS: usize = 1 + OCTAVES * STEPS;

/// How many durations were how long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Latency {
    /// No durations yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; BUCKETS], sum_nanos: 0 }
    }

    /// One more duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// The upper end of the bucket in which the duration of this rank lies; `None` when there are none.
    ///
    /// # Panics
    /// A rank outside 0 to 1.
    #[must_use]
    pub fn quantile(&self, rank: f64) -> Option<Duration> {
        assert!((0.0..=1.0).contains(&rank), "quantile {rank}");
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank of a count: not negative, at most the count"
        )]
        let target = ((count as f64 * rank).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        self.counts.iter().enumerate().find_map(|(index, n)| {
            seen += n;
            (seen >= target).then(|| Duration::from_nanos(ceiling(index)))
        })
    }

    /// The upper end of the highest bucket in use.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        self.counts.iter().rposition(|n| *n > 0).map(|index| Duration::from_nanos(ceiling(index)))
    }

    /// What was recorded since `earlier`, an earlier state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (now, then) in counts.iter_mut().zip(&earlier.counts) {
            *now = now.saturating_sub(*then);
        }
        Self { counts, sum_nanos: self.sum_nanos.saturating_sub(earlier.sum_nanos) }
    }

    /// Adds what another histogram recorded.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

/// Which bucket counts `nanos`.
fn bucket(nanos: u64) -> usize {
    if nanos < FLOOR_NANOS {
        return 0;
    }
    let octave = nanos.ilog2() - FLOOR_NANOS.ilog2();
    #[expect(clippy::cast_possible_truncation, reason = "shifted down to its three leading bits")]
    let step = (nanos >> (nanos.ilog2() - STEPS.ilog2())) as usize - STEPS;
    (1 + octave as usize * STEPS + step).min(BUCKETS - 1)
}

/// The first duration that is too long for this bucket.
const fn ceiling(index: usize) -> u64 {
    if index == 0 {
        return FLOOR_NANOS;
    }
    let octave = FLOOR_NANOS << ((index - 1) / STEPS);
    octave + octave / STEPS as u64 * ((index - 1) % STEPS + 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_has_no_quantiles() {
        assert_eq!((Latency::new().quantile(0.5), Latency::new().max()), (None, None));
    }

    #[test]
    fn one_slow_turn_in_a_hundred_is_the_maximum_and_not_the_median() {
        let mut latency = Latency::new();
        for _ in 0..99 {
            latency.record(Duration::from_micros(10));
        }
        latency.record(Duration::from_millis(3));
        assert!(latency.quantile(0.5).unwrap() < Duration::from_micros(13));
        assert!(latency.quantile(0.99).unwrap() < Duration::from_micros(13));
        assert!(latency.max().unwrap() >= Duration::from_millis(3));
        assert_eq!(latency.sum(), Duration::from_micros(990 + 3_000));
    }

    #[test]
    fn a_difference_holds_only_what_came_after() {
        let mut latency = Latency::new();
        latency.record(Duration::from_secs(1));
        let earlier = latency;
        latency.record(Duration::from_micros(1));
        let since = latency.since(&earlier);
        assert_eq!(since.count(), 1);
        assert!(since.max().unwrap() < Duration::from_micros(2));
    }

    #[test]
    fn a_duration_beyond_the_last_bucket_is_counted_there() {
        let mut latency = Latency::new();
        latency.record(Duration::from_secs(1_000_000));
        assert_eq!(latency.count(), 1);
        assert!(latency.max().unwrap() >= Duration::from_secs(8));
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_quarter_too_high(nanos in FLOOR_NANOS..1 << 32) {
            let mut latency = Latency::new();
            latency.record(Duration::from_nanos(nanos));
            let told = u64::try_from(latency.quantile(0.5).unwrap().as_nanos()).unwrap();
            prop_assert!(told > nanos && told <= nanos + nanos / 4 + 1, "{nanos} told as {told}");
        }

        #[test]
        fn buckets_are_ordered_as_durations_are(a in any::<u64>(), b in any::<u64>()) {
            prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
        }

        #[test]
        fn merging_is_counting_both(
            a in proptest::collection::vec(0_u64..1 << 40, 0..50),
            b in proptest::collection::vec(0_u64..1 << 40, 0..50),
        ) {
            let of = |nanos: &[u64]| {
                let mut latency = Latency::new();
                nanos.iter().for_each(|n| latency.record(Duration::from_nanos(*n)));
                latency
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a.clone(), b.clone()].concat()));
            prop_assert_eq!(merged.since(&of(&a)), of(&b));
        }
    }
}
