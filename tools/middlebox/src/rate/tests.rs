use super::*;
use core::time::Duration;
use proptest::prelude::*;

fn at(micros: u64) -> Instant {
    Instant::EPOCH + Duration::from_micros(micros)
}

mod an_idle_line {
    use super::*;

    const MEGABIT: Rate = Rate { bits_per_second: 1_000_000, queue_bytes: 3_000 };

    #[test]
    fn delays_a_packet_by_the_time_it_takes_to_send() {
        let mut line = Bottleneck::new(MEGABIT);
        assert_eq!(line.offer(at(50), 1_000), Some(at(50 + 8_000)));
    }

    #[test]
    fn takes_a_packet_larger_than_its_queue() {
        assert_eq!(Bottleneck::new(MEGABIT).offer(at(0), 5_000), Some(at(40_000)));
    }

    #[test]
    fn takes_what_fits_into_the_queue_and_no_more_until_some_has_left() {
        let mut line = Bottleneck::new(MEGABIT);
        assert_eq!(
            (0..4).map(|_| line.offer(at(0), 1_000).is_some()).collect::<Vec<_>>(),
            [true, true, true, false]
        );
        assert_eq!(line.offer(at(7_999), 1_000), None);
        assert_eq!(line.offer(at(8_000), 1_000), Some(at(32_000)));
    }
}

proptest! {
    /// Over any arrivals: never faster than the rate over any busy period, in order, and never a queue too long.
    #[test]
    fn a_line_keeps_its_rate_and_its_order(
        rate in 1_000_u64..100_000_000_000,
        queue in 1_500_u64..1_000_000,
        arrivals in prop::collection::vec((0_u64..10_000_000, 60_usize..1_514), 1..200),
    ) {
        let mut line = Bottleneck::new(Rate { bits_per_second: rate, queue_bytes: queue });
        let (mut now, mut last, mut busy_since, mut bits) = (0, 0, 0, 0_u128);
        for (gap, bytes) in arrivals {
            now += gap;
            if last <= now {
                (busy_since, bits) = (now, 0);
            }
            let Some(sent) = line.offer(Instant::from_nanos(now), bytes) else { continue };
            prop_assert!(sent.as_nanos() > now && sent.as_nanos() > last);
            last = sent.as_nanos();
            bits += bytes as u128 * 8;
            let exact = (bits * 1_000_000_000).div_ceil(rate.into());
            prop_assert_eq!(u128::from(last - busy_since), exact);
            let most = (u128::from(queue.max(1_514)) * 8_000_000_000).div_ceil(rate.into()) + 1;
            prop_assert!(u128::from(last - now) <= most);
        }
    }

    /// What conforms in any window is at most the bucket and what flowed into it meanwhile.
    #[test]
    fn a_policer_admits_no_more_than_burst_and_rate(
        rate in 1_000_u64..10_000_000_000,
        depth in 1_600_u64..100_000,
        arrivals in prop::collection::vec((0_u64..1_000_000, 60_usize..1_514), 1..200),
    ) {
        let mut policer = Policer::new(Police { bits_per_second: rate, burst_bytes: depth }, Instant::EPOCH);
        let (mut now, mut admitted) = (0, 0_u128);
        for (gap, bytes) in arrivals {
            now += gap;
            let before = admitted;
            let due = u128::from(depth) * PER_BYTE + u128::from(now) * u128::from(rate);
            if policer.admits(Instant::from_nanos(now), bytes) {
                admitted += bytes as u128 * PER_BYTE;
                prop_assert!(admitted <= due);
            } else {
                prop_assert!(before + bytes as u128 * PER_BYTE > due.min(u128::from(depth) * PER_BYTE));
            }
        }
    }
}

#[test]
fn a_policer_that_was_emptied_admits_again_when_a_packet_has_flowed_in() {
    let mut policer = Policer::new(Police { bits_per_second: 8_000_000, burst_bytes: 2_000 }, at(0));
    assert!(policer.admits(at(0), 2_000));
    assert!(!policer.admits(at(999), 1_000));
    assert!(policer.admits(at(1_000), 1_000));
    assert!(!policer.admits(at(1_000), 1));
}
