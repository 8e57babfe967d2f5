//! The send half on a path without loss: credit, order, windows, segments.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

use super::fixture::*;
use crate::{Config, Events, Flags, State};

#[test]
fn credit_begins_with_ten_segments_and_is_used_up_by_what_is_reserved() {
    let mut fixture = Fixture::established();
    assert_eq!(fixture.connection.credit(fixture.now), 10 * MSS);
    assert_eq!(fixture.connection.reserve(3 * MSS), 0..3000);
    assert_eq!(fixture.connection.credit(fixture.now), 7 * MSS);
    assert_eq!(fixture.connection.reserve(7 * MSS), 3000..10_000);
    assert_eq!(fixture.connection.credit(fixture.now), 0);
}

#[test]
fn an_ack_is_credit() {
    let mut fixture = Fixture::established();
    assert_eq!(fixture.send(10 * MSS), [0..10_000]);
    let events = fixture.ack(4000);
    assert!(events.contains(Events::ACKNOWLEDGED | Events::CREDIT));
    assert_eq!(fixture.connection.acknowledged(), 4000);
    // Without pacing slow start adds what was acknowledged.
    assert_eq!(fixture.connection.credit(fixture.now), 8 * MSS);
}

#[test]
fn credit_never_exceeds_the_peers_window() {
    let mut fixture = Fixture::syn_received();
    let mut ack = header(Flags::ACK, IRS + 1, ISS + 1);
    ack.window = 2500;
    let _ = fixture.on(ack, b"");
    assert_eq!((fixture.connection.credit(fixture.now), fixture.connection.window()), (2500, 2500));
}

#[test]
fn a_superframe_is_whole_segments_unless_the_range_ends() {
    let mut fixture = Fixture::established();
    let mut range = fixture.connection.reserve(9500);
    let first = fixture.connection.transmit(fixture.now, &mut range, 4700).unwrap();
    assert_eq!((first.range.clone(), first.mss, first.retransmission), (0..4000, 1000, false));
    assert!(!first.header.flags.contains(Flags::PSH));
    let rest = fixture.connection.transmit(fixture.now, &mut range, 64 << 10).unwrap();
    assert_eq!(rest.range, 4000..9500);
    assert_eq!(rest.header.seq.0, ISS + 1 + 4000);
    assert!(rest.header.flags.contains(Flags::PSH), "nothing more is reserved");
    assert!(range.is_empty());
}

#[test]
fn what_exceeds_cwnd_waits_in_whole_segments() {
    let mut fixture = Fixture::established();
    let mut range = fixture.connection.reserve(10_700);
    assert_eq!(fixture.transmit(&mut range), [0..10_000]);
    assert_eq!((range.clone(), fixture.connection.unsent()), (10_000..10_700, 700));
    let _ = fixture.ack(1000);
    assert_eq!(fixture.transmit(&mut range), [10_000..10_700]);
}

#[test]
fn later_ranges_wait_for_earlier_ones() {
    let mut fixture = Fixture::established();
    let mut first = fixture.connection.reserve(1000);
    let mut second = fixture.connection.reserve(1000);
    assert_eq!(fixture.transmit(&mut second), []);
    assert_eq!(second, 1000..2000);
    assert_eq!(fixture.transmit(&mut first), [0..1000]);
    assert_eq!(fixture.transmit(&mut second), [1000..2000]);
}

#[test]
fn what_was_surrendered_is_wanted_again_before_what_waits_behind_it() {
    let mut fixture = Fixture::established();
    let first = fixture.connection.reserve(1000);
    let mut second = fixture.connection.reserve(1000);
    fixture.connection.surrender(first);
    assert_eq!(fixture.transmit(&mut second), []);
    assert_eq!(fixture.repair(), [0..1000]);
    assert_eq!(fixture.transmit(&mut second), [1000..2000]);
    assert_eq!(fixture.connection.wanted(fixture.now, 64 << 10), None);
}

#[test]
fn surrendered_bytes_cannot_be_transmitted() {
    let mut fixture = Fixture::established();
    let mut range = fixture.connection.reserve(1000);
    fixture.connection.surrender(range.clone());
    assert_eq!(fixture.transmit(&mut range), []);
    assert_eq!(range, 0..1000);
}

#[test]
fn a_range_that_was_acknowledged_meanwhile_is_passed_over() {
    let mut fixture = Fixture::established();
    fixture.send(3000);
    let _ = fixture.ack(3000);
    let mut range = 0..3000;
    assert_eq!(fixture.transmit(&mut range), []);
    assert!(range.is_empty());
}

#[test]
fn a_range_nobody_reserved_never_leaves() {
    let mut fixture = Fixture::established();
    let mut range = 0..1000;
    assert_eq!(fixture.transmit(&mut range), []);
    fixture.connection.reserve(500);
    assert_eq!(fixture.transmit(&mut range), []);
}

#[test]
fn a_window_that_shrinks_holds_back_what_was_read() {
    let mut fixture = Fixture::established();
    let mut range = fixture.connection.reserve(5000);
    let mut shrink = header(Flags::ACK, IRS + 2, ISS + 1);
    shrink.window = 2000;
    let _ = fixture.on(shrink, b"");
    assert_eq!(fixture.transmit(&mut range), [0..2000]);
    assert_eq!(range, 2000..5000);
    let mut open = header(Flags::ACK, IRS + 2, ISS + 1 + 2000);
    open.window = 9000;
    let _ = fixture.on(open, b"");
    assert_eq!(fixture.transmit(&mut range), [2000..5000]);
}

//= RFC 9293 §3.8.6.2.1: "Send data if: min(D,U) >= Eff.snd.MSS; or ... [SND.NXT = SND.UNA and] PUSHed and D <= U; or
//= ... min(D,U) >= Fs * Max(SND.WND)"
#[test]
fn a_silly_window_is_not_filled() {
    let mut fixture = Fixture::established();
    fixture.send(5000);
    let mut range = fixture.connection.reserve(5000);
    let mut narrow = header(Flags::ACK, IRS + 1, ISS + 1 + 5000);
    narrow.window = 999;
    let _ = fixture.on(narrow, b"");
    assert_eq!(fixture.transmit(&mut range), []);
    assert!(fixture.connection.is_window_shut());
    assert!(fixture.expire().contains(Events::CREDIT), "the override timeout");
    assert_eq!(fixture.transmit(&mut range), [5000..5999]);
}

#[test]
fn the_override_ends_when_the_window_opens() {
    let mut fixture = Fixture::established();
    fixture.send(5000);
    let mut range = fixture.connection.reserve(1000);
    let tell = |fixture: &mut Fixture, acked: u32, window: u16| {
        let mut ack = header(Flags::ACK, IRS + 1, ISS + 1 + acked);
        ack.window = window;
        let _ = fixture.on(ack, b"");
    };
    tell(&mut fixture, 5000, 999);
    let _ = fixture.expire();
    tell(&mut fixture, 5000, 9000);
    assert_eq!(fixture.transmit(&mut range), [5000..6000]);
    let mut range = fixture.connection.reserve(1000);
    tell(&mut fixture, 6000, 999);
    assert_eq!(fixture.transmit(&mut range), [], "a new override needs a new timeout");
}

#[test]
fn the_window_scale_of_the_peer_applies() {
    let mut fixture = Fixture::syn_received();
    let config = fixture.config;
    let mut offer = syn(&config);
    offer.options.window_scale = Some(14);
    fixture.connection = crate::Connection::accept(&config, fixture.now, &offer, wire::tcp::SeqNum(ISS));
    let _ = fixture.control();
    assert_eq!(fixture.connection.info().snd_wnd, u32::from(WINDOW), "a SYN's window is not scaled");
    let _ = fixture.ack(0);
    assert_eq!(fixture.connection.info().snd_wnd, u32::from(WINDOW) << 14);
}

#[test]
fn an_older_segment_does_not_tell_the_window() {
    let mut fixture = Fixture::established();
    fixture.send(2000);
    let mut new = header(Flags::ACK, IRS + 1, ISS + 1 + 2000);
    new.window = 30_000;
    let mut old = header(Flags::ACK, IRS + 1, ISS + 1 + 1000);
    old.window = 10;
    let _ = fixture.on(new, b"");
    let _ = fixture.on(old, b"");
    assert_eq!(fixture.connection.info().snd_wnd, 30_000);
}

mod paced {
    use super::*;

    #[test]
    fn credit_opens_with_time_and_says_when() {
        let mut fixture = Fixture::established_with(Config { pacing: true, ..plain() });
        fixture.send(10 * MSS);
        let events = fixture.ack(10_000);
        assert!(events.contains(Events::CREDIT));
        // cwnd is 20 segments, the rate 400 kB/s, and the first ten have only just left.
        let credit = fixture.connection.credit(fixture.now);
        assert!(credit < 10 * MSS, "{credit}");
        assert!(fixture.expire().contains(Events::CREDIT));
        let threshold = fixture.connection.read_threshold(u64::MAX);
        assert!(fixture.connection.credit(fixture.now) >= threshold);
    }

    #[test]
    fn what_was_read_is_not_held_back() {
        let mut fixture = Fixture::established_with(Config { pacing: true, ..plain() });
        fixture.send(5 * MSS);
        assert_eq!(fixture.send(5 * MSS), [5000..10_000]);
    }
}

mod idle {
    use super::*;

    #[test]
    fn after_a_pause_the_window_is_smaller_but_not_below_the_initial_one() {
        let mut fixture = Fixture::established();
        let mut sent = 0;
        for _ in 0..3 {
            let credit = fixture.connection.credit(fixture.now);
            fixture.send(credit);
            sent += credit;
            fixture.pass(100 * MS);
            let _ = fixture.ack(sent);
        }
        let before = fixture.connection.credit(fixture.now);
        assert!(before > 30 * MSS);
        fixture.pass(fixture.connection.info().rto);
        assert_eq!(fixture.connection.credit(fixture.now), before / 2);
        fixture.pass(SECOND * 60);
        assert_eq!(fixture.connection.credit(fixture.now), 10 * MSS);
        fixture.send(MSS);
        assert_eq!(fixture.connection.info().cwnd, 10 * MSS);
    }

    #[test]
    fn gives_its_memory_back_after_a_second() {
        let mut fixture = Fixture::established();
        fixture.send(5000);
        fixture.pass(100 * MS);
        let _ = fixture.ack(5000);
        assert!(fixture.connection.heap_bytes() > 0);
        let before = fixture.now;
        let _ = fixture.expire();
        assert_eq!(fixture.now.since(before), SECOND);
        assert_eq!(fixture.connection.heap_bytes(), 0);
        assert_eq!(fixture.connection.deadline(), None);
        assert_eq!(fixture.send(5000), [5000..10_000]);
    }
}

#[test]
fn a_long_transfer_takes_no_more_memory_than_a_short_one() {
    let mut fixture = Fixture::established();
    let mut sent = 0;
    let mut heap = Vec::new();
    for _ in 0..5000 {
        let credit = fixture.connection.credit(fixture.now).min(100 * MSS);
        fixture.send(credit);
        sent += credit;
        fixture.pass(100 * MS);
        let _ = fixture.ack(sent);
        heap.push(fixture.connection.heap_bytes());
    }
    assert!(sent > 100_000_000);
    assert_eq!(heap[10..].iter().max(), heap[10..].iter().min(), "in steady state nothing is allocated");
}

mod path_mtu {
    use super::*;

    #[test]
    fn what_is_in_flight_leaves_again_in_smaller_segments() {
        let mut fixture = Fixture::established();
        fixture.send(5000);
        let cwnd = fixture.connection.info().cwnd;
        fixture.connection.on_mss(fixture.now, 600);
        let mut range = fixture.connection.wanted(fixture.now, 64 << 10).unwrap();
        assert_eq!(range, 0..5000);
        let outgoing = fixture.connection.transmit(fixture.now, &mut range, 64 << 10).unwrap();
        assert_eq!((outgoing.range, outgoing.mss), (0..5000, 600));
        assert_eq!(fixture.connection.info().cwnd, cwnd, "it is no sign of congestion");
    }

    #[test]
    fn never_exceeds_what_the_handshake_agreed() {
        let mut fixture = Fixture::established();
        fixture.connection.on_mss(fixture.now, 600);
        fixture.connection.on_mss(fixture.now, 9000);
        assert_eq!(fixture.connection.mss(), 1000);
    }

    //= RFC 5927 §4.1
    #[test]
    fn a_message_about_what_is_not_in_flight_is_implausible() {
        let mut fixture = Fixture::established();
        fixture.send(5000);
        let _ = fixture.ack(2000);
        let plausible = |offset: u32| fixture.connection.is_plausible(wire::tcp::SeqNum(ISS + 1 + offset));
        assert!(!plausible(1999) && plausible(2000) && plausible(4999) && !plausible(5000));
    }
}

#[test]
fn nothing_can_be_reserved_after_finish() {
    let mut fixture = Fixture::established();
    fixture.connection.finish();
    assert_eq!(fixture.connection.credit(fixture.now), 0);
    assert!(fixture.connection.reserve(1000).is_empty());
}

#[test]
fn a_closed_connection_swallows_what_it_is_given() {
    let mut fixture = Fixture::established();
    let mut range = fixture.connection.reserve(1000);
    fixture.connection.abort();
    assert_eq!(fixture.transmit(&mut range), []);
    assert!(range.is_empty());
    assert_eq!(fixture.connection.state(), State::Closed);
}
