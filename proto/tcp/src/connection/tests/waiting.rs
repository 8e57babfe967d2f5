//! A shut window, and silence.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

use super::fixture::*;
use crate::{Config, Events, Flags, Keepalive, State};

/// Established, and the peer shut its window after the first 5000 bytes.
fn shut() -> Fixture {
    shut_with(plain())
}

fn shut_with(config: Config) -> Fixture {
    let mut fixture = Fixture::established_with(config);
    fixture.send(5000);
    let _ = shut_again(&mut fixture);
    fixture
}

fn shut_again(fixture: &mut Fixture) -> Events {
    let mut ack = header(Flags::ACK, IRS + 1, ISS + 1 + 5000);
    ack.window = 0;
    fixture.on(ack, b"")
}

mod shut_window {
    use super::*;

    //= RFC 9293 §3.8.6.1: "The sending TCP peer must regularly transmit at least one octet of new data (if available),
    //= or retransmit to the receiving TCP peer even if the send window is zero"; here, as elsewhere, with an old number
    #[test]
    fn is_probed_later_each_time_for_as_long_as_the_peer_answers() {
        let mut fixture = shut_with(Config { user_timeout: SECOND * 20, ..plain() });
        fixture.connection.reserve(1000);
        let mut waits = Vec::new();
        for _ in 0..20 {
            let before = fixture.now;
            let probe = loop {
                let _ = fixture.expire();
                if let Some(probe) = fixture.poll() {
                    break probe.header;
                }
            };
            waits.push(fixture.now.since(before));
            assert_eq!((probe.seq.0, probe.flags), (ISS + 5000, Flags::ACK));
            let _ = shut_again(&mut fixture);
        }
        assert!(waits.is_sorted() && waits[1] == waits[0] * 2, "{waits:?}");
        assert_eq!(waits[19], SECOND * 60);
        assert_eq!(fixture.connection.state(), State::Established);
    }

    #[test]
    fn is_probed_even_when_nothing_is_reserved_because_without_credit_nothing_can_be() {
        let mut fixture = shut();
        assert_eq!(fixture.connection.credit(fixture.now), 0);
        let _ = fixture.expire();
        let _ = fixture.control();
    }

    #[test]
    fn opens_credit_when_it_opens() {
        let mut fixture = shut();
        let mut open = header(Flags::ACK, IRS + 1, ISS + 1 + 5000);
        open.window = 3000;
        assert!(fixture.on(open, b"").contains(Events::CREDIT));
        assert_eq!(fixture.connection.credit(fixture.now), 3000);
        assert!(!fixture.connection.is_window_shut());
    }

    #[test]
    fn holds_back_the_fin_too() {
        let mut fixture = shut();
        fixture.connection.finish();
        fixture.silent();
        let mut open = header(Flags::ACK, IRS + 1, ISS + 1 + 5000);
        open.window = 3000;
        let _ = fixture.on(open, b"");
        assert_eq!(fixture.control().flags, Flags::FIN | Flags::ACK);
    }

    #[test]
    fn of_a_peer_that_does_not_answer_ends_the_connection_though_nothing_could_be_reserved() {
        let mut fixture = shut_with(Config { user_timeout: SECOND * 20, ..plain() });
        let begin = fixture.now;
        loop {
            let events = fixture.expire();
            if events.contains(Events::TIMED_OUT) {
                break;
            }
            while fixture.poll().is_some() {}
        }
        assert!(fixture.now.since(begin) >= SECOND * 20);
    }

    //= RFC 9293 §3.8.6: "A sending TCP peer MUST be robust against window shrinking"; MUST-37
    #[test]
    fn with_data_in_flight_repairs_only_the_first_segment_and_waits_as_long_as_the_peer_answers() {
        let mut fixture = Fixture::established_with(Config { user_timeout: SECOND * 20, ..plain() });
        fixture.send(5000);
        let begin = fixture.now;
        while fixture.now.since(begin) < SECOND * 300 {
            let mut shrunk = header(Flags::ACK, IRS + 1, ISS + 1);
            shrunk.window = 0;
            let _ = fixture.on(shrunk, b"");
            assert!(!fixture.expire().contains(Events::TIMED_OUT));
            for range in fixture.repair() {
                assert_eq!(range, 0..1000);
            }
        }
        assert!(fixture.ack(5000).contains(Events::ACKNOWLEDGED));
    }

    #[test]
    fn that_is_only_small_lets_an_idle_peer_be_silent() {
        let mut fixture = Fixture::established();
        fixture.send(5000);
        let mut narrow = header(Flags::ACK, IRS + 1, ISS + 1 + 5000);
        narrow.window = 500;
        let _ = fixture.on(narrow, b"");
        for _ in 0..20 {
            assert!(!fixture.expire().contains(Events::TIMED_OUT));
        }
        assert_eq!(fixture.connection.state(), State::Established);
    }

    #[test]
    fn that_is_only_small_is_looked_at_ever_later_also_when_the_operators_patience_is_over() {
        let mut fixture =
            Fixture::established_with(Config { zero_window_timeout: Some(SECOND * 30), ..plain() });
        fixture.send(5000);
        let mut narrow = header(Flags::ACK, IRS + 1, ISS + 1 + 5000);
        narrow.window = 500;
        let _ = fixture.on(narrow, b"");
        let begin = fixture.now;
        let mut looks = 0;
        while fixture.now.since(begin) < SECOND * 600 {
            assert!(!fixture.expire().contains(Events::TIMED_OUT));
            looks += 1;
            assert!(looks < 100, "{looks} within {:?}", fixture.now.since(begin));
        }
    }

    #[test]
    fn of_a_peer_that_answers_ends_the_connection_when_the_operator_says_so() {
        let mut fixture = shut_with(Config { zero_window_timeout: Some(SECOND * 30), ..plain() });
        fixture.connection.reserve(1000);
        let begin = fixture.now;
        while !fixture.expire().contains(Events::TIMED_OUT) {
            while fixture.poll().is_some() {}
            let _ = shut_again(&mut fixture);
        }
        assert_eq!(fixture.now.since(begin), SECOND * 30);
    }

    #[test]
    fn of_a_peer_that_answers_ends_the_connection_though_nothing_could_be_reserved() {
        let mut fixture = shut_with(Config { zero_window_timeout: Some(SECOND * 30), ..plain() });
        let begin = fixture.now;
        while !fixture.expire().contains(Events::TIMED_OUT) {
            while fixture.poll().is_some() {}
            let _ = shut_again(&mut fixture);
        }
        assert_eq!(fixture.now.since(begin), SECOND * 30);
    }

    #[test]
    fn that_lets_a_byte_through_now_and_then_is_not_shut_for_so_long() {
        let mut fixture = shut_with(Config { zero_window_timeout: Some(SECOND * 30), ..plain() });
        for sent in 0..20 {
            let mut open = header(Flags::ACK, IRS + 1, ISS + 1 + 5000 + sent);
            open.window = 1;
            let _ = fixture.on(open, b"");
            fixture.now += SECOND * 20;
            fixture.send(1);
            let mut shut = header(Flags::ACK, IRS + 1, ISS + 1 + 5000 + sent + 1);
            shut.window = 0;
            let _ = fixture.on(shut, b"");
            assert!(!fixture.expire().contains(Events::TIMED_OUT));
        }
    }

    #[test]
    fn with_data_in_flight_ends_the_connection_when_the_operator_says_so() {
        let config = Config { zero_window_timeout: Some(SECOND * 60), user_timeout: SECOND * 20, ..plain() };
        let mut fixture = Fixture::established_with(config);
        fixture.send(5000);
        let begin = fixture.now;
        loop {
            let mut shrunk = header(Flags::ACK, IRS + 1, ISS + 1);
            shrunk.window = 0;
            let _ = fixture.on(shrunk, b"");
            if fixture.expire().contains(Events::TIMED_OUT) {
                break;
            }
            let _ = fixture.repair();
        }
        assert!((SECOND * 60..SECOND * 120).contains(&fixture.now.since(begin)));
    }

    #[test]
    fn what_was_read_may_be_surrendered_and_is_wanted_when_it_opens() {
        let mut fixture = shut();
        let range = fixture.connection.reserve(3000);
        fixture.connection.surrender(range);
        assert_eq!(fixture.repair(), []);
        let mut open = header(Flags::ACK, IRS + 1, ISS + 1 + 5000);
        open.window = 2500;
        assert!(fixture.on(open, b"").contains(Events::WANTED));
        assert_eq!(fixture.repair(), [5000..7000]);
    }
}

/// The link carried nothing while the timers ran, and carries again.
mod link_back {
    use super::*;
    use core::time::Duration;

    /// Timeouts that were in vain.
    const TIMEOUTS: u32 = 5;

    fn timed_out() -> Fixture {
        let mut fixture = Fixture::established();
        fixture.send(5000);
        let _ = fixture.expire();
        for _ in 0..TIMEOUTS {
            let _ = fixture.expire();
            // What is wanted waits for the link.
        }
        fixture
    }

    fn until_deadline(fixture: &Fixture) -> Duration {
        fixture.connection.deadline().expect("a timer runs").since(fixture.now)
    }

    #[test]
    fn sends_what_timed_out_at_once_and_backs_nothing_off() {
        let mut fixture = timed_out();
        let left_waiting = fixture.repair();
        assert_eq!(left_waiting.first().map(|range| range.start), Some(0));
        let backed_off = until_deadline(&fixture);
        fixture.connection.on_link_back(fixture.now);
        // What left may have found nobody: it leaves again, with a timer as after a first sending.
        assert_eq!(fixture.repair().first().map(|range| range.start), Some(0));
        assert!(
            until_deadline(&fixture) * 8 <= backed_off,
            "{:?} was {backed_off:?}",
            until_deadline(&fixture)
        );
    }

    #[test]
    fn asks_about_a_shut_window_at_once() {
        let mut fixture = shut();
        let next_probe = |fixture: &mut Fixture| {
            let before = fixture.now;
            loop {
                let _ = fixture.expire();
                if let Some(probe) = fixture.poll() {
                    assert_eq!(probe.header.seq.0, ISS + 5000);
                    break fixture.now.since(before);
                }
            }
        };
        let first = next_probe(&mut fixture);
        let last = (0..TIMEOUTS).map(|_| next_probe(&mut fixture)).last();
        assert!(last >= Some(first * 16), "{last:?}");
        fixture.connection.on_link_back(fixture.now);
        assert_eq!(next_probe(&mut fixture), Duration::ZERO);
        assert!(next_probe(&mut fixture) <= first * 2);
    }

    #[test]
    fn before_any_timeout_changes_nothing() {
        let mut fixture = Fixture::established();
        fixture.send(5000);
        let deadline = fixture.connection.deadline();
        fixture.connection.on_link_back(fixture.now);
        assert_eq!(fixture.connection.deadline(), deadline);
        assert_eq!(fixture.repair(), []);
    }
}

mod keepalive {
    use super::*;

    fn config() -> Config {
        Config {
            keepalive: Some(Keepalive { idle: SECOND * 60, interval: SECOND * 10, probes: 3 }),
            ..plain()
        }
    }

    //= RFC 9293 §3.8.4
    #[test]
    fn a_silent_peer_is_asked_and_then_given_up() {
        let mut fixture = Fixture::established_with(config());
        let begin = fixture.now;
        let mut asked = Vec::new();
        while !fixture.expire().contains(Events::TIMED_OUT) {
            if let Some(probe) = fixture.poll() {
                assert_eq!((probe.header.seq.0, probe.header.flags), (ISS, Flags::ACK));
                asked.push(fixture.now.since(begin).as_secs());
            }
        }
        assert_eq!(asked, [60, 70, 80]);
        assert_eq!(fixture.now.since(begin), SECOND * 90);
        assert!(fixture.control().flags.contains(Flags::RST));
    }

    #[test]
    fn a_peer_that_answers_is_left_alone() {
        let mut fixture = Fixture::established_with(config());
        for _ in 0..10 {
            while fixture.poll().is_none() {
                assert!(!fixture.expire().contains(Events::TIMED_OUT));
            }
            let _ = fixture.ack(0);
        }
        assert_eq!(fixture.connection.state(), State::Established);
    }

    #[test]
    fn a_peer_that_speaks_is_not_asked() {
        let mut fixture = Fixture::established_with(config());
        for _ in 0..20 {
            fixture.pass(SECOND * 30);
            let _ = fixture.connection.on_deadline(&fixture.config, fixture.now);
            fixture.silent();
            let _ = fixture.ack(0);
        }
    }
}
