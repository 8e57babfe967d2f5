#![expect(clippy::disallowed_types, reason = "prop_oneof! shares its branches in an Arc")]

use super::*;
use proptest::prelude::*;

const MSS: u32 = 1000;
const MS: Duration = Duration::from_millis(1);

fn config(congestion: Algorithm) -> Config {
    Config { congestion, ..Config::default() }
}

fn at(ms: u32) -> Instant {
    Instant::EPOCH + MS * 1000 + MS * ms
}

fn ack(ms: u32, acked: u32) -> Ack {
    Ack {
        now: at(ms),
        acked,
        una: u64::from(ms),
        nxt: u64::from(ms) + 1,
        rtt: None,
        srtt: 100 * MS,
        mss: MSS,
        limited: true,
        paced: true,
    }
}

mod slow_start {
    use super::*;

    //= RFC 6928 §2: ten segments
    #[test]
    fn begins_with_ten_segments_and_no_threshold() {
        let window = Congestion::new(&config(Algorithm::Cubic), MSS);
        assert_eq!((window.cwnd(), window.ssthresh()), (10 * MSS, u32::MAX));
        assert!(window.in_slow_start());
    }

    #[test]
    fn grows_by_what_was_acknowledged() {
        let mut window = Congestion::new(&config(Algorithm::NewReno), MSS);
        window.on_ack(&ack(0, 3 * MSS));
        assert_eq!(window.cwnd(), 13 * MSS);
    }

    //= RFC 9406 §4.2: "L=8 if non-paced"
    #[test]
    fn without_pacing_one_ack_adds_at_most_eight_segments() {
        let mut window = Congestion::new(&config(Algorithm::NewReno), MSS);
        window.on_ack(&Ack { paced: false, ..ack(0, 100 * MSS) });
        assert_eq!(window.cwnd(), 18 * MSS);
    }

    #[test]
    fn a_window_that_was_not_the_limit_does_not_grow() {
        for algorithm in [Algorithm::Cubic, Algorithm::NewReno] {
            let mut window = Congestion::new(&config(algorithm), MSS);
            window.on_ack(&Ack { limited: false, ..ack(0, 5 * MSS) });
            assert_eq!(window.cwnd(), 10 * MSS);
        }
    }

    #[test]
    fn never_exceeds_the_operators_bound() {
        let mut window = Congestion::new(&config(Algorithm::Cubic), MSS);
        for ms in 0..100 {
            window.on_ack(&ack(ms, u32::MAX / 2));
        }
        assert_eq!(window.cwnd(), Config::default().send_window_max);
    }

    //= RFC 9406 §4.2: a round trip that grew by an eighth slows slow start down, and five such rounds end it
    #[test]
    fn a_growing_round_trip_ends_it_after_five_conservative_rounds() {
        let mut window = Congestion::new(&config(Algorithm::Cubic), MSS);
        let mut una = 0;
        let mut round = |window: &mut Congestion, rtt: Duration| {
            let nxt = una + 1000;
            for _ in 0..10 {
                una += 100;
                window.on_ack(&Ack { una, nxt, rtt: Some(rtt), ..ack(0, MSS) });
            }
        };
        round(&mut window, 100 * MS);
        round(&mut window, 100 * MS);
        assert_eq!(window.cwnd(), 30 * MSS);
        round(&mut window, 130 * MS);
        for _ in 0..5 {
            assert!(window.in_slow_start());
            round(&mut window, 130 * MS);
        }
        assert!(!window.in_slow_start());
        assert!(window.cwnd() < 60 * MSS, "conservative growth is a quarter: {}", window.cwnd());
    }
}

mod avoidance {
    use super::*;

    fn reduced(algorithm: Algorithm) -> Congestion {
        let mut window = Congestion::new(&config(algorithm), MSS);
        window.on_ack(&ack(0, 90 * MSS));
        assert_eq!(window.cwnd(), 100 * MSS);
        window.on_loss(100 * MSS, MSS);
        window.on_recovered(MSS);
        window
    }

    //= RFC 5681 §3.1 equation 4
    #[test]
    fn newreno_halves_and_then_adds_a_segment_a_window() {
        let mut window = reduced(Algorithm::NewReno);
        assert_eq!(window.cwnd(), 50 * MSS);
        for _ in 0..50 {
            window.on_ack(&ack(100, MSS));
        }
        assert_eq!(window.cwnd(), 51 * MSS);
    }

    //= RFC 9438 §4.6
    #[test]
    fn cubic_keeps_seven_tenths() {
        assert_eq!(reduced(Algorithm::Cubic).cwnd(), 70 * MSS);
    }

    //= RFC 9438 §4.2: W_cubic(K) = W_max, with K = cbrt(30 / 0.4) = 4.217 s
    #[test]
    fn cubic_is_back_at_w_max_after_k_and_flat_around_it() {
        let mut window = reduced(Algorithm::Cubic);
        let mut reached = Vec::new();
        for step in 0..60 {
            // A window acknowledged in each round trip of 100 ms. 0.4 · (4.217 − t − 0.1)³ is 10 at 1.19 s and 1 at 2.76 s.
            let ms = step * 100;
            window.on_ack(&ack(ms, window.cwnd()));
            reached.push((ms, window.cwnd() / MSS));
        }
        let when = |segments: u32| reached.iter().find(|(_, cwnd)| *cwnd >= segments).unwrap().0;
        assert_eq!(when(90), 1200, "{reached:?}");
        assert_eq!(when(99), 2800, "{reached:?}");
        assert!(reached.last().unwrap().1 > 100, "{reached:?}");
    }

    //= RFC 9438 §4.3: in short round trips CUBIC is never slower than Reno's α
    #[test]
    fn cubic_is_as_fast_as_reno_when_round_trips_are_short() {
        let mut window = Congestion::new(&config(Algorithm::Cubic), MSS);
        window.on_loss(10 * MSS, MSS);
        window.on_recovered(MSS);
        let begin = window.cwnd();
        for _ in 0..100 {
            window.on_ack(&Ack { srtt: MS, ..ack(1, window.cwnd()) });
        }
        assert!(window.cwnd() >= begin + 52 * MSS, "{}", window.cwnd());
    }

    //= RFC 9438 §4.7
    #[test]
    fn cubic_gives_way_when_it_fails_below_its_last_maximum() {
        let mut window = reduced(Algorithm::Cubic);
        window.on_loss(70 * MSS, MSS);
        assert_eq!(window.snapshot().w_max, 70 * MSS * 85 / 100);
    }

    //= RFC 5681 §3.1: "ssthresh = max (FlightSize / 2, 2*SMSS)"
    #[test]
    fn the_threshold_never_falls_below_two_segments() {
        for algorithm in [Algorithm::Cubic, Algorithm::NewReno] {
            let mut window = Congestion::new(&config(algorithm), MSS);
            window.on_loss(MSS, MSS);
            assert_eq!(window.ssthresh(), 2 * MSS);
        }
    }
}

mod timeout {
    use super::*;

    #[test]
    fn falls_to_one_segment_and_starts_slowly() {
        for algorithm in [Algorithm::Cubic, Algorithm::NewReno] {
            let mut window = Congestion::new(&config(algorithm), MSS);
            window.on_timeout(10 * MSS, MSS, false);
            assert_eq!(window.cwnd(), MSS);
            assert!(window.in_slow_start());
        }
    }

    //= RFC 5681 §3.1: when it was already retransmitted by way of the timer, "the value of ssthresh is held constant"
    #[test]
    fn again_leaves_the_threshold() {
        let mut window = Congestion::new(&config(Algorithm::NewReno), MSS);
        window.on_timeout(10 * MSS, MSS, false);
        window.on_timeout(MSS, MSS, true);
        assert_eq!(window.ssthresh(), 5 * MSS);
    }

    #[test]
    fn undo_restores_what_was_before() {
        let mut window = Congestion::new(&config(Algorithm::Cubic), MSS);
        let before = window.snapshot();
        window.on_timeout(10 * MSS, MSS, false);
        window.undo(before);
        assert_eq!((window.cwnd(), window.ssthresh()), (10 * MSS, u32::MAX));
    }
}

mod idle {
    use super::*;

    #[test]
    fn halves_the_window_for_each_timeout_of_silence_down_to_the_restart_window() {
        let mut window = Congestion::new(&config(Algorithm::Cubic), MSS);
        window.on_ack(&ack(0, 90 * MSS));
        let after = |ms: u32| window.after_idle(MS * ms, 200 * MS, 10, MSS);
        assert_eq!(after(199), 100 * MSS);
        assert_eq!(after(200), 50 * MSS);
        assert_eq!(after(600), 12_500);
        assert_eq!(after(1_000_000), 10 * MSS);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cwnd_stays_between_a_segment_and_the_bound_whatever_happens(
        algorithm in prop_oneof![Just(Algorithm::Cubic), Just(Algorithm::NewReno)],
        steps in prop::collection::vec((0_u8..6, 0_u32..2_000_000, 0_u32..5000), 1..300),
    ) {
        let config = config(algorithm);
        let mut window = Congestion::new(&config, MSS);
        let mut ms = 0_u32;
        for (what, bytes, wait) in steps {
            ms = ms.wrapping_add(wait) % 1_000_000_000;
            match what {
                0 => window.on_loss(bytes, MSS),
                1 => window.on_timeout(bytes, MSS, bytes % 2 == 0),
                2 => window.on_recovered(MSS),
                3 => window.restart(window.after_idle(MS * wait, 200 * MS, 10, MSS)),
                _ => window.on_ack(&Ack { limited: bytes % 5 != 0, ..ack(ms, bytes) }),
            }
            prop_assert!(window.cwnd() >= MSS && window.cwnd() <= config.send_window_max);
            prop_assert!(window.ssthresh() >= 2 * MSS);
        }
    }
}
