use super::*;
use core::time::Duration;
use proptest::prelude::*;

const START: Instant = Instant::from_nanos(1_000_000_007);

#[test]
fn a_burst_is_permitted_and_then_the_average() {
    let mut bucket = TokenBucket::new(10, 3);
    let taken: [bool; 5] = core::array::from_fn(|_| bucket.take(START));
    assert_eq!(taken, [true, true, true, false, false]);
    assert!(!bucket.take(START + Duration::from_millis(99)));
    assert!(bucket.take(START + Duration::from_millis(100)));
    assert!(!bucket.take(START + Duration::from_millis(100)));
}

#[test]
fn a_long_pause_fills_no_more_than_the_bucket() {
    let mut bucket = TokenBucket::new(10, 3);
    let later = START + Duration::from_secs(3600);
    assert_eq!((0..10).filter(|_| bucket.take(later)).count(), 3);
}

#[test]
fn a_rate_or_burst_of_zero_permits_nothing() {
    assert!(!TokenBucket::new(0, 5).take(START));
    assert!(!TokenBucket::new(5, 0).take(START));
}

proptest! {
    #[test]
    fn never_more_than_rate_times_time_plus_burst(
        per_second in 1_u32..100_000, burst in 1_u32..100, pauses in proptest::collection::vec(0_u64..50_000_000, 1..200),
    ) {
        let mut bucket = TokenBucket::new(per_second, burst);
        let mut now = START;
        let mut taken = 0_u64;
        for pause in pauses {
            now += Duration::from_nanos(pause);
            taken += u64::from(bucket.take(now));
            let grown = now.since(START).as_nanos() / u128::from(1_000_000_000 / per_second);
            prop_assert!(u128::from(taken) <= grown + u128::from(burst));
        }
    }
}
