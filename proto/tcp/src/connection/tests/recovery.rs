//! Loss and its repair: RACK-TLP, PRR, NewReno without SACK, RTO, and what is taken back.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

use super::fixture::*;
use crate::{Config, Events, Flags, Timestamps};
use core::time::Duration;

/// Ten segments in flight, sent one after the other.
fn ten_in_flight(config: Config) -> Fixture {
    let mut fixture = Fixture::established_with(config);
    for _ in 0..10 {
        fixture.send(u32::from(fixture.connection.mss()));
    }
    fixture.pass(100 * MS);
    fixture
}

mod rack {
    use super::*;

    //= RFC 8985 §6.2 step 4: without reordering seen, three segments SACKed make the window zero
    #[test]
    fn three_reports_beyond_a_gap_repair_it_at_once() {
        let mut fixture = ten_in_flight(plain());
        assert!(!fixture.ack_sack(0, &[1000..2000]).contains(Events::WANTED));
        assert!(!fixture.ack_sack(0, &[1000..3000]).contains(Events::WANTED));
        assert!(fixture.ack_sack(0, &[1000..4000]).contains(Events::WANTED));
        assert_eq!(fixture.repair(), [0..1000]);
        let info = fixture.connection.info();
        assert_eq!((info.ssthresh, info.counters.recoveries), (7000, 1));
    }

    //= RFC 8985 §6.2 step 5: what may only be late gets a quarter of the round trip
    #[test]
    fn one_report_waits_for_the_reordering_window() {
        let mut fixture = ten_in_flight(plain());
        let _ = fixture.ack_sack(0, &[1000..2000]);
        assert_eq!(fixture.repair(), []);
        let before = fixture.now;
        assert!(fixture.expire().contains(Events::WANTED));
        assert_eq!(fixture.now.since(before), 25 * MS);
        assert_eq!(fixture.repair(), [0..1000]);
    }

    #[test]
    fn what_arrives_late_within_it_is_no_loss_and_proves_reordering() {
        let mut fixture = ten_in_flight(plain());
        let _ = fixture.ack_sack(0, &[1000..2000]);
        fixture.pass(10 * MS);
        let _ = fixture.ack(2000);
        let info = fixture.connection.info();
        assert!(info.reordering);
        assert_eq!((info.lost, info.counters.recoveries), (0, 0));
        // From now on even three reports wait.
        let _ = fixture.ack_sack(2000, &[3000..7000]);
        assert_eq!(fixture.repair(), []);
    }

    #[test]
    fn every_gap_below_what_arrived_is_repaired_in_order() {
        let mut fixture = ten_in_flight(plain());
        let _ = fixture.ack_sack(0, &[1000..2000, 3000..4000, 6000..10_000]);
        let mut repaired = fixture.repair();
        for offset in [1000, 2000, 4000] {
            fixture.pass(10 * MS);
            let _ = fixture.ack_sack(offset, &[6000..10_000]);
            repaired.extend(fixture.repair());
        }
        assert_eq!(repaired.iter().map(|range| range.end - range.start).sum::<u64>(), 4000);
        assert_eq!(repaired[0].start, 0);
        assert!(repaired.is_sorted_by_key(|range| range.start));
    }

    //= RFC 8985 §3.3: a lost retransmission is found like any other
    #[test]
    fn a_retransmission_that_is_lost_too_is_sent_again() {
        let mut fixture = ten_in_flight(plain());
        let _ = fixture.ack_sack(0, &[1000..4000]);
        assert_eq!(fixture.repair(), [0..1000]);
        // New data leaves after it, and arrives.
        fixture.pass(MS);
        let _ = fixture.ack_sack(0, &[1000..9000]);
        fixture.send(2000);
        fixture.pass(130 * MS);
        let _ = fixture.ack_sack(0, &[1000..12_000]);
        assert_eq!(fixture.repair(), [0..1000]);
        assert_eq!(fixture.connection.info().counters.timeouts, 0);
    }

    #[test]
    fn a_superframe_is_repaired_where_it_was_holed() {
        let mut fixture = Fixture::established();
        assert_eq!(fixture.send(10_000), [0..10_000]);
        fixture.pass(100 * MS);
        let _ = fixture.ack_sack(2000, &[4000..10_000]);
        assert_eq!(fixture.repair(), [2000..4000]);
    }

    #[test]
    fn the_end_of_recovery_leaves_the_window_at_the_threshold() {
        let mut fixture = ten_in_flight(plain());
        let _ = fixture.ack_sack(0, &[1000..10_000]);
        fixture.repair();
        fixture.pass(100 * MS);
        let _ = fixture.ack(10_000);
        let info = fixture.connection.info();
        assert_eq!((info.cwnd, info.in_flight, info.lost), (7000, 0, 0));
    }

    #[test]
    fn a_second_loss_in_one_window_does_not_reduce_it_again() {
        let mut fixture = ten_in_flight(plain());
        let _ = fixture.ack_sack(0, &[1000..4000]);
        let _ = fixture.ack_sack(0, &[1000..4000, 5000..9000]);
        let info = fixture.connection.info();
        assert_eq!((info.ssthresh, info.counters.recoveries), (7000, 1));
    }
}

mod prr {
    use super::*;

    //= RFC 9937 §6.2
    #[test]
    fn what_leaves_in_recovery_follows_what_arrives() {
        let mut fixture = ten_in_flight(plain());
        let mut left = 0;
        for sacked in 1..10_u32 {
            let _ = fixture.ack_sack(0, &[1000..1000 + sacked * 1000]);
            let repaired: u64 = fixture.repair().iter().map(|range| range.end - range.start).sum();
            let credit = fixture.connection.credit(fixture.now) / 1000 * 1000;
            if credit > 0 {
                fixture.send(credit);
            }
            left += repaired + u64::from(credit);
            assert!(left <= u64::from(sacked) * 1000 + 1000, "{left} left for {sacked} that arrived");
        }
        // ssthresh is 7 of 10.
        assert!((6000..=8000).contains(&left), "{left}");
    }
}

mod tail_loss {
    use super::*;

    //= RFC 8985 §7.2: PTO = 2 * SRTT
    #[test]
    fn the_last_segment_probes_after_two_round_trips() {
        let mut fixture = Fixture::established();
        fixture.send(3500);
        let before = fixture.now;
        assert!(fixture.expire().contains(Events::WANTED));
        assert_eq!(fixture.now.since(before), 200 * MS);
        assert_eq!(fixture.repair(), [3000..3500]);
        assert_eq!(fixture.connection.info().counters.probes, 1);
    }

    #[test]
    fn the_answer_to_the_probe_finds_the_loss_without_a_timeout() {
        let mut fixture = Fixture::established();
        fixture.send(3500);
        let _ = fixture.expire();
        fixture.repair();
        fixture.pass(100 * MS);
        let _ = fixture.ack_sack(0, &[3000..3500]);
        while fixture.repair().is_empty() {
            let _ = fixture.expire();
        }
        for offset in [1000, 2000] {
            fixture.pass(100 * MS);
            let _ = fixture.ack_sack(offset, &[3000..3500]);
            fixture.repair();
        }
        fixture.pass(100 * MS);
        let _ = fixture.ack(3500);
        let counters = fixture.connection.info().counters;
        assert_eq!((counters.timeouts, counters.retransmitted_bytes), (0, 3500));
    }

    //= RFC 8985 §7.4.2: a DSACK for the probe says that nothing was lost
    #[test]
    fn a_needless_probe_costs_no_window() {
        let mut fixture = Fixture::established();
        fixture.send(3000);
        let _ = fixture.expire();
        fixture.repair();
        let _ = fixture.ack(3000);
        let _ = fixture.ack_sack(3000, &[2000..3000]);
        fixture.send(1000);
        fixture.pass(100 * MS);
        let _ = fixture.ack(4000);
        assert_eq!(fixture.connection.info().ssthresh, u32::MAX);
    }

    //= RFC 8985 §7.4.2: "Invoke congestion control to react to the loss event the probe has repaired"
    #[test]
    fn a_probe_that_repaired_a_loss_costs_window() {
        let mut fixture = Fixture::established();
        fixture.send(3000);
        let _ = fixture.expire();
        fixture.repair();
        fixture.pass(100 * MS);
        let _ = fixture.ack(3000);
        fixture.send(1000);
        fixture.pass(100 * MS);
        let _ = fixture.ack(4000);
        assert!(fixture.connection.info().ssthresh < u32::MAX);
    }

    #[test]
    fn a_lost_fin_is_probed_by_itself() {
        let mut fixture = Fixture::fin_wait_1();
        let _ = fixture.expire();
        let fin = fixture.control();
        assert_eq!((fin.flags, fin.seq.0), (Flags::FIN | Flags::ACK, ISS + 1));
    }
}

mod timeout {
    use super::*;

    fn without_sack() -> Config {
        Config { sack: false, ..plain() }
    }

    //= RFC 6298 §5.4 to 5.6
    #[test]
    fn repairs_the_first_segment_and_doubles() {
        let mut fixture = ten_in_flight(without_sack());
        let rto = fixture.connection.info().rto;
        assert_eq!(fixture.expire(), Events::WANTED);
        assert_eq!(fixture.repair(), [0..1000]);
        let info = fixture.connection.info();
        assert_eq!((info.cwnd, info.in_flight, info.lost, info.rto), (1000, 1000, 9000, rto * 2));
        assert_eq!(fixture.connection.credit(fixture.now), 0);
        let before = fixture.now;
        let _ = fixture.expire();
        assert_eq!(fixture.now.since(before), rto * 2);
    }

    #[test]
    fn slow_start_repairs_the_rest() {
        let mut fixture = ten_in_flight(without_sack());
        let _ = fixture.expire();
        fixture.repair();
        fixture.pass(100 * MS);
        let _ = fixture.ack(1000);
        assert_eq!(fixture.repair(), [1000..3000]);
        fixture.pass(100 * MS);
        let _ = fixture.ack(3000);
        assert_eq!(fixture.repair(), [3000..7000]);
    }

    //= RFC 9293 §3.8.3: R2
    #[test]
    fn unanswered_for_the_user_timeout_ends_the_connection_with_a_reset() {
        let mut fixture = ten_in_flight(Config { user_timeout: SECOND * 10, ..without_sack() });
        let begin = fixture.now;
        loop {
            let events = fixture.expire();
            if events.contains(Events::CLOSED) {
                assert!(events.contains(Events::TIMED_OUT));
                break;
            }
            fixture.repair();
        }
        assert!(fixture.now.since(begin) >= SECOND * 10 - 100 * MS);
        assert!(fixture.control().flags.contains(Flags::RST));
    }

    #[test]
    fn a_slow_disk_is_no_timeout() {
        let mut fixture = ten_in_flight(without_sack());
        let _ = fixture.expire();
        let mut range = fixture.connection.wanted(fixture.now, 64 << 10).unwrap();
        for _ in 0..3 {
            let _ = fixture.expire();
        }
        assert_eq!(fixture.connection.info().counters.timeouts, 1);
        assert_eq!(fixture.transmit(&mut range), [0..1000]);
    }

    //= RFC 8899 §4.3: black hole detection
    #[test]
    fn full_segments_that_vanish_thrice_become_smaller() {
        let config = Config { mss_max: 1460, black_hole_mss: Some(1200), ..without_sack() };
        let mut fixture = ten_in_flight(config);
        for _ in 0..3 {
            let _ = fixture.expire();
            fixture.repair();
        }
        assert_eq!(fixture.connection.mss(), 1200);
    }
}

mod undo {
    use super::*;

    fn with_timestamps() -> Config {
        Config { timestamps: true, mss_max: 1012, ..plain() }
    }

    //= RFC 3522 §3.2 (Eifel detection)
    #[test]
    fn a_timeout_whose_original_arrives_is_taken_back() {
        let mut fixture = ten_in_flight(with_timestamps());
        let (before, sent_at) = (fixture.connection.info(), fixture.now - 100 * MS);
        while fixture.connection.info().counters.timeouts == 0 {
            let _ = fixture.expire();
            fixture.repair();
        }
        let mut ack = header(Flags::ACK, IRS + 1, ISS + 1 + 1000);
        let echo = fixture.connection.clock.value(sent_at);
        ack.options.timestamps = Some(Timestamps { value: 101, echo });
        let _ = fixture.on(ack, b"");
        let info = fixture.connection.info();
        assert_eq!((info.counters.undone, info.ssthresh, info.lost), (1, u32::MAX, 0));
        assert!(info.cwnd >= before.cwnd);
        assert_eq!(fixture.repair(), []);
    }

    //= RFC 3708: every retransmission was reported as a duplicate
    #[test]
    fn a_recovery_that_only_made_duplicates_is_taken_back() {
        let mut fixture = ten_in_flight(plain());
        let _ = fixture.ack_sack(0, &[1000..4000]);
        assert_eq!(fixture.repair(), [0..1000]);
        assert_eq!(fixture.connection.info().ssthresh, 7000);
        let _ = fixture.ack(4000);
        let _ = fixture.ack_sack(4000, &[0..1000]);
        let info = fixture.connection.info();
        assert_eq!((info.ssthresh, info.counters.undone), (u32::MAX, 1));
        assert!(info.cwnd >= 10_000);
    }

    //= RFC 5682 §3: what was never sent again and still arrives
    #[test]
    fn a_timeout_is_taken_back_when_what_was_not_sent_again_arrives() {
        let mut fixture = ten_in_flight(plain());
        while fixture.connection.info().counters.timeouts == 0 {
            let _ = fixture.expire();
        }
        fixture.repair();
        let _ = fixture.ack_sack(0, &[1000..2000]);
        let info = fixture.connection.info();
        assert_eq!((info.counters.undone, info.ssthresh), (1, u32::MAX));
    }

    #[test]
    fn a_real_loss_is_not_taken_back() {
        let mut fixture = ten_in_flight(with_timestamps());
        let _ = fixture.ack_sack(0, &[1000..10_000]);
        fixture.repair();
        fixture.pass(100 * MS);
        let _ = fixture.ack(10_000);
        let info = fixture.connection.info();
        assert_eq!((info.counters.undone, info.cwnd), (0, 7000));
    }
}

mod without_sack {
    use super::*;

    fn ten() -> Fixture {
        ten_in_flight(Config { sack: false, ..plain() })
    }

    //= RFC 5681 §3.2: "the arrival of 3 duplicate ACKs"
    #[test]
    fn three_duplicates_repair_the_first_segment() {
        let mut fixture = ten();
        for _ in 0..2 {
            let _ = fixture.ack(0);
            assert_eq!(fixture.repair(), []);
        }
        assert!(fixture.ack(0).contains(Events::WANTED));
        assert_eq!(fixture.repair(), [0..1000]);
    }

    //= RFC 3042: limited transmit: a segment of new data for each of the first two duplicates
    #[test]
    fn the_first_two_duplicates_let_new_data_leave() {
        let mut fixture = ten();
        assert_eq!(fixture.connection.credit(fixture.now), 0);
        let _ = fixture.ack(0);
        assert_eq!(fixture.connection.credit(fixture.now), MSS);
        let _ = fixture.ack(0);
        assert_eq!(fixture.connection.credit(fixture.now), 2 * MSS);
    }

    //= RFC 6582 §3.2 step 3: a partial acknowledgment
    #[test]
    fn a_partial_acknowledgment_repairs_the_next_hole() {
        let mut fixture = ten();
        for _ in 0..5 {
            let _ = fixture.ack(0);
        }
        assert_eq!(fixture.repair(), [0..1000]);
        fixture.pass(100 * MS);
        let _ = fixture.ack(4000);
        assert_eq!(fixture.repair(), [4000..5000]);
        fixture.pass(100 * MS);
        let _ = fixture.ack(10_000);
        assert_eq!(fixture.connection.info().cwnd, 7000);
    }

    //= RFC 5681 §2: a duplicate acknowledgment carries no data and no window update
    #[test]
    fn data_and_window_updates_are_no_duplicates() {
        let mut fixture = ten();
        for window in [50_000, 40_000, 60_000] {
            let mut update = header(Flags::ACK, IRS + 1, ISS + 1);
            update.window = window;
            let _ = fixture.on(update, b"");
        }
        for offset in 0..3 {
            let _ = fixture.on(header(Flags::ACK, IRS + 1 + offset, ISS + 1), b"x");
        }
        assert_eq!(fixture.repair(), []);
    }
}

#[test]
fn a_measured_round_trip_ignores_what_a_retransmission_uncovered() {
    let mut fixture = ten_in_flight(Config { sack: false, ..plain() });
    for _ in 0..3 {
        let _ = fixture.ack(0);
    }
    fixture.repair();
    fixture.pass(SECOND / 10);
    let _ = fixture.ack(10_000);
    assert_eq!(fixture.connection.info().srtt, Some(Duration::from_millis(100)));
}
